/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Pairs of virtual Ethernet links. One request makes both ends: outside VETH_INFO_PEER stands the
 * host end, inside it a link message of its own for the peer, of which the kernel heeds name, MTU
 * and MAC.
 */

#include <string.h>
#include <linux/veth.h>

#include "netdriver/rtnl_internal.h"

static bool mac_is_set(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, sizeof none) != 0;
}

static void compose_peer(struct rtnl_batch *b, const struct ndrv_veth_spec *spec)
{
	struct nlattr *peer = rtnl_nest_start(b, VETH_INFO_PEER);

	rtnl_put_header(b, sizeof(struct ifinfomsg));
	rtnl_put_str(b, IFLA_IFNAME, spec->peer_name);
	if (spec->peer_ns)
		rtnl_put_u32(b, IFLA_NET_NS_FD, (uint32_t)spec->peer_ns);
	if (spec->peer_mtu)
		rtnl_put_u32(b, IFLA_MTU, spec->peer_mtu);
	if (mac_is_set(spec->peer_mac))
		rtnl_put_bytes(b, IFLA_ADDRESS, spec->peer_mac, sizeof spec->peer_mac);
	rtnl_nest_end(b, peer);
}

static void compose(struct ndrv_rtnl *rtnl, const struct ndrv_veth_spec *spec)
{
	struct rtnl_batch *b = rtnl_begin_create(rtnl, spec->name, spec->mtu);
	struct nlattr *info;
	struct nlattr *data;

	if (spec->master)
		rtnl_put_u32(b, IFLA_MASTER, (uint32_t)spec->master);
	info = rtnl_nest_start(b, IFLA_LINKINFO);
	rtnl_put_str(b, IFLA_INFO_KIND, "veth");
	data = rtnl_nest_start(b, IFLA_INFO_DATA);
	compose_peer(b, spec);
	rtnl_nest_end(b, data);
	rtnl_nest_end(b, info);
}

int ndrv_rtnl_create_veth(struct ndrv_rtnl *rtnl, const struct ndrv_veth_spec *spec,
			  int *ret_ifindex, int *ret_peer_ifindex, struct dp_error *err)
{
	const struct rtnl_finish fin = { .name = spec->name,
					 .kind = "veth",
					 .alias = spec->alias,
					 .want_mtu = spec->mtu,
					 .want_master = spec->master,
					 .ipv6_off = true,
					 .up = spec->up,
					 .peer_name = spec->peer_ns ? NULL : spec->peer_name,
					 .peer_alias = spec->peer_alias,
					 .peer_mtu = spec->peer_mtu,
					 .peer_mac = mac_is_set(spec->peer_mac) ? spec->peer_mac :
										  NULL };
	struct ndrv_link link;
	int r = rtnl_check_spec(spec->name, spec->alias, err);

	if (r >= 0)
		r = rtnl_check_spec(spec->peer_name, spec->peer_alias, err);
	if (r < 0)
		return r;
	compose(rtnl, spec);
	r = rtnl_make_link(rtnl, &fin, &link, err);
	if (r < 0)
		return r;
	*ret_ifindex = link.ifindex;
	if (ret_peer_ifindex)
		*ret_peer_ifindex = link.lower;
	return 0;
}
