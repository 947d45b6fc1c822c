/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What the IPAM daemon is told: which endpoints live, and whether an address is in use on a segment.
 * And what it is asked for: a comparison of its leases after endpoints were dropped.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/client.h"
#include "common/log.h"
#include "common/peer.h"
#include "netdriver/driver_internal.h"
#include "netdriver/probe.h"

enum {
	PAGE = 500,             /* endpoints of one answer: about a tenth of a megabyte */
	COMPARE_TIMEOUT_MS = 5000,
	NOTIFY_AFTER_MS = 500,  /* gathers what is dropped together */
	MAX_NOTICES = 8,        /* calls under way */
	MAX_REPORTED = 64,      /* thefts that are remembered so as not to be logged again */
};

/* A theft that was logged. */
struct theft {
	struct dp_addr addr;
	uint8_t mac[6];
};

/* A call under way; NULL = none. */
struct notice {
	struct dp_client_call *call;
};

struct ndrv_peer {
	struct ndrv_driver *d;
	struct dp_timer timer; /* armed while the IPAM daemon is to be told of dropped endpoints */
	struct notice notices[MAX_NOTICES];
	struct ndrv_prober *prober;
	struct theft reported[MAX_REPORTED]; /* a ring */
	unsigned n_reported;
	uint64_t n_thefts;
};

static const char *mac_text(const uint8_t *m, char buf[static 18])
{
	(void)snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	return buf;
}

/* ---- endpoints ---- */

struct endpoints_request {
	const char *after;
	json_t *probed; /* pools with probe=: their segments are listened to */
};

static const struct dp_schema endpoints_schema = {
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct endpoints_request, after, "After", .max = NDRV_ID_SIZE - 1),
		DP_ARR(struct endpoints_request, probed, "Probed"),
	},
};

static json_t *subnets_json(const struct ndrv_spec *spec)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < spec->n_subnets; i++) {
		const struct ndrv_subnet *s = &spec->subnets[i];
		char pool[DP_PREFIX_STRLEN];
		char gateway[DP_ADDR_STRLEN] = "";

		if (!s->local_book)
			continue;
		if (s->gateway.addr.family != AF_UNSPEC)
			dp_addr_format(&s->gateway.addr, gateway);
		(void)json_array_append_new(list, json_pack("{s:s, s:s}", "Pool",
							    dp_prefix_format(&s->pool, pool),
							    "Gateway", gateway));
	}
	return list;
}

/* Networks that are being deleted count as well: their addresses are not free yet. */
static json_t *networks_json(const struct ndrv_registry *registry)
{
	json_t *list = json_array();

	for (const struct ndrv_network *n = ndrv_registry_networks(registry); n; n = n->next)
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "ID", n->spec.id,
							    "Bridge", n->segment->bridge, "Subnets",
							    subnets_json(&n->spec), "Aux",
							    n->aux ? n->aux : ""));
	return list;
}

static const char *address_text(const struct dp_prefix *p, char buf[static DP_ADDR_STRLEN])
{
	buf[0] = '\0';
	return p->addr.family == AF_UNSPEC ? buf : dp_addr_format(&p->addr, buf);
}

static json_t *endpoint_json(const struct ndrv_endpoint *e)
{
	char addr4[DP_ADDR_STRLEN];
	char addr6[DP_ADDR_STRLEN];
	char mac[18];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "ID", e->id, "Network",
			 e->network->spec.id, "Address", address_text(&e->addr4, addr4),
			 "AddressIPv6", address_text(&e->addr6, addr6), "MacAddress",
			 mac_text(e->mac, mac), "Link", e->link, "Bridge",
			 e->network->segment->bridge, "Since", (json_int_t)e->since);
}

/* The one segment on which the local book's @pool lives; NULL if there is none or more than one:
 * tenants may have equal pools on different VLANs, and a pool does not tell its tenant. */
static struct ndrv_segment *segment_of(const struct ndrv_registry *registry,
				       const struct dp_prefix *pool)
{
	struct ndrv_segment *found = NULL;

	for (const struct ndrv_network *n = ndrv_registry_networks(registry); n; n = n->next) {
		for (unsigned i = 0; i < n->spec.n_subnets; i++) {
			const struct ndrv_subnet *s = &n->spec.subnets[i];

			if (!s->local_book || !dp_prefix_equal(&s->pool, pool))
				continue;
			if (found && found != n->segment)
				return NULL;
			found = n->segment;
		}
	}
	return found;
}

