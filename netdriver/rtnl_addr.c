/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Addresses: the host's on our bridges (routed networks), and a container's on a link that is made
 * directly in its namespace. The connected route comes with each.
 */

#include <errno.h>
#include <string.h>
#include <linux/if_addr.h>
#include <net/if.h>

#include "common/cleanup.h"
#include "netdriver/rtnl_internal.h"

static void add_request(struct rtnl_batch *b, uint16_t type, unsigned flags, int ifindex,
			const struct dp_prefix *addr)
{
	struct ifaddrmsg *ifa = rtnl_batch_add(b, type, flags, sizeof *ifa);
	uint8_t bytes[16];
	unsigned n = dp_addr_to_bytes(&addr->addr, bytes);

	ifa->ifa_family = (uint8_t)addr->addr.family;
	ifa->ifa_prefixlen = (uint8_t)addr->len;
	ifa->ifa_index = (uint32_t)ifindex;
	rtnl_put_bytes(b, IFA_LOCAL, bytes, n);
	rtnl_put_bytes(b, IFA_ADDRESS, bytes, n);
	if (addr->addr.family == AF_INET6 && type == RTM_NEWADDR)
		rtnl_put_u32(b, IFA_FLAGS, IFA_F_NODAD);
}

/* The link has exactly @addr; false also where that cannot be found out. */
static bool has_address(struct ndrv_rtnl *rtnl, int ifindex, const struct dp_prefix *addr)
{
	auto_free struct ndrv_rtnl_address *list = NULL;
	bool has = false;
	size_t n;

	if (ndrv_rtnl_list_addresses(rtnl, &list, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		has = has || (list[i].ifindex == ifindex && list[i].addr.len == addr->len &&
			      !dp_addr_cmp(&list[i].addr.addr, &addr->addr));
	return has;
}

int ndrv_rtnl_add_address(struct ndrv_rtnl *rtnl, int ifindex, const struct dp_prefix *addr,
			  struct dp_error *err)
{
	char text[DP_PREFIX_STRLEN];
	struct dp_error why = DP_ERROR_INIT;
	int r;

	add_request(rtnl_batch_begin(rtnl), RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr);
	r = rtnl_request(rtnl, &why, "add %s to link %d", dp_prefix_format(addr, text), ifindex);
	if (r == -EEXIST && has_address(rtnl, ifindex, addr))
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

/* The requests of ndrv_rtnl_configure(): what each was for, in the order they are added. */
struct configuring {
	const char *steps[4];
	unsigned n;
};

static void add_step(struct configuring *c, const char *step)
{
	c->steps[c->n++] = step;
}

int ndrv_rtnl_configure(struct ndrv_rtnl *rtnl, const struct ndrv_configure_spec *spec,
			struct dp_error *err)
{
	struct rtnl_batch *b = rtnl_batch_begin(rtnl);
	struct configuring c = { .n = 0 };
	struct ifinfomsg *ifi;
	int r;

	if (spec->addr6->addr.family == AF_UNSPEC) {
		rtnl_add_ipv6_off(b, spec->ifindex);
		add_step(&c, NULL); /* no IPv6 in this kernel or namespace: as good as switched off */
	}
	ifi = rtnl_batch_add_link(b, RTM_SETLINK, 0, spec->ifindex);
	ifi->ifi_change = IFF_UP;
	ifi->ifi_flags = IFF_UP;
	rtnl_put_str(b, IFLA_IFALIAS, spec->alias);
	add_step(&c, "mark and set up");
	if (spec->addr4->addr.family != AF_UNSPEC) {
		add_request(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, spec->ifindex, spec->addr4);
		add_step(&c, "add the IPv4 address to");
	}
	if (spec->addr6->addr.family != AF_UNSPEC) {
		add_request(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, spec->ifindex, spec->addr6);
		add_step(&c, "add the IPv6 address to");
	}
	r = rtnl_exchange(rtnl, NULL, NULL, err);
	for (unsigned i = 0; r == 0 && i < c.n; i++) {
		if (c.steps[i] && b->acks[i].code < 0)
			r = rtnl_ack_error(&b->acks[i], err, "%s the container's link %d",
					   c.steps[i], spec->ifindex);
	}
	return r;
}
