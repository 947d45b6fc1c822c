/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "ipam/peer.h"
#include "ipam/reclaim.h"

enum {
	SLICE = 256,           /* leases that are looked at before others have their turn */
	MAX_SUSPECTS = 4096,   /* in memory; others wait for their turn */
	ROUNDS = 10,           /* in the time that a suspicion lasts */
	MIN_INTERVAL_MS = 500,
	MAX_INTERVAL_MS = 60000,
	SLICE_PAUSE_MS = 1,    /* a timer that is due now would run again before anything else */
};

/* A lease that nothing explains. */
struct suspect {
	int64_t subnet_id;
	struct dp_addr addr;
	uint64_t since_ms; /* observed time when it was first seen so */
};

struct suspects {
	struct suspect *items; /* sorted */
	size_t n;
};

struct ipam_reclaim {
	struct ipam_driver *d;
	struct dp_timer timer;                /* next round or next slice */
	struct ipam_peer_question *question;  /* under way */
	struct ipam_peer_view *view;          /* of the round under way; NULL = between rounds */
	size_t subnet_no;                     /* where the round is: of the local book */
	int64_t subnet_id;                    /* which one that was; 0 = at its beginning */
	struct dp_addr after;                 /* last lease looked at */
	struct suspects known;                /* of the last round */
	struct suspects found;                /* in this one, room for MAX_SUSPECTS */
	uint64_t clock_ms;                    /* observed time */
	uint64_t seen_ms;                     /* loop's time of the last answer; 0 = none in a row */
	uint64_t n_reclaimed;
	bool again;                           /* a round was asked for during a round */
	bool complained;
};

static uint64_t interval_ms(const struct ipam_reclaim *rc)
{
	uint64_t ms = (uint64_t)rc->d->config->reclaim_after * 1000 / ROUNDS;

	if (ms < MIN_INTERVAL_MS)
		return MIN_INTERVAL_MS;
	return ms > MAX_INTERVAL_MS ? MAX_INTERVAL_MS : ms;
}

static void wait_ms(struct ipam_reclaim *rc, uint64_t ms)
{
	dp_timer_arm(rc->d->loop, &rc->timer, dp_loop_now_ms(rc->d->loop) + ms);
}

/* ---- suspects ---- */

static int cmp_suspect(const void *a, const void *b)
{
	const struct suspect *x = a;
	const struct suspect *y = b;

	if (x->subnet_id != y->subnet_id)
		return x->subnet_id < y->subnet_id ? -1 : 1;
	return dp_addr_cmp(&x->addr, &y->addr);
}

static struct suspect *find_suspect(const struct suspects *list, const struct ipam_subnet *subnet,
				    const struct dp_addr *addr)
{
	struct suspect key = { .subnet_id = ipam_subnet_id(subnet), .addr = *addr };

	return list->n ? bsearch(&key, list->items, list->n, sizeof key, cmp_suspect) : NULL;
}

static void suspect(struct ipam_reclaim *rc, const struct ipam_subnet *subnet,
		    const struct dp_addr *addr, uint64_t since_ms)
{
	if (rc->found.n < MAX_SUSPECTS)
		rc->found.items[rc->found.n++] = (struct suspect){
			.subnet_id = ipam_subnet_id(subnet), .addr = *addr, .since_ms = since_ms };
}

void ipam_reclaim_confirm(struct ipam_driver *d, const struct ipam_subnet *subnet,
			  const struct dp_addr *addr)
{
	struct ipam_reclaim *rc = d->reclaim;
	struct suspect *s = find_suspect(&rc->known, subnet, addr);

	if (s)
		s->since_ms = rc->clock_ms;
	for (size_t i = 0; rc->view && i < rc->found.n; i++) { /* not sorted yet */
		s = &rc->found.items[i];
		if (s->subnet_id == ipam_subnet_id(subnet) && !dp_addr_cmp(&s->addr, addr))
			s->since_ms = rc->clock_ms;
	}
}

/* ---- a round ---- */

static void end_round(struct ipam_reclaim *rc)
{
	struct suspects last = rc->known;

	dp_log_debug("leases compared, %zu without an endpoint", rc->found.n);
	ipam_peer_view_free(rc->view);
	rc->view = NULL;
	if (rc->found.n)
		qsort(rc->found.items, rc->found.n, sizeof *rc->found.items, cmp_suspect);
	rc->known = rc->found;
	rc->found = (struct suspects){ .items = last.items };
	wait_ms(rc, rc->again ? MIN_INTERVAL_MS : interval_ms(rc));
	rc->again = false;
}

