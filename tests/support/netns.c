/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Tests live in a namespace of their own and never leave it: whatever they forget to clean up dies
 * with the process.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/netns.h"

#define COMMAND_SIZE 8192

int netns_skip_all(const char *why, ...)
{
	va_list ap;

	fputs("1..0 # SKIP ", stdout);
	va_start(ap, why);
	(void)vprintf(why, ap);
	va_end(ap);
	putchar('\n');
	return 0;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* Becomes root of a new user namespace, which owns the new network namespace. */
static bool enter_as_user(void)
{
	char map[64];

	(void)snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	return write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", map);
}

bool netns_enter(void)
{
	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (errno == EPERM && enter_as_user())
		return true;
	(void)netns_skip_all("no private network namespace: %s", strerror(errno));
	return false;
}

bool netns_has_tool(const char *command)
{
	char line[COMMAND_SIZE];
	FILE *f;

	(void)snprintf(line, sizeof line, "(%s) >/dev/null 2>&1", command);
	f = popen(line, "re");
	return f && pclose(f) == 0;
}

static char *run(const char *command)
{
	char line[COMMAND_SIZE + 16];
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	FILE *f;
	int c;

	(void)snprintf(line, sizeof line, "(set -e; %s) 2>&1", command);
	f = popen(line, "re");
	assert_true(out && f);
	while ((c = getc(f)) != EOF)
		(void)putc(c, out);
	(void)fclose(out);
	if (pclose(f) != 0)
		fail_msg("%s: %s", command, text);
	return text;
}

char *netns_run(const char *fmt, ...)
{
	char command[COMMAND_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	return run(command);
}

void netns_do(const char *fmt, ...)
{
	char command[COMMAND_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	free(run(command));
}

/* The child: says when it is there, then waits for the end of its parent's interest. */
static void hold_namespace(int fd)
{
	char c = 0;

	/* Whatever the read returns, it is over. */
	_exit(unshare(CLONE_NEWNET) == 0 && write(fd, &c, 1) == 1 && read(fd, &c, 1) < 0);
}

void netns_child_start(struct netns_child *ret_child)
{
	int fds[2];
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ret_child->pid = fork();
	assert_true(ret_child->pid >= 0);
	if (ret_child->pid == 0) {
		(void)close(fds[0]);
		hold_namespace(fds[1]);
	}
	(void)close(fds[1]);
	ret_child->hold_fd = fds[0];
	assert_int_equal(read(fds[0], &c, 1), 1);
}

void netns_child_stop(struct netns_child *child)
{
	(void)close(child->hold_fd);
	(void)kill(child->pid, SIGKILL); /* a later child may hold a copy of that descriptor */
	(void)waitpid(child->pid, NULL, 0);
}

double netns_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}
