/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_STATE_H
#define DP_IPAM_STATE_H

/*
 * What the IPAM daemon keeps on disk: subnets, pools, bitmap chunks and leases, as rows.
 *
 * The bitmap in memory is the allocator's truth, the lease table its memory: a bit is set exactly
 * where a lease row exists, held or cooling down. Leases are not mirrored in memory; they are read
 * one at a time when a decision depends on them.
 *
 * All writes of a turn are one transaction (common/store.h). A write that fails leaves the
 * transaction unusable: the turn must fail as a whole (ipam_state_rollback()) and the model be
 * loaded anew.
 */

#include "common/store.h"
#include "ipam/ledger.h"
#include "ipam/pool.h"
#include "ipam/space.h"

struct ipam_state;

extern const struct dp_store_schema ipam_state_schema; /* version and migrations of the file */

/* A lease row with what only people look at. Texts are borrowed for the call. */
struct ipam_lease_row {
	struct ipam_lease lease; /* what decisions depend on */
	int64_t since;           /* seconds since 1970; a row that is held already keeps its own */
	const char *mac;         /* container's MAC if the engine told it, else "" */
	const char *name;        /* container's name if the engine told it, else "" */
};

/**
 * ipam_state_open() - open or create the database
 * @dir: state directory
 *
 * Return: as dp_store_open().
 */
DP_NODISCARD int ipam_state_open(const char *dir, struct ipam_state **ret_state,
				 struct dp_error *err);

/**
 * ipam_state_check() - look at the database of a daemon that is stopped, and change nothing
 * @out: gets a line for each finding: of the file, of rows that contradict each other, and of rows
 *       that cannot be read
 *
 * Return: number of findings; negative errno: it cannot be looked at.
 */
DP_NODISCARD int ipam_state_check(const char *dir, FILE *out, struct dp_error *err);

/* ipam_state_close() - NULL is fine; what was not committed is forgotten. */
void ipam_state_close(struct ipam_state *state);
DP_DEFINE_CLEANUP(struct ipam_state, ipam_state_close);

/**
 * ipam_state_load() - build the model from the rows
 * @ret_space: out: new; freed by ipam_space_free()
 *
 * Return: 0; -EUCLEAN the rows contradict each other; as the disk says; -ENOMEM.
 */
DP_NODISCARD int ipam_state_load(struct ipam_state *state, struct ipam_space **ret_space,
				 struct dp_error *err);

/* ipam_state_ledger() - what operators added, and listings; part of the same turns. */
struct ipam_ledger *ipam_state_ledger(struct ipam_state *state);

/* ipam_state_commit() - everything since the last one becomes durable; dp_store_commit(). */
DP_NODISCARD int ipam_state_commit(struct ipam_state *state, struct dp_error *err);
void ipam_state_rollback(struct ipam_state *state);

/*
 * Row by row. All return 0, or a negative errno of the store, after which the turn is lost.
 */
DP_NODISCARD int ipam_state_add_subnet(struct ipam_state *state, const struct ipam_subnet *subnet,
				       struct dp_error *err);
DP_NODISCARD int ipam_state_remove_subnet(struct ipam_state *state, int64_t subnet_id,
					  struct dp_error *err); /* with all rows below it */
DP_NODISCARD int ipam_state_put_pool(struct ipam_state *state, struct ipam_pool *pool,
				     struct dp_error *err); /* inserts or updates */
DP_NODISCARD int ipam_state_remove_pool(struct ipam_state *state, int64_t pool_id,
					struct dp_error *err); /* not its leases */
DP_NODISCARD int ipam_state_put_chunk(struct ipam_state *state, const struct ipam_dirty_chunk *chunk,
				      struct dp_error *err);
DP_NODISCARD int ipam_state_put_generation(struct ipam_state *state, uint64_t generation,
					   struct dp_error *err);
DP_NODISCARD int ipam_state_put_replay(struct ipam_state *state, const struct ipam_replay *replay,
				       struct dp_error *err);

/**
 * ipam_state_ula() - the IPv6 /48 that default pools are cut from (RFC 4193)
 *
 * Drawn at random on first use and kept for ever (with the next commit).
 *
 * Return: 0; negative errno of the store or getrandom(2).
 */
DP_NODISCARD int ipam_state_ula(struct ipam_state *state, struct dp_prefix *ret_prefix,
				struct dp_error *err);

/**
 * ipam_state_get_lease() - the row of @addr
 *
 * Return: 1 there is one; 0 none, @ret_lease untouched; negative errno of the store.
 */
DP_NODISCARD int ipam_state_get_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
				      const struct dp_addr *addr, struct ipam_lease *ret_lease,
				      struct dp_error *err);

/* ipam_state_put_lease() - insert the row of @addr or replace it; it is held from now on. */
DP_NODISCARD int ipam_state_put_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
				      const struct dp_addr *addr, const struct ipam_lease_row *row,
				      struct dp_error *err);

