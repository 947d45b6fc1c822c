/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* `docker network create` as it arrives, decoded: a case is JSON in, a spec or a refusal out. */

#include <jansson.h>

#include "netdriver/options.h"
#include "tests/support/unit.h"

/* Decodes a network whose generic options are the JSON object @generic, and whose further options
 * are @more (", \"key\": value" or ""). */
static int decode_with(const char *generic, const char *more, const char *default_parent,
		       const char *ipv4, struct ndrv_spec *ret_spec, struct dp_error *err)
{
	char text[1024];
	json_error_t je;
	json_auto_t *options = NULL;
	json_auto_t *v4 = NULL;
	struct ndrv_network_request rq = { .id = "0123456789abcdef" };
	int r;

	(void)snprintf(text, sizeof text, "{\"com.docker.network.generic\": %s%s}", generic, more);
	options = json_loads(text, 0, &je);
	if (!options)
		fail_msg("%s: %s", text, je.text);
	v4 = json_loads(ipv4, 0, &je);
	if (!v4)
		fail_msg("%s: %s", ipv4, je.text);
	rq.options = options;
	rq.ipv4 = v4;
	r = ndrv_spec_decode(&rq, default_parent, ret_spec, err);
	return r;
}

static struct ndrv_spec decoded(const char *generic, const char *more)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec spec;

	assert_ok(decode_with(generic, more, "", "[]", &spec, &err), &err);
	return spec;
}

#define INTERNAL ", \"com.docker.network.internal\": true"
#define IPV6     ", \"com.docker.network.enable_ipv6\": true"

static void without_options_a_network_is_routed(void **state)
{
	struct ndrv_spec spec = decoded("{}", "");

	(void)state;
	assert_int_equal(spec.mode, NDRV_ROUTED);
	assert_string_equal(spec.id, "0123456789abcdef");
	assert_string_equal(spec.parent, "");
	assert_string_equal(spec.bridge, "");
	assert_string_equal(spec.iface_prefix, "eth");
	assert_int_equal(spec.vlan, 0);
	assert_int_equal(spec.mtu, 0);
	assert_false(spec.gwbridge || spec.internal || spec.ipv6);
	assert_int_equal(spec.n_subnets, 0);
}

static void a_request_without_any_map_is_the_same(void **state)
{
	struct ndrv_network_request rq = { .id = NULL };
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec spec;

	(void)state;
	assert_ok(ndrv_spec_decode(&rq, "", &spec, &err), &err);
	assert_int_equal(spec.mode, NDRV_ROUTED);
	assert_string_equal(spec.id, "");
}

static void every_option_arrives(void **state)
{
	struct ndrv_spec spec = decoded("{\"parent\":\"eth1\",\"vlan\":\"100\",\"mode\":\"l2\","
					"\"gwbridge\":\"true\","
					"\"com.docker.network.driver.mtu\":\"1400\","
					"\"com.docker.network.bridge.name\":\"br-v100\","
					"\"com.docker.network.container_iface_prefix\":\"lan\"}",
					IPV6 INTERNAL);

	(void)state;
	assert_string_equal(spec.parent, "eth1");
	assert_int_equal(spec.vlan, 100);
	assert_int_equal(spec.mode, NDRV_L2);
	assert_true(spec.gwbridge);
	assert_int_equal(spec.mtu, 1400);
	assert_string_equal(spec.bridge, "br-v100");
	assert_string_equal(spec.iface_prefix, "lan");
	assert_true(spec.ipv6);
	assert_true(spec.internal);
}

static void the_mode_follows_from_the_rest(void **state)
{
	static const struct {
		const char *generic;
		const char *more;
		enum ndrv_mode mode;
	} cases[] = { { "{}", "", NDRV_ROUTED },
		      { "{\"parent\":\"eth0\"}", "", NDRV_L2 },
		      { "{\"parent\":\"eth0\",\"vlan\":\"7\"}", "", NDRV_L2 },
		      { "{}", INTERNAL, NDRV_ISOLATED },
		      { "{\"mode\":\"isolated\"}", "", NDRV_ISOLATED },
		      { "{\"mode\":\"routed\"}", "", NDRV_ROUTED },
		      { "{\"mode\":\"routed\"}", INTERNAL, NDRV_ROUTED },
		      { "{\"mode\":\"l2\",\"parent\":\"eth0\"}", INTERNAL, NDRV_L2 } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++)
		assert_int_equal(decoded(cases[i].generic, cases[i].more).mode, cases[i].mode);
}

