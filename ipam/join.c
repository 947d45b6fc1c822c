/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdlib.h>

#include "common/log.h"
#include "ipam/join.h"

enum { FRESH_MS = 5000 }; /* longer than from one page of an answer to the next */

/* A call that waits for the network daemons. */
struct waiting {
	struct waiting *next;
	struct dp_call *call;
	dp_rpc_handler then;
	const void *req;
};

struct ipam_join {
	struct ipam_driver *d;
	struct ipam_peer_question *question; /* under way */
	struct waiting *waiting;
	struct ipam_peer_view *view; /* NULL = not asked, or no answer */
	bool fresh;                  /* it was asked not long ago */
	struct dp_timer timer;       /* ends that */
};

static void forget(void *ctx)
{
	struct ipam_join *j = ctx;

	ipam_peer_view_free(j->view);
	j->view = NULL;
	j->fresh = false;
}

static void remember(struct ipam_join *j, struct ipam_peer_view *view, const struct dp_error *err)
{
	if (err)
		dp_log_debug("leases are shown without their endpoints: %s", err->msg);
	j->view = view;
	j->fresh = true;
	dp_timer_arm(j->d->loop, &j->timer, dp_loop_now_ms(j->d->loop) + FRESH_MS);
}

static void on_view(void *ctx, struct ipam_peer_view *view, const struct dp_error *err)
{
	struct ipam_join *j = ctx;
	struct waiting *w;

	j->question = NULL;
	remember(j, view, err);
	while ((w = j->waiting)) {
		j->waiting = w->next;
		dp_call_wake(w->call);
	}
}

static int step_then(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	const struct waiting *w = data;

	return w->then(ctx, call, w->req, err);
}

static void waiting_done(void *ctx, void *data, bool ok)
{
	struct ipam_driver *d = ctx;
	struct waiting **p = &d->join->waiting;

	(void)ok;
	while (*p && *p != data)
		p = &(*p)->next;
	if (*p)
		*p = (*p)->next; /* its deadline has passed */
	free(data);
}

int ipam_join_then(struct ipam_driver *d, struct dp_call *call, dp_rpc_handler then,
		   const void *req, struct dp_error *err)
{
	struct ipam_join *j = d->join;
	struct dp_error why = DP_ERROR_INIT;
	struct waiting *w;

	if (!j->fresh && !j->question &&
	    ipam_peer_ask(d->loop, d->config->network_socket, NULL, on_view, j, &j->question, &why) < 0)
		remember(j, NULL, &why);
	if (j->fresh)
		return then(d, call, req, err);
	w = calloc(1, sizeof *w);
	if (!w)
		return dp_error_oom(err);
	*w = (struct waiting){ .next = j->waiting, .call = call, .then = then, .req = req };
	j->waiting = w;
	dp_call_then(call, step_then, w, waiting_done);
	return DP_STEP_PARK;
}

const struct ipam_peer_endpoint *ipam_join_find(const struct ipam_driver *d,
						const struct ipam_subnet *subnet,
						const struct dp_addr *addr)
{
	if (!d->join->view || ipam_subnet_book(subnet) != IPAM_LOCAL)
		return NULL;
	return ipam_peer_view_endpoint(d->join->view, addr);
}

const struct ipam_peer_view *ipam_join_view(const struct ipam_driver *d)
{
	return d->join->view;
}

int ipam_join_open(struct ipam_driver *d, struct dp_error *err)
{
	d->join = calloc(1, sizeof *d->join);
	if (!d->join)
		return dp_error_oom(err);
	d->join->d = d;
	d->join->timer = (struct dp_timer){ .fn = forget, .ctx = d->join };
	return 0;
}

void ipam_join_close(struct ipam_driver *d)
{
	if (!d->join)
		return;
	dp_timer_disarm(d->loop, &d->join->timer);
	ipam_peer_cancel(d->join->question);
	ipam_peer_view_free(d->join->view);
	free(d->join);
}
