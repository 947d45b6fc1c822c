/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What people ask of the running daemon: the methods behind the commands, and the commands.
 *
 * Whatever is changed is on disk before it is answered, as with the engine's requests. Whatever is
 * listed comes in pages, each within a turn of its own, so that neither the loop nor the memory
 * feels a million leases. A page says in "Next" where the following one begins: numbers, separated
 * by colons.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/archive.h"
#include "common/command.h"
#include "common/log.h"
#include "common/parse.h"
#include "ipam/driver_internal.h"
#include "ipam/join.h"
#include "ipam/known.h"
#include "ipam/operator_show.h"

enum {
	POOLS_A_PAGE = 200,
	ROWS_A_PAGE = 4000,        /* read; as many are shown at most as LEASES_A_PAGE */
	LEASES_A_PAGE = 500,
	HISTORY_A_PAGE = 10000,    /* rows looked at */
	CHECKS_A_PAGE = 2000,      /* rows or bits */
	MAP_CELLS = 1024,
	MAP_WIDTH = 64,
	TIME_SIZE = 24,
	MAX_NUMBERS = 6,
};

struct args {
	const char *pool;
	const char *range;
	const char *address;
	const char *to;
	const char *name;
	const char *mac;
	const char *at;
	const char *after;
};

/* ---- small things ---- */

static const char *format_time(int64_t seconds, char buf[static TIME_SIZE])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf[0] = '\0';
	return buf;
}

/* "2026-11-24T12:03", "2026-11-24 12:03:10", "12:03" (today), all in UTC, with or without a Z. */
static int parse_time(const char *text, int64_t *ret_seconds, struct dp_error *err)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
					     "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%H:%M:%S", "%H:%M" };
	time_t now = time(NULL);

	for (size_t i = 0; i < DP_ARRAY_LEN(forms); i++) {
		struct tm tm;
		const char *end;

		(void)gmtime_r(&now, &tm);
		tm.tm_sec = 0;
		end = strptime(text, forms[i], &tm);
		if (end && (!*end || !strcmp(end, "Z"))) {
			*ret_seconds = (int64_t)timegm(&tm);
			return 0;
		}
	}
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "at: '%s' is not a time (UTC) such as 2026-11-24T12:03 or 12:03", text);
}

/* The numbers of a position; those that are missing are 0. */
static int parse_position(const char *text, uint64_t ret_v[static MAX_NUMBERS], struct dp_error *err)
{
	char copy[160];
	char *rest = NULL;
	size_t n = 0;

	memset(ret_v, 0, MAX_NUMBERS * sizeof *ret_v);
	(void)snprintf(copy, sizeof copy, "%s", text ? text : "");
	for (char *w = strtok_r(copy, ":", &rest); w; w = strtok_r(NULL, ":", &rest)) {
		if (n == MAX_NUMBERS || dp_parse_u64(w, 0, UINT64_MAX, &ret_v[n++]) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "After: '%s'", text);
	}
	return 0;
}

/* Sets "Next" in @reply, so that the caller comes again. */
static int set_next(json_t *reply, const uint64_t v[static MAX_NUMBERS])
{
	char text[160];
	size_t n = 0;

	for (size_t i = 0; i < MAX_NUMBERS; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, i ? ":%" PRIu64 : "%" PRIu64, v[i]);
	return json_object_set_new(reply, "Next", json_string(text));
}

static json_t *number_of(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

/* All subnets, one after the other; NULL behind the last. */
static struct ipam_subnet *nth_subnet(const struct ipam_driver *d, uint64_t n)
{
	for (int b = 0; b < IPAM_N_BOOKS; b++) {
		size_t n_book = ipam_space_n_subnets(d->space, (enum ipam_book)b);

		if (n < n_book)
			return ipam_space_subnet(d->space, (enum ipam_book)b, (size_t)n);
		n -= n_book;
	}
	return NULL;
}

/* Does @subnet have a pool of that PoolID, or is that its prefix? NULL means any. */
static bool is_of_pool(const struct ipam_subnet *subnet, const char *pool)
{
	char text[IPAM_POOL_ID_SIZE];
	char prefix[DP_PREFIX_STRLEN];

	if (!pool || !strcmp(pool, dp_prefix_format(ipam_subnet_prefix(subnet), prefix)))
		return true;
	for (size_t i = 0; i < ipam_subnet_n_pools(subnet); i++) {
		ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(subnet, i)), text);
		if (!strcmp(pool, text))
			return true;
	}
	return false;
}

