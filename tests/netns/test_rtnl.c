/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Links of a real kernel. `ip` is the second opinion: what it prints about the namespace before
 * and after shows that nothing is left behind and nothing of others is touched.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "netdriver/rtnl.h"
#include "tests/support/netns.h"

#define BRIDGE_ALIAS "mynetworkplugin:bridge:b1"
#define VETH_ALIAS   "mynetworkplugin:veth:e1"
#define PEER_ALIAS   "mynetworkplugin:peer:e1"

static struct ndrv_rtnl *rtnl;
static const char *foreign; /* a kind of link that we never make and this kernel has */
static struct dp_error err;

static const struct ndrv_bridge_spec bridge_spec = { .name = "mnb1",
						     .alias = BRIDGE_ALIAS,
						     .up = true };
static const struct ndrv_veth_spec veth_spec = { .name = "mnv1",
						 .alias = VETH_ALIAS,
						 .up = true,
						 .peer_name = "mnc1",
						 .peer_alias = PEER_ALIAS };

static int setup(void **state)
{
	(void)state;
	err = (struct dp_error)DP_ERROR_INIT;
	return ndrv_rtnl_open(&rtnl, &err);
}

/* Deletes every link but lo, whoever made it. */
static int teardown(void **state)
{
	(void)state;
	ndrv_rtnl_close(rtnl);
	rtnl = NULL;
	netns_do("for i in $(ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).*/\\1/p'); do "
		 "test $i = lo || ip link del $i 2>/dev/null || true; done");
	return 0;
}

/* All links as `ip` shows them, without what changes by itself. */
static char *snapshot_of(const char *which)
{
	return netns_run("ip -d link show %s | sed 's/[a-z]*_timer *[0-9.]*//g; s/qdisc [a-z_]*//; "
			 "s/ state [A-Z]*//'",
			 which);
}

static char *snapshot(void)
{
	return snapshot_of("");
}

static int make_bridge(const struct ndrv_bridge_spec *spec)
{
	int ifindex = 0;

	if (ndrv_rtnl_create_bridge(rtnl, spec, &ifindex, &err) < 0)
		fail_msg("%s", err.msg);
	return ifindex;
}

