/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_BITMAP_H
#define DP_IPAM_BITMAP_H

/*
 * A sparse set of 64-bit numbers: which addresses of a subnet must not be given out.
 *
 * Costs what is used: a set bit costs its chunk of 4096 bits and the path down to it; clear
 * regions of any size cost nothing. Every operation costs the same from empty to full. Pure: no
 * I/O, no clock, not thread-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/compiler.h"

enum {
	IPAM_CHUNK_BITS = 4096,      /* bits in a chunk, the unit that is written to disk */
	IPAM_CHUNK_SIZE_BYTES = 512, /* a chunk as bytes: bit i is bit i % 8 of byte i / 8 */
	IPAM_BITMAP_MAX_WIDTH = 64,
};

struct ipam_bitmap;

/**
 * ipam_bitmap_new() - empty set of the numbers 0 .. 2^@width - 1
 * @width:      0..64 (asserted)
 * @ret_bitmap: out: new; free with ipam_bitmap_free()
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int ipam_bitmap_new(unsigned width, struct ipam_bitmap **ret_bitmap);

/* ipam_bitmap_free() - free everything; NULL is fine. */
void ipam_bitmap_free(struct ipam_bitmap *bitmap);

DP_DEFINE_CLEANUP(struct ipam_bitmap, ipam_bitmap_free);

/* ipam_bitmap_last() - the largest number the set can hold, 2^width - 1. */
uint64_t ipam_bitmap_last(const struct ipam_bitmap *bitmap);

/* ipam_bitmap_test() - is @bit in the set? Numbers beyond the width are not. */
bool ipam_bitmap_test(const struct ipam_bitmap *bitmap, uint64_t bit);

/**
 * ipam_bitmap_set() - put @bit into the set
 * @bitmap: changed only on success; the bit's chunk becomes dirty
 * @bit:    at most ipam_bitmap_last() (asserted)
 *
 * Return: 0; -EEXIST it is in already; -ENOMEM.
 */
DP_NODISCARD int ipam_bitmap_set(struct ipam_bitmap *bitmap, uint64_t bit);

/**
 * ipam_bitmap_clear() - take @bit out of the set; cannot fail
 * @bitmap: the bit's chunk becomes dirty if the bit was set. The memory of a chunk that becomes
 *          empty is freed when ipam_bitmap_pop_dirty() hands it out.
 *
 * Return: true if it was in the set.
 */
bool ipam_bitmap_clear(struct ipam_bitmap *bitmap, uint64_t bit);

/**
 * ipam_bitmap_find_free() - the next number that is not in the set
 * @bitmap:  borrows
 * @from:    where to begin; outside @lo..@hi it counts as @lo
 * @lo:      first number allowed
 * @hi:      last number allowed, @lo <= @hi <= ipam_bitmap_last() (asserted)
 * @ret_bit: out: the first clear one of @from..@hi, else of @lo..@from-1
 *
 * Walks masks of what is full, never the bits: O(levels).
 *
 * Return: 0; -ENOSPC all of @lo..@hi are in the set.
 */
DP_NODISCARD int ipam_bitmap_find_free(const struct ipam_bitmap *bitmap, uint64_t from, uint64_t lo,
				       uint64_t hi, uint64_t *ret_bit);

/**
 * ipam_bitmap_next_set() - the smallest number >= @from that is in the set
 *
 * For the consistency check and for listings; O(levels).
 *
 * Return: 0; -ENOENT there is none.
 */
DP_NODISCARD int ipam_bitmap_next_set(const struct ipam_bitmap *bitmap, uint64_t from,
				      uint64_t *ret_bit);

/* ipam_bitmap_count() - how many numbers are in the set; O(1). */
uint64_t ipam_bitmap_count(const struct ipam_bitmap *bitmap);

/* ipam_bitmap_count_range() - how many of @lo..@hi (inclusive) are in the set; O(levels * 64). */
uint64_t ipam_bitmap_count_range(const struct ipam_bitmap *bitmap, uint64_t lo, uint64_t hi);

/* ipam_bitmap_memory_bytes() - heap held, without malloc's own overhead; for metrics and tests. */
size_t ipam_bitmap_memory_bytes(const struct ipam_bitmap *bitmap);

/* ipam_bitmap_is_dirty() - has a chunk changed that ipam_bitmap_pop_dirty() has not handed out? */
bool ipam_bitmap_is_dirty(const struct ipam_bitmap *bitmap);

/**
 * ipam_bitmap_pop_dirty() - take one changed chunk off the list of what must be written
 * @bitmap:       the chunk is clean afterwards
 * @ret_chunk_no: out: its number; it holds the bits number * 4096 and up
 * @ret_bytes:    out: its content, the same on hosts of any byte order
 * @ret_empty:    out: it has no bit set (any more): its row, if there is one, is to be deleted
 *
 * Return: true; false if none is dirty, outputs untouched.
 */
bool ipam_bitmap_pop_dirty(struct ipam_bitmap *bitmap, uint64_t *ret_chunk_no,
			   uint8_t ret_bytes[static IPAM_CHUNK_SIZE_BYTES], bool *ret_empty);

/**
 * ipam_bitmap_load_chunk() - bring back a chunk as ipam_bitmap_pop_dirty() gave it out
 * @bitmap:   changed only on success; the chunk is not dirty
 * @chunk_no: its number
 * @bytes:    its content
 *
 * Return: 0; -ERANGE the chunk, or a bit set in it, lies beyond the width; -EEXIST the chunk has
 *         bits already; -ENOMEM.
 */
DP_NODISCARD int ipam_bitmap_load_chunk(struct ipam_bitmap *bitmap, uint64_t chunk_no,
					const uint8_t bytes[static IPAM_CHUNK_SIZE_BYTES]);

#endif
