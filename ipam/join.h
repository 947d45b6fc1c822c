/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_JOIN_H
#define DP_IPAM_JOIN_H

/*
 * Leases beside what the network daemons know of their holders: for people who ask who has an address,
 * and for a request that only they can judge. The network daemons are asked when somebody asks us; the
 * pages of one answer use what they said at its beginning. Without them leases are shown with what the
 * engine told.
 */

#include "common/rpc.h"
#include "ipam/driver_internal.h"
#include "ipam/peer.h"

/**
 * ipam_join_then() - run @then once the network daemons have been asked, now or later
 * @then: a handler that finishes @call, or fails, at once
 * @req:  its request, which lives as long as @call
 *
 * Return: as @then; DP_STEP_PARK; -ENOMEM.
 */
DP_NODISCARD int ipam_join_then(struct ipam_driver *d, struct dp_call *call, dp_rpc_handler then,
				const void *req, struct dp_error *err);

/* ipam_join_find() - for @then: the endpoint that has @addr of @subnet; NULL if none is known, or
 * more than one of different tenants. Borrowed until @then returns. */
const struct ipam_peer_endpoint *ipam_join_find(const struct ipam_driver *d,
						const struct ipam_subnet *subnet,
						const struct dp_addr *addr);

/* ipam_join_view() - for @then: all of it; NULL = there is no network daemon, or it did not answer. */
const struct ipam_peer_view *ipam_join_view(const struct ipam_driver *d);

/* ipam_join_open() - Return: 0; -ENOMEM. */
DP_NODISCARD int ipam_join_open(struct ipam_driver *d, struct dp_error *err);
void ipam_join_close(struct ipam_driver *d); /* no call may be under way */

#endif
