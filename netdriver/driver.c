/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Handlers take one request through its steps (common/turn.h). Between steps other requests run, so
 * a step finds its network or endpoint again by id instead of keeping a pointer.
 *
 * If a write fails, the turn is `spoilt`: its flush fails, kernel work is undone by each request's
 * undo stack, and the registry is read back from disk.
 */

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/peer.h"
#include "netdriver/driver_internal.h"

static const char *const scopes[] = { "local", "global", NULL };
static const char *const scopes_or_same[] = { "local", "global", "", NULL };
static const char *const attach_modes[] = { "move", "direct", NULL };
static const char *const firewall_modes[] = { "auto", "off", NULL };

const struct dp_schema ndrv_config_schema = {
	.noun = "config key",
	.refuse_unknown = true,
	.n_fields = DP_N_COMMON_FIELDS + 9,
	.fields =
		(const struct dp_field[DP_N_COMMON_FIELDS + 9]){
			DP_COMMON_FIELDS(struct ndrv_config, "mynetworkplugin"),
			DP_STR(struct ndrv_config, scope, "scope", .choices = scopes,
			       .def = "local",
			       .help = "`global`: networks belong to a Swarm and its leader allocates for all "
				       "nodes; `local`: to one host"),
			DP_STR(struct ndrv_config, connectivity_scope, "connectivity-scope",
			       .choices = scopes_or_same, .def = "",
			       .help = "whether names of containers are known on all nodes; empty: as scope"),
			DP_STR(struct ndrv_config, parent, "parent", .max = NDRV_IFNAME_BUF - 1,
			       .def = "",
			       .help = "this host's parent link for networks that name a vlan but no parent"),
			DP_STR(struct ndrv_config, firewall, "firewall", .choices = firewall_modes,
			       .def = "auto",
			       .help = "`auto`: accept rules for our bridges in the engine's DOCKER-USER chain; "
				       "`off`: none"),
			DP_STR(struct ndrv_config, sysctl_dir, "sysctl-dir", .min = 1,
			       .def = "/proc/sys",
			       .help = "where the host's /proc/sys is writable"),
			DP_STR(struct ndrv_config, attach, "attach", .choices = attach_modes,
			       .def = "move",
			       .help = "how containers get their links where a network does not say: see the "
				       "network's option; `direct` keeps CAP_SYS_ADMIN"),
			DP_STR(struct ndrv_config, sandbox_dir, "sandbox-dir", .def = "",
			       .help = "where the containers' network namespaces are seen, for "
				       "`attach=direct`; empty: where the engine says"),
			DP_LIST(struct ndrv_config, ipam_socket, "ipam-socket",
				.def = DP_PEER_SOCKETS("myipamplugin", "ipam.sock"),
				.help = "where the IPAM daemon may be found, wildcards allowed: it is told when "
					"endpoints are gone"),
			DP_U32(struct ndrv_config, abandon_after, "abandon-after", .min = 0,
			       .max = 604800, .unit = "seconds", .def = "600",
			       .help = "time after which an endpoint is dropped that is in no container: its "
				       "engine died over it; 0: never"),
		},
};

int ndrv_config_check(const void *config, struct dp_error *err)
{
	const struct ndrv_config *c = config;

	if (!c->abandon_after || c->abandon_after > c->common.deadline)
		return 0;
	/* Else an endpoint could go whose request still waits. */
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "abandon-after: %u is not more than the deadline, %u seconds",
			    c->abandon_after, c->common.deadline);
}

/* ---- privileges ---- */

bool ndrv_config_is_direct(const struct ndrv_config *c)
{
	return !strcmp(c->attach, "direct");
}

/* iptables' old interface is a raw socket; so is what probes for the IPAM daemon, and what announces
 * a container's addresses. */
static bool needs_raw(const struct ndrv_config *c)
{
	return strcmp(c->firewall, "off") || *c->ipam_socket || ndrv_config_is_direct(c);
}

