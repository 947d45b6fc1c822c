/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Every netlink message of every request fails in turn: the kernel refuses it with each of several
 * errors, or does it and the answer is lost, once or from then on. So does every allocation, of ours and
 * of the libraries. The request must be fully done, or refused with links, addresses, rules and records
 * exactly as before; and when all works again, everything can be removed and nothing is left.
 *
 * The real handlers run in this process on a real kernel. Between libmnl and us the linker puts the
 * functions below: a message that is to fail gets a type that no kernel knows, and the error in the
 * answer is replaced by the one wanted.
 */

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "netdriver/driver_internal.h"
#include "tests/support/failalloc.h"
#include "tests/support/fakehttp.h"
#include "tests/support/netns.h"
#include "tests/support/tempdir.h"
#include "tests/support/unit.h"

#define NET "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define EP  "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ---- the kernel that fails ---- */

enum { LOST = 1, NO_MEMORY = 2, NO_SUCH_TYPE = 0x3ff, MAX_BAD = 256 };

static struct {
	unsigned at;   /* the message that fails, counted from 1; 0 = none */
	int code;      /* errno, LOST, or NO_MEMORY: it is allocation @at that fails */
	bool for_good; /* and all after it */
	unsigned n;    /* messages so far */
	bool hit;
	bool drop; /* the next answer is lost */
	struct {
		const struct mnl_socket *nl;
		uint32_t seq; /* each socket counts on its own */
	} bad[MAX_BAD];       /* messages whose answers are changed */
	unsigned n_bad;
} fault;

ssize_t __real_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
int __real_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg);
int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg);

static bool fails_now(void)
{
	bool now;

	fault.n++;
	now = fault.at && fault.code != NO_MEMORY &&
	      (fault.n == fault.at || (fault.for_good && fault.n > fault.at));
	fault.hit = fault.hit || now;
	return now;
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size)
{
	struct nlmsghdr *nlh = (void *)(uintptr_t)buf; /* ours, and not used again */
	int left = (int)size;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		/* The frame of a transaction is no request: nothing answers it. */
		if (!(nlh->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP)) || !fails_now())
			continue;
		if (fault.code == LOST) {
			fault.drop = true;
		} else {
			nlh->nlmsg_type = NO_SUCH_TYPE;
			fault.bad[fault.n_bad % MAX_BAD].nl = nl;
			fault.bad[fault.n_bad++ % MAX_BAD].seq = nlh->nlmsg_seq;
		}
	}
	return __real_mnl_socket_sendto(nl, buf, size);
}

static bool is_bad(const struct mnl_socket *nl, uint32_t seq)
{
	for (unsigned i = 0; i < fault.n_bad && i < MAX_BAD; i++) {
		if (fault.bad[i].nl == nl && fault.bad[i].seq == seq)
			return true;
	}
	return false;
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
	ssize_t n = __real_mnl_socket_recvfrom(nl, buf, size);
	struct nlmsghdr *nlh = buf;
	int left = (int)n;

	if (fault.drop) {
		fault.drop = false;
		errno = ENOBUFS; /* what the kernel says when answers did not fit */
		return -1;
	}
	for (; n > 0 && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_type == NLMSG_ERROR && is_bad(nl, nlh->nlmsg_seq))
			((struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error = -fault.code;
	}
	return n;
}

int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg)
{
	return fails_now() ? -NLE_NOMEM : __real_nl_send_auto(sk, msg);
}

static void break_kernel(unsigned at, int code, bool for_good)
{
	memset(&fault, 0, sizeof fault);
	fault.at = at;
	fault.code = code;
	fault.for_good = for_good;
	if (code == NO_MEMORY && for_good)
		fail_alloc_from(at);
	else if (code == NO_MEMORY)
		fail_alloc_nth(at);
}

static bool mend_kernel(void)
{
	bool hit = fault.code == NO_MEMORY ? fail_alloc_stop() : fault.hit;

	memset(&fault, 0, sizeof fault);
	return hit;
}

/* ---- in place of http.c ---- */

void __wrap_dp_http_respond(struct dp_http_request *req, unsigned status, char *body)
{
	const char *err = body ? strstr(body, "\"Err\"") : "out of memory";

	assert_true(status == 200 || (fault.code == NO_MEMORY && status == 500));
	assert_false(req->answered);
	req->answered = true;
	req->refused = err != NULL;
	(void)snprintf(req->err, sizeof req->err, "%s", err ? err : "");
	free(body);
}

/* ---- the daemon ---- */

static char dir[TEMPDIR_SIZE];
static struct ndrv_config config;
static struct dp_loop *loop;
static struct ndrv_driver *driver;
static struct dp_turn *turn;
static struct dp_rpc *rpc;
static struct netns_child container;
static bool has_chain;

