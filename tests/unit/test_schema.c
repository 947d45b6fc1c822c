/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * First what the decoder does, on a table made for it; then, generated, the same questions to every
 * row of every table of both daemons: is the wrong type refused, what is out of range, what is
 * missing, and is the culprit named?
 */

#include <assert.h>

#include "common/cleanup.h"
#include "common/schema.h"
#include "ipam/driver.h"
#include "netdriver/driver.h"
#include "netdriver/options.h"
#include "tests/support/unit.h"

/* ---- a table of every type ---- */

struct sample {
	const char *name;
	const char *colour;
	uint32_t count;
	bool on;
	const char *words;
	json_t *object;
	json_t *array;
};

static const char *const colours[] = { "red", "green", "", NULL };
static const char *const ignored[] = { "engine.", NULL };

#define SAMPLE_FIELDS                                                                     \
	.n_fields = 7, .fields = (const struct dp_field[7])                               \
	{                                                                                 \
		DP_STR(struct sample, name, "name", .flags = DP_F_REQUIRED, .min = 2, .max = 5), \
		DP_STR(struct sample, colour, "colour", .choices = colours, .def = "red"),      \
		DP_U32(struct sample, count, "count", .min = 3, .max = 7, .def = "5",           \
		       .unit = "pieces", .help = "how many"),                                   \
		DP_BOOL(struct sample, on, "on", .def = "true"),                                \
		DP_LIST(struct sample, words, "words", .def = "a b"),                           \
		DP_OBJ(struct sample, object, "object"),                                        \
		DP_ARR(struct sample, array, "array"),                                          \
	}

static const struct dp_schema strict = {
	.noun = "key", .refuse_unknown = true, .ignore = ignored, SAMPLE_FIELDS
};
static const struct dp_schema tolerant = { .noun = "key", SAMPLE_FIELDS };
static const struct dp_schema texts = { .noun = "option", .text_values = true,
					.refuse_unknown = true, SAMPLE_FIELDS };

static json_t *json_of(const char *text)
{
	json_error_t je;
	json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);

	if (!v)
		fail_msg("%s: %s", text, je.text);
	return v;
}

/* Decodes @text, which must outlive nothing: only for cases whose @dst is not looked at. */
static int decode(const struct dp_schema *schema, const char *text, struct dp_error *err)
{
	struct sample s = { .name = NULL };
	json_auto_t *obj = json_of(text);
	int r = dp_schema_decode(schema, obj, &s, err);

	free((void *)(uintptr_t)s.words); /* lists are made for good; here they would be leaks */
	return r;
}

static void every_type_arrives_in_its_member(void **state)
{
	json_auto_t *obj =
		json_of("{\"name\":\"box\",\"colour\":\"green\",\"count\":7,\"on\":false,"
			"\"words\":[\"x\",\"yy\"],\"object\":{\"k\":1},\"array\":[1]}");
	struct dp_error err = DP_ERROR_INIT;
	struct sample s = { .on = true };

	(void)state;
	assert_ok(dp_schema_decode(&strict, obj, &s, &err), &err);
	assert_string_equal(s.name, "box");
	assert_string_equal(s.colour, "green");
	assert_int_equal(s.count, 7);
	assert_false(s.on);
	assert_string_equal(s.words, "x yy");
	assert_int_equal(json_object_size(s.object), 1);
	assert_int_equal(json_array_size(s.array), 1);
	free((void *)(uintptr_t)s.words);
}

static void what_is_absent_or_null_stays_as_it_was(void **state)
{
	json_auto_t *obj = json_of("{\"name\":\"box\",\"count\":null,\"object\":null}");
	struct dp_error err = DP_ERROR_INIT;
	struct sample s = { .count = 99, .colour = "blue", .on = true };

	(void)state;
	assert_ok(dp_schema_decode(&strict, obj, &s, &err), &err);
	assert_int_equal(s.count, 99);
	assert_string_equal(s.colour, "blue");
	assert_true(s.on);
	assert_null(s.object);
}

static void something_that_is_no_object_is_refused(void **state)
{
	static const char *const values[] = { "[]", "1", "\"x\"", "null", "true" };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(values); i++)
		assert_refused(decode(&strict, values[i], &err), -EINVAL, &err, "JSON object");
}

static void an_unknown_key_is_refused_with_the_nearest_known_one(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_refused(decode(&strict, "{\"name\":\"box\",\"cuont\":5}", &err), -EINVAL, &err,
		       "unknown key 'cuont', did you mean 'count'?");
	assert_refused(decode(&strict, "{\"name\":\"box\",\"elephant\":5}", &err), -EINVAL, &err,
		       "unknown key 'elephant'");
	assert_null(strstr(err.msg, "did you mean"));
}

