/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * SQLite's promises hold for commits that succeed. Three gaps are closed here:
 *  - A commit that fails at its fdatasync has written its frames, commit mark and all, to the log.
 *    This process knows better, but one that recovers the log would believe them. So the log is
 *    cut behind the last good commit, or if that fails too its next frame is made invalid: in the
 *    kernel's memory at least, which outlives us. And it is emptied, durably, before anything else
 *    is written: at once if the disk allows it, else by begin().
 *  - A statement that fails for want of space or memory may roll the whole transaction back. What
 *    followed would commit itself, one by one; begin() refuses it.
 *  - Half a database is taken for an empty one. So a new one is made under another name, NAME.new,
 *    and renamed when it is complete and on the disk: then whatever is less is damage.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/store.h"
#include "common/store_file.h"

enum { CHECKPOINT_FRAMES = 1000 }; /* of the log, until it is copied into the database */

/* Bytes of a log that is as long as it gets, the last transaction aside. */
enum { LOG_SIZE = DP_STORE_LOG_HEADER + CHECKPOINT_FRAMES * DP_STORE_LOG_FRAME };

struct dp_store {
	sqlite3 *db;
	char *path;
	bool dirty;           /* a transaction is open */
	bool rollback_due;    /* one has failed: what is to be forgotten can be read still */
	bool log_unsure;      /* the log may hold a commit that has failed */
	bool changed;         /* something has been committed since it was opened */
	bool stretched;       /* stretch_log() has been called */
	int64_t n_log_frames; /* of the log, up to the end of the last commit; 0: none is needed */
	sqlite3_stmt *begin;
	sqlite3_stmt *commit;
	sqlite3_stmt *rollback;
};

struct dp_stmt {
	struct dp_store *store;
	sqlite3_stmt *stmt;
	int bind_code; /* first failure of a bind since the last run; SQLITE_OK = none */
};

/* SQLite's result codes, converted where they are first seen. */
static int code_to_errno(int code)
{
	if (code == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
		return -EUCLEAN;
	case SQLITE_NOTADB:
		return -EPROTO;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

static sqlite3_file *log_file(struct dp_store *store)
{
	sqlite3_file *log = NULL;

	(void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	return log && log->pMethods ? log : NULL;
}

/* A disk may say only at the sync that it is full, which SQLite calls an I/O error. */
static bool log_is_full(struct dp_store *store)
{
	sqlite3_file *log = store->db ? log_file(store) : NULL;
	int error = 0;

	if (log)
		(void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
	return error == ENOSPC || error == EDQUOT;
}

static int store_error(struct dp_store *store, int code, const char *what, struct dp_error *err)
{
	int r = code == SQLITE_IOERR_FSYNC && log_is_full(store) ? -ENOSPC : code_to_errno(code);
	const char *why = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);
	const char *remedy = "";

	if (r == -ENOSPC)
		remedy = ": the disk is full, free some space";
	else if (r == -EBUSY)
		remedy = ": another process has it open, is the daemon running twice?";
	else if (r == -EUCLEAN)
		remedy = ": the file is damaged; move it away and restore a copy";
	else if (r == -EPROTO)
		remedy = ": not a database of this program; move it away";
	if (r == -ENOMEM) /* SQLite sometimes tells what it was about instead */
		why = "out of memory";
	return dp_error_set(err, DP_ERR_INTERNAL, r, "state %s: %s: %s%s", store->path, what, why, remedy);
}

static int exec_sql(struct dp_store *store, const char *sql, const char *what, struct dp_error *err)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : store_error(store, code, what, err);
}

/* First column of the first row of @sql, as a number or as text. */
static int query(struct dp_store *store, const char *sql, int64_t *ret_int, char *text, size_t size,
		 struct dp_error *err)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);

	if (code == SQLITE_OK) {
		code = sqlite3_step(stmt);
		if (code == SQLITE_ROW && ret_int)
			*ret_int = sqlite3_column_int64(stmt, 0);
		if (code == SQLITE_ROW && text)
			(void)snprintf(text, size, "%s",
				       (const char *)sqlite3_column_text(stmt, 0));
	}
	(void)sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? 0 : store_error(store, code, "read", err);
}

