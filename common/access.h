/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_ACCESS_H
#define DP_COMMON_ACCESS_H

/*
 * Who may talk to a daemon: root, whoever runs the daemon itself, and the members of one group if
 * one is configured. The socket's mode says so, too; but a service manager may have made it, and a
 * mode is soon changed.
 */

#include <sys/types.h>

#include "common/error.h"

#define DP_NO_GROUP ((gid_t)-1)

/**
 * dp_access_parse_group() - a group from its name or number
 * @text:      "" = DP_NO_GROUP
 * @ret_group: out
 *
 * Reads the host's group database, so not for use in the loop.
 *
 * Return: 0; -EINVAL no such group; errno of getgrnam(3).
 */
DP_NODISCARD int dp_access_parse_group(const char *text, gid_t *ret_group, struct dp_error *err);

/**
 * dp_access_check() - may the process at the other end of @fd be served?
 * @fd:    connected unix socket
 * @group: whose members may, besides root and our own user; may be DP_NO_GROUP
 *
 * Asked is what the process was when it connected (SO_PEERCRED, SO_PEERGROUPS in unix(7)).
 *
 * Return: 0; -EACCES, @err naming the user; errno of getsockopt(2).
 */
DP_NODISCARD int dp_access_check(int fd, gid_t group, struct dp_error *err);

#endif
