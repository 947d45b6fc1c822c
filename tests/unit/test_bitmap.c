/* SPDX-License-Identifier: Apache-2.0 */

/* The sparse bitmap: by example at the edges, and in random walks beside a naive model. */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipam/bitmap.h"
#include "tests/support/failalloc.h"
#include "tests/support/random.h"

static struct ipam_bitmap *bitmap_new(unsigned width)
{
	struct ipam_bitmap *bm = NULL;

	assert_int_equal(ipam_bitmap_new(width, &bm), 0);
	return bm;
}

static uint64_t last_of(unsigned width)
{
	return width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static void a_new_bitmap_is_empty_and_smaller_than_200_bytes(void **state)
{
	(void)state;
	for (unsigned width = 0; width <= 64; width++) {
		DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(width);
		uint64_t bit = 7;

		assert_true(ipam_bitmap_last(bm) == last_of(width));
		assert_int_equal(ipam_bitmap_count(bm), 0);
		assert_int_equal(ipam_bitmap_count_range(bm, 0, last_of(width)), 0);
		assert_false(ipam_bitmap_test(bm, 0));
		assert_false(ipam_bitmap_clear(bm, last_of(width)));
		assert_int_equal(ipam_bitmap_next_set(bm, 0, &bit), -ENOENT);
		assert_int_equal(bit, 7);
		assert_false(ipam_bitmap_is_dirty(bm));
		assert_true(ipam_bitmap_memory_bytes(bm) < 200);
		assert_int_equal(ipam_bitmap_find_free(bm, 0, 0, last_of(width), &bit), 0);
		assert_int_equal(bit, 0);
	}
}

static void a_bit_is_set_once_and_cleared_once(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(24);

	(void)state;
	assert_int_equal(ipam_bitmap_set(bm, 70000), 0);
	assert_int_equal(ipam_bitmap_set(bm, 70000), -EEXIST);
	assert_true(ipam_bitmap_test(bm, 70000));
	assert_false(ipam_bitmap_test(bm, 70001));
	assert_false(ipam_bitmap_test(bm, UINT64_MAX));
	assert_int_equal(ipam_bitmap_count(bm), 1);
	assert_true(ipam_bitmap_clear(bm, 70000));
	assert_false(ipam_bitmap_clear(bm, 70000));
	assert_false(ipam_bitmap_test(bm, 70000));
	assert_int_equal(ipam_bitmap_count(bm), 0);
}

static void edges_of_words_chunks_and_nodes_are_told_apart(void **state)
{
	static const uint64_t edges[] = { 0,
					  63,
					  64,
					  4095,
					  4096,
					  (UINT64_C(1) << 18) - 1,
					  UINT64_C(1) << 18,
					  (UINT64_C(1) << 24) - 1,
					  UINT64_C(1) << 24,
					  (UINT64_C(1) << 60) - 1,
					  UINT64_C(1) << 60,
					  UINT64_C(1) << 63,
					  UINT64_MAX - 4096,
					  UINT64_MAX - 4095,
					  UINT64_MAX - 64,
					  UINT64_MAX };
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(64);
	uint64_t from = 0;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(edges); i++)
		assert_int_equal(ipam_bitmap_set(bm, edges[i]), 0);
	for (size_t i = 0; i < DP_ARRAY_LEN(edges); i++) {
		uint64_t bit;

		assert_true(ipam_bitmap_test(bm, edges[i]));
		assert_int_equal(ipam_bitmap_count_range(bm, 0, edges[i]), i + 1);
		assert_int_equal(ipam_bitmap_count_range(bm, edges[i], UINT64_MAX),
				 DP_ARRAY_LEN(edges) - i);
		assert_int_equal(ipam_bitmap_next_set(bm, from, &bit), 0);
		assert_true(bit == edges[i]);
		from = edges[i] + 1;
	}
	for (size_t i = 0; i < DP_ARRAY_LEN(edges); i++)
		assert_true(ipam_bitmap_clear(bm, edges[i]));
	assert_int_equal(ipam_bitmap_count(bm), 0);
}

