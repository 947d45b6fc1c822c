/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_TURN_H
#define DP_COMMON_TURN_H

/*
 * Work in turns: take every request that has arrived, run them all, flush once, answer them all.
 *
 *             dp_turn_submit()
 *   arrived ───────────────────► queued
 *                                  │ dp_turn_run() takes all
 *                                  ▼
 *           ┌──────────────────  step ──── PARK ────► parked ── dp_turn_wake() ──► queued
 *           │ AGAIN                │ DONE / error        │ deadline passed
 *           │                      ▼                     ▼
 *           └──── flush ok ◄──── flush                 finish(error)
 *                                  │
 *                     ok: finish(0)│ failed: finish(error) for every item of the round
 *                                  ▼
 *                               answered
 *
 * A step that returns DP_STEP_AGAIN gets its next step only after the flush: so it can record an
 * intention durably, then act, then record the outcome, each flush shared by all items of the turn.
 * What arrives while a turn runs belongs to the next one. Nothing here knows of JSON or disks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"
#include "common/metrics.h"

enum dp_step {
	DP_STEP_DONE = 0,  /* finished; answer after the flush */
	DP_STEP_AGAIN = 1, /* run the next step after the flush */
	DP_STEP_PARK = 2,  /* wait for dp_turn_wake(), until the deadline */
};

/* One request; embedded in the owner's own structure. */
struct dp_turn_item {
	/* Runs the next step. Return: enum dp_step, or a negative errno with @err filled. */
	int (*step)(struct dp_turn_item *item, struct dp_error *err);
	/* Called exactly once, when nothing more will happen. @err is NULL on success. The item is
	 * the owner's again and may be freed. */
	void (*finish)(struct dp_turn_item *item, const struct dp_error *err);
	uint64_t deadline_ms;      /* monotonic; while parked, passing it fails the item */
	struct dp_turn_item *next; /* the turn's */
};

struct dp_turn_ops {
	/* Makes everything that the steps of this round changed durable. Called only if the round
	 * ran a step. On failure nothing of the round may have happened on disk. */
	int (*flush)(void *ctx, struct dp_error *err);
	/* After a failed flush, or dp_turn_fail() in its place, and after its items were finished with the error: bring memory back
	 * to what is on disk. */
	void (*reload)(void *ctx);
};

struct dp_turn;

/**
 * dp_turn_new() - an empty turn on @loop
 * @loop: borrowed; must outlive the turn
 * @ops:  borrowed; the hooks, called with @ctx
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int dp_turn_new(struct dp_loop *loop, const struct dp_turn_ops *ops, void *ctx,
			     struct dp_turn **ret_turn, struct dp_error *err);

/* dp_turn_write_metrics() - turns, their sizes, failures and who waits. */
void dp_turn_write_metrics(const struct dp_turn *turn, const struct dp_metrics *m);

/* dp_turn_free() - finishes whatever is queued or parked with DP_ERR_UNAVAILABLE. */
void dp_turn_free(struct dp_turn *turn);
DP_DEFINE_CLEANUP(struct dp_turn, dp_turn_free);

/* dp_turn_submit() - @item joins the next turn; its callbacks and deadline are set. */
void dp_turn_submit(struct dp_turn *turn, struct dp_turn_item *item);

/* dp_turn_submit_first() - @item runs in a turn before the one of all that is queued, which finds
 * its work complete. */
void dp_turn_submit_first(struct dp_turn *turn, struct dp_turn_item *item);

/* dp_turn_wake() - a parked @item goes back to the queue, to run its next step. */
void dp_turn_wake(struct dp_turn *turn, struct dp_turn_item *item);

/* dp_turn_fail() - for a step: what has been done in the present round cannot stand. Its flush is taken
 * to have failed with @err, and is not tried. */
void dp_turn_fail(struct dp_turn *turn, const struct dp_error *err);

/**
 * dp_turn_run() - run one turn over all that is queued
 *
 * Return: true if more was queued meanwhile, so that another turn is due.
 */
bool dp_turn_run(struct dp_turn *turn);

#endif
