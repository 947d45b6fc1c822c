/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * A failing disk is made by standing in for the calls through which SQLite changes it: the linker
 * lets the program's own pwrite64(), ftruncate64() and fdatasync() go before those of libc.
 */

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/store.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

/* How the disk fails: one call only, or that and all after it until mend_disk(), or of those the
 * syncs. */
enum failure { ONCE, FROM_THEN_ON, SYNCS_FROM_THEN_ON };

static unsigned disk_countdown; /* the call that takes it to 0 is the first to fail; 0: none is */
static enum failure disk_failure;
static bool disk_broken; /* a call has failed */
static int disk_errno;
static unsigned n_syncs;
static unsigned n_writes;

static bool disk_fails(bool is_sync)
{
	bool fails;

	if (!is_sync && disk_failure == SYNCS_FROM_THEN_ON)
		return false;
	fails = disk_broken && disk_failure != ONCE;
	if (disk_countdown && --disk_countdown == 0)
		disk_broken = fails = true;
	if (fails)
		errno = disk_errno;
	return fails;
}

static void break_disk_at(unsigned call, enum failure failure, int error)
{
	disk_countdown = call;
	disk_failure = failure;
	disk_errno = error;
}

/* Return: whether it had come to a failure. */
static bool mend_disk(void)
{
	bool was = disk_broken;

	disk_countdown = 0;
	disk_broken = false;
	return was;
}

static bool log_finds_no_room; /* what is long fails: no commit of a few pages is */

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	n_writes++;
	if (log_finds_no_room && n > 32 * 1024) {
		errno = ENOSPC;
		return -1;
	}
	return disk_fails(false) ? -1 : syscall(SYS_pwrite64, fd, buf, n, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return pwrite64(fd, buf, n, offset);
}

int ftruncate64(int fd, off64_t size)
{
	return disk_fails(false) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int fdatasync(int fd)
{
	n_syncs++;
	return disk_fails(true) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return fdatasync(fd);
}

/* ---- schemas ---- */

static const char *const migrations[] = {
	"CREATE TABLE fruit(name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID",
	"ALTER TABLE fruit ADD COLUMN colour TEXT NOT NULL DEFAULT 'green'",
};
static const struct dp_store_schema v1 = { .application_id = 77, .migrations = migrations,
					   .n_migrations = 1 };
static const struct dp_store_schema v2 = { .application_id = 77, .migrations = migrations,
					   .n_migrations = 2 };
static const struct dp_store_schema foreign = { .application_id = 78, .migrations = migrations,
						.n_migrations = 1 };

static char dir[TEMPDIR_SIZE];
static char path[TEMPDIR_SIZE + 16];

static int setup(void **state)
{
	(void)state;
	tempdir_make(dir);
	(void)snprintf(path, sizeof path, "%s/s.db", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)mend_disk();
	tempdir_remove(dir);
	return 0;
}

static struct dp_store *open_ok(const struct dp_store_schema *schema)
{
	struct dp_store *store = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_store_open(dir, "s.db", schema, &store, &err), &err);
	return store;
}

static int open_fails(const struct dp_store_schema *schema, struct dp_error *err)
{
	struct dp_store *store = NULL;
	int r = dp_store_open(dir, "s.db", schema, &store, err);

	assert_true(r < 0);
	assert_null(store);
	assert_contains(err->msg, path);
	return r;
}

/* Runs one statement without parameters. */
static int exec(struct dp_store *store, const char *sql, struct dp_error *err)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;
	int r = dp_stmt_new(store, sql, &stmt, err);

	return r < 0 ? r : dp_stmt_exec(stmt, NULL, err);
}

static void exec_ok(struct dp_store *store, const char *sql)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(exec(store, sql, &err), &err);
}

static void commit_ok(struct dp_store *store)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_store_commit(store, &err), &err);
}

/* First column of the first row. */
static int64_t number(struct dp_store *store, const char *sql)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_stmt_new(store, sql, &stmt, &err), &err);
	if (dp_stmt_step(stmt, &err) != 1)
		fail_msg("%s: %s", sql, err.msg);
	return dp_stmt_int(stmt, 0);
}

