/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Items with a script: what each step returns, a letter a step. All that happens is logged, so a
 * test reads as the order of events it expects: "a1 b1 flush a+ b+".
 */

#include "common/turn.h"
#include "tests/support/unit.h"

struct world {
	struct dp_loop *loop;
	struct dp_turn *turn;
	char log[512];
	unsigned n_flushes;
	unsigned fail_at;   /* this flush fails; 0 = none */
};

static struct world *the_world; /* of the running test */

static void note(const char *text)
{
	size_t n = strlen(the_world->log);

	(void)snprintf(the_world->log + n, sizeof the_world->log - n, "%s%s", n ? " " : "", text);
}

static int flush(void *ctx, struct dp_error *err)
{
	struct world *w = ctx;

	w->n_flushes++;
	if (w->n_flushes == w->fail_at) {
		note("flush!");
		return dp_error_set(err, DP_ERR_INTERNAL, -ENOSPC, "disk full");
	}
	note("flush");
	return 0;
}

static void reload(void *ctx)
{
	(void)ctx;
	note("reload");
}

struct item {
	struct dp_turn_item item; /* first */
	const char *name;
	const char *
		script; /* D done, A again, P park, X fail; S, W: submit, wake @other and be done */
	unsigned step;
	struct item *other;
	int finished;       /* times */
	int code;           /* of the error it was finished with */
};

static int step(struct dp_turn_item *item, struct dp_error *err)
{
	struct item *i = (struct item *)item;
	char text[32];

	(void)snprintf(text, sizeof text, "%s%u", i->name, i->step + 1);
	note(text);
	switch (i->script[i->step++]) {
	case 'A':
		return DP_STEP_AGAIN;
	case 'P':
		return DP_STEP_PARK;
	case 'X':
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST, "%s failed", i->name);
	case 'S':
		dp_turn_submit(the_world->turn, &i->other->item);
		return DP_STEP_DONE;
	case 'W':
		dp_turn_wake(the_world->turn, &i->other->item);
		return DP_STEP_DONE;
	default:
		return DP_STEP_DONE;
	}
}

static void finish(struct dp_turn_item *item, const struct dp_error *err)
{
	struct item *i = (struct item *)item;
	char text[32];

	i->finished++;
	i->code = err ? err->code : 0;
	(void)snprintf(text, sizeof text, "%s%c", i->name, err ? '-' : '+');
	note(text);
}

static struct item item_of(const char *name, const char *script)
{
	return (struct item){ .item = { .step = step, .finish = finish, .deadline_ms = UINT64_MAX },
			      .name = name,
			      .script = script };
}

static void submit(struct item *i)
{
	dp_turn_submit(the_world->turn, &i->item);
}

static bool run(void)
{
	return dp_turn_run(the_world->turn);
}

static void assert_log(const char *want)
{
	assert_string_equal(the_world->log, want);
	the_world->log[0] = '\0';
}

static int setup(void **state)
{
	static const struct dp_turn_ops ops = { .flush = flush, .reload = reload };
	struct dp_error err = DP_ERROR_INIT;

	(void)state;
	the_world = test_calloc(1, sizeof *the_world);
	assert_ok(dp_loop_new(&the_world->loop, &err), &err);
	assert_ok(dp_turn_new(the_world->loop, &ops, the_world, &the_world->turn, &err), &err);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dp_turn_free(the_world->turn);
	dp_loop_free(the_world->loop);
	test_free(the_world);
	return 0;
}

static void an_empty_turn_does_nothing(void **state)
{
	(void)state;
	assert_false(run());
	assert_log("");
}

static void items_run_in_order_and_share_one_flush(void **state)
{
	struct item a = item_of("a", "D");
	struct item b = item_of("b", "D");
	struct item c = item_of("c", "D");

	(void)state;
	submit(&a);
	submit(&b);
	submit(&c);
	assert_false(run());
	assert_log("a1 b1 c1 flush a+ b+ c+");
}

static void nothing_is_answered_before_the_flush(void **state)
{
	struct item a = item_of("a", "D");

	(void)state;
	submit(&a);
	assert_int_equal(a.finished, 0);
	(void)run();
	assert_log("a1 flush a+");
	assert_int_equal(a.finished, 1);
}

