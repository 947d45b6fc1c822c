/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Many links deleted at once: by one request, whatever their number; and what happens when the daemon
 * dies before any message of it. The linker puts functions of ours before mnl_socket_sendto() and
 * nl_send_auto(), which count the messages and, in a child process, are where that process ends.
 */

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <netlink/netlink.h>

#include "common/cleanup.h"
#include "netdriver/rtnl.h"
#include "tests/support/netns.h"

enum {
	N = 500,
	N_SOME = 150,     /* more than one batch of settings */
	DIED = 42,        /* exit status of a child that was made to die */
	MAX_DEATHS = 50,  /* only a bound */
};

ssize_t __real_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);

int __real_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg);
int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg);

static struct ndrv_rtnl *rtnl;
static struct ndrv_rtnl_watch *watch;
static struct dp_error err;
static unsigned n_sends;     /* calls */
static unsigned n_deletions; /* RTM_DELLINK */
static unsigned n_lists;     /* of all links */
static unsigned n_lost;      /* events of that kind */
static unsigned die_at;      /* before this call; 0 = never */
static uint32_t group;       /* that was deleted last */
static bool intrude;         /* somebody puts fv0 into that group during the next call */

static int take_group(const struct nlattr *attr, void *ctx)
{
	(void)ctx;
	if (mnl_attr_get_type(attr) == IFLA_GROUP)
		group = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size)
{
	const struct nlmsghdr *nlh = buf;
	int left = (int)size;

	if (++n_sends == die_at)
		_exit(DIED);
	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_type != RTM_DELLINK)
			continue;
		n_deletions++;
		(void)mnl_attr_parse(nlh, sizeof(struct ifinfomsg), take_group, NULL);
	}
	if (intrude)
		netns_do("ip link set fv0 group %u", group);
	intrude = false;
	return __real_mnl_socket_sendto(nl, buf, size);
}

int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg)
{
	n_lists++;
	return __real_nl_send_auto(sk, msg);
}

static void count_event(void *ctx, const struct ndrv_rtnl_event *event)
{
	(void)ctx;
	n_lost += event->kind == NDRV_EVENT_LOST;
}

static void count_anew(void)
{
	n_sends = 0;
	n_deletions = 0;
	n_lists = 0;
}

static int setup(void **state)
{
	(void)state;
	err = (struct dp_error)DP_ERROR_INIT;
	return ndrv_rtnl_open(&rtnl, &err);
}

static int setup_with_watch(void **state)
{
	n_lost = 0;
	return setup(state) || ndrv_rtnl_watch_open(rtnl, count_event, NULL, &watch, &err);
}

static int teardown(void **state)
{
	(void)state;
	ndrv_rtnl_watch_close(watch);
	watch = NULL;
	ndrv_rtnl_close(rtnl);
	return 0;
}

/* @n pairs, as endpoints have them. */
static void make_pairs(struct ndrv_link_ref *refs, unsigned n)
{
	char name[16];
	char alias[64];
	char peer[16];
	char peer_alias[64];
	const struct ndrv_veth_spec spec = { .name = name,
					     .alias = alias,
					     .up = true,
					     .peer_name = peer,
					     .peer_alias = peer_alias };

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(name, sizeof name, "mnv%u", i);
		(void)snprintf(alias, sizeof alias, "mynetworkplugin:veth:%u", i);
		(void)snprintf(peer, sizeof peer, "mnc%u", i);
		(void)snprintf(peer_alias, sizeof peer_alias, "mynetworkplugin:peer:%u", i);
		refs[i].alias = NULL;
		if (ndrv_rtnl_create_veth(rtnl, &spec, &refs[i].ifindex, NULL, &err) < 0)
			fail_msg("%s", err.msg);
	}
}

/* Links of others, in the groups that a deletion would try first; and all that is not ours, as text. */
static void make_foreign(uint32_t first)
{
	netns_do("for i in 0 1 2; do ip link add fv$i group $((%u + i)) type veth peer name fw$i; done",
		 first);
}

static char *foreign_links(void)
{
	return netns_run("ip -o -d link show | grep -v ' mn[vc][0-9]' | sed 's/ state [A-Z]*//'");
}

static unsigned count_ours(void)
{
	auto_free char *text = netns_run("ip -o link show | grep -c ' mnv[0-9]' || true");

	return (unsigned)strtoul(text, NULL, 10);
}

static void remove_foreign(void)
{
	netns_do("for i in 0 1 2; do ip link delete fv$i; done");
}

static void five_hundred_links_go_with_one_deletion(void **state)
{
	static struct ndrv_link_ref refs[N];
	double start;
	double alone;
	double together;

	(void)state;
	make_pairs(refs, N);
	count_anew();
	start = netns_now_us();
	assert_int_equal(ndrv_rtnl_delete_link(rtnl, refs[0].ifindex, NULL, &err), 0);
	alone = netns_now_us() - start;
	count_anew();
	start = netns_now_us();
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs + 1, N - 1, &err), 0);
	together = (netns_now_us() - start) / (N - 1);
	assert_int_equal(n_deletions, 1);
	assert_true(n_sends <= 1 + (N + 99) / 100);
	assert_int_equal(count_ours(), 0);
	print_message("# a pair alone: %.0f us; of %u together: %.0f us each\n", alone, N - 1, together);
}

