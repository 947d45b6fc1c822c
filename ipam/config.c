/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The keys of the configuration, and what is made of those that are lists. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/peer.h"
#include "ipam/driver_internal.h"

const struct dp_schema ipam_config_schema = {
	.noun = "config key",
	.refuse_unknown = true,
	.n_fields = DP_N_COMMON_FIELDS + 12,
	.fields = (const struct dp_field[DP_N_COMMON_FIELDS + 12]){
		DP_COMMON_FIELDS(struct ipam_config, "myipamplugin"),
		DP_LIST(struct ipam_config, default_pools, "default-pools",
			.def = "base=172.17.0.0/16,size=16 base=172.18.0.0/16,size=16 "
			       "base=172.19.0.0/16,size=16 base=172.20.0.0/14,size=16 "
			       "base=172.24.0.0/14,size=16 base=172.28.0.0/14,size=16 "
			       "base=192.168.0.0/16,size=20",
			.help = "where subnets come from that a network does not name"),
		DP_LIST(struct ipam_config, global_default_pools, "global-default-pools",
			.def = "base=10.0.0.0/8,size=24",
			.help = "the same for networks of a Swarm (global scope)"),
		DP_LIST(struct ipam_config, default_pools_v6, "default-pools-v6", .def = "",
			.help = "the same for IPv6; empty: /64s of a unique local /48 drawn once"),
		DP_U32(struct ipam_config, cooldown, "cooldown", .min = 0, .max = 86400,
		       .unit = "seconds", .def = "30",
		       .help = "time a released address rests, unless nothing else is left"),
		DP_U32(struct ipam_config, sticky_time, "sticky-time", .min = 0, .max = 31536000,
		       .unit = "seconds", .def = "86400",
		       .help = "the same in pools with `strategy=sticky`, for containers that come back"),
		DP_U32(struct ipam_config, history, "history", .min = 0, .max = 10000000,
		       .unit = "leases", .def = "100000",
		       .help = "past leases that `myipamplugin history` can look up"),
		DP_BOOL(struct ipam_config, requires_mac_address, "requires-mac-address",
			.def = "false",
			.help = "have the engine choose each MAC and tell it with the request"),
		DP_U32(struct ipam_config, swarm_grace, "swarm-grace", .min = 0, .max = 31536000,
		       .unit = "seconds", .def = "3600",
		       .help = "time that addresses and pools are kept which a Swarm's new leader does "
			       "not ask for again; 0: for ever"),
		DP_BOOL(struct ipam_config, swarm, "swarm", .def = "false",
			.help = "this host is in a Swarm: after a crash its engine may ask again for what "
				"it held, and must get it"),
		DP_LIST(struct ipam_config, network_socket, "network-socket",
			.def = DP_PEER_SOCKETS("mynetworkplugin", "network.sock"),
			.help = "where network daemons may be found, wildcards allowed: they tell which "
				"addresses are in use"),
		DP_U32(struct ipam_config, reclaim_after, "reclaim-after", .min = 0, .max = 604800,
		       .unit = "seconds", .def = "600",
		       .help = "time after which a local address is released that no endpoint of the "
			       "network daemon has; 0: never"),
		DP_U32(struct ipam_config, conflict_rest, "conflict-rest", .min = 1, .max = 604800,
		       .unit = "seconds", .def = "600",
		       .help = "time for which an address is set aside that a probe found in use"),
	},
};

static const char *const engine_options[] = { "com.docker.network.", OPT_REQUEST_TYPE, NULL };

const struct dp_schema ipam_option_schema = {
	.noun = "--ipam-opt",
	.text_values = true,
	.refuse_unknown = true,
	.ignore = engine_options, /* Swarm leaves its own keys in the map */
	.n_fields = 6,
	.fields =
		(const struct dp_field[6]){
			DP_STR(struct ipam_pool_options, slice, "slice", .min = 1, .max = 24,
			       .help = "this host's part of the subnet or ip-range for addresses that nobody "
				       "names: 2/8 is the second eighth"),
			DP_STR(struct ipam_pool_options, v6_from, "v6-from", .min = 1,
			       .max = DP_PREFIX_STRLEN,
			       .help = "the network's IPv4 subnet: IPv6 addresses that nobody names are made of "
				       "the container's IPv4 address"),
			DP_STR(struct ipam_pool_options, tenant, "tenant", .min = 1,
			       .max = IPAM_TENANT_SIZE - 1,
			       .help = "a book of its own: subnets of different tenants may overlap"),
			DP_STR(struct ipam_pool_options, probe, "probe", .min = 1, .max = 16,
			       .help = "time for which the network is asked whether an address is in use before "
				       "a container gets it, such as `200ms`; default 0: it is not asked"),
			DP_STR(struct ipam_pool_options, exclude, "exclude", .min = 1,
			       .help = "addresses that are somebody else's: "
				       "`10.0.0.1-10.0.0.20,10.0.0.99,10.0.0.64/28`"),
			DP_STR(struct ipam_pool_options, strategy, "strategy",
			       .choices = ipam_strategy_names,
			       .help = "which free address a container gets: the `next` one (default), the "
				       "`lowest`, a `random` one, or `sticky`: the one it had before"),
		},
};

static int parse_list(const char *key, const char *text, int family,
		      struct ipam_pool_list *ret_list, struct dp_error *err)
{
	auto_free struct ipam_default_pool *items = NULL;
	auto_free char *copy = strdup(text);
	size_t n = 0;
	char *rest = NULL;

	items = calloc(strlen(text) / 2 + 1, sizeof *items);
	if (!copy || !items)
		return dp_error_oom(err);
	for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
		if (ipam_default_pool_parse(w, &items[n], err) < 0)
			return dp_error_prefix(err, "%s", key);
		if (items[n].base.addr.family != family)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: %s is not IPv%d",
					    key, w, family == AF_INET ? 4 : 6);
		n++;
	}
	ret_list->items = DP_TAKE_PTR(items);
	ret_list->n = n;
	return 0;
}

void ipam_driver_free_lists(struct ipam_driver *d)
{
	for (unsigned b = 0; b < IPAM_N_BOOKS; b++)
		free(d->defaults[b].items);
	free(d->defaults_v6.items);
}

int ipam_driver_parse_lists(struct ipam_driver *d, struct dp_error *err)
{
	const struct ipam_config *c = d->config;
	int r = parse_list("default-pools", c->default_pools, AF_INET, &d->defaults[IPAM_LOCAL],
			   err);

	if (r == 0)
		r = parse_list("global-default-pools", c->global_default_pools, AF_INET,
			       &d->defaults[IPAM_GLOBAL], err);
	if (r == 0)
		r = parse_list("default-pools-v6", c->default_pools_v6, AF_INET6, &d->defaults_v6,
			       err);
	return r;
}

int ipam_config_check(const void *config, struct dp_error *err)
{
	const struct ipam_config *c = config;
	struct ipam_driver d = { .config = c };
	int r = ipam_driver_parse_lists(&d, err);

	/* Else an address could be taken back from a request that waits. */
	if (r == 0 && c->reclaim_after && c->reclaim_after <= c->common.deadline)
		r = dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				 "reclaim-after: %u is not more than the deadline, %u seconds",
				 c->reclaim_after, c->common.deadline);

	ipam_driver_free_lists(&d);
	return r;
}
