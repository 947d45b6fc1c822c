/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_RANDOM_H
#define DP_TESTS_SUPPORT_RANDOM_H

/*
 * Randomness that can be repeated. The seed is printed as a TAP comment; DP_TEST_SEED=N in the
 * environment runs a failed sequence once more.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/parse.h"

/* Seed from the environment, else from the clock; prints it with the name of the test. */
static inline uint64_t random_seed(const char *test)
{
	const char *env = getenv("DP_TEST_SEED");
	uint64_t seed;

	if (!env || dp_parse_u64(env, 0, UINT64_MAX, &seed) < 0) {
		struct timespec now;

		(void)clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	}
	(void)printf("# %s: DP_TEST_SEED=%" PRIu64 "\n", test, seed);
	return seed;
}

/* splitmix64: the next of a sequence that passes through all 2^64 states. */
static inline uint64_t random_u64(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* A number below @n (n > 0); the bias of the modulo does not matter here. */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return random_u64(state) % n;
}

#endif
