/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* The engine's methods on endpoints; driver.c has their table, and says what holds for all handlers. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/parse.h"
#include "netdriver/driver_internal.h"

#define OPT_ENGINE "com.docker.network."

const struct dp_schema ndrv_endpoint_schema = {
	.n_fields = 5,
	.fields =
		(const struct dp_field[5]){
			DP_STR(struct ndrv_endpoint_request, network, "NetworkID"),
			DP_STR(struct ndrv_endpoint_request, id, "EndpointID"),
			DP_OBJ(struct ndrv_endpoint_request, interface, "Interface"),
			DP_OBJ(struct ndrv_endpoint_request, options, "Options"),
			DP_STR(struct ndrv_endpoint_request, sandbox, "SandboxKey"),
		},
};

struct interface {
	const char *addr4;
	const char *addr6;
	const char *mac;
};

static const struct dp_schema interface_schema = {
	.n_fields = 3,
	.fields =
		(const struct dp_field[3]){
			DP_STR(struct interface, addr4, "Address", .max = DP_PREFIX_STRLEN),
			DP_STR(struct interface, addr6, "AddressIPv6", .max = DP_PREFIX_STRLEN),
			DP_STR(struct interface, mac, "MacAddress", .max = 17),
		},
};

/* What an endpoint is asked to be. */
struct endpoint_spec {
	struct dp_prefix addr4;
	struct dp_prefix addr6;
	uint8_t mac[6];
	bool mac_given;
	const char *sysctls; /* borrowed from the request; NULL = none */
};

/* --driver-opt of `docker network connect`: none of ours yet, so all others are unknown. */
static const char *const engine_options[] = { OPT_ENGINE, NULL };

static const struct dp_schema endpoint_option_schema = {
	.noun = "endpoint option",
	.refuse_unknown = true,
	.ignore = engine_options,
	.n_fields = 1,
	.fields =
		(const struct dp_field[1]){
			DP_STR(struct endpoint_spec, sysctls, OPT_ENGINE "endpoint.sysctls"),
		},
};

static int parse_address(const char *key, const char *text, int family,
			 struct dp_prefix *ret_prefix, struct dp_error *err)
{
	if (!text || !*text)
		return 0;
	if (dp_prefix_parse(text, ret_prefix) < 0 || ret_prefix->addr.family != family)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "%s: '%s' is no address with length", key, text);
	return 0;
}

static int decode_endpoint(const struct ndrv_endpoint_request *rq, const struct ndrv_network *n,
			   struct endpoint_spec *ret_spec, struct dp_error *err)
{
	struct endpoint_spec s = { .mac_given = false };
	struct interface itf = { .mac = "" };
	struct ndrv_spec seed;
	int r = 0;

	if (rq->options)
		r = dp_schema_decode(&endpoint_option_schema, rq->options, &s, err);
	if (r == 0 && rq->interface)
		r = dp_schema_decode(&interface_schema, rq->interface, &itf, err);
	if (r == 0)
		r = parse_address("Address", itf.addr4, AF_INET, &s.addr4, err);
	if (r == 0)
		r = parse_address("AddressIPv6", itf.addr6, AF_INET6, &s.addr6, err);
	if (r < 0)
		return r;
	s.mac_given = *itf.mac;
	if (s.mac_given && dp_parse_mac(itf.mac, s.mac) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "MacAddress: '%s' is no MAC address", itf.mac);
	if (!s.mac_given) {
		seed = n->spec;
		if (s.addr4.addr.family == AF_UNSPEC && s.addr6.addr.family == AF_UNSPEC) {
			seed.mode =
				NDRV_ISOLATED; /* no address to derive from: the endpoint's id */
			memcpy(seed.id, rq->id, strlen(rq->id) + 1);
		}
		ndrv_mac_derive(&seed,
				s.addr4.addr.family == AF_UNSPEC ? &s.addr6.addr : &s.addr4.addr,
				s.mac);
	}
	*ret_spec = s;
	return 0;
}

static bool endpoint_equal(const struct ndrv_endpoint *e, const struct ndrv_network *n,
			   const struct endpoint_spec *s)
{
	return e->network == n && e->mac_given == s->mac_given && !memcmp(e->mac, s->mac, 6) &&
	       !dp_addr_cmp(&e->addr4.addr, &s->addr4.addr) &&
	       !dp_addr_cmp(&e->addr6.addr, &s->addr6.addr);
}

