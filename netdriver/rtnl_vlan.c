/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * 802.1Q subinterfaces. The kernel refuses a second one with the same id on a parent, which is
 * what keeps two networks from fighting over a VLAN.
 */

#include <errno.h>

#include "netdriver/rtnl_internal.h"

static void compose(struct ndrv_rtnl *rtnl, const struct ndrv_vlan_spec *spec)
{
	struct rtnl_batch *b = rtnl_begin_create(rtnl, spec->name, spec->mtu);
	struct nlattr *info;
	struct nlattr *data;

	rtnl_put_u32(b, IFLA_LINK, (uint32_t)spec->parent);
	if (spec->master)
		rtnl_put_u32(b, IFLA_MASTER, (uint32_t)spec->master);
	info = rtnl_nest_start(b, IFLA_LINKINFO);
	rtnl_put_str(b, IFLA_INFO_KIND, "vlan");
	data = rtnl_nest_start(b, IFLA_INFO_DATA);
	rtnl_put_u16(b, IFLA_VLAN_ID, spec->vid);
	rtnl_nest_end(b, data);
	rtnl_nest_end(b, info);
}

int ndrv_rtnl_create_vlan(struct ndrv_rtnl *rtnl, const struct ndrv_vlan_spec *spec,
			  int *ret_ifindex, struct dp_error *err)
{
	const struct rtnl_finish fin = { .name = spec->name,
					 .kind = "vlan",
					 .alias = spec->alias,
					 .want_mtu = spec->mtu,
					 .want_master = spec->master,
					 .want_vid = spec->vid,
					 .ipv6_off = true,
					 .up = spec->up };
	struct ndrv_link link;
	int r = rtnl_check_spec(spec->name, spec->alias, err);

	if (r < 0)
		return r;
	if (spec->vid < 1 || spec->vid > 4094)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "link %s: VLAN id %u is not 1 to 4094", spec->name, spec->vid);
	compose(rtnl, spec);
	r = rtnl_make_link(rtnl, &fin, &link, err);
	if (r >= 0)
		*ret_ifindex = link.ifindex;
	return r;
}
