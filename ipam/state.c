/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Addresses are stored twice in a lease row: as two 64-bit halves, which sort and compare as the
 * key, and as text for people. SQLite's integers are signed; the halves are stored with the same
 * bits, so that order holds within one sign only: range queries are cut so that they never cross
 * it (IPv4 is below 2^32; a range's addresses share the upper half, see pool.h).
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "ipam/state.h"

static const char migration_1[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE subnet(id INTEGER PRIMARY KEY, space TEXT NOT NULL, tenant TEXT NOT NULL,"
	" prefix TEXT NOT NULL);"
	"CREATE TABLE pool(id INTEGER PRIMARY KEY, subnet INTEGER NOT NULL, name TEXT NOT NULL UNIQUE,"
	" generation INTEGER NOT NULL, cursor INTEGER NOT NULL, replayable INTEGER NOT NULL);"
	"CREATE TABLE chunk(subnet INTEGER, upper INTEGER, number INTEGER, bits BLOB NOT NULL,"
	" PRIMARY KEY(subnet, upper, number)) WITHOUT ROWID;"
	"CREATE TABLE lease(subnet INTEGER, upper INTEGER, lower INTEGER, address TEXT NOT NULL,"
	" pool INTEGER NOT NULL, gateway INTEGER NOT NULL, generation INTEGER NOT NULL,"
	" since INTEGER NOT NULL, released_at INTEGER, mac TEXT NOT NULL, name TEXT NOT NULL,"
	" PRIMARY KEY(subnet, upper, lower)) WITHOUT ROWID;"
	"CREATE INDEX lease_cooling ON lease(subnet, released_at) WHERE released_at IS NOT NULL;"
	"CREATE TABLE sharer(subnet INTEGER, upper INTEGER, lower INTEGER, pool INTEGER,"
	" PRIMARY KEY(subnet, upper, lower, pool)) WITHOUT ROWID;";

/* reclaimed.released: 0 = taken back without the engine's doing, which may still release the address;
 * 1 = such a release came when the address was another's already. */
static const char migration_2[] =
	"ALTER TABLE pool ADD COLUMN probe INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE reclaimed(subnet INTEGER, upper INTEGER, lower INTEGER,"
	" released INTEGER NOT NULL, PRIMARY KEY(subnet, upper, lower)) WITHOUT ROWID;";

/* Every page gets a checksum, by the store. */
static const char migration_4[] = "";

static const char migration_5[] =
	"ALTER TABLE pool ADD COLUMN alive INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE pool ADD COLUMN stale_before INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE pool ADD COLUMN stale_since INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE pool ADD COLUMN released_at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE pool ADD COLUMN v6_from TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE pool ADD COLUMN certain INTEGER NOT NULL DEFAULT 0;"
	"UPDATE pool SET alive = generation;";

/* lease.conflict: it rests because somebody else was found to use the address. */
static const char migration_6[] =
	"ALTER TABLE lease ADD COLUMN conflict INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX lease_conflict ON lease(subnet, released_at) WHERE conflict <> 0;";

static const char *const migrations[] = { migration_1, migration_2, ipam_ledger_migration,
					  migration_4, migration_5, migration_6 };

static const struct dp_store_rule rules[] = {
	{ "SELECT count(*) FROM pool WHERE subnet NOT IN (SELECT id FROM subnet)",
	  "pools of a subnet that does not exist" },
	{ "SELECT count(*) FROM subnet WHERE id NOT IN (SELECT subnet FROM pool)",
	  "subnets without a pool" },
	{ "SELECT count(*) FROM chunk WHERE subnet NOT IN (SELECT id FROM subnet)",
	  "bitmaps of a subnet that does not exist" },
	{ "SELECT count(*) FROM lease WHERE subnet NOT IN (SELECT id FROM subnet)",
	  "leases in a subnet that does not exist" },
	{ "SELECT count(*) FROM lease AS l WHERE NOT EXISTS"
	  " (SELECT 1 FROM pool AS p WHERE p.id = l.pool AND p.subnet = l.subnet)",
	  "leases of a pool that does not exist" },
	{ "SELECT count(*) FROM sharer AS s WHERE NOT EXISTS"
	  " (SELECT 1 FROM pool AS p WHERE p.id = s.pool AND p.subnet = s.subnet)",
	  "gateways shared by a pool that does not exist" },
	{ "SELECT count(*) FROM sharer AS s WHERE NOT EXISTS (SELECT 1 FROM lease AS l"
	  " WHERE l.subnet = s.subnet AND l.upper = s.upper AND l.lower = s.lower AND l.gateway)",
	  "shared gateways without a lease" },
};

const struct dp_store_schema ipam_state_schema = {
	.application_id = 0x6d69706d, /* "mipm" */
	.migrations = migrations,
	.n_migrations = DP_ARRAY_LEN(migrations),
	.checked_since = 4,
	.rules = rules,
	.n_rules = DP_ARRAY_LEN(rules),
};

enum statement {
	S_META_GET,
	S_META_PUT,
	S_SUBNET_ADD,
	S_SUBNET_DEL,
	S_SUBNET_DEL_CHUNKS,
	S_SUBNET_DEL_LEASES,
	S_SUBNET_DEL_SHARERS,
	S_SUBNET_DEL_POOLS,
	S_SUBNET_DEL_RECLAIMED,
	S_POOLS,
	S_POOL_PUT,
	S_POOL_DEL,
	S_CHUNKS,
	S_CHUNK_PUT,
	S_CHUNK_DEL,
	S_COUNTS,
	S_LEASE_GET,
	S_LEASE_PUT,
	S_LEASE_REST,
	S_LEASE_SET_ASIDE,
	S_LEASE_CONFLICTS,
	S_LEASE_DEL,
	S_LEASE_OLDEST,
	S_LEASE_OF_POOL,
	S_LEASE_HELD,
	S_SHARER_ADD,
	S_SHARER_DEL,
	S_SHARER_DEL_POOL,
	S_SHARER_FIRST,
	S_LEASES,
	S_LEASE_SET_POOL,
	S_LEASES_HELD,
	S_RECLAIMED_GET,
	S_RECLAIMED_PUT,
	S_RECLAIMED_DEL,
	S_RECLAIMED_COUNT,
	N_STATEMENTS,
};

static const char *const sql[N_STATEMENTS] = {
	[S_META_GET] = "SELECT value FROM meta WHERE key = ?1",
	[S_META_PUT] = "INSERT INTO meta(key, value) VALUES(?1, ?2)"
		       " ON CONFLICT(key) DO UPDATE SET value = excluded.value",
	[S_SUBNET_ADD] = "INSERT INTO subnet(id, space, tenant, prefix) VALUES(?1, ?2, ?3, ?4)",
	[S_SUBNET_DEL] = "DELETE FROM subnet WHERE id = ?1",
	[S_SUBNET_DEL_CHUNKS] = "DELETE FROM chunk WHERE subnet = ?1",
	[S_SUBNET_DEL_LEASES] = "DELETE FROM lease WHERE subnet = ?1",
	[S_SUBNET_DEL_SHARERS] = "DELETE FROM sharer WHERE subnet = ?1",
	[S_SUBNET_DEL_POOLS] = "DELETE FROM pool WHERE subnet = ?1",
	[S_SUBNET_DEL_RECLAIMED] = "DELETE FROM reclaimed WHERE subnet = ?1",
	[S_POOLS] = "SELECT id, subnet, name, generation, cursor, replayable, alive, stale_before,"
		    " stale_since, released_at, v6_from, probe, certain FROM pool ORDER BY id",
	[S_POOL_PUT] = "INSERT INTO pool(id, subnet, name, generation, cursor, replayable,"
		       " alive, stale_before, stale_since, released_at, v6_from, probe, certain)"
		       " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
		       " ON CONFLICT(id) DO UPDATE SET generation = excluded.generation,"
		       " cursor = excluded.cursor, alive = excluded.alive,"
		       " stale_before = excluded.stale_before, stale_since = excluded.stale_since,"
		       " released_at = excluded.released_at, v6_from = excluded.v6_from",
	[S_POOL_DEL] = "DELETE FROM pool WHERE id = ?1",
	[S_CHUNKS] = "SELECT upper, number, bits FROM chunk WHERE subnet = ?1",
	[S_CHUNK_PUT] = "INSERT INTO chunk(subnet, upper, number, bits) VALUES(?1, ?2, ?3, ?4)"
			" ON CONFLICT DO UPDATE SET bits = excluded.bits",
	[S_CHUNK_DEL] = "DELETE FROM chunk WHERE subnet = ?1 AND upper = ?2 AND number = ?3",
	[S_COUNTS] = "SELECT count(*), count(released_at) FROM lease WHERE subnet = ?1",
	[S_LEASE_GET] = "SELECT pool, gateway, generation, released_at IS NOT NULL FROM lease"
			" WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	/* A lease that is confirmed began when it began. */
	[S_LEASE_PUT] = "INSERT INTO lease(subnet, upper, lower, address, pool, gateway,"
			" generation, since, released_at, mac, name)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, ?9, ?10)"
			" ON CONFLICT DO UPDATE SET pool = excluded.pool, gateway = excluded.gateway,"
			" generation = excluded.generation, since = CASE WHEN released_at IS NULL"
			" THEN since ELSE excluded.since END, released_at = NULL,"
			" mac = excluded.mac, name = excluded.name, conflict = 0",
	[S_LEASE_REST] = "UPDATE lease SET released_at = ?4"
			 " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_LEASE_SET_ASIDE] = "UPDATE lease SET released_at = ?4, conflict = 1"
			      " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_LEASE_CONFLICTS] = "SELECT count(*) FROM lease"
			      " WHERE subnet = ?1 AND released_at > ?2 AND conflict <> 0",
	[S_LEASE_DEL] = "DELETE FROM lease WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_LEASE_OLDEST] = "SELECT upper, lower FROM lease WHERE subnet = ?1 AND released_at <= ?2"
			   " AND upper BETWEEN ?3 AND ?5 AND lower BETWEEN ?4 AND ?6"
			   " ORDER BY released_at LIMIT 1",
	[S_LEASE_OF_POOL] = "SELECT upper, lower, gateway, generation, released_at IS NOT NULL"
			    " FROM lease WHERE subnet = ?1 AND pool = ?2"
			    " AND (upper, lower) > (?3, ?4) ORDER BY upper, lower LIMIT 1",
	[S_LEASE_HELD] = "SELECT upper, lower, gateway, generation, pool FROM lease"
			 " WHERE subnet = ?1 AND released_at IS NULL"
			 " AND (upper, lower) > (?2, ?3) ORDER BY upper, lower LIMIT 1",
	[S_SHARER_ADD] = "INSERT OR IGNORE INTO sharer(subnet, upper, lower, pool)"
			 " VALUES(?1, ?2, ?3, ?4)",
	[S_SHARER_DEL] = "DELETE FROM sharer"
			 " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3 AND pool = ?4",
	[S_SHARER_DEL_POOL] = "DELETE FROM sharer WHERE subnet = ?1 AND pool = ?2",
	[S_SHARER_FIRST] = "SELECT pool FROM sharer WHERE subnet = ?1 AND upper = ?2 AND lower = ?3"
			   " ORDER BY pool LIMIT 1",
	[S_LEASES] = "SELECT upper, lower, address FROM lease WHERE subnet = ?1",
	[S_LEASE_SET_POOL] = "UPDATE lease SET pool = ?4"
			     " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_LEASES_HELD] = "SELECT upper, lower FROM lease WHERE subnet = ?1"
			  " AND (upper, lower) > (?2, ?3) AND released_at IS NULL AND gateway = 0"
			  " ORDER BY upper, lower LIMIT ?4",
	[S_RECLAIMED_GET] = "SELECT released FROM reclaimed"
			    " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_RECLAIMED_PUT] = "INSERT OR REPLACE INTO reclaimed(subnet, upper, lower, released)"
			    " VALUES(?1, ?2, ?3, ?4)",
	[S_RECLAIMED_DEL] = "DELETE FROM reclaimed"
			    " WHERE subnet = ?1 AND upper = ?2 AND lower = ?3",
	[S_RECLAIMED_COUNT] = "SELECT count(*) FROM reclaimed",
};

struct ipam_state {
	struct dp_store *store;
	struct ipam_ledger *ledger;
	struct dp_stmt *stmts[N_STATEMENTS];
	bool any_reclaimed; /* false spares each release a look */
};

static int count_reclaimed(struct ipam_state *state, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_RECLAIMED_COUNT];
	int r = dp_stmt_step(s, err);

	if (r != 1)
		return r;
	state->any_reclaimed = dp_stmt_int(s, 0) > 0;
	dp_stmt_reset(s);
	return 0;
}

int ipam_state_open(const char *dir, struct ipam_state **ret_state, struct dp_error *err)
{
	DP_CLEANUP(ipam_state_closep) struct ipam_state *state = calloc(1, sizeof *state);
	int r;

	if (!state)
		return dp_error_oom(err);
	r = dp_store_open(dir, "myipamplugin.db", &ipam_state_schema, &state->store, err);
	for (unsigned i = 0; r == 0 && i < N_STATEMENTS; i++)
		r = dp_stmt_new(state->store, sql[i], &state->stmts[i], err);
	if (r == 0)
		r = count_reclaimed(state, err);
	if (r == 0)
		r = ipam_ledger_open(state->store, &state->ledger, err);
	if (r < 0)
		return r;
	*ret_state = DP_TAKE_PTR(state);
	return 0;
}

void ipam_state_close(struct ipam_state *state)
{
	if (!state)
		return;
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		dp_stmt_free(state->stmts[i]);
	ipam_ledger_close(state->ledger);
	dp_store_close(state->store);
	free(state);
}

struct ipam_ledger *ipam_state_ledger(struct ipam_state *state)
{
	return state->ledger;
}

int ipam_state_commit(struct ipam_state *state, struct dp_error *err)
{
	return dp_store_commit(state->store, err);
}

void ipam_state_rollback(struct ipam_state *state)
{
	dp_store_rollback(state->store);
}

/* ---- meta ---- */

/* Return: 1 found, text in @buf; 0 not there; negative errno. */
static int meta_get(struct ipam_state *state, const char *key, char *buf, size_t size,
		    struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_META_GET];
	int r;

	dp_stmt_bind_text(s, 1, key);
	r = dp_stmt_step(s, err);
	if (r == 1) {
		(void)snprintf(buf, size, "%s", dp_stmt_text(s, 0));
		dp_stmt_reset(s);
	}
	return r;
}

static int meta_put(struct ipam_state *state, const char *key, const char *value,
		    struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_META_PUT];

	dp_stmt_bind_text(s, 1, key);
	dp_stmt_bind_text(s, 2, value);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_put_generation(struct ipam_state *state, uint64_t generation, struct dp_error *err)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)generation);
	return meta_put(state, "generation", text, err);
}

