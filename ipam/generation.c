/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * The sweep is a turn of its own, run by a timer: the timer fires between the turns of requests,
 * when all of theirs is committed, changes a bounded number of rows and commits them.
 */

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "ipam/generation.h"
#include "ipam/join.h"

enum {
	REPLAY_WINDOW = 30,  /* seconds between the parts of a repetition; see generation.h */
	SWEEP_ROWS = 128,    /* rows looked at before requests get their turn again */
	SWEEP_MAX_S = 60,    /* longest time between two looks, seconds */
	SWEEP_PAUSE_MS = 20, /* between two pieces of one look */
	AT_ONCE = 1,         /* a time so long ago that every grace is over */
};

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

static bool is_overdue(const struct ipam_driver *d, int64_t since)
{
	int64_t grace = (int64_t)d->config->swarm_grace;

	return since == AT_ONCE || (since && grace && now_s() - since >= grace);
}

static bool same_prefix(const struct dp_prefix *a, const struct dp_prefix *b)
{
	return a->len == b->len && !dp_addr_cmp(&a->addr, &b->addr);
}

/* Is what happens now part of a leader's repetition, as far as time tells? */
static bool in_window(const struct ipam_driver *d)
{
	int64_t since = now_s() - ipam_space_replay(d->space)->heard_at;

	return since >= 0 && since <= REPLAY_WINDOW;
}

int ipam_generation_begin(struct ipam_driver *d, struct dp_error *err)
{
	uint64_t generation = ipam_space_new_generation(d->space);
	struct ipam_replay *replay = ipam_space_replay(d->space);
	int r;

	replay->heard_at = now_s();
	r = ipam_state_put_generation(d->state, generation, err);
	if (r == 0)
		r = ipam_state_put_replay(d->state, replay, err);
	return ipam_driver_spoil(d, r, err);
}

/* ---- a second network, or a crash ---- */

bool ipam_generation_doubtful(const struct ipam_driver *d, struct ipam_pool *pool)
{
	const struct ipam_pool_life *life = ipam_pool_life(pool);

	return ipam_pool_ident(pool)->book == IPAM_LOCAL && ipam_pool_replayable(pool) &&
	       !life->released_at && life->alive < ipam_space_generation(d->space);
}

bool ipam_generation_is_own(const struct ipam_driver *d, const struct ipam_pool *pool)
{
	const struct ipam_peer_view *view = ipam_join_view(d);
	const struct dp_prefix *prefix = &ipam_pool_ident(pool)->pool;
	size_t n_pools = 0;

	for (size_t i = 0; view && i < ipam_space_n_subnets(d->space, IPAM_LOCAL); i++) {
		const struct ipam_subnet *s = ipam_space_subnet(d->space, IPAM_LOCAL, i);

		if (same_prefix(ipam_subnet_prefix(s), prefix))
			n_pools += ipam_subnet_n_pools(s); /* tenants' as well: who has which is not known */
	}
	return n_pools && ipam_peer_view_own(view, prefix) >= n_pools;
}

/* ---- pools in the way ---- */

/* May @pool go, now that another one wants its place? */
static bool yields(const struct ipam_driver *d, struct ipam_pool *pool)
{
	const struct ipam_pool_life *life = ipam_pool_life(pool);
	uint64_t generation = ipam_space_generation(d->space);

	if (life->released_at)
		return true;
	if (!ipam_pool_replayable(pool) || life->alive >= generation)
		return false;
	if (ipam_pool_ident(pool)->book == IPAM_LOCAL)
		return ipam_pool_certain(pool);
	return in_window(d) || life->alive < ipam_space_replay(d->space)->seen_generation;
}

static bool all_yield(const struct ipam_driver *d, const struct ipam_subnet *subnet)
{
	for (size_t i = 0; i < ipam_subnet_n_pools(subnet); i++) {
		if (!yields(d, ipam_subnet_pool(subnet, i)))
			return false;
	}
	return true;
}

