/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netdriver/ifname.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_local_id_gives_its_first_twelve_digits(void **state)
{
	char name[NDRV_IFNAME_BUF];

	(void)state;
	ndrv_ifname_from_id(NDRV_PREFIX_HOST, HEX64, name);
	assert_string_equal(name, "mnv0123456789ab");
}

static void any_other_id_gives_twelve_digits_of_its_hash(void **state)
{
	static const struct {
		const char *id;
		const char *name;
	} cases[] = {
		/* FNV-1a of "" is cbf29ce484222325: low 48 bits xor cbf2 */
		{ "", "mnb9ce48422e8d7" },
		/* and of "a" is af63dc4c8601ec8c */
		{ "a", "mnbdc4c860143ef" },
	};
	char name[NDRV_IFNAME_BUF];
	char other[NDRV_IFNAME_BUF];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ndrv_ifname_bridge(cases[i].id, name);
		assert_string_equal(name, cases[i].name);
	}
	ndrv_ifname_from_id(NDRV_PREFIX_PEER, "i8vxz2j9p0k3l4m5n6o7q8r9s", name);
	assert_int_equal(strlen(name), 15);
	assert_int_equal(strspn(name + 3, "0123456789abcdef"), 12);
	ndrv_ifname_from_id(NDRV_PREFIX_PEER, "i8vxz2j9p0k3l4m5n6o7q8r9t", other);
	assert_string_not_equal(name, other);
}

static void an_id_of_64_letters_that_are_no_hex_digits_is_hashed(void **state)
{
	char name[NDRV_IFNAME_BUF];

	(void)state;
	ndrv_ifname_from_id(NDRV_PREFIX_HOST,
			    "0123456789abcdefg123456789abcdef0123456789abcdef0123456789abcdef",
			    name);
	assert_string_not_equal(name, "mnv0123456789ab");
}

static void a_vlan_is_named_after_its_parent_if_that_fits(void **state)
{
	char name[NDRV_IFNAME_BUF];

	(void)state;
	ndrv_ifname_vlan("eth0", 100, name);
	assert_string_equal(name, "eth0.100");
	ndrv_ifname_vlan("enp0s31f6x", 4094, name);
	assert_string_equal(name, "enp0s31f6x.4094");
}

static void a_vlan_whose_name_would_be_too_long_gets_a_hash(void **state)
{
	char a[NDRV_IFNAME_BUF];
	char b[NDRV_IFNAME_BUF];

	(void)state;
	ndrv_ifname_vlan("enp0s31f6xy", 4094, a);
	assert_memory_equal(a, "mnl", 3);
	assert_int_equal(strlen(a), 15);
	ndrv_ifname_vlan("enp0s31f6xy", 4093, b);
	assert_string_not_equal(a, b);
}

static void parent_and_vlan_id_are_split_at_the_last_dot(void **state)
{
	char parent[NDRV_IFNAME_BUF];
	uint16_t vid;

	(void)state;
	assert_int_equal(ndrv_ifname_split_vlan("eth0.100", parent, &vid), 0);
	assert_string_equal(parent, "eth0");
	assert_int_equal(vid, 100);
	assert_int_equal(ndrv_ifname_split_vlan("eth0.7.4094", parent, &vid), 0);
	assert_string_equal(parent, "eth0.7");
	assert_int_equal(vid, 4094);
}

static void what_is_no_vlan_spelling_is_refused_and_touches_nothing(void **state)
{
	static const char *const names[] = {
		"",
		"eth0",
		"eth0.",
		".100",
		"eth0.0",
		"eth0.4095",
		"eth0.-1",
		"eth0.1a",
		"eth0.+1",
		"eth0. 1",
		"eth0.01234567890",
		"a-very-long-parent.1",
		"a/b.1",
		"..1",
	};
	char parent[NDRV_IFNAME_BUF] = "untouched";
	uint16_t vid = 77;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(ndrv_ifname_split_vlan(names[i], parent, &vid), -EINVAL);
		assert_string_equal(parent, "untouched");
		assert_int_equal(vid, 77);
	}
}

static void names_the_kernel_takes_are_valid(void **state)
{
	static const char *const names[] = { "a",   "eth0",     "123456789012345",
					     "...", "\xc3\xb6", "br-0",
					     "a.b", "x@y" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(ndrv_ifname_validate(names[i], NULL), 0);
}

static void names_the_kernel_refuses_are_invalid_with_a_reason(void **state)
{
	static const struct {
		const char *name;
		const char *why;
	} cases[] = {
		{ "", "empty" },
		{ "1234567890123456", "15 bytes" },
		{ ".", "reserved" },
		{ "..", "reserved" },
		{ "a/b", "'/'" },
		{ "a:b", "':'" },
		{ "eth%d", "'%'" },
		{ "a b", "blank" },
		{ "a\xa0"
		  "b",
		  "blank" },
		{ "a\tb", "control" },
		{ "a\x7f", "control" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dp_error err = DP_ERROR_INIT;

		assert_int_equal(ndrv_ifname_validate(cases[i].name, &err), -EINVAL);
		assert_int_equal(err.kind, DP_ERR_INVALID);
		assert_non_null(strstr(err.msg, cases[i].why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_local_id_gives_its_first_twelve_digits),
		cmocka_unit_test(any_other_id_gives_twelve_digits_of_its_hash),
		cmocka_unit_test(an_id_of_64_letters_that_are_no_hex_digits_is_hashed),
		cmocka_unit_test(a_vlan_is_named_after_its_parent_if_that_fits),
		cmocka_unit_test(a_vlan_whose_name_would_be_too_long_gets_a_hash),
		cmocka_unit_test(parent_and_vlan_id_are_split_at_the_last_dot),
		cmocka_unit_test(what_is_no_vlan_spelling_is_refused_and_touches_nothing),
		cmocka_unit_test(names_the_kernel_takes_are_valid),
		cmocka_unit_test(names_the_kernel_refuses_are_invalid_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