static int make_veth(const struct ndrv_veth_spec *spec)
{
	int ifindex = 0;

	if (ndrv_rtnl_create_veth(rtnl, spec, &ifindex, NULL, &err) < 0)
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

static bool exists(const char *name)
{
	struct ndrv_link link;

	return ndrv_rtnl_get_link_by_name(rtnl, name, &link, NULL) == 0;
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' does not contain '%s'", text, part);
}

static void assert_failed(int r, int code, enum dp_err_kind kind)
{
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	assert_int_equal(err.kind, kind);
}

/* --- making --------------------------------------------------------------------------------- */

static void a_new_bridge_is_as_specified(void **state)
{
	static const uint8_t mac[6] = { 2, 0x42, 1, 2, 3, 4 };
	struct ndrv_bridge_spec spec = bridge_spec;
	auto_free char *shown = NULL;
	struct ndrv_link link;
	int ifindex;

	(void)state;
	spec.mtu = 1400;
	memcpy(spec.mac, mac, sizeof mac);
	ifindex = make_bridge(&spec);
	link = look("mnb1");
	assert_int_equal(link.ifindex, ifindex);
	assert_string_equal(link.kind, "bridge");
	assert_string_equal(link.alias, BRIDGE_ALIAS);
	assert_int_equal(link.mtu, 1400);
	assert_memory_equal(link.mac, mac, sizeof mac);
	assert_int_equal(link.group, 0);
	assert_true(link.up);
	shown = netns_run("ip -d link show dev mnb1");
	assert_contains(shown, "mtu 1400");
	assert_contains(shown, "02:42:01:02:03:04");
	assert_contains(shown, "alias " BRIDGE_ALIAS);
	assert_contains(shown, "stp_state 0");
}

static void a_bridge_stays_down_unless_asked_for(void **state)
{
	struct ndrv_bridge_spec spec = bridge_spec;

	(void)state;
	spec.up = false;
	(void)make_bridge(&spec);
	assert_false(look("mnb1").up);
}

static void the_mtu_of_a_bridge_does_not_follow_its_ports(void **state)
{
	static const uint32_t mtus[] = { 1400, 1500, 9000 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(mtus); i++) {
		struct ndrv_bridge_spec spec = bridge_spec;

		spec.mtu = mtus[i];
		(void)make_bridge(&spec);
		netns_do("ip link add port0 mtu 1300 type %s; ip link set port0 master mnb1",
			 foreign);
		assert_int_equal(look("mnb1").mtu, mtus[i]);
		netns_do("ip link del port0; ip link del mnb1");
	}
}

static void a_bridge_with_ipv6_off_has_no_address(void **state)
{
	struct ndrv_bridge_spec spec = bridge_spec;
	auto_free char *shown = NULL;

	(void)state;
	spec.ipv6_off = true;
	(void)make_bridge(&spec);
	netns_do("ip link add port0 type %s; ip link set port0 master mnb1 up", foreign);
	shown = netns_run("ip -6 addr show dev mnb1");
	assert_string_equal(shown, "");
}

static void a_new_veth_is_up_enslaved_and_marked_on_both_ends(void **state)
{
	static const uint8_t mac[6] = { 2, 0x42, 10, 1, 0, 5 };
	struct ndrv_veth_spec spec = veth_spec;
	struct ndrv_link host;
	struct ndrv_link peer;
	int peer_ifindex;
	int ifindex;

	(void)state;
	spec.master = make_bridge(&bridge_spec);
	spec.mtu = 1450;
	spec.peer_mtu = 1440;
	memcpy(spec.peer_mac, mac, sizeof mac);
	assert_int_equal(ndrv_rtnl_create_veth(rtnl, &spec, &ifindex, &peer_ifindex, &err), 0);
	host = look("mnv1");
	peer = look("mnc1");
	assert_int_equal(host.ifindex, ifindex);
	assert_int_equal(peer.ifindex, peer_ifindex);
	assert_true(host.up && !peer.up);
	assert_int_equal(host.master, spec.master);
	assert_int_equal(host.lower, peer.ifindex);
	assert_false(host.lower_elsewhere);
	assert_string_equal(host.alias, VETH_ALIAS);
	assert_string_equal(peer.alias, PEER_ALIAS);
	assert_int_equal(host.mtu, 1450);
	assert_int_equal(peer.mtu, 1440);
	assert_memory_equal(peer.mac, mac, sizeof mac);
	assert_int_equal(host.group, 0);
	assert_int_equal(peer.group, 0);
}

static void the_host_end_of_a_veth_gets_no_ipv6_address(void **state)
{
	auto_free char *shown = NULL;

	(void)state;
	(void)make_veth(&veth_spec);
	netns_do("ip link set mnc1 up");
	shown = netns_run("ip -6 addr show dev mnv1");
	assert_string_equal(shown, "");
}

static void a_veth_whose_peer_moved_away_is_still_read_and_deleted(void **state)
{
	int ifindex = make_veth(&veth_spec);
	struct netns_child child;
	struct ndrv_link host;

	(void)state;
	netns_child_start(&child);
	netns_do("ip link set mnc1 netns %d", child.pid);
	host = look("mnv1");
	assert_true(host.lower_elsewhere);
	assert_string_equal(host.alias, VETH_ALIAS);
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, VETH_ALIAS, &err), 0);
	netns_do("! nsenter -n -t %d ip link show dev mnc1", child.pid);
	netns_child_stop(&child);
}

/* --- refusals leave everything as it was ---------------------------------------------------- */

static void a_name_taken_by_a_foreign_link_is_a_conflict_that_names_it(void **state)
{
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	int ifindex;

	(void)state;
	netns_do("ip link add mnb1 type %s", foreign);
	before = snapshot();
	assert_failed(ndrv_rtnl_create_bridge(rtnl, &bridge_spec, &ifindex, &err), -EEXIST,
		      DP_ERR_CONFLICT);
	assert_contains(err.msg, "link mnb1 exists already");
	assert_contains(err.msg, foreign);
	assert_contains(err.msg, "not made by this plugin");
	after = snapshot();
	assert_string_equal(before, after);
}

