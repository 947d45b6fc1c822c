/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_RPC_H
#define DP_COMMON_RPC_H

/*
 * Docker's plugin protocol: POST /<Type>.<Method>, JSON in, JSON out (docs of moby: pkg/plugins).
 *
 * What an answer looks like, and why:
 *  - success and refusal are both status 200: the engine reads the reason of a refusal from the
 *    body, under "Err" for a network driver and "Error" for an IPAM driver; the wrong name counts
 *    as success, so both are always set;
 *  - 400 for a body that is not the request, 404 for an unknown method, 405 for another verb;
 *  - 400 also for more than DP_RPC_MAX_VALUES JSON values (the engine sends some for each published
 *    port), 503 while all requests under way together have more than DP_RPC_MAX_ALL_VALUES: a value
 *    of two bytes takes a hundred in memory. The parser allows 2048 levels of nesting;
 *  - an empty body where arguments are due is refused: it is what a retry of a lost request looks
 *    like (the engine's buffer is spent), and acting on it would be acting twice.
 *
 * GET /metrics answers with what is counted here, in the turn, and by the daemon (metrics.h).
 */

#include <jansson.h>

#include "common/http.h"
#include "common/schema.h"
#include "common/turn.h"

enum { DP_RPC_MAX_VALUES = 1 << 17, DP_RPC_MAX_ALL_VALUES = 1 << 19 };

struct dp_rpc;
struct dp_call; /* one request on its way to an answer */

/**
 * dp_rpc_handler - first step of a method
 * @ctx:  the daemon's
 * @call: for dp_call_reply() and dp_call_then()
 * @req:  decoded request, of the route's struct; lives as long as @call
 * @err:  out: reason on failure
 *
 * A handler that fails leaves nothing behind that its request would have to answer for.
 * Return: enum dp_step, or a negative errno.
 */
typedef int (*dp_rpc_handler)(void *ctx, struct dp_call *call, const void *req, struct dp_error *err);

/* A later step; @data is what dp_call_then() was given. */
typedef int (*dp_rpc_step)(void *ctx, struct dp_call *call, void *data, struct dp_error *err);

/* A table of routes ends with a row whose path is NULL. */
struct dp_route {
	const char *path;               /* "/IpamDriver.RequestPool" */
	const struct dp_schema *schema; /* NULL = no arguments, an empty body is fine */
	size_t req_size;                /* bytes of the struct that the schema fills */
	dp_rpc_handler handler;
};

/* dp_call_reply() - the answer in case of success; @reply is taken. Without one it is {}. */
void dp_call_reply(struct dp_call *call, json_t *reply);

/* dp_call_reply_text() - the same with the answer as JSON text, a copy of which is taken: composing
 * and printing values costs more than what they are about where requests come by the thousand. */
void dp_call_reply_text(struct dp_call *call, const char *text);

/**
 * dp_call_then() - what to run after the flush, for a handler that returns DP_STEP_AGAIN or _PARK
 * @step: next step, called with @data
 * @data: owned by the call from now on
 * @done: called once when the call ends, @ok telling whether it succeeded: undoes kernel work if
 *        not, frees @data; may be NULL
 *
 * Replaces an earlier step; the @data and @done of the first call stay if @data is the same.
 */
void dp_call_then(struct dp_call *call, dp_rpc_step step, void *data,
		  void (*done)(void *ctx, void *data, bool ok));

/* dp_call_wake() - a call that its step has parked runs its next step, which dp_call_then() set. */
void dp_call_wake(struct dp_call *call);

/* dp_call_deadline_ms() - monotonic time at which @call fails if it is still parked. */
uint64_t dp_call_deadline_ms(const struct dp_call *call);

/**
 * dp_call_undo_with() - if the answer cannot be delivered, take back what this call has made
 * @path: static; the method that does so, called with the arguments of the request over which those
 *        of the reply are laid (strings only)
 *
 * For a handler that succeeds in making something new, not for one that confirms what there is. A
 * client whose connection ends before the answer never asks for the opposite: the engine rolls back
 * its own side and tries again, with an empty body; or it has died, and does not know of what it
 * had not been told. Unless the answer left, the undoing runs in a turn of its own
 * before any other call: nothing can have used or claimed the thing in between. It is a call like
 * others and durable as such.
 */
void dp_call_undo_with(struct dp_call *call, const char *path);

struct dp_rpc_spec {
	const char *name;               /* "mynetworkplugin": prefix of metrics */
	const char *implements;         /* "NetworkDriver": the answer to Plugin.Activate */
	const struct dp_route *const *routes; /* tables, NULL-terminated */
	void *ctx;                      /* handed to handlers */
	uint32_t deadline_ms;           /* a parked call fails after this */
	void (*metrics)(void *ctx, const struct dp_metrics *m); /* the daemon's own; may be NULL */
};

/**
 * dp_rpc_refusal() - the body of an answer that is an error, as either kind of driver says it
 * @msg: the reason; what is not UTF-8 becomes '?'
 *
 * Return: JSON, which the caller frees; NULL out of memory.
 */
DP_NODISCARD char *dp_rpc_refusal(const char *msg);

/**
 * dp_rpc_new() - dispatcher; its dp_rpc_on_request() is the callback for dp_http_new()
 * @spec: borrowed
 * @loop: borrowed, for the clock
 * @turn: borrowed: where the requests go
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int dp_rpc_new(const struct dp_rpc_spec *spec, struct dp_loop *loop,
			    struct dp_turn *turn, struct dp_rpc **ret_rpc, struct dp_error *err);

/* dp_rpc_free() - NULL is fine; no call may be under way. */
void dp_rpc_free(struct dp_rpc *rpc);
DP_DEFINE_CLEANUP(struct dp_rpc, dp_rpc_free);

/* dp_rpc_stop() - from now on every request is answered at once, with the reason that the daemon is
 * stopping, and none goes to the turn. */
void dp_rpc_stop(struct dp_rpc *rpc);

/* dp_rpc_on_scrape() - take one request of a listener that serves GET /metrics and nothing else. */
void dp_rpc_on_scrape(void *rpc, struct dp_http_request *req);

/* dp_rpc_on_request() - take one request; @rpc is a struct dp_rpc. */
void dp_rpc_on_request(void *rpc, struct dp_http_request *req);

#endif