uint64_t ndrv_capabilities(const void *config)
{
	static const struct {
		unsigned capability;
		bool (*needed)(const struct ndrv_config *c); /* NULL = always */
	} rows[] = {
		{ CAP_NET_ADMIN, NULL }, /* links, addresses, rules, /proc/sys/net */
		{ CAP_NET_RAW, needs_raw },
		{ CAP_SYS_ADMIN,
		  ndrv_config_is_direct }, /* entering a container's network namespace */
	};
	uint64_t set = 0;

	for (size_t i = 0; i < DP_ARRAY_LEN(rows); i++) {
		if (!rows[i].needed || rows[i].needed(config))
			set |= DP_CAPABILITY(rows[i].capability);
	}
	return set;
}

/* ---- life ---- */

int ndrv_driver_start(const void *config, struct dp_loop *loop, void **ret_ctx,
		      struct dp_error *err)
{
	const struct ndrv_config *c = config;
	struct ndrv_driver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return dp_error_oom(err);
	d->config = c;
	d->loop = loop;
	d->rules_unsure = true;
	d->repair = (struct dp_timer){ .fn = ndrv_driver_on_repair, .ctx = d };
	d->idle = (struct dp_timer){ .fn = ndrv_driver_on_idle, .ctx = d };
	r = ndrv_store_open(c->common.state_dir, &d->store, err);
	if (r == 0)
		r = ndrv_host_open(c->sysctl_dir, strcmp(c->firewall, "off"), &d->host, err);
	if (r == 0)
		r = ndrv_peer_open(d, err);
	if (r == 0)
		r = ndrv_driver_watch(d,
				      err); /* before looking, so that nothing is missed between */
	if (r == 0)
		r = ndrv_driver_load(d, err);
	if (r < 0) {
		ndrv_driver_stop(d);
		return r;
	}
	*ret_ctx = d;
	return 0;
}

int ndrv_driver_check_state(const void *config, FILE *out, struct dp_error *err)
{
	const struct ndrv_config *c = config;

	return ndrv_store_check(c->common.state_dir, out, err);
}

void ndrv_driver_stop(void *ctx)
{
	struct ndrv_driver *d = ctx;

	dp_timer_disarm(d->loop, &d->repair);
	dp_timer_disarm(d->loop, &d->idle);
	ndrv_driver_unwatch(d);
	ndrv_peer_close(d);
	ndrv_registry_free(d->registry);
	ndrv_host_close(d->host);
	ndrv_store_close(d->store);
	free(d);
}

/* ---- capabilities ---- */

static int on_get_capabilities(void *ctx, struct dp_call *call, const void *req,
			       struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	const char *connectivity = d->config->connectivity_scope;

	(void)req;
	(void)err;
	d->rules_unsure = true;
	dp_call_reply(call,
		      json_pack("{s:s, s:s, s:b}", "Scope", d->config->scope, "ConnectivityScope",
				*connectivity ? connectivity : d->config->scope, "GwAllocChecker",
				1));
	return DP_STEP_DONE;
}

/* DiscoverNew and -Delete, FreeNetwork, Program- and RevokeExternalConnectivity: nothing to do.
 * Ports need no publishing, since containers are reached at their own addresses. */
static int on_nothing(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	(void)ctx;
	(void)call;
	(void)req;
	(void)err;
	return DP_STEP_DONE;
}

struct any_request {
	bool unused;
};

static const struct dp_schema any_schema = { .n_fields = 0 };

/* ---- networks ---- */

static const struct dp_schema network_schema = {
	.n_fields = 4,
	.fields =
		(const struct dp_field[4]){
			DP_STR(struct ndrv_network_request, id, "NetworkID"),
			DP_OBJ(struct ndrv_network_request, options, "Options"),
			DP_ARR(struct ndrv_network_request, ipv4, "IPv4Data"),
			DP_ARR(struct ndrv_network_request, ipv6, "IPv6Data"),
		},
};

