/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sparse bitmap over up to 2^64 numbers.
 *
 * A radix tree. Leaves are chunks of 4096 bits, 64 words with one summary bit a word ("all ones").
 * Inner nodes have up to 64 children, 6 bits of the chunk number a level; the number of levels
 * follows from the width and never changes, so that no operation restructures the tree.
 *
 *   width 12 or less: the root is a leaf        width 24 (a /8): 2 levels
 *   width 16 (a /16): 1 level                   width 64 (IPv6 /64): 9 levels
 *
 * Invariants
 *   (1) bit i of node->full is set iff child i is full, or lies beyond the width (root only): the
 *       search for a clear bit looks at one word a level and never enters a full child;
 *   (2) node->count is the number of set bits below: counts of a range need only the path to its
 *       two ends;
 *   (3) an absent child has no bit set. Children are kept packed, in the order of their bits in
 *       node->present, so a lone bit in a /64 costs nine small nodes, not nine tables of 64; with
 *       more than 32 children they stand in a table of 64, each in its own slot;
 *   (4) nodes and leaves do not move while they live; each knows its parent. So the leaf used last
 *       is remembered, and runs of neighbouring addresses never walk down from the root;
 *   (5) a leaf without bits exists only while it is dirty: its deletion must still be written.
 *
 * Memory is taken before anything is changed. Clearing takes none, hence cannot fail: an undo
 * must not.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipam/bitmap.h"

enum {
	CHUNK_SHIFT = 12, /* log2 of the bits in a chunk */
	NODE_SHIFT = 6,   /* log2 of the children of a node */
	CHUNK_WORDS = IPAM_CHUNK_BITS / 64,
	TABLE_SLOTS = 1 << NODE_SHIFT,
};

struct node {
	struct node *parent; /* NULL: root */
	uint64_t count;      /* set bits below */
	uint64_t full;       /* bit i: child i has no clear bit */
	uint64_t present;    /* bit i: child i exists */
	void **children;     /* the existing ones: nodes, at the lowest level leaves */
	unsigned n_slots;    /* size of @children */
};

struct leaf {
	uint64_t words[CHUNK_WORDS]; /* bit b of word w: bit 64 * w + b of the chunk */
	uint64_t full;               /* bit w: words[w] is all ones */
	uint64_t chunk_no;           /* number / 4096 of its bits */
	struct node *parent;         /* NULL: root */
	struct leaf *next_dirty;     /* in bitmap->dirty */
	unsigned n_set;              /* set bits */
	bool dirty;                  /* in bitmap->dirty */
};

struct ipam_bitmap {
	void *root;          /* node, or leaf if @n_levels is 0; NULL: no bit set */
	struct leaf *hot;    /* used last; NULL: none */
	struct leaf *dirty;  /* list of changed leaves */
	uint64_t n_set;      /* set bits */
	size_t memory_bytes; /* heap of everything here */
	unsigned width;      /* numbers are below 2^width */
	unsigned n_levels;   /* of nodes above the leaves */
};

