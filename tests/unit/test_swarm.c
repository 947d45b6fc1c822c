/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * A Swarm in one process: three hosts with an instance of the IPAM daemon each, all of them managers
 * and nodes. The daemons are real from the decoded request to the committed row; the Swarm is a
 * model of what engines send: its store (networks, services, tasks), an allocator that only the
 * leader has and that dies with its term, nodes whose engines crash.
 *
 * Everything happens at random: leaders change, in the middle of their repetition too; a leader
 * fails to allocate a network at its start and forgets its tasks; daemons are killed; engines ask
 * for capabilities out of turn; hours pass. Whatever happens:
 *   - no address is given to two live holders, no live holder is refused the one it has;
 *   - a network of the store can always be allocated, and new ones where no other is;
 *   - a second network, or an address of a live task named a second time, is refused as long as
 *     nothing has made it look like a repetition;
 *   - when all is quiet and the grace is over, the leader's books hold what is in use, no more, and
 *     so do the nodes'.
 * DP_TEST_RUNS=N for more sequences than the usual.
 */

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/compiler.h"
#include "common/log.h"
#include "ipam/driver_internal.h"
#include "tests/support/random.h"
#include "tests/support/nosync.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

enum {
	N_HOSTS = 3,
	N_NETWORKS = 4,
	N_TASKS = 24,
	N_STEPS = 120,
	GRACE = 3600,
	COOLDOWN = 30,
	ADDR_SIZE = 64,
};

/* ---- the world around the daemons ---- */

static time_t now = 1700000000;
static json_t *last_reply;

time_t __wrap_time(time_t *ret);
void __wrap_dp_call_reply(struct dp_call *call, json_t *reply);
void __wrap_dp_call_reply_text(struct dp_call *call, const char *text);
void __wrap_dp_call_undo_with(struct dp_call *call, const char *path);

time_t __wrap_time(time_t *ret)
{
	if (ret)
		*ret = now;
	return now;
}

void __wrap_dp_call_reply(struct dp_call *call, json_t *reply)
{
	(void)call;
	json_decref(last_reply);
	last_reply = reply;
}

void __wrap_dp_call_reply_text(struct dp_call *call, const char *text)
{
	__wrap_dp_call_reply(call, json_loads(text, 0, NULL));
}

/* Every answer arrives. */
void __wrap_dp_call_undo_with(struct dp_call *call, const char *path)
{
	(void)call;
	(void)path;
}

/* ---- the Swarm ---- */

struct network {
	bool exists;
	bool allocated; /* the present allocator has it */
	int subnet;     /* index into subnets[] */
	char gateway[ADDR_SIZE];
	char vip[ADDR_SIZE]; /* of its one service; "" = none */
};

struct task {
	bool lives;
	bool known; /* the present allocator has its address */
	bool told;  /* the leader's daemon had it when the term began */
	int network;
	int host;
	char addr[ADDR_SIZE];
};

static const char *const subnets[N_NETWORKS] = { "10.0.0.0/24", "10.0.0.0/23", "10.0.4.0/24",
						 "10.0.5.0/24" };

struct host {
	char dir[TEMPDIR_SIZE + 8];
	struct ipam_driver *daemon;
	bool has_network[N_NETWORKS]; /* its engine has asked for the pool */
};

static struct {
	uint64_t rng;
	struct dp_loop *loop;
	struct host hosts[N_HOSTS];
	int leader;
	struct network networks[N_NETWORKS];
	struct task tasks[N_TASKS];
} w;

static struct ipam_config config = {
	.default_pools = "base=172.17.0.0/16,size=16",
	.global_default_pools = "base=10.0.0.0/8,size=24",
	.default_pools_v6 = "",
	.cooldown = COOLDOWN,
	.swarm_grace = GRACE,
};

/* One request, flushed as a turn is. Return: as the handler. */
static int call(int host, const char *method, json_t *body, struct dp_error *err)
{
	_Alignas(max_align_t) char req[256] = { 0 };
	struct ipam_driver *d = w.hosts[host].daemon;
	const struct dp_route *route = ipam_routes;
	int r = 0;

	while (!strstr(route->path, method))
		route++;
	json_decref(last_reply);
	last_reply = NULL;
	if (route->schema)
		r = dp_schema_decode(route->schema, body, req, err);
	assert_ok(r, err);
	r = route->handler(d, NULL, req, err);
	assert_ok(ipam_driver_flush(d, err) < 0 ? -1 : 0, err);
	json_decref(body);
	return r;
}

