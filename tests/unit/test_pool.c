/* SPDX-License-Identifier: Apache-2.0 */

/* Pool names, default-pool entries, and the picks and claims of one subnet. */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipam/pool.h"
#include "tests/support/failalloc.h"
#include "tests/support/random.h"

static struct dp_prefix prefix(const char *s)
{
	struct dp_prefix p;

	assert_int_equal(dp_prefix_parse(s, &p), 0);
	return p;
}

static struct dp_addr addr(const char *s)
{
	struct dp_addr a;

	assert_int_equal(dp_addr_parse(s, &a), 0);
	return a;
}

static struct ipam_pool_id ident(const char *s)
{
	struct ipam_pool_id id;
	struct dp_error err = DP_ERROR_INIT;

	if (ipam_pool_id_parse(s, &id, &err) < 0)
		fail_msg("%s: %s", s, err.msg);
	return id;
}

/* A subnet with one pool, and the list of what it has to write. */
struct fixture {
	struct ipam_dirty_list dirty;
	struct ipam_subnet *subnet;
	struct ipam_pool *pool;
};

static void fixture_init(struct fixture *f, const char *pool_id)
{
	struct ipam_pool_id id = ident(pool_id);

	*f = (struct fixture){ .subnet = NULL };
	assert_int_equal(ipam_subnet_new(7, &id, &f->dirty, &f->subnet), 0);
	assert_int_equal(ipam_subnet_add_pool(f->subnet, 70, &id, 1, &f->pool), 0);
}

static void fixture_done(struct fixture *f)
{
	ipam_subnet_free(f->subnet);
	assert_null(f->dirty.head);
}

static void assert_pick(struct ipam_pool *pool, bool is_gateway, const char *want)
{
	char text[DP_ADDR_STRLEN];
	struct dp_addr a;

	assert_int_equal(ipam_pool_pick(pool, is_gateway, &a, NULL), 0);
	assert_string_equal(dp_addr_format(&a, text), want);
	assert_true(ipam_subnet_test(ipam_pool_subnet(pool), &a));
}

static void assert_full(struct ipam_pool *pool, const char *want)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_addr a = { .lo = 99 };

	assert_int_equal(ipam_pool_pick(pool, false, &a, &err), -ENOSPC);
	assert_int_equal(err.kind, DP_ERR_EXHAUSTED);
	assert_string_equal(err.msg, want);
	assert_int_equal(a.lo, 99);
	assert_int_equal(ipam_pool_pick(pool, true, &a, NULL), -ENOSPC);
}

static int claim(struct ipam_pool *pool, const char *a, const struct ipam_lease *lease)
{
	struct ipam_claim c = { .addr = addr(a), .generation = 1, .lease = lease };
	enum ipam_claim_result result;

	return ipam_pool_claim(pool, &c, &result, NULL);
}

/* ---- names ---- */

static void a_pool_id_is_read_back_as_it_was_written(void **state)
{
	static const char *const ids[] = {
		"local/10.1.0.0/16",
		"global/10.1.0.0/24/10.1.0.128/25",
		"local/10.1.0.0/24@red",
		"local/10.1.0.0/24/10.1.0.128/25@Team-1_x.y",
		"local/0.0.0.0/1",
		"global/fd00:1:2::/48",
		"global/fd00:1:2::/48/fd00:1:2:3::/64@t",
		"local/2001:db8::1/128",
		"local/10.0.0.1/32/10.0.0.1/32",
		"global/ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.254/127"
		"/ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.254/127"
		"@a23456789012345678901234567890123456789012345678901234567890123",
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(ids); i++) {
		char want[IPAM_POOL_ID_SIZE];
		char buf[IPAM_POOL_ID_SIZE];
		struct ipam_pool_id id;

		/* The longest spelling of an address is not the canonical one. */
		(void)snprintf(want, sizeof want, "%s", ids[i]);
		if (strstr(want, "255.255.255.254")) {
			struct dp_prefix p = prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127");

			assert_int_equal(ipam_pool_id_parse(want, &id, NULL), -EINVAL);
			assert_int_equal(ipam_pool_id_make(IPAM_GLOBAL, strchr(want, '@') + 1, &p,
							   &p, &id, NULL),
					 0);
			ipam_pool_id_format(&id, want);
		}
		assert_int_equal(ipam_pool_id_parse(want, &id, NULL), 0);
		assert_string_equal(ipam_pool_id_format(&id, buf), want);
		assert_true(ipam_pool_id_equal(&id, &id));
	}
}

static void a_pool_id_in_any_other_form_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"local",
		"local/",
		"local/10.1.0.0",
		"local/10.1.0.0/",
		"local/10.1.0.0/33",
		"local/10.1.0.0/016",
		"local/10.1.0.0/16/",
		"local/10.1.0.0/16//",
		"local/10.1.0.0/16/10.1.0.0",
		"local/10.1.0.0/16/10.2.0.0/24",
		"local/10.1.0.0/16/10.1.0.0/24/",
		"local/10.1.0.0/16/10.1.0.0/24/1",
		"local/10.1.0.0/24/10.1.0.0/32",
		"local/10.1.0.0/24/10.1.0.255/32",
		"local/10.1.0.1/16",
		"local/10.1.0.0/16/10.1.0.1/24",
		"local/0.0.0.0/0",
		"local/::/0",
		"Local/10.1.0.0/16",
		"locals/10.1.0.0/16",
		" local/10.1.0.0/16",
		"local/10.1.0.0/16 ",
		"local/10.1.0.0/16@",
		"local/10.1.0.0/16@-x",
		"local/10.1.0.0/16@a b",
		"local/10.1.0.0/16@a@b",
		"local/10.1.0.0/16@a/b",
		"local/10.1.0.0/16@a234567890123456789012345678901234567890123456789012345678901234",
		"local/FD00::/48",
		"local/fd00:0::/48",
		"local/fd00::/48/10.0.0.0/24",
		"local@red/10.1.0.0/16",
		"@",
		"@@@@",
		"////////",
	};
	char longest[4096];

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_pool_id id;

		if (ipam_pool_id_parse(bad[i], &id, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.kind, DP_ERR_INVALID);
		assert_non_null(strstr(err.msg, "invalid pool id: \""));
	}
	memset(longest, '1', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(ipam_pool_id_parse(longest, &(struct ipam_pool_id){ .tenant = "" }, NULL),
			 -EINVAL);
}

