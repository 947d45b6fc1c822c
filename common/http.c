/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * The only file that knows libmicrohttpd.
 *
 * Life of a request: MHD calls on_access() first without data (we allocate), then with pieces of
 * the body (we collect), then with size 0: complete. We hand the request on. dp_http_respond()
 * queues the response; MHD sends it when it next runs, which dp_http_flush() lets it do.
 *
 * Suspending a connection costs three system calls: out of MHD's epoll, in again, and a read that
 * finds nothing. Most requests are answered before MHD runs again and need none of it. Only when
 * MHD runs and asks once more for the answer of one that is still open is its connection suspended,
 * and until then the client may hang up: the request then goes on without a connection.
 */

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/access.h"
#include "common/http.h"

/* MHD clears a connection's memory for each request, so it is no larger than needed. */
enum { MAX_CONNECTIONS = 2048, CONNECTION_MEMORY = 4 * 1024 };

struct dp_http {
	struct MHD_Daemon *mhd;
	struct dp_loop *loop;
	gid_t group;     /* whose members are served besides root */
	bool restricted; /* others are not */
	int epoll_fd; /* MHD's own, watched by our loop */
	struct MHD_Response *nothing; /* {}, which most answers are */
	dp_http_fn fn;
	void *ctx;
	unsigned n_arrived; /* requests handed on since MHD last began to run */
	unsigned n_answered; /* answers given since MHD last ran */
	uint64_t n_runs;    /* of MHD so far */
	size_t n_bodies;    /* bytes of all bodies here */
	bool pending;       /* MHD wants to run again without waiting for its epoll */
	bool closed;        /* a connection was closed since MHD last began to run */
};

struct dp_http_request {
	struct dp_http *http;
	struct MHD_Connection *connection; /* NULL: the client has hung up */
	char *method;
	char *path;
	char *body;
	size_t size;     /* bytes of body collected */
	size_t capacity; /* bytes allocated */
	bool handed_on;  /* the callee has it until it answers */
	bool suspended;
	unsigned refusal;  /* status, decided while the body comes in; 0 = none */
	bool answered;
	uint64_t run;      /* number of the run that may send the answer first */
	void (*end)(void *ctx, bool lost);
	void *end_ctx;
};

static char text_413[] = "{\"Err\":\"request body is larger than 1 MiB\","
			 "\"Error\":\"request body is larger than 1 MiB\"}";
static char text_503[] = "{\"Err\":\"too many large requests at once, try again\","
			 "\"Error\":\"too many large requests at once, try again\"}";

static char nothing[] = "{}";

static void request_free(struct dp_http_request *req)
{
	req->http->n_bodies -= req->capacity;
	free(req->method);
	free(req->path);
	free(req->body);
	free(req);
}

#define PLUGIN_TYPE "application/vnd.docker.plugins.v1.2+json"

/* @lost: the client was gone before its answer, and no request has been handed on since. */
static void request_end(struct dp_http_request *req, bool lost)
{
	if (req->end)
		req->end(req->end_ctx, lost);
	request_free(req);
}

static enum MHD_Result queue(struct MHD_Connection *c, unsigned status, const char *type, char *body)
{
	static char no_memory[] = "{\"Err\":\"out of memory\",\"Error\":\"out of memory\"}";
	struct MHD_Response *response;
	enum MHD_Result r;

	response = body ? MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE)
			: MHD_create_response_from_buffer(sizeof no_memory - 1, no_memory,
							  MHD_RESPMEM_PERSISTENT);
	if (!response) {
		free(body);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	r = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return r;
}

/* Reads on, keeps nothing, and answers at the end. */
static void refuse(struct dp_http_request *req, unsigned status)
{
	req->http->n_bodies -= req->capacity;
	free(req->body);
	req->body = NULL;
	req->size = req->capacity = 0;
	req->refusal = status;
}

