/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Every allocation of everything that reads what others wrote fails in turn, once and from then on:
 * requests, options, configuration, words of the command line, and the answer to a request. The outcome
 * is complete, or it is an error that says what was short; and the same input is read afterwards.
 */

#include <stdio.h>

#include "common/cleanup.h"
#include "common/command.h"
#include "common/json.h"
#include "common/log.h"
#include "ipam/driver.h"
#include "netdriver/driver.h"
#include "netdriver/options.h"
#include "tests/support/failalloc.h"
#include "tests/support/fakehttp.h"
#include "tests/support/unit.h"

/* Reads something; on success looks whether it is all there, and forgets it. The memory is short between
 * its calls of begin() and end(). Return: 0; negative errno. */
typedef int reading_fn(struct dp_error *err);

static unsigned shortage; /* the allocation that fails */
static bool for_good;     /* and all after it */
static bool hit;

static void begin(void)
{
	if (!shortage)
		return;
	if (for_good)
		fail_alloc_from(shortage);
	else
		fail_alloc_nth(shortage);
}

static void end(void)
{
	hit = fail_alloc_stop();
}

static void every_allocation_fails(reading_fn *reading, unsigned at_least)
{
	for (int pass = 0; pass < 2; pass++) {
		unsigned n = 0;

		for_good = pass == 1;
		do {
			struct dp_error err = DP_ERROR_INIT;
			int r;

			shortage = ++n;
			r = reading(&err);
			if (r < 0) {
				assert_true(hit);
				assert_refused(r, -ENOMEM, &err, "out of memory");
			}
			shortage = 0;
			err = (struct dp_error)DP_ERROR_INIT;
			if (r < 0 || n == 1) {
				bool was = hit;

				assert_ok(reading(&err), &err);
				hit = was;
			}
		} while (hit);
		if (n <= at_least)
			fail_msg("%u allocations", n - 1);
	}
}

/* ---- JSON ---- */

/* Tokens of all lengths around those at which the parser's buffer grows, as keys and as values. */
static char *long_tokens(void)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs("{\"escapes\":\"\\u00e4\\\\\\\"\\n\"", out);
	for (int n = 1; n < 300; n = n % 2 ? 2 * n : n + 1)
		fprintf(out, ",\"%0*d\":[\"%0*d\",[\"%0*d\"],{\"a\":\"%0*d\"}]", n, 1, n, 2, n + 1, 3, n + 2, 4);
	for (int i = 0; i < 40; i++)
		fprintf(out, ",\"t%d\":\"%031d\"", i, i);
	fputs("}", out);
	(void)fclose(out);
	return text;
}

static int read_long_tokens(struct dp_error *err)
{
	auto_free char *text = long_tokens();
	auto_free char *again = NULL;
	json_auto_t *root = NULL;
	int r;

	begin();
	r = dp_json_parse(text, strlen(text), &root, err);
	end();
	if (r < 0) {
		assert_null(root);
		return r;
	}
	again = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
	assert_int_equal(strlen(again), strlen(text));
	assert_contains(again, "\\u00E4\\\\\\\"\\n");
	return 0;
}

static void a_text_is_parsed_completely_or_not_at_all(void **state)
{
	(void)state;
	every_allocation_fails(read_long_tokens, 200);
}

/* ---- configuration ---- */

static const char *config_file;
static const struct dp_schema *config_schema;

static void free_lists(const struct dp_schema *schema, void *dst)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];
		char *list;

		if (f->type != DP_T_LIST)
			continue;
		memcpy(&list, (char *)dst + f->offset, sizeof list);
		if (list != f->def)
			free(list);
	}
}

static int read_config(struct dp_error *err)
{
	union {
		struct ipam_config ipam;
		struct ndrv_config net;
	} config = { .ipam = { .cooldown = 0 } };
	json_auto_t *root = NULL;
	char path[300];
	int r;

	(void)snprintf(path, sizeof path, "%s/config/%s", getenv("top_srcdir") ? getenv("top_srcdir") : ".",
		       config_file);
	dp_schema_defaults(config_schema, &config);
	begin();
	r = dp_json_read(path, &root, err);
	if (r == 0)
		r = dp_schema_decode(config_schema, root, &config, err);
	if (r == 0 && config_schema == &ipam_config_schema)
		r = ipam_config_check(&config.ipam, err);
	end();
	if (r == 0 && config_schema == &ipam_config_schema)
		assert_contains(config.ipam.default_pools, "base=192.168.0.0/16,size=20");
	if (r == 0 && config_schema == &ndrv_config_schema)
		assert_contains(config.net.ipam_socket, "/run/docker/host-plugins/*/ipam.sock");
	free_lists(config_schema, &config);
	return r;
}

static void a_configuration_file_is_read_or_refused(void **state)
{
	(void)state;
	config_file = "myipamplugin.json";
	config_schema = &ipam_config_schema;
	every_allocation_fails(read_config, 40);
	config_file = "mynetworkplugin.json";
	config_schema = &ndrv_config_schema;
	every_allocation_fails(read_config, 40);
}

