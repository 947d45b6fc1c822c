/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_HTTP_H
#define DP_COMMON_HTTP_H

/*
 * HTTP on a listening socket, without threads: libmicrohttpd in external-epoll mode, inside our
 * loop. A request is handed on when it has arrived completely; its connection rests until the
 * answer. Idle connections are kept open for ever, since closing one races with a request of the
 * engine, whose retry then comes with an empty body (pkg/plugins/client.go).
 *
 * Limits, which bound the memory that clients can take, whatever they send and however slowly:
 * 2048 connections (further ones wait in the listen queue), 4 KiB of headers a connection,
 * DP_HTTP_MAX_BODY bytes of a body (413 above it), DP_HTTP_MAX_BODIES bytes of all bodies that are
 * here at one time (503 above it; bodies of up to DP_HTTP_SMALL_BODY bytes are always taken).
 */

#include <stddef.h>
#include <sys/types.h>

#include "common/loop.h"

enum {
	DP_HTTP_SMALL_BODY = 4 << 10, /* bytes; more than the engine usually sends */
	DP_HTTP_MAX_BODY = 1 << 20,
	DP_HTTP_MAX_BODIES = 16 << 20,
};

struct dp_http;
struct dp_http_request;

/* @req has arrived. The callee answers it exactly once, now or later. */
typedef void (*dp_http_fn)(void *ctx, struct dp_http_request *req);

/**
 * dp_http_new() - serve HTTP on @listen_fd
 * @loop:      borrowed; must outlive the server
 * @listen_fd: borrowed; non-blocking listening socket
 * @fn:        called for each complete request, with @ctx
 *
 * Return: 0; -EIO libmicrohttpd could not start; -ENOMEM.
 */
DP_NODISCARD int dp_http_new(struct dp_loop *loop, int listen_fd, dp_http_fn fn, void *ctx,
			     struct dp_http **ret_http, struct dp_error *err);

/**
 * dp_http_restrict() - answer 403 to whoever dp_access_check() does not let in
 * @group: whose members it lets in besides root; may be DP_NO_GROUP
 *
 * For a unix socket; comes before the first connection is accepted, that is, before the loop runs.
 */
void dp_http_restrict(struct dp_http *http, gid_t group);

/* dp_http_free() - closes all connections. Requests not yet answered must be answered before. */
void dp_http_free(struct dp_http *http);
DP_DEFINE_CLEANUP(struct dp_http, dp_http_free);

/**
 * dp_http_flush() - send the answers given since the last call, take what has arrived meanwhile
 *
 * Return: true if requests have come in or more is to be sent, so that another turn is due.
 */
bool dp_http_flush(struct dp_http *http);

/* dp_http_quiesce() - accept no new connections; those open are served on. */
void dp_http_quiesce(struct dp_http *http);

const char *dp_http_method(const struct dp_http_request *req); /* "POST"; lives with @req */
const char *dp_http_path(const struct dp_http_request *req);   /* "/IpamDriver.RequestPool" */
const char *dp_http_body(const struct dp_http_request *req, size_t *ret_size); /* bytes, not text */

/**
 * dp_http_on_end() - call @fn once, when the answer to @req has left or cannot
 * @fn:  @lost: the client was gone before its answer was, and no request has been handed on since
 *       the answer was given: so nobody can have made use of what it would have told. If the answer
 *       gets stuck and is lost only later, that counts as delivered.
 * @ctx: handed to @fn
 *
 * To be called before dp_http_respond(). @fn must not answer requests.
 */
void dp_http_on_end(struct dp_http_request *req, void (*fn)(void *ctx, bool lost), void *ctx);

/**
 * dp_http_respond() - answer @req, which is gone afterwards
 * @status: HTTP status
 * @body:   JSON text; taken, freed with free(); NULL: out of memory, which becomes a 500 that says so
 *
 * Sent by the next dp_http_flush(). A client that has gone away is no failure.
 */
void dp_http_respond(struct dp_http_request *req, unsigned status, char *body);

/* dp_http_respond_as() - the same with a content type of its own: a text that lives for ever. */
void dp_http_respond_as(struct dp_http_request *req, unsigned status, const char *type, char *body);

#endif
