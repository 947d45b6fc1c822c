/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* What --ipam-opt and time do to pools, and what monitoring sees of them. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "ipam/driver_internal.h"
#include "ipam/probe.h"
#include "ipam/reclaim.h"

enum { UPKEEP_MS = 60000 };
/* More than can be added meanwhile, little enough for one turn. */
enum { TRIM_ROWS = 4000, TRIM_AGAIN_MS = 100 };

/* ---- options of a new pool ---- */

/* Calls @fn for each range of the list @text. Return: 0, or the first failure. */
static int for_each_range(const char *text,
			  int (*fn)(void *ctx, const struct ipam_range *range, struct dp_error *err),
			  void *ctx, struct dp_error *err)
{
	auto_free char *copy = strdup(text);
	char *rest = NULL;
	int r = 0;

	if (!copy)
		return dp_error_oom(err);
	for (char *w = strtok_r(copy, ", ", &rest); r == 0 && w; w = strtok_r(NULL, ", ", &rest)) {
		struct ipam_range range;

		r = ipam_range_parse("exclude", w, &range, err);
		if (r == 0)
			r = fn(ctx, &range, err);
	}
	return r;
}

struct check {
	struct dp_prefix prefix;
	struct ipam_block_list seen;
};

static int check_range(void *ctx, const struct ipam_range *range, struct dp_error *err)
{
	struct check *c = ctx;
	char text[IPAM_RANGE_STRLEN];
	char prefix[DP_PREFIX_STRLEN];

	/* A network with IPv4 and IPv6 subnets sends the options with both. */
	if (range->first.family != c->prefix.addr.family)
		return 0;
	if (!dp_prefix_has_addr(&c->prefix, &range->first) ||
	    !dp_prefix_has_addr(&c->prefix, &range->last))
		return dp_error_set(err, DP_ERR_INVALID, -ERANGE, "exclude: %s is not inside %s",
				    ipam_range_format(range, text),
				    dp_prefix_format(&c->prefix, prefix));
	if (ipam_block_add(&c->seen, range, false, "", "", err) < 0)
		return dp_error_prefix(err, "exclude");
	return 0;
}

int ipam_driver_check_options(const struct dp_prefix *prefix, const struct ipam_pool_options *opt,
			      struct dp_error *err)
{
	struct check c = { .prefix = *prefix };
	int r = for_each_range(opt->exclude, check_range, &c, err);

	ipam_block_list_done(&c.seen);
	return r;
}

struct apply {
	struct ipam_driver *d;
	struct ipam_subnet *subnet;
	bool dry; /* find out whether it can be done */
};

static bool is_excluded(const struct ipam_subnet *subnet, const struct ipam_range *range)
{
	const struct ipam_block *b = ipam_block_at(ipam_subnet_blocks(subnet), &range->first);

	return b && !b->reserved && ipam_range_has(&b->range, &range->last);
}

static int apply_range(void *ctx, const struct ipam_range *range, struct dp_error *err)
{
	const struct apply *a = ctx;
	int r;

	if (range->first.family != ipam_subnet_prefix(a->subnet)->addr.family ||
	    is_excluded(a->subnet, range))
		return 0;
	r = ipam_subnet_block(a->subnet, range, false, "", "", err);
	if (r < 0)
		return dp_error_prefix(err, "exclude");
	if (a->dry)
		(void)ipam_subnet_unblock(a->subnet, range);
	else
		r = ipam_ledger_put_block(ipam_state_ledger(a->d->state), a->subnet,
					  ipam_block_at(ipam_subnet_blocks(a->subnet), &range->first),
					  err);
	return r;
}

int ipam_driver_apply_options(struct ipam_driver *d, struct ipam_pool *pool,
			      const struct ipam_pool_options *opt, struct dp_error *err)
{
	struct apply a = { .d = d, .subnet = ipam_pool_subnet(pool), .dry = true };
	enum ipam_strategy strategy = IPAM_NEXT;
	int r = for_each_range(opt->exclude, apply_range, &a, err);

	if (r < 0)
		return r; /* nothing has changed yet */
	a.dry = false;
	r = for_each_range(opt->exclude, apply_range, &a, err);
	if (r == 0 && ipam_strategy_parse(opt->strategy, &strategy) == 0 && strategy != IPAM_NEXT) {
		ipam_pool_set_strategy(pool, strategy);
		r = ipam_ledger_put_pool(ipam_state_ledger(d->state), pool, err);
	}
	return ipam_driver_spoil(d, r, err);
}

/* ---- every minute ---- */

static void for_each_pool(struct ipam_driver *d, void (*fn)(void *ctx, struct ipam_pool *pool),
			  void *ctx)
{
	for (int b = 0; d->space && b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; i < ipam_space_n_subnets(d->space, (enum ipam_book)b); i++) {
			struct ipam_subnet *s = ipam_space_subnet(d->space, (enum ipam_book)b, i);

			for (size_t k = 0; k < ipam_subnet_n_pools(s); k++)
				fn(ctx, ipam_subnet_pool(s, k));
		}
	}
}

static void feed_trend(void *ctx, struct ipam_pool *pool)
{
	const double *seconds = ctx;
	struct ipam_usage usage;

	ipam_pool_usage(pool, &usage);
	ipam_trend_add(ipam_pool_trend(pool), usage.n_used, *seconds);
}

