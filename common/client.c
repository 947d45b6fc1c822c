/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/client.h"
#include "common/json.h"

enum { READ_STEP = 16384 };

struct dp_client_call {
	struct dp_loop *loop;
	int fd;
	struct dp_timer timer;
	dp_client_fn fn;
	void *ctx;
	char *request;
	size_t request_size;
	size_t sent;
	char *answer; /* NUL-terminated */
	size_t size;
	size_t max;
};

static void call_free(struct dp_client_call *c)
{
	dp_timer_disarm(c->loop, &c->timer);
	if (c->fd >= 0) {
		dp_loop_del_fd(c->loop, c->fd);
		(void)close(c->fd);
	}
	free(c->request);
	free(c->answer);
	free(c);
}

static void finish(struct dp_client_call *c, json_t *reply, const struct dp_error *err)
{
	dp_client_fn fn = c->fn;
	void *ctx = c->ctx;

	call_free(c);
	fn(ctx, reply, err);
}

static void fail(struct dp_client_call *c, enum dp_err_kind kind, int code, const char *reason)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)dp_error_set(&err, kind, code, "%s", reason);
	finish(c, NULL, &err);
}

static void on_timeout(void *ctx)
{
	fail(ctx, DP_ERR_UNAVAILABLE, -ETIMEDOUT, "no answer in time");
}

/* The answer is complete. A refusal has its reason under "Err", whatever the status. */
static void take_answer(struct dp_client_call *c)
{
	const char *body = c->answer ? strstr(c->answer, "\r\n\r\n") : NULL;
	json_auto_t *reply = NULL;
	const char *reason;
	int r;

	if (!body) {
		fail(c, DP_ERR_UNAVAILABLE, -ECONNRESET, "the connection closed without an answer");
		return;
	}
	r = dp_json_parse(body + 4, c->size - (size_t)(body + 4 - c->answer), &reply, NULL);
	reason = json_string_value(json_object_get(reply, "Err"));
	if (r == -ENOMEM)
		fail(c, DP_ERR_INTERNAL, r, "out of memory");
	else if (reason)
		fail(c, DP_ERR_INVALID, -EREMOTEIO, reason);
	else if (strncmp(c->answer, "HTTP/1.1 200 ", 13) || !json_is_object(reply))
		fail(c, DP_ERR_INTERNAL, -EPROTO, "what came is not an answer");
	else
		finish(c, reply, NULL);
}

static int make_room(struct dp_client_call *c)
{
	size_t max = c->max ? 2 * c->max : READ_STEP;
	char *p;

	if (c->size + 1 < c->max)
		return 0;
	if (c->size >= DP_CLIENT_MAX_REPLY)
		return -EMSGSIZE;
	p = realloc(c->answer, max);
	if (!p)
		return -ENOMEM;
	c->answer = p;
	c->max = max;
	return 0;
}

static void on_readable(struct dp_client_call *c)
{
	ssize_t n;

	for (;;) {
		int r = make_room(c);

		if (r < 0) {
			fail(c, DP_ERR_INTERNAL, r,
			     r == -ENOMEM ? "out of memory" : "the answer is too long");
			return;
		}
		n = recv(c->fd, c->answer + c->size, c->max - c->size - 1, 0);
		if (n <= 0)
			break;
		c->size += (size_t)n;
		c->answer[c->size] = '\0';
	}
	if (n == 0)
		take_answer(c);
	else if (errno != EAGAIN && errno != EINTR)
		fail(c, DP_ERR_UNAVAILABLE, -errno, strerror(errno));
}

static void on_event(void *ctx, uint32_t events);

/* Return: true while the call lives. */
static bool on_writable(struct dp_client_call *c)
{
	struct dp_error err = DP_ERROR_INIT;
	ssize_t n = send(c->fd, c->request + c->sent, c->request_size - c->sent, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < 0) {
		fail(c, DP_ERR_UNAVAILABLE, -errno, strerror(errno));
		return false;
	}
	c->sent += (size_t)n;
	if (c->sent < c->request_size)
		return true;
	dp_loop_del_fd(c->loop, c->fd); /* from now on only the answer matters */
	if (dp_loop_add_fd(c->loop, c->fd, EPOLLIN, on_event, c, &err) == 0)
		return true;
	finish(c, NULL, &err);
	return false;
}

static void on_event(void *ctx, uint32_t events)
{
	struct dp_client_call *c = ctx;

	if ((events & EPOLLOUT) && c->sent < c->request_size && !on_writable(c))
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		on_readable(c);
}

static int connect_to(const char *socket_path, int *ret_fd, struct dp_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "socket: %s", strerror(errno));
	if (strlen(socket_path) >= sizeof sa.sun_path)
		return dp_error_set(err, DP_ERR_INVALID, -ENAMETOOLONG, "%s: path too long",
				    socket_path);
	memcpy(sa.sun_path, socket_path, strlen(socket_path));
	/* A unix socket connects at once or not at all (EAGAIN: its queue is full). */
	if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -errno, "%s: %s", socket_path,
				    strerror(errno));
	*ret_fd = dp_take_fd(&fd);
	return 0;
}

static int compose(struct dp_client_call *c, const char *method, const json_t *args)
{
	auto_free char *body = args ? json_dumps(args, JSON_COMPACT) : strdup("{}");
	int n;

	if (!body)
		return -ENOMEM;
	n = asprintf(
		&c->request,
		"POST %s HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		method, strlen(body), body);
	if (n < 0) {
		c->request = NULL;
		return -ENOMEM;
	}
	c->request_size = (size_t)n;
	return 0;
}

int dp_client_call(struct dp_loop *loop, const char *socket, const char *method, json_t *args,
		   uint64_t timeout_ms, dp_client_fn fn, void *ctx,
		   struct dp_client_call **ret_call, struct dp_error *err)
{
	json_auto_t *taken = args;
	struct dp_client_call *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return dp_error_oom(err);
	*c = (struct dp_client_call){ .loop = loop,
				      .fd = -EBADF,
				      .fn = fn,
				      .ctx = ctx,
				      .timer = { .fn = on_timeout, .ctx = c } };
	r = compose(c, method, taken) < 0 ? dp_error_oom(err) : connect_to(socket, &c->fd, err);
	if (r == 0)
		r = dp_loop_add_fd(loop, c->fd, EPOLLOUT, on_event, c, err);
	if (r < 0) {
		call_free(c);
		return r;
	}
	dp_timer_arm(loop, &c->timer, dp_loop_now_ms(loop) + timeout_ms);
	if (ret_call)
		*ret_call = c;
	return 0;
}

void dp_client_cancel(struct dp_client_call *call)
{
	if (call)
		call_free(call);
}
