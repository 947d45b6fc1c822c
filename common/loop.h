/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_LOOP_H
#define DP_COMMON_LOOP_H

/*
 * The one event loop of a daemon: epoll over file descriptors, one-shot timers on the monotonic
 * clock, and one hook that runs after the events of an iteration were delivered (the turn).
 * Single-threaded; no callback may block.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

struct dp_loop;

/* A descriptor's callback: @events are EPOLL* bits. */
typedef void (*dp_loop_fd_fn)(void *ctx, uint32_t events);
/* The hook after each iteration; it returns true to be called again without waiting. */
typedef bool (*dp_loop_hook_fn)(void *ctx);

/* One-shot timer, in the owner's storage; zero-initialised = disarmed. */
struct dp_timer {
	uint64_t due_ms;         /* monotonic time at which it fires */
	void (*fn)(void *ctx);   /* called once; may arm the timer again */
	void *ctx;               /* handed to fn */
	struct dp_timer *next;   /* loop's list of armed timers, by due_ms */
	bool armed;              /* is in that list */
};

/**
 * dp_loop_new() - an empty loop
 * @ret_loop: out: new loop, freed by dp_loop_free()
 * @err:      out: reason on failure
 *
 * Return: 0; negative errno of epoll_create1(2), -ENOMEM.
 */
DP_NODISCARD int dp_loop_new(struct dp_loop **ret_loop, struct dp_error *err);

/* dp_loop_free() - frees the loop; descriptors registered in it stay open. NULL is fine. */
void dp_loop_free(struct dp_loop *loop);
DP_DEFINE_CLEANUP(struct dp_loop, dp_loop_free);

/**
 * dp_loop_add_fd() - call @fn whenever @fd is ready
 * @fd:     descriptor; stays the caller's, who removes it with dp_loop_del_fd() before closing it
 * @events: EPOLLIN and so on, level-triggered
 *
 * Return: 0; -EEXIST @fd is registered already; -ENOMEM; -EINVAL @fd is above 65535.
 */
DP_NODISCARD int dp_loop_add_fd(struct dp_loop *loop, int fd, uint32_t events, dp_loop_fd_fn fn,
				void *ctx, struct dp_error *err);

/* dp_loop_del_fd() - forget @fd. Unknown ones are ignored. */
void dp_loop_del_fd(struct dp_loop *loop, int fd);

/* dp_loop_set_hook() - the one hook, run after the events of every iteration. */
void dp_loop_set_hook(struct dp_loop *loop, dp_loop_hook_fn fn, void *ctx);

/* dp_loop_now_ms() - monotonic milliseconds, read once an iteration. */
uint64_t dp_loop_now_ms(const struct dp_loop *loop);

/* dp_timer_arm() - fire @timer at @due_ms; re-arming moves it. fn and ctx are set by the owner. */
void dp_timer_arm(struct dp_loop *loop, struct dp_timer *timer, uint64_t due_ms);

/* dp_timer_disarm() - @timer will not fire. */
void dp_timer_disarm(struct dp_loop *loop, struct dp_timer *timer);

/**
 * dp_loop_run() - deliver events until dp_loop_stop()
 *
 * Return: 0 after dp_loop_stop(); negative errno if epoll_wait(2) failed.
 */
DP_NODISCARD int dp_loop_run(struct dp_loop *loop, struct dp_error *err);

/* dp_loop_stop() - let dp_loop_run() return after the present iteration and its hook. */
void dp_loop_stop(struct dp_loop *loop);

#endif