static int on_gw_alloc_check(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_driver *d = ctx;
	struct ndrv_spec spec;
	bool skip;
	int r = ndrv_spec_decode(req, d->config->parent, &spec, err);

	if (r < 0)
		return r;
	skip = spec.mode == NDRV_ISOLATED;
	dp_call_reply(call, json_pack("{s:b, s:b}", "SkipIPv4", (int)skip, "SkipIPv6", (int)skip));
	return DP_STEP_DONE;
}

/* Swarm's leader asks before any node makes the network. The options of the answer replace those
 * the user gave, and are all that the nodes will see. They come flat here. */
static int on_allocate_network(void *ctx, struct dp_call *call, const void *req,
			       struct dp_error *err)
{
	const struct ndrv_network_request *rq = req;
	const struct ndrv_driver *d = ctx;
	json_auto_t *nested = json_pack("{s:O?}", "com.docker.network.generic", rq->options);
	struct ndrv_network_request check = { .id = rq->id, .options = nested };
	struct ndrv_spec spec;
	int r;

	if (!nested)
		return dp_error_oom(err);
	r = ndrv_spec_decode(&check, *d->config->parent ? d->config->parent : "any", &spec, err);
	if (r < 0)
		return r;
	dp_call_reply(call, json_pack("{s:o}", "Options",
				      rq->options ? json_incref(rq->options) : json_object()));
	return DP_STEP_DONE;
}

/* A network on its way to being made. */
struct create {
	char id[NDRV_ID_SIZE];
	struct ndrv_tx tx;
};

static void create_done(void *ctx, void *data, bool ok)
{
	struct create *c = data;

	(void)ctx;
	if (ok)
		ndrv_tx_commit(&c->tx);
	ndrv_tx_rollback(&c->tx);
	free(c);
}

static int create_step_build(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct create *c = data;
	struct ndrv_network *n = d->registry ? ndrv_network_find(d->registry, c->id) : NULL;
	struct dp_error ignored = DP_ERROR_INIT;
	int r;

	if (!n)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -ENOENT,
				    "network %.12s was deleted meanwhile", c->id);
	r = ndrv_host_build(d->host, n->segment, &n->spec, n->mtu, &c->tx, err);
	if (r < 0) {
		ndrv_tx_rollback(&c->tx);
		(void)ndrv_driver_forget_network(d, n, &ignored);
		ndrv_driver_want_repair(
			d); /* a neighbour deleted in this turn may have left the bridge to us */
		return r;
	}
	if (n->segment->broken)
		ndrv_driver_want_repair(d);
	ndrv_network_set_state(n, NDRV_READY);
	dp_call_undo_with(call, "/NetworkDriver.DeleteNetwork");
	dp_log_info("network %.12s created: %s on %s, bridge %s", n->spec.id,
		    ndrv_mode_name(n->spec.mode), n->segment->key, n->segment->bridge);
	return ndrv_driver_spoil(d, ndrv_store_put_network(d->store, n, err), err);
}

/* The host can have one route to a subnet: two routed networks with the same one would both be
 * accepted by the kernel, and one of them be dead. */
static int check_routed_overlap(struct ndrv_driver *d, const struct ndrv_spec *spec,
				struct dp_error *err)
{
	char text[DP_PREFIX_STRLEN];

	if (spec->mode != NDRV_ROUTED)
		return 0;
	for (struct ndrv_network *n = ndrv_registry_networks(d->registry); n; n = n->next) {
		for (unsigned i = 0; n->spec.mode == NDRV_ROUTED && i < n->spec.n_subnets; i++) {
			for (unsigned k = 0; k < spec->n_subnets; k++) {
				if (!dp_prefix_overlaps(&n->spec.subnets[i].pool,
							&spec->subnets[k].pool))
					continue;
				dp_prefix_format(&spec->subnets[k].pool, text);
				return dp_error_set(
					err, DP_ERR_CONFLICT, -EEXIST,
					"subnet %s: the host has a routed network there "
					"already (%.12s)",
					text, n->spec.id);
			}
		}
	}
	return 0;
}

