/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_UNIT_H
#define DP_TESTS_SUPPORT_UNIT_H

/* cmocka with what it wants included before it, and a few words that many unit tests use. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"
#include "common/inaddr.h"

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' does not contain '%s'", text, part);
}

/* A failure with the errno and a text that names the culprit. */
static inline void assert_refused(int r, int code, const struct dp_error *err, const char *part)
{
	assert_int_equal(r, code);
	assert_int_equal(err->code, code);
	assert_contains(err->msg, part);
}

/* A success; else the reason is shown. */
static inline void assert_ok(int r, const struct dp_error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->msg);
}

static inline struct dp_addr addr_of(const char *s)
{
	struct dp_addr a = { .family = 0 };

	assert_int_equal(dp_addr_parse(s, &a), 0);
	return a;
}

static inline struct dp_prefix prefix_of(const char *s)
{
	struct dp_prefix p = { .len = 0 };

	assert_int_equal(dp_prefix_parse(s, &p), 0);
	return p;
}

#endif
