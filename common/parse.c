/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"

int dp_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	unsigned long long v;
	char *end = NULL;

	if (!isdigit((unsigned char)*s))
		return -EINVAL; /* strtoull would take blanks and signs */
	errno = 0;
	v = strtoull(s, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno == ERANGE || v < min || v > max)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

int dp_parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *ret_value)
{
	uint64_t v;
	int r = dp_parse_u64(s, min, max, &v);

	if (r < 0)
		return r;
	*ret_value = (uint32_t)v;
	return 0;
}

int dp_parse_bool(const char *s, bool *ret_value)
{
	static const char *const yes[] = { "true", "1", "yes", "on" };
	static const char *const no[] = { "false", "0", "no", "off" };

	for (size_t i = 0; i < DP_ARRAY_LEN(yes); i++) {
		if (!strcmp(s, yes[i])) {
			*ret_value = true;
			return 0;
		}
		if (!strcmp(s, no[i])) {
			*ret_value = false;
			return 0;
		}
	}
	return -EINVAL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -EINVAL;
}

int dp_parse_mac(const char *s, uint8_t ret_mac[6])
{
	uint8_t mac[6];

	if (strlen(s) != 17)
		return -EINVAL;
	for (size_t i = 0; i < 6; i++) {
		int hi = hex_digit(s[3 * i]);
		int lo = hex_digit(s[3 * i + 1]);

		if (hi < 0 || lo < 0 || (i < 5 && s[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(ret_mac, mac, sizeof mac);
	return 0;
}

enum { NEAREST_MAX_LEN = 64 };

/* Two-row Levenshtein distance; words longer than NEAREST_MAX_LEN are far from everything. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NEAREST_MAX_LEN + 1];
	size_t la = strlen(a);
	size_t lb = strlen(b);

	if (la > NEAREST_MAX_LEN || lb > NEAREST_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

const char *dp_nearest(const char *word, const char *const *candidates, size_t n_candidates)
{
	size_t limit = strlen(word) / 3;
	const char *best = NULL;

	if (limit < 2)
		limit = strlen(word) < 4 ? 1 : 2; /* two swapped letters are a distance of 2 */
	if (limit > 4)
		limit = 4;
	for (size_t i = 0; i < n_candidates; i++) {
		size_t d = candidates[i] ? distance(word, candidates[i]) : SIZE_MAX;

		if (d <= limit) {
			best = candidates[i];
			limit = d ? d - 1 : 0; /* a later one must be strictly nearer */
			if (!d)
				break;
		}
	}
	return best;
}
