/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* Facts in, the exact list of operations out, in one line of words. */

#include "netdriver/plan.h"
#include "tests/support/unit.h"

static const char *const words[] = {
	[NDRV_OP_PARENT_UP] = "parent-up",     [NDRV_OP_CREATE_BRIDGE] = "bridge",
	[NDRV_OP_BRIDGE_UP] = "bridge-up",     [NDRV_OP_CREATE_VLAN] = "vlan",
	[NDRV_OP_ENSLAVE_UPLINK] = "enslave",  [NDRV_OP_UPLINK_UP] = "uplink-up",
	[NDRV_OP_ADDRESS] = "address",         [NDRV_OP_FIREWALL] = "firewall",
};

#define BRIDGE "mnb000000000001"

static struct ndrv_spec l2(uint32_t vlan)
{
	struct ndrv_spec s = { .id = "net1", .mode = NDRV_L2, .parent = "eth0", .vlan = vlan };

	return s;
}

static struct ndrv_spec routed(void)
{
	struct ndrv_spec s = { .id = "net1", .mode = NDRV_ROUTED };

	return s;
}

static void add_subnet(struct ndrv_spec *s, const char *pool, const char *gateway)
{
	struct ndrv_subnet *subnet = &s->subnets[s->n_subnets++];

	subnet->pool = prefix_of(pool);
	if (gateway)
		subnet->gateway = prefix_of(gateway);
}

static struct ndrv_link link_of(int ifindex, const char *name, const char *kind)
{
	struct ndrv_link l = { .ifindex = ifindex, .mtu = 1500, .up = true };

	(void)snprintf(l.name, sizeof l.name, "%s", name);
	(void)snprintf(l.kind, sizeof l.kind, "%s", kind);
	return l;
}

/* A host with eth0, up, and nothing of ours. Untagged, the uplink is the parent itself. */
static struct ndrv_facts fresh_host(const struct ndrv_spec *spec)
{
	struct ndrv_facts f = { .parent = link_of(2, "eth0", "") };

	if (!spec->vlan)
		f.uplink = f.parent;
	return f;
}

static struct ndrv_link our_bridge(const struct ndrv_spec *spec)
{
	struct ndrv_link b = link_of(10, BRIDGE, "bridge");
	char key[NDRV_KEY_SIZE];

	ndrv_segment_key(spec, key);
	ndrv_alias("bridge", key, b.alias);
	return b;
}

static struct ndrv_link vlan_link(uint16_t vid, int master)
{
	struct ndrv_link v = link_of(11, "eth0.100", "vlan");

	v.vlan_id = vid;
	v.vlan_proto = 0x8100;
	v.lower = 2;
	v.master = master;
	return v;
}

static struct ndrv_plan planned(const struct ndrv_spec *spec, const struct ndrv_facts *facts)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_plan plan;

	assert_ok(ndrv_plan_segment(spec, BRIDGE, facts, &plan, &err), &err);
	return plan;
}

static void assert_plan(const struct ndrv_spec *spec, const struct ndrv_facts *facts,
			const char *want)
{
	struct ndrv_plan plan = planned(spec, facts);
	char got[256] = "";

	for (unsigned i = 0; i < plan.n_ops; i++) {
		size_t n = strlen(got);

		(void)snprintf(got + n, sizeof got - n, "%s%s", i ? " " : "",
			       words[plan.ops[i].kind]);
	}
	assert_string_equal(got, want);
}

static void refused(const struct ndrv_spec *spec, const struct ndrv_facts *facts, int code,
		    enum dp_err_kind kind, const char *part)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_plan plan = { .n_ops = 77 };

	assert_refused(ndrv_plan_segment(spec, BRIDGE, facts, &plan, &err), code, &err, part);
	assert_int_equal(err.kind, kind);
	assert_int_equal(plan.n_ops, 77);
}

/* ---- l2 ---- */

static void a_new_vlan_needs_bridge_subinterface_and_rules(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	assert_plan(&s, &f, "bridge vlan firewall");
}