static void a_name_taken_by_a_link_of_ours_is_a_conflict_that_names_its_alias(void **state)
{
	int ifindex;

	(void)state;
	(void)make_bridge(&bridge_spec);
	assert_failed(ndrv_rtnl_create_bridge(rtnl, &bridge_spec, &ifindex, &err), -EEXIST,
		      DP_ERR_CONFLICT);
	assert_contains(err.msg, BRIDGE_ALIAS);
	assert_true(exists("mnb1"));
}

/* One way to fail; run by @refused_veth. */
struct veth_case {
	const char *name;
	struct ndrv_veth_spec spec;
	int code;
	enum dp_err_kind kind; /* NONE: depends on whether this kernel explains itself */
	const char *text;      /* part of the error */
};

/* clang-format off */
static const struct veth_case veth_cases[] = {
	{ "no such master",
	  { .name = "mnv1", .alias = VETH_ALIAS, .master = 9999, .peer_name = "mnc1",
	    .peer_alias = PEER_ALIAS },
	  -EINVAL, DP_ERR_NONE, "create veth mnv1" },
	{ "master is no bridge",
	  { .name = "mnv1", .alias = VETH_ALIAS, .master = 1, .peer_name = "mnc1",
	    .peer_alias = PEER_ALIAS },
	  -EOPNOTSUPP, DP_ERR_UNSUPPORTED, "create veth mnv1" },
	{ "peer name taken",
	  { .name = "mnv1", .alias = VETH_ALIAS, .peer_name = "taken", .peer_alias = PEER_ALIAS },
	  -EEXIST, DP_ERR_CONFLICT, "link taken exists already (" },
	{ "both ends of one name",
	  { .name = "mnv1", .alias = VETH_ALIAS, .peer_name = "mnv1", .peer_alias = PEER_ALIAS },
	  -EEXIST, DP_ERR_CONFLICT, "mnv1" },
	{ "mtu out of range",
	  { .name = "mnv1", .alias = VETH_ALIAS, .mtu = 70000, .peer_name = "mnc1",
	    .peer_alias = PEER_ALIAS },
	  -EINVAL, DP_ERR_NONE, "create veth mnv1" },
	{ "peer mtu out of range",
	  { .name = "mnv1", .alias = VETH_ALIAS, .peer_mtu = 20, .peer_name = "mnc1",
	    .peer_alias = PEER_ALIAS },
	  -EINVAL, DP_ERR_NONE, "create veth mnv1" },
	{ "multicast MAC",
	  { .name = "mnv1", .alias = VETH_ALIAS, .peer_mac = { 1, 0, 0, 0, 0, 1 },
	    .peer_name = "mnc1", .peer_alias = PEER_ALIAS },
	  -EADDRNOTAVAIL, DP_ERR_INTERNAL, "create veth mnv1" },
	{ "name too long",
	  { .name = "mnv1234567890123", .alias = VETH_ALIAS, .peer_name = "mnc1",
	    .peer_alias = PEER_ALIAS },
	  -EINVAL, DP_ERR_INVALID, "not of 1 to 15 bytes" },
	{ "alias without our mark",
	  { .name = "mnv1", .alias = "whatever", .peer_name = "mnc1", .peer_alias = PEER_ALIAS },
	  -EINVAL, DP_ERR_INVALID, "not ours" },
};
/* clang-format on */

static void a_refused_veth_leaves_the_namespace_as_it_was(void **state)
{
	auto_free char *before = NULL;

	(void)state;
	netns_do("ip link add taken type %s", foreign);
	before = snapshot();
	for (size_t i = 0; i < DP_ARRAY_LEN(veth_cases); i++) {
		const struct veth_case *c = &veth_cases[i];
		auto_free char *after = NULL;
		int ifindex = -7;
		int r = ndrv_rtnl_create_veth(rtnl, &c->spec, &ifindex, NULL, &err);

		print_message("# %s: %d %s\n", c->name, r, err.msg);
		assert_int_equal(r, c->code);
		if (c->kind != DP_ERR_NONE)
			assert_int_equal(err.kind, c->kind);
		assert_contains(err.msg, c->text);
		assert_int_equal(ifindex, -7);
		after = snapshot();
		assert_string_equal(before, after);
	}
}