static int encode_defaults(struct dp_error *err)
{
	json_auto_t *all = NULL;

	begin();
	all = dp_schema_encode_defaults(&ipam_config_schema);
	end();
	if (!all)
		return dp_error_oom(err);
	assert_int_equal(json_array_size(json_object_get(all, "default-pools")), 7);
	assert_int_equal(json_object_size(all), ipam_config_schema.n_fields);
	return 0;
}

static void the_defaults_are_printed_completely_or_not_at_all(void **state)
{
	(void)state;
	every_allocation_fails(encode_defaults, 20);
}

/* ---- options of a network ---- */

static int read_network(struct dp_error *err)
{
	static const char text[] =
		"{\"NetworkID\":\"0123456789abcdef\",\"Options\":{\"com.docker.network.enable_ipv6\":true,"
		"\"com.docker.network.generic\":{\"parent\":\"eth1\",\"vlan\":\"100\",\"mode\":\"l2\","
		"\"com.docker.network.driver.mtu\":\"1400\"}},\"IPv4Data\":[{\"AddressSpace\":\"local\","
		"\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1/24\",\"AuxAddresses\":{\"a\":\"10.1.0.9/24\","
		"\"b\":\"10.1.0.10/24\"}}],\"IPv6Data\":[{\"Pool\":\"fd00::/64\",\"Gateway\":\"fd00::1/64\","
		"\"AuxAddresses\":{\"c\":\"fd00::9/64\"}}]}";
	struct ndrv_network_request rq = { .id = NULL };
	json_auto_t *root = NULL;
	auto_free char *aux = NULL;
	struct ndrv_spec spec;
	int r;

	begin();
	r = dp_json_parse(text, sizeof text - 1, &root, err);
	if (r == 0) {
		rq.id = json_string_value(json_object_get(root, "NetworkID"));
		rq.options = json_object_get(root, "Options");
		rq.ipv4 = json_object_get(root, "IPv4Data");
		rq.ipv6 = json_object_get(root, "IPv6Data");
		r = ndrv_spec_decode(&rq, "", &spec, err);
	}
	if (r == 0)
		r = ndrv_aux_decode(&rq, &aux, err);
	end();
	if (r < 0)
		return r;
	assert_int_equal(spec.vlan, 100);
	assert_int_equal(spec.mtu, 1400);
	assert_int_equal(spec.n_subnets, 2);
	assert_string_equal(aux, "10.1.0.9 10.1.0.10 fd00::9");
	return 0;
}

static void the_options_of_a_network_are_read_or_refused(void **state)
{
	(void)state;
	every_allocation_fails(read_network, 60);
}

/* ---- words of the command line ---- */

static int read_words(struct dp_error *err)
{
	static const char *const words[] = { "--pool=10.1.0.0/24", "--json", "10.1.0.7", "--name",
					     "a-container-with-a-name-that-is-rather-long" };
	const struct dp_command_env env = { .program = "myipamplugin", .config = &ipam_config_schema,
					    .commands = ipam_commands };
	struct ipam_config config = { .cooldown = 0 };
	json_auto_t *args = NULL;
	char *argv[DP_ARRAY_LEN(words)];
	bool json = false;
	int r;

	for (size_t i = 0; i < DP_ARRAY_LEN(words); i++)
		argv[i] = (char *)(uintptr_t)words[i];
	begin();
	r = dp_command_parse(&env, dp_command_find(&env, "reserve", NULL), (int)DP_ARRAY_LEN(argv), argv,
			     &config, &args, &json, err);
	end();
	if (r < 0) {
		assert_null(args);
		return r;
	}
	assert_true(json);
	assert_int_equal(json_object_size(args), 3);
	assert_string_equal(json_string_value(json_object_get(args, "name")), words[4]);
	return 0;
}

static void words_of_the_command_line_are_read_or_refused(void **state)
{
	(void)state;
	every_allocation_fails(read_words, 8);
}

/* ---- a request and its answer ---- */

struct request {
	const char *name;
	json_t *list;
};

static const struct dp_schema request_schema = {
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct request, name, "Name", .flags = DP_F_REQUIRED),
		DP_ARR(struct request, list, "List"),
	},
};

static struct {
	unsigned n_made;      /* in memory */
	unsigned n_committed; /* on disk */
	unsigned n_undone;
	unsigned status;
	char body[512];
} server;

/* Makes something, and answers with a list of which it does not look at each element. */
static int on_make(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct request *rq = req;
	json_t *list = json_array();
	json_t *item;
	size_t i;

	(void)ctx;
	(void)err;
	server.n_made++;
	json_array_foreach(rq->list, i, item)
		(void)json_array_append_new(list, json_pack("{s:O}", "Item", item));
	dp_call_undo_with(call, "/Test.Unmake");
	dp_call_reply(call, json_pack("{s:s, s:o}", "Name", rq->name, "List", list));
	return DP_STEP_DONE;
}

