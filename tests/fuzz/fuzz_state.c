/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Rows of both databases, a line each: `table|value|value...`. A value that begins with # is a
 * number, one with @ a blob in hexadecimal digits, others are text; what is missing at the end is
 * NULL. A line "=" begins the next database.
 *
 * Loading must refuse what contradicts itself, and what it accepts must be fit to work with.
 */

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/store_file.h"
#include "ipam/state.h"
#include "netdriver/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static const char *const names[] = { "myipamplugin.db", "mynetworkplugin.db" };
static const char *const suffixes[] = { "", "-wal", "-shm" };

static void remove_dir(void)
{
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < 3; k++) {
			(void)snprintf(path, sizeof path, "%s/%s%s", dir, names[i], suffixes[k]);
			(void)unlink(path);
		}
	}
	(void)rmdir(dir);
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "fuzz_state: %s\n", what);
	abort();
}

/* Both databases, empty, as the daemons make them; in memory where that is possible. */
static void start(void)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_state *ipam;
	struct ndrv_state_store *net;

	dp_log_set_level(DP_LOG_ERROR);
	(void)snprintf(dir, sizeof dir, "/dev/shm/dp-fuzz-XXXXXX");
	if (!mkdtemp(dir)) {
		(void)snprintf(dir, sizeof dir, "/tmp/dp-fuzz-XXXXXX");
		must(mkdtemp(dir) != NULL, dir);
	}
	(void)atexit(remove_dir);
	must(ipam_state_open(dir, &ipam, &err) == 0, err.msg);
	ipam_state_close(ipam);
	must(ndrv_store_open(dir, &net, &err) == 0, err.msg);
	ndrv_store_close(net);
}

/* ---- writing rows ---- */