static void filling_gives_every_number_once_in_order_and_then_none(void **state)
{
	static const unsigned widths[] = { 0, 1, 2, 5, 6, 7, 11, 12, 13, 17, 18, 19 };

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(widths); i++) {
		DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(widths[i]);
		uint64_t last = last_of(widths[i]);
		uint64_t bit;

		for (uint64_t n = 0; n <= last; n++) {
			assert_int_equal(ipam_bitmap_find_free(bm, n, 0, last, &bit), 0);
			assert_true(bit == n);
			assert_int_equal(ipam_bitmap_set(bm, bit), 0);
		}
		assert_true(ipam_bitmap_count(bm) == last + 1);
		assert_true(ipam_bitmap_count_range(bm, 0, last) == last + 1);
		for (uint64_t from = 0; from <= last; from += 1 + last / 7)
			assert_int_equal(ipam_bitmap_find_free(bm, from, 0, last, &bit), -ENOSPC);
	}
}

static void the_only_free_number_is_found_from_everywhere(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(20);
	uint64_t last = last_of(20);
	uint64_t rng = random_seed(__func__);

	(void)state;
	for (uint64_t n = 0; n <= last; n++)
		assert_int_equal(ipam_bitmap_set(bm, n), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t hole = random_below(&rng, last + 1);
		uint64_t bit = 0;

		assert_true(ipam_bitmap_clear(bm, hole));
		assert_int_equal(
			ipam_bitmap_find_free(bm, random_below(&rng, last + 1), 0, last, &bit), 0);
		assert_true(bit == hole);
		assert_int_equal(ipam_bitmap_set(bm, hole), 0);
	}
}

static void the_search_stays_within_its_bounds(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(16);
	uint64_t bit = 1;

	(void)state;
	for (uint64_t n = 4000; n <= 4200; n++)
		assert_int_equal(ipam_bitmap_set(bm, n), 0);
	assert_int_equal(ipam_bitmap_find_free(bm, 4100, 4000, 4200, &bit), -ENOSPC);
	assert_int_equal(bit, 1);
	assert_int_equal(ipam_bitmap_find_free(bm, 4100, 3999, 4200, &bit), 0);
	assert_int_equal(bit, 3999);
	assert_int_equal(ipam_bitmap_find_free(bm, 4100, 4000, 4201, &bit), 0);
	assert_int_equal(bit, 4201);
	assert_int_equal(ipam_bitmap_find_free(bm, 9, 10, 20, &bit), 0);
	assert_int_equal(bit, 10); /* from below the bounds */
	assert_int_equal(ipam_bitmap_find_free(bm, 21, 10, 20, &bit), 0);
	assert_int_equal(bit, 10); /* from above them */
	assert_int_equal(ipam_bitmap_find_free(bm, 20, 10, 20, &bit), 0);
	assert_int_equal(bit, 20);
	assert_int_equal(ipam_bitmap_set(bm, 20), 0);
	assert_int_equal(ipam_bitmap_find_free(bm, 20, 10, 20, &bit), 0);
	assert_int_equal(bit, 10); /* wraps */
	assert_int_equal(ipam_bitmap_set(bm, 65535), 0);
	assert_int_equal(ipam_bitmap_find_free(bm, 65535, 65535, 65535, &bit), -ENOSPC);
}

static void a_chunk_has_the_same_bytes_on_every_host(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(64);
	uint8_t want[IPAM_CHUNK_SIZE_BYTES] = { [0] = 0x01, [1] = 0x02, [8] = 0x80, [511] = 0x80 };
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES];
	uint64_t chunk_no;
	bool empty;

	(void)state;
	assert_int_equal(ipam_bitmap_set(bm, 3 * 4096 + 0), 0);
	assert_int_equal(ipam_bitmap_set(bm, 3 * 4096 + 9), 0);
	assert_int_equal(ipam_bitmap_set(bm, 3 * 4096 + 71), 0);
	assert_int_equal(ipam_bitmap_set(bm, 3 * 4096 + 4095), 0);
	assert_true(ipam_bitmap_is_dirty(bm));
	assert_true(ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty));
	assert_int_equal(chunk_no, 3);
	assert_false(empty);
	assert_memory_equal(bytes, want, sizeof want);
	assert_false(ipam_bitmap_is_dirty(bm));
	assert_false(ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty));
}