int ipam_state_put_replay(struct ipam_state *state, const struct ipam_replay *replay,
			  struct dp_error *err)
{
	char text[72];

	(void)snprintf(text, sizeof text, "%lld %llu %lld", (long long)replay->heard_at,
		       (unsigned long long)replay->seen_generation, (long long)replay->seen_at);
	return meta_put(state, "replay", text, err);
}

int ipam_state_ula(struct ipam_state *state, struct dp_prefix *ret_prefix, struct dp_error *err)
{
	struct dp_prefix p = { .addr.family = AF_INET6, .len = 48 };
	char text[DP_PREFIX_STRLEN];
	uint64_t random_bits;
	int r = meta_get(state, "ula", text, sizeof text, err);

	if (r < 0)
		return r;
	if (r == 1) {
		if (dp_prefix_parse(text, ret_prefix) < 0)
			return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN, "state: ula '%s'", text);
		return 0;
	}
	if (getrandom(&random_bits, sizeof random_bits, 0) != (ssize_t)sizeof random_bits)
		return dp_error_set(err, DP_ERR_INTERNAL, -EIO, "getrandom: %s", strerror(errno));
	p.addr.hi = UINT64_C(0xfd) << 56 | (random_bits & UINT64_C(0xffffffffff)) << 16;
	r = meta_put(state, "ula", dp_prefix_format(&p, text), err);
	if (r < 0)
		return r;
	*ret_prefix = p;
	return 0;
}