/* ipam_state_rest_lease() - the row of @addr cools down since @now (seconds since 1970). */
DP_NODISCARD int ipam_state_rest_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
				       const struct dp_addr *addr, int64_t now, struct dp_error *err);

/* ipam_state_set_aside() - the same, because somebody else uses @addr. @released_at: the time from which
 * it is said to rest, which may be yet to come. */
DP_NODISCARD int ipam_state_set_aside(struct ipam_state *state, const struct ipam_subnet *subnet,
				      const struct dp_addr *addr, int64_t released_at,
				      struct dp_error *err);

/* ipam_state_count_conflicts() - how many were set aside so and are released later than @after. */
DP_NODISCARD int ipam_state_count_conflicts(struct ipam_state *state,
					    const struct ipam_subnet *subnet, int64_t after,
					    uint64_t *ret_n, struct dp_error *err);

/* ipam_state_drop_lease() - delete the row of @addr. */
DP_NODISCARD int ipam_state_drop_lease(struct ipam_state *state, const struct ipam_subnet *subnet,
				       const struct dp_addr *addr, struct dp_error *err);

/**
 * ipam_state_oldest_cooling() - the lease that has rested longest
 * @before: only those released at or before this time (seconds since 1970)
 * @first, @last: only addresses within
 *
 * Return: 1 found; 0 none; negative errno of the store.
 */
DP_NODISCARD int ipam_state_oldest_cooling(struct ipam_state *state,
					   const struct ipam_subnet *subnet, int64_t before,
					   const struct dp_addr *first, const struct dp_addr *last,
					   struct dp_addr *ret_addr, struct dp_error *err);

/**
 * ipam_state_next_held() - the first held lease after @after in the subnet with row id @subnet_id
 * @family: of the subnet, which the model may have forgotten already
 * @after:  AF_UNSPEC: from the beginning. May be @ret_addr of the call before.
 *
 * Return: 1 found; 0 none; negative errno of the store.
 */
DP_NODISCARD int ipam_state_next_held(struct ipam_state *state, int64_t subnet_id, int family,
				      const struct dp_addr *after, struct dp_addr *ret_addr,
				      struct ipam_lease *ret_lease, struct dp_error *err);

/**
 * ipam_state_next_of_pool() - the first lease after @after that was taken through @pool
 * @after: AF_UNSPEC: from the beginning. May be @ret_addr of the call before.
 *
 * For giving a pool back while others share its subnet. All calls together read each of the
 * subnet's rows once.
 *
 * Return: 1 found; 0 none; negative errno of the store.
 */
DP_NODISCARD int ipam_state_next_of_pool(struct ipam_state *state, const struct ipam_pool *pool,
					 const struct dp_addr *after, struct dp_addr *ret_addr, struct ipam_lease *ret_lease,
					 struct dp_error *err);

/**
 * ipam_state_held() - the leases after @after that are held by something other than a gateway
 * @after:     AF_UNSPEC: from the beginning
 * @ret_addrs: out: at most @max, in an order of the rows' own
 *
 * Return: how many; negative errno of the store.
 */
DP_NODISCARD int ipam_state_held(struct ipam_state *state, const struct ipam_subnet *subnet,
				 const struct dp_addr *after, struct dp_addr *ret_addrs, int max,
				 struct dp_error *err);

/*
 * Addresses that were taken back without a release of the engine (reclaim.h). @released: such a
 * release came afterwards. Return: 1 it is one of them; 0 it is not; negative errno of the store.
 */
DP_NODISCARD int ipam_state_get_reclaimed(struct ipam_state *state, const struct ipam_subnet *subnet,
					  const struct dp_addr *addr, bool *ret_released,
					  struct dp_error *err);
DP_NODISCARD int ipam_state_put_reclaimed(struct ipam_state *state, const struct ipam_subnet *subnet,
					  const struct dp_addr *addr, bool released,
					  struct dp_error *err);
DP_NODISCARD int ipam_state_drop_reclaimed(struct ipam_state *state,
					   const struct ipam_subnet *subnet,
					   const struct dp_addr *addr, struct dp_error *err);

/*
 * Several pools on one subnet may name the same gateway, since it is the router of them all. The
 * lease row belongs to the first; the others are its sharers, and one of them inherits it.
 */
DP_NODISCARD int ipam_state_add_sharer(struct ipam_state *state, const struct ipam_pool *pool,
				       const struct dp_addr *addr, struct dp_error *err);
DP_NODISCARD int ipam_state_remove_sharer(struct ipam_state *state, const struct ipam_pool *pool,
					  const struct dp_addr *addr, struct dp_error *err);
/* All shares of a pool that goes. */
DP_NODISCARD int ipam_state_remove_sharers(struct ipam_state *state, const struct ipam_pool *pool,
					   struct dp_error *err);
/* Hands the row of @addr to one of its sharers. Return: 1 done; 0 it has none; negative errno. */
DP_NODISCARD int ipam_state_inherit(struct ipam_state *state, const struct ipam_subnet *subnet,
				    const struct dp_addr *addr, struct dp_error *err);

#endif
