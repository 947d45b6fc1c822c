/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * http.c and rpc.c together, on a real socket: the server runs in a thread of its own, the tests are
 * its clients and read every answer byte by byte.
 */

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/client.h"
#include "common/listener.h"
#include "common/rpc.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

/* ---- the server ---- */

struct request {
	const char *text;
	uint32_t n;
};

static const struct dp_schema request_schema = {
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct request, text, "Text", .flags = DP_F_REQUIRED),
		DP_U32(struct request, n, "N", .min = 1, .max = 10),
	},
};

static int on_echo(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request *rq = req;

	(void)ctx;
	(void)err;
	dp_call_reply(call, json_pack("{s:s}", "Text", rq->text));
	return DP_STEP_DONE;
}

static int on_text(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)req;
	(void)err;
	dp_call_reply_text(call, "{\"Text\":\"first\"}");
	dp_call_reply_text(call, "{\"Text\":\"second\"}");
	return DP_STEP_DONE;
}

static int on_refuse(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request *rq = req;

	(void)ctx;
	(void)call;
	return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST, "no: '%.10s'", rq->text);
}

static int on_nothing(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)err;
	assert_null(req);
	return DP_STEP_DONE;
}

static int second_step(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	(void)ctx;
	(void)err;
	dp_call_reply(call, json_pack("{s:s}", "Text", data));
	return DP_STEP_DONE;
}

static unsigned n_done_ok;     /* calls of done(ok = true); written by the server's thread */
static unsigned n_done_failed;

static void done(void *ctx, void *data, bool ok)
{
	(void)ctx;
	if (ok)
		n_done_ok++;
	else
		n_done_failed++;
	free(data);
}

static int on_two_steps(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request *rq = req;

	(void)ctx;
	(void)err;
	dp_call_then(call, second_step, strdup(rq->text), done);
	return DP_STEP_AGAIN;
}

static int on_wait(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)req;
	(void)err;
	dp_call_then(call, second_step, strdup("never"), done);
	return DP_STEP_PARK;
}

static int hanging_up; /* the client's end of the connection that asks for /Test.HangUp */

/* Waits, and the client is gone before the connection has come to rest. */
static int on_hang_up(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)close(hanging_up);
	return on_wait(ctx, call, req, err);
}

static int on_stop_call(void *ctx, struct dp_call *call, const void *req, struct dp_error *err);

/* A call that makes something and whose client may leave meanwhile: it writes to @made_pipe, then
 * waits until @gate_pipe ends. */
static int made_pipe[2];
static int gate_pipe[2];

static int on_make(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	char byte;

	dp_call_undo_with(call, "/Test.Unmake");
	assert_int_equal(write(made_pipe[1], "", 1), 1);
	assert_int_equal(read(gate_pipe[0], &byte, 1), 0);
	return on_echo(ctx, call, req, err);
}

static char order[8]; /* of what the server did: 'u' undone, 'n' on_note() */

static int on_unmake(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request *rq = req;

	(void)ctx;
	(void)call;
	(void)err;
	assert_string_equal(rq->text, "thing");
	memcpy(order + strlen(order), "u", 2);
	return DP_STEP_DONE;
}

static int on_note(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)req;
	(void)err;
	memcpy(order + strlen(order), "n", 2);
	return DP_STEP_DONE;
}

static const struct dp_route routes[] = {
	{ "/Test.Echo", &request_schema, sizeof(struct request), on_echo },
	{ "/Test.Text", NULL, 0, on_text },
	{ "/Test.Refuse", &request_schema, sizeof(struct request), on_refuse },
	{ "/Test.Nothing", NULL, 0, on_nothing },
	{ "/Test.TwoSteps", &request_schema, sizeof(struct request), on_two_steps },
	{ "/Test.Wait", NULL, 0, on_wait },
	{ "/Test.HangUp", NULL, 0, on_hang_up },
	{ "/Test.Stop", NULL, 0, on_stop_call },
	{ "/Test.Make", &request_schema, sizeof(struct request), on_make },
	{ "/Test.Unmake", &request_schema, sizeof(struct request), on_unmake },
	{ "/Test.Note", NULL, 0, on_note },
	{ .path = NULL },
};
static const struct dp_route *const tables[] = { routes, NULL };

