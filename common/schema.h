/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_SCHEMA_H
#define DP_COMMON_SCHEMA_H

/*
 * One table row a field: how requests, `-o` options and configuration become C structs. The row
 * carries key, type, limits, unit, default and help, so that decoding, error texts, --help and the
 * tables of README.md and the man pages all come from the same place.
 *
 * Two spellings of a value: as JSON (requests, configuration files) or as text (options of
 * `docker network create`, environment, command line).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

enum dp_type {
	DP_T_STR,  /* const char *: borrowed from the decoded tree or text; min..max bytes */
	DP_T_U32,  /* uint32_t: min..max */
	DP_T_BOOL, /* bool */
	DP_T_LIST, /* const char *: blank-separated words; in JSON an array of strings */
	DP_T_OBJ,  /* json_t *: borrowed object; null or absent = NULL */
	DP_T_ARR,  /* json_t *: borrowed array; null or absent = NULL */
};

enum {
	DP_F_REQUIRED = 1, /* absent or null is an error */
};

struct dp_field {
	const char *key;    /* exact spelling */
	enum dp_type type;
	unsigned flags;     /* DP_F_* */
	size_t offset;      /* of the member in the destination struct */
	uint32_t min, max;  /* U32: value; STR: length in bytes (max 0 = 4096) */
	const char *unit;   /* "bytes", "seconds"; NULL = none */
	const char *const *choices; /* STR: NULL-terminated allowed values; NULL = any */
	const char *def;    /* default as text; NULL = member stays as it is */
	const char *help;   /* one sentence for tables and --help */
};

/* The member's type is checked at compile time: a row of another type has negative array size. */
#define DP_FIELD(st, member, ctype, keyname, jtype, ...)                                      \
	{ .key = (keyname), .type = (jtype),                                                  \
	  .offset = offsetof(st, member) +                                                    \
		    0 * sizeof(char[_Generic(((st *)0)->member, ctype : 1, default : -1)]),   \
	  __VA_ARGS__ }
#define DP_STR(st, member, key, ...)  DP_FIELD(st, member, const char *, key, DP_T_STR, __VA_ARGS__)
#define DP_U32(st, member, key, ...)  DP_FIELD(st, member, uint32_t, key, DP_T_U32, __VA_ARGS__)
#define DP_BOOL(st, member, key, ...) DP_FIELD(st, member, bool, key, DP_T_BOOL, __VA_ARGS__)
#define DP_LIST(st, member, key, ...) DP_FIELD(st, member, const char *, key, DP_T_LIST, __VA_ARGS__)
#define DP_OBJ(st, member, key, ...)  DP_FIELD(st, member, json_t *, key, DP_T_OBJ, __VA_ARGS__)
#define DP_ARR(st, member, key, ...)  DP_FIELD(st, member, json_t *, key, DP_T_ARR, __VA_ARGS__)

struct dp_schema {
	const char *noun;            /* what a key is called in errors: "option", "config key" */
	const struct dp_field *fields;
	size_t n_fields;
	bool text_values;            /* values are strings holding text ("vlan":"100") */
	bool refuse_unknown;         /* else unknown keys are passed over */
	const char *const *ignore;   /* unknown keys that begin with one of these are passed over;
				      * NULL-terminated; NULL = none */
};

/**
 * dp_schema_defaults() - set every member that has a default
 * @dst: struct of the schema's type
 *
 * A default that does not parse is a programming error (asserted).
 */
void dp_schema_defaults(const struct dp_schema *schema, void *dst);

/**
 * dp_schema_decode() - fill @dst from a JSON object
 * @schema: the table
 * @obj:    borrowed, and so are the strings and trees that @dst points to afterwards; LIST members
 *          are allocated and belong to the caller only in the sense that nobody frees them: lists
 *          exist in configuration, which lives as long as the process
 * @dst:    members of absent or null fields are left as they are
 * @err:    out: the first problem, as "<key>: <reason>", naming the value
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) wrong type, out of range, missing, unknown; -ENOMEM.
 */
DP_NODISCARD int dp_schema_decode(const struct dp_schema *schema, const json_t *obj, void *dst,
				  struct dp_error *err);

/**
 * dp_schema_set_text() - set the one field @key from text
 * @text: borrowed by @dst afterwards
 *
 * Return: 0; -EINVAL as dp_schema_decode(), also for an unknown @key, with the nearest known one.
 */
DP_NODISCARD int dp_schema_set_text(const struct dp_schema *schema, const char *key,
				    const char *text, void *dst, struct dp_error *err);

/* dp_schema_find() - the row of @key; NULL if there is none. */
const struct dp_field *dp_schema_find(const struct dp_schema *schema, const char *key);

/* dp_schema_print_table() - the table in Markdown: key, values, default, meaning. */
void dp_schema_print_table(const struct dp_schema *schema, FILE *out);

/**
 * dp_schema_encode_defaults() - the defaults as a JSON object, keys in the table's order
 *
 * Return: new reference; NULL if memory ran out.
 */
json_t *dp_schema_encode_defaults(const struct dp_schema *schema);

#endif
