/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_KNOWN_H
#define DP_IPAM_KNOWN_H

/*
 * Containers that the engine names - by name (engine 29 on) or by MAC (where the daemon requires
 * it) - and the addresses that wait for them: a reservation of an operator, or, in a pool whose
 * strategy is sticky, the address that it had before and that still rests.
 */

#include "ipam/driver_internal.h"

/**
 * ipam_known_pick() - take the address that waits for a container
 * @name, @mac: what the engine tells; "" = not told
 *
 * Return: 1 taken, its row is to be written; 0 none waits; negative errno, spoilt where it must be.
 */
DP_NODISCARD int ipam_known_pick(struct ipam_driver *d, struct ipam_pool *pool, const char *name,
				 const char *mac, struct dp_addr *ret_addr, struct dp_error *err);

/**
 * ipam_known_check() - may --ip of @addr be honoured, as far as operators have a say?
 * @held: a lease row exists: who holds an address keeps it
 *
 * Return: 0; -EADDRNOTAVAIL (DP_ERR_CONFLICT) it is excluded, or reserved for somebody else.
 */
DP_NODISCARD int ipam_known_check(const struct ipam_pool *pool, const struct dp_addr *addr,
				  const char *name, const char *mac, struct dp_error *err);

#endif