struct server {
	struct dp_rpc_spec spec;
	struct dp_loop *loop;
	struct dp_turn *turn;
	struct dp_rpc *rpc;
	struct dp_http *http;
	struct dp_listener listener;
	pthread_t thread;
	int stop_pipe[2];
};

static struct server server;

static int on_stop_call(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)req;
	(void)err;
	dp_rpc_stop(server.rpc);
	return DP_STEP_DONE;
}

static char dir[TEMPDIR_SIZE];
static char path[TEMPDIR_SIZE + 16];

static int flush(void *ctx, struct dp_error *err)
{
	(void)ctx;
	(void)err;
	return 0;
}

static void reload(void *ctx)
{
	(void)ctx;
}

static bool on_iteration(void *ctx)
{
	struct server *s = ctx;

	bool ran = dp_turn_run(s->turn);

	return dp_http_flush(s->http) || ran;
}

static void on_stop(void *ctx, uint32_t events)
{
	struct server *s = ctx;

	(void)events;
	dp_loop_stop(s->loop);
}

static void *serve(void *ctx)
{
	struct server *s = ctx;
	struct dp_error err = DP_ERROR_INIT;

	return dp_loop_run(s->loop, &err) < 0 ? s : NULL;
}

static int setup(void **state)
{
	static const struct dp_turn_ops ops = { .flush = flush, .reload = reload };
	struct dp_error err = DP_ERROR_INIT;
	struct server *s = &server;

	(void)state;
	tempdir_make(dir);
	(void)snprintf(path, sizeof path, "%s/s.sock", dir);
	*s = (struct server){ .spec = { .implements = "TestDriver",
					.routes = tables,
					.deadline_ms = 50 },
			      .listener = DP_LISTENER_INIT };
	n_done_ok = n_done_failed = 0;
	order[0] = '\0';
	assert_int_equal(pipe(made_pipe), 0);
	assert_int_equal(pipe(gate_pipe), 0);
	assert_int_equal(pipe(s->stop_pipe), 0);
	assert_ok(dp_loop_new(&s->loop, &err), &err);
	assert_ok(dp_listener_open(path, &s->listener, &err), &err);
	assert_ok(dp_turn_new(s->loop, &ops, s, &s->turn, &err), &err);
	assert_ok(dp_rpc_new(&s->spec, s->loop, s->turn, &s->rpc, &err), &err);
	assert_ok(dp_http_new(s->loop, s->listener.fd, dp_rpc_on_request, s->rpc, &s->http, &err),
		  &err);
	assert_ok(dp_loop_add_fd(s->loop, s->stop_pipe[0], EPOLLIN, on_stop, s, &err), &err);
	dp_loop_set_hook(s->loop, on_iteration, s);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	return 0;
}

static int teardown(void **state)
{
	struct server *s = &server;
	void *failed;

	(void)state;
	(void)close(s->stop_pipe[1]); /* readable: end of file */
	(void)pthread_join(s->thread, &failed);
	dp_turn_free(s->turn);
	dp_http_free(s->http);
	dp_rpc_free(s->rpc);
	dp_listener_close(&s->listener);
	dp_loop_free(s->loop);
	(void)close(s->stop_pipe[0]);
	(void)close(made_pipe[0]);
	(void)close(made_pipe[1]);
	(void)close(gate_pipe[0]);
	tempdir_remove(dir);
	return failed ? -1 : 0;
}

/* ---- the client ---- */

