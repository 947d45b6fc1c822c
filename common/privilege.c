/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The only file that knows libseccomp. Capabilities are three plain system calls: no library. */

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/compiler.h"
#include "common/privilege.h"

const char *const dp_seccomp_names[] = { "on", "off", "log", NULL };

int dp_seccomp_parse(const char *name, enum dp_seccomp *ret_mode)
{
	for (unsigned i = 0; dp_seccomp_names[i]; i++) {
		if (!strcmp(name, dp_seccomp_names[i])) {
			*ret_mode = (enum dp_seccomp)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *dp_capability_name(unsigned capability)
{
	static const char *const names[] = {
		[CAP_NET_ADMIN] = "CAP_NET_ADMIN",
		[CAP_NET_RAW] = "CAP_NET_RAW",
		[CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
	};
	const char *name = capability < DP_ARRAY_LEN(names) ? names[capability] : NULL;

	return name ? name : "a capability";
}

/* ---- capabilities ---- */

enum { MAX_CAPABILITIES = 64 };

/* What execve(2) could bring back. Without CAP_SETPCAP nothing can be taken out of the bounding set;
 * then no-new-privileges alone has to do. */
static int drop_inheritable(uint64_t keep, struct dp_error *err)
{
	for (unsigned cap = 0; cap < MAX_CAPABILITIES; cap++) {
		int there = prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0);

		if (there < 0)
			break; /* the kernel's last one was before it */
		if (!there || keep & DP_CAPABILITY(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0, 0, 0) < 0 && errno != EPERM)
			return dp_error_set(err, DP_ERR_INTERNAL, -errno,
					    "drop capability %u from the bounding set: %s", cap,
					    strerror(errno));
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "no new privileges: %s",
				    strerror(errno));
	return 0;
}

/* A service manager may have done it all, and then forbid capset(2): what is so is not asked for. */
static int drop_capabilities(uint64_t keep, uint64_t *ret_missing, struct dp_error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct is[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct wanted[_LINUX_CAPABILITY_U32S_3];
	int r = drop_inheritable(keep, err);

	if (r < 0)
		return r;
	if (syscall(SYS_capget, &header, is) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "read capabilities: %s",
				    strerror(errno));
	*ret_missing = keep & ~(is[0].permitted | (uint64_t)is[1].permitted << 32);
	for (unsigned i = 0; i < DP_ARRAY_LEN(is); i++) {
		wanted[i].permitted = is[i].permitted & (uint32_t)(keep >> (32 * i));
		wanted[i].effective = wanted[i].permitted;
		wanted[i].inheritable = 0;
	}
	if (memcmp(is, wanted, sizeof is) && syscall(SYS_capset, &header, wanted) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "drop capabilities: %s",
				    strerror(errno));
	return 0;
}

/* ---- system calls ---- */

#if defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/*
 * By name: a machine does not have all of them (arm64 has no open, only openat), and an older
 * libseccomp does not know all. Each is there since something called it under strace on Debian 12,
 * 13 or sid, or is what the same library function becomes on another machine or C library.
 */
/* clang-format off */
static const char *const always[] = {
	/* memory; mmap and mprotect: below */
	"brk", "madvise", "mremap", "munmap",
	/* the process, and the end of it: abort() is tgkill() */
	"exit", "exit_group", "futex", "futex_time64", "getegid", "geteuid", "getgid", "getpid",
	"getrandom", "getrlimit", "getrusage", "gettid", "getuid", "membarrier", "prlimit64",
	"restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
	"sched_yield", "set_robust_list", "sigreturn", "sysinfo", "tgkill", "ugetrlimit",
	"uname",
	/* time */
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
	"clock_nanosleep", "clock_nanosleep_time64", "gettimeofday", "nanosleep", "time",
	/* the loop */
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
	"epoll_wait", "eventfd2", "poll", "ppoll", "ppoll_time64", "signalfd4",
	"timerfd_create", "timerfd_settime", "timerfd_settime64",
	/* files: SQLite, the configuration, /proc */
	"_llseek", "access", "close", "faccessat", "faccessat2", "fallocate", "fchmod",
	"fchown", "fchown32", "fcntl", "fcntl64", "fdatasync", "flock", "fstat", "fstat64",
	"fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "getcwd",
	"getdents64", "link", "linkat", "lseek", "lstat", "lstat64", "mkdir", "mkdirat",
	"newfstatat", "open", "openat", "pread64", "preadv", "pwrite64", "pwritev", "read",
	"readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "stat",
	"stat64", "statfs", "statfs64", "statx", "umask", "unlink", "unlinkat", "write",
	"writev",
	/* sockets; socket itself: below */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
	"listen", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "send",
	"sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
#ifdef SANITIZED
	/* looking for leaks, at the end: a thread that traces all others */
	"clone", "getdents", "getppid", "ioctl", "kill", "mincore", "prctl", "process_vm_readv",
	"ptrace", "sched_getaffinity", "sigaltstack", "wait4",
#endif
	NULL,
};
/* clang-format on */

/* if_nametoindex(3), and asking what kind of namespace a file is. */
static const char *const with_net_admin[] = { "ioctl", NULL };

/* Entering a container's network namespace, in a thread of its own: its clone is below. */
static const char *const with_sys_admin[] = { "setns", NULL };

static const struct call_set {
	uint64_t capability; /* 0: any */
	const char *const *names;
} call_sets[] = {
	{ 0, always },
	{ DP_CAPABILITY(CAP_NET_ADMIN), with_net_admin },
	{ DP_CAPABILITY(CAP_SYS_ADMIN), with_sys_admin },
};

enum {
	NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
		     CLONE_NEWPID | CLONE_NEWNET
};

/* Calls that are allowed with some values of an argument: (argument & mask) == value. */
static const struct call_value {
	uint64_t capability; /* 0: any */
	const char *name;
	unsigned argument;
	uint64_t mask;
	uint64_t value;
} call_values[] = {
	/* What was loaded at start is all the code that will ever run. */
	{ 0, "mmap", 2, PROT_EXEC, 0 },
	{ 0, "mmap2", 2, PROT_EXEC, 0 },
	{ 0, "mprotect", 2, PROT_EXEC, 0 },
	{ 0, "socket", 0, UINT32_MAX, AF_UNIX },
	{ DP_CAPABILITY(CAP_NET_ADMIN), "socket", 0, UINT32_MAX, AF_NETLINK },
	{ DP_CAPABILITY(CAP_NET_RAW), "socket", 0, UINT32_MAX, AF_INET },
	{ DP_CAPABILITY(CAP_NET_RAW), "socket", 0, UINT32_MAX, AF_INET6 },
	{ DP_CAPABILITY(CAP_NET_RAW), "socket", 0, UINT32_MAX, AF_PACKET },
	/* A thread, no process. clone3 keeps its flags where no filter sees them: it is refused,
	 * and the C library takes clone. */
	{ DP_CAPABILITY(CAP_SYS_ADMIN), "clone", 0, CLONE_THREAD | NAMESPACES, CLONE_THREAD },
};

static bool applies(uint64_t capability, uint64_t kept)
{
	return !capability || capability & kept;
}

/* Names that libseccomp does not know are of calls that this machine does not make. */
static int allow(scmp_filter_ctx ctx, const char *name, const struct scmp_arg_cmp *compare)
{
	int call = seccomp_syscall_resolve_name(name);

	if (call == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, compare ? 1 : 0, compare);
}

static int add_rules(scmp_filter_ctx ctx, uint64_t kept)
{
	int r = 0;

	for (size_t i = 0; i < DP_ARRAY_LEN(call_sets); i++) {
		const struct call_set *s = &call_sets[i];

		for (size_t k = 0; applies(s->capability, kept) && s->names[k] && r == 0; k++)
			r = allow(ctx, s->names[k], NULL);
	}
	for (size_t i = 0; i < DP_ARRAY_LEN(call_values) && r == 0; i++) {
		const struct call_value *v = &call_values[i];
		const struct scmp_arg_cmp compare =
			SCMP_CMP64(v->argument, SCMP_CMP_MASKED_EQ, v->mask, v->value);

		if (applies(v->capability, kept))
			r = allow(ctx, v->name, &compare);
	}
	return r;
}

static int filter_calls(uint64_t kept, enum dp_seccomp mode, struct dp_error *err)
{
	scmp_filter_ctx ctx =
		seccomp_init(mode == DP_SECCOMP_LOG ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!ctx)
		return dp_error_oom(err);
	/* Both are niceties of newer kernels: a log line for each refusal, a tree of comparisons
	 * instead of a list. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = add_rules(ctx, kept);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	if (r < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, r, "system call filter: %s",
				    strerror(-r));
	return 0;
}

int dp_privilege_drop(uint64_t capabilities, enum dp_seccomp seccomp,
		      struct dp_privilege_lack *ret_lack, struct dp_error *err)
{
	struct dp_privilege_lack lack = { .seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 };
	int r = drop_capabilities(capabilities, &lack.capabilities, err);

	if (r == 0 && !lack.seccomp && seccomp != DP_SECCOMP_OFF)
		r = filter_calls(capabilities, seccomp, err);
	*ret_lack = lack;
	return r;
}
