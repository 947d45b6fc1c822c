/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_PEER_H
#define DP_COMMON_PEER_H

/*
 * Where the other daemon is, and what the two say to each other. They talk over their ordinary
 * sockets, which only root may open; abstract sockets would be simpler to find, but a container with
 * the host's network could pose as a daemon on one.
 *
 *   IPAM daemon → network daemon
 *     /Peer.Endpoints {After, Probed}          networks (first page) and endpoints, in pages by id
 *     /Peer.Probe {Pool, Address, Wait}        does anyone on the segment hold the address?
 *   network daemon → IPAM daemon
 *     /Peer.Compare {}                         endpoints were dropped: compare leases now
 *
 * Either daemon works without the other; whatever is not known is assumed to be in use.
 */

#include <stddef.h>

#include "common/error.h"

/* The default of the keys `network-socket` and `ipam-socket`: @service is the daemon's name, @managed
 * the file name of its socket as a managed plugin. The second folder is where a managed plugin sees
 * the host's. */
#define DP_PEER_SOCKETS(service, managed)                                          \
	"/run/docker/plugins/" service ".sock /run/docker/plugins/*/" managed " "  \
	"/run/docker/host-plugins/" service ".sock /run/docker/host-plugins/*/" managed

/* Sockets that exist. Zero-initialised = none. */
struct dp_peer_list {
	char **paths;
	size_t n;
};

/**
 * dp_peer_find() - the sockets that @patterns name
 * @patterns: blank-separated paths, with wildcards as in glob(7)
 * @ret_list: out: each socket once, by whatever paths it is seen; freed by dp_peer_list_done()
 *
 * Return: 0, also if there is none; -ENOMEM.
 */
DP_NODISCARD int dp_peer_find(const char *patterns, struct dp_peer_list *ret_list,
			      struct dp_error *err);

void dp_peer_list_done(struct dp_peer_list *list);

#endif