static int connect_client(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path, path, strlen(path) + 1);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
	/* A server that never answers fails the test instead of hanging it. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static void send_text(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		assert_true(sent > 0);
		text += sent;
		n -= (size_t)sent;
	}
}

struct answer {
	int status;
	char head[1024];
	char body[2048];
};

static size_t body_length(const char *head)
{
	const char *p = strstr(head, "Content-Length: ");
	size_t n = 0;

	if (!p)
		fail_msg("no Content-Length in: %s", head);
	for (p += 16; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (size_t)(*p - '0');
	return n;
}

static struct answer receive(int fd)
{
	struct answer a = { .status = 0 };
	size_t n = 0;

	while (n < 4 || memcmp(a.head + n - 4, "\r\n\r\n", 4)) {
		assert_true(n < sizeof a.head - 1);
		assert_int_equal(recv(fd, a.head + n, 1, 0), 1);
		n++;
	}
	n = body_length(a.head);
	assert_true(n < sizeof a.body);
	assert_int_equal(recv(fd, a.body, n, MSG_WAITALL), n);
	assert_memory_equal(a.head, "HTTP/1.1 ", 9);
	a.status = (a.head[9] - '0') * 100 + (a.head[10] - '0') * 10 + (a.head[11] - '0');
	return a;
}

/* The request as the engine writes it. */
static void post(int fd, const char *url, const char *body)
{
	char text[1024];
	int n = snprintf(text, sizeof text,
			 "POST %s HTTP/1.1\r\nHost: %%2Frun%%2Fplugin.sock\r\n"
			 "User-Agent: Go-http-client/1.1\r\nContent-Length: %zu\r\n"
			 "Accept: application/vnd.docker.plugins.v1.2+json\r\n"
			 "Accept-Encoding: gzip\r\n\r\n%s",
			 url, strlen(body), body);

	assert_true(n > 0 && (size_t)n < sizeof text);
	send_text(fd, text, (size_t)n);
}

static struct answer call(const char *url, const char *body)
{
	int fd = connect_client();
	struct answer a;

	post(fd, url, body);
	a = receive(fd);
	(void)close(fd);
	return a;
}

static struct answer call_raw(const char *text)
{
	int fd = connect_client();
	struct answer a;

	send_text(fd, text, strlen(text));
	a = receive(fd);
	(void)close(fd);
	return a;
}

static void assert_error(const struct answer *a, int status, const char *part)
{
	json_auto_t *body = json_loads(a->body, 0, NULL);
	const char *err = json_string_value(json_object_get(body, "Err"));
	const char *error = json_string_value(json_object_get(body, "Error"));

	assert_int_equal(a->status, status);
	assert_non_null(err); /* what a network driver's engine side reads */
	assert_non_null(error); /* and an IPAM driver's */
	assert_string_equal(err, error);
	assert_contains(err, part);
}

static void a_call_is_answered_with_its_reply(void **state)
{
	struct answer a = call("/Test.Echo", "{\"Text\":\"hello\"}");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"Text\":\"hello\"}");
	assert_contains(a.head, "Content-Type: application/vnd.docker.plugins.v1.2+json");
}

static void a_call_is_answered_with_the_last_text_given_for_it(void **state)
{
	struct answer a = call("/Test.Text", "");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"Text\":\"second\"}");
}

static void activation_names_what_is_implemented(void **state)
{
	struct answer a = call("/Plugin.Activate", "");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"Implements\":[\"TestDriver\"]}");
}

static void a_method_without_arguments_needs_no_body(void **state)
{
	struct answer a = call("/Test.Nothing", "");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{}");
	assert_contains(a.head, "Content-Type: application/vnd.docker.plugins.v1.2+json");
}

static void a_refusal_is_status_200_with_the_reason_in_both_fields(void **state)
{
	struct answer a = call("/Test.Refuse", "{\"Text\":\"x\"}");

	(void)state;
	assert_error(&a, 200, "no: 'x'");
}

