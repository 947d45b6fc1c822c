/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_ARCHIVE_H
#define DP_COMMON_ARCHIVE_H

/*
 * A daemon's whole state as JSON, to keep, read, move to another host or bring back. With the daemon
 * stopped, since it holds its database alone. One object:
 *
 *   {"format": "myipamplugin", "version": 4, "tables": {
 *     "pool": [
 *       {"id": 1, "name": "local/10.1.0.0/24"},     a row a line
 *     ...
 *
 * Every column of every row is there, under its name: whole numbers, texts, null, and bytes as
 * {"hex": "00ff"}. "version" is that of the database, and older ones are brought up to date when
 * they are imported.
 */

#include <jansson.h>

#include "common/schema.h"
#include "common/store.h"

/* Whose state. */
struct dp_archive {
	const char *format;                   /* "myipamplugin": what the file says it is */
	const char *file;                     /* name of the database in the state directory */
	const struct dp_store_schema *schema;
	/* Are the rows sound? Of a store in @dir that nobody has open; prints a line for each finding.
	 * Return: number of findings; negative errno. */
	int (*check)(const char *dir, FILE *out, struct dp_error *err);
};

/**
 * dp_archive_export() - write the state in @dir to @out
 *
 * A database of an older version is brought up to date first, as the daemon would at its next start.
 *
 * Return: 0; -ENOENT there is none; -EIO @out took not all; as dp_store_open().
 */
DP_NODISCARD int dp_archive_export(const struct dp_archive *archive, const char *dir, FILE *out,
				   struct dp_error *err);

/**
 * dp_archive_import() - make the state in @dir what a JSON file says
 * @path:    file; "-" = standard input
 * @replace: a state that is there is kept beside as FILE.bak; else it is a reason to refuse
 *
 * The new database is made beside the old one, brought up to date and checked, and takes its place at
 * the end: whatever fails before leaves everything as it was.
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) the file is not such an export, with the place; -EEXIST there
 *         is a state; -EBUSY the daemon runs; -EUCLEAN its rows contradict each other (told on
 *         standard error); as dp_store_open().
 */
DP_NODISCARD int dp_archive_import(const struct dp_archive *archive, const char *dir,
				   const char *path, bool replace, struct dp_error *err);

/* The options of the command `import`, for struct dp_command. */
extern const struct dp_schema dp_archive_import_schema;
extern const char *const dp_archive_import_operands[];

/* dp_archive_run_import() - dp_archive_import() with the words of the command line. */
DP_NODISCARD int dp_archive_run_import(const struct dp_archive *archive, const char *dir,
				       const json_t *args, struct dp_error *err);

#endif