static void start_daemon(void)
{
	static const struct dp_route *const routes[] = { ndrv_routes, NULL };
	static const struct dp_turn_ops ops = { .flush = ndrv_driver_flush,
						.reload = ndrv_driver_reload };
	static struct dp_rpc_spec spec = { .implements = "NetworkDriver",
					   .routes = routes,
					   .deadline_ms = 10000 };
	struct dp_error err = DP_ERROR_INIT;
	void *ctx;

	dp_schema_defaults(&ndrv_config_schema, &config);
	config.common.state_dir = dir;
	assert_ok(dp_loop_new(&loop, &err), &err);
	assert_ok(ndrv_driver_start(&config, loop, &ctx, &err), &err);
	driver = ctx;
	spec.ctx = ctx;
	assert_ok(dp_turn_new(loop, &ops, ctx, &turn, &err), &err);
	assert_ok(dp_rpc_new(&spec, loop, turn, &rpc, &err), &err);
}

static void stop_daemon(void)
{
	dp_rpc_free(rpc);
	dp_turn_free(turn);
	ndrv_driver_stop(driver);
	dp_loop_free(loop);
}

static struct dp_http_request call(const char *method, const char *body)
{
	struct dp_http_request req = { .body = body, .size = strlen(body) };
	char path[64];

	(void)snprintf(path, sizeof path, "/NetworkDriver.%s", method);
	req.path = path;
	dp_rpc_on_request(rpc, &req);
	while (!req.answered)
		(void)dp_turn_run(turn);
	if (req.end)
		req.end(req.end_ctx, false); /* delivered */
	return req;
}

/* What the repair timer would do in time. */
static void repair(void)
{
	struct dp_error err = DP_ERROR_INIT;

	if (!ndrv_driver_reconcile(driver, &err))
		fail_msg("repair: %s", err.msg);
}

/* ---- the world ---- */

/* Links, addresses, rules, and the records in memory. */
static char *world(void)
{
	auto_free char *kernel = netns_run(
		"ip -j -d link | jq -r '.[] | select(.linkinfo.info_kind != null) | [.ifname, .mtu, .master,"
		" .ifalias, .linkinfo.info_kind, (.flags | index(\"UP\") != null)] | @text' | sort;"
		"ip -o addr show scope global | sed -E 's/^[0-9]+: //' | sort; %s",
		has_chain ? "iptables-nft -S DOCKER-USER" : "true");
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(kernel, out);
	for (struct ndrv_network *n = driver->registry ? ndrv_registry_networks(driver->registry) :
							 NULL;
	     n; n = n->next) {
		fprintf(out, "network %.4s state %d\n", n->spec.id, n->state);
		for (struct ndrv_endpoint *e = n->endpoints; e; e = e->next)
			fprintf(out, "endpoint %.4s state %d\n", e->id, e->state);
	}
	(void)fclose(out);
	return text;
}

static bool is_world(const char *want)
{
	auto_free char *is = world();

	return !strcmp(is, want);
}

static void assert_world(const char *want, const char *when)
{
	auto_free char *is = world();
	auto_free char *difference = NULL;

	if (!strcmp(is, want))
		return;
	difference = netns_run(
		"printf '%%s' '%s' >%s/want; printf '%%s' '%s' | diff %s/want - | cut -c1-150"
		" || true",
		want, dir, is, dir);
	fail_msg("%s\n%s", when, difference);
}

/* ---- what is asked ---- */

struct op {
	const char *method;
	const char *body;
	bool is_delete; /* the engine takes no refusal, and never asks again: we go on by ourselves */
};

#define CREATE(options)                                                                                           \
	{                                                                                                         \
		"CreateNetwork",                                                                                  \
			"{\"NetworkID\":\"" NET                                                                   \
			"\",\"Options\":{\"com.docker.network.generic\":{" options "}},"                          \
			"\"IPv4Data\":[{\"Pool\":\"10.1.0.0/24\",\"Gateway\":\"10.1.0.1/24\"}],\"IPv6Data\":[]}", \
			false                                                                                     \
	}
#define IDS "\"NetworkID\":\"" NET "\",\"EndpointID\":\"" EP "\""

static char join_body[300];

static const struct op life[] = {
	{ "CreateEndpoint", "{" IDS ",\"Interface\":{\"Address\":\"10.1.0.2/24\"}}", false },
	{ "Join", join_body, false },
	{ "Leave", "{" IDS "}", true },
	{ "DeleteEndpoint", "{" IDS "}", true },
	{ "DeleteNetwork", "{\"NetworkID\":\"" NET "\"}", true },
};

static const struct op create_l2 = CREATE("\"parent\":\"par0\"");
static const struct op create_routed = CREATE("\"mode\":\"routed\"");
static const struct op create_direct = CREATE("\"mode\":\"routed\",\"attach\":\"direct\"");

static const struct op *op_number(const struct op *create, unsigned i)
{
	return i ? &life[i - 1] : create;
}

enum { N_OPS = 1 + DP_ARRAY_LEN(life) };

static void do_well(const struct op *op)
{
	struct dp_http_request req = call(op->method, op->body);

	if (req.refused)
		fail_msg("%s: %s", op->method, req.err);
}

static void remove_all(void)
{
	do_well(&life[3]);
	do_well(&life[4]);
}

