/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "common/parse.h"
#include "tests/support/unit.h"

static void plain_decimal_numbers_are_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = { { "0", 0 },
		      { "7", 7 },
		      { "007", 7 },
		      { "4294967296", UINT64_C(4294967296) },
		      { "18446744073709551615", UINT64_MAX } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		uint64_t v = 99;

		assert_int_equal(dp_parse_u64(cases[i].text, 0, UINT64_MAX, &v), 0);
		assert_true(v == cases[i].value);
	}
}

static void anything_else_is_no_number(void **state)
{
	static const char *const texts[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1e3", "1.0", "a",
					     "\t1", "1\n", "1,0" };
	uint64_t v = 42;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(texts); i++)
		assert_int_equal(dp_parse_u64(texts[i], 0, UINT64_MAX, &v), -EINVAL);
	assert_true(v == 42);
}

static void numbers_outside_the_limits_are_out_of_range(void **state)
{
	static const struct {
		const char *text;
		uint64_t min;
		uint64_t max;
		int r;
	} cases[] = { { "9", 10, 20, -ERANGE },
		      { "10", 10, 20, 0 },
		      { "20", 10, 20, 0 },
		      { "21", 10, 20, -ERANGE },
		      { "18446744073709551616", 0, UINT64_MAX, -ERANGE },
		      { "99999999999999999999999999", 0, UINT64_MAX, -ERANGE } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		uint64_t v = 0;

		assert_int_equal(dp_parse_u64(cases[i].text, cases[i].min, cases[i].max, &v),
				 cases[i].r);
	}
}

static void thirty_two_bits_end_where_they_end(void **state)
{
	uint32_t v = 5;

	(void)state;
	assert_int_equal(dp_parse_u32("4294967295", 0, UINT32_MAX, &v), 0);
	assert_true(v == UINT32_MAX);
	assert_int_equal(dp_parse_u32("4294967296", 0, UINT32_MAX, &v), -ERANGE);
	assert_true(v == UINT32_MAX);
}

static void booleans_are_read_as_users_write_them(void **state)
{
	static const char *const yes[] = { "true", "1", "yes", "on" };
	static const char *const no[] = { "false", "0", "no", "off" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(yes); i++) {
		bool b = false;

		assert_int_equal(dp_parse_bool(yes[i], &b), 0);
		assert_true(b);
		assert_int_equal(dp_parse_bool(no[i], &b), 0);
		assert_false(b);
	}
}

static void other_words_are_no_booleans(void **state)
{
	static const char *const texts[] = { "", "True", "2", "y", "true ", "tru" };
	bool b = true;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(texts); i++)
		assert_int_equal(dp_parse_bool(texts[i], &b), -EINVAL);
	assert_true(b);
}

static void a_mac_address_is_read_in_transmission_order(void **state)
{
	static const uint8_t want[6] = { 0x02, 0x42, 0xac, 0x11, 0x00, 0xfF };
	uint8_t mac[6] = { 0 };

	(void)state;
	assert_int_equal(dp_parse_mac("02:42:aC:11:00:Ff", mac), 0);
	assert_memory_equal(mac, want, 6);
}

static void other_forms_are_no_mac_address(void **state)
{
	static const char *const texts[] = { "",
					     "02:42:ac:11:00",
					     "02:42:ac:11:00:0",
					     "02-42-ac-11-00-05",
					     "02:42:ac:11:00:0g",
					     "02:42:ac:11:00:055",
					     "0242ac110005",
					     "02:42:ac:11:00:05 ",
					     "02:42:ac:11:00.05",
					     "2:42:ac:11:00:005" };
	uint8_t mac[6] = { 1, 2, 3, 4, 5, 6 };
	static const uint8_t same[6] = { 1, 2, 3, 4, 5, 6 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(texts); i++)
		assert_int_equal(dp_parse_mac(texts[i], mac), -EINVAL);
	assert_memory_equal(mac, same, 6);
}

static const char *const words[] = { "parent", "vlan", NULL, "mode", "log-level", "deadline" };

static void the_nearest_word_is_found(void **state)
{
	static const struct {
		const char *typed;
		const char *meant;
	} cases[] = { { "vlna", "vlan" },      { "vlan", "vlan" },  { "parnet", "parent" },
		      { "moed", "mode" },      { "vlans", "vlan" }, { "lan", "vlan" },
		      { "loglevel", "log-level" }, { "log_level", "log-level" } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		const char *near = dp_nearest(cases[i].typed, words, DP_ARRAY_LEN(words));

		assert_non_null(near);
		assert_string_equal(near, cases[i].meant);
	}
}

static void a_word_far_from_all_has_no_nearest(void **state)
{
	static const char *const typed[] = { "", "x", "xyz", "gateway", "vxlan-something-else",
					     "ab" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(typed); i++)
		assert_null(dp_nearest(typed[i], words, DP_ARRAY_LEN(words)));
}

static void of_a_short_word_more_than_one_letter_must_be_right(void **state)
{
	static const char *const short_words[] = { "mtu" };

	(void)state;
	assert_string_equal(dp_nearest("mto", short_words, 1), "mtu");
	assert_null(dp_nearest("mxx", short_words, 1));
}

static void words_too_long_to_compare_are_far_from_all(void **state)
{
	char typed[200];

	(void)state;
	memset(typed, 'v', sizeof typed - 1);
	typed[sizeof typed - 1] = '\0';
	assert_null(dp_nearest(typed, words, DP_ARRAY_LEN(words)));
}

static void of_two_near_words_the_nearer_one_wins_wherever_it_stands(void **state)
{
	static const char *const a[] = { "abcd", "abce" };
	static const char *const b[] = { "abce", "abcd" };

	(void)state;
	assert_string_equal(dp_nearest("abce", a, 2), "abce");
	assert_string_equal(dp_nearest("abce", b, 2), "abce");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_decimal_numbers_are_read),
		cmocka_unit_test(anything_else_is_no_number),
		cmocka_unit_test(numbers_outside_the_limits_are_out_of_range),
		cmocka_unit_test(thirty_two_bits_end_where_they_end),
		cmocka_unit_test(booleans_are_read_as_users_write_them),
		cmocka_unit_test(other_words_are_no_booleans),
		cmocka_unit_test(a_mac_address_is_read_in_transmission_order),
		cmocka_unit_test(other_forms_are_no_mac_address),
		cmocka_unit_test(the_nearest_word_is_found),
		cmocka_unit_test(a_word_far_from_all_has_no_nearest),
		cmocka_unit_test(of_a_short_word_more_than_one_letter_must_be_right),
		cmocka_unit_test(words_too_long_to_compare_are_far_from_all),
		cmocka_unit_test(of_two_near_words_the_nearer_one_wins_wherever_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
