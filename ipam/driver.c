/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Handlers change the model in memory and write lease rows into the turn's transaction; bitmap
 * chunks and pool cursors are written once a turn by the flush. If a write fails, the model and
 * the transaction no longer agree: the turn is `spoilt`, its flush fails, and the model is read
 * back from disk.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "ipam/derive.h"
#include "common/peer.h"
#include "ipam/driver_internal.h"
#include "ipam/generation.h"
#include "ipam/hostroutes.h"
#include "ipam/join.h"
#include "ipam/known.h"
#include "ipam/probe.h"
#include "ipam/reclaim.h"

#define OPT_REQUEST_TYPE "RequestAddressType"
#define OPT_GATEWAY      "com.docker.network.gateway"
#define OPT_SERIAL       "com.docker.network.ipam.serial"
#define OPT_MAC          "com.docker.network.endpoint.macaddress"
#define OPT_NAME         "com.docker.network.endpoint.name"

enum { MAX_EXPIRE_PER_REQUEST = 16 }; /* rows; bounds the work a request does for others */

/* ---- configuration ---- */

const struct dp_schema ipam_config_schema = {
	.noun = "config key",
	.refuse_unknown = true,
	.n_fields = DP_N_COMMON_FIELDS + 12,
	.fields = (const struct dp_field[DP_N_COMMON_FIELDS + 12]){
		DP_COMMON_FIELDS(struct ipam_config, "myipamplugin"),
		DP_LIST(struct ipam_config, default_pools, "default-pools",
			.def = "base=172.17.0.0/16,size=16 base=172.18.0.0/16,size=16 "
			       "base=172.19.0.0/16,size=16 base=172.20.0.0/14,size=16 "
			       "base=172.24.0.0/14,size=16 base=172.28.0.0/14,size=16 "
			       "base=192.168.0.0/16,size=20",
			.help = "where subnets come from that a network does not name"),
		DP_LIST(struct ipam_config, global_default_pools, "global-default-pools",
			.def = "base=10.0.0.0/8,size=24",
			.help = "the same for networks of a Swarm (global scope)"),
		DP_LIST(struct ipam_config, default_pools_v6, "default-pools-v6", .def = "",
			.help = "the same for IPv6; empty: /64s of a unique local /48 drawn once"),
		DP_U32(struct ipam_config, cooldown, "cooldown", .min = 0, .max = 86400,
		       .unit = "seconds", .def = "30",
		       .help = "time a released address rests, unless nothing else is left"),
		DP_U32(struct ipam_config, sticky_time, "sticky-time", .min = 0, .max = 31536000,
		       .unit = "seconds", .def = "86400",
		       .help = "the same in pools with `strategy=sticky`, for containers that come back"),
		DP_U32(struct ipam_config, history, "history", .min = 0, .max = 10000000,
		       .unit = "leases", .def = "100000",
		       .help = "past leases that `myipamplugin history` can look up"),
		DP_BOOL(struct ipam_config, requires_mac_address, "requires-mac-address",
			.def = "false",
			.help = "have the engine choose each MAC and tell it with the request"),
		DP_U32(struct ipam_config, swarm_grace, "swarm-grace", .min = 0, .max = 31536000,
		       .unit = "seconds", .def = "3600",
		       .help = "time that addresses and pools are kept which a Swarm's new leader does "
			       "not ask for again; 0: for ever"),
		DP_BOOL(struct ipam_config, swarm, "swarm", .def = "false",
			.help = "this host is in a Swarm: after a crash its engine may ask again for what "
				"it held, and must get it"),
		DP_LIST(struct ipam_config, network_socket, "network-socket",
			.def = DP_PEER_SOCKETS("mynetworkplugin", "network.sock"),
			.help = "where network daemons may be found, wildcards allowed: they tell which "
				"addresses are in use"),
		DP_U32(struct ipam_config, reclaim_after, "reclaim-after", .min = 0, .max = 604800,
		       .unit = "seconds", .def = "600",
		       .help = "time after which a local address is released that no endpoint of the "
			       "network daemon has; 0: never"),
		DP_U32(struct ipam_config, conflict_rest, "conflict-rest", .min = 1, .max = 604800,
		       .unit = "seconds", .def = "600",
		       .help = "time for which an address is set aside that a probe found in use"),
	},
};

static const char *const engine_options[] = { "com.docker.network.", OPT_REQUEST_TYPE, NULL };