/* ---- subnets and pools ---- */

int ipam_state_add_subnet(struct ipam_state *state, const struct ipam_subnet *subnet,
			  struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_SUBNET_ADD];
	char text[DP_PREFIX_STRLEN];

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_text(s, 2, ipam_book_name(ipam_subnet_book(subnet)));
	dp_stmt_bind_text(s, 3, ipam_subnet_tenant(subnet));
	dp_stmt_bind_text(s, 4, dp_prefix_format(ipam_subnet_prefix(subnet), text));
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_remove_subnet(struct ipam_state *state, int64_t subnet_id, struct dp_error *err)
{
	static const enum statement all[] = { S_SUBNET_DEL_CHUNKS, S_SUBNET_DEL_LEASES,
					      S_SUBNET_DEL_SHARERS, S_SUBNET_DEL_POOLS,
					      S_SUBNET_DEL_RECLAIMED,
					      S_SUBNET_DEL };
	int r = ipam_ledger_remember_subnet(state->ledger, subnet_id, err);

	for (size_t i = 0; r == 0 && i < DP_ARRAY_LEN(all); i++) {
		dp_stmt_bind_int(state->stmts[all[i]], 1, subnet_id);
		r = dp_stmt_exec(state->stmts[all[i]], NULL, err);
	}
	return r;
}

