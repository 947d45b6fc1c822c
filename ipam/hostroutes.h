/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_HOSTROUTES_H
#define DP_IPAM_HOSTROUTES_H

/*
 * Which prefixes the host uses already: its routes and its nameservers. A pool that we choose must
 * not hide them. Read from /proc and /etc/resolv.conf, so no privilege and no netlink is needed;
 * but the process must live in the host's network namespace.
 */

#include <stddef.h>

#include "common/compiler.h"
#include "common/error.h"
#include "common/inaddr.h"

struct ipam_hostroutes {
	struct dp_prefix *prefixes; /* masked, unordered, may repeat; owned */
	size_t n_prefixes;
};

/* clang-format off */
#define IPAM_HOSTROUTES_INIT { .prefixes = NULL }
/* clang-format on */

/**
 * ipam_hostroutes_read() - collect the prefixes to stay clear of
 * @root:       put in front of every path; "" in the daemon, a directory in tests
 * @ret_routes: out: filled on success; free with ipam_hostroutes_done()
 * @err:        out: reason, names the file; may be NULL
 *
 * Reads @root/proc/net/route, @root/proc/net/ipv6_route, @root/etc/resolv.conf and
 * @root/run/systemd/resolve/resolv.conf (what hides behind 127.0.0.53). A file that is not there
 * counts as empty; lines that are not understood are passed over. Left out: default routes and
 * what VPNs split them into (IPv4 and IPv6 routes shorter than /8), loopback, link-local IPv6,
 * multicast.
 *
 * Blocks for the time of reading four small files.
 *
 * Return: 0; -ENOMEM; another negative errno of open(2) or read(2) (DP_ERR_UNAVAILABLE).
 */
DP_NODISCARD int ipam_hostroutes_read(const char *root, struct ipam_hostroutes *ret_routes,
				      struct dp_error *err);

/* ipam_hostroutes_done() - free the list; a list from IPAM_HOSTROUTES_INIT is fine. */
void ipam_hostroutes_done(struct ipam_hostroutes *routes);

#endif
