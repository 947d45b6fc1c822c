/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Every allocation of every request to the IPAM daemon fails in turn, once and from then on: in
 * decoding, the model, SQLite, the answer. The request is then fully done, or refused for want of
 * memory with the books as they were; books in memory and on disk agree, and the next request is
 * served.
 *
 * The real handlers run in this process, from the bytes of the request to those of the answer.
 */

#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "ipam/driver_internal.h"
#include "tests/support/failalloc.h"
#include "tests/support/fakehttp.h"
#include "tests/support/nosync.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

enum { N_WORLD = 16384 };

/* ---- the world around the daemon ---- */

time_t __wrap_time(time_t *ret);

time_t __wrap_time(time_t *ret)
{
	const time_t now = 1700000000;

	if (ret)
		*ret = now;
	return now;
}

static char answer[N_WORLD]; /* the last one; "" = that there is no memory, without words of ours */

void __wrap_dp_http_respond(struct dp_http_request *req, unsigned status, char *body)
{
	if (status == 400)
		fail_msg("%s", body);
	assert_false(req->answered);
	req->answered = true;
	(void)snprintf(answer, sizeof answer, "%s", body ? body : "");
	req->refused = !body || strstr(body, "\"Err\"");
	free(body);
}

/* ---- the daemon ---- */

static char dir[TEMPDIR_SIZE];
static struct ipam_config config;
static struct dp_loop *loop;
static struct ipam_driver *driver;
static struct dp_turn *turn;
static struct dp_rpc *rpc;

static void start_daemon(void)
{
	static const struct dp_route *const routes[] = { ipam_routes, ipam_operator_routes, NULL };
	static const struct dp_turn_ops ops = { .flush = ipam_driver_flush,
						.reload = ipam_driver_reload };
	static struct dp_rpc_spec spec = { .implements = "IpamDriver", .routes = routes,
					   .deadline_ms = 10000 };
	struct dp_error err = DP_ERROR_INIT;
	void *ctx;

	dp_schema_defaults(&ipam_config_schema, &config);
	config.common.state_dir = dir;
	config.default_pools = "base=198.18.0.0/15,size=24";
	assert_ok(dp_loop_new(&loop, &err), &err);
	assert_ok(ipam_driver_start(&config, loop, &ctx, &err), &err);
	driver = ctx;
	driver->random = 1;
	spec.ctx = ctx;
	assert_ok(dp_turn_new(loop, &ops, ctx, &turn, &err), &err);
	assert_ok(dp_rpc_new(&spec, loop, turn, &rpc, &err), &err);
}

static void stop_daemon(void)
{
	dp_rpc_free(rpc);
	dp_turn_free(turn);
	ipam_driver_stop(driver);
	dp_loop_free(loop);
	driver = NULL;
}

static bool call(const char *path, const char *body)
{
	struct dp_http_request req = { .path = path, .body = body, .size = strlen(body) };

	dp_rpc_on_request(rpc, &req);
	while (!req.answered)
		(void)dp_turn_run(turn);
	if (req.end)
		req.end(req.end_ctx, false); /* delivered */
	return !req.refused;
}

/* ---- what is asked ---- */

struct op {
	const char *path;
	const char *body;
};

#define POOL(args)    { "/IpamDriver.RequestPool", "{\"AddressSpace\":\"local\"" args "}" }
#define PLAIN         POOL(",\"Pool\":\"10.1.0.0/24\"")
#define RANGE         POOL(",\"Pool\":\"10.1.0.0/24\",\"SubPool\":\"10.1.0.64/26\"")
#define STRATEGY(s)   POOL(",\"Pool\":\"10.1.0.0/24\",\"Options\":{\"strategy\":\"" s "\"}")
#define SMALL         POOL(",\"Pool\":\"10.1.0.0/29\"")
#define ID            "\"PoolID\":\"local/10.1.0.0/24\""
#define ID_RANGE      "\"PoolID\":\"local/10.1.0.0/24/10.1.0.64/26\""
#define ID_SMALL      "\"PoolID\":\"local/10.1.0.0/29\""
#define GATEWAY       "\"RequestAddressType\":\"com.docker.network.gateway\""
#define WEB           "\"com.docker.network.endpoint.name\":\"web\","                              \
		      "\"com.docker.network.endpoint.macaddress\":\"02:00:00:00:00:07\""
#define TAKE(args)    { "/IpamDriver.RequestAddress", "{" args "}" }
#define GIVE(args)    { "/IpamDriver.ReleaseAddress", "{" args "}" }
#define OPERATE(m, a) { "/Operator." m, "{" a "}" }

enum { MAX_BEFORE = 12 };

struct plan {
	const char *name;
	struct op op;
	struct op before[MAX_BEFORE]; /* ends with a row without path */
	bool is_drawn;                /* its outcome is a matter of chance */
};

