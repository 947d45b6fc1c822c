/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * A database of every schema version there has been (tests/data/golden, with how they are made) is
 * opened by the present code, which must find what was put in.
 */

#include "ipam/state.h"
#include "netdriver/state.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

static char dir[TEMPDIR_SIZE];

static int setup(void **state)
{
	(void)state;
	tempdir_make(dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

/* Puts the golden database of @version in place as @name; a missing one fails the test. */
static void put(const char *kind, unsigned version, const char *name)
{
	const char *top = getenv("top_srcdir");
	char command[1000];

	(void)snprintf(command, sizeof command,
		       "cp %s/tests/data/golden/%s-v%u.db %s/%s && chmod u+w %s/%s",
		       top ? top : ".", kind, version, dir, name, dir, name);
	if (system(command))
		fail_msg("version %u has no golden database: see tests/data/golden/README",
			 version);
}

/* ---- myipamplugin ---- */

static struct ipam_pool *pool_of(struct ipam_space *space, const char *id)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool *pool = NULL;

	assert_ok(ipam_space_pool_by_text(space, id, &pool, &err), &err);
	return pool;
}

static void check_lease(struct ipam_state *db, struct ipam_pool *pool, const char *text,
			bool is_gateway, bool is_cooling)
{
	struct dp_addr addr = addr_of(text);
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_lease lease;

	assert_int_equal(ipam_state_get_lease(db, ipam_pool_subnet(pool), &addr, &lease, &err), 1);
	assert_true(lease.pool_id == ipam_pool_rowid(pool));
	assert_int_equal(lease.is_gateway, is_gateway);
	assert_int_equal(lease.is_cooling, is_cooling);
	assert_true(ipam_subnet_test(ipam_pool_subnet(pool), &addr));
}

static void check_addresses(struct ipam_state *db, struct ipam_space *space)
{
	struct ipam_pool *a = pool_of(space, "local/10.1.0.0/16/10.1.5.0/24");
	struct ipam_pool *b = pool_of(space, "local/10.1.0.0/16/10.1.6.0/24");
	struct ipam_pool *c = pool_of(space, "local/fd00:1::/64");
	struct dp_addr gateway = addr_of("10.1.0.1");
	struct dp_error err = DP_ERROR_INIT;

	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 3);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_GLOBAL), 1);
	assert_true(ipam_pool_replayable(pool_of(space, "global/10.9.0.0/24")));
	assert_false(ipam_pool_replayable(a));
	(void)pool_of(space, "local/10.1.0.0/24@acme");
	assert_int_equal(ipam_subnet_count(ipam_pool_subnet(a)), 3);
	assert_int_equal(ipam_subnet_count(ipam_pool_subnet(c)), 1);
	check_lease(db, a, "10.1.0.1", true, false);
	check_lease(db, a, "10.1.5.7", false, false);
	check_lease(db, b, "10.1.6.8", false, true);
	check_lease(db, c, "fd00:1::8000:0:0:1", false, false);
	assert_int_equal(ipam_state_inherit(db, ipam_pool_subnet(a), &gateway, &err), 1);
	check_lease(db, b, "10.1.0.1", true, false);
}

static void addresses_of_every_version_are_read(void **state)
{
	(void)state;
	for (unsigned v = 1; v <= ipam_state_schema.n_migrations; v++) {
		DP_CLEANUP(ipam_state_closep) struct ipam_state *db = NULL;
		DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
		struct dp_error err = DP_ERROR_INIT;

		put("ipam", v, "myipamplugin.db");
		for (int twice = 0; twice < 2; twice++) { /* migrated, and as it is then */
			ipam_space_free(space);
			ipam_state_close(db);
			db = NULL;
			space = NULL;
			assert_ok(ipam_state_open(dir, &db, &err), &err);
			assert_ok(ipam_state_load(db, &space, &err), &err);
			check_addresses(db, space);
		}
	}
}

/* ---- mynetworkplugin ---- */

/* Ids are SHA-256 of short names, as in the program that made the databases. */
#define NET_ONE "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
#define NET_TWO "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
#define EP_A    "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define EP_B    "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define EP_C    "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"

static const struct ndrv_endpoint *endpoint_of(const struct ndrv_registry *registry, const char *id,
					       const char *addr4, enum ndrv_state ep_state)
{
	const struct ndrv_endpoint *e = ndrv_endpoint_find(registry, id);
	struct dp_prefix p = prefix_of(addr4);

	assert_non_null(e);
	assert_int_equal(e->state, ep_state);
	assert_true(dp_prefix_equal(&e->addr4, &p));
	return e;
}

static void check_networks(const struct ndrv_registry *registry)
{
	static const uint8_t given[6] = { 0x02, 0x42, 0x0a, 0x01, 0x00, 0x03 };
	const struct ndrv_network *one = ndrv_network_find(registry, NET_ONE);
	const struct ndrv_network *two = ndrv_network_find(registry, NET_TWO);
	struct dp_prefix v6 = prefix_of("fd00:1::2/64");
	struct dp_prefix gateway = prefix_of("10.2.0.1/24");

	assert_non_null(one);
	assert_non_null(two);
	assert_int_equal(one->state, NDRV_READY);
	assert_int_equal(two->state, NDRV_DELETING);
	assert_int_equal(one->spec.n_subnets, 2);
	assert_int_equal(two->spec.n_subnets, 1);
	assert_true(dp_prefix_equal(&two->spec.subnets[0].gateway, &gateway));
	assert_int_equal(one->n_endpoints, 2);
	assert_string_equal(one->segment->bridge, "mnb7692c3ad3540");
	assert_true(dp_prefix_equal(&endpoint_of(registry, EP_A, "10.1.0.2/24", NDRV_READY)->addr6,
				    &v6));
	assert_memory_equal(endpoint_of(registry, EP_B, "10.1.0.3/24", NDRV_PENDING)->mac, given,
			    6);
	(void)endpoint_of(registry, EP_C, "10.2.0.2/24", NDRV_DELETING);
}

static void networks_of_every_version_are_read(void **state)
{
	(void)state;
	for (unsigned v = 1; v <= ndrv_state_schema.n_migrations; v++) {
		DP_CLEANUP(ndrv_store_closep) struct ndrv_state_store *db = NULL;
		DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *registry = NULL;
		struct dp_error err = DP_ERROR_INIT;

		put("network", v, "mynetworkplugin.db");
		for (int twice = 0; twice < 2; twice++) {
			ndrv_registry_free(registry);
			ndrv_store_close(db);
			db = NULL;
			registry = NULL;
			assert_ok(ndrv_store_open(dir, &db, &err), &err);
			assert_ok(ndrv_store_load(db, &registry, &err), &err);
			check_networks(registry);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(addresses_of_every_version_are_read),
		TEST(networks_of_every_version_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
