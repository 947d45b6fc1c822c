/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_ERROR_H
#define DP_COMMON_ERROR_H

/*
 * Errors with a reason an operator can act on.
 *
 * Every fallible function returns 0 or a negative errno. Functions whose failure has a story take
 * a struct dp_error as last parameter, owned by the caller and free of heap, and fill it with one
 * call in the statement that returns. The text travels to the user's terminal through Docker, so
 * it names the object and the offending value, in lower case, without a final period.
 */

#include "common/compiler.h"

/* What a caller can act on. */
enum dp_err_kind {
	DP_ERR_NONE,
	DP_ERR_INVALID,     /* the request is wrong; the same request will fail again */
	DP_ERR_NOT_FOUND,   /* the named object is unknown */
	DP_ERR_CONFLICT,    /* the request is fine, but collides with something that exists */
	DP_ERR_EXHAUSTED,   /* no address, pool or slot is left */
	DP_ERR_UNSUPPORTED, /* the host or this version cannot do it */
	DP_ERR_UNAVAILABLE, /* may work later: deadline, a daemon or link not there yet */
	DP_ERR_INTERNAL,    /* disk, kernel or memory failed us */
};

struct dp_error {
	enum dp_err_kind kind;
	int code;      /* negative errno; 0 while nothing is recorded */
	char msg[512]; /* NUL-terminated; ends in "..." if it was cut */
};

#define DP_ERROR_INIT { .kind = DP_ERR_NONE }

/**
 * dp_error_set() - record a failure
 * @err:  out: overwritten; may be NULL
 * @kind: what the caller can act on
 * @code: negative errno
 * @fmt:  printf format of the text
 *
 * Return: @code, so that a failure branch is one statement.
 */
DP_PRINTF(4, 5)
int dp_error_set(struct dp_error *err, enum dp_err_kind kind, int code, const char *fmt, ...);

/**
 * dp_error_oom() - record that memory ran out
 * @err: out: overwritten; may be NULL
 *
 * Return: -ENOMEM.
 */
int dp_error_oom(struct dp_error *err);

/**
 * dp_error_prefix() - put context in front of a recorded failure: "context: text"
 * @err: a recorded failure (code < 0, asserted); may be NULL
 * @fmt: printf format of the context
 *
 * Return: err->code; -EIO where @err is NULL, since a failure must stay one.
 */
DP_PRINTF(2, 3) int dp_error_prefix(struct dp_error *err, const char *fmt, ...);

/**
 * dp_error_kind_name() - the kind as a word for logs and metrics
 *
 * Return: a static string such as "conflict".
 */
const char *dp_error_kind_name(enum dp_err_kind kind);

#endif