static int damaged(struct dp_store *store, const char *what, struct dp_error *err)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
			    "state %s: damaged (%s): move it away and restore a copy; nothing was "
			    "changed",
			    store->path, what);
}

static int check_identity(struct dp_store *store, const struct dp_store_schema *schema,
			  int64_t *ret_version, struct dp_error *err)
{
	int64_t id;
	int r = query(store, "PRAGMA application_id", &id, NULL, 0, err);

	if (r < 0)
		return r;
	r = query(store, "PRAGMA user_version", ret_version, NULL, 0, err);
	if (r < 0)
		return r;
	if (id != schema->application_id)
		return dp_error_set(err, DP_ERR_INTERNAL, -EPROTO,
				    "state %s: a database of some other program (application id "
				    "%lld): move it away or name another --state-dir",
				    store->path, (long long)id);
	if (*ret_version > schema->n_migrations)
		return dp_error_set(
			err, DP_ERR_INTERNAL, -EOPNOTSUPP,
			"state %s: version %lld, made by a newer release; this one knows "
			"up to %u: install the newer release again",
			store->path, (long long)*ret_version, schema->n_migrations);
	return 0;
}

/* Bytes at the end of each page that hold its checksum, or are to from now on. */
static int reserved_bytes(struct dp_store *store, int set)
{
	(void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &set);
	return set;
}

static int check_checksums(struct dp_store *store, const struct dp_store_schema *schema,
			   int64_t version, struct dp_error *err)
{
	if (version >= schema->checked_since && reserved_bytes(store, -1) != DP_STORE_RESERVED)
		return damaged(store, "its pages should have checksums", err);
	return 0;
}

/* Reads every page, and so compares every checksum. */
static int check_pages(struct dp_store *store, const struct dp_store_schema *schema,
		       int64_t version, struct dp_error *err)
{
	char verdict[200];
	int r = check_checksums(store, schema, version, err);

	if (r < 0)
		return r;
	r = query(store, "PRAGMA quick_check(1)", NULL, verdict, sizeof verdict, err);
	if (r == 0 && strcmp(verdict, "ok"))
		r = damaged(store, verdict, err);
	return r;
}

/* A file of an older release gets room for checksums: all pages are written anew, at once. */
static int add_checksums(struct dp_store *store, struct dp_error *err)
{
	if (reserved_bytes(store, -1) == DP_STORE_RESERVED)
		return 0;
	(void)reserved_bytes(store, DP_STORE_RESERVED);
	return exec_sql(store, "VACUUM", "migrate", err);
}

static int migrate(struct dp_store *store, const struct dp_store_schema *schema, int64_t version,
		   struct dp_error *err)
{
	char pragma[100];
	int r = add_checksums(store, err);