int ipam_state_put_pool(struct ipam_state *state, struct ipam_pool *pool, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_POOL_PUT];
	const struct ipam_pool_life *life = ipam_pool_life(pool);
	const struct dp_prefix *v4 = ipam_pool_v6_from(pool);
	char v6_from[DP_PREFIX_STRLEN];

	dp_stmt_bind_int(s, 1, ipam_pool_rowid(pool));
	dp_stmt_bind_int(s, 2, ipam_subnet_id(ipam_pool_subnet(pool)));
	dp_stmt_bind_text(s, 3, ipam_pool_name(pool));
	dp_stmt_bind_int(s, 4, (int64_t)ipam_pool_generation(pool));
	dp_stmt_bind_int(s, 5, (int64_t)ipam_pool_cursor(pool));
	dp_stmt_bind_int(s, 6, ipam_pool_replayable(pool));
	dp_stmt_bind_int(s, 7, (int64_t)life->alive);
	dp_stmt_bind_int(s, 8, (int64_t)life->stale_before);
	dp_stmt_bind_int(s, 9, life->stale_since);
	dp_stmt_bind_int(s, 10, life->released_at);
	dp_stmt_bind_text(s, 11, v4 ? dp_prefix_format(v4, v6_from) : "");
	dp_stmt_bind_int(s, 12, ipam_pool_probe_ms(pool));
	dp_stmt_bind_int(s, 13, ipam_pool_certain(pool));
	ipam_pool_cursor_written(pool);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_remove_pool(struct ipam_state *state, int64_t pool_id, struct dp_error *err)
{
	dp_stmt_bind_int(state->stmts[S_POOL_DEL], 1, pool_id);
	return dp_stmt_exec(state->stmts[S_POOL_DEL], NULL, err);
}