static void host_bits_of_a_request_are_masked(void **state)
{
	struct dp_prefix pool = prefix("10.1.2.3/16");
	struct dp_prefix range = prefix("10.1.5.77/24");
	char buf[IPAM_POOL_ID_SIZE];
	struct ipam_pool_id id;

	(void)state;
	assert_int_equal(ipam_pool_id_make(IPAM_GLOBAL, "", &pool, &range, &id, NULL), 0);
	assert_string_equal(ipam_pool_id_format(&id, buf), "global/10.1.0.0/16/10.1.5.0/24");
	assert_int_equal(ipam_pool_id_make(IPAM_LOCAL, "red", &pool, NULL, &id, NULL), 0);
	assert_string_equal(ipam_pool_id_format(&id, buf), "local/10.1.0.0/16@red");
}

static void a_request_that_makes_no_sense_is_told_why(void **state)
{
	static const struct {
		const char *tenant;
		const char *pool;
		const char *range;
		const char *want;
	} cases[] = {
		{ "", "10.1.0.0/24", "10.2.0.0/25",
		  "invalid range 10.2.0.0/25: it is not inside pool 10.1.0.0/24" },
		{ "", "10.1.0.0/24", "10.1.0.0/23",
		  "invalid range 10.1.0.0/23: it is not inside pool 10.1.0.0/24" },
		{ "", "10.1.0.0/24", "fd00::/64",
		  "invalid range fd00::/64: it is not inside pool 10.1.0.0/24" },
		{ "", "10.1.0.0/24", "10.1.0.0/32",
		  "invalid range 10.1.0.0/32: it holds only the network or broadcast address of "
		  "pool 10.1.0.0/24" },
		{ "", "fd00::/64", "fd00::/128",
		  "invalid range fd00::/128: it holds only the network or broadcast address of "
		  "pool fd00::/64" },
		{ "", "10.0.0.0/0", NULL, "invalid pool 0.0.0.0/0: it is the whole address space" },
		{ "", "::/0", NULL, "invalid pool ::/0: it is the whole address space" },
		{ "a b", "10.1.0.0/24", NULL, "invalid tenant \"a b\": want up to 63 letters, " },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix pool = prefix(cases[i].pool);
		struct dp_prefix range = prefix(cases[i].range ? cases[i].range : "::/0");
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_pool_id id;

		assert_int_equal(ipam_pool_id_make(IPAM_LOCAL, cases[i].tenant, &pool,
						   cases[i].range ? &range : NULL, &id, &err),
				 -EINVAL);
		assert_int_equal(err.kind, DP_ERR_INVALID);
		assert_memory_equal(err.msg, cases[i].want, strlen(cases[i].want));
	}
}

static void a_default_pool_entry_is_parsed(void **state)
{
	static const struct {
		const char *text;
		const char *base;
		unsigned size;
	} cases[] = {
		{ "base=172.17.0.0/16,size=16", "172.17.0.0/16", 16 },
		{ "size=24,base=10.0.0.0/8", "10.0.0.0/8", 24 },
		{ "base=fd12:3456:789a::/48,size=64", "fd12:3456:789a::/48", 64 },
		{ "base=10.0.0.0/8,size=32", "10.0.0.0/8", 32 },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix base = prefix(cases[i].base);
		struct ipam_default_pool p;

		assert_int_equal(ipam_default_pool_parse(cases[i].text, &p, NULL), 0);
		assert_true(dp_prefix_equal(&p.base, &base));
		assert_int_equal(p.size, cases[i].size);
	}
}

