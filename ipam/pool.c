/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Subnets and pools.
 *
 * An address is looked up by its upper and lower 64 bits. A subnet of at most 2^64 addresses has
 * one *segment*: one bitmap of its own width. A larger one (IPv6 shorter than /64) has a segment
 * for every upper half in which an address was taken; dynamic picks stay in the segment where the
 * range begins, 2^64 addresses being enough, and explicit addresses may lie anywhere. IPv4
 * addresses have upper half 0.
 *
 * Invariants
 *   (1) a bit is set iff the address has a lease row: n_held + n_cooling = number of set bits;
 *   (2) a segment is in the dirty list iff its bitmap has a dirty chunk;
 *   (3) network and broadcast address are never set, so they need no bit: the bounds of picks and
 *       ipam_pool_check_addr() keep them out.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipam/pool.h"

struct ipam_segment {
	struct ipam_subnet *subnet; /* it belongs to */
	uint64_t upper;             /* upper 64 bits of its addresses */
	struct ipam_bitmap *bitmap; /* owned; bit i: lower half = subnet's lower half + i */
	struct ipam_segment *prev;  /* in the dirty list */
	struct ipam_segment *next;  /* in the dirty list */
	bool is_listed;             /* in the dirty list */
};

struct ipam_subnet {
	int64_t rowid;                  /* of its row, > 0 */
	struct ipam_pool_id id;         /* range unused */
	struct dp_addr last;            /* highest address, whether usable or not */
	struct ipam_dirty_list *dirty;  /* borrowed from the space */
	struct ipam_segment **segments; /* owned, ordered by upper half */
	size_t n_segments;
	size_t n_segment_slots;   /* size of @segments */
	struct ipam_pool **pools; /* owned, in the order they came */
	size_t n_pools;
	size_t n_pool_slots; /* size of @pools */
	uint64_t n_held;     /* lease rows that are held */
	uint64_t n_cooling;  /* lease rows that cool down */
	int64_t none_due;    /* no lease that cools down was released by this second; 0: unknown */
	struct ipam_block_list blocks;
	struct dp_addr latest; /* given to a container; AF_UNSPEC: none since the start */
};

struct ipam_pool {
	int64_t rowid;              /* of its row, > 0 */
	struct ipam_pool_id id;     /* the PoolID */
	char name[IPAM_POOL_ID_SIZE]; /* @id as text */
	struct ipam_subnet *subnet; /* it claims */
	uint64_t generation;        /* in which it was claimed last */
	uint64_t upper;             /* upper half of dynamic picks */
	uint64_t first;             /* lower half of the first dynamic pick */
	uint64_t last;              /* lower half of the last dynamic pick */
	uint64_t cursor;            /* lower half where the next pick begins to look */
	uint64_t written;           /* the cursor as it is on the disk */
	uint32_t probe_ms;          /* time to ask the segment; 0 = it is not asked */
	struct ipam_pool_life life; /* see generation.h */
	struct dp_prefix v6_from;   /* IPv4 subnet that addresses are made from; AF_UNSPEC: none */
	bool certain;               /* not only replayable: Swarm's without doubt */
	bool replayable;            /* Swarm's: what it holds may be asked for again */
	enum ipam_strategy strategy;
	struct ipam_trend trend;
};

const char *const ipam_strategy_names[] = { "next", "lowest", "random", "sticky", NULL };

/* ---- dirty list ---- */

static void dirty_list_add(struct ipam_segment *seg)
{
	struct ipam_dirty_list *list = seg->subnet->dirty;

	if (seg->is_listed)
		return;
	seg->is_listed = true;
	seg->next = NULL;
	seg->prev = list->tail;
	if (list->tail)
		list->tail->next = seg;
	else
		list->head = seg;
	list->tail = seg;
}

static void dirty_list_remove(struct ipam_segment *seg)
{
	struct ipam_dirty_list *list = seg->subnet->dirty;

	if (!seg->is_listed)
		return;
	if (seg->prev)
		seg->prev->next = seg->next;
	else
		list->head = seg->next;
	if (seg->next)
		seg->next->prev = seg->prev;
	else
		list->tail = seg->prev;
	seg->is_listed = false;
}