static void an_emptied_chunk_is_reported_once_and_its_memory_freed(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(64);
	size_t before = ipam_bitmap_memory_bytes(bm);
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES];
	uint64_t chunk_no;
	bool empty;

	(void)state;
	assert_int_equal(ipam_bitmap_set(bm, UINT64_C(1) << 40), 0);
	assert_true(ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty));
	assert_true(ipam_bitmap_memory_bytes(bm) > before + IPAM_CHUNK_SIZE_BYTES);
	assert_true(ipam_bitmap_clear(bm, UINT64_C(1) << 40));
	assert_true(ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty));
	assert_true(chunk_no == UINT64_C(1) << 28);
	assert_true(empty);
	assert_false(ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty));
	assert_int_equal(ipam_bitmap_memory_bytes(bm), before);
}

static void a_lone_bit_of_a_64_bit_space_costs_less_than_1500_bytes(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(64);

	(void)state;
	assert_int_equal(ipam_bitmap_set(bm, UINT64_C(0x0242c0fffe123456)), 0);
	assert_true(ipam_bitmap_memory_bytes(bm) < 1500);
}

static void a_full_slash_8_costs_little_more_than_its_bits(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(24);

	(void)state;
	for (uint64_t n = 0; n < UINT64_C(1) << 24; n++)
		if (ipam_bitmap_set(bm, n) < 0)
			fail();
	assert_true(ipam_bitmap_memory_bytes(bm) < 2300000); /* the bits alone: 2097152 */
}

static void a_chunk_that_does_not_fit_is_refused(void **state)
{
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES] = { 0 };

	(void)state;
	for (unsigned width = 0; width <= 64; width++) {
		DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(width);
		uint64_t last_chunk = last_of(width) / 4096;
		unsigned last_bit = last_of(width) % 4096;

		assert_int_equal(ipam_bitmap_load_chunk(bm, last_chunk + 1, bytes), -ERANGE);
		if (last_bit < 4095) {
			bytes[(last_bit + 1) / 8] = (uint8_t)(1 << (last_bit + 1) % 8);
			assert_int_equal(ipam_bitmap_load_chunk(bm, last_chunk, bytes), -ERANGE);
			bytes[(last_bit + 1) / 8] = 0;
			assert_int_equal(ipam_bitmap_count(bm), 0);
		}
		bytes[last_bit / 8] = (uint8_t)(1 << last_bit % 8);
		assert_int_equal(ipam_bitmap_load_chunk(bm, last_chunk, bytes), 0);
		assert_int_equal(ipam_bitmap_load_chunk(bm, last_chunk, bytes), -EEXIST);
		bytes[last_bit / 8] = 0;
		assert_true(ipam_bitmap_test(bm, last_of(width)));
		assert_int_equal(ipam_bitmap_count(bm), 1);
		assert_false(ipam_bitmap_is_dirty(bm));
	}
}

static void an_empty_chunk_is_loaded_as_nothing(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(32);
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES] = { 0 };
	size_t before = ipam_bitmap_memory_bytes(bm);

	(void)state;
	assert_int_equal(ipam_bitmap_load_chunk(bm, 5, bytes), 0);
	assert_int_equal(ipam_bitmap_memory_bytes(bm), before);
}

