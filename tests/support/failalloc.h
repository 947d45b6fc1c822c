/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_FAILALLOC_H
#define DP_TESTS_SUPPORT_FAILALLOC_H

/*
 * Memory that runs out on demand. Include it in one file of a test program that is linked with
 *   -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
 * The pattern of a torture test: for n = 1, 2, ...: fail_alloc_nth(n), run the operation, check
 * that it either failed with nothing changed, or succeeded with fail_alloc_stop() == false.
 */

#include <stdbool.h>
#include <stddef.h>

static unsigned fail_alloc_countdown; /* the allocation that takes it to 0 fails; 0: none does */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static inline bool fail_alloc_now(void)
{
	return fail_alloc_countdown && --fail_alloc_countdown == 0;
}

void *__wrap_malloc(size_t size)
{
	return fail_alloc_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fail_alloc_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fail_alloc_now() ? NULL : __real_realloc(p, size);
}

/* The @n-th allocation from now on fails, n > 0; those after it succeed. */
static inline void fail_alloc_nth(unsigned n)
{
	fail_alloc_countdown = n;
}

/* No allocation fails any more; returns true if the failure asked for has happened. */
static inline bool fail_alloc_stop(void)
{
	bool happened = !fail_alloc_countdown;

	fail_alloc_countdown = 0;
	return happened;
}

#endif