static void keys_of_the_ignore_list_are_passed_over(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(decode(&strict, "{\"name\":\"box\",\"engine.thing\":{}}", &err), &err);
}

static void a_tolerant_table_passes_unknown_keys_over(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ok(decode(&tolerant, "{\"name\":\"box\",\"cuont\":5}", &err), &err);
}

static void lists_take_words_only(void **state)
{
	static const char *const bad[] = { "[1]", "[\"\"]", "[\"a b\"]", "[\"a\\tb\"]", "[null]",
					   "[[\"a\"]]" };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++) {
		char text[64];

		(void)snprintf(text, sizeof text, "{\"name\":\"box\",\"words\":%s}", bad[i]);
		assert_refused(decode(&strict, text, &err), -EINVAL, &err, "words[0]");
	}
	assert_ok(decode(&strict, "{\"name\":\"box\",\"words\":[]}", &err), &err);
}

static void values_as_text_arrive_in_their_members(void **state)
{
	json_auto_t *obj =
		json_of("{\"name\":\"box\",\"count\":\"7\",\"on\":\"no\",\"words\":\"x y\"}");
	struct dp_error err = DP_ERROR_INIT;
	struct sample s = { .on = true };

	(void)state;
	assert_ok(dp_schema_decode(&texts, obj, &s, &err), &err);
	assert_int_equal(s.count, 7);
	assert_false(s.on);
	assert_string_equal(s.words, "x y");
}

static void text_values_that_are_not_text_are_refused(void **state)
{
	static const char *const bad[] = { "7", "true", "[\"7\"]", "\"7\\u0000\"" };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++) {
		char text[64];

		(void)snprintf(text, sizeof text, "{\"name\":\"box\",\"count\":%s}", bad[i]);
		assert_refused(decode(&texts, text, &err), -EINVAL, &err,
			       "count: expected a string");
	}
}

static void text_that_does_not_parse_is_refused_with_the_value(void **state)
{
	static const struct {
		const char *key;
		const char *text;
		const char *part;
	} cases[] = { { "count", "seven", "'seven' is not a whole number" },
		      { "count", "", "'' is not a whole number" },
		      { "count", "-5", "'-5' is not a whole number" },
		      { "count", "2", "2 is outside 3 to 7 pieces" },
		      { "count", "99999999999999999999999", "outside 3 to 7" },
		      { "on", "maybe", "'maybe' is not true or false" },
		      { "colour", "blue", "'blue' is not one of red, green, \"\"" },
		      { "name", "x", "'x' is 1 bytes long, allowed are 2 to 5" },
		      { "object", "{}", "cannot be given as text" },
		      { "colur", "red", "unknown key 'colur', did you mean 'colour'?" } };
	struct dp_error err = DP_ERROR_INIT;
	struct sample s = { .count = 99 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++)
		assert_refused(dp_schema_set_text(&strict, cases[i].key, cases[i].text, &s, &err),
			       -EINVAL, &err, cases[i].part);
	assert_int_equal(s.count, 99);
}

static void defaults_fill_the_members_that_have_one(void **state)
{
	struct sample s = { .name = "kept" };

	(void)state;
	dp_schema_defaults(&strict, &s);
	assert_string_equal(s.name, "kept");
	assert_string_equal(s.colour, "red");
	assert_int_equal(s.count, 5);
	assert_true(s.on);
	assert_string_equal(s.words, "a b");
}

static void defaults_can_be_written_as_a_configuration(void **state)
{
	json_auto_t *want = json_of("{\"name\":\"\",\"colour\":\"red\",\"count\":5,\"on\":true,"
				    "\"words\":[\"a\",\"b\"],\"object\":\"\",\"array\":\"\"}");
	json_auto_t *got = dp_schema_encode_defaults(&strict);

	(void)state;
	assert_true(json_equal(want, got));
}

static void the_table_is_written_in_markdown(void **state)
{
	auto_free char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_non_null(f);
	dp_schema_print_table(&strict, f);
	(void)fclose(f);
	assert_contains(text, "| key | values | default | meaning |\n|---|---|---|---|\n");
	assert_contains(text, "| `count` | 3 to 7 pieces | `5` | how many |\n");
	assert_contains(text, "| `colour` | red, green, (empty) | `red` |");
	assert_contains(text, "| `on` | true, false | `true` |");
}

/* ---- every row of every table ---- */

/* One row, and a request in which everything else is in order. */
struct row {
	const struct dp_schema *schema;
	const struct dp_field *field;
	char name[160];
};

static union {
	char bytes[1024]; /* more than any struct that a table fills */
	max_align_t align;
} dst;

static json_t *string_of(size_t len)
{
	char s[8192];

	assert_true(len < sizeof s);
	memset(s, 'x', len);
	return json_stringn(s, len);
}