static void run(sqlite3 *db, const char *sql)
{
	(void)sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void clear(sqlite3 *db)
{
	sqlite3_stmt *tables;
	char sql[128];

	if (sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table'", -1, &tables, NULL))
		return;
	while (sqlite3_step(tables) == SQLITE_ROW) {
		(void)snprintf(sql, sizeof sql, "DELETE FROM %.64s",
			       (const char *)sqlite3_column_text(tables, 0));
		run(db, sql);
	}
	(void)sqlite3_finalize(tables);
}

static int nibble(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : 0;
}

/* @text is turned into bytes in place. */
static void bind_blob(sqlite3_stmt *insert, int i, char *text)
{
	size_t n = strlen(text) / 2;

	for (size_t k = 0; k < n; k++)
		text[k] = (char)(nibble(text[2 * k]) << 4 | nibble(text[2 * k + 1]));
	(void)sqlite3_bind_blob(insert, i, text, (int)n, SQLITE_TRANSIENT);
}

static void bind_value(sqlite3_stmt *insert, int i, char *value)
{
	if (*value == '#')
		(void)sqlite3_bind_int64(insert, i, strtoll(value + 1, NULL, 10));
	else if (*value == '@')
		bind_blob(insert, i, value + 1);
	else
		(void)sqlite3_bind_text(insert, i, value, -1, SQLITE_TRANSIENT);
}

/* The number of columns follows the present schema. */
static int columns(sqlite3 *db, const char *table)
{
	sqlite3_stmt *all = NULL;
	char sql[128];
	int n = 0;

	(void)snprintf(sql, sizeof sql, "SELECT * FROM %.64s", table);
	if (sqlite3_prepare_v2(db, sql, -1, &all, NULL) == SQLITE_OK)
		n = sqlite3_column_count(all);
	(void)sqlite3_finalize(all);
	return n < 64 ? n : 64;
}

static void insert_row(sqlite3 *db, char *line)
{
	const char *table = strsep(&line, "|");
	int n;
	sqlite3_stmt *insert;
	char sql[256];
	size_t len;

	for (const char *p = table; *p; p++) {
		if ((*p < 'a' || *p > 'z') && *p != '_')
			return;
	}
	n = columns(db, table);
	if (!n)
		return;
	len = (size_t)snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO %.64s VALUES(?", table);
	for (int i = 1; i < n; i++)
		len += (size_t)snprintf(sql + len, sizeof sql - len, ",?");
	(void)snprintf(sql + len, sizeof sql - len, ")");
	if (sqlite3_prepare_v2(db, sql, -1, &insert, NULL))
		return;
	for (int i = 1; i <= n && line; i++)
		bind_value(insert, i, strsep(&line, "|"));
	(void)sqlite3_step(insert); /* constraints refuse some */
	(void)sqlite3_finalize(insert);
}

static void fill(unsigned which, char *text)
{
	char path[128];
	sqlite3 *db;
	char *rest = NULL;

	(void)snprintf(path, sizeof path, "%s/%s", dir, names[which]);
	/* As the store does: with checksums, and so without shared memory. */
	must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, dp_store_file_vfs()) == SQLITE_OK, path);
	run(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF");
	run(db, "BEGIN");
	clear(db);
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		insert_row(db, line);
	run(db, "COMMIT");
	(void)sqlite3_close(db);
}

/* ---- loading ---- */

/* What is refused is refused with a reason. */
static void check(int r, const struct dp_error *err)
{
	assert(r >= 0 || (err->code == r && *err->msg));
}

static void use_pool(struct ipam_state *state, struct ipam_pool *pool)
{
	struct dp_addr first;
	struct dp_addr last;
	struct dp_addr addr;
	struct ipam_lease lease;
	struct ipam_usage usage;
	struct dp_error err = DP_ERROR_INIT;

	ipam_pool_usage(pool, &usage);
	ipam_pool_dynamic_bounds(pool, &first, &last);
	if (ipam_pool_pick(pool, false, &addr, &err) == 0) {
		assert(dp_prefix_has_addr(ipam_subnet_prefix(ipam_pool_subnet(pool)), &addr));
		check(ipam_state_get_lease(state, ipam_pool_subnet(pool), &addr, &lease, &err), &err);
	}
	check(ipam_state_oldest_cooling(state, ipam_pool_subnet(pool), INT64_MAX, &first, &last, &addr,
					&err), &err);
}

static void load_ipam(void)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_state *state;
	struct ipam_space *space;
	struct ipam_dirty_chunk chunk;
	int r;

	must(ipam_state_open(dir, &state, &err) == 0, err.msg);
	r = ipam_state_load(state, &space, &err);
	check(r, &err);
	for (unsigned b = 0; r == 0 && b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; i < ipam_space_n_subnets(space, (enum ipam_book)b); i++) {
			struct ipam_subnet *s = ipam_space_subnet(space, (enum ipam_book)b, i);

			for (size_t k = 0; k < ipam_subnet_n_pools(s); k++)
				use_pool(state, ipam_subnet_pool(s, k));
		}
	}
	while (r == 0 && ipam_space_pop_dirty(space, &chunk))
		check(ipam_state_put_chunk(state, &chunk, &err), &err);
	if (r == 0)
		ipam_space_free(space);
	ipam_state_close(state);
}

static void load_net(void)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_state_store *store;
	struct ndrv_registry *registry;
	int r;

	must(ndrv_store_open(dir, &store, &err) == 0, err.msg);
	r = ndrv_store_load(store, &registry, &err);
	check(r, &err);
	for (struct ndrv_network *n = r == 0 ? ndrv_registry_networks(registry) : NULL; n; n = n->next) {
		assert(n->segment && n->spec.vlan <= 4094 && n->spec.n_subnets <= NDRV_MAX_SUBNETS);
		assert(strlen(n->spec.parent) < NDRV_IFNAME_BUF && *n->segment->bridge);
		assert(ndrv_network_find(registry, n->spec.id) == n);
		for (struct ndrv_endpoint *e = n->endpoints; e; e = e->next)
			assert(e->network == n && ndrv_endpoint_find(registry, e->id) == e);
	}
	if (r == 0) {
		while (ndrv_registry_networks(registry))
			ndrv_network_remove(registry, ndrv_registry_networks(registry));
		ndrv_registry_free(registry);
	}
	ndrv_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	char *second;

	if (!text)
		return 0;
	if (!*dir)
		start();
	memcpy(text, data, size);
	text[size] = '\0';
	second = strstr(text, "\n=\n");
	if (second) {
		*second = '\0';
		second += 3;
	}
	if (*text) {
		fill(0, text);
		load_ipam();
	}
	if (second) {
		fill(1, second);
		load_net();
	}
	return 0;
}