/* The MTU of a bridge is set after the kernel has made it, so this fails half way. */
static void a_bridge_that_fails_half_way_is_gone_again(void **state)
{
	struct ndrv_bridge_spec spec = bridge_spec;
	auto_free char *before = snapshot();
	auto_free char *after = NULL;
	int ifindex;

	(void)state;
	spec.mtu = 70000;
	assert_failed(ndrv_rtnl_create_bridge(rtnl, &spec, &ifindex, &err), -EINVAL,
		      DP_ERR_INVALID);
	assert_contains(err.msg, "mark and set up bridge mnb1: Invalid argument: mtu greater");
	after = snapshot();
	assert_string_equal(before, after);
}

static void without_the_capability_the_error_is_unsupported(void **state)
{
	int ifindex;
	int r;

	(void)state;
	if (geteuid() != 0 || seteuid(65534) < 0)
		fail_msg("cannot give up root");
	r = ndrv_rtnl_create_bridge(rtnl, &bridge_spec, &ifindex, &err);
	assert_int_equal(seteuid(0), 0);
	assert_failed(r, -EPERM, DP_ERR_UNSUPPORTED);
	assert_false(exists("mnb1"));
}

/* --- reading -------------------------------------------------------------------------------- */

static void links_are_found_by_alternative_names(void **state)
{
	static const char long_name[] = "a-name-that-is-longer-than-fifteen-bytes";

	(void)state;
	netns_do("ip link add d0 type %s; ip link property add dev d0 altname short; "
		 "ip link property add dev d0 altname %s",
		 foreign, long_name);
	assert_string_equal(look("short").name, "d0");
	assert_string_equal(look(long_name).name, "d0");
}

static void a_link_that_is_not_there_is_not_found(void **state)
{
	static const char *const names[] = { "nosuch", "", "a-name-longer-than-fifteen", "a/b" };
	struct ndrv_link link;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(names); i++)
		assert_failed(ndrv_rtnl_get_link_by_name(rtnl, names[i], &link, &err), -ENODEV,
			      DP_ERR_NOT_FOUND);
	assert_failed(ndrv_rtnl_get_link_by_index(rtnl, 9999, &link, &err), -ENODEV,
		      DP_ERR_NOT_FOUND);
	assert_failed(ndrv_rtnl_get_link_by_index(rtnl, 0, &link, &err), -ENODEV, DP_ERR_NOT_FOUND);
}

static void the_list_shows_every_link_as_the_lookup_does(void **state)
{
	auto_free struct ndrv_link *links = NULL;
	struct ndrv_veth_spec spec = veth_spec;
	size_t n;

	(void)state;
	spec.master = make_bridge(&bridge_spec);
	(void)make_veth(&spec);
	assert_int_equal(ndrv_rtnl_list_links(rtnl, &links, &n, &err), 0);
	assert_int_equal(n, 4);
	assert_true(links[0].loopback && !ndrv_link_is_ours(&links[0]));
	for (size_t i = 0; i < n; i++) {
		struct ndrv_link one;

		assert_int_equal(ndrv_rtnl_get_link_by_index(rtnl, links[i].ifindex, &one, &err),
				 0);
		one.running = links[i].running; /* follows a little later */
		assert_memory_equal(&one, &links[i], sizeof one);
		assert_int_equal(ndrv_link_is_ours(&one), !one.loopback);
	}
}

static bool has_addrs(int ifindex)
{
	bool has = false;

	assert_int_equal(ndrv_rtnl_link_has_addrs(rtnl, ifindex, &has, &err), 0);
	return has;
}

static void only_addresses_beyond_the_link_count_as_the_hosts(void **state)
{
	int ifindex;

	(void)state;
	netns_do("ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up; "
		 "ip addr add 169.254.3.4/16 dev d0; ip addr add fe80::7/64 dev d0; "
		 "ip addr add 10.0.0.1/8 dev d1");
	ifindex = look("d0").ifindex;
	assert_false(has_addrs(ifindex));
	netns_do("ip addr add 2001:db8::1/64 dev d0");
	assert_true(has_addrs(ifindex));
	netns_do("ip addr del 2001:db8::1/64 dev d0; ip addr add 192.0.2.1/24 dev d0");
	assert_true(has_addrs(ifindex));
	assert_false(has_addrs(9999));
}

