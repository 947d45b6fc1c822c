/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_COMMAND_H
#define DP_COMMON_COMMAND_H

/*
 * Commands for operators: `myipamplugin status --pool 10.1.0.0/24`, the same program as the daemon.
 * A command is a row of a table. Most rows name a method "/Operator.<Name>" of the running daemon:
 * the words of the command line are sent to it as JSON, each value as the text that was typed, so
 * that the method's schema (text_values) checks them and words its complaints in one place. Rows
 * with run() work without the daemon.
 *
 *   NAME [--json] [--KEY VALUE]... [OPERAND]...
 *
 * KEYs are those of the row's schema, and after them the configuration's (`--socket`, `--config`).
 * Long answers come in pages: an answer with a text "Next" is asked for again with "After" set to
 * that text, until it has none.
 */

#include "common/error.h"
#include "common/schema.h"

struct dp_command {
	const char *name;             /* "leases" */
	const char *method;           /* "/Operator.Leases"; NULL = run() does it */
	const struct dp_schema *args; /* of the method; its keys are options. NULL = none */
	const char *const *operands;  /* keys that are given without "--KEY", in order; all needed;
				       * NULL-terminated; NULL = none */
	const char *pages; /* array that a paged answer carries: "Leases"; NULL = one answer */
	const char *help;  /* one line */
	bool finds; /* an element of a page is something wrong: dp_command_run() returns 1 for any */
	/* Prints one answer, or page @page (from 0), for people. NULL = as JSON. */
	void (*show)(const json_t *reply, unsigned page, FILE *out);
	/* Works in this process, with the daemon's configuration. Return: 0; negative errno. */
	int (*run)(const void *config, const json_t *args, struct dp_error *err);
};

/* Where commands live. */
struct dp_command_env {
	const char *program;               /* "myipamplugin" */
	const struct dp_schema *config;    /* table of the configuration */
	const char *managed_socket;        /* file name of a managed plugin's socket: "ipam.sock" */
	const struct dp_command *commands; /* ends with a row whose name is NULL */
};

/**
 * dp_command_find() - the row of @name
 *
 * Return: NULL and @err filled if there is none, with the nearest name.
 */
const struct dp_command *dp_command_find(const struct dp_command_env *env, const char *name,
					 struct dp_error *err);

/* dp_command_print_help() - all commands, a line each; or with @command its options. */
void dp_command_print_help(const struct dp_command_env *env, const struct dp_command *command,
			   FILE *out);

/**
 * dp_command_parse() - words of the command line after the command's name
 * @config:   the configuration, which its own keys among the words change
 * @ret_args: out: new object of texts; freed by the caller
 * @ret_json: out: --json was given
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) unknown option, value missing, operand missing or too many.
 */
DP_NODISCARD int dp_command_parse(const struct dp_command_env *env,
				  const struct dp_command *command, int argc, char **argv,
				  void *config, json_t **ret_args, bool *ret_json,
				  struct dp_error *err);

/**
 * dp_command_run() - do @command and print its outcome on stdout
 * @socket: the daemon's; where nothing is at the path, the one managed plugin of this host is taken
 * @args:   from dp_command_parse()
 * @json:   print the answer as JSON, pages as one array with a line for each element
 *
 * Return: 0; 1 @command finds what is wrong, and has found something; negative errno with @err filled.
 */
DP_NODISCARD int dp_command_run(const struct dp_command_env *env, const struct dp_command *command,
				const void *config, const char *socket, const json_t *args,
				bool json, struct dp_error *err);

#endif
