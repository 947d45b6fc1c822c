/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * The bytes of a small database and of its log are changed in turn, and both are cut at all kinds of
 * length: opening fails and says so, or the content is what was stored. Of the log the last
 * transaction may be missing, which cannot be told from a crash; a cut log is a shorter history.
 *
 * The database is changed at each byte. Where pages are alike, the other tests take some bytes of
 * each; DP_TEST_EACH_BYTE=1 in the environment makes them take all, which takes half a minute.
 */

#include <fcntl.h>
#include <unistd.h>

#include "common/store.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

static const char *const migrations[] = {
	"CREATE TABLE fruit(name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;"
	"CREATE INDEX fruit_n ON fruit(n) WHERE n <> 2",
};
static const struct dp_store_schema schema = { .application_id = 77,
					       .migrations = migrations,
					       .n_migrations = 1 };

enum { MAX_FILE = 200000, MAX_CONTENT = 20000, N_COMMITS = 4 };

static char dir[TEMPDIR_SIZE];
static char db_path[TEMPDIR_SIZE + 16];
static char log_path[TEMPDIR_SIZE + 16];
static char history[N_COMMITS + 1][MAX_CONTENT]; /* content after so many commits */

/* A file that is damaged and looked at. */
struct image {
	int fd;
	off_t size;
	unsigned char bytes[MAX_FILE];
	struct timespec mtime; /* after the damage */
};

static struct image image;

static int setup(void **state)
{
	(void)state;
	tempdir_make(dir);
	(void)snprintf(db_path, sizeof db_path, "%s/s.db", dir);
	(void)snprintf(log_path, sizeof log_path, "%s/s.db-wal", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)close(image.fd);
	tempdir_remove(dir);
	return 0;
}

static void exec_ok(struct dp_store *store, const char *sql)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_stmt_new(store, sql, &stmt, &err), &err);
	assert_ok(dp_stmt_exec(stmt, NULL, &err), &err);
	assert_ok(dp_store_commit(store, &err), &err);
}

/* All rows as text, through the table and through the index. Return: 0; negative errno. */
static int read_content(struct dp_store *store, char text[static MAX_CONTENT])
{
	static const char *const queries[] = { "SELECT name, n FROM fruit ORDER BY name",
					       "SELECT name, n FROM fruit INDEXED BY fruit_n"
					       " WHERE n <> 2 ORDER BY n" };
	struct dp_error err = DP_ERROR_INIT;
	size_t used = 0;
	int r = 0;

	text[0] = '\0';
	for (size_t i = 0; i < DP_ARRAY_LEN(queries) && r == 0; i++) {
		DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;

		r = dp_stmt_new(store, queries[i], &stmt, &err);
		while (r >= 0 && (r = dp_stmt_step(stmt, &err)) == 1)
			used += (size_t)snprintf(text + used, MAX_CONTENT - used, "%s=%lld\n",
						 dp_stmt_text(stmt, 0),
						 (long long)dp_stmt_int(stmt, 1));
	}
	return r;
}

static void shell(const char *what)
{
	char command[3 * TEMPDIR_SIZE];

	(void)snprintf(command, sizeof command, "cd %s && %s", dir, what);
	assert_int_equal(system(command), 0);
}

/* Leaves of the log whole frames only, up to the last that was written: many zeros follow. */
static void cut_zeros(void)
{
	static unsigned char bytes[MAX_FILE];
	int fd = open(log_path, O_RDWR | O_CLOEXEC);
	off_t size = pread(fd, bytes, sizeof bytes, 0);

	assert_true(size > 0);
	while (!bytes[size - 1])
		size--;
	size = 32 + (size - 32 + 4119) / 4120 * 4120;
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(close(fd), 0);
}

/* A database of N_COMMITS, the last two of them in the log only. */
static void make_database(void)
{
	static const char *const steps[N_COMMITS] = {
		"INSERT INTO fruit VALUES('apple', 1), ('pear', 3)",
		"INSERT INTO fruit VALUES(printf('%.4200c', 'x'), 2)", /* has overflow pages */
		"UPDATE fruit SET n = 7 WHERE name = 'pear'",
		"DELETE FROM fruit WHERE name = 'apple'",
	};
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *store = NULL;

	for (int i = 0; i < N_COMMITS; i++) {
		if (!store)
			assert_ok(dp_store_open(dir, "s.db", &schema, &store, &err), &err);
		exec_ok(store, steps[i]);
		assert_int_equal(read_content(store, history[i + 1]), 0);
		if (i == 1) { /* so far they are copied into the database */
			dp_store_close(store);
			store = NULL;
		}
	}
	shell("cp s.db a && cp s.db-wal b");
	dp_store_close(store);
	shell("mv a s.db && mv b s.db-wal"); /* as a kill leaves it: the log is there */
	cut_zeros();
}

static void load_image(const char *path)
{
	image.fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(image.fd >= 0);
	image.size = pread(image.fd, image.bytes, sizeof image.bytes, 0);
	assert_true(image.size > 0 && image.size < MAX_FILE);
}

/* The file is as it was damaged: content and time. */
static void assert_untouched(off_t size)
{
	static unsigned char now[MAX_FILE];
	struct stat st;

	assert_int_equal(pread(image.fd, now, sizeof now, 0), size);
	assert_memory_equal(now, image.bytes, (size_t)size);
	assert_int_equal(fstat(image.fd, &st), 0);
	assert_memory_equal(&st.st_mtim, &image.mtime, sizeof st.st_mtim);
}

