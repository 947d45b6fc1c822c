/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <sys/epoll.h>
#include <unistd.h>

#include "common/loop.h"
#include "tests/support/unit.h"

/* A loop, and a log of what happened in it, a letter an event. */
struct world {
	struct dp_loop *loop;
	char log[64];
	int pipes[2][2];
	bool hook_again;
	unsigned stop_after; /* hook calls until the loop is stopped */
};

static void note(struct world *w, char c)
{
	size_t n = strlen(w->log);

	assert_true(n + 1 < sizeof w->log);
	w->log[n] = c;
}

static bool on_hook(void *ctx)
{
	struct world *w = ctx;

	note(w, 'h');
	if (w->stop_after && --w->stop_after == 0)
		dp_loop_stop(w->loop);
	return w->hook_again;
}

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof *w);
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_loop_new(&w->loop, &err), &err);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pipe(w->pipes[i]), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 4; i++)
		(void)close(w->pipes[i / 2][i % 2]);
	dp_loop_free(w->loop);
	test_free(w);
	return 0;
}

static void run(struct world *w)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_loop_run(w->loop, &err), &err);
}

/* ---- timers ---- */

struct bell {
	struct dp_timer timer;
	struct world *w;
	char letter;
	bool last; /* stops the loop */
};

static void ring(void *ctx)
{
	struct bell *b = ctx;

	note(b->w, b->letter);
	if (b->last)
		dp_loop_stop(b->w->loop);
}

static struct bell bell_of(struct world *w, char letter, bool last)
{
	return (struct bell){ .timer = { .fn = ring }, .w = w, .letter = letter, .last = last };
}

/* All timers of these tests are due at once or earlier: nothing waits. */
static void arm(struct bell *b, uint64_t due_ms)
{
	b->timer.ctx = b;
	dp_timer_arm(b->w->loop, &b->timer, due_ms);
}

static void timers_fire_in_the_order_of_their_times(void **state)
{
	struct world *w = *state;
	struct bell a = bell_of(w, 'a', false);
	struct bell b = bell_of(w, 'b', false);
	struct bell c = bell_of(w, 'c', true);

	arm(&b, 20);
	arm(&c, 30);
	arm(&a, 10);
	run(w);
	assert_string_equal(w->log, "abc");
}

static void timers_of_one_time_fire_in_the_order_they_were_armed(void **state)
{
	struct world *w = *state;
	struct bell a = bell_of(w, 'a', false);
	struct bell b = bell_of(w, 'b', false);
	struct bell c = bell_of(w, 'c', true);

	arm(&a, 10);
	arm(&b, 10);
	arm(&c, 10);
	run(w);
	assert_string_equal(w->log, "abc");
}

static void a_disarmed_timer_does_not_fire(void **state)
{
	struct world *w = *state;
	struct bell a = bell_of(w, 'a', false);
	struct bell b = bell_of(w, 'b', true);

	arm(&a, 10);
	arm(&b, 20);
	dp_timer_disarm(w->loop, &a.timer);
	dp_timer_disarm(w->loop, &a.timer); /* twice is fine */
	run(w);
	assert_string_equal(w->log, "b");
}

static void arming_again_moves_a_timer(void **state)
{
	struct world *w = *state;
	struct bell a = bell_of(w, 'a', true);
	struct bell b = bell_of(w, 'b', false);

	arm(&a, 10);
	arm(&b, 20);
	arm(&a, 30);
	run(w);
	assert_string_equal(w->log, "ba");
}

static void a_timer_of_the_future_waits_for_its_time(void **state)
{
	struct world *w = *state;
	struct bell a = bell_of(w, 'a', true);
	uint64_t due = dp_loop_now_ms(w->loop) + 20;

	arm(&a, due);
	run(w);
	assert_true(dp_loop_now_ms(w->loop) >= due);
	assert_string_equal(w->log, "a");
}

struct canceller {
	struct dp_timer timer;
	struct world *w;
	struct bell *victim;
};

static void cancel(void *ctx)
{
	struct canceller *c = ctx;

	note(c->w, 'x');
	dp_timer_disarm(c->w->loop, &c->victim->timer);
}

static void a_timer_can_disarm_the_next_one(void **state)
{
	struct world *w = *state;
	struct bell victim = bell_of(w, 'a', false);
	struct bell last = bell_of(w, 'z', true);
	struct canceller c = { .timer = { .fn = cancel, .ctx = &c }, .w = w, .victim = &victim };

	dp_timer_arm(w->loop, &c.timer, 10);
	arm(&victim, 11);
	arm(&last, 12);
	run(w);
	assert_string_equal(w->log, "xz");
}

struct repeater {
	struct dp_timer timer;
	struct world *w;
	unsigned n;
};

static void repeat(void *ctx)
{
	struct repeater *r = ctx;

	note(r->w, 'r');
	if (--r->n)
		dp_timer_arm(r->w->loop, &r->timer, 10);
	else
		dp_loop_stop(r->w->loop);
}