/* Mask of the lowest @n bits; defined for 0..64, unlike a bare shift. */
static uint64_t low_mask(unsigned n)
{
	return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static uint64_t bit_of(unsigned i)
{
	return UINT64_C(1) << i;
}

static unsigned lowest(uint64_t v)
{
	return (unsigned)__builtin_ctzll(v);
}

static unsigned popcount(uint64_t v)
{
	return (unsigned)__builtin_popcountll(v);
}

/* Which child of a node @level levels above the leaves (0: their parent) leads to @chunk_no. */
static unsigned child_index(uint64_t chunk_no, unsigned level)
{
	return (unsigned)(chunk_no >> (level * NODE_SHIFT)) & (CHUNK_WORDS - 1);
}

/* Where child @i stands, or is to be inserted. */
static void **child_slot(const struct node *n, unsigned i)
{
	uint64_t before = n->present & low_mask(i);

	if (n->n_slots == TABLE_SLOTS)
		return &n->children[i];
	return &n->children[before ? popcount(before) : 0]; /* popcount is a call on most hosts */
}

static void *child_get(const struct node *n, unsigned i)
{
	return n->present & bit_of(i) ? *child_slot(n, i) : NULL;
}

/* Doubles the slots; the last time, from packed to a table. */
static int children_grow(struct ipam_bitmap *bm, struct node *n)
{
	unsigned n_slots = n->n_slots ? 2 * n->n_slots : 1;
	void **children = realloc(n->children, n_slots * sizeof *children);

	if (!children)
		return -ENOMEM;
	if (n_slots == TABLE_SLOTS) {
		unsigned packed = n->n_slots; /* all taken; the highest moves first */

		for (unsigned i = TABLE_SLOTS; i-- > 0;)
			children[i] = n->present & bit_of(i) ? children[--packed] : NULL;
	}
	bm->memory_bytes += (n_slots - n->n_slots) * sizeof *children;
	n->children = children;
	n->n_slots = n_slots;
	return 0;
}

static int child_add(struct ipam_bitmap *bm, struct node *n, unsigned i, void *child)
{
	unsigned n_children = popcount(n->present);
	void **slot;

	if (n_children == n->n_slots && children_grow(bm, n) < 0)
		return -ENOMEM;
	slot = child_slot(n, i);
	if (n->n_slots < TABLE_SLOTS)
		memmove(slot + 1, slot, (size_t)(n->children + n_children - slot) * sizeof *slot);
	*slot = child;
	n->present |= bit_of(i);
	return 0;
}

static void child_remove(struct node *n, unsigned i)
{
	void **slot = child_slot(n, i);
	void **end = n->children + popcount(n->present);

	if (n->n_slots < TABLE_SLOTS)
		memmove(slot, slot + 1, (size_t)(end - slot - 1) * sizeof *slot);
	n->present &= ~bit_of(i);
}

/* Hangs @child below @parent, or makes it the root. @level: of the parent. */
static int attach(struct ipam_bitmap *bm, struct node *parent, uint64_t chunk_no, unsigned level,
		  void *child)
{
	if (parent)
		return child_add(bm, parent, child_index(chunk_no, level), child);
	bm->root = child;
	return 0;
}

static void detach(struct ipam_bitmap *bm, struct node *parent, uint64_t chunk_no, unsigned level)
{
	if (parent)
		child_remove(parent, child_index(chunk_no, level));
	else
		bm->root = NULL;
}

/* Frees @n and those above it that have no children. @level: of @n. */
static void prune(struct ipam_bitmap *bm, struct node *n, uint64_t chunk_no, unsigned level)
{
	while (n && !n->present) {
		struct node *parent = n->parent;

		detach(bm, parent, chunk_no, ++level);
		bm->memory_bytes -= sizeof *n + n->n_slots * sizeof *n->children;
		free(n->children);
		free(n);
		n = parent;
	}
}

static struct node *node_new(struct ipam_bitmap *bm, struct node *parent, uint64_t chunk_no,
			     unsigned level)
{
	struct node *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->parent = parent;
	if (!parent) /* children beyond the width never have a clear bit to offer */
		n->full = ~low_mask(1U << (bm->width - CHUNK_SHIFT - level * NODE_SHIFT));
	if (attach(bm, parent, chunk_no, level + 1, n) < 0) {
		free(n);
		return NULL;
	}
	bm->memory_bytes += sizeof *n;
	return n;
}

static struct leaf *leaf_new(struct ipam_bitmap *bm, struct node *parent, uint64_t chunk_no)
{
	struct leaf *leaf = calloc(1, sizeof *leaf);

	if (!leaf)
		return NULL;
	leaf->parent = parent;
	leaf->chunk_no = chunk_no;
	if (attach(bm, parent, chunk_no, 0, leaf) < 0) {
		free(leaf);
		return NULL;
	}
	bm->memory_bytes += sizeof *leaf;
	return leaf;
}

static struct leaf *leaf_find(const struct ipam_bitmap *bm, uint64_t chunk_no)
{
	void *p = bm->root;

	if (bm->hot && bm->hot->chunk_no == chunk_no)
		return bm->hot;
	for (unsigned level = bm->n_levels; p && level-- > 0;)
		p = child_get(p, child_index(chunk_no, level));
	return p;
}

/* The leaf of @chunk_no, made with the path to it if need be; NULL: no memory, nothing changed. */
static struct leaf *leaf_make(struct ipam_bitmap *bm, uint64_t chunk_no)
{
	struct node *n = NULL;
	void *p = bm->root;
	unsigned level = bm->n_levels;

	while (level > 0) {
		struct node *parent = n;

		level--;
		n = p ? p : node_new(bm, parent, chunk_no, level);
		if (!n) {
			prune(bm, parent, chunk_no, level + 1);
			return NULL;
		}
		p = child_get(n, child_index(chunk_no, level));
	}
	if (!p)
		p = leaf_new(bm, n, chunk_no);
	if (!p)
		prune(bm, n, chunk_no, 0);
	return p;
}

/* A leaf has become full, or is no longer: invariant (1) for those above. */
static void mark_full(const struct leaf *leaf)
{
	unsigned level = 0;

	for (struct node *n = leaf->parent; n; n = n->parent) {
		n->full |= bit_of(child_index(leaf->chunk_no, level++));
		if (n->full != UINT64_MAX)
			break;
	}
}

static void mark_not_full(const struct leaf *leaf)
{
	unsigned level = 0;

	for (struct node *n = leaf->parent; n; n = n->parent) {
		bool was_full = n->full == UINT64_MAX;

		n->full &= ~bit_of(child_index(leaf->chunk_no, level++));
		if (!was_full)
			break;
	}
}

static void mark_dirty(struct ipam_bitmap *bm, struct leaf *leaf)
{
	if (leaf->dirty)
		return;
	leaf->dirty = true;
	leaf->next_dirty = bm->dirty;
	bm->dirty = leaf;
}

int ipam_bitmap_new(unsigned width, struct ipam_bitmap **ret_bitmap)
{
	struct ipam_bitmap *bm;

	assert(width <= IPAM_BITMAP_MAX_WIDTH);
	bm = calloc(1, sizeof *bm);
	if (!bm)
		return -ENOMEM;
	bm->width = width;
	if (width > CHUNK_SHIFT)
		bm->n_levels = (width - CHUNK_SHIFT + NODE_SHIFT - 1) / NODE_SHIFT;
	bm->memory_bytes = sizeof *bm;
	*ret_bitmap = bm;
	return 0;
}

static void free_below(void *p, unsigned level)
{
	struct node *n = p;

	if (p && level > 0) {
		for (uint64_t rest = n->present; rest; rest &= rest - 1)
			free_below(child_get(n, lowest(rest)), level - 1);
		free(n->children);
	}
	free(p);
}

void ipam_bitmap_free(struct ipam_bitmap *bm)
{
	if (!bm)
		return;
	free_below(bm->root, bm->n_levels);
	free(bm);
}

uint64_t ipam_bitmap_last(const struct ipam_bitmap *bm)
{
	return low_mask(bm->width);
}

bool ipam_bitmap_test(const struct ipam_bitmap *bm, uint64_t bit)
{
	const struct leaf *leaf;

	if (bit > ipam_bitmap_last(bm))
		return false;
	leaf = leaf_find(bm, bit >> CHUNK_SHIFT);
	return leaf && leaf->words[bit / 64 % CHUNK_WORDS] & bit_of(bit % 64);
}

int ipam_bitmap_set(struct ipam_bitmap *bm, uint64_t bit)
{
	uint64_t chunk_no = bit >> CHUNK_SHIFT;
	unsigned w = bit / 64 % CHUNK_WORDS;
	struct leaf *leaf = bm->hot;

	assert(bit <= ipam_bitmap_last(bm));
	if (!leaf || leaf->chunk_no != chunk_no) {
		leaf = leaf_make(bm, chunk_no);
		if (!leaf)
			return -ENOMEM;
		bm->hot = leaf;
	}
	if (leaf->words[w] & bit_of(bit % 64))
		return -EEXIST;
	leaf->words[w] |= bit_of(bit % 64);
	leaf->n_set++;
	bm->n_set++;
	for (struct node *n = leaf->parent; n; n = n->parent)
		n->count++;
	if (leaf->words[w] == UINT64_MAX) {
		leaf->full |= bit_of(w);
		if (leaf->full == UINT64_MAX)
			mark_full(leaf);
	}
	mark_dirty(bm, leaf);
	return 0;
}

bool ipam_bitmap_clear(struct ipam_bitmap *bm, uint64_t bit)
{
	unsigned w = bit / 64 % CHUNK_WORDS;
	struct leaf *leaf;

	if (bit > ipam_bitmap_last(bm))
		return false;
	leaf = leaf_find(bm, bit >> CHUNK_SHIFT);
	if (!leaf || !(leaf->words[w] & bit_of(bit % 64)))
		return false;
	bm->hot = leaf;
	if (leaf->full == UINT64_MAX)
		mark_not_full(leaf);
	leaf->words[w] &= ~bit_of(bit % 64);
	leaf->full &= ~bit_of(w);
	leaf->n_set--;
	bm->n_set--;
	for (struct node *n = leaf->parent; n; n = n->parent)
		n->count--;
	mark_dirty(bm, leaf);
	return true;
}

/* The first clear bit of the chunk at or after @from (0..4095). */
static bool leaf_next_clear(const struct leaf *leaf, unsigned from, unsigned *ret_bit)
{
	unsigned w = from / 64;
	uint64_t clear = ~leaf->words[w] & ~low_mask(from % 64);

	if (!clear) {
		uint64_t words = ~leaf->full & ~low_mask(w + 1);

		if (!words)
			return false;
		w = lowest(words);
		clear = ~leaf->words[w];
	}
	*ret_bit = 64 * w + lowest(clear);
	return true;
}

/* The first clear number at or after @from; may lie beyond the width where the root is a leaf. */
static bool next_clear(const struct ipam_bitmap *bm, uint64_t from, uint64_t *ret_bit)
{
	uint64_t chunk_no = from >> CHUNK_SHIFT;
	const struct leaf *leaf = leaf_find(bm, chunk_no);
	unsigned level = 0;
	unsigned bit;

	if (!leaf) {
		*ret_bit = from;
		return true;
	}
	if (leaf_next_clear(leaf, from % IPAM_CHUNK_BITS, &bit)) {
		*ret_bit = chunk_no << CHUNK_SHIFT | bit;
		return true;
	}

	/* Up until a node has a child with room behind the path we came by, then down to it. */
	for (const struct node *n = leaf->parent; n; n = n->parent, level++) {
		uint64_t room = ~n->full & ~low_mask(child_index(chunk_no, level) + 1);
		const void *p;
		unsigned i;

		if (!room)
			continue;
		i = lowest(room);
		chunk_no &= ~low_mask((level + 1) * NODE_SHIFT);
		chunk_no |= (uint64_t)i << (level * NODE_SHIFT);
		p = child_get(n, i);
		while (p && level > 0) {
			const struct node *down = p;

			level--;
			i = lowest(~down->full);
			chunk_no |= (uint64_t)i << (level * NODE_SHIFT);
			p = child_get(down, i);
		}
		bit = 0;
		if (p && !leaf_next_clear(p, 0, &bit))
			assert(false); /* invariant (1) */
		*ret_bit = chunk_no << CHUNK_SHIFT | bit;
		return true;
	}
	return false;
}

int ipam_bitmap_find_free(const struct ipam_bitmap *bm, uint64_t from, uint64_t lo, uint64_t hi,
			  uint64_t *ret_bit)
{
	uint64_t bit;

	assert(lo <= hi && hi <= ipam_bitmap_last(bm));
	if (from < lo || from > hi)
		from = lo;
	if ((next_clear(bm, from, &bit) && bit <= hi) ||
	    (from > lo && next_clear(bm, lo, &bit) && bit < from)) {
		*ret_bit = bit;
		return 0;
	}
	return -ENOSPC;
}

static bool next_set_below(const void *p, unsigned level, uint64_t chunk_no, uint64_t from,
			   uint64_t *ret_bit)
{
	if (level == 0) {
		const struct leaf *leaf = p;
		uint64_t base = leaf->chunk_no << CHUNK_SHIFT;
		unsigned start = from > base ? (unsigned)(from - base) : 0;
		uint64_t mask = ~low_mask(start % 64);

		for (unsigned w = start / 64; leaf->n_set && w < CHUNK_WORDS; w++) {
			if (leaf->words[w] & mask) {
				*ret_bit = base | (64 * w + lowest(leaf->words[w] & mask));
				return true;
			}
			mask = UINT64_MAX;
		}
		return false;
	}

	const struct node *n = p;
	uint64_t from_chunk = from >> CHUNK_SHIFT;
	uint64_t rest = n->count ? n->present : 0;

	level--;
	if (from_chunk > chunk_no) /* the path to @from leads through this node */
		rest &= ~low_mask(child_index(from_chunk, level));
	for (; rest; rest &= rest - 1) {
		unsigned i = lowest(rest);

		if (next_set_below(child_get(n, i), level,
				   chunk_no | (uint64_t)i << (level * NODE_SHIFT), from, ret_bit))
			return true;
	}
	return false;
}

int ipam_bitmap_next_set(const struct ipam_bitmap *bm, uint64_t from, uint64_t *ret_bit)
{
	if (!bm->root || from > ipam_bitmap_last(bm) ||
	    !next_set_below(bm->root, bm->n_levels, 0, from, ret_bit))
		return -ENOENT;
	return 0;
}

uint64_t ipam_bitmap_count(const struct ipam_bitmap *bm)
{
	return bm->n_set;
}

/* How many numbers of 0..@last (inclusive) are in the set. */
static uint64_t count_up_to(const struct ipam_bitmap *bm, uint64_t last)
{
	uint64_t count = 0;
	const void *p = bm->root;

	for (unsigned level = bm->n_levels; p && level-- > 0;) {
		const struct node *n = p;
		unsigned i = child_index(last >> CHUNK_SHIFT, level);
		uint64_t before = n->present & low_mask(i);

		for (; before; before &= before - 1) {
			const void *child = child_get(n, lowest(before));

			count += level > 0 ? ((const struct node *)child)->count :
					     ((const struct leaf *)child)->n_set;
		}
		p = child_get(n, i);
	}
	if (p) {
		const struct leaf *leaf = p;
		unsigned w = last / 64 % CHUNK_WORDS;

		for (unsigned v = 0; v < w; v++)
			count += popcount(leaf->words[v]);
		count += popcount(leaf->words[w] & low_mask(last % 64 + 1));
	}
	return count;
}

uint64_t ipam_bitmap_count_range(const struct ipam_bitmap *bm, uint64_t lo, uint64_t hi)
{
	assert(lo <= hi && hi <= ipam_bitmap_last(bm));
	return count_up_to(bm, hi) - (lo ? count_up_to(bm, lo - 1) : 0);
}

size_t ipam_bitmap_memory_bytes(const struct ipam_bitmap *bm)
{
	return bm->memory_bytes;
}

bool ipam_bitmap_is_dirty(const struct ipam_bitmap *bm)
{
	return bm->dirty;
}

bool ipam_bitmap_pop_dirty(struct ipam_bitmap *bm, uint64_t *ret_chunk_no,
			   uint8_t ret_bytes[static IPAM_CHUNK_SIZE_BYTES], bool *ret_empty)
{
	struct leaf *leaf = bm->dirty;

	if (!leaf)
		return false;
	bm->dirty = leaf->next_dirty;
	leaf->dirty = false;
	for (unsigned i = 0; i < IPAM_CHUNK_SIZE_BYTES; i++)
		ret_bytes[i] = (uint8_t)(leaf->words[i / 8] >> (i % 8 * 8));
	*ret_chunk_no = leaf->chunk_no;
	*ret_empty = !leaf->n_set;
	if (!leaf->n_set) { /* invariant (5) */
		struct node *parent = leaf->parent;
		uint64_t chunk_no = leaf->chunk_no;

		if (bm->hot == leaf)
			bm->hot = NULL;
		detach(bm, parent, chunk_no, 0);
		bm->memory_bytes -= sizeof *leaf;
		free(leaf);
		prune(bm, parent, chunk_no, 0);
	}
	return true;
}

int ipam_bitmap_load_chunk(struct ipam_bitmap *bm, uint64_t chunk_no,
			   const uint8_t bytes[static IPAM_CHUNK_SIZE_BYTES])
{
	uint64_t words[CHUNK_WORDS] = { 0 };
	uint64_t full = 0;
	unsigned n_set = 0;
	struct leaf *leaf;

	if (chunk_no > ipam_bitmap_last(bm) >> CHUNK_SHIFT)
		return -ERANGE;
	for (unsigned i = 0; i < IPAM_CHUNK_SIZE_BYTES; i++)
		words[i / 8] |= (uint64_t)bytes[i] << (i % 8 * 8);
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		unsigned n_valid = 64; /* bits of the word within the width */

		if (bm->width < CHUNK_SHIFT) {
			unsigned n_bits = 1U << bm->width;

			n_valid = n_bits > 64 * w ? n_bits - 64 * w : 0;
		}
		if (words[w] & ~low_mask(n_valid))
			return -ERANGE;
		if (words[w] == UINT64_MAX)
			full |= bit_of(w);
		n_set += popcount(words[w]);
	}
	leaf = leaf_find(bm, chunk_no);
	if (leaf && leaf->n_set)
		return -EEXIST;
	if (!n_set)
		return 0;
	leaf = leaf_make(bm, chunk_no);
	if (!leaf)
		return -ENOMEM;
	memcpy(leaf->words, words, sizeof words);
	leaf->full = full;
	leaf->n_set = n_set;
	bm->n_set += n_set;
	for (struct node *n = leaf->parent; n; n = n->parent)
		n->count += n_set;
	if (full == UINT64_MAX)
		mark_full(leaf);
	return 0;
}