/* A process that deletes all of @refs and dies before its @at-th message. Return: did it live? */
static bool delete_and_die(const struct ndrv_link_ref *refs, unsigned at)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct ndrv_rtnl *own;
		int r = ndrv_rtnl_open(&own, NULL);

		count_anew();
		die_at = at;
		if (r == 0)
			r = ndrv_rtnl_delete_links(own, refs, N_SOME, NULL);
		_exit(r == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
	return WEXITSTATUS(status) == 0;
}

static void a_death_at_any_moment_leaves_nothing_that_cannot_be_deleted_again(void **state)
{
	struct ndrv_link_ref refs[N_SOME];
	auto_free char *before = NULL;
	unsigned at;
	bool lived = false;

	(void)state;
	make_foreign(NDRV_GROUP_DOOMED);
	before = foreign_links();
	for (at = 1; !lived && at < MAX_DEATHS; at++) {
		auto_free char *after = NULL;
		unsigned left;

		make_pairs(refs, N_SOME);
		lived = delete_and_die(refs, at);
		left = count_ours();
		assert_int_equal(left, lived ? 0 : N_SOME);
		/* In two parts: what the dead left in its group is not what the next one deletes. */
		if (left) {
			assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs, N_SOME / 2, &err), 0);
			assert_int_equal(count_ours(), N_SOME - N_SOME / 2);
			assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs, N_SOME, &err), 0);
			assert_int_equal(count_ours(), 0);
		}
		after = foreign_links();
		assert_string_equal(before, after);
	}
	assert_true(lived);
	assert_true(at > 4); /* settings in two batches, the deletion, and it lived */
	remove_foreign();
}

/* ---- with a watch ---- */

static void delete_some(void)
{
	struct ndrv_link_ref refs[N_SOME];

	make_pairs(refs, N_SOME);
	count_anew();
	if (ndrv_rtnl_delete_links(rtnl, refs, N_SOME, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(count_ours(), 0);
}

static void where_changes_are_watched_all_links_are_listed_once(void **state)
{
	(void)state;
	delete_some();
	assert_int_equal(n_lists, 1);
	for (int i = 0; i < 2; i++) {
		delete_some();
		assert_int_equal(n_lists, 0);
		assert_int_equal(n_deletions, 1);
	}
}

static void a_link_that_came_into_the_group_is_spared(void **state)
{
	auto_free char *before = NULL;
	auto_free char *after = NULL;

	(void)state;
	delete_some();
	make_foreign(group);
	before = foreign_links();
	delete_some();
	assert_int_equal(n_lists, 1);
	delete_some();
	assert_int_equal(n_lists, 0);
	after = foreign_links();
	assert_string_equal(before, after);
	remove_foreign();
}

static void a_link_that_comes_into_the_group_during_the_deletion_is_spared(void **state)
{
	struct ndrv_link_ref refs[N_SOME];
	auto_free char *text = NULL;

	(void)state;
	delete_some();
	netns_do("ip link add fv0 up type veth peer name fw0");
	make_pairs(refs, N_SOME);
	count_anew();
	intrude = true; /* into the one that was free */
	assert_int_equal(ndrv_rtnl_delete_links(rtnl, refs, N_SOME, &err), 0);
	assert_int_equal(n_lists, 1);
	assert_int_equal(count_ours(), 0);
	text = netns_run("ip -o link show fv0");
	assert_non_null(strstr(text, "fv0"));
	netns_do("ip link delete fv0");
}

static void where_changes_were_lost_all_links_are_listed_again(void **state)
{
	int lo = 1;

	(void)state;
	delete_some();
	netns_do("ip link set lo up");
	for (int i = 0; i < 4000; i++)
		assert_int_equal(ndrv_rtnl_set_up(rtnl, lo, i % 2, &err), 0);
	delete_some();
	assert_int_equal(n_lost, 1);
	assert_int_equal(n_lists, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define W(f) cmocka_unit_test_setup_teardown(f, setup_with_watch, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(five_hundred_links_go_with_one_deletion),
		T(a_death_at_any_moment_leaves_nothing_that_cannot_be_deleted_again),
		W(where_changes_are_watched_all_links_are_listed_once),
		W(a_link_that_came_into_the_group_is_spared),
		W(a_link_that_comes_into_the_group_during_the_deletion_is_spared),
		W(where_changes_were_lost_all_links_are_listed_again),
	};

	if (!netns_enter())
		return 0;
	return cmocka_run_group_tests_name("teardown", tests, NULL, NULL);
}
