/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* What people ask of the running daemon: the methods behind the commands, and the commands. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/archive.h"
#include "common/command.h"
#include "common/parse.h"
#include "netdriver/driver_internal.h"

enum { NETWORKS_A_PAGE = 200, ENDPOINTS_A_PAGE = 500, POSITION_SIZE = 48 };

struct no_args {
	bool unused;
};

static const struct dp_schema no_args_schema = { .n_fields = 0 };

static int on_reconcile(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	bool complete = ndrv_driver_reconcile(d, err);

	(void)req;
	if (!d->registry)
		return err->code;
	dp_call_reply(call, json_pack("{s:i, s:i, s:i, s:b, s:s}", "Rebuilt", (int)d->report.rebuilt,
				      "Removed", (int)d->report.removed, "Dropped",
				      (int)d->report.dropped, "Complete", (int)complete, "Complaint",
				      complete ? "" : err->msg));
	return DP_STEP_DONE;
}

/* ---- status ---- */

struct args {
	const char *network;
	const char *after;
};

static const struct dp_schema status_args = {
	.noun = "option",
	.text_values = true,
	.refuse_unknown = true,
	.n_fields = 1,
	.fields = (const struct dp_field[1]){
		DP_STR(struct args, after, "After", .max = POSITION_SIZE - 1),
	},
};

static const struct dp_schema endpoints_args = {
	.noun = "option",
	.text_values = true,
	.refuse_unknown = true,
	.n_fields = 2,
	.fields = (const struct dp_field[2]){
		DP_STR(struct args, network, "network", .min = 1,
		       .help = "only of the network whose id begins so"),
		DP_STR(struct args, after, "After", .max = POSITION_SIZE - 1),
	},
};

static const char *const state_names[] = {
	[NDRV_PENDING] = "being made",
	[NDRV_READY] = "ready",
	[NDRV_DELETING] = "being deleted",
};

/* Where a page begins: how many elements come before. */
static int parse_after(const struct args *a, uint64_t *ret_n, struct dp_error *err)
{
	*ret_n = 0;
	if (a->after && dp_parse_u64(a->after, 0, UINT64_MAX, ret_n) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "After: '%s'", a->after);
	return 0;
}

static int set_next(json_t *reply, uint64_t n)
{
	char text[POSITION_SIZE];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	return json_object_set_new(reply, "Next", json_string(text));
}

static json_t *subnets_of(const struct ndrv_network *n)
{
	json_t *list = json_array();
	char text[DP_PREFIX_STRLEN];

	for (unsigned i = 0; i < n->spec.n_subnets; i++)
		(void)json_array_append_new(
			list, json_string(dp_prefix_format(&n->spec.subnets[i].pool, text)));
	return list;
}

/* What is wrong with @n, as one line; "" = nothing. */
static const char *trouble(const struct ndrv_driver *d, const struct ndrv_network *n)
{
	if (n->state != NDRV_READY)
		return state_names[n->state];
	if (!n->segment->broken)
		return "";
	return *d->complaint ? d->complaint : "not looked at yet";
}

static json_t *network_status(const struct ndrv_driver *d, const struct ndrv_network *n)
{
	const struct ndrv_segment *s = n->segment;
	unsigned n_attached = 0;

	for (struct ndrv_endpoint *e = n->endpoints; e; e = e->next) {
		ndrv_host_look_at(d->host, e);
		n_attached += e->in_container;
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:i, s:o, s:i, s:i, s:s}", "Network",
			 n->spec.id, "Mode", ndrv_mode_name(n->spec.mode), "Segment", s->key, "Parent",
			 n->spec.parent, "VLAN", (int)n->spec.vlan, "MTU", (int)n->mtu, "Bridge",
			 s->bridge, "Sharers", (int)s->n_networks, "Subnets", subnets_of(n),
			 "Endpoints", (int)n->n_endpoints, "Attached", (int)n_attached, "Trouble",
			 trouble(d, n));
}