const struct dp_schema ipam_option_schema = {
	.noun = "--ipam-opt",
	.text_values = true,
	.refuse_unknown = true,
	.ignore = engine_options, /* Swarm leaves its own keys in the map */
	.n_fields = 6,
	.fields = (const struct dp_field[6]){
		DP_STR(struct ipam_pool_options, slice, "slice", .min = 1, .max = 24,
		       .help = "this host's part of the subnet or ip-range for addresses that nobody "
			       "names: 2/8 is the second eighth"),
		DP_STR(struct ipam_pool_options, v6_from, "v6-from", .min = 1,
		       .max = DP_PREFIX_STRLEN,
		       .help = "the network's IPv4 subnet: IPv6 addresses that nobody names are made of "
			       "the container's IPv4 address"),
		DP_STR(struct ipam_pool_options, tenant, "tenant", .min = 1,
		       .max = IPAM_TENANT_SIZE - 1,
		       .help = "a book of its own: subnets of different tenants may overlap"),
		DP_STR(struct ipam_pool_options, probe, "probe", .min = 1, .max = 16,
		       .help = "time for which the network is asked whether an address is in use before "
			       "a container gets it, such as `200ms`; default 0: it is not asked"),
		DP_STR(struct ipam_pool_options, exclude, "exclude", .min = 1,
		       .help = "addresses that are somebody else's: "
			       "`10.0.0.1-10.0.0.20,10.0.0.99,10.0.0.64/28`"),
		DP_STR(struct ipam_pool_options, strategy, "strategy",
		       .choices = ipam_strategy_names,
		       .help = "which free address a container gets: the `next` one (default), the "
			       "`lowest`, a `random` one, or `sticky`: the one it had before"),
	},
};

static int parse_list(const char *key, const char *text, int family,
		      struct ipam_pool_list *ret_list, struct dp_error *err)
{
	auto_free struct ipam_default_pool *items = NULL;
	auto_free char *copy = strdup(text);
	size_t n = 0;
	char *rest = NULL;

	items = calloc(strlen(text) / 2 + 1, sizeof *items);
	if (!copy || !items)
		return dp_error_oom(err);
	for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
		if (ipam_default_pool_parse(w, &items[n], err) < 0)
			return dp_error_prefix(err, "%s", key);
		if (items[n].base.addr.family != family)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: %s is not IPv%d", key, w,
					    family == AF_INET ? 4 : 6);
		n++;
	}
	ret_list->items = DP_TAKE_PTR(items);
	ret_list->n = n;
	return 0;
}

static void free_lists(struct ipam_driver *d)
{
	for (unsigned b = 0; b < IPAM_N_BOOKS; b++)
		free(d->defaults[b].items);
	free(d->defaults_v6.items);
}

static int parse_lists(const struct ipam_config *c, struct ipam_driver *d, struct dp_error *err)
{
	int r = parse_list("default-pools", c->default_pools, AF_INET, &d->defaults[IPAM_LOCAL], err);

	if (r == 0)
		r = parse_list("global-default-pools", c->global_default_pools, AF_INET,
			       &d->defaults[IPAM_GLOBAL], err);
	if (r == 0)
		r = parse_list("default-pools-v6", c->default_pools_v6, AF_INET6, &d->defaults_v6, err);
	return r;
}

int ipam_config_check(const void *config, struct dp_error *err)
{
	const struct ipam_config *c = config;
	struct ipam_driver d = { .config = c };
	int r = parse_lists(config, &d, err);

	/* Else an address could be taken back from a request that waits. */
	if (r == 0 && c->reclaim_after && c->reclaim_after <= c->common.deadline)
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				 "reclaim-after: %u is not more than the deadline, %u seconds",
				 c->reclaim_after, c->common.deadline);

	free_lists(&d);
	return r;
}

/* ---- life ---- */

int ipam_driver_start(const void *config, struct dp_loop *loop, void **ret_ctx, struct dp_error *err)
{
	const struct ipam_config *c = config;
	struct ipam_driver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return dp_error_oom(err);
	d->config = c;
	d->loop = loop;
	r = parse_lists(c, d, err);
	if (r == 0)
		r = ipam_state_open(c->common.state_dir, &d->state, err);
	if (r == 0)
		r = ipam_state_load(d->state, &d->space, err);
	if (r == 0)
		r = ipam_probe_open(d, err);
	if (r == 0)
		r = ipam_join_open(d, err);
	if (r == 0)
		r = ipam_reclaim_open(d, err);
	if (r < 0) {
		ipam_driver_stop(d);
		return r;
	}
	ipam_driver_start_upkeep(d);
	ipam_generation_start(d);
	*ret_ctx = d;
	return 0;
}

int ipam_driver_check_state(const void *config, FILE *out, struct dp_error *err)
{
	const struct ipam_config *c = config;

	return ipam_state_check(c->common.state_dir, out, err);
}

void ipam_driver_stop(void *ctx)
{
	struct ipam_driver *d = ctx;

	dp_timer_disarm(d->loop, &d->upkeep);
	ipam_generation_stop(d);
	ipam_reclaim_close(d);
	ipam_probe_close(d);
	ipam_join_close(d);
	ipam_space_free(d->space);
	ipam_state_close(d->state);
	free_lists(d);
	free(d->touched);
	free(d);
}

/* A write failed: nothing of this turn may be answered as done. Return: the code, forwarded. */
int ipam_driver_spoil(struct ipam_driver *d, int r, const struct dp_error *err)
{
	if (r < 0 && !d->spoilt) {
		d->spoilt = true;
		d->spoilt_err = *err;
	}
	return r;
}

int ipam_driver_flush(void *ctx, struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	struct ipam_dirty_chunk chunk;
	int r = 0;

	if (d->spoilt) {
		*err = d->spoilt_err;
		return err->code;
	}
	while (r == 0 && d->space && ipam_space_pop_dirty(d->space, &chunk))
		r = ipam_state_put_chunk(d->state, &chunk, err);
	for (size_t i = 0; r == 0 && i < d->n_touched; i++)
		r = ipam_state_put_pool(d->state, d->touched[i], err);
	d->n_touched = 0;
	return r < 0 ? r : ipam_state_commit(d->state, err);
}