/* Pools of the local book with the prefix of subnet @i, of whatever tenant. Equal ones stand together. */
static size_t count_pools(const struct ipam_space *space, size_t i)
{
	const struct dp_prefix *p = ipam_subnet_prefix(ipam_space_subnet(space, IPAM_LOCAL, i));
	size_t n_subnets = ipam_space_n_subnets(space, IPAM_LOCAL);
	size_t n = 0;

	while (i > 0 &&
	       dp_prefix_equal(p, ipam_subnet_prefix(ipam_space_subnet(space, IPAM_LOCAL, i - 1))))
		i--;
	for (; i < n_subnets; i++) {
		const struct ipam_subnet *s = ipam_space_subnet(space, IPAM_LOCAL, i);

		if (!dp_prefix_equal(p, ipam_subnet_prefix(s)))
			break;
		n += ipam_subnet_n_pools(s);
	}
	return n;
}

static void next_subnet(struct ipam_reclaim *rc)
{
	rc->subnet_no++;
	rc->subnet_id = 0;
}

/* The subnet that is to be looked at, from rc->after on; NULL if there is none left. */
static struct ipam_subnet *present_subnet(struct ipam_reclaim *rc)
{
	const struct ipam_space *space = rc->d->space;

	for (; rc->subnet_no < ipam_space_n_subnets(space, IPAM_LOCAL); next_subnet(rc)) {
		struct ipam_subnet *s = ipam_space_subnet(space, IPAM_LOCAL, rc->subnet_no);

		if (rc->subnet_id == ipam_subnet_id(s))
			return s;
		rc->after.family = AF_UNSPEC;
		rc->subnet_id = ipam_subnet_id(s);
		if (count_pools(space, rc->subnet_no) <=
		    ipam_peer_view_networks(rc->view, ipam_subnet_prefix(s)))
			return s;
	}
	return NULL;
}

/* Return: 1 released; 0 no such lease any more; negative errno, the write failed. */
static int reclaim(struct ipam_reclaim *rc, struct ipam_subnet *subnet, const struct dp_addr *addr,
		   struct dp_error *err)
{
	struct ipam_pool *pool = NULL;
	struct ipam_lease lease;
	char name[IPAM_POOL_ID_SIZE];
	char text[DP_ADDR_STRLEN];
	int r = ipam_state_get_lease(rc->d->state, subnet, addr, &lease, err);

	for (size_t i = 0; r == 1 && i < ipam_subnet_n_pools(subnet); i++) {
		if (ipam_pool_rowid(ipam_subnet_pool(subnet, i)) == lease.pool_id)
			pool = ipam_subnet_pool(subnet, i);
	}
	if (r < 0 || !pool || lease.is_cooling)
		return r < 0 ? ipam_driver_spoil(rc->d, r, err) : 0;
	r = ipam_driver_reclaim(rc->d, pool, addr, err);
	if (r < 0)
		return r;
	rc->n_reclaimed++;
	dp_log_notice("address %s of pool %s reclaimed: no endpoint has had it for %u seconds",
		      dp_addr_format(addr, text),
		      ipam_pool_id_format(ipam_pool_ident(pool), name),
		      rc->d->config->reclaim_after);
	return 1;
}

/* Return: as reclaim(). */
static int judge(struct ipam_reclaim *rc, struct ipam_subnet *subnet, const struct dp_addr *addr,
		 struct dp_error *err)
{
	const struct suspect *before;
	uint64_t since;

	if (ipam_peer_view_explains(rc->view, addr))
		return 0;
	before = find_suspect(&rc->known, subnet, addr);
	since = before ? before->since_ms : rc->clock_ms;
	if (rc->clock_ms - since >= (uint64_t)rc->d->config->reclaim_after * 1000 && before)
		return reclaim(rc, subnet, addr, err);
	suspect(rc, subnet, addr, since);
	return 0;
}

/* Some leases of the present subnet. Return: addresses that were reclaimed; negative errno. */
static int look_at_slice(struct ipam_reclaim *rc, struct ipam_subnet *subnet, struct dp_error *err)
{
	struct dp_addr addrs[SLICE];
	int n = ipam_state_held(rc->d->state, subnet, &rc->after, addrs, SLICE, err);
	int reclaimed = 0;
	int r = 0;

	for (int i = 0; i < n && r >= 0; i++) {
		r = judge(rc, subnet, &addrs[i], err);
		reclaimed += r > 0;
	}
	if (n == SLICE)
		rc->after = addrs[SLICE - 1];
	else
		next_subnet(rc);
	if (n < 0)
		return n;
	return r < 0 ? r : reclaimed;
}

