/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * The floor of every durable request: append 4 KiB to a file and fdatasync(2) it, over and over.
 *
 *   fdatasync DIRECTORY SECONDS
 *
 * Prints: fdatasync COUNT PER_SECOND P50_US P99_US
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 1 << 20, SIZE = 4096, MAX_FILE = 1000 };

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* Writes until @end_ns. Return: number of samples in @ns. */
static size_t measure(int fd, uint64_t end_ns, uint64_t ns[static MAX_SAMPLES])
{
	static char block[SIZE] = "x";
	size_t n = 0;

	while (n < MAX_SAMPLES) {
		uint64_t begin = now_ns();

		if (begin >= end_ns)
			break;
		/* As a write-ahead log does: from the front again after 1000 pages. */
		if (pwrite(fd, block, SIZE, (off_t)(n % MAX_FILE) * SIZE) != SIZE || fdatasync(fd) < 0)
			return 0;
		ns[n++] = now_ns() - begin;
	}
	return n;
}

int main(int argc, char **argv)
{
	double seconds = argc == 3 ? strtod(argv[2], NULL) : 0;
	uint64_t *ns = calloc(MAX_SAMPLES, sizeof *ns);
	char path[4096];
	size_t n;
	int fd;

	if (seconds <= 0 || !ns) {
		(void)fprintf(stderr, "usage: fdatasync DIRECTORY SECONDS\n");
		return 2;
	}
	(void)snprintf(path, sizeof path, "%s/fdatasync.XXXXXX", argv[1]);
	fd = mkstemp(path);
	if (fd < 0) {
		(void)fprintf(stderr, "fdatasync: %s: %s\n", path, strerror(errno));
		return 1;
	}
	(void)unlink(path);
	n = measure(fd, now_ns() + (uint64_t)(seconds * 1e9), ns);
	(void)close(fd);
	if (!n) {
		(void)fprintf(stderr, "fdatasync: %s\n", strerror(errno));
		return 1;
	}
	qsort(ns, n, sizeof *ns, compare);
	printf("fdatasync %zu %.0f %.1f %.1f\n", n, (double)n / seconds, (double)ns[n / 2] / 1e3,
	       (double)ns[n * 99 / 100] / 1e3);
	free(ns);
	return 0;
}
