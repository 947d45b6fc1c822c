/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"

static void mark_cut(struct dp_error *err, int n)
{
	if (n < 0 || (size_t)n >= sizeof err->msg)
		memcpy(err->msg + sizeof err->msg - 4, "...", 4);
}

int dp_error_set(struct dp_error *err, enum dp_err_kind kind, int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0 && kind != DP_ERR_NONE);
	if (!err)
		return code;
	err->kind = kind;
	err->code = code;
	va_start(ap, fmt);
	mark_cut(err, vsnprintf(err->msg, sizeof err->msg, fmt, ap));
	va_end(ap);
	return code;
}

int dp_error_oom(struct dp_error *err)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -ENOMEM, "out of memory");
}

int dp_error_prefix(struct dp_error *err, const char *fmt, ...)
{
	char old[sizeof err->msg];
	va_list ap;
	size_t len;
	int n;

	if (!err)
		return -EIO;
	assert(err->code < 0);
	memcpy(old, err->msg, sizeof old);
	va_start(ap, fmt);
	n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	mark_cut(err, n);
	len = strlen(err->msg);
	mark_cut(err, (int)len + snprintf(err->msg + len, sizeof err->msg - len, ": %s", old));
	return err->code;
}

const char *dp_error_kind_name(enum dp_err_kind kind)
{
	switch (kind) {
	case DP_ERR_NONE:
		return "none";
	case DP_ERR_INVALID:
		return "invalid";
	case DP_ERR_NOT_FOUND:
		return "not-found";
	case DP_ERR_CONFLICT:
		return "conflict";
	case DP_ERR_EXHAUSTED:
		return "exhausted";
	case DP_ERR_UNSUPPORTED:
		return "unsupported";
	case DP_ERR_UNAVAILABLE:
		return "unavailable";
	case DP_ERR_INTERNAL:
		return "internal";
	}
	return "unknown";
}
