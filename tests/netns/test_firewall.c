/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Our rules among those of others. The real iptables of all four sorts (legacy and nft, IPv4 and
 * IPv6) sets up what an engine would, and its listings show what we did. Each test starts in a
 * namespace of its own; each runs for every sort that this machine has.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "netdriver/firewall.h"
#include "tests/support/netns.h"

#define COMMENT "-m comment --comment \"mynetworkplugin:eth0.100\""

static const char *const all_tools[] = { "iptables-legacy", "ip6tables-legacy", "iptables-nft",
					 "ip6tables-nft" };
static const char *tools[DP_ARRAY_LEN(all_tools)]; /* those that work here */
static size_t n_tools;

static char lock_path[] = "/tmp/test-xtables-lock-XXXXXX";
static struct ndrv_fw *fw;
static struct dp_error err;

static const struct ndrv_fw_rules bridged = { .bridge = "mnb1", .id = "eth0.100" };
static const struct ndrv_fw_rules routed = { .bridge = "mnb1", .id = "eth0.100", .routed = true };

#define FOR_EACH_TOOL(tool)                                                             \
	for (size_t tool##_i = 0; tool##_i < n_tools && new_namespace(tools[tool##_i]); \
	     tool##_i++)                                                                \
		for (const char *tool = tools[tool##_i]; tool; tool = NULL)

static bool new_namespace(const char *tool)
{
	print_message("# %s\n", tool);
	ndrv_fw_close(fw);
	fw = NULL;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(ndrv_fw_open(lock_path, &fw, &err), 0);
	return true;
}

static int setup(void **state)
{
	(void)state;
	err = (struct dp_error)DP_ERROR_INIT;
	return new_namespace("all") ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ndrv_fw_close(fw);
	fw = NULL;
	return 0;
}

/* What an engine and its host's admin leave behind, with counters that have counted. */
static void set_up_engine(const char *tool)
{
	const char *t = tool;

	netns_do("%s -N DOCKER-USER; %s -P FORWARD DROP; %s -A FORWARD -j DOCKER-USER; "
		 "%s -A FORWARD -i docker0 -c 7 700 -j ACCEPT; "
		 "%s -A DOCKER-USER -i eth1 -p tcp --dport 22 -c 3 180 -m comment "
		 "--comment \"admins own\" -j DROP; %s -A DOCKER-USER -c 5 300 -j RETURN",
		 t, t, t, t, t, t);
}

static char *save(const char *tool)
{
	return netns_run("%s-save -c 2>/dev/null | grep -v '^#'", tool);
}

static char *chain(const char *tool)
{
	return netns_run("%s -S DOCKER-USER | grep -v '^-N' | sed 's/^-A DOCKER-USER //'", tool);
}

static unsigned ensure(const struct ndrv_fw_rules *rules)
{
	unsigned n = 99;

	if (ndrv_fw_ensure(fw, rules, &n, &err) < 0)
		fail_msg("%s", err.msg);
	return n;
}

static void remove_id(const char *id)
{
	if (ndrv_fw_remove(fw, id, &err) < 0)
		fail_msg("%s", err.msg);
}

static void assert_chain(const char *tool, const char *expected)
{
	auto_free char *is = chain(tool);

	assert_string_equal(is, expected);
}

/* --- adding --------------------------------------------------------------------------------- */

static void a_bridged_segment_gets_one_rule_at_the_top(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		set_up_engine(tool);
		assert_int_equal(ensure(&bridged), 1);
		assert_chain(tool,
			     "-i mnb1 -o mnb1 " COMMENT " -j ACCEPT\n"
			     "-i eth1 -p tcp -m tcp --dport 22 -m comment --comment \"admins own\" "
			     "-j DROP\n"
			     "-j RETURN\n");
	}
}

static void a_routed_segment_gets_four_rules_in_order(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		netns_do("%s -N DOCKER-USER", tool);
		assert_int_equal(ensure(&routed), 4);
		assert_chain(tool, "-i mnb1 -o docker0 " COMMENT " -j RETURN\n"
				   "-i mnb1 -o br-+ " COMMENT " -j RETURN\n"
				   "-i mnb1 " COMMENT " -j ACCEPT\n"
				   "-o mnb1 " COMMENT " -j ACCEPT\n");
	}
}

static void every_chain_that_exists_is_served(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_tools; i++)
		netns_do("%s -N DOCKER-USER", tools[i]);
	assert_int_equal(ensure(&routed), 4 * n_tools);
	for (size_t i = 0; i < n_tools; i++)
		netns_do("%s -C DOCKER-USER -i mnb1 -o br-+ " COMMENT " -j RETURN", tools[i]);
}