	if (r < 0 || version == schema->n_migrations)
		return r;
	r = exec_sql(store, "BEGIN IMMEDIATE", "begin", err);
	for (; r == 0 && version < schema->n_migrations; version++)
		r = exec_sql(store, schema->migrations[version], "migrate", err);
	(void)snprintf(pragma, sizeof pragma, "PRAGMA application_id=%u; PRAGMA user_version=%u",
		       schema->application_id, schema->n_migrations);
	if (r == 0)
		r = exec_sql(store, pragma, "migrate", err);
	if (r == 0)
		r = exec_sql(store, "COMMIT", "migrate", err);
	if (r < 0)
		(void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static int prepare(struct dp_store *store, const char *sql, sqlite3_stmt **ret_stmt,
		   struct dp_error *err)
{
	int code =
		sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL);

	if (code == SQLITE_OK)
		return 0;
	(void)store_error(store, code, code == SQLITE_ERROR ? sql : "prepare", err);
	return code == SQLITE_ERROR ? -EINVAL : code_to_errno(code);
}

/* After a commit, SQLite's and ours: the log now has @n_frames. */
static int on_commit(void *ctx, sqlite3 *db, const char *name, int n_frames)
{
	struct dp_store *store = ctx;
	int n_log = 0;
	int n_copied = -1;

	store->n_log_frames = n_frames;
	if (!store->changed)
		(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	store->changed = true;
	if (n_frames < CHECKPOINT_FRAMES)
		return SQLITE_OK;
	/* Where this fails, the log grows until it succeeds: nothing depends on it. */
	if (sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, &n_log, &n_copied) ==
		    SQLITE_OK &&
	    n_log == n_copied)
		store->n_log_frames = 0;
	return SQLITE_OK;
}

static int open_file(struct dp_store *store, const char *path, int flags, struct dp_error *err)
{
	const char *vfs = dp_store_file_vfs();
	mode_t mask;
	int code;

	if (!vfs)
		return dp_error_oom(err);
	mask = umask(0077);
	code = sqlite3_open_v2(path, &store->db,
			       flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);
	(void)umask(mask);
	if (code != SQLITE_OK)
		return store_error(store, code, "open", err);
	(void)sqlite3_extended_result_codes(store->db, 1);
	/* What is only looked at is left as it is: the log is not copied at the end. */
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_wal_hook(store->db, on_commit, store);
	/* Before anything is read: exclusive locking keeps the WAL index in memory and others out.
	 * Pages are written by commits only, so that the log has no beginnings of others. */
	return exec_sql(
		store,
		"PRAGMA locking_mode=EXCLUSIVE; PRAGMA foreign_keys=ON; PRAGMA cache_spill=OFF",
		"open", err);
}

static void close_file(struct dp_store *store)
{
	(void)sqlite3_finalize(store->begin);
	(void)sqlite3_finalize(store->commit);
	(void)sqlite3_finalize(store->rollback);
	(void)sqlite3_close(store->db);
	store->begin = store->commit = store->rollback = NULL;
	store->db = NULL;
}

/*
 * Writes zeros where the log will grow. Syncing a file that grows costs several times as much as
 * syncing one that is overwritten, since its size and extents go to the disk too. SQLite takes
 * what it has not written for the end of the log, whatever is there. Without room we do without.
 */
static void stretch_log(struct dp_store *store)
{
	static const char zeros[64 * 1024];
	auto_free char *path = NULL;
	auto_close int fd = -EBADF;
	struct stat st;
	off_t at;

	store->stretched = true;
	if (asprintf(&path, "%s-wal", store->path) < 0) {
		path = NULL;
		return;
	}
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	for (at = st.st_size; at < LOG_SIZE; at += (off_t)sizeof zeros) {
		if (pwrite(fd, zeros, sizeof zeros, at) != (ssize_t)sizeof zeros)
			break;
	}
	/* Half of it is of no use, and the space may be of some elsewhere. */
	if ((at < LOG_SIZE || fdatasync(fd) < 0) && ftruncate(fd, st.st_size) < 0)
		return;
}

static int configure(struct dp_store *store, const struct dp_store_schema *schema,
		     struct dp_error *err)
{
	int64_t version;
	int r = check_identity(store, schema, &version, err);

