/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_DRIVER_INTERNAL_H
#define DP_IPAM_DRIVER_INTERNAL_H

/*
 * What the daemon's own files share: the one object behind all requests. driver.c and address.c answer
 * the engine; other files answer operators and the network driver.
 *
 * Rule for all of them: a handler begins with ipam_driver_ready(), changes the model and writes
 * rows through state.h; a write that fails goes through ipam_driver_spoil(), which fails the turn.
 */

#include "common/loop.h"
#include "ipam/driver.h"
#include "ipam/state.h"

/* What engines put beside --ipam-opt, and into the options of addresses. */
#define OPT_REQUEST_TYPE "RequestAddressType"
#define OPT_GATEWAY      "com.docker.network.gateway"
#define OPT_MAC          "com.docker.network.endpoint.macaddress"
#define OPT_NAME         "com.docker.network.endpoint.name"
#define OPT_SERIAL       "com.docker.network.ipam.serial"

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
	struct ipam_pool **touched;   /* rows to write at the flush */
	size_t n_touched;
	size_t max_touched;
	struct ipam_reclaim *reclaim; /* reclaim.c */
	struct ipam_probes *probes;   /* probe.c */
	struct dp_timer upkeep;       /* once a minute: trends, cursors, length of the history */
	uint64_t upkeep_ms;           /* when it ran last */
	uint64_t random;              /* state of the generator behind strategy=random */
	struct ipam_join *join;       /* join.c */
	struct {
		struct dp_timer timer;
		int64_t pool_id;      /* whose leases are being ended; 0: none */
		struct dp_addr after; /* how far that has got */
	} sweep;                      /* generation.c's */
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

/* What --ipam-opt may say. */
struct ipam_pool_options {
	const char *tenant;
	const char *probe;    /* see probe.h */
	const char *exclude;  /* ranges, separated by commas */
	const char *strategy; /* one of ipam_strategy_names */
	const char *slice;    /* see ipam_pool_id_slice() */
	const char *v6_from;  /* see derive.h */
};

/* ipam_driver_apply_options() - give a new pool what was asked for, and write it down. A pool that
 * shares its subnet may exclude what is excluded already. Return: 0; -EINVAL, -ERANGE, -EEXIST as
 * ipam_range_parse() and ipam_subnet_block(): the pool is to be given back; spoilt where it must. */
DP_NODISCARD int ipam_driver_apply_options(struct ipam_driver *d, struct ipam_pool *pool,
					   const struct ipam_pool_options *opt, struct dp_error *err);

/* ipam_driver_check_options() - are the ranges of @opt inside @prefix, and none twice? Return: as
 * ipam_driver_apply_options(), without the disk. */
DP_NODISCARD int ipam_driver_check_options(const struct dp_prefix *prefix,
					   const struct ipam_pool_options *opt,
					   struct dp_error *err);

/* ipam_driver_start_upkeep() - have the minute's work done from now on. */
void ipam_driver_start_upkeep(struct ipam_driver *d);

/* ipam_driver_write_cursors() - write those that have moved; outside of turns only. */
void ipam_driver_write_cursors(struct ipam_driver *d);

/* ipam_driver_untouch() - @pool is about to go. */
void ipam_driver_untouch(struct ipam_driver *d, const struct ipam_pool *pool);

/* ipam_driver_settle() - work outside of a turn has changed something: make it durable; if that fails,
 * memory is what the disk says. Return: as a flush. */
DP_NODISCARD int ipam_driver_settle(struct ipam_driver *d, struct dp_error *err);

/* ipam_driver_drop_pool() - @pool goes, with every address in it. Return: 0; negative errno of the store,
 * not spoilt yet. */
DP_NODISCARD int ipam_driver_drop_pool(struct ipam_driver *d, struct ipam_pool *pool,
				       struct dp_error *err);

/* ---- config.c ---- */

/* ipam_driver_parse_lists() - the pool lists of d->config. Return: 0; -EINVAL with the key in @err; free
 * them in any case. */
DP_NODISCARD int ipam_driver_parse_lists(struct ipam_driver *d, struct dp_error *err);
void ipam_driver_free_lists(struct ipam_driver *d);

/* ---- address.c; all that returns an error is part of a request, and spoils the turn where a write fails ---- */

/* The engine's methods, which driver.c's table names. */
struct ipam_address_request {
	const char *pool_id;
	const char *address;
	json_t *options;
};

extern const struct dp_schema ipam_address_schema; /* fills the above */
DP_NODISCARD int ipam_on_request_address(void *ctx, struct dp_call *call, const void *req,
					 struct dp_error *err);
DP_NODISCARD int ipam_on_release_address(void *ctx, struct dp_call *call, const void *req,
					 struct dp_error *err);

/* ipam_driver_pick() - take a free address for a container. Return: as ipam_pool_pick(). */
DP_NODISCARD int ipam_driver_pick(struct ipam_driver *d, struct ipam_pool *pool,
				  struct dp_addr *ret_addr, struct dp_error *err);

/* ipam_driver_record() - write the lease row of @addr. @options: of the request; may be NULL. */
DP_NODISCARD int ipam_driver_record(struct ipam_driver *d, struct ipam_pool *pool,
				    const struct dp_addr *addr, bool is_gateway,
				    const json_t *options, struct dp_error *err);

/* ipam_driver_release() - the holder gives @addr back. Unknown ones are ignored. */
DP_NODISCARD int ipam_driver_release(struct ipam_driver *d, struct ipam_pool *pool,
				     const struct dp_addr *addr, struct dp_error *err);

/* ipam_driver_reclaim() - the same without the holder, whose release may still come. */
DP_NODISCARD int ipam_driver_reclaim(struct ipam_driver *d, struct ipam_pool *pool,
				     const struct dp_addr *addr, struct dp_error *err);

/* ipam_driver_set_aside() - the held @addr is somebody else's: it rests for `conflict-rest`. */
DP_NODISCARD int ipam_driver_set_aside(struct ipam_driver *d, struct ipam_pool *pool,
				       const struct dp_addr *addr, struct dp_error *err);

/* ipam_driver_end_lease() - the last user of @addr, which is held, is gone. Return: of the store. */
DP_NODISCARD int ipam_driver_end_lease(struct ipam_driver *d, struct ipam_pool *pool,
				       const struct dp_addr *addr, const struct ipam_lease *lease,
				       struct dp_error *err);

/* ipam_driver_reply_address() - the answer to RequestAddress. */
void ipam_driver_reply_address(struct dp_call *call, const struct dp_prefix *addr);

/* ipam_driver_probed() - the pools with probe=, as a new array of texts; NULL if memory ran out. */
json_t *ipam_driver_probed(const struct ipam_driver *d);

#endif