static void without_the_chain_nothing_is_done_and_no_table_is_made(void **state)
{
	auto_free char *tables = NULL;

	(void)state;
	assert_int_equal(ensure(&bridged), 0);
	remove_id("eth0.100");
	tables = netns_run("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null; "
			   "nft list tables 2>/dev/null || true");
	assert_string_equal(tables, "");
	FOR_EACH_TOOL(tool)
	{
		netns_do("%s -N DOCKER-OTHER", tool);
		assert_int_equal(ensure(&bridged), 0);
	}
}

static void ensuring_twice_changes_nothing(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *before = NULL;
		auto_free char *after = NULL;

		set_up_engine(tool);
		(void)ensure(&routed);
		before = netns_run("%s-save -c | grep -v '^#'; nft -a list ruleset", tool);
		assert_int_equal(ensure(&routed), 4);
		after = netns_run("%s-save -c | grep -v '^#'; nft -a list ruleset", tool);
		assert_string_equal(before, after);
	}
}

static void rules_written_by_iptables_itself_are_taken_for_ours(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *before = NULL;
		auto_free char *after = NULL;

		set_up_engine(tool);
		/* in another place of the chain, and counting: a rewritten rule would show */
		netns_do("%s -A DOCKER-USER -i mnb1 -o mnb1 " COMMENT " -c 1 1 -j ACCEPT", tool);
		before = save(tool);
		assert_int_equal(ensure(&bridged), 1);
		after = save(tool);
		assert_string_equal(before, after);
	}
}

/* Damage to the four rules of a routed segment, as a shell command with the tool as $T. */
static const char *const damages[] = {
	"$T -D DOCKER-USER 1",
	"$T -D DOCKER-USER 4",
	"$T -D DOCKER-USER 4; $T -I DOCKER-USER -o mnb1 " COMMENT " -j ACCEPT",
	"$T -A DOCKER-USER -i mnb1 " COMMENT " -j DROP",
	"$T -R DOCKER-USER 3 -i mnb1 " COMMENT " -p tcp -j ACCEPT",
	"$T -R DOCKER-USER 3 ! -i mnb1 " COMMENT " -j ACCEPT",
	"$T -R DOCKER-USER 3 -i mnb+ " COMMENT " -j ACCEPT",
	"$T -A DOCKER-USER -o mnb1 " COMMENT " -j ACCEPT",
};

static void damaged_rules_are_repaired(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *whole = NULL;

		set_up_engine(tool);
		(void)ensure(&routed);
		whole = save(tool);
		for (size_t i = 0; i < DP_ARRAY_LEN(damages); i++) {
			auto_free char *damaged = NULL;
			auto_free char *after = NULL;

			netns_do("T=%s; %s", tool, damages[i]);
			damaged = save(tool);
			assert_string_not_equal(damaged, whole);
			assert_int_equal(ensure(&routed), 4);
			after = save(tool);
			assert_string_equal(after, whole);
		}
	}
}

static void another_mode_or_bridge_replaces_the_rules(void **state)
{
	static const struct ndrv_fw_rules moved = { .bridge = "mnb2", .id = "eth0.100" };

	(void)state;
	FOR_EACH_TOOL(tool)
	{
		netns_do("%s -N DOCKER-USER", tool);
		(void)ensure(&routed);
		(void)ensure(&moved);
		assert_chain(tool, "-i mnb2 -o mnb2 " COMMENT " -j ACCEPT\n");
	}
}

/* --- removing ------------------------------------------------------------------------------- */

static void after_removal_everything_is_as_before_byte_for_byte(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *before = NULL;
		auto_free char *after = NULL;

		set_up_engine(tool);
		before = save(tool);
		/* ip6tables-nft 1.8.9 forgets the counters it was told */
		assert_true(strstr(before, "[5:300] -A DOCKER-USER") ||
			    !strcmp(tool, "ip6tables-nft"));
		(void)ensure(&routed);
		remove_id("eth0.100");
		remove_id("eth0.100");
		after = save(tool);
		assert_string_equal(before, after);
	}
}

