/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The IPAM daemon's records: written as the daemon writes them, read back, and refused when they
 * contradict each other. */

#include "ipam/state.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

static char dir[TEMPDIR_SIZE];
static struct ipam_state *state_db;
static struct ipam_space *space;

static void open_state(void)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ipam_state_open(dir, &state_db, &err), &err);
}

static int setup(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	tempdir_make(dir);
	open_state();
	assert_ok(ipam_state_load(state_db, &space, &err), &err);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ipam_space_free(space);
	space = NULL;
	ipam_state_close(state_db);
	state_db = NULL;
	tempdir_remove(dir);
	return 0;
}

/* Writes changed bitmaps and commits, as the daemon's flush does. */
static void flush(void)
{
	struct ipam_dirty_chunk chunk;
	struct dp_error err = DP_ERROR_INIT;

	while (ipam_space_pop_dirty(space, &chunk))
		assert_ok(ipam_state_put_chunk(state_db, &chunk, &err), &err);
	assert_ok(ipam_state_commit(state_db, &err), &err);
}

/* kill -9 and a new start: only what was committed comes back. */
static void restart(void)
{
	struct dp_error err = DP_ERROR_INIT;

	ipam_space_free(space);
	space = NULL;
	ipam_state_close(state_db);
	open_state();
	assert_ok(ipam_state_load(state_db, &space, &err), &err);
}

static struct ipam_pool *find_pool(const char *id)
{
	struct ipam_pool *pool = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ipam_space_pool_by_text(space, id, &pool, &err), &err);
	return pool;
}

static struct ipam_pool *request_pool(const char *text)
{
	struct ipam_pool_grant grant;
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool_id id;

	assert_ok(ipam_pool_id_parse(text, &id, &err), &err);
	assert_ok(ipam_space_request_pool(space, &id, false, &grant, &err), &err);
	if (grant.new_subnet)
		assert_ok(ipam_state_add_subnet(state_db, ipam_pool_subnet(grant.pool), &err),
			  &err);
	assert_ok(ipam_state_put_pool(state_db, grant.pool, &err), &err);
	return grant.pool;
}

static void put_lease(struct ipam_pool *pool, const struct dp_addr *addr, bool is_gateway)
{
	struct ipam_lease_row row = { .lease = { .is_gateway = is_gateway,
						 .pool_id = ipam_pool_rowid(pool),
						 .generation = ipam_space_generation(space) },
				      .since = 1000,
				      .mac = "02:42:0a:01:00:05",
				      .name = "web" };
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ipam_state_put_lease(state_db, ipam_pool_subnet(pool), addr, &row, &err), &err);
}

/* Takes one particular address. */
static void claim(struct ipam_pool *pool, const char *text)
{
	struct ipam_claim c = { .addr = addr_of(text), .generation = ipam_space_generation(space) };
	enum ipam_claim_result result;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ipam_pool_claim(pool, &c, &result, &err), &err);
	put_lease(pool, &c.addr, false);
}

static void rest(struct ipam_pool *pool, const char *text, int64_t now)
{
	struct dp_addr a = addr_of(text);
	struct dp_error err = DP_ERROR_INIT;

	ipam_subnet_rest(ipam_pool_subnet(pool), &a);
	assert_ok(ipam_state_rest_lease(state_db, ipam_pool_subnet(pool), &a, now, &err), &err);
}

static bool is_taken(const struct ipam_pool *pool, const char *text)
{
	struct dp_addr a = addr_of(text);

	return ipam_subnet_test(ipam_pool_subnet(pool), &a);
}

/* ---- pools ---- */

static void an_empty_state_gives_empty_books(void **state)
{
	(void)state;
	restart();
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 0);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_GLOBAL), 0);
	assert_int_equal(ipam_space_generation(space), 1);
}

static void pools_come_back_under_their_names(void **state)
{
	static const char *const ids[] = { "local/10.1.0.0/16", "local/10.2.0.0/16/10.2.5.0/24",
					   "local/10.2.0.0/16/10.2.6.0/24", "global/10.1.0.0/16",
					   "global/fd00::/64@acme", "global/fd00::/64@other" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(ids); i++)
		(void)request_pool(ids[i]);
	flush();
	restart();
	for (size_t i = 0; i < DP_ARRAY_LEN(ids); i++)
		(void)find_pool(ids[i]);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 2);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_GLOBAL), 3);
	assert_ptr_equal(ipam_pool_subnet(find_pool(ids[1])), ipam_pool_subnet(find_pool(ids[2])));
}

