/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "netdriver/network.h"
#include "tests/support/unit.h"

static struct ndrv_registry *registry;

static int setup(void **state)
{
	(void)state;
	return ndrv_registry_new(&registry);
}

static int teardown(void **state)
{
	(void)state;
	ndrv_registry_free(registry);
	return 0;
}

static struct ndrv_spec spec_of(const char *id, enum ndrv_mode mode, const char *parent,
				uint32_t vlan, const char *bridge)
{
	struct ndrv_spec s;

	memset(&s, 0, sizeof s);
	(void)snprintf(s.id, sizeof s.id, "%s", id);
	(void)snprintf(s.parent, sizeof s.parent, "%s", parent);
	(void)snprintf(s.bridge, sizeof s.bridge, "%s", bridge);
	s.mode = mode;
	s.vlan = vlan;
	return s;
}

static struct ndrv_network *add(const struct ndrv_spec *spec)
{
	struct ndrv_network *n = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ndrv_network_add(registry, spec, 1500, &n, &err), &err);
	return n;
}

static struct ndrv_network *add_l2(const char *id, uint32_t vlan)
{
	struct ndrv_spec s = spec_of(id, NDRV_L2, "eth0", vlan, "");

	return add(&s);
}

static struct ndrv_endpoint *add_endpoint(struct ndrv_network *n, const char *id)
{
	struct ndrv_endpoint *e = NULL;

	assert_int_equal(ndrv_endpoint_add(registry, n, id, &e), 0);
	return e;
}

static unsigned n_segments(void)
{
	unsigned n = 0;

	for (const struct ndrv_segment *s = ndrv_registry_segments(registry); s; s = s->next)
		n++;
	return n;
}

static void a_network_is_found_by_its_id(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 1);
	struct ndrv_network *b = add_l2("bbb", 2);

	(void)state;
	assert_ptr_equal(ndrv_network_find(registry, "aaa"), a);
	assert_ptr_equal(ndrv_network_find(registry, "bbb"), b);
	assert_null(ndrv_network_find(registry, "aa"));
	assert_null(ndrv_network_find(registry, ""));
}

static void a_new_network_is_pending_with_its_values(void **state)
{
	struct ndrv_spec s = spec_of("aaa", NDRV_L2, "eth0", 7, "");
	struct ndrv_network *n = add(&s);

	(void)state;
	assert_int_equal(n->state, NDRV_PENDING);
	assert_int_equal(n->mtu, 1500);
	assert_true(ndrv_spec_equal(&n->spec, &s));
	assert_int_equal(n->n_endpoints, 0);
}

static void networks_of_one_vlan_share_a_segment(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 100);
	struct ndrv_network *b = add_l2("bbb", 100);
	struct ndrv_network *c = add_l2("ccc", 101);
	struct ndrv_network *d = add_l2("ddd", 0);

	(void)state;
	assert_ptr_equal(a->segment, b->segment);
	assert_int_equal(a->segment->n_networks, 2);
	assert_ptr_not_equal(a->segment, c->segment);
	assert_ptr_not_equal(a->segment, d->segment);
	assert_string_equal(a->segment->key, "eth0.100");
	assert_string_equal(d->segment->key, "eth0");
	assert_int_equal(n_segments(), 3);
}

static void networks_without_uplink_have_a_segment_each(void **state)
{
	struct ndrv_spec a = spec_of("aaa", NDRV_ROUTED, "", 0, "");
	struct ndrv_spec b = spec_of("bbb", NDRV_ROUTED, "", 0, "");
	struct ndrv_spec c = spec_of("ccc", NDRV_ISOLATED, "", 0, "");

	(void)state;
	assert_string_equal(add(&a)->segment->key, "net:aaa");
	assert_string_equal(add(&b)->segment->key, "net:bbb");
	assert_string_equal(add(&c)->segment->key, "net:ccc");
	assert_int_equal(n_segments(), 3);
}