static void only_the_rules_of_the_very_id_are_removed(void **state)
{
	static const char *const others[] = {
		"mynetworkplugin:eth0.1000",
		"mynetworkplugin:eth0.10",
		"mynetworkplugin:",
		"MYNETWORKPLUGIN:eth0.100",
		"eth0.100",
		"x mynetworkplugin:eth0.100",
	};

	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *before = NULL;
		auto_free char *after = NULL;

		set_up_engine(tool);
		for (size_t i = 0; i < DP_ARRAY_LEN(others); i++)
			netns_do("%s -I DOCKER-USER -i mnb1 -o mnb1 -m comment --comment '%s' "
				 "-j ACCEPT",
				 tool, others[i]);
		/* not in our chain: left alone, whatever it says */
		netns_do("%s -A FORWARD -i mnb1 " COMMENT " -j ACCEPT", tool);
		before = save(tool);
		(void)ensure(&bridged);
		remove_id("eth0.100");
		after = save(tool);
		assert_string_equal(before, after);
	}
}

static void iptables_can_delete_our_rule_by_its_text(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		netns_do("%s -N DOCKER-USER", tool);
		(void)ensure(&bridged);
		netns_do("%s -D DOCKER-USER -i mnb1 -o mnb1 " COMMENT " -j ACCEPT", tool);
		assert_chain(tool, "");
	}
}

/* --- listing -------------------------------------------------------------------------------- */