	if (r == 0)
		r = check_pages(store, schema, version, err);
	/* Takes the exclusive lock now, so that a second daemon fails at start, not at work. */
	if (r == 0)
		r = exec_sql(store,
			     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			     "BEGIN EXCLUSIVE; COMMIT",
			     "open", err);
	if (r == 0)
		r = migrate(store, schema, version, err);
	if (r == 0)
		r = prepare(store, "BEGIN IMMEDIATE", &store->begin, err);
	if (r == 0)
		r = prepare(store, "COMMIT", &store->commit, err);
	if (r == 0)
		r = prepare(store, "ROLLBACK", &store->rollback, err);
	return r;
}

/* Moves what is good from the log into the database and truncates the log. */
static int empty_log(struct dp_store *store, struct dp_error *err)
{
	int64_t busy = 1;
	int r = query(store, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, NULL, 0, err);

	if (r == 0 && busy)
		r = store_error(store, SQLITE_BUSY, "empty the log", err);
	if (r == 0) {
		store->log_unsure = false;
		store->n_log_frames = 0;
	}
	return r;
}

static int sync_dir(const char *dir)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* What a creation that was cut off has left. */
static void unlink_all(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-journal" };
	char name[PATH_MAX];

	for (size_t i = 0; i < DP_ARRAY_LEN(suffixes); i++) {
		(void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
		(void)unlink(name);
	}
}

/* Fills the new file @path. */
static int fill(struct dp_store *store, const char *path, const struct dp_store_schema *schema,
		struct dp_error *err)
{
	int r = open_file(store, path, SQLITE_OPEN_CREATE, err);

	if (r < 0)
		return r;
	(void)reserved_bytes(store, DP_STORE_RESERVED);
	r = exec_sql(store,
		     "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
		     "create", err);
	if (r == 0)
		r = migrate(store, schema, 0, err);
	return r == 0 ? empty_log(store, err) : r;
}

/* Makes @store->path, complete or not at all. */
static int create(struct dp_store *store, const char *dir, const struct dp_store_schema *schema,
		  struct dp_error *err)
{
	auto_free char *fresh = NULL;
	int r;

	if (asprintf(&fresh, "%s.new", store->path) < 0) {
		fresh = NULL;
		return dp_error_oom(err);
	}
	unlink_all(fresh);
	r = fill(store, fresh, schema, err);
	close_file(store);
	store->changed = false;
	if (r < 0)
		return r;
	if (rename(fresh, store->path) == 0 && sync_dir(dir) == 0)
		return 0;
	return dp_error_set(err, DP_ERR_INTERNAL, -errno, "state %s: create: %s", store->path,
			    strerror(errno));
}

static int make_dirs(const char *dir, struct dp_error *err)
{
	auto_free char *path = strdup(dir);

	if (!path)
		return dp_error_oom(err);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(path, 0755);
		*p = '/';
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "state directory %s: %s", dir,
				    strerror(errno));
	return 0;
}

int dp_store_open(const char *dir, const char *name, const struct dp_store_schema *schema,
		  struct dp_store **ret_store, struct dp_error *err)
{
	DP_CLEANUP(dp_store_closep) struct dp_store *store = calloc(1, sizeof *store);
	int r;

	if (!store)
		return dp_error_oom(err);
	r = make_dirs(dir, err);
	if (r < 0)
		return r;
	if (asprintf(&store->path, "%s/%s", dir, name) < 0) {
		store->path = NULL;
		return dp_error_oom(err);
	}
	/* Nobody asks how much memory SQLite has: counting it takes a lock for each allocation. Refused
	 * where SQLite is in use already, which is no harm. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	r = dp_store_file_check(store->path, &store->n_log_frames, err);
	if (r == 0)
		r = create(store, dir, schema, err);
	if (r >= 0)
		r = open_file(store, store->path, 0, err);
	if (r == 0)
		r = configure(store, schema, err);
	if (r < 0)
		return r;
	*ret_store = DP_TAKE_PTR(store);
	return 0;
}

/* SQLite makes a log to see that there is none. */
static void unlink_empty_log(const struct dp_store *store)
{
	char name[PATH_MAX];
	struct stat st;

	(void)snprintf(name, sizeof name, "%s-wal", store->path);
	if (stat(name, &st) == 0 && st.st_size == 0)
		(void)unlink(name);
}

void dp_store_close(struct dp_store *store)
{
	if (!store)
		return;
	if (store->dirty)
		dp_store_rollback(store);
	if (store->log_unsure)
		(void)empty_log(store, NULL);
	if (store->db) {
		close_file(store);
		unlink_empty_log(store);
	}
	free(store->path);
	free(store);
}

/* Prints SQLite's own findings. Return: how many; negative errno. */
static int check_structure(struct dp_store *store, FILE *out, struct dp_error *err)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check", -1, &stmt, NULL);
	int n = 0;

	while (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *line = (const char *)sqlite3_column_text(stmt, 0);

		if (!line)
			code = SQLITE_NOMEM;
		if (line && strcmp(line, "ok")) {
			fprintf(out, "%s: %s\n", store->path, line);
			n++;
		}
		code = code == SQLITE_NOMEM ? code : SQLITE_OK;
	}
	(void)sqlite3_finalize(stmt);
	return code == SQLITE_DONE ? n : store_error(store, code, "read", err);
}

static int check_rules(struct dp_store *store, const struct dp_store_schema *schema, FILE *out,
		       struct dp_error *err)
{
	int n = 0;

