/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_STORE_FILE_H
#define DP_COMMON_STORE_FILE_H

/*
 * The bytes of a store's file, below SQLite and for common/store.c only.
 *
 * SQLite's pages carry no check of their own: a flipped bit in a row is read as the row. Here each
 * page of the database ends with a checksum over its content and number, written when SQLite writes
 * the page and compared when it reads it: so nothing that has changed on the disk is ever taken for
 * data. The room for it is SQLite's "reserved space at the end of each page" (header byte 20): a
 * file without it is read unchecked, and the store decides whether that may be.
 *
 * The log (NAME-wal) has checksums by SQLite, but where they fail SQLite takes that for the end of
 * the log, as a crash leaves it. dp_store_file_check() tells damage from the traces of a crash, as
 * far as that is possible: a crash can spoil the last transaction only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum {
	DP_STORE_PAGE_SIZE = 4096, /* bytes; of every store */
	DP_STORE_RESERVED = 8,     /* bytes of a page that hold its checksum */
	DP_STORE_LOG_HEADER = 32,  /* bytes; https://sqlite.org/fileformat2.html#walformat */
	DP_STORE_LOG_FRAME = 24 + DP_STORE_PAGE_SIZE,
};

/**
 * dp_store_file_vfs() - the name under which SQLite knows files with checksums
 *
 * Reads of a damaged page fail with SQLITE_CORRUPT. There is no shared memory: the database must be
 * locked exclusively.
 *
 * Return: the name, for sqlite3_open_v2(); NULL out of memory.
 */
const char *dp_store_file_vfs(void);

/**
 * dp_store_file_check() - look at a database and its log before SQLite does, changing nothing
 * @path:         of the database
 * @ret_n_frames: out: pages of the log up to the end of its last good transaction
 *
 * To be called before SQLite has opened it in this process: the kernel drops a process's locks on a
 * file with the first descriptor of it that is closed.
 *
 * Return: 1 it is there; 0 neither it nor a log is there; -EBUSY another process has it open;
 *         -EUCLEAN damaged; -EPROTO no database at all; another negative errno: cannot be read.
 */
DP_NODISCARD int dp_store_file_check(const char *path, int64_t *ret_n_frames, struct dp_error *err);

#endif
