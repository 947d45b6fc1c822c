/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "netdriver/ifname.h"
#include "netdriver/options.h"

#define OPT_GENERIC  "com.docker.network.generic"
#define OPT_INTERNAL "com.docker.network.internal"
#define OPT_IPV6     "com.docker.network.enable_ipv6"
#define OPT_MTU      "com.docker.network.driver.mtu"
#define OPT_BRIDGE   "com.docker.network.bridge.name"
#define OPT_PREFIX   "com.docker.network.container_iface_prefix"

/* The generic options, as text. */
struct generic {
	const char *parent;
	uint32_t vlan;
	const char *mode;
	bool gwbridge;
	uint32_t mtu;
	const char *bridge;
	const char *iface_prefix;
	const char *attach;
};

static const char *const mode_names[] = { "l2", "isolated", "routed", NULL };
static const char *const attach_names[] = { "", "move", "direct", NULL };
static const char *const engine_options[] = { "com.docker.network.", NULL };

const struct dp_schema ndrv_option_schema = {
	.noun = "option",
	.text_values = true,
	.refuse_unknown = true,
	.ignore = engine_options, /* daemon-wide defaults of the engine may add keys of its own */
	.n_fields = 8,
	.fields = (const struct dp_field[8]){
		DP_STR(struct generic, parent, "parent", .min = 1, .max = NDRV_IFNAME_BUF - 1,
		       .help = "host link that carries the network: `eth0`, or `eth0.100` for VLAN 100 "
			       "of it, or a bridge that exists"),
		DP_U32(struct generic, vlan, "vlan", .min = 1, .max = 4094,
		       .help = "802.1Q VLAN of the parent; its subinterface comes with the first "
			       "network and goes with the last, one that was there is used and left"),
		DP_STR(struct generic, mode, "mode", .choices = mode_names,
		       .help = "`l2`: bridged onto the parent, the gateway is a router out there "
			       "(default with a parent); `isolated`: no uplink (default with "
			       "`--internal`); `routed`: the host holds the gateway address and "
			       "forwards (default without a parent)"),
		DP_BOOL(struct generic, gwbridge, "gwbridge", .def = "false",
			.help = "let Docker add its docker_gwbridge for the default route and `-p`; the "
				"network then announces no gateway"),
		DP_U32(struct generic, mtu, OPT_MTU, .min = NDRV_MIN_MTU, .max = 65535, .unit = "bytes",
		       .help = "MTU of the containers' links; default the parent's, else 1500"),
		DP_STR(struct generic, bridge, OPT_BRIDGE, .min = 1, .max = NDRV_IFNAME_BUF - 1,
		       .help = "name of the bridge on the host; default derived"),
		DP_STR(struct generic, iface_prefix, OPT_PREFIX, .min = 1, .max = 11, .def = "eth",
		       .help = "name of the link in the container, without its number; with "
			       "`attach=direct` `eth` becomes `lan`, since the engine numbers its own "
			       "`eth` links without looking"),
		DP_STR(struct generic, attach, "attach", .choices = attach_names + 1,
		       .help = "`move`: the engine moves the link into the container; `direct`: the "
			       "plugin makes it there, which is faster, on engines from 28 on and where "
			       "the plugin's key `attach` is direct too, else it is moved; default that "
			       "key"),
	},
};

/* The engine's own part of Options. */
struct envelope {
	json_t *generic;
	bool internal;
	bool ipv6;
};

static const struct dp_schema envelope_schema = {
	.n_fields = 3,
	.fields = (const struct dp_field[3]){
		DP_OBJ(struct envelope, generic, OPT_GENERIC),
		DP_BOOL(struct envelope, internal, OPT_INTERNAL),
		DP_BOOL(struct envelope, ipv6, OPT_IPV6),
	},
};

/* One entry of IPv4Data or IPv6Data; absent keys are unset. */
struct ipam_data {
	const char *pool;
	const char *gateway;
	const char *space;
	json_t *aux; /* name → address with length */
};

static const struct dp_schema ipam_data_schema = {
	.n_fields = 4,
	.fields = (const struct dp_field[4]){
		DP_STR(struct ipam_data, pool, "Pool", .max = DP_PREFIX_STRLEN),
		DP_STR(struct ipam_data, gateway, "Gateway", .max = DP_PREFIX_STRLEN),
		DP_STR(struct ipam_data, space, "AddressSpace"),
		DP_OBJ(struct ipam_data, aux, "AuxAddresses"),
	},
};

const char *ndrv_mode_name(enum ndrv_mode mode)
{
	return mode_names[mode];
}

const char *ndrv_attach_name(enum ndrv_attach attach)
{
	return attach_names[attach];
}

int ndrv_attach_parse(const char *name, enum ndrv_attach *ret_attach)
{
	for (unsigned i = 0; attach_names[i]; i++) {
		if (!strcmp(name, attach_names[i])) {
			*ret_attach = (enum ndrv_attach)i;
			return 0;
		}
	}
	return -EINVAL;
}