/* Only fields that came empty may be answered, even with the same value (moby: remote/driver.go). */
static void reply_endpoint(struct dp_call *call, const struct ndrv_endpoint *e)
{
	const uint8_t *m = e->mac;
	char mac[18];

	if (e->mac_given)
		return;
	(void)snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
		       m[4], m[5]);
	dp_call_reply(call, json_pack("{s:{s:s}}", "Interface", "MacAddress", mac));
}

static bool wants_direct(const struct ndrv_driver *d, const struct ndrv_network *n)
{
	return n->spec.attach == NDRV_ATTACH_DIRECT ||
	       (n->spec.attach == NDRV_ATTACH_DEFAULT && ndrv_config_is_direct(d->config));
}

/* An endpoint on its way to being made. */
struct attach {
	char id[NDRV_ID_SIZE];
	int ifindex; /* made by us: deleted again if the turn fails */
};

static void attach_done(void *ctx, void *data, bool ok)
{
	struct ndrv_driver *d = ctx;
	struct attach *a = data;
	char alias[NDRV_ALIAS_SIZE];

	if (!ok && a->ifindex) {
		ndrv_alias("veth", a->id, alias);
		if (ndrv_host_doom(d->host, a->ifindex, alias) < 0)
			dp_log_warning("endpoint %.12s: its link is left until the next repair",
				       a->id);
		ndrv_driver_want_repair(d); /* which reaps, and finds links without a record */
	}
	free(a);
}

/* The rules of all segments, once the engine's chain is known to be there: @first has just been
 * accepted by it. */
static int accept_all(struct ndrv_driver *d, struct ndrv_segment *first, struct dp_error *err)
{
	bool done = true;
	int r = ndrv_host_accept(d->host, first, &done, err);

	if (r == -EAGAIN) { /* the table is busy: no reason to fail, the next endpoint asks again */
		dp_log_warning("rules are checked later: %s", err->msg);
		return 0;
	}
	if (r < 0 || !done)
		return r; /* no engine's chain (yet): likewise */
	d->rules_unsure = false;
	if (ndrv_host_accept_missing(d->host, d->registry, err) < 0) {
		dp_log_warning("rules of other segments are checked later: %s", err->msg);
		d->rules_unsure = true;
	}
	return 0;
}

/* The segment may not be complete yet: its parent was missing at start, or the engine, which owns
 * the chain for our rules, started after us. */
static int ensure_segment(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	int r = n->segment->broken ? ndrv_driver_build_segment(d, n, err) : 0;

	if (r == 0 && d->rules_unsure && accept_all(d, n->segment, err) < 0)
		r = dp_error_prefix(err, "firewall");
	return r;
}

static int endpoint_step_attach(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct attach *a = data;
	struct ndrv_endpoint *e = d->registry ? ndrv_endpoint_find(d->registry, a->id) : NULL;
	struct dp_error ignored = DP_ERROR_INIT;
	int r;

	if (!e)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -ENOENT,
				    "endpoint %.12s was deleted meanwhile", a->id);
	r = ensure_segment(d, e->network, err);
	if (r == 0 && wants_direct(d, e->network))
		e->detached = true; /* Join says whether the container can be entered */
	else if (r == 0)
		r = ndrv_host_attach(d->host, e, NULL, err);
	if (r < 0) {
		(void)ndrv_driver_forget_endpoint(d, e, &ignored);
		return r;
	}
	a->ifindex = e->ifindex;
	e->state = NDRV_READY;
	reply_endpoint(call, e);
	dp_call_undo_with(call, "/NetworkDriver.DeleteEndpoint");
	return ndrv_driver_spoil(d, ndrv_store_put_endpoint(d->store, e, err), err);
}

/* The allocator does not give an address twice, so whoever still has it is dead. */
static int replace_stale(struct ndrv_driver *d, struct ndrv_network *n,
			 const struct dp_prefix *addr, struct dp_error *err)
{
	struct ndrv_endpoint *old = NULL;

	if (addr->addr.family != AF_UNSPEC)
		old = ndrv_endpoint_by_address(n, &addr->addr);
	if (!old)
		return 0;
	dp_log_notice("endpoint %.12s replaced: its address came back for another", old->id);
	if (ndrv_host_doom_endpoint(d->host, old) < 0)
		return dp_error_oom(err);
	return ndrv_driver_forget_endpoint(d, old, err);
}

