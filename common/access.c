/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/access.h"
#include "common/cleanup.h"
#include "common/parse.h"

int dp_access_parse_group(const char *text, gid_t *ret_group, struct dp_error *err)
{
	const struct group *g;
	uint64_t number;

	if (!*text) {
		*ret_group = DP_NO_GROUP;
		return 0;
	}
	if (dp_parse_u64(text, 0, UINT32_MAX - 1, &number) == 0) {
		*ret_group = (gid_t)number;
		return 0;
	}
	errno = 0;
	g = getgrnam(text);
	if (g) {
		*ret_group = g->gr_gid;
		return 0;
	}
	/* Without a database, as in a managed plugin, there is only the number. */
	if (errno && errno != ENOENT)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "group '%s': %s", text,
				    strerror(errno));
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "'%s' is no group of this host, nor a number", text);
}

/* The groups besides the first one. A kernel that cannot tell (before 4.13) tells of none. */
static bool is_member(int fd, gid_t group)
{
	auto_free gid_t *groups = NULL;
	socklen_t size = 0;

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) || errno != ERANGE)
		return false; /* it has none */
	groups = malloc(size);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof *groups; i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

int dp_access_check(int fd, gid_t group, struct dp_error *err)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "credentials of the client: %s",
				    strerror(errno));
	if (peer.uid == 0 || peer.uid == geteuid())
		return 0;
	if (group != DP_NO_GROUP && (peer.gid == group || is_member(fd, group)))
		return 0;
	return dp_error_set(err, DP_ERR_INVALID, -EACCES,
			    "user %u is not served: it is neither root nor in the group that "
			    "`socket-group` names",
			    (unsigned)peer.uid);
}
