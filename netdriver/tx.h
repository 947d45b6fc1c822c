/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_TX_H
#define DP_NETDRIVER_TX_H

/*
 * Undo stack for changes to the host. Each step that succeeded registers how to undo it; leaving
 * the scope without ndrv_tx_commit() undoes them, last first:
 *
 *	DP_CLEANUP(ndrv_tx_rollback) struct ndrv_tx tx = { .ctx = rtnl };
 *
 *	r = ndrv_rtnl_create_bridge(rtnl, &spec, &ifindex, err);
 *	if (r < 0)
 *		return r;
 *	ndrv_tx_on_abort(&tx, "bridge", undo_link, &(struct ndrv_tx_arg){ .ifindex = ifindex });
 *	...
 *	ndrv_tx_commit(&tx);
 *	return 0;
 *
 * An undo that fails is logged as a warning, the others still run, and the error that caused the
 * rollback stays what the caller sees. Pure apart from the log.
 */

#include "common/compiler.h"
#include "common/error.h"

#define NDRV_TX_MAX       64  /* steps; a plan is bounded, so more is a bug (asserted) */
#define NDRV_TX_TEXT_SIZE 256 /* bytes, NUL included: holds an interface alias */

/* What an undo function is told; the transaction keeps a copy. */
struct ndrv_tx_arg {
	int ifindex;                  /* the link the step changed; 0 = none */
	int value;                    /* what to put back, for example the previous master */
	char text[NDRV_TX_TEXT_SIZE]; /* for example the expected alias, or a firewall id */
};

/**
 * ndrv_tx_undo_fn - undoes one step
 * @ctx: the transaction's ctx, borrowed
 * @arg: as registered, borrowed
 * @err: out: reason on failure
 *
 * Must be idempotent: what is gone already counts as undone.
 *
 * Return: 0; a negative errno with @err filled.
 */
typedef int ndrv_tx_undo_fn(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err);

struct ndrv_tx_step {
	const char *what;       /* names the step in the log; a string that outlives the tx */
	ndrv_tx_undo_fn *undo;  /* how to undo it */
	struct ndrv_tx_arg arg; /* what with */
};

struct ndrv_tx {
	void *ctx;                              /* handed to every undo function; borrowed */
	unsigned n_steps;                       /* registered and not yet undone */
	struct ndrv_tx_step steps[NDRV_TX_MAX]; /* first @n_steps valid */
};

/* ndrv_tx_init() - an empty transaction; keeps memory untouched that it does not use. */
static inline void ndrv_tx_init(struct ndrv_tx *tx, void *ctx)
{
	tx->ctx = ctx;
	tx->n_steps = 0;
}

/**
 * ndrv_tx_on_abort() - register the undo of a step that has succeeded
 * @tx:   open transaction with room for it (asserted)
 * @what: what the step made, for the log; borrowed until the end of @tx
 * @undo: how to undo it
 * @arg:  copied; NULL = all zero
 */
void ndrv_tx_on_abort(struct ndrv_tx *tx, const char *what, ndrv_tx_undo_fn *undo,
		      const struct ndrv_tx_arg *arg);

/* ndrv_tx_commit() - keep everything: forget all undo steps. */
void ndrv_tx_commit(struct ndrv_tx *tx);

/* ndrv_tx_rollback() - undo what was not committed, last first; fits DP_CLEANUP(); idempotent. */
void ndrv_tx_rollback(struct ndrv_tx *tx);

#endif