static int64_t n_fruits(struct dp_store *store)
{
	return number(store, "SELECT count(*) FROM fruit");
}

/* ---- opening ---- */

static void a_new_store_is_made_with_the_present_version(void **state)
{
	struct dp_store *store = open_ok(&v2);
	struct stat st;

	(void)state;
	assert_int_equal(number(store, "PRAGMA user_version"), 2);
	assert_int_equal(number(store, "PRAGMA application_id"), 77);
	assert_int_equal(n_fruits(store), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0); /* others have no business with it */
	dp_store_close(store);
}

static void a_missing_directory_is_made_private(void **state)
{
	struct dp_store *store = NULL;
	struct dp_error err = DP_ERROR_INIT;
	char deep[TEMPDIR_SIZE + 16];
	struct stat st;

	(void)state;
	(void)snprintf(deep, sizeof deep, "%s/a/b", dir);
	assert_ok(dp_store_open(deep, "s.db", &v1, &store, &err), &err);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	dp_store_close(store);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
	struct dp_store *store = NULL;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_refused(dp_store_open("/proc/nowhere/x", "s.db", &v1, &store, &err), -ENOENT, &err,
		       "/proc/nowhere/x");
}

static void an_older_store_is_migrated_and_keeps_its_rows(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "INSERT INTO fruit(name, n) VALUES('pear', 3)");
	commit_ok(store);
	dp_store_close(store);
	store = open_ok(&v2);
	assert_int_equal(number(store, "PRAGMA user_version"), 2);
	assert_int_equal(number(store, "SELECT n FROM fruit WHERE colour = 'green'"), 3);
	dp_store_close(store);
}

static void a_migration_that_fails_changes_nothing(void **state)
{
	static const char *const bad[] = { "SELECT 1", "ALTER TABLE fruit ADD COLUMN a TEXT",
					   "ALTER TABLE nonsense ADD COLUMN b TEXT" };
	static const struct dp_store_schema v3 = { .application_id = 77, .migrations = bad,
						   .n_migrations = 3 };
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *store = open_ok(&v1);

	(void)state;
	dp_store_close(store);
	(void)open_fails(&v3, &err);
	store = open_ok(&v1);
	assert_int_equal(number(store, "PRAGMA user_version"), 1);
	assert_int_equal(number(store, "SELECT count(*) FROM pragma_table_info('fruit')"), 2);
	dp_store_close(store);
}

/* What a file holds, to see that it is not touched. */
static char *file_bytes(size_t *ret_size)
{
	FILE *f = fopen(path, "re");
	char *bytes = NULL;

	assert_non_null(f);
	*ret_size = 0;
	for (int c; (c = fgetc(f)) != EOF; (*ret_size)++) {
		if (*ret_size % 4096 == 0)
			bytes = realloc(bytes, *ret_size + 4096);
		assert_non_null(bytes);
		bytes[*ret_size] = (char)c;
	}
	(void)fclose(f);
	return bytes;
}

static void refused_and_untouched(const struct dp_store_schema *schema, int code, const char *part)
{
	struct dp_error err = DP_ERROR_INIT;
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	size_t n_before;
	size_t n_after;

	before = file_bytes(&n_before);
	assert_refused(open_fails(schema, &err), code, &err, part);
	after = file_bytes(&n_after);
	assert_int_equal(n_before, n_after);
	assert_memory_equal(before, after, n_before);
}

static void a_store_of_a_newer_release_is_refused_untouched(void **state)
{
	(void)state;
	dp_store_close(open_ok(&v2));
	refused_and_untouched(&v1, -EOPNOTSUPP, "newer release");
}

static void a_database_of_another_program_is_refused_untouched(void **state)
{
	(void)state;
	dp_store_close(open_ok(&foreign));
	refused_and_untouched(&v1, -EPROTO, "some other program");
}