int ipam_state_put_chunk(struct ipam_state *state, const struct ipam_dirty_chunk *chunk,
			 struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[chunk->empty ? S_CHUNK_DEL : S_CHUNK_PUT];

	dp_stmt_bind_int(s, 1, chunk->subnet_id);
	dp_stmt_bind_int(s, 2, (int64_t)chunk->upper);
	dp_stmt_bind_int(s, 3, (int64_t)chunk->chunk_no);
	if (!chunk->empty)
		dp_stmt_bind_blob(s, 4, chunk->bytes, sizeof chunk->bytes);
	return dp_stmt_exec(s, NULL, err);
}

/* ---- leases ---- */

static void bind_addr(struct dp_stmt *s, const struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, (int64_t)addr->hi);
	dp_stmt_bind_int(s, 3, (int64_t)addr->lo);
}

/* The address whose halves are the present row's columns 0 and 1. */
static struct dp_addr read_addr(struct dp_stmt *s, const struct ipam_subnet *subnet)
{
	return (struct dp_addr){ .family = ipam_subnet_prefix(subnet)->addr.family,
				 .hi = (uint64_t)dp_stmt_int(s, 0),
				 .lo = (uint64_t)dp_stmt_int(s, 1) };
}

int ipam_state_get_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
			 const struct dp_addr *addr, struct ipam_lease *ret_lease,
			 struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_GET];
	int r;

	bind_addr(s, subnet, addr);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_lease = (struct ipam_lease){ .pool_id = dp_stmt_int(s, 0),
					  .is_gateway = dp_stmt_int(s, 1) != 0,
					  .generation = (uint64_t)dp_stmt_int(s, 2),
					  .is_cooling = dp_stmt_int(s, 3) != 0 };
	dp_stmt_reset(s);
	return 1;
}

int ipam_state_put_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
			 const struct dp_addr *addr, const struct ipam_lease_row *row,
			 struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_PUT];
	char text[DP_ADDR_STRLEN];

	bind_addr(s, subnet, addr);
	dp_stmt_bind_text(s, 4, dp_addr_format(addr, text));
	dp_stmt_bind_int(s, 5, row->lease.pool_id);
	dp_stmt_bind_int(s, 6, row->lease.is_gateway);
	dp_stmt_bind_int(s, 7, (int64_t)row->lease.generation);
	dp_stmt_bind_int(s, 8, row->since);
	dp_stmt_bind_text(s, 9, row->mac);
	dp_stmt_bind_text(s, 10, row->name);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_rest_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
			  const struct dp_addr *addr, int64_t now, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_REST];

	bind_addr(s, subnet, addr);
	dp_stmt_bind_int(s, 4, now);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_set_aside(struct ipam_state *state, const struct ipam_subnet *subnet,
			 const struct dp_addr *addr, int64_t released_at, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_SET_ASIDE];

	bind_addr(s, subnet, addr);
	dp_stmt_bind_int(s, 4, released_at);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_count_conflicts(struct ipam_state *state, const struct ipam_subnet *subnet,
			       int64_t after, uint64_t *ret_n, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_CONFLICTS];
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, after);
	r = dp_stmt_step(s, err);
	if (r < 0)
		return r;
	*ret_n = (uint64_t)dp_stmt_int(s, 0);
	dp_stmt_reset(s);
	return 0;
}

int ipam_state_drop_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
			  const struct dp_addr *addr, struct dp_error *err)
{
	bind_addr(state->stmts[S_LEASE_DEL], subnet, addr);
	return dp_stmt_exec(state->stmts[S_LEASE_DEL], NULL, err);
}