/* --- changing ------------------------------------------------------------------------------- */

static void a_link_can_be_changed(void **state)
{
	int bridge;
	int ifindex;

	(void)state;
	bridge = make_bridge(&bridge_spec);
	netns_do("ip link add d0 type %s", foreign);
	ifindex = look("d0").ifindex;
	assert_int_equal(ndrv_rtnl_set_up(rtnl, ifindex, true, &err), 0);
	assert_int_equal(ndrv_rtnl_set_master(rtnl, ifindex, bridge, &err), 0);
	assert_true(look("d0").up);
	assert_int_equal(look("d0").master, bridge);
}

static void a_change_can_be_taken_back(void **state)
{
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	int bridge = make_bridge(&bridge_spec);
	int ifindex;

	(void)state;
	netns_do("ip link add d0 type %s", foreign);
	before = snapshot_of("dev d0");
	ifindex = look("d0").ifindex;
	assert_int_equal(ndrv_rtnl_set_master(rtnl, ifindex, bridge, &err), 0);
	assert_int_equal(ndrv_rtnl_set_up(rtnl, ifindex, true, &err), 0);
	assert_int_equal(ndrv_rtnl_set_up(rtnl, ifindex, false, &err), 0);
	assert_int_equal(ndrv_rtnl_set_master(rtnl, ifindex, 0, &err), 0);
	after = snapshot_of("dev d0");
	assert_string_equal(before, after);
}

static void a_refused_change_says_why_in_the_kernels_words(void **state)
{
	int bridge = make_bridge(&bridge_spec);

	(void)state;
	netns_do("ip link add d0 type bridge");
	assert_failed(ndrv_rtnl_set_master(rtnl, look("d0").ifindex, bridge, &err), -ELOOP,
		      DP_ERR_INVALID);
	assert_contains(err.msg, "Can not enslave a bridge to a bridge");
	assert_failed(ndrv_rtnl_set_up(rtnl, 9999, true, &err), -ENODEV, DP_ERR_NOT_FOUND);
}

static struct dp_prefix prefix(const char *text)
{
	struct dp_prefix p;

	assert_int_equal(dp_prefix_parse(text, &p), 0);
	return p;
}

static void an_address_comes_with_its_route_and_can_be_added_twice(void **state)
{
	const struct dp_prefix v4 = prefix("10.1.2.3/24");
	const struct dp_prefix v6 = prefix("2001:db8::1/64");
	struct ndrv_bridge_spec spec = bridge_spec;
	auto_free char *shown = NULL;
	int bridge;

	(void)state;
	spec.ipv6_off = true;
	bridge = make_bridge(&spec);
	netns_do("ip link add d0 type %s; ip link set d0 up master mnb1", foreign);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ndrv_rtnl_add_address(rtnl, bridge, &v4, &err), 0);
		assert_int_equal(ndrv_rtnl_add_address(rtnl, bridge, &v6, &err), 0);
	}
	shown = netns_run("ip -o addr show dev mnb1; ip route; ip -6 route");
	assert_contains(shown, "inet 10.1.2.3/24 scope global");
	assert_contains(shown, "10.1.2.0/24 dev mnb1");
	assert_contains(shown, "2001:db8::/64 dev mnb1");
	assert_contains(shown, "inet6 2001:db8::1/64 scope global nodad");
	assert_null(strstr(shown, "tentative"));
}

static void an_address_of_another_length_is_a_conflict(void **state)
{
	const struct dp_prefix is = prefix("2001:db8::1/64");
	const struct dp_prefix wanted = prefix("2001:db8::1/48");
	int bridge = make_bridge(&bridge_spec);

	(void)state;
	assert_int_equal(ndrv_rtnl_add_address(rtnl, bridge, &is, &err), 0);
	assert_failed(ndrv_rtnl_add_address(rtnl, bridge, &wanted, &err), -EEXIST, DP_ERR_CONFLICT);
	assert_contains(err.msg, "2001:db8::1/48");
}