static void a_bad_default_pool_entry_is_named_with_its_value(void **state)
{
	static const struct {
		const char *text;
		const char *want; /* part of the message */
	} cases[] = {
		{ "", "no '=' in \"\"" },
		{ "base", "no '=' in \"base\"" },
		{ "base=10.0.0.0/8", "missing key \"size\"" },
		{ "size=8", "missing key \"base\"" },
		{ "base=10.0.0.0/8,size=24,", "no '=' in \"\"" },
		{ "base=10.0.0.0,size=24", "base is not a prefix: \"10.0.0.0\"" },
		{ "base=10.0.0.0/40,size=24", "base is not a prefix: \"10.0.0.0/40\"" },
		{ "base=10.0.0.1/8,size=24", "the prefix is \"10.0.0.0/8\"" },
		{ "base=10.0.0.0/8,size=7", "from the base's length up: \"7\"" },
		{ "base=10.0.0.0/8,size=33", "from the base's length up: \"33\"" },
		{ "base=10.0.0.0/8,size=+24", "from the base's length up: \"+24\"" },
		{ "base=0.0.0.0/0,size=0", "from the base's length up: \"0\"" },
		{ "base=10.0.0.0/8,size=24,size=25", "unknown or repeated key \"size\"" },
		{ "base=10.0.0.0/8,base=10.0.0.0/8", "unknown or repeated key \"base\"" },
		{ "Base=10.0.0.0/8,size=24", "unknown or repeated key \"Base\"" },
		{ "base=10.0.0.0/8,seize=24", "unknown or repeated key \"seize\"" },
	};
	char longest[1000];

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_default_pool p;
		char entry[80];

		assert_int_equal(ipam_default_pool_parse(cases[i].text, &p, &err), -EINVAL);
		assert_int_equal(err.kind, DP_ERR_INVALID);
		if (!strstr(err.msg, cases[i].want))
			fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].want);
		(void)snprintf(entry, sizeof entry, "default pool \"%s\": ", cases[i].text);
		assert_memory_equal(err.msg, entry, strlen(entry));
	}
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(ipam_default_pool_parse(longest, &(struct ipam_default_pool){ .size = 0 },
						 NULL),
			 -EINVAL);
}

static void the_any_prefixes_are_recognised(void **state)
{
	(void)state;
	assert_true(ipam_prefix_is_any(&(struct dp_prefix){ addr("0.0.0.0"), 24 }));
	assert_true(ipam_prefix_is_any(&(struct dp_prefix){ addr("::"), 64 }));
	assert_true(ipam_prefix_is_any(&(struct dp_prefix){ addr("0.0.0.7"), 24 }));
	assert_false(ipam_prefix_is_any(&(struct dp_prefix){ addr("0.0.0.0"), 0 }));
	assert_false(ipam_prefix_is_any(&(struct dp_prefix){ addr("::"), 0 }));
	assert_false(ipam_prefix_is_any(&(struct dp_prefix){ addr("0.0.1.0"), 24 }));
	assert_false(ipam_prefix_is_any(&(struct dp_prefix){ addr("::1"), 128 }));
}

/* ---- picks ---- */

