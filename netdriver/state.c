/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "netdriver/state.h"

static const char migration_1[] =
	"CREATE TABLE segment(key TEXT PRIMARY KEY, bridge TEXT NOT NULL,"
	" foreign_bridge INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE network(id TEXT PRIMARY KEY, state TEXT NOT NULL, mode TEXT NOT NULL,"
	" parent TEXT NOT NULL, vlan INTEGER NOT NULL, mtu_asked INTEGER NOT NULL,"
	" mtu INTEGER NOT NULL, bridge TEXT NOT NULL, iface_prefix TEXT NOT NULL,"
	" gwbridge INTEGER NOT NULL, internal INTEGER NOT NULL, ipv6 INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE subnet(network TEXT, number INTEGER, pool TEXT NOT NULL, gateway TEXT NOT NULL,"
	" PRIMARY KEY(network, number)) WITHOUT ROWID;"
	"CREATE TABLE endpoint(id TEXT PRIMARY KEY, network TEXT NOT NULL, state TEXT NOT NULL,"
	" address4 TEXT NOT NULL, address6 TEXT NOT NULL, mac TEXT NOT NULL,"
	" mac_given INTEGER NOT NULL, link TEXT NOT NULL) WITHOUT ROWID;";

static const char migration_2[] =
	"ALTER TABLE network ADD COLUMN attach TEXT NOT NULL DEFAULT '';";

static const char migration_3[] =
	"ALTER TABLE network ADD COLUMN aux TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE subnet ADD COLUMN local_book INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE endpoint ADD COLUMN since INTEGER NOT NULL DEFAULT 0;";

/* Every page gets a checksum, by the store. */
static const char migration_4[] = "";

static const char *const migrations[] = { migration_1, migration_2, migration_3, migration_4 };

static const struct dp_store_rule rules[] = {
	{ "SELECT count(*) FROM subnet WHERE network NOT IN (SELECT id FROM network)",
	  "subnets of a network that does not exist" },
	{ "SELECT count(*) FROM endpoint WHERE network NOT IN (SELECT id FROM network)",
	  "endpoints of a network that does not exist" },
	{ "SELECT (SELECT count(*) FROM segment) > (SELECT count(*) FROM network)",
	  "more bridges than networks" },
};

const struct dp_store_schema ndrv_state_schema = {
	.application_id = 0x6d6e7470, /* "mntp" */
	.migrations = migrations,
	.n_migrations = DP_ARRAY_LEN(migrations),
	.checked_since = 4,
	.rules = rules,
	.n_rules = DP_ARRAY_LEN(rules),
};

enum statement {
	S_SEGMENTS,
	S_SEGMENT_PUT,
	S_SEGMENT_DEL,
	S_NETWORKS,
	S_NETWORK_PUT,
	S_NETWORK_DEL,
	S_SUBNETS,
	S_SUBNET_PUT,
	S_SUBNET_DEL,
	S_ENDPOINTS,
	S_ENDPOINT_PUT,
	S_ENDPOINT_DEL,
	S_ENDPOINT_DEL_ALL,
	N_STATEMENTS,
};

static const char *const sql[N_STATEMENTS] = {
	[S_SEGMENTS] = "SELECT bridge, foreign_bridge FROM segment WHERE key = ?1",
	[S_SEGMENT_PUT] = "INSERT OR REPLACE INTO segment(key, bridge, foreign_bridge)"
			  " VALUES(?1, ?2, ?3)",
	[S_SEGMENT_DEL] = "DELETE FROM segment WHERE key = ?1",
	[S_NETWORKS] = "SELECT id, state, mode, parent, vlan, mtu_asked, mtu, bridge, iface_prefix,"
		       " gwbridge, internal, ipv6, attach, aux FROM network",
	[S_NETWORK_PUT] = "INSERT OR REPLACE INTO network(id, state, mode, parent, vlan, mtu_asked,"
			  " mtu, bridge, iface_prefix, gwbridge, internal, ipv6, attach, aux)"
			  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
	[S_NETWORK_DEL] = "DELETE FROM network WHERE id = ?1",
	[S_SUBNETS] = "SELECT pool, gateway, local_book FROM subnet WHERE network = ?1 ORDER BY number",
	[S_SUBNET_PUT] = "INSERT OR REPLACE INTO subnet(network, number, pool, gateway, local_book)"
			 " VALUES(?1, ?2, ?3, ?4, ?5)",
	[S_SUBNET_DEL] = "DELETE FROM subnet WHERE network = ?1",
	[S_ENDPOINTS] = "SELECT id, network, state, address4, address6, mac, mac_given, since"
			" FROM endpoint",
	[S_ENDPOINT_PUT] = "INSERT OR REPLACE INTO endpoint(id, network, state, address4, address6,"
			   " mac, mac_given, link, since)"
			   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[S_ENDPOINT_DEL] = "DELETE FROM endpoint WHERE id = ?1",
	[S_ENDPOINT_DEL_ALL] = "DELETE FROM endpoint WHERE network = ?1",
};

