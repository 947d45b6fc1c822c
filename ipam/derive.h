/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_DERIVE_H
#define DP_IPAM_DERIVE_H

/*
 * IPv6 addresses made of IPv4 ones, for networks that span hosts: `--ipam-opt v6-from=10.1.0.0/24`.
 *
 * A Swarm's leader gives a task one address only, of either family by chance, and each node asks its
 * own instance for the other one (moby: swarmkit, allocateNetworkIPs): without more every node
 * would give out the same. What is unique in the whole Swarm is the address the leader chose; so
 *
 *   leader   an address asked for in the network's IPv6 pool comes from its IPv4 pool instead: the
 *            leader always holds an IPv4 address, whichever pool it asks first. Releases and
 *            repetitions follow by the family of the address;
 *   node     asks for the IPv4 address first, by name, and at once for an IPv6 one without a name:
 *            the engine holds the network's lock for both (libnetwork: network.createEndpoint). The
 *            answer is the pool with the IPv4 address in its last 32 bits: fd00:1::a01:5 of
 *            10.1.0.5. Without that IPv4 request the answer is a refusal: never a guess.
 *
 * Addresses asked for by name (--ip6, the gateway) are given as asked. The IPv6 pool has 96 bits at
 * most, so that made addresses keep clear of low ones like the gateway's ::1.
 *
 * Pure: no I/O; the last IPv4 address given is in memory only.
 */

#include "ipam/space.h"

/**
 * ipam_derive_parse() - the option's value
 * @pool: subnet that it was given with; the IPv4 one of the network has no use for it
 * @ret_v4: out: masked; family AF_UNSPEC with an IPv4 @pool
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) no IPv4 prefix, or @pool is too small.
 */
DP_NODISCARD int ipam_derive_parse(const char *text, const struct dp_prefix *pool,
				   struct dp_prefix *ret_v4, struct dp_error *err);

/**
 * ipam_derive_redirect() - the pool that is meant
 * @addr: asked for or released; AF_UNSPEC: any
 * @pool: in, out: a global IPv6 pool becomes the IPv4 pool, unless @addr is IPv6 or there is none
 */
void ipam_derive_redirect(const struct ipam_space *space, const struct dp_addr *addr,
			  struct ipam_pool **pool);

/**
 * ipam_derive_addr() - the address to give where none is named
 * @ret_addr: out: to be claimed; AF_UNSPEC: @pool makes none, pick one
 *
 * Uses up the IPv4 address: one request, one address.
 *
 * Return: 0; -ENOENT (DP_ERR_INVALID) no container was given an IPv4 address just before.
 */
DP_NODISCARD int ipam_derive_addr(const struct ipam_space *space, const struct ipam_pool *pool,
				  struct dp_addr *ret_addr, struct dp_error *err);

#endif
