/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "ipam/block.h"
#include "ipam/space.h"
#include "ipam/trend.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static struct ipam_range range_of(const char *text)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_range range = { .first.family = 0 };

	assert_ok(ipam_range_parse("range", text, &range, &err), &err);
	return range;
}

static void test_ranges_are_read_in_three_forms_and_written_in_one(void **state)
{
	static const char *const cases[][2] = {
		{ "10.0.0.9", "10.0.0.9" },
		{ "10.0.0.1-10.0.0.20", "10.0.0.1-10.0.0.20" },
		{ "10.0.0.17/28", "10.0.0.16-10.0.0.31" },
		{ "10.0.0.5-10.0.0.5", "10.0.0.5" },
		{ "fd00::1-fd00::2", "fd00::1-fd00::2" },
		{ "fd00::/127", "fd00::-fd00::1" },
	};
	char text[IPAM_RANGE_STRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ipam_range range = range_of(cases[i][0]);

		assert_string_equal(ipam_range_format(&range, text), cases[i][1]);
	}
}

static void test_what_is_no_range_is_refused_with_its_text(void **state)
{
	static const char *const cases[] = { "",	 "x",	     "10.0.0.1-",      "-10.0.0.1",
					     "10.0.0.1-fd00::1", "10.0.0.9-10.0.0.1", "10.0.0.1/33" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_range range;

		assert_refused(ipam_range_parse("exclude", cases[i], &range, &err), -EINVAL, &err,
			       cases[i]);
		assert_contains(err.msg, "exclude: ");
	}
}

static int add(struct ipam_block_list *list, const char *text, const char *name,
	       struct dp_error *err)
{
	struct ipam_range range = range_of(text);

	return ipam_block_add(list, &range, true, name, "", err);
}

static void test_ranges_that_overlap_are_refused_and_neighbours_are_not(void **state)
{
	struct ipam_block_list list = { .n = 0 };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(add(&list, "10.0.0.10-10.0.0.19", "", &err), &err);
	assert_ok(add(&list, "10.0.0.20", "", &err), &err);
	assert_ok(add(&list, "10.0.0.9", "", &err), &err);
	assert_refused(add(&list, "10.0.0.5-10.0.0.9", "", &err), -EEXIST, &err, "overlaps 10.0.0.9");
	assert_refused(add(&list, "10.0.0.12", "", &err), -EEXIST, &err, "10.0.0.10-10.0.0.19");
	assert_refused(add(&list, "10.0.0.0/8", "", &err), -EEXIST, &err, "overlaps");
	assert_int_equal(list.n, 3);
	ipam_block_list_done(&list);
}

static void test_a_reservation_is_found_by_name(void **state)
{
	struct ipam_block_list list = { .n = 0 };
	struct ipam_range range = range_of("10.0.0.3");
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_null(ipam_block_of(&list, "db", ""));
	assert_ok(add(&list, "10.0.0.3", "db", &err), &err);
	assert_ok(add(&list, "10.0.0.1", "", &err), &err);
	assert_string_equal(ipam_block_of(&list, "db", "")->name, "db");
	assert_null(ipam_block_of(&list, "", ""));
	assert_null(ipam_block_of(&list, "other", "02:42:0a:00:00:01"));
	assert_true(ipam_block_remove(&list, &range));
	assert_null(ipam_block_of(&list, "db", ""));
	ipam_block_list_done(&list);
}

static void test_a_subnet_has_so_many_ranges_and_no_more(void **state)
{
	struct ipam_block_list list = { .n = 0 };
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_range range = range_of("10.0.0.0");

	(void)state;
	for (int i = 0; i < IPAM_MAX_BLOCKS; i++) {
		assert_ok(ipam_block_add(&list, &range, false, "", "", &err), &err);
		range.first.lo += 2;
		range.last.lo += 2;
	}
	assert_refused(ipam_block_add(&list, &range, false, "", "", &err), -E2BIG, &err, "1024");
	ipam_block_list_done(&list);
}