static const char *const state_names[] = { "pending", "ready", "deleting" };

struct ndrv_state_store {
	struct dp_store *store;
	struct dp_stmt *stmts[N_STATEMENTS];
};

int ndrv_store_open(const char *dir, struct ndrv_state_store **ret_store, struct dp_error *err)
{
	DP_CLEANUP(ndrv_store_closep) struct ndrv_state_store *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return dp_error_oom(err);
	r = dp_store_open(dir, "mynetworkplugin.db", &ndrv_state_schema, &s->store, err);
	for (unsigned i = 0; r == 0 && i < N_STATEMENTS; i++)
		r = dp_stmt_new(s->store, sql[i], &s->stmts[i], err);
	if (r < 0)
		return r;
	*ret_store = DP_TAKE_PTR(s);
	return 0;
}

void ndrv_store_close(struct ndrv_state_store *store)
{
	if (!store)
		return;
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		dp_stmt_free(store->stmts[i]);
	dp_store_close(store->store);
	free(store);
}

int ndrv_store_commit(struct ndrv_state_store *store, struct dp_error *err)
{
	return dp_store_commit(store->store, err);
}

void ndrv_store_rollback(struct ndrv_state_store *store)
{
	dp_store_rollback(store->store);
}

/* ---- writing ---- */

static const char *prefix_text(const struct dp_prefix *p, char buf[static DP_PREFIX_STRLEN])
{
	if (p->addr.family == AF_UNSPEC)
		buf[0] = '\0';
	else
		dp_prefix_format(p, buf);
	return buf;
}

static int put_subnets(struct ndrv_state_store *store, const struct ndrv_spec *spec,
		       struct dp_error *err)
{
	struct dp_stmt *s = store->stmts[S_SUBNET_PUT];

