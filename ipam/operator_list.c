/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* What operators see: pools, leases, history, the map of a pool. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "ipam/join.h"
#include "ipam/known.h"
#include "ipam/operator_internal.h"

enum {
	POOLS_A_PAGE = 200,
	ROWS_A_PAGE = 4000, /* read; as many are shown at most as LEASES_A_PAGE */
	LEASES_A_PAGE = 500,
	HISTORY_A_PAGE = 10000, /* rows looked at */
	MAP_CELLS = 1024,
	MAP_WIDTH = 64,
};

/* ---- status ---- */

static int add_status(struct ipam_driver *d, struct ipam_pool *pool, json_t *list,
		      struct dp_error *err)
{
	int64_t rested = (int64_t)time(NULL) - (int64_t)d->config->cooldown;
	uint64_t n_conflicts;
	uint64_t n_free;
	struct ipam_range range;
	struct ipam_usage u;
	struct ipam_trend *trend = ipam_pool_trend(pool);
	char name[IPAM_POOL_ID_SIZE];
	char text[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];
	const struct ipam_subnet *subnet = ipam_pool_subnet(pool);

	int r = ipam_state_count_conflicts(d->state, subnet, rested, &n_conflicts, err);

	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	ipam_pool_usage(pool, &u);
	ipam_pool_dynamic_bounds(pool, &range.first, &range.last);
	n_free = u.n_usable - u.n_used - u.n_kept;
	if (json_array_append_new(
		    list,
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f}",
			      "Pool", ipam_pool_id_format(ipam_pool_ident(pool), name), "Subnet",
			      dp_prefix_format(ipam_subnet_prefix(subnet), prefix), "Tenant",
			      ipam_subnet_tenant(subnet), "Range", ipam_range_format(&range, text),
			      "Strategy", ipam_strategy_names[ipam_pool_strategy(pool)], "Usable",
			      ipam_op_number(u.n_usable), "Used", ipam_op_number(u.n_used), "Held",
			      ipam_op_number(u.n_held), "Resting", ipam_op_number(u.n_cooling), "Kept",
			      ipam_op_number(u.n_kept), "Conflicts", ipam_op_number(n_conflicts),
			      "Free", ipam_op_number(n_free), "PerHour", trend->per_hour,
			      "FullInSeconds", ipam_trend_full_in(trend, n_free))) < 0)
		return dp_error_oom(err);
	return 0;
}