static void kill_daemon(int host, bool crash)
{
	struct host *h = &w.hosts[host];
	struct dp_error err = DP_ERROR_INIT;
	void *ctx;

	if (h->daemon)
		ipam_driver_stop(h->daemon);
	config.common.state_dir = h->dir;
	assert_ok(ipam_driver_start(&config, w.loop, &ctx, &err), &err);
	h->daemon = ctx;
	if (crash)
		assert_ok(call(host, "GetCapabilities", NULL, &err), &err);
}

static int request_pool(int host, const char *space, int subnet, struct dp_error *err)
{
	return call(host, "RequestPool",
		    json_pack("{s:s, s:s, s:{s:s}}", "AddressSpace", space, "Pool", subnets[subnet],
			      "Options", "com.docker.network.ipam.serial", "true"),
		    err);
}

static const char *pool_id(const char *space, int subnet)
{
	static char text[64];

	(void)snprintf(text, sizeof text, "%s/%s", space, subnets[subnet]);
	return text;
}

/* @addr: "" = any, and then the one that was given */
static int request_address(int host, const char *space, int subnet, char *addr, bool gateway,
			   struct dp_error *err)
{
	int r = call(host, "RequestAddress",
		     json_pack("{s:s, s:s, s:{s:s}}", "PoolID", pool_id(space, subnet), "Address", addr,
			       "Options", gateway ? "RequestAddressType" : "-",
			       gateway ? "com.docker.network.gateway" : ""),
		     err);

	if (r < 0)
		return r;
	(void)snprintf(addr, ADDR_SIZE, "%s",
		       json_string_value(json_object_get(last_reply, "Address")));
	*strchr(addr, '/') = '\0';
	return 0;
}

static void release_address(int host, const char *space, int subnet, const char *addr)
{
	struct dp_error err = DP_ERROR_INIT;

	for (uint64_t n = 1 + random_below(&w.rng, 8) / 7; n > 0; n--) /* sometimes twice */
		assert_ok(call(host, "ReleaseAddress",
			       json_pack("{s:s, s:s}", "PoolID", pool_id(space, subnet), "Address", addr),
			       &err), &err);
}

static void release_pool(int host, const char *space, int subnet)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(call(host, "ReleasePool", json_pack("{s:s}", "PoolID", pool_id(space, subnet)), &err),
		  &err);
}

/* Does a container or service hold @addr there? Not the gateway of an earlier network. */
static bool on_books(int host, enum ipam_book book, int n, const char *addr)
{
	struct ipam_driver *d = w.hosts[host].daemon;
	struct dp_prefix p = prefix_of(subnets[w.networks[n].subnet]);
	struct ipam_subnet *s = ipam_space_find_overlap(d->space, book, "", &p);
	struct dp_error err = DP_ERROR_INIT;
	struct dp_addr a = addr_of(addr);
	struct ipam_lease lease;

	return s && ipam_state_get_lease(d->state, s, &a, &lease, &err) == 1 && !lease.is_cooling &&
	       !lease.is_gateway;
}

/* Who lives at @addr in network @n? */
static const char *holder(int n, const char *addr)
{
	if (!strcmp(w.networks[n].gateway, addr))
		return "the gateway";
	if (!strcmp(w.networks[n].vip, addr))
		return "a service";
	for (int t = 0; t < N_TASKS; t++) {
		if (w.tasks[t].lives && w.tasks[t].network == n && !strcmp(w.tasks[t].addr, addr))
			return "a task";
	}
	return NULL;
}

/* A new address from the leader: nobody may have it already. */
static void new_address(int n, char *addr)
{
	struct dp_error err = DP_ERROR_INIT;
	char got[ADDR_SIZE] = "";

	assert_ok(request_address(w.leader, "global", w.networks[n].subnet, got, false, &err), &err);
	if (holder(n, got))
		fail_msg("%s was given, which is %s's", got, holder(n, got));
	memcpy(addr, got, ADDR_SIZE);
}

static void end_task(struct task *t, bool engine_tells)
{
	if (!t->lives)
		return;
	if (engine_tells)
		release_address(t->host, "local", w.networks[t->network].subnet, t->addr);
	if (t->known)
		release_address(w.leader, "global", w.networks[t->network].subnet, t->addr);
	t->lives = false;
}

/* ---- a leader's term begins ---- */

static void confirm(int n, char *addr, bool gateway)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(request_address(w.leader, "global", w.networks[n].subnet, addr, gateway, &err), &err);
}

