/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/cleanup.h"
#include "ipam/ledger.h"

/* What a pool or subnet owns goes by triggers, so that state.c, which deletes them, need not know. There
 * are none on leases: they would cost every request. */
const char ipam_ledger_migration[] =
	"CREATE TABLE pool_setting(pool INTEGER PRIMARY KEY, strategy TEXT NOT NULL,"
	" first TEXT NOT NULL, last TEXT NOT NULL);"
	"CREATE TRIGGER pool_gone AFTER DELETE ON pool BEGIN"
	" DELETE FROM pool_setting WHERE pool = OLD.id; END;"
	"CREATE TABLE block(subnet INTEGER, first TEXT NOT NULL, last TEXT NOT NULL,"
	" reserved INTEGER NOT NULL, name TEXT NOT NULL, mac TEXT NOT NULL,"
	" PRIMARY KEY(subnet, first)) WITHOUT ROWID;"
	"CREATE TRIGGER subnet_gone AFTER DELETE ON subnet BEGIN"
	" DELETE FROM block WHERE subnet = OLD.id; END;"
	"CREATE TABLE history(id INTEGER PRIMARY KEY, pool TEXT NOT NULL, address TEXT NOT NULL,"
	" mac TEXT NOT NULL, name TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL);"
	"CREATE INDEX lease_resting_name ON lease(subnet, name)"
	" WHERE released_at IS NOT NULL AND name <> '';"
	"CREATE INDEX lease_resting_mac ON lease(subnet, mac)"
	" WHERE released_at IS NOT NULL AND mac <> '';";

enum statement {
	S_SETTINGS,
	S_SETTING_PUT,
	S_BLOCKS,
	S_BLOCK_PUT,
	S_BLOCK_DEL,
	S_RESTING_NAME,
	S_RESTING_MAC,
	S_LEASES,
	S_LEASE,
	S_HISTORY_ENDS,
	S_HISTORY,
	S_HISTORY_TRIM,
	S_HISTORY_ADD,
	S_HISTORY_ADD_SUBNET,
	N_STATEMENTS,
};

#define ENTRY_COLUMNS                                                                          \
	" l.upper, l.lower, l.address, p.name, l.name, l.mac, l.since, coalesce(l.released_at, 0)," \
	" l.gateway, l.conflict FROM lease l LEFT JOIN pool p ON p.id = l.pool"

static const char *const sql[N_STATEMENTS] = {
	[S_SETTINGS] = "SELECT s.strategy, s.first, s.last, p.cursor FROM pool_setting s"
		       " JOIN pool p ON p.id = s.pool WHERE s.pool = ?1",
	[S_SETTING_PUT] = "INSERT OR REPLACE INTO pool_setting(pool, strategy, first, last)"
			  " VALUES(?1, ?2, ?3, ?4)",
	[S_BLOCKS] = "SELECT first, last, reserved, name, mac FROM block WHERE subnet = ?1",
	[S_BLOCK_PUT] = "INSERT INTO block(subnet, first, last, reserved, name, mac)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	[S_BLOCK_DEL] = "DELETE FROM block WHERE subnet = ?1 AND first = ?2",
	[S_RESTING_NAME] = "SELECT upper, lower FROM lease WHERE subnet = ?1 AND name = ?3"
			   " AND released_at IS NOT NULL AND name <> '' AND pool = ?2"
			   " AND conflict = 0"
			   " ORDER BY released_at DESC LIMIT 1",
	[S_RESTING_MAC] = "SELECT upper, lower FROM lease WHERE subnet = ?1 AND mac = ?3"
			  " AND released_at IS NOT NULL AND mac <> '' AND pool = ?2"
			  " AND conflict = 0"
			  " ORDER BY released_at DESC LIMIT 1",
	[S_LEASES] = "SELECT" ENTRY_COLUMNS " WHERE l.subnet = ?1 AND (l.upper, l.lower) > (?2, ?3)"
		     " ORDER BY l.upper, l.lower LIMIT ?4",
	[S_LEASE] = "SELECT" ENTRY_COLUMNS " WHERE l.subnet = ?1 AND l.upper = ?2 AND l.lower = ?3",
	[S_HISTORY_ENDS] = "SELECT coalesce((SELECT min(id) FROM history), 0),"
			   " coalesce((SELECT max(id) FROM history), 0)",
	[S_HISTORY] = "SELECT address, pool, name, mac, since, until FROM history"
		      " WHERE id BETWEEN ?2 AND ?1 AND address = ?3 ORDER BY id DESC",
	[S_HISTORY_TRIM] = "DELETE FROM history WHERE id <= ?1",
	[S_HISTORY_ADD] = "INSERT INTO history(pool, address, mac, name, since, until)"
			  " SELECT ?4, address, mac, name, since, ?5 FROM lease"
			  " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_HISTORY_ADD_SUBNET] = "INSERT INTO history(pool, address, mac, name, since, until)"
				 " SELECT coalesce(p.name, ''), l.address, l.mac, l.name, l.since, ?2"
				 " FROM lease l LEFT JOIN pool p ON p.id = l.pool WHERE l.subnet = ?1"
				 " AND l.released_at IS NULL AND NOT l.gateway LIMIT ?3",
};

