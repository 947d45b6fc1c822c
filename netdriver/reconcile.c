/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/log.h"
#include "netdriver/driver_internal.h"

enum {
	REPAIR_FIRST_MS = 5000,  /* after a repair that was not complete */
	REPAIR_LAST_MS = 300000,
	HEAL_FIRST_MS = 100,     /* after an event; gathers what happens together */
	HEAL_CALM_MS = 10000,    /* without events, so that the next counts as the first */
};

/* ---- turn ---- */

int ndrv_driver_spoil(struct ndrv_driver *d, int r, const struct dp_error *err)
{
	if (r < 0 && !d->spoilt) {
		d->spoilt = true;
		d->spoilt_err = *err;
	}
	return r;
}

/* Soon, and less and less often while it does not help. */
void ndrv_driver_want_repair(struct ndrv_driver *d)
{
	if (d->repair.armed)
		return;
	d->repair_wait_ms = d->repair_wait_ms ? 2 * d->repair_wait_ms : REPAIR_FIRST_MS;
	if (d->repair_wait_ms > REPAIR_LAST_MS)
		d->repair_wait_ms = REPAIR_LAST_MS;
	dp_timer_arm(d->loop, &d->repair, dp_loop_now_ms(d->loop) + d->repair_wait_ms);
}

/* A warning of background work, which repeats itself: the same one twice in a row is one. */
DP_PRINTF(2, 3) static void complain(struct ndrv_driver *d, const char *fmt, ...)
{
	char text[sizeof d->complaint];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (strcmp(text, d->complaint))
		dp_log_warning("%s", text);
	memcpy(d->complaint, text, sizeof text);
}

/* Deletions cannot be taken back and need not be: whoever asked forgets the link anyway. */
static void reap(struct ndrv_driver *d)
{
	struct dp_error err = DP_ERROR_INIT;

	if (ndrv_host_reap(d->host, &err) < 0) {
		dp_log_warning("links could not be deleted, trying again: %s", err.msg);
		ndrv_driver_want_repair(d);
	}
}

int ndrv_driver_flush(void *ctx, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;

	reap(d);
	if (d->spoilt) {
		*err = d->spoilt_err;
		return err->code;
	}
	return ndrv_store_commit(d->store, err);
}

static void forget_all(struct ndrv_driver *d);

void ndrv_driver_reload(void *ctx)
{
	struct ndrv_driver *d = ctx;
	struct dp_error err = DP_ERROR_INIT;

	reap(d); /* where a step has failed the turn, no flush has */
	forget_all(d);
	if (ndrv_driver_load(d, &err) < 0)
		dp_log_error("state cannot be read back, refusing requests until it can: %s", err.msg);
	ndrv_driver_want_repair(d);
}

/* Every handler's first line: is there a registry to work on? */
int ndrv_driver_ready(struct ndrv_driver *d, struct dp_error *err)
{
	return d->registry ? 0 : ndrv_driver_load(d, err);
}

/* ---- repair ---- */

int ndrv_driver_build_segment(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	DP_CLEANUP(ndrv_tx_rollback) struct ndrv_tx tx;
	int r;

	ndrv_tx_init(&tx, d->host);
	r = ndrv_host_build(d->host, n->segment, &n->spec, n->mtu, &tx, err);
	if (r < 0)
		return r;
	r = ndrv_driver_spoil(d, ndrv_store_put_segment(d->store, n->segment, err), err);
	if (r == 0)
		ndrv_tx_commit(&tx);
	if (n->segment->broken)
		ndrv_driver_want_repair(d);
	return r;
}

/* Is no other network left that wants @n's segment? Those that are being deleted do not. */
static bool is_last_on_segment(const struct ndrv_network *n)
{
	return n->segment->n_wanted == (n->state != NDRV_DELETING);
}

/* The links of a network go, if it is the last on its segment. They are doomed, not yet gone. */
int ndrv_driver_take_down(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	int r = 0;

	for (struct ndrv_endpoint *e = n->endpoints; e && r == 0; e = e->next)
		r = ndrv_host_doom_endpoint(d->host, e) < 0 ? dp_error_oom(err) : 0;
	if (r == 0 && is_last_on_segment(n))
		r = ndrv_host_dismantle(d->host, n->segment, err);
	return r;
}

/* The links are gone: the records follow. */
int ndrv_driver_forget_network(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	int r = ndrv_driver_spoil(d, ndrv_store_remove_network(d->store, n, err), err);

	if (r == 0)
		ndrv_network_remove(d->registry, n);
	return r;
}