/* The one subnet that has @addr (NULL: any), and is @pool's (NULL: any). */
static int find_subnet(const struct ipam_driver *d, const char *pool, const struct dp_addr *addr,
		       struct ipam_subnet **ret_subnet, struct dp_error *err)
{
	struct ipam_subnet *found = NULL;
	struct ipam_subnet *s;
	char a[IPAM_POOL_ID_SIZE];
	char b[IPAM_POOL_ID_SIZE];

	for (uint64_t i = 0; (s = nth_subnet(d, i)); i++) {
		if (!is_of_pool(s, pool) || (addr && !dp_prefix_has_addr(ipam_subnet_prefix(s), addr)))
			continue;
		if (found)
			return dp_error_set(
				err, DP_ERR_CONFLICT, -ENOTUNIQ, "which pool? --pool %s or --pool %s",
				ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(found, 0)), a),
				ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(s, 0)), b));
		found = s;
	}
	if (!found)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "no pool %s%s%s", pool ? pool : "",
				    addr ? "has the address " : "is there",
				    addr ? dp_addr_format(addr, a) : "");
	*ret_subnet = found;
	return 0;
}

/* A pool by its PoolID, or by a subnet that has one pool only. */
static int find_pool(const struct ipam_driver *d, const char *text, struct ipam_pool **ret_pool,
		     struct dp_error *err)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct ipam_subnet *subnet;
	int r;

	if (text && ipam_space_pool_by_text(d->space, text, ret_pool, &ignored) == 0)
		return 0;
	r = find_subnet(d, text, NULL, &subnet, err);
	if (r < 0)
		return r;
	if (ipam_subnet_n_pools(subnet) > 1)
		return dp_error_set(err, DP_ERR_CONFLICT, -ENOTUNIQ,
				    "subnet %s has %zu pools: name one by its PoolID, see `status`", text,
				    ipam_subnet_n_pools(subnet));
	*ret_pool = ipam_subnet_pool(subnet, 0);
	return 0;
}

static int parse_address(const char *text, struct dp_addr *ret_addr, struct dp_error *err)
{
	if (dp_addr_parse(text, ret_addr) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "'%s' is not an IP address", text);
	return 0;
}

DP_PRINTF(2, 3) static void say(struct dp_call *call, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dp_log_notice("operator: %s", text);
	dp_call_reply(call, json_pack("{s:s}", "Said", text));
}

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
				      ipam_block_at(ipam_subnet_blocks(subnet), &range->first), err),
		err);
}

static int on_block(void *ctx, struct dp_call *call, const struct args *a, bool reserved,
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
		r = find_subnet(d, a->pool, &range.first, &subnet, err);
	if (r == 0)
		r = block(d, subnet, &range, reserved, a->name ? a->name : "", a->mac ? a->mac : "",
			  err);
	if (r < 0)
		return r;
	n_held = ipam_subnet_count_range(subnet, &range);
	if (n_held)
		(void)snprintf(used, sizeof used,
			       "; %" PRIu64 " of it %s in use or resting: who holds one keeps it", n_held,
			       n_held == 1 ? "is" : "are");
	say(call, "%s is %s%s%s%s", ipam_range_format(&range, text),
	    reserved ? "reserved" : "excluded", a->name || a->mac ? " for " : "",
	    a->name ? a->name : a->mac ? a->mac : "", used);
	return DP_STEP_DONE;
}

static int on_reserve(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return on_block(ctx, call, req, true, err);
}

static int on_exclude(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return on_block(ctx, call, req, false, err);
}

static int on_include(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	struct ipam_subnet *subnet;
	struct ipam_range range;
	char text[IPAM_RANGE_STRLEN];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_range_parse("range", a->range, &range, err);
	if (r == 0)
		r = find_subnet(d, a->pool, &range.first, &subnet, err);
	if (r < 0)
		return r;
	if (!ipam_subnet_unblock(subnet, &range))
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT,
				    "%s is neither reserved nor excluded as it stands: see `ranges`",
				    ipam_range_format(&range, text));
	r = ipam_ledger_remove_block(ipam_state_ledger(d->state), subnet, &range, err);
	say(call, "%s is given out again", ipam_range_format(&range, text));
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
					dp_prefix_format(ipam_subnet_prefix(subnet), prefix), "Tenant",
					ipam_subnet_tenant(subnet), "Is",
					b->reserved ? "reserved" : "excluded", "MAC", b->mac, "Name",
					b->name));
	}
	return r;
}