struct ipam_ledger {
	uint32_t history; /* rows that are kept; 0 = none, and none is written */
	struct dp_stmt *stmts[N_STATEMENTS];
};

int ipam_ledger_open(struct dp_store *store, struct ipam_ledger **ret_ledger, struct dp_error *err)
{
	struct ipam_ledger *ledger = calloc(1, sizeof *ledger);
	int r = 0;

	if (!ledger)
		return dp_error_oom(err);
	for (unsigned i = 0; r == 0 && i < N_STATEMENTS; i++)
		r = dp_stmt_new(store, sql[i], &ledger->stmts[i], err);
	if (r < 0) {
		ipam_ledger_close(ledger);
		return r;
	}
	*ret_ledger = ledger;
	return 0;
}

void ipam_ledger_close(struct ipam_ledger *ledger)
{
	if (!ledger)
		return;
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		dp_stmt_free(ledger->stmts[i]);
	free(ledger);
}

/* ---- settings ---- */

int ipam_ledger_put_pool(struct ipam_ledger *ledger, const struct ipam_pool *pool,
			 struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_SETTING_PUT];
	char first[DP_ADDR_STRLEN];
	char last[DP_ADDR_STRLEN];
	struct ipam_range range;

	ipam_pool_dynamic_bounds(pool, &range.first, &range.last);
	dp_stmt_bind_int(s, 1, ipam_pool_rowid(pool));
	dp_stmt_bind_text(s, 2, ipam_strategy_names[ipam_pool_strategy(pool)]);
	dp_stmt_bind_text(s, 3, dp_addr_format(&range.first, first));
	dp_stmt_bind_text(s, 4, dp_addr_format(&range.last, last));
	return dp_stmt_exec(s, NULL, err);
}

static int damaged(const char *what, int64_t id, struct dp_error *err)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN, "state: %s of %lld is damaged", what,
			    (long long)id);
}

static int load_setting(struct ipam_ledger *ledger, struct ipam_pool *pool, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_SETTINGS];
	enum ipam_strategy strategy;
	struct ipam_range range;
	int r;

	dp_stmt_bind_int(s, 1, ipam_pool_rowid(pool));
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	if (ipam_strategy_parse(dp_stmt_text(s, 0), &strategy) < 0 ||
	    dp_addr_parse(dp_stmt_text(s, 1), &range.first) < 0 ||
	    dp_addr_parse(dp_stmt_text(s, 2), &range.last) < 0 ||
	    ipam_pool_set_bounds(pool, &range, NULL) < 0) {
		r = damaged("setting of pool", ipam_pool_rowid(pool), err);
	} else {
		ipam_pool_set_strategy(pool, strategy);
		ipam_pool_set_cursor(pool, (uint64_t)dp_stmt_int(s, 3)); /* was outside, maybe */
		r = 0;
	}
	dp_stmt_reset(s);
	return r;
}

static int load_blocks(struct ipam_ledger *ledger, struct ipam_subnet *subnet, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_BLOCKS];
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	while ((r = dp_stmt_step(s, err)) == 1) {
		struct ipam_range range;

		if (dp_addr_parse(dp_stmt_text(s, 0), &range.first) < 0 ||
		    dp_addr_parse(dp_stmt_text(s, 1), &range.last) < 0 ||
		    ipam_subnet_block(subnet, &range, dp_stmt_int(s, 2) != 0, dp_stmt_text(s, 3),
				      dp_stmt_text(s, 4), NULL) < 0) {
			dp_stmt_reset(s);
			return damaged("range of subnet", ipam_subnet_id(subnet), err);
		}
	}
	return r;
}