static void a_parent_that_is_down_is_set_up_first(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.parent.up = false;
	assert_plan(&s, &f, "parent-up bridge vlan firewall");
}

static void a_second_network_on_the_vlan_needs_nothing_but_the_look_at_the_rules(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.bridge = our_bridge(&s);
	f.uplink = vlan_link(100, 10);
	assert_plan(&s, &f, "firewall");
}

static void an_untagged_network_takes_the_parent_itself_as_port(void **state)
{
	struct ndrv_spec s = l2(0);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	assert_plan(&s, &f, "bridge enslave firewall");
}

static void only_what_is_missing_is_repaired(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.bridge = our_bridge(&s);
	assert_plan(&s, &f, "vlan firewall"); /* the subinterface was deleted */
	f.uplink = vlan_link(100, 0);
	assert_plan(&s, &f, "enslave firewall"); /* it was taken out */
	f.uplink = vlan_link(100, 10);
	f.uplink.up = false;
	assert_plan(&s, &f, "uplink-up firewall");
	f.bridge.up = false;
	assert_plan(&s, &f, "bridge-up uplink-up firewall");
	f.bridge = (struct ndrv_link){ .ifindex = 0 };
	f.uplink = vlan_link(100, 0);
	assert_plan(&s, &f, "bridge enslave firewall"); /* the bridge was deleted */
}

static void a_vlan_that_was_there_before_is_used(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.uplink = vlan_link(100, 0);
	assert_plan(&s, &f, "bridge enslave firewall");
}

static void a_link_with_the_name_of_the_vlan_must_be_that_vlan(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.uplink = vlan_link(200, 0);
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, "is not VLAN 100 of eth0");
	f.uplink = link_of(11, "eth0.100", "dummy");
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, "is not VLAN 100 of eth0");
}

static void a_bridge_of_the_host_is_joined_directly_and_left_alone(void **state)
{
	struct ndrv_spec s = l2(0);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.parent = f.uplink = link_of(2, "br0", "bridge");
	f.parent.up = false; /* even so */
	f.uplink_has_addrs = true;
	assert_true(ndrv_plan_foreign_bridge(&s, &f));
	assert_plan(&s, &f, "firewall");
}

static void a_vlan_over_a_bridge_of_the_host_gets_a_bridge_of_its_own(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.parent = link_of(2, "br0", "bridge");
	assert_false(ndrv_plan_foreign_bridge(&s, &f));
	assert_plan(&s, &f, "bridge vlan firewall");
}

static void a_missing_parent_is_named(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = { .parent = { .ifindex = 0 } };

	(void)state;
	refused(&s, &f, -ENODEV, DP_ERR_NOT_FOUND, "parent eth0: no such link");
}

static void the_loopback_link_is_no_parent(void **state)
{
	struct ndrv_spec s = l2(0);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.parent.loopback = true;
	refused(&s, &f, -EINVAL, DP_ERR_INVALID, "loopback");
}

static void a_link_of_ours_is_no_parent(void **state)
{
	struct ndrv_spec s = l2(0);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	ndrv_alias("bridge", "eth7.9", f.parent.alias);
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, "mynetworkplugin:bridge:eth7.9");
}

static void a_vlan_inside_a_vlan_is_refused(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.parent = vlan_link(7, 0);
	refused(&s, &f, -EINVAL, DP_ERR_INVALID, "VLAN inside a VLAN");
}

static void an_uplink_with_addresses_of_the_host_is_refused(void **state)
{
	struct ndrv_spec untagged = l2(0);
	struct ndrv_spec tagged = l2(100);
	struct ndrv_facts f = fresh_host(&untagged);

	(void)state;
	f.uplink_has_addrs = true;
	refused(&untagged, &f, -EBUSY, DP_ERR_CONFLICT, "eth0 carries IP addresses of the host");
	f = fresh_host(&tagged);
	f.uplink = vlan_link(100, 0);
	f.uplink_has_addrs = true;
	refused(&tagged, &f, -EBUSY, DP_ERR_CONFLICT, "eth0.100 carries IP addresses");
}

