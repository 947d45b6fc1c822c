/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_PLAN_H
#define DP_NETDRIVER_PLAN_H

/*
 * From what a segment should be and what the host has to an ordered list of operations. Pure: the
 * same function serves a new network (everything is missing), a second network on a VLAN (nothing
 * is), and a repair (something is).
 */

#include "netdriver/network.h"
#include "netdriver/rtnl.h"

/* What was seen on the host. A link that is not there has ifindex 0. */
struct ndrv_facts {
	struct ndrv_link parent;   /* the link that the network names */
	struct ndrv_link uplink;   /* what becomes port of the bridge: the VLAN subinterface, or the
				    * parent itself where there is no VLAN */
	struct ndrv_link bridge;   /* the link that has the bridge's name */
	bool uplink_has_addrs;     /* IP addresses other than link-local */
	bool forwarding4;          /* net.ipv4.ip_forward */
	bool forwarding6;          /* net.ipv6.conf.all.forwarding */
};

enum ndrv_op_kind {
	NDRV_OP_PARENT_UP,      /* set the parent administratively up */
	NDRV_OP_CREATE_BRIDGE,  /* ours, up, without IPv6 of its own unless routed */
	NDRV_OP_BRIDGE_UP,      /* it is there, but down */
	NDRV_OP_CREATE_VLAN,    /* the subinterface, as port of the bridge, up */
	NDRV_OP_ENSLAVE_UPLINK, /* make what is there a port of the bridge */
	NDRV_OP_UPLINK_UP,
	NDRV_OP_ADDRESS,        /* give the bridge the gateway address @address */
	NDRV_OP_FIREWALL,       /* accept rules for the bridge */
};

struct ndrv_op {
	enum ndrv_op_kind kind;
	struct dp_prefix address; /* NDRV_OP_ADDRESS only */
};

struct ndrv_plan {
	unsigned n_ops;
	struct ndrv_op ops[8 + NDRV_MAX_SUBNETS];
};

/* ndrv_op_name() - for logs: "create bridge". */
const char *ndrv_op_name(enum ndrv_op_kind kind);

/**
 * ndrv_plan_mtu() - the MTU of a network's links
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) more than the parent's.
 */
DP_NODISCARD int ndrv_plan_mtu(const struct ndrv_spec *spec, const struct ndrv_facts *facts,
			       uint32_t *ret_mtu, struct dp_error *err);

/* ndrv_plan_foreign_bridge() - is the parent itself a bridge that containers join directly? */
bool ndrv_plan_foreign_bridge(const struct ndrv_spec *spec, const struct ndrv_facts *facts);

/**
 * ndrv_plan_segment() - what is to be done so that the segment of @spec exists
 * @spec:        the network
 * @bridge_name: of the segment
 * @facts:       what the host has
 * @ret_plan:    out: operations in order; may be none
 * @err:         out: names the link, and what is wrong with it
 *
 * Return: 0; -ENODEV (DP_ERR_NOT_FOUND) no such parent; -EEXIST (DP_ERR_CONFLICT) a link that is
 *         not ours has the bridge's name or holds the uplink; -EBUSY (DP_ERR_CONFLICT) the uplink
 *         carries addresses of the host; -EINVAL (DP_ERR_INVALID) a VLAN on a VLAN, loopback;
 *         -EOPNOTSUPP (DP_ERR_UNSUPPORTED) routed, but the host does not forward.
 */
DP_NODISCARD int ndrv_plan_segment(const struct ndrv_spec *spec, const char *bridge_name,
				   const struct ndrv_facts *facts, struct ndrv_plan *ret_plan,
				   struct dp_error *err);

/* ndrv_alias() - our mark for a link: "mynetworkplugin:<kind>:<id>". */
void ndrv_alias(const char *kind, const char *id, char ret_alias[static NDRV_ALIAS_SIZE]);

/* ndrv_mark_id() - the id in our mark @alias, if it is one of @kind; else NULL. Points into @alias. */
const char *ndrv_mark_id(const char *alias, const char *kind);

#endif