void ipam_driver_reload(void *ctx)
{
	struct ipam_driver *d = ctx;
	struct dp_error err = DP_ERROR_INIT;

	ipam_state_rollback(d->state);
	ipam_space_free(d->space);
	d->space = NULL;
	d->spoilt = false;
	d->n_touched = 0;
	if (ipam_state_load(d->state, &d->space, &err) < 0)
		dp_log_error("state cannot be read back, refusing requests until it can: %s", err.msg);
}

int ipam_driver_settle(struct ipam_driver *d, struct dp_error *err)
{
	int r = ipam_driver_flush(d, err);

	if (r < 0)
		ipam_driver_reload(d);
	return r;
}

/* Every handler's first line: is there a model to work on? */
int ipam_driver_ready(struct ipam_driver *d, struct dp_error *err)
{
	if (d->space)
		return 0;
	return ipam_state_load(d->state, &d->space, err);
}

/* The cursor of @pool has moved: write it at the flush. */
int ipam_driver_touch(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	for (size_t i = d->n_touched; i-- > 0;) {
		if (d->touched[i] == pool)
			return 0;
	}
	if (d->n_touched == d->max_touched) {
		size_t max = d->max_touched ? 2 * d->max_touched : 16;
		struct ipam_pool **p = reallocarray(d->touched, max, sizeof(struct ipam_pool *));

		if (!p)
			return dp_error_oom(err);
		d->touched = p;
		d->max_touched = max;
	}
	d->touched[d->n_touched++] = pool;
	return 0;
}

void ipam_driver_untouch(struct ipam_driver *d, const struct ipam_pool *pool)
{
	for (size_t i = 0; i < d->n_touched; i++) {
		if (d->touched[i] == pool)
			d->touched[i--] = d->touched[--d->n_touched];
	}
}

/* ---- capabilities ---- */

static int on_get_capabilities(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	int r = ipam_driver_ready(d, err);

	(void)req;
	if (r < 0)
		return r;
	r = ipam_generation_begin(d, err);
	/* No replay: what an engine would tell us again we have on disk, and a replay that failed
	 * would make it release a live pool (moby: libnetwork/network.go, reservePools). */
	dp_call_reply(call, json_pack("{s:b, s:b}", "RequiresMACAddress",
				      (int)d->config->requires_mac_address, "RequiresRequestReplay", 0));
	return r;
}

static int on_get_spaces(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)req;
	(void)err;
	dp_call_reply(call, json_pack("{s:s, s:s}", "LocalDefaultAddressSpace",
				      ipam_book_name(IPAM_LOCAL), "GlobalDefaultAddressSpace",
				      ipam_book_name(IPAM_GLOBAL)));
	return DP_STEP_DONE;
}

/* ---- pools ---- */

struct request_pool {
	const char *space;
	const char *pool;
	const char *range;
	json_t *options;
	bool v6;
};

static const struct dp_schema request_pool_schema = {
	.n_fields = 5,
	.fields = (const struct dp_field[5]){
		DP_STR(struct request_pool, space, "AddressSpace", .flags = DP_F_REQUIRED, .max = 64),
		DP_STR(struct request_pool, pool, "Pool", .max = DP_PREFIX_STRLEN),
		DP_STR(struct request_pool, range, "SubPool", .max = DP_PREFIX_STRLEN),
		DP_OBJ(struct request_pool, options, "Options"),
		DP_BOOL(struct request_pool, v6, "V6"),
	},
};

static int parse_prefix(const char *what, const char *text, struct dp_prefix *ret_prefix,
			struct dp_error *err)
{
	if (dp_prefix_parse(text, ret_prefix) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s '%s' is not a CIDR prefix", what,
				    text);
	return 0;
}

static bool has_serial(const json_t *options)
{
	return options && json_object_get(options, OPT_SERIAL);
}

/*
 * Is this request one that Swarm may repeat: to a new leader, or on a node whose engine crashed? In
 * the local space it certainly is if its serial key is among the options. Networks without options,
 * and those made by --config-from, come without it, like any person's network: they count only on
 * hosts that are said to be in a Swarm, and then nothing but the pool is given again.
 */
static bool is_swarm_request(const struct ipam_driver *d, enum ipam_book book,
			     const json_t *options)
{
	if (book == IPAM_GLOBAL)
		return true;
	return has_serial(options) || d->config->swarm;
}

/* The host's routes and nameservers, and what the other book holds: a node that leads a Swarm sees
 * the Swarm's subnets in the global book first and is asked for them in the local one later. */
static int prefixes_to_avoid(const struct ipam_driver *d, enum ipam_book book,
			     struct ipam_hostroutes *routes, struct dp_error *err)
{
	enum ipam_book other = book == IPAM_LOCAL ? IPAM_GLOBAL : IPAM_LOCAL;
	size_t n_other = ipam_space_n_subnets(d->space, other);
	struct dp_prefix *p;
	int r = ipam_hostroutes_read("", routes, err);