static const struct plan plans[] = {
	{ "capabilities", { "/IpamDriver.GetCapabilities", "" }, { PLAIN }, false },
	{ "spaces", { "/IpamDriver.GetDefaultAddressSpaces", "" }, { { NULL, NULL } }, false },
	{ "a pool", PLAIN, { { NULL, NULL } }, false },
	{ "a pool with a range, on a subnet that is there", RANGE, { PLAIN }, false },
	{ "a pool with options",
	  POOL(",\"Pool\":\"10.1.0.0/24\",\"Options\":{\"strategy\":\"sticky\",\"tenant\":\"blue\","
	       "\"exclude\":\"10.1.0.100-10.1.0.120,10.1.0.9\",\"slice\":\"2/4\"}"),
	  { { NULL, NULL } }, false },
	{ "any pool", POOL(""), { POOL("") }, false },
	{ "any IPv6 pool", POOL(",\"V6\":true"), { { NULL, NULL } }, true },
	{ "a pool of a Swarm",
	  { "/IpamDriver.RequestPool", "{\"AddressSpace\":\"global\",\"Pool\":\"10.9.0.0/24\",\"Options\":"
	    "{\"com.docker.network.ipam.serial\":\"true\"}}" },
	  { { "/IpamDriver.GetCapabilities", "" } }, false },
	{ "an IPv6 pool with addresses made of another's",
	  POOL(",\"Pool\":\"fd00::/64\",\"V6\":true,\"Options\":{\"v6-from\":\"10.1.0.0/24\"}"),
	  { PLAIN }, false },
	{ "an address", TAKE(ID), { PLAIN }, false },
	{ "an address of an IPv6 pool", TAKE("\"PoolID\":\"local/fd00::/64\""),
	  { POOL(",\"Pool\":\"fd00::/64\",\"V6\":true") }, false },
	{ "the lowest address", TAKE(ID),
	  { STRATEGY("lowest"), TAKE(ID ",\"Address\":\"10.1.0.2\""), TAKE(ID) }, false },
	{ "a random address", TAKE(ID), { STRATEGY("random") }, true },
	{ "the address of one who comes back", TAKE(ID ",\"Options\":{" WEB "}"),
	  { STRATEGY("sticky"), TAKE(ID ",\"Options\":{" WEB "}"), TAKE(ID),
	    GIVE(ID ",\"Address\":\"10.1.0.1\"") }, false },
	{ "an address that is reserved", TAKE(ID ",\"Options\":{" WEB "}"),
	  { PLAIN, OPERATE("Reserve", "\"pool\":\"10.1.0.0/24\",\"range\":\"10.1.0.77\",\"name\":\"web\"") },
	  false },
	{ "an address that rests, since nothing else is left", TAKE(ID_SMALL),
	  { SMALL, TAKE(ID_SMALL), TAKE(ID_SMALL), TAKE(ID_SMALL), TAKE(ID_SMALL), TAKE(ID_SMALL),
	    TAKE(ID_SMALL), GIVE(ID_SMALL ",\"Address\":\"10.1.0.3\"") }, false },
	{ "a gateway", TAKE(ID ",\"Address\":\"10.1.0.1\",\"Options\":{" GATEWAY "}"), { PLAIN }, false },
	{ "a gateway that another pool has", TAKE(ID_RANGE ",\"Address\":\"10.1.0.1\",\"Options\":{" GATEWAY "}"),
	  { PLAIN, RANGE, TAKE(ID ",\"Address\":\"10.1.0.1\",\"Options\":{" GATEWAY "}") }, false },
	{ "a certain address, with its MAC", TAKE(ID ",\"Address\":\"10.1.0.50\",\"Options\":{" WEB "}"),
	  { PLAIN }, false },
	{ "a release", GIVE(ID ",\"Address\":\"10.1.0.1\""), { PLAIN, TAKE(ID), TAKE(ID) }, false },
	{ "a release in a sticky pool", GIVE(ID ",\"Address\":\"10.1.0.1\""),
	  { STRATEGY("sticky"), TAKE(ID ",\"Options\":{" WEB "}") }, false },
	{ "the release of a gateway that another pool has as well",
	  GIVE(ID ",\"Address\":\"10.1.0.1\""),
	  { PLAIN, RANGE, TAKE(ID ",\"Address\":\"10.1.0.1\",\"Options\":{" GATEWAY "}"),
	    TAKE(ID_RANGE ",\"Address\":\"10.1.0.1\",\"Options\":{" GATEWAY "}") }, false },
	{ "the release of a pool with addresses in it", { "/IpamDriver.ReleasePool", "{" ID "}" },
	  { PLAIN, TAKE(ID), TAKE(ID), GIVE(ID ",\"Address\":\"10.1.0.1\"") }, false },
	{ "the release of one of two pools on a subnet", { "/IpamDriver.ReleasePool", "{" ID "}" },
	  { PLAIN, RANGE, TAKE(ID), TAKE(ID_RANGE), TAKE(ID), GIVE(ID ",\"Address\":\"10.1.0.1\"") },
	  false },
	{ "a reservation", OPERATE("Reserve", "\"pool\":\"10.1.0.0/24\",\"range\":\"10.1.0.77\",\"name\":\"web\""),
	  { PLAIN }, false },
	{ "an exclusion", OPERATE("Exclude", "\"pool\":\"10.1.0.0/24\",\"range\":\"10.1.0.80-10.1.0.90\""),
	  { PLAIN, TAKE(ID) }, false },
};