static void addresses_that_appear_on_our_port_later_do_not_break_repair(void **state)
{
	struct ndrv_spec s = l2(0);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.bridge = our_bridge(&s);
	f.uplink.master = 10;
	f.uplink_has_addrs = true;
	assert_plan(&s, &f, "firewall");
}

static void an_uplink_that_is_port_of_another_bridge_is_refused(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.uplink = vlan_link(100, 55);
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, "port of another bridge");
}

static void a_foreign_link_with_the_name_of_our_bridge_is_refused(void **state)
{
	struct ndrv_spec s = l2(100);
	struct ndrv_facts f = fresh_host(&s);

	(void)state;
	f.bridge = link_of(10, BRIDGE, "bridge");
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, BRIDGE);
	ndrv_alias("bridge", "eth0.200", f.bridge.alias); /* ours, but of another segment */
	refused(&s, &f, -EEXIST, DP_ERR_CONFLICT, BRIDGE);
}

/* ---- isolated and routed ---- */

static void an_isolated_network_needs_bridge_and_rules(void **state)
{
	struct ndrv_spec s = { .id = "net1", .mode = NDRV_ISOLATED };
	struct ndrv_facts f = { .forwarding4 = false };

	(void)state;
	add_subnet(&s, "10.1.0.0/24", "10.1.0.1/24"); /* its gateway is not put anywhere */
	assert_plan(&s, &f, "bridge firewall");
}

static void a_routed_network_holds_its_gateways(void **state)
{
	struct ndrv_spec s = routed();
	struct ndrv_facts f = { .forwarding4 = true, .forwarding6 = true };
	struct ndrv_plan plan;
	char text[DP_PREFIX_STRLEN];

	(void)state;
	add_subnet(&s, "10.1.0.0/24", "10.1.0.1/24");
	add_subnet(&s, "10.2.0.0/24", NULL);
	add_subnet(&s, "fd00::/64", "fd00::1/64");
	assert_plan(&s, &f, "bridge address address firewall");
	plan = planned(&s, &f);
	assert_string_equal(dp_prefix_format(&plan.ops[1].address, text), "10.1.0.1/24");
	assert_string_equal(dp_prefix_format(&plan.ops[2].address, text), "fd00::1/64");
}

static void as_many_subnets_as_there_may_be_fit_a_plan(void **state)
{
	struct ndrv_spec s = routed();
	struct ndrv_facts f = { .forwarding4 = true };

	(void)state;
	while (s.n_subnets < NDRV_MAX_SUBNETS)
		add_subnet(&s, "10.1.0.0/24", "10.1.0.1/24");
	assert_int_equal(planned(&s, &f).n_ops, NDRV_MAX_SUBNETS + 2);
}

static void routing_needs_a_host_that_forwards(void **state)
{
	struct ndrv_spec v4 = routed();
	struct ndrv_spec v6 = routed();
	struct ndrv_facts neither = { .forwarding4 = false };
	struct ndrv_facts only4 = { .forwarding4 = true };

	(void)state;
	add_subnet(&v4, "10.1.0.0/24", "10.1.0.1/24");
	add_subnet(&v6, "fd00::/64", "fd00::1/64");
	refused(&v4, &neither, -EOPNOTSUPP, DP_ERR_UNSUPPORTED, "net.ipv4.ip_forward=1");
	refused(&v6, &only4, -EOPNOTSUPP, DP_ERR_UNSUPPORTED, "net.ipv6.conf.all.forwarding=1");
	assert_plan(&v4, &only4, "bridge address firewall");
}

static void without_a_gateway_nothing_has_to_be_forwarded(void **state)
{
	struct ndrv_spec s = routed();
	struct ndrv_facts f = { .forwarding4 = false };

	(void)state;
	add_subnet(&s, "10.1.0.0/24", NULL);
	assert_plan(&s, &f, "bridge firewall");
}

static void an_internal_routed_network_works_on_a_host_that_does_not_forward(void **state)
{
	struct ndrv_spec s = routed();
	struct ndrv_facts f = { .forwarding4 = false };

	(void)state;
	s.internal = true;
	add_subnet(&s, "10.1.0.0/24", "10.1.0.1/24");
	assert_plan(&s, &f, "bridge address firewall");
}

