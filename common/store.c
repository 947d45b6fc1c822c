/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * SQLite's promises hold for commits that succeed. Two gaps are closed here:
 *  - A commit that fails at its fdatasync has written its frames, commit mark and all, to the log.
 *    This process knows better, but one that recovers the log would believe them. So the log is
 *    emptied before anything else is written: at once if the disk allows it, else by begin().
 *  - A statement that fails for want of space or memory may roll the whole transaction back. What
 *    followed would commit itself, one by one; begin() refuses it.
 */

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/store.h"

struct dp_store {
	sqlite3 *db;
	char *path;
	bool dirty;            /* a transaction is open */
	bool log_unsure;       /* the log may hold a commit that has failed */
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

static int store_error(struct dp_store *store, int code, const char *what, struct dp_error *err)
{
	int r = code_to_errno(code);
	const char *remedy = "";

	if (r == -ENOSPC)
		remedy = ": the disk is full, free some space";
	else if (r == -EBUSY)
		remedy = ": another process has it open, is the daemon running twice?";
	else if (r == -EUCLEAN)
		remedy = ": the file is damaged; move it away and restore a copy";
	else if (r == -EPROTO)
		remedy = ": not a database of this program; move it away";
	return dp_error_set(err, DP_ERR_INTERNAL, r, "state %s: %s: %s%s", store->path, what,
			    store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code), remedy);
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

static int check_identity(struct dp_store *store, const struct dp_store_schema *schema,
			  int64_t *ret_version, struct dp_error *err)
{
	int64_t id;
	int64_t n_objects;
	char verdict[200];
	int r = query(store, "PRAGMA application_id", &id, NULL, 0, err);

	if (r < 0)
		return r;
	r = query(store, "PRAGMA user_version", ret_version, NULL, 0, err);
	if (r < 0)
		return r;
	r = query(store, "SELECT count(*) FROM sqlite_master", &n_objects, NULL, 0, err);
	if (r < 0)
		return r;
	if (id != schema->application_id && (id || *ret_version || n_objects))
		return dp_error_set(err, DP_ERR_INTERNAL, -EPROTO,
				    "state %s: a database of some other program (application id "
				    "%lld): move it away or name another --state-dir",
				    store->path, (long long)id);
	if (*ret_version > schema->n_migrations)
		return dp_error_set(err, DP_ERR_INTERNAL, -EOPNOTSUPP,
				    "state %s: version %lld, made by a newer release; this one knows "
				    "up to %u: install the newer release again",
				    store->path, (long long)*ret_version, schema->n_migrations);
	r = query(store, "PRAGMA quick_check(1)", NULL, verdict, sizeof verdict, err);
	if (r < 0)
		return r;
	if (strcmp(verdict, "ok"))
		return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
				    "state %s: damaged (%s): move it away and restore a copy; "
				    "nothing was changed",
				    store->path, verdict);
	return 0;
}

static int migrate(struct dp_store *store, const struct dp_store_schema *schema, int64_t version,
		   struct dp_error *err)
{
	char pragma[100];
	int r;

	if (version == schema->n_migrations)
		return 0;
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
	int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL);

	if (code == SQLITE_OK)
		return 0;
	(void)store_error(store, code, sql, err);
	return code == SQLITE_ERROR ? -EINVAL : code_to_errno(code);
}

static int configure(struct dp_store *store, const struct dp_store_schema *schema,
		     struct dp_error *err)
{
	int64_t version;
	int r;

	/* Before anything is read: exclusive locking keeps the WAL index in memory and others out. */
	r = exec_sql(store, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA foreign_keys=ON", "open", err);
	if (r < 0)
		return r;
	r = check_identity(store, schema, &version, err);
	if (r < 0)
		return r;
	r = exec_sql(store, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", "open", err);
	if (r < 0)
		return r;
	/* Takes the exclusive lock now, so that a second daemon fails at start, not at work. */
	r = exec_sql(store, "BEGIN EXCLUSIVE; COMMIT", "open", err);
	if (r < 0)
		return r;
	r = migrate(store, schema, version, err);
	if (r < 0)
		return r;
	r = prepare(store, "BEGIN IMMEDIATE", &store->begin, err);
	if (r < 0)
		return r;
	r = prepare(store, "COMMIT", &store->commit, err);
	if (r < 0)
		return r;
	return prepare(store, "ROLLBACK", &store->rollback, err);
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
	mode_t mask;
	int code;
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
	mask = umask(0077);
	code = sqlite3_open_v2(store->path, &store->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	(void)umask(mask);
	if (code != SQLITE_OK)
		return store_error(store, code, "open", err);
	(void)sqlite3_extended_result_codes(store->db, 1);
	r = configure(store, schema, err);
	if (r < 0)
		return r;
	*ret_store = DP_TAKE_PTR(store);
	return 0;
}

void dp_store_close(struct dp_store *store)
{
	if (!store)
		return;
	if (store->dirty)
		dp_store_rollback(store);
	(void)sqlite3_finalize(store->begin);
	(void)sqlite3_finalize(store->commit);
	(void)sqlite3_finalize(store->rollback);
	(void)sqlite3_close(store->db);
	free(store->path);
	free(store);
}

static int run(sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);

	(void)sqlite3_reset(stmt);
	return code;
}

/* Moves what is good from the log into the database and truncates the log. */
static int empty_log(struct dp_store *store, struct dp_error *err)
{
	int64_t busy = 1;
	int r = query(store, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, NULL, 0, err);

	if (r == 0 && busy)
		r = store_error(store, SQLITE_BUSY, "empty the log", err);
	if (r == 0)
		store->log_unsure = false;
	return r;
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
	(void)empty_log(store, NULL);
	return r;
}

void dp_store_rollback(struct dp_store *store)
{
	if (!store->dirty)
		return;
	/* SQLite rolls back by itself on some errors; then this one fails, with the same outcome. */
	(void)run(store->rollback);
	store->dirty = false;
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

	if (store->dirty && sqlite3_get_autocommit(store->db))
		return dp_error_set(err, DP_ERR_INTERNAL, -EIO,
				    "state %s: the transaction was given up after an earlier failure",
				    store->path);
	if (store->dirty)
		return 0;
	if (store->log_unsure) {
		int r = empty_log(store, err);

		if (r < 0)
			return r;
	}
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

int dp_stmt_step(struct dp_stmt *stmt, struct dp_error *err)
{
	int code = take_bind_code(stmt);
	int r;

	if (code == SQLITE_OK)
		code = sqlite3_step(stmt->stmt);
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
