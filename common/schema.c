/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/schema.h"

enum { DEFAULT_MAX_LEN = 4096, MAX_FIELDS = 64 };

static int refuse(const struct dp_field *f, struct dp_error *err, const char *value,
		  const char *expected)
{
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: '%.64s' is not %s", f->key, value,
			    expected);
}

static int put_str(const struct dp_field *f, const char *s, size_t len, char *dst,
		   struct dp_error *err)
{
	size_t max = f->max ? f->max : DEFAULT_MAX_LEN;
	char list[200] = "";

	if (strlen(s) != len)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: holds a NUL byte", f->key);
	if (len < f->min || len > max)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "%s: '%.32s%s' is %zu bytes long, allowed are %u to %zu", f->key,
				    s, len > 32 ? "..." : "", len, f->min, max);
	for (size_t i = 0; f->choices && strcmp(f->choices[i], s); i++) {
		size_t used = strlen(list);

		(void)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "one of ",
			       *f->choices[i] ? f->choices[i] : "\"\"");
		if (!f->choices[i + 1])
			return refuse(f, err, s, list);
	}
	memcpy(dst, &s, sizeof s);
	return 0;
}

static int put_u32(const struct dp_field *f, uint64_t v, char *dst, struct dp_error *err)
{
	uint32_t u = (uint32_t)v;

	if (v < f->min || v > f->max)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: %llu is outside %u to %u%s%s",
				    f->key, (unsigned long long)v, f->min, f->max,
				    f->unit ? " " : "", f->unit ? f->unit : "");
	memcpy(dst, &u, sizeof u);
	return 0;
}

static int put_text(const struct dp_field *f, const char *s, char *dst, struct dp_error *err)
{
	uint64_t v;
	bool b;
	int r;

	switch (f->type) {
	case DP_T_STR:
	case DP_T_LIST:
		return put_str(f, s, strlen(s), dst, err);
	case DP_T_U32:
		r = dp_parse_u64(s, 0, UINT64_MAX, &v);
		if (r == -ERANGE)
			v = UINT64_MAX;
		else if (r < 0)
			return refuse(f, err, s, "a whole number");
		return put_u32(f, v, dst, err);
	case DP_T_BOOL:
		if (dp_parse_bool(s, &b) < 0)
			return refuse(f, err, s, "true or false");
		memcpy(dst, &b, sizeof b);
		return 0;
	case DP_T_OBJ:
	case DP_T_ARR:
		break;
	}
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: cannot be given as text", f->key);
}

/* An array of strings becomes one text of blank-separated words, as the environment spells it. */
static int put_list(const struct dp_field *f, const json_t *v, char *dst, struct dp_error *err)
{
	auto_free char *words = NULL;
	size_t size = 1;
	size_t i;
	json_t *item;

	json_array_foreach (v, i, item) {
		const char *s = json_string_value(item);

		if (!s || !*s || strpbrk(s, " \t\n"))
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "%s[%zu]: expected a string without blanks", f->key, i);
		size += strlen(s) + 1;
	}
	words = calloc(1, size);
	if (!words)
		return dp_error_oom(err);
	json_array_foreach (v, i, item) {
		if (i)
			strcat(words, " "); /* sized above */
		strcat(words, json_string_value(item));
	}
	i = strlen(words);
	int r = put_str(f, words, i, dst, err);
	if (r == 0)
		(void)DP_TAKE_PTR(words);
	return r;
}

static const char *json_type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "?";
}

static int mismatch(const struct dp_field *f, const json_t *v, const char *expected,
		    struct dp_error *err)
{
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: expected %s, got %s", f->key, expected,
			    json_type_name(v));
}

static int put_json(const struct dp_field *f, json_t *v, char *dst, struct dp_error *err)
{
	bool b;

	switch (f->type) {
	case DP_T_STR:
		if (!json_is_string(v))
			return mismatch(f, v, "a string", err);
		return put_str(f, json_string_value(v), json_string_length(v), dst, err);
	case DP_T_U32:
		if (!json_is_integer(v))
			return mismatch(f, v, "a whole number", err);
		if (json_integer_value(v) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "%s: %lld is outside %u to %u", f->key,
					    (long long)json_integer_value(v), f->min, f->max);
		return put_u32(f, (uint64_t)json_integer_value(v), dst, err);
	case DP_T_BOOL:
		if (!json_is_boolean(v))
			return mismatch(f, v, "true or false", err);
		b = json_is_true(v);
		memcpy(dst, &b, sizeof b);
		return 0;
	case DP_T_LIST:
		return json_is_array(v) ? put_list(f, v, dst, err)
					: mismatch(f, v, "an array of strings", err);
	case DP_T_OBJ:
		if (!json_is_object(v))
			return mismatch(f, v, "an object", err);
		memcpy(dst, &v, sizeof v);
		return 0;
	case DP_T_ARR:
		if (!json_is_array(v))
			return mismatch(f, v, "an array", err);
		memcpy(dst, &v, sizeof v);
		return 0;
	}
	return -EINVAL;
}