/* ---- MTU ---- */

static void the_mtu_is_the_parents_unless_asked_for_less(void **state)
{
	static const struct {
		uint32_t asked;
		uint32_t parent;
		uint32_t uplink; /* 0 = not there yet */
		uint32_t want;   /* 0 = refused */
	} cases[] = { { 0, 9000, 0, 9000 },    { 1400, 9000, 0, 1400 }, { 9000, 9000, 0, 9000 },
		      { 9001, 9000, 0, 0 },    { 0, 9000, 1496, 1496 }, { 1500, 9000, 1496, 0 },
		      { 0, 0, 0, 1500 },       { 9000, 0, 0, 9000 } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct ndrv_facts f = { .parent = { .ifindex = 0 } };
		struct dp_error err = DP_ERROR_INIT;
		struct ndrv_spec s = l2(100);
		uint32_t mtu = 0;
		int r;

		s.mtu = cases[i].asked;
		if (cases[i].parent) {
			f.parent = link_of(2, "eth0", "");
			f.parent.mtu = cases[i].parent;
		}
		if (cases[i].uplink) {
			f.uplink = vlan_link(100, 0);
			f.uplink.mtu = cases[i].uplink;
		}
		r = ndrv_plan_mtu(&s, &f, &mtu, &err);
		if (!cases[i].want) {
			assert_refused(r, -EINVAL, &err, "com.docker.network.driver.mtu");
			continue;
		}
		assert_ok(r, &err);
		assert_int_equal(mtu, cases[i].want);
	}
}

static void every_operation_has_a_name(void **state)
{
	(void)state;
	for (unsigned i = NDRV_OP_PARENT_UP; i <= NDRV_OP_FIREWALL; i++)
		assert_non_null(ndrv_op_name((enum ndrv_op_kind)i));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_vlan_needs_bridge_subinterface_and_rules),
		cmocka_unit_test(a_parent_that_is_down_is_set_up_first),
		cmocka_unit_test(
			a_second_network_on_the_vlan_needs_nothing_but_the_look_at_the_rules),
		cmocka_unit_test(an_untagged_network_takes_the_parent_itself_as_port),
		cmocka_unit_test(only_what_is_missing_is_repaired),
		cmocka_unit_test(a_vlan_that_was_there_before_is_used),
		cmocka_unit_test(a_link_with_the_name_of_the_vlan_must_be_that_vlan),
		cmocka_unit_test(a_bridge_of_the_host_is_joined_directly_and_left_alone),
		cmocka_unit_test(a_vlan_over_a_bridge_of_the_host_gets_a_bridge_of_its_own),
		cmocka_unit_test(a_missing_parent_is_named),
		cmocka_unit_test(the_loopback_link_is_no_parent),
		cmocka_unit_test(a_link_of_ours_is_no_parent),
		cmocka_unit_test(a_vlan_inside_a_vlan_is_refused),
		cmocka_unit_test(an_uplink_with_addresses_of_the_host_is_refused),
		cmocka_unit_test(addresses_that_appear_on_our_port_later_do_not_break_repair),
		cmocka_unit_test(an_uplink_that_is_port_of_another_bridge_is_refused),
		cmocka_unit_test(a_foreign_link_with_the_name_of_our_bridge_is_refused),
		cmocka_unit_test(an_isolated_network_needs_bridge_and_rules),
		cmocka_unit_test(a_routed_network_holds_its_gateways),
		cmocka_unit_test(as_many_subnets_as_there_may_be_fit_a_plan),
		cmocka_unit_test(routing_needs_a_host_that_forwards),
		cmocka_unit_test(without_a_gateway_nothing_has_to_be_forwarded),
		cmocka_unit_test(an_internal_routed_network_works_on_a_host_that_does_not_forward),
		cmocka_unit_test(the_mtu_is_the_parents_unless_asked_for_less),
		cmocka_unit_test(every_operation_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