static void a_parent_spelled_with_a_vlan_is_taken_apart(void **state)
{
	struct ndrv_spec spec = decoded("{\"parent\":\"eth0.100\"}", "");

	(void)state;
	assert_string_equal(spec.parent, "eth0");
	assert_int_equal(spec.vlan, 100);
	assert_int_equal(spec.mode, NDRV_L2);
}

static void a_dot_that_begins_no_vlan_stays_part_of_the_name(void **state)
{
	static const char *const names[] = { "eth0.lan", "eth0.0", "eth0.4095", "eth0.", "br.x" };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(names); i++) {
		char generic[64];
		struct ndrv_spec spec;

		(void)snprintf(generic, sizeof generic, "{\"parent\":\"%s\"}", names[i]);
		spec = decoded(generic, "");
		assert_string_equal(spec.parent, names[i]);
		assert_int_equal(spec.vlan, 0);
	}
}

static void the_default_parent_serves_vlans_only(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec spec;

	(void)state;
	assert_ok(decode_with("{\"vlan\":\"5\"}", "", "bond0", "[]", &spec, &err), &err);
	assert_string_equal(spec.parent, "bond0");
	assert_int_equal(spec.mode, NDRV_L2);
	assert_ok(decode_with("{\"vlan\":\"5\",\"parent\":\"eth3\"}", "", "bond0", "[]", &spec,
			      &err),
		  &err);
	assert_string_equal(spec.parent, "eth3");
	assert_ok(decode_with("{}", "", "bond0", "[]", &spec, &err), &err);
	assert_string_equal(spec.parent, "");
	assert_int_equal(spec.mode, NDRV_ROUTED);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
	static const struct {
		const char *generic;
		const char *more;
		const char *part;
	} cases[] = {
		{ "{\"vlan\":\"0\",\"parent\":\"eth0\"}", "", "vlan: 0 is outside 1 to 4094" },
		{ "{\"vlan\":\"4095\",\"parent\":\"eth0\"}", "",
		  "vlan: 4095 is outside 1 to 4094" },
		{ "{\"vlan\":\"ten\",\"parent\":\"eth0\"}", "",
		  "vlan: 'ten' is not a whole number" },
		{ "{\"vlan\":100}", "", "vlan: expected a string, got a number" },
		{ "{\"vlan\":\"5\"}", "", "vlan=5 needs a parent" },
		{ "{\"mode\":\"l2\"}", "", "mode=l2 needs a parent" },
		{ "{\"mode\":\"nat\"}", "", "mode: 'nat' is not one of l2, isolated, routed" },
		{ "{\"mode\":\"routed\",\"parent\":\"eth0\"}", "", "mode=routed has no uplink" },
		{ "{\"mode\":\"isolated\",\"parent\":\"eth0\"}", "",
		  "mode=isolated has no uplink" },
		{ "{\"parent\":\"eth0\"}", INTERNAL,
		  "mode=isolated has no uplink: leave out parent=eth0" },
		{ "{\"parent\":\"eth0.100\",\"vlan\":\"5\"}", "", "VLAN inside a VLAN" },
		{ "{\"parent\":\"eth0/1\"}", "", "parent: " },
		{ "{\"parent\":\"\"}", "", "parent: " },
		{ "{\"parent\":\"averylonglinkname\"}", "", "parent: " },
		{ "{\"gwbridge\":\"perhaps\"}", "", "gwbridge: 'perhaps'" },
		{ "{\"com.docker.network.driver.mtu\":\"67\"}", "",
		  "com.docker.network.driver.mtu: 67" },
		{ "{\"com.docker.network.driver.mtu\":\"65536\"}", "",
		  "com.docker.network.driver.mtu: 65536" },
		{ "{\"com.docker.network.driver.mtu\":\"1279\"}", IPV6, "1279 is below 1280" },
		{ "{\"com.docker.network.bridge.name\":\"br 0\"}", "",
		  "com.docker.network.bridge.name: " },
		{ "{\"com.docker.network.container_iface_prefix\":\"a:\"}", "",
		  "com.docker.network.container_iface_prefix: " },
		{ "{\"com.docker.network.container_iface_prefix\":\"twelveletter\"}", "",
		  "com.docker.network.container_iface_prefix: " },
		{ "{\"vlam\":\"5\"}", "", "unknown option 'vlam', did you mean 'vlan'?" },
		{ "{\"Parent\":\"eth0\"}", "", "did you mean 'parent'?" },
		{ "{\"macvlan_mode\":\"bridge\"}", "", "unknown option 'macvlan_mode'" },
		{ "[]", "", "com.docker.network.generic: expected an object" },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct ndrv_spec spec = { .mtu = 4711 };
		struct dp_error err = DP_ERROR_INIT;
		int r = decode_with(cases[i].generic, cases[i].more, "", "[]", &spec, &err);

		assert_refused(r, -EINVAL, &err, cases[i].part);
		assert_int_equal(err.kind, DP_ERR_INVALID);
		assert_int_equal(spec.mtu, 4711);
	}
}