static void a_file_that_is_no_database_is_refused_untouched(void **state)
{
	FILE *f = fopen(path, "we");

	(void)state;
	assert_non_null(f);
	for (int i = 0; i < 2000; i++)
		(void)fputs("not a database\n", f);
	(void)fclose(f);
	refused_and_untouched(&v1, -EPROTO, "not a database");
}

static void a_damaged_store_is_refused_untouched(void **state)
{
	struct dp_store *store = open_ok(&v1);
	int fd;

	(void)state;
	for (int i = 0; i < 300; i++) {
		char sql[100];

		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('%050d', %d)", i, i);
		exec_ok(store, sql);
	}
	commit_ok(store);
	dp_store_close(store);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (off_t page = 1; page < 4; page++) /* the first holds the header: leave that one */
		assert_int_equal(pwrite(fd, "garbage-garbage-garbage", 23, page * 4096), 23);
	(void)close(fd);
	refused_and_untouched(&v1, -EUCLEAN, "damaged");
}

static void a_truncated_store_is_refused_untouched(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "INSERT INTO fruit SELECT value, value FROM json_each("
		       "'[1,2,3,4,5,6,7,8,9,10]')");
	commit_ok(store);
	dp_store_close(store);
	assert_int_equal(truncate(path, 5000), 0);
	refused_and_untouched(&v1, -EUCLEAN, "damaged");
}

static void a_store_that_another_process_holds_is_refused(void **state)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_store *store;
	int ready[2];
	int end[2];
	char c = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(end[1]);
		if (dp_store_open(dir, "s.db", &v1, &store, &err) < 0 ||
		    write(ready[1], &c, 1) != 1)
			_exit(1);
		_exit(read(end[0], &c, 1) < 0); /* until the parent has seen enough */
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_refused(open_fails(&v1, &err), -EBUSY, &err, "running twice?");
	(void)close(end[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	dp_store_close(open_ok(&v1)); /* killed or not, its lock goes with it */
	(void)close(ready[0]);
	(void)close(end[0]);
}

/* ---- transactions ---- */

static void what_is_committed_is_there_after_opening_again(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('pear', 3)");
	commit_ok(store);
	dp_store_close(store);
	store = open_ok(&v1);
	assert_int_equal(n_fruits(store), 1);
	dp_store_close(store);
}

static void what_is_rolled_back_is_gone(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('pear', 3)");
	assert_int_equal(n_fruits(store), 1);
	dp_store_rollback(store);
	assert_int_equal(n_fruits(store), 0);
	dp_store_rollback(store); /* twice is fine */
	exec_ok(store, "INSERT INTO fruit VALUES('plum', 4)");
	commit_ok(store);
	assert_int_equal(n_fruits(store), 1);
	dp_store_close(store);
}

static void what_is_not_committed_is_gone_after_closing(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('pear', 3)");
	dp_store_close(store);
	store = open_ok(&v1);
	assert_int_equal(n_fruits(store), 0);
	dp_store_close(store);
}

static void a_commit_costs_one_sync_and_none_if_nothing_changed(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store,
		"INSERT INTO fruit VALUES('first', 0)"); /* the new log's header has one more */
	commit_ok(store);
	n_syncs = 0;
	commit_ok(store);
	assert_int_equal(n_syncs, 0);
	for (int i = 0; i < 10; i++) {
		char sql[100];

		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('n%d', %d)", i, i);
		exec_ok(store, sql);
	}
	assert_int_equal(n_syncs, 0);
	commit_ok(store);
	assert_int_equal(n_syncs, 1);
	dp_store_close(store);
}

static void the_pages_of_a_commit_are_written_at_once(void **state)
{
	struct dp_store *store = open_ok(&v1);
	char sql[100];

	(void)state;
	for (int i = 0; i < 300; i++) { /* several pages */
		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('a fruit with a long name %d', 1)", i);
		exec_ok(store, sql);
	}
	commit_ok(store);
	n_writes = 0;
	exec_ok(store, "UPDATE fruit SET n = 2");
	assert_int_equal(n_writes, 0);
	commit_ok(store);
	assert_int_equal(n_writes, 1);
	dp_store_close(store);
	store = open_ok(&v1);
	assert_int_equal(n_fruits(store), 300);
	dp_store_close(store);
}

