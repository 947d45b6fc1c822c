/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_TESTS_SUPPORT_NOSYNC_H
#define DP_TESTS_SUPPORT_NOSYNC_H

/* For programs in which no machine crashes: SQLite need not wait for a disk. To be included once. */

#include <unistd.h>

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

#endif