static void what_was_not_committed_never_was(void **state)
{
	(void)state;
	(void)request_pool("local/10.1.0.0/16");
	restart();
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 0);
}

static void a_removed_subnet_takes_its_rows_along(void **state)
{
	struct ipam_pool *pool = request_pool("local/10.1.0.0/24");
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	claim(pool, "10.1.0.5");
	flush();
	assert_ok(ipam_state_remove_subnet(state_db, ipam_subnet_id(ipam_pool_subnet(pool)), &err),
		  &err);
	assert_true(ipam_space_release_pool(space, pool));
	flush();
	restart();
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 0);
	pool = request_pool("local/10.1.0.0/24"); /* ids may be used again: nothing is left of it */
	flush();
	restart();
	assert_false(is_taken(find_pool("local/10.1.0.0/24"), "10.1.0.5"));
}

static void cursor_generation_and_replay_come_back(void **state)
{
	struct ipam_pool *pool = request_pool("local/10.1.0.0/24");
	struct dp_error err = DP_ERROR_INIT;
	struct dp_addr a;
	uint64_t cursor;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(ipam_pool_pick(pool, false, &a, &err), &err);
		put_lease(pool, &a, false);
	}
	cursor = ipam_pool_cursor(pool);
	assert_ok(ipam_state_put_pool(state_db, pool, &err), &err);
	assert_ok(ipam_state_put_generation(state_db, 42, &err), &err);
	flush();
	restart();
	pool = find_pool("local/10.1.0.0/24");
	assert_true(ipam_pool_cursor(pool) == cursor);
	assert_int_equal(ipam_space_generation(space), 42);
	assert_int_equal(ipam_pool_generation(pool), 1);
	assert_false(ipam_pool_replayable(pool));
}

/* ---- leases ---- */

static void every_address_given_out_is_still_taken_after_a_restart(void **state)
{
	static const char *const v4[] = { "10.1.0.1", "10.1.0.254", "10.1.200.7" };
	static const char *const v6[] = { "fd00::1", "fd00::7fff:ffff:ffff:ffff",
					  "fd00::8000:0:0:0", "fd00::ffff:ffff:ffff:fffe" };
	struct ipam_pool *p4 = request_pool("local/10.1.0.0/16");
	struct ipam_pool *p6 = request_pool("local/fd00::/64");
	struct ipam_usage usage;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(v4); i++)
		claim(p4, v4[i]);
	for (size_t i = 0; i < DP_ARRAY_LEN(v6); i++)
		claim(p6, v6[i]);
	flush();
	restart();
	p4 = find_pool("local/10.1.0.0/16");
	p6 = find_pool("local/fd00::/64");
	for (size_t i = 0; i < DP_ARRAY_LEN(v4); i++)
		assert_true(is_taken(p4, v4[i]));
	for (size_t i = 0; i < DP_ARRAY_LEN(v6); i++)
		assert_true(is_taken(p6, v6[i]));
	assert_false(is_taken(p4, "10.1.0.2"));
	assert_false(is_taken(p6, "fd00::2"));
	ipam_pool_usage(p6, &usage);
	assert_int_equal(ipam_subnet_count(ipam_pool_subnet(p6)), 4);
}

