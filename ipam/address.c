/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* Addresses of a pool: taken, recorded, cooled and given back; the engine's two methods for that. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "ipam/derive.h"
#include "ipam/driver_internal.h"
#include "ipam/generation.h"
#include "ipam/known.h"
#include "ipam/probe.h"
#include "ipam/reclaim.h"

enum { MAX_EXPIRE_PER_REQUEST = 16 }; /* rows; bounds the work a request does for others */

const struct dp_schema ipam_address_schema = {
	.n_fields = 3,
	.fields =
		(const struct dp_field[3]){
			DP_STR(struct ipam_address_request, pool_id, "PoolID"),
			DP_STR(struct ipam_address_request, address, "Address",
			       .max = DP_PREFIX_STRLEN),
			DP_OBJ(struct ipam_address_request, options, "Options"),
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
		r = ipam_known_pick(d, pool, option(options, OPT_NAME), option(options, OPT_MAC),
				    ret_addr, err);
	if (r != 0)
		return r < 0 ? r : 0;
	aim(d, pool);
	r = ipam_pool_pick(pool, is_gateway, ret_addr, err);
	return r == -ENOSPC ? pick_cooling(d, pool, ret_addr, err) : r;
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
	    ipam_known_check(pool, addr, option(options, OPT_NAME), option(options, OPT_MAC), err) <
		    0)
		return err->code;
	claim.lease = r == 1 ? &lease : NULL;
	*ret_write = true;
	r = ipam_pool_claim(pool, &claim, &result, err);
	*ret_is_new = r == 0 && result != IPAM_CLAIM_CONFIRMED;
	if (r == 0 && result == IPAM_CLAIM_CONFIRMED && is_gateway && lease.is_gateway)
		r = ipam_driver_spoil(d, ipam_generation_gateway(d, pool, lease.generation, err),
				      err);
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
	static const char head[] = "{\"Address\":\"";
	static const char tail[] = "\",\"Data\":{}}";
	char text[sizeof head + DP_PREFIX_STRLEN + sizeof tail];

	/* Digits, letters, '.', ':' and '/': nothing that JSON would have escaped. */
	memcpy(text, head, sizeof head);
	dp_prefix_format(addr, text + strlen(head));
	memcpy(text + strlen(text), tail, sizeof tail);
	dp_call_reply_text(call, text);
}

/* The pool and address that a request means; AF_UNSPEC: any address. */
static int wanted_address(struct ipam_driver *d, const struct ipam_address_request *rq,
			  bool is_gateway, struct ipam_pool **pool, struct dp_addr *ret_addr,
			  struct dp_error *err)
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

int ipam_on_request_address(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_address_request *rq = req;
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
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "pool %s was released",
				    rq->pool_id);
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
				     wall_clock() + (int64_t)rest - (int64_t)d->config->cooldown,
				     err);
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
	if (lease.is_gateway) /* nothing else is shared */
		r = ipam_state_inherit(d->state, subnet, addr, err);
	else
		r = 0;
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
	dp_log_notice(
		"address %s was reclaimed before: if this release is its present holder's, it "
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
	return ipam_driver_spoil(d, ipam_state_set_aside(d->state, subnet, addr, released_at, err), err);
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
			(void)json_array_append_new(
				list, json_string(dp_prefix_format(ipam_subnet_prefix(s), text)));
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

int ipam_on_release_address(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_address_request *rq = req;
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
