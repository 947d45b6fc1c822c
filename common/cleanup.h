/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_CLEANUP_H
#define DP_COMMON_CLEANUP_H

/*
 * Scope-bound cleanup. A cleanup variable is initialised where it is declared, and is disarmed
 * only by DP_TAKE_PTR() or dp_take_fd(): those are the two ways to give ownership away.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/compiler.h"

/* Generates destroyp(), which frees *pp with destroy() (must accept NULL) and clears it. */
#define DP_DEFINE_CLEANUP(type, destroy)         \
	static inline void destroy##p(type **pp) \
	{                                        \
		destroy(*pp);                    \
		*pp = NULL;                      \
	}                                        \
	struct dp_trailing_semicolon

static inline void dp_freep(void *pp)
{
	void *p;

	memcpy(&p, pp, sizeof p); /* any object pointer type may stand behind @pp */
	free(p);
}

static inline void dp_closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd); /* never retried: Linux has freed the number even on EINTR */
	errno = saved;
}

#define auto_free  DP_CLEANUP(dp_freep)
#define auto_close DP_CLEANUP(dp_closep)

/* Evaluates to @p and sets @p to NULL. */
#define DP_TAKE_PTR(p)                      \
	({                                  \
		__typeof__(p) *taken_ = &(p); \
		__typeof__(p) value_ = *taken_; \
		*taken_ = NULL;             \
		value_;                     \
	})

/* Returns *fd and leaves -EBADF behind. */
static inline int dp_take_fd(int *fd)
{
	int v = *fd;

	*fd = -EBADF;
	return v;
}

#endif