int ipam_state_oldest_cooling(struct ipam_state *state, const struct ipam_subnet *subnet,
			      int64_t before, const struct dp_addr *first,
			      const struct dp_addr *last, struct dp_addr *ret_addr,
			      struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_OLDEST];
	bool crosses_sign = (int64_t)first->lo > (int64_t)last->lo;
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, before);
	dp_stmt_bind_int(s, 3, (int64_t)first->hi);
	dp_stmt_bind_int(s, 4, crosses_sign ? INT64_MIN : (int64_t)first->lo);
	dp_stmt_bind_int(s, 5, (int64_t)last->hi);
	dp_stmt_bind_int(s, 6, crosses_sign ? INT64_MAX : (int64_t)last->lo);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_addr = read_addr(s, subnet);
	dp_stmt_reset(s);
	return 1;
}

int ipam_state_next_held(struct ipam_state *state, int64_t subnet_id, int family,
			 const struct dp_addr *after, struct dp_addr *ret_addr,
			 struct ipam_lease *ret_lease, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_HELD];
	int r;

	dp_stmt_bind_int(s, 1, subnet_id);
	dp_stmt_bind_int(s, 2, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->hi);
	dp_stmt_bind_int(s, 3, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->lo);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_addr = (struct dp_addr){ .family = family,
				      .hi = (uint64_t)dp_stmt_int(s, 0),
				      .lo = (uint64_t)dp_stmt_int(s, 1) };
	*ret_lease = (struct ipam_lease){ .is_gateway = dp_stmt_int(s, 2) != 0,
					  .generation = (uint64_t)dp_stmt_int(s, 3),
					  .pool_id = dp_stmt_int(s, 4) };
	dp_stmt_reset(s);
	return 1;
}

int ipam_state_next_of_pool(struct ipam_state *state, const struct ipam_pool *pool,
			    const struct dp_addr *after, struct dp_addr *ret_addr, struct ipam_lease *ret_lease,
			    struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASE_OF_POOL];
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(ipam_pool_subnet(pool)));
	dp_stmt_bind_int(s, 2, ipam_pool_rowid(pool));
	/* No address has these halves: the subnet's network address would be 8000::8000:0:0:0. */
	dp_stmt_bind_int(s, 3, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->hi);
	dp_stmt_bind_int(s, 4, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->lo);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_addr = read_addr(s, ipam_pool_subnet(pool));
	*ret_lease = (struct ipam_lease){ .pool_id = ipam_pool_rowid(pool),
					  .is_gateway = dp_stmt_int(s, 2) != 0,
					  .generation = (uint64_t)dp_stmt_int(s, 3),
					  .is_cooling = dp_stmt_int(s, 4) != 0 };
	dp_stmt_reset(s);
	return 1;
}

int ipam_state_held(struct ipam_state *state, const struct ipam_subnet *subnet,
		    const struct dp_addr *after, struct dp_addr *ret_addrs, int max,
		    struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASES_HELD];
	int n = 0;
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	dp_stmt_bind_int(s, 2, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->hi);
	dp_stmt_bind_int(s, 3, after->family == AF_UNSPEC ? INT64_MIN : (int64_t)after->lo);
	dp_stmt_bind_int(s, 4, max);
	while ((r = dp_stmt_step(s, err)) == 1)
		ret_addrs[n++] = read_addr(s, subnet);
	return r < 0 ? r : n;
}

/* ---- reclaimed addresses ---- */

int ipam_state_get_reclaimed(struct ipam_state *state, const struct ipam_subnet *subnet,
			     const struct dp_addr *addr, bool *ret_released, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_RECLAIMED_GET];
	int r;

	if (!state->any_reclaimed)
		return 0;
	bind_addr(s, subnet, addr);
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	*ret_released = dp_stmt_int(s, 0) != 0;
	dp_stmt_reset(s);
	return 1;
}

int ipam_state_put_reclaimed(struct ipam_state *state, const struct ipam_subnet *subnet,
			     const struct dp_addr *addr, bool released, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_RECLAIMED_PUT];

	state->any_reclaimed = true;
	bind_addr(s, subnet, addr);
	dp_stmt_bind_int(s, 4, released);
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_drop_reclaimed(struct ipam_state *state, const struct ipam_subnet *subnet,
			      const struct dp_addr *addr, struct dp_error *err)
{
	bind_addr(state->stmts[S_RECLAIMED_DEL], subnet, addr);
	return dp_stmt_exec(state->stmts[S_RECLAIMED_DEL], NULL, err);
}

/* ---- shared gateways ---- */

int ipam_state_add_sharer(struct ipam_state *state, const struct ipam_pool *pool,
			  const struct dp_addr *addr, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_SHARER_ADD];

	bind_addr(s, ipam_pool_subnet(pool), addr);
	dp_stmt_bind_int(s, 4, ipam_pool_rowid(pool));
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_remove_sharer(struct ipam_state *state, const struct ipam_pool *pool,
			     const struct dp_addr *addr, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_SHARER_DEL];

	bind_addr(s, ipam_pool_subnet(pool), addr);
	dp_stmt_bind_int(s, 4, ipam_pool_rowid(pool));
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_remove_sharers(struct ipam_state *state, const struct ipam_pool *pool,
			      struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_SHARER_DEL_POOL];

	dp_stmt_bind_int(s, 1, ipam_subnet_id(ipam_pool_subnet(pool)));
	dp_stmt_bind_int(s, 2, ipam_pool_rowid(pool));
	return dp_stmt_exec(s, NULL, err);
}