int ndrv_driver_forget_endpoint(struct ndrv_driver *d, struct ndrv_endpoint *e, struct dp_error *err)
{
	int r = ndrv_driver_spoil(d, ndrv_store_remove_endpoint(d->store, e->id, err), err);

	if (r == 0)
		ndrv_endpoint_remove(d->registry, e);
	return r;
}

/* Loop's time from which on @e is abandoned; 0 = it is in a container, as far as is known. */
static uint64_t abandoned_ms(const struct ndrv_driver *d, const struct ndrv_endpoint *e)
{
	return e->in_container ? 0 : e->asked_ms + (uint64_t)d->config->abandon_after * 1000;
}

static void wake_for(struct ndrv_driver *d, const struct ndrv_endpoint *e)
{
	uint64_t due_ms = abandoned_ms(d, e);

	if (d->config->abandon_after && due_ms && (!d->idle.armed || d->idle.due_ms > due_ms))
		dp_timer_arm(d->loop, &d->idle, due_ms);
}

void ndrv_driver_asked(struct ndrv_driver *d, struct ndrv_endpoint *e)
{
	e->asked_ms = dp_loop_now_ms(d->loop);
	e->in_container = false; /* until it is seen there again */
	wake_for(d, e);
}

/* Why @e is dead; NULL = it is not. */
static const char *cause_of_death(const struct ndrv_driver *d, const struct ndrv_endpoint *e)
{
	uint64_t due_ms = abandoned_ms(d, e);

	if (e->state != NDRV_READY || (!e->ifindex && !e->detached))
		return "its link is gone";
	if (d->config->abandon_after && due_ms && due_ms <= dp_loop_now_ms(d->loop))
		return "it is in no container, and the engine does not ask for it any more";
	return NULL;
}

/* Endpoints that were never finished, whose link is gone (a reboot, an engine that crashed), or that
 * nobody wants. */
static int drop_dead_endpoints(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	struct ndrv_endpoint *next;
	int r = 0;

	for (struct ndrv_endpoint *e = n->endpoints; e && r == 0; e = next) {
		const char *cause = cause_of_death(d, e);

		next = e->next;
		if (!cause) {
			wake_for(d, e);
			continue;
		}
		dp_log_info("endpoint %.12s dropped: %s", e->id, cause);
		d->report.dropped++;
		ndrv_peer_dropped(d);
		r = ndrv_host_doom_endpoint(d->host, e);
		if (r == 0)
			r = ndrv_driver_forget_endpoint(d, e, err);
	}
	return r;
}

/* Bridges come first, so that reconciling finds them to put the endpoints' links into. */
static bool build_all(struct ndrv_driver *d)
{
	struct dp_error err = DP_ERROR_INIT;
	bool complete = true;

	for (struct ndrv_network *n = ndrv_registry_networks(d->registry); n; n = n->next) {
		if (n->state != NDRV_READY || !n->segment->broken)
			continue;
		if (ndrv_driver_build_segment(d, n, &err) == 0) {
			d->report.rebuilt += !n->segment->unsure;
			complete = complete && !n->segment->broken;
			continue;
		}
		complain(d, "network %.12s is not in order yet: %s", n->spec.id, err.msg);
		complete = false;
	}
	return complete;
}

/* What is not in use goes: dead endpoints, networks that were never finished or are to be deleted. */
static int clear_network(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err)
{
	int r = drop_dead_endpoints(d, n, err);

	if (r < 0 || n->state == NDRV_READY)
		return r;
	r = ndrv_driver_take_down(d, n, err);
	if (r == 0)
		r = ndrv_host_reap(d->host, err);
	return r < 0 ? r : ndrv_driver_forget_network(d, n, err);
}

/* After a failed commit: memory must not know more than the disk. */
static void forget_all(struct ndrv_driver *d)
{
	ndrv_store_rollback(d->store);
	ndrv_registry_free(d->registry);
	d->registry = NULL;
	d->spoilt = false;
}

/* @known: it was told before. Return: is there a fault? */
static bool note_fault(struct ndrv_segment *s, bool known, const char *fault)
{
	if (fault && *fault && !known)
		dp_log_notice("segment %s: %s", s->key, fault);
	s->broken = fault != NULL;
	s->unsure = fault && !*fault;
	return s->broken;
}

/* Marks the segments that are not as they should be. Return: number of those. */
static unsigned find_faults(struct ndrv_driver *d, struct ndrv_view *view)
{
	unsigned n = 0;

	for (struct ndrv_segment *s = ndrv_registry_segments(d->registry); s; s = s->next)
		n += note_fault(s, s->broken, ndrv_view_fault(d->host, view, s));
	for (struct ndrv_network *net = ndrv_registry_networks(d->registry); net; net = net->next) {
		if (net->state == NDRV_READY && !net->segment->broken)
			n += note_fault(net->segment, false,
					ndrv_view_network_fault(d->host, view, net));
	}
	return n;
}