static void note_time(void)
{
	struct stat st;

	assert_int_equal(fstat(image.fd, &st), 0);
	image.mtime = st.st_mtim;
}

/* Opens what is there now. Return: commits that its content has; negative errno if refused. */
static int look(void)
{
	static char content[MAX_CONTENT];
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *store = NULL;
	int r = dp_store_open(dir, "s.db", &schema, &store, &err);

	if (r < 0) {
		assert_contains(err.msg, db_path);
		return r;
	}
	r = read_content(store, content);
	dp_store_close(store);
	if (r < 0)
		return r;
	for (int i = N_COMMITS; i >= 0; i--) {
		if (!strcmp(content, history[i]))
			return i;
	}
	fail_msg("content that never was: %.200s", content);
	return -1;
}

/* How far from byte @i to the next one to try: each around the borders of pages and frames. */
static off_t stride(off_t i, off_t stride_inside)
{
	off_t in_page = i % 4096;
	off_t in_frame = (i + 4120 - 32) % 4120;

	if (getenv("DP_TEST_EACH_BYTE") || i < 128 || in_page < 16 || in_page > 4080 ||
	    in_frame < 32)
		return 1;
	return stride_inside;
}

/* Changes byte after byte; content with fewer than @at_least commits is wrong. */
static void flip_each(off_t stride_inside, int at_least)
{
	unsigned n_refused = 0;
	unsigned n_shorter = 0;

	for (off_t i = 0; i < image.size; i += stride(i, stride_inside)) {
		unsigned char good = image.bytes[i];
		int r;

		image.bytes[i] ^= (unsigned char)(i % 9 ? 1 << (i % 9 - 1) : 0xff);
		assert_int_equal(pwrite(image.fd, image.bytes + i, 1, i), 1);
		note_time();
		r = look();
		if (r >= 0 && r < at_least)
			fail_msg("byte %lld: %d commits", (long long)i, r);
		n_refused += r < 0;
		n_shorter += r >= 0 && r < N_COMMITS;
		assert_untouched(image.size);
		image.bytes[i] = good;
		assert_int_equal(pwrite(image.fd, &good, 1, i), 1);
	}
	print_message("# %lld bytes: %u changes refused, %u lose the last transaction\n",
		      (long long)image.size, n_refused, n_shorter);
	assert_int_equal(look(), N_COMMITS);
}

static void no_changed_byte_of_a_database_goes_unnoticed(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *store = NULL;

	(void)state;
	make_database();
	assert_ok(dp_store_open(dir, "s.db", &schema, &store, &err), &err);
	exec_ok(store, "UPDATE fruit SET n = n");
	dp_store_close(store); /* now all is in the database */
	assert_int_equal(access(log_path, F_OK), -1);
	load_image(db_path);
	flip_each(1, N_COMMITS);
}

static void no_changed_byte_under_a_log_goes_unnoticed(void **state)
{
	(void)state;
	make_database();
	load_image(db_path);
	flip_each(11, N_COMMITS);
}

static void a_changed_byte_of_a_log_loses_nothing_but_the_last_transaction(void **state)
{
	(void)state;
	make_database();
	load_image(log_path);
	flip_each(7, N_COMMITS - 1);
}

static void a_cut_database_is_refused_at_each_length(void **state)
{
	(void)state;
	make_database();
	assert_int_equal(unlink(log_path), 0);
	load_image(db_path);
	for (off_t size = image.size - 1; size >= 0; size -= stride(size, 13)) {
		assert_int_equal(ftruncate(image.fd, size), 0);
		note_time();
		if (look() >= 0)
			fail_msg("opened with %lld of %lld bytes", (long long)size,
				 (long long)image.size);
		assert_untouched(size);
	}
}

static void a_cut_database_under_a_log_is_refused_or_whole(void **state)
{
	(void)state;
	make_database();
	load_image(db_path);
	for (off_t size = image.size - 1; size >= 0; size -= stride(size, 13)) {
		int r;

		assert_int_equal(ftruncate(image.fd, size), 0);
		note_time();
		r = look();
		if (r >= 0 && r != N_COMMITS)
			fail_msg("%d commits with %lld bytes", r, (long long)size);
		assert_untouched(size);
	}
}

static void a_cut_log_is_a_shorter_history(void **state)
{
	int last = N_COMMITS;

	(void)state;
	make_database();
	load_image(log_path);
	for (off_t size = image.size - 1; size >= 0; size -= stride(size, 13)) {
		int r;

		assert_int_equal(ftruncate(image.fd, size), 0);
		note_time();
		r = look();
		if (r < 2 || r > last)
			fail_msg("%d commits with %lld bytes of the log", r, (long long)size);
		last = r;
		assert_untouched(size);
	}
}

static void a_log_without_its_database_is_refused(void **state)
{
	(void)state;
	make_database();
	load_image(log_path);
	note_time();
	assert_int_equal(unlink(db_path), 0);
	assert_int_equal(look(), -EUCLEAN);
	assert_untouched(image.size);
	assert_int_equal(access(db_path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(no_changed_byte_of_a_database_goes_unnoticed),
		TEST(no_changed_byte_under_a_log_goes_unnoticed),
		TEST(a_changed_byte_of_a_log_loses_nothing_but_the_last_transaction),
		TEST(a_cut_database_is_refused_at_each_length),
		TEST(a_cut_database_under_a_log_is_refused_or_whole),
		TEST(a_cut_log_is_a_shorter_history),
		TEST(a_log_without_its_database_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