static int unknown(const struct dp_schema *schema, const char *key, struct dp_error *err)
{
	const char *keys[MAX_FIELDS];
	const char *near;

	for (size_t i = 0; i < schema->n_fields; i++)
		keys[i] = schema->fields[i].key;
	near = dp_nearest(key, keys, schema->n_fields);
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "unknown %s '%.64s'%s%s%s", schema->noun, key,
			    near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

const struct dp_field *dp_schema_find(const struct dp_schema *schema, const char *key)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		if (!strcmp(schema->fields[i].key, key))
			return &schema->fields[i];
	}
	return NULL;
}

void dp_schema_defaults(const struct dp_schema *schema, void *dst)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];
		int r = f->def ? put_text(f, f->def, (char *)dst + f->offset, NULL) : 0;

		assert(r == 0);
		(void)r;
	}
}

static bool is_ignored(const struct dp_schema *schema, const char *key)
{
	for (size_t i = 0; schema->ignore && schema->ignore[i]; i++) {
		if (!strncmp(key, schema->ignore[i], strlen(schema->ignore[i])))
			return true;
	}
	return false;
}

static int check_unknown(const struct dp_schema *schema, const json_t *obj, struct dp_error *err)
{
	const char *key;
	json_t *value;
	void *cast = (void *)(uintptr_t)obj; /* jansson's iterators take no const */

	json_object_foreach ((json_t *)cast, key, value) {
		if (dp_schema_find(schema, key))
			continue;
		if (is_ignored(schema, key))
			continue;
		return unknown(schema, key, err);
	}
	return 0;
}

int dp_schema_decode(const struct dp_schema *schema, const json_t *obj, void *dst,
		     struct dp_error *err)
{
	int r;

	if (!json_is_object(obj))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "expected a JSON object");
	if (schema->refuse_unknown) {
		r = check_unknown(schema, obj, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];
		json_t *v = json_object_get(obj, f->key);

		if (!v || json_is_null(v)) {
			if (f->flags & DP_F_REQUIRED)
				return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: missing",
						    f->key);
			continue;
		}
		if (!schema->text_values)
			r = put_json(f, v, (char *)dst + f->offset, err);
		else if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
			r = put_text(f, json_string_value(v), (char *)dst + f->offset, err);
		else
			r = mismatch(f, v, "a string", err);
		if (r < 0)
			return r;
	}
	return 0;
}

int dp_schema_set_text(const struct dp_schema *schema, const char *key, const char *text, void *dst,
		       struct dp_error *err)
{
	const struct dp_field *f = dp_schema_find(schema, key);

	if (!f)
		return unknown(schema, key, err);
	return put_text(f, text, (char *)dst + f->offset, err);
}

static void print_values(const struct dp_field *f, FILE *out)
{
	switch (f->type) {
	case DP_T_STR:
		if (!f->choices)
			fputs("text", out);
		for (size_t i = 0; f->choices && f->choices[i]; i++)
			fprintf(out, "%s%s", i ? ", " : "",
				*f->choices[i] ? f->choices[i] : "(empty)");
		break;
	case DP_T_U32:
		fprintf(out, "%u to %u%s%s", f->min, f->max, f->unit ? " " : "",
			f->unit ? f->unit : "");
		break;
	case DP_T_BOOL:
		fputs("true, false", out);
		break;
	case DP_T_LIST:
		fputs("list", out);
		break;
	case DP_T_OBJ:
	case DP_T_ARR:
		fputs("JSON", out);
		break;
	}
}

void dp_schema_print_table(const struct dp_schema *schema, FILE *out)
{
	fprintf(out, "| %s | values | default | meaning |\n|---|---|---|---|\n", schema->noun);
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];

		fprintf(out, "| `%s` | ", f->key);
		print_values(f, out);
		if (f->def && *f->def)
			fprintf(out, " | `%s`", f->def);
		else
			fputs(" | ", out);
		fprintf(out, " | %s |\n", f->help ? f->help : "");
	}
}

static json_t *encode_list(const char *text)
{
	json_t *array = json_array();
	const char *p = text;

	while (array && *(p += strspn(p, " "))) {
		size_t n = strcspn(p, " ");

		if (json_array_append_new(array, json_stringn(p, n)) < 0) {
			json_decref(array);
			array = NULL;
		}
		p += n;
	}
	return array;
}

json_t *dp_schema_encode_defaults(const struct dp_schema *schema)
{
	json_t *obj = json_object();

	for (size_t i = 0; obj && i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];
		const char *def = f->def ? f->def : "";
		json_t *v = NULL;
		uint64_t n;
		bool b;

		if (f->type == DP_T_LIST)
			v = encode_list(def);
		else if (f->type == DP_T_U32 && dp_parse_u64(def, 0, UINT32_MAX, &n) == 0)
			v = json_integer((json_int_t)n);
		else if (f->type == DP_T_BOOL && dp_parse_bool(def, &b) == 0)
			v = json_boolean(b);
		else
			v = json_string(def);
		if (json_object_set_new(obj, f->key, v) < 0) {
			json_decref(obj);
			return NULL;
		}
	}
	return obj;
}