static void full_chunks_that_were_loaded_are_stepped_over(void **state)
{
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(24);
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES];
	uint64_t bit;

	(void)state;
	memset(bytes, 0xff, sizeof bytes);
	for (uint64_t c = 0; c < 4096; c++)
		if (c != 1000)
			assert_int_equal(ipam_bitmap_load_chunk(bm, c, bytes), 0);
	assert_int_equal(ipam_bitmap_find_free(bm, 0, 0, last_of(24), &bit), 0);
	assert_int_equal(bit, 1000 * 4096);
	assert_int_equal(ipam_bitmap_load_chunk(bm, 1000, bytes), 0);
	assert_int_equal(ipam_bitmap_find_free(bm, 0, 0, last_of(24), &bit), -ENOSPC);
	assert_true(ipam_bitmap_clear(bm, 777777));
	assert_int_equal(ipam_bitmap_find_free(bm, 0, 0, last_of(24), &bit), 0);
	assert_int_equal(bit, 777777);
}

static void a_set_that_runs_out_of_memory_changes_nothing(void **state)
{
	static const unsigned widths[] = { 8, 16, 24, 48, 64 };
	unsigned n_failures = 0;

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(widths); i++) {
		for (unsigned nth = 1;; nth++) {
			DP_CLEANUP(ipam_bitmap_freep)
			struct ipam_bitmap *bm = bitmap_new(widths[i]);
			uint64_t last = last_of(widths[i]);
			uint64_t bit = 1;
			size_t before;
			bool failed;
			int r;

			if (widths[i] > 12)
				assert_int_equal(ipam_bitmap_set(bm, 0), 0);
			before = ipam_bitmap_memory_bytes(bm);
			fail_alloc_nth(nth);
			r = ipam_bitmap_set(bm, last);
			failed = fail_alloc_stop();
			assert_int_equal(r, failed ? -ENOMEM : 0);
			assert_true(ipam_bitmap_test(bm, last) == !failed);
			if (!failed)
				break;
			n_failures++;
			assert_int_equal(ipam_bitmap_count(bm), widths[i] > 12);
			/* A table of children that has grown may stay so. */
			assert_true(ipam_bitmap_memory_bytes(bm) <= before + 64 * sizeof(void *));
			assert_int_equal(ipam_bitmap_find_free(bm, last, 1, last, &bit), 0);
			assert_true(bit == last);
			assert_int_equal(ipam_bitmap_set(bm, last), 0);
			assert_int_equal(ipam_bitmap_count(bm), widths[i] > 12 ? 2 : 1);
		}
	}
	assert_true(n_failures >= DP_ARRAY_LEN(widths));
}

static void a_new_or_a_load_that_runs_out_of_memory_changes_nothing(void **state)
{
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES] = { 1 };
	DP_CLEANUP(ipam_bitmap_freep) struct ipam_bitmap *bm = bitmap_new(64);
	struct ipam_bitmap *none = NULL;
	unsigned n_failures = 0;

	(void)state;
	fail_alloc_nth(1);
	assert_int_equal(ipam_bitmap_new(8, &none), -ENOMEM);
	assert_true(fail_alloc_stop());
	assert_null(none);
	for (unsigned nth = 1;; nth++) {
		int r;

		fail_alloc_nth(nth);
		r = ipam_bitmap_load_chunk(bm, UINT64_C(1) << 50, bytes);
		if (!fail_alloc_stop()) {
			assert_int_equal(r, 0);
			break;
		}
		n_failures++;
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(ipam_bitmap_count(bm), 0);
	}
	assert_true(n_failures > 9);
	assert_int_equal(ipam_bitmap_count(bm), 1);
}

/* ---- beside a naive model ---- */

enum { MODEL_MAX = 20000, DISK_MAX = 4096 };

/* An ordered list of numbers, and the chunk rows as a disk would have them. */
struct model {
	uint64_t bits[MODEL_MAX];
	size_t n_bits;
	struct {
		uint64_t chunk_no;
		uint8_t bytes[IPAM_CHUNK_SIZE_BYTES];
	} disk[DISK_MAX];
	size_t n_rows;
};

static size_t model_index(const struct model *m, uint64_t bit)
{
	size_t lo = 0;
	size_t hi = m->n_bits;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->bits[mid] < bit)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool model_test(const struct model *m, uint64_t bit)
{
	size_t i = model_index(m, bit);

	return i < m->n_bits && m->bits[i] == bit;
}