static void a_step_that_wants_another_gets_it_after_a_flush(void **state)
{
	struct item a = item_of("a", "AAD");

	(void)state;
	submit(&a);
	(void)run();
	assert_log("a1 flush a2 flush a3 flush a+");
}

static void an_item_that_is_done_does_not_wait_for_one_that_goes_on(void **state)
{
	struct item a = item_of("a", "AD");
	struct item b = item_of("b", "D");

	(void)state;
	submit(&a);
	submit(&b);
	(void)run();
	assert_log("a1 b1 flush b+ a2 flush a+");
}

static void items_that_go_on_share_the_later_flushes_too(void **state)
{
	struct item a = item_of("a", "AD");
	struct item b = item_of("b", "AD");

	(void)state;
	submit(&a);
	submit(&b);
	(void)run();
	assert_log("a1 b1 flush a2 b2 flush a+ b+");
}

static void a_failing_step_fails_alone(void **state)
{
	struct item a = item_of("a", "D");
	struct item b = item_of("b", "X");
	struct item c = item_of("c", "D");

	(void)state;
	submit(&a);
	submit(&b);
	submit(&c);
	(void)run();
	assert_log("a1 b1 b- c1 flush a+ c+");
	assert_int_equal(b.code, -EEXIST);
	assert_int_equal(a.code, 0);
}

static void a_failed_flush_fails_all_of_the_round_and_reloads(void **state)
{
	struct item a = item_of("a", "D");
	struct item b = item_of("b", "AD");
	struct item c = item_of("c", "PD");

	(void)state;
	the_world->fail_at = 1;
	submit(&a);
	submit(&b);
	submit(&c);
	(void)run();
	assert_log("a1 b1 c1 flush! a- b- c- reload");
	assert_int_equal(a.code, -ENOSPC);
	assert_int_equal(b.code, -ENOSPC);
	assert_int_equal(c.code, -ENOSPC);
}

static void a_failed_second_flush_leaves_those_of_the_first_answered(void **state)
{
	struct item a = item_of("a", "D");
	struct item b = item_of("b", "AD");

	(void)state;
	the_world->fail_at = 2;
	submit(&a);
	submit(&b);
	(void)run();
	assert_log("a1 b1 flush a+ b2 flush! b- reload");
}

static void after_a_failed_flush_the_next_turn_works(void **state)
{
	struct item a = item_of("a", "D");
	struct item b = item_of("b", "D");

	(void)state;
	the_world->fail_at = 1;
	submit(&a);
	(void)run();
	submit(&b);
	(void)run();
	assert_log("a1 flush! a- reload b1 flush b+");
}

static void what_arrives_during_a_turn_is_the_next_turn(void **state)
{
	struct item b = item_of("b", "D");
	struct item a = item_of("a", "S");

	(void)state;
	a.other = &b;
	submit(&a);
	assert_true(run());
	assert_log("a1 flush a+");
	assert_false(run());
	assert_log("b1 flush b+");
}

static void a_parked_item_is_not_answered_until_woken(void **state)
{
	struct item a = item_of("a", "PD");

	(void)state;
	submit(&a);
	(void)run();
	assert_log("a1 flush");
	assert_false(run());
	dp_turn_wake(the_world->turn, &a.item);
	assert_false(run());
	assert_log("a2 flush a+");
}

static void any_of_several_parked_items_can_be_woken(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "PD");
	struct item c = item_of("c", "PD");

	(void)state;
	submit(&a);
	submit(&b);
	submit(&c);
	(void)run();
	dp_turn_wake(the_world->turn, &b.item);
	dp_turn_wake(the_world->turn, &a.item);
	(void)run();
	assert_log("a1 b1 c1 flush b2 a2 flush b+ a+");
	assert_int_equal(c.finished, 0);
	dp_turn_wake(the_world->turn, &c.item);
	(void)run();
	assert_log("c2 flush c+");
}

static void a_step_can_wake_one_parked_in_an_earlier_turn(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "W");

	(void)state;
	b.other = &a;
	submit(&a);
	(void)run();
	submit(&b);
	(void)run();
	assert_log("a1 flush b1 flush b+");
	(void)run();
	assert_log("a2 flush a+");
}