static void dynamic_picks_keep_network_and_broadcast_address_out(void **state)
{
	static const struct {
		const char *id;
		const char *first;
		const char *last;
		uint64_t n_usable;
	} cases[] = {
		{ "local/128.0.0.0/1", "128.0.0.1", "255.255.255.254", 0x7ffffffe },
		{ "local/10.0.0.0/8", "10.0.0.1", "10.255.255.254", 16777214 },
		{ "local/10.1.0.0/24", "10.1.0.1", "10.1.0.254", 254 },
		{ "local/10.1.0.4/30", "10.1.0.5", "10.1.0.6", 2 },
		{ "local/10.1.0.4/31", "10.1.0.4", "10.1.0.5", 2 },
		{ "local/10.1.0.4/32", "10.1.0.4", "10.1.0.4", 1 },
		{ "local/10.1.0.0/24/10.1.0.0/25", "10.1.0.1", "10.1.0.127", 127 },
		{ "local/10.1.0.0/24/10.1.0.64/26", "10.1.0.64", "10.1.0.127", 64 },
		{ "local/10.1.0.0/24/10.1.0.128/25", "10.1.0.128", "10.1.0.254", 127 },
		{ "local/10.1.0.0/24/10.1.0.9/32", "10.1.0.9", "10.1.0.9", 1 },
		{ "local/10.1.0.0/24/10.1.0.0/31", "10.1.0.1", "10.1.0.1", 1 },
		{ "local/10.1.0.0/24/10.1.0.254/31", "10.1.0.254", "10.1.0.254", 1 },
		{ "local/10.1.0.4/31/10.1.0.5/32", "10.1.0.5", "10.1.0.5", 1 },
		{ "local/fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX },
		{ "local/fd00::/65", "fd00::1", "fd00::7fff:ffff:ffff:ffff", INT64_MAX },
		{ "local/fd00:0:0:2::/63", "fd00:0:0:2::1", "fd00::2:ffff:ffff:ffff:ffff",
		  UINT64_MAX },
		{ "local/fd00::/48", "fd00::1", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX },
		{ "local/fd00::/48/fd00:0:0:7::/64", "fd00:0:0:7::", "fd00::7:ffff:ffff:ffff:ffff",
		  UINT64_MAX },
		{ "local/fd00::/48/fd00:0:0:8::/61", "fd00:0:0:8::", "fd00::8:ffff:ffff:ffff:ffff",
		  UINT64_MAX },
		{ "local/fd00::/48/fd00:0:0:7::ff00/120", "fd00:0:0:7::ff00", "fd00:0:0:7::ffff",
		  256 },
		{ "local/fd00::10/126", "fd00::11", "fd00::13", 3 },
		{ "local/fd00::10/127", "fd00::10", "fd00::11", 2 },
		{ "local/fd00::10/128", "fd00::10", "fd00::10", 1 },
		{ "local/8000::/1", "8000::1", "8000::ffff:ffff:ffff:ffff", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		DP_CLEANUP(fixture_done) struct fixture f;
		struct ipam_usage usage;
		struct dp_addr first;
		struct dp_addr last;
		struct dp_addr want_first = addr(cases[i].first);
		struct dp_addr want_last = addr(cases[i].last);

		fixture_init(&f, cases[i].id);
		ipam_pool_dynamic_bounds(f.pool, &first, &last);
		ipam_pool_usage(f.pool, &usage);
		if (dp_addr_cmp(&first, &want_first) || dp_addr_cmp(&last, &want_last) ||
		    usage.n_usable != cases[i].n_usable)
			fail_msg("%s: bounds %016" PRIx64 "-%016" PRIx64 ", %" PRIu64 " usable",
				 cases[i].id, first.lo, last.lo, usage.n_usable);
		assert_int_equal(usage.n_used, 0);
		assert_pick(f.pool, true, cases[i].first);
		ipam_pool_set_cursor(f.pool, last.lo);
		if (usage.n_usable > 1)
			assert_pick(f.pool, false, cases[i].last);
		ipam_pool_usage(f.pool, &usage);
		assert_int_equal(usage.n_used, usage.n_usable > 1 ? 2 : 1);
		assert_int_equal(usage.n_held, usage.n_used);
		assert_int_equal(ipam_subnet_count(f.subnet), usage.n_used);
	}
}

static void picks_go_on_after_the_last_one_and_wrap_around(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;
	struct dp_addr a = addr("10.1.0.2");

	(void)state;
	fixture_init(&f, "local/10.1.0.0/29");
	assert_pick(f.pool, true, "10.1.0.1");
	assert_pick(f.pool, false, "10.1.0.2");
	assert_pick(f.pool, false, "10.1.0.3");
	ipam_subnet_drop(f.subnet, &a, false);
	assert_pick(f.pool, false, "10.1.0.4"); /* not the one just released */
	assert_pick(f.pool, false, "10.1.0.5");
	assert_pick(f.pool, false, "10.1.0.6");
	assert_pick(f.pool, false, "10.1.0.2");
	assert_full(f.pool,
		    "no available addresses on this pool: local/10.1.0.0/29 (6 of 6 in use)");
}

static void the_cursor_survives_and_any_value_of_it_is_safe(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;
	uint64_t cursor;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/24/10.1.0.32/27");
	assert_pick(f.pool, false, "10.1.0.32");
	cursor = ipam_pool_cursor(f.pool);
	assert_true(cursor == addr("10.1.0.33").lo);
	ipam_pool_set_cursor(f.pool, UINT64_MAX);
	assert_true(ipam_pool_cursor(f.pool) == addr("10.1.0.32").lo);
	ipam_pool_set_cursor(f.pool, 0);
	assert_true(ipam_pool_cursor(f.pool) == addr("10.1.0.32").lo);
	ipam_pool_set_cursor(f.pool, addr("10.1.0.40").lo);
	assert_pick(f.pool, false, "10.1.0.40");
	ipam_pool_set_cursor(f.pool, cursor);
	assert_pick(f.pool, false, "10.1.0.33");
}

static void a_cursor_has_moved_until_it_is_written(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/24/10.1.0.32/27");
	assert_false(ipam_pool_cursor_moved(f.pool));
	assert_pick(f.pool, false, "10.1.0.32");
	assert_true(ipam_pool_cursor_moved(f.pool));
	ipam_pool_cursor_written(f.pool);
	assert_false(ipam_pool_cursor_moved(f.pool));
	ipam_pool_set_cursor(f.pool, addr("10.1.0.40").lo); /* as read from the disk */
	assert_false(ipam_pool_cursor_moved(f.pool));
}

static void a_gateway_is_the_first_free_address_of_the_range(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/24/10.1.0.64/26");
	assert_pick(f.pool, false, "10.1.0.64");
	assert_pick(f.pool, true, "10.1.0.65");
	assert_pick(f.pool, false, "10.1.0.66");
	assert_pick(f.pool, true, "10.1.0.67");
}

static void pools_with_ranges_share_the_bitmap_of_their_subnet(void **state)
{
	struct ipam_pool_id other = ident("local/10.1.0.0/24/10.1.0.64/31");
	struct ipam_pool_id whole = ident("local/10.1.0.0/24/10.1.0.0/24");
	DP_CLEANUP(fixture_done) struct fixture f;
	struct ipam_pool *second;
	struct ipam_pool *third;
	struct ipam_usage usage;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/24/10.1.0.64/30");
	assert_int_equal(ipam_subnet_add_pool(f.subnet, 71, &other, 1, &second), 0);
	assert_int_equal(ipam_subnet_add_pool(f.subnet, 72, &whole, 1, &third), 0);
	assert_pick(f.pool, false, "10.1.0.64");
	assert_pick(second, false, "10.1.0.65");
	assert_full(second, "no available addresses on this pool: local/10.1.0.0/24/10.1.0.64/31 "
			    "(2 of 2 in use)");
	assert_pick(f.pool, false, "10.1.0.66");
	assert_pick(third, false, "10.1.0.1");
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_usable, 4);
	assert_int_equal(usage.n_used, 3);
	assert_int_equal(usage.n_held, 4);
	assert_int_equal(ipam_subnet_n_pools(f.subnet), 3);
	ipam_subnet_remove_pool(f.subnet, second);
	assert_int_equal(ipam_subnet_n_pools(f.subnet), 2);
	assert_ptr_equal(ipam_subnet_pool(f.subnet, 0), f.pool);
	assert_ptr_equal(ipam_subnet_pool(f.subnet, 1), third);
	assert_int_equal(ipam_subnet_count(f.subnet), 4);
}

static void a_cooling_address_stays_taken_until_revived_or_dropped(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;
	struct dp_addr a = addr("10.1.0.5");
	struct dp_addr b = addr("10.1.0.6");
	struct ipam_usage usage;

	(void)state;
	fixture_init(&f, "local/10.1.0.4/30");
	assert_pick(f.pool, false, "10.1.0.5");
	assert_pick(f.pool, false, "10.1.0.6");
	ipam_subnet_rest(f.subnet, &a);
	ipam_subnet_rest(f.subnet, &b);
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_held, 0);
	assert_int_equal(usage.n_cooling, 2);
	assert_int_equal(usage.n_used, 2);
	assert_full(f.pool,
		    "no available addresses on this pool: local/10.1.0.4/30 (2 of 2 in use)");
	ipam_subnet_revive(f.subnet, &a);
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_held, 1);
	assert_int_equal(usage.n_cooling, 1);
	ipam_subnet_drop(f.subnet, &b, true);
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_cooling, 0);
	assert_int_equal(usage.n_used, 1);
	assert_pick(f.pool, false, "10.1.0.6");
}

