/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/support/unit.h"

static void setting_returns_the_code_and_keeps_kind_and_text(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_int_equal(dp_error_set(&err, DP_ERR_CONFLICT, -EEXIST, "pool %s", "x"), -EEXIST);
	assert_int_equal(err.kind, DP_ERR_CONFLICT);
	assert_int_equal(err.code, -EEXIST);
	assert_string_equal(err.msg, "pool x");
}

static void setting_overwrites_an_earlier_failure(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)dp_error_set(&err, DP_ERR_CONFLICT, -EEXIST, "a long first text");
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "second");
	assert_string_equal(err.msg, "second");
	assert_int_equal(err.kind, DP_ERR_INVALID);
}

static void nobody_listening_still_gets_the_code(void **state)
{
	(void)state;
	assert_int_equal(dp_error_set(NULL, DP_ERR_INTERNAL, -EIO, "x"), -EIO);
	assert_int_equal(dp_error_oom(NULL), -ENOMEM);
	assert_int_equal(dp_error_prefix(NULL, "x"), -EIO);
}

static void a_prefix_stands_before_the_text(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "reason");
	assert_int_equal(dp_error_prefix(&err, "file %d", 7), -EINVAL);
	assert_string_equal(err.msg, "file 7: reason");
	assert_int_equal(err.kind, DP_ERR_INVALID);
}

static void text_that_is_too_long_is_cut_and_says_so(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "%0600d", 1);
	assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
	assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

static void text_that_just_fits_is_not_cut(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "%0511d", 1);
	assert_string_equal(err.msg + sizeof err.msg - 4, "001");
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "%0512d", 1); /* one more does not */
	assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

static void a_prefix_that_overflows_cuts_the_old_text(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)dp_error_set(&err, DP_ERR_INVALID, -EINVAL, "%0500d", 1);
	(void)dp_error_prefix(&err, "context of 20 letters");
	assert_memory_equal(err.msg, "context of 20 letters: 000", 26);
	assert_string_equal(err.msg + sizeof err.msg - 4, "...");
	(void)dp_error_prefix(&err, "%0600d", 2);
	assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

static void every_kind_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = DP_ERR_NONE; i <= DP_ERR_INTERNAL; i++) {
		const char *name = dp_error_kind_name((enum dp_err_kind)i);

		assert_string_not_equal(name, "unknown");
		for (unsigned j = DP_ERR_NONE; j < i; j++)
			assert_string_not_equal(name, dp_error_kind_name((enum dp_err_kind)j));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_returns_the_code_and_keeps_kind_and_text),
		cmocka_unit_test(setting_overwrites_an_earlier_failure),
		cmocka_unit_test(nobody_listening_still_gets_the_code),
		cmocka_unit_test(a_prefix_stands_before_the_text),
		cmocka_unit_test(text_that_is_too_long_is_cut_and_says_so),
		cmocka_unit_test(text_that_just_fits_is_not_cut),
		cmocka_unit_test(a_prefix_that_overflows_cuts_the_old_text),
		cmocka_unit_test(every_kind_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
