/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "common/command.h"
#include "tests/support/unit.h"

struct config {
	const char *socket;
};

static const struct dp_schema config_schema = {
	.noun = "config key",
	.refuse_unknown = true,
	.n_fields = 1,
	.fields =
		(const struct dp_field[1]){
			DP_STR(struct config, socket, "socket", .def = "/default.sock"),
		},
};

struct args {
	const char *pool;
	const char *address;
	bool all;
};

static const struct dp_schema args_schema = {
	.noun = "option",
	.text_values = true,
	.n_fields = 3,
	.fields =
		(const struct dp_field[3]){
			DP_STR(struct args, pool, "pool", .help = "only this pool"),
			DP_STR(struct args, address, "address", .help = "whose"),
			DP_BOOL(struct args, all, "all", .help = "everything"),
		},
};

static const char *const operands[] = { "address", NULL };

static const struct dp_command commands[] = {
	{ .name = "history",
	  .method = "/Operator.History",
	  .args = &args_schema,
	  .operands = operands,
	  .help = "who had it" },
	{ .name = "check", .method = "/Operator.Check", .help = "look" },
	{ .name = NULL },
};

static const struct dp_command_env env = {
	.program = "myprogram",
	.config = &config_schema,
	.managed_socket = "my.sock",
	.commands = commands,
};

static struct config config;

/* Parses @words (NULL-terminated) as those of command @c. Return: what dp_command_parse() said. */
static int parse(const struct dp_command *c, const char *const *words, json_t **ret_args,
		 bool *ret_json, struct dp_error *err)
{
	char *argv[8];
	int argc = 0;

	while (words[argc] && argc < 8) {
		argv[argc] = (char *)(uintptr_t)words[argc];
		argc++;
	}
	dp_schema_defaults(&config_schema, &config);
	return dp_command_parse(&env, c, argc, argv, &config, ret_args, ret_json, err);
}

static void assert_parses(const struct dp_command *c, const char *const *words, const char *json)
{
	json_auto_t *args = NULL;
	json_auto_t *want = json_loads(json, 0, NULL);
	struct dp_error err = DP_ERROR_INIT;
	bool as_json;

	assert_ok(parse(c, words, &args, &as_json, &err), &err);
	assert_true(json_equal(args, want));
}

static void assert_fails(const struct dp_command *c, const char *const *words, const char *part)
{
	json_t *args;
	struct dp_error err = DP_ERROR_INIT;
	bool as_json;

	assert_refused(parse(c, words, &args, &as_json, &err), -EINVAL, &err, part);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void a_command_is_found_by_its_name(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_ptr_equal(dp_command_find(&env, "check", &err), &commands[1]);
}

static void an_unknown_command_is_refused_with_the_nearest(void **state)
{
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	assert_null(dp_command_find(&env, "histroy", &err));
	assert_refused(err.code, -EINVAL, &err, "'histroy', did you mean 'history'?");
}

static void options_and_operands_become_texts(void **state)
{
	(void)state;
	assert_parses(&commands[0], WORDS("--pool", "10.0.0.0/8", "10.0.0.7"),
		      "{\"pool\": \"10.0.0.0/8\", \"address\": \"10.0.0.7\"}");
	assert_parses(&commands[0], WORDS("10.0.0.7", "--pool=x"),
		      "{\"pool\": \"x\", \"address\": \"10.0.0.7\"}");
}

static void a_flag_needs_no_value(void **state)
{
	(void)state;
	assert_parses(&commands[0], WORDS("--all", "10.0.0.7"),
		      "{\"all\": \"true\", \"address\": \"10.0.0.7\"}");
}

static void keys_of_the_configuration_may_follow(void **state)
{
	(void)state;
	assert_parses(&commands[1], WORDS("--socket", "/other.sock"), "{}");
	assert_string_equal(config.socket, "/other.sock");
}

static void an_unknown_option_is_refused_with_the_nearest(void **state)
{
	(void)state;
	assert_fails(&commands[0], WORDS("--pol", "x"), "'pol', did you mean 'pool'");
	assert_fails(&commands[1], WORDS("--sokcet", "x"), "'sokcet', did you mean 'socket'");
}

static void a_missing_value_or_operand_is_named(void **state)
{
	(void)state;
	assert_fails(&commands[0], WORDS("--pool"), "--pool needs a value");
	assert_fails(&commands[0], WORDS("--pool", "x"), "history needs address");
}

static void a_word_too_many_is_named(void **state)
{
	(void)state;
	assert_fails(&commands[0], WORDS("10.0.0.7", "10.0.0.8"), "'10.0.0.8'");
}

static void json_is_asked_for_anywhere(void **state)
{
	json_auto_t *args = NULL;
	struct dp_error err = DP_ERROR_INIT;
	bool json = false;

	(void)state;
	assert_ok(parse(&commands[0], WORDS("10.0.0.7", "--json"), &args, &json, &err), &err);
	assert_true(json);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_found_by_its_name),
		cmocka_unit_test(an_unknown_command_is_refused_with_the_nearest),
		cmocka_unit_test(options_and_operands_become_texts),
		cmocka_unit_test(a_flag_needs_no_value),
		cmocka_unit_test(keys_of_the_configuration_may_follow),
		cmocka_unit_test(an_unknown_option_is_refused_with_the_nearest),
		cmocka_unit_test(a_missing_value_or_operand_is_named),
		cmocka_unit_test(a_word_too_many_is_named),
		cmocka_unit_test(json_is_asked_for_anywhere),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
