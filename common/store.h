/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_STORE_H
#define DP_COMMON_STORE_H

/*
 * Durable state: one SQLite file a daemon, WAL with synchronous=FULL, held exclusively. This is
 * the only place that knows SQLite.
 *
 * Invariants:
 *  (1) Changes between two dp_store_commit() calls are one transaction, opened by the first of
 *      them. After a failed commit, or dp_store_rollback(), none of them exists.
 *  (2) When dp_store_commit() has returned 0 the changes are on stable storage: what they promise
 *      may be told to the world.
 *  (3) A file that is foreign, newer than this program, or damaged is never changed and never
 *      replaced: opening it fails and the daemon does not start. Every page is checked when it is
 *      read (store_file.h); of a log that a crash has left only damage to its last transaction
 *      cannot be told from the crash.
 *  (4) What is only read, since its rows turn out to make no sense, is left as it is, with its log.
 *
 *      open ──► clean ── dp_stmt_exec() ──► dirty ── commit ok ──► clean
 *                 ▲                           │
 *                 └──── rollback, commit failed ◄
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/error.h"

struct dp_store;
struct dp_stmt;

/* What must hold between rows. */
struct dp_store_rule {
	const char *sql;  /* gives the number of rows that break it */
	const char *what; /* they are: "leases of a pool that does not exist" */
};

/* What a store must look like. */
struct dp_store_schema {
	uint32_t application_id;         /* SQLite's application_id: whose file it is */
	const char *const *migrations;   /* [i] is SQL that leads from version i to i + 1 */
	unsigned n_migrations;           /* the version this program works with */
	unsigned checked_since;          /* from this version on, every page has a checksum */
	const struct dp_store_rule *rules; /* of the present version; for dp_store_check() */
	unsigned n_rules;
};

/**
 * dp_store_open() - open or create the store and bring it to the present version
 * @dir:    state directory, made if missing (0700)
 * @name:   file name in it
 * @schema: borrowed for the call
 * @ret_store: out: new; closed by dp_store_close()
 * @err:    out: file, cause and remedy
 *
 * All missing migrations are one transaction.
 *
 * Return: 0; -EBUSY another process holds it; -EUCLEAN damaged; -EPROTO foreign; -EOPNOTSUPP made
 *         by a newer version; -EIO, -ENOSPC, -EACCES and so on as the disk says; -ENOMEM.
 */
DP_NODISCARD int dp_store_open(const char *dir, const char *name,
			       const struct dp_store_schema *schema, struct dp_store **ret_store,
			       struct dp_error *err);

/**
 * dp_store_check() - look at a store that no daemon has open, thoroughly, and change nothing
 * @out:         gets a line for each finding
 * @ret_version: out: of the file, which may be an older one: then rules are not looked at
 *
 * Return: number of findings; -ENOENT there is no such store; else as dp_store_open().
 */
DP_NODISCARD int dp_store_check(const char *dir, const char *name,
				const struct dp_store_schema *schema, FILE *out,
				unsigned *ret_version, struct dp_error *err);

/* dp_store_close() - rolls back what was not committed; its statements must be gone. */
void dp_store_close(struct dp_store *store);
DP_DEFINE_CLEANUP(struct dp_store, dp_store_close);

/**
 * dp_store_commit() - make all changes since the last commit durable
 *
 * Blocks for one fdatasync(2); costs nothing if nothing was changed.
 *
 * Return: 0; else nothing of them has happened: -ENOSPC, -EIO, ...
 */
DP_NODISCARD int dp_store_commit(struct dp_store *store, struct dp_error *err);

/* dp_store_rollback() - forget all changes since the last commit. */
void dp_store_rollback(struct dp_store *store);

/**
 * dp_stmt_new() - prepare @sql, kept until dp_stmt_free()
 * @sql: one statement; `?1`, `?2` are its parameters
 *
 * Return: 0; -EINVAL the SQL is wrong; -ENOMEM.
 */
DP_NODISCARD int dp_stmt_new(struct dp_store *store, const char *sql, struct dp_stmt **ret_stmt,
			     struct dp_error *err);

/* dp_stmt_free() - NULL is fine. */
void dp_stmt_free(struct dp_stmt *stmt);
DP_DEFINE_CLEANUP(struct dp_stmt, dp_stmt_free);

/*
 * dp_stmt_bind_*() - set parameter @i, counted from 1; pointers are borrowed until the statement
 * has been executed or reset. A failure is remembered and reported by dp_stmt_exec()/_step().
 */
void dp_stmt_bind_int(struct dp_stmt *stmt, int i, int64_t v);
void dp_stmt_bind_text(struct dp_stmt *stmt, int i, const char *v); /* NULL binds NULL */
void dp_stmt_bind_blob(struct dp_stmt *stmt, int i, const void *v, size_t size_bytes);

/**
 * dp_stmt_exec() - run a statement that changes rows, opening the transaction if none is open
 * @ret_n_changed: out: rows changed; may be NULL
 *
 * Return: 0; else the statement had no effect, and the transaction must be rolled back.
 */
DP_NODISCARD int dp_stmt_exec(struct dp_stmt *stmt, int64_t *ret_n_changed, struct dp_error *err);

/**
 * dp_stmt_step() - next row of a query
 *
 * Return: 1 a row is there; 0 no more rows (the statement is reset); negative errno.
 */
DP_NODISCARD int dp_stmt_step(struct dp_stmt *stmt, struct dp_error *err);

/* dp_stmt_reset() - end a query before its last row. */
void dp_stmt_reset(struct dp_stmt *stmt);

/* Columns of the present row, counted from 0; pointers live until the next step or reset. */
int64_t dp_stmt_int(struct dp_stmt *stmt, int col);
const char *dp_stmt_text(struct dp_stmt *stmt, int col); /* never NULL: NULL reads as "" */
const void *dp_stmt_blob(struct dp_stmt *stmt, int col, size_t *ret_size_bytes);

#endif
