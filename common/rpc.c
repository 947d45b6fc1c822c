/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/rpc.h"

enum { N_KINDS = DP_ERR_INTERNAL + 1 };
enum { SMALL_BODY = 256 }; /* bytes; 2048 connections together stay within DP_RPC_MAX_ALL_VALUES */

/* What is counted of a route. */
struct route_stats {
	const struct dp_route *route;
	struct dp_histogram latency;  /* microseconds from arrival to answer, of all requests */
	uint64_t refused[N_KINDS];    /* by enum dp_err_kind */
	uint64_t malformed;           /* not the request's schema */
};

struct dp_rpc {
	const struct dp_rpc_spec *spec;
	struct route_stats *stats; /* one a route */
	size_t n_stats;
	struct dp_loop *loop;
	struct dp_turn *turn;
	bool stopping;
	size_t n_values; /* of JSON, in all calls under way */
};

struct dp_call {
	struct dp_turn_item item; /* first: the turn hands us its address */
	struct dp_rpc *rpc;
	struct dp_http_request *http; /* NULL: the call undoes another, and nobody waits */
	const struct dp_route *route;
	struct route_stats *stats;
	json_t *root;             /* what @req borrows from */
	void *req;                /* decoded; NULL without arguments */
	json_t *reply;
	char *text;               /* the same if @is_text; NULL: memory ran out */
	bool is_text;
	char *body;               /* of the answer: there before anything is final */
	dp_rpc_step step;         /* NULL = the route's handler is next */
	void *data;
	void (*done)(void *ctx, void *data, bool ok);
	uint64_t start_us;
	const char *undo; /* path of the method that undoes this call; NULL = none */
	size_t n_values;  /* of JSON, at most, in the request */
};

static struct dp_call *call_of(struct dp_turn_item *item)
{
	return (struct dp_call *)item;
}

void dp_call_reply(struct dp_call *call, json_t *reply)
{
	json_decref(call->reply);
	call->reply = reply;
}

void dp_call_reply_text(struct dp_call *call, const char *text)
{
	free(call->text);
	call->text = strdup(text);
	call->is_text = true;
}

void dp_call_then(struct dp_call *call, dp_rpc_step step, void *data,
		  void (*done)(void *ctx, void *data, bool ok))
{
	assert(!call->done || (call->data == data && (!done || call->done == done)));
	call->step = step;
	call->data = data;
	if (done)
		call->done = done;
}

void dp_call_undo_with(struct dp_call *call, const char *path)
{
	call->undo = path;
}

void dp_call_wake(struct dp_call *call)
{
	dp_turn_wake(call->rpc->turn, &call->item);
}

uint64_t dp_call_deadline_ms(const struct dp_call *call)
{
	return call->item.deadline_ms;
}

