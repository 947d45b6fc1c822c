/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/privilege.h"
#include "tests/support/unit.h"

static const uint64_t net_admin = DP_CAPABILITY(CAP_NET_ADMIN);
static const uint64_t net_raw = DP_CAPABILITY(CAP_NET_RAW);
static const uint64_t sys_admin = DP_CAPABILITY(CAP_SYS_ADMIN);

static uint64_t keep; /* what the child of in_child() keeps */
static enum dp_seccomp mode;

/* What fn() says in a process that has given away all but `keep`. What is given away is gone for
 * good, and so it is never this one. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct dp_privilege_lack lack;
		struct dp_error err = DP_ERROR_INIT;

		/* _exit() is no call that a filter of ours forbids. */
		_exit(dp_privilege_drop(keep, mode, &lack, &err) < 0 ? 255 : fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static int setup(void **state)
{
	(void)state;
	keep = 0;
	mode = DP_SECCOMP_ON;
	return 0;
}

static int error_of(long r)
{
	return r < 0 ? errno : 0;
}

static bool has_filters(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

/* ---- system calls that have no place in a daemon ---- */

static int do_execve(void)
{
	char *const none[] = { NULL };

	return error_of(execve("/bin/true", none, none));
}

#ifndef __SANITIZE_ADDRESS__ /* whose search for leaks starts a process */
static int do_fork(void)
{
	return error_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}
#endif

static int do_mount(void)
{
	return error_of(mount("none", "/nonexistent", "tmpfs", 0, NULL));
}

static int do_setns(void)
{
	return error_of(setns(-1, CLONE_NEWNET));
}

static int do_unshare(void)
{
	return error_of(unshare(CLONE_NEWUSER));
}

static int do_bpf(void)
{
	return error_of(syscall(SYS_bpf, 0, NULL, 0));
}

static int do_chown(void)
{
	return error_of(syscall(SYS_fchownat, AT_FDCWD, "/nonexistent", 0, 0, 0));
}

static int do_io_uring(void)
{
	return error_of(syscall(SYS_io_uring_setup, 1, NULL));
}

static int do_module(void)
{
	return error_of(syscall(SYS_finit_module, -1, "", 0));
}

static int do_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int do_socket(int family)
{
	return error_of(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int do_netlink(void)
{
	return do_socket(AF_NETLINK);
}

static int do_inet(void)
{
	return do_socket(AF_INET);
}

static int do_unix(void)
{
	return do_socket(AF_UNIX);
}

static void forbidden_calls_are_refused(void **state)
{
	static int (*const calls[])(void) = { do_execve,   do_mount,  do_setns,
					      do_unshare,  do_bpf,    do_chown,
					      do_io_uring, do_module, do_executable_memory,
					      do_netlink,  do_inet };

	(void)state;
	if (!has_filters())
		skip();
	for (size_t i = 0; i < DP_ARRAY_LEN(calls); i++)
		assert_int_equal(in_child(calls[i]), ENOSYS);
	assert_int_equal(in_child(do_unix), 0);
#ifndef __SANITIZE_ADDRESS__ /* whose search for leaks starts a process */
	assert_int_equal(in_child(do_fork), ENOSYS);
	keep = sys_admin; /* threads, but no processes */
	assert_int_equal(in_child(do_fork), ENOSYS);
#endif
}

static void a_capability_brings_the_calls_it_is_for(void **state)
{
	(void)state;
	keep = net_admin;
	assert_int_equal(in_child(do_netlink), 0);
	keep = net_raw;
	assert_int_equal(in_child(do_inet), 0);
	keep = sys_admin;
	assert_int_equal(in_child(do_setns),
			 EBADF); /* it is asked, and says what it thinks of -1 */
}

static void nothing_is_refused_where_it_is_only_logged_or_off(void **state)
{
	(void)state;
	mode = DP_SECCOMP_LOG;
	assert_int_equal(in_child(do_setns), EBADF);
	mode = DP_SECCOMP_OFF;
	assert_int_equal(in_child(do_setns), EBADF);
}

/* ---- capabilities ---- */

static uint64_t permitted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0 || data[0].permitted != data[0].effective ||
	    data[1].permitted != data[1].effective || data[0].inheritable || data[1].inheritable)
		return UINT64_MAX;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static int more_than_kept(void)
{
	return (permitted() & ~keep) != 0;
}

static int less_than_kept(void)
{
	return (permitted() & keep) != keep;
}

static int may_gain(void)
{
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0) >= 0; cap++) {
		if (prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0) && !(keep >> cap & 1))
			return 1;
	}
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static void only_what_is_asked_for_is_kept(void **state)
{
	static const uint64_t sets[] = { 0, DP_CAPABILITY(CAP_NET_ADMIN),
					 DP_CAPABILITY(CAP_NET_ADMIN) |
						 DP_CAPABILITY(CAP_NET_RAW) };

	(void)state;
	mode = DP_SECCOMP_OFF; /* for prctl() */
	for (size_t i = 0; i < DP_ARRAY_LEN(sets); i++) {
		keep = sets[i];
		assert_int_equal(in_child(more_than_kept), 0);
		if ((permitted() & keep) == keep)
			assert_int_equal(in_child(less_than_kept), 0);
	}
}

static void nothing_can_be_gained_again(void **state)
{
	(void)state;
	if (!(permitted() >> CAP_SETPCAP & 1))
		skip(); /* the bounding set stays as it is */
	mode = DP_SECCOMP_OFF;
	keep = net_admin;
	assert_int_equal(in_child(may_gain), 0);
}

static int drop_twice(void)
{
	struct dp_privilege_lack lack;
	struct dp_error err = DP_ERROR_INIT;

	keep = net_admin;
	return dp_privilege_drop(keep, DP_SECCOMP_OFF, &lack, &err) < 0 ||
	       lack.capabilities != net_admin;
}

static void what_is_not_there_is_told(void **state)
{
	(void)state;
	mode = DP_SECCOMP_OFF;
	assert_int_equal(in_child(drop_twice), 0);
	assert_string_equal(dp_capability_name(CAP_NET_ADMIN), "CAP_NET_ADMIN");
	assert_string_equal(dp_capability_name(CAP_CHOWN), "a capability");
	assert_string_equal(dp_capability_name(63), "a capability");
}

/* As a service manager's filter may have it. */
static int forbid_capset(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_capset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = DP_ARRAY_LEN(code), .filter = code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static int drop_where_nothing_is_left(void)
{
	struct dp_privilege_lack lack;
	struct dp_error err = DP_ERROR_INIT;

	return forbid_capset() < 0 ||
	       dp_privilege_drop(keep, DP_SECCOMP_OFF, &lack, &err) < 0;
}

static void what_is_gone_already_is_not_dropped_again(void **state)
{
	(void)state;
	if (!has_filters())
		skip();
	mode = DP_SECCOMP_OFF;
	keep = permitted() & net_admin;
	assert_int_equal(in_child(drop_where_nothing_is_left), 0);
}

static void modes_have_names(void **state)
{
	enum dp_seccomp m;

	(void)state;
	for (unsigned i = 0; dp_seccomp_names[i]; i++) {
		assert_int_equal(dp_seccomp_parse(dp_seccomp_names[i], &m), 0);
		assert_int_equal(m, i);
	}
	assert_int_equal(dp_seccomp_parse("maybe", &m), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(forbidden_calls_are_refused, setup),
		cmocka_unit_test_setup(a_capability_brings_the_calls_it_is_for, setup),
		cmocka_unit_test_setup(nothing_is_refused_where_it_is_only_logged_or_off, setup),
		cmocka_unit_test_setup(only_what_is_asked_for_is_kept, setup),
		cmocka_unit_test_setup(nothing_can_be_gained_again, setup),
		cmocka_unit_test_setup(what_is_not_there_is_told, setup),
		cmocka_unit_test_setup(what_is_gone_already_is_not_dropped_again, setup),
		cmocka_unit_test_setup(modes_have_names, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