static int on_status(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_network *n;
	struct ndrv_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	uint64_t first;
	uint64_t i = 0;
	int r = ndrv_driver_ready(d, err);

	if (r == 0)
		r = parse_after(req, &first, err);
	if (r < 0)
		return r;
	for (n = ndrv_registry_networks(d->registry); n && i < first + NETWORKS_A_PAGE;
	     n = n->next, i++) {
		if (i >= first && json_array_append_new(list, network_status(d, n)) < 0)
			return dp_error_oom(err);
	}
	reply = json_pack("{s:O, s:s}", "Networks", list, "Complaint", d->complaint);
	if (!reply || (n && set_next(reply, i) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

static const char *text(const json_t *obj, const char *key)
{
	const char *v = json_string_value(json_object_get(obj, key));

	return v ? v : "";
}

static long long number(const json_t *obj, const char *key)
{
	return (long long)json_integer_value(json_object_get(obj, key));
}

static void show_status(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *n;
	size_t i;

	if (page == 0)
		fprintf(out, "%-12s %-8s %-16s %-15s %5s %9s %8s  %-20s %s\n", "NETWORK", "MODE",
			"SEGMENT", "BRIDGE", "MTU", "ENDPOINTS", "ATTACHED", "SUBNET", "TROUBLE");
	json_array_foreach(json_object_get(reply, "Networks"), i, n)
	{
		const char *subnet = json_string_value(json_array_get(json_object_get(n, "Subnets"), 0));

		fprintf(out, "%-12.12s %-8s %-16.16s %-15s %5lld %9lld %8lld  %-20s %s\n",
			text(n, "Network"), text(n, "Mode"), text(n, "Segment"), text(n, "Bridge"),
			number(n, "MTU"), number(n, "Endpoints"), number(n, "Attached"),
			subnet ? subnet : "-", *text(n, "Trouble") ? text(n, "Trouble") : "-");
	}
	if (!json_is_string(json_object_get(reply, "Next")) && *text(reply, "Complaint"))
		fprintf(out, "not all is well, the daemon goes on trying: %s\n",
			text(reply, "Complaint"));
}

/* ---- endpoints ---- */

static json_t *endpoint_status(const struct ndrv_endpoint *e)
{
	char addr4[DP_PREFIX_STRLEN] = "";
	char addr6[DP_PREFIX_STRLEN] = "";
	char mac[18];

	(void)snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", e->mac[0], e->mac[1], e->mac[2],
		       e->mac[3], e->mac[4], e->mac[5]);
	if (e->addr4.addr.family)
		dp_prefix_format(&e->addr4, addr4);
	if (e->addr6.addr.family)
		dp_prefix_format(&e->addr6, addr6);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Endpoint", e->id, "Network",
			 e->network->spec.id, "Address", addr4, "AddressIPv6", addr6, "MAC", mac, "Link",
			 e->link, "Bridge", e->network->segment->bridge, "State",
			 e->state != NDRV_READY	 ? state_names[e->state] :
			 e->in_container	 ? "attached" :
			 e->detached || e->direct ? "without a link" :
						   "not moved yet");
}

static int on_endpoints(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct args *a = req;
	struct ndrv_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	uint64_t first;
	uint64_t i = 0;
	bool more = false;
	int r = ndrv_driver_ready(d, err);

	if (r == 0)
		r = parse_after(a, &first, err);
	if (r < 0)
		return r;
	for (const struct ndrv_network *n = ndrv_registry_networks(d->registry); n && !more; n = n->next) {
		if (a->network && strncmp(a->network, n->spec.id, strlen(a->network)))
			continue;
		if (i + n->n_endpoints <= first) {
			i += n->n_endpoints;
			continue;
		}
		for (struct ndrv_endpoint *e = n->endpoints; e && !more; e = e->next) {
			if (i++ < first)
				continue;
			ndrv_host_look_at(d->host, e);
			if (json_array_append_new(list, endpoint_status(e)) < 0)
				return dp_error_oom(err);
			more = json_array_size(list) == ENDPOINTS_A_PAGE;
		}
	}
	reply = json_pack("{s:O}", "Endpoints", list);
	if (!reply || (more && set_next(reply, i) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}

static void show_endpoints(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *e;
	size_t i;

	if (page == 0)
		fprintf(out, "%-12s %-12s %-18s %-24s %-17s %-15s %s\n", "ENDPOINT", "NETWORK", "ADDRESS",
			"IPV6", "MAC", "LINK", "STATE");
	json_array_foreach(json_object_get(reply, "Endpoints"), i, e)
		fprintf(out, "%-12.12s %-12.12s %-18s %-24s %-17s %-15s %s\n", text(e, "Endpoint"),
			text(e, "Network"), *text(e, "Address") ? text(e, "Address") : "-",
			*text(e, "AddressIPv6") ? text(e, "AddressIPv6") : "-", text(e, "MAC"),
			text(e, "Link"), text(e, "State"));
}

/* ---- monitoring ---- */

void ndrv_driver_metrics(void *ctx, const struct dp_metrics *m)
{
	const struct ndrv_driver *d = ctx;
	double n_networks = 0;
	double n_endpoints = 0;
	double n_segments = 0;
	double n_broken = 0;

	if (d->registry) {
		for (const struct ndrv_network *n = ndrv_registry_networks(d->registry); n; n = n->next) {
			n_networks++;
			n_endpoints += n->n_endpoints;
		}
		for (const struct ndrv_segment *s = ndrv_registry_segments(d->registry); s; s = s->next) {
			n_segments++;
			n_broken += s->broken;
		}
	}
	dp_metrics_family(m, "networks", "gauge", "networks of the engine");
	dp_metrics_value(m, "networks", n_networks, NULL);
	dp_metrics_family(m, "endpoints", "gauge", "containers' links");
	dp_metrics_value(m, "endpoints", n_endpoints, NULL);
	dp_metrics_family(m, "segments", "gauge", "bridges");
	dp_metrics_value(m, "segments", n_segments, NULL);
	dp_metrics_family(m, "segments_broken", "gauge", "bridges of which something is missing");
	dp_metrics_value(m, "segments_broken", n_broken, NULL);
	dp_metrics_family(m, "thefts_total", "counter",
			  "times that another host was heard to claim an endpoint's address");
	dp_metrics_value(m, "thefts_total", (double)ndrv_peer_n_thefts(d), NULL);
}

/* ---- reconcile ---- */

static void show_reconcile(const json_t *reply, unsigned page, FILE *out)
{
	(void)page;
	fprintf(out, "%lld networks rebuilt, %lld leftover links removed, %lld dead endpoints dropped\n",
		number(reply, "Rebuilt"), number(reply, "Removed"), number(reply, "Dropped"));
	if (json_is_true(json_object_get(reply, "Complete")))
		fprintf(out, "host and records agree\n");
	else
		fprintf(out, "not all could be done, the daemon goes on trying: %s\n",
			json_string_value(json_object_get(reply, "Complaint")));
}

const struct dp_route ndrv_operator_routes[] = {
	{ "/Operator.Reconcile", &no_args_schema, sizeof(struct no_args), on_reconcile },
	{ "/Operator.Status", &status_args, sizeof(struct args), on_status },
	{ "/Operator.Endpoints", &endpoints_args, sizeof(struct args), on_endpoints },
	{ .path = NULL },
};

/* ---- state as JSON, without the daemon ---- */

static const struct dp_archive archive = {
	.format = "mynetworkplugin",
	.file = "mynetworkplugin.db",
	.schema = &ndrv_state_schema,
	.check = ndrv_store_check,
};

static int run_export(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ndrv_config *c = config;

	(void)args;
	return dp_archive_export(&archive, c->common.state_dir, stdout, err);
}

static int run_import(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ndrv_config *c = config;

	return dp_archive_run_import(&archive, c->common.state_dir, args, err);
}

const struct dp_command ndrv_commands[] = {
	{ .name = "reconcile", .method = "/Operator.Reconcile", .show = show_reconcile,
	  .help = "compare the host with the records now, and mend what differs" },
	{ .name = "status", .method = "/Operator.Status", .args = &status_args, .pages = "Networks",
	  .show = show_status, .help = "all networks, their bridges, and what is wrong with them" },
	{ .name = "endpoints", .method = "/Operator.Endpoints", .args = &endpoints_args,
	  .pages = "Endpoints", .show = show_endpoints,
	  .help = "which container's link is where" },
	{ .name = "export", .run = run_export,
	  .help = "the whole state as JSON, with the daemon stopped" },
	{ .name = "import", .run = run_import, .args = &dp_archive_import_schema,
	  .operands = dp_archive_import_operands,
	  .help = "make the state what an export says, with the daemon stopped" },
	{ .name = NULL },
};
