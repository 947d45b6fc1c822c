/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_POOL_H
#define DP_IPAM_POOL_H

/*
 * Subnets and pools: which address is given out next, and which may be asked for.
 *
 * A *subnet* is a prefix in the book of one address space and tenant; it owns the bitmap. A *pool*
 * is one network's claim on a subnet, with or without a range for dynamic picks; its name is the
 * PoolID that Docker keeps. Networks that share a subnet with different ranges share its bitmap.
 *
 * A set bit means "do not pick": there is a lease row for the address, held or cooling down. The
 * rows themselves live in the store only; a decision that depends on one takes it as a value
 * (struct ipam_lease). Pure: no I/O, no clock, not thread-safe.
 *
 * Life of an address, as the caller drives it:
 *   ipam_pool_pick() or ipam_pool_claim()   -> held (row inserted, updated or confirmed)
 *   ipam_subnet_rest()                      held -> cooling (row keeps released-at)
 *   ipam_subnet_revive()                    cooling -> held
 *   ipam_subnet_drop()                      held or cooling -> gone (row deleted); undoes a pick
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/compiler.h"
#include "common/error.h"
#include "common/inaddr.h"
#include "ipam/bitmap.h"
#include "ipam/block.h"
#include "ipam/pool_id.h"
#include "ipam/trend.h"

/* ---- subnet ---- */

struct ipam_subnet;
struct ipam_pool;

/* A chunk that must be written; see ipam_bitmap_pop_dirty(). Key: (subnet id, upper, chunk_no). */
struct ipam_dirty_chunk {
	int64_t subnet_id;                    /* ipam_subnet_id() */
	uint64_t upper;                       /* upper 64 bits of its addresses; IPv4: 0 */
	uint64_t chunk_no;                    /* number within the bitmap */
	bool empty;                           /* delete the row instead of writing it */
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES]; /* content */
};

struct ipam_usage {
	uint64_t n_usable;  /* addresses that dynamic picks may use; UINT64_MAX if 2^64 */
	uint64_t n_used;    /* of those, with a lease row (held or cooling) */
	uint64_t n_kept;    /* of those, without one, but excluded or reserved */
	uint64_t n_held;    /* in the whole subnet, all its pools */
	uint64_t n_cooling; /* in the whole subnet, all its pools */
};

int64_t ipam_subnet_id(const struct ipam_subnet *subnet); /* row id, > 0, unique */
enum ipam_book ipam_subnet_book(const struct ipam_subnet *subnet);
const char *ipam_subnet_tenant(const struct ipam_subnet *subnet);
const struct dp_prefix *ipam_subnet_prefix(const struct ipam_subnet *subnet);
const struct dp_addr *ipam_subnet_last(const struct ipam_subnet *subnet); /* highest address */
size_t ipam_subnet_n_pools(const struct ipam_subnet *subnet);
struct ipam_pool *ipam_subnet_pool(const struct ipam_subnet *subnet, size_t i); /* i < n_pools */

/* ipam_subnet_test() - is there a lease row for @addr, as far as the bitmap knows? */
bool ipam_subnet_test(const struct ipam_subnet *subnet, const struct dp_addr *addr);

/* ipam_subnet_count() - number of set bits: must equal the number of lease rows; O(segments). */
uint64_t ipam_subnet_count(const struct ipam_subnet *subnet);

/* ipam_subnet_n_cooling() - lease rows that cool down; O(1). */
uint64_t ipam_subnet_n_cooling(const struct ipam_subnet *subnet);

/* ipam_subnet_count_range() - how many of @range have a lease row; @range in the subnet. */
uint64_t ipam_subnet_count_range(const struct ipam_subnet *subnet, const struct ipam_range *range);

/* ipam_subnet_next_set() - the first address from @from on that has a bit. Return: 0; -ENOENT. */
DP_NODISCARD int ipam_subnet_next_set(const struct ipam_subnet *subnet, const struct dp_addr *from,
				      struct dp_addr *ret_addr);

/* ipam_subnet_blocks() - the excluded and reserved ranges. */
const struct ipam_block_list *ipam_subnet_blocks(const struct ipam_subnet *subnet);