static void a_step_can_wake_one_parked_in_the_same_turn(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "W");

	(void)state;
	b.other = &a;
	submit(&a);
	submit(&b);
	(void)run();
	(void)run();
	assert_log("a1 b1 flush b+ a2 flush a+");
}

static void one_woken_in_the_turn_it_was_parked_in_fails_with_its_flush(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "W");

	(void)state;
	the_world->fail_at = 1;
	b.other = &a;
	submit(&a);
	submit(&b);
	(void)run();
	assert_false(run());
	assert_int_equal(a.code, -ENOSPC);
	assert_int_equal(a.finished, 1);
	assert_int_equal(b.finished, 1);
}

/* Lets timers that are due fire, and returns. */
static bool stop_at_once(void *ctx)
{
	(void)ctx;
	dp_loop_stop(the_world->loop);
	return false;
}

static void let_time_pass(void)
{
	struct dp_error err = DP_ERROR_INIT;

	dp_loop_set_hook(the_world->loop, stop_at_once, NULL);
	assert_ok(dp_loop_run(the_world->loop, &err), &err);
}

static void a_parked_item_fails_when_its_deadline_has_passed(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "PD");

	(void)state;
	b.item.deadline_ms = dp_loop_now_ms(the_world->loop) + 60000;
	a.item.deadline_ms = 1; /* long ago */
	submit(&a);
	submit(&b);
	(void)run();
	let_time_pass();
	assert_log("a1 b1 flush a-");
	assert_int_equal(a.code, -ETIMEDOUT);
	dp_turn_wake(the_world->turn, &b.item);
	(void)run();
	assert_log("b2 flush b+");
}

static void a_deadline_does_not_hurry_an_item_that_is_not_parked(void **state)
{
	struct item a = item_of("a", "AD");

	(void)state;
	a.item.deadline_ms = 1;
	submit(&a);
	let_time_pass();
	(void)run();
	assert_log("a1 flush a2 flush a+");
}

static void an_item_woken_in_time_no_longer_expires(void **state)
{
	struct item a = item_of("a", "PD");

	(void)state;
	a.item.deadline_ms = 1;
	submit(&a);
	(void)run();
	dp_turn_wake(the_world->turn, &a.item);
	let_time_pass();
	(void)run();
	assert_log("a1 flush a2 flush a+");
}

static void freeing_answers_what_is_left(void **state)
{
	struct item a = item_of("a", "PD");
	struct item b = item_of("b", "D");

	(void)state;
	submit(&a);
	(void)run();
	submit(&b);
	dp_turn_free(the_world->turn);
	the_world->turn = NULL;
	assert_int_equal(a.finished, 1);
	assert_int_equal(a.code, -ESHUTDOWN);
	assert_int_equal(b.finished, 1);
	assert_int_equal(b.code, -ESHUTDOWN);
	assert_int_equal(b.step, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_empty_turn_does_nothing),
		TEST(items_run_in_order_and_share_one_flush),
		TEST(nothing_is_answered_before_the_flush),
		TEST(a_step_that_wants_another_gets_it_after_a_flush),
		TEST(an_item_that_is_done_does_not_wait_for_one_that_goes_on),
		TEST(items_that_go_on_share_the_later_flushes_too),
		TEST(a_failing_step_fails_alone),
		TEST(a_failed_flush_fails_all_of_the_round_and_reloads),
		TEST(a_failed_second_flush_leaves_those_of_the_first_answered),
		TEST(after_a_failed_flush_the_next_turn_works),
		TEST(what_arrives_during_a_turn_is_the_next_turn),
		TEST(a_parked_item_is_not_answered_until_woken),
		TEST(any_of_several_parked_items_can_be_woken),
		TEST(a_step_can_wake_one_parked_in_an_earlier_turn),
		TEST(a_step_can_wake_one_parked_in_the_same_turn),
		TEST(one_woken_in_the_turn_it_was_parked_in_fails_with_its_flush),
		TEST(a_parked_item_fails_when_its_deadline_has_passed),
		TEST(a_deadline_does_not_hurry_an_item_that_is_not_parked),
		TEST(an_item_woken_in_time_no_longer_expires),
		TEST(freeing_answers_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
