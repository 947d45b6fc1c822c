/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/log.h"
#include "netdriver/host.h"

/* A link to delete; the alias guards against an index that was reused meanwhile. */
struct doomed {
	int ifindex;
	char alias[NDRV_ALIAS_SIZE];
};

struct ndrv_host {
	const char *sysctl_dir;
	int lock_fd; /* held as long as the daemon serves this network namespace */
	struct ndrv_rtnl *rtnl;
	struct ndrv_fw *fw;
	bool add_rules; /* else only remove ours */
	struct doomed *doomed;
	size_t n_doomed;
	size_t max_doomed;
};

static int lock_namespace(int *ret_fd, struct dp_error *err)
{
	static const char name[] = "\0mynetworkplugin"; /* the NUL makes it abstract */
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -errno, "socket: %s", strerror(errno));
	memcpy(sa.sun_path, name, sizeof name - 1);
	if (bind(fd, (const struct sockaddr *)&sa,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof name - 1)) < 0)
		return dp_error_set(err, DP_ERR_CONFLICT, -errno,
				    "another mynetworkplugin serves this host (as a service or as a managed "
				    "plugin): stop it first");
	*ret_fd = dp_take_fd(&fd);
	return 0;
}

int ndrv_host_open(const char *sysctl_dir, bool add_rules, struct ndrv_host **ret_host,
		   struct dp_error *err)
{
	struct ndrv_host *h = calloc(1, sizeof *h);
	int r;

	if (!h)
		return dp_error_oom(err);
	h->sysctl_dir = sysctl_dir;
	h->add_rules = add_rules;
	h->lock_fd = -EBADF;
	r = lock_namespace(&h->lock_fd, err);
	if (r == 0)
		r = ndrv_rtnl_open(&h->rtnl, err);
	if (r == 0)
		r = ndrv_rtnl_delete_unfinished(h->rtnl, NULL, err);
	if (r == 0)
		r = ndrv_fw_open(NULL, &h->fw, err);
	if (r < 0) {
		ndrv_host_close(h);
		return r;
	}
	*ret_host = h;
	return 0;
}

void ndrv_host_close(struct ndrv_host *host)
{
	if (!host)
		return;
	ndrv_fw_close(host->fw);
	ndrv_rtnl_close(host->rtnl);
	if (host->lock_fd >= 0)
		(void)close(host->lock_fd);
	free(host->doomed);
	free(host);
}

int ndrv_host_watch(struct ndrv_host *host, ndrv_rtnl_event_fn *fn, void *ctx,
		    struct ndrv_rtnl_watch **ret_watch, struct dp_error *err)
{
	return ndrv_rtnl_watch_open(host->rtnl, fn, ctx, ret_watch, err);
}

/* ---- /proc/sys ---- */

