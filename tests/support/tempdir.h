/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_TEMPDIR_H
#define DP_TESTS_SUPPORT_TEMPDIR_H

/* A directory of a test's own below $TMPDIR or /tmp. Needs _GNU_SOURCE for nftw(3). */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/unit.h"

enum { TEMPDIR_SIZE = 72 }; /* bytes: short enough that socket paths in it fit 107 */

static inline void tempdir_make(char dir[static TEMPDIR_SIZE])
{
	const char *base = getenv("TMPDIR");

	if (!base || strlen(base) > 50)
		base = "/tmp";
	(void)snprintf(dir, TEMPDIR_SIZE, "%s/dp-unit-XXXXXX", base);
	assert_non_null(mkdtemp(dir));
}

static inline int tempdir_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void tempdir_remove(const char *dir)
{
	(void)nftw(dir, tempdir_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