int ndrv_mode_parse(const char *name, enum ndrv_mode *ret_mode)
{
	for (unsigned i = 0; mode_names[i]; i++) {
		if (!strcmp(name, mode_names[i])) {
			*ret_mode = (enum ndrv_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

int ndrv_id_check(const char *what, const char *id, struct dp_error *err)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = id ? strlen(id) : 0;

	if (!len || len >= NDRV_ID_SIZE || strspn(id, allowed) != len)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "%s id '%.80s': expected 1 to %d letters, digits, '_', '.', '-'",
				    what, id ? id : "", NDRV_ID_SIZE - 1);
	return 0;
}

static void copy(char dst[NDRV_IFNAME_BUF], const char *src)
{
	(void)snprintf(dst, NDRV_IFNAME_BUF, "%s", src ? src : "");
}

static int decode_subnets(const json_t *list, struct ndrv_spec *spec, struct dp_error *err)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct ipam_data data = { .pool = NULL };
		struct ndrv_subnet *s = &spec->subnets[spec->n_subnets];
		int r = dp_schema_decode(&ipam_data_schema, json_array_get(list, i), &data, err);

		if (r < 0)
			return r;
		if (!data.pool || !*data.pool)
			continue;
		if (spec->n_subnets == NDRV_MAX_SUBNETS)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "more than %d subnets in one network", NDRV_MAX_SUBNETS);
		if (dp_prefix_parse(data.pool, &s->pool) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "Pool: '%s' is no prefix",
					    data.pool);
		if (data.gateway && *data.gateway && dp_prefix_parse(data.gateway, &s->gateway) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "Gateway: '%s' is no prefix",
					    data.gateway);
		s->pool = dp_prefix_masked(&s->pool);
		s->local_book = data.space && !strcmp(data.space, "local");
		spec->n_subnets++;
	}
	return 0;
}

/* Appends the addresses of @map to the text @aux. */
static int append_aux(json_t *map, char **aux, struct dp_error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(map, name, value) {
		const char *text = json_string_value(value);
		char buf[DP_ADDR_STRLEN];
		struct dp_prefix p;
		char *longer;

		if (!text || dp_prefix_parse(text, &p) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "AuxAddresses: %.64s: '%.64s' is no address with length",
					    name, text ? text : "");
		if (asprintf(&longer, "%s%s%s", *aux ? *aux : "", *aux ? " " : "",
			     dp_addr_format(&p.addr, buf)) < 0)
			return dp_error_oom(err);
		free(*aux);
		*aux = longer;
	}
	return 0;
}

int ndrv_aux_decode(const struct ndrv_network_request *rq, char **ret_aux, struct dp_error *err)
{
	const json_t *const lists[] = { rq->ipv4, rq->ipv6 };
	auto_free char *aux = NULL;
	int r = 0;

	for (unsigned l = 0; l < DP_ARRAY_LEN(lists); l++) {
		for (size_t i = 0; r == 0 && i < json_array_size(lists[l]); i++) {
			struct ipam_data data = { .pool = NULL };

			r = dp_schema_decode(&ipam_data_schema, json_array_get(lists[l], i), &data,
					     err);
			if (r == 0)
				r = append_aux(data.aux, &aux, err);
		}
	}
	if (r == 0)
		*ret_aux = DP_TAKE_PTR(aux);
	return r;
}

static enum ndrv_mode default_mode(const struct ndrv_spec *spec)
{
	if (spec->internal)
		return NDRV_ISOLATED;
	return *spec->parent ? NDRV_L2 : NDRV_ROUTED;
}

/* What goes with what. */
static int check_combination(const struct ndrv_spec *spec, struct dp_error *err)
{
	const char *mode = ndrv_mode_name(spec->mode);

	if (spec->vlan && !*spec->parent)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "vlan=%u needs a parent: add -o parent=LINK, or set the plugin's "
				    "default with its key 'parent'",
				    spec->vlan);
	if (spec->mode == NDRV_L2 && !*spec->parent)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "mode=l2 needs a parent: add -o parent=LINK");
	if (spec->mode != NDRV_L2 && *spec->parent)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "mode=%s has no uplink: leave out parent=%s, or use mode=l2%s", mode,
				    spec->parent,
				    spec->internal ? ", which with --internal has no gateway" : "");
	if (spec->mtu && spec->mtu < NDRV_MIN_MTU_V6 && spec->ipv6)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    OPT_MTU ": %u is below %d, the least that IPv6 works with",
				    spec->mtu, NDRV_MIN_MTU_V6);
	return 0;
}

static int check_name(const char *key, const char *name, struct dp_error *err)
{
	return ndrv_ifname_validate(name, err) < 0 ? dp_error_prefix(err, "%s", key) : 0;
}

static int check_names(const struct ndrv_spec *spec, struct dp_error *err)
{
	int r = 0;

	if (*spec->parent)
		r = check_name("parent", spec->parent, err);
	if (r == 0 && *spec->bridge)
		r = check_name(OPT_BRIDGE, spec->bridge, err);
	if (r == 0)
		r = check_name(OPT_PREFIX, spec->iface_prefix, err);
	return r;
}