	for (unsigned i = 0; i < spec->n_subnets; i++) {
		char pool[DP_PREFIX_STRLEN];
		char gateway[DP_PREFIX_STRLEN];
		int r;

		dp_stmt_bind_text(s, 1, spec->id);
		dp_stmt_bind_int(s, 2, i);
		dp_stmt_bind_text(s, 3, prefix_text(&spec->subnets[i].pool, pool));
		dp_stmt_bind_text(s, 4, prefix_text(&spec->subnets[i].gateway, gateway));
		dp_stmt_bind_int(s, 5, spec->subnets[i].local_book);
		r = dp_stmt_exec(s, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ndrv_store_put_segment(struct ndrv_state_store *store, const struct ndrv_segment *segment,
			   struct dp_error *err)
{
	struct dp_stmt *s = store->stmts[S_SEGMENT_PUT];

	dp_stmt_bind_text(s, 1, segment->key);
	dp_stmt_bind_text(s, 2, segment->bridge);
	dp_stmt_bind_int(s, 3, segment->foreign_bridge);
	return dp_stmt_exec(s, NULL, err);
}

int ndrv_store_put_network(struct ndrv_state_store *store, const struct ndrv_network *network,
			   struct dp_error *err)
{
	const struct ndrv_spec *spec = &network->spec;
	struct dp_stmt *s = store->stmts[S_NETWORK_PUT];
	int r;

	dp_stmt_bind_text(s, 1, spec->id);
	dp_stmt_bind_text(s, 2, state_names[network->state]);
	dp_stmt_bind_text(s, 3, ndrv_mode_name(spec->mode));
	dp_stmt_bind_text(s, 4, spec->parent);
	dp_stmt_bind_int(s, 5, spec->vlan);
	dp_stmt_bind_int(s, 6, spec->mtu);
	dp_stmt_bind_int(s, 7, network->mtu);
	dp_stmt_bind_text(s, 8, spec->bridge);
	dp_stmt_bind_text(s, 9, spec->iface_prefix);
	dp_stmt_bind_int(s, 10, spec->gwbridge);
	dp_stmt_bind_int(s, 11, spec->internal);
	dp_stmt_bind_int(s, 12, spec->ipv6);
	dp_stmt_bind_text(s, 13, ndrv_attach_name(spec->attach));
	dp_stmt_bind_text(s, 14, network->aux ? network->aux : "");
	r = dp_stmt_exec(s, NULL, err);
	if (r == 0)
		r = put_subnets(store, spec, err);
	if (r == 0)
		r = ndrv_store_put_segment(store, network->segment, err);
	return r;
}

static int delete_by(struct ndrv_state_store *store, enum statement which, const char *key,
		     struct dp_error *err)
{
	dp_stmt_bind_text(store->stmts[which], 1, key);
	return dp_stmt_exec(store->stmts[which], NULL, err);
}

int ndrv_store_remove_network(struct ndrv_state_store *store, const struct ndrv_network *network,
			      struct dp_error *err)
{
	int r = delete_by(store, S_ENDPOINT_DEL_ALL, network->spec.id, err);

	if (r == 0)
		r = delete_by(store, S_SUBNET_DEL, network->spec.id, err);
	if (r == 0)
		r = delete_by(store, S_NETWORK_DEL, network->spec.id, err);
	if (r == 0 && network->segment->n_networks == 1)
		r = delete_by(store, S_SEGMENT_DEL, network->segment->key, err);
	return r;
}

int ndrv_store_put_endpoint(struct ndrv_state_store *store, const struct ndrv_endpoint *endpoint,
			    struct dp_error *err)
{
	const uint8_t *m = endpoint->mac;
	struct dp_stmt *s = store->stmts[S_ENDPOINT_PUT];
	char addr4[DP_PREFIX_STRLEN];
	char addr6[DP_PREFIX_STRLEN];
	char mac[18];

	(void)snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		       m[5]);
	dp_stmt_bind_text(s, 1, endpoint->id);
	dp_stmt_bind_text(s, 2, endpoint->network->spec.id);
	dp_stmt_bind_text(s, 3, state_names[endpoint->state]);
	dp_stmt_bind_text(s, 4, prefix_text(&endpoint->addr4, addr4));
	dp_stmt_bind_text(s, 5, prefix_text(&endpoint->addr6, addr6));
	dp_stmt_bind_text(s, 6, mac);
	dp_stmt_bind_int(s, 7, endpoint->mac_given);
	dp_stmt_bind_text(s, 8, endpoint->link);
	dp_stmt_bind_int(s, 9, endpoint->since);
	return dp_stmt_exec(s, NULL, err);
}

int ndrv_store_remove_endpoint(struct ndrv_state_store *store, const char *id, struct dp_error *err)
{
	return delete_by(store, S_ENDPOINT_DEL, id, err);
}

/* ---- reading ---- */

static int bad_row(struct dp_error *err, const char *table, const char *id)
{
	return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN, "state: %s row '%s' makes no sense", table,
			    id);
}

static int parse_state(const char *text, enum ndrv_state *ret_state)
{
	for (unsigned i = 0; i < DP_ARRAY_LEN(state_names); i++) {
		if (!strcmp(text, state_names[i])) {
			*ret_state = (enum ndrv_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* "" = none. */
static int parse_prefix(const char *text, struct dp_prefix *ret_prefix)
{
	*ret_prefix = (struct dp_prefix){ .len = 0 };
	return *text ? dp_prefix_parse(text, ret_prefix) : 0;
}

static int load_subnets(struct ndrv_state_store *store, struct ndrv_spec *spec, struct dp_error *err)
{
	struct dp_stmt *s = store->stmts[S_SUBNETS];
	int r;

	dp_stmt_bind_text(s, 1, spec->id);
	while ((r = dp_stmt_step(s, err)) == 1) {
		struct ndrv_subnet *subnet = &spec->subnets[spec->n_subnets];

		if (spec->n_subnets == NDRV_MAX_SUBNETS ||
		    parse_prefix(dp_stmt_text(s, 0), &subnet->pool) < 0 ||
		    parse_prefix(dp_stmt_text(s, 1), &subnet->gateway) < 0) {
			dp_stmt_reset(s);
			return bad_row(err, "subnet", spec->id);
		}
		subnet->local_book = dp_stmt_int(s, 2) != 0;
		spec->n_subnets++;
	}
	return r;
}

/* What the segment row knows beyond the specs of its networks. */
static int load_segment(struct ndrv_state_store *store, struct ndrv_segment *segment,
			struct dp_error *err)
{
	struct dp_stmt *s = store->stmts[S_SEGMENTS];
	int r;

	dp_stmt_bind_text(s, 1, segment->key);
	r = dp_stmt_step(s, err);
	if (r < 0)
		return r;
	if (r == 0)
		return bad_row(err, "segment", segment->key);
	ndrv_segment_set_bridge(segment, dp_stmt_text(s, 0));
	segment->foreign_bridge = dp_stmt_int(s, 1) != 0;
	dp_stmt_reset(s);
	return 0;
}

static int load_network(struct ndrv_state_store *store, struct dp_stmt *s,
			struct ndrv_registry *registry, struct dp_error *err)
{
	struct ndrv_network *network;
	struct ndrv_spec spec;
	enum ndrv_state state;
	int r;

	memset(&spec, 0, sizeof spec);
	(void)snprintf(spec.id, sizeof spec.id, "%s", dp_stmt_text(s, 0));
	if (parse_state(dp_stmt_text(s, 1), &state) < 0 ||
	    ndrv_mode_parse(dp_stmt_text(s, 2), &spec.mode) < 0 ||
	    ndrv_attach_parse(dp_stmt_text(s, 12), &spec.attach) < 0)
		return bad_row(err, "network", spec.id);
	(void)snprintf(spec.parent, sizeof spec.parent, "%s", dp_stmt_text(s, 3));
	spec.vlan = (uint32_t)dp_stmt_int(s, 4);
	spec.mtu = (uint32_t)dp_stmt_int(s, 5);
	(void)snprintf(spec.bridge, sizeof spec.bridge, "%s", dp_stmt_text(s, 7));
	(void)snprintf(spec.iface_prefix, sizeof spec.iface_prefix, "%s", dp_stmt_text(s, 8));
	spec.gwbridge = dp_stmt_int(s, 9) != 0;
	spec.internal = dp_stmt_int(s, 10) != 0;
	spec.ipv6 = dp_stmt_int(s, 11) != 0;
	r = load_subnets(store, &spec, err);
	if (r == 0)
		r = ndrv_network_add(registry, &spec, (uint32_t)dp_stmt_int(s, 6), &network, err);
	if (r == 0)
		r = load_segment(store, network->segment, err);
	if (r < 0)
		return r;
	ndrv_network_set_state(network, state);
	if (*dp_stmt_text(s, 13)) {
		network->aux = strdup(dp_stmt_text(s, 13));
		if (!network->aux)
			return dp_error_oom(err);
	}
	return 0;
}

static int load_endpoint(struct dp_stmt *s, struct ndrv_registry *registry, struct dp_error *err)
{
	struct ndrv_network *network = ndrv_network_find(registry, dp_stmt_text(s, 1));
	const char *id = dp_stmt_text(s, 0);
	struct ndrv_endpoint *e;
	struct dp_prefix addr4;
	struct dp_prefix addr6;

	if (!network)
		return bad_row(err, "endpoint", id);
	if (ndrv_endpoint_add(registry, network, id, &e) < 0)
		return dp_error_oom(err);
	if (parse_state(dp_stmt_text(s, 2), &e->state) < 0 ||
	    parse_prefix(dp_stmt_text(s, 3), &addr4) < 0 ||
	    parse_prefix(dp_stmt_text(s, 4), &addr6) < 0 ||
	    dp_parse_mac(dp_stmt_text(s, 5), e->mac) < 0)
		return bad_row(err, "endpoint", id);
	if (ndrv_endpoint_set_addresses(e, &addr4, &addr6) < 0)
		return dp_error_oom(err);
	e->mac_given = dp_stmt_int(s, 6) != 0;
	e->since = dp_stmt_int(s, 7);
	return 0;
}

int ndrv_store_load(struct ndrv_state_store *store, struct ndrv_registry **ret_registry,
		    struct dp_error *err)
{
	DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *registry = NULL;
	struct dp_stmt *s = store->stmts[S_NETWORKS];
	int r = ndrv_registry_new(&registry);
	int e = 0;

	if (r < 0)
		return dp_error_oom(err);
	while (e == 0 && (r = dp_stmt_step(s, err)) == 1)
		e = load_network(store, s, registry, err);
	dp_stmt_reset(s);
	s = store->stmts[S_ENDPOINTS];
	while (e == 0 && r >= 0 && (r = dp_stmt_step(s, err)) == 1)
		e = load_endpoint(s, registry, err);
	dp_stmt_reset(s);
	if (e < 0 || r < 0)
		return e < 0 ? e : r;
	*ret_registry = DP_TAKE_PTR(registry);
	return 0;
}

/* ---- checking ---- */

int ndrv_store_check(const char *dir, FILE *out, struct dp_error *err)
{
	DP_CLEANUP(ndrv_store_closep) struct ndrv_state_store *store = NULL;
	DP_CLEANUP(ndrv_registry_freep) struct ndrv_registry *registry = NULL;
	unsigned version;
	int n = dp_store_check(dir, "mynetworkplugin.db", &ndrv_state_schema, out, &version, err);

	/* Rows of an older version can be read after its migration only, which is a change. */
	if (n || version < ndrv_state_schema.n_migrations)
		return n;
	if (ndrv_store_open(dir, &store, err) < 0)
		return err->code;
	if (ndrv_store_load(store, &registry, err) == 0)
		return 0;
	if (err->code == -ENOMEM)
		return err->code;
	fprintf(out, "%s\n", err->msg);
	return 1;
}