int ipam_ledger_load(struct ipam_ledger *ledger, struct ipam_space *space, struct dp_error *err)
{
	int r = 0;

	for (int b = 0; b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; r == 0 && i < ipam_space_n_subnets(space, (enum ipam_book)b); i++) {
			struct ipam_subnet *subnet = ipam_space_subnet(space, (enum ipam_book)b, i);

			r = load_blocks(ledger, subnet, err);
			for (size_t k = 0; r == 0 && k < ipam_subnet_n_pools(subnet); k++)
				r = load_setting(ledger, ipam_subnet_pool(subnet, k), err);
		}
	}
	return r;
}

int ipam_ledger_put_block(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
			  const struct ipam_block *block, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_BLOCK_PUT];
	char first[DP_ADDR_STRLEN];
	char last[DP_ADDR_STRLEN];

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_text(s, 2, dp_addr_format(&block->range.first, first));
	dp_stmt_bind_text(s, 3, dp_addr_format(&block->range.last, last));
	dp_stmt_bind_int(s, 4, block->reserved);
	dp_stmt_bind_text(s, 5, block->name);
	dp_stmt_bind_text(s, 6, block->mac);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_ledger_remove_block(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
			     const struct ipam_range *range, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_BLOCK_DEL];
	char first[DP_ADDR_STRLEN];

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_text(s, 2, dp_addr_format(&range->first, first));
	return dp_stmt_exec(s, NULL, err);
}

/* ---- leases ---- */

static struct dp_addr read_addr(struct dp_stmt *s, const struct ipam_subnet *subnet)
{
	return (struct dp_addr){ .family = ipam_subnet_prefix(subnet)->addr.family,
				 .hi = (uint64_t)dp_stmt_int(s, 0),
				 .lo = (uint64_t)dp_stmt_int(s, 1) };
}

static int find_resting(struct dp_stmt *s, const struct ipam_pool *pool, const char *key,
			struct dp_addr *ret_addr, struct dp_error *err)
{
	const struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	int r;

	if (!*key)
		return 0;
	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, ipam_pool_rowid(pool));
	dp_stmt_bind_text(s, 3, key);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_addr = read_addr(s, subnet);
	dp_stmt_reset(s);
	return 1;
}

int ipam_ledger_find_resting(struct ipam_ledger *ledger, const struct ipam_pool *pool,
			     const char *name, const char *mac, struct dp_addr *ret_addr,
			     struct dp_error *err)
{
	int r = find_resting(ledger->stmts[S_RESTING_NAME], pool, name, ret_addr, err);

	return r ? r : find_resting(ledger->stmts[S_RESTING_MAC], pool, mac, ret_addr, err);
}

static struct ipam_entry read_entry(struct dp_stmt *s, const struct ipam_subnet *subnet)
{
	return (struct ipam_entry){ .addr = read_addr(s, subnet),
				    .address = dp_stmt_text(s, 2),
				    .pool = dp_stmt_text(s, 3),
				    .name = dp_stmt_text(s, 4),
				    .mac = dp_stmt_text(s, 5),
				    .since = dp_stmt_int(s, 6),
				    .until = dp_stmt_int(s, 7),
				    .is_gateway = dp_stmt_int(s, 8) != 0,
				    .is_conflict = dp_stmt_int(s, 9) != 0 };
}

int ipam_ledger_leases(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
		       const struct dp_addr *after, unsigned limit, ipam_entry_fn fn, void *ctx,
		       struct dp_error *err)
{
	bool from_begin = after->family == AF_UNSPEC;
	struct dp_stmt *s = ledger->stmts[S_LEASES];
	int n = 0;
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, from_begin ? INT64_MIN : (int64_t)after->hi);
	dp_stmt_bind_int(s, 3, from_begin ? INT64_MIN : (int64_t)after->lo);
	dp_stmt_bind_int(s, 4, limit);
	while ((r = dp_stmt_step(s, err)) == 1) {
		struct ipam_entry entry = read_entry(s, subnet);

		n++;
		if (!fn(ctx, &entry)) {
			dp_stmt_reset(s);
			return n;
		}
	}
	return r < 0 ? r : n;
}