/* ---- claims ---- */

static void an_address_that_cannot_be_given_is_told_why(void **state)
{
	static const struct {
		const char *id;
		const char *addr;
		const char *want; /* NULL: it may be asked for */
	} cases[] = {
		{ "local/10.1.0.0/24", "10.2.0.1",
		  "requested address is out of range: 10.2.0.1 is not in pool local/10.1.0.0/24" },
		{ "local/10.1.0.0/24", "fd00::1",
		  "requested address is out of range: fd00::1 is not in pool local/10.1.0.0/24" },
		{ "local/fd00::/64", "10.0.0.1",
		  "requested address is out of range: 10.0.0.1 is not in pool local/fd00::/64" },
		{ "local/10.1.0.0/24", "10.1.0.0",
		  "requested address is out of range: 10.1.0.0 is the network address of pool "
		  "local/10.1.0.0/24" },
		{ "local/10.1.0.0/24", "10.1.0.255",
		  "requested address is out of range: 10.1.0.255 is the broadcast address of pool "
		  "local/10.1.0.0/24" },
		{ "local/fd00::/64", "fd00::",
		  "requested address is out of range: fd00:: is the subnet-router anycast address "
		  "of pool local/fd00::/64" },
		{ "local/fd00::/64", "fd00::ffff:ffff:ffff:ffff", NULL },
		{ "local/fd00::/64", "fd00:0:0:1::",
		  "requested address is out of range: fd00:0:0:1:: is not in pool local/fd00::/64" },
		{ "local/fd00::/48", "fd00:0:0:1::", NULL },
		{ "local/fd00::/48", "fd00:0:0:ffff:ffff:ffff:ffff:ffff", NULL },
		{ "local/10.1.0.0/24/10.1.0.128/25", "10.1.0.1", NULL },
		{ "local/10.1.0.0/24/10.1.0.128/25", "10.1.0.255",
		  "requested address is out of range: 10.1.0.255 is the broadcast address of pool "
		  "local/10.1.0.0/24/10.1.0.128/25" },
		{ "local/10.1.0.4/31", "10.1.0.4", NULL },
		{ "local/10.1.0.4/31", "10.1.0.5", NULL },
		{ "local/10.1.0.4/32", "10.1.0.4", NULL },
		{ "local/fd00::/127", "fd00::", NULL },
		{ "local/fd00::/128", "fd00::", NULL },
		{ "local/128.0.0.0/1", "255.255.255.254", NULL },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		DP_CLEANUP(fixture_done) struct fixture f;
		struct dp_error err = DP_ERROR_INIT;
		struct dp_addr a = addr(cases[i].addr);
		int r;

		fixture_init(&f, cases[i].id);
		r = ipam_pool_check_addr(f.pool, &a, &err);
		assert_int_equal(r, cases[i].want ? -ERANGE : 0);
		assert_int_equal(claim(f.pool, cases[i].addr, NULL), r);
		assert_int_equal(ipam_subnet_count(f.subnet), r == 0);
		assert_int_equal(ipam_subnet_test(f.subnet, &a), r == 0);
		if (cases[i].want) {
			assert_int_equal(err.kind, DP_ERR_INVALID);
			assert_string_equal(err.msg, cases[i].want);
		}
	}
}