/* ipam_subnet_block() - exclude or reserve @range. Return: as ipam_block_add(); -ERANGE
 * (DP_ERR_INVALID) it is not inside the subnet. */
DP_NODISCARD int ipam_subnet_block(struct ipam_subnet *subnet, const struct ipam_range *range,
				   bool reserved, const char *name, const char *mac,
				   struct dp_error *err);

/* ipam_subnet_unblock() - Return: true if exactly @range was excluded or reserved. */
bool ipam_subnet_unblock(struct ipam_subnet *subnet, const struct ipam_range *range);

/* ipam_subnet_rest() - a held address was released and cools down; its bit stays set. */
void ipam_subnet_rest(struct ipam_subnet *subnet, const struct dp_addr *addr);

/* ipam_subnet_revive() - a cooling address is held again (the oldest one, when nothing is free). */
void ipam_subnet_revive(struct ipam_subnet *subnet, const struct dp_addr *addr);

/* ipam_subnet_set_none_due() - what the caller found: of the addresses that cool down none was
 * released at or before @second (seconds since 1970). Kept for the caller, until it finds more. */
void ipam_subnet_set_none_due(struct ipam_subnet *subnet, int64_t second);

/* ipam_subnet_none_due() - what ipam_subnet_set_none_due() was told last; 0: nothing yet. */
int64_t ipam_subnet_none_due(const struct ipam_subnet *subnet);

/**
 * ipam_subnet_drop() - the lease row of @addr goes: the address is free for dynamic picks
 * @was_cooling: what the row said
 *
 * Also the undo of a pick or of a claim that made a new row. The bit must be set (asserted).
 */
void ipam_subnet_drop(struct ipam_subnet *subnet, const struct dp_addr *addr, bool was_cooling);

/**
 * ipam_subnet_load_chunk() - bring back a chunk row at start
 *
 * Return: 0; -ERANGE outside the subnet; -EEXIST loaded already; -ENOMEM.
 */
DP_NODISCARD int ipam_subnet_load_chunk(struct ipam_subnet *subnet, uint64_t upper,
					uint64_t chunk_no,
					const uint8_t bytes[static IPAM_CHUNK_SIZE_BYTES]);

/*
 * ipam_subnet_set_latest() - @addr was the last one given to a container; AF_UNSPEC: none
 *
 * Not kept on disk: for making an IPv6 address of it in the request that follows.
 */
void ipam_subnet_set_latest(struct ipam_subnet *subnet, const struct dp_addr *addr);
const struct dp_addr *ipam_subnet_latest(const struct ipam_subnet *subnet);

/* ipam_subnet_load_counts() - bring back how many lease rows are held and cooling, at start. */
void ipam_subnet_load_counts(struct ipam_subnet *subnet, uint64_t n_held, uint64_t n_cooling);

/* ---- pool ---- */

/* Where dynamic picks look first. */
enum ipam_strategy {
	IPAM_NEXT,   /* behind the last pick */
	IPAM_LOWEST, /* at the beginning */
	IPAM_RANDOM, /* anywhere */
	IPAM_STICKY, /* as IPAM_NEXT; a container that comes back gets what it had (known.h) */
};

extern const char *const ipam_strategy_names[]; /* by the enum, NULL-terminated */

/* ipam_strategy_parse() - Return: 0; -EINVAL. */
DP_NODISCARD int ipam_strategy_parse(const char *name, enum ipam_strategy *ret_strategy);

/* A lease row, as far as a decision depends on it. */
struct ipam_lease {
	bool is_cooling;     /* released and resting; else held */
	bool is_gateway;     /* was asked for as gateway */
	int64_t pool_id;     /* ipam_pool_rowid() of the pool it was taken through */
	uint64_t generation; /* in which it was taken or last confirmed */
};

int64_t ipam_pool_rowid(const struct ipam_pool *pool); /* row id, > 0, unique */
struct ipam_subnet *ipam_pool_subnet(const struct ipam_pool *pool);
const struct ipam_pool_id *ipam_pool_ident(const struct ipam_pool *pool);
const char *ipam_pool_name(const struct ipam_pool *pool); /* the same as text, made once */