static void on_slice(struct ipam_reclaim *rc)
{
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_subnet *subnet = NULL;
	int r = ipam_driver_ready(rc->d, &err);

	if (r == 0)
		subnet = present_subnet(rc);
	if (subnet)
		r = look_at_slice(rc, subnet, &err);
	if (r != 0)
		r = ipam_driver_settle(rc->d, &err);
	if (r < 0)
		dp_log_warning("leases were not compared to the end: %s", err.msg);
	if (subnet && r == 0)
		wait_ms(rc, SLICE_PAUSE_MS);
	else
		end_round(rc);
}

static void no_verdict(struct ipam_reclaim *rc, const struct dp_error *err)
{
	rc->seen_ms = 0;
	if (!rc->complained && err->code != -ENOENT)
		dp_log_notice("leases are not compared with endpoints: %s", err->msg);
	rc->complained = true;
	wait_ms(rc, interval_ms(rc));
}

static void on_view(void *ctx, struct ipam_peer_view *view, const struct dp_error *err)
{
	struct ipam_reclaim *rc = ctx;
	uint64_t now = dp_loop_now_ms(rc->d->loop);
	uint64_t passed = rc->seen_ms ? now - rc->seen_ms : 0;

	rc->question = NULL;
	if (err) {
		no_verdict(rc, err);
		return;
	}
	rc->complained = false;
	rc->seen_ms = now;
	/* A process that stood still has observed nothing. */
	rc->clock_ms += passed < 2 * interval_ms(rc) ? passed : 2 * interval_ms(rc);
	rc->view = view;
	rc->subnet_no = 0;
	rc->subnet_id = 0;
	on_slice(rc);
}

static void ask(struct ipam_reclaim *rc)
{
	struct dp_error err = DP_ERROR_INIT;

	if (ipam_peer_ask(rc->d->loop, rc->d->config->network_socket, ipam_driver_probed(rc->d), on_view,
			  rc, &rc->question, &err) < 0)
		no_verdict(rc, &err);
}

static void on_timer(void *ctx)
{
	struct ipam_reclaim *rc = ctx;

	if (rc->view)
		on_slice(rc);
	else
		ask(rc);
}

/* ---- asked for ---- */

struct no_args {
	bool unused;
};

static const struct dp_schema no_args_schema = { .n_fields = 0 };

/* The network daemon has dropped endpoints. */
static int on_compare(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ipam_driver *d = ctx;
	struct ipam_reclaim *rc = d->reclaim;

	(void)call;
	(void)req;
	(void)err;
	if (!d->config->reclaim_after)
		return DP_STEP_DONE;
	if (rc->view || rc->question)
		rc->again = true;
	else
		wait_ms(rc, 0);
	return DP_STEP_DONE;
}

const struct dp_route ipam_peer_routes[] = {
	{ "/Peer.Compare", &no_args_schema, sizeof(struct no_args), on_compare },
	{ .path = NULL },
};

/* ---- life ---- */

uint64_t ipam_reclaim_n(const struct ipam_driver *d)
{
	return d->reclaim->n_reclaimed;
}

int ipam_reclaim_open(struct ipam_driver *d, struct dp_error *err)
{
	struct ipam_reclaim *rc = calloc(1, sizeof *rc);

	if (!rc)
		return dp_error_oom(err);
	d->reclaim = rc;
	rc->d = d;
	rc->timer = (struct dp_timer){ .fn = on_timer, .ctx = rc };
	rc->known.items = calloc(MAX_SUSPECTS, sizeof *rc->known.items);
	rc->found.items = calloc(MAX_SUSPECTS, sizeof *rc->found.items);
	if (!rc->known.items || !rc->found.items)
		return dp_error_oom(err);
	if (d->config->reclaim_after)
		wait_ms(rc, interval_ms(rc));
	return 0;
}

void ipam_reclaim_close(struct ipam_driver *d)
{
	struct ipam_reclaim *rc = d->reclaim;

	if (!rc)
		return;
	dp_timer_disarm(d->loop, &rc->timer);
	ipam_peer_cancel(rc->question);
	ipam_peer_view_free(rc->view);
	free(rc->known.items);
	free(rc->found.items);
	free(rc);
}
