/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/client.h"
#include "common/peer.h"
#include "common/schema.h"
#include "ipam/peer.h"

enum { TIMEOUT_MS = 5000 };

/* ---- view ---- */

/* A growing array of one kind of thing. */
struct array {
	void *items;
	size_t n;
	size_t max;
};

struct network_pool {
	struct dp_prefix prefix;
	bool own; /* see ipam_peer_view_own() */
};

struct ipam_peer_view {
	struct array endpoints; /* struct ipam_peer_endpoint, sorted by address once complete */
	struct array pools;     /* struct network_pool, one for each network that has it */
	struct array others;    /* struct dp_addr: gateways, auxiliary addresses; sorted likewise */
};

void ipam_peer_view_free(struct ipam_peer_view *view)
{
	if (!view)
		return;
	free(view->endpoints.items);
	free(view->pools.items);
	free(view->others.items);
	free(view);
}

DP_DEFINE_CLEANUP(struct ipam_peer_view, ipam_peer_view_free);

static int append(struct array *a, const void *item, size_t size)
{
	if (a->n == a->max) {
		size_t max = a->max ? 2 * a->max : 64;
		void *p = reallocarray(a->items, max, size);

		if (!p)
			return -ENOMEM;
		a->items = p;
		a->max = max;
	}
	memcpy((char *)a->items + a->n++ * size, item, size);
	return 0;
}

static int cmp_addr(const void *a, const void *b)
{
	return dp_addr_cmp(a, b);
}

static int cmp_endpoint(const void *a, const void *b)
{
	const struct ipam_peer_endpoint *x = a;
	const struct ipam_peer_endpoint *y = b;

	return dp_addr_cmp(&x->addr, &y->addr);
}

static void sort(struct array *a, size_t size, int (*cmp)(const void *, const void *))
{
	if (a->n)
		qsort(a->items, a->n, size, cmp);
}

static const void *find(const struct array *a, const void *key, size_t size,
			int (*cmp)(const void *, const void *))
{
	return a->n ? bsearch(key, a->items, a->n, size, cmp) : NULL;
}

size_t ipam_peer_view_networks(const struct ipam_peer_view *view, const struct dp_prefix *pool)
{
	const struct network_pool *pools = view->pools.items;
	size_t n = 0;

	for (size_t i = 0; i < view->pools.n; i++)
		n += dp_prefix_equal(&pools[i].prefix, pool);
	return n;
}

size_t ipam_peer_view_own(const struct ipam_peer_view *view, const struct dp_prefix *pool)
{
	const struct network_pool *pools = view->pools.items;
	size_t n = 0;

	for (size_t i = 0; i < view->pools.n; i++)
		n += pools[i].own && dp_prefix_equal(&pools[i].prefix, pool);
	return n;
}

static const struct ipam_peer_endpoint *find_endpoint(const struct ipam_peer_view *view,
						      const struct dp_addr *addr)
{
	struct ipam_peer_endpoint key = { .addr = *addr };

	return find(&view->endpoints, &key, sizeof key, cmp_endpoint);
}

const struct ipam_peer_endpoint *ipam_peer_view_endpoint(const struct ipam_peer_view *view,
							 const struct dp_addr *addr)
{
	const struct ipam_peer_endpoint *first = view->endpoints.items;
	const struct ipam_peer_endpoint *e = find_endpoint(view, addr);

	if (e && ((e > first && !cmp_endpoint(e - 1, e)) ||
		  (e + 1 < first + view->endpoints.n && !cmp_endpoint(e, e + 1))))
		return NULL;
	return e;
}

bool ipam_peer_view_explains(const struct ipam_peer_view *view, const struct dp_addr *addr)
{
	return find_endpoint(view, addr) || find(&view->others, addr, sizeof *addr, cmp_addr);
}

/* ---- decoding ---- */

struct answer {
	json_t *networks;
	json_t *endpoints;
	const char *next;
};

static const struct dp_schema answer_schema = {
	.n_fields = 3,
	.fields = (const struct dp_field[3]){
		DP_ARR(struct answer, networks, "Networks"),
		DP_ARR(struct answer, endpoints, "Endpoints", .flags = DP_F_REQUIRED),
		DP_STR(struct answer, next, "Next", .flags = DP_F_REQUIRED),
	},
};

struct network {
	const char *id;
	json_t *subnets;
	const char *aux;
};

static const struct dp_schema network_schema = {
	.n_fields = 3,
	.fields = (const struct dp_field[3]){
		DP_STR(struct network, id, "ID"),
		DP_ARR(struct network, subnets, "Subnets", .flags = DP_F_REQUIRED),
		DP_STR(struct network, aux, "Aux", .flags = DP_F_REQUIRED, .max = UINT32_MAX),
	},
};

struct subnet {
	const char *pool;
	const char *gateway;
};