static int collect(struct dp_http_request *req, const char *data, size_t n)
{
	size_t capacity = req->capacity ? req->capacity : 1024;
	char *p;

	if (req->refusal)
		return 0;
	if (req->size + n > DP_HTTP_MAX_BODY) {
		refuse(req, MHD_HTTP_CONTENT_TOO_LARGE);
		return 0;
	}
	while (capacity < req->size + n)
		capacity *= 2;
	if (capacity > DP_HTTP_SMALL_BODY &&
	    req->http->n_bodies + capacity - req->capacity > DP_HTTP_MAX_BODIES) {
		refuse(req, MHD_HTTP_SERVICE_UNAVAILABLE);
		return 0;
	}
	if (capacity > req->capacity) {
		p = realloc(req->body, capacity);
		if (!p)
			return -ENOMEM;
		req->http->n_bodies += capacity - req->capacity;
		req->body = p;
		req->capacity = capacity;
	}
	memcpy(req->body + req->size, data, n);
	req->size += n;
	return 0;
}

static struct dp_http_request *request_new(struct dp_http *http, struct MHD_Connection *c,
					   const char *method, const char *path)
{
	struct dp_http_request *req = calloc(1, sizeof *req);

	if (!req)
		return NULL;
	req->http = http;
	req->connection = c;
	req->method = strdup(method);
	req->path = strdup(path);
	if (!req->method || !req->path) {
		request_free(req);
		return NULL;
	}
	return req;
}

/* A connection's context is NULL, or for one that is not served: this. */
static char stranger;

static bool is_stranger(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info && info->socket_context == &stranger;
}

static int check_access(const struct dp_http *http, struct MHD_Connection *c, struct dp_error *err)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

	return dp_access_check(info ? info->connect_fd : -EBADF, http->group, err);
}

/* No request of it is looked at; the connection is closed after the answer. */
static enum MHD_Result turn_away(const struct dp_http *http, struct MHD_Connection *c)
{
	struct dp_error err = DP_ERROR_INIT;
	char *body = NULL;

	if (check_access(http, c, &err) == 0 ||
	    asprintf(&body, "{\"Err\":\"%s\",\"Error\":\"%s\"}", err.msg, err.msg) < 0)
		return MHD_NO;
	return queue(c, MHD_HTTP_FORBIDDEN, PLUGIN_TYPE, body);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *c, const char *url,
				 const char *method, const char *version, const char *data,
				 size_t *size, void **slot)
{
	struct dp_http *http = cls;
	struct dp_http_request *req = *slot;

	(void)version;
	if (!req) {
		if (is_stranger(c))
			return turn_away(http, c);
		req = request_new(http, c, method, url);
		*slot = req;
		return req ? MHD_YES : MHD_NO;
	}
	if (*size) {
		if (collect(req, data, *size) < 0)
			return MHD_NO;
		*size = 0;
		return MHD_YES;
	}
	if (req->answered)
		return MHD_NO; /* the answer could not be queued for want of memory: hang up */
	if (req->handed_on) {
		req->suspended = true;
		MHD_suspend_connection(c);
		return MHD_YES;
	}
	if (req->refusal) {
		req->answered = true;
		return queue(c, req->refusal, PLUGIN_TYPE,
			     strdup(req->refusal == MHD_HTTP_CONTENT_TOO_LARGE ? text_413 : text_503));
	}
	req->handed_on = true;
	http->n_arrived++;
	http->fn(http->ctx, req);
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
			 enum MHD_RequestTerminationCode code)
{
	struct dp_http_request *req = *slot;

	(void)cls;
	(void)c;
	if (!req)
		return;
	*slot = NULL;
	if (req->handed_on && !req->answered)
		req->connection = NULL; /* dp_http_respond() ends it */
	else
		request_end(req, code != MHD_REQUEST_TERMINATED_COMPLETED_OK &&
					 req->http->n_runs == req->run);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **slot,
			  enum MHD_ConnectionNotificationCode code)
{
	struct dp_http *http = cls;

	if (code == MHD_CONNECTION_NOTIFY_STARTED && http->restricted)
		*slot = check_access(http, c, NULL) < 0 ? &stranger : NULL;
	http->closed = http->closed || code == MHD_CONNECTION_NOTIFY_CLOSED;
}

/*
 * MHD watches edges: a connection that it has not yet seen to be drained, such as one just resumed,
 * is in its own list of ready ones and makes its epoll silent. Only its timeout, 0, tells of them.
 * And where it had to stop accepting, out of connections or of descriptors, it begins again only in
 * the run after the one that closed a connection.
 */