static void a_commit_that_is_longer_than_what_is_gathered_is_whole(void **state)
{
	struct dp_store *store = open_ok(&v1);

	(void)state;
	exec_ok(store, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)"
		       " INSERT INTO fruit SELECT 'fruit ' || i, i FROM c");
	commit_ok(store);
	dp_store_close(store);
	store = open_ok(&v1);
	assert_int_equal(n_fruits(store), 20000);
	dp_store_close(store);
}

/* Syncing a file that grows costs several times as much as syncing one that does not. */
static void the_log_does_not_grow_under_work(void **state)
{
	struct dp_store *store = open_ok(&v1);
	char log[sizeof path + 8];
	struct stat before;
	struct stat after;

	(void)state;
	(void)snprintf(log, sizeof log, "%s-wal", path);
	exec_ok(store, "INSERT INTO fruit VALUES('first', 0)");
	commit_ok(store);
	assert_int_equal(stat(log, &before), 0);
	for (int i = 1; i < 1100; i++) { /* at least a page each: the log is begun anew */
		char sql[100];

		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('n%d', %d)", i, i);
		exec_ok(store, sql);
		commit_ok(store);
	}
	assert_int_equal(stat(log, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(n_fruits(store), 1100);
	dp_store_close(store);
	store = open_ok(&v1);
	assert_int_equal(n_fruits(store), 1100);
	dp_store_close(store);
}

static void a_log_that_finds_no_room_keeps_nobody_from_work(void **state)
{
	struct dp_store *store;

	(void)state;
	dp_store_close(open_ok(&v1));
	store = open_ok(&v1);
	log_finds_no_room = true;
	exec_ok(store, "INSERT INTO fruit VALUES('pear', 3)");
	commit_ok(store);
	log_finds_no_room = false;
	assert_int_equal(n_fruits(store), 1);
	dp_store_close(store);
}

/* Writes one byte of @value into a log of zeros, as one who is killed before any work leaves it. */
static void leave_log_of_zeros(off_t at, char value)
{
	char log[sizeof path + 8];
	int fd;

	dp_store_close(open_ok(&v1));
	(void)snprintf(log, sizeof log, "%s-wal", path);
	fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	assert_int_equal(syscall(SYS_pwrite64, fd, &value, 1, at), 1);
	assert_int_equal(close(fd), 0);
}

static void a_log_that_was_never_written_is_empty(void **state)
{
	(void)state;
	leave_log_of_zeros(0, 0);
	dp_store_close(open_ok(&v1));
}

static void a_log_that_has_lost_its_header_is_refused(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	leave_log_of_zeros(100000, 1);
	assert_int_equal(open_fails(&v1, &err), -EUCLEAN);
}

/* ---- statements ---- */

static void wrong_sql_is_refused_with_its_text(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_int_equal(dp_stmt_new(store, "SELEKT 1", &stmt, &err), -EINVAL);
	assert_contains(err.msg, "SELEKT");
	assert_null(stmt);
	dp_store_close(store);
}

static void values_come_back_as_they_were_bound(void **state)
{
	static const unsigned char blob[] = { 0, 1, 255, 0 };
	struct dp_store *store = open_ok(&v1);
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;
	size_t size;

	(void)state;
	assert_ok(dp_stmt_new(store, "SELECT ?1, ?2, ?3, ?4", &stmt, &err), &err);
	dp_stmt_bind_int(stmt, 1, INT64_MIN);
	dp_stmt_bind_text(stmt, 2, "text");
	dp_stmt_bind_text(stmt, 3, NULL);
	dp_stmt_bind_blob(stmt, 4, blob, sizeof blob);
	assert_int_equal(dp_stmt_step(stmt, &err), 1);
	assert_true(dp_stmt_int(stmt, 0) == INT64_MIN);
	assert_string_equal(dp_stmt_text(stmt, 1), "text");
	assert_string_equal(dp_stmt_text(stmt, 2), "");
	assert_memory_equal(dp_stmt_blob(stmt, 3, &size), blob, sizeof blob);
	assert_int_equal(size, sizeof blob);
	assert_int_equal(dp_stmt_step(stmt, &err), 0);
	dp_stmt_free(stmt);
	stmt = NULL;
	dp_store_close(store);
}

static void a_parameter_that_does_not_exist_fails_the_statement(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(dp_stmt_new(store, "DELETE FROM fruit WHERE n = ?1", &stmt, &err), &err);
	dp_stmt_bind_int(stmt, 2, 5);
	assert_true(dp_stmt_exec(stmt, NULL, &err) < 0);
	dp_stmt_bind_int(stmt, 1, 5);
	assert_ok(dp_stmt_exec(stmt, NULL, &err), &err); /* the failure is remembered once */
	dp_stmt_free(stmt);
	dp_store_close(store);
}

static void rows_changed_are_counted(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_stmt *stmt = NULL;
	struct dp_error err = DP_ERROR_INIT;
	int64_t n = -1;

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('a', 1), ('b', 1), ('c', 2)");
	assert_ok(dp_stmt_new(store, "DELETE FROM fruit WHERE n = ?1", &stmt, &err), &err);
	dp_stmt_bind_int(stmt, 1, 1);
	assert_ok(dp_stmt_exec(stmt, &n, &err), &err);
	assert_int_equal(n, 2);
	dp_stmt_bind_int(stmt, 1, 9);
	assert_ok(dp_stmt_exec(stmt, &n, &err), &err);
	assert_int_equal(n, 0);
	dp_stmt_free(stmt);
	dp_store_close(store);
}

static void a_statement_that_breaks_a_rule_has_no_effect(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('a', 1)");
	assert_int_equal(exec(store, "INSERT INTO fruit VALUES('b', 1), ('a', 2)", &err), -EEXIST);
	dp_store_rollback(store);
	assert_int_equal(n_fruits(store), 0);
	dp_store_close(store);
}

/* ---- a failing disk ---- */

/* What a process that is killed now leaves behind: a copy of database and log, opened. */
static int64_t n_fruits_after_a_kill(void)
{
	char command[6 * TEMPDIR_SIZE];
	struct dp_store *store = NULL;
	struct dp_error err = DP_ERROR_INIT;
	char copy[TEMPDIR_SIZE + 8];
	int64_t n;
	pid_t pid;

	(void)snprintf(copy, sizeof copy, "%s/copy", dir);
	(void)snprintf(command, sizeof command, "rm -rf %s && mkdir %s && cp %s/s.db* %s", copy,
		       copy, dir, copy);
	pid = fork();
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_ok(dp_store_open(copy, "s.db", &v1, &store, &err), &err);
	n = n_fruits(store);
	dp_store_close(store);
	return n;
}

static int change_much(struct dp_store *store, struct dp_error *err)
{
	int r = 0;

	for (int i = 0; i < 20 && r == 0; i++) {
		char sql[1200];

		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('%01000d', %d)", i, i);
		r = exec(store, sql, err);
	}
	return r;
}

/* Breaks the disk at its first, second, ... call, until a whole commit passes before the break. */
static void torture(enum failure failure, int error, int code)
{
	bool code_seen = false;

	for (unsigned call = 1;; call++) {
		struct dp_store *store = open_ok(&v1);
		struct dp_error err = DP_ERROR_INIT;
		int64_t before;
		int r;

		exec_ok(store, "DELETE FROM fruit");
		exec_ok(store, "INSERT INTO fruit VALUES('kept', 1)");
		commit_ok(store);
		before = n_fruits(store);
		assert_ok(change_much(store, &err), &err);
		break_disk_at(call, failure, error);
		r = dp_store_commit(store, &err);
		if (r == 0) {
			(void)mend_disk();
			assert_int_equal(n_fruits(store), before + 20);
			dp_store_close(store);
			assert_true(code_seen);
			return;
		}
		assert_true(mend_disk());
		assert_int_equal(r, code);
		code_seen = true;
		assert_contains(err.msg, path);
		assert_int_equal(n_fruits(store), before);
		exec_ok(store, "INSERT INTO fruit VALUES('later', 2)");
		assert_int_equal(n_fruits_after_a_kill(), before);
		commit_ok(store);
		dp_store_close(store);
		store = open_ok(&v1);
		assert_int_equal(n_fruits(store), before + 1);
		dp_store_close(store);
	}
}

static void a_commit_that_fails_on_a_full_disk_leaves_nothing_behind(void **state)
{
	(void)state;
	torture(FROM_THEN_ON, ENOSPC, -ENOSPC);
}

static void a_commit_that_fails_on_a_broken_disk_leaves_nothing_behind(void **state)
{
	(void)state;
	torture(FROM_THEN_ON, EIO, -EIO);
}

static void a_commit_that_fails_once_leaves_nothing_behind(void **state)
{
	(void)state;
	torture(ONCE, EIO, -EIO);
}

static void a_creation_that_fails_can_be_begun_again(void **state)
{
	(void)state;
	for (unsigned call = 1;; call++) {
		struct dp_error err = DP_ERROR_INIT;
		struct dp_store *store = NULL;
		int r;

		break_disk_at(call, FROM_THEN_ON, ENOSPC);
		r = dp_store_open(dir, "s.db", &v1, &store, &err);
		dp_store_close(store);
		if (!mend_disk()) {
			assert_ok(r, &err);
			assert_true(call > 5);
			return;
		}
		if (r < 0)
			assert_contains(err.msg, path);
		store = open_ok(&v1);
		exec_ok(store, "INSERT INTO fruit VALUES('pear', 3)");
		commit_ok(store);
		dp_store_close(store);
		assert_int_equal(unlink(path), 0);
	}
}

static void a_commit_that_failed_does_not_come_back_after_a_kill(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (unsigned call = 1;;
	     call++) { /* at some call, all is written and only the sync fails */
		struct dp_store *store = open_ok(&v1);
		int r;

		exec_ok(store, "DELETE FROM fruit");
		commit_ok(store);
		exec_ok(store, "INSERT INTO fruit VALUES('ghost', 1)");
		break_disk_at(call, ONCE, EIO);
		r = dp_store_commit(store, &err);
		if (mend_disk())
			assert_int_equal(n_fruits_after_a_kill(), 0);
		dp_store_close(store);
		if (r == 0)
			break;
	}
}

static void while_the_log_is_unsure_nothing_is_changed(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	exec_ok(store, "INSERT INTO fruit VALUES('kept', 1)");
	commit_ok(store);
	exec_ok(store, "INSERT INTO fruit VALUES('ghost', 1)");
	break_disk_at(1, FROM_THEN_ON, EIO);
	assert_true(dp_store_commit(store, &err) < 0);
	assert_true(exec(store, "INSERT INTO fruit VALUES('next', 2)", &err) < 0);
	assert_true(mend_disk());
	exec_ok(store, "INSERT INTO fruit VALUES('next', 2)");
	commit_ok(store);
	assert_int_equal(n_fruits_after_a_kill(), 2);
	dp_store_close(store);
}

/* All is written, only the sync fails, and goes on to fail until we are killed. */
static void a_commit_whose_sync_failed_does_not_come_back_while_syncs_fail(void **state)
{
	static const char *const good[] = { "INSERT INTO fruit VALUES('a', 1)",
					    "INSERT INTO fruit VALUES('b', 1)" };
	struct dp_store *store = open_ok(&v1);
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (size_t n_good = 0; n_good < DP_ARRAY_LEN(good); n_good++) { /* an empty log, and one that is not */
		exec_ok(store, "INSERT INTO fruit VALUES('ghost', 1)");
		break_disk_at(1, SYNCS_FROM_THEN_ON, EIO);
		assert_int_equal(dp_store_commit(store, &err), -EIO);
		assert_int_equal(n_fruits(store), n_good);
		assert_true(mend_disk());
		assert_int_equal(n_fruits_after_a_kill(), n_good);
		exec_ok(store, good[n_good]);
		commit_ok(store);
	}
	dp_store_close(store);
}

static void after_a_failed_statement_nothing_can_be_committed_unnoticed(void **state)
{
	struct dp_store *store = open_ok(&v1);
	struct dp_error err = DP_ERROR_INIT;
	static const char *const small_cache[] = { "PRAGMA cache_size = 1", "PRAGMA cache_spill = 1" };
	char sql[20000];
	int r = 0;

	(void)state;
	/* With a page of cache, statements write before the commit, and SQLite may give the whole
	 * transaction up when that fails. */
	for (size_t i = 0; i < DP_ARRAY_LEN(small_cache); i++) {
		DP_CLEANUP(dp_stmt_freep) struct dp_stmt *stmt = NULL;

		assert_ok(dp_stmt_new(store, small_cache[i], &stmt, &err), &err);
		assert_true(dp_stmt_step(stmt, &err) >= 0);
	}
	exec_ok(store, "INSERT INTO fruit VALUES('first', 1)");
	break_disk_at(1, FROM_THEN_ON, ENOSPC);
	for (int i = 0; i < 50 && r == 0; i++) {
		(void)snprintf(sql, sizeof sql, "INSERT INTO fruit VALUES('%018000d', %d)", i, i);
		r = exec(store, sql, &err);
	}
	assert_true(mend_disk());
	assert_true(r < 0);
	assert_true(exec(store, "INSERT INTO fruit VALUES('next', 2)", &err) < 0);
	assert_true(dp_store_commit(store, &err) < 0);
	assert_int_equal(n_fruits(store), 0);
	dp_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_new_store_is_made_with_the_present_version),
		TEST(a_missing_directory_is_made_private),
		TEST(a_directory_that_cannot_be_made_is_named),
		TEST(an_older_store_is_migrated_and_keeps_its_rows),
		TEST(a_migration_that_fails_changes_nothing),
		TEST(a_store_of_a_newer_release_is_refused_untouched),
		TEST(a_database_of_another_program_is_refused_untouched),
		TEST(a_file_that_is_no_database_is_refused_untouched),
		TEST(a_damaged_store_is_refused_untouched),
		TEST(a_truncated_store_is_refused_untouched),
		TEST(a_store_that_another_process_holds_is_refused),
		TEST(what_is_committed_is_there_after_opening_again),
		TEST(what_is_rolled_back_is_gone),
		TEST(what_is_not_committed_is_gone_after_closing),
		TEST(a_commit_costs_one_sync_and_none_if_nothing_changed),
		TEST(the_pages_of_a_commit_are_written_at_once),
		TEST(a_commit_that_is_longer_than_what_is_gathered_is_whole),
		TEST(the_log_does_not_grow_under_work),
		TEST(a_log_that_finds_no_room_keeps_nobody_from_work),
		TEST(a_log_that_was_never_written_is_empty),
		TEST(a_log_that_has_lost_its_header_is_refused),
		TEST(wrong_sql_is_refused_with_its_text),
		TEST(values_come_back_as_they_were_bound),
		TEST(a_parameter_that_does_not_exist_fails_the_statement),
		TEST(rows_changed_are_counted),
		TEST(a_statement_that_breaks_a_rule_has_no_effect),
		TEST(a_commit_that_fails_on_a_full_disk_leaves_nothing_behind),
		TEST(a_commit_that_fails_on_a_broken_disk_leaves_nothing_behind),
		TEST(a_commit_that_fails_once_leaves_nothing_behind),
		TEST(a_creation_that_fails_can_be_begun_again),
		TEST(a_commit_that_failed_does_not_come_back_after_a_kill),
		TEST(while_the_log_is_unsure_nothing_is_changed),
		TEST(a_commit_whose_sync_failed_does_not_come_back_while_syncs_fail),
		TEST(after_a_failed_statement_nothing_can_be_committed_unnoticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