/* `eth0.100` means VLAN 100 of eth0, as with Docker's macvlan; but then without `vlan`. */
static int split_parent(struct ndrv_spec *spec, struct dp_error *err)
{
	char base[NDRV_IFNAME_BUF];
	uint16_t vid;

	if (ndrv_ifname_split_vlan(spec->parent, base, &vid) < 0)
		return 0;
	if (spec->vlan)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "vlan=%u: parent %s is a VLAN already; a VLAN inside a VLAN is not "
				    "supported",
				    spec->vlan, spec->parent);
	copy(spec->parent, base);
	spec->vlan = vid;
	return 0;
}

int ndrv_spec_decode(const struct ndrv_network_request *rq, const char *default_parent,
		     struct ndrv_spec *ret_spec, struct dp_error *err)
{
	struct generic g = { .parent = "" };
	struct envelope env = { .generic = NULL };
	struct ndrv_spec spec;
	int r = 0;

	memset(&spec, 0, sizeof spec); /* padding too: specs are compared as bytes */
	dp_schema_defaults(&ndrv_option_schema, &g);
	if (rq->options)
		r = dp_schema_decode(&envelope_schema, rq->options, &env, err);
	if (r == 0 && env.generic)
		r = dp_schema_decode(&ndrv_option_schema, env.generic, &g, err);
	if (r < 0)
		return r;
	(void)snprintf(spec.id, sizeof spec.id, "%s", rq->id ? rq->id : "");
	copy(spec.parent, *g.parent || !g.vlan ? g.parent : default_parent);
	copy(spec.bridge, g.bridge);
	copy(spec.iface_prefix, g.iface_prefix);
	spec.vlan = g.vlan;
	spec.mtu = g.mtu;
	spec.gwbridge = g.gwbridge;
	spec.internal = env.internal;
	spec.ipv6 = env.ipv6;
	r = split_parent(&spec, err);
	if (r < 0)
		return r;
	spec.mode = default_mode(&spec);
	if (g.attach && ndrv_attach_parse(g.attach, &spec.attach) < 0)
		return -EINVAL; /* as for the mode */
	if (g.mode && ndrv_mode_parse(g.mode, &spec.mode) < 0)
		return -EINVAL; /* the schema's choices are the mode names */
	r = check_names(&spec, err);
	if (r == 0)
		r = check_combination(&spec, err);
	if (r == 0)
		r = decode_subnets(rq->ipv4, &spec, err);
	if (r == 0)
		r = decode_subnets(rq->ipv6, &spec, err);
	if (r == 0)
		memcpy(ret_spec, &spec, sizeof spec);
	return r;
}

bool ndrv_spec_equal(const struct ndrv_spec *a, const struct ndrv_spec *b)
{
	if (strcmp(a->id, b->id) || a->mode != b->mode || strcmp(a->parent, b->parent) ||
	    a->vlan != b->vlan || a->mtu != b->mtu || strcmp(a->bridge, b->bridge) ||
	    strcmp(a->iface_prefix, b->iface_prefix) || a->gwbridge != b->gwbridge ||
	    a->internal != b->internal || a->ipv6 != b->ipv6 || a->attach != b->attach ||
	    a->n_subnets != b->n_subnets)
		return false;
	for (unsigned i = 0; i < a->n_subnets; i++) {
		if (!dp_prefix_equal(&a->subnets[i].pool, &b->subnets[i].pool) ||
		    dp_addr_cmp(&a->subnets[i].gateway.addr, &b->subnets[i].gateway.addr))
			return false;
	}
	return true;
}

const struct dp_addr *ndrv_spec_gateway(const struct ndrv_spec *spec, const struct dp_addr *addr)
{
	if (spec->mode == NDRV_ISOLATED || spec->internal || spec->gwbridge)
		return NULL;
	for (unsigned i = 0; i < spec->n_subnets; i++) {
		const struct ndrv_subnet *s = &spec->subnets[i];

		if (s->gateway.addr.family != AF_UNSPEC && dp_prefix_has_addr(&s->pool, addr))
			return &s->gateway.addr;
	}
	return NULL;
}

const char *ndrv_spec_direct_prefix(const struct ndrv_spec *spec)
{
	return strcmp(spec->iface_prefix, "eth") ? spec->iface_prefix : "lan";
}

void ndrv_mac_derive(const struct ndrv_spec *spec, const struct dp_addr *addr, uint8_t ret_mac[6])
{
	char text[NDRV_ID_SIZE + DP_ADDR_STRLEN + 16];
	char ip[DP_ADDR_STRLEN];
	uint64_t h;

	/* The parent's name is left out: it differs between the hosts of one VLAN. */
	if (spec->mode == NDRV_L2)
		(void)snprintf(text, sizeof text, "vlan %u %s", spec->vlan, dp_addr_format(addr, ip));
	else
		(void)snprintf(text, sizeof text, "net %s %s", spec->id, dp_addr_format(addr, ip));
	h = ndrv_ifname_hash48(text);
	for (unsigned i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)(h >> (8 * i));
	ret_mac[0] = (uint8_t)((ret_mac[0] & 0xfc) | 0x02); /* local, unicast */
}
