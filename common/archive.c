/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/archive.h"
#include "common/json.h"

enum { MAX_COLUMNS = 32, MAX_SQL = 4096 };

/* ---- tables ---- */

struct table {
	char *name;
	char *columns[MAX_COLUMNS];
	int n_columns;
};

static void table_done(struct table *t)
{
	free(t->name);
	for (int i = 0; i < t->n_columns; i++)
		free(t->columns[i]);
	*t = (struct table){ .n_columns = 0 };
}

/* The columns of table @name; none if there is no such table. */
static int read_columns(struct dp_store *store, const char *name, struct table *ret_table,
			struct dp_error *err)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *s = NULL;
	DP_CLEANUP(table_done) struct table t = { .name = strdup(name) };
	int r = t.name ? dp_stmt_new(store, "SELECT name FROM pragma_table_info(?1)", &s, err)
		       : dp_error_oom(err);

	if (r < 0)
		return r;
	dp_stmt_bind_text(s, 1, name);
	while ((r = dp_stmt_step(s, err)) == 1 && t.n_columns < MAX_COLUMNS) {
		t.columns[t.n_columns] = strdup(dp_stmt_text(s, 0));
		if (!t.columns[t.n_columns])
			return dp_error_oom(err);
		t.n_columns++;
	}
	dp_stmt_reset(s);
	if (r < 0)
		return r;
	*ret_table = t;
	t = (struct table){ .n_columns = 0 };
	return 0;
}

/* The names of all tables, as an array. */
static int list_tables(struct dp_store *store, json_t **ret_names, struct dp_error *err)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *s = NULL;
	json_auto_t *names = json_array();
	int r = names ? dp_stmt_new(store,
				    "SELECT name FROM sqlite_schema WHERE type = 'table'"
				    " AND name NOT LIKE 'sqlite_%' ORDER BY name",
				    &s, err)
		      : dp_error_oom(err);

	while (r == 0 && (r = dp_stmt_step(s, err)) == 1)
		r = json_array_append_new(names, json_string(dp_stmt_text(s, 0))) < 0 ? dp_error_oom(err)
										      : 0;
	if (r < 0)
		return r;
	*ret_names = json_incref(names);
	return 0;
}

/* ---- export ---- */

/* "SELECT json_object('id', "id", 'bits', json_object('hex', hex("bits"))...) FROM "pool"": SQLite
 * writes the rows itself. Names are those of our own migrations. */
static int compose_select(const struct table *t, char sql[static MAX_SQL])
{
	size_t n = (size_t)snprintf(sql, MAX_SQL, "SELECT json_object(");

	for (int i = 0; i < t->n_columns && n < MAX_SQL; i++)
		n += (size_t)snprintf(sql + n, MAX_SQL - n,
				      "%s'%s', CASE typeof(\"%s\") WHEN 'blob' THEN"
				      " json_object('hex', lower(hex(\"%s\"))) ELSE \"%s\" END",
				      i ? ", " : "", t->columns[i], t->columns[i], t->columns[i],
				      t->columns[i]);
	if (n < MAX_SQL)
		n += (size_t)snprintf(sql + n, MAX_SQL - n, ") FROM \"%s\"", t->name);
	return n < MAX_SQL ? 0 : -E2BIG;
}

static int export_table(struct dp_store *store, const char *name, FILE *out, struct dp_error *err)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *s = NULL;
	DP_CLEANUP(table_done) struct table t = { .n_columns = 0 };
	const char *separator = "";
	char sql[MAX_SQL];
	int r = read_columns(store, name, &t, err);

	if (r == 0 && compose_select(&t, sql) < 0)
		r = dp_error_set(err, DP_ERR_INTERNAL, -E2BIG, "table %s has too many columns", name);
	if (r == 0)
		r = dp_stmt_new(store, sql, &s, err);
	if (r < 0)
		return r;
	fprintf(out, "\"%s\": [", name);
	while ((r = dp_stmt_step(s, err)) == 1) {
		fprintf(out, "%s\n%s", separator, dp_stmt_text(s, 0));
		separator = ",";
	}
	fputs(*separator ? "\n]" : "]", out);
	return r;
}

static int export_tables(struct dp_store *store, const struct dp_archive *archive, FILE *out,
			 struct dp_error *err)
{
	json_auto_t *names = NULL;
	const json_t *name;
	size_t i;
	int r = list_tables(store, &names, err);