/* Is something in the place of @id, and may all of it go? */
static bool place_yields(const struct ipam_driver *d, const struct ipam_pool_id *id)
{
	size_t n_in_way = 0;

	if (!ipam_space_find_overlap(d->space, id->book, id->tenant, &id->pool))
		return false; /* the usual case, without a look at each */
	for (size_t i = 0; i < ipam_space_n_subnets(d->space, id->book); i++) {
		const struct ipam_subnet *s = ipam_space_subnet(d->space, id->book, i);

		if (strcmp(ipam_subnet_tenant(s), id->tenant) != 0 ||
		    !dp_prefix_overlaps(ipam_subnet_prefix(s), &id->pool))
			continue;
		if (id->range.addr.family != AF_UNSPEC && same_prefix(ipam_subnet_prefix(s), &id->pool))
			return false; /* a range beside others: shares the subnet */
		if (!all_yield(d, s) || ++n_in_way > IPAM_MAX_MOVES)
			return false;
	}
	return true;
}

void ipam_generation_make_way(struct ipam_driver *d, const struct ipam_pool_id *id,
			      struct ipam_generation_move *ret_move)
{
	struct ipam_subnet *subnet;
	char text[IPAM_POOL_ID_SIZE];

	ret_move->n_gone = 0;
	if (ipam_space_find_pool(d->space, id) || !place_yields(d, id))
		return;
	while ((subnet = ipam_space_find_overlap(d->space, id->book, id->tenant, &id->pool))) {
		ret_move->gone[ret_move->n_gone].subnet_id = ipam_subnet_id(subnet);
		ret_move->gone[ret_move->n_gone++].family = id->pool.addr.family;
		for (size_t n = ipam_subnet_n_pools(subnet); n-- > 0;) {
			struct ipam_pool *pool = ipam_subnet_pool(subnet, n);

			dp_log_notice("pool %s, which the Swarm has not claimed again, makes way",
				      ipam_pool_id_format(ipam_pool_ident(pool), text));
			ipam_driver_untouch(d, pool);
			(void)ipam_space_release_pool(d->space, pool);
		}
	}
}