/* After a restart the daemon learns anew which segments to listen to. */
static void watch_pools(struct ndrv_driver *d, const json_t *pools)
{
	for (size_t i = 0; i < json_array_size(pools); i++) {
		const char *text = json_string_value(json_array_get(pools, i));
		struct dp_error err = DP_ERROR_INIT;
		const struct ndrv_segment *s = NULL;
		struct dp_prefix pool;

		if (text && dp_prefix_parse(text, &pool) == 0)
			s = segment_of(d->registry, &pool);
		if (s && ndrv_prober_watch(d->peer->prober, s->bridge, &err) < 0)
			dp_log_debug("segment %s is not watched: %s", s->key, err.msg);
	}
}

static int on_endpoints(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct endpoints_request *rq = req;
	const struct ndrv_endpoint *page[PAGE];
	struct ndrv_driver *d = ctx;
	const char *after = rq->after ? rq->after : "";
	json_auto_t *reply = NULL;
	json_t *list;
	int r = ndrv_driver_ready(d, err);
	size_t n;

	if (r < 0)
		return r;
	watch_pools(d, rq->probed);
	n = ndrv_endpoint_page(d->registry, after, page, PAGE);
	list = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, endpoint_json(page[i]));
	reply = json_pack("{s:o, s:s}", "Endpoints", list, "Next", n == PAGE ? page[n - 1]->id : "");
	if (!reply || json_array_size(list) != n)
		return dp_error_oom(err); /* an endpoint left out would count as gone */
	if (!*after && json_object_set_new(reply, "Networks", networks_json(d->registry)) < 0)
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- probes ---- */

struct probe_request {
	const char *pool;
	const char *address;
	uint32_t wait;
};

static const struct dp_schema probe_schema = {
	.n_fields = 3,
	.fields = (const struct dp_field[3]){
		DP_STR(struct probe_request, pool, "Pool", .flags = DP_F_REQUIRED,
		       .max = DP_PREFIX_STRLEN),
		DP_STR(struct probe_request, address, "Address", .flags = DP_F_REQUIRED,
		       .max = DP_ADDR_STRLEN),
		DP_U32(struct probe_request, wait, "Wait", .flags = DP_F_REQUIRED, .min = 1,
		       .max = 60000, .unit = "ms"),
	},
};

/* A parked call. */
struct asked {
	struct ndrv_probe *probe; /* NULL = has ended */
	struct dp_call *call;
};

static void asked_done(void *ctx, void *data, bool ok)
{
	struct asked *a = data;

	(void)ctx;
	(void)ok;
	ndrv_probe_cancel(a->probe);
	free(a);
}

static int step_answered(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)data;
	(void)err;
	return DP_STEP_DONE;
}

static void reply_verdict(struct dp_call *call, const char *verdict, const char *detail)
{
	dp_call_reply(call, json_pack("{s:s, s:s}", "Verdict", verdict, "Detail", detail));
}

static void on_verdict(void *ctx, const uint8_t *mac)
{
	struct asked *a = ctx;
	char text[18];

	a->probe = NULL;
	reply_verdict(a->call, mac ? "taken" : "free", mac ? mac_text(mac, text) : "");
	dp_call_wake(a->call);
}

/* "unknown" is an answer too: the address may be given out as it always was. */
static int on_probe(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct probe_request *rq = req;
	struct dp_error why = DP_ERROR_INIT;
	struct ndrv_driver *d = ctx;
	const struct ndrv_segment *s;
	struct dp_prefix pool;
	struct dp_addr addr;
	struct asked *a;
	int r = ndrv_driver_ready(d, err);

	if (r < 0)
		return r;
	if (dp_prefix_parse(rq->pool, &pool) < 0 || dp_addr_parse(rq->address, &addr) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "probe of '%s' in '%s'",
				    rq->address, rq->pool);
	s = segment_of(d->registry, &pool);
	if (!s) {
		reply_verdict(call, "unknown", "no network of ours, or several, have that subnet");
		return DP_STEP_DONE;
	}
	a = calloc(1, sizeof *a);
	if (!a)
		return dp_error_oom(err);
	a->call = call;
	dp_call_then(call, step_answered, a, asked_done);
	r = ndrv_probe_start(d->peer->prober, s->bridge, &addr, rq->wait, on_verdict, a, &a->probe,
			     &why);
	if (r == 0)
		return DP_STEP_PARK;
	reply_verdict(call, "unknown", why.msg);
	return DP_STEP_DONE;
}

/* ---- thefts ---- */