/* Random ranges and picks in a /24, against an array of what may be picked. */
static void test_picks_step_over_ranges_and_find_every_other_address(void **state)
{
	uint64_t seed = random_seed("picks");

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct ipam_space *space;
		struct ipam_pool_grant grant;
		struct ipam_pool_id id;
		struct dp_prefix prefix = prefix_of("10.0.0.0/24");
		struct dp_error err = DP_ERROR_INIT;
		struct ipam_usage usage;
		struct dp_addr addr;
		bool kept[256] = { [0] = true, [255] = true };
		unsigned n_free = 0;

		assert_int_equal(ipam_space_new(&space), 0);
		assert_ok(ipam_pool_id_make(IPAM_LOCAL, "", &prefix, NULL, &id, &err), &err);
		assert_ok(ipam_space_request_pool(space, &id, false, &grant, &err), &err);
		for (int i = 0; i < 12; i++) {
			unsigned first = (unsigned)(random_u64(&seed) % 256);
			unsigned last = first + (unsigned)(random_u64(&seed) % 40);
			struct ipam_range range = { .first = prefix.addr, .last = prefix.addr };

			range.first.lo += first;
			range.last.lo += last > 255 ? 255 : last;
			if (ipam_subnet_block(ipam_pool_subnet(grant.pool), &range, false, "", "",
					      NULL) < 0)
				continue;
			for (unsigned k = first; k <= last && k < 256; k++)
				kept[k] = true;
		}
		for (int i = 0; i < 256; i++)
			n_free += !kept[i];
		ipam_pool_usage(grant.pool, &usage);
		assert_int_equal(usage.n_usable - usage.n_kept, n_free);
		ipam_pool_seek(grant.pool, random_u64(&seed));
		for (; n_free; n_free--) {
			assert_ok(ipam_pool_pick(grant.pool, false, &addr, &err), &err);
			assert_false(kept[addr.lo & 255]);
			kept[addr.lo & 255] = true;
		}
		assert_int_equal(ipam_pool_pick(grant.pool, false, &addr, &err), -ENOSPC);
		ipam_space_free(space);
	}
}

static void test_a_trend_tells_when_a_pool_that_fills_steadily_is_full(void **state)
{
	struct ipam_trend trend = { .used = 0 };

	(void)state;
	assert_true(ipam_trend_full_in(&trend, 100) < 0);
	for (uint64_t minute = 0; minute < 300; minute++)
		ipam_trend_add(&trend, 50 + 2 * minute, 60);
	assert_true(trend.per_hour > 119.9 && trend.per_hour < 120.1);
	assert_true(ipam_trend_full_in(&trend, 240) > 7190 && ipam_trend_full_in(&trend, 240) < 7210);
}

static void test_a_pool_that_rests_or_empties_will_not_be_full(void **state)
{
	struct ipam_trend trend = { .used = 0 };

	(void)state;
	ipam_trend_add(&trend, 100, 60);
	ipam_trend_add(&trend, 90, 60);
	assert_true(trend.per_hour < 0);
	assert_true(ipam_trend_full_in(&trend, 10) < 0);
	for (int minute = 0; minute < 2000; minute++)
		ipam_trend_add(&trend, 90, 60);
	assert_true(ipam_trend_full_in(&trend, 10) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges_are_read_in_three_forms_and_written_in_one),
		cmocka_unit_test(test_what_is_no_range_is_refused_with_its_text),
		cmocka_unit_test(test_ranges_that_overlap_are_refused_and_neighbours_are_not),
		cmocka_unit_test(test_a_reservation_is_found_by_name),
		cmocka_unit_test(test_a_subnet_has_so_many_ranges_and_no_more),
		cmocka_unit_test(test_picks_step_over_ranges_and_find_every_other_address),
		cmocka_unit_test(test_a_trend_tells_when_a_pool_that_fills_steadily_is_full),
		cmocka_unit_test(test_a_pool_that_rests_or_empties_will_not_be_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