/* --- deleting ------------------------------------------------------------------------------- */

static void deleting_the_host_end_takes_the_peer_along_and_is_idempotent(void **state)
{
	int ifindex = make_veth(&veth_spec);

	(void)state;
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, VETH_ALIAS, &err), 0);
	assert_false(exists("mnv1") || exists("mnc1"));
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, VETH_ALIAS, &err), 0);
}

static void a_link_without_our_mark_is_never_deleted(void **state)
{
	(void)state;
	netns_do("ip link add d0 type %s; ip link set d0 alias theirs", foreign);
	assert_failed(ndrv_rtnl_delete_link(rtnl, look("d0").ifindex, NULL, &err), -EPERM,
		      DP_ERR_CONFLICT);
	assert_contains(err.msg, "link d0");
	assert_contains(err.msg, "'theirs'");
	assert_failed(ndrv_rtnl_delete_link(rtnl, look("d0").ifindex, "theirs", &err), -EPERM,
		      DP_ERR_CONFLICT);
	assert_true(exists("d0"));
}

static void a_link_with_another_alias_of_ours_is_not_deleted(void **state)
{
	int ifindex = make_bridge(&bridge_spec);

	(void)state;
	assert_failed(ndrv_rtnl_delete_link(rtnl, ifindex, BRIDGE_ALIAS "2", &err), -EPERM,
		      DP_ERR_CONFLICT);
	assert_true(exists("mnb1"));
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, ifindex, NULL, &err), 0);
	assert_false(exists("mnb1"));
}

/* A numbered veth pair; returns the index of its host end. */
static int make_numbered(int i)
{
	char text[4][64];
	const struct ndrv_veth_spec spec = { .name = text[0],
					     .alias = text[1],
					     .up = true,
					     .peer_name = text[2],
					     .peer_alias = text[3] };

	(void)snprintf(text[0], sizeof text[0], "mnv%d", i);
	(void)snprintf(text[1], sizeof text[1], "mynetworkplugin:veth:%d", i);
	(void)snprintf(text[2], sizeof text[2], "mnc%d", i);
	(void)snprintf(text[3], sizeof text[3], "mynetworkplugin:peer:%d", i);
	return make_veth(&spec);
}

static void a_group_deletion_takes_all_of_the_list_and_nothing_else(void **state)
{
	enum { N = 300 }; /* more than one batch of settings */
	struct ndrv_link_ref refs[N];
	auto_free char *before = NULL;
	auto_free char *after = NULL;

	(void)state;
	/* a foreign link in the very group that would be tried first */
	netns_do("ip link add d0 group %u type %s", NDRV_GROUP_DOOMED, foreign);
	(void)make_bridge(&bridge_spec);
	before = snapshot();
	for (int i = 0; i < N; i++)
		refs[i] = (struct ndrv_link_ref){ .ifindex = make_numbered(i) };
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs, N, &err), 0);
	after = snapshot();
	assert_string_equal(before, after);
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs, N, &err), 0);
}

static void a_group_deletion_spares_what_is_not_ours_and_reports_it(void **state)
{
	struct ndrv_link_ref refs[5];

	(void)state;
	netns_do("ip link add d0 type %s", foreign);
	refs[0] = (struct ndrv_link_ref){ .ifindex = make_numbered(0) };
	refs[1] = (struct ndrv_link_ref){ .ifindex = look("d0").ifindex };
	refs[2] = (struct ndrv_link_ref){ .ifindex = 9999 };
	refs[3] = (struct ndrv_link_ref){ .ifindex = make_numbered(1), .alias = VETH_ALIAS };
	refs[4] = (struct ndrv_link_ref){ .ifindex = make_numbered(2),
					  .alias = "mynetworkplugin:veth:2" };
	assert_failed(ndrv_rtnl_delete_links(rtnl, refs, 5, &err), -EPERM, DP_ERR_CONFLICT);
	assert_contains(err.msg, "link d0");
	assert_true(exists("d0") && exists("mnv1"));
	assert_false(exists("mnv0") || exists("mnv2"));
	assert_int_equal(look("d0").group, 0);
	assert_int_equal(look("mnv1").group, 0);
}

