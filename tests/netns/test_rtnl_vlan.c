/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * 802.1Q subinterfaces of a real kernel; a program of its own because not every kernel has them.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "netdriver/rtnl.h"
#include "tests/support/netns.h"

#define ALIAS "mynetworkplugin:vlan:p0.100"

static struct ndrv_rtnl *rtnl;
static struct dp_error err;
static int parent;

/* A parent "p0" that is up, with carrier. */
static int setup(void **state)
{
	struct ndrv_link link;

	(void)state;
	err = (struct dp_error)DP_ERROR_INIT;
	netns_do("ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up");
	if (ndrv_rtnl_open(&rtnl, &err) < 0 ||
	    ndrv_rtnl_get_link_by_name(rtnl, "p0", &link, &err) < 0)
		return -1;
	parent = link.ifindex;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ndrv_rtnl_close(rtnl);
	rtnl = NULL;
	netns_do("ip link del p0; ip link del mnb1 2>/dev/null || true");
	return 0;
}

static struct ndrv_vlan_spec spec_of_100(void)
{
	return (struct ndrv_vlan_spec){
		.name = "p0.100", .alias = ALIAS, .parent = parent, .vid = 100, .up = true
	};
}

static int make(const struct ndrv_vlan_spec *spec)
{
	int ifindex = 0;

	if (ndrv_rtnl_create_vlan(rtnl, spec, &ifindex, &err) < 0)
		fail_msg("%s", err.msg);
	return ifindex;
}

static struct ndrv_link look(const char *name)
{
	struct ndrv_link link;

	if (ndrv_rtnl_get_link_by_name(rtnl, name, &link, &err) < 0)
		fail_msg("%s", err.msg);
	return link;
}

static void assert_refused(const struct ndrv_vlan_spec *spec, int code, enum dp_err_kind kind)
{
	auto_free char *before = netns_run("ip -d link");
	auto_free char *after = NULL;
	int ifindex = -7;

	assert_int_equal(ndrv_rtnl_create_vlan(rtnl, spec, &ifindex, &err), code);
	print_message("# %s\n", err.msg);
	assert_int_equal(err.kind, kind);
	assert_int_equal(ifindex, -7);
	after = netns_run("ip -d link");
	assert_string_equal(before, after);
}

static void a_new_subinterface_is_as_specified(void **state)
{
	const struct ndrv_bridge_spec bridge = { .name = "mnb1",
						 .alias = "mynetworkplugin:bridge:p0.100",
						 .up = true };
	struct ndrv_vlan_spec spec = spec_of_100();
	struct ndrv_link link;
	int ifindex;

	(void)state;
	assert_int_equal(ndrv_rtnl_create_bridge(rtnl, &bridge, &spec.master, &err), 0);
	spec.mtu = 1496;
	ifindex = make(&spec);
	link = look("p0.100");
	assert_int_equal(link.ifindex, ifindex);
	assert_string_equal(link.kind, "vlan");
	assert_string_equal(link.alias, ALIAS);
	assert_int_equal(link.lower, parent);
	assert_false(link.lower_elsewhere);
	assert_int_equal(link.vlan_id, 100);
	assert_int_equal(link.vlan_proto, 0x8100);
	assert_int_equal(link.mtu, 1496);
	assert_int_equal(link.master, spec.master);
	assert_int_equal(link.group, 0);
	assert_true(link.up);
}

static void a_subinterface_has_its_parents_mtu_unless_told(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();

	(void)state;
	netns_do("ip link set p0 mtu 1400");
	(void)make(&spec);
	assert_int_equal(look("p0.100").mtu, 1400);
}

static void a_subinterface_gets_no_ipv6_address(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();
	auto_free char *shown = NULL;

	(void)state;
	(void)make(&spec);
	shown = netns_run("ip -6 addr show dev p0.100");
	assert_string_equal(shown, "");
}

