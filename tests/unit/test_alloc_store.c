/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Every allocation of what works on a daemon's database fails in turn, once and from then on: opening
 * it, reading it, writing each kind of record, export and import; SQLite's own as well. What failed
 * says what was short, has changed nothing, and succeeds afterwards.
 *
 * Making a database takes thousands. Of those, and of an import's, only some fail here, spread evenly;
 * all with DP_TEST_RUNS set.
 */

#include <unistd.h>

#include "common/archive.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "ipam/state.h"
#include "netdriver/state.h"
#include "tests/support/failalloc.h"
#include "tests/support/nosync.h"
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

/* ---- a work that is done while memory is short ---- */

struct work {
	void (*prepare)(void);           /* brings about the state that it begins with */
	int (*run)(struct dp_error *err);
	void (*check)(bool done);        /* is the state the one before, or the one after it? */
	unsigned stride;                 /* from one allocation that fails to the next */
};

static bool shortage(const struct work *w, unsigned n, bool lasts)
{
	struct dp_error err = DP_ERROR_INIT;
	bool hit;
	int r;

	w->prepare();
	if (lasts)
		fail_alloc_from(n);
	else
		fail_alloc_nth(n);
	r = w->run(&err);
	hit = fail_alloc_stop();
	if (r < 0)
		assert_refused(r, -ENOMEM, &err, "out of memory");
	w->check(r == 0);
	if (r < 0) {
		err = (struct dp_error)DP_ERROR_INIT;
		assert_ok(w->run(&err), &err);
		w->check(true);
	}
	return hit;
}

static void every_allocation_fails(const struct work *w, unsigned at_least)
{
	unsigned stride = getenv("DP_TEST_RUNS") ? 1 : w->stride;

	for (int lasts = 0; lasts < 2; lasts++) {
		unsigned n = 1;

		while (shortage(w, n, lasts))
			n += stride;
		if (n <= at_least)
			fail_msg("%u allocations", n - 1);
		print_message("# %u allocations\n", n - 1);
	}
}

/* ---- databases of every kind of row ---- */

/* Puts the golden database of @version in place as @name, without a log. */
static void put_database(const char *kind, unsigned version, const char *name)
{
	const char *top = getenv("top_srcdir");
	static char bytes[1 << 20];
	char path[1000];
	FILE *file;
	size_t n;

	(void)snprintf(path, sizeof path, "%s/tests/data/golden/%s-v%u.db", top ? top : ".", kind, version);
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	n = fread(bytes, 1, sizeof bytes, file);
	assert_true(n > 0 && n < sizeof bytes);
	(void)fclose(file);
	(void)mkdir(dir, 0700);
	(void)snprintf(path, sizeof path, "%s/%s-wal", dir, name);
	(void)unlink(path);
	(void)snprintf(path, sizeof path, "%s/%s.bak", dir, name);
	(void)unlink(path);
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static void put_databases(unsigned ipam, unsigned network)
{
	put_database("ipam", ipam, "myipamplugin.db");
	put_database("network", network, "mynetworkplugin.db");
}

static void put_new_databases(void)
{
	put_databases(ipam_state_schema.n_migrations, ndrv_state_schema.n_migrations);
}

static void put_old_databases(void)
{
	put_databases(1, 1);
}

static void put_nothing(void)
{
	tempdir_remove(dir);
}

static int read_ipam(struct dp_error *err)
{
	DP_CLEANUP(ipam_state_closep) struct ipam_state *db = NULL;
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	int r = ipam_state_open(dir, &db, err);

	return r < 0 ? r : ipam_state_load(db, &space, err);
}

static int read_network(struct dp_error *err)
{
	DP_CLEANUP(ndrv_store_closep) struct ndrv_state_store *db = NULL;
	DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *registry = NULL;
	int r = ndrv_store_open(dir, &db, err);

	return r < 0 ? r : ndrv_store_load(db, &registry, err);
}

/* Read without a shortage, the golden content is there: its pools and their bits, its networks. */
static void check_ipam(bool done)
{
	DP_CLEANUP(ipam_state_closep) struct ipam_state *db = NULL;
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool *pool = NULL;

	(void)done;
	assert_ok(ipam_state_open(dir, &db, &err), &err);
	assert_ok(ipam_state_load(db, &space, &err), &err);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 3);
	assert_ok(ipam_space_pool_by_text(space, "local/10.1.0.0/16/10.1.5.0/24", &pool, &err), &err);
	assert_int_equal(ipam_subnet_count(ipam_pool_subnet(pool)), 3);
}

