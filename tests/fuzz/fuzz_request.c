/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Requests of an engine, a line each: a letter for the method, then the body.
 *
 * Methods of the IPAM daemon run completely - protocol, model, and SQL up to the commit - since they
 * touch nothing but a database in a directory of ours. The line "!" lets the next flush fail, "?" has
 * the next answer not delivered. Methods of the network daemon are decoded only: beyond that is the kernel.
 *
 * This file stands in for common/http.c (the linker wraps what rpc.c calls): a request is a struct
 * below, an answer is checked at once.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/rpc.h"
#include "ipam/driver.h"
#include "netdriver/driver.h"
#include "netdriver/options.h"
#include "tests/support/fakehttp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- in place of http.c ---- */

void __wrap_dp_http_respond(struct dp_http_request *req, unsigned status, char *body)
{
	json_auto_t *reply = body ? json_loads(body, 0, NULL) : NULL;
	const json_t *err = json_object_get(reply, "Err");
	const char *address = json_string_value(json_object_get(reply, "Address"));
	struct dp_prefix p;

	assert(!req->answered);
	req->answered = true;
	assert(status == 200 || status == 400);
	assert(json_is_object(reply));
	assert(status == 200 || err);
	assert(!err || json_equal(err, json_object_get(reply, "Error")));
	assert(!err || *json_string_value(err));
	assert(!address || dp_prefix_parse(address, &p) == 0);
	free(body);
}

/* ---- the IPAM daemon without its socket ---- */

static struct {
	char dir[32];
	struct ipam_config config;
	struct dp_loop *loop;
	void *driver;
	struct dp_turn *turn;
	struct dp_rpc *rpc;
	bool fail_flush;
	bool lose_answer;
} ipam;

/* Nothing is committed, so that a reload brings back the empty start. */
static int flush(void *ctx, struct dp_error *err)
{
	(void)ctx;
	if (!ipam.fail_flush)
		return 0;
	ipam.fail_flush = false;
	return dp_error_set(err, DP_ERR_INTERNAL, -ENOSPC, "disk full");
}

static void remove_dir(void)
{
	char path[64];
	static const char *const names[] = { "", "-wal", "-shm" };

	dp_rpc_free(ipam.rpc);
	dp_turn_free(ipam.turn);
	ipam_driver_stop(ipam.driver);
	dp_loop_free(ipam.loop);
	for (size_t i = 0; i < DP_ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof path, "%s/myipamplugin.db%s", ipam.dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(ipam.dir);
}

static void must(int r, const struct dp_error *err)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "fuzz_request: %s\n", err->msg);
	exit(EXIT_FAILURE);
}

static void start(void)
{
	static const struct dp_turn_ops ops = { .flush = flush, .reload = ipam_driver_reload };
	static const struct dp_route *const routes[] = { ipam_routes, NULL };
	static struct dp_rpc_spec spec = { .implements = "IpamDriver", .routes = routes,
					   .deadline_ms = 1000 };
	struct dp_error err = DP_ERROR_INIT;

	dp_log_set_level(DP_LOG_ERROR);
	(void)snprintf(ipam.dir, sizeof ipam.dir, "/tmp/dp-fuzz-XXXXXX");
	if (!mkdtemp(ipam.dir))
		abort();
	dp_schema_defaults(&ipam_config_schema, &ipam.config);
	ipam.config.common.state_dir = ipam.dir;
	must(dp_loop_new(&ipam.loop, &err), &err);
	must(ipam_driver_start(&ipam.config, ipam.loop, &ipam.driver, &err), &err);
	must(dp_turn_new(ipam.loop, &ops, ipam.driver, &ipam.turn, &err), &err);
	spec.ctx = ipam.driver;
	must(dp_rpc_new(&spec, ipam.loop, ipam.turn, &ipam.rpc, &err), &err);
	(void)atexit(remove_dir);
}

/* ---- the network daemon's requests ---- */

static void decode_network(const struct dp_route *route, const char *body, size_t size)
{
	auto_free void *req = calloc(1, route->req_size + 1);
	struct dp_error err = DP_ERROR_INIT;
	json_auto_t *root = json_loadb(body, size, JSON_REJECT_DUPLICATES, NULL);
	struct ndrv_spec spec;
	struct ndrv_spec again;
	const struct ndrv_network_request *rq = req;

	if (!root || !req || !route->schema || dp_schema_decode(route->schema, root, req, &err) < 0)
		return;
	if (!strstr(route->path, "Network") || route->req_size != sizeof *rq)
		return;
	if (rq->id && ndrv_id_check("network", rq->id, &err) == 0)
		assert(strlen(rq->id) < NDRV_ID_SIZE);
	if (ndrv_spec_decode(rq, "eth9", &spec, &err) < 0) {
		assert(err.code < 0 && *err.msg);
		return;
	}
	assert(spec.vlan <= 4094 && spec.n_subnets <= NDRV_MAX_SUBNETS);
	assert(!*spec.parent || ndrv_ifname_validate(spec.parent, NULL) == 0);
	assert(!*spec.bridge || ndrv_ifname_validate(spec.bridge, NULL) == 0);
	assert((spec.mode == NDRV_L2) == (*spec.parent != '\0'));
	assert(ndrv_spec_decode(rq, "eth9", &again, &err) == 0);
	assert(ndrv_spec_equal(&spec, &again) && !memcmp(&spec, &again, sizeof spec));
}

/* Route number @i of a table, counted round. */
static const struct dp_route *pick(const struct dp_route *table, size_t i)
{
	size_t n = 0;

	while (table[n].path)
		n++;
	return &table[i % n];
}

/* One line: a letter, then the body. 'A' and so on are the IPAM daemon's methods, 'a' the other's. */
static void run_line(const char *line, size_t n)
{
	struct dp_http_request req = { .body = line + 1, .size = n - 1 };
	unsigned char c = (unsigned char)line[0];

	if (c == '!') {
		ipam.fail_flush = true;
	} else if (c == '?') {
		ipam.lose_answer = true;
	} else if (c >= 'a') {
		decode_network(pick(ndrv_routes, (size_t)(c - 'a')), req.body, req.size);
	} else {
		req.path = pick(ipam_routes, (size_t)(c >= 'A' ? c - 'A' : c))->path;
		dp_rpc_on_request(ipam.rpc, &req);
		(void)dp_turn_run(ipam.turn);
		assert(req.answered);
		if (req.end)
			req.end(req.end_ctx, ipam.lose_answer);
		ipam.lose_answer = false;
		(void)dp_turn_run(ipam.turn);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	const char *end = p + size;

	if (!ipam.driver)
		start();
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *stop = newline ? newline : end;

		if (stop > p)
			run_line(p, (size_t)(stop - p));
		p = stop + 1;
	}
	ipam.fail_flush = ipam.lose_answer = false;
	ipam_driver_reload(ipam.driver);
	return 0;
}