/* Puts the held addresses of a subnet that made way on the books of @pool, as far as they fit. */
static int move_leases(struct ipam_driver *d, int64_t from, int family, struct ipam_pool *pool,
		       struct dp_error *err)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct dp_addr addr = { .family = AF_UNSPEC };
	struct ipam_lease lease;
	int r;

	while ((r = ipam_state_next_held(d->state, from, family, &addr, &addr, &lease, err)) == 1) {
		struct ipam_claim claim = { .addr = addr };
		enum ipam_claim_result result;
		struct ipam_lease_row row = { .lease = lease, .since = now_s(), .mac = "", .name = "" };

		if (lease.is_gateway || !dp_prefix_has_addr(ipam_subnet_prefix(subnet), &addr) ||
		    ipam_subnet_test(subnet, &addr) || ipam_pool_check_addr(pool, &addr, NULL) < 0)
			continue;
		r = ipam_pool_claim(pool, &claim, &result, err);
		row.lease.pool_id = ipam_pool_rowid(pool);
		if (r == 0)
			r = ipam_state_put_lease(d->state, subnet, &addr, &row, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : ipam_state_remove_subnet(d->state, from, err);
}

/* ---- claims ---- */

/* Addresses of @pool that are older than its claim end when @since is a grace ago. */
static void set_stale(struct ipam_pool *pool, int64_t since)
{
	struct ipam_pool_life *life = ipam_pool_life(pool);

	life->stale_before = ipam_pool_generation(pool);
	life->stale_since = since;
}

static int claimed_again(struct ipam_driver *d, const struct ipam_pool_grant *grant, bool certain,
			 struct dp_error *err)
{
	struct ipam_replay *replay = ipam_space_replay(d->space);
	struct ipam_pool *pool = grant->pool;

	if (ipam_pool_ident(pool)->book == IPAM_LOCAL) {
		if (!certain || !ipam_pool_certain(pool))
			return 0;
		set_stale(pool, AT_ONCE);
		dp_timer_arm(d->loop, &d->sweep.timer, dp_loop_now_ms(d->loop));
		return 0;
	}
	if (grant->revived) {
		uint64_t generation = ipam_space_new_generation(d->space);

		/* What is in it may be asked for again, even if it was in this generation. */
		ipam_pool_set_generation(pool, generation);
		if (ipam_pool_life(pool)->stale_since)
			set_stale(pool, ipam_pool_life(pool)->stale_since);
		return ipam_state_put_generation(d->state, generation, err);
	}
	if (!in_window(d))
		return 0;
	replay->heard_at = now_s();
	return ipam_state_put_replay(d->state, replay, err);
}

int ipam_generation_claimed(struct ipam_driver *d, const struct ipam_pool_grant *grant, bool certain,
			    const struct ipam_generation_move *move, struct dp_error *err)
{
	int r = 0;

	if (!grant->new_pool)
		r = claimed_again(d, grant, certain, err);
	for (size_t i = 0; r == 0 && i < move->n_gone; i++) {
		set_stale(grant->pool, now_s());
		r = move_leases(d, move->gone[i].subnet_id, move->gone[i].family, grant->pool, err);
	}
	return ipam_driver_spoil(d, r, err);
}

int ipam_generation_gateway(struct ipam_driver *d, struct ipam_pool *pool, uint64_t lease_generation,
			    struct dp_error *err)
{
	struct ipam_replay *replay = ipam_space_replay(d->space);
	int r;

	if (ipam_pool_ident(pool)->book != IPAM_GLOBAL ||
	    lease_generation >= ipam_pool_generation(pool) || !in_window(d))
		return 0;
	set_stale(pool, now_s());
	*replay = (struct ipam_replay){ .heard_at = now_s(),
					.seen_generation = ipam_pool_generation(pool),
					.seen_at = now_s() };
	r = ipam_driver_touch(d, pool, err);
	return r < 0 ? r : ipam_state_put_replay(d->state, replay, err);
}

int ipam_generation_heard(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	struct ipam_pool_life *life = ipam_pool_life(pool);
	uint64_t generation = ipam_space_generation(d->space);

	if (!ipam_pool_replayable(pool) || life->alive >= generation)
		return 0;
	life->alive = generation;
	return ipam_driver_spoil(d, ipam_driver_touch(d, pool, err), err);
}

/* ---- releases ---- */

int ipam_generation_keeps(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	struct ipam_pool_life *life = ipam_pool_life(pool);
	struct dp_addr addr = { .family = AF_UNSPEC };
	struct ipam_lease lease = { .is_gateway = true };
	uint64_t generation = ipam_space_generation(d->space);
	int r = 1;

	if (ipam_pool_ident(pool)->book != IPAM_GLOBAL)
		return 0;
	if (life->released_at)
		return 1; /* was given back before */
	while (r == 1 && (lease.is_gateway || lease.is_cooling))
		r = ipam_state_next_of_pool(d->state, pool, &addr, &addr, &lease, err);
	if (r <= 0)
		return ipam_driver_spoil(d, r, err);
	life->released_at = now_s();
	life->stale_before = generation + 1;
	/* A leader that fails at its start will not tell of the tasks that it had. */
	life->stale_since = ipam_pool_generation(pool) == generation && in_window(d) ? 0 : now_s();
	r = ipam_driver_spoil(d, ipam_state_put_pool(d->state, pool, err), err);
	return r < 0 ? r : 1;
}

/* ---- the sweep ---- */

/* Must the whole pool go? */
static bool pool_overdue(const struct ipam_driver *d, struct ipam_pool *pool)
{
	const struct ipam_replay *replay = ipam_space_replay(d->space);
	const struct ipam_pool_life *life = ipam_pool_life(pool);

	if (ipam_pool_ident(pool)->book != IPAM_GLOBAL)
		return false;
	if (life->released_at)
		return is_overdue(d, life->released_at);
	return life->alive < replay->seen_generation && is_overdue(d, replay->seen_at);
}

static bool leases_overdue(const struct ipam_driver *d, struct ipam_pool *pool)
{
	const struct ipam_pool_life *life = ipam_pool_life(pool);

	return life->stale_before && !life->released_at && is_overdue(d, life->stale_since);
}

static struct ipam_pool *find_overdue(const struct ipam_driver *d,
				      bool (*is_it)(const struct ipam_driver *, struct ipam_pool *))
{
	for (unsigned b = 0; b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; i < ipam_space_n_subnets(d->space, (enum ipam_book)b); i++) {
			struct ipam_subnet *s = ipam_space_subnet(d->space, (enum ipam_book)b, i);

			for (size_t p = 0; p < ipam_subnet_n_pools(s); p++) {
				if (is_it(d, ipam_subnet_pool(s, p)))
					return ipam_subnet_pool(s, p);
			}
		}
	}
	return NULL;
}