static void a_lease_is_read_back_as_it_was_put(void **state)
{
	struct ipam_pool *pool = request_pool("local/fd00::/64");
	struct dp_addr a = addr_of("fd00::8000:0:0:1");
	struct dp_addr other = addr_of("fd00::1");
	struct ipam_lease lease = { .pool_id = 77 };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	put_lease(pool, &a, true);
	assert_int_equal(
		ipam_state_get_lease(state_db, ipam_pool_subnet(pool), &other, &lease, &err), 0);
	assert_int_equal(lease.pool_id, 77);
	assert_int_equal(ipam_state_get_lease(state_db, ipam_pool_subnet(pool), &a, &lease, &err),
			 1);
	assert_true(lease.pool_id == ipam_pool_rowid(pool));
	assert_true(lease.is_gateway);
	assert_false(lease.is_cooling);
	assert_int_equal(lease.generation, 1);
	assert_ok(ipam_state_rest_lease(state_db, ipam_pool_subnet(pool), &a, 5, &err), &err);
	assert_int_equal(ipam_state_get_lease(state_db, ipam_pool_subnet(pool), &a, &lease, &err),
			 1);
	assert_true(lease.is_cooling);
	put_lease(pool, &a, false); /* held again */
	assert_int_equal(ipam_state_get_lease(state_db, ipam_pool_subnet(pool), &a, &lease, &err),
			 1);
	assert_false(lease.is_cooling);
	assert_ok(ipam_state_drop_lease(state_db, ipam_pool_subnet(pool), &a, &err), &err);
	assert_int_equal(ipam_state_get_lease(state_db, ipam_pool_subnet(pool), &a, &lease, &err),
			 0);
}

static int oldest(struct ipam_pool *pool, int64_t before, const char *first, const char *last,
		  char text[static DP_ADDR_STRLEN])
{
	struct dp_addr a = addr_of(first);
	struct dp_addr b = addr_of(last);
	struct dp_error err = DP_ERROR_INIT;
	struct dp_addr found;
	int r = ipam_state_oldest_cooling(state_db, ipam_pool_subnet(pool), before, &a, &b, &found,
					  &err);

	if (r == 1)
		(void)dp_addr_format(&found, text);
	return r;
}

static void the_lease_that_rested_longest_is_found(void **state)
{
	struct ipam_pool *pool = request_pool("local/10.1.0.0/24");
	char text[DP_ADDR_STRLEN];

	(void)state;
	claim(pool, "10.1.0.5");
	claim(pool, "10.1.0.6");
	claim(pool, "10.1.0.7");
	claim(pool, "10.1.0.200");
	assert_int_equal(oldest(pool, INT64_MAX, "10.1.0.1", "10.1.0.254", text), 0);
	rest(pool, "10.1.0.7", 300);
	rest(pool, "10.1.0.5", 200);
	rest(pool, "10.1.0.200", 100);
	assert_int_equal(oldest(pool, 1000, "10.1.0.1", "10.1.0.254", text), 1);
	assert_string_equal(text, "10.1.0.200");
	assert_int_equal(oldest(pool, 1000, "10.1.0.1", "10.1.0.127", text), 1);
	assert_string_equal(text, "10.1.0.5");
	assert_int_equal(oldest(pool, 200, "10.1.0.1", "10.1.0.127", text), 1);
	assert_string_equal(text, "10.1.0.5");
	assert_int_equal(oldest(pool, 199, "10.1.0.1", "10.1.0.127", text), 0);
}

static void resting_leases_are_found_all_over_a_64(void **state)
{
	static const char *const addrs[] = { "fd00::1", "fd00::7fff:0:0:1", "fd00::8000:0:0:1",
					     "fd00::ffff:0:0:1" };
	struct ipam_pool *pool = request_pool("local/fd00::/64");

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(addrs); i++) {
		char text[DP_ADDR_STRLEN];
		struct dp_addr a = addr_of(addrs[i]);
		struct dp_error err = DP_ERROR_INIT;

		claim(pool, addrs[i]);
		rest(pool, addrs[i], 100);
		assert_int_equal(oldest(pool, 1000, "fd00::1", "fd00::ffff:ffff:ffff:ffff", text),
				 1);
		assert_string_equal(text, addrs[i]);
		assert_ok(ipam_state_drop_lease(state_db, ipam_pool_subnet(pool), &a, &err), &err);
		ipam_subnet_drop(ipam_pool_subnet(pool), &a, true);
	}
}

static void the_leases_of_a_pool_are_walked_once_each(void **state)
{
	struct ipam_pool *a = request_pool("local/10.1.0.0/16/10.1.5.0/24");
	struct ipam_pool *b = request_pool("local/10.1.0.0/16/10.1.6.0/24");
	struct dp_addr addr = { .family = AF_UNSPEC };
	struct ipam_lease lease;
	struct dp_error err = DP_ERROR_INIT;
	unsigned n = 0;

	(void)state;
	claim(a, "10.1.5.1");
	claim(b, "10.1.6.1");
	claim(a, "10.1.5.9");
	claim(a, "10.1.0.1");
	rest(a, "10.1.5.9", 10);
	while (ipam_state_next_of_pool(state_db, a, &addr, &addr, &lease, &err) == 1) {
		assert_true(lease.pool_id == ipam_pool_rowid(a));
		assert_int_equal(lease.is_cooling, addr.lo == addr_of("10.1.5.9").lo);
		n++;
	}
	assert_int_equal(n, 3);
}