static void a_claim_follows_the_lease_row(void **state)
{
	enum { REFUSED = -1 };
	static const struct {
		bool is_cooling, was_gateway, same_pool;
		uint64_t of_generation;
		bool is_gateway, may_replay;
		int want;
	} cases[] = {
		/* cooling: whoever asks for it gets it */
		{ true, false, true, 5, false, false, IPAM_CLAIM_REVIVED },
		{ true, false, false, 4, false, true, IPAM_CLAIM_REVIVED },
		/* held, of this generation: a duplicate, whatever the caller would allow */
		{ false, false, true, 5, false, false, REFUSED },
		{ false, false, true, 5, false, true, REFUSED },
		{ false, false, true, 5, true, true, REFUSED },
		/* held, of an older one: confirmed if this may be a replay */
		{ false, false, true, 4, false, true, IPAM_CLAIM_CONFIRMED },
		{ false, false, false, 1, false, true, IPAM_CLAIM_CONFIRMED },
		{ false, false, true, 4, false, false, REFUSED },
		/* the pool's own gateway, asked for as such */
		{ false, true, true, 5, true, false, IPAM_CLAIM_CONFIRMED },
		{ false, true, true, 4, true, false, IPAM_CLAIM_CONFIRMED },
		{ false, true, false, 5, true, false, REFUSED },
		{ false, true, true, 5, false, false, REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		DP_CLEANUP(fixture_done) struct fixture f;
		struct ipam_lease lease = { .is_cooling = cases[i].is_cooling,
					    .is_gateway = cases[i].was_gateway,
					    .pool_id = cases[i].same_pool ? 70 : 71,
					    .generation = cases[i].of_generation };
		struct ipam_claim c = { .addr = addr("10.1.0.9"),
					.is_gateway = cases[i].is_gateway,
					.may_replay = cases[i].may_replay,
					.generation = 5,
					.lease = &lease };
		struct dp_error err = DP_ERROR_INIT;
		enum ipam_claim_result result = IPAM_CLAIM_NEW;
		struct ipam_usage usage;
		int r;

		fixture_init(&f, "local/10.1.0.0/24");
		assert_int_equal(claim(f.pool, "10.1.0.9", NULL), 0);
		if (lease.is_cooling)
			ipam_subnet_rest(f.subnet, &c.addr);
		r = ipam_pool_claim(f.pool, &c, &result, &err);
		if (cases[i].want == REFUSED) {
			assert_int_equal(r, -EADDRINUSE);
			assert_int_equal(err.kind, DP_ERR_CONFLICT);
			assert_string_equal(
				err.msg,
				"Address already in use: 10.1.0.9 in pool local/10.1.0.0/24");
			assert_int_equal(result, IPAM_CLAIM_NEW);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(result, cases[i].want);
		}
		ipam_pool_usage(f.pool, &usage);
		assert_int_equal(usage.n_held, 1);
		assert_int_equal(usage.n_cooling, 0);
		assert_int_equal(usage.n_used, 1);
	}
}

static void bitmap_and_lease_rows_that_disagree_are_not_papered_over(void **state)
{
	struct ipam_lease lease = { .pool_id = 70, .generation = 1 };
	DP_CLEANUP(fixture_done) struct fixture f;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/24");
	assert_int_equal(claim(f.pool, "10.1.0.9", &lease), -EUCLEAN);
	assert_int_equal(claim(f.pool, "10.1.0.9", NULL), 0);
	assert_int_equal(claim(f.pool, "10.1.0.9", NULL), -EUCLEAN);
	assert_int_equal(ipam_subnet_count(f.subnet), 1);
}

static void a_claimed_address_is_stepped_over_by_picks(void **state)
{
	DP_CLEANUP(fixture_done) struct fixture f;

	(void)state;
	fixture_init(&f, "local/10.1.0.0/29");
	assert_int_equal(claim(f.pool, "10.1.0.1", NULL), 0);
	assert_int_equal(claim(f.pool, "10.1.0.3", NULL), 0);
	assert_pick(f.pool, true, "10.1.0.2");
	assert_pick(f.pool, false, "10.1.0.4");
}

static void addresses_all_over_a_large_ipv6_subnet_are_kept_apart(void **state)
{
	static const char *const addrs[] = { "fd00::5", "fd00:0:0:1::5", "fd00:0:0:ffff::5",
					     "fd00:0:0:8000::", "fd00:0:0:1::6" };
	DP_CLEANUP(fixture_done) struct fixture f;
	struct ipam_usage usage;

	(void)state;
	fixture_init(&f, "local/fd00::/48");
	for (size_t i = 0; i < DP_ARRAY_LEN(addrs); i++) {
		struct dp_addr a = addr(addrs[i]);

		assert_false(ipam_subnet_test(f.subnet, &a));
		assert_int_equal(claim(f.pool, addrs[i], NULL), 0);
	}
	assert_int_equal(ipam_subnet_count(f.subnet), DP_ARRAY_LEN(addrs));
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_used, 1); /* of those that picks may use */
	assert_int_equal(usage.n_held, DP_ARRAY_LEN(addrs));
	for (size_t i = 0; i < DP_ARRAY_LEN(addrs); i++) {
		struct dp_addr a = addr(addrs[i]);

		assert_true(ipam_subnet_test(f.subnet, &a));
		ipam_subnet_drop(f.subnet, &a, false);
		assert_false(ipam_subnet_test(f.subnet, &a));
	}
	assert_int_equal(ipam_subnet_count(f.subnet), 0);
}

/* ---- what is written ---- */

static void what_is_written_brings_the_subnet_back(void **state)
{
	static const char *const addrs[] = { "fd00::5", "fd00:0:0:1::5", "fd00::1:0:0:5",
					     "fd00:0:0:ffff:ffff:ffff:ffff:ffff" };
	DP_CLEANUP(fixture_done) struct fixture f;
	DP_CLEANUP(fixture_done) struct fixture g;
	struct ipam_dirty_chunk chunk;
	size_t n_chunks = 0;

	(void)state;
	fixture_init(&f, "local/fd00::/48");
	fixture_init(&g, "local/fd00::/48");
	assert_false(ipam_dirty_list_pop(&f.dirty, &chunk));
	for (size_t i = 0; i < DP_ARRAY_LEN(addrs); i++)
		assert_int_equal(claim(f.pool, addrs[i], NULL), 0);
	while (ipam_dirty_list_pop(&f.dirty, &chunk)) {
		n_chunks++;
		assert_int_equal(chunk.subnet_id, 7);
		assert_false(chunk.empty);
		assert_int_equal(ipam_subnet_load_chunk(g.subnet, chunk.upper, chunk.chunk_no,
							chunk.bytes),
				 0);
		assert_int_equal(ipam_subnet_load_chunk(g.subnet, chunk.upper, chunk.chunk_no,
							chunk.bytes),
				 -EEXIST);
	}
	assert_int_equal(n_chunks, 4);
	ipam_subnet_load_counts(g.subnet, 4, 0);
	assert_null(g.dirty.head);
	assert_int_equal(ipam_subnet_count(g.subnet), 4);
	for (size_t i = 0; i < DP_ARRAY_LEN(addrs); i++) {
		struct dp_addr a = addr(addrs[i]);

		assert_true(ipam_subnet_test(g.subnet, &a));
		ipam_subnet_drop(g.subnet, &a, false);
	}
	for (n_chunks = 0; ipam_dirty_list_pop(&g.dirty, &chunk); n_chunks++)
		assert_true(chunk.empty);
	assert_int_equal(n_chunks, 4);
}