/* Sees the host, with names as they should be and broken segments built. Return: NULL if it could not
 * be seen. */
static struct ndrv_view *look_and_build(struct ndrv_driver *d, bool *complete)
{
	DP_CLEANUP(ndrv_view_freep) struct ndrv_view *view = NULL;
	struct dp_error err = DP_ERROR_INIT;
	int r = ndrv_host_look(d->host, &view, &err);

	if (r == 0)
		r = ndrv_host_restore_names(d->host, view, d->registry, &err);
	if (r == 0 && find_faults(d, view)) {
		*complete = build_all(d) && *complete;
		ndrv_view_free(view);
		view = NULL;
		r = ndrv_host_look(d->host, &view, &err);
	}
	if (r < 0) {
		complain(d, "host could not be compared with the records: %s", err.msg);
		*complete = false;
		return NULL;
	}
	return DP_TAKE_PTR(view);
}

/* Compares the host with the records and mends what it can. Return: true = nothing is left to do;
 * false with d->registry NULL = the outcome could not be recorded, load again. */
static bool repair(struct ndrv_driver *d)
{
	struct dp_error err = DP_ERROR_INIT;
	bool complete = true;
	DP_CLEANUP(ndrv_view_freep) struct ndrv_view *view = look_and_build(d, &complete);
	struct ndrv_network *next;

	dp_log_debug("comparing host and records");
	if (view && ndrv_host_settle(d->host, view, d->registry, &d->report.removed, &err) < 0) {
		complain(d, "host could not be brought in line with the records: %s", err.msg);
		complete = false;
	}
	for (struct ndrv_network *n = ndrv_registry_networks(d->registry); view && n; n = next) {
		next = n->next;
		if (clear_network(d, n, &err) < 0) {
			complain(d, "network %.12s is not gone yet: %s", n->spec.id, err.msg);
			complete = false;
		}
	}
	if (ndrv_driver_flush(d, &err) < 0) {
		complain(d, "repair could not be recorded: %s", err.msg);
		forget_all(d);
		return false;
	}
	return complete;
}

bool ndrv_driver_reconcile(struct ndrv_driver *d, struct dp_error *err)
{
	bool complete;

	if (ndrv_driver_ready(d, err) < 0)
		return false;
	d->report = (struct ndrv_report){ .rebuilt = 0 };
	complete = repair(d);
	if (complete) {
		d->repair_wait_ms = 0;
		d->complaint[0] = '\0';
	} else {
		(void)dp_error_set(err, DP_ERR_UNAVAILABLE, -EAGAIN, "%s", d->complaint);
		ndrv_driver_want_repair(d);
	}
	return complete;
}

void ndrv_driver_on_repair(void *ctx)
{
	struct ndrv_driver *d = ctx;
	struct dp_error err = DP_ERROR_INIT;

	if (d->heal_pending)
		d->healed_ms = dp_loop_now_ms(d->loop);
	d->heal_pending = false;
	if (!ndrv_driver_reconcile(d, &err))
		dp_log_debug("repair: %s", err.msg);
}

void ndrv_driver_on_idle(void *ctx)
{
	struct ndrv_driver *d = ctx;
	struct dp_error err = DP_ERROR_INIT;

	if (!ndrv_driver_reconcile(d, &err))
		dp_log_debug("looking for abandoned endpoints: %s", err.msg);
}

int ndrv_driver_load(struct ndrv_driver *d, struct dp_error *err)
{
	struct dp_error why = DP_ERROR_INIT;
	int r = ndrv_store_load(d->store, &d->registry, err);

	for (struct ndrv_network *n = r < 0 ? NULL : ndrv_registry_networks(d->registry); n; n = n->next) {
		for (struct ndrv_endpoint *e = n->endpoints; e; e = e->next)
			e->asked_ms = dp_loop_now_ms(d->loop);
	}
	if (r < 0)
		return r;
	if (!repair(d))
		ndrv_driver_want_repair(d);
	if (!d->registry)
		return dp_error_set(err, DP_ERR_INTERNAL, -EIO, "%s", d->complaint);
	/* The engine may have emptied its chain meanwhile, or an earlier run had no right to use it. */
	if (ndrv_host_accept_missing(d->host, d->registry, &why) < 0)
		dp_log_warning("rules are checked later: %s", why.msg);
	return 0;
}


/* ---- events ---- */