int ipam_state_inherit(struct ipam_state *state, const struct ipam_subnet *subnet,
		       const struct dp_addr *addr, struct dp_error *err)
{
	struct dp_stmt *first = state->stmts[S_SHARER_FIRST];
	struct dp_stmt *del = state->stmts[S_SHARER_DEL];
	struct dp_stmt *set = state->stmts[S_LEASE_SET_POOL];
	int64_t heir;
	int r;

	bind_addr(first, subnet, addr);
	r = dp_stmt_step(first, err);
	if (r != 1)
		return r;
	heir = dp_stmt_int(first, 0);
	dp_stmt_reset(first);
	bind_addr(del, subnet, addr);
	dp_stmt_bind_int(del, 4, heir);
	r = dp_stmt_exec(del, NULL, err);
	if (r < 0)
		return r;
	bind_addr(set, subnet, addr);
	dp_stmt_bind_int(set, 4, heir);
	r = dp_stmt_exec(set, NULL, err);
	return r < 0 ? r : 1;
}

/* ---- load ---- */

static int load_pools(struct ipam_state *state, struct ipam_space *space, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_POOLS];
	int r;

	while ((r = dp_stmt_step(s, err)) == 1) {
		struct ipam_pool_id id;
		struct ipam_pool *pool;
		struct dp_prefix v4;
		int64_t row_id = dp_stmt_int(s, 0);
		int e = ipam_pool_id_parse(dp_stmt_text(s, 2), &id, err);

		if (e == 0)
			e = ipam_space_load_pool(space, &id, dp_stmt_int(s, 1), row_id,
						 (uint64_t)dp_stmt_int(s, 3), &pool, err);
		if (e < 0) {
			dp_stmt_reset(s);
			return dp_error_prefix(err, "state: pool row %lld", (long long)row_id);
		}
		ipam_pool_set_cursor(pool, (uint64_t)dp_stmt_int(s, 4));
		ipam_pool_set_replayable(pool, dp_stmt_int(s, 5) != 0);
		ipam_pool_set_certain(pool, dp_stmt_int(s, 12) != 0);
		*ipam_pool_life(pool) = (struct ipam_pool_life){
			.alive = (uint64_t)dp_stmt_int(s, 6),
			.stale_before = (uint64_t)dp_stmt_int(s, 7),
			.stale_since = dp_stmt_int(s, 8),
			.released_at = dp_stmt_int(s, 9),
		};
		if (dp_prefix_parse(dp_stmt_text(s, 10), &v4) == 0)
			ipam_pool_set_v6_from(pool, &v4);
		ipam_pool_set_probe_ms(pool, (uint32_t)dp_stmt_int(s, 11));
	}
	return r;
}

static int load_chunks(struct ipam_state *state, struct ipam_subnet *subnet, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_CHUNKS];
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	while ((r = dp_stmt_step(s, err)) == 1) {
		size_t size;
		const void *bits = dp_stmt_blob(s, 2, &size);
		int e = -EUCLEAN;

		if (size == IPAM_CHUNK_SIZE_BYTES)
			e = ipam_subnet_load_chunk(subnet, (uint64_t)dp_stmt_int(s, 0),
						   (uint64_t)dp_stmt_int(s, 1), bits);
		if (e < 0) {
			dp_stmt_reset(s);
			if (e == -ENOMEM)
				return dp_error_oom(err);
			return dp_error_set(err, DP_ERR_INTERNAL, e,
					    "state: bitmap of subnet %lld is damaged: %s",
					    (long long)ipam_subnet_id(subnet), strerror(-e));
		}
	}
	return r;
}

static int load_subnet(struct ipam_state *state, struct ipam_subnet *subnet, struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_COUNTS];
	int r = load_chunks(state, subnet, err);

	if (r < 0)
		return r;
	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	r = dp_stmt_step(s, err);
	if (r != 1)
		return r;
	ipam_subnet_load_counts(subnet, (uint64_t)(dp_stmt_int(s, 0) - dp_stmt_int(s, 1)),
				(uint64_t)dp_stmt_int(s, 1));
	if ((uint64_t)dp_stmt_int(s, 0) != ipam_subnet_count(subnet))
		r = dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
				 "state: subnet %lld has %lld leases but %llu bits",
				 (long long)ipam_subnet_id(subnet), (long long)dp_stmt_int(s, 0),
				 (unsigned long long)ipam_subnet_count(subnet));
	dp_stmt_reset(s);
	return r < 0 ? r : 0;
}