static void check_network(bool done)
{
	DP_CLEANUP(ndrv_store_closep) struct ndrv_state_store *db = NULL;
	DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *read = NULL;
	struct dp_error err = DP_ERROR_INIT;

	(void)done;
	assert_ok(ndrv_store_open(dir, &db, &err), &err);
	assert_ok(ndrv_store_load(db, &read, &err), &err);
	assert_non_null(ndrv_registry_networks(read));
	assert_non_null(ndrv_registry_networks(read)->endpoints);
}

static void check_empty(bool done)
{
	(void)done;
}

static void opening_and_reading_the_ipam_state(void **state)
{
	const struct work new = { put_new_databases, read_ipam, check_ipam, 7 };
	const struct work old = { put_old_databases, read_ipam, check_ipam, 97 };
	const struct work none = { put_nothing, read_ipam, check_empty, 97 };

	(void)state;
	every_allocation_fails(&new, 100);
	every_allocation_fails(&old, 100);
	every_allocation_fails(&none, 100);
}

static void opening_and_reading_the_network_state(void **state)
{
	const struct work new = { put_new_databases, read_network, check_network, 7 };
	const struct work old = { put_old_databases, read_network, check_network, 97 };
	const struct work none = { put_nothing, read_network, check_empty, 97 };

	(void)state;
	every_allocation_fails(&new, 100);
	every_allocation_fails(&old, 100);
	every_allocation_fails(&none, 100);
}

/* ---- records ---- */

static struct ndrv_state_store *store;
static struct ndrv_registry *registry;
static struct ndrv_network *network;
static struct ndrv_endpoint *endpoint;

static void close_records(void)
{
	ndrv_registry_free(registry);
	ndrv_store_close(store);
	registry = NULL;
	store = NULL;
}

/* An open store, and of a network and its endpoint what memory has of them before they are written. */
static void open_records(void)
{
	struct ndrv_spec spec = { .id = "aaa", .mode = NDRV_L2, .parent = "eth0", .vlan = 7, .n_subnets = 1 };
	struct dp_prefix addr4 = prefix_of("10.1.0.5/24");
	struct dp_prefix none = { .len = 0 };
	struct dp_error err = DP_ERROR_INIT;

	close_records();
	tempdir_remove(dir);
	spec.subnets[0].pool = prefix_of("10.1.0.0/24");
	assert_ok(ndrv_store_open(dir, &store, &err), &err);
	assert_int_equal(ndrv_registry_new(&registry), 0);
	assert_ok(ndrv_network_add(registry, &spec, 1500, &network, &err), &err);
	assert_int_equal(ndrv_endpoint_add(registry, network, "bbb", &endpoint), 0);
	assert_int_equal(ndrv_endpoint_set_addresses(endpoint, &addr4, &none), 0);
}

/* As a turn does it. */
static int write_records(struct dp_error *err)
{
	int r = ndrv_store_put_network(store, network, err);

	if (r == 0)
		r = ndrv_store_put_segment(store, network->segment, err);
	if (r == 0)
		r = ndrv_store_put_endpoint(store, endpoint, err);
	if (r == 0)
		r = ndrv_store_commit(store, err);
	if (r < 0)
		ndrv_store_rollback(store);
	return r;
}