char *dp_rpc_refusal(const char *msg)
{
	json_auto_t *body = json_pack("{s:s, s:s}", "Err", msg, "Error", msg);
	char ascii[sizeof((struct dp_error *)NULL)->msg];

	if (!body) { /* not UTF-8: a value was quoted that is none, or was cut inside a letter */
		(void)snprintf(ascii, sizeof ascii, "%s", msg);
		for (char *p = ascii; *p; p++) {
			if ((unsigned char)*p > 0x7e)
				*p = '?';
		}
		body = json_pack("{s:s, s:s}", "Err", ascii, "Error", ascii);
	}
	return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

static void respond_error(struct dp_http_request *http, unsigned status, const char *msg)
{
	dp_http_respond(http, status, dp_rpc_refusal(msg));
}

static void call_free(struct dp_call *call)
{
	json_decref(call->reply);
	json_decref(call->root);
	free(call->text);
	call->rpc->n_values -= call->n_values;
	free(call->req);
	free(call->body);
	free(call);
}

static char *reply_body(const struct dp_call *call)
{
	if (call->is_text)
		return call->text ? strdup(call->text) : NULL;
	return call->reply ? json_dumps(call->reply, JSON_COMPACT) : strdup("{}");
}

/* An answer that cannot be written, or not as it should be, must not come after what it tells of: with
 * it, its turn fails. */
static int run_step(struct dp_turn_item *item, struct dp_error *err)
{
	struct dp_call *call = call_of(item);
	void *ctx = call->rpc->spec->ctx;
	unsigned before = dp_json_n_shortages();
	int r = call->step ? call->step(ctx, call, call->data, err)
			   : call->route->handler(ctx, call, call->req, err);

	if (r == DP_STEP_DONE)
		call->body = reply_body(call);
	if (r < 0 || ((r != DP_STEP_DONE || call->body) && dp_json_n_shortages() == before))
		return r;
	r = dp_error_oom(err);
	dp_turn_fail(call->rpc->turn, err);
	return r;
}

static void undo(struct dp_call *call);

/* @ctx is a call that was answered. */
static void on_end(void *ctx, bool lost)
{
	struct dp_call *call = ctx;

	if (lost && !call->rpc->stopping)
		undo(call);
	call_free(call);
}

/* The last of a call that undoes another. */
static void finish_undo(struct dp_call *call, const struct dp_error *err)
{
	if (err)
		dp_log_warning("%s of what nobody was told about: %s", call->route->path + 1, err->msg);
	call_free(call);
}

static void finish(struct dp_turn_item *item, const struct dp_error *err)
{
	struct dp_call *call = call_of(item);
	uint64_t us = dp_metrics_now_us() - call->start_us;
	unsigned long long ms = us / 1000;
	bool ends_later = !err && call->undo;

	if (call->done)
		call->done(call->rpc->spec->ctx, call->data, !err);
	if (!call->http) {
		finish_undo(call, err);
		return;
	}
	dp_histogram_add(&call->stats->latency, us);
	if (err) {
		call->stats->refused[err->kind]++;
		dp_log_info("%s refused (%s, %llu ms): %s", call->route->path + 1,
			    dp_error_kind_name(err->kind), ms, err->msg);
		respond_error(call->http, 200, err->msg);
	} else {
		dp_log_debug("%s done (%llu ms)", call->route->path + 1, ms);
		if (ends_later)
			dp_http_on_end(call->http, on_end, call);
		dp_http_respond(call->http, 200, DP_TAKE_PTR(call->body));
	}
	if (!ends_later)
		call_free(call);
}

static struct route_stats *find_route(const struct dp_rpc *rpc, const char *path)
{
	for (size_t i = 0; i < rpc->n_stats; i++) {
		if (!strcmp(rpc->stats[i].route->path, path))
			return &rpc->stats[i];
	}
	return NULL;
}

static int decode(struct dp_call *call, const char *body, size_t size, struct dp_error *err)
{
	const struct dp_route *route = call->route;
	int r;

	if (!route->schema)
		return 0;
	if (!size)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "empty request: it was lost on the way, try again");
	r = dp_json_parse(body, size, &call->root, err);
	if (r < 0)
		return r == -ENOMEM ? r : dp_error_prefix(err, "request is not JSON");
	call->req = calloc(1, route->req_size);
	if (!call->req)
		return dp_error_oom(err);
	return dp_schema_decode(route->schema, call->root, call->req, err);
}

static struct dp_call *call_new(struct dp_rpc *rpc, struct route_stats *stats)
{
	struct dp_call *call = calloc(1, sizeof *call);

	if (!call)
		return NULL;
	call->rpc = rpc;
	call->route = stats->route;
	call->stats = stats;
	call->start_us = dp_metrics_now_us();
	call->item.step = run_step;
	call->item.finish = finish;
	call->item.deadline_ms = dp_loop_now_ms(rpc->loop) + rpc->spec->deadline_ms;
	return call;
}

/* Members of @from that are strings, over those of @to. */
static int lay_over(json_t *to, json_t *from)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach (from, key, value) {
		if (r == 0 && json_is_string(value))
			r = json_object_set(to, key, value);
	}
	return r;
}