int ipam_ledger_lease(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
		      const struct dp_addr *addr, ipam_entry_fn fn, void *ctx, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_LEASE];
	struct ipam_entry entry;
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, (int64_t)addr->hi);
	dp_stmt_bind_int(s, 3, (int64_t)addr->lo);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	entry = read_entry(s, subnet);
	(void)fn(ctx, &entry);
	dp_stmt_reset(s);
	return 1;
}

/* ---- history ---- */

void ipam_ledger_set_history(struct ipam_ledger *ledger, uint32_t limit)
{
	ledger->history = limit;
}

int ipam_ledger_remember(struct ipam_ledger *ledger, const struct ipam_pool *pool,
			 const struct dp_addr *addr, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_HISTORY_ADD];

	if (!ledger->history)
		return 0;
	dp_stmt_bind_int(s, 1, ipam_subnet_id(ipam_pool_subnet(pool)));
	dp_stmt_bind_int(s, 2, (int64_t)addr->hi);
	dp_stmt_bind_int(s, 3, (int64_t)addr->lo);
	dp_stmt_bind_text(s, 4, ipam_pool_name(pool));
	dp_stmt_bind_int(s, 5, (int64_t)time(NULL));
	return dp_stmt_exec(s, NULL, err);
}

int ipam_ledger_remember_subnet(struct ipam_ledger *ledger, int64_t subnet_id, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_HISTORY_ADD_SUBNET];

	if (!ledger->history)
		return 0;
	dp_stmt_bind_int(s, 1, subnet_id);
	dp_stmt_bind_int(s, 2, (int64_t)time(NULL));
	dp_stmt_bind_int(s, 3, ledger->history);
	return dp_stmt_exec(s, NULL, err);
}

static int history_ends(struct ipam_ledger *ledger, int64_t *ret_oldest, int64_t *ret_newest,
			struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_HISTORY_ENDS];
	int r = dp_stmt_step(s, err);

	if (r < 0)
		return r;
	*ret_oldest = dp_stmt_int(s, 0);
	*ret_newest = dp_stmt_int(s, 1);
	dp_stmt_reset(s);
	return 0;
}

int64_t ipam_ledger_newest(struct ipam_ledger *ledger, struct dp_error *err)
{
	int64_t oldest;
	int64_t newest;
	int r = history_ends(ledger, &oldest, &newest, err);

	return r < 0 ? r : newest;
}

int ipam_ledger_history(struct ipam_ledger *ledger, const char *address, int64_t newest,
			int64_t oldest, ipam_entry_fn fn, void *ctx, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_HISTORY];
	int r;

	dp_stmt_bind_int(s, 1, newest);
	dp_stmt_bind_int(s, 2, oldest);
	dp_stmt_bind_text(s, 3, address);
	while ((r = dp_stmt_step(s, err)) == 1) {
		struct ipam_entry entry = { .address = dp_stmt_text(s, 0),
					    .pool = dp_stmt_text(s, 1),
					    .name = dp_stmt_text(s, 2),
					    .mac = dp_stmt_text(s, 3),
					    .since = dp_stmt_int(s, 4),
					    .until = dp_stmt_int(s, 5) };

		if (!fn(ctx, &entry)) {
			dp_stmt_reset(s);
			return 0;
		}
	}
	return r;
}

int64_t ipam_ledger_trim(struct ipam_ledger *ledger, uint32_t max, struct dp_error *err)
{
	struct dp_stmt *s = ledger->stmts[S_HISTORY_TRIM];
	int64_t oldest = 0;
	int64_t newest = 0;
	int64_t n = 0;
	int64_t end;
	int r = history_ends(ledger, &oldest, &newest, err);

	if (r < 0 || !newest || newest - oldest < (int64_t)ledger->history)
		return r;
	end = newest - (int64_t)ledger->history;
	if (end - oldest >= (int64_t)max)
		end = oldest + (int64_t)max - 1;
	dp_stmt_bind_int(s, 1, end);
	r = dp_stmt_exec(s, &n, err);
	return r < 0 ? r : n;
}