static int remove_records(struct dp_error *err)
{
	int r = ndrv_store_remove_endpoint(store, "bbb", err);

	if (r == 0)
		r = ndrv_store_remove_network(store, network, err);
	if (r == 0)
		r = ndrv_store_commit(store, err);
	if (r < 0)
		ndrv_store_rollback(store);
	return r;
}

static void check_records(bool there)
{
	DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *read = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(ndrv_store_load(store, &read, &err), &err);
	assert_int_equal(ndrv_network_find(read, "aaa") != NULL, there);
	assert_int_equal(ndrv_endpoint_find(read, "bbb") != NULL, there);
}

static void check_removed(bool done)
{
	check_records(!done);
}

static void prepare_removal(void)
{
	struct dp_error err = DP_ERROR_INIT;

	open_records();
	assert_ok(write_records(&err), &err);
}

static void writing_and_removing_records(void **state)
{
	const struct work writing = { open_records, write_records, check_records, 1 };
	const struct work removing = { prepare_removal, remove_records, check_removed, 1 };

	(void)state;
	every_allocation_fails(&writing, 10);
	every_allocation_fails(&removing, 5);
	close_records();
}

/* ---- export and import ---- */

static const struct dp_archive archive = { .format = "myipamplugin", .file = "myipamplugin.db",
					   .schema = &ipam_state_schema, .check = ipam_state_check };
static char exported[1 << 18];
static char reference[sizeof exported];
static FILE *out;

static void prepare_export(void)
{
	put_new_databases();
	memset(exported, 0, sizeof exported);
}

static int export(struct dp_error *err)
{
	rewind(out);
	return dp_archive_export(&archive, dir, out, err);
}

static void check_export(bool done)
{
	if (done)
		assert_string_equal(exported, reference);
	check_ipam(true);
}

static void make_reference(void)
{
	struct dp_error err = DP_ERROR_INIT;

	out = fmemopen(exported, sizeof exported, "w");
	assert_non_null(out);
	prepare_export();
	assert_ok(export(&err), &err);
	memcpy(reference, exported, sizeof reference);
	assert_contains(reference, "\"tables\"");
}

static void exporting(void **state)
{
	const struct work work = { prepare_export, export, check_export, 29 };

	(void)state;
	make_reference();
	every_allocation_fails(&work, 100);
	(void)fclose(out);
}

static char export_path[TEMPDIR_SIZE + 16];

static void prepare_import(void)
{
	FILE *file;

	put_new_databases();
	(void)snprintf(export_path, sizeof export_path, "%s/export.json", dir);
	file = fopen(export_path, "w");
	assert_non_null(file);
	fputs(reference, file);
	assert_int_equal(fclose(file), 0);
}

static int import(struct dp_error *err)
{
	int r = dp_archive_import(&archive, dir, export_path, true, err);

	/* Where memory is short, SQLite's own check takes a page that it could not get for a damaged one. */
	return r == -EUCLEAN ? dp_error_oom(err) : r;
}

static void check_import(bool done)
{
	char path[TEMPDIR_SIZE + 32];

	check_ipam(true);
	(void)snprintf(path, sizeof path, "%s/import", dir);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof path, "%s/myipamplugin.db.bak", dir);
	if (done)
		assert_int_equal(access(path, F_OK), 0);
}

static void importing(void **state)
{
	const struct work work = { prepare_import, import, check_import, 97 };

	(void)state;
	make_reference();
	every_allocation_fails(&work, 100);
	(void)fclose(out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opening_and_reading_the_ipam_state, setup, teardown),
		cmocka_unit_test_setup_teardown(opening_and_reading_the_network_state, setup, teardown),
		cmocka_unit_test_setup_teardown(writing_and_removing_records, setup, teardown),
		cmocka_unit_test_setup_teardown(exporting, setup, teardown),
		cmocka_unit_test_setup_teardown(importing, setup, teardown),
	};

	dp_log_set_level(DP_LOG_ERROR);
	return cmocka_run_group_tests_name("every allocation of the stores fails in turn", tests, NULL, NULL);
}