static void deleting_nothing_is_fine(void **state)
{
	(void)state;
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, NULL, 0, &err), 0);
}

static void what_was_left_between_creation_and_mark_is_removed(void **state)
{
	size_t n = 0;

	(void)state;
	netns_do(
		"ip link add half0 group %u type bridge; ip link add half1 group %u type veth peer "
		"name half2",
		NDRV_GROUP_UNFINISHED, NDRV_GROUP_UNFINISHED);
	/* an alias, or a kind we never make: not ours after all */
	netns_do("ip link add d0 group %u type %s; ip link add d1 group %u type bridge; "
		 "ip link set d1 alias theirs",
		 NDRV_GROUP_UNFINISHED, foreign, NDRV_GROUP_UNFINISHED);
	(void)make_bridge(&bridge_spec);
	assert_int_equal(ndrv_rtnl_delete_unfinished(rtnl, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_false(exists("half0") || exists("half1") || exists("half2"));
	assert_true(exists("d0") && exists("d1") && exists("mnb1"));
}

/* --- cost, for the log; no limits, so that a slow machine does not fail --------------------- */

static void costs_are_reported(void **state)
{
	enum { N = 100 };
	struct ndrv_link_ref refs[N];
	double start = netns_now_us();
	double made;
	double single;

	(void)state;
	for (int i = 0; i < N; i++)
		refs[i].ifindex = make_numbered(i), refs[i].alias = NULL;
	made = netns_now_us();
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, refs[0].ifindex, NULL, &err), 0);
	single = netns_now_us();
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs + 1, N - 1, &err), 0);
	print_message(
		"# veth pair created in %.0f us, deleted alone in %.0f us, in a group of %d in "
		"%.0f us each\n",
		(made - start) / N, single - made, N - 1, (netns_now_us() - single) / (N - 1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_bridge_is_as_specified),
		T(a_bridge_stays_down_unless_asked_for),
		T(the_mtu_of_a_bridge_does_not_follow_its_ports),
		T(a_bridge_with_ipv6_off_has_no_address),
		T(a_new_veth_is_up_enslaved_and_marked_on_both_ends),
		T(the_host_end_of_a_veth_gets_no_ipv6_address),
		T(a_veth_whose_peer_moved_away_is_still_read_and_deleted),
		T(a_name_taken_by_a_foreign_link_is_a_conflict_that_names_it),
		T(a_name_taken_by_a_link_of_ours_is_a_conflict_that_names_its_alias),
		T(a_refused_veth_leaves_the_namespace_as_it_was),
		T(a_bridge_that_fails_half_way_is_gone_again),
		T(without_the_capability_the_error_is_unsupported),
		T(links_are_found_by_alternative_names),
		T(a_link_that_is_not_there_is_not_found),
		T(the_list_shows_every_link_as_the_lookup_does),
		T(only_addresses_beyond_the_link_count_as_the_hosts),
		T(a_link_can_be_changed),
		T(a_change_can_be_taken_back),
		T(a_refused_change_says_why_in_the_kernels_words),
		T(an_address_comes_with_its_route_and_can_be_added_twice),
		T(an_address_of_another_length_is_a_conflict),
		T(deleting_the_host_end_takes_the_peer_along_and_is_idempotent),
		T(a_link_without_our_mark_is_never_deleted),
		T(a_link_with_another_alias_of_ours_is_not_deleted),
		T(a_group_deletion_takes_all_of_the_list_and_nothing_else),
		T(a_group_deletion_spares_what_is_not_ours_and_reports_it),
		T(deleting_nothing_is_fine),
		T(what_was_left_between_creation_and_mark_is_removed),
		T(costs_are_reported),
	};

	if (!netns_enter())
		return 0;
	if (!netns_has_tool("ip link add p0 type veth peer name p1 && ip link del p0"))
		return netns_skip_all("no iproute2, or no veth in this kernel");
	foreign = netns_has_tool("ip link add d0 type dummy && ip link del d0") ? "dummy" : "ifb";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