static int on_ranges(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	uint64_t v[MAX_NUMBERS];
	struct ipam_subnet *s;
	json_auto_t *list = NULL;
	json_auto_t *reply = NULL;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = parse_position(a->after, v, err);
	if (r < 0)
		return r;
	list = json_array();
	for (; r == 0 && json_array_size(list) < LEASES_A_PAGE && (s = nth_subnet(d, v[0])); v[0]++) {
		if (is_of_pool(s, a->pool))
			r = add_blocks(list, s);
	}
	reply = json_pack("{s:O}", "Blocks", list);
	if (r < 0 || !reply || (nth_subnet(d, v[0]) && set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- extend, release, move ---- */

static int on_extend(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
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
		r = find_pool(d, a->pool, &pool, err);
	if (r < 0)
		return r;
	ipam_pool_dynamic_bounds(pool, &old.first, &old.last);
	if (dp_addr_cmp(&range.first, &old.first) > 0 || dp_addr_cmp(&range.last, &old.last) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "range: it must contain the present one, %s; to narrow it use `exclude`",
				    ipam_range_format(&old, text));
	r = ipam_pool_set_bounds(pool, &range, err);
	if (r < 0)
		return r;
	r = ipam_ledger_put_pool(ipam_state_ledger(d->state), pool, err);
	say(call, "containers of %s get addresses from %s",
	    ipam_pool_id_format(ipam_pool_ident(pool), name), ipam_range_format(&range, text));
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
	int r = parse_address(text, ret_addr, err);

	if (r == 0)
		r = find_subnet(d, pool, ret_addr, ret_subnet, err);
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

static int on_release(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
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
		r = ipam_driver_end_lease(d, pool ? pool : ipam_subnet_pool(subnet, 0), &addr, &lease,
					  err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	say(call, r == 1 ? "%s is the gateway of several pools: one of them has it now" :
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

static int on_move(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
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
		r = parse_address(a->to, &range.first, err);
	if (r < 0)
		return r;
	r = ipam_ledger_lease(ipam_state_ledger(d->state), subnet, &addr, note_owner, &owner, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (!*owner.name && !*owner.mac)
		return dp_error_set(err, DP_ERR_UNSUPPORTED, -EOPNOTSUPP,
				    "the engine told neither name nor MAC of who holds %s, so it cannot "
				    "be known again: start it with --ip %s",
				    a->address, a->to);
	range.last = range.first;
	/* By name where there is one: the MAC may be another one next time. */
	r = block(d, subnet, &range, true, owner.name, *owner.name ? "" : owner.mac, err);
	if (r < 0)
		return r;
	say(call, "%s gets %s when it is started again; until then it keeps %s",
	    *owner.name ? owner.name : owner.mac, a->to, a->address);
	return DP_STEP_DONE;
}

/* ---- status ---- */

static json_t *pool_status(struct ipam_pool *pool)
{
	uint64_t n_free;
	struct ipam_range range;
	struct ipam_usage u;
	struct ipam_trend *trend = ipam_pool_trend(pool);
	char name[IPAM_POOL_ID_SIZE];
	char text[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];
	const struct ipam_subnet *subnet = ipam_pool_subnet(pool);

	ipam_pool_usage(pool, &u);
	ipam_pool_dynamic_bounds(pool, &range.first, &range.last);
	n_free = u.n_usable - u.n_used - u.n_kept;
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f}", "Pool",
			 ipam_pool_id_format(ipam_pool_ident(pool), name), "Subnet",
			 dp_prefix_format(ipam_subnet_prefix(subnet), prefix), "Tenant",
			 ipam_subnet_tenant(subnet), "Range", ipam_range_format(&range, text),
			 "Strategy", ipam_strategy_names[ipam_pool_strategy(pool)], "Usable",
			 number_of(u.n_usable), "Used", number_of(u.n_used), "Held",
			 number_of(u.n_held), "Resting", number_of(u.n_cooling), "Kept",
			 number_of(u.n_kept), "Free", number_of(n_free), "PerHour", trend->per_hour,
			 "FullInSeconds", ipam_trend_full_in(trend, n_free));
}

static int on_status(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	uint64_t v[MAX_NUMBERS];
	struct ipam_subnet *s;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = parse_position(a->after, v, err);
	if (r < 0)
		return r;
	for (; json_array_size(list) < POOLS_A_PAGE && (s = nth_subnet(d, v[0])); v[0]++) {
		for (size_t k = 0; is_of_pool(s, a->pool) && k < ipam_subnet_n_pools(s); k++) {
			if (json_array_append_new(list, pool_status(ipam_subnet_pool(s, k))) < 0)
				return dp_error_oom(err);
		}
	}
	reply = json_pack("{s:O}", "Pools", list);
	if (!reply || (nth_subnet(d, v[0]) && set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- leases ---- */

/* A page in the making. */
struct listing {
	const struct ipam_driver *d;
	const struct ipam_subnet *subnet; /* that is being read */
	const struct args *args;
	json_t *list;
	struct dp_addr last; /* the last one that was read */
	bool failed;         /* memory ran out */
};

static bool is_wanted(const struct args *a, const struct ipam_entry *e)
{
	/* A pool is named by its PoolID, or by its subnet, which the caller has looked at. */
	struct dp_prefix p;
	bool by_id = a->pool && dp_prefix_parse(a->pool, &p) < 0;

	return (!a->address || !strcmp(a->address, e->address)) &&
	       (!a->name || !strcmp(a->name, e->name)) && (!a->mac || !strcasecmp(a->mac, e->mac)) &&
	       (!by_id || !strcmp(a->pool, e->pool));
}

/* @p: the endpoint that has it; NULL = not known. */
static json_t *lease_json(const struct ipam_entry *e, const struct ipam_peer_endpoint *p)
{
	static const struct ipam_peer_endpoint nobody;
	char since[TIME_SIZE];
	char until[TIME_SIZE] = "";

	if (!p)
		p = &nobody;
	if (e->until)
		format_time(e->until, until);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Address",
			 e->address, "Pool", e->pool, "State",
			 e->until ? "resting" : e->is_gateway ? "gateway" : "held", "Since",
			 format_time(e->since, since), "Released", until, "MAC", e->mac, "Name", e->name,
			 "Endpoint", p->id, "Network", p->network, "Link", p->link, "Bridge", p->bridge);
}

static bool add_lease(void *ctx, const struct ipam_entry *entry)
{
	const struct ipam_peer_endpoint *p = NULL;
	struct ipam_entry e = *entry;
	struct listing *l = ctx;

	l->last = e.addr;
	if (!e.until)
		p = ipam_join_find(l->d, l->subnet, &e.addr);
	if (p && !*e.mac)
		e.mac = p->mac; /* which the engine did not tell */
	if (!is_wanted(l->args, &e))
		return true;
	if (json_array_append_new(l->list, lease_json(&e, p)) < 0)
		l->failed = true;
	return !l->failed && json_array_size(l->list) < LEASES_A_PAGE;
}

/* Reads on from position @v, which moves; what is wanted goes to @l. */
static int read_leases(struct ipam_driver *d, struct listing *l, uint64_t v[static MAX_NUMBERS],
		       struct dp_error *err)
{
	unsigned n_left = ROWS_A_PAGE;
	struct ipam_subnet *s;

	while (n_left && json_array_size(l->list) < LEASES_A_PAGE && (s = nth_subnet(d, v[0]))) {
		struct dp_addr after = { .family = v[3] ? ipam_subnet_prefix(s)->addr.family : AF_UNSPEC,
					 .hi = v[1],
					 .lo = v[2] };
		int n = 0;

		l->subnet = s;
		if (is_of_pool(s, l->args->pool))
			n = ipam_ledger_leases(ipam_state_ledger(d->state), s, &after, n_left,
					       add_lease, l, err);
		if (n < 0)
			return n;
		if ((unsigned)n < n_left && json_array_size(l->list) < LEASES_A_PAGE) {
			v[0]++; /* the subnet is at its end */
			v[1] = v[2] = v[3] = 0;
		} else {
			v[1] = l->last.hi;
			v[2] = l->last.lo;
			v[3] = 1;
		}
		n_left -= (unsigned)n;
	}
	return 0;
}

static int list_leases(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	struct listing l = { .d = d, .args = req };
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	uint64_t v[MAX_NUMBERS];
	int r = ipam_driver_ready(d, err);

	l.list = list;
	if (r == 0)
		r = parse_position(l.args->after, v, err);
	if (r == 0)
		r = read_leases(d, &l, v, err);
	if (r < 0)
		return r;
	reply = json_pack("{s:O}", "Leases", list);
	if (l.failed || !reply || (nth_subnet(d, v[0]) && set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

static int on_leases(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	return ipam_join_then(ctx, call, list_leases, req, err);
}

/* ---- history ---- */

struct past {
	json_t *list;
	const char *pool; /* NULL = any */
	int64_t at;       /* 0 = any time */
	bool failed;
};

static bool add_past(void *ctx, const struct ipam_entry *e)
{
	struct past *p = ctx;
	char since[TIME_SIZE];
	char until[TIME_SIZE] = "";

	if ((p->at && (e->since > p->at || (e->until && e->until < p->at))) ||
	    (p->pool && strcmp(p->pool, e->pool)))
		return true;
	if (e->until)
		format_time(e->until, until);
	if (json_array_append_new(p->list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Address",
						     e->address, "Pool", e->pool, "Since",
						     format_time(e->since, since), "Until", until,
						     "MAC", e->mac, "Name", e->name)) < 0)
		p->failed = true;
	return !p->failed;
}

static bool add_present(void *ctx, const struct ipam_entry *e)
{
	return e->until ? true : add_past(ctx, e); /* a resting one is in the history already */
}

/* Who has it now, in whatever pools. */
static int read_present(struct ipam_driver *d, const struct dp_addr *addr, struct past *p,
			struct dp_error *err)
{
	struct ipam_subnet *s;
	int r = 0;

	for (uint64_t i = 0; r >= 0 && (s = nth_subnet(d, i)); i++) {
		if (dp_prefix_has_addr(ipam_subnet_prefix(s), addr))
			r = ipam_ledger_lease(ipam_state_ledger(d->state), s, addr, add_present, p,
					      err);
	}
	return r < 0 ? r : 0;
}

static int on_history(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	struct past p = { .list = list, .pool = a->pool };
	uint64_t v[MAX_NUMBERS]; /* newest row to look at, and whether this is not the first page */
	struct dp_addr addr;
	char text[DP_ADDR_STRLEN];
	int64_t oldest;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = parse_position(a->after, v, err);
	if (r == 0)
		r = parse_address(a->address, &addr, err);
	if (r == 0 && a->at)
		r = parse_time(a->at, &p.at, err);
	if (r == 0 && !v[1]) {
		int64_t newest = ipam_ledger_newest(ipam_state_ledger(d->state), err);

		r = newest < 0 ? (int)newest : read_present(d, &addr, &p, err);
		v[0] = (uint64_t)newest;
	}
	if (r < 0)
		return r;
	oldest = (int64_t)v[0] > HISTORY_A_PAGE ? (int64_t)v[0] - HISTORY_A_PAGE + 1 : 1;
	r = ipam_ledger_history(ipam_state_ledger(d->state), dp_addr_format(&addr, text),
				(int64_t)v[0], oldest, add_past, &p, err);
	if (r < 0)
		return r;
	v[0] = (uint64_t)oldest - 1;
	v[1] = 1;
	reply = json_pack("{s:O}", "History", list);
	if (p.failed || !reply || (v[0] && set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- map ---- */

struct map {
	struct ipam_subnet *subnet;
	struct ipam_pool *pool;
	struct ipam_range range;
	uint64_t per_cell;
	unsigned n;
	char cells[MAP_CELLS + 1];
};

static bool note_cell(void *ctx, const struct ipam_entry *e)
{
	*(char *)ctx = e->until ? '~' : e->is_gateway ? 'G' : '#';
	return true;
}

static int one_cell(struct ipam_driver *d, const struct map *m, const struct dp_addr *addr,
		    char *ret_cell, struct dp_error *err)
{
	const struct ipam_block *b = ipam_block_at(ipam_subnet_blocks(m->subnet), addr);
	struct dp_error ignored = DP_ERROR_INIT;

	*ret_cell = b ? (b->reserved ? 'r' : 'x') : '.';
	if (ipam_pool_check_addr(m->pool, addr, &ignored) < 0)
		*ret_cell = '-';
	if (!ipam_subnet_test(m->subnet, addr))
		return 0;
	return ipam_ledger_lease(ipam_state_ledger(d->state), m->subnet, addr, note_cell, ret_cell,
				 err);
}

static char shade(const struct map *m, const struct ipam_range *cell)
{
	uint64_t used = ipam_subnet_count_range(m->subnet, cell);
	const struct ipam_block *b = ipam_block_at(ipam_subnet_blocks(m->subnet), &cell->first);
	unsigned tenth = (unsigned)((double)used / (double)m->per_cell * 10);

	if (!used)
		return b && ipam_range_has(&b->range, &cell->last) ? 'x' : '.';
	if (used >= m->per_cell)
		return '#';
	return (char)('0' + (tenth < 1 ? 1 : tenth > 9 ? 9 : tenth));
}

static int draw(struct ipam_driver *d, struct map *m, struct dp_error *err)
{
	uint64_t size = m->range.last.lo - m->range.first.lo; /* one less than there are */
	int r = 0;

	m->per_cell = size / MAP_CELLS + 1;
	while (m->per_cell & (m->per_cell - 1)) /* up to a power of two, so that rows are prefixes */
		m->per_cell += m->per_cell & -m->per_cell;
	m->n = (unsigned)(size / m->per_cell) + 1;
	for (unsigned i = 0; r >= 0 && i < m->n; i++) {
		struct ipam_range cell = { .first = dp_addr_add(&m->range.first, i * m->per_cell) };

		cell.last = dp_addr_add(&cell.first, m->per_cell - 1);
		if (m->per_cell == 1)
			r = one_cell(d, m, &cell.first, &m->cells[i], err);
		else
			m->cells[i] = shade(m, &cell);
	}
	return r < 0 ? r : 0;
}

static int on_map(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *rows = json_array();
	char name[IPAM_POOL_ID_SIZE];
	char text[DP_ADDR_STRLEN];
	struct map m = { .n = 0 };
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = find_pool(d, a->pool, &m.pool, err);
	if (r < 0)
		return r;
	m.subnet = ipam_pool_subnet(m.pool);
	m.range = (struct ipam_range){ .first = dp_prefix_masked(ipam_subnet_prefix(m.subnet)).addr,
				       .last = *ipam_subnet_last(m.subnet) };
	if (a->range)
		r = ipam_range_parse("range", a->range, &m.range, err);
	if (r == 0 && (!dp_prefix_has_addr(ipam_subnet_prefix(m.subnet), &m.range.first) ||
		       !dp_prefix_has_addr(ipam_subnet_prefix(m.subnet), &m.range.last)))
		r = dp_error_set(err, DP_ERR_INVALID, -ERANGE, "range: it is not inside the pool");
	if (m.range.first.hi != m.range.last.hi) { /* beyond 2^64 nothing is picked */
		m.range.last = m.range.first;
		m.range.last.lo = UINT64_MAX;
	}
	if (r == 0)
		r = draw(d, &m, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < m.n; i += MAP_WIDTH) {
		struct dp_addr row = dp_addr_add(&m.range.first, i * m.per_cell);

		(void)json_array_append_new(rows, json_string(dp_addr_format(&row, text)));
	}
	dp_call_reply(call, json_pack("{s:s, s:o, s:s, s:O}", "Pool",
				      ipam_pool_id_format(ipam_pool_ident(m.pool), name), "PerCell",
				      number_of(m.per_cell), "Cells", m.cells, "Rows", rows));
	return DP_STEP_DONE;
}

/* ---- check ---- */

/*
 * First every lease row is looked for in the bitmap, then every bit in the lease table; a slice a
 * page, and what one page sees is whole, since no request runs meanwhile.
 */
struct check {
	struct ipam_driver *d;
	struct ipam_subnet *subnet;
	json_t *findings;
	struct dp_addr last;
	unsigned n; /* looked at in this page */
};

DP_PRINTF(2, 3) static void find(const struct check *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dp_log_error("check: %s", text);
	(void)json_array_append_new(c->findings, json_pack("{s:s}", "Finding", text));
}

static bool check_row(void *ctx, const struct ipam_entry *e)
{
	struct check *c = ctx;

	c->last = e->addr;
	c->n++;
	if (!ipam_subnet_test(c->subnet, &e->addr))
		find(c, "%s has a lease, but its bit is clear", e->address);
	if (!*e->pool)
		find(c, "the lease of %s belongs to no pool", e->address);
	return true;
}

/* Return: 1 the subnet's rows are through; 0 there are more; negative errno. */
static int check_rows(struct check *c, const struct dp_addr *after, struct dp_error *err)
{
	int n = ipam_ledger_leases(ipam_state_ledger(c->d->state), c->subnet, after, CHECKS_A_PAGE,
				   check_row, c, err);

	return n < 0 ? n : n < CHECKS_A_PAGE;
}

static int check_bits(struct check *c, struct dp_addr from, struct dp_error *err)
{
	char text[DP_ADDR_STRLEN];
	struct ipam_lease lease;
	int r;

	for (int i = 0; i < CHECKS_A_PAGE; i++) {
		if (ipam_subnet_next_set(c->subnet, &from, &c->last) < 0)
			return 1;
		r = ipam_state_get_lease(c->d->state, c->subnet, &c->last, &lease, err);
		if (r < 0)
			return r;
		if (r == 0)
			find(c, "the bit of %s is set, but it has no lease",
			     dp_addr_format(&c->last, text));
		c->n++;
		if (!dp_addr_cmp(&c->last, ipam_subnet_last(c->subnet)))
			return 1;
		from = dp_addr_add(&c->last, 1);
	}
	return 0;
}

static void check_counts(const struct check *c)
{
	uint64_t n_bits = ipam_subnet_count(c->subnet);
	char prefix[DP_PREFIX_STRLEN];
	struct ipam_usage u;

	ipam_pool_usage(ipam_subnet_pool(c->subnet, 0), &u);
	if (n_bits != u.n_held + u.n_cooling)
		find(c, "subnet %s has %" PRIu64 " bits, but counts %" PRIu64,
		     dp_prefix_format(ipam_subnet_prefix(c->subnet), prefix), n_bits,
		     u.n_held + u.n_cooling);
}

/* One slice from position @v = subnet, upper, lower, begun, phase, total; it moves. */
static int check_slice(struct check *c, uint64_t v[static MAX_NUMBERS], struct dp_error *err)
{
	struct dp_addr at = { .family = ipam_subnet_prefix(c->subnet)->addr.family,
			      .hi = v[1],
			      .lo = v[2] };
	int r;

	if (!v[4]) {
		at.family = v[3] ? at.family : AF_UNSPEC;
		r = check_rows(c, &at, err);
	} else {
		at = v[3] ? dp_addr_add(&at, 1) : dp_prefix_masked(ipam_subnet_prefix(c->subnet)).addr;
		r = check_bits(c, at, err);
	}
	if (r < 0)
		return r;
	v[1] = c->last.hi;
	v[2] = c->last.lo;
	v[3] = r == 0;
	v[5] += c->n;
	if (r == 1 && v[4]++ == 1) {
		check_counts(c);
		v[0]++;
		v[4] = 0;
	}
	return 0;
}

static int on_check(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	struct check c = { .d = d, .findings = list };
	uint64_t v[MAX_NUMBERS];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = parse_position(a->after, v, err);
	while (r == 0 && c.n < CHECKS_A_PAGE && (c.subnet = nth_subnet(d, v[0]))) {
		unsigned before = c.n;

		c.n = 0;
		r = check_slice(&c, v, err);
		c.n += before;
	}
	if (r < 0)
		return r;
	reply = json_pack("{s:O, s:o}", "Findings", list, "Checked", number_of(v[5]));
	if (!reply || (nth_subnet(d, v[0]) && set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- tables ---- */

#define POOL_FIELD \
	DP_STR(struct args, pool, "pool", .min = 1, .help = "PoolID or subnet; needed where several have it")
#define AFTER_FIELD DP_STR(struct args, after, "After", .max = 150)

#define SCHEMA(name, n, ...)                                           \
	static const struct dp_schema name = {                         \
		.noun = "option",                                      \
		.text_values = true,                                   \
		.refuse_unknown = true,                                \
		.n_fields = (n),                                       \
		.fields = (const struct dp_field[n]){ __VA_ARGS__ },   \
	}

SCHEMA(reserve_args, 4, POOL_FIELD,
       DP_STR(struct args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.9, 10.0.0.1-10.0.0.20 or 10.0.0.16/28"),
       DP_STR(struct args, name, "name", .max = 255,
	      .help = "container it is for, as engine 29 on tells it"),
       DP_STR(struct args, mac, "mac", .max = 17,
	      .help = "the same by MAC, with requires-mac-address=true"));
SCHEMA(range_args, 2, POOL_FIELD,
       DP_STR(struct args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.9, 10.0.0.1-10.0.0.20 or 10.0.0.16/28"));
SCHEMA(extend_args, 2,
       DP_STR(struct args, pool, "pool", .flags = DP_F_REQUIRED, .help = "PoolID or subnet"),
       DP_STR(struct args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.1-10.0.0.99 or 10.0.0.0/25; contains the present range"));
SCHEMA(release_args, 2, POOL_FIELD,
       DP_STR(struct args, address, "address", .flags = DP_F_REQUIRED, .help = "a held address"));
SCHEMA(move_args, 3, POOL_FIELD,
       DP_STR(struct args, address, "address", .flags = DP_F_REQUIRED, .help = "what it has now"),
       DP_STR(struct args, to, "to", .flags = DP_F_REQUIRED, .help = "what it gets next time"));
SCHEMA(list_args, 2, DP_STR(struct args, pool, "pool", .help = "only of this PoolID or subnet"),
       AFTER_FIELD);
SCHEMA(leases_args, 5, DP_STR(struct args, pool, "pool", .help = "only of this PoolID or subnet"),
       DP_STR(struct args, address, "address", .help = "only this address"),
       DP_STR(struct args, name, "name", .help = "only of the container of that name"),
       DP_STR(struct args, mac, "mac", .help = "only of the container with that MAC"), AFTER_FIELD);
SCHEMA(history_args, 4,
       DP_STR(struct args, address, "address", .flags = DP_F_REQUIRED, .help = "whose history"),
       DP_STR(struct args, pool, "pool", .help = "only of this PoolID"),
       DP_STR(struct args, at, "at",
	      .help = "only who had it then (UTC): 2026-11-24T12:03, or 12:03 today"),
       AFTER_FIELD);
SCHEMA(map_args, 2,
       DP_STR(struct args, pool, "pool", .flags = DP_F_REQUIRED, .help = "PoolID or subnet"),
       DP_STR(struct args, range, "range", .help = "only this part: 10.0.4.0/22"));
SCHEMA(check_args, 1, AFTER_FIELD);

const struct dp_route ipam_operator_routes[] = {
	{ "/Operator.Status", &list_args, sizeof(struct args), on_status },
	{ "/Operator.Leases", &leases_args, sizeof(struct args), on_leases },
	{ "/Operator.History", &history_args, sizeof(struct args), on_history },
	{ "/Operator.Map", &map_args, sizeof(struct args), on_map },
	{ "/Operator.Check", &check_args, sizeof(struct args), on_check },
	{ "/Operator.Ranges", &list_args, sizeof(struct args), on_ranges },
	{ "/Operator.Reserve", &reserve_args, sizeof(struct args), on_reserve },
	{ "/Operator.Exclude", &range_args, sizeof(struct args), on_exclude },
	{ "/Operator.Include", &range_args, sizeof(struct args), on_include },
	{ "/Operator.Extend", &extend_args, sizeof(struct args), on_extend },
	{ "/Operator.Release", &release_args, sizeof(struct args), on_release },
	{ "/Operator.Move", &move_args, sizeof(struct args), on_move },
	{ .path = NULL },
};

static const char *const one_range[] = { "range", NULL };
static const char *const one_address[] = { "address", NULL };
static const char *const one_pool[] = { "pool", NULL };
static const char *const pool_and_range[] = { "pool", "range", NULL };
static const char *const from_and_to[] = { "address", "to", NULL };

/* ---- state as JSON, without the daemon ---- */

static const struct dp_archive archive = {
	.format = "myipamplugin",
	.file = "myipamplugin.db",
	.schema = &ipam_state_schema,
	.check = ipam_state_check,
};

static int run_export(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ipam_config *c = config;

	(void)args;
	return dp_archive_export(&archive, c->common.state_dir, stdout, err);
}

static int run_import(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ipam_config *c = config;

	return dp_archive_run_import(&archive, c->common.state_dir, args, err);
}

const struct dp_command ipam_commands[] = {
	{ .name = "status", .method = "/Operator.Status", .args = &list_args, .pages = "Pools",
	  .show = ipam_show_status, .help = "how full each pool is, and when it will be full" },
	{ .name = "leases", .method = "/Operator.Leases", .args = &leases_args, .pages = "Leases",
	  .show = ipam_show_leases, .help = "who has which address since when" },
	{ .name = "history", .method = "/Operator.History", .args = &history_args,
	  .operands = one_address, .pages = "History", .show = ipam_show_history,
	  .help = "who had an address, and when" },
	{ .name = "map", .method = "/Operator.Map", .args = &map_args, .operands = one_pool,
	  .show = ipam_show_map, .help = "draw a pool, cell by cell" },
	{ .name = "check", .method = "/Operator.Check", .args = &check_args, .pages = "Findings",
	  .show = ipam_show_check, .help = "compare bitmap and leases, while all goes on" },
	{ .name = "ranges", .method = "/Operator.Ranges", .args = &list_args, .pages = "Blocks",
	  .show = ipam_show_blocks, .help = "what is reserved and excluded" },
	{ .name = "reserve", .method = "/Operator.Reserve", .args = &reserve_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "keep addresses for --ip, or one for a container" },
	{ .name = "exclude", .method = "/Operator.Exclude", .args = &range_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "never give out addresses, they are somebody else's" },
	{ .name = "include", .method = "/Operator.Include", .args = &range_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "give out again what was reserved or excluded" },
	{ .name = "extend", .method = "/Operator.Extend", .args = &extend_args,
	  .operands = pool_and_range, .show = ipam_show_said,
	  .help = "widen the range of a pool, inside its subnet" },
	{ .name = "release", .method = "/Operator.Release", .args = &release_args,
	  .operands = one_address, .show = ipam_show_said,
	  .help = "take an address from a container that is gone (it must be gone)" },
	{ .name = "move", .method = "/Operator.Move", .args = &move_args, .operands = from_and_to,
	  .show = ipam_show_said,
	  .help = "give a container another address when it is started again" },
	{ .name = "export", .run = run_export,
	  .help = "the whole state as JSON, with the daemon stopped" },
	{ .name = "import", .run = run_import, .args = &dp_archive_import_schema,
	  .operands = dp_archive_import_operands,
	  .help = "make the state what an export says, with the daemon stopped" },
	{ .name = NULL },
};