static void model_set(struct model *m, uint64_t bit)
{
	size_t i = model_index(m, bit);

	assert_true(m->n_bits < MODEL_MAX);
	memmove(&m->bits[i + 1], &m->bits[i], (m->n_bits - i) * sizeof m->bits[0]);
	m->bits[i] = bit;
	m->n_bits++;
}

static void model_clear(struct model *m, uint64_t bit)
{
	size_t i = model_index(m, bit);

	m->n_bits--;
	memmove(&m->bits[i], &m->bits[i + 1], (m->n_bits - i) * sizeof m->bits[0]);
}

static int model_find_free(const struct model *m, uint64_t from, uint64_t lo, uint64_t hi,
			   uint64_t *ret_bit)
{
	uint64_t bit = from < lo || from > hi ? lo : from;
	uint64_t start = bit;

	do {
		if (!model_test(m, bit)) {
			*ret_bit = bit;
			return 0;
		}
		bit = bit == hi ? lo : bit + 1;
	} while (bit != start);
	return -ENOSPC;
}

static void model_write(struct model *m, struct ipam_bitmap *bm)
{
	uint8_t bytes[IPAM_CHUNK_SIZE_BYTES];
	uint64_t chunk_no;
	bool empty;

	while (ipam_bitmap_pop_dirty(bm, &chunk_no, bytes, &empty)) {
		size_t i = 0;

		while (i < m->n_rows && m->disk[i].chunk_no != chunk_no)
			i++;
		if (empty) {
			if (i < m->n_rows)
				m->disk[i] = m->disk[--m->n_rows];
			continue;
		}
		if (i == m->n_rows) {
			assert_true(m->n_rows < DISK_MAX);
			m->n_rows++;
		}
		m->disk[i].chunk_no = chunk_no;
		memcpy(m->disk[i].bytes, bytes, sizeof bytes);
	}
	assert_false(ipam_bitmap_is_dirty(bm));
}

/* What was written gives the same set again. */
static struct ipam_bitmap *model_reload(const struct model *m, unsigned width)
{
	struct ipam_bitmap *bm = bitmap_new(width);
	uint64_t from = 0;

	for (size_t i = 0; i < m->n_rows; i++)
		assert_int_equal(ipam_bitmap_load_chunk(bm, m->disk[i].chunk_no, m->disk[i].bytes),
				 0);
	assert_int_equal(ipam_bitmap_count(bm), m->n_bits);
	for (size_t i = 0; i < m->n_bits; i++) {
		uint64_t bit;

		assert_int_equal(ipam_bitmap_next_set(bm, from, &bit), 0);
		assert_true(bit == m->bits[i]);
		from = bit + 1;
	}
	return bm;
}

/* A number of the width, often near an edge of the tree, so that runs fill up and meet. */
static uint64_t random_bit(uint64_t *rng, unsigned width)
{
	uint64_t last = last_of(width);
	uint64_t r = random_u64(rng);
	unsigned at = (unsigned)(r >> 32) % (width + 1);

	switch (r % 8) {
	case 0:
		return random_u64(rng) & last;
	case 1:
		return (last - random_below(rng, 300)) & last;
	case 2:
	case 3: /* around a power of two */
		return (last_of(at) - 100 + random_below(rng, 200)) & last;
	default: /* a run that fills a chunk and begins the next */
		return (3900 + random_below(rng, 6000)) & last;
	}
}