static void a_timer_can_arm_itself_again(void **state)
{
	struct world *w = *state;
	struct repeater r = { .timer = { .fn = repeat, .ctx = &r }, .w = w, .n = 3 };

	dp_timer_arm(w->loop, &r.timer, 10);
	run(w);
	assert_string_equal(w->log, "rrr");
}

/* ---- descriptors ---- */

static void on_first(void *ctx, uint32_t events)
{
	struct world *w = ctx;
	char c;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(w->pipes[0][0], &c, 1), 1);
	note(w, c);
	dp_loop_stop(w->loop);
}

static void add(struct world *w, int fd, dp_loop_fd_fn fn)
{
	struct dp_error err = DP_ERROR_INIT;

	assert_ok(dp_loop_add_fd(w->loop, fd, EPOLLIN, fn, w, &err), &err);
}

static void a_ready_descriptor_gets_its_callback(void **state)
{
	struct world *w = *state;

	add(w, w->pipes[0][0], on_first);
	assert_int_equal(write(w->pipes[0][1], "p", 1), 1);
	run(w);
	assert_string_equal(w->log, "p");
}

static void a_descriptor_is_watched_once(void **state)
{
	struct world *w = *state;
	struct dp_error err = DP_ERROR_INIT;

	add(w, w->pipes[0][0], on_first);
	assert_int_equal(dp_loop_add_fd(w->loop, w->pipes[0][0], EPOLLIN, on_first, w, &err),
			 -EEXIST);
}

static void a_descriptor_out_of_range_is_refused(void **state)
{
	struct world *w = *state;
	struct dp_error err = DP_ERROR_INIT;

	assert_int_equal(dp_loop_add_fd(w->loop, -1, EPOLLIN, on_first, w, &err), -EINVAL);
	assert_int_equal(dp_loop_add_fd(w->loop, 65536, EPOLLIN, on_first, w, &err), -EINVAL);
}

/* Both pipes are ready in the same iteration; whichever callback runs first removes the other. */
static void on_either(struct world *w, int mine, int other)
{
	note(w, 'e');
	dp_loop_del_fd(w->loop, w->pipes[other][0]);
	dp_loop_del_fd(w->loop, w->pipes[mine][0]);
	dp_loop_stop(w->loop);
}

static void on_pipe0(void *ctx, uint32_t events)
{
	(void)events;
	on_either(ctx, 0, 1);
}

static void on_pipe1(void *ctx, uint32_t events)
{
	(void)events;
	on_either(ctx, 1, 0);
}

static void a_descriptor_removed_by_another_callback_gets_no_event(void **state)
{
	struct world *w = *state;

	add(w, w->pipes[0][0], on_pipe0);
	add(w, w->pipes[1][0], on_pipe1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(write(w->pipes[i][1], "p", 1), 1);
	run(w);
	assert_string_equal(w->log, "e");
}

static void forgetting_an_unknown_descriptor_does_nothing(void **state)
{
	struct world *w = *state;

	dp_loop_del_fd(w->loop, -1);
	dp_loop_del_fd(w->loop, 3000);
	dp_loop_del_fd(w->loop, w->pipes[0][0]);
}

/* ---- hook ---- */

static void the_hook_runs_before_the_first_wait(void **state)
{
	struct world *w = *state;

	w->stop_after = 1;
	dp_loop_set_hook(w->loop, on_hook, w);
	run(w); /* nothing else would ever wake it */
	assert_string_equal(w->log, "h");
}

static void a_hook_that_wants_more_is_called_again_without_waiting(void **state)
{
	struct world *w = *state;

	w->stop_after = 3;
	w->hook_again = true;
	dp_loop_set_hook(w->loop, on_hook, w);
	run(w);
	assert_string_equal(w->log, "hhh");
}

static void the_hook_runs_after_descriptors_and_timers(void **state)
{
	struct world *w = *state;
	struct bell t = bell_of(w, 't', false);

	add(w, w->pipes[0][0], on_first);
	assert_int_equal(write(w->pipes[0][1], "p", 1), 1);
	arm(&t, 10);
	dp_loop_set_hook(w->loop, on_hook, w);
	run(w);
	assert_string_equal(w->log, "pth");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_the_order_of_their_times),
		TEST(timers_of_one_time_fire_in_the_order_they_were_armed),
		TEST(a_disarmed_timer_does_not_fire),
		TEST(arming_again_moves_a_timer),
		TEST(a_timer_of_the_future_waits_for_its_time),
		TEST(a_timer_can_disarm_the_next_one),
		TEST(a_timer_can_arm_itself_again),
		TEST(a_ready_descriptor_gets_its_callback),
		TEST(a_descriptor_is_watched_once),
		TEST(a_descriptor_out_of_range_is_refused),
		TEST(a_descriptor_removed_by_another_callback_gets_no_event),
		TEST(forgetting_an_unknown_descriptor_does_nothing),
		TEST(the_hook_runs_before_the_first_wait),
		TEST(a_hook_that_wants_more_is_called_again_without_waiting),
		TEST(the_hook_runs_after_descriptors_and_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
