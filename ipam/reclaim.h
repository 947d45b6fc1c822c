/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_RECLAIM_H
#define DP_IPAM_RECLAIM_H

/*
 * Addresses that nobody uses come back.
 *
 * Engines lose addresses in known places: the IPv4 address of a container whose IPv6 address could
 * not be had, and all that is released while this daemon does not listen (moby:
 * libnetwork/endpoint.go, errors of releases are only logged). The network daemons know which
 * endpoints live. So every now and then the two are compared:
 *
 *            explained again, asked for, released
 *          ┌─────────────────────────────────────┐
 *          ▼          unexplained                 │      `reclaim-after` of observed time
 *        held ──────────────────────────────► suspected ──────────────────────────────► released
 *                                                                                     (cools down)
 *
 * Explained is a lease that belongs to an endpoint, is a gateway, or an auxiliary address of a network.
 * Only leases of the local book are looked at, and only in subnets that a network daemon knows:
 * addresses of the global book are held by a Swarm's leader for other nodes, and a subnet that no
 * network of ours has may be that of a macvlan network. Where tenants have equal subnets, each of
 * them must have a network of ours.
 *
 * Time counts as observed between two rounds in a row that all network daemons answered: what is not
 * answered gives no verdict and stops the clock, and so does a restart of this daemon. An address is
 * always suspected before the engine makes its endpoint: `reclaim-after` must be longer than an engine
 * takes for that. One that is asked for again is a new one.
 *
 * Limit: a container that lost its link but lives on in the engine's eyes loses its address too;
 * when the engine releases it later, the address may be another's. So the first release of an
 * address after it was reclaimed is not believed: the comparison decides.
 */

#include "ipam/driver_internal.h"

/* ipam_reclaim_open() - compare from now on. Return: 0; -ENOMEM. */
DP_NODISCARD int ipam_reclaim_open(struct ipam_driver *d, struct dp_error *err);
void ipam_reclaim_close(struct ipam_driver *d);

/* ipam_reclaim_confirm() - @addr was asked for (again): it is not suspected any more. */
void ipam_reclaim_confirm(struct ipam_driver *d, const struct ipam_subnet *subnet,
			  const struct dp_addr *addr);

/* ipam_reclaim_n() - addresses that were reclaimed since start. */
uint64_t ipam_reclaim_n(const struct ipam_driver *d);

#endif