static const struct dp_schema subnet_schema = {
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct subnet, pool, "Pool", .flags = DP_F_REQUIRED),
		DP_STR(struct subnet, gateway, "Gateway", .flags = DP_F_REQUIRED),
	},
};

struct endpoint {
	const char *id;
	const char *network;
	const char *addr[2];
	const char *mac;
	const char *link;
	const char *bridge;
};

static const struct dp_schema endpoint_schema = {
	.n_fields = 7,
	.fields = (const struct dp_field[7]){
		DP_STR(struct endpoint, id, "ID", .flags = DP_F_REQUIRED, .min = 1),
		DP_STR(struct endpoint, network, "Network", .flags = DP_F_REQUIRED),
		DP_STR(struct endpoint, addr[0], "Address", .flags = DP_F_REQUIRED),
		DP_STR(struct endpoint, addr[1], "AddressIPv6", .flags = DP_F_REQUIRED),
		DP_STR(struct endpoint, mac, "MacAddress", .flags = DP_F_REQUIRED),
		DP_STR(struct endpoint, link, "Link", .flags = DP_F_REQUIRED),
		DP_STR(struct endpoint, bridge, "Bridge", .flags = DP_F_REQUIRED),
	},
};

static int no_address(struct dp_error *err, const char *text)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -EPROTO, "the network daemon sent '%.64s'", text);
}

static int add_other(struct ipam_peer_view *view, const char *text, struct dp_error *err)
{
	struct dp_addr addr;

	if (dp_addr_parse(text, &addr) < 0)
		return no_address(err, text);
	return append(&view->others, &addr, sizeof addr) < 0 ? dp_error_oom(err) : 0;
}

