/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Handlers change the model in memory and write lease rows into the turn's transaction; bitmap
 * chunks are written once a turn by the flush, pool cursors once a minute and at the end: one that
 * is old makes the picks after a crash begin earlier, that is all. If a write fails, the model and
 * the transaction no longer agree: the turn is `spoilt`, its flush fails, and the model is read
 * back from disk.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "ipam/derive.h"
#include "ipam/driver_internal.h"
#include "ipam/generation.h"
#include "ipam/hostroutes.h"
#include "ipam/join.h"
#include "ipam/probe.h"
#include "ipam/reclaim.h"

/* ---- life ---- */

int ipam_driver_start(const void *config, struct dp_loop *loop, void **ret_ctx,
		      struct dp_error *err)
{
	const struct ipam_config *c = config;
	struct ipam_driver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return dp_error_oom(err);
	d->config = c;
	d->loop = loop;
	r = ipam_driver_parse_lists(d, err);
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
	ipam_driver_write_cursors(d);
	ipam_generation_stop(d);
	ipam_reclaim_close(d);
	ipam_probe_close(d);
	ipam_join_close(d);
	ipam_space_free(d->space);
	ipam_state_close(d->state);
	ipam_driver_free_lists(d);
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
		dp_log_error("state cannot be read back, refusing requests until it can: %s",
			     err.msg);
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

static int on_get_capabilities(void *ctx, struct dp_call *call, const void *req,
			       struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	int r = ipam_driver_ready(d, err);

	(void)req;
	if (r < 0)
		return r;
	r = ipam_generation_begin(d, err);
	/* No replay: what an engine would tell us again we have on disk, and a replay that failed
	 * would make it release a live pool (moby: libnetwork/network.go, reservePools). */
	dp_call_reply(call,
		      json_pack("{s:b, s:b}", "RequiresMACAddress",
				(int)d->config->requires_mac_address, "RequiresRequestReplay", 0));
	return r;
}

static int on_get_spaces(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)req;
	(void)err;
	dp_call_reply_text(call, "{\"LocalDefaultAddressSpace\":\"local\","
				 "\"GlobalDefaultAddressSpace\":\"global\"}");
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
	.fields =
		(const struct dp_field[5]){
			DP_STR(struct request_pool, space, "AddressSpace", .flags = DP_F_REQUIRED,
			       .max = 64),
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
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s '%s' is not a CIDR prefix",
				    what, text);
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
		p[routes->n_prefixes++] =
			*ipam_subnet_prefix(ipam_space_subnet(d->space, other, i));
	return 0;
}

static int choose_prefix(struct ipam_driver *d, enum ipam_book book, bool v6, unsigned len,
			 struct dp_prefix *ret_prefix, struct dp_error *err)
{
	const struct ipam_pool_list *list = v6 ? &d->defaults_v6 : &d->defaults[book];
	struct ipam_hostroutes avoid = IPAM_HOSTROUTES_INIT;
	struct ipam_default_pool ula = { .size = 64 };
	struct ipam_choice choice = {
		.book = book, .bases = list->items, .n_bases = list->n, .len = len
	};
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
			 struct dp_prefix *ret_v6_from, uint32_t *ret_probe_ms,
			 struct dp_error *err)
{
	struct ipam_pool_options opt = {
		.tenant = "", .probe = "0", .exclude = "", .strategy = "next"
	};
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

static int request_pool_asked(void *ctx, struct dp_call *call, const void *req, struct dp_error *err);

/* @asked: the network daemons were, if there are any. */
static int request_pool(void *ctx, struct dp_call *call, const void *req, bool asked,
			struct dp_error *err)
{
	const struct request_pool *rq = req;
	struct ipam_driver *d = ctx;
	struct ipam_pool_options opt;
	struct ipam_pool_grant grant;
	struct ipam_pool *known;
	bool may_replay;
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
	may_replay = swarm && (!known || ipam_pool_replayable(known));
	if (may_replay && known && !has_serial(rq->options) && ipam_generation_doubtful(d, known)) {
		if (!asked)
			return ipam_join_then(d, call, request_pool_asked, req, err);
		may_replay = !ipam_generation_is_own(d, known);
	}
	r = ipam_space_request_pool(d->space, &id, may_replay, &grant, err);
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

static int request_pool_asked(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return request_pool(ctx, call, req, true, err);
}

static int on_request_pool(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return request_pool(ctx, call, req, false, err);
}

struct release_pool {
	const char *pool_id;
};

static const struct dp_schema release_pool_schema = {
	.n_fields = 1,
	.fields =
		(const struct dp_field[1]){
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

const struct dp_route ipam_routes[] = {
	{ "/IpamDriver.GetCapabilities", NULL, 0, on_get_capabilities },
	{ "/IpamDriver.GetDefaultAddressSpaces", NULL, 0, on_get_spaces },
	{ "/IpamDriver.RequestPool", &request_pool_schema, sizeof(struct request_pool),
	  on_request_pool },
	{ "/IpamDriver.ReleasePool", &release_pool_schema, sizeof(struct release_pool),
	  on_release_pool },
	{ "/IpamDriver.RequestAddress", &ipam_address_schema, sizeof(struct ipam_address_request),
	  ipam_on_request_address },
	{ "/IpamDriver.ReleaseAddress", &ipam_address_schema, sizeof(struct ipam_address_request),
	  ipam_on_release_address },
	{ .path = NULL },
};
