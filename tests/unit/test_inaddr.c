/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/support/unit.h"

static void addresses_are_read_and_written_canonically(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = { { "0.0.0.0", "0.0.0.0" },
		      { "10.1.2.3", "10.1.2.3" },
		      { "255.255.255.255", "255.255.255.255" },
		      { "::", "::" },
		      { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" },
		      { "::ffff:10.0.0.1", "::ffff:10.0.0.1" },
		      { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" } };
	char text[DP_ADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_addr a = addr_of(cases[i].in);

		assert_string_equal(dp_addr_format(&a, text), cases[i].out);
	}
}

static void every_number_of_an_address_and_every_length_is_written(void **state)
{
	char want[DP_PREFIX_STRLEN];
	char got[DP_PREFIX_STRLEN];

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		struct dp_addr a = { .family = AF_INET,
				     .lo = (uint64_t)i << 24 | i << 8 | (255 - i) };

		(void)snprintf(want, sizeof want, "%u.0.%u.%u", i, i, 255 - i);
		assert_string_equal(dp_addr_format(&a, got), want);
	}
	for (unsigned len = 0; len <= 128; len++) {
		struct dp_prefix p = { .addr = { .family = AF_INET6, .lo = 1 }, .len = len };

		(void)snprintf(want, sizeof want, "::1/%u", len);
		assert_string_equal(dp_prefix_format(&p, got), want);
	}
}

static void other_texts_are_no_address(void **state)
{
	static const char *const texts[] = {
		"",       "10.0.0",       "10.0.0.256", "10.0.0.1 ", "010.0.0.1",  "1.2.3.4.5",
		"::1%lo", "fe80::1%eth0", ":::",        "x",         "0x10.1.1.1", "2001:db8::1::2"
	};
	struct dp_addr a = { .family = 77 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(texts); i++)
		assert_int_equal(dp_addr_parse(texts[i], &a), -EINVAL);
	assert_int_equal(a.family, 77);
}

static void no_address_is_written_as_nothing(void **state)
{
	struct dp_addr none = { .family = AF_UNSPEC };
	char text[DP_ADDR_STRLEN] = "old";

	(void)state;
	assert_string_equal(dp_addr_format(&none, text), "");
}

static void bytes_are_in_network_order(void **state)
{
	static const uint8_t want4[4] = { 10, 1, 2, 3 };
	static const uint8_t want6[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2,
					   0,    3,    0,    4,    0, 5, 0, 6 };
	struct dp_addr a4 = addr_of("10.1.2.3");
	struct dp_addr a6 = addr_of("2001:db8:1:2:3:4:5:6");
	uint8_t b[16];

	(void)state;
	assert_int_equal(dp_addr_to_bytes(&a4, b), 4);
	assert_memory_equal(b, want4, 4);
	assert_int_equal(dp_addr_to_bytes(&a6, b), 16);
	assert_memory_equal(b, want6, 16);
}

static void order_is_by_family_then_value(void **state)
{
	static const char *const ascending[] = { "0.0.0.0", "9.255.255.255", "10.0.0.0",
						 "255.255.255.255", "::", "::1", "0:0:0:1::",
						 "2001:db8::", "ffff::" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(ascending); i++) {
		for (size_t j = 0; j < DP_ARRAY_LEN(ascending); j++) {
			struct dp_addr a = addr_of(ascending[i]);
			struct dp_addr b = addr_of(ascending[j]);
			int c = dp_addr_cmp(&a, &b);

			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
		}
	}
}

static void addition_carries_over(void **state)
{
	static const struct {
		const char *a;
		uint64_t n;
		const char *sum;
	} cases[] = { { "10.0.0.0", 0, "10.0.0.0" },
		      { "10.0.0.255", 1, "10.0.1.0" },
		      { "10.255.255.255", 1, "11.0.0.0" },
		      { "0.0.0.0", 0xffffffff, "255.255.255.255" },
		      { "2001:db8::ffff", 1, "2001:db8::1:0" },
		      { "2001:db8::ffff:ffff:ffff:ffff", 1, "2001:db8:0:1::" },
		      { "::", UINT64_MAX, "::ffff:ffff:ffff:ffff" },
		      { "::1", UINT64_MAX, "0:0:0:1::" } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_addr a = addr_of(cases[i].a);
		struct dp_addr want = addr_of(cases[i].sum);
		struct dp_addr sum = dp_addr_add(&a, cases[i].n);

		assert_int_equal(dp_addr_cmp(&sum, &want), 0);
	}
}

static void prefixes_keep_their_host_bits_when_read(void **state)
{
	struct dp_prefix p = prefix_of("10.1.2.3/8");
	char text[DP_PREFIX_STRLEN];

	(void)state;
	assert_string_equal(dp_prefix_format(&p, text), "10.1.2.3/8");
}

static void the_longest_text_fits(void **state)
{
	static const char longest[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128";
	struct dp_prefix p = prefix_of(longest);
	char text[DP_PREFIX_STRLEN];

	(void)state;
	assert_string_equal(dp_prefix_format(&p, text), longest);
}

static void other_texts_are_no_prefix(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = { { "", -EINVAL },
		      { "10.0.0.0", -EINVAL },
		      { "10.0.0.0/", -EINVAL },
		      { "/8", -EINVAL },
		      { "10.0.0.0/+8", -EINVAL },
		      { "10.0.0.0/8/8", -EINVAL },
		      { "10.0.0.0/ 8", -EINVAL },
		      { "10.0.0.0/33", -ERANGE },
		      { "10.0.0.0/4294967304", -ERANGE },
		      { "::/129", -ERANGE },
		      { "10.0.0/8", -EINVAL },
		      { "1111111111111111111111111111111111111111111111111111111111111111/8",
			-EINVAL } };
	struct dp_prefix p = { .len = 77 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++)
		assert_int_equal(dp_prefix_parse(cases[i].text, &p), cases[i].r);
	assert_int_equal(p.len, 77);
}

static void masking_clears_the_host_bits_at_every_length(void **state)
{
	static const struct {
		const char *in;
		const char *first;
		const char *last;
	} cases[] = {
		{ "10.1.2.3/0", "0.0.0.0", "255.255.255.255" },
		{ "255.1.2.3/1", "128.0.0.0", "255.255.255.255" },
		{ "10.1.2.3/8", "10.0.0.0", "10.255.255.255" },
		{ "10.1.2.3/31", "10.1.2.2", "10.1.2.3" },
		{ "10.1.2.3/32", "10.1.2.3", "10.1.2.3" },
		{ "2001:db8::5/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "2001:db8:1:2:3::/48", "2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff" },
		{ "2001:db8:1:2:3::/63", "2001:db8:1:2::", "2001:db8:1:3:ffff:ffff:ffff:ffff" },
		{ "2001:db8:1:2:3::/64", "2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff" },
		{ "2001:db8:1:2:f::/65", "2001:db8:1:2::", "2001:db8:1:2:7fff:ffff:ffff:ffff" },
		{ "2001:db8::5/127", "2001:db8::4", "2001:db8::5" },
		{ "2001:db8::5/128", "2001:db8::5", "2001:db8::5" }
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix p = prefix_of(cases[i].in);
		struct dp_prefix m = dp_prefix_masked(&p);
		struct dp_addr first = addr_of(cases[i].first);
		struct dp_addr want = addr_of(cases[i].last);
		struct dp_addr last = dp_prefix_last(&p);

		assert_int_equal(dp_addr_cmp(&m.addr, &first), 0);
		assert_int_equal(m.len, p.len);
		assert_int_equal(dp_addr_cmp(&last, &want), 0);
	}
}

static void equality_ignores_host_bits_only(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool equal;
	} cases[] = { { "10.0.0.1/8", "10.9.9.9/8", true }, { "10.0.0.0/8", "10.0.0.0/9", false },
		      { "0.0.0.0/0", "::/0", false },       { "10.0.0.0/8", "11.0.0.0/8", false },
		      { "::1/0", "ffff::/0", true } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix a = prefix_of(cases[i].a);
		struct dp_prefix b = prefix_of(cases[i].b);

		assert_int_equal(dp_prefix_equal(&a, &b), cases[i].equal);
		assert_int_equal(dp_prefix_equal(&b, &a), cases[i].equal);
	}
}

static void an_address_is_inside_or_outside(void **state)
{
	static const struct {
		const char *prefix;
		const char *addr;
		bool inside;
	} cases[] = { { "0.0.0.0/0", "255.255.255.255", true },
		      { "10.0.0.0/31", "10.0.0.1", true },
		      { "10.0.0.0/31", "10.0.0.2", false },
		      { "10.0.0.1/32", "10.0.0.1", true },
		      { "10.0.0.1/32", "10.0.0.0", false },
		      { "0.0.0.0/0", "::1", false },
		      { "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true },
		      { "2001:db8::/64", "2001:db8:0:1::", false },
		      { "2001:db8::/127", "2001:db8::2", false },
		      { "::/0", "ffff::", true } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix p = prefix_of(cases[i].prefix);
		struct dp_addr a = addr_of(cases[i].addr);

		assert_int_equal(dp_prefix_has_addr(&p, &a), cases[i].inside);
	}
}

static void prefixes_overlap_when_one_contains_the_other(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool a_has_b;
		bool b_has_a;
	} cases[] = { { "10.0.0.0/8", "10.1.0.0/16", true, false },
		      { "10.0.0.0/8", "10.0.0.0/8", true, true },
		      { "10.0.0.0/24", "10.0.1.0/24", false, false },
		      { "0.0.0.0/0", "192.168.0.0/16", true, false },
		      { "0.0.0.0/0", "2001:db8::/32", false, false },
		      { "2001:db8::/32", "2001:db8:ffff::/48", true, false },
		      { "2001:db8::/64", "2001:db8:0:1::/64", false, false },
		      { "::/0", "::1/128", true, false } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_prefix a = prefix_of(cases[i].a);
		struct dp_prefix b = prefix_of(cases[i].b);

		assert_int_equal(dp_prefix_contains(&a, &b), cases[i].a_has_b);
		assert_int_equal(dp_prefix_contains(&b, &a), cases[i].b_has_a);
		assert_int_equal(dp_prefix_overlaps(&a, &b), cases[i].a_has_b || cases[i].b_has_a);
		assert_int_equal(dp_prefix_overlaps(&b, &a), cases[i].a_has_b || cases[i].b_has_a);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written_canonically),
		cmocka_unit_test(every_number_of_an_address_and_every_length_is_written),
		cmocka_unit_test(other_texts_are_no_address),
		cmocka_unit_test(no_address_is_written_as_nothing),
		cmocka_unit_test(bytes_are_in_network_order),
		cmocka_unit_test(order_is_by_family_then_value),
		cmocka_unit_test(addition_carries_over),
		cmocka_unit_test(prefixes_keep_their_host_bits_when_read),
		cmocka_unit_test(the_longest_text_fits),
		cmocka_unit_test(other_texts_are_no_prefix),
		cmocka_unit_test(masking_clears_the_host_bits_at_every_length),
		cmocka_unit_test(equality_ignores_host_bits_only),
		cmocka_unit_test(an_address_is_inside_or_outside),
		cmocka_unit_test(prefixes_overlap_when_one_contains_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