int ipam_on_status(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	uint64_t v[IPAM_OP_MAX_NUMBERS];
	struct ipam_subnet *s;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_op_parse_position(a->after, v, err);
	if (r < 0)
		return r;
	for (; json_array_size(list) < POOLS_A_PAGE && (s = ipam_op_nth_subnet(d, v[0])); v[0]++) {
		for (size_t k = 0; ipam_op_is_of_pool(s, a->pool) && k < ipam_subnet_n_pools(s);
		     k++) {
			r = add_status(d, ipam_subnet_pool(s, k), list, err);
			if (r < 0)
				return r;
		}
	}
	reply = json_pack("{s:O}", "Pools", list);
	if (!reply || (ipam_op_nth_subnet(d, v[0]) && ipam_op_set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

/* ---- leases ---- */

/* A page in the making. */
struct listing {
	const struct ipam_driver *d;
	const struct ipam_subnet *subnet; /* that is being read */
	const struct ipam_op_args *args;
	json_t *list;
	struct dp_addr last; /* the last one that was read */
	bool failed;         /* memory ran out */
};

static bool is_wanted(const struct ipam_op_args *a, const struct ipam_entry *e)
{
	/* A pool is named by its PoolID, or by its subnet, which the caller has looked at. */
	struct dp_prefix p;
	bool by_id = a->pool && dp_prefix_parse(a->pool, &p) < 0;

	return (!a->address || !strcmp(a->address, e->address)) &&
	       (!a->name || !strcmp(a->name, e->name)) &&
	       (!a->mac || !strcasecmp(a->mac, e->mac)) && (!by_id || !strcmp(a->pool, e->pool));
}

static const char *state_name(const struct ipam_entry *e)
{
	if (!e->until)
		return e->is_gateway ? "gateway" : "held";
	return e->is_conflict ? "conflict" : "resting";
}

/* @p: the endpoint that has it; NULL = not known. */
static json_t *lease_json(const struct ipam_entry *e, const struct ipam_peer_endpoint *p)
{
	static const struct ipam_peer_endpoint nobody;
	char since[IPAM_OP_TIME_SIZE];
	char until[IPAM_OP_TIME_SIZE] = "";

	if (!p)
		p = &nobody;
	if (e->until)
		ipam_op_format_time(e->until, until);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Address",
			 e->address, "Pool", e->pool, "State",
			 state_name(e),
			 "Since", ipam_op_format_time(e->since, since), "Released", until, "MAC",
			 e->mac, "Name", e->name, "Endpoint", p->id, "Network", p->network, "Link",
			 p->link, "Bridge", p->bridge);
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
static int read_leases(struct ipam_driver *d, struct listing *l,
		       uint64_t v[static IPAM_OP_MAX_NUMBERS], struct dp_error *err)
{
	unsigned n_left = ROWS_A_PAGE;
	struct ipam_subnet *s;

	while (n_left && json_array_size(l->list) < LEASES_A_PAGE &&
	       (s = ipam_op_nth_subnet(d, v[0]))) {
		struct dp_addr after = { .family = v[3] ? ipam_subnet_prefix(s)->addr.family :
							  AF_UNSPEC,
					 .hi = v[1],
					 .lo = v[2] };
		int n = 0;

		l->subnet = s;
		if (ipam_op_is_of_pool(s, l->args->pool))
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
	uint64_t v[IPAM_OP_MAX_NUMBERS];
	int r = ipam_driver_ready(d, err);

	l.list = list;
	if (r == 0)
		r = ipam_op_parse_position(l.args->after, v, err);
	if (r == 0)
		r = read_leases(d, &l, v, err);
	if (r < 0)
		return r;
	reply = json_pack("{s:O}", "Leases", list);
	if (l.failed || !reply || (ipam_op_nth_subnet(d, v[0]) && ipam_op_set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

int ipam_on_leases(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
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
	char since[IPAM_OP_TIME_SIZE];
	char until[IPAM_OP_TIME_SIZE] = "";

	if ((p->at && (e->since > p->at || (e->until && e->until < p->at))) ||
	    (p->pool && strcmp(p->pool, e->pool)))
		return true;
	if (e->until)
		ipam_op_format_time(e->until, until);
	if (json_array_append_new(p->list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Address",
						     e->address, "Pool", e->pool, "Since",
						     ipam_op_format_time(e->since, since), "Until",
						     until, "MAC", e->mac, "Name", e->name)) < 0)
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

	for (uint64_t i = 0; r >= 0 && (s = ipam_op_nth_subnet(d, i)); i++) {
		if (dp_prefix_has_addr(ipam_subnet_prefix(s), addr))
			r = ipam_ledger_lease(ipam_state_ledger(d->state), s, addr, add_present, p,
					      err);
	}
	return r < 0 ? r : 0;
}

int ipam_on_history(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	struct past p = { .list = list, .pool = a->pool };
	uint64_t v
		[IPAM_OP_MAX_NUMBERS]; /* newest row to look at, and whether this is not the first page */
	struct dp_addr addr;
	char text[DP_ADDR_STRLEN];
	int64_t oldest;
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_op_parse_position(a->after, v, err);
	if (r == 0)
		r = ipam_op_parse_address(a->address, &addr, err);
	if (r == 0 && a->at)
		r = ipam_op_parse_time(a->at, &p.at, err);
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
	if (p.failed || !reply || (v[0] && ipam_op_set_next(reply, v) < 0))
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
	if (e->until)
		*(char *)ctx = e->is_conflict ? '!' : '~';
	else
		*(char *)ctx = e->is_gateway ? 'G' : '#';
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
	while (m->per_cell &
	       (m->per_cell - 1)) /* up to a power of two, so that rows are prefixes */
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

int ipam_on_map(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *rows = json_array();
	char name[IPAM_POOL_ID_SIZE];
	char text[DP_ADDR_STRLEN];
	struct map m = { .n = 0 };
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_op_find_pool(d, a->pool, &m.pool, err);
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
				      ipam_op_number(m.per_cell), "Cells", m.cells, "Rows", rows));
	return DP_STEP_DONE;
}