/* "HEARD-AT SEEN-GENERATION SEEN-AT", as ipam_state_put_replay() writes it */
static int load_replay(struct ipam_state *state, struct ipam_space *space, struct dp_error *err)
{
	struct ipam_replay *replay = ipam_space_replay(space);
	uint64_t fields[3] = { 0, 0, 0 };
	char text[72];
	char *rest = NULL;
	int r = meta_get(state, "replay", text, sizeof text, err);

	if (r != 1)
		return r;
	r = 0;
	for (size_t i = 0; r == 0 && i < DP_ARRAY_LEN(fields); i++) {
		const char *word = strtok_r(i ? NULL : text, " ", &rest);

		r = word ? dp_parse_u64(word, 0, INT64_MAX, &fields[i]) : -EINVAL;
	}
	if (r < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN, "state: replay");
	*replay = (struct ipam_replay){ .heard_at = (int64_t)fields[0],
					.seen_generation = fields[1],
					.seen_at = (int64_t)fields[2] };
	return 0;
}

int ipam_state_load(struct ipam_state *state, struct ipam_space **ret_space, struct dp_error *err)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	char text[24] = "1";
	int r = ipam_space_new(&space);

	if (r < 0)
		return dp_error_oom(err);
	r = load_pools(state, space, err);
	for (unsigned b = 0; r == 0 && b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; r == 0 && i < ipam_space_n_subnets(space, (enum ipam_book)b); i++)
			r = load_subnet(state, ipam_space_subnet(space, (enum ipam_book)b, i), err);
	}
	if (r == 0)
		r = ipam_ledger_load(state->ledger, space, err);
	if (r < 0)
		return r;
	r = load_replay(state, space, err);
	if (r == 0)
		r = meta_get(state, "generation", text, sizeof text, err);
	if (r < 0)
		return r;
	uint64_t generation = 1;
	if (dp_parse_u64(text, 1, INT64_MAX, &generation) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN, "state: generation '%s'", text);
	ipam_space_set_generation(space, generation);
	*ret_space = DP_TAKE_PTR(space);
	return 0;
}

/* ---- checking ---- */

/* Every lease row: its text says what its key says, and its bit is set. Return: findings. */
static int check_leases(struct ipam_state *state, const struct ipam_subnet *subnet, FILE *out,
			struct dp_error *err)
{
	struct dp_stmt *s = state->stmts[S_LEASES];
	int n = 0;
	int r;

	dp_stmt_bind_int(s, 1, ipam_subnet_id(subnet));
	while ((r = dp_stmt_step(s, err)) == 1) {
		struct dp_addr addr = read_addr(s, subnet);
		const char *text = dp_stmt_text(s, 2);
		const char *wrong = NULL;
		struct dp_addr shown;

		if (dp_addr_parse(text, &shown) < 0 || dp_addr_cmp(&shown, &addr))
			wrong = "its text and its key differ";
		else if (!dp_prefix_has_addr(ipam_subnet_prefix(subnet), &addr))
			wrong = "it is not in its subnet";
		else if (!ipam_subnet_test(subnet, &addr))
			wrong = "its bit is not set";
		if (wrong) {
			fprintf(out, "lease '%s' of subnet %lld: %s\n", text,
				(long long)ipam_subnet_id(subnet), wrong);
			n++;
		}
	}
	return r < 0 ? r : n;
}

static int check_rows(const char *dir, FILE *out, struct dp_error *err)
{
	DP_CLEANUP(ipam_state_closep) struct ipam_state *state = NULL;
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	int n = 0;

	if (ipam_state_open(dir, &state, err) < 0)
		return err->code;
	if (ipam_state_load(state, &space, err) < 0) {
		if (err->code == -ENOMEM)
			return err->code;
		fprintf(out, "%s\n", err->msg);
		return 1;
	}
	for (unsigned b = 0; b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; i < ipam_space_n_subnets(space, (enum ipam_book)b); i++) {
			int r = check_leases(state, ipam_space_subnet(space, (enum ipam_book)b, i),
					     out, err);

			if (r < 0)
				return r;
			n += r;
		}
	}
	return n;
}

int ipam_state_check(const char *dir, FILE *out, struct dp_error *err)
{
	unsigned version;
	int n = dp_store_check(dir, "myipamplugin.db", &ipam_state_schema, out, &version, err);

	/* Rows of an older version can be read after its migration only, which is a change. */
	return n || version < ipam_state_schema.n_migrations ? n : check_rows(dir, out, err);
}
