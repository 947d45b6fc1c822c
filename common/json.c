/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"

enum { FIRST_GROWTH = 32, READ_STEP = 65536 }; /* bytes */

static unsigned n_shortages;

/* What the parser's buffer grows into when there is nothing else. */
static struct {
	char *bytes; /* NULL: nothing is being parsed */
	size_t size;
	size_t used;
} reserve;

/*
 * The buffer grows to 32 bytes, 64, and so on, to less than four times the longest token in all. Other
 * things that happen to be of such a size get their room here as well, if malloc() goes on failing:
 * texts of 31 bytes, 63 and so on with their nodes and places in an array, each of them smaller than
 * three times its own text. All else fails, and ends the parsing.
 */
static size_t reserve_for(size_t size)
{
	return 8 * size + 1024;
}

static void *take_reserve(size_t size)
{
	char *p = reserve.bytes + reserve.used;

	if (!reserve.bytes || size < FIRST_GROWTH || (size & (size - 1)))
		return NULL;
	assert(size <= reserve.size - reserve.used);
	reserve.used += size;
	return p;
}

static void *allocate(size_t size)
{
	void *p = malloc(size);

	if (p)
		return p;
	n_shortages++;
	return take_reserve(size);
}

static void release(void *p)
{
	uintptr_t at = (uintptr_t)p;
	uintptr_t first = (uintptr_t)reserve.bytes;

	if (!reserve.bytes || at < first || at - first >= reserve.size)
		free(p);
}

/* Before main(): no tree may exist yet. */
__attribute__((constructor)) static void use_allocator(void)
{
	json_set_alloc_funcs(allocate, release);
}

unsigned dp_json_n_shortages(void)
{
	return n_shortages;
}

/* Return: 0; -ENOMEM; -EINVAL with @je filled. */
static int parse(const char *text, size_t size, json_t **ret, json_error_t *je)
{
	unsigned before = n_shortages;
	json_t *root;

	if (size > SIZE_MAX / 16)
		return -ENOMEM;
	reserve.size = reserve_for(size);
	reserve.used = 0;
	reserve.bytes = malloc(reserve.size);
	if (!reserve.bytes)
		return -ENOMEM;
	root = json_loadb(text, size, JSON_REJECT_DUPLICATES, je);
	if (n_shortages != before) { /* it may lie in the reserve */
		json_decref(root);
		root = NULL;
	}
	free(reserve.bytes);
	reserve.bytes = NULL;
	if (n_shortages != before)
		return -ENOMEM;
	*ret = root;
	return root ? 0 : -EINVAL;
}

int dp_json_parse(const char *text, size_t size, json_t **ret, struct dp_error *err)
{
	json_error_t je;
	int r = parse(text, size, ret, &je);

	if (r == -EINVAL)
		return dp_error_set(err, DP_ERR_INVALID, r, "%s (byte %d)", je.text, je.position);
	return r < 0 ? dp_error_oom(err) : 0;
}

/* Return: 0, and *ret_text belongs to the caller; negative errno. */
static int read_all(FILE *file, char **ret_text, size_t *ret_size)
{
	auto_free char *text = NULL;
	size_t max = 0;
	size_t n = 0;

	do {
		if (n == max) {
			char *p = realloc(text, max ? 2 * max : READ_STEP);

			if (!p)
				return -ENOMEM;
			text = p;
			max = max ? 2 * max : READ_STEP;
		}
		errno = 0;
		n += fread(text + n, 1, max - n, file);
	} while (n == max);
	if (ferror(file))
		return errno ? -errno : -EIO;
	*ret_text = DP_TAKE_PTR(text);
	*ret_size = n;
	return 0;
}

static int read_file(const char *path, char **ret_text, size_t *ret_size)
{
	FILE *file;
	int r;

	if (!strcmp(path, "-"))
		return read_all(stdin, ret_text, ret_size);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	r = read_all(file, ret_text, ret_size);
	(void)fclose(file);
	return r;
}

int dp_json_read(const char *path, json_t **ret, struct dp_error *err)
{
	auto_free char *text = NULL;
	json_error_t je;
	size_t size;
	int r = read_file(path, &text, &size);

	if (r < 0 && r != -ENOMEM)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: %s", path, strerror(-r));
	if (r == 0)
		r = parse(text, size, ret, &je);
	if (r == -EINVAL)
		return dp_error_set(err, DP_ERR_INVALID, r, "%s: line %d column %d: %s", path, je.line,
				    je.column, je.text);
	return r < 0 ? dp_error_oom(err) : 0;
}