/* What is left to do for a network that could not be allocated when the term began. */
static void allocate_late(int n)
{
	struct network *net = &w.networks[n];
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(request_pool(w.leader, "global", net->subnet, &err), &err);
	confirm(n, net->gateway, true);
	net->allocated = true;
	/* Of tasks that began at other leaders this one's daemon was never told: it cannot know. */
	for (struct task *t = w.tasks; t < w.tasks + N_TASKS; t++) {
		if (t->lives && t->network == n && !t->told)
			end_task(t, true);
	}
	if (*net->vip) { /* the service gets a new one, and nobody releases the old one */
		*net->vip = '\0';
		new_address(n, net->vip);
	}
}

/* @fail: the networks (bits) that cannot be allocated. @stop_after: networks until the term ends */
static void new_term(int leader, unsigned fail, int stop_after)
{
	struct dp_error err = DP_ERROR_INIT;

	w.leader = leader;
	for (struct task *t = w.tasks; t < w.tasks + N_TASKS; t++) {
		t->known = false;
		t->told = t->lives && on_books(leader, IPAM_GLOBAL, t->network, t->addr);
	}
	for (int n = 0; n < N_NETWORKS; n++)
		w.networks[n].allocated = false;
	for (uint64_t i = 1 + random_below(&w.rng, 3); i > 0; i--)
		assert_ok(call(leader, "GetCapabilities", NULL, &err), &err);
	for (int n = 0; n < N_NETWORKS && stop_after-- > 0; n++) {
		struct network *net = &w.networks[n];

		if (!net->exists)
			continue;
		assert_ok(request_pool(leader, "global", net->subnet, &err), &err);
		if (fail & 1U << n) {
			release_pool(leader, "global", net->subnet);
			continue;
		}
		confirm(n, net->gateway, true);
		net->allocated = true;
	}
	for (int n = 0; n < N_NETWORKS && stop_after >= 0; n++) {
		if (w.networks[n].allocated && *w.networks[n].vip)
			confirm(n, w.networks[n].vip, false);
	}
	for (int t = 0; t < N_TASKS && stop_after >= 0; t++) {
		if (w.tasks[t].lives && w.networks[w.tasks[t].network].allocated) {
			confirm(w.tasks[t].network, w.tasks[t].addr, false);
			w.tasks[t].known = true;
		}
	}
}

/* ---- what happens ---- */

static void sweep_all(void)
{
	for (int h = 0; h < N_HOSTS; h++) {
		struct dp_timer *timer = &w.hosts[h].daemon->sweep.timer;

		do { /* a short pause says that there is more to do */
			timer->fn(timer->ctx);
		} while (timer->due_ms - dp_loop_now_ms(w.loop) < 1000);
	}
}

static void pass_time(void)
{
	now += random_below(&w.rng, 10) ? (time_t)random_below(&w.rng, 90) :
					  (time_t)random_below(&w.rng, 2 * GRACE);
	sweep_all();
}

/* May the leader's daemon refuse network @n? Its place is held by another one that is gone, but no
 * leader has claimed anything here since that was heard of. */
static bool cannot_know(int n)
{
	struct ipam_driver *d = w.hosts[w.leader].daemon;
	struct dp_prefix p = prefix_of(subnets[n]);
	struct ipam_subnet *s = ipam_space_find_overlap(d->space, IPAM_GLOBAL, "", &p);

	return s && ipam_pool_life(ipam_subnet_pool(s, 0))->alive >=
			    ipam_space_replay(d->space)->seen_generation;
}

static void create_network(int n)
{
	struct network *net = &w.networks[n];
	struct dp_error err = DP_ERROR_INIT;
	int other = n ^ 1; /* subnets 0 and 1 overlap */

	if (net->exists || (n < 2 && w.networks[other].exists))
		return;
	if (request_pool(w.leader, "global", n, &err) < 0) {
		if (!cannot_know(n))
			fail_msg("%s", err.msg);
		return;
	}
	*net = (struct network){ .exists = true, .allocated = true, .subnet = n };
	assert_ok(request_address(w.leader, "global", n, net->gateway, true, &err), &err);
}

/* Only where the leader can tell: it has heard of the network since capabilities were asked for. */
static void create_second(int n)
{
	struct network *net = &w.networks[n];
	struct dp_error err = DP_ERROR_INIT;
	char addr[ADDR_SIZE] = "";

	if (!net->allocated)
		return;
	assert_ok(request_address(w.leader, "global", net->subnet, addr, false, &err), &err);
	release_address(w.leader, "global", net->subnet, addr);
	assert_int_equal(request_pool(w.leader, "global", n, &err), -EEXIST);
	if (n < 2)
		assert_int_equal(request_pool(w.leader, "global", n ^ 1, &err), -EEXIST);
}

