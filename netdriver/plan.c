/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netdriver/plan.h"

enum { DEFAULT_MTU = 1500 }; /* bytes; Ethernet, where there is no parent to ask */

static const char *const op_names[] = {
	[NDRV_OP_PARENT_UP] = "set the parent up",
	[NDRV_OP_CREATE_BRIDGE] = "create bridge",
	[NDRV_OP_BRIDGE_UP] = "set the bridge up",
	[NDRV_OP_CREATE_VLAN] = "create VLAN subinterface",
	[NDRV_OP_ENSLAVE_UPLINK] = "make the uplink a port of the bridge",
	[NDRV_OP_UPLINK_UP] = "set the uplink up",
	[NDRV_OP_ADDRESS] = "give the bridge the gateway address",
	[NDRV_OP_FIREWALL] = "accept the bridge's traffic",
};

const char *ndrv_op_name(enum ndrv_op_kind kind)
{
	return op_names[kind];
}

void ndrv_alias(const char *kind, const char *id, char ret_alias[static NDRV_ALIAS_SIZE])
{
	(void)snprintf(ret_alias, NDRV_ALIAS_SIZE, NDRV_MARK "%s:%s", kind, id);
}

const char *ndrv_mark_id(const char *alias, const char *kind)
{
	size_t n = strlen(kind);

	if (strncmp(alias, NDRV_MARK, strlen(NDRV_MARK)))
		return NULL;
	alias += strlen(NDRV_MARK);
	return !strncmp(alias, kind, n) && alias[n] == ':' ? alias + n + 1 : NULL;
}

int ndrv_plan_mtu(const struct ndrv_spec *spec, const struct ndrv_facts *facts, uint32_t *ret_mtu,
		  struct dp_error *err)
{
	const struct ndrv_link *carrier = facts->uplink.ifindex ? &facts->uplink : &facts->parent;
	uint32_t limit = carrier->ifindex ? carrier->mtu : 0;

	if (spec->mtu && limit && spec->mtu > limit)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "com.docker.network.driver.mtu: %u is more than %s carries (%u bytes)",
				    spec->mtu, carrier->name, limit);
	*ret_mtu = spec->mtu ? spec->mtu : limit ? limit : DEFAULT_MTU;
	return 0;
}

bool ndrv_plan_foreign_bridge(const struct ndrv_spec *spec, const struct ndrv_facts *facts)
{
	return spec->mode == NDRV_L2 && !spec->vlan && facts->parent.ifindex &&
	       !strcmp(facts->parent.kind, "bridge") && !ndrv_link_is_ours(&facts->parent);
}

static void add(struct ndrv_plan *plan, enum ndrv_op_kind kind)
{
	assert(plan->n_ops < DP_ARRAY_LEN(plan->ops));
	plan->ops[plan->n_ops++] = (struct ndrv_op){ .kind = kind };
}

static int check_parent(const struct ndrv_spec *spec, const struct ndrv_facts *facts,
			struct dp_error *err)
{
	if (!facts->parent.ifindex)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENODEV, "parent %s: no such link on this host",
				    spec->parent);
	if (facts->parent.loopback)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "parent %s is the loopback link and carries no VLANs", spec->parent);
	if (ndrv_link_is_ours(&facts->parent))
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "parent %s is a link that this plugin made (%s)", spec->parent,
				    facts->parent.alias);
	if (spec->vlan && !strcmp(facts->parent.kind, "vlan"))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "vlan=%u: parent %s is a VLAN already (%u); a VLAN inside a VLAN is "
				    "not supported",
				    spec->vlan, spec->parent, facts->parent.vlan_id);
	return 0;
}

/* May the uplink that exists become a port of our bridge? */
static int check_uplink(const struct ndrv_facts *facts, const char *bridge_name, struct dp_error *err)
{
	const struct ndrv_link *up = &facts->uplink;
	bool is_ours = up->master && up->master == facts->bridge.ifindex; /* 0: no bridge yet */

	if (up->master && !is_ours)
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "%s is a port of another bridge or bond already (link %d): use that "
				    "bridge as parent, or take %s out of it",
				    up->name, up->master, up->name);
	if (facts->uplink_has_addrs && !is_ours)
		return dp_error_set(err, DP_ERR_CONFLICT, -EBUSY,
				    "%s carries IP addresses of the host, which it would lose as a port of "
				    "bridge %s: use -o vlan=N, or move the addresses to a bridge over %s "
				    "and use that as parent",
				    up->name, bridge_name, up->name);
	return 0;
}