	if (r < 0 || !n_other)
		return r;
	p = reallocarray(routes->prefixes, routes->n_prefixes + n_other, sizeof *p);
	if (!p)
		return dp_error_oom(err);
	routes->prefixes = p;
	for (size_t i = 0; i < n_other; i++)
		p[routes->n_prefixes++] = *ipam_subnet_prefix(ipam_space_subnet(d->space, other, i));
	return 0;
}

static int choose_prefix(struct ipam_driver *d, enum ipam_book book, bool v6, unsigned len,
			 struct dp_prefix *ret_prefix, struct dp_error *err)
{
	const struct ipam_pool_list *list = v6 ? &d->defaults_v6 : &d->defaults[book];
	struct ipam_hostroutes avoid = IPAM_HOSTROUTES_INIT;
	struct ipam_default_pool ula = { .size = 64 };
	struct ipam_choice choice = { .book = book, .bases = list->items, .n_bases = list->n,
				      .len = len };
	int r = 0;

	if (v6 && !list->n) {
		r = ipam_driver_spoil(d, ipam_state_ula(d->state, &ula.base, err), err);
		choice.bases = &ula;
		choice.n_bases = 1;
	}
	if (r == 0)
		r = prefixes_to_avoid(d, book, &avoid, err);
	choice.avoid = avoid.prefixes;
	choice.n_avoid = avoid.n_prefixes;
	if (r == 0)
		r = ipam_space_choose(d->space, &choice, ret_prefix, err);
	ipam_hostroutes_done(&avoid);
	return r;
}

/* The prefix that a request means: the one it names, or a free one. */
static int wanted_prefix(struct ipam_driver *d, const struct request_pool *rq, enum ipam_book book,
			 struct dp_prefix *ret_prefix, struct dp_error *err)
{
	bool v6 = rq->v6;
	unsigned len = 0;
	int r;

	if (rq->pool && *rq->pool) {
		r = parse_prefix("subnet", rq->pool, ret_prefix, err);
		if (r < 0 || !ipam_prefix_is_any(ret_prefix))
			return r;
		v6 = ret_prefix->addr.family == AF_INET6;
		len = ret_prefix->len;
	}
	if (rq->range && *rq->range)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "--ip-range %s needs a --subnet that it lies in", rq->range);
	return choose_prefix(d, book, v6, len, ret_prefix, err);
}

/* @ret_v6_from: family AF_UNSPEC: none */
static int identify_pool(struct ipam_driver *d, const struct request_pool *rq,
			 struct ipam_pool_id *ret_id, struct ipam_pool_options *ret_opt,
			 struct dp_prefix *ret_v6_from,
			 uint32_t *ret_probe_ms, struct dp_error *err)
{
	struct ipam_pool_options opt = { .tenant = "", .probe = "0", .exclude = "",
					 .strategy = "next" };
	struct dp_prefix range = { .len = 0 };
	struct dp_prefix pool;
	enum ipam_book book;
	int r = 0;

	if (ipam_book_parse(rq->space, &book) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "address space '%.64s' is neither local nor global", rq->space);
	if (rq->options)
		r = dp_schema_decode(&ipam_option_schema, rq->options, &opt, err);
	if (r == 0)
		r = ipam_probe_parse(opt.probe, ret_probe_ms, err);
	if (r == 0)
		r = wanted_prefix(d, rq, book, &pool, err);
	if (r == 0 && rq->range && *rq->range)
		r = parse_prefix("ip-range", rq->range, &range, err);
	if (r == 0)
		r = ipam_pool_id_make(book, opt.tenant, &pool, &range, ret_id, err);
	if (r == 0 && opt.slice)
		r = ipam_pool_id_slice(ret_id, opt.slice, err);
	if (r == 0 && opt.v6_from)
		r = ipam_derive_parse(opt.v6_from, &ret_id->pool, ret_v6_from, err);
	if (r == 0)
		r = ipam_driver_check_options(&ret_id->pool, &opt, err);
	*ret_opt = opt;
	return r;
}