static struct ndrv_endpoint *holder(const struct ndrv_registry *registry, const char *bridge,
				    const struct dp_addr *addr)
{
	const struct ndrv_segment *segment = ndrv_segment_by_bridge(registry, bridge);

	for (const struct ndrv_network *n = ndrv_registry_networks(registry); n; n = n->next) {
		bool here = false;

		if (n->segment != segment)
			continue;
		for (unsigned i = 0; i < n->spec.n_subnets; i++)
			here = here || dp_prefix_has_addr(&n->spec.subnets[i].pool, addr);
		if (here)
			return ndrv_endpoint_by_address(n, addr);
	}
	return NULL;
}

static bool note_theft(struct ndrv_peer *p, const struct ndrv_claim *claim)
{
	for (unsigned i = 0; i < MAX_REPORTED; i++) {
		if (!dp_addr_cmp(&p->reported[i].addr, &claim->addr) &&
		    !memcmp(p->reported[i].mac, claim->mac, 6))
			return false;
	}
	p->reported[p->n_reported % MAX_REPORTED] = (struct theft){ .addr = claim->addr };
	memcpy(p->reported[p->n_reported % MAX_REPORTED].mac, claim->mac, 6);
	p->n_reported++;
	return true;
}

/* Someone says that an address is his: not so if a container of ours has it under another MAC. */
static void on_heard(void *ctx, const char *bridge, const struct ndrv_claim *claim)
{
	struct ndrv_peer *p = ctx;
	const struct ndrv_endpoint *e;
	char addr[DP_ADDR_STRLEN];
	char mac[18];

	if (claim->probe || !p->d->registry)
		return;
	e = holder(p->d->registry, bridge, &claim->addr);
	if (!e || e->detached || !memcmp(e->mac, claim->mac, 6))
		return;
	p->n_thefts++;
	if (note_theft(p, claim))
		dp_log_warning("address %s of endpoint %.12s is claimed by another host, %s, on bridge "
			       "%s: one of them will not be reached",
			       dp_addr_format(&claim->addr, addr), e->id, mac_text(claim->mac, mac),
			       bridge);
}

uint64_t ndrv_peer_n_thefts(const struct ndrv_driver *d)
{
	return d->peer->n_thefts;
}

/* ---- comparing ---- */

static void on_compared(void *ctx, json_t *reply, const struct dp_error *err)
{
	struct notice *n = ctx;

	(void)reply;
	n->call = NULL;
	if (err)
		dp_log_debug("the IPAM daemon was not told of dropped endpoints: %s", err->msg);
}

static void notify(struct ndrv_peer *p, const char *socket)
{
	struct dp_error err = DP_ERROR_INIT;
	struct notice *n = p->notices;

	while (n < p->notices + MAX_NOTICES && n->call)
		n++;
	if (n == p->notices + MAX_NOTICES)
		return; /* the IPAM daemon compares by itself, later */
	if (dp_client_call(p->d->loop, socket, "/Peer.Compare", NULL, COMPARE_TIMEOUT_MS, on_compared,
			   n, &n->call, &err) < 0)
		on_compared(n, NULL, &err);
}

static void on_notify(void *ctx)
{
	struct ndrv_peer *p = ctx;
	struct dp_peer_list list = { .n = 0 };
	struct dp_error err = DP_ERROR_INIT;

	if (dp_peer_find(p->d->config->ipam_socket, &list, &err) < 0)
		return;
	for (size_t i = 0; i < list.n; i++)
		notify(p, list.paths[i]);
	dp_peer_list_done(&list);
}

void ndrv_peer_dropped(struct ndrv_driver *d)
{
	if (!d->peer->timer.armed)
		dp_timer_arm(d->loop, &d->peer->timer, dp_loop_now_ms(d->loop) + NOTIFY_AFTER_MS);
}

/* ---- life ---- */

int ndrv_peer_open(struct ndrv_driver *d, struct dp_error *err)
{
	d->peer = calloc(1, sizeof *d->peer);
	if (!d->peer)
		return dp_error_oom(err);
	d->peer->d = d;
	d->peer->timer = (struct dp_timer){ .fn = on_notify, .ctx = d->peer };
	return ndrv_prober_new(d->loop, on_heard, d->peer, &d->peer->prober, err);
}

void ndrv_peer_close(struct ndrv_driver *d)
{
	if (!d->peer)
		return;
	dp_timer_disarm(d->loop, &d->peer->timer);
	for (unsigned i = 0; i < MAX_NOTICES; i++)
		dp_client_cancel(d->peer->notices[i].call);
	ndrv_prober_free(d->peer->prober);
	free(d->peer);
}

const struct dp_route ndrv_peer_routes[] = {
	{ "/Peer.Endpoints", &endpoints_schema, sizeof(struct endpoints_request), on_endpoints },
	{ "/Peer.Probe", &probe_schema, sizeof(struct probe_request), on_probe },
	{ .path = NULL },
};