/* Ends unconfirmed leases of @pool, some rows at a time. */
static int end_leases(struct ipam_driver *d, struct ipam_pool *pool, struct dp_error *err)
{
	struct ipam_pool_life *life = ipam_pool_life(pool);
	char name[IPAM_POOL_ID_SIZE];
	char text[DP_ADDR_STRLEN];
	struct ipam_lease lease;
	bool more = true;
	int r = 0;

	if (d->sweep.pool_id != ipam_pool_rowid(pool)) {
		d->sweep.pool_id = ipam_pool_rowid(pool);
		d->sweep.after = (struct dp_addr){ .family = AF_UNSPEC };
	}
	ipam_pool_id_format(ipam_pool_ident(pool), name);
	for (int n = 0; r >= 0 && n < SWEEP_ROWS; n++) {
		r = ipam_state_next_of_pool(d->state, pool, &d->sweep.after, &d->sweep.after, &lease,
					    err);
		more = r == 1;
		if (!more)
			break;
		if (lease.is_cooling || lease.generation >= life->stale_before)
			continue;
		dp_log_notice("%s in pool %s is free: nobody has asked for it again",
			      dp_addr_format(&d->sweep.after, text), name);
		r = ipam_driver_release(d, pool, &d->sweep.after, err);
	}
	if (r < 0 || more)
		return r < 0 ? r : 0;
	d->sweep.pool_id = 0;
	life->stale_before = 0;
	life->stale_since = 0;
	return ipam_driver_touch(d, pool, err);
}

/* Return: 1 there was something to do, and may be more; 0 nothing is overdue; negative errno. */
static int sweep(struct ipam_driver *d, struct dp_error *err)
{
	struct ipam_pool *pool = find_overdue(d, pool_overdue);
	char name[IPAM_POOL_ID_SIZE];
	int r;

	if (pool) {
		dp_log_notice("pool %s is free: the Swarm has not asked for it again",
			      ipam_pool_id_format(ipam_pool_ident(pool), name));
		r = ipam_driver_drop_pool(d, pool, err);
	} else {
		pool = find_overdue(d, leases_overdue);
		if (!pool)
			return 0;
		r = end_leases(d, pool, err);
	}
	return r < 0 ? r : 1;
}

static void on_timer(void *ctx)
{
	struct ipam_driver *d = ctx;
	struct dp_error err = DP_ERROR_INIT;
	uint64_t wait_s = d->config->swarm_grace ? d->config->swarm_grace / 4 + 1 : SWEEP_MAX_S;
	int r = ipam_driver_ready(d, &err);

	if (r == 0)
		r = ipam_driver_spoil(d, sweep(d, &err), &err);
	if (d->space && ipam_driver_flush(d, &err) < 0) {
		dp_log_error("ending what is overdue: %s", err.msg);
		ipam_driver_reload(d);
		r = 0;
	}
	if (wait_s > SWEEP_MAX_S)
		wait_s = SWEEP_MAX_S;
	dp_timer_arm(d->loop, &d->sweep.timer,
		     dp_loop_now_ms(d->loop) + (r > 0 ? SWEEP_PAUSE_MS : 1000 * wait_s));
}

void ipam_generation_start(struct ipam_driver *d)
{
	d->sweep.timer.fn = on_timer;
	d->sweep.timer.ctx = d;
	dp_timer_arm(d->loop, &d->sweep.timer, dp_loop_now_ms(d->loop));
}

void ipam_generation_stop(struct ipam_driver *d)
{
	dp_timer_disarm(d->loop, &d->sweep.timer);
}