/* ---- segments ---- */

static unsigned subnet_width(const struct ipam_subnet *subnet)
{
	unsigned host = dp_addr_bits(subnet->id.pool.addr.family) - subnet->id.pool.len;

	return host < IPAM_BITMAP_MAX_WIDTH ? host : IPAM_BITMAP_MAX_WIDTH;
}

/* Index of the segment with upper half @upper, or where it would be inserted. */
static size_t segment_index(const struct ipam_subnet *subnet, uint64_t upper)
{
	size_t lo = 0;
	size_t hi = subnet->n_segments;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (subnet->segments[mid]->upper < upper)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct ipam_segment *segment_find(const struct ipam_subnet *subnet, uint64_t upper)
{
	size_t i = segment_index(subnet, upper);

	if (i == subnet->n_segments || subnet->segments[i]->upper != upper)
		return NULL;
	return subnet->segments[i];
}

static void segment_free(struct ipam_segment *seg)
{
	if (!seg)
		return;
	dirty_list_remove(seg);
	ipam_bitmap_free(seg->bitmap);
	free(seg);
}

DP_DEFINE_CLEANUP(struct ipam_segment, segment_free);

static int segment_new(struct ipam_subnet *subnet, uint64_t upper, struct ipam_segment **ret_seg)
{
	DP_CLEANUP(segment_freep) struct ipam_segment *seg = calloc(1, sizeof *seg);
	int r;

	if (!seg)
		return -ENOMEM;
	seg->subnet = subnet;
	seg->upper = upper;
	r = ipam_bitmap_new(subnet_width(subnet), &seg->bitmap);
	if (r < 0)
		return r;
	*ret_seg = DP_TAKE_PTR(seg);
	return 0;
}

/* Makes room for one more pointer in an array; doubles, so that appending is O(1) amortised. */
static void *grow(void *array, size_t n, size_t *n_slots)
{
	size_t n_new = *n_slots ? 2 * *n_slots : 1;
	void *p = array;

	if (n < *n_slots)
		return array;
	p = realloc(array, n_new * sizeof(void *));
	if (p)
		*n_slots = n_new;
	return p;
}

/* Room for one more segment: what follows cannot fail any more. */
static int segments_reserve(struct ipam_subnet *subnet)
{
	void *p = grow(subnet->segments, subnet->n_segments, &subnet->n_segment_slots);

	if (!p)
		return -ENOMEM;
	subnet->segments = p;
	return 0;
}

static void segments_insert(struct ipam_subnet *subnet, struct ipam_segment *seg)
{
	size_t i = segment_index(subnet, seg->upper);

	memmove(&subnet->segments[i + 1], &subnet->segments[i],
		(subnet->n_segments - i) * sizeof(struct ipam_segment *));
	subnet->segments[i] = seg;
	subnet->n_segments++;
}

static void segments_remove(struct ipam_subnet *subnet, struct ipam_segment *seg)
{
	size_t i = segment_index(subnet, seg->upper);

	subnet->n_segments--;
	memmove(&subnet->segments[i], &subnet->segments[i + 1],
		(subnet->n_segments - i) * sizeof(struct ipam_segment *));
	segment_free(seg);
}

static bool subnet_has(const struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	return dp_addr_cmp(addr, &subnet->id.pool.addr) >= 0 &&
	       dp_addr_cmp(addr, &subnet->last) <= 0;
}

static uint64_t addr_bit(const struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	return addr->lo - subnet->id.pool.addr.lo;
}

/*
 * Sets a bit that is clear. @seg: the segment with upper half @upper; NULL: there is none yet.
 * Return: 0; -ENOMEM with nothing changed.
 */
static int subnet_set(struct ipam_subnet *subnet, struct ipam_segment *seg, uint64_t upper,
		      uint64_t bit)
{
	DP_CLEANUP(segment_freep) struct ipam_segment *made = NULL;
	int r;

	if (!seg) {
		r = segments_reserve(subnet);
		if (r < 0)
			return r;
		r = segment_new(subnet, upper, &made);
		if (r < 0)
			return r;
		seg = made;
	}
	r = ipam_bitmap_set(seg->bitmap, bit);
	assert(r == 0 || r == -ENOMEM); /* the bit was clear */
	if (r < 0)
		return r;
	if (made)
		segments_insert(subnet, DP_TAKE_PTR(made));
	dirty_list_add(seg);
	return 0;
}

bool ipam_dirty_list_pop(struct ipam_dirty_list *dirty, struct ipam_dirty_chunk *ret_chunk)
{
	struct ipam_segment *seg = dirty->head;
	struct ipam_subnet *subnet;

	if (!seg)
		return false;
	subnet = seg->subnet;
	if (!ipam_bitmap_pop_dirty(seg->bitmap, &ret_chunk->chunk_no, ret_chunk->bytes,
				   &ret_chunk->empty))
		assert(false); /* invariant (2) */
	ret_chunk->subnet_id = subnet->rowid;
	ret_chunk->upper = seg->upper;
	if (!ipam_bitmap_is_dirty(seg->bitmap)) {
		dirty_list_remove(seg);
		if (!ipam_bitmap_count(seg->bitmap))
			segments_remove(subnet, seg);
	}
	return true;
}

/* ---- subnet ---- */

int ipam_subnet_new(int64_t rowid, const struct ipam_pool_id *id, struct ipam_dirty_list *dirty,
		    struct ipam_subnet **ret_subnet)
{
	struct ipam_subnet *subnet = calloc(1, sizeof *subnet);

	if (!subnet)
		return -ENOMEM;
	subnet->rowid = rowid;
	subnet->id = *id;
	subnet->last = dp_prefix_last(&id->pool);
	subnet->dirty = dirty;
	*ret_subnet = subnet;
	return 0;
}

void ipam_subnet_free(struct ipam_subnet *subnet)
{
	if (!subnet)
		return;
	for (size_t i = 0; i < subnet->n_segments; i++)
		segment_free(subnet->segments[i]);
	for (size_t i = 0; i < subnet->n_pools; i++)
		free(subnet->pools[i]);
	ipam_block_list_done(&subnet->blocks);
	free(subnet->segments);
	free(subnet->pools);
	free(subnet);
}

int64_t ipam_subnet_id(const struct ipam_subnet *subnet)
{
	return subnet->rowid;
}

enum ipam_book ipam_subnet_book(const struct ipam_subnet *subnet)
{
	return subnet->id.book;
}

const char *ipam_subnet_tenant(const struct ipam_subnet *subnet)
{
	return subnet->id.tenant;
}

const struct dp_prefix *ipam_subnet_prefix(const struct ipam_subnet *subnet)
{
	return &subnet->id.pool;
}

const struct dp_addr *ipam_subnet_last(const struct ipam_subnet *subnet)
{
	return &subnet->last;
}

size_t ipam_subnet_n_pools(const struct ipam_subnet *subnet)
{
	return subnet->n_pools;
}

struct ipam_pool *ipam_subnet_pool(const struct ipam_subnet *subnet, size_t i)
{
	assert(i < subnet->n_pools);
	return subnet->pools[i];
}

bool ipam_subnet_test(const struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	const struct ipam_segment *seg;

	if (!subnet_has(subnet, addr))
		return false;
	seg = segment_find(subnet, addr->hi);
	return seg && ipam_bitmap_test(seg->bitmap, addr_bit(subnet, addr));
}

uint64_t ipam_subnet_count(const struct ipam_subnet *subnet)
{
	uint64_t count = 0;

	for (size_t i = 0; i < subnet->n_segments; i++)
		count += ipam_bitmap_count(subnet->segments[i]->bitmap);
	return count;
}

uint64_t ipam_subnet_n_cooling(const struct ipam_subnet *subnet)
{
	return subnet->n_cooling;
}

/* The part of @range in segment @seg, as bits. Return: false if there is none. */
static bool clip(const struct ipam_segment *seg, const struct ipam_range *range, uint64_t *ret_first,
		 uint64_t *ret_last)
{
	uint64_t base = seg->subnet->id.pool.addr.lo;

	if (seg->upper < range->first.hi || seg->upper > range->last.hi)
		return false;
	*ret_first = seg->upper == range->first.hi ? range->first.lo - base : 0;
	*ret_last = seg->upper == range->last.hi ? range->last.lo - base :
						   ipam_bitmap_last(seg->bitmap);
	return *ret_first <= *ret_last;
}

uint64_t ipam_subnet_count_range(const struct ipam_subnet *subnet, const struct ipam_range *range)
{
	uint64_t first;
	uint64_t last;
	uint64_t n = 0;

	for (size_t i = segment_index(subnet, range->first.hi); i < subnet->n_segments; i++) {
		if (!clip(subnet->segments[i], range, &first, &last))
			break;
		n += ipam_bitmap_count_range(subnet->segments[i]->bitmap, first, last);
	}
	return n;
}

int ipam_subnet_next_set(const struct ipam_subnet *subnet, const struct dp_addr *from,
			 struct dp_addr *ret_addr)
{
	struct ipam_range range = { .first = *from, .last = subnet->last };
	uint64_t first;
	uint64_t last;
	uint64_t bit;

	for (size_t i = segment_index(subnet, from->hi); i < subnet->n_segments; i++) {
		const struct ipam_segment *seg = subnet->segments[i];

		if (!clip(seg, &range, &first, &last) ||
		    ipam_bitmap_next_set(seg->bitmap, first, &bit) < 0)
			continue;
		*ret_addr = (struct dp_addr){ .family = from->family,
					      .hi = seg->upper,
					      .lo = subnet->id.pool.addr.lo + bit };
		return 0;
	}
	return -ENOENT;
}

const struct ipam_block_list *ipam_subnet_blocks(const struct ipam_subnet *subnet)
{
	return &subnet->blocks;
}

int ipam_subnet_block(struct ipam_subnet *subnet, const struct ipam_range *range, bool reserved,
		      const char *name, const char *mac, struct dp_error *err)
{
	char text[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];

	if (!subnet_has(subnet, &range->first) || !subnet_has(subnet, &range->last))
		return dp_error_set(err, DP_ERR_INVALID, -ERANGE, "%s is not inside %s",
				    ipam_range_format(range, text),
				    dp_prefix_format(&subnet->id.pool, prefix));
	return ipam_block_add(&subnet->blocks, range, reserved, name, mac, err);
}

bool ipam_subnet_unblock(struct ipam_subnet *subnet, const struct ipam_range *range)
{
	return ipam_block_remove(&subnet->blocks, range);
}

void ipam_subnet_rest(struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	assert(ipam_subnet_test(subnet, addr) && subnet->n_held > 0);
	subnet->n_held--;
	subnet->n_cooling++;
}

void ipam_subnet_revive(struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	assert(ipam_subnet_test(subnet, addr) && subnet->n_cooling > 0);
	subnet->n_cooling--;
	subnet->n_held++;
}

int64_t ipam_subnet_none_due(const struct ipam_subnet *subnet)
{
	return subnet->none_due;
}

void ipam_subnet_set_none_due(struct ipam_subnet *subnet, int64_t second)
{
	subnet->none_due = second;
}

void ipam_subnet_drop(struct ipam_subnet *subnet, const struct dp_addr *addr, bool was_cooling)
{
	uint64_t *count = was_cooling ? &subnet->n_cooling : &subnet->n_held;
	struct ipam_segment *seg = segment_find(subnet, addr->hi);
	bool was_set = subnet_has(subnet, addr) && seg &&
		       ipam_bitmap_clear(seg->bitmap, addr_bit(subnet, addr));

	assert(was_set && *count > 0);
	--*count;
	dirty_list_add(seg);
}

int ipam_subnet_load_chunk(struct ipam_subnet *subnet, uint64_t upper, uint64_t chunk_no,
			   const uint8_t bytes[static IPAM_CHUNK_SIZE_BYTES])
{
	DP_CLEANUP(segment_freep) struct ipam_segment *made = NULL;
	struct dp_addr first = { .family = subnet->id.pool.addr.family,
				 .hi = upper,
				 .lo = subnet->id.pool.addr.lo };
	struct ipam_segment *seg = segment_find(subnet, upper);
	int r;

	if (!subnet_has(subnet, &first))
		return -ERANGE;
	if (!seg) {
		r = segments_reserve(subnet);
		if (r < 0)
			return r;
		r = segment_new(subnet, upper, &made);
		if (r < 0)
			return r;
		seg = made;
	}
	r = ipam_bitmap_load_chunk(seg->bitmap, chunk_no, bytes);
	if (r < 0)
		return r;
	if (made && ipam_bitmap_count(made->bitmap))
		segments_insert(subnet, DP_TAKE_PTR(made));
	return 0;
}

void ipam_subnet_set_latest(struct ipam_subnet *subnet, const struct dp_addr *addr)
{
	subnet->latest = *addr;
}

const struct dp_addr *ipam_subnet_latest(const struct ipam_subnet *subnet)
{
	return &subnet->latest;
}

void ipam_subnet_load_counts(struct ipam_subnet *subnet, uint64_t n_held, uint64_t n_cooling)
{
	subnet->n_held = n_held;
	subnet->n_cooling = n_cooling;
}

/* ---- pool ---- */

int ipam_subnet_add_pool(struct ipam_subnet *subnet, int64_t rowid, const struct ipam_pool_id *id,
			 uint64_t generation, struct ipam_pool **ret_pool)
{
	void *p = grow(subnet->pools, subnet->n_pools, &subnet->n_pool_slots);
	struct ipam_pool *pool;
	struct dp_addr first;
	struct dp_addr last;
	bool has_usable = ipam_pool_id_bounds(id, &first, &last);

	assert(has_usable); /* ipam_pool_id_make() */
	if (!p)
		return -ENOMEM;
	subnet->pools = p;
	pool = calloc(1, sizeof *pool);
	if (!pool)
		return -ENOMEM;
	pool->rowid = rowid;
	pool->id = *id;
	ipam_pool_id_format(id, pool->name);
	pool->subnet = subnet;
	pool->generation = generation;
	pool->life.alive = generation;
	pool->upper = first.hi;
	pool->first = first.lo;
	pool->last = last.lo;
	pool->cursor = pool->written = first.lo;
	subnet->pools[subnet->n_pools++] = pool;
	*ret_pool = pool;
	return 0;
}

void ipam_subnet_remove_pool(struct ipam_subnet *subnet, struct ipam_pool *pool)
{
	size_t i = 0;

	while (subnet->pools[i] != pool) {
		i++;
		assert(i < subnet->n_pools);
	}
	subnet->n_pools--;
	memmove(&subnet->pools[i], &subnet->pools[i + 1],
		(subnet->n_pools - i) * sizeof(struct ipam_pool *));
	free(pool);
}

int64_t ipam_pool_rowid(const struct ipam_pool *pool)
{
	return pool->rowid;
}

struct ipam_subnet *ipam_pool_subnet(const struct ipam_pool *pool)
{
	return pool->subnet;
}

const struct ipam_pool_id *ipam_pool_ident(const struct ipam_pool *pool)
{
	return &pool->id;
}

const char *ipam_pool_name(const struct ipam_pool *pool)
{
	return pool->name;
}

uint64_t ipam_pool_generation(const struct ipam_pool *pool)
{
	return pool->generation;
}

void ipam_pool_set_generation(struct ipam_pool *pool, uint64_t generation)
{
	pool->generation = generation;
	pool->life.alive = generation;
}

struct ipam_pool_life *ipam_pool_life(struct ipam_pool *pool)
{
	return &pool->life;
}

const struct dp_prefix *ipam_pool_v6_from(const struct ipam_pool *pool)
{
	return pool->v6_from.addr.family ? &pool->v6_from : NULL;
}

void ipam_pool_set_v6_from(struct ipam_pool *pool, const struct dp_prefix *v4)
{
	pool->v6_from = v4 ? *v4 : (struct dp_prefix){ .len = 0 };
}

struct dp_addr ipam_pool_derive(const struct ipam_pool *pool, const struct dp_addr *v4)
{
	struct dp_addr addr = pool->id.pool.addr;

	assert(pool->id.pool.len <= 96 && v4->family == AF_INET);
	addr.lo |= v4->lo;
	return addr;
}

uint64_t ipam_pool_cursor(const struct ipam_pool *pool)
{
	return pool->cursor;
}

bool ipam_pool_cursor_moved(const struct ipam_pool *pool)
{
	return pool->cursor != pool->written;
}

void ipam_pool_cursor_written(struct ipam_pool *pool)
{
	pool->written = pool->cursor;
}

uint32_t ipam_pool_probe_ms(const struct ipam_pool *pool)
{
	return pool->probe_ms;
}

void ipam_pool_set_probe_ms(struct ipam_pool *pool, uint32_t ms)
{
	pool->probe_ms = ms;
}

bool ipam_pool_replayable(const struct ipam_pool *pool)
{
	return pool->replayable;
}

void ipam_pool_set_replayable(struct ipam_pool *pool, bool replayable)
{
	pool->replayable = replayable;
}

int ipam_strategy_parse(const char *name, enum ipam_strategy *ret_strategy)
{
	for (int i = 0; ipam_strategy_names[i]; i++) {
		if (!strcmp(ipam_strategy_names[i], name)) {
			*ret_strategy = (enum ipam_strategy)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum ipam_strategy ipam_pool_strategy(const struct ipam_pool *pool)
{
	return pool->strategy;
}

void ipam_pool_set_strategy(struct ipam_pool *pool, enum ipam_strategy strategy)
{
	pool->strategy = strategy;
}

void ipam_pool_seek(struct ipam_pool *pool, uint64_t n)
{
	uint64_t size = pool->last - pool->first + 1; /* 0: all 2^64 */

	pool->cursor = pool->first + (size ? n % size : n);
}

struct ipam_trend *ipam_pool_trend(struct ipam_pool *pool)
{
	return &pool->trend;
}

static uint64_t within_bounds(const struct ipam_pool *pool, uint64_t cursor)
{
	return cursor >= pool->first && cursor <= pool->last ? cursor : pool->first;
}

int ipam_pool_set_bounds(struct ipam_pool *pool, const struct ipam_range *range,
			 struct dp_error *err)
{
	struct ipam_pool_id whole = pool->id;
	char text[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];
	struct dp_addr first;
	struct dp_addr last;

	whole.range.len = 0;
	whole.range.addr.family = AF_UNSPEC;
	if (!subnet_has(pool->subnet, &range->first) || !subnet_has(pool->subnet, &range->last) ||
	    range->first.hi != range->last.hi || !ipam_pool_id_bounds(&whole, &first, &last) ||
	    dp_addr_cmp(&range->first, &first) < 0 ||
	    (range->last.hi == last.hi && range->last.lo > last.lo))
		return dp_error_set(err, DP_ERR_INVALID, -ERANGE,
				    "%s is not inside the usable addresses of %s",
				    ipam_range_format(range, text),
				    dp_prefix_format(&pool->id.pool, prefix));
	pool->upper = range->first.hi;
	pool->first = range->first.lo;
	pool->last = range->last.lo;
	pool->cursor = within_bounds(pool, pool->cursor);
	return 0;
}

bool ipam_pool_certain(const struct ipam_pool *pool)
{
	return pool->certain;
}

void ipam_pool_set_certain(struct ipam_pool *pool, bool certain)
{
	pool->certain = certain;
}

void ipam_pool_set_cursor(struct ipam_pool *pool, uint64_t cursor)
{
	pool->cursor = pool->written = within_bounds(pool, cursor);
}

static struct dp_addr pool_addr(const struct ipam_pool *pool, uint64_t lower)
{
	return (struct dp_addr){ .family = pool->id.pool.addr.family,
				 .hi = pool->upper,
				 .lo = lower };
}

void ipam_pool_dynamic_bounds(const struct ipam_pool *pool, struct dp_addr *ret_first,
			      struct dp_addr *ret_last)
{
	*ret_first = pool_addr(pool, pool->first);
	*ret_last = pool_addr(pool, pool->last);
}

/* Addresses of the dynamic range that are kept from picks and have no lease. */
static uint64_t count_kept(const struct ipam_pool *pool)
{
	const struct ipam_block_list *list = &pool->subnet->blocks;
	uint64_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct ipam_range range = list->items[i].range;
		struct ipam_range bounds;

		ipam_pool_dynamic_bounds(pool, &bounds.first, &bounds.last);
		if (dp_addr_cmp(&range.first, &bounds.first) < 0)
			range.first = bounds.first;
		if (dp_addr_cmp(&range.last, &bounds.last) > 0)
			range.last = bounds.last;
		if (dp_addr_cmp(&range.first, &range.last) <= 0)
			n += range.last.lo - range.first.lo + 1 -
			     ipam_subnet_count_range(pool->subnet, &range);
	}
	return n;
}

void ipam_pool_usage(const struct ipam_pool *pool, struct ipam_usage *ret_usage)
{
	const struct ipam_subnet *subnet = pool->subnet;
	const struct ipam_segment *seg = segment_find(subnet, pool->upper);
	uint64_t base = subnet->id.pool.addr.lo;
	uint64_t n_usable = pool->last - pool->first + 1; /* 0: all 2^64 */

	*ret_usage = (struct ipam_usage){
		.n_usable = n_usable ? n_usable : UINT64_MAX,
		.n_used = seg ? ipam_bitmap_count_range(seg->bitmap, pool->first - base,
							pool->last - base) :
				0,
		.n_kept = count_kept(pool),
		.n_held = subnet->n_held,
		.n_cooling = subnet->n_cooling,
	};
}

static int exhausted(const struct ipam_pool *pool, struct dp_error *err)
{
	char buf[IPAM_POOL_ID_SIZE];
	struct ipam_usage usage;

	ipam_pool_usage(pool, &usage);
	return dp_error_set(err, DP_ERR_EXHAUSTED, -ENOSPC,
			    "no available addresses on this pool: %s (%" PRIu64 " of %" PRIu64
			    " in use%s)",
			    ipam_pool_id_format(&pool->id, buf), usage.n_used, usage.n_usable,
			    usage.n_kept ? ", the others excluded or reserved" : "");
}

/* The first bit of @from..@to that may be picked, stepping over ranges that are kept. */
static int find_between(const struct ipam_pool *pool, const struct ipam_segment *seg, uint64_t from,
			uint64_t to, uint64_t *ret_bit)
{
	uint64_t base = pool->subnet->id.pool.addr.lo;
	uint64_t bit = from;

	while (from <= to) {
		const struct ipam_block *block;
		struct dp_addr addr;

		if (seg && ipam_bitmap_find_free(seg->bitmap, from, from, to, &bit) < 0)
			return -ENOSPC;
		addr = pool_addr(pool, base + bit);
		block = ipam_block_at(&pool->subnet->blocks, &addr);
		if (!block) {
			*ret_bit = bit;
			return 0;
		}
		if (block->range.last.hi != pool->upper || block->range.last.lo - base >= to)
			return -ENOSPC;
		from = bit = block->range.last.lo - base + 1;
	}
	return -ENOSPC;
}

/* The first bit that may be picked, from @from to the end of the range, then from its beginning. */
static int find_free(const struct ipam_pool *pool, const struct ipam_segment *seg, uint64_t from,
		     uint64_t *ret_bit)
{
	uint64_t base = pool->subnet->id.pool.addr.lo;
	uint64_t lo = pool->first - base;
	uint64_t hi = pool->last - base;

	if (!pool->subnet->blocks.n) {
		*ret_bit = from;
		return seg ? ipam_bitmap_find_free(seg->bitmap, from, lo, hi, ret_bit) : 0;
	}
	if (find_between(pool, seg, from, hi, ret_bit) == 0)
		return 0;
	return from > lo ? find_between(pool, seg, lo, from - 1, ret_bit) : -ENOSPC;
}

int ipam_pool_pick(struct ipam_pool *pool, bool is_gateway, struct dp_addr *ret_addr,
		   struct dp_error *err)
{
	struct ipam_subnet *subnet = pool->subnet;
	struct ipam_segment *seg = segment_find(subnet, pool->upper);
	uint64_t base = subnet->id.pool.addr.lo;
	uint64_t from = (is_gateway ? pool->first : pool->cursor) - base;
	uint64_t lower;
	int r;

	if (find_free(pool, seg, from, &from) < 0)
		return exhausted(pool, err);
	r = subnet_set(subnet, seg, pool->upper, from);
	if (r < 0)
		return dp_error_oom(err);
	subnet->n_held++;
	lower = base + from;
	if (!is_gateway)
		pool->cursor = lower == pool->last ? pool->first : lower + 1;
	*ret_addr = pool_addr(pool, lower);
	return 0;
}

int ipam_pool_check_addr(const struct ipam_pool *pool, const struct dp_addr *addr,
			 struct dp_error *err)
{
	const struct dp_prefix *p = &pool->id.pool;
	const struct dp_addr *last = &pool->subnet->last;
	char text[DP_ADDR_STRLEN];
	char buf[IPAM_POOL_ID_SIZE];
	const char *what = NULL;

	if (!subnet_has(pool->subnet, addr))
		what = "is not in";
	else if (!ipam_prefix_all_usable(p) && !dp_addr_cmp(addr, &p->addr))
		what = p->addr.family == AF_INET ? "is the network address of" :
						   "is the subnet-router anycast address of";
	else if (!ipam_prefix_all_usable(p) && p->addr.family == AF_INET && !dp_addr_cmp(addr, last))
		what = "is the broadcast address of";
	if (!what)
		return 0;
	return dp_error_set(err, DP_ERR_INVALID, -ERANGE,
			    "requested address is out of range: %s %s pool %s",
			    dp_addr_format(addr, text), what, ipam_pool_id_format(&pool->id, buf));
}

/* May the held address of @claim->lease be asked for once more? */
static bool may_confirm(const struct ipam_pool *pool, const struct ipam_claim *claim)
{
	const struct ipam_lease *lease = claim->lease;

	if (claim->may_replay && lease->generation < claim->generation)
		return true;
	return claim->is_gateway && lease->is_gateway && lease->pool_id == pool->rowid;
}

int ipam_pool_claim(struct ipam_pool *pool, const struct ipam_claim *claim,
		    enum ipam_claim_result *ret_result, struct dp_error *err)
{
	struct ipam_subnet *subnet = pool->subnet;
	const struct dp_addr *addr = &claim->addr;
	char text[DP_ADDR_STRLEN];
	char buf[IPAM_POOL_ID_SIZE];
	int r = ipam_pool_check_addr(pool, addr, err);

	if (r < 0)
		return r;
	if (ipam_subnet_test(subnet, addr) != !!claim->lease)
		return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
				    "state of pool %s is inconsistent: %s is %s in the bitmap and "
				    "has %s lease",
				    ipam_pool_id_format(&pool->id, buf), dp_addr_format(addr, text),
				    claim->lease ? "free" : "taken", claim->lease ? "a" : "no");
	if (!claim->lease) {
		r = subnet_set(subnet, segment_find(subnet, addr->hi), addr->hi,
			       addr_bit(subnet, addr));
		if (r < 0)
			return dp_error_oom(err);
		subnet->n_held++;
		*ret_result = IPAM_CLAIM_NEW;
		return 0;
	}
	if (claim->lease->is_cooling) {
		ipam_subnet_revive(subnet, addr);
		*ret_result = IPAM_CLAIM_REVIVED;
		return 0;
	}
	if (may_confirm(pool, claim)) {
		*ret_result = IPAM_CLAIM_CONFIRMED;
		return 0;
	}
	return dp_error_set(err, DP_ERR_CONFLICT, -EADDRINUSE,
			    "Address already in use: %s in pool %s", dp_addr_format(addr, text),
			    ipam_pool_id_format(&pool->id, buf));
}