static bool lists(const char *id, size_t expected_n)
{
	auto_free struct ndrv_fw_id *ids = NULL;
	bool found = false;
	size_t n;

	if (ndrv_fw_list(fw, &ids, &n, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(n, expected_n);
	for (size_t i = 0; i < n; i++)
		found = found || !strcmp(ids[i].id, id);
	return found;
}

static void ids_are_listed_once_whatever_the_number_of_rules(void **state)
{
	static const struct ndrv_fw_rules other = { .bridge = "mnb2", .id = "net:0123456789ab" };

	(void)state;
	(void)lists("", 0);
	for (size_t i = 0; i < n_tools; i++)
		set_up_engine(tools[i]);
	(void)lists("", 0);
	(void)ensure(&routed);
	(void)ensure(&other);
	assert_true(lists("eth0.100", 2));
	assert_true(lists("net:0123456789ab", 2));
	remove_id("eth0.100");
	assert_true(lists("net:0123456789ab", 1));
}

static void a_comment_in_nftables_own_encoding_is_understood(void **state)
{
	(void)state;
	if (!netns_has_tool("iptables-nft -N DOCKER-USER && nft list ruleset")) {
		print_message("# SKIP no nftables\n");
		return;
	}
	netns_do("nft 'add rule ip filter DOCKER-USER iifname \"mnb1\" oifname \"mnb1\" counter "
		 "accept comment \"mynetworkplugin:eth0.100\"'");
	assert_true(lists("eth0.100", 1));
	assert_int_equal(ensure(&bridged), 1);
	assert_chain("iptables-nft", "-i mnb1 -o mnb1 " COMMENT " -j ACCEPT\n");
	remove_id("eth0.100");
	assert_chain("iptables-nft", "");
}

/* --- others at work ------------------------------------------------------------------------- */

static bool has_legacy(void)
{
	if (n_tools && !strcmp(tools[0], "iptables-legacy"))
		return true;
	print_message("# SKIP no iptables-legacy\n");
	return false;
}

static void a_held_lock_is_reported_soon_and_nothing_is_written(void **state)
{
	auto_close int fd = open(lock_path, O_RDONLY | O_CLOEXEC);
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	double start;
	unsigned n;

	(void)state;
	if (!has_legacy())
		return;
	set_up_engine("iptables-legacy");
	before = save("iptables-legacy");
	assert_int_equal(flock(fd, LOCK_EX), 0);
	start = netns_now_us();
	assert_int_equal(ndrv_fw_ensure(fw, &bridged, &n, &err), -EAGAIN);
	assert_true(netns_now_us() - start < 2e6);
	assert_int_equal(err.kind, DP_ERR_UNAVAILABLE);
	assert_non_null(strstr(err.msg, lock_path));
	after = save("iptables-legacy");
	assert_string_equal(before, after);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_int_equal(ensure(&bridged), 1);
	/* rules that stand need no lock */
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(ensure(&bridged), 1);
}

static void a_lock_that_cannot_be_had_at_all_is_done_without(void **state)
{
	(void)state;
	if (!has_legacy())
		return;
	ndrv_fw_close(fw);
	assert_int_equal(ndrv_fw_open("/proc/nosuch/lock", &fw, &err), 0);
	set_up_engine("iptables-legacy");
	assert_int_equal(ensure(&bridged), 1);
	netns_do("iptables-legacy -C DOCKER-USER -i mnb1 -o mnb1 " COMMENT " -j ACCEPT");
}

/* A child adds rules of its own as fast as it can; none of them may get lost. */
static void concurrent_writers_lose_no_rule(void **state)
{
	enum { N = 40 };

	(void)state;
	FOR_EACH_TOOL(tool)
	{
		auto_free char *count = NULL;
		int status;
		pid_t pid;

		set_up_engine(tool);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			char command[256];

			(void)snprintf(command, sizeof command,
				       "for i in $(seq 1 %d); do %s %s -I DOCKER-USER -i foreign$i "
				       "-j DROP || exit 1; done",
				       N, tool, strstr(tool, "legacy") ? "-w 10" : "");
			(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
			_exit(127);
		}
		while (waitpid(pid, &status, WNOHANG) == 0) {
			unsigned n;
			int r = ndrv_fw_ensure(fw, &bridged, &n, &err);

			if (r >= 0)
				r = ndrv_fw_remove(fw, "eth0.100", &err);
			if (r < 0 && r != -EAGAIN)
				fail_msg("%s", err.msg);
		}
		assert_int_equal(status, 0);
		remove_id("eth0.100");
		count = netns_run("%s -S DOCKER-USER | grep -c foreign", tool);
		assert_int_equal(atoi(count), N);
	}
}

/* --- refusals ------------------------------------------------------------------------------- */

static void what_cannot_be_a_rule_is_refused(void **state)
{
	static const struct ndrv_fw_rules bad[] = {
		{ .bridge = "", .id = "a" },    { .bridge = "mnb+", .id = "a" },
		{ .bridge = "a/b", .id = "a" }, { .bridge = "name-of-16-bytes", .id = "a" },
		{ .bridge = "mnb1", .id = "" }, { .bridge = "mnb1", .id = "a\nb" },
	};

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(bad); i++) {
		assert_int_equal(ndrv_fw_ensure(fw, &bad[i], NULL, &err), -EINVAL);
		assert_int_equal(err.kind, DP_ERR_INVALID);
	}
	assert_int_equal(ndrv_fw_remove(fw, "", &err), -EINVAL);
}

static void without_the_capability_the_error_is_unsupported(void **state)
{
	(void)state;
	FOR_EACH_TOOL(tool)
	{
		int r;

		set_up_engine(tool);
		if (geteuid() != 0 || seteuid(65534) < 0)
			fail_msg("cannot give up root");
		r = ndrv_fw_ensure(fw, &bridged, NULL, &err);
		assert_int_equal(seteuid(0), 0);
		print_message("# %s\n", err.msg);
		assert_true(r == -EPERM || r == -EACCES);
		assert_int_equal(err.kind, DP_ERR_UNSUPPORTED);
	}
}

/* --- what it is all for --------------------------------------------------------------------- */

static bool can_ping(const struct netns_child *child)
{
	char command[128];

	(void)snprintf(command, sizeof command, "nsenter -n -t %d ping -c 1 -W 1 10.9.0.2",
		       child->pid);
	return netns_has_tool(command);
}

/* Two containers on one bridge; every bridged packet is shown to iptables, whose policy is DROP. */
static void bridged_traffic_passes_with_the_rule_and_only_with_it(void **state)
{
	struct netns_child a;
	struct netns_child b;

	(void)state;
	if (!netns_has_tool("test -e /proc/sys/net/bridge/bridge-nf-call-iptables && ping -V")) {
		print_message("# SKIP no br_netfilter or no ping\n");
		return;
	}
	FOR_EACH_TOOL(tool)
	{
		if (strstr(tool, "ip6"))
			continue;
		netns_child_start(&a);
		netns_child_start(&b);
		netns_do("ip link add mnb1 type bridge; ip link set mnb1 up; "
			 "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; "
			 "n=1; for p in %d %d; do "
			 "ip link add v$n type veth peer name c0 netns $p; "
			 "ip link set v$n master mnb1 up; "
			 "nsenter -n -t $p sh -c \"ip addr add 10.9.0.$n/24 dev c0; "
			 "ip link set c0 up\"; n=2; done",
			 a.pid, b.pid);
		assert_true(can_ping(&a));
		set_up_engine(tool);
		assert_false(can_ping(&a));
		assert_int_equal(ensure(&bridged), 1);
		assert_true(can_ping(&a));
		remove_id("eth0.100");
		assert_false(can_ping(&a));
		netns_child_stop(&a);
		netns_child_stop(&b);
	}
}

static void costs_are_reported(void **state)
{
	enum { N = 20, FOREIGN = 200 };

	(void)state;
	FOR_EACH_TOOL(tool)
	{
		double missing = 0;
		double present = 0;

		set_up_engine(tool);
		netns_do("(echo '*filter'; for i in $(seq 1 %d); do "
			 "echo \"-A FORWARD -i eth$i -j ACCEPT\"; done; echo COMMIT) | "
			 "%s-restore -n",
			 FOREIGN, tool);
		for (int i = 0; i < N; i++) {
			double start = netns_now_us();
			double made;

			(void)ensure(&bridged);
			made = netns_now_us();
			(void)ensure(&bridged);
			present += netns_now_us() - made;
			missing += made - start;
			remove_id("eth0.100");
		}
		print_message("# %s, %d foreign rules: ensure takes %.0f us if missing, %.0f us if "
			      "present\n",
			      tool, FOREIGN, missing / N, present / N);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void find_tools(void)
{
	for (size_t i = 0; i < DP_ARRAY_LEN(all_tools); i++) {
		char command[512];

		/* a namespace of its own each time, so that the question changes nothing here */
		(void)snprintf(command, sizeof command,
			       "unshare -n sh -c '%s -N DOCKER-USER && %s -A DOCKER-USER " COMMENT
			       "'",
			       all_tools[i], all_tools[i]);
		if (netns_has_tool(command))
			tools[n_tools++] = all_tools[i];
		else
			print_message("# %s does not work here and is not tested\n", all_tools[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_bridged_segment_gets_one_rule_at_the_top),
		T(a_routed_segment_gets_four_rules_in_order),
		T(every_chain_that_exists_is_served),
		T(without_the_chain_nothing_is_done_and_no_table_is_made),
		T(ensuring_twice_changes_nothing),
		T(rules_written_by_iptables_itself_are_taken_for_ours),
		T(damaged_rules_are_repaired),
		T(another_mode_or_bridge_replaces_the_rules),
		T(after_removal_everything_is_as_before_byte_for_byte),
		T(only_the_rules_of_the_very_id_are_removed),
		T(iptables_can_delete_our_rule_by_its_text),
		T(ids_are_listed_once_whatever_the_number_of_rules),
		T(a_comment_in_nftables_own_encoding_is_understood),
		T(a_held_lock_is_reported_soon_and_nothing_is_written),
		T(a_lock_that_cannot_be_had_at_all_is_done_without),
		T(concurrent_writers_lose_no_rule),
		T(what_cannot_be_a_rule_is_refused),
		T(without_the_capability_the_error_is_unsupported),
		T(bridged_traffic_passes_with_the_rule_and_only_with_it),
		T(costs_are_reported),
	};
	int fd;
	int r;

	if (!netns_enter())
		return 0;
	find_tools();
	if (!n_tools)
		return netns_skip_all("no iptables, legacy or nft, works here");
	fd = mkstemp(lock_path);
	if (fd < 0 || setenv("XTABLES_LOCKFILE", lock_path, 1) < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)close(fd);
	(void)unlink(lock_path);
	return r;
}