	if (r < 0)
		return r;
	fprintf(out, "{\"format\": \"%s\", \"version\": %u, \"tables\": {", archive->format,
		archive->schema->n_migrations);
	json_array_foreach(names, i, name) {
		fputs(i ? ",\n" : "\n", out);
		r = export_table(store, json_string_value(name), out, err);
		if (r < 0)
			return r;
	}
	fputs("\n}}\n", out);
	return 0;
}

int dp_archive_export(const struct dp_archive *archive, const char *dir, FILE *out,
		      struct dp_error *err)
{
	DP_CLEANUP(dp_store_closep) struct dp_store *store = NULL;
	auto_free char *path = NULL;
	struct stat st;
	int r;

	if (asprintf(&path, "%s/%s", dir, archive->file) < 0) {
		path = NULL;
		return dp_error_oom(err);
	}
	if (stat(path, &st) < 0)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -errno, "%s: %s", path, strerror(errno));
	r = dp_store_open(dir, archive->file, archive->schema, &store, err);
	if (r == 0)
		r = export_tables(store, archive, out, err);
	if (r == 0 && (fflush(out) != 0 || ferror(out)))
		r = dp_error_set(err, DP_ERR_INTERNAL, -EIO, "the output could not be written");
	return r;
}

/* ---- import ---- */

static int compose_insert(const struct table *t, char sql[static MAX_SQL])
{
	size_t n = (size_t)snprintf(sql, MAX_SQL, "INSERT INTO \"%s\" VALUES(", t->name);

	for (int i = 0; i < t->n_columns && n < MAX_SQL; i++)
		n += (size_t)snprintf(sql + n, MAX_SQL - n, "%s?%d", i ? ", " : "", i + 1);
	if (n < MAX_SQL)
		n += (size_t)snprintf(sql + n, MAX_SQL - n, ")");
	return n < MAX_SQL ? 0 : -E2BIG;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* {"hex": "00ff"} to bytes. Return: 0; -EINVAL it is not that; -ENOMEM. */
static int bytes_of(const json_t *value, uint8_t **ret_bytes, size_t *ret_size)
{
	const char *hex = json_string_value(json_object_get(value, "hex"));
	size_t n = hex ? strlen(hex) : 1;
	auto_free uint8_t *bytes = NULL;

	if (n % 2)
		return -EINVAL;
	bytes = malloc(n / 2 + 1);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < n / 2; i++) {
		int high = nibble(hex[2 * i]);
		int low = nibble(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret_bytes = DP_TAKE_PTR(bytes);
	*ret_size = n / 2;
	return 0;
}

/* Binds one value. @ret_bytes: what is to be freed after the row was written. Return: 0; -EINVAL; -ENOMEM. */
static int bind(struct dp_stmt *s, int i, const json_t *value, uint8_t **ret_bytes)
{
	size_t size;
	int r;

	if (json_is_object(value)) {
		r = bytes_of(value, ret_bytes, &size);
		if (r == 0)
			dp_stmt_bind_blob(s, i, *ret_bytes, size);
		return r;
	}
	if (json_is_integer(value))
		dp_stmt_bind_int(s, i, json_integer_value(value));
	else if (json_is_string(value))
		dp_stmt_bind_text(s, i, json_string_value(value));
	else if (json_is_null(value))
		dp_stmt_bind_text(s, i, NULL);
	else
		return -EINVAL;
	return 0;
}

static int import_row(struct dp_stmt *s, const struct table *t, const json_t *row, size_t number,
		      struct dp_error *err)
{
	uint8_t *bytes[MAX_COLUMNS] = { NULL };
	int r = 0;

	if (json_object_size(row) != (size_t)t->n_columns)
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s, row %zu: expected %d columns",
				 t->name, number + 1, t->n_columns);
	for (int i = 0; r == 0 && i < t->n_columns; i++) {
		r = bind(s, i + 1, json_object_get(row, t->columns[i]), &bytes[i]);
		if (r == -ENOMEM)
			r = dp_error_oom(err);
		else if (r < 0)
			r = dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					 "%s, row %zu: column %s is missing or of no known type", t->name,
					 number + 1, t->columns[i]);
	}
	if (r == 0)
		r = dp_stmt_exec(s, NULL, err);
	for (int i = 0; i < t->n_columns; i++)
		free(bytes[i]);
	return r;
}

