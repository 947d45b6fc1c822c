/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* Where libFuzzer is not linked in: run the target once on each file named, as libFuzzer would. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];

	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "re");
		uint8_t *copy;
		size_t n;

		if (!f) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		n = fread(data, 1, sizeof data, f);
		(void)fclose(f);
		copy = malloc(
			n ? n : 1); /* of the exact size: a read beyond it is seen by sanitizers */
		if (!copy)
			return EXIT_FAILURE;
		for (size_t b = 0; b < n; b++)
			copy[b] = data[b];
		(void)LLVMFuzzerTestOneInput(copy, n);
		free(copy);
	}
	return EXIT_SUCCESS;
}
