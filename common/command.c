/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "common/client.h"
#include "common/command.h"
#include "common/json.h"
#include "common/parse.h"

enum { MAX_NAMES = 64, MAX_KEY = 64, TIMEOUT_MS = 60000 };

/* ---- the table ---- */

const struct dp_command *dp_command_find(const struct dp_command_env *env, const char *name,
					 struct dp_error *err)
{
	const char *names[MAX_NAMES];
	const char *near;
	size_t n = 0;

	for (const struct dp_command *c = env->commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
		if (n < MAX_NAMES)
			names[n++] = c->name;
	}
	near = dp_nearest(name, names, n);
	(void)dp_error_set(err, DP_ERR_INVALID, -EINVAL, "unknown command '%s'%s%s%s", name,
			   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

static bool is_operand(const struct dp_command *c, const char *key)
{
	for (size_t i = 0; c->operands && c->operands[i]; i++) {
		if (!strcmp(c->operands[i], key))
			return true;
	}
	return false;
}

static void print_usage(const struct dp_command_env *env, const struct dp_command *c, FILE *out)
{
	fprintf(out, "Usage: %s %s [--json]%s", env->program, c->name,
		c->args && c->args->n_fields ? " [OPTION]..." : "");
	for (size_t i = 0; c->operands && c->operands[i]; i++) {
		putc(' ', out);
		for (const char *p = c->operands[i]; *p; p++)
			putc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, out);
	}
	fprintf(out, "\n%s\n", c->help);
	for (size_t i = 0; c->args && i < c->args->n_fields; i++) {
		const struct dp_field *f = &c->args->fields[i];

		if (f->help)
			fprintf(out, "  %s%s%s\n        %s\n", is_operand(c, f->key) ? "" : "--",
				f->key,
				f->type == DP_T_BOOL || is_operand(c, f->key) ? "" : " VALUE",
				f->help);
	}
}

void dp_command_print_help(const struct dp_command_env *env, const struct dp_command *command,
			   FILE *out)
{
	if (command) {
		print_usage(env, command, out);
		return;
	}
	for (const struct dp_command *c = env->commands; c->name; c++)
		fprintf(out, "  %-16s %s\n", c->name, c->help);
}

/* ---- words ---- */

static int set_arg(json_t *args, const char *key, const char *value, struct dp_error *err)
{
	unsigned before = dp_json_n_shortages();
	json_t *text = json_string(value);

	if (dp_json_n_shortages() != before)
		return dp_error_oom(err);
	if (!text)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: the value is not UTF-8",
				    key);
	return json_object_set_new(args, key, text) < 0 ? dp_error_oom(err) : 0;
}

/* One "--KEY VALUE" or "--KEY=VALUE" at @argv[*i], which moves to its last word. */
static int take_option(const struct dp_command_env *env, const struct dp_command *c, int argc,
		       char **argv, int *i, void *config, json_t *args, struct dp_error *err)
{
	const char *word = argv[*i] + 2;
	const char *value = strchr(word, '=');
	const struct dp_field *mine;
	const struct dp_schema *known = c->args ? c->args : env->config;
	char key[MAX_KEY];

	(void)snprintf(key, sizeof key, "%.*s",
		       (int)(value ? value - word : (ptrdiff_t)strlen(word)), word);
	mine = c->args ? dp_schema_find(c->args, key) : NULL;
	if (!mine && !dp_schema_find(env->config, key))
		return dp_schema_set_text(known, key, "", NULL, err); /* unknown: it says so */
	if (value)
		value++;
	else if (mine && mine->type == DP_T_BOOL)
		value = "true";
	else if (*i + 1 < argc)
		value = argv[++*i];
	else
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "--%s needs a value", key);
	return mine ? set_arg(args, key, value, err) :
		      dp_schema_set_text(env->config, key, value, config, err);
}

int dp_command_parse(const struct dp_command_env *env, const struct dp_command *command, int argc,
		     char **argv, void *config, json_t **ret_args, bool *ret_json,
		     struct dp_error *err)
{
	json_auto_t *args = json_object();
	const char *const *next = command->operands;
	bool json = false;
	int r = 0;

	if (!args)
		return dp_error_oom(err);
	for (int i = 0; i < argc && r == 0; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strncmp(argv[i], "--", 2)) {
			r = take_option(env, command, argc, argv, &i, config, args, err);
		} else if (next && *next) {
			r = set_arg(args, *next, argv[i], err);
			next++;
		} else {
			r = dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					 "%s: unexpected argument '%s'", command->name, argv[i]);
		}
	}
	if (r == 0 && next && *next)
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s needs %s: see %s %s --help",
				 command->name, *next, env->program, command->name);
	if (r < 0)
		return r;
	*ret_args = json_incref(args);
	*ret_json = json;
	return 0;
}

