/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The network daemon's records: written, read back, and refused when they make no sense. */

#include "netdriver/state.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

static char dir[TEMPDIR_SIZE];
static struct ndrv_state_store *store;
static struct ndrv_registry *registry; /* what is put; load() gives another one */

static void open_store(void)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ndrv_store_open(dir, &store, &err), &err);
}

static int setup(void **state)
{
	(void)state;
	tempdir_make(dir);
	open_store();
	return ndrv_registry_new(&registry);
}

static int teardown(void **state)
{
	(void)state;
	ndrv_registry_free(registry);
	ndrv_store_close(store);
	tempdir_remove(dir);
	return 0;
}

static struct ndrv_network *put_network(const char *id, uint32_t vlan)
{
	struct ndrv_network *n = NULL;
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_spec s;

	memset(&s, 0, sizeof s);
	(void)snprintf(s.id, sizeof s.id, "%s", id);
	(void)snprintf(s.parent, sizeof s.parent, "eth0");
	(void)snprintf(s.iface_prefix, sizeof s.iface_prefix, "lan");
	s.attach = NDRV_ATTACH_DIRECT;
	s.mode = NDRV_L2;
	s.vlan = vlan;
	s.mtu = 1400;
	s.gwbridge = true;
	s.ipv6 = true;
	s.n_subnets = 2;
	s.subnets[0].pool = prefix_of("10.1.0.0/24");
	s.subnets[0].gateway = prefix_of("10.1.0.1/24");
	s.subnets[0].local_book = true;
	s.subnets[1].pool = prefix_of("fd00::/64");
	assert_ok(ndrv_network_add(registry, &s, 1400, &n, &err), &err);
	n->aux = strdup("10.1.0.9 fd00::9");
	ndrv_network_set_state(n, NDRV_READY);
	assert_ok(ndrv_store_put_network(store, n, &err), &err);
	return n;
}

static struct ndrv_endpoint *put_endpoint(struct ndrv_network *n, const char *id)
{
	static const uint8_t mac[6] = { 2, 0x42, 10, 1, 0, 0xff };
	struct dp_prefix addr4 = prefix_of("10.1.0.5/24");
	struct dp_prefix none = { .len = 0 };
	struct ndrv_endpoint *e = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_int_equal(ndrv_endpoint_add(registry, n, id, &e), 0);
	e->state = NDRV_READY;
	assert_int_equal(ndrv_endpoint_set_addresses(e, &addr4, &none), 0);
	memcpy(e->mac, mac, sizeof mac);
	e->mac_given = true;
	e->since = 1700000000;
	assert_ok(ndrv_store_put_endpoint(store, e, &err), &err);
	return e;
}

static void commit(void)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ndrv_store_commit(store, &err), &err);
}

/* Closes the store and opens it again, as a restart does; the registry comes from disk. */
static struct ndrv_registry *reopened(void)
{
	struct ndrv_registry *r = NULL;
	struct dp_error err = DP_ERROR_INIT;

	ndrv_store_close(store);
	store = NULL;
	open_store();
	assert_ok(ndrv_store_load(store, &r, &err), &err);
	return r;
}

static void an_empty_store_gives_an_empty_registry(void **state)
{
	struct ndrv_registry *r = reopened();

	(void)state;
	assert_null(ndrv_registry_networks(r));
	assert_null(ndrv_registry_segments(r));
	ndrv_registry_free(r);
}

static void networks_come_back_as_they_were(void **state)
{
	struct ndrv_network *n = put_network("aaa", 100);
	const struct ndrv_network *back;
	struct ndrv_registry *r;

	(void)state;
	commit();
	r = reopened();
	back = ndrv_network_find(r, "aaa");
	assert_non_null(back);
	assert_true(ndrv_spec_equal(&back->spec, &n->spec));
	assert_int_equal(back->state, NDRV_READY);
	assert_int_equal(back->mtu, 1400);
	assert_true(back->spec.subnets[0].local_book);
	assert_false(back->spec.subnets[1].local_book);
	assert_string_equal(back->aux, "10.1.0.9 fd00::9");
	assert_string_equal(back->segment->key, n->segment->key);
	assert_string_equal(back->segment->bridge, n->segment->bridge);
	ndrv_registry_free(r);
}

static void every_state_comes_back(void **state)
{
	struct ndrv_network *n = put_network("aaa", 100);
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (unsigned s = NDRV_PENDING; s <= NDRV_DELETING; s++) {
		struct ndrv_registry *r;

		ndrv_network_set_state(n, (enum ndrv_state)s);
		assert_ok(ndrv_store_put_network(store, n, &err), &err);
		commit();
		r = reopened();
		assert_int_equal(ndrv_network_find(r, "aaa")->state, s);
		ndrv_registry_free(r);
	}
}

static void segments_remember_what_they_found(void **state)
{
	struct ndrv_network *n = put_network("aaa", 0);
	struct dp_error err = DP_ERROR_INIT;
	const struct ndrv_segment *back;
	struct ndrv_registry *r;

	(void)state;
	n->segment->foreign_bridge = true;
	(void)snprintf(n->segment->bridge, sizeof n->segment->bridge, "br0");
	assert_ok(ndrv_store_put_segment(store, n->segment, &err), &err);
	commit();
	r = reopened();
	back = ndrv_registry_segments(r);
	assert_true(back->foreign_bridge);
	assert_string_equal(back->bridge, "br0");
	ndrv_registry_free(r);
}