/* The answer to @call is lost: what it has made goes before anybody can find it. */
static void undo(struct dp_call *call)
{
	struct route_stats *stats = find_route(call->rpc, call->undo);
	const struct dp_route *route = stats->route;
	struct dp_error err = DP_ERROR_INIT;
	struct dp_call *back = call_new(call->rpc, stats);
	int r = 0;

	dp_log_notice("%s: the client was gone before the answer was, undone", call->route->path + 1);
	if (call->is_text)
		r = dp_json_parse(call->text, strlen(call->text), &call->reply, &err);
	if (back) {
		back->root = json_object();
		back->req = calloc(1, route->req_size);
	}
	if (r < 0 || !back || !back->root || !back->req || lay_over(back->root, call->root) < 0 ||
	    lay_over(back->root, call->reply) < 0 ||
	    dp_schema_decode(route->schema, back->root, back->req, &err) < 0) {
		dp_log_warning("%s cannot be undone: %s", call->route->path + 1,
			       *err.msg ? err.msg : "out of memory");
		if (back)
			call_free(back);
		return;
	}
	dp_turn_submit_first(call->rpc->turn, &back->item);
}

/* How many values the JSON has at most: commas inside texts count as well. */
static size_t count_values(const char *body, size_t size)
{
	size_t n = 1;

	if (size <= SMALL_BODY) /* not worth the counting */
		return size + 1;
	for (size_t i = 0; i < size; i++)
		n += body[i] == ',' || body[i] == '[' || body[i] == '{' || body[i] == ':';
	return n;
}

/* May a request of @n values come in? If not, its client has been told. */
static bool admit(struct dp_call *call, size_t n)
{
	char msg[80];

	if (n > DP_RPC_MAX_VALUES) {
		(void)snprintf(msg, sizeof msg, "request has more than %d JSON values",
			       DP_RPC_MAX_VALUES);
		respond_error(call->http, 400, msg);
		return false;
	}
	if (call->rpc->n_values + n > DP_RPC_MAX_ALL_VALUES) {
		respond_error(call->http, 503, "too many large requests at once, try again");
		return false;
	}
	call->n_values = n;
	call->rpc->n_values += n;
	return true;
}

static void submit(struct dp_rpc *rpc, struct route_stats *stats, struct dp_http_request *http)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_call *call = call_new(rpc, stats);
	const char *body;
	size_t size;

	if (!call) {
		dp_http_respond(http, 500, NULL);
		return;
	}
	call->http = http;
	body = dp_http_body(http, &size);
	if (!admit(call, count_values(body, size))) {
		call_free(call);
		return;
	}
	if (decode(call, body, size, &err) < 0) {
		stats->malformed++;
		dp_log_info("%s malformed: %s", call->route->path + 1, err.msg);
		respond_error(http, err.code == -ENOMEM ? 500 : 400, err.msg);
		call_free(call);
		return;
	}
	dp_turn_submit(rpc->turn, &call->item);
}

static void activate(const struct dp_rpc *rpc, struct dp_http_request *http)
{
	json_auto_t *body = json_pack("{s:[s]}", "Implements", rpc->spec->implements);

	dp_http_respond(http, 200, body ? json_dumps(body, JSON_COMPACT) : NULL);
}

/* ---- metrics ---- */

static void write_requests(const struct dp_rpc *rpc, const struct dp_metrics *m)
{
	dp_metrics_family(m, "request_duration_seconds", "histogram",
			  "time from a request's arrival to its answer");
	for (size_t i = 0; i < rpc->n_stats; i++)
		dp_metrics_histogram(m, "request_duration_seconds", &rpc->stats[i].latency, 1e-6,
				     "method", rpc->stats[i].route->path + 1);
	dp_metrics_family(m, "requests_refused_total", "counter", "requests answered with an error");
	for (size_t i = 0; i < rpc->n_stats; i++) {
		const struct route_stats *s = &rpc->stats[i];

		for (int k = DP_ERR_INVALID; k < N_KINDS; k++)
			dp_metrics_value(m, "requests_refused_total", (double)s->refused[k], "method",
					 s->route->path + 1, "kind",
					 dp_error_kind_name((enum dp_err_kind)k), NULL);
		dp_metrics_value(m, "requests_refused_total", (double)s->malformed, "method",
				 s->route->path + 1, "kind", "malformed", NULL);
	}
}