static void a_reason_that_was_cut_inside_a_letter_is_still_told(void **state)
{
	/* Ten bytes end in the middle of an umlaut. */
	struct answer a = call("/Test.Refuse", "{\"Text\":\"123456789\xc3\xa4\"}");

	(void)state;
	assert_error(&a, 200, "no: '123456789");
}

static void an_empty_body_is_refused_where_arguments_are_due(void **state)
{
	struct answer a = call("/Test.Echo", "");

	(void)state;
	assert_error(&a, 400, "empty request");
}

static void a_body_that_is_not_json_is_refused(void **state)
{
	static const char *const bodies[] = { "{", "nonsense", "{\"Text\":\"a\",\"Text\":\"b\"}",
					      "{\"Text\":\"x\"} trailing", "{\"Text\":\"\xff\"}" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(bodies); i++) {
		struct answer a = call("/Test.Echo", bodies[i]);

		assert_error(&a, 400, "not JSON");
	}
}

static void arguments_that_do_not_fit_are_refused_by_name(void **state)
{
	struct answer missing = call("/Test.Echo", "{}");
	struct answer range = call("/Test.Echo", "{\"Text\":\"x\",\"N\":11}");
	struct answer array = call("/Test.Echo", "[]");

	(void)state;
	assert_error(&missing, 400, "Text: missing");
	assert_error(&range, 400, "N: 11 is outside 1 to 10");
	assert_error(&array, 400, "JSON object");
}

static void an_unknown_method_is_not_found(void **state)
{
	struct answer a = call("/Test.Unknown", "{}");
	struct answer root = call("/", "{}");

	(void)state;
	assert_error(&a, 404, "/Test.Unknown");
	assert_error(&root, 404, "unknown method");
}

static void another_verb_is_not_allowed(void **state)
{
	struct answer get = call_raw("GET /Test.Echo HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer put =
		call_raw("PUT /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
			 "\r\n{}");

	(void)state;
	assert_error(&get, 405, "POST");
	assert_error(&put, 405, "POST");
}

static void an_empty_host_header_is_accepted(void **state)
{
	/* Engine 20.10 and older send one. */
	struct answer a =
		call_raw("POST /Test.Nothing HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n");

	(void)state;
	assert_int_equal(a.status, 200);
}

static void a_body_in_chunks_is_put_together(void **state)
{
	struct answer a =
		call_raw("POST /Test.Echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
			 "\r\n8\r\n{\"Text\":\r\n7\r\n\"hello\"\r\n1\r\n}\r\n0\r\n\r\n");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"Text\":\"hello\"}");
}

/* A JSON text of @size bytes: what is said in it is short, the rest is blanks. */
static struct answer call_with_body_of(size_t size)
{
	static const char start[] = "{\"Text\":\"x\"";
	auto_free char *body = malloc(size);
	char head[128];
	int fd = connect_client();
	struct answer a;

	assert_non_null(body);
	memset(body, ' ', size);
	memcpy(body, start, sizeof start - 1);
	body[size - 1] = '}';
	(void)snprintf(head, sizeof head,
		       "POST /Test.Echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
	send_text(fd, head, strlen(head));
	send_text(fd, body, size);
	a = receive(fd);
	(void)close(fd);
	return a;
}

static void a_body_of_one_mebibyte_is_taken(void **state)
{
	struct answer a = call_with_body_of(1 << 20);

	(void)state;
	assert_int_equal(a.status, 200);
}

static void a_larger_body_is_refused(void **state)
{
	struct answer one_more = call_with_body_of((1 << 20) + 1);
	struct answer much_more = call_with_body_of(8 << 20);

	(void)state;
	assert_error(&one_more, 413, "1 MiB");
	assert_error(&much_more, 413, "1 MiB");
}

static void a_connection_serves_one_request_after_another(void **state)
{
	int fd = connect_client();

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		char body[64];
		struct answer a;

		(void)snprintf(body, sizeof body, "{\"Text\":\"%u\"}", i);
		post(fd, "/Test.Echo", body);
		a = receive(fd);
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, body);
		post(fd, "/Test.Unknown", "{}"); /* an error does not end it */
		a = receive(fd);
		assert_int_equal(a.status, 404);
	}
	(void)close(fd);
}