static int plan_uplink(const struct ndrv_spec *spec, const char *bridge_name,
		       const struct ndrv_facts *facts, struct ndrv_plan *plan, struct dp_error *err)
{
	int r;

	if (!facts->uplink.ifindex) {
		add(plan, NDRV_OP_CREATE_VLAN);
		return 0;
	}
	if (spec->vlan && (strcmp(facts->uplink.kind, "vlan") || facts->uplink.vlan_id != spec->vlan))
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "a link named %s exists and is not VLAN %u of %s", facts->uplink.name,
				    spec->vlan, spec->parent);
	r = check_uplink(facts, bridge_name, err);
	if (r < 0)
		return r;
	if (!facts->bridge.ifindex || facts->uplink.master != facts->bridge.ifindex)
		add(plan, NDRV_OP_ENSLAVE_UPLINK);
	if (!facts->uplink.up)
		add(plan, NDRV_OP_UPLINK_UP);
	return 0;
}

static int plan_bridge(const struct ndrv_spec *spec, const char *bridge_name,
		       const struct ndrv_facts *facts, struct ndrv_plan *plan, struct dp_error *err)
{
	char key[NDRV_KEY_SIZE];
	char alias[NDRV_ALIAS_SIZE];

	if (!facts->bridge.ifindex) {
		add(plan, NDRV_OP_CREATE_BRIDGE);
		return 0;
	}
	ndrv_segment_key(spec, key);
	ndrv_alias("bridge", key, alias);
	if (strcmp(facts->bridge.alias, alias))
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "bridge name %s: a link of that name exists and is not this network's",
				    bridge_name);
	if (!facts->bridge.up)
		add(plan, NDRV_OP_BRIDGE_UP);
	return 0;
}

static int check_forwarding(const struct ndrv_spec *spec, const struct ndrv_facts *facts,
			    struct dp_error *err)
{
	for (unsigned i = 0; i < spec->n_subnets; i++) {
		bool v4 = spec->subnets[i].pool.addr.family == AF_INET;
		bool needed = spec->subnets[i].gateway.addr.family != AF_UNSPEC;

		if (needed && !(v4 ? facts->forwarding4 : facts->forwarding6))
			return dp_error_set(err, DP_ERR_UNSUPPORTED, -EOPNOTSUPP,
					    "mode=routed needs the host to forward: run 'sysctl -w %s=1'",
					    v4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding");
	}
	return 0;
}

static void plan_addresses(const struct ndrv_spec *spec, struct ndrv_plan *plan)
{
	for (unsigned i = 0; i < spec->n_subnets; i++) {
		if (spec->subnets[i].gateway.addr.family == AF_UNSPEC)
			continue;
		add(plan, NDRV_OP_ADDRESS);
		plan->ops[plan->n_ops - 1].address = spec->subnets[i].gateway;
	}
}

int ndrv_plan_segment(const struct ndrv_spec *spec, const char *bridge_name,
		      const struct ndrv_facts *facts, struct ndrv_plan *ret_plan, struct dp_error *err)
{
	struct ndrv_plan plan = { .n_ops = 0 };
	int r = 0;

	if (spec->mode == NDRV_L2)
		r = check_parent(spec, facts, err);
	else if (spec->mode == NDRV_ROUTED && !spec->internal)
		r = check_forwarding(spec, facts, err);
	if (r < 0)
		return r;
	if (ndrv_plan_foreign_bridge(spec, facts)) {
		add(&plan, NDRV_OP_FIREWALL);
		*ret_plan = plan;
		return 0;
	}
	if (spec->mode == NDRV_L2 && !facts->parent.up)
		add(&plan, NDRV_OP_PARENT_UP);
	r = plan_bridge(spec, bridge_name, facts, &plan, err);
	if (r == 0 && spec->mode == NDRV_L2)
		r = plan_uplink(spec, bridge_name, facts, &plan, err);
	if (r < 0)
		return r;
	if (spec->mode == NDRV_ROUTED)
		plan_addresses(spec, &plan);
	add(&plan, NDRV_OP_FIREWALL);
	*ret_plan = plan;
	return 0;
}
