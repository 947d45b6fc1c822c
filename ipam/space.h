/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_SPACE_H
#define DP_IPAM_SPACE_H

/*
 * The address spaces: every subnet and pool of the books `local` and `global`, who may be added,
 * and which prefix is chosen when the user names none.
 *
 * Rules, those of the engine's built-in driver (tenants are ours: subnets of different tenants may
 * overlap):
 *   - a pool without range is refused if it overlaps any subnet of its book and tenant;
 *   - a pool with range may share the subnet that is exactly equal; the same pool and range twice,
 *     or an overlap with any other subnet, is refused;
 *   - generations: a pool that was not heard of in the present one may be requested again (a
 *     replay), where the caller allows it; else a second request is a second network. A pool that
 *     was given back with addresses in it may be requested again at any time.
 * Pure: no I/O, no clock, not thread-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/compiler.h"
#include "common/error.h"
#include "common/inaddr.h"
#include "ipam/pool.h"

struct ipam_space;

/**
 * ipam_space_new() - empty books, generation 1
 * @ret_space: out: new; free with ipam_space_free()
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int ipam_space_new(struct ipam_space **ret_space);

/* ipam_space_free() - frees every subnet and pool as well; NULL is fine. */
void ipam_space_free(struct ipam_space *space);

DP_DEFINE_CLEANUP(struct ipam_space, ipam_space_free);

/* ipam_space_generation() - number of the present generation, kept in the store. */
uint64_t ipam_space_generation(const struct ipam_space *space);

/* ipam_space_set_generation() - bring the number back at start. */
void ipam_space_set_generation(struct ipam_space *space, uint64_t generation);

/* ipam_space_new_generation() - all pools become unclaimed; returns the new number. O(1). */
uint64_t ipam_space_new_generation(struct ipam_space *space);

/* What is known of the last generations; see generation.h. Times: seconds since 1970. */
struct ipam_replay {
	int64_t heard_at;         /* when the present generation began, or a pool was claimed again */
	uint64_t seen_generation; /* the last one in which a leader claimed its pools again; 0: none */
	int64_t seen_at;          /* when it did so */
};

/* ipam_space_replay() - may be changed in place; to be written with ipam_state_put_replay(). */
struct ipam_replay *ipam_space_replay(struct ipam_space *space);

/* What ipam_space_request_pool() did, for the rows that are to be written. */
struct ipam_pool_grant {
	struct ipam_pool *pool; /* borrowed from the space */
	bool new_subnet;        /* insert ipam_pool_subnet(pool) and the pool */
	bool new_pool;          /* insert the pool; both false: a replay, update its row */
	bool revived;           /* it had been given back with addresses in it, and has them again */
};

/**
 * ipam_space_request_pool() - a network claims a pool
 * @space:      changed only on success
 * @id:         what is asked for, from ipam_pool_id_make(); its text is the PoolID
 * @may_replay: a pool that was not heard of in this generation may be claimed again
 * @ret_grant:  out: untouched on failure
 * @err:        out: reason, names both prefixes and the other pool; may be NULL
 *
 * Return: 0; -EEXIST (DP_ERR_CONFLICT) overlap, or the same pool twice; -ENOMEM.
 */
DP_NODISCARD int ipam_space_request_pool(struct ipam_space *space, const struct ipam_pool_id *id,
					 bool may_replay, struct ipam_pool_grant *ret_grant,
					 struct dp_error *err);

/**
 * ipam_space_load_pool() - bring back a pool row at start, by the same rules
 * @subnet_rowid: id of its subnet, > 0; the same for all pools of a subnet
 * @pool_rowid:   its own id, > 0
 * @generation:   in which it was requested or last replayed
 * @ret_pool:     out: borrowed from the space; may be NULL
 *
 * New ids are larger than all that were loaded.
 *
 * Return: 0; -EUCLEAN (DP_ERR_INTERNAL) it clashes with one loaded before; -ENOMEM.
 */
DP_NODISCARD int ipam_space_load_pool(struct ipam_space *space, const struct ipam_pool_id *id,
				      int64_t subnet_rowid, int64_t pool_rowid, uint64_t generation,
				      struct ipam_pool **ret_pool, struct dp_error *err);

/**
 * ipam_space_release_pool() - a network gives its pool back; undo of a new grant
 * @pool: of this space; gone afterwards
 *
 * With the last pool of a subnet the subnet goes, and every bit in it. Else the caller drops the
 * leases taken through @pool first, with ipam_subnet_drop().
 *
 * Return: true if the subnet went too: delete its chunk and lease rows.
 */
bool ipam_space_release_pool(struct ipam_space *space, struct ipam_pool *pool);

/* ipam_space_find_pool() - the pool of that name; NULL if unknown. O(log subnets). */
struct ipam_pool *ipam_space_find_pool(const struct ipam_space *space,
				       const struct ipam_pool_id *id);

/**
 * ipam_space_pool_by_text() - the pool whose PoolID a request carries
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) not a PoolID; -ENOENT (DP_ERR_NOT_FOUND) unknown.
 */
DP_NODISCARD int ipam_space_pool_by_text(struct ipam_space *space, const char *pool_id,
					 struct ipam_pool **ret_pool, struct dp_error *err);

/* ipam_space_subnet_by_id() - the subnet with that row id; NULL if unknown. O(log subnets). */
struct ipam_subnet *ipam_space_subnet_by_id(const struct ipam_space *space, int64_t rowid);

/* ipam_space_n_subnets(), ipam_space_subnet() - all subnets of @book, ordered by prefix. */
size_t ipam_space_n_subnets(const struct ipam_space *space, enum ipam_book book);
struct ipam_subnet *ipam_space_subnet(const struct ipam_space *space, enum ipam_book book,
				      size_t i);

/* ipam_space_find_overlap() - a subnet of @book and @tenant that overlaps @p; NULL if none. */
struct ipam_subnet *ipam_space_find_overlap(const struct ipam_space *space, enum ipam_book book,
					    const char *tenant, const struct dp_prefix *p);

/* From what a prefix is chosen when the user names none. */
struct ipam_choice {
	enum ipam_book book;
	const struct ipam_default_pool *bases; /* of one family, tried in this order; borrowed */
	size_t n_bases;
	const struct dp_prefix *avoid; /* host routes, nameservers; any family; borrowed */
	size_t n_avoid;
	unsigned len; /* 0: each base's own size; else the length asked for, as in 0.0.0.0/N */
};

/**
 * ipam_space_choose() - the lowest free prefix of the bases; claims nothing
 * @space:      remembers where the search ended, else unchanged
 * @choice:     where to look
 * @ret_prefix: out: overlaps no subnet of the book, whoever the tenant, and nothing to avoid
 * @err:        out: reason; may be NULL
 *
 * dockerd asks again, without end, while it dislikes the answer, and holds what it was given until
 * then: so the answer must be requested (ipam_space_request_pool()) before the next question.
 *
 * Return: 0; -ENOSPC (DP_ERR_EXHAUSTED) nothing is left; -EINVAL (DP_ERR_INVALID) every base is
 *         smaller than @choice->len.
 */
DP_NODISCARD int ipam_space_choose(struct ipam_space *space, const struct ipam_choice *choice,
				   struct dp_prefix *ret_prefix, struct dp_error *err);

/**
 * ipam_space_pop_dirty() - take one changed bitmap chunk that must be written
 *
 * Return: true; false if nothing is dirty, @ret_chunk untouched. Chunks of a subnet that has gone
 * are not reported.
 */
bool ipam_space_pop_dirty(struct ipam_space *space, struct ipam_dirty_chunk *ret_chunk);

#endif