static void a_shared_gateway_is_inherited_by_one_sharer_after_another(void **state)
{
	struct ipam_pool *a = request_pool("local/10.1.0.0/16/10.1.5.0/24");
	struct ipam_pool *b = request_pool("local/10.1.0.0/16/10.1.6.0/24");
	struct ipam_pool *c = request_pool("local/10.1.0.0/16/10.1.7.0/24");
	struct dp_addr gw = addr_of("10.1.0.1");
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_subnet *subnet = ipam_pool_subnet(a);
	struct ipam_lease lease;

	(void)state;
	put_lease(a, &gw, true);
	assert_ok(ipam_state_add_sharer(state_db, b, &gw, &err), &err);
	assert_ok(ipam_state_add_sharer(state_db, b, &gw, &err), &err); /* twice is once */
	assert_ok(ipam_state_add_sharer(state_db, c, &gw, &err), &err);
	assert_int_equal(ipam_state_inherit(state_db, subnet, &gw, &err), 1);
	assert_int_equal(ipam_state_get_lease(state_db, subnet, &gw, &lease, &err), 1);
	assert_true(lease.pool_id == ipam_pool_rowid(b));
	assert_ok(ipam_state_remove_sharers(state_db, c, &err), &err);
	assert_int_equal(ipam_state_inherit(state_db, subnet, &gw, &err), 0);
}

/* ---- ULA ---- */

static void the_ula_is_drawn_once_and_kept(void **state)
{
	struct dp_prefix first;
	struct dp_prefix again;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(ipam_state_ula(state_db, &first, &err), &err);
	assert_int_equal(first.len, 48);
	assert_int_equal(first.addr.hi >> 56, 0xfd); /* RFC 4193: locally assigned */
	assert_int_equal(first.addr.hi & 0xffff, 0);
	flush();
	restart();
	assert_ok(ipam_state_ula(state_db, &again, &err), &err);
	assert_true(dp_prefix_equal(&first, &again));
}

/* ---- rows that contradict each other ---- */

static void tamper(const char *sql)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *raw = NULL;
	struct dp_stmt *stmt = NULL;

	ipam_state_close(state_db);
	state_db = NULL;
	assert_ok(dp_store_open(dir, "myipamplugin.db", &ipam_state_schema, &raw, &err), &err);
	assert_ok(dp_stmt_new(raw, sql, &stmt, &err), &err);
	assert_ok(dp_stmt_exec(stmt, NULL, &err), &err);
	assert_ok(dp_store_commit(raw, &err), &err);
	dp_stmt_free(stmt);
	dp_store_close(raw);
	open_state();
}

static void held_leases_are_walked_in_pages_without_gateways_and_resting_ones(void **state)
{
	static const char *const texts[] = { "10.1.0.5", "10.1.0.6", "10.1.0.9", "10.1.1.0" };
	struct ipam_pool *pool = request_pool("local/10.1.0.0/16");
	struct dp_addr after = { .family = AF_UNSPEC };
	struct dp_addr resting = addr_of("10.1.0.7");
	struct dp_error err = DP_ERROR_INIT;
	struct dp_addr page[3];

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(texts); i++)
		claim(pool, texts[i]);
	claim(pool, "10.1.0.7");
	ipam_subnet_rest(ipam_pool_subnet(pool), &resting);
	assert_ok(ipam_state_rest_lease(state_db, ipam_pool_subnet(pool), &resting, 1, &err), &err);
	assert_int_equal(ipam_state_held(state_db, ipam_pool_subnet(pool), &after, page, 3, &err), 3);
	for (size_t i = 0; i < 3; i++) {
		struct dp_addr want = addr_of(texts[i]);

		assert_int_equal(dp_addr_cmp(&page[i], &want), 0);
	}
	after = page[2];
	assert_int_equal(ipam_state_held(state_db, ipam_pool_subnet(pool), &after, page, 3, &err), 1);
	after = addr_of(texts[3]);
	assert_int_equal(dp_addr_cmp(&page[0], &after), 0);
}