struct cursors {
	struct ipam_state *state;
	int r;
	struct dp_error err;
};

static void write_cursor(void *ctx, struct ipam_pool *pool)
{
	struct cursors *c = ctx;

	if (c->r == 0 && ipam_pool_cursor_moved(pool))
		c->r = ipam_state_put_pool(c->state, pool, &c->err);
}

void ipam_driver_write_cursors(struct ipam_driver *d)
{
	struct cursors c = { .state = d->state };

	for_each_pool(d, write_cursor, &c);
	if (c.r == 0 && d->space)
		c.r = ipam_state_commit(d->state, &c.err);
	if (c.r < 0) {
		ipam_state_rollback(d->state);
		dp_log_warning("where picks go on cannot be written: %s", c.err.msg);
	}
}

/* Return: there may be more to cut. */
static bool trim_history(struct ipam_driver *d)
{
	struct dp_error err = DP_ERROR_INIT;
	int64_t n = ipam_ledger_trim(ipam_state_ledger(d->state), TRIM_ROWS, &err);

	/* Between turns nothing else is uncommitted. */
	if (n > 0 && ipam_state_commit(d->state, &err) < 0)
		n = err.code;
	if (n < 0) {
		ipam_state_rollback(d->state);
		dp_log_warning("history cannot be cut: %s", err.msg);
	}
	return n >= TRIM_ROWS;
}

static void on_upkeep(void *ctx)
{
	struct ipam_driver *d = ctx;
	uint64_t now = dp_loop_now_ms(d->loop);
	double seconds = (double)(now - d->upkeep_ms) / 1000;

	if (now - d->upkeep_ms >= UPKEEP_MS) {
		for_each_pool(d, feed_trend, &seconds);
		ipam_driver_write_cursors(d);
		d->upkeep_ms = now;
	}
	dp_timer_arm(d->loop, &d->upkeep,
		     trim_history(d) ? now + TRIM_AGAIN_MS : d->upkeep_ms + UPKEEP_MS);
}

void ipam_driver_start_upkeep(struct ipam_driver *d)
{
	if (getrandom(&d->random, sizeof d->random, 0) != (ssize_t)sizeof d->random || !d->random)
		d->random = 1; /* the generator stands still at 0 */
	ipam_ledger_set_history(ipam_state_ledger(d->state), d->config->history);
	d->upkeep = (struct dp_timer){ .fn = on_upkeep, .ctx = d };
	d->upkeep_ms = dp_loop_now_ms(d->loop);
	dp_timer_arm(d->loop, &d->upkeep, d->upkeep_ms + UPKEEP_MS);
}

/* ---- monitoring ---- */

static void write_pool(void *ctx, struct ipam_pool *pool)
{
	const struct dp_metrics *m = ctx;
	char name[IPAM_POOL_ID_SIZE];
	struct ipam_usage u;

	ipam_pool_usage(pool, &u);
	ipam_pool_id_format(ipam_pool_ident(pool), name);
	dp_metrics_value(m, "pool_addresses", (double)u.n_usable, "pool", name, "state", "usable",
			 NULL);
	dp_metrics_value(m, "pool_addresses", (double)u.n_used, "pool", name, "state", "used", NULL);
	dp_metrics_value(m, "pool_addresses", (double)u.n_kept, "pool", name, "state", "kept", NULL);
}

void ipam_driver_metrics(void *ctx, const struct dp_metrics *m)
{
	static const struct {
		const char *name;
		const char *help;
	} sums[] = { { "leases", "addresses that are held" },
		     { "leases_resting", "addresses that were released and rest" },
		     { "pools", "pools of networks" } };
	struct ipam_driver *d = ctx;
	double values[3] = { 0 };

	for (int b = 0; d->space && b < IPAM_N_BOOKS; b++) {
		for (size_t i = 0; i < ipam_space_n_subnets(d->space, (enum ipam_book)b); i++) {
			struct ipam_subnet *s = ipam_space_subnet(d->space, (enum ipam_book)b, i);

			values[0] += (double)(ipam_subnet_count(s) - ipam_subnet_n_cooling(s));
			values[1] += (double)ipam_subnet_n_cooling(s);
			values[2] += (double)ipam_subnet_n_pools(s);
		}
	}
	for (size_t i = 0; i < DP_ARRAY_LEN(sums); i++) {
		dp_metrics_family(m, sums[i].name, "gauge", sums[i].help);
		dp_metrics_value(m, sums[i].name, values[i], NULL);
	}
	dp_metrics_family(m, "leases_reclaimed_total", "counter", "addresses that nobody used any more");
	dp_metrics_value(m, "leases_reclaimed_total", (double)ipam_reclaim_n(d), NULL);
	dp_metrics_family(m, "conflicts_total", "counter", "addresses that a probe found in use");
	dp_metrics_value(m, "conflicts_total", (double)ipam_probe_n_conflicts(d), NULL);
	dp_metrics_family(m, "pool_addresses", "gauge",
			  "of a pool's dynamic range: usable, of those used (held or resting), and "
			  "kept (excluded or reserved, without a lease)");
	for_each_pool(d, write_pool, (void *)(uintptr_t)m);
}