static void requests_sent_at_once_are_answered_in_order(void **state)
{
	int fd = connect_client();

	(void)state;
	post(fd, "/Test.TwoSteps", "{\"Text\":\"a\"}");
	post(fd, "/Test.Echo", "{\"Text\":\"b\"}");
	post(fd, "/Test.Echo", "{\"Text\":\"c\"}");
	for (char c = 'a'; c <= 'c'; c++) {
		struct answer a = receive(fd);
		char want[32];

		(void)snprintf(want, sizeof want, "{\"Text\":\"%c\"}", c);
		assert_string_equal(a.body, want);
	}
	(void)close(fd);
}

static void half_a_request_holds_nobody_up(void **state)
{
	static const char half[] =
		"POST /Test.Echo HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"Te";
	int slow = connect_client();
	struct answer a;

	(void)state;
	send_text(slow, half, sizeof half - 1);
	a = call("/Test.Echo", "{\"Text\":\"quick\"}");
	assert_int_equal(a.status, 200);
	send_text(slow, "xt\":\"s\"}", 8);
	a = receive(slow);
	assert_string_equal(a.body, "{\"Text\":\"s\"}");
	(void)close(slow);
}

static void clients_that_leave_are_forgotten(void **state)
{
	static const char half[] =
		"POST /Test.Echo HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"Te";

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		int fd = connect_client();

		if (i % 2)
			send_text(fd, half, sizeof half - 1);
		else
			post(fd, "/Test.TwoSteps", "{\"Text\":\"x\"}"); /* and does not wait */
		(void)close(fd);
	}
	a_call_is_answered_with_its_reply(state);
}

static void many_clients_are_answered_all(void **state)
{
	int fds[200];

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(fds); i++)
		fds[i] = connect_client();
	for (size_t i = 0; i < DP_ARRAY_LEN(fds); i++)
		post(fds[i], "/Test.TwoSteps", "{\"Text\":\"x\"}");
	for (size_t i = 0; i < DP_ARRAY_LEN(fds); i++) {
		struct answer a = receive(fds[i]);

		assert_int_equal(a.status, 200);
		(void)close(fds[i]);
	}
}

static void a_second_step_gives_the_answer(void **state)
{
	struct answer a = call("/Test.TwoSteps", "{\"Text\":\"later\"}");

	(void)state;
	assert_string_equal(a.body, "{\"Text\":\"later\"}");
	assert_int_equal(n_done_ok, 1);
	assert_int_equal(n_done_failed, 0);
}

static void a_call_that_waits_too_long_is_answered_with_an_error(void **state)
{
	struct answer a = call("/Test.Wait", "");

	(void)state;
	assert_error(&a, 200, "deadline");
	assert_int_equal(n_done_failed, 1);
}

static void a_call_whose_client_hangs_up_goes_on_without_it(void **state)
{
	int idle = connect_client(); /* the server looks after the one that is idle longest first */
	struct answer a;

	(void)state;
	post(idle, "/Test.Nothing", "");
	assert_int_equal(receive(idle).status, 200);
	hanging_up = connect_client();
	post(hanging_up, "/Test.HangUp", "");
	a = call("/Test.Wait", ""); /* came later, so its deadline is the later one */
	assert_error(&a, 200, "deadline");
	assert_int_equal(n_done_failed, 2);
	(void)close(idle);
}

static void a_daemon_that_stops_answers_what_is_under_way_and_refuses_the_rest(void **state)
{
	struct answer last = call("/Test.Stop", "");
	struct answer later = call("/Test.Echo", "{\"Text\":\"x\"}");

	(void)state;
	assert_int_equal(last.status, 200);
	assert_string_equal(last.body, "{}");
	assert_error(&later, 200, "being stopped");
}

