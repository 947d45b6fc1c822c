/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* Bitmap and lease rows compared, on the running daemon. */

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "ipam/operator_internal.h"

enum { CHECKS_A_PAGE = 2000 }; /* rows or bits */

/*
 * First every lease row is looked for in the bitmap, then every bit in the lease table; a slice a
 * page, and what one page sees is whole, since no request runs meanwhile.
 */
struct check {
	struct ipam_driver *d;
	struct ipam_subnet *subnet;
	json_t *findings;
	struct dp_addr last;
	unsigned n; /* looked at in this page */
};

DP_PRINTF(2, 3) static void find(const struct check *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dp_log_error("check: %s", text);
	(void)json_array_append_new(c->findings, json_pack("{s:s}", "Finding", text));
}

static bool check_row(void *ctx, const struct ipam_entry *e)
{
	struct check *c = ctx;

	c->last = e->addr;
	c->n++;
	if (!ipam_subnet_test(c->subnet, &e->addr))
		find(c, "%s has a lease, but its bit is clear", e->address);
	if (!*e->pool)
		find(c, "the lease of %s belongs to no pool", e->address);
	return true;
}

/* Return: 1 the subnet's rows are through; 0 there are more; negative errno. */
static int check_rows(struct check *c, const struct dp_addr *after, struct dp_error *err)
{
	int n = ipam_ledger_leases(ipam_state_ledger(c->d->state), c->subnet, after, CHECKS_A_PAGE,
				   check_row, c, err);

	return n < 0 ? n : n < CHECKS_A_PAGE;
}

static int check_bits(struct check *c, struct dp_addr from, struct dp_error *err)
{
	char text[DP_ADDR_STRLEN];
	struct ipam_lease lease;
	int r;

	for (int i = 0; i < CHECKS_A_PAGE; i++) {
		if (ipam_subnet_next_set(c->subnet, &from, &c->last) < 0)
			return 1;
		r = ipam_state_get_lease(c->d->state, c->subnet, &c->last, &lease, err);
		if (r < 0)
			return r;
		if (r == 0)
			find(c, "the bit of %s is set, but it has no lease",
			     dp_addr_format(&c->last, text));
		c->n++;
		if (!dp_addr_cmp(&c->last, ipam_subnet_last(c->subnet)))
			return 1;
		from = dp_addr_add(&c->last, 1);
	}
	return 0;
}

static void check_counts(const struct check *c)
{
	uint64_t n_bits = ipam_subnet_count(c->subnet);
	char prefix[DP_PREFIX_STRLEN];
	struct ipam_usage u;

	ipam_pool_usage(ipam_subnet_pool(c->subnet, 0), &u);
	if (n_bits != u.n_held + u.n_cooling)
		find(c, "subnet %s has %" PRIu64 " bits, but counts %" PRIu64,
		     dp_prefix_format(ipam_subnet_prefix(c->subnet), prefix), n_bits,
		     u.n_held + u.n_cooling);
}

/* One slice from position @v = subnet, upper, lower, begun, phase, total; it moves. */
static int check_slice(struct check *c, uint64_t v[static IPAM_OP_MAX_NUMBERS],
		       struct dp_error *err)
{
	struct dp_addr at = { .family = ipam_subnet_prefix(c->subnet)->addr.family,
			      .hi = v[1],
			      .lo = v[2] };
	int r;

	if (!v[4]) {
		at.family = v[3] ? at.family : AF_UNSPEC;
		r = check_rows(c, &at, err);
	} else {
		at = v[3] ? dp_addr_add(&at, 1) :
			    dp_prefix_masked(ipam_subnet_prefix(c->subnet)).addr;
		r = check_bits(c, at, err);
	}
	if (r < 0)
		return r;
	v[1] = c->last.hi;
	v[2] = c->last.lo;
	v[3] = r == 0;
	v[5] += c->n;
	if (r == 1 && v[4]++ == 1) {
		check_counts(c);
		v[0]++;
		v[4] = 0;
	}
	return 0;
}

int ipam_on_check(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	const struct ipam_op_args *a = req;
	struct ipam_driver *d = ctx;
	json_auto_t *list = json_array();
	json_auto_t *reply = NULL;
	struct check c = { .d = d, .findings = list };
	uint64_t v[IPAM_OP_MAX_NUMBERS];
	int r = ipam_driver_ready(d, err);

	if (r == 0)
		r = ipam_op_parse_position(a->after, v, err);
	while (r == 0 && c.n < CHECKS_A_PAGE && (c.subnet = ipam_op_nth_subnet(d, v[0]))) {
		unsigned before = c.n;

		c.n = 0;
		r = check_slice(&c, v, err);
		c.n += before;
	}
	if (r < 0)
		return r;
	reply = json_pack("{s:O, s:o}", "Findings", list, "Checked", ipam_op_number(v[5]));
	if (!reply || (ipam_op_nth_subnet(d, v[0]) && ipam_op_set_next(reply, v) < 0))
		return dp_error_oom(err);
	dp_call_reply(call, json_incref(reply));
	return DP_STEP_DONE;
}
