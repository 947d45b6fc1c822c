/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Timers need no descriptor of their own: the nearest one is epoll_wait's timeout. The list is
 * sorted and short (deadlines of parked requests share one timer), so insertion may walk it.
 * Descriptors index an array; a source deleted by another callback of the same iteration is
 * noticed, since its slot is empty when its event comes up.
 */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "common/loop.h"

enum { MAX_EVENTS = 64, MAX_FD = 65536 };

struct source {
	dp_loop_fd_fn fn; /* NULL = empty slot */
	void *ctx;
};

struct dp_loop {
	int epoll_fd;
	struct source *sources; /* indexed by descriptor */
	int n_sources;          /* slots allocated */
	struct dp_timer *timers; /* armed, nearest first */
	dp_loop_hook_fn hook;
	void *hook_ctx;
	uint64_t now_ms;
	bool stop;
};

static uint64_t clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int dp_loop_new(struct dp_loop **ret_loop, struct dp_error *err)
{
	struct dp_loop *loop = calloc(1, sizeof *loop);

	if (!loop)
		return dp_error_oom(err);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int r = -errno;

		free(loop);
		return dp_error_set(err, DP_ERR_INTERNAL, r, "epoll: %s", strerror(-r));
	}
	loop->now_ms = clock_ms();
	*ret_loop = loop;
	return 0;
}

void dp_loop_free(struct dp_loop *loop)
{
	if (!loop)
		return;
	(void)close(loop->epoll_fd);
	free(loop->sources);
	free(loop);
}

static int grow(struct dp_loop *loop, int fd)
{
	int n = loop->n_sources ? loop->n_sources : 16;
	struct source *p;

	while (n <= fd)
		n *= 2;
	p = reallocarray(loop->sources, (size_t)n, sizeof *p);
	if (!p)
		return -ENOMEM;
	memset(p + loop->n_sources, 0, (size_t)(n - loop->n_sources) * sizeof *p);
	loop->sources = p;
	loop->n_sources = n;
	return 0;
}

int dp_loop_add_fd(struct dp_loop *loop, int fd, uint32_t events, dp_loop_fd_fn fn, void *ctx,
		   struct dp_error *err)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	if (fd < 0 || fd >= MAX_FD)
		return dp_error_set(err, DP_ERR_INTERNAL, -EINVAL, "descriptor %d", fd);
	if (fd >= loop->n_sources && grow(loop, fd) < 0)
		return dp_error_oom(err);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "watch descriptor %d: %s", fd,
				    strerror(errno));
	loop->sources[fd] = (struct source){ .fn = fn, .ctx = ctx };
	return 0;
}

void dp_loop_del_fd(struct dp_loop *loop, int fd)
{
	if (fd < 0 || fd >= loop->n_sources || !loop->sources[fd].fn)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	loop->sources[fd] = (struct source){ .fn = NULL };
}

void dp_loop_set_hook(struct dp_loop *loop, dp_loop_hook_fn fn, void *ctx)
{
	loop->hook = fn;
	loop->hook_ctx = ctx;
}

uint64_t dp_loop_now_ms(const struct dp_loop *loop)
{
	return loop->now_ms;
}

void dp_timer_disarm(struct dp_loop *loop, struct dp_timer *timer)
{
	struct dp_timer **p = &loop->timers;

	if (!timer->armed)
		return;
	while (*p != timer)
		p = &(*p)->next;
	*p = timer->next;
	timer->armed = false;
}

void dp_timer_arm(struct dp_loop *loop, struct dp_timer *timer, uint64_t due_ms)
{
	struct dp_timer **p = &loop->timers;

	dp_timer_disarm(loop, timer);
	timer->due_ms = due_ms;
	while (*p && (*p)->due_ms <= due_ms)
		p = &(*p)->next;
	timer->next = *p;
	timer->armed = true;
	*p = timer;
}

static int wait_ms(const struct dp_loop *loop, bool again)
{
	uint64_t left;

	if (again)
		return 0;
	if (!loop->timers)
		return -1;
	if (loop->timers->due_ms <= loop->now_ms)
		return 0;
	left = loop->timers->due_ms - loop->now_ms;
	return left > INT_MAX ? INT_MAX : (int)left;
}

static void fire_timers(struct dp_loop *loop)
{
	while (loop->timers && loop->timers->due_ms <= loop->now_ms) {
		struct dp_timer *t = loop->timers;

		dp_timer_disarm(loop, t);
		t->fn(t->ctx);
	}
}

int dp_loop_run(struct dp_loop *loop, struct dp_error *err)
{
	struct epoll_event ev[MAX_EVENTS];
	bool again = true; /* the hook runs before the first wait */

	while (!loop->stop) {
		int n = epoll_wait(loop->epoll_fd, ev, MAX_EVENTS, wait_ms(loop, again));

		if (n < 0 && errno != EINTR)
			return dp_error_set(err, DP_ERR_INTERNAL, -errno, "epoll_wait: %s",
					    strerror(errno));
		loop->now_ms = clock_ms();
		for (int i = 0; i < n; i++) {
			struct source s = loop->sources[ev[i].data.fd];

			if (s.fn)
				s.fn(s.ctx, ev[i].events);
		}
		fire_timers(loop);
		again = loop->hook && loop->hook(loop->hook_ctx);
	}
	return 0;
}

void dp_loop_stop(struct dp_loop *loop)
{
	loop->stop = true;
}