static void nonsense_instead_of_http_does_not_disturb_others(void **state)
{
	int fd = connect_client();
	char c;

	(void)state;
	send_text(fd, "\0\1\2 nonsense\r\n\r\n\r\n", 18);
	while (recv(fd, &c, 1, 0) > 0) /* an answer or not, then the end */
		;
	(void)close(fd);
	a_call_is_answered_with_its_reply(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- client.c on the same server ---- */

struct outcome {
	struct dp_loop *loop;
	json_t *reply;
	struct dp_error err;
};

static void on_outcome(void *ctx, json_t *reply, const struct dp_error *err)
{
	struct outcome *o = ctx;

	o->reply = json_incref(reply);
	if (err)
		o->err = *err;
	dp_loop_stop(o->loop);
}

static struct outcome ask(const char *method, json_t *args, uint64_t timeout_ms)
{
	struct outcome o = { .err = DP_ERROR_INIT };
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_loop_new(&o.loop, &err), &err);
	assert_ok(dp_client_call(o.loop, path, method, args, timeout_ms, on_outcome, &o, NULL, &err),
		  &err);
	assert_ok(dp_loop_run(o.loop, &err), &err);
	dp_loop_free(o.loop);
	return o;
}

static void our_client_is_told_the_answer(void **state)
{
	struct outcome o = ask("/Test.Echo", json_pack("{s:s}", "Text", "hello"), 20000);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o.reply, "Text")), "hello");
	json_decref(o.reply);
}

static void our_client_is_told_a_refusal_in_the_servers_words(void **state)
{
	struct outcome o = ask("/Test.Refuse", json_pack("{s:s}", "Text", "hello"), 20000);

	(void)state;
	assert_null(o.reply);
	assert_int_equal(o.err.kind, DP_ERR_INVALID);
	assert_string_equal(o.err.msg, "no: 'hello'");
}

static void our_client_sends_more_than_a_socket_holds(void **state)
{
	size_t n = 900000;
	char *text = malloc(n + 1);
	struct outcome o;

	(void)state;
	memset(text, 'x', n);
	text[n] = '\0';
	o = ask("/Test.Refuse", json_pack("{s:s}", "Text", text), 20000);
	free(text);
	assert_null(o.reply);
	assert_contains(o.err.msg, "Text: ");
}

static void our_client_gives_up_in_time(void **state)
{
	struct outcome o = ask("/Test.Wait", NULL, 1);

	(void)state;
	assert_null(o.reply);
	assert_int_equal(o.err.code, -ETIMEDOUT);
}

/* Posts a call that makes something; it is under way when this returns. Return: the connection. */
static int begin_to_make(void)
{
	int fd = connect_client();
	char byte;

	post(fd, "/Test.Make", "{\"Text\":\"thing\"}");
	assert_int_equal(read(made_pipe[0], &byte, 1), 1);
	return fd;
}

static void what_is_made_for_a_client_that_has_left_is_unmade_before_the_next_call(void **state)
{
	int fd = begin_to_make();
	int next = connect_client();

	(void)state;
	post(next, "/Test.Note", "");
	(void)close(fd);
	(void)close(gate_pipe[1]); /* on it goes */
	(void)receive(next);
	assert_string_equal(order, "un");
	(void)close(next);
}

static void what_is_made_for_a_client_that_is_there_stays(void **state)
{
	int fd = begin_to_make();
	struct answer a;

	(void)state;
	(void)close(gate_pipe[1]);
	a = receive(fd);
	assert_int_equal(a.status, 200);
	(void)close(fd);
	(void)call("/Test.Note", "");
	(void)call("/Test.Note", "");
	assert_string_equal(order, "nn");
}