static void remove_network(int n)
{
	struct network *net = &w.networks[n];

	for (int t = 0; t < N_TASKS; t++) {
		if (w.tasks[t].lives && w.tasks[t].network == n)
			return;
	}
	if (!net->allocated)
		return;
	if (*net->vip)
		release_address(w.leader, "global", net->subnet, net->vip);
	release_address(w.leader, "global", net->subnet, net->gateway);
	release_pool(w.leader, "global", net->subnet);
	for (int h = 0; h < N_HOSTS; h++) {
		if (w.hosts[h].has_network[n]) {
			release_address(h, "local", net->subnet, net->gateway);
			release_pool(h, "local", net->subnet);
		}
		w.hosts[h].has_network[n] = false;
	}
	*net = (struct network){ .exists = false };
}

static void switch_service(int n)
{
	struct network *net = &w.networks[n];

	if (!net->allocated)
		return;
	if (!*net->vip) {
		new_address(n, net->vip);
		return;
	}
	release_address(w.leader, "global", net->subnet, net->vip);
	*net->vip = '\0';
}

static void start_task(int n)
{
	struct network *net = &w.networks[n];
	struct dp_error err = DP_ERROR_INIT;
	struct task *t = w.tasks;
	struct host *h;
	int host = (int)random_below(&w.rng, N_HOSTS);

	while (t < w.tasks + N_TASKS && t->lives)
		t++;
	if (!net->allocated || t == w.tasks + N_TASKS)
		return;
	*t = (struct task){ .known = true, .network = n, .host = host };
	new_address(n, t->addr);
	t->lives = true;
	h = &w.hosts[host];
	if (!h->has_network[n]) {
		assert_ok(request_pool(host, "local", net->subnet, &err), &err);
		assert_ok(request_address(host, "local", net->subnet, net->gateway, true, &err), &err);
		h->has_network[n] = true;
	}
	assert_ok(request_address(host, "local", net->subnet, t->addr, false, &err), &err);
}

/* An address of a task that this leader gave or was told of, named by somebody else. */
static void name_twice(struct task *t)
{
	struct dp_error err = DP_ERROR_INIT;

	if (t->lives && t->known)
		assert_int_equal(request_address(w.leader, "global", w.networks[t->network].subnet,
						 t->addr, false, &err), -EADDRINUSE);
}

/* The engine dies without a word, and its containers with it. */
static void crash_engine(int host)
{
	for (int t = 0; t < N_TASKS; t++) {
		if (w.tasks[t].host == host)
			end_task(&w.tasks[t], false);
	}
	for (int n = 0; n < N_NETWORKS; n++)
		w.hosts[host].has_network[n] = false;
	kill_daemon(host, true);
	if (host == w.leader)
		new_term((host + 1) % N_HOSTS, 0, INT16_MAX);
}

static void late_networks(void)
{
	now += 301;
	for (int n = 0; n < N_NETWORKS; n++) {
		if (w.networks[n].exists && !w.networks[n].allocated)
			allocate_late(n);
	}
}

static void step(void)
{
	int n = (int)random_below(&w.rng, N_NETWORKS);
	int host = (int)random_below(&w.rng, N_HOSTS);
	struct task *t = &w.tasks[random_below(&w.rng, N_TASKS)];
	struct dp_error err = DP_ERROR_INIT;

	switch (random_below(&w.rng, 24)) {
	case 0:
		new_term(host, 0, INT16_MAX);
		break;
	case 1: /* it ends before it has told all */
		new_term(host, 0, (int)random_below(&w.rng, N_NETWORKS + 1));
		new_term((int)random_below(&w.rng, N_HOSTS), 0, INT16_MAX);
		break;
	case 2:
		new_term(host, (unsigned)random_below(&w.rng, 1U << N_NETWORKS), INT16_MAX);
		late_networks();
		break;
	case 3:
		kill_daemon(host, random_below(&w.rng, 2));
		break;
	case 4:
		assert_ok(call(host, "GetCapabilities", NULL, &err), &err);
		break;
	case 5:
		crash_engine(host);
		break;
	case 6:
		remove_network(n);
		break;
	case 7:
		create_second(n);
		break;
	case 8:
		name_twice(t);
		break;
	case 9:
	case 10:
		switch_service(n);
		break;
	case 11:
	case 12:
		pass_time();
		break;
	case 13:
	case 14:
	case 15:
		create_network(n);
		break;
	case 16:
	case 17:
	case 18:
		end_task(t, true);
		break;
	default:
		start_task(n);
		break;
	}
}