static void the_bridge_has_the_name_asked_for_or_a_derived_one(void **state)
{
	struct ndrv_spec named = spec_of("aaa", NDRV_L2, "eth0", 5, "br-five");
	struct ndrv_network *a = add(&named);
	struct ndrv_network *b = add_l2("bbb", 6);

	(void)state;
	assert_string_equal(a->segment->bridge, "br-five");
	assert_memory_equal(b->segment->bridge, "mnb", 3);
	assert_int_equal(strlen(b->segment->bridge), 15);
	assert_ptr_equal(ndrv_segment_by_bridge(registry, "br-five"), a->segment);
	assert_ptr_equal(ndrv_segment_by_key(registry, "eth0.6"), b->segment);
	assert_null(ndrv_segment_by_bridge(registry, "br-six"));
	assert_null(ndrv_segment_by_key(registry, "eth0.7"));
}

static void the_derived_name_depends_on_the_segment_only(void **state)
{
	struct ndrv_spec a = spec_of("aaa", NDRV_L2, "eth0", 5, "");
	struct ndrv_spec b = spec_of("bbb", NDRV_L2, "eth0", 5, "");
	struct ndrv_spec c = spec_of("aaa", NDRV_L2, "eth0", 6, "");
	char name[3][NDRV_IFNAME_BUF];

	(void)state;
	ndrv_segment_bridge(&a, name[0]);
	ndrv_segment_bridge(&b, name[1]);
	ndrv_segment_bridge(&c, name[2]);
	assert_string_equal(name[0], name[1]);
	assert_string_not_equal(name[0], name[2]);
}

static int add_fails(const struct ndrv_spec *spec, struct dp_error *err)
{
	struct ndrv_network *n = NULL;
	unsigned before = n_segments();
	int r = ndrv_network_add(registry, spec, 1500, &n, err);

	assert_true(r < 0);
	assert_null(n);
	assert_null(ndrv_network_find(registry, spec->id));
	assert_int_equal(n_segments(), before);
	return r;
}

static void a_bridge_name_is_claimed_once(void **state)
{
	struct ndrv_spec a = spec_of("aaa", NDRV_L2, "eth0", 5, "br-five");
	struct ndrv_spec b = spec_of("bbb", NDRV_L2, "eth0", 6, "br-five");
	struct ndrv_spec c = spec_of("ccc", NDRV_ROUTED, "", 0, "br-five");
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	(void)add(&a);
	assert_refused(add_fails(&b, &err), -EEXIST, &err,
		       "br-five is used by another network (eth0.5)");
	assert_int_equal(err.kind, DP_ERR_CONFLICT);
	assert_refused(add_fails(&c, &err), -EEXIST, &err, "br-five");
}

static void a_second_network_cannot_rename_the_bridge(void **state)
{
	struct ndrv_spec a = spec_of("aaa", NDRV_L2, "eth0", 5, "br-five");
	struct ndrv_spec same = spec_of("bbb", NDRV_L2, "eth0", 5, "br-five");
	struct ndrv_spec none = spec_of("ccc", NDRV_L2, "eth0", 5, "");
	struct ndrv_spec other = spec_of("ddd", NDRV_L2, "eth0", 5, "br-5");
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_network *n = add(&a);

	(void)state;
	assert_ptr_equal(add(&same)->segment, n->segment);
	assert_ptr_equal(add(&none)->segment, n->segment);
	assert_refused(add_fails(&other, &err), -EEXIST, &err, "eth0.5 already, on bridge br-five");
	assert_int_equal(n->segment->n_networks, 3);
}

static void a_segment_goes_with_its_last_network(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 100);
	struct ndrv_network *b = add_l2("bbb", 100);

	(void)state;
	ndrv_network_remove(registry, a);
	assert_int_equal(b->segment->n_networks, 1);
	assert_int_equal(n_segments(), 1);
	assert_null(ndrv_network_find(registry, "aaa"));
	ndrv_network_remove(registry, b);
	assert_int_equal(n_segments(), 0);
	assert_null(ndrv_registry_networks(registry));
}