static void more_values_than_a_request_can_have_are_refused(void **state)
{
	static char body[2 * DP_RPC_MAX_VALUES + 4];
	char head[160];
	int fd = connect_client();
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof body; i++)
		body[i] = i % 2 ? ',' : '1';
	(void)snprintf(head, sizeof head,
		       "POST /Test.Echo HTTP/1.1\r\nHost: \r\nContent-Length: %zu\r\n\r\n", sizeof body);
	send_text(fd, head, strlen(head));
	send_text(fd, body, sizeof body);
	a = receive(fd);
	assert_error(&a, 400, "more than");
	(void)close(fd);
}

static void our_client_is_refused_where_nobody_listens(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_loop *loop;

	(void)state;
	assert_ok(dp_loop_new(&loop, &err), &err);
	assert_refused(dp_client_call(loop, "/nowhere/x.sock", "/Test.Echo", NULL, 1, on_outcome, NULL,
				      NULL, &err),
		       -ENOENT, &err, "/nowhere/x.sock");
	dp_loop_free(loop);
}

static void a_cancelled_call_is_never_heard_of(void **state)
{
	struct outcome o = { .err = DP_ERROR_INIT };
	struct dp_client_call *cancelled;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(dp_loop_new(&o.loop, &err), &err);
	assert_ok(dp_client_call(o.loop, path, "/Test.Wait", NULL, 1, on_outcome, NULL, &cancelled, &err),
		  &err);
	assert_ok(dp_client_call(o.loop, path, "/Test.Nothing", NULL, 20000, on_outcome, &o, NULL, &err),
		  &err);
	dp_client_cancel(cancelled); /* on_outcome() would stumble over its NULL */
	assert_ok(dp_loop_run(o.loop, &err), &err);
	assert_non_null(o.reply);
	json_decref(o.reply);
	dp_loop_free(o.loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_call_is_answered_with_its_reply),
		TEST(a_call_is_answered_with_the_last_text_given_for_it),
		TEST(activation_names_what_is_implemented),
		TEST(a_method_without_arguments_needs_no_body),
		TEST(a_refusal_is_status_200_with_the_reason_in_both_fields),
		TEST(a_reason_that_was_cut_inside_a_letter_is_still_told),
		TEST(an_empty_body_is_refused_where_arguments_are_due),
		TEST(a_body_that_is_not_json_is_refused),
		TEST(arguments_that_do_not_fit_are_refused_by_name),
		TEST(an_unknown_method_is_not_found),
		TEST(another_verb_is_not_allowed),
		TEST(an_empty_host_header_is_accepted),
		TEST(a_body_in_chunks_is_put_together),
		TEST(a_body_of_one_mebibyte_is_taken),
		TEST(a_larger_body_is_refused),
		TEST(a_connection_serves_one_request_after_another),
		TEST(requests_sent_at_once_are_answered_in_order),
		TEST(half_a_request_holds_nobody_up),
		TEST(clients_that_leave_are_forgotten),
		TEST(many_clients_are_answered_all),
		TEST(a_second_step_gives_the_answer),
		TEST(a_call_that_waits_too_long_is_answered_with_an_error),
		TEST(a_call_whose_client_hangs_up_goes_on_without_it),
		TEST(a_daemon_that_stops_answers_what_is_under_way_and_refuses_the_rest),
		TEST(nonsense_instead_of_http_does_not_disturb_others),
		TEST(what_is_made_for_a_client_that_has_left_is_unmade_before_the_next_call),
		TEST(what_is_made_for_a_client_that_is_there_stays),
		TEST(more_values_than_a_request_can_have_are_refused),
		TEST(our_client_is_told_the_answer),
		TEST(our_client_is_told_a_refusal_in_the_servers_words),
		TEST(our_client_sends_more_than_a_socket_holds),
		TEST(our_client_gives_up_in_time),
		TEST(our_client_is_refused_where_nobody_listens),
		TEST(a_cancelled_call_is_never_heard_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
