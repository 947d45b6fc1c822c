/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "common/metrics.h"
#include "tests/support/unit.h"

/* What @write puts, as one text. */
static void assert_text(void (*write)(const struct dp_metrics *m), const char *expected)
{
	char text[8192];
	FILE *out = fmemopen(text, sizeof text, "w");
	struct dp_metrics m = { .out = out, .prefix = "my" };

	assert_non_null(out);
	write(&m);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, expected);
}

static void write_plain(const struct dp_metrics *m)
{
	dp_metrics_family(m, "things_total", "counter", "what there is");
	dp_metrics_value(m, "things_total", 3, NULL);
	dp_metrics_value(m, "things_total", 0.25, "kind", "a", "of", "b", NULL);
}

static void test_a_family_has_its_head_and_its_samples(void **state)
{
	(void)state;
	assert_text(write_plain, "# HELP my_things_total what there is\n"
				 "# TYPE my_things_total counter\n"
				 "my_things_total 3\n"
				 "my_things_total{kind=\"a\",of=\"b\"} 0.25\n");
}

static void write_escapes(const struct dp_metrics *m)
{
	dp_metrics_value(m, "x", 1, "pool", "a\"b\\c\nd", NULL);
}

static void test_quotes_backslashes_and_line_ends_in_a_label_are_escaped(void **state)
{
	(void)state;
	assert_text(write_escapes, "my_x{pool=\"a\\\"b\\\\c\\nd\"} 1\n");
}

static void test_a_value_counts_in_the_first_bucket_that_is_not_below_it(void **state)
{
	static const struct {
		uint64_t value;
		unsigned bucket;
	} cases[] = { { 0, 0 }, { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 1024, 10 },
		      { 1025, 11 }, { 1 << 23, 23 }, { (1 << 23) + 1, 24 }, { UINT64_MAX, 24 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dp_histogram h = { .sum = 0 };

		dp_histogram_add(&h, cases[i].value);
		assert_int_equal(h.buckets[cases[i].bucket], 1);
		assert_true(h.sum == cases[i].value);
	}
}

static void write_histogram(const struct dp_metrics *m)
{
	struct dp_histogram h = { .sum = 0 };

	dp_histogram_add(&h, 1);
	dp_histogram_add(&h, 2);
	dp_histogram_add(&h, 1 << 30);
	dp_metrics_histogram(m, "d", &h, 1e-6, "method", "A");
}

static void test_buckets_of_a_histogram_add_up(void **state)
{
	char text[8192];
	FILE *out = fmemopen(text, sizeof text, "w");
	struct dp_metrics m = { .out = out, .prefix = "my" };

	(void)state;
	write_histogram(&m);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "my_d_bucket{method=\"A\",le=\"1e-06\"} 1\n"));
	assert_non_null(strstr(text, "my_d_bucket{method=\"A\",le=\"2e-06\"} 2\n"));
	assert_non_null(strstr(text, "my_d_bucket{method=\"A\",le=\"8.38861\"} 2\n"));
	assert_non_null(strstr(text, "my_d_bucket{method=\"A\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "my_d_sum{method=\"A\"} 1073.74182"));
	assert_non_null(strstr(text, "my_d_count{method=\"A\"} 3\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_family_has_its_head_and_its_samples),
		cmocka_unit_test(test_quotes_backslashes_and_line_ends_in_a_label_are_escaped),
		cmocka_unit_test(test_a_value_counts_in_the_first_bucket_that_is_not_below_it),
		cmocka_unit_test(test_buckets_of_a_histogram_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