static void an_endpoint_is_found_by_its_id(void **state)
{
	struct ndrv_network *n = add_l2("aaa", 1);
	struct ndrv_endpoint *e = add_endpoint(n, "e1");
	struct ndrv_endpoint *f = add_endpoint(n, "e2");

	(void)state;
	assert_ptr_equal(ndrv_endpoint_find(registry, "e1"), e);
	assert_ptr_equal(ndrv_endpoint_find(registry, "e2"), f);
	assert_null(ndrv_endpoint_find(registry, "aaa"));
	assert_int_equal(n->n_endpoints, 2);
	assert_ptr_equal(e->network, n);
	assert_int_equal(e->state, NDRV_PENDING);
}

static void an_endpoint_has_link_names_of_its_id(void **state)
{
	struct ndrv_endpoint *e =
		add_endpoint(add_l2("aaa", 1),
			     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");

	(void)state;
	assert_string_equal(e->link, "mnv0123456789ab");
	assert_string_equal(e->peer, "mnc0123456789ab");
}

static void a_removed_endpoint_is_forgotten_wherever_it_stood(void **state)
{
	struct ndrv_network *n = add_l2("aaa", 1);
	static const char *const ids[] = { "e1", "e2", "e3" };

	(void)state;
	for (size_t gone = 0; gone < 3; gone++) {
		for (size_t i = 0; i < 3; i++)
			(void)add_endpoint(n, ids[i]);
		ndrv_endpoint_remove(registry, ndrv_endpoint_find(registry, ids[gone]));
		assert_int_equal(n->n_endpoints, 2);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(ndrv_endpoint_find(registry, ids[i]) == NULL, i == gone);
		while (n->endpoints)
			ndrv_endpoint_remove(registry, n->endpoints);
		assert_int_equal(n->n_endpoints, 0);
	}
}

static void endpoints_go_with_their_network(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 1);
	struct ndrv_network *b = add_l2("bbb", 1);

	(void)state;
	(void)add_endpoint(a, "e1");
	(void)add_endpoint(b, "e2");
	ndrv_network_remove(registry, a);
	assert_null(ndrv_endpoint_find(registry, "e1"));
	assert_non_null(ndrv_endpoint_find(registry, "e2"));
}

static void an_endpoint_is_found_by_either_address_in_its_network(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 1);
	struct ndrv_network *b = add_l2("bbb", 2);
	struct ndrv_endpoint *e = add_endpoint(a, "e1");
	struct dp_prefix addr4 = prefix_of("10.0.0.5/24");
	struct dp_prefix addr6 = prefix_of("fd00::5/64");
	struct dp_prefix none = { .len = 0 };
	struct dp_addr v4 = addr_of("10.0.0.5");
	struct dp_addr v6 = addr_of("fd00::5");
	struct dp_addr other = addr_of("10.0.0.6");

	(void)state;
	assert_int_equal(ndrv_endpoint_set_addresses(e, &addr4, &addr6), 0);
	assert_ptr_equal(ndrv_endpoint_by_address(a, &v4), e);
	assert_ptr_equal(ndrv_endpoint_by_address(a, &v6), e);
	assert_null(ndrv_endpoint_by_address(a, &other));
	assert_null(ndrv_endpoint_by_address(b, &v4));
	assert_int_equal(ndrv_endpoint_set_addresses(e, &none, &addr6), 0);
	assert_null(ndrv_endpoint_by_address(a, &v4));
	assert_ptr_equal(ndrv_endpoint_by_address(a, &v6), e);
	ndrv_endpoint_remove(registry, e);
	assert_null(ndrv_endpoint_by_address(a, &v6));
}

static void an_address_is_not_taken_for_one_of_the_other_family(void **state)
{
	struct ndrv_network *n = add_l2("aaa", 1);
	struct ndrv_endpoint *e = add_endpoint(n, "e1");
	struct ndrv_endpoint *f = add_endpoint(n, "e2");
	struct dp_prefix addr4 = prefix_of("10.0.0.5/24");
	struct dp_prefix addr6 = prefix_of("::10.0.0.5/64");
	struct dp_prefix none = { .len = 0 };

	(void)state;
	assert_int_equal(ndrv_endpoint_set_addresses(e, &addr4, &none), 0);
	assert_int_equal(ndrv_endpoint_set_addresses(f, &none, &addr6), 0);
	assert_ptr_equal(ndrv_endpoint_by_address(n, &addr4.addr), e);
	assert_ptr_equal(ndrv_endpoint_by_address(n, &addr6.addr), f);
}