static bool is_text(const struct dp_schema *schema)
{
	return schema->text_values;
}

/* A value that the row takes. */
static json_t *good_value(const struct dp_schema *schema, const struct dp_field *f)
{
	char number[16];

	switch (f->type) {
	case DP_T_STR:
		return f->choices ? json_string(f->choices[0]) : string_of(f->min);
	case DP_T_U32:
		(void)snprintf(number, sizeof number, "%u", f->max);
		return is_text(schema) ? json_string(number) : json_integer((json_int_t)f->max);
	case DP_T_BOOL:
		return is_text(schema) ? json_string("true") : json_true();
	case DP_T_LIST:
		return is_text(schema) ? json_string("word") : json_pack("[s]", "word");
	case DP_T_OBJ:
		return json_object();
	case DP_T_ARR:
		return json_array();
	}
	return NULL;
}

static json_t *request_with(const struct row *row, json_t *value)
{
	json_t *obj = json_object();

	for (size_t i = 0; i < row->schema->n_fields; i++) {
		const struct dp_field *f = &row->schema->fields[i];

		if (f->flags & DP_F_REQUIRED)
			(void)json_object_set_new(obj, f->key, good_value(row->schema, f));
	}
	if (value)
		(void)json_object_set_new(obj, row->field->key, value);
	else
		(void)json_object_del(obj, row->field->key);
	return obj;
}

/* Decodes the request in which the row has @value (taken; NULL = absent). */
static int decode_row(const struct row *row, json_t *value, struct dp_error *err)
{
	json_auto_t *obj = request_with(row, value);
	char *list = NULL;
	int r;

	memset(&dst, 0, sizeof dst);
	r = dp_schema_decode(row->schema, obj, &dst, err);
	if (row->field->type == DP_T_LIST && !is_text(row->schema)) {
		memcpy(&list, dst.bytes + row->field->offset, sizeof list);
		free(list);
	}
	return r;
}

static void refuses(const struct row *row, json_t *value)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_refused(decode_row(row, value, &err), -EINVAL, &err, row->field->key);
	assert_int_equal(err.kind, DP_ERR_INVALID);
}

static void takes_a_good_value(void **state)
{
	const struct row *row = *state;
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(decode_row(row, good_value(row->schema, row->field), &err), &err);
}

static void takes_null_for_absent(void **state)
{
	const struct row *row = *state;
	struct dp_error err = DP_ERROR_INIT;

	if (row->field->flags & DP_F_REQUIRED) {
		refuses(row, json_null());
		refuses(row, NULL);
		return;
	}
	assert_ok(decode_row(row, json_null(), &err), &err);
	assert_ok(decode_row(row, NULL, &err), &err);
}

static void refuses_every_other_type(void **state)
{
	static const struct {
		const char *json;
		enum dp_type taken_by; /* the type that such a value may be right for */
	} values[] = { { "\"1\"", DP_T_STR }, { "1", DP_T_U32 },  { "1.5", DP_T_U32 },
		       { "true", DP_T_BOOL }, { "[]", DP_T_ARR }, { "{}", DP_T_OBJ } };
	const struct row *row = *state;

	for (size_t i = 0; i < DP_ARRAY_LEN(values); i++) {
		enum dp_type t = is_text(row->schema) ? DP_T_STR : row->field->type;

		if (t == DP_T_LIST)
			t = DP_T_ARR;
		if (values[i].taken_by == t && strcmp(values[i].json, "1.5"))
			continue;
		refuses(row, json_of(values[i].json));
	}
}

static json_t *number(const struct row *row, long long v)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%lld", v);
	return is_text(row->schema) ? json_string(text) : json_integer(v);
}

static void refuses_what_is_out_of_range(void **state)
{
	const struct row *row = *state;
	const struct dp_field *f = row->field;
	size_t max = f->max ? f->max : 4096;

	if (f->type == DP_T_U32) {
		refuses(row, number(row, -1));
		refuses(row, number(row, (long long)f->min - 1));
		refuses(row, number(row, (long long)f->max + 1));
		refuses(row,
			number(row, (long long)f->min + (1LL << 32))); /* wraps to a good one */
		refuses(row, number(row, INT64_MAX));
	} else if (f->type == DP_T_STR && f->choices) {
		refuses(row, json_string("no such choice"));
	} else if (f->type == DP_T_STR) {
		refuses(row, string_of(max + 1));
		if (f->min)
			refuses(row, string_of(f->min - 1));
	} else if (f->type == DP_T_LIST && !is_text(row->schema)) {
		json_t *list = json_array();

		for (unsigned i = 0; i < 3; i++)
			(void)json_array_append_new(list, string_of(max / 2));
		refuses(row, list);
	}
}

