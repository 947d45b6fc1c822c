/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "netdriver/table.h"
#include "tests/support/failalloc.h"
#include "tests/support/unit.h"

enum { N = 5000 };

struct thing {
	unsigned number;
	struct ndrv_table_node node;
};

static struct ndrv_table table;
static struct thing things[N];

static int setup(void **state)
{
	(void)state;
	memset(things, 0, sizeof things);
	for (unsigned i = 0; i < N; i++)
		things[i].number = i * 7919;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)fail_alloc_stop();
	ndrv_table_clear(&table);
	return 0;
}

static int put(struct thing *t)
{
	return ndrv_table_add(&table, &t->node, &t->number, sizeof t->number, t);
}

static struct thing *find(unsigned number)
{
	return ndrv_table_find(&table, &number, sizeof number);
}

static void an_empty_table_has_nothing(void **state)
{
	(void)state;
	assert_null(find(1));
	ndrv_table_remove(&table, &things[0].node); /* of no table */
	assert_int_equal(table.n, 0);
}

static void all_are_found_and_those_taken_out_are_not(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(put(&things[i]), 0);
	for (unsigned i = 0; i < N; i += 3)
		ndrv_table_remove(&table, &things[i].node);
	for (unsigned i = 0; i < N; i++)
		assert_ptr_equal(find(things[i].number), i % 3 ? &things[i] : NULL);
	assert_int_equal(table.n, N - (N + 2) / 3);
}

static void keys_of_other_lengths_are_others(void **state)
{
	(void)state;
	assert_int_equal(ndrv_table_add(&table, &things[0].node, "abc", 3, &things[0]), 0);
	assert_null(ndrv_table_find(&table, "abc", 2));
	assert_null(ndrv_table_find(&table, "abcd", 4));
	assert_ptr_equal(ndrv_table_find(&table, "abc", 3), &things[0]);
}

static void of_equal_keys_the_other_is_found_when_one_has_gone(void **state)
{
	(void)state;
	things[1].number = things[0].number;
	assert_int_equal(put(&things[0]), 0);
	assert_int_equal(put(&things[1]), 0);
	ndrv_table_remove(&table, &find(things[0].number)->node);
	assert_non_null(find(things[0].number));
	ndrv_table_remove(&table, &find(things[0].number)->node);
	assert_null(find(things[0].number));
}

static void chains_stay_short(void **state)
{
	unsigned longest = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(put(&things[i]), 0);
	for (size_t b = 0; b < table.n_buckets; b++) {
		unsigned n = 0;

		for (struct ndrv_table_node *node = table.buckets[b]; node; node = node->next)
			n++;
		longest = n > longest ? n : longest;
	}
	assert_true(table.n_buckets >= N);
	assert_true(longest < 16);
}

static void without_memory_to_grow_it_goes_on(void **state)
{
	(void)state;
	fail_alloc_nth(1);
	assert_int_equal(put(&things[0]), -ENOMEM);
	assert_int_equal(put(&things[0]), 0);
	for (unsigned i = 1; i < 100; i++) {
		fail_alloc_nth(1);
		assert_int_equal(put(&things[i]), 0);
		(void)fail_alloc_stop();
	}
	for (unsigned i = 0; i < 100; i++)
		assert_ptr_equal(find(things[i].number), &things[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_empty_table_has_nothing),
		TEST(all_are_found_and_those_taken_out_are_not),
		TEST(keys_of_other_lengths_are_others),
		TEST(of_equal_keys_the_other_is_found_when_one_has_gone),
		TEST(chains_stay_short),
		TEST(without_memory_to_grow_it_goes_on),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
