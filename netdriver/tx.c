/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * The stack has a fixed size because registering an undo must not be able to fail: a step that
 * succeeded and could not be registered would be a step that stays behind.
 */

#include <assert.h>
#include <stddef.h>

#include "common/log.h"
#include "netdriver/tx.h"

void ndrv_tx_on_abort(struct ndrv_tx *tx, const char *what, ndrv_tx_undo_fn *undo,
		      const struct ndrv_tx_arg *arg)
{
	struct ndrv_tx_step *step;

	assert(tx->n_steps < NDRV_TX_MAX);
	step = &tx->steps[tx->n_steps++];
	step->what = what;
	step->undo = undo;
	step->arg = arg ? *arg : (struct ndrv_tx_arg){ 0 };
}

void ndrv_tx_commit(struct ndrv_tx *tx)
{
	tx->n_steps = 0;
}

void ndrv_tx_rollback(struct ndrv_tx *tx)
{
	while (tx->n_steps > 0) {
		const struct ndrv_tx_step *step = &tx->steps[--tx->n_steps];
		struct dp_error err = DP_ERROR_INIT;

		if (step->undo(tx->ctx, &step->arg, &err) < 0)
			dp_log_warning("undo of %s left something behind: %s", step->what, err.msg);
	}
}