/* ---- when all is quiet ---- */

/* The held addresses of @space on @host are the live ones, no more and no less. */
static void check_books(int host, enum ipam_book book)
{
	struct ipam_driver *d = w.hosts[host].daemon;

	for (size_t i = 0; i < ipam_space_n_subnets(d->space, book); i++) {
		struct ipam_subnet *s = ipam_space_subnet(d->space, book, i);
		struct dp_addr addr = { .family = AF_UNSPEC };
		struct dp_error err = DP_ERROR_INIT;
		char text[DP_PREFIX_STRLEN];
		struct ipam_lease lease;
		int n = 0;

		while (n < N_NETWORKS &&
		       strcmp(subnets[n], dp_prefix_format(ipam_subnet_prefix(s), text)) != 0)
			n++;
		assert_true(n < N_NETWORKS);
		if (!w.networks[n].exists)
			fail_msg("host %d: %s is on the books, no network uses it", host, text);
		while (ipam_state_next_held(d->state, ipam_subnet_id(s), AF_INET, &addr, &addr, &lease,
					    &err) == 1) {
			if (!holder(n, dp_addr_format(&addr, text)))
				fail_msg("host %d: %s is held, nobody uses it", host, text);
		}
	}
}

static void settle(void)
{
	new_term((int)random_below(&w.rng, N_HOSTS), 0, INT16_MAX);
	create_network(N_NETWORKS - 1); /* at least one that is claimed again, and is known then */
	now += COOLDOWN;
	new_term(w.leader, 0, INT16_MAX);
	for (int h = 0; h < N_HOSTS; h++) { /* every node is asked once more */
		for (int n = 0; n < N_NETWORKS; n++) {
			if (w.networks[n].allocated && !w.hosts[h].has_network[n]) {
				struct dp_error err = DP_ERROR_INIT;

				assert_ok(request_pool(h, "local", w.networks[n].subnet, &err), &err);
				w.hosts[h].has_network[n] = true;
			}
		}
	}
	now += GRACE + COOLDOWN;
	sweep_all();
	check_books(w.leader, IPAM_GLOBAL);
	for (int h = 0; h < N_HOSTS; h++) {
		for (int t = 0; t < N_TASKS; t++) {
			if (w.tasks[t].lives)
				assert_true(on_books(w.tasks[t].host, IPAM_LOCAL, w.tasks[t].network,
						     w.tasks[t].addr) &&
					    on_books(w.leader, IPAM_GLOBAL, w.tasks[t].network,
						     w.tasks[t].addr));
		}
	}
}

static void one_run(uint64_t seed)
{
	char dir[TEMPDIR_SIZE];

	memset(&w, 0, sizeof w);
	w.rng = seed;
	tempdir_make(dir);
	assert_int_equal(dp_loop_new(&w.loop, NULL), 0);
	for (int h = 0; h < N_HOSTS; h++) {
		(void)snprintf(w.hosts[h].dir, sizeof w.hosts[h].dir, "%s/%d", dir, h);
		assert_int_equal(mkdir(w.hosts[h].dir, 0700), 0);
		kill_daemon(h, true);
	}
	new_term(0, 0, INT16_MAX);
	for (int i = 0; i < N_STEPS; i++)
		step();
	settle();
	for (int h = 0; h < N_HOSTS; h++)
		ipam_driver_stop(w.hosts[h].daemon);
	dp_loop_free(w.loop);
	tempdir_remove(dir);
	json_decref(last_reply);
	last_reply = NULL;
}

static uint64_t sequence; /* the seed of the one under way */

static int tell_sequence(void **state)
{
	(void)state;
	print_message("# the last sequence: DP_TEST_SEED=%" PRIu64 " DP_TEST_RUNS=1\n", sequence);
	return 0;
}

static void a_swarm_never_shares_loses_or_keeps_an_address(void **state)
{
	/* The same ones each time, unless others are asked for: a rare finding must not stop another's
	 * change. */
	uint64_t seed = getenv("DP_TEST_SEED") ? random_seed(__func__) : 1;
	const char *env = getenv("DP_TEST_RUNS");
	uint64_t n_runs = 90;

	(void)state;
	dp_log_set_level(getenv("DP_TEST_SEED") ? DP_LOG_INFO : DP_LOG_ERROR);
	if (env)
		assert_int_equal(dp_parse_u64(env, 1, UINT32_MAX, &n_runs), 0);
	for (uint64_t i = 0; i < n_runs; i++) {
		sequence = seed + i;
		one_run(sequence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_swarm_never_shares_loses_or_keeps_an_address,
					  tell_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