static void a_chunk_of_another_subnet_is_refused(void **state)
{
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES] = { 2 };
	DP_CLEANUP(fixture_done) struct fixture f;
	DP_CLEANUP(fixture_done) struct fixture g;

	(void)state;
	fixture_init(&f, "local/fd00::/56");
	assert_int_equal(ipam_subnet_load_chunk(f.subnet, addr("fd00:0:0:100::").hi, 0, bytes),
			 -ERANGE);
	assert_int_equal(ipam_subnet_load_chunk(f.subnet, 0, 0, bytes), -ERANGE);
	assert_int_equal(ipam_subnet_load_chunk(f.subnet, addr("fd00:0:0:ff::").hi, 0, bytes), 0);
	fixture_init(&g, "local/10.0.0.0/24");
	assert_int_equal(ipam_subnet_load_chunk(g.subnet, 1, 0, bytes), -ERANGE);
	assert_int_equal(ipam_subnet_load_chunk(g.subnet, 0, 1, bytes), -ERANGE);
	assert_int_equal(ipam_subnet_count(g.subnet), 0);
	assert_int_equal(ipam_subnet_load_chunk(g.subnet, 0, 0, bytes), 0);
}

/* The @nth allocation of a pick, or of a claim, fails; returns false if there is none such. */
static bool fails_cleanly(unsigned nth, bool is_claim)
{
	DP_CLEANUP(fixture_done) struct fixture f;
	struct ipam_usage usage;
	struct dp_addr a;
	bool failed;
	int r;

	fixture_init(&f, "local/fd00::/48");
	fail_alloc_nth(nth);
	if (is_claim)
		r = claim(f.pool, "fd00:0:0:9::9", NULL);
	else
		r = ipam_pool_pick(f.pool, false, &a, NULL);
	failed = fail_alloc_stop();
	assert_int_equal(r, failed ? -ENOMEM : 0);
	if (!failed)
		return false;
	ipam_pool_usage(f.pool, &usage);
	assert_int_equal(usage.n_held, 0);
	assert_int_equal(ipam_subnet_count(f.subnet), 0);
	assert_null(f.dirty.head);
	assert_true(ipam_pool_cursor(f.pool) == 1);
	assert_pick(f.pool, false, "fd00::1");
	return true;
}

static void a_pick_or_claim_that_runs_out_of_memory_changes_nothing(void **state)
{
	unsigned n_picks = 1;
	unsigned n_claims = 1;

	(void)state;
	while (fails_cleanly(n_picks, false))
		n_picks++;
	while (fails_cleanly(n_claims, true))
		n_claims++;
	assert_true(n_picks > 10 && n_claims > 10); /* the levels of a /64 alone are nine */
}

/* ---- beside a naive model ---- */

enum { N_HOSTS = 1024, FREE = 0, HELD, COOLING };

struct walk {
	struct fixture f;
	struct ipam_pool *pools[3];
	struct { /* of each pool: bounds and cursor as offsets */
		unsigned first, last, cursor;
	} model[3];
	uint8_t hosts[N_HOSTS];
	struct dp_addr base;
};

static struct dp_addr host(const struct walk *w, unsigned i)
{
	return dp_addr_add(&w->base, i);
}

static int model_pick(struct walk *w, unsigned p, bool is_gateway, unsigned *ret_host)
{
	unsigned n = w->model[p].last - w->model[p].first + 1;
	unsigned from = is_gateway ? w->model[p].first : w->model[p].cursor;

	for (unsigned k = 0; k < n; k++) {
		unsigned h = w->model[p].first + (from - w->model[p].first + k) % n;

		if (w->hosts[h] != FREE)
			continue;
		*ret_host = h;
		if (!is_gateway)
			w->model[p].cursor = h == w->model[p].last ? w->model[p].first : h + 1;
		return 0;
	}
	return -ENOSPC;
}