static void a_reclaimed_address_is_remembered_until_it_is_dropped(void **state)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(request_pool("local/10.1.0.0/16"));
	struct dp_addr addr = addr_of("10.1.0.5");
	struct dp_error err = DP_ERROR_INIT;
	bool released = true;

	(void)state;
	assert_int_equal(ipam_state_get_reclaimed(state_db, subnet, &addr, &released, &err), 0);
	assert_ok(ipam_state_put_reclaimed(state_db, subnet, &addr, false, &err), &err);
	flush();
	ipam_state_close(state_db);
	open_state();
	assert_int_equal(ipam_state_get_reclaimed(state_db, subnet, &addr, &released, &err), 1);
	assert_false(released);
	assert_ok(ipam_state_put_reclaimed(state_db, subnet, &addr, true, &err), &err);
	assert_int_equal(ipam_state_get_reclaimed(state_db, subnet, &addr, &released, &err), 1);
	assert_true(released);
	assert_ok(ipam_state_drop_reclaimed(state_db, subnet, &addr, &err), &err);
	assert_int_equal(ipam_state_get_reclaimed(state_db, subnet, &addr, &released, &err), 0);
}

static void rows_that_contradict_each_other_are_refused(void **state)
{
	static const struct {
		const char *sql;
		const char *part;
	} cases[] = {
		{ "UPDATE pool SET name = 'local/10.1.0.0/99'", "pool row" },
		{ "INSERT INTO pool(id, subnet, name, generation, cursor, replayable) "
		  "SELECT id + 100, subnet + 1, 'local/10.1.0.0/17', 1, 0, 0 FROM pool",
		  "pool row" },
		{ "UPDATE chunk SET bits = x'00'", "bitmap of subnet" },
		{ "UPDATE chunk SET number = number + 1000000", "bitmap of subnet" },
		{ "DELETE FROM lease", "has 0 leases but 1 bits" },
		{ "DELETE FROM chunk", "has 1 leases but 0 bits" },
		{ "INSERT INTO meta(key, value) VALUES('generation', 'x') "
		  "ON CONFLICT(key) DO UPDATE SET value = 'x'",
		  "generation 'x'" },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_space *loaded = NULL;

		if (i) {
			assert_int_equal(teardown(NULL), 0);
			assert_int_equal(setup(NULL), 0);
		}
		claim(request_pool("local/10.1.0.0/16"), "10.1.0.5");
		flush();
		tamper(cases[i].sql);
		assert_true(ipam_state_load(state_db, &loaded, &err) < 0);
		assert_contains(err.msg, cases[i].part);
		assert_int_equal(err.kind, i == 0 ? err.kind : DP_ERR_INTERNAL);
		assert_null(loaded);
	}
}

static void a_bad_ula_is_refused(void **state)
{
	struct dp_prefix p;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(ipam_state_ula(state_db, &p, &err), &err);
	flush();
	tamper("UPDATE meta SET value = 'fd00::' WHERE key = 'ula'");
	assert_refused(ipam_state_ula(state_db, &p, &err), -EUCLEAN, &err, "ula 'fd00::'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_empty_state_gives_empty_books),
		TEST(pools_come_back_under_their_names),
		TEST(what_was_not_committed_never_was),
		TEST(a_removed_subnet_takes_its_rows_along),
		TEST(cursor_generation_and_replay_come_back),
		TEST(every_address_given_out_is_still_taken_after_a_restart),
		TEST(a_lease_is_read_back_as_it_was_put),
		TEST(the_lease_that_rested_longest_is_found),
		TEST(resting_leases_are_found_all_over_a_64),
		TEST(the_leases_of_a_pool_are_walked_once_each),
		TEST(a_shared_gateway_is_inherited_by_one_sharer_after_another),
		TEST(the_ula_is_drawn_once_and_kept),
		TEST(held_leases_are_walked_in_pages_without_gateways_and_resting_ones),
		TEST(a_reclaimed_address_is_remembered_until_it_is_dropped),
		TEST(rows_that_contradict_each_other_are_refused),
		TEST(a_bad_ula_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
