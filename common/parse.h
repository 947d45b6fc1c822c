/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_PARSE_H
#define DP_COMMON_PARSE_H

/*
 * Strict parsing of text: the only caller of strtoull() in the project. No blanks, no signs, no
 * leading '+', no octal or hex, nothing after the number.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/compiler.h"

/**
 * dp_parse_u64() - decimal number within limits
 * @s:    text; borrowed
 * @min:  smallest value allowed
 * @max:  largest value allowed
 * @ret_value: out: the number; untouched on failure
 *
 * Return: 0; -EINVAL not a plain decimal number; -ERANGE outside @min..@max.
 */
DP_NODISCARD int dp_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_value);

/* dp_parse_u32() - as dp_parse_u64(), for 32 bits. */
DP_NODISCARD int dp_parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *ret_value);

/**
 * dp_parse_bool() - true/false as Docker's users write it: true false 1 0 yes no on off
 *
 * Return: 0; -EINVAL anything else.
 */
DP_NODISCARD int dp_parse_bool(const char *s, bool *ret_value);

/**
 * dp_parse_mac() - six colon-separated pairs of hex digits
 * @s:       text, for example "02:42:0a:01:00:05"
 * @ret_mac: out: 6 bytes in transmission order; untouched on failure
 *
 * Return: 0; -EINVAL not of that form.
 */
DP_NODISCARD int dp_parse_mac(const char *s, uint8_t ret_mac[6]);

/**
 * dp_nearest() - the candidate a user most probably meant
 * @word:         what was typed
 * @candidates:   array of @n strings; NULL entries are passed over
 * @n_candidates: number of entries
 *
 * Levenshtein distance, at most a third of the word's length, but at least 2 (1 for words of less
 * than four letters) and at most 4.
 *
 * Return: one of @candidates; NULL if none is near.
 */
const char *dp_nearest(const char *word, const char *const *candidates, size_t n_candidates);

#endif