static void random_walk(const char *const ids[static 3], uint64_t rng)
{
	struct walk w = { .base = prefix(strchr(ids[0], '/') + 1).addr };

	fixture_init(&w.f, ids[0]);
	w.pools[0] = w.f.pool;
	for (unsigned p = 0; p < 3; p++) {
		struct ipam_pool_id id = ident(ids[p]);
		struct dp_addr first;
		struct dp_addr last;

		if (p > 0)
			assert_int_equal(
				ipam_subnet_add_pool(w.f.subnet, 70 + p, &id, 1, &w.pools[p]), 0);
		ipam_pool_dynamic_bounds(w.pools[p], &first, &last);
		w.model[p].first = (unsigned)(first.lo - w.base.lo);
		w.model[p].last = (unsigned)(last.lo - w.base.lo);
		w.model[p].cursor = w.model[p].first;
	}
	for (unsigned step = 0; step < 30000; step++) {
		bool filling = step / 3000 % 2 == 0;
		unsigned p = (unsigned)random_below(&rng, 3);
		unsigned h = (unsigned)random_below(&rng, N_HOSTS);
		bool is_gateway = random_below(&rng, 10) == 0;
		struct dp_addr a = host(&w, h);
		struct ipam_usage usage;
		unsigned n_used = 0;
		unsigned n_held = 0;
		unsigned want = 0;
		int r;

		switch (random_below(&rng, filling ? 4 : 8)) {
		case 0:
		case 1:
			r = model_pick(&w, p, is_gateway, &want);
			assert_int_equal(ipam_pool_pick(w.pools[p], is_gateway, &a, NULL), r);
			if (r == 0) {
				struct dp_addr want_addr = host(&w, want);

				assert_int_equal(dp_addr_cmp(&a, &want_addr), 0);
				w.hosts[want] = HELD;
			}
			break;
		case 2: {
			struct ipam_lease lease = { .is_cooling = w.hosts[h] == COOLING,
						    .pool_id = 70,
						    .generation = 1 };
			struct ipam_claim c = { .addr = a,
						.generation = 1,
						.lease = w.hosts[h] == FREE ? NULL : &lease };
			enum ipam_claim_result result;

			r = ipam_pool_claim(w.pools[p], &c, &result, NULL);
			if (ipam_pool_check_addr(w.pools[p], &a, NULL) < 0) {
				assert_int_equal(r, -ERANGE);
			} else if (w.hosts[h] == HELD) {
				assert_int_equal(r, -EADDRINUSE);
			} else {
				assert_int_equal(r, 0);
				assert_int_equal(result, w.hosts[h] == FREE ? IPAM_CLAIM_NEW :
									      IPAM_CLAIM_REVIVED);
				w.hosts[h] = HELD;
			}
			break;
		}
		case 3:
			if (w.hosts[h] == COOLING) {
				ipam_subnet_revive(w.f.subnet, &a);
				w.hosts[h] = HELD;
			}
			break;
		case 4:
		case 5:
			if (w.hosts[h] == HELD) {
				ipam_subnet_rest(w.f.subnet, &a);
				w.hosts[h] = COOLING;
			}
			break;
		default:
			if (w.hosts[h] != FREE) {
				ipam_subnet_drop(w.f.subnet, &a, w.hosts[h] == COOLING);
				w.hosts[h] = FREE;
			}
			break;
		}
		if (step % 64)
			continue;
		for (unsigned i = 0; i < N_HOSTS; i++) {
			struct dp_addr b = host(&w, i);

			assert_true(ipam_subnet_test(w.f.subnet, &b) == (w.hosts[i] != FREE));
			n_held += w.hosts[i] == HELD;
			n_used +=
				w.hosts[i] != FREE && i >= w.model[p].first && i <= w.model[p].last;
		}
		ipam_pool_usage(w.pools[p], &usage);
		assert_int_equal(usage.n_used, n_used);
		assert_int_equal(usage.n_held, n_held);
		assert_int_equal(usage.n_held + usage.n_cooling, ipam_subnet_count(w.f.subnet));
	}
	fixture_done(&w.f);
}

static void random_walks_agree_with_a_naive_model(void **state)
{
	static const char *const v4[3] = { "local/10.1.4.0/22", "local/10.1.4.0/22/10.1.4.0/24",
					   "local/10.1.4.0/22/10.1.7.128/25" };
	static const char *const v6[3] = { "local/fd00::c00/118",
					   "local/fd00::c00/118/fd00::c00/127",
					   "local/fd00::c00/118/fd00::f00/120" };
	uint64_t seed = random_seed(__func__);

	(void)state;
	random_walk(v4, seed);
	random_walk(v6, seed + 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_id_is_read_back_as_it_was_written),
		cmocka_unit_test(a_pool_id_in_any_other_form_is_refused),
		cmocka_unit_test(host_bits_of_a_request_are_masked),
		cmocka_unit_test(a_request_that_makes_no_sense_is_told_why),
		cmocka_unit_test(a_default_pool_entry_is_parsed),
		cmocka_unit_test(a_bad_default_pool_entry_is_named_with_its_value),
		cmocka_unit_test(the_any_prefixes_are_recognised),
		cmocka_unit_test(dynamic_picks_keep_network_and_broadcast_address_out),
		cmocka_unit_test(picks_go_on_after_the_last_one_and_wrap_around),
		cmocka_unit_test(the_cursor_survives_and_any_value_of_it_is_safe),
		cmocka_unit_test(a_cursor_has_moved_until_it_is_written),
		cmocka_unit_test(a_gateway_is_the_first_free_address_of_the_range),
		cmocka_unit_test(pools_with_ranges_share_the_bitmap_of_their_subnet),
		cmocka_unit_test(a_cooling_address_stays_taken_until_revived_or_dropped),
		cmocka_unit_test(an_address_that_cannot_be_given_is_told_why),
		cmocka_unit_test(a_claim_follows_the_lease_row),
		cmocka_unit_test(bitmap_and_lease_rows_that_disagree_are_not_papered_over),
		cmocka_unit_test(a_claimed_address_is_stepped_over_by_picks),
		cmocka_unit_test(addresses_all_over_a_large_ipv6_subnet_are_kept_apart),
		cmocka_unit_test(what_is_written_brings_the_subnet_back),
		cmocka_unit_test(a_chunk_of_another_subnet_is_refused),
		cmocka_unit_test(a_pick_or_claim_that_runs_out_of_memory_changes_nothing),
		cmocka_unit_test(random_walks_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
