/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Nanoseconds an address for the allocator alone: no socket, no disk.
 *
 *   fill     next-fit from empty to full, per address
 *   churn    at 99.9 % full: release a random address, take the next free one, per pair
 *   durable  as fill, and every chunk that changed is taken out for the disk each 64 picks
 *
 *   choose   a free /24 of a /8 for each of 65536 networks, all of them held, per network
 *
 * CPU time, the best of three. Prints one line a subnet; the goal is 100 ns an address.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ipam/space.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void check(int r, const char *what)
{
	if (r < 0) {
		(void)fprintf(stderr, "bench_bitmap: %s: %d\n", what, r);
		exit(EXIT_FAILURE);
	}
}

/* Picks @n addresses, taking out what is dirty after each @batch of them (0: never). */
static double fill(struct ipam_space *space, struct ipam_pool *pool, uint64_t n, uint64_t batch)
{
	uint64_t begin = now_ns();

	for (uint64_t i = 1; i <= n; i++) {
		struct ipam_dirty_chunk chunk;
		struct dp_addr addr;

		check(ipam_pool_pick(pool, false, &addr, NULL), "pick");
		if (batch && i % batch == 0)
			while (ipam_space_pop_dirty(space, &chunk))
				;
	}
	return (double)(now_ns() - begin) / (double)n;
}

static double churn(struct ipam_pool *pool, uint64_t n_used, uint64_t n)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct dp_addr first;
	struct dp_addr last;
	uint64_t x = 88172645463325252;
	uint64_t spent = 0;

	ipam_pool_dynamic_bounds(pool, &first, &last);
	for (uint64_t i = 0; i < n;) {
		enum { BATCH = 256 };
		struct dp_addr victims[BATCH];
		unsigned k = 0;
		uint64_t begin;

		while (k < BATCH) { /* the drawing is not part of the measurement */
			victims[k] = dp_addr_add(&first, next_random(&x) % n_used);
			if (ipam_subnet_test(subnet, &victims[k]))
				k++;
		}
		begin = now_ns();
		for (k = 0; k < BATCH; k++) {
			struct dp_addr addr;

			if (!ipam_subnet_test(subnet, &victims[k]))
				continue; /* drawn twice */
			ipam_subnet_drop(subnet, &victims[k], false);
			check(ipam_pool_pick(pool, false, &addr, NULL), "pick");
			i++;
		}
		spent += now_ns() - begin;
	}
	return (double)spent / (double)n;
}

static void run(const char *text, uint64_t n_fill, uint64_t n_churn, double ns[static 3],
		uint64_t *ret_n)
{
	for (unsigned durable = 0; durable < 2; durable++) {
		DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
		struct ipam_pool_grant grant;
		struct ipam_pool_id id;
		struct dp_prefix p;
		struct ipam_usage usage;

		check(dp_prefix_parse(text, &p), text);
		check(ipam_pool_id_make(IPAM_LOCAL, "", &p, NULL, &id, NULL), text);
		check(ipam_space_new(&space), "space");
		check(ipam_space_request_pool(space, &id, false, &grant, NULL), text);
		ipam_pool_usage(grant.pool, &usage);
		if (usage.n_usable < n_fill)
			n_fill = usage.n_usable;
		if (durable) {
			ns[2] = fill(space, grant.pool, n_fill, 64);
			continue;
		}
		ns[0] = fill(space, grant.pool, n_fill, 0);
		for (uint64_t i = 0; i < n_fill / 1000; i++) { /* 0.1 % free, spread */
			struct dp_addr first;
			struct dp_addr last;

			ipam_pool_dynamic_bounds(grant.pool, &first, &last);
			first = dp_addr_add(&first, i * 1000);
			ipam_subnet_drop(ipam_pool_subnet(grant.pool), &first, false);
		}
		ns[1] = churn(grant.pool, n_fill, n_churn);
	}
	*ret_n = n_fill;
}

static void best_of_three(const char *text, uint64_t n_fill, uint64_t n_churn)
{
	double best[3] = { 1e9, 1e9, 1e9 };
	uint64_t n = 0;

	for (unsigned i = 0; i < 3; i++) {
		double ns[3];

		run(text, n_fill, n_churn, ns, &n);
		for (unsigned k = 0; k < 3; k++)
			best[k] = ns[k] < best[k] ? ns[k] : best[k];
	}
	(void)printf("%-12s fill %6.1f  churn %6.1f  durable %6.1f  ns/address (%" PRIu64
		     " addresses)\n",
		     text, best[0], best[1], best[2], n);
}

static void choose(void)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	struct ipam_default_pool base;
	struct ipam_choice choice = { .bases = &base, .n_bases = 1 };
	uint64_t begin;
	unsigned n = 0;
	struct dp_prefix p;

	check(ipam_default_pool_parse("base=10.0.0.0/8,size=24", &base, NULL), "parse");
	check(ipam_space_new(&space), "space");
	begin = now_ns();
	while (ipam_space_choose(space, &choice, &p, NULL) == 0) {
		struct ipam_pool_grant grant;
		struct ipam_pool_id id;

		check(ipam_pool_id_make(IPAM_LOCAL, "", &p, NULL, &id, NULL), "id");
		check(ipam_space_request_pool(space, &id, false, &grant, NULL), "request");
		n++;
	}
	(void)printf("%-12s choose %.1f us/network (%u networks)\n", "10.0.0.0/8",
		     (double)(now_ns() - begin) / 1000 / n, n);
}

int main(void)
{
	best_of_three("10.0.0.0/16", UINT64_MAX, 1000000);
	best_of_three("10.0.0.0/8", UINT64_MAX, 1000000);
	best_of_three("fd00::/64", UINT64_C(16000000), 1000000);
	choose();
	return EXIT_SUCCESS;
}