static void limits_themselves_are_accepted(void **state)
{
	(void)state;
	assert_int_equal(decoded("{\"parent\":\"e\",\"vlan\":\"1\"}", "").vlan, 1);
	assert_int_equal(decoded("{\"parent\":\"e\",\"vlan\":\"4094\"}", "").vlan, 4094);
	assert_int_equal(decoded("{\"com.docker.network.driver.mtu\":\"68\"}", "").mtu, 68);
	assert_int_equal(decoded("{\"com.docker.network.driver.mtu\":\"65535\"}", "").mtu, 65535);
	assert_int_equal(decoded("{\"com.docker.network.driver.mtu\":\"1280\"}", IPV6).mtu, 1280);
	assert_string_equal(decoded("{\"parent\":\"fifteen-letters\"}", "").parent,
			    "fifteen-letters");
}

static void options_of_the_engine_itself_are_passed_over(void **state)
{
	struct ndrv_spec spec = decoded("{\"com.docker.network.bridge.default_bridge\":\"false\"}",
					", \"com.docker.network.windowsshim.x\": 1");

	(void)state;
	assert_int_equal(spec.mode, NDRV_ROUTED);
}

/* ---- subnets ---- */

static void subnets_are_masked_and_keep_their_gateways(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	char text[DP_PREFIX_STRLEN];
	struct ndrv_spec spec;

	(void)state;
	assert_ok(
		decode_with(
			"{}", "", "",
			"[{\"Pool\":\"10.1.0.9/24\",\"Gateway\":\"10.1.0.1/24\",\"AddressSpace\":\"local\"},"
			"{\"Pool\":\"10.2.0.0/24\"}, {\"Pool\":\"\"}, {}]",
			&spec, &err),
		&err);
	assert_int_equal(spec.n_subnets, 2);
	assert_string_equal(dp_prefix_format(&spec.subnets[0].pool, text), "10.1.0.0/24");
	assert_string_equal(dp_prefix_format(&spec.subnets[0].gateway, text), "10.1.0.1/24");
	assert_int_equal(spec.subnets[1].gateway.addr.family, AF_UNSPEC);
}

static void bad_subnets_are_refused_by_value(void **state)
{
	static const struct {
		const char *ipv4;
		const char *part;
	} cases[] = { { "[{\"Pool\":\"10.1.0.0\"}]", "Pool: '10.1.0.0'" },
		      { "[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1\"}]",
			"Gateway: '10.1.0.1'" },
		      { "[{\"Pool\":5}]", "Pool: expected a string" },
		      { "[5]", "expected a JSON object" } };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ndrv_spec spec;
		int r = decode_with("{}", "", "", cases[i].ipv4, &spec, &err);

		assert_refused(r, -EINVAL, &err, cases[i].part);
	}
}