/* ipam_pool_generation() - in which the pool was requested or last replayed. */
uint64_t ipam_pool_generation(const struct ipam_pool *pool);

/* ipam_pool_cursor() - low 64 bits of the address where the next dynamic pick begins to look. */
uint64_t ipam_pool_cursor(const struct ipam_pool *pool);

/* ipam_pool_cursor_moved() - is the cursor elsewhere than it was when it was last read or written? */
bool ipam_pool_cursor_moved(const struct ipam_pool *pool);

/* ipam_pool_cursor_written() - the cursor is on the disk as it is. */
void ipam_pool_cursor_written(struct ipam_pool *pool);

/*
 * ipam_pool_replayable() - does the pool belong to a network that Swarm may ask for again?
 *
 * Starts as false. Only such a pool, and addresses held in it, may be requested a second time in a
 * later generation; of any other a second request is a second network or a duplicate address.
 */
bool ipam_pool_replayable(const struct ipam_pool *pool);
void ipam_pool_set_replayable(struct ipam_pool *pool, bool replayable);

/* ipam_pool_certain() - is it certain that its network is Swarm's? Starts as false. */
bool ipam_pool_certain(const struct ipam_pool *pool);
void ipam_pool_set_certain(struct ipam_pool *pool, bool certain);

/* ipam_pool_probe_ms() - how long the segment is asked before an address is handed out; 0 = not. */
uint32_t ipam_pool_probe_ms(const struct ipam_pool *pool);
void ipam_pool_set_probe_ms(struct ipam_pool *pool, uint32_t ms);

/* What generations have left on a pool; the rule is in generation.h. Times: seconds since 1970. */
struct ipam_pool_life {
	uint64_t alive;        /* generation in which its network was heard of last */
	uint64_t stale_before; /* addresses of older generations are unconfirmed; 0: none */
	int64_t stale_since;   /* they are waited for since then; 0: without end */
	int64_t released_at;   /* given back with addresses in it; 0: it was not */
};

/* ipam_pool_life() - may be changed in place; the pool's row is then to be written. */
struct ipam_pool_life *ipam_pool_life(struct ipam_pool *pool);

/*
 * ipam_pool_v6_from() - the IPv4 subnet from whose addresses this IPv6 pool's are made; NULL: none
 *
 * See ipam_pool_derive().
 */
const struct dp_prefix *ipam_pool_v6_from(const struct ipam_pool *pool);
void ipam_pool_set_v6_from(struct ipam_pool *pool, const struct dp_prefix *v4); /* NULL: none */

/* ipam_pool_derive() - @v4 in the last 32 bits of an address of this IPv6 pool of at most 96 bits. */
struct dp_addr ipam_pool_derive(const struct ipam_pool *pool, const struct dp_addr *v4);

/* ipam_pool_set_cursor() - bring the cursor back at start, as it was written; any value is safe. */
void ipam_pool_set_cursor(struct ipam_pool *pool, uint64_t cursor);

/* ipam_pool_strategy() - IPAM_NEXT unless set. */
enum ipam_strategy ipam_pool_strategy(const struct ipam_pool *pool);
void ipam_pool_set_strategy(struct ipam_pool *pool, enum ipam_strategy strategy);

/* ipam_pool_seek() - the next dynamic pick begins at the @n-th address of the range, modulo its
 * size. */
void ipam_pool_seek(struct ipam_pool *pool, uint64_t n);

/* ipam_pool_trend() - how fast it fills; for the owner of a clock to feed. */
struct ipam_trend *ipam_pool_trend(struct ipam_pool *pool);

/* ipam_pool_set_bounds() - dynamic picks use @range from now on. Return: 0; -ERANGE (DP_ERR_INVALID)
 * it is not inside the usable addresses of the subnet, or (IPv6) not inside one /64. */
DP_NODISCARD int ipam_pool_set_bounds(struct ipam_pool *pool, const struct ipam_range *range,
				      struct dp_error *err);

/* ipam_pool_dynamic_bounds() - first and last address that dynamic picks may use. */
void ipam_pool_dynamic_bounds(const struct ipam_pool *pool, struct dp_addr *ret_first,
			      struct dp_addr *ret_last);

