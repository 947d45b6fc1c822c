/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "ipam/known.h"

/* The reserved address @addr, unless somebody else holds it. */
static int take_reserved(struct ipam_driver *d, struct ipam_pool *pool, const struct dp_addr *addr,
			 struct dp_error *err)
{
	char text[DP_ADDR_STRLEN];
	struct ipam_lease lease;
	struct ipam_claim claim = { .addr = *addr, .generation = ipam_space_generation(d->space) };
	enum ipam_claim_result result;
	int r = ipam_pool_check_addr(pool, addr, err);

	if (r < 0)
		return r;
	r = ipam_state_get_lease(d->state, ipam_pool_subnet(pool), addr, &lease, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (r == 1 && !lease.is_cooling) {
		dp_log_notice("reserved address %s is held by another container",
			      dp_addr_format(addr, text));
		return 0;
	}
	claim.lease = r == 1 ? &lease : NULL;
	r = ipam_pool_claim(pool, &claim, &result, err);
	return r < 0 ? r : 1;
}

int ipam_known_pick(struct ipam_driver *d, struct ipam_pool *pool, const char *name,
		    const char *mac, struct dp_addr *ret_addr, struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	const struct ipam_block *block;
	int r;

	if (!*name && !*mac)
		return 0;
	block = ipam_block_of(ipam_subnet_blocks(subnet), name, mac);
	if (block) {
		*ret_addr = block->range.first;
		return take_reserved(d, pool, ret_addr, err);
	}
	if (ipam_pool_strategy(pool) != IPAM_STICKY)
		return 0;
	r = ipam_ledger_find_resting(ipam_state_ledger(d->state), pool, name, mac, ret_addr, err);
	if (r < 0)
		return ipam_driver_spoil(d, r, err);
	if (r == 0 || ipam_block_at(ipam_subnet_blocks(subnet), ret_addr))
		return 0;
	ipam_subnet_revive(subnet, ret_addr);
	return 1;
}

int ipam_known_check(const struct ipam_pool *pool, const struct dp_addr *addr, const char *name,
		     const char *mac, struct dp_error *err)
{
	const struct ipam_block *b = ipam_block_at(ipam_subnet_blocks(ipam_pool_subnet(pool)), addr);
	char text[DP_ADDR_STRLEN];
	char range[IPAM_RANGE_STRLEN];

	if (!b)
		return 0;
	if (!b->reserved)
		return dp_error_set(err, DP_ERR_CONFLICT, -EADDRNOTAVAIL,
				    "address %s is excluded (%s)", dp_addr_format(addr, text),
				    ipam_range_format(&b->range, range));
	/* Of somebody whom the engine does not name it cannot be said that he is another. */
	if ((*b->name && *name && strcmp(b->name, name)) ||
	    (*b->mac && *mac && strcasecmp(b->mac, mac)))
		return dp_error_set(err, DP_ERR_CONFLICT, -EADDRNOTAVAIL,
				    "address %s is reserved for %s", dp_addr_format(addr, text),
				    *b->name ? b->name : b->mac);
	return 0;
}