static int import_table(struct dp_store *store, const char *name, const json_t *rows,
			struct dp_error *err)
{
	DP_CLEANUP(dp_stmt_freep) struct dp_stmt *s = NULL;
	DP_CLEANUP(table_done) struct table t = { .n_columns = 0 };
	char sql[MAX_SQL];
	const json_t *row;
	size_t i;
	int r = read_columns(store, name, &t, err);

	if (r == 0 && (!t.n_columns || !json_is_array(rows) || compose_insert(&t, sql) < 0))
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL, "table %.64s is unknown", name);
	if (r == 0)
		r = dp_stmt_new(store, sql, &s, err);
	json_array_foreach(rows, i, row) {
		if (r == 0)
			r = import_row(s, &t, row, i, err);
	}
	return r;
}

/* What a new database has by itself gives way to what the export says. */
static int empty_tables(struct dp_store *store, struct dp_error *err)
{
	json_auto_t *names = NULL;
	const json_t *name;
	size_t i;
	int r = list_tables(store, &names, err);

	json_array_foreach(names, i, name) {
		DP_CLEANUP(dp_stmt_freep) struct dp_stmt *s = NULL;
		char sql[128];

		(void)snprintf(sql, sizeof sql, "DELETE FROM \"%s\"", json_string_value(name));
		if (r == 0)
			r = dp_stmt_new(store, sql, &s, err);
		if (r == 0)
			r = dp_stmt_exec(s, NULL, err);
	}
	return r;
}

/* A database of the export's version in @dir, with its rows. */
static int fill(const struct dp_archive *archive, const char *dir, unsigned version, json_t *tables,
		struct dp_error *err)
{
	DP_CLEANUP(dp_store_closep) struct dp_store *store = NULL;
	struct dp_store_schema schema = *archive->schema;
	const char *name;
	json_t *rows;
	int r;

	schema.n_migrations = version;
	r = dp_store_open(dir, archive->file, &schema, &store, err);
	if (r == 0)
		r = empty_tables(store, err);
	json_object_foreach(tables, name, rows) {
		if (r == 0)
			r = import_table(store, name, rows, err);
	}
	return r < 0 ? r : dp_store_commit(store, err);
}

/* Brings it up to date, and looks whether the rows are sound. */
static int prove(const struct dp_archive *archive, const char *dir, struct dp_error *err)
{
	struct dp_store *store = NULL;
	int r = dp_store_open(dir, archive->file, archive->schema, &store, err);

	if (r < 0)
		return r;
	dp_store_close(store);
	r = archive->check(dir, stderr, err);
	if (r > 0)
		return dp_error_set(err, DP_ERR_INVALID, -EUCLEAN,
				    "its rows contradict each other in %d places", r);
	return r;
}

static int read_export(const struct dp_archive *archive, const char *path, json_t **ret_root,
		       struct dp_error *err)
{
	json_auto_t *root = NULL;
	const char *format;
	json_int_t version;

	if (dp_json_read(path, &root, err) < 0)
		return err->code;
	format = json_string_value(json_object_get(root, "format"));
	version = json_integer_value(json_object_get(root, "version"));
	if (!format || strcmp(format, archive->format) != 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: no export of %s", path,
				    archive->format);
	if (version < 1 || !json_is_object(json_object_get(root, "tables")))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: version or tables are missing",
				    path);
	if (version > archive->schema->n_migrations)
		return dp_error_set(err, DP_ERR_UNSUPPORTED, -EOPNOTSUPP,
				    "%s: version %lld, made by a newer release; this one knows up to %u",
				    path, (long long)version, archive->schema->n_migrations);
	*ret_root = json_incref(root);
	return 0;
}

/* Is there a state that must not be overwritten? */
static int check_place(const struct dp_archive *archive, const char *dir, bool replace,
		       bool *ret_exists, struct dp_error *err)
{
	struct dp_error found = DP_ERROR_INIT;
	FILE *nowhere = fopen("/dev/null", "w");
	unsigned version;
	int r;

	if (!nowhere && errno == ENOMEM)
		return dp_error_oom(err);
	if (!nowhere)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "/dev/null: %s", strerror(errno));
	r = dp_store_check(dir, archive->file, archive->schema, nowhere, &version, &found);
	(void)fclose(nowhere);
	*ret_exists = r != -ENOENT;
	if (r == -EBUSY) {
		*err = found;
		return r;
	}
	if (*ret_exists && !replace)
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "%s/%s: there is a state already; with --replace it is kept as %s.bak",
				    dir, archive->file, archive->file);
	return 0;
}