static void do_well(const struct op *op)
{
	if (!call(op->path, op->body))
		fail_msg("%s %s: %s", op->path, op->body, answer);
}

/* ---- books ---- */

/* What operators are shown, in which every row and number of the model is. */
static char *world(void)
{
	static const struct op views[] = { OPERATE("Status", ""), OPERATE("Leases", ""),
					   OPERATE("Ranges", ""), OPERATE("History", "\"address\":\"10.1.0.1\"") };
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < DP_ARRAY_LEN(views); i++) {
		do_well(&views[i]);
		fprintf(out, "%s\n", answer);
	}
	(void)fclose(out);
	/* The daemon itself compares bitmaps, counts and rows. */
	do_well(&(const struct op)OPERATE("Check", ""));
	assert_contains(answer, "\"Findings\":[]");
	return text;
}

static void assert_world(const char *want, const char *what)
{
	auto_free char *is = world();

	if (strcmp(is, want) != 0)
		fail_msg("%s\nis     %s\nshould %s", what, is, want);
}

static void begin(const struct plan *p)
{
	tempdir_make(dir);
	start_daemon();
	for (const struct op *op = p->before; op->path; op++)
		do_well(op);
}

static void end(void)
{
	struct dp_error err = DP_ERROR_INIT;

	stop_daemon();
	assert_int_equal(ipam_state_check(dir, stdout, &err), 0);
	tempdir_remove(dir);
}

/* Of a request that nothing hinders. */
struct outcome {
	char *before; /* world */
	char *after;
	char *answer;
};

/* The request fails at allocation @n. @thorough: it is then asked again, and the daemon started again.
 * Return: was there such an allocation? */
static bool one_shortage(const struct plan *p, unsigned n, bool lasts, bool thorough,
			 const struct outcome *o)
{
	char what[900];
	bool done;
	bool hit;

	if (!driver)
		begin(p);
	if (lasts)
		fail_alloc_from(n);
	else
		fail_alloc_nth(n);
	done = call(p->op.path, p->op.body);
	hit = fail_alloc_stop();
	(void)snprintf(what, sizeof what, "%s, allocation %u%s: %.600s", p->name, n,
		       lasts ? " and all after it" : "", answer);
	if (!done && *answer && !strstr(answer, "out of memory"))
		fail_msg("%s", what);
	if (done && !p->is_drawn)
		assert_string_equal(answer, o->answer);
	if (!done || !p->is_drawn)
		assert_world(done ? o->after : o->before, what);
	if (!done && !thorough)
		return hit; /* and the daemon is as if nothing had been */
	stop_daemon();
	start_daemon();
	if (!done || !p->is_drawn)
		assert_world(done ? o->after : o->before, what);
	if (!done) {
		do_well(&p->op);
		if (!p->is_drawn)
			assert_world(o->after, what);
	}
	end();
	return hit;
}

static void every_allocation_fails(bool lasts)
{
	for (size_t i = 0; i < DP_ARRAY_LEN(plans); i++) {
		const struct plan *p = &plans[i];
		struct outcome o;
		unsigned n = 1;

		begin(p);
		o.before = world();
		do_well(&p->op);
		o.answer = strdup(answer);
		o.after = world();
		end();
		/* A daemon that has just been started has more to allocate, SQLite above all. */
		while (one_shortage(p, n, lasts, !lasts || n % 8 == 1, &o))
			n++;
		assert_true(n > 2); /* a call and its answer */
		print_message("# %s: %u allocations\n", p->name, n - 1);
		free(o.before);
		free(o.after);
		free(o.answer);
	}
}

static void a_request_that_lacks_memory_once_is_done_or_refused(void **state)
{
	(void)state;
	every_allocation_fails(false);
}

static void a_request_whose_memory_has_ended_is_refused(void **state)
{
	(void)state;
	every_allocation_fails(true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_that_lacks_memory_once_is_done_or_refused),
		cmocka_unit_test(a_request_whose_memory_has_ended_is_refused),
	};

	dp_log_set_level(getenv("DP_TEST_LOG") ? DP_LOG_DEBUG : DP_LOG_ERROR);
	return cmocka_run_group_tests_name("every allocation of the IPAM daemon fails in turn", tests,
					   NULL, NULL);
}