/* ipam_pool_usage() - counts, without scanning the leases. */
void ipam_pool_usage(const struct ipam_pool *pool, struct ipam_usage *ret_usage);

/**
 * ipam_pool_pick() - choose a free address and mark it held
 * @pool:       changed only on success
 * @is_gateway: the lowest free one of the dynamic range; else the next after the last pick
 * @ret_addr:   out: the address; untouched on failure
 * @err:        out: reason; may be NULL
 *
 * Return: 0; -ENOSPC (DP_ERR_EXHAUSTED) every address has a lease row: one that cools down may be
 *         taken with ipam_subnet_revive() instead; -ENOMEM.
 */
DP_NODISCARD int ipam_pool_pick(struct ipam_pool *pool, bool is_gateway, struct dp_addr *ret_addr,
				struct dp_error *err);

/* A request for one particular address. */
struct ipam_claim {
	struct dp_addr addr;
	bool is_gateway;     /* Options["RequestAddressType"] says so */
	bool may_replay;     /* an address of an older generation may be asked for again */
	uint64_t generation; /* in which the pool was requested last: ipam_pool_generation() */
	const struct ipam_lease *lease; /* row of @addr in the subnet; NULL: none; borrowed */
};

enum ipam_claim_result {
	IPAM_CLAIM_NEW,       /* no row was there: insert one */
	IPAM_CLAIM_REVIVED,   /* was cooling, is held now: update the row */
	IPAM_CLAIM_CONFIRMED, /* was held and is asked for again: set the row's generation */
};

/**
 * ipam_pool_check_addr() - may @addr be asked for in this pool at all?
 *
 * To be asked before looking for its lease row. Addresses outside the range but inside the pool
 * may (gateways, --ip, auxiliary addresses lie there).
 *
 * Return: 0; -ERANGE (DP_ERR_INVALID) outside the pool, or its network or broadcast address.
 */
DP_NODISCARD int ipam_pool_check_addr(const struct ipam_pool *pool, const struct dp_addr *addr,
				      struct dp_error *err);

/**
 * ipam_pool_claim() - take the one address that was asked for
 * @pool:       changed only on success
 * @claim:      what is asked, and the row of that address
 * @ret_result: out: what happened; untouched on failure
 * @err:        out: reason; may be NULL
 *
 * A held address is a conflict, except: @claim->may_replay and its row is of an older generation
 * (a new Swarm leader tells us what it knows); or it is this pool's recorded gateway and is asked
 * for as gateway again.
 *
 * Return: 0; -ERANGE as ipam_pool_check_addr(); -EADDRINUSE (DP_ERR_CONFLICT); -EUCLEAN
 *         (DP_ERR_INTERNAL) bitmap and row disagree; -ENOMEM.
 */
DP_NODISCARD int ipam_pool_claim(struct ipam_pool *pool, const struct ipam_claim *claim,
				 enum ipam_claim_result *ret_result, struct dp_error *err);

/* ---- lifetime, for ipam/space.c only ---- */

/* The bitmaps with something to write. Zeroed = empty. Must outlive its subnets. */
struct ipam_dirty_list {
	struct ipam_segment *head;
	struct ipam_segment *tail;
};

DP_NODISCARD int ipam_subnet_new(int64_t rowid, const struct ipam_pool_id *id,
				 struct ipam_dirty_list *dirty, struct ipam_subnet **ret_subnet);
void ipam_subnet_free(struct ipam_subnet *subnet); /* with its pools; NULL is fine */
DP_DEFINE_CLEANUP(struct ipam_subnet, ipam_subnet_free);

DP_NODISCARD int ipam_subnet_add_pool(struct ipam_subnet *subnet, int64_t rowid,
				      const struct ipam_pool_id *id, uint64_t generation,
				      struct ipam_pool **ret_pool);
void ipam_subnet_remove_pool(struct ipam_subnet *subnet, struct ipam_pool *pool);
void ipam_pool_set_generation(struct ipam_pool *pool, uint64_t generation);
bool ipam_dirty_list_pop(struct ipam_dirty_list *dirty, struct ipam_dirty_chunk *ret_chunk);

#endif