/* Moves @from/NAME and its log to @to/NAME@suffix. */
static int move_state(const char *from, const char *to, const char *name, const char *suffix,
		      struct dp_error *err)
{
	static const char *const parts[] = { "-wal", "-shm", "" }; /* the database comes last */

	/* Half of a state must not be left because memory, or room for a path, runs out between. */
	for (size_t i = 0; i < DP_ARRAY_LEN(parts); i++) {
		char old[PATH_MAX];
		char new[PATH_MAX];

		if (snprintf(old, sizeof old, "%s/%s%s", from, name, parts[i]) >= (int)sizeof old ||
		    snprintf(new, sizeof new, "%s/%s%s%s", to, name, suffix, parts[i]) >= (int)sizeof new)
			return dp_error_set(err, DP_ERR_INVALID, -ENAMETOOLONG, "%.100s...: too long", to);
		if (rename(old, new) < 0 && (errno != ENOENT || !*parts[i]))
			return dp_error_set(err, DP_ERR_INTERNAL, -errno, "%s: %s", new,
					    strerror(errno));
	}
	return 0;
}

static int sync_dir(const char *dir, struct dp_error *err)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "%s: %s", dir, strerror(errno));
	return 0;
}

static void remove_scratch(const char *scratch, const char *name)
{
	static const char *const parts[] = { "", "-wal", "-shm", ".new", ".new-wal", ".new-shm" };

	for (size_t i = 0; i < DP_ARRAY_LEN(parts); i++) {
		char path[PATH_MAX];

		if (snprintf(path, sizeof path, "%s/%s%s", scratch, name, parts[i]) < (int)sizeof path)
			(void)unlink(path);
	}
	(void)rmdir(scratch);
}

static int import_in(const struct dp_archive *archive, const char *dir, const char *scratch,
		     json_t *root, bool exists, struct dp_error *err)
{
	unsigned version = (unsigned)json_integer_value(json_object_get(root, "version"));
	int r = fill(archive, scratch, version, json_object_get(root, "tables"), err);

	if (r == 0)
		r = prove(archive, scratch, err);
	if (r == 0 && exists)
		r = move_state(dir, dir, archive->file, ".bak", err);
	if (r == 0)
		r = move_state(scratch, dir, archive->file, "", err);
	return r < 0 ? r : sync_dir(dir, err);
}

int dp_archive_import(const struct dp_archive *archive, const char *dir, const char *path,
		      bool replace, struct dp_error *err)
{
	auto_free char *scratch = NULL;
	json_auto_t *root = NULL;
	bool exists;
	int r = read_export(archive, path, &root, err);

	if (r == 0)
		r = check_place(archive, dir, replace, &exists, err);
	if (r < 0)
		return r;
	if (asprintf(&scratch, "%s/import", dir) < 0) {
		scratch = NULL;
		return dp_error_oom(err);
	}
	(void)mkdir(dir, 0700); /* what is wrong with it, the next one tells */
	remove_scratch(scratch, archive->file);
	if (mkdir(scratch, 0700) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "%s: %s", scratch, strerror(errno));
	r = import_in(archive, dir, scratch, root, exists, err);
	remove_scratch(scratch, archive->file);
	return r < 0 ? dp_error_prefix(err, "%s is not imported", path) : 0;
}

/* ---- the command ---- */

struct import_args {
	const char *file;
	bool replace;
};

const struct dp_schema dp_archive_import_schema = {
	.noun = "option",
	.text_values = true,
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct import_args, file, "file", .flags = DP_F_REQUIRED,
		       .help = "what `export` has written; `-`: standard input"),
		DP_BOOL(struct import_args, replace, "replace",
			.help = "a state that is there is kept as .bak, instead of a reason to refuse"),
	},
};

const char *const dp_archive_import_operands[] = { "file", NULL };

int dp_archive_run_import(const struct dp_archive *archive, const char *dir, const json_t *args,
			  struct dp_error *err)
{
	struct import_args a = { .file = NULL };
	int r = dp_schema_decode(&dp_archive_import_schema, args, &a, err);

	return r < 0 ? r : dp_archive_import(archive, dir, a.file, a.replace, err);
}