static void sixteen_subnets_fit_and_no_more(void **state)
{
	char text[1024] = "[";
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec spec;

	(void)state;
	for (unsigned i = 0; i < NDRV_MAX_SUBNETS; i++) {
		size_t n = strlen(text);

		(void)snprintf(text + n, sizeof text - n, "%s{\"Pool\":\"10.0.%u.0/24\"}",
			       i ? "," : "", i);
	}
	strcat(text, "]");
	assert_ok(decode_with("{}", "", "", text, &spec, &err), &err);
	assert_int_equal(spec.n_subnets, NDRV_MAX_SUBNETS);
	strcpy(text + strlen(text) - 1, ",{\"Pool\":\"10.1.0.0/24\"}]");
	assert_refused(decode_with("{}", "", "", text, &spec, &err), -EINVAL, &err, "more than 16");
}

/* ---- equality ---- */

static void equal_requests_give_equal_specs(void **state)
{
	struct ndrv_spec a = decoded("{\"parent\":\"eth0.100\"}", "");
	struct ndrv_spec b = decoded("{\"parent\":\"eth0\",\"vlan\":\"100\"}", "");

	(void)state;
	assert_true(ndrv_spec_equal(&a, &b));
}

static void any_difference_makes_specs_unequal(void **state)
{
	static const char *const generics[] = {
		"{\"parent\":\"eth0\",\"vlan\":\"100\"}",
		"{\"parent\":\"eth1\",\"vlan\":\"100\"}",
		"{\"parent\":\"eth0\",\"vlan\":\"101\"}",
		"{\"parent\":\"eth0\"}",
		"{\"parent\":\"eth0\",\"vlan\":\"100\",\"gwbridge\":\"true\"}",
		"{\"parent\":\"eth0\",\"vlan\":\"100\",\"com.docker.network.driver.mtu\":\"1400\"}",
		"{\"parent\":\"eth0\",\"vlan\":\"100\",\"com.docker.network.bridge.name\":\"b\"}",
		"{\"parent\":\"eth0\",\"vlan\":\"100\",\"com.docker.network.container_iface_prefix\":\"p\"}",
		"{\"mode\":\"isolated\"}",
		"{\"mode\":\"routed\"}",
	};
	struct ndrv_spec with_v6 = decoded(generics[0], IPV6);
	struct ndrv_spec without = decoded(generics[0], "");

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(generics); i++) {
		for (size_t j = 0; j < DP_ARRAY_LEN(generics); j++) {
			struct ndrv_spec a = decoded(generics[i], "");
			struct ndrv_spec b = decoded(generics[j], "");

			assert_int_equal(ndrv_spec_equal(&a, &b), i == j);
		}
	}
	assert_false(ndrv_spec_equal(&with_v6, &without));
}

static void other_subnets_or_gateways_make_specs_unequal(void **state)
{
	static const char *const lists[] = {
		"[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1/24\"}]",
		"[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.2/24\"}]",
		"[{\"Pool\":\"10.1.0.0/24\"}]",
		"[{\"Pool\":\"10.1.0.0/25\",\"Gateway\":\"10.1.0.1/24\"}]",
		"[]",
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(lists); i++) {
		for (size_t j = 0; j < DP_ARRAY_LEN(lists); j++) {
			struct dp_error err = DP_ERROR_INIT;
			struct ndrv_spec a;
			struct ndrv_spec b;

			assert_ok(decode_with("{}", "", "", lists[i], &a, &err), &err);
			assert_ok(decode_with("{}", "", "", lists[j], &b, &err), &err);
			assert_int_equal(ndrv_spec_equal(&a, &b), i == j);
		}
	}
}

/* ---- ids, gateways, MACs ---- */