static char *describe(const struct op *op, const struct dp_http_request *req)
{
	static char text[900];

	(void)snprintf(text, sizeof text, "%s, %s %u %s %s%s%s", op->method,
		       fault.code == NO_MEMORY ? "allocation" : "message", fault.at,
		       fault.code == LOST      ? "lost" :
		       fault.code == NO_MEMORY ? "fails" :
						 strerror(fault.code),
		       fault.for_good ? "and all after it" : "",
		       req->refused ? ", refused: " : ", done", req->err);
	return text;
}

/* An endpoint without a link is dropped at start: one that left, or whose link comes with Join. */
static bool is_dropped_at_start(const struct op *create, unsigned i)
{
	return i == 3 || (i <= 2 && create == &create_direct);
}

static void live_until(const struct op *create, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		do_well(op_number(create, k));
}

/* A request of a life, and the world before and after it. */
struct moment {
	const struct op *create;
	unsigned i;
	const char *before;
	const char *after;
	const char *dropped; /* without the endpoint, for one that has left; else NULL */
};

/* The request fails at message @at. Return: was there one? */
static bool one_fault(const struct moment *m, unsigned at, int code, bool for_good)
{
	const struct op *op = op_number(m->create, m->i);
	struct dp_http_request req;
	const char *want;
	char *what;
	bool hit;

	live_until(m->create, m->i);
	break_kernel(at, code, for_good);
	req = call(op->method, op->body);
	what = describe(op, &req);
	hit = mend_kernel();
	if (code == NO_MEMORY && req.refused && !strstr(req.err, "out of memory") &&
	    !strstr(req.err, "Cannot allocate memory"))
		fail_msg("%s", what);
	want = req.refused && !op->is_delete ? m->before : m->after;
	if (op->is_delete || for_good)
		repair();
	/* A deletion that could not even be read has not begun, and the engine goes on with the next one. If
	 * the records had to be read back after it, that is like a start. */
	if (code == NO_MEMORY && op->is_delete && req.refused && !is_world(want))
		want = m->dropped && is_world(m->dropped) ? m->dropped : m->before;
	assert_world(want, what);
	/* What the answer promised, or did not, is on disk as well. */
	if (at % 4 == 1 &&
	    !is_dropped_at_start(m->create, want == m->before && m->i ? m->i - 1 : m->i)) {
		stop_daemon();
		start_daemon();
		assert_world(want, what);
	}
	remove_all();
	return hit;
}

/* @lasting: of those, the one that does not end. */
static void everything_fails(const struct op *create, const int *codes, int lasting)
{
	auto_free char *empty = world();

	for (unsigned i = 0; i < N_OPS; i++) {
		auto_free char *before = NULL;
		auto_free char *after = NULL;
		auto_free char *dropped = NULL;
		struct moment m = { create, i, NULL, NULL, NULL };
		unsigned at = 1;
		bool hit = true;

		live_until(create, i);
		m.before = before = world();
		do_well(op_number(create, i));
		m.after = after = world();
		if (i == 3) {
			do_well(op_number(create, 4));
			m.dropped = dropped = world();
		}
		remove_all();
		for (; hit; at++) {
			hit = one_fault(&m, at, lasting, true);
			for (const int *code = codes; *code; code++)
				hit = one_fault(&m, at, *code, false) || hit;
		}
		assert_world(empty, "all was removed");
		print_message("# %s: %u %s\n", op_number(create, i)->method, at - 2,
			      codes[0] == NO_MEMORY ? "allocations" : "messages");
	}
}

static const int all_codes[] = { EPERM, ENOMEM, ENOBUFS, EEXIST, ENODEV, LOST, 0 };
static const int no_memory[] = { NO_MEMORY, 0 };
static const int two_codes[] = { ENOMEM, LOST, 0 };

static void of_a_network_on_a_parent(void **state)
{
	(void)state;
	everything_fails(&create_l2, all_codes, ENOBUFS);
}

static void of_a_routed_network(void **state)
{
	(void)state;
	everything_fails(&create_routed, two_codes, ENOBUFS);
}

static void of_a_network_whose_links_are_made_in_the_container(void **state)
{
	(void)state;
	everything_fails(&create_direct, two_codes, ENOBUFS);
}

static void for_want_of_memory(void **state)
{
	(void)state;
	everything_fails(&create_l2, no_memory, NO_MEMORY);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(join_body, sizeof join_body, "{" IDS ",\"SandboxKey\":\"/proc/%d/ns/net\"}",
		       (int)container.pid);
	tempdir_make(dir);
	start_daemon();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_daemon();
	tempdir_remove(dir);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_a_network_on_a_parent, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_routed_network, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_network_whose_links_are_made_in_the_container,
						setup, teardown),
		cmocka_unit_test_setup_teardown(for_want_of_memory, setup, teardown),
	};

	if (!netns_enter())
		return 0;
	dp_log_set_level(DP_LOG_ERROR);
	netns_do(
		"ip link set lo up; ip link add par0 type veth peer name par1; ip link set par0 up;"
		" ip link set par1 up; sysctl -qw net.ipv4.ip_forward=1");
	has_chain = netns_has_tool("iptables-nft -N DOCKER-USER");
	netns_child_start(&container);
	return cmocka_run_group_tests_name("every netlink message and allocation fails in turn",
					   tests, NULL, NULL);
}
