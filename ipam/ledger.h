/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_LEDGER_H
#define DP_IPAM_LEDGER_H

/*
 * What operators add to the state and want to read from it, as rows of the same database: settings
 * of pools, excluded and reserved ranges, who is known by which name, listings, history.
 *
 * History: a row for each lease that was held and ended. It is cut to its length from time to time
 * (ipam_ledger_trim()), so it may be longer meanwhile.
 */

#include "common/store.h"
#include "ipam/pool.h"
#include "ipam/space.h"

struct ipam_ledger;

extern const char ipam_ledger_migration[]; /* SQL that makes the tables: a row of state.c's list */

/* ipam_ledger_open() - @store outlives it. Return: as dp_stmt_new(). */
DP_NODISCARD int ipam_ledger_open(struct dp_store *store, struct ipam_ledger **ret_ledger,
				  struct dp_error *err);
void ipam_ledger_close(struct ipam_ledger *ledger); /* NULL is fine */

/* ipam_ledger_load() - put settings and ranges into the pools and subnets of @space.
 * Return: 0; -EUCLEAN a row makes no sense; as the disk says; -ENOMEM. */
DP_NODISCARD int ipam_ledger_load(struct ipam_ledger *ledger, struct ipam_space *space,
				  struct dp_error *err);

/* Row by row; 0, or a negative errno of the store, after which the turn is lost. Rows go with their
 * pool or subnet by themselves. */
DP_NODISCARD int ipam_ledger_put_pool(struct ipam_ledger *ledger, const struct ipam_pool *pool,
				      struct dp_error *err); /* strategy and bounds */
DP_NODISCARD int ipam_ledger_put_block(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
				       const struct ipam_block *block, struct dp_error *err);
DP_NODISCARD int ipam_ledger_remove_block(struct ipam_ledger *ledger,
					  const struct ipam_subnet *subnet,
					  const struct ipam_range *range, struct dp_error *err);

/**
 * ipam_ledger_find_resting() - the resting lease of a container that was here before
 * @name, @mac: what the engine tells of it; "" = not told
 *
 * Return: 1 found, the one released last; 0 none; negative errno of the store.
 */
DP_NODISCARD int ipam_ledger_find_resting(struct ipam_ledger *ledger, const struct ipam_pool *pool,
					  const char *name, const char *mac,
					  struct dp_addr *ret_addr, struct dp_error *err);

/* One lease, or what has become of one. Texts live until the next row. */
struct ipam_entry {
	struct dp_addr addr;  /* of a lease; a past one has only the text */
	const char *address;
	const char *pool;     /* PoolID */
	const char *name;
	const char *mac;
	int64_t since;        /* seconds since 1970 */
	int64_t until;        /* the same: released; 0 = held */
	bool is_gateway;
	bool is_conflict;     /* it rests because somebody else uses it */
};

/* A row for the caller. Return: true to go on. */
typedef bool (*ipam_entry_fn)(void *ctx, const struct ipam_entry *entry);

/**
 * ipam_ledger_leases() - the leases of @subnet behind @after, in the database's order
 * @after: AF_UNSPEC = from the beginning
 * @limit: rows at most
 *
 * Return: how many rows were read; negative errno of the store.
 */
DP_NODISCARD int ipam_ledger_leases(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
				    const struct dp_addr *after, unsigned limit, ipam_entry_fn fn,
				    void *ctx, struct dp_error *err);

/* ipam_ledger_lease() - the lease of @addr. Return: 1 there is one, and @fn was called; 0 none. */
DP_NODISCARD int ipam_ledger_lease(struct ipam_ledger *ledger, const struct ipam_subnet *subnet,
				   const struct dp_addr *addr, ipam_entry_fn fn, void *ctx,
				   struct dp_error *err);

/* ipam_ledger_newest() - number of the newest row of the history; 0 = it is empty; negative errno. */
DP_NODISCARD int64_t ipam_ledger_newest(struct ipam_ledger *ledger, struct dp_error *err);

/**
 * ipam_ledger_history() - past leases of @address, newest first
 * @newest, @oldest: numbers of rows, between which it looks
 *
 * Return: 0; negative errno of the store.
 */
DP_NODISCARD int ipam_ledger_history(struct ipam_ledger *ledger, const char *address,
				     int64_t newest, int64_t oldest, ipam_entry_fn fn, void *ctx,
				     struct dp_error *err);

/* ipam_ledger_set_history() - how many past leases are kept; 0 until set. */
void ipam_ledger_set_history(struct ipam_ledger *ledger, uint32_t limit);

/* ipam_ledger_remember() - the held lease of @addr ends now; its row is still there. */
DP_NODISCARD int ipam_ledger_remember(struct ipam_ledger *ledger, const struct ipam_pool *pool,
				      const struct dp_addr *addr, struct dp_error *err);

/* ipam_ledger_remember_subnet() - so do all held leases of a subnet that goes. */
DP_NODISCARD int ipam_ledger_remember_subnet(struct ipam_ledger *ledger, int64_t subnet_id,
					     struct dp_error *err);

/**
 * ipam_ledger_trim() - cut the history to its length
 * @max: rows deleted at most; the caller comes again
 *
 * Return: rows deleted; negative errno of the store.
 */
DP_NODISCARD int64_t ipam_ledger_trim(struct ipam_ledger *ledger, uint32_t max,
				      struct dp_error *err);

#endif