static bool is_engines_own(const char *id)
{
	return id && strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

static int add_subnet(struct ipam_peer_view *view, const json_t *obj, bool own, struct dp_error *err)
{
	struct network_pool pool = { .own = own };
	struct subnet s;
	int r = dp_schema_decode(&subnet_schema, obj, &s, err);

	if (r < 0)
		return r;
	if (dp_prefix_parse(s.pool, &pool.prefix) < 0)
		return no_address(err, s.pool);
	if (append(&view->pools, &pool, sizeof pool) < 0)
		return dp_error_oom(err);
	return *s.gateway ? add_other(view, s.gateway, err) : 0;
}

static int add_network(struct ipam_peer_view *view, const json_t *obj, struct dp_error *err)
{
	auto_free char *copy = NULL;
	struct network n;
	char *rest = NULL;
	int r = dp_schema_decode(&network_schema, obj, &n, err);

	for (size_t i = 0; r == 0 && i < json_array_size(n.subnets); i++)
		r = add_subnet(view, json_array_get(n.subnets, i), is_engines_own(n.id), err);
	if (r < 0)
		return r;
	copy = strdup(n.aux);
	if (!copy)
		return dp_error_oom(err);
	for (char *w = strtok_r(copy, " ", &rest); w && r == 0; w = strtok_r(NULL, " ", &rest))
		r = add_other(view, w, err);
	return r;
}

static int add_endpoint(struct ipam_peer_view *view, const json_t *obj, struct dp_error *err)
{
	struct ipam_peer_endpoint e = { .since = json_integer_value(json_object_get(obj, "Since")) };
	struct endpoint d;
	int r = dp_schema_decode(&endpoint_schema, obj, &d, err);

	if (r < 0)
		return r;
	(void)snprintf(e.id, sizeof e.id, "%s", d.id);
	(void)snprintf(e.network, sizeof e.network, "%s", d.network);
	(void)snprintf(e.mac, sizeof e.mac, "%s", d.mac);
	(void)snprintf(e.link, sizeof e.link, "%s", d.link);
	(void)snprintf(e.bridge, sizeof e.bridge, "%s", d.bridge);
	for (unsigned i = 0; i < 2; i++) {
		if (!*d.addr[i])
			continue;
		if (dp_addr_parse(d.addr[i], &e.addr) < 0)
			return no_address(err, d.addr[i]);
		if (append(&view->endpoints, &e, sizeof e) < 0)
			return dp_error_oom(err);
	}
	return 0;
}

static int add_answer(struct ipam_peer_view *view, const json_t *reply, struct answer *ret_answer,
		      struct dp_error *err)
{
	struct answer a = { .networks = NULL };
	int r = dp_schema_decode(&answer_schema, reply, &a, err);

	for (size_t i = 0; r == 0 && i < json_array_size(a.networks); i++)
		r = add_network(view, json_array_get(a.networks, i), err);
	for (size_t i = 0; r == 0 && i < json_array_size(a.endpoints); i++)
		r = add_endpoint(view, json_array_get(a.endpoints, i), err);
	*ret_answer = a;
	return r;
}

/* ---- asking ---- */

struct ipam_peer_question {
	struct dp_loop *loop;
	struct dp_peer_list sockets;
	size_t current;              /* which of them is asked */
	size_t n_ours;               /* that have answered */
	json_t *probed;
	struct dp_client_call *call; /* NULL = none is under way */
	struct dp_timer timer;       /* for going on, or failing, from the loop */
	struct dp_error err;         /* why it fails */
	struct ipam_peer_view *view;
	char after[IPAM_PEER_ID_SIZE];
	ipam_peer_fn fn;
	void *ctx;
};

static void question_free(struct ipam_peer_question *q)
{
	dp_timer_disarm(q->loop, &q->timer);
	dp_client_cancel(q->call);
	dp_peer_list_done(&q->sockets);
	ipam_peer_view_free(q->view);
	json_decref(q->probed);
	free(q);
}

void ipam_peer_cancel(struct ipam_peer_question *question)
{
	if (question)
		question_free(question);
}

static void finish(struct ipam_peer_question *q, const struct dp_error *err)
{
	struct ipam_peer_view *view = err ? NULL : DP_TAKE_PTR(q->view);
	struct dp_error copy = DP_ERROR_INIT;
	ipam_peer_fn fn = q->fn;
	void *ctx = q->ctx;

	if (err)
		copy = *err;
	if (view) {
		sort(&view->endpoints, sizeof(struct ipam_peer_endpoint), cmp_endpoint);
		sort(&view->others, sizeof(struct dp_addr), cmp_addr);
	}
	question_free(q);
	fn(ctx, view, err ? &copy : NULL);
}

bool ipam_peer_is_foreign(const struct dp_error *err)
{
	return err->code == -EPROTO ||
	       (err->code == -EREMOTEIO && !strncmp(err->msg, "unknown method", 14));
}

static void ask_next(void *question);

static void go_on(struct ipam_peer_question *q)
{
	dp_timer_arm(q->loop, &q->timer, dp_loop_now_ms(q->loop));
}

/* What a socket has said. Return: 1 it has more to say; 0 that was all; negative errno. */
static int take_answer(struct ipam_peer_question *q, const json_t *reply, struct dp_error *err)
{
	struct answer a;
	int r = add_answer(q->view, reply, &a, err);

	if (r == 0 && *a.next && strcmp(a.next, q->after) <= 0)
		r = dp_error_set(err, DP_ERR_INTERNAL, -EPROTO,
				 "the network daemon's pages do not come to an end");
	if (r < 0)
		return r;
	(void)snprintf(q->after, sizeof q->after, "%s", a.next);
	q->n_ours += !*a.next;
	return *a.next != '\0';
}

static void on_answer(void *question, json_t *reply, const struct dp_error *err)
{
	struct ipam_peer_question *q = question;
	int r = 0;

	q->call = NULL;
	if (!err)
		r = take_answer(q, reply, &q->err);
	else if (!ipam_peer_is_foreign(err))
		q->err = *err;
	if (r == 0) {
		q->current++;
		q->after[0] = '\0';
	}
	go_on(q);
}

static void ask_next(void *question)
{
	struct ipam_peer_question *q = question;
	json_t *args;

	if (q->err.code < 0) {
		finish(q, &q->err);
		return;
	}
	if (q->current == q->sockets.n) {
		if (!q->n_ours)
			(void)dp_error_set(&q->err, DP_ERR_UNAVAILABLE, -ENOENT,
					   "there is no network daemon");
		finish(q, q->n_ours ? NULL : &q->err);
		return;
	}
	args = json_pack("{s:s, s:O?}", "After", q->after, "Probed", *q->after ? NULL : q->probed);
	if (dp_client_call(q->loop, q->sockets.paths[q->current], "/Peer.Endpoints", args, TIMEOUT_MS,
			   on_answer, q, &q->call, &q->err) < 0)
		finish(q, &q->err);
}

int ipam_peer_ask(struct dp_loop *loop, const char *sockets, json_t *probed, ipam_peer_fn fn,
		  void *ctx, struct ipam_peer_question **ret_question, struct dp_error *err)
{
	struct ipam_peer_question *q = calloc(1, sizeof *q);
	int r;

	if (!q) {
		json_decref(probed);
		return dp_error_oom(err);
	}
	*q = (struct ipam_peer_question){ .loop = loop, .probed = probed, .fn = fn, .ctx = ctx };
	q->timer = (struct dp_timer){ .fn = ask_next, .ctx = q };
	q->view = calloc(1, sizeof *q->view);
	r = q->view ? dp_peer_find(sockets, &q->sockets, err) : dp_error_oom(err);
	if (r == 0 && !q->sockets.n)
		r = dp_error_set(err, DP_ERR_UNAVAILABLE, -ENOENT, "there is no network daemon");
	if (r < 0) {
		question_free(q);
		return r;
	}
	go_on(q);
	*ret_question = q;
	return 0;
}