static void a_segment_knows_how_many_networks_want_it(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 100);
	struct ndrv_network *b = add_l2("bbb", 100);

	(void)state;
	assert_int_equal(a->segment->n_wanted, 2);
	ndrv_network_set_state(a, NDRV_READY);
	assert_int_equal(a->segment->n_wanted, 2);
	ndrv_network_set_state(a, NDRV_DELETING);
	ndrv_network_set_state(a, NDRV_DELETING);
	assert_int_equal(a->segment->n_wanted, 1);
	ndrv_network_remove(registry, a);
	assert_int_equal(b->segment->n_wanted, 1);
}

static void a_segment_is_found_by_the_bridge_it_got_later(void **state)
{
	struct ndrv_network *a = add_l2("aaa", 5);
	char derived[NDRV_IFNAME_BUF];

	(void)state;
	memcpy(derived, a->segment->bridge, sizeof derived);
	ndrv_segment_set_bridge(a->segment, "br-lan");
	assert_ptr_equal(ndrv_segment_by_bridge(registry, "br-lan"), a->segment);
	assert_null(ndrv_segment_by_bridge(registry, derived));
}

static void a_thousand_endpoints_are_all_found(void **state)
{
	struct ndrv_network *n = add_l2("aaa", 1);
	char id[16];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(id, sizeof id, "e%u", i * 7919 % 1000);
		(void)add_endpoint(n, id);
	}
	for (unsigned i = 0; i < 1000; i += 2) {
		(void)snprintf(id, sizeof id, "e%u", i);
		ndrv_endpoint_remove(registry, ndrv_endpoint_find(registry, id));
	}
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(id, sizeof id, "e%u", i);
		assert_int_equal(ndrv_endpoint_find(registry, id) != NULL, i % 2);
	}
	assert_int_equal(n->n_endpoints, 500);
}

static void endpoints_come_in_pages_by_id_whatever_their_network(void **state)
{
	struct ndrv_network *networks[] = { add_l2("aaa", 1), add_l2("bbb", 2), add_l2("ccc", 3) };
	const struct ndrv_endpoint *page[7];
	char after[NDRV_ID_SIZE] = "";
	unsigned seen = 0;
	char id[16];
	size_t n;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof id, "e%02u", i * 37 % 100);
		(void)add_endpoint(networks[i % 3], id);
	}
	while ((n = ndrv_endpoint_page(registry, after, page, 7))) {
		for (size_t i = 0; i < n; i++, seen++) {
			(void)snprintf(id, sizeof id, "e%02u", seen);
			assert_string_equal(page[i]->id, id);
		}
		assert_true(n == 7 || seen == 100);
		(void)snprintf(after, sizeof after, "%s", page[n - 1]->id);
	}
	assert_int_equal(seen, 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_network_is_found_by_its_id),
		TEST(a_new_network_is_pending_with_its_values),
		TEST(networks_of_one_vlan_share_a_segment),
		TEST(networks_without_uplink_have_a_segment_each),
		TEST(the_bridge_has_the_name_asked_for_or_a_derived_one),
		TEST(the_derived_name_depends_on_the_segment_only),
		TEST(a_bridge_name_is_claimed_once),
		TEST(a_second_network_cannot_rename_the_bridge),
		TEST(a_segment_goes_with_its_last_network),
		TEST(a_segment_knows_how_many_networks_want_it),
		TEST(a_segment_is_found_by_the_bridge_it_got_later),
		TEST(an_endpoint_is_found_by_its_id),
		TEST(an_endpoint_has_link_names_of_its_id),
		TEST(a_removed_endpoint_is_forgotten_wherever_it_stood),
		TEST(endpoints_go_with_their_network),
		TEST(an_endpoint_is_found_by_either_address_in_its_network),
		TEST(an_address_is_not_taken_for_one_of_the_other_family),
		TEST(a_thousand_endpoints_are_all_found),
		TEST(endpoints_come_in_pages_by_id_whatever_their_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