	for (unsigned i = 0; i < schema->n_rules; i++) {
		int64_t n_rows;
		int r = query(store, schema->rules[i].sql, &n_rows, NULL, 0, err);

		if (r < 0)
			return r;
		if (n_rows) {
			fprintf(out, "%s: %s: %lld\n", store->path, schema->rules[i].what,
				(long long)n_rows);
			n++;
		}
	}
	return n;
}

static int check(struct dp_store *store, const struct dp_store_schema *schema, FILE *out,
		 unsigned *ret_version, struct dp_error *err)
{
	int64_t version;
	int r = open_file(store, store->path, 0, err);
	int n;

	if (r == 0)
		r = check_identity(store, schema, &version, err);
	if (r == 0)
		r = check_checksums(store, schema, version, err);
	if (r < 0)
		return r;
	*ret_version = (unsigned)version;
	n = check_structure(store, out, err);
	if (n || version < schema->n_migrations)
		return n;
	return check_rules(store, schema, out, err);
}

int dp_store_check(const char *dir, const char *name, const struct dp_store_schema *schema,
		   FILE *out, unsigned *ret_version, struct dp_error *err)
{
	DP_CLEANUP(dp_store_closep) struct dp_store *store = calloc(1, sizeof *store);
	int r;

	if (!store)
		return dp_error_oom(err);
	if (asprintf(&store->path, "%s/%s", dir, name) < 0) {
		store->path = NULL;
		return dp_error_oom(err);
	}
	r = dp_store_file_check(store->path, &store->n_log_frames, err);
	if (r == 0)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "state %s: there is none",
				    store->path);
	return r < 0 ? r : check(store, schema, out, ret_version, err);
}

static int run(sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);

	(void)sqlite3_reset(stmt);
	return code;
}

/*
 * Takes from the log what a failed commit may have written behind its good frames. Not durable yet:
 * but a process that comes after us will not see it.
 */
static void cut_log(struct dp_store *store)
{
	static const char nothing[DP_STORE_LOG_HEADER];
	sqlite3_file *log = log_file(store);
	int64_t end = 0;

	if (store->n_log_frames)
		end = DP_STORE_LOG_HEADER + store->n_log_frames * DP_STORE_LOG_FRAME;
	if (log && log->pMethods->xTruncate(log, end) != SQLITE_OK) {
		(void)log->pMethods->xWrite(log, nothing, sizeof nothing, end);
		(void)log->pMethods->xSync(log, SQLITE_SYNC_NORMAL); /* no later than now */
	}
}

/* SQLite rolls back by itself on some errors; then ours fails, with the same outcome. It also fails where
 * memory is short, and is tried again before anything is read or written. */
static int roll_back(struct dp_store *store, struct dp_error *err)
{
	int code;

	if (!store->rollback_due)
		return 0;
	code = run(store->rollback);
	if (!sqlite3_get_autocommit(store->db))
		return store_error(store, code, "roll back", err);
	store->rollback_due = false;
	return 0;
}

int dp_store_commit(struct dp_store *store, struct dp_error *err)
{
	int code;
	int r;

	if (!store->dirty)
		return 0;
	code = run(store->commit);
	if (code == SQLITE_DONE) {
		store->dirty = false;
		return 0;
	}
	r = store_error(store, code, "commit", err);
	dp_store_rollback(store);
	store->log_unsure = true;
	if (empty_log(store, NULL) < 0)
		cut_log(store);
	return r;
}

void dp_store_rollback(struct dp_store *store)
{
	if (!store->dirty)
		return;
	store->dirty = false;
	store->rollback_due = true;
	(void)roll_back(store, NULL);
}

int dp_stmt_new(struct dp_store *store, const char *sql, struct dp_stmt **ret_stmt,
		struct dp_error *err)
{
	struct dp_stmt *stmt = calloc(1, sizeof *stmt);
	int r;

	if (!stmt)
		return dp_error_oom(err);
	stmt->store = store;
	r = prepare(store, sql, &stmt->stmt, err);
	if (r < 0) {
		free(stmt);
		return r;
	}
	*ret_stmt = stmt;
	return 0;
}

void dp_stmt_free(struct dp_stmt *stmt)
{
	if (!stmt)
		return;
	(void)sqlite3_finalize(stmt->stmt);
	free(stmt);
}

