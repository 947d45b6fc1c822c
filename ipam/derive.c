/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>

#include "ipam/derive.h"

enum { MAX_LEN = 96 }; /* bits of an IPv6 pool that leave room for an IPv4 address */

int ipam_derive_parse(const char *text, const struct dp_prefix *pool, struct dp_prefix *ret_v4,
		      struct dp_error *err)
{
	struct dp_prefix v4;

	if (dp_prefix_parse(text, &v4) < 0 || v4.addr.family != AF_INET)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "v6-from: '%.60s' is not an IPv4 subnet", text);
	if (pool->addr.family == AF_INET)
		return 0;
	if (pool->len > MAX_LEN)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "v6-from: an IPv6 subnet of /%u has no room for IPv4 addresses: "
				    "/%d or shorter is wanted", pool->len, MAX_LEN);
	*ret_v4 = dp_prefix_masked(&v4);
	return 0;
}

/* The subnet on whose addresses those of @pool depend; NULL: none, or it is not on the books. */
static struct ipam_subnet *source(const struct ipam_space *space, const struct ipam_pool *pool)
{
	const struct dp_prefix *v4 = ipam_pool_v6_from(pool);
	const struct ipam_pool_id *id = ipam_pool_ident(pool);
	struct ipam_subnet *subnet =
		v4 ? ipam_space_find_overlap(space, id->book, id->tenant, v4) : NULL;

	if (!subnet || ipam_subnet_prefix(subnet)->len != v4->len ||
	    dp_addr_cmp(&ipam_subnet_prefix(subnet)->addr, &v4->addr) != 0)
		return NULL;
	return subnet;
}

void ipam_derive_redirect(const struct ipam_space *space, const struct dp_addr *addr,
			  struct ipam_pool **pool)
{
	struct ipam_subnet *subnet = source(space, *pool);

	if (subnet && ipam_subnet_book(subnet) == IPAM_GLOBAL && addr->family != AF_INET6)
		*pool = ipam_subnet_pool(subnet, 0);
}

int ipam_derive_addr(const struct ipam_space *space, const struct ipam_pool *pool,
		     struct dp_addr *ret_addr, struct dp_error *err)
{
	const struct dp_addr none = { .family = AF_UNSPEC };
	struct ipam_subnet *subnet = source(space, pool);
	char text[DP_PREFIX_STRLEN];

	*ret_addr = none;
	if (!ipam_pool_v6_from(pool))
		return 0;
	if (!subnet || ipam_subnet_latest(subnet)->family != AF_INET)
		return dp_error_set(err, DP_ERR_INVALID, -ENOENT,
				    "v6-from: no container was given an address of %s just before",
				    dp_prefix_format(ipam_pool_v6_from(pool), text));
	*ret_addr = ipam_pool_derive(pool, ipam_subnet_latest(subnet));
	ipam_subnet_set_latest(subnet, &none);
	return 0;
}
