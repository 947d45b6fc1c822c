/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_CLIENT_H
#define DP_COMMON_CLIENT_H

/*
 * The asking side of rpc.h: one call to a daemon of ours over its unix socket. The daemons ask each
 * other this way from within their loop, and an operator's command asks its daemon, with a loop of
 * its own. One connection a call, closed by the answer's end, which keeps both sides simple: calls
 * between daemons are rare.
 *
 * Only answers of our own server are understood (status line, headers, body until the connection
 * closes): for that, a general HTTP client would bring two dozen libraries into each daemon.
 */

#include <jansson.h>

#include "common/loop.h"

enum { DP_CLIENT_MAX_REPLY = 64 << 20 }; /* bytes; a longer answer fails the call */

struct dp_client_call;

/* The outcome. @reply: borrowed, NULL on failure. @err: NULL on success. The call is gone. */
typedef void (*dp_client_fn)(void *ctx, json_t *reply, const struct dp_error *err);

/**
 * dp_client_call() - ask, and be told later
 * @loop:       borrowed; must outlive the call
 * @socket:     path of the daemon's socket
 * @method:     "/Operator.Status"
 * @args:       taken; NULL asks with {}
 * @timeout_ms: until the call fails
 * @fn:         called once, with @ctx, never from within this function
 * @ret_call:   out: for dp_client_cancel(); valid until @fn is called. May be NULL
 *
 * Failures that @fn is told: DP_ERR_UNAVAILABLE nobody listens, no answer in time, the connection
 * broke; DP_ERR_INVALID the daemon refused, in its words; DP_ERR_INTERNAL what came is no answer.
 *
 * Return: 0; -ENOENT, -ECONNREFUSED (DP_ERR_UNAVAILABLE) nobody listens; -EACCES; -ENOMEM.
 */
DP_NODISCARD int dp_client_call(struct dp_loop *loop, const char *socket, const char *method,
				json_t *args, uint64_t timeout_ms, dp_client_fn fn, void *ctx,
				struct dp_client_call **ret_call, struct dp_error *err);

/* dp_client_cancel() - forget the call: its function will not be called. NULL is fine. */
void dp_client_cancel(struct dp_client_call *call);

#endif