static bool is_scrape(const struct dp_http_request *http)
{
	return !strcmp(dp_http_method(http), "GET") && !strcmp(dp_http_path(http), "/metrics");
}

static char *metrics_text(const struct dp_rpc *rpc)
{
	struct dp_metrics m = { .prefix = rpc->spec->name };
	char *text = NULL;
	size_t size;

	m.out = open_memstream(&text, &size);
	if (!m.out)
		return NULL;
	dp_metrics_family(&m, "build_info", "gauge", "the daemon's version");
	dp_metrics_value(&m, "build_info", 1, "version", PACKAGE_VERSION, NULL);
	write_requests(rpc, &m);
	dp_turn_write_metrics(rpc->turn, &m);
	if (rpc->spec->metrics)
		rpc->spec->metrics(rpc->spec->ctx, &m);
	dp_metrics_process(&m);
	if (fclose(m.out) == 0)
		return text;
	free(text);
	return NULL;
}

void dp_rpc_on_scrape(void *ctx, struct dp_http_request *http)
{
	const struct dp_rpc *rpc = ctx;

	if (rpc->stopping || !is_scrape(http))
		dp_http_respond_as(http, rpc->stopping ? 503 : 404, "text/plain",
				   strdup("only GET /metrics is served here\n"));
	else
		dp_http_respond_as(http, 200, "text/plain; version=0.0.4; charset=utf-8",
				   metrics_text(rpc));
}

void dp_rpc_on_request(void *ctx, struct dp_http_request *http)
{
	struct dp_rpc *rpc = ctx;
	const char *path = dp_http_path(http);
	struct route_stats *route = find_route(rpc, path);
	char msg[160];

	if (rpc->stopping) {
		respond_error(http, 200, "the plugin is being stopped, try again");
	} else if (is_scrape(http)) {
		dp_rpc_on_scrape(rpc, http);
	} else if (strcmp(dp_http_method(http), "POST")) {
		respond_error(http, 405, "only POST is understood");
	} else if (!strcmp(path, "/Plugin.Activate")) {
		activate(rpc, http);
	} else if (route) {
		submit(rpc, route, http);
	} else {
		(void)snprintf(msg, sizeof msg, "unknown method %.100s", path);
		respond_error(http, 404, msg);
	}
}

void dp_rpc_stop(struct dp_rpc *rpc)
{
	rpc->stopping = true;
}

/* Room for what is counted of each route. */
static int make_stats(struct dp_rpc *rpc)
{
	size_t n = 0;

	for (const struct dp_route *const *table = rpc->spec->routes; *table; table++) {
		for (const struct dp_route *route = *table; route->path; route++)
			n++;
	}
	rpc->stats = calloc(n ? n : 1, sizeof *rpc->stats);
	if (!rpc->stats)
		return -ENOMEM;
	for (const struct dp_route *const *table = rpc->spec->routes; *table; table++) {
		for (const struct dp_route *route = *table; route->path; route++)
			rpc->stats[rpc->n_stats++].route = route;
	}
	return 0;
}

int dp_rpc_new(const struct dp_rpc_spec *spec, struct dp_loop *loop, struct dp_turn *turn,
	       struct dp_rpc **ret_rpc, struct dp_error *err)
{
	struct dp_rpc *rpc = calloc(1, sizeof *rpc);

	if (!rpc)
		return dp_error_oom(err);
	rpc->spec = spec;
	rpc->loop = loop;
	rpc->turn = turn;
	if (make_stats(rpc) < 0) {
		free(rpc);
		return dp_error_oom(err);
	}
	*ret_rpc = rpc;
	return 0;
}

void dp_rpc_free(struct dp_rpc *rpc)
{
	if (rpc)
		free(rpc->stats);
	free(rpc);
}
