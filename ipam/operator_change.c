/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* What operators change: reservations and exclusions, ranges of pools, single leases. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "ipam/operator_internal.h"

enum { RANGES_A_PAGE = 500 };

/* ---- reserve, exclude ---- */

static int check_mac(const char *mac, struct dp_error *err)
{
	uint8_t bytes[6];

	if (*mac && dp_parse_mac(mac, bytes) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "mac: '%s' is not of the form 02:42:0a:00:00:02", mac);
	return 0;
}

static int block(struct ipam_driver *d, struct ipam_subnet *subnet, const struct ipam_range *range,
		 bool reserved, const char *name, const char *mac, struct dp_error *err)
{
	int r = check_mac(mac, err);

	if (r == 0 && (*name || *mac) && dp_addr_cmp(&range->first, &range->last))
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				 "only one address can be reserved for a container, not a range");
	if (r == 0)
		r = ipam_subnet_block(subnet, range, reserved, name, mac, err);
	if (r < 0)
		return r;
	return ipam_driver_spoil(
		d,
		ipam_ledger_put_block(ipam_state_ledger(d->state), subnet,
				      ipam_block_at(ipam_subnet_blocks(subnet), &range->first),
				      err),
		err);
}

static int on_block(void *ctx, struct dp_call *call, const struct ipam_op_args *a, bool reserved,
		    struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	struct ipam_subnet *subnet;
	struct ipam_range range;
	char text[IPAM_RANGE_STRLEN];
	char used[96] = "";
	uint64_t n_held;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_range_parse("range", a->range, &range, err);
	if (r == 0)
		r = ipam_op_find_subnet(d, a->pool, &range.first, &subnet, err);
	if (r == 0)
		r = block(d, subnet, &range, reserved, a->name ? a->name : "", a->mac ? a->mac : "",
			  err);
	if (r < 0)
		return r;
	n_held = ipam_subnet_count_range(subnet, &range);
	if (n_held)
		(void)snprintf(used, sizeof used,
			       "; %" PRIu64 " of it %s in use or resting: who holds one keeps it",
			       n_held, n_held == 1 ? "is" : "are");
	ipam_op_say(call, "%s is %s%s%s%s", ipam_range_format(&range, text),
		    reserved ? "reserved" : "excluded", a->name || a->mac ? " for " : "",
		    a->name ? a->name :
		    a->mac  ? a->mac :
			      "",
		    used);
	return DP_STEP_DONE;
}

int ipam_on_reserve(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return on_block(ctx, call, req, true, err);
}

int ipam_on_exclude(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return on_block(ctx, call, req, false, err);
}

int ipam_on_include(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	struct ipam_subnet *subnet;
	struct ipam_range range;
	char text[IPAM_RANGE_STRLEN];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_range_parse("range", a->range, &range, err);
	if (r == 0)
		r = ipam_op_find_subnet(d, a->pool, &range.first, &subnet, err);
	if (r < 0)
		return r;
	if (!ipam_subnet_unblock(subnet, &range))
		return dp_error_set(
			err, DP_ERR_NOT_FOUND, -ENOENT,
			"%s is neither reserved nor excluded as it stands: see `ranges`",
			ipam_range_format(&range, text));
	r = ipam_ledger_remove_block(ipam_state_ledger(d->state), subnet, &range, err);
	ipam_op_say(call, "%s is given out again", ipam_range_format(&range, text));
	return ipam_driver_spoil(d, r, err);
}

static int add_blocks(json_t *list, const struct ipam_subnet *subnet)
{
	const struct ipam_block_list *blocks = ipam_subnet_blocks(subnet);
	char range[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];
	int r = 0;

	for (size_t i = 0; r == 0 && i < blocks->n; i++) {
		const struct ipam_block *b = &blocks->items[i];

		r = json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Range",
					ipam_range_format(&b->range, range), "Subnet",
					dp_prefix_format(ipam_subnet_prefix(subnet), prefix),
					"Tenant", ipam_subnet_tenant(subnet), "Is",
					b->reserved ? "reserved" : "excluded", "MAC", b->mac,
					"Name", b->name));
	}
	return r;
}