static void run(struct dp_http *http)
{
	MHD_UNSIGNED_LONG_LONG left = 1;

	http->n_arrived = 0;
	http->n_answered = 0;
	http->n_runs++;
	http->closed = false;
	(void)MHD_run(http->mhd);
	http->pending = http->closed ||
			(MHD_get_timeout(http->mhd, &left) == MHD_YES && left == 0);
}

static void on_ready(void *ctx, uint32_t events)
{
	(void)events;
	run(ctx);
}

int dp_http_new(struct dp_loop *loop, int listen_fd, dp_http_fn fn, void *ctx,
		struct dp_http **ret_http, struct dp_error *err)
{
	struct dp_http *http = calloc(1, sizeof *http);
	int r;

	if (!http)
		return dp_error_oom(err);
	http->epoll_fd = -EBADF;
	http->loop = loop;
	http->fn = fn;
	http->ctx = ctx;
	http->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL,
		NULL, on_access, http, MHD_OPTION_LISTEN_SOCKET, listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
	if (!http->mhd) {
		free(http);
		return dp_error_set(err, DP_ERR_INTERNAL, -EIO, "libmicrohttpd did not start");
	}
	http->nothing = MHD_create_response_from_buffer(strlen(nothing), nothing, MHD_RESPMEM_PERSISTENT);
	if (!http->nothing || MHD_add_response_header(http->nothing, MHD_HTTP_HEADER_CONTENT_TYPE,
						      PLUGIN_TYPE) != MHD_YES) {
		dp_http_free(http);
		return dp_error_oom(err);
	}
	http->epoll_fd = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	r = dp_loop_add_fd(loop, http->epoll_fd, EPOLLIN, on_ready, http, err);
	if (r < 0) {
		dp_http_free(http);
		return r;
	}
	*ret_http = http;
	return 0;
}

void dp_http_restrict(struct dp_http *http, gid_t group)
{
	http->restricted = true;
	http->group = group;
}

void dp_http_free(struct dp_http *http)
{
	if (!http)
		return;
	(void)dp_http_flush(http);
	dp_loop_del_fd(http->loop, http->epoll_fd);
	(void)MHD_quiesce_daemon(http->mhd); /* the listening socket is the caller's to close */
	MHD_stop_daemon(http->mhd);
	if (http->nothing)
		MHD_destroy_response(http->nothing);
	free(http);
}

bool dp_http_flush(struct dp_http *http)
{
	if (!http->n_answered && !http->pending)
		return false;
	run(http);
	return http->n_arrived || http->n_answered || http->pending;
}

void dp_http_quiesce(struct dp_http *http)
{
	(void)MHD_quiesce_daemon(http->mhd);
}

const char *dp_http_method(const struct dp_http_request *req)
{
	return req->method;
}

const char *dp_http_path(const struct dp_http_request *req)
{
	return req->path;
}

const char *dp_http_body(const struct dp_http_request *req, size_t *ret_size)
{
	*ret_size = req->size;
	return req->body;
}

void dp_http_on_end(struct dp_http_request *req, void (*fn)(void *ctx, bool lost), void *ctx)
{
	req->end = fn;
	req->end_ctx = ctx;
}

void dp_http_respond(struct dp_http_request *req, unsigned status, char *body)
{
	dp_http_respond_as(req, status, PLUGIN_TYPE, body);
}

void dp_http_respond_as(struct dp_http_request *req, unsigned status, const char *type, char *body)
{
	struct MHD_Connection *c = req->connection;
	bool suspended = req->suspended;

	assert(!req->answered);
	if (!c) {
		free(body);
		request_end(req, true);
		return;
	}
	req->answered = true;
	req->run = req->http->n_runs + 1;
	req->http->n_answered++;
	/* Fails only where memory is short; MHD then asks once more and is told to hang up, which the
	 * engine takes as "try again". */
	if (body && status == MHD_HTTP_OK && !strcmp(body, nothing)) {
		free(body);
		(void)MHD_queue_response(c, status, req->http->nothing);
	} else {
		(void)queue(c, body ? status : MHD_HTTP_INTERNAL_SERVER_ERROR, type, body);
	}
	if (suspended)
		MHD_resume_connection(c);
}