static void refuses_a_nul_byte(void **state)
{
	refuses(*state, json_of("\"a\\u0000b\""));
}

static void answers_a_typing_error(void **state)
{
	const struct row *row = *state;
	struct dp_error err = DP_ERROR_INIT;
	json_auto_t *obj = request_with(row, good_value(row->schema, row->field));
	char typo[64];
	int r;

	(void)snprintf(typo, sizeof typo, "%s_", row->field->key);
	(void)json_object_set_new(obj, typo, json_string("x"));
	memset(&dst, 0, sizeof dst);
	r = dp_schema_decode(row->schema, obj, &dst, &err);
	if (row->schema->refuse_unknown && strncmp(typo, "com.docker.network.", 19)) {
		assert_refused(r, -EINVAL, &err, "did you mean '");
		assert_contains(err.msg, row->field->key);
		return;
	}
	assert_ok(r, &err);
	if (row->field->type == DP_T_LIST) {
		char *list;

		memcpy(&list, dst.bytes + row->field->offset, sizeof list);
		free(list);
	}
}

/* ---- making the cases ---- */

struct behaviour {
	const char *name;
	CMUnitTestFunction fn;
	bool (*applies)(const struct row *row);
};

static bool always(const struct row *row)
{
	return row->field != NULL;
}

static bool has_limits(const struct row *row)
{
	const struct dp_field *f = row->field;

	return f->type == DP_T_U32 || f->type == DP_T_STR ||
	       (f->type == DP_T_LIST && !is_text(row->schema));
}

static bool is_string(const struct row *row)
{
	return row->field->type == DP_T_STR || is_text(row->schema);
}

static const struct behaviour behaviours[] = {
	{ "takes a good value", takes_a_good_value, always },
	{ "takes null for absent, unless required", takes_null_for_absent, always },
	{ "refuses every other type", refuses_every_other_type, always },
	{ "refuses what is out of range", refuses_what_is_out_of_range, has_limits },
	{ "refuses a NUL byte", refuses_a_nul_byte, is_string },
	{ "answers a typing error", answers_a_typing_error, always },
};

enum { MAX_CASES = 1024 };

static struct CMUnitTest cases[MAX_CASES];
static struct row rows[MAX_CASES];
static size_t n_cases;

static void add_table(const char *table, const struct dp_schema *schema)
{
	for (size_t i = 0; schema && i < schema->n_fields; i++) {
		for (size_t b = 0; b < DP_ARRAY_LEN(behaviours); b++) {
			struct row row = { .schema = schema, .field = &schema->fields[i] };

			if (!behaviours[b].applies(&row))
				continue;
			if (n_cases == MAX_CASES)
				abort();
			(void)snprintf(row.name, sizeof row.name, "%s %s %s", table, row.field->key,
				       behaviours[b].name);
			rows[n_cases] = row;
			cases[n_cases] = (struct CMUnitTest){ .name = rows[n_cases].name,
							      .test_func = behaviours[b].fn,
							      .initial_state = &rows[n_cases] };
			n_cases++;
		}
	}
}

static void add_routes(const struct dp_route *routes)
{
	for (const struct dp_route *r = routes; r->path; r++) {
		assert(!r->schema || r->req_size <= sizeof dst);
		add_table(r->path + 1, r->schema);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_arrives_in_its_member),
		cmocka_unit_test(what_is_absent_or_null_stays_as_it_was),
		cmocka_unit_test(something_that_is_no_object_is_refused),
		cmocka_unit_test(an_unknown_key_is_refused_with_the_nearest_known_one),
		cmocka_unit_test(keys_of_the_ignore_list_are_passed_over),
		cmocka_unit_test(a_tolerant_table_passes_unknown_keys_over),
		cmocka_unit_test(lists_take_words_only),
		cmocka_unit_test(values_as_text_arrive_in_their_members),
		cmocka_unit_test(text_values_that_are_not_text_are_refused),
		cmocka_unit_test(text_that_does_not_parse_is_refused_with_the_value),
		cmocka_unit_test(defaults_fill_the_members_that_have_one),
		cmocka_unit_test(defaults_can_be_written_as_a_configuration),
		cmocka_unit_test(the_table_is_written_in_markdown),
	};

	for (size_t i = 0; i < DP_ARRAY_LEN(tests); i++)
		cases[n_cases++] = tests[i];
	add_table("sample", &strict);
	add_table("mynetworkplugin config", &ndrv_config_schema);
	add_table("myipamplugin config", &ipam_config_schema);
	add_table("-o", &ndrv_option_schema);
	add_table("--ipam-opt", &ipam_option_schema);
	add_routes(ndrv_routes);
	add_routes(ipam_routes);
	return _cmocka_run_group_tests("schema", cases, n_cases, NULL, NULL);
}