/* All that can be refused is refused here, before anything is recorded or touched. */
static int check_new_network(struct ndrv_driver *d, const struct ndrv_spec *spec, uint32_t *ret_mtu,
			     bool *ret_foreign_bridge, struct dp_error *err)
{
	char key[NDRV_KEY_SIZE];
	char bridge[NDRV_IFNAME_BUF];
	struct ndrv_shape shape = ndrv_spec_shape(spec);
	const struct ndrv_segment *s;
	struct ndrv_facts facts;
	struct ndrv_plan plan;
	int r;

	ndrv_segment_key(spec, key);
	s = ndrv_segment_by_key(d->registry, key);
	if (s)
		memcpy(bridge, s->bridge, sizeof bridge);
	else
		ndrv_segment_bridge(spec, bridge);
	r = ndrv_host_probe(d->host, &shape, bridge, &facts, err);
	if (r < 0)
		return r;
	*ret_foreign_bridge = ndrv_plan_foreign_bridge(spec, &facts);
	if (*ret_foreign_bridge && *spec->bridge)
		return dp_error_set(
			err, DP_ERR_INVALID, -EINVAL,
			"com.docker.network.bridge.name: %s: parent %s is a bridge itself, "
			"which containers join directly",
			spec->bridge, spec->parent);
	r = ndrv_plan_segment(spec, bridge, &facts, &plan, err);
	if (r == 0)
		r = ndrv_plan_mtu(spec, &facts, ret_mtu, err);
	return r < 0 ? r : check_routed_overlap(d, spec, err);
}

/* @aux: taken. */
static int add_network(struct ndrv_driver *d, const struct ndrv_spec *spec, char **aux,
		       struct dp_error *err)
{
	struct ndrv_network *n;
	bool foreign_bridge;
	uint32_t mtu;
	int r = check_new_network(d, spec, &mtu, &foreign_bridge, err);

	if (r == 0)
		r = ndrv_network_add(d->registry, spec, mtu, &n, err);
	if (r < 0)
		return r;
	n->aux = DP_TAKE_PTR(*aux);
	if (foreign_bridge) {
		n->segment->foreign_bridge = true;
		ndrv_segment_set_bridge(n->segment, spec->parent);
	}
	return ndrv_driver_spoil(d, ndrv_store_put_network(d->store, n, err), err);
}

static int on_create_network(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_network_request *rq = req;
	struct ndrv_driver *d = ctx;
	const struct ndrv_network *known;
	struct ndrv_spec spec;
	auto_free char *aux = NULL;
	struct create *c;
	int r = ndrv_driver_ready(d, err);

	if (r == 0)
		r = ndrv_id_check("network", rq->id, err);
	if (r == 0)
		r = ndrv_spec_decode(rq, d->config->parent, &spec, err);
	if (r == 0)
		r = ndrv_aux_decode(rq, &aux, err);
	if (r < 0)
		return r;
	known = ndrv_network_find(d->registry, spec.id);
	if (known && known->state == NDRV_READY && ndrv_spec_equal(&known->spec, &spec))
		return DP_STEP_DONE; /* Swarm makes a network anew whenever a task lands */
	if (known)
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "network %.12s exists already and is %s", spec.id,
				    known->state == NDRV_READY ? "configured differently" :
								 "being created or deleted");
	c = calloc(1, sizeof *c);
	if (!c)
		return dp_error_oom(err);
	memcpy(c->id, spec.id, sizeof c->id);
	ndrv_tx_init(&c->tx, d->host);
	dp_call_then(call, create_step_build, c, create_done);
	r = add_network(d, &spec, &aux, err);
	return r < 0 ? r : DP_STEP_AGAIN;
}

