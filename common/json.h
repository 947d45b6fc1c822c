/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_JSON_H
#define DP_COMMON_JSON_H

/*
 * jansson, where no shortage of memory is missed and none does harm. It gets an allocator that counts
 * what was refused: a tree is what it should be if nothing was while it was made, which spares whoever
 * builds one from looking at each call.
 *
 * Texts are parsed here alone. jansson's parser (up to 2.14 at least) does not look whether its buffer
 * for the text of a token could grow. It loses the byte that had no room, with it perhaps the end of
 * the text, and reads and writes on behind it. So that buffer always gets its room, from a reserve
 * that is taken before.
 */

#include <jansson.h>
#include <stddef.h>

#include "common/compiler.h"
#include "common/error.h"

/* dp_json_n_shortages() - how often jansson has been refused memory so far. */
unsigned dp_json_n_shortages(void);

/**
 * dp_json_parse() - text to tree
 * @text: @size bytes; a key that comes twice is refused
 * @ret:  out: new reference
 * @err:  out: what is wrong, with the place
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) it is not JSON; -ENOMEM.
 */
DP_NODISCARD int dp_json_parse(const char *text, size_t size, json_t **ret, struct dp_error *err);

/**
 * dp_json_read() - file to tree
 * @path: "-" = standard input
 *
 * As dp_json_parse(); -EINVAL also where the file cannot be read, and @err names it.
 */
DP_NODISCARD int dp_json_read(const char *path, json_t **ret, struct dp_error *err);

#endif