static int add_endpoint(struct ndrv_driver *d, struct ndrv_network *n, const char *id,
			const struct endpoint_spec *spec, struct dp_error *err)
{
	struct ndrv_endpoint *e;
	int r = replace_stale(d, n, &spec->addr4, err);

	if (r == 0)
		r = replace_stale(d, n, &spec->addr6, err);
	if (r < 0)
		return r;
	if (ndrv_endpoint_add(d->registry, n, id, &e) < 0)
		return dp_error_oom(err);
	if (spec->sysctls && wants_direct(d, n)) /* else the engine sees to them */
		e->sysctls = strdup(spec->sysctls);
	if (ndrv_endpoint_set_addresses(e, &spec->addr4, &spec->addr6) < 0) {
		ndrv_endpoint_remove(d->registry, e);
		return dp_error_oom(err);
	}
	e->mac_given = spec->mac_given;
	memcpy(e->mac, spec->mac, sizeof e->mac);
	e->since = (int64_t)time(NULL);
	ndrv_driver_asked(d, e);
	return ndrv_driver_spoil(d, ndrv_store_put_endpoint(d->store, e, err), err);
}

static int find_network(struct ndrv_driver *d, const char *id, struct ndrv_network **ret_network,
			struct dp_error *err)
{
	int r = ndrv_driver_ready(d, err);

	if (r < 0)
		return r;
	*ret_network = id ? ndrv_network_find(d->registry, id) : NULL;
	if (*ret_network && (*ret_network)->state == NDRV_READY)
		return 0;
	return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT,
			    "network %.12s is unknown to the plugin", id ? id : "");
}

int ndrv_on_create_endpoint(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_endpoint_request *rq = req;
	struct ndrv_driver *d = ctx;
	const struct ndrv_endpoint *known;
	struct endpoint_spec spec;
	struct ndrv_network *n;
	struct attach *a;
	int r = find_network(d, rq->network, &n, err);

	if (r == 0)
		r = ndrv_id_check("endpoint", rq->id, err);
	if (r == 0)
		r = decode_endpoint(rq, n, &spec, err);
	if (r < 0)
		return r;
	known = ndrv_endpoint_find(d->registry, rq->id);
	if (known && (known->state != NDRV_READY || !endpoint_equal(known, n, &spec)))
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST, "endpoint %.12s exists already",
				    rq->id);
	if (known) {
		reply_endpoint(call, known);
		return DP_STEP_DONE;
	}
	a = calloc(1, sizeof *a);
	if (!a)
		return dp_error_oom(err);
	(void)snprintf(a->id, sizeof a->id, "%s", rq->id);
	dp_call_then(call, endpoint_step_attach, a, attach_done);
	r = add_endpoint(d, n, rq->id, &spec, err);
	return r < 0 ? r : DP_STEP_AGAIN;
}

static int find_endpoint(struct ndrv_driver *d, const struct ndrv_endpoint_request *rq,
			 struct ndrv_endpoint **ret_endpoint, struct dp_error *err)
{
	int r = ndrv_driver_ready(d, err);

	if (r < 0)
		return r;
	*ret_endpoint = rq->id ? ndrv_endpoint_find(d->registry, rq->id) : NULL;
	return 0;
}

int ndrv_on_endpoint_info(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct ndrv_endpoint *e = NULL;
	struct dp_error ignored = DP_ERROR_INIT;

	(void)err;
	/* Never an error: until 28.0.1 it would make the whole `docker run` fail. */
	if (find_endpoint(d, req, &e, &ignored) < 0 || !e)
		dp_call_reply(call, json_pack("{s:{}}", "Value"));
	else
		dp_call_reply(call, json_pack("{s:{s:s, s:s}}", "Value", "link", e->link, "bridge",
					      e->network->segment->bridge));
	return DP_STEP_DONE;
}

static const char *gateway_text(const struct ndrv_spec *spec, const struct dp_prefix *addr,
				char buf[static DP_ADDR_STRLEN])
{
	const struct dp_addr *gw = ndrv_spec_gateway(spec, &addr->addr);

	buf[0] = '\0';
	return gw ? dp_addr_format(gw, buf) : buf;
}

static void note_move(struct ndrv_driver *d, const char *why)
{
	if (!d->move_noted)
		dp_log_warning("attach=direct is not possible, the engine moves the links: %s",
			       why);
	d->move_noted = true;
}

/* Opens the container's namespace, if the endpoint is to be made there and can be. @ret_sandbox stays
 * closed where the engine has to move the link. */
