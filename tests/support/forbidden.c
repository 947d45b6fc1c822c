/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What an intruder in a daemon would try: preloaded (LD_PRELOAD), it stands before accept4(2), and
 * when the first client comes, long after the daemon has given its rights away, it makes system calls
 * that no daemon needs. The daemon's log has a line for each: `forbidden: NAME ERRNO`, or `allowed`.
 * Where they are not forbidden they do no harm: their arguments are wrong, or they change nothing.
 */

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/compiler.h"

/* A value that is no pointer, no descriptor and no process. */
#define WRONG (-1L)

static char secret[] = "secret";
static char stolen[sizeof secret];
static const struct iovec from = { secret, sizeof secret };
static const struct iovec to = { stolen, sizeof stolen };
static struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, -1 };
static struct __user_cap_data_struct none[2];

static const struct attempt {
	const char *name;
	long number;
	long args[6];
} attempts[] = {
	/* another program, or another process */
	{ "execve", SYS_execve, { (long)"/nonexistent", 0, 0 } },
	{ "execveat", SYS_execveat, { WRONG, (long)"nonexistent", 0, 0, 0 } },
	{ "clone", SYS_clone, { SIGCHLD } },
	{ "clone3", SYS_clone3, { 0, 0 } },
	/* other processes' memory, and signals for them */
	{ "ptrace", SYS_ptrace, { PTRACE_ATTACH, WRONG, 0, 0 } },
	{ "process_vm_readv", SYS_process_vm_readv, { 0, (long)&to, 1, (long)&from, 1, 0 } },
	{ "process_vm_writev", SYS_process_vm_writev, { 0, (long)&from, 1, (long)&to, 1, 0 } },
	{ "pidfd_open", SYS_pidfd_open, { WRONG, 0 } },
	{ "kill", SYS_kill, { 0, 0 } },
	/* code that was not there at start */
	{ "mmap-exec", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, WRONG, 0 } },
	{ "mprotect-exec", SYS_mprotect, { 0, 0, PROT_READ | PROT_EXEC } },
	{ "memfd_create", SYS_memfd_create, { (long)"code", 0 } },
	/* the file system as others see it */
	{ "mount", SYS_mount, { (long)"none", (long)"/nonexistent", (long)"tmpfs", 0, 0 } },
	{ "umount2", SYS_umount2, { (long)"/nonexistent", 0 } },
	{ "pivot_root", SYS_pivot_root, { (long)"/nonexistent", (long)"/nonexistent" } },
	{ "chroot", SYS_chroot, { (long)"/nonexistent" } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { WRONG, 0, 0 } },
	{ "mknodat", SYS_mknodat, { WRONG, (long)"nonexistent", 0, 0 } },
	{ "fchownat", SYS_fchownat, { WRONG, (long)"nonexistent", 0, 0, 0 } },
	/* namespaces */
	{ "unshare", SYS_unshare, { 0 } },
	{ "setns", SYS_setns, { WRONG, 0 } },
	/* who it is */
	{ "setresuid", SYS_setresuid, { WRONG, WRONG, WRONG } },
	{ "setgroups", SYS_setgroups, { WRONG, 0 } },
	{ "capset", SYS_capset, { (long)&header, (long)none } },
	{ "prctl", SYS_prctl, { PR_GET_DUMPABLE } },
	/* the kernel */
	{ "bpf", SYS_bpf, { WRONG, 0, 0 } },
	{ "perf_event_open", SYS_perf_event_open, { 0, WRONG, WRONG, WRONG, 0 } },
	{ "init_module", SYS_init_module, { 0, 0, (long)"" } },
	{ "keyctl", SYS_keyctl, { WRONG } },
	{ "reboot", SYS_reboot, { 0, 0, 0, 0 } },
	{ "sethostname", SYS_sethostname, { 0, WRONG } },
	{ "io_uring_setup", SYS_io_uring_setup, { 0, 0 } },
	{ "userfaultfd", SYS_userfaultfd, { WRONG } },
	/* the network: TCP and UDP, other machines */
	{ "socket-vsock", SYS_socket, { AF_VSOCK, SOCK_STREAM, 0 } },
	{ "socket-inet", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
	{ "socket-packet", SYS_socket, { AF_PACKET, SOCK_RAW, 0 } },
};

static void try_all(void)
{
	for (size_t i = 0; i < DP_ARRAY_LEN(attempts); i++) {
		const struct attempt *a = &attempts[i];
		const long *arg = a->args;
		long r = syscall(a->number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

		if (a->number == SYS_clone && r == 0)
			_exit(0); /* the new process */
		fprintf(stderr, "forbidden: %s %s\n", a->name, r < 0 ? strerrorname_np(errno) : "allowed");
	}
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	static bool tried;

	if (!tried) {
		tried = true;
		try_all();
	}
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}