static void endpoints_come_back_as_they_were(void **state)
{
	struct ndrv_endpoint *e = put_endpoint(put_network("aaa", 100), "e1");
	const struct ndrv_endpoint *back;
	struct ndrv_registry *r;

	(void)state;
	commit();
	r = reopened();
	back = ndrv_endpoint_find(r, "e1");
	assert_non_null(back);
	assert_string_equal(back->network->spec.id, "aaa");
	assert_int_equal(back->state, NDRV_READY);
	assert_true(dp_prefix_equal(&back->addr4, &e->addr4));
	assert_int_equal(dp_addr_cmp(&back->addr4.addr, &e->addr4.addr), 0);
	assert_int_equal(back->addr6.addr.family, AF_UNSPEC);
	assert_memory_equal(back->mac, e->mac, 6);
	assert_true(back->mac_given);
	assert_int_equal(back->since, 1700000000);
	assert_string_equal(back->link, e->link);
	assert_int_equal(back->ifindex, 0); /* for the kernel to tell */
	ndrv_registry_free(r);
}

static void what_was_removed_is_gone(void **state)
{
	struct ndrv_network *a = put_network("aaa", 100);
	struct ndrv_network *b = put_network("bbb", 100);
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_registry *r;

	(void)state;
	(void)put_endpoint(a, "e1");
	(void)put_endpoint(b, "e2");
	(void)put_endpoint(b, "e3");
	assert_ok(ndrv_store_remove_network(store, a, &err), &err);
	ndrv_network_remove(registry, a);
	assert_ok(ndrv_store_remove_endpoint(store, "e3", &err), &err);
	commit();
	r = reopened();
	assert_null(ndrv_network_find(r, "aaa"));
	assert_null(ndrv_endpoint_find(r, "e1"));
	assert_null(ndrv_endpoint_find(r, "e3"));
	assert_non_null(ndrv_endpoint_find(r, "e2"));
	assert_non_null(ndrv_network_find(r, "bbb")); /* its segment's row was left for it */
	assert_int_equal(ndrv_network_find(r, "bbb")->spec.n_subnets, 2);
	ndrv_registry_free(r);
}

static void a_segment_row_goes_with_its_last_network(void **state)
{
	struct ndrv_network *a = put_network("aaa", 100);
	struct dp_error err = DP_ERROR_INIT;
	struct ndrv_registry *r;

	(void)state;
	assert_ok(ndrv_store_put_segment(store, a->segment, &err), &err);
	assert_ok(ndrv_store_remove_network(store, a, &err), &err);
	ndrv_network_remove(registry, a);
	(void)put_network("bbb", 100); /* the same segment, anew */
	commit();
	r = reopened();
	ndrv_registry_free(r);
}

static void what_is_rolled_back_never_was(void **state)
{
	struct ndrv_registry *r;

	(void)state;
	(void)put_endpoint(put_network("aaa", 100), "e1");
	ndrv_store_rollback(store);
	r = reopened();
	assert_null(ndrv_registry_networks(r));
	assert_null(ndrv_endpoint_find(r, "e1"));
	ndrv_registry_free(r);
}

/* ---- rows that make no sense ---- */

/* Changes the file behind the daemon's back, with @sql. */
static void tamper(const char *sql)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *raw = NULL;
	struct dp_stmt *stmt = NULL;

	commit();
	ndrv_store_close(store);
	store = NULL;
	assert_ok(dp_store_open(dir, "mynetworkplugin.db", &ndrv_state_schema, &raw, &err), &err);
	assert_ok(dp_stmt_new(raw, sql, &stmt, &err), &err);
	assert_ok(dp_stmt_exec(stmt, NULL, &err), &err);
	assert_ok(dp_store_commit(raw, &err), &err);
	dp_stmt_free(stmt);
	dp_store_close(raw);
	open_store();
}

static void rows_that_make_no_sense_are_refused_by_name(void **state)
{
	static const struct {
		const char *sql;
		const char *table;
	} cases[] = {
		{ "UPDATE network SET state = 'lost'", "network" },
		{ "UPDATE network SET mode = 'nat'", "network" },
		{ "UPDATE network SET attach = 'push'", "network" },
		{ "UPDATE subnet SET pool = '10.1.0.0/99'", "subnet" },
		{ "UPDATE subnet SET gateway = 'x'", "subnet" },
		{ "DELETE FROM segment", "segment" },
		{ "UPDATE endpoint SET state = ''", "endpoint" },
		{ "UPDATE endpoint SET network = 'zzz'", "endpoint" },
		{ "UPDATE endpoint SET address4 = '10.1'", "endpoint" },
		{ "UPDATE endpoint SET mac = '02:42'", "endpoint" },
		{ "INSERT INTO subnet SELECT network, number + 100 + value, pool, gateway, 0 FROM subnet, "
		  "json_each('[0,2,4,6,8,10,12,14,16,18]')",
		  "subnet" },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct dp_error err = DP_ERROR_INIT;
		struct ndrv_registry *r = NULL;
		char part[32];

		if (i) {
			assert_int_equal(teardown(NULL), 0);
			assert_int_equal(setup(NULL), 0);
		}
		(void)put_endpoint(put_network("aaa", 100), "e1");
		tamper(cases[i].sql);
		(void)snprintf(part, sizeof part, "%s row '", cases[i].table);
		assert_refused(ndrv_store_load(store, &r, &err), -EUCLEAN, &err, part);
		assert_null(r);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_empty_store_gives_an_empty_registry),
		TEST(networks_come_back_as_they_were),
		TEST(every_state_comes_back),
		TEST(segments_remember_what_they_found),
		TEST(endpoints_come_back_as_they_were),
		TEST(what_was_removed_is_gone),
		TEST(a_segment_row_goes_with_its_last_network),
		TEST(what_is_rolled_back_never_was),
		TEST(rows_that_make_no_sense_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