/* Others may undo at once what we mend: then we mend less and less often. */
static void heal_soon(struct ndrv_driver *d)
{
	uint64_t now = dp_loop_now_ms(d->loop);

	if (d->heal_pending)
		return;
	d->heal_pending = true;
	if (now - d->healed_ms > HEAL_CALM_MS)
		d->heal_wait_ms = HEAL_FIRST_MS;
	else if (d->heal_wait_ms < REPAIR_LAST_MS)
		d->heal_wait_ms *= 2;
	if (!d->repair.armed || d->repair.due_ms > now + d->heal_wait_ms)
		dp_timer_arm(d->loop, &d->repair, now + d->heal_wait_ms);
}

/* Does it concern a link that is ours by its mark? What we do ourselves leaves nothing wrong. */
static bool concerns_ours(struct ndrv_driver *d, const struct ndrv_rtnl_event *ev)
{
	bool gone = ev->kind == NDRV_EVENT_LINK_GONE;
	const struct ndrv_segment *s;
	const struct ndrv_endpoint *e;
	const char *id;

	if ((id = ndrv_mark_id(ev->alias, "veth"))) {
		e = ndrv_endpoint_find(d->registry, id);
		return e && e->ifindex == ev->ifindex &&
		       (gone || !ev->up || ev->master != e->network->segment->bridge_ifindex);
	}
	if ((id = ndrv_mark_id(ev->alias, "bridge"))) {
		s = ndrv_segment_by_key(d->registry, id);
		return s && s->bridge_ifindex == ev->ifindex &&
		       (gone || !ev->up || strcmp(ev->name, s->bridge) != 0);
	}
	if ((id = ndrv_mark_id(ev->alias, "vlan"))) {
		s = ndrv_segment_by_key(d->registry, id);
		return s && s->uplink_ifindex == ev->ifindex &&
		       (gone || !ev->up || ev->master != s->bridge_ifindex);
	}
	return false;
}

static void note_rename(struct ndrv_segment *s, const struct ndrv_rtnl_event *ev)
{
	bool renamed = strcmp(ev->name, s->shape.parent) != 0;

	if (renamed && !s->renamed)
		dp_log_warning("segment %s: parent %s was renamed %s: its networks go on, new ones will not "
			       "find it", s->key, s->shape.parent, ev->name);
	s->renamed = renamed;
}

/* Does it concern a link of the host's that segment @s stands on? */
static bool concerns_segment(struct ndrv_segment *s, const struct ndrv_rtnl_event *ev)
{
	bool gone = ev->kind == NDRV_EVENT_LINK_GONE;

	if (s->shape.mode != NDRV_L2)
		return false;
	if (s->broken && !gone && !strcmp(ev->name, s->shape.parent))
		return true; /* it is back */
	if (ev->ifindex == s->parent_ifindex) {
		if (!gone)
			note_rename(s, ev);
		return gone || !ev->up || (s->parent_ifindex == s->uplink_ifindex && !s->foreign_bridge &&
					   ev->master != s->bridge_ifindex);
	}
	return ev->ifindex == s->uplink_ifindex &&
	       (gone || !ev->up || ev->master != s->bridge_ifindex);
}

static bool concerns_us(struct ndrv_driver *d, const struct ndrv_rtnl_event *ev)
{
	if (ev->kind == NDRV_EVENT_LOST)
		return true;
	if (ev->group == NDRV_GROUP_UNFINISHED)
		return false;
	if (ev->kind != NDRV_EVENT_ADDRESS_GONE && !strncmp(ev->alias, NDRV_MARK, strlen(NDRV_MARK)))
		return concerns_ours(d, ev);
	for (struct ndrv_segment *s = ndrv_registry_segments(d->registry); s; s = s->next) {
		if (ev->kind == NDRV_EVENT_ADDRESS_GONE
			    ? s->shape.mode == NDRV_ROUTED && s->bridge_ifindex == ev->ifindex
			    : concerns_segment(s, ev))
			return true;
	}
	return false;
}

static void on_event(void *ctx, const struct ndrv_rtnl_event *ev)
{
	struct ndrv_driver *d = ctx;

	if (d->registry && concerns_us(d, ev))
		heal_soon(d);
}

static void on_readable(void *ctx, uint32_t events)
{
	struct ndrv_driver *d = ctx;

	(void)events;
	ndrv_rtnl_watch_read(d->watch);
}

int ndrv_driver_watch(struct ndrv_driver *d, struct dp_error *err)
{
	int r = ndrv_host_watch(d->host, on_event, d, &d->watch, err);

	return r < 0 ? r : dp_loop_add_fd(d->loop, ndrv_rtnl_watch_fd(d->watch), EPOLLIN, on_readable, d,
					  err);
}

void ndrv_driver_unwatch(struct ndrv_driver *d)
{
	if (d->watch)
		dp_loop_del_fd(d->loop, ndrv_rtnl_watch_fd(d->watch));
	ndrv_rtnl_watch_close(d->watch);
}
