/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "common/turn.h"

struct list {
	struct dp_turn_item *head;
	struct dp_turn_item **tail; /* where the next one is linked */
};

struct dp_turn {
	struct dp_loop *loop;
	const struct dp_turn_ops *ops;
	void *ctx;
	struct list first; /* goes before the queue, in a turn of its own */
	struct list queue;
	struct dp_turn_item *parked; /* unsorted: few, and every wake or expiry unlinks by walking */
	struct list parking;         /* parked in the present round, its flush still to come */
	struct list woken;           /* of those, the ones that another step has woken already */
	struct dp_timer timer;       /* nearest deadline of the parked */
	bool failed;                 /* by a step of the present round */
	struct dp_error failure;     /* why */
	struct dp_histogram sizes;   /* steps that shared a flush */
	uint64_t n_failed;           /* flushes that failed */
	uint64_t n_expired;          /* items that waited too long */
};

static void list_init(struct list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_add(struct list *l, struct dp_turn_item *item)
{
	item->next = NULL;
	*l->tail = item;
	l->tail = &item->next;
}

static struct dp_turn_item *list_pop(struct list *l)
{
	struct dp_turn_item *item = l->head;

	if (!item)
		return NULL;
	l->head = item->next;
	if (!l->head)
		l->tail = &l->head;
	item->next = NULL;
	return item;
}

static bool list_remove(struct list *l, struct dp_turn_item *item)
{
	struct dp_turn_item **p = &l->head;

	while (*p && *p != item)
		p = &(*p)->next;
	if (!*p)
		return false;
	*p = item->next;
	if (!*p)
		l->tail = p;
	item->next = NULL;
	return true;
}

static void unpark(struct dp_turn *turn, struct dp_turn_item *item)
{
	struct dp_turn_item **p = &turn->parked;

	while (*p != item)
		p = &(*p)->next;
	*p = item->next;
	item->next = NULL;
}

static void rearm(struct dp_turn *turn)
{
	uint64_t due = UINT64_MAX;

	for (const struct dp_turn_item *i = turn->parked; i; i = i->next) {
		if (i->deadline_ms < due)
			due = i->deadline_ms;
	}
	if (turn->parked)
		dp_timer_arm(turn->loop, &turn->timer, due);
	else
		dp_timer_disarm(turn->loop, &turn->timer);
}

static void expire(void *ctx)
{
	struct dp_turn *turn = ctx;
	uint64_t now = dp_loop_now_ms(turn->loop);
	struct dp_error err = DP_ERROR_INIT;
	struct dp_turn_item *next;

	(void)dp_error_set(&err, DP_ERR_UNAVAILABLE, -ETIMEDOUT, "not answered within the deadline");
	for (struct dp_turn_item *i = turn->parked; i; i = next) {
		next = i->next;
		if (i->deadline_ms > now)
			continue;
		unpark(turn, i);
		turn->n_expired++;
		i->finish(i, &err);
	}
	rearm(turn);
}

int dp_turn_new(struct dp_loop *loop, const struct dp_turn_ops *ops, void *ctx,
		struct dp_turn **ret_turn, struct dp_error *err)
{
	struct dp_turn *turn = calloc(1, sizeof *turn);

	if (!turn)
		return dp_error_oom(err);
	turn->loop = loop;
	turn->ops = ops;
	turn->ctx = ctx;
	turn->timer = (struct dp_timer){ .fn = expire, .ctx = turn };
	list_init(&turn->first);
	list_init(&turn->queue);
	list_init(&turn->parking);
	list_init(&turn->woken);
	*ret_turn = turn;
	return 0;
}

void dp_turn_write_metrics(const struct dp_turn *turn, const struct dp_metrics *m)
{
	unsigned n_parked = 0;

	for (const struct dp_turn_item *i = turn->parked; i; i = i->next)
		n_parked++;
	dp_metrics_family(m, "turn_size", "histogram", "requests that shared one write to disk");
	dp_metrics_histogram(m, "turn_size", &turn->sizes, 1, NULL, NULL);
	dp_metrics_family(m, "turns_failed_total", "counter", "turns that could not be written to disk");
	dp_metrics_value(m, "turns_failed_total", (double)turn->n_failed, NULL);
	dp_metrics_family(m, "requests_expired_total", "counter", "requests that met their deadline");
	dp_metrics_value(m, "requests_expired_total", (double)turn->n_expired, NULL);
	dp_metrics_family(m, "requests_waiting", "gauge", "requests that wait for something");
	dp_metrics_value(m, "requests_waiting", n_parked, NULL);
}

void dp_turn_free(struct dp_turn *turn)
{
	struct dp_error err = DP_ERROR_INIT;
	struct dp_turn_item *item;

	if (!turn)
		return;
	(void)dp_error_set(&err, DP_ERR_UNAVAILABLE, -ESHUTDOWN, "the daemon is stopping");
	while ((item = list_pop(&turn->first)) || (item = list_pop(&turn->queue)))
		item->finish(item, &err);
	while ((item = turn->parked)) {
		unpark(turn, item);
		item->finish(item, &err);
	}
	dp_timer_disarm(turn->loop, &turn->timer);
	free(turn);
}

void dp_turn_submit(struct dp_turn *turn, struct dp_turn_item *item)
{
	list_add(&turn->queue, item);
}

void dp_turn_submit_first(struct dp_turn *turn, struct dp_turn_item *item)
{
	list_add(&turn->first, item);
}

void dp_turn_wake(struct dp_turn *turn, struct dp_turn_item *item)
{
	if (list_remove(&turn->parking, item)) {
		list_add(&turn->woken, item); /* its round must be flushed before it goes on */
		return;
	}
	unpark(turn, item);
	rearm(turn);
	list_add(&turn->queue, item);
}

/* Runs a step of each item of @round; failed ones are finished at once, since they changed
 * nothing. Sorts the others by what they want next. Counts them. */
static void run_steps(struct dp_turn *turn, struct list *round, struct list *done,
		      struct list *again)
{
	struct dp_turn_item *item;
	uint64_t n = 0;

	while ((item = list_pop(round))) {
		struct dp_error err = DP_ERROR_INIT;
		int r = item->step(item, &err);

		n++;
		if (r == DP_STEP_DONE)
			list_add(done, item);
		else if (r == DP_STEP_AGAIN)
			list_add(again, item);
		else if (r == DP_STEP_PARK)
			list_add(&turn->parking, item);
		else
			item->finish(item, &err);
	}
	dp_histogram_add(&turn->sizes, n);
}

static void finish_all(struct list *l, const struct dp_error *err)
{
	struct dp_turn_item *item;

	while ((item = list_pop(l)))
		item->finish(item, err);
}

void dp_turn_fail(struct dp_turn *turn, const struct dp_error *err)
{
	turn->failed = true;
	turn->failure = *err;
}

/* Return: 0; the round is not on disk, and must not stay in memory. */
static int flush(struct dp_turn *turn, struct dp_error *err)
{
	if (!turn->failed)
		return turn->ops->flush(turn->ctx, err);
	turn->failed = false;
	*err = turn->failure;
	return err->code;
}

bool dp_turn_run(struct dp_turn *turn)
{
	struct list *from = turn->first.head ? &turn->first : &turn->queue;
	struct list round = *from;
	struct dp_turn_item *item;

	if (!round.head)
		return false;
	list_init(from);
	while (round.head) {
		struct dp_error err = DP_ERROR_INIT;
		struct list done, again;

		list_init(&done);
		list_init(&again);
		run_steps(turn, &round, &done, &again);
		if (flush(turn, &err) < 0) {
			turn->n_failed++;
			finish_all(&done, &err);
			finish_all(&again, &err);
			finish_all(&turn->parking, &err);
			finish_all(&turn->woken, &err);
			turn->ops->reload(turn->ctx);
			return turn->queue.head;
		}
		finish_all(&done, NULL);
		while ((item = list_pop(&turn->parking))) {
			item->next = turn->parked;
			turn->parked = item;
		}
		while ((item = list_pop(&turn->woken)))
			list_add(&turn->queue, item);
		round = again;
		if (!again.head)
			list_init(&round);
	}
	rearm(turn);
	return turn->queue.head;
}