/* ---- asking the daemon ---- */

struct ask {
	struct dp_loop *loop;
	json_t *reply;
	struct dp_error err;
};

static void on_answer(void *ctx, json_t *reply, const struct dp_error *err)
{
	struct ask *a = ctx;

	if (err)
		a->err = *err;
	else
		a->reply = json_incref(reply);
	dp_loop_stop(a->loop);
}

static int ask(const char *socket, const char *method, json_t *args, json_t **ret_reply,
	       struct dp_error *err)
{
	DP_CLEANUP(dp_loop_freep) struct dp_loop *loop = NULL;
	struct ask a = { .err = DP_ERROR_INIT };
	int r = dp_loop_new(&loop, err);

	if (r < 0)
		return r;
	a.loop = loop;
	r = dp_client_call(loop, socket, method, json_incref(args), TIMEOUT_MS, on_answer, &a, NULL, err);
	if (r == 0)
		r = dp_loop_run(loop, err);
	if (r < 0)
		return r;
	if (!a.reply) {
		*err = a.err;
		return err->code;
	}
	*ret_reply = a.reply;
	return 0;
}

/* The engine gives each managed plugin a folder of its own below /run/docker/plugins. */
static int find_socket(const struct dp_command_env *env, const char *path, char ret_path[108],
		       struct dp_error *err)
{
	char pattern[64];
	struct stat st;
	glob_t found = { .gl_pathc = 0 };
	int r = 0;

	(void)snprintf(ret_path, 108, "%s", path);
	if (stat(path, &st) == 0)
		return 0;
	(void)snprintf(pattern, sizeof pattern, "/run/docker/plugins/*/%s", env->managed_socket);
	if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1)
		(void)snprintf(ret_path, 108, "%s", found.gl_pathv[0]);
	else if (found.gl_pathc > 1)
		r = dp_error_set(
			err, DP_ERR_CONFLICT, -EEXIST,
			"several managed plugins run here, choose one with --socket: %s, %s",
			found.gl_pathv[0], found.gl_pathv[1]);
	globfree(&found);
	return r;
}

static int ask_daemon(const struct dp_command_env *env, const char *socket, const char *method,
		      json_t *args, json_t **ret_reply, struct dp_error *err)
{
	char path[108];
	int r = find_socket(env, socket, path, err);

	if (r == 0)
		r = ask(path, method, args, ret_reply, err);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return dp_error_prefix(err, "%s does not run, or listens elsewhere (--socket)",
				       env->program);
	return r;
}

/* @n: elements printed so far. Return: how many after this page. */
static size_t print_json(const struct dp_command *c, const json_t *reply, unsigned page, bool last,
			 size_t n)
{
	const json_t *items = c->pages ? json_object_get(reply, c->pages) : NULL;
	json_t *item;
	size_t i;

	if (!items) {
		(void)json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
		return n;
	}
	if (page == 0)
		fputs("[", stdout);
	json_array_foreach(items, i, item)
	{
		fputs(n++ ? ",\n" : "\n", stdout);
		(void)json_dumpf(item, stdout, JSON_COMPACT);
	}
	if (last)
		fputs("\n]\n", stdout);
	return n;
}

int dp_command_run(const struct dp_command_env *env, const struct dp_command *command,
		   const void *config, const char *socket, const json_t *args, bool json,
		   struct dp_error *err)
{
	json_auto_t *asked = json_deep_copy(args);
	size_t n_found = 0;
	json_t *next;
	size_t n = 0;

	if (!asked)
		return dp_error_oom(err);
	if (!command->method)
		return command->run(config, args, err);
	for (unsigned page = 0;; page++) {
		json_auto_t *reply = NULL;
		int r = ask_daemon(env, socket, command->method, asked, &reply, err);

		if (r < 0)
			return r;
		if (command->finds)
			n_found += json_array_size(json_object_get(reply, command->pages));
		next = json_object_get(reply, "Next");
		if (json || !command->show)
			n = print_json(command, reply, page, !json_is_string(next), n);
		else
			command->show(reply, page, stdout);
		if (!json_is_string(next))
			return n_found > 0;
		if (json_object_set(asked, "After", next) < 0)
			return dp_error_oom(err);
	}
}