static void note_bind(struct dp_stmt *stmt, int code)
{
	if (code != SQLITE_OK && stmt->bind_code == SQLITE_OK)
		stmt->bind_code = code;
}

void dp_stmt_bind_int(struct dp_stmt *stmt, int i, int64_t v)
{
	note_bind(stmt, sqlite3_bind_int64(stmt->stmt, i, v));
}

void dp_stmt_bind_text(struct dp_stmt *stmt, int i, const char *v)
{
	note_bind(stmt, sqlite3_bind_text(stmt->stmt, i, v, -1, SQLITE_STATIC));
}

void dp_stmt_bind_blob(struct dp_stmt *stmt, int i, const void *v, size_t size_bytes)
{
	note_bind(stmt, sqlite3_bind_blob64(stmt->stmt, i, v, size_bytes, SQLITE_STATIC));
}

static int take_bind_code(struct dp_stmt *stmt)
{
	int code = stmt->bind_code;

	stmt->bind_code = SQLITE_OK;
	return code;
}

static int begin(struct dp_store *store, struct dp_error *err)
{
	int code;
	int r = roll_back(store, err);

	if (r < 0)
		return r;
	if (store->dirty && sqlite3_get_autocommit(store->db))
		return dp_error_set(
			err, DP_ERR_INTERNAL, -EIO,
			"state %s: the transaction was given up after an earlier failure",
			store->path);
	if (store->dirty)
		return 0;
	if (store->log_unsure) {
		r = empty_log(store, err);
		if (r < 0)
			return r;
	}
	if (!store->stretched)
		stretch_log(store);
	code = run(store->begin);
	if (code != SQLITE_DONE)
		return store_error(store, code, "begin", err);
	store->dirty = true;
	return 0;
}

int dp_stmt_exec(struct dp_stmt *stmt, int64_t *ret_n_changed, struct dp_error *err)
{
	int code = take_bind_code(stmt);
	int r = begin(stmt->store, err);

	if (r < 0)
		return r;
	if (code == SQLITE_OK)
		code = run(stmt->stmt);
	if (code != SQLITE_DONE)
		return store_error(stmt->store, code, "write", err);
	if (ret_n_changed)
		*ret_n_changed = sqlite3_changes64(stmt->store->db);
	return 0;
}

/* SQLite may have to copy a text to end it with a NUL, and says that it could not by giving none. Here
 * that can be told from a row's own NULL, and once it has succeeded it does not fail later. */
static bool texts_are_there(sqlite3_stmt *stmt)
{
	for (int i = 0; i < sqlite3_data_count(stmt); i++) {
		if (sqlite3_column_type(stmt, i) == SQLITE_TEXT && !sqlite3_column_text(stmt, i))
			return false;
	}
	return true;
}

int dp_stmt_step(struct dp_stmt *stmt, struct dp_error *err)
{
	int code = take_bind_code(stmt);
	int r = roll_back(stmt->store, err);

	if (r < 0)
		return r;
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt->stmt);
	if (code == SQLITE_ROW && !texts_are_there(stmt->stmt))
		code = SQLITE_NOMEM;
	if (code == SQLITE_ROW)
		return 1;
	r = code == SQLITE_DONE ? 0 : store_error(stmt->store, code, "read", err);
	(void)sqlite3_reset(stmt->stmt);
	return r;
}

void dp_stmt_reset(struct dp_stmt *stmt)
{
	(void)sqlite3_reset(stmt->stmt);
}

int64_t dp_stmt_int(struct dp_stmt *stmt, int col)
{
	return sqlite3_column_int64(stmt->stmt, col);
}

const char *dp_stmt_text(struct dp_stmt *stmt, int col)
{
	const unsigned char *s = sqlite3_column_text(stmt->stmt, col);

	return s ? (const char *)s : "";
}

const void *dp_stmt_blob(struct dp_stmt *stmt, int col, size_t *ret_size_bytes)
{
	const void *p = sqlite3_column_blob(stmt->stmt, col);

	*ret_size_bytes = (size_t)sqlite3_column_bytes(stmt->stmt, col);
	return p;
}
