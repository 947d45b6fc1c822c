/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Bridges. The kernel's defaults are what we want: no spanning tree, no VLAN filtering (which is
 * not mentioned in the request, as kernels built without it refuse to be told), snooping as it is.
 *
 * MTU: a bridge adapts its MTU to its ports until somebody changes it explicitly, and an MTU given
 * at creation does not count as that. So it is set to the wanted one after creation, from another.
 */

#include <string.h>

#include "netdriver/rtnl_internal.h"

#define DEFAULT_MTU 1500U /* bytes, of a new bridge */
#define OTHER_MTU   1280U /* bytes, the least at which IPv6 settings exist */

static bool mac_is_set(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, sizeof none) != 0;
}

static void compose(struct ndrv_rtnl *rtnl, const struct ndrv_bridge_spec *spec)
{
	struct rtnl_batch *b =
		rtnl_begin_create(rtnl, spec->name, spec->mtu == DEFAULT_MTU ? OTHER_MTU : 0);
	struct nlattr *info;
	struct nlattr *data;

	if (mac_is_set(spec->mac))
		rtnl_put_bytes(b, IFLA_ADDRESS, spec->mac, sizeof spec->mac);
	info = rtnl_nest_start(b, IFLA_LINKINFO);
	rtnl_put_str(b, IFLA_INFO_KIND, "bridge");
	data = rtnl_nest_start(b, IFLA_INFO_DATA);
	rtnl_put_u32(b, IFLA_BR_STP_STATE, 0);
	rtnl_nest_end(b, data);
	rtnl_nest_end(b, info);
}

int ndrv_rtnl_create_bridge(struct ndrv_rtnl *rtnl, const struct ndrv_bridge_spec *spec,
			    int *ret_ifindex, struct dp_error *err)
{
	const struct rtnl_finish fin = { .name = spec->name,
					 .kind = "bridge",
					 .alias = spec->alias,
					 .set_mtu = spec->mtu,
					 .want_mtu = spec->mtu,
					 .ipv6_off = spec->ipv6_off,
					 .up = spec->up };
	struct ndrv_link link;
	int r = rtnl_check_spec(spec->name, spec->alias, err);

	if (r < 0)
		return r;
	compose(rtnl, spec);
	r = rtnl_make_link(rtnl, &fin, &link, err);
	if (r >= 0)
		*ret_ifindex = link.ifindex;
	return r;
}