int ipam_on_ranges(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	uint64_t v[IPAM_OP_MAX_NUMBERS];
	struct ipam_subnet *s;
	json_auto_t *list = NULL;
	json_auto_t *reply = NULL;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_op_parse_position(a->after, v, err);
	if (r < 0)
		return r;
	list = json_array();
	for (; r == 0 && json_array_size(list) < RANGES_A_PAGE && (s = ipam_op_nth_subnet(d, v[0]));
	     v[0]++) {
		if (ipam_op_is_of_pool(s, a->pool))
			r = add_blocks(list, s);
	}
	reply = json_pack("{s:O}", "Blocks", list);
	if (r < 0 || !reply || (ipam_op_nth_subnet(d, v[0]) && ipam_op_set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- extend, release, move ---- */

int ipam_on_extend(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	struct ipam_range range;
	struct ipam_range old;
	struct ipam_pool *pool;
	char text[IPAM_RANGE_STRLEN];
	char name[IPAM_POOL_ID_SIZE];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_range_parse("range", a->range, &range, err);
	if (r == 0)
		r = ipam_op_find_pool(d, a->pool, &pool, err);
	if (r < 0)
		return r;
	ipam_pool_dynamic_bounds(pool, &old.first, &old.last);
	if (dp_addr_cmp(&range.first, &old.first) > 0 || dp_addr_cmp(&range.last, &old.last) < 0)
		return dp_error_set(
			err, DP_ERR_INVALID, -EINVAL,
			"range: it must contain the present one, %s; to narrow it use `exclude`",
			ipam_range_format(&old, text));
	r = ipam_pool_set_bounds(pool, &range, err);
	if (r < 0)
		return r;
	r = ipam_ledger_put_pool(ipam_state_ledger(d->state), pool, err);
	ipam_op_say(call, "containers of %s get addresses from %s",
		    ipam_pool_id_format(ipam_pool_ident(pool), name),
		    ipam_range_format(&range, text));
	return ipam_driver_spoil(d, r, err);
}

static struct ipam_pool *pool_by_row(const struct ipam_subnet *subnet, int64_t rowid)
{
	for (size_t i = 0; i < ipam_subnet_n_pools(subnet); i++) {
		if (ipam_pool_rowid(ipam_subnet_pool(subnet, i)) == rowid)
			return ipam_subnet_pool(subnet, i);
	}
	return NULL;
}

/* The held lease of @text. */
static int find_held(struct ipam_driver *d, const char *pool, const char *text,
		     struct dp_addr *ret_addr, struct ipam_subnet **ret_subnet,
		     struct ipam_lease *ret_lease, struct dp_error *err)
{
	int r = ipam_op_parse_address(text, ret_addr, err);

	if (r == 0)
		r = ipam_op_find_subnet(d, pool, ret_addr, ret_subnet, err);
	if (r < 0)
		return r;
	r = ipam_state_get_lease(d->state, *ret_subnet, ret_addr, ret_lease, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (r == 0 || ret_lease->is_cooling)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "%s is not held%s", text,
				    r == 1 ? ", it rests" : "");
	return 0;
}

int ipam_on_release(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	struct ipam_subnet *subnet;
	struct ipam_lease lease;
	struct ipam_pool *pool;
	struct dp_addr addr;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = find_held(d, a->pool, a->address, &addr, &subnet, &lease, err);
	if (r < 0)
		return r;
	pool = pool_by_row(subnet, lease.pool_id);
	r = ipam_state_inherit(d->state, subnet, &addr, err);
	if (r == 0)
		r = ipam_driver_end_lease(d, pool ? pool : ipam_subnet_pool(subnet, 0), &addr,
					  &lease, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	ipam_op_say(call,
		    r == 1 ? "%s is the gateway of several pools: one of them has it now" :
			     "%s is released",
		    a->address);
	return DP_STEP_DONE;
}

struct owner {
	char name[256];
	char mac[32];
};

static bool note_owner(void *ctx, const struct ipam_entry *e)
{
	struct owner *o = ctx;

	(void)snprintf(o->name, sizeof o->name, "%s", e->name);
	(void)snprintf(o->mac, sizeof o->mac, "%s", e->mac);
	return true;
}

int ipam_on_move(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	struct owner owner = { .name = "" };
	struct ipam_range range;
	struct ipam_subnet *subnet;
	struct ipam_lease lease;
	struct dp_addr addr;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = find_held(d, a->pool, a->address, &addr, &subnet, &lease, err);
	if (r == 0)
		r = ipam_op_parse_address(a->to, &range.first, err);
	if (r < 0)
		return r;
	r = ipam_ledger_lease(ipam_state_ledger(d->state), subnet, &addr, note_owner, &owner, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (!*owner.name && !*owner.mac)
		return dp_error_set(
			err, DP_ERR_UNSUPPORTED, -EOPNOTSUPP,
			"the engine told neither name nor MAC of who holds %s, so it cannot "
			"be known again: start it with --ip %s",
			a->address, a->to);
	range.last = range.first;
	/* By name where there is one: the MAC may be another one next time. */
	r = block(d, subnet, &range, true, owner.name, *owner.name ? "" : owner.mac, err);
	if (r < 0)
		return r;
	ipam_op_say(call, "%s gets %s when it is started again; until then it keeps %s",
		    *owner.name ? owner.name : owner.mac, a->to, a->address);
	return DP_STEP_DONE;
}