static int on_make_silently(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)req;
	(void)err;
	server.n_made++;
	return DP_STEP_DONE;
}

static int on_unmake(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)req;
	(void)err;
	server.n_undone++;
	return DP_STEP_DONE;
}

static const struct dp_route routes[] = {
	{ "/Test.Make", &request_schema, sizeof(struct request), on_make },
	{ "/Test.MakeSilently", NULL, 0, on_make_silently },
	{ "/Test.Unmake", &request_schema, sizeof(struct request), on_unmake },
	{ .path = NULL },
};

static int flush(void *ctx, struct dp_error *err)
{
	(void)ctx;
	(void)err;
	server.n_committed = server.n_made;
	return 0;
}

static void reload(void *ctx)
{
	(void)ctx;
	server.n_made = server.n_committed;
}

void __wrap_dp_http_respond(struct dp_http_request *req, unsigned status, char *body)
{
	assert_false(req->answered);
	req->answered = true;
	server.status = status;
	(void)snprintf(server.body, sizeof server.body, "%s", body ? body : "");
	free(body);
}

static const char *request_path;
static const char *request_body;
static const char *request_answer;

static struct dp_loop *loop;
static struct dp_turn *turn;
static struct dp_rpc *rpc;

static void serve(void)
{
	static const struct dp_route *const tables[] = { routes, NULL };
	static const struct dp_turn_ops ops = { .flush = flush, .reload = reload };
	static const struct dp_rpc_spec spec = { .implements = "TestDriver", .routes = tables,
						 .deadline_ms = 1000 };
	struct dp_error err = DP_ERROR_INIT;

	memset(&server, 0, sizeof server);
	assert_ok(dp_loop_new(&loop, &err), &err);
	assert_ok(dp_turn_new(loop, &ops, NULL, &turn, &err), &err);
	assert_ok(dp_rpc_new(&spec, loop, turn, &rpc, &err), &err);
}

static void stop(void)
{
	dp_rpc_free(rpc);
	dp_turn_free(turn);
	dp_loop_free(loop);
}

static struct dp_http_request request_arrives(void)
{
	struct dp_http_request req = { .path = request_path, .body = request_body,
				       .size = strlen(request_body) };

	dp_rpc_on_request(rpc, &req);
	while (!req.answered)
		(void)dp_turn_run(turn);
	return req;
}

static int ask(struct dp_error *err)
{
	struct dp_http_request req;
	bool done;

	serve();
	begin();
	req = request_arrives();
	end();
	if (req.end)
		req.end(req.end_ctx, false);
	stop();
	done = server.status == 200 && !strcmp(server.body, request_answer);
	assert_int_equal(server.n_made, done);
	assert_int_equal(server.n_committed, done);
	/* Without any memory the connection's own words say so: see dp_http_respond(). */
	if (!done && *server.body)
		assert_contains(server.body, "out of memory");
	return done ? 0 : dp_error_oom(err);
}

static void a_request_is_done_and_answered_or_refused(void **state)
{
	(void)state;
	request_path = "/Test.Make";
	request_body = "{\"Name\":\"a name that is longer than thirty-two bytes, so that a buffer grows\","
		       "\"List\":[1,2,\"three\"]}";
	request_answer = "{\"Name\":\"a name that is longer than thirty-two bytes, so that a buffer grows\","
			 "\"List\":[{\"Item\":1},{\"Item\":2},{\"Item\":\"three\"}]}";
	every_allocation_fails(ask, 40);
	request_path = "/Test.MakeSilently";
	request_body = "";
	request_answer = "{}";
	every_allocation_fails(ask, 1);
}

/* What was made for a client that is gone is undone, or the log says that it could not be. */
static int lose_answer(struct dp_error *err)
{
	struct dp_http_request req;

	serve();
	req = request_arrives();
	begin();
	req.end(req.end_ctx, true);
	(void)dp_turn_run(turn);
	end();
	stop();
	return server.n_undone ? 0 : dp_error_oom(err);
}

static void an_answer_that_is_lost_is_undone_while_there_is_memory(void **state)
{
	(void)state;
	request_path = "/Test.Make";
	request_body = "{\"Name\":\"a\"}";
	every_allocation_fails(lose_answer, 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_parsed_completely_or_not_at_all),
		cmocka_unit_test(a_configuration_file_is_read_or_refused),
		cmocka_unit_test(the_defaults_are_printed_completely_or_not_at_all),
		cmocka_unit_test(the_options_of_a_network_are_read_or_refused),
		cmocka_unit_test(words_of_the_command_line_are_read_or_refused),
		cmocka_unit_test(a_request_is_done_and_answered_or_refused),
		cmocka_unit_test(an_answer_that_is_lost_is_undone_while_there_is_memory),
	};

	dp_log_set_level(DP_LOG_ERROR);
	return cmocka_run_group_tests_name("every allocation of decoding fails in turn", tests, NULL, NULL);
}