static void random_walk(unsigned width, unsigned n_steps, uint64_t rng)
{
	struct model *m = calloc(1, sizeof *m);
	struct ipam_bitmap *bm = bitmap_new(width);
	uint64_t last = last_of(width);

	assert_non_null(m);
	for (unsigned step = 0; step < n_steps; step++) {
		uint64_t bit = random_bit(&rng, width);
		uint64_t lo = random_bit(&rng, width);
		uint64_t hi = random_bit(&rng, width);
		uint64_t got = 0;
		uint64_t want = 0;
		int r;

		if (lo > hi) {
			uint64_t t = lo;

			lo = hi;
			hi = t;
		}
		switch (random_below(&rng, 16)) {
		case 0:
		case 1:
		case 2: /* an allocation may fail, mostly it does not come to that */
			fail_alloc_nth(1 + (unsigned)random_below(&rng, 12));
			r = ipam_bitmap_set(bm, bit);
			if (r == -ENOMEM) {
				assert_true(fail_alloc_stop());
				break;
			}
			(void)fail_alloc_stop();
			assert_int_equal(r, model_test(m, bit) ? -EEXIST : 0);
			if (r == 0)
				model_set(m, bit);
			break;
		case 3:
		case 4:
		case 5:
			assert_true(ipam_bitmap_clear(bm, bit) == model_test(m, bit));
			if (model_test(m, bit))
				model_clear(m, bit);
			break;
		case 6:
			assert_true(ipam_bitmap_test(bm, bit) == model_test(m, bit));
			break;
		case 7:
			assert_int_equal(ipam_bitmap_count_range(bm, lo, hi),
					 model_index(m, hi) + model_test(m, hi) -
						 model_index(m, lo));
			break;
		case 8: {
			size_t i = model_index(m, bit);

			r = ipam_bitmap_next_set(bm, bit, &got);
			assert_int_equal(r, i < m->n_bits ? 0 : -ENOENT);
			assert_true(r < 0 || got == m->bits[i]);
			break;
		}
		case 9:
			if (random_below(&rng, 50) == 0)
				model_write(m, bm);
			break;
		case 10:
			if (random_below(&rng, 500) == 0) { /* stop and start */
				model_write(m, bm);
				ipam_bitmap_free(bm);
				bm = model_reload(m, width);
			}
			break;
		default: /* allocate */
			if (random_below(&rng, 2) == 0) {
				lo = 0;
				hi = last;
			}
			r = model_find_free(m, bit, lo, hi, &want);
			assert_int_equal(ipam_bitmap_find_free(bm, bit, lo, hi, &got), r);
			assert_true(got == want);
			if (r == 0) {
				assert_int_equal(ipam_bitmap_set(bm, got), 0);
				model_set(m, got);
			}
			break;
		}
		assert_int_equal(ipam_bitmap_count(bm), m->n_bits);
	}
	model_write(m, bm);
	ipam_bitmap_free(bm);
	bm = model_reload(m, width);
	ipam_bitmap_free(bm);
	free(m);
}

static void random_walks_agree_with_a_naive_model(void **state)
{
	static const unsigned widths[] = { 0, 1, 5, 6, 8, 11, 12, 13, 16, 18, 19, 24, 31, 63, 64 };
	uint64_t seed = random_seed(__func__);

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(widths); i++)
		random_walk(widths[i], 20000, seed + i);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_bitmap_is_empty_and_smaller_than_200_bytes),
		cmocka_unit_test(a_bit_is_set_once_and_cleared_once),
		cmocka_unit_test(edges_of_words_chunks_and_nodes_are_told_apart),
		cmocka_unit_test(filling_gives_every_number_once_in_order_and_then_none),
		cmocka_unit_test(the_only_free_number_is_found_from_everywhere),
		cmocka_unit_test(the_search_stays_within_its_bounds),
		cmocka_unit_test(a_chunk_has_the_same_bytes_on_every_host),
		cmocka_unit_test(an_emptied_chunk_is_reported_once_and_its_memory_freed),
		cmocka_unit_test(a_lone_bit_of_a_64_bit_space_costs_less_than_1500_bytes),
		cmocka_unit_test(a_full_slash_8_costs_little_more_than_its_bits),
		cmocka_unit_test(a_chunk_that_does_not_fit_is_refused),
		cmocka_unit_test(an_empty_chunk_is_loaded_as_nothing),
		cmocka_unit_test(full_chunks_that_were_loaded_are_stepped_over),
		cmocka_unit_test(a_set_that_runs_out_of_memory_changes_nothing),
		cmocka_unit_test(a_new_or_a_load_that_runs_out_of_memory_changes_nothing),
		cmocka_unit_test(random_walks_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