static void open_sandbox(struct ndrv_driver *d, const struct ndrv_network *n, const char *key,
			 struct ndrv_sandbox *ret_sandbox)
{
	const char *file = key ? strrchr(key, '/') : NULL;
	struct dp_error err = DP_ERROR_INIT;
	auto_free char *path = NULL;

	if (!wants_direct(d, n) || !file)
		return;
	if (!ndrv_config_is_direct(d->config)) {
		note_move(d, "it needs the configuration's `attach` to be direct");
		return;
	}
	if (asprintf(&path, "%s%s", d->config->sandbox_dir, *d->config->sandbox_dir ? file : key) <
	    0) {
		path = NULL;
		return;
	}
	if (ndrv_sandbox_open(path, ret_sandbox, &err) == 0)
		d->move_noted = false;
	else if (err.code == -ENOENT)
		dp_log_debug(
			"attach=direct: the engine makes the namespace later: it moves the link");
	else
		note_move(d, err.msg);
}

/* The link of an endpoint that has none: attach=direct, or joined again after a Leave. */
static int attach_at_join(struct ndrv_driver *d, struct ndrv_endpoint *e, const char *sandbox_key,
			  struct dp_error *err)
{
	struct ndrv_sandbox sandbox = NDRV_SANDBOX_INIT;
	int r;

	open_sandbox(d, e->network, sandbox_key, &sandbox);
	r = ndrv_host_attach(d->host, e, sandbox.rtnl ? &sandbox : NULL, err);
	ndrv_sandbox_close(&sandbox);
	if (r == 0)
		e->detached = false;
	return r;
}

static json_t *link_to_move(const struct ndrv_endpoint *e)
{
	if (e->direct)
		return json_null();
	return json_pack("{s:s, s:s}", "SrcName", e->peer, "DstPrefix",
			 e->network->spec.iface_prefix);
}

int ndrv_on_join(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ndrv_endpoint_request *rq = req;
	struct ndrv_driver *d = ctx;
	const struct ndrv_spec *spec;
	struct ndrv_endpoint *e;
	char gw4[DP_ADDR_STRLEN];
	char gw6[DP_ADDR_STRLEN];
	int r = find_endpoint(d, rq, &e, err);

	if (r < 0)
		return r;
	if (!e || e->state != NDRV_READY)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT,
				    "endpoint %.12s is unknown to the plugin",
				    rq->id ? rq->id : "");
	if (!e->ifindex)
		r = attach_at_join(d, e, rq->sandbox, err);
	if (r < 0)
		return r;
	ndrv_driver_asked(d, e);
	spec = &e->network->spec;
	dp_call_reply(call,
		      json_pack("{s:o, s:s, s:s, s:[], s:b}", "InterfaceName", link_to_move(e),
				"Gateway", gateway_text(spec, &e->addr4, gw4), "GatewayIPv6",
				gateway_text(spec, &e->addr6, gw6), "StaticRoutes",
				"DisableGatewayService", (int)!spec->gwbridge));
	return DP_STEP_DONE;
}

/* The engine would move the link back to the host, for 18 ms; deleting it here spares that, and
 * with others of the same turn costs a fraction of a millisecond. */
int ndrv_on_leave(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct ndrv_endpoint *e;
	int r = find_endpoint(d, req, &e, err);

	(void)call;
	if (r < 0 || !e)
		return r;
	e->detached = true;
	ndrv_driver_asked(d, e);
	return ndrv_host_doom_endpoint(d->host, e) < 0 ? dp_error_oom(err) : 0;
}

static int endpoint_step_forget(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	const struct ndrv_subject *s = data;
	struct ndrv_endpoint *e = d->registry ? ndrv_endpoint_find(d->registry, s->id) : NULL;

	(void)call;
	return e ? ndrv_driver_forget_endpoint(d, e, err) : DP_STEP_DONE;
}

int ndrv_on_delete_endpoint(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	struct ndrv_endpoint *e;
	bool had_link;
	int r = find_endpoint(d, req, &e, err);

	if (r < 0 || !e)
		return r;
	had_link = e->ifindex != 0;
	if (ndrv_host_doom_endpoint(d->host, e) < 0)
		return dp_error_oom(err);
	/* The record stays until the link is gone; if Leave has seen to that, it goes at once. A Join of this
	 * very turn must not give it another link. */
	e->state = NDRV_DELETING;
	return had_link ? ndrv_driver_start_steps(call, e->id, endpoint_step_forget, err) :
			  ndrv_driver_forget_endpoint(d, e, err);
}
