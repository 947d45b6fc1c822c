/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_DRIVER_INTERNAL_H
#define DP_IPAM_DRIVER_INTERNAL_H

/*
 * What the daemon's own files share: the one object behind all requests. driver.c answers the
 * engine; other files answer operators and the network driver.
 *
 * Rule for all of them: a handler begins with ipam_driver_ready(), changes the model and writes
 * rows through state.h; a write that fails goes through ipam_driver_spoil(), which fails the turn.
 */

#include "ipam/driver.h"
#include "ipam/state.h"

struct ipam_pool_list {
	struct ipam_default_pool *items;
	size_t n;
};

struct ipam_driver {
	const struct ipam_config *config;
	struct dp_loop *loop;
	struct ipam_state *state;
	struct ipam_space *space;     /* NULL after a failed reload, until one succeeds */
	struct ipam_pool_list defaults[IPAM_N_BOOKS]; /* IPv4 */
	struct ipam_pool_list defaults_v6;
	struct ipam_pool **touched;   /* cursors to write at the flush */
	size_t n_touched;
	size_t max_touched;
	bool spoilt;                  /* a write of this turn failed */
	struct dp_error spoilt_err;   /* why */
};

/* ipam_driver_ready() - every handler's first line: is there a model to work on? */
DP_NODISCARD int ipam_driver_ready(struct ipam_driver *d, struct dp_error *err);

/* ipam_driver_spoil() - if @r is a failed write, nothing of this turn may be answered as done.
 * Return: @r. */
int ipam_driver_spoil(struct ipam_driver *d, int r, const struct dp_error *err);

/* ipam_driver_touch() - the row of @pool has changed: write it at the flush. */
DP_NODISCARD int ipam_driver_touch(struct ipam_driver *d, struct ipam_pool *pool,
				   struct dp_error *err);

/* ipam_driver_untouch() - @pool is about to go. */
void ipam_driver_untouch(struct ipam_driver *d, const struct ipam_pool *pool);

#endif