static int on_request_pool(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request_pool *rq = req;
	struct ipam_driver *d = ctx;
	struct ipam_pool_options opt;
	struct ipam_pool_grant grant;
	const struct ipam_pool *known;
	struct ipam_generation_move move = { .n_gone = 0 };
	struct dp_prefix v6_from = { .len = 0 };
	struct ipam_pool_id id;
	uint32_t probe_ms;
	bool swarm;
	char name[IPAM_POOL_ID_SIZE];
	char text[DP_PREFIX_STRLEN];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = identify_pool(d, rq, &id, &opt, &v6_from, &probe_ms, err);
	if (r < 0)
		return r;
	swarm = is_swarm_request(d, id.book, rq->options);
	known = ipam_space_find_pool(d->space, &id);
	if (id.book == IPAM_GLOBAL || has_serial(rq->options))
		ipam_generation_make_way(d, &id, &move);
	r = ipam_space_request_pool(d->space, &id, swarm && (!known || ipam_pool_replayable(known)),
				    &grant, err);
	if (r < 0) /* what has made way must come back */
		return move.n_gone ? ipam_driver_spoil(d, r, err) : r;
	ipam_pool_set_v6_from(grant.pool, v6_from.addr.family ? &v6_from : NULL);
	if (grant.new_pool) {
		ipam_pool_set_replayable(grant.pool, swarm);
		ipam_pool_set_certain(grant.pool, has_serial(rq->options));
		ipam_pool_set_probe_ms(grant.pool, probe_ms);
		r = ipam_driver_apply_options(d, grant.pool, &opt, err);
		if (r < 0) {
			(void)ipam_space_release_pool(d->space, grant.pool);
			return move.n_gone ? ipam_driver_spoil(d, r, err) : r;
		}
	}
	if (grant.new_subnet)
		r = ipam_state_add_subnet(d->state, ipam_pool_subnet(grant.pool), err);
	if (r == 0)
		r = ipam_generation_claimed(d, &grant, has_serial(rq->options), &move, err);
	if (r == 0)
		r = ipam_state_put_pool(d->state, grant.pool, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	ipam_pool_id_format(&id, name);
	if (grant.new_pool) {
		dp_call_undo_with(call, "/IpamDriver.ReleasePool");
		dp_log_info("pool %s requested", name);
	} else {
		dp_log_notice("pool %s requested again, taken for a repetition by Swarm", name);
	}
	dp_call_reply(call, json_pack("{s:s, s:s, s:{}}", "PoolID", name, "Pool",
				      dp_prefix_format(&id.pool, text), "Data"));
	return DP_STEP_DONE;
}

struct release_pool {
	const char *pool_id;
};

static const struct dp_schema release_pool_schema = {
	.n_fields = 1,
	.fields = (const struct dp_field[1]){
		DP_STR(struct release_pool, pool_id, "PoolID"),
	},
};

/* Gives back every lease taken through @pool, whose subnet stays for the others. */
static int drop_leases_of_pool(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct ipam_lease lease;
	struct dp_addr addr = { .family = AF_UNSPEC };
	int r = ipam_state_remove_sharers(d->state, pool, err);

	while (r == 0 &&
	       (r = ipam_state_next_of_pool(d->state, pool, &addr, &addr, &lease, err)) == 1) {
		r = ipam_state_inherit(d->state, subnet, &addr, err);
		if (r != 0) {
			r = r < 0 ? r : 0;
			continue;
		}
		ipam_subnet_drop(subnet, &addr, lease.is_cooling);
		r = 0;
		if (!lease.is_cooling && !lease.is_gateway)
			r = ipam_ledger_remember(ipam_state_ledger(d->state), pool, &addr, err);
		if (r == 0)
			r = ipam_state_drop_lease(d->state, subnet, &addr, err);
	}
	return r;
}

int ipam_driver_drop_pool(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	int64_t subnet_id = ipam_subnet_id(ipam_pool_subnet(pool));
	int64_t pool_id = ipam_pool_rowid(pool);
	int r = 0;

	ipam_driver_untouch(d, pool);
	if (ipam_subnet_n_pools(ipam_pool_subnet(pool)) > 1)
		r = drop_leases_of_pool(d, pool, err);
	if (r < 0)
		return r;
	if (ipam_space_release_pool(d->space, pool))
		return ipam_state_remove_subnet(d->state, subnet_id, err);
	return ipam_state_remove_pool(d->state, pool_id, err);
}

static int on_release_pool(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct release_pool *rq = req;
	struct ipam_driver *d = ctx;
	struct dp_error ignored = DP_ERROR_INIT;
	struct ipam_pool *pool;
	int r = ipam_driver_ready(d, err);

	(void)call;
	if (r < 0)
		return r;
	if (!rq->pool_id || ipam_space_pool_by_text(d->space, rq->pool_id, &pool, &ignored) < 0) {
		dp_log_debug("release of unknown pool '%.64s'", rq->pool_id ? rq->pool_id : "");
		return DP_STEP_DONE;
	}
	r = ipam_generation_keeps(d, pool, err);
	if (r != 0) {
		dp_log_notice("pool %s released with addresses in it: they are kept for a while",
			      rq->pool_id);
		return r < 0 ? r : DP_STEP_DONE;
	}
	r = ipam_driver_drop_pool(d, pool, err);
	dp_log_info("pool %s released", rq->pool_id);
	return ipam_driver_spoil(d, r, err);
}

/* ---- addresses ---- */

struct address_request {
	const char *pool_id;
	const char *address;
	json_t *options;
};

static const struct dp_schema address_schema = {
	.n_fields = 3,
	.fields = (const struct dp_field[3]){
		DP_STR(struct address_request, pool_id, "PoolID"),
		DP_STR(struct address_request, address, "Address", .max = DP_PREFIX_STRLEN),
		DP_OBJ(struct address_request, options, "Options"),
	},
};

static const char *option(const json_t *options, const char *key)
{
	const char *v = json_string_value(json_object_get(options, key));

	return v ? v : "";
}

static int64_t wall_clock(void)
{
	return (int64_t)time(NULL);
}

/* Puts addresses that have rested long enough back among the free ones. */
static int end_cooling(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct dp_addr first = dp_prefix_masked(ipam_subnet_prefix(subnet)).addr;
	struct dp_addr last = dp_prefix_last(ipam_subnet_prefix(subnet));
	int64_t before = wall_clock() - (int64_t)d->config->cooldown;
	struct dp_addr addr;
	int r = 0;

	/* Times are whole seconds: what was not due a moment ago is not before the next one. */
	if (ipam_subnet_none_due(subnet) == before)
		return 0;
	for (int i = 0; ipam_subnet_n_cooling(subnet) && i < MAX_EXPIRE_PER_REQUEST; i++) {
		r = ipam_state_oldest_cooling(d->state, subnet, before, &first, &last, &addr, err);
		if (r == 0 && d->config->cooldown)
			ipam_subnet_set_none_due(subnet, before);
		if (r != 1)
			break;
		ipam_subnet_drop(subnet, &addr, true);
		r = ipam_state_drop_lease(d->state, subnet, &addr, err);
		if (r < 0)
			break;
	}
	return r < 0 ? ipam_driver_spoil(d, r, err) : 0;
}

/* Takes the address of @pool's range that has rested longest; @err holds the exhaustion. */
static int pick_cooling(struct ipam_driver *d, struct ipam_pool *pool, struct dp_addr *ret_addr,
			struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct dp_error exhausted = *err;
	struct dp_addr first;
	struct dp_addr last;
	int r;

	ipam_pool_dynamic_bounds(pool, &first, &last);
	while ((r = ipam_state_oldest_cooling(d->state, subnet, INT64_MAX, &first, &last, ret_addr,
					      err)) == 1 &&
	       ipam_block_at(ipam_subnet_blocks(subnet), ret_addr)) {
		ipam_subnet_drop(subnet, ret_addr, true); /* excluded while it rested: no use */
		r = ipam_state_drop_lease(d->state, subnet, ret_addr, err);
		if (r < 0)
			break;
	}
	if (r == 0) {
		*err = exhausted;
		return err->code;
	}
	if (r == 1)
		ipam_subnet_revive(subnet, ret_addr);
	return r < 0 ? ipam_driver_spoil(d, r, err) : 0;
}

/* Where the pool's strategy wants the next pick to begin. */
static void aim(struct ipam_driver *d, struct ipam_pool *pool)
{
	switch (ipam_pool_strategy(pool)) {
	case IPAM_LOWEST:
		ipam_pool_seek(pool, 0);
		break;
	case IPAM_RANDOM: /* xorshift64: guests shall not meet in one corner, no secret */
		d->random ^= d->random << 13;
		d->random ^= d->random >> 7;
		d->random ^= d->random << 17;
		ipam_pool_seek(pool, d->random);
		break;
	case IPAM_NEXT:
	case IPAM_STICKY:
		break;
	}
}

static int pick(struct ipam_driver *d, struct ipam_pool *pool, const json_t *options,
		bool is_gateway, struct dp_addr *ret_addr, struct dp_error *err)
{
	int r = end_cooling(d, pool, err);

	if (r == 0 && !is_gateway)
		r = ipam_known_pick(d, pool, option(options, OPT_NAME), option(options, OPT_MAC), ret_addr,
				    err);
	if (r != 0)
		return r < 0 ? r : 0;
	aim(d, pool);
	r = ipam_pool_pick(pool, is_gateway, ret_addr, err);
	if (r == -ENOSPC)
		r = pick_cooling(d, pool, ret_addr, err);
	if (r < 0)
		return r;
	return ipam_driver_spoil(d, ipam_driver_touch(d, pool, err), err);
}

/* The address that was asked for. @ret_write: is its row to be written? @ret_is_new: nobody had it. */
static int claim(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
		 const json_t *options, bool is_gateway, bool *ret_write, bool *ret_is_new,
		 struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct ipam_lease lease;
	struct ipam_claim claim = {
		.addr = *addr,
		.is_gateway = is_gateway,
		.may_replay = ipam_pool_replayable(pool),
		.generation = ipam_pool_generation(pool),
	};
	enum ipam_claim_result result;
	int r = ipam_pool_check_addr(pool, addr, err);

	if (r < 0)
		return r;
	r = ipam_state_get_lease(d->state, subnet, addr, &lease, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (r == 1 && is_gateway && lease.is_gateway && !lease.is_cooling &&
	    lease.pool_id != ipam_pool_rowid(pool)) {
		*ret_is_new = false;
		*ret_write = false; /* the router of several pools on this subnet */
		return ipam_driver_spoil(d, ipam_state_add_sharer(d->state, pool, addr, err), err);
	}
	/* A Swarm that asks again for what it holds is older than what operators say. */
	if (!is_gateway && !claim.may_replay && (r == 0 || lease.is_cooling) &&
	    ipam_known_check(pool, addr, option(options, OPT_NAME), option(options, OPT_MAC), err) < 0)
		return err->code;
	claim.lease = r == 1 ? &lease : NULL;
	*ret_write = true;
	r = ipam_pool_claim(pool, &claim, &result, err);
	*ret_is_new = r == 0 && result != IPAM_CLAIM_CONFIRMED;
	if (r == 0 && result == IPAM_CLAIM_CONFIRMED && is_gateway && lease.is_gateway)
		r = ipam_driver_spoil(d, ipam_generation_gateway(d, pool, lease.generation, err), err);
	return r;
}

int ipam_driver_pick(struct ipam_driver *d, struct ipam_pool *pool, struct dp_addr *ret_addr,
		     struct dp_error *err)
{
	/* Who it is for does not matter: the address that waited for it is the one that is taken. */
	return pick(d, pool, NULL, false, ret_addr, err);
}

int ipam_driver_record(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
		       bool is_gateway, const json_t *options, struct dp_error *err)
{
	struct ipam_lease_row row = {
		.lease = { .is_gateway = is_gateway,
			   .pool_id = ipam_pool_rowid(pool),
			   .generation = ipam_space_generation(d->space) },
		.since = wall_clock(),
		.mac = option(options, OPT_MAC),
		.name = option(options, OPT_NAME),
	};
	int r = ipam_state_put_lease(d->state, ipam_pool_subnet(pool), addr, &row, err);

	if (!is_gateway)
		ipam_subnet_set_latest(ipam_pool_subnet(pool), addr);
	ipam_reclaim_confirm(d, ipam_pool_subnet(pool), addr);
	return ipam_driver_spoil(d, r, err);
}

void ipam_driver_reply_address(struct dp_call *call, const struct dp_prefix *addr)
{
	char text[DP_PREFIX_STRLEN];

	dp_call_reply(call, json_pack("{s:s, s:{}}", "Address", dp_prefix_format(addr, text), "Data"));
}

/* The pool and address that a request means; AF_UNSPEC: any address. */
static int wanted_address(struct ipam_driver *d, const struct address_request *rq, bool is_gateway,
			  struct ipam_pool **pool, struct dp_addr *ret_addr, struct dp_error *err)
{
	*ret_addr = (struct dp_addr){ .family = AF_UNSPEC };
	if (rq->address && *rq->address && dp_addr_parse(rq->address, ret_addr) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "'%s' is not an IP address",
				    rq->address);
	if (is_gateway)
		return 0;
	ipam_derive_redirect(d->space, ret_addr, pool);
	return ret_addr->family == AF_UNSPEC ? ipam_derive_addr(d->space, *pool, ret_addr, err) : 0;
}

static int on_request_address(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct address_request *rq = req;
	bool is_gateway = !strcmp(option(rq->options, OPT_REQUEST_TYPE), OPT_GATEWAY);
	struct ipam_probe_subject subject = { .is_dynamic = !rq->address || !*rq->address,
					      .options = rq->options };
	struct ipam_driver *d = ctx;
	struct dp_prefix answer;
	struct dp_addr addr;
	struct ipam_pool *pool;
	bool is_new = true;
	bool write = true;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_space_pool_by_text(d->space, rq->pool_id ? rq->pool_id : "", &pool, err);
	if (r < 0)
		return r;
	if (ipam_pool_life(pool)->released_at)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "pool %s was released", rq->pool_id);
	r = ipam_generation_heard(d, pool, err);
	if (r == 0)
		r = wanted_address(d, rq, is_gateway, &pool, &addr, err);
	if (r < 0)
		return r;
	answer.len = ipam_subnet_prefix(ipam_pool_subnet(pool))->len;
	subject.is_dynamic = addr.family == AF_UNSPEC;
	if (subject.is_dynamic)
		r = pick(d, pool, rq->options, is_gateway, &answer.addr, err);
	else
		r = claim(d, pool, &addr, rq->options, is_gateway, &write, &is_new, err);
	if (!subject.is_dynamic)
		answer.addr = addr;
	if (r == 0 && write)
		r = ipam_driver_record(d, pool, &answer.addr, is_gateway, rq->options, err);
	if (r < 0)
		return r;
	if (is_new)
		dp_call_undo_with(call, "/IpamDriver.ReleaseAddress");
	if (is_new && ipam_probe_wanted(pool, is_gateway)) {
		subject.pool = pool;
		subject.addr = answer.addr;
		return ipam_probe_begin(d, call, &subject, err);
	}
	ipam_driver_reply_address(call, &answer);
	return DP_STEP_DONE;
}

/*
 * The last user of @addr is gone. What rests for its container's return in a sticky pool is written
 * down as released later than it was: so it lasts as long as it should, and goes last where nothing
 * else is left.
 */
int ipam_driver_end_lease(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
			  const struct ipam_lease *lease, struct dp_error *err)
{
	bool sticky = ipam_pool_strategy(pool) == IPAM_STICKY;
	uint32_t rest = sticky ? d->config->sticky_time : d->config->cooldown;
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	int r = 0;

	if (!lease->is_gateway)
		r = ipam_ledger_remember(ipam_state_ledger(d->state), pool, addr, err);
	if (r < 0)
		return r;
	/* A gateway was no container's: no neighbour remembers it under another MAC of ours. */
	if (lease->is_gateway || !rest) {
		ipam_subnet_drop(subnet, addr, false);
		return ipam_state_drop_lease(d->state, subnet, addr, err);
	}
	ipam_subnet_rest(subnet, addr);
	return ipam_state_rest_lease(d->state, subnet, addr,
				     wall_clock() + (int64_t)rest - (int64_t)d->config->cooldown, err);
}

static int release(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
		   struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct ipam_lease lease;
	int r;

	if (!dp_prefix_has_addr(ipam_subnet_prefix(subnet), addr))
		return 0;
	r = ipam_state_get_lease(d->state, subnet, addr, &lease, err);
	if (r <= 0 || lease.is_cooling)
		return r < 0 ? r : 0;
	if (lease.pool_id != ipam_pool_rowid(pool))
		return ipam_state_remove_sharer(d->state, pool, addr, err); /* not its to end */
	r = ipam_state_inherit(d->state, subnet, addr, err);
	if (r == 0)
		r = ipam_driver_end_lease(d, pool, addr, &lease, err);
	return r < 0 ? r : 0;
}

int ipam_driver_release(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
			struct dp_error *err)
{
	return ipam_driver_spoil(d, release(d, pool, addr, err), err);
}

/* The engine may release what was reclaimed from it long ago, and has another holder since: then the
 * comparison with the endpoints decides. Return: 1 believe it; 0 do not; negative errno. */
static int believe_release(struct ipam_driver *d, const struct ipam_subnet *subnet,
			   const struct dp_addr *addr, struct dp_error *err)
{
	struct ipam_lease lease;
	char text[DP_ADDR_STRLEN];
	bool released;
	int r = ipam_state_get_reclaimed(d->state, subnet, addr, &released, err);

	if (r <= 0)
		return r < 0 ? r : 1;
	r = ipam_state_get_lease(d->state, subnet, addr, &lease, err);
	if (r < 0)
		return r;
	if (released || r == 0 || lease.is_cooling) {
		r = ipam_state_drop_reclaimed(d->state, subnet, addr, err);
		return r < 0 ? r : 1;
	}
	dp_log_notice("address %s was reclaimed before: if this release is its present holder's, it "
		      "will be reclaimed again",
		      dp_addr_format(addr, text));
	return ipam_state_put_reclaimed(d->state, subnet, addr, true, err);
}

int ipam_driver_reclaim(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
			struct dp_error *err)
{
	const struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	bool released = false;
	int r = ipam_state_get_reclaimed(d->state, subnet, addr, &released, err);

	if (r >= 0 && released)
		r = ipam_state_drop_reclaimed(d->state, subnet, addr, err);
	else if (r >= 0)
		r = ipam_state_put_reclaimed(d->state, subnet, addr, false, err);
	if (r == 0)
		r = release(d, pool, addr, err);
	return ipam_driver_spoil(d, r, err);
}

int ipam_driver_set_aside(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
			  struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	int64_t released_at = wall_clock() + d->config->conflict_rest - d->config->cooldown;

	ipam_subnet_rest(subnet, addr);
	return ipam_driver_spoil(d, ipam_state_rest_lease(d->state, subnet, addr, released_at, err),
				 err);
}

json_t *ipam_driver_probed(const struct ipam_driver *d)
{
	json_t *list = json_array();

	for (size_t i = 0; d->space && i < ipam_space_n_subnets(d->space, IPAM_LOCAL); i++) {
		const struct ipam_subnet *s = ipam_space_subnet(d->space, IPAM_LOCAL, i);
		char text[DP_PREFIX_STRLEN];
		bool probed = false;

		for (size_t k = 0; k < ipam_subnet_n_pools(s); k++)
			probed = probed || ipam_pool_probe_ms(ipam_subnet_pool(s, k));
		if (probed)
			(void)json_array_append_new(list, json_string(dp_prefix_format(
								  ipam_subnet_prefix(s), text)));
	}
	return list;
}

/* "10.0.0.7", as the engine has it, or "10.0.0.7/24", as it was given out. */
static int parse_released(const char *text, struct dp_addr *ret_addr)
{
	struct dp_prefix p;

	if (dp_addr_parse(text, ret_addr) == 0)
		return 0;
	if (dp_prefix_parse(text, &p) < 0)
		return -EINVAL;
	*ret_addr = p.addr;
	return 0;
}

static int on_release_address(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct address_request *rq = req;
	struct ipam_driver *d = ctx;
	struct dp_error ignored = DP_ERROR_INIT;
	struct ipam_pool *pool;
	struct dp_addr addr;
	int r = ipam_driver_ready(d, err);

	(void)call;
	if (r < 0)
		return r;
	if (!rq->pool_id || !rq->address || parse_released(rq->address, &addr) < 0 ||
	    ipam_space_pool_by_text(d->space, rq->pool_id, &pool, &ignored) < 0) {
		dp_log_debug("release of unknown address '%.64s'", rq->address ? rq->address : "");
		return DP_STEP_DONE;
	}
	ipam_derive_redirect(d->space, &addr, &pool);
	r = believe_release(d, ipam_pool_subnet(pool), &addr, err);
	if (r == 1)
		r = release(d, pool, &addr, err);
	return ipam_driver_spoil(d, r, err);
}

const struct dp_route ipam_routes[] = {
	{ "/IpamDriver.GetCapabilities", NULL, 0, on_get_capabilities },
	{ "/IpamDriver.GetDefaultAddressSpaces", NULL, 0, on_get_spaces },
	{ "/IpamDriver.RequestPool", &request_pool_schema, sizeof(struct request_pool),
	  on_request_pool },
	{ "/IpamDriver.ReleasePool", &release_pool_schema, sizeof(struct release_pool),
	  on_release_pool },
	{ "/IpamDriver.RequestAddress", &address_schema, sizeof(struct address_request),
	  on_request_address },
	{ "/IpamDriver.ReleaseAddress", &address_schema, sizeof(struct address_request),
	  on_release_address },
	{ .path = NULL },
};