static bool sysctl_is_on(const struct ndrv_host *host, const char *path)
{
	auto_close int fd = -EBADF;
	char full[PATH_MAX];
	char c = '0';

	if (snprintf(full, sizeof full, "%s/%s", host->sysctl_dir, path) >= (int)sizeof full)
		return false;
	fd = open(full, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1 && c != '0';
}

static void read_forwarding(struct ndrv_host *host, bool *ret_v4, bool *ret_v6)
{
	*ret_v4 = sysctl_is_on(host, "net/ipv4/ip_forward");
	*ret_v6 = sysctl_is_on(host, "net/ipv6/conf/all/forwarding");
}

/*
 * Keeps the host's own IPv6 off a bridge that only carries others' frames: without it the host would
 * take addresses and routes from any router advertisement on the VLAN. Where /proc/sys cannot be
 * written (a managed plugin without the mount) the bridge still has no link-local address.
 */
static void ipv6_off(const struct ndrv_host *host, const char *bridge)
{
	auto_close int fd = -EBADF;
	char full[PATH_MAX];

	if (snprintf(full, sizeof full, "%s/net/ipv6/conf/%s/disable_ipv6", host->sysctl_dir, bridge) >=
	    (int)sizeof full)
		return;
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return; /* the kernel has no IPv6 */
	if (fd < 0 || write(fd, "1", 1) != 1)
		dp_log_warning("%s: %s: the host may take IPv6 addresses from this network", full,
			       strerror(errno));
}

/* ---- looking ---- */

/* A link by name; not being there is an answer (ifindex 0), not a failure. */
static int look(struct ndrv_host *host, const char *name, struct ndrv_link *ret_link,
		struct dp_error *err)
{
	int r = ndrv_rtnl_get_link_by_name(host->rtnl, name, ret_link, err);

	if (r != -ENODEV)
		return r;
	memset(ret_link, 0, sizeof *ret_link);
	return 0;
}

/* VLAN @vid of link @parent, under whatever name it has. */
static int find_vlan(struct ndrv_host *host, int parent, uint32_t vid, struct ndrv_link *ret_link,
		     struct dp_error *err)
{
	auto_free struct ndrv_link *links = NULL;
	size_t n;
	int r = ndrv_rtnl_list_links(host->rtnl, &links, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (links[i].vlan_id == vid && links[i].lower == parent && !links[i].lower_elsewhere) {
			*ret_link = links[i];
			return 0;
		}
	}
	return 0;
}

static int look_uplink(struct ndrv_host *host, const struct ndrv_shape *shape, struct ndrv_facts *f,
		       struct dp_error *err)
{
	char name[NDRV_IFNAME_BUF];
	int r;

	if (!shape->vlan) {
		f->uplink = f->parent;
		return 0;
	}
	ndrv_ifname_vlan(shape->parent, shape->vlan, name);
	r = look(host, name, &f->uplink, err);
	if (r < 0)
		return r;
	/* eth0.100 may have been made by hand on a link of another name: then that is the parent. */
	if (!f->parent.ifindex && f->uplink.vlan_id == shape->vlan && !f->uplink.lower_elsewhere &&
	    f->uplink.lower)
		r = ndrv_rtnl_get_link_by_index(host->rtnl, f->uplink.lower, &f->parent, err);
	if (r == 0 && !f->uplink.ifindex && f->parent.ifindex)
		r = find_vlan(host, f->parent.ifindex, shape->vlan, &f->uplink, err);
	return r;
}

int ndrv_host_probe(struct ndrv_host *host, const struct ndrv_shape *shape, const char *bridge_name,
		    struct ndrv_facts *ret_facts, struct dp_error *err)
{
	struct ndrv_facts f;
	int r;

	memset(&f, 0, sizeof f);
	r = look(host, bridge_name, &f.bridge, err);
	if (r == 0 && shape->mode == NDRV_L2) {
		r = look(host, shape->parent, &f.parent, err);
		if (r == 0)
			r = look_uplink(host, shape, &f, err);
		if (r == 0 && f.uplink.ifindex)
			r = ndrv_rtnl_link_has_addrs(host->rtnl, f.uplink.ifindex, &f.uplink_has_addrs,
						     err);
	}
	if (r < 0)
		return r;
	read_forwarding(host, &f.forwarding4, &f.forwarding6);
	*ret_facts = f;
	return 0;
}

/* ---- building ---- */

static int undo_link(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	const struct ndrv_host *host = ctx;

	return ndrv_rtnl_delete_link(host->rtnl, arg->ifindex, arg->text, err);
}

static int undo_up(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	const struct ndrv_host *host = ctx;
	int r = ndrv_rtnl_set_up(host->rtnl, arg->ifindex, false, err);

	return r == -ENODEV ? 0 : r;
}

static int undo_master(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	const struct ndrv_host *host = ctx;
	int r = ndrv_rtnl_set_master(host->rtnl, arg->ifindex, arg->value, err);

	return r == -ENODEV ? 0 : r;
}

static int undo_accept(void *ctx, const struct ndrv_tx_arg *arg, struct dp_error *err)
{
	const struct ndrv_host *host = ctx;

	return ndrv_fw_remove(host->fw, arg->text, err);
}

static void on_abort(struct ndrv_tx *tx, const char *what, ndrv_tx_undo_fn *undo, int ifindex,
		     const char *text)
{
	struct ndrv_tx_arg arg = { .ifindex = ifindex };

	(void)snprintf(arg.text, sizeof arg.text, "%s", text);
	ndrv_tx_on_abort(tx, what, undo, &arg);
}

/* What the operations of one plan work on; the indexes grow as links are made. */
struct build {
	struct ndrv_host *host;
	struct ndrv_segment *segment;
	const struct ndrv_spec *spec;
	uint32_t mtu;
	struct ndrv_facts facts;
	struct ndrv_tx *tx;
	bool rules_late;
};

static int create_bridge(struct build *b, struct dp_error *err)
{
	char alias[NDRV_ALIAS_SIZE];
	struct ndrv_bridge_spec spec = {
		.name = b->segment->bridge,
		.alias = alias,
		.mtu = b->spec->mode == NDRV_L2 ? 0 : b->mtu, /* follows its ports */
		.ipv6_off = b->spec->mode != NDRV_ROUTED,
		.up = true,
	};
	struct dp_addr none = { .family = AF_INET };
	int r;

	ndrv_alias("bridge", b->segment->key, alias);
	/* Fixed where the host talks through it: else it changes whenever a port with a lower address
	 * joins. Not on a VLAN, where it would be the same on every host. */
	if (b->spec->mode == NDRV_ROUTED)
		ndrv_mac_derive(b->spec, &none, spec.mac);
	r = ndrv_rtnl_create_bridge(b->host->rtnl, &spec, &b->facts.bridge.ifindex, err);
	if (r < 0)
		return r;
	on_abort(b->tx, "bridge", undo_link, b->facts.bridge.ifindex, alias);
	if (spec.ipv6_off)
		ipv6_off(b->host, b->segment->bridge);
	return 0;
}

static int create_vlan(struct build *b, struct dp_error *err)
{
	char alias[NDRV_ALIAS_SIZE];
	char name[NDRV_IFNAME_BUF];
	struct ndrv_vlan_spec spec = {
		.name = name,
		.alias = alias,
		.parent = b->facts.parent.ifindex,
		.vid = (uint16_t)b->spec->vlan,
		.master = b->facts.bridge.ifindex,
		.up = true,
	};
	int r;

	ndrv_alias("vlan", b->segment->key, alias);
	ndrv_ifname_vlan(b->spec->parent, b->spec->vlan, name);
	r = ndrv_rtnl_create_vlan(b->host->rtnl, &spec, &b->facts.uplink.ifindex, err);
	if (r < 0)
		return r;
	on_abort(b->tx, "VLAN subinterface", undo_link, b->facts.uplink.ifindex, alias);
	return 0;
}

static int set_up(struct build *b, const char *what, int ifindex, struct dp_error *err)
{
	int r = ndrv_rtnl_set_up(b->host->rtnl, ifindex, true, err);

	if (r == 0)
		on_abort(b->tx, what, undo_up, ifindex, "");
	return r;
}

static int enslave_uplink(struct build *b, struct dp_error *err)
{
	int r = ndrv_rtnl_set_master(b->host->rtnl, b->facts.uplink.ifindex, b->facts.bridge.ifindex,
				     err);

	if (r == 0)
		on_abort(b->tx, "port of the bridge", undo_master, b->facts.uplink.ifindex, "");
	return r;
}

static int accept_traffic(struct build *b, struct dp_error *err)
{
	bool done;
	int r;

	if (b->segment->n_networks == 1) /* before: they may be there although the answer was lost */
		on_abort(b->tx, "firewall rules", undo_accept, 0, b->segment->key);
	r = ndrv_host_accept(b->host, b->segment, &done, err);
	if (r == -EAGAIN) { /* an engine that starts holds the lock for long: no reason to fail */
		dp_log_warning("segment %s: rules are added later: %s", b->segment->key, err->msg);
		b->rules_late = true;
		return 0;
	}
	return r;
}

static int run_op(struct build *b, const struct ndrv_op *op, struct dp_error *err)
{
	switch (op->kind) {
	case NDRV_OP_PARENT_UP:
		return set_up(b, "parent", b->facts.parent.ifindex, err);
	case NDRV_OP_CREATE_BRIDGE:
		return create_bridge(b, err);
	case NDRV_OP_BRIDGE_UP:
		return set_up(b, "bridge", b->facts.bridge.ifindex, err);
	case NDRV_OP_CREATE_VLAN:
		return create_vlan(b, err);
	case NDRV_OP_ENSLAVE_UPLINK:
		return enslave_uplink(b, err);
	case NDRV_OP_UPLINK_UP:
		return set_up(b, "uplink", b->facts.uplink.ifindex, err);
	case NDRV_OP_ADDRESS: /* goes with the bridge: nothing to undo */
		return ndrv_rtnl_add_address(b->host->rtnl, b->facts.bridge.ifindex, &op->address, err);
	case NDRV_OP_FIREWALL:
		return accept_traffic(b, err);
	}
	return -EINVAL;
}

int ndrv_host_build(struct ndrv_host *host, struct ndrv_segment *segment,
		    const struct ndrv_spec *spec, uint32_t mtu, struct ndrv_tx *tx,
		    struct dp_error *err)
{
	struct build b = { .host = host, .segment = segment, .spec = spec, .mtu = mtu, .tx = tx };
	struct ndrv_shape shape = ndrv_spec_shape(spec);
	struct ndrv_plan plan;
	int r = ndrv_host_probe(host, &shape, segment->bridge, &b.facts, err);

	if (r == 0)
		r = ndrv_plan_segment(spec, segment->bridge, &b.facts, &plan, err);
	if (r < 0)
		return r;
	if (ndrv_plan_foreign_bridge(spec, &b.facts)) {
		segment->foreign_bridge = true;
		ndrv_segment_set_bridge(segment, b.facts.parent.name);
	}
	for (unsigned i = 0; i < plan.n_ops; i++) {
		r = run_op(&b, &plan.ops[i], err);
		if (r < 0)
			return dp_error_prefix(err, "%s", ndrv_op_name(plan.ops[i].kind));
	}
	segment->broken = b.rules_late;
	segment->bridge_ifindex =
		segment->foreign_bridge ? b.facts.parent.ifindex : b.facts.bridge.ifindex;
	segment->parent_ifindex = b.facts.parent.ifindex;
	segment->uplink_ifindex = b.facts.uplink.ifindex;
	return 0;
}

int ndrv_host_accept(struct ndrv_host *host, struct ndrv_segment *segment, bool *ret_done,
		     struct dp_error *err)
{
	struct ndrv_fw_rules rules = {
		.bridge = segment->bridge,
		.id = segment->key,
		.routed = segment->shape.mode == NDRV_ROUTED && !segment->shape.internal,
	};
	int r;

	segment->n_rules = 0;
	r = host->add_rules ? ndrv_fw_ensure(host->fw, &rules, &segment->n_rules, err) : 0;
	*ret_done = !host->add_rules || segment->n_rules;
	return r;
}

static int cmp_rule(const void *a, const void *b)
{
	const struct ndrv_fw_id *x = a;
	const struct ndrv_fw_id *y = b;

	return strcmp(x->id, y->id);
}

/* How many rules a segment has. */
static unsigned count_rules(const struct ndrv_fw_id *ids, size_t n, const struct ndrv_segment *s)
{
	const struct ndrv_fw_id *found;
	struct ndrv_fw_id key;

	(void)snprintf(key.id, sizeof key.id, "%s", s->key);
	found = n ? bsearch(&key, ids, n, sizeof key, cmp_rule) :
		    NULL; /* without any, @ids is NULL */
	return found ? found->n : 0;
}

/* Without rules of our own (firewall=off) tables are looked at for what an earlier run left. Who may
 * not look at them - a service has no raw socket for iptables-legacy - has nothing to mend there. */
static int or_none(const struct ndrv_host *host, int r)
{
	return !host->add_rules && (r == -EPERM || r == -EAFNOSUPPORT) ? 0 : r;
}

/* Ids of segments that have rules, sorted as by strcmp(). */
static int list_rules(struct ndrv_host *host, struct ndrv_fw_id **ret_ids, size_t *ret_n,
		      struct dp_error *err)
{
	int r;

	*ret_ids = NULL;
	*ret_n = 0;
	r = or_none(host, ndrv_fw_list(host->fw, ret_ids, ret_n, err));
	return r < 0 ? dp_error_prefix(err, "firewall") : 0;
}

/* Remembers the first of several failures. */
static int first_of(int r, int next)
{
	return r < 0 ? r : next;
}

int ndrv_host_accept_missing(struct ndrv_host *host, const struct ndrv_registry *registry,
			     struct dp_error *err)
{
	auto_free struct ndrv_fw_id *ids = NULL;
	size_t n;
	bool done = true;
	int r = list_rules(host, &ids, &n, err);

	if (r < 0)
		return r;
	for (struct ndrv_segment *s = ndrv_registry_segments(registry); s && done; s = s->next) {
		if (!count_rules(ids, n, s))
			r = first_of(r, ndrv_host_accept(host, s, &done, r < 0 ? NULL : err));
	}
	return r;
}

/* ---- taking down ---- */

int ndrv_host_doom(struct ndrv_host *host, int ifindex, const char *alias)
{
	if (host->n_doomed == host->max_doomed) {
		size_t max = host->max_doomed ? 2 * host->max_doomed : 16;
		struct doomed *p = reallocarray(host->doomed, max, sizeof *p);

		if (!p)
			return -ENOMEM;
		host->doomed = p;
		host->max_doomed = max;
	}
	host->doomed[host->n_doomed].ifindex = ifindex;
	(void)snprintf(host->doomed[host->n_doomed].alias, NDRV_ALIAS_SIZE, "%s", alias);
	host->n_doomed++;
	return 0;
}

int ndrv_host_doom_endpoint(struct ndrv_host *host, struct ndrv_endpoint *endpoint)
{
	char alias[NDRV_ALIAS_SIZE];
	int r;

	if (!endpoint->ifindex)
		return 0;
	ndrv_alias("veth", endpoint->id, alias);
	r = ndrv_host_doom(host, endpoint->ifindex, alias);
	if (r == 0)
		endpoint->ifindex = 0;
	return r;
}

static int cmp_doomed(const void *a, const void *b)
{
	const struct doomed *x = a;
	const struct doomed *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

/* A link may have been doomed twice: by the request of a turn and by its repair. */
int ndrv_host_reap(struct ndrv_host *host, struct dp_error *err)
{
	auto_free struct ndrv_link_ref *refs = NULL;
	size_t n = 0;

	if (!host->n_doomed)
		return 0;
	refs = calloc(host->n_doomed, sizeof *refs);
	if (!refs)
		return dp_error_oom(err);
	qsort(host->doomed, host->n_doomed, sizeof *host->doomed, cmp_doomed);
	for (size_t i = 0; i < host->n_doomed; i++) {
		if (!n || refs[n - 1].ifindex != host->doomed[i].ifindex)
			refs[n++] = (struct ndrv_link_ref){ .ifindex = host->doomed[i].ifindex,
							    .alias = host->doomed[i].alias };
	}
	host->n_doomed = 0;
	return ndrv_rtnl_delete_links(host->rtnl, refs, n, err);
}

/* Dooms @link if it is the segment's own of @kind; else, where it is a port of its bridge, frees it. */
static int let_go(struct ndrv_host *host, const struct ndrv_segment *segment, const char *kind,
		  const struct ndrv_link *link, int bridge, struct dp_error *err)
{
	char alias[NDRV_ALIAS_SIZE];

	if (!link->ifindex)
		return 0;
	ndrv_alias(kind, segment->key, alias);
	if (!strcmp(link->alias, alias))
		return ndrv_host_doom(host, link->ifindex, alias);
	if (bridge && link->master == bridge)
		return ndrv_rtnl_set_master(host->rtnl, link->ifindex, 0, err);
	return 0;
}

int ndrv_host_dismantle(struct ndrv_host *host, const struct ndrv_segment *segment,
			struct dp_error *err)
{
	struct ndrv_facts facts;
	int r = or_none(host, ndrv_fw_remove(host->fw, segment->key, err));
	int probed = ndrv_host_probe(host, &segment->shape, segment->bridge, &facts, err);

	if (probed < 0 || segment->foreign_bridge)
		return first_of(r, probed);
	r = first_of(r, let_go(host, segment, "vlan", &facts.uplink, facts.bridge.ifindex, err));
	return first_of(r, let_go(host, segment, "bridge", &facts.bridge, 0, err));
}

/* ---- endpoints ---- */

/* A leftover of the same name must be the same endpoint's, and goes. */
static int clear_name(struct ndrv_host *host, const char *name, const char *kind, const char *id,
		      struct dp_error *err)
{
	char alias[NDRV_ALIAS_SIZE];
	struct ndrv_link link;
	int r = look(host, name, &link, err);

	if (r < 0 || !link.ifindex)
		return r;
	ndrv_alias(kind, id, alias);
	return ndrv_rtnl_delete_link(host->rtnl, link.ifindex, alias, err);
}

/* Makes the pair; leftovers of the same endpoint make way. */
static int make_pair(struct ndrv_host *host, const struct ndrv_endpoint *endpoint,
		     const struct ndrv_veth_spec *spec, int *ret_ifindex, int *ret_peer,
		     struct dp_error *err)
{
	int r = ndrv_rtnl_create_veth(host->rtnl, spec, ret_ifindex, ret_peer, err);

	if (r != -EEXIST)
		return r;
	r = clear_name(host, endpoint->link, "veth", endpoint->id, err);
	if (r == 0)
		r = clear_name(host, endpoint->peer, "peer", endpoint->id, err);
	return r < 0 ? r : ndrv_rtnl_create_veth(host->rtnl, spec, ret_ifindex, ret_peer, err);
}

/* The container end, which is bare so far, becomes usable. */
static int finish_in_sandbox(const struct ndrv_host *host, struct ndrv_sandbox *sandbox,
			     const struct ndrv_endpoint *endpoint, const struct ndrv_veth_spec *spec, int peer, struct dp_error *err)
{
	const struct ndrv_sandbox_link link = {
		.ifindex = peer,
		.name = spec->peer_name,
		.alias = spec->peer_alias,
		.mac = endpoint->mac,
		.addr4 = &endpoint->addr4,
		.addr6 = &endpoint->addr6,
		.sysctls = endpoint->sysctls ? endpoint->sysctls : "",
		.sysctl_dir = host->sysctl_dir,
	};

	return ndrv_sandbox_finish(sandbox, &link, err);
}

int ndrv_host_attach(struct ndrv_host *host, struct ndrv_endpoint *endpoint,
		     struct ndrv_sandbox *sandbox, struct dp_error *err)
{
	const struct ndrv_network *network = endpoint->network;
	char alias[NDRV_ALIAS_SIZE];
	char peer_alias[NDRV_ALIAS_SIZE];
	char inside[NDRV_IFNAME_BUF];
	struct ndrv_veth_spec spec = {
		.name = endpoint->link,
		.alias = alias,
		.mtu = network->mtu,
		.up = true,
		.peer_name = sandbox ? inside : endpoint->peer,
		.peer_alias = peer_alias,
		.peer_mtu = network->mtu,
		.peer_ns = sandbox ? sandbox->ns_fd : 0,
	};
	struct ndrv_link bridge;
	int ifindex;
	int peer;
	int r = ndrv_rtnl_get_link_by_name(host->rtnl, network->segment->bridge, &bridge, err);

	if (r < 0)
		return dp_error_prefix(err, "bridge of network %s", network->spec.id);
	if (sandbox)
		r = ndrv_sandbox_free_name(sandbox, ndrv_spec_direct_prefix(&network->spec), inside, err);
	if (r < 0)
		return r;
	ndrv_alias("veth", endpoint->id, alias);
	ndrv_alias("peer", endpoint->id, peer_alias);
	spec.master = bridge.ifindex;
	memcpy(spec.peer_mac, endpoint->mac, sizeof spec.peer_mac);
	r = make_pair(host, endpoint, &spec, &ifindex, &peer, err);
	if (r < 0)
		return r;
	if (sandbox)
		r = finish_in_sandbox(host, sandbox, endpoint, &spec, peer, err);
	if (r < 0) {
		if (ndrv_rtnl_delete_link(host->rtnl, ifindex, alias, NULL) < 0)
			dp_log_warning("link %s is left until the next repair", endpoint->link);
		return r;
	}
	endpoint->ifindex = ifindex;
	endpoint->direct = sandbox != NULL;
	return 0;
}

/* ---- comparing ---- */

struct ndrv_view {
	struct ndrv_link *links;          /* sorted by index */
	const struct ndrv_link **by_name; /* sorted by name */
	size_t n;
	struct ndrv_fw_id *rules;         /* segments that have rules, sorted */
	size_t n_rules;
	struct ndrv_rtnl_address *addrs;  /* sorted; NULL: not listed yet */
	size_t n_addrs;
	bool forwarding4, forwarding6;    /* known when @addrs is */
};

static int cmp_index(const void *a, const void *b)
{
	const struct ndrv_link *x = a;
	const struct ndrv_link *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

static int cmp_name(const void *a, const void *b)
{
	const struct ndrv_link *const *x = a;
	const struct ndrv_link *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static const struct ndrv_link *view_by_index(const struct ndrv_view *v, int ifindex)
{
	const struct ndrv_link key = { .ifindex = ifindex };

	return bsearch(&key, v->links, v->n, sizeof key, cmp_index);
}

static const struct ndrv_link *view_by_name(const struct ndrv_view *v, const char *name)
{
	struct ndrv_link key = { .ifindex = 0 };
	const struct ndrv_link *p = &key;
	const struct ndrv_link **slot;

	(void)snprintf(key.name, sizeof key.name, "%s", name);
	slot = bsearch(&p, v->by_name, v->n, sizeof *v->by_name, cmp_name);
	return slot ? *slot : NULL;
}

int ndrv_host_look(struct ndrv_host *host, struct ndrv_view **ret_view, struct dp_error *err)
{
	DP_CLEANUP(ndrv_view_freep) struct ndrv_view *v = calloc(1, sizeof *v);
	int r;

	if (!v)
		return dp_error_oom(err);
	r = ndrv_rtnl_list_links(host->rtnl, &v->links, &v->n, err);
	if (r < 0)
		return r;
	v->by_name = calloc(v->n + 1, sizeof *v->by_name);
	if (!v->by_name)
		return dp_error_oom(err);
	qsort(v->links, v->n, sizeof *v->links, cmp_index);
	for (size_t i = 0; i < v->n; i++)
		v->by_name[i] = &v->links[i];
	qsort(v->by_name, v->n, sizeof *v->by_name, cmp_name);
	r = list_rules(host, &v->rules, &v->n_rules, err);
	if (r < 0)
		return r;
	*ret_view = DP_TAKE_PTR(v);
	return 0;
}

void ndrv_view_free(struct ndrv_view *view)
{
	if (!view)
		return;
	free(view->links);
	free(view->by_name);
	free(view->rules);
	free(view->addrs);
	free(view);
}

/* The segment's uplink: by its name, by its number on the parent, or the index it had. */
static const struct ndrv_link *view_uplink(const struct ndrv_view *v, const struct ndrv_segment *s,
					   const struct ndrv_link *parent)
{
	char name[NDRV_IFNAME_BUF];
	const struct ndrv_link *link;

	if (!s->shape.vlan)
		return parent;
	ndrv_ifname_vlan(s->shape.parent, s->shape.vlan, name);
	link = view_by_name(v, name);
	if (link)
		return link;
	link = s->uplink_ifindex ? view_by_index(v, s->uplink_ifindex) : NULL;
	if (link && link->vlan_id == s->shape.vlan && parent && link->lower == parent->ifindex)
		return link;
	for (size_t i = 0; parent && i < v->n; i++) {
		if (v->links[i].vlan_id == s->shape.vlan && v->links[i].lower == parent->ifindex &&
		    !v->links[i].lower_elsewhere)
			return &v->links[i];
	}
	return NULL;
}

static const char *uplink_fault(const struct ndrv_view *v, struct ndrv_segment *s,
				const struct ndrv_link *bridge)
{
	const struct ndrv_link *parent = view_by_name(v, s->shape.parent);
	const struct ndrv_link *uplink;

	/* Renamed: what hangs on it goes on working. */
	if (!parent && s->parent_ifindex)
		parent = view_by_index(v, s->parent_ifindex);
	uplink = view_uplink(v, s, parent);
	if (!uplink)
		return parent ? "its VLAN subinterface was gone" : "its parent is gone";
	s->uplink_ifindex = uplink->ifindex;
	s->parent_ifindex = parent ? parent->ifindex : uplink->lower;
	if (uplink->master != bridge->ifindex)
		return "its uplink was no port of its bridge";
	if (!uplink->up || (parent && !parent->up))
		return "its uplink was down";
	return NULL;
}

/* What is wrong with a segment's links; NULL if nothing is. */
static const char *links_fault(const struct ndrv_view *v, struct ndrv_segment *s)
{
	const struct ndrv_link *bridge = view_by_name(v, s->bridge);

	if (!bridge)
		return "its bridge was gone";
	s->bridge_ifindex = bridge->ifindex;
	if (s->foreign_bridge) {
		s->parent_ifindex = bridge->ifindex;
		return NULL;
	}
	if (!bridge->up)
		return "its bridge was down";
	return s->shape.mode == NDRV_L2 ? uplink_fault(v, s, bridge) : NULL;
}

const char *ndrv_view_fault(const struct ndrv_host *host, const struct ndrv_view *view,
			    struct ndrv_segment *segment)
{
	const char *fault = links_fault(view, segment);
	unsigned n_rules;

	if (fault)
		return fault;
	/* Rules that were never there are no fault: the engine may not have set up its chain. */
	if (!host->add_rules || !view->n_rules)
		return NULL;
	n_rules = count_rules(view->rules, view->n_rules, segment);
	if (!n_rules)
		return "its rules were gone";
	return n_rules < segment->n_rules ? "some of its rules were gone" : NULL;
}

static int cmp_address(const void *a, const void *b)
{
	const struct ndrv_rtnl_address *x = a;
	const struct ndrv_rtnl_address *y = b;
	int c = (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);

	if (!c)
		c = dp_addr_cmp(&x->addr.addr, &y->addr.addr);
	return c ? c : (int)x->addr.len - (int)y->addr.len;
}

const char *ndrv_view_network_fault(struct ndrv_host *host, struct ndrv_view *view,
				    const struct ndrv_network *network)
{
	const struct ndrv_spec *spec = &network->spec;
	struct dp_error ignored = DP_ERROR_INIT;

	if (spec->mode != NDRV_ROUTED)
		return NULL;
	if (!view->addrs) {
		if (ndrv_rtnl_list_addresses(host->rtnl, &view->addrs, &view->n_addrs, &ignored) < 0)
			return "";
		qsort(view->addrs, view->n_addrs, sizeof *view->addrs, cmp_address);
		read_forwarding(host, &view->forwarding4, &view->forwarding6);
	}
	for (unsigned i = 0; i < spec->n_subnets; i++) {
		struct ndrv_rtnl_address want = { .ifindex = network->segment->bridge_ifindex,
						  .addr = spec->subnets[i].gateway };

		if (want.addr.addr.family == AF_UNSPEC)
			continue;
		if (!bsearch(&want, view->addrs, view->n_addrs, sizeof want, cmp_address))
			return "its gateway address was gone";
		if (!spec->internal &&
		    !(want.addr.addr.family == AF_INET ? view->forwarding4 : view->forwarding6))
			return ""; /* building it says so */
	}
	return NULL;
}

/* A bridge of ours that someone gave another name gets its own back. */
static int restore_name(struct ndrv_host *host, const struct ndrv_view *v,
			struct ndrv_registry *registry, const struct ndrv_link *link,
			struct dp_error *err)
{
	const char *key = ndrv_mark_id(link->alias, "bridge");
	const struct ndrv_segment *s = key ? ndrv_segment_by_key(registry, key) : NULL;

	if (!s || s->foreign_bridge || !strcmp(s->bridge, link->name) || view_by_name(v, s->bridge))
		return 0;
	dp_log_notice("segment %s: bridge %s was renamed %s", s->key, s->bridge, link->name);
	return ndrv_rtnl_rename(host->rtnl, link, s->bridge, err);
}

int ndrv_host_restore_names(struct ndrv_host *host, const struct ndrv_view *view,
			    struct ndrv_registry *registry, struct dp_error *err)
{
	int r = 0;

	for (size_t i = 0; i < view->n; i++)
		r = first_of(r, restore_name(host, view, registry, &view->links[i], err));
	return r;
}

void ndrv_host_look_at(struct ndrv_host *host, struct ndrv_endpoint *e)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct ndrv_link link;

	if (!e->in_container && e->ifindex &&
	    ndrv_rtnl_get_link_by_index(host->rtnl, e->ifindex, &link, &ignored) == 0)
		e->in_container = link.lower_elsewhere;
}

/* The endpoint's link is where it should be: learn its index, mend its master. */
static int adopt_endpoint(struct ndrv_host *host, struct ndrv_endpoint *e,
			  const struct ndrv_link *link, const struct ndrv_link *bridge,
			  struct dp_error *err)
{
	int r = 0;

	e->ifindex = link->ifindex;
	e->in_container = link->lower_elsewhere;
	if (e->detached) /* its Leave could not delete it */
		return ndrv_host_doom_endpoint(host, e);
	if (bridge && link->master != bridge->ifindex)
		r = ndrv_rtnl_set_master(host->rtnl, link->ifindex, bridge->ifindex, err);
	if (r == 0 && !link->up)
		r = ndrv_rtnl_set_up(host->rtnl, link->ifindex, true, err);
	return r;
}

/* Does a pair end in another namespace, in a container, at @link or at a port of bridge @link? */
static bool leads_to_container(const struct ndrv_view *v, const struct ndrv_link *link)
{
	if (ndrv_mark_id(link->alias, "veth"))
		return link->lower_elsewhere;
	for (size_t i = 0; i < v->n; i++) {
		if (v->links[i].master == link->ifindex && ndrv_mark_id(v->links[i].alias, "veth") &&
		    v->links[i].lower_elsewhere)
			return true;
	}
	return false;
}

/* Is an unknown link part of the way to a living container? */
static bool carries_container(const struct ndrv_view *v, const struct ndrv_link *link)
{
	const struct ndrv_link *bridge;

	if (!ndrv_mark_id(link->alias, "vlan"))
		return leads_to_container(v, link);
	bridge = view_by_index(v, link->master);
	return bridge && leads_to_container(v, bridge);
}

/* One link with our mark: known, or doomed. */
static int settle_link(struct ndrv_host *host, const struct ndrv_view *v,
		       struct ndrv_registry *registry, const struct ndrv_link *link,
		       unsigned *n_removed, struct dp_error *err)
{
	struct ndrv_endpoint *e;
	const char *id;

	if ((id = ndrv_mark_id(link->alias, "veth"))) {
		e = ndrv_endpoint_find(registry, id);
		if (e)
			return adopt_endpoint(host, e, link,
					      view_by_name(v, e->network->segment->bridge), err);
	} else if ((id = ndrv_mark_id(link->alias, "peer"))) {
		if (ndrv_endpoint_find(registry, id))
			return 0;
	} else if ((id = ndrv_mark_id(link->alias, "bridge")) || (id = ndrv_mark_id(link->alias, "vlan"))) {
		if (ndrv_segment_by_key(registry, id))
			return 0;
	}
	if (carries_container(v, link)) {
		dp_log_warning("%s (%s) serves a container, but has no record: was the state lost? It is "
			       "left as it is",
			       link->name, link->alias);
		return 0;
	}
	dp_log_notice("removing leftover link %s (%s)", link->name, link->alias);
	(*n_removed)++;
	return ndrv_host_doom(host, link->ifindex, link->alias);
}

static int settle_rules(struct ndrv_host *host, const struct ndrv_view *v,
			struct ndrv_registry *registry, struct dp_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->n_rules; i++) {
		if (!host->add_rules || !ndrv_segment_by_key(registry, v->rules[i].id))
			r = ndrv_fw_remove(host->fw, v->rules[i].id, err);
	}
	return r;
}

int ndrv_host_settle(struct ndrv_host *host, const struct ndrv_view *view,
		     struct ndrv_registry *registry, unsigned *ret_n_removed, struct dp_error *err)
{
	bool unfinished = false;
	int r = 0;

	*ret_n_removed = 0;
	for (struct ndrv_network *n = ndrv_registry_networks(registry); n; n = n->next) {
		for (struct ndrv_endpoint *e = n->endpoints; e; e = e->next)
			e->ifindex = 0; /* known again only where it is seen */
	}
	for (size_t i = 0; i < view->n; i++) {
		if (ndrv_link_is_ours(&view->links[i]))
			r = first_of(r, settle_link(host, view, registry, &view->links[i], ret_n_removed,
						    err));
		unfinished = unfinished || view->links[i].group == NDRV_GROUP_UNFINISHED;
	}
	if (unfinished) /* a creation failed, and then its undoing */
		r = first_of(r, ndrv_rtnl_delete_unfinished(host->rtnl, NULL, err));
	r = first_of(r, ndrv_host_reap(host, err));
	return first_of(r, settle_rules(host, view, registry, err));
}