static void the_list_shows_id_and_protocol(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();
	auto_free struct ndrv_link *links = NULL;
	int ifindex = make(&spec);
	bool seen = false;
	size_t n;

	(void)state;
	netns_do("ip link add link p0 name p0.ad type vlan proto 802.1ad id 7");
	assert_int_equal(ndrv_rtnl_list_links(rtnl, &links, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		if (links[i].ifindex == ifindex)
			seen = links[i].vlan_id == 100 && links[i].vlan_proto == 0x8100;
	}
	assert_true(seen);
	assert_int_equal(look("p0.ad").vlan_id, 7);
	assert_int_equal(look("p0.ad").vlan_proto, 0x88a8);
	assert_int_equal(look("p0").vlan_id, 0);
}

static void a_vlan_that_the_parent_has_under_another_name_is_a_conflict(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();

	(void)state;
	netns_do("ip link add link p0 name theirs type vlan id 100");
	assert_refused(&spec, -EEXIST, DP_ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "create vlan p0.100"));
}

static void a_parent_that_is_not_there_is_not_found(void **state)
{
	struct ndrv_vlan_spec spec = spec_of_100();

	(void)state;
	spec.parent = 9999;
	assert_refused(&spec, -ENODEV, DP_ERR_NOT_FOUND);
}

static void vlan_ids_out_of_range_are_invalid(void **state)
{
	static const uint16_t vids[] = { 0, 4095, 65535 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(vids); i++) {
		struct ndrv_vlan_spec spec = spec_of_100();

		spec.vid = vids[i];
		assert_refused(&spec, -EINVAL, DP_ERR_INVALID);
	}
}

static void an_mtu_above_the_parents_leaves_nothing_behind(void **state)
{
	struct ndrv_vlan_spec spec = spec_of_100();
	int ifindex;
	int r;

	(void)state;
	spec.mtu = 9000;
	r = ndrv_rtnl_create_vlan(rtnl, &spec, &ifindex, &err);
	print_message("# %d %s\n", r, err.msg);
	assert_true(r < 0);
	netns_do("! ip link show dev p0.100");
}

static void a_parent_that_is_down_is_said_so_and_leaves_nothing_behind(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();

	(void)state;
	netns_do("ip link set p0 down; ip link set p1 down");
	assert_refused(&spec, -ENETDOWN, DP_ERR_UNAVAILABLE);
}

static void deleting_it_needs_its_alias_and_leaves_the_parent(void **state)
{
	const struct ndrv_vlan_spec spec = spec_of_100();
	int ifindex = make(&spec);

	(void)state;
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, ALIAS "0", &err), -EPERM);
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, ALIAS, &err), 0);
	netns_do("! ip link show dev p0.100; ip link show dev p0");
}

static void one_left_between_creation_and_mark_is_removed(void **state)
{
	size_t n;

	(void)state;
	netns_do("ip link add link p0 name p0.5 group %u type vlan id 5", NDRV_GROUP_UNFINISHED);
	assert_int_equal(ndrv_rtnl_delete_unfinished(rtnl, &n, &err), 0);
	assert_int_equal(n, 1);
	netns_do("! ip link show dev p0.5");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_subinterface_is_as_specified),
		T(a_subinterface_has_its_parents_mtu_unless_told),
		T(a_subinterface_gets_no_ipv6_address),
		T(the_list_shows_id_and_protocol),
		T(a_vlan_that_the_parent_has_under_another_name_is_a_conflict),
		T(a_parent_that_is_not_there_is_not_found),
		T(vlan_ids_out_of_range_are_invalid),
		T(an_mtu_above_the_parents_leaves_nothing_behind),
		T(a_parent_that_is_down_is_said_so_and_leaves_nothing_behind),
		T(deleting_it_needs_its_alias_and_leaves_the_parent),
		T(one_left_between_creation_and_mark_is_removed),
	};

	if (!netns_enter())
		return 0;
	if (!netns_has_tool("ip link add p0 type veth peer name p1 && "
			    "ip link add link p0 name p0.1 type vlan id 1; r=$?; "
			    "ip link del p0; exit $r"))
		return netns_skip_all("this kernel has no 802.1Q (or iproute2 or veth is missing)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
