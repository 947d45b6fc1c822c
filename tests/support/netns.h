/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_NETNS_H
#define DP_TESTS_SUPPORT_NETNS_H

/*
 * A private network namespace for tests of the kernel side, and the host's own tools in it as a
 * second opinion on what our code did.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "common/compiler.h"

/* A process that does nothing but hold another network namespace, as a container would. */
struct netns_child {
	pid_t pid;   /* for `ip link set ... netns PID` and `nsenter` */
	int hold_fd; /* closing it ends the process */
};

/**
 * netns_enter() - move the process into a new, empty network namespace, for good
 *
 * As root, or through a new user namespace where the system allows that.
 *
 * Return: true; false if it cannot be done, after printing the TAP plan that skips the whole
 *         program, so that main() is left with "return 0".
 */
DP_NODISCARD bool netns_enter(void);

/* netns_skip_all() - print the TAP plan that skips the whole program; returns 0 for main(). */
DP_PRINTF(1, 2) int netns_skip_all(const char *why, ...);

/* netns_has_tool() - the shell command @command can be run and succeeds. */
DP_NODISCARD bool netns_has_tool(const char *command);

/**
 * netns_run() - run a shell command and return what it printed, stderr included
 *
 * Fails the test if the command does. Return: new text, the caller frees it with free().
 */
DP_PRINTF(1, 2) DP_NODISCARD char *netns_run(const char *fmt, ...);

/* netns_do() - as netns_run(), without the text. */
DP_PRINTF(1, 2) void netns_do(const char *fmt, ...);

/* netns_child_start() - returns once the other namespace exists; fails the test if it cannot. */
void netns_child_start(struct netns_child *ret_child);

/* netns_child_stop() - end the process and with it the namespace. */
void netns_child_stop(struct netns_child *child);

/* netns_now_us() - monotonic clock in microseconds, for measurements. */
double netns_now_us(void);

#endif