static void subject_done(void *ctx, void *data, bool ok)
{
	(void)ctx;
	(void)ok;
	free(data);
}

int ndrv_driver_start_steps(struct dp_call *call, const char *id, dp_rpc_step step,
			    struct dp_error *err)
{
	struct ndrv_subject *s = calloc(1, sizeof *s);

	if (!s)
		return dp_error_oom(err);
	(void)snprintf(s->id, sizeof s->id, "%s", id);
	dp_call_then(call, step, s, subject_done);
	return DP_STEP_AGAIN;
}

static int delete_step_forget(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	const struct ndrv_subject *s = data;
	struct ndrv_network *n = d->registry ? ndrv_network_find(d->registry, s->id) : NULL;

	(void)call;
	if (!n)
		return DP_STEP_DONE;
	dp_log_info("network %.12s deleted", s->id);
	return ndrv_driver_forget_network(d, n, err);
}

static int delete_step_take_down(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct ndrv_subject *s = data;
	struct ndrv_network *n = d->registry ? ndrv_network_find(d->registry, s->id) : NULL;
	int r;

	if (!n)
		return DP_STEP_DONE;
	r = ndrv_driver_take_down(d, n, err);
	if (r < 0) {
		ndrv_driver_want_repair(d); /* its record says DELETING */
		return dp_error_prefix(err, "network %.12s is not gone yet, trying again", s->id);
	}
	dp_call_then(call, delete_step_forget, s, NULL);
	return DP_STEP_AGAIN;
}

static int on_delete_network(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_network_request *rq = req;
	struct ndrv_driver *d = ctx;
	struct ndrv_network *n;
	int r = ndrv_driver_ready(d, err);

	if (r < 0)
		return r;
	n = rq->id ? ndrv_network_find(d->registry, rq->id) : NULL;
	if (!n)
		return DP_STEP_DONE;
	ndrv_network_set_state(n, NDRV_DELETING);
	r = ndrv_driver_spoil(d, ndrv_store_put_network(d->store, n, err), err);
	return r < 0 ? r : ndrv_driver_start_steps(call, n->spec.id, delete_step_take_down, err);
}

#define NETWORK_ROUTE(name, handler)                                                             \
	{ "/NetworkDriver." name, &network_schema, sizeof(struct ndrv_network_request), handler }
#define ENDPOINT_ROUTE(name, handler)                                                            \
	{ "/NetworkDriver." name, &ndrv_endpoint_schema, sizeof(struct ndrv_endpoint_request), handler }
#define OTHER_ROUTE(name)                                                                        \
	{ "/NetworkDriver." name, &any_schema, sizeof(struct any_request), on_nothing }

const struct dp_route ndrv_routes[] = {
	{ "/NetworkDriver.GetCapabilities", NULL, 0, on_get_capabilities },
	NETWORK_ROUTE("GwAllocCheck", on_gw_alloc_check),
	NETWORK_ROUTE("AllocateNetwork", on_allocate_network),
	OTHER_ROUTE("FreeNetwork"),
	NETWORK_ROUTE("CreateNetwork", on_create_network),
	NETWORK_ROUTE("DeleteNetwork", on_delete_network),
	ENDPOINT_ROUTE("CreateEndpoint", ndrv_on_create_endpoint),
	ENDPOINT_ROUTE("DeleteEndpoint", ndrv_on_delete_endpoint),
	ENDPOINT_ROUTE("EndpointOperInfo", ndrv_on_endpoint_info),
	ENDPOINT_ROUTE("Join", ndrv_on_join),
	ENDPOINT_ROUTE("Leave", ndrv_on_leave),
	OTHER_ROUTE("ProgramExternalConnectivity"),
	OTHER_ROUTE("RevokeExternalConnectivity"),
	OTHER_ROUTE("DiscoverNew"),
	OTHER_ROUTE("DiscoverDelete"),
	{ .path = NULL },
};