static void ids_are_letters_digits_and_a_few_signs(void **state)
{
	static const char *const bad[] = {
		NULL,
		"",
		"a b",
		"a/b",
		"..\x01",
		"ä",
		"12345678901234567890123456789012345678901234567890123456789012345"
	};
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(ndrv_id_check("network", "A-z_0.9", &err), &err);
	assert_ok(ndrv_id_check("network",
				"1234567890123456789012345678901234567890123456789012345678901234",
				&err),
		  &err);
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++)
		assert_refused(ndrv_id_check("endpoint", bad[i], &err), -EINVAL, &err,
			       "endpoint id");
}

static void modes_are_read_back_by_their_names(void **state)
{
	enum ndrv_mode mode;

	(void)state;
	for (unsigned i = NDRV_L2; i <= NDRV_ROUTED; i++) {
		assert_int_equal(ndrv_mode_parse(ndrv_mode_name((enum ndrv_mode)i), &mode), 0);
		assert_int_equal(mode, i);
	}
	assert_int_equal(ndrv_mode_parse("nat", &mode), -EINVAL);
}

static void a_container_gets_the_gateway_of_its_subnet(void **state)
{
	struct dp_addr inside = addr_of("10.2.0.7");
	struct dp_addr outside = addr_of("10.3.0.7");
	struct dp_addr none = { .family = AF_UNSPEC };
	struct dp_error err = DP_ERROR_INIT;
	const struct dp_addr *gw;
	struct ndrv_spec spec;
	char text[DP_ADDR_STRLEN];

	(void)state;
	assert_ok(decode_with("{}", "", "",
			      "[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1/24\"},"
			      "{\"Pool\":\"10.2.0.0/24\",\"Gateway\":\"10.2.0.1/24\"}]",
			      &spec, &err),
		  &err);
	gw = ndrv_spec_gateway(&spec, &inside);
	assert_non_null(gw);
	assert_string_equal(dp_addr_format(gw, text), "10.2.0.1");
	assert_null(ndrv_spec_gateway(&spec, &outside));
	assert_null(ndrv_spec_gateway(&spec, &none));
}

static void some_networks_announce_no_gateway(void **state)
{
	static const struct {
		const char *generic;
		const char *more;
	} cases[] = { { "{\"mode\":\"isolated\"}", "" },
		      { "{\"gwbridge\":\"true\"}", "" },
		      { "{\"mode\":\"routed\"}", INTERNAL },
		      { "{\"mode\":\"l2\",\"parent\":\"eth0\"}", INTERNAL } };
	struct dp_addr a = addr_of("10.1.0.7");

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ndrv_spec spec;

		assert_ok(decode_with(cases[i].generic, cases[i].more, "",
				      "[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1/24\"}]",
				      &spec, &err),
			  &err);
		assert_null(ndrv_spec_gateway(&spec, &a));
	}
}

static void a_mac_is_local_unicast_and_stays_with_its_address(void **state)
{
	struct ndrv_spec here = decoded("{\"parent\":\"eth0\",\"vlan\":\"100\"}", "");
	struct ndrv_spec there = decoded("{\"parent\":\"bond7\",\"vlan\":\"100\"}", "");
	struct ndrv_spec other = decoded("{\"parent\":\"eth0\",\"vlan\":\"101\"}", "");
	struct dp_addr a = addr_of("10.1.0.7");
	struct dp_addr b = addr_of("10.1.0.8");
	uint8_t mac[4][6];

	(void)state;
	ndrv_mac_derive(&here, &a, mac[0]);
	ndrv_mac_derive(&there, &a, mac[1]);
	ndrv_mac_derive(&other, &a, mac[2]);
	ndrv_mac_derive(&here, &b, mac[3]);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(mac[i][0] & 3, 2);
	assert_memory_equal(mac[0], mac[1], 6); /* another host of the VLAN */
	assert_memory_not_equal(mac[0], mac[2], 6);
	assert_memory_not_equal(mac[0], mac[3], 6);
}

