/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_FAILALLOC_H
#define DP_TESTS_SUPPORT_FAILALLOC_H

/*
 * Memory that runs out on demand. Include it in one file of a test program: the functions below take
 * the place of the C library's for the whole process, so that what jansson, SQLite, libnl and the C
 * library itself allocate is counted and fails as well.
 *
 * The pattern of a torture test: for n = 1, 2, ...: fail_alloc_nth(n), run the operation, check
 * that it either failed with nothing changed, or succeeded with fail_alloc_stop() == false.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static unsigned fail_alloc_countdown; /* the allocation that takes it to 0 fails; 0: none does */
static bool fail_alloc_lasts;         /* and all after that one do */
static bool fail_alloc_happened;

/* The C library's own, and in a build with the address sanitizer that one's. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t n, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *p, size_t size) __attribute__((weak));

/* The loader calls these before the sanitizer is ready to check what they do. */
#define FAIL_ALLOC_EARLY __attribute__((no_sanitize("address", "undefined")))

FAIL_ALLOC_EARLY static inline bool fail_alloc_now(void)
{
	if (!fail_alloc_countdown || --fail_alloc_countdown)
		return false;
	fail_alloc_countdown = fail_alloc_lasts;
	fail_alloc_happened = true;
	errno = ENOMEM;
	return true;
}

FAIL_ALLOC_EARLY void *malloc(size_t size)
{
	if (fail_alloc_now())
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

FAIL_ALLOC_EARLY void *calloc(size_t n, size_t size)
{
	if (fail_alloc_now())
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

FAIL_ALLOC_EARLY void *realloc(void *p, size_t size)
{
	if (fail_alloc_now())
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(p, size) : __libc_realloc(p, size);
}

/* The sanitizer has its own of these, which would pass by. */
FAIL_ALLOC_EARLY char *strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *p = malloc(size);

	return p ? memcpy(p, s, size) : NULL;
}

FAIL_ALLOC_EARLY void *reallocarray(void *p, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, n * size);
}

/* The @n-th allocation from now on fails, n > 0; those after it succeed. */
static inline void fail_alloc_nth(unsigned n)
{
	fail_alloc_lasts = false;
	fail_alloc_happened = false;
	fail_alloc_countdown = n;
}

/* The @n-th allocation from now on fails, and so do all after it. */
static inline void fail_alloc_from(unsigned n)
{
	fail_alloc_nth(n);
	fail_alloc_lasts = true;
}

/* No allocation fails any more; returns true if the failure asked for has happened. */
static inline bool fail_alloc_stop(void)
{
	fail_alloc_countdown = 0;
	return fail_alloc_happened;
}

#endif