/* IPv4Data of one pool, with more of its keys in @more. */
static struct ndrv_spec decoded_data(const char *more)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec spec;
	char text[200];

	(void)snprintf(text, sizeof text, "[{\"Pool\": \"10.1.0.0/24\"%s}]", more);
	assert_ok(decode_with("{}", "", "", text, &spec, &err), &err);
	return spec;
}

static void a_subnet_of_the_local_book_is_known_as_one(void **state)
{
	struct ndrv_spec ours = decoded_data(", \"AddressSpace\": \"local\"");
	struct ndrv_spec other = decoded_data(", \"AddressSpace\": \"LocalDefault\"");
	struct ndrv_spec none = decoded_data("");

	(void)state;
	assert_true(ours.subnets[0].local_book);
	assert_false(other.subnets[0].local_book);
	assert_false(none.subnets[0].local_book);
	assert_true(ndrv_spec_equal(&ours, &none)); /* a record of before that was noted */
}

static int aux_of(const char *ipv4, char **ret_aux, struct dp_error *err)
{
	json_auto_t *v4 = json_loads(ipv4, 0, NULL);
	struct ndrv_network_request rq = { .ipv4 = v4 };

	assert_non_null(v4);
	return ndrv_aux_decode(&rq, ret_aux, err);
}

static void auxiliary_addresses_of_all_subnets_are_kept(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	char *aux = NULL;

	(void)state;
	assert_ok(aux_of("[{\"Pool\": \"10.1.0.0/24\", \"AuxAddresses\": null}]", &aux, &err), &err);
	assert_null(aux);
	assert_ok(aux_of("[{\"AuxAddresses\": {\"a\": \"10.1.0.9/24\", \"b\": \"10.1.0.8/24\"}},"
			 " {\"AuxAddresses\": {\"c\": \"10.2.0.9/24\"}}]",
			 &aux, &err),
		  &err);
	assert_string_equal(aux, "10.1.0.9 10.1.0.8 10.2.0.9");
	free(aux);
	aux = NULL;
	assert_refused(aux_of("[{\"AuxAddresses\": {\"a\": \"10.1\"}}]", &aux, &err), -EINVAL, &err,
		       "'10.1'");
	assert_refused(aux_of("[{\"AuxAddresses\": {\"a\": 7}}]", &aux, &err), -EINVAL, &err,
		       "AuxAddresses");
	assert_null(aux);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_options_a_network_is_routed),
		cmocka_unit_test(a_request_without_any_map_is_the_same),
		cmocka_unit_test(every_option_arrives),
		cmocka_unit_test(the_mode_follows_from_the_rest),
		cmocka_unit_test(a_parent_spelled_with_a_vlan_is_taken_apart),
		cmocka_unit_test(a_dot_that_begins_no_vlan_stays_part_of_the_name),
		cmocka_unit_test(the_default_parent_serves_vlans_only),
		cmocka_unit_test(what_cannot_be_is_refused_by_name),
		cmocka_unit_test(limits_themselves_are_accepted),
		cmocka_unit_test(options_of_the_engine_itself_are_passed_over),
		cmocka_unit_test(subnets_are_masked_and_keep_their_gateways),
		cmocka_unit_test(a_subnet_of_the_local_book_is_known_as_one),
		cmocka_unit_test(auxiliary_addresses_of_all_subnets_are_kept),
		cmocka_unit_test(bad_subnets_are_refused_by_value),
		cmocka_unit_test(sixteen_subnets_fit_and_no_more),
		cmocka_unit_test(equal_requests_give_equal_specs),
		cmocka_unit_test(any_difference_makes_specs_unequal),
		cmocka_unit_test(other_subnets_or_gateways_make_specs_unequal),
		cmocka_unit_test(ids_are_letters_digits_and_a_few_signs),
		cmocka_unit_test(modes_are_read_back_by_their_names),
		cmocka_unit_test(a_container_gets_the_gateway_of_its_subnet),
		cmocka_unit_test(some_networks_announce_no_gateway),
		cmocka_unit_test(a_mac_is_local_unicast_and_stays_with_its_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
