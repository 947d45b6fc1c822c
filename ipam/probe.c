/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/client.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/peer.h"
#include "ipam/peer.h"
#include "ipam/probe.h"

enum { MARGIN_MS = 1000 }; /* more than a network daemon needs beside the probe itself */

enum verdict { FREE, TAKEN, UNKNOWN };

static const char *const verdict_names[] = { [FREE] = "free", [TAKEN] = "taken",
					     [UNKNOWN] = "unknown", NULL };

/* A request that is being probed for. */
struct attempt {
	struct attempt *next; /* of those to undo */
	struct ipam_driver *d;
	struct dp_call *call;
	int64_t pool_row;     /* a pool that was released and asked for again is another one */
	char pool_id[IPAM_POOL_ID_SIZE];
	struct dp_addr addr;  /* held for it; AF_UNSPEC = none */
	struct dp_addr first; /* the first that was tried: not again */
	bool is_dynamic;
	unsigned n_taken;
	const json_t *options;
	struct dp_peer_list sockets;
	size_t current; /* which of them is asked */
	struct dp_client_call *client;
	enum verdict verdict;
	char detail[128]; /* MAC address of the holder, or why nobody can tell */
};

struct ipam_probes {
	struct ipam_driver *d;
	struct attempt *undo; /* failed: what they hold is to be released */
	struct dp_timer timer;
	uint64_t n_conflicts;
	char complaint[256]; /* last reason why there was no probe */
};

int ipam_probe_parse(const char *text, uint32_t *ret_ms, struct dp_error *err)
{
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits;
	uint64_t factor = !strcmp(unit, "s") ? 1000 : 1;
	char number[16] = "";
	uint64_t ms;

	if (digits < sizeof number)
		memcpy(number, text, digits);
	if ((strcmp(unit, "s") && strcmp(unit, "ms") && strcmp(text, "0")) ||
	    dp_parse_u64(number, 0, IPAM_PROBE_MAX_MS / factor, &ms) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "probe=%.32s: expected a time up to %ds, such as 200ms", text,
				    IPAM_PROBE_MAX_MS / 1000);
	*ret_ms = (uint32_t)(ms * factor);
	return 0;
}

bool ipam_probe_wanted(const struct ipam_pool *pool, bool is_gateway)
{
	return ipam_pool_probe_ms(pool) && !is_gateway &&
	       ipam_subnet_book(ipam_pool_subnet(pool)) == IPAM_LOCAL;
}

/* ---- asking ---- */

static void on_answer(void *attempt, json_t *reply, const struct dp_error *err);

/* Asks the next network daemon. Return: false if there is none left. */
static bool ask_next(struct attempt *a, const struct ipam_pool *pool)
{
	const struct dp_prefix *prefix = ipam_subnet_prefix(ipam_pool_subnet(pool));
	uint32_t wait = ipam_pool_probe_ms(pool);
	struct dp_error err = DP_ERROR_INIT;
	char text[DP_PREFIX_STRLEN];
	char addr[DP_ADDR_STRLEN];
	json_t *args;

	while (a->current < a->sockets.n) {
		args = json_pack("{s:s, s:s, s:i}", "Pool", dp_prefix_format(prefix, text), "Address",
				 dp_addr_format(&a->addr, addr), "Wait", (int)wait);
		if (dp_client_call(a->d->loop, a->sockets.paths[a->current++], "/Peer.Probe", args,
				   wait + MARGIN_MS, on_answer, a, &a->client, &err) == 0)
			return true;
		(void)snprintf(a->detail, sizeof a->detail, "%.127s", err.msg);
	}
	return false;
}

static void on_answer(void *attempt, json_t *reply, const struct dp_error *err)
{
	const char *verdict = json_string_value(json_object_get(reply, "Verdict"));
	const char *detail = json_string_value(json_object_get(reply, "Detail"));
	struct attempt *a = attempt;

	a->client = NULL;
	a->verdict = UNKNOWN;
	for (unsigned v = 0; verdict && verdict_names[v]; v++) {
		if (!strcmp(verdict, verdict_names[v]))
			a->verdict = (enum verdict)v;
	}
	if (err)
		detail = ipam_peer_is_foreign(err) ? "there is no network daemon" : err->msg;
	(void)snprintf(a->detail, sizeof a->detail, "%.127s", detail ? detail : "");
	dp_call_wake(a->call);
}

/* ---- judging ---- */

static void reply_address(const struct attempt *a, const struct ipam_pool *pool)
{
	struct dp_prefix p = { .addr = a->addr,
			       .len = ipam_subnet_prefix(ipam_pool_subnet(pool))->len };

	ipam_driver_reply_address(a->call, &p);
}

/* Nobody can tell: the address is handed out, and the log says why once. */
static int hand_out_unprobed(struct attempt *a, const struct ipam_pool *pool)
{
	struct ipam_probes *probes = a->d->probes;

	if (strcmp(probes->complaint, a->detail))
		dp_log_notice("pool %s: addresses are handed out without a probe: %s", a->pool_id,
			      a->detail);
	(void)snprintf(probes->complaint, sizeof probes->complaint, "%s", a->detail);
	reply_address(a, pool);
	return DP_STEP_DONE;
}

/* The address it holds is taken. */
static int set_aside(struct attempt *a, struct ipam_pool *pool, struct dp_error *err)
{
	char text[DP_ADDR_STRLEN];
	int r;

	a->d->probes->n_conflicts++;
	a->n_taken++;
	dp_addr_format(&a->addr, text);
	if (!a->is_dynamic)
		return dp_error_set(err, DP_ERR_CONFLICT, -EADDRINUSE,
				    "address %s is in use on the network already, by %s", text,
				    a->detail);
	dp_log_notice("address %s of pool %s is in use by %s: set aside for %u seconds", text,
		      a->pool_id, a->detail, a->d->config->conflict_rest);
	r = ipam_driver_set_aside(a->d, pool, &a->addr, err);
	a->addr.family = AF_UNSPEC;
	a->verdict = UNKNOWN;
	return r;
}

static int try_another(struct attempt *a, struct ipam_pool *pool, struct dp_error *err)
{
	uint64_t wait = ipam_pool_probe_ms(pool) + MARGIN_MS / 2;
	struct dp_addr addr;
	int r = set_aside(a, pool, err);

	if (r < 0)
		return r;
	if (dp_loop_now_ms(a->d->loop) + wait >= dp_call_deadline_ms(a->call))
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -ETIMEDOUT,
				    "pool %s: no free address within the deadline: the last %u are in "
				    "use on the network",
				    a->pool_id, a->n_taken);
	r = ipam_driver_pick(a->d, pool, &addr, err);
	if (r < 0)
		return r;
	a->addr = addr;
	r = ipam_driver_record(a->d, pool, &addr, false, a->options, err);
	if (r < 0)
		return r;
	if (!dp_addr_cmp(&addr, &a->first))
		return dp_error_set(err, DP_ERR_EXHAUSTED, -ENOSPC,
				    "pool %s: no available addresses on this pool: all that are free "
				    "are in use on the network",
				    a->pool_id);
	a->current = 0;
	return ask_next(a, pool) ? DP_STEP_PARK : hand_out_unprobed(a, pool);
}

static struct ipam_pool *find_pool(const struct attempt *a)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct ipam_pool *pool;

	if (ipam_space_pool_by_text(a->d->space, a->pool_id, &pool, &ignored) < 0 ||
	    ipam_pool_rowid(pool) != a->pool_row)
		return NULL;
	return pool;
}

static int step_judge(void *ctx, struct dp_call *call, void *data, struct dp_error *err)
{
	struct attempt *a = data;
	struct ipam_pool *pool;
	int r = ipam_driver_ready(ctx, err);

	(void)call;
	if (r < 0)
		return r;
	pool = find_pool(a);
	if (!pool)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "pool %s was released meanwhile",
				    a->pool_id);
	if (a->verdict == TAKEN)
		return try_another(a, pool, err);
	if (a->verdict == UNKNOWN)
		return ask_next(a, pool) ? DP_STEP_PARK : hand_out_unprobed(a, pool);
	a->d->probes->complaint[0] = '\0';
	reply_address(a, pool);
	return DP_STEP_DONE;
}

/* ---- undoing ---- */

static void attempt_free(struct attempt *a)
{
	dp_client_cancel(a->client);
	dp_peer_list_done(&a->sockets);
	free(a);
}

/* The request is answered. What a failed one holds goes outside of the turn, which may have
 * failed itself: then there is no such lease. */
static void attempt_done(void *ctx, void *data, bool ok)
{
	struct ipam_driver *d = ctx;
	struct attempt *a = data;

	if (ok || a->addr.family == AF_UNSPEC) {
		attempt_free(a);
		return;
	}
	dp_client_cancel(a->client);
	a->client = NULL;
	a->next = d->probes->undo;
	d->probes->undo = a;
	dp_timer_arm(d->loop, &d->probes->timer, dp_loop_now_ms(d->loop));
}

static void undo_all(void *ctx)
{
	struct ipam_probes *probes = ctx;
	struct dp_error err = DP_ERROR_INIT;
	int r = ipam_driver_ready(probes->d, &err);
	struct attempt *a;

	while ((a = probes->undo)) {
		struct ipam_pool *pool = r == 0 ? find_pool(a) : NULL;

		if (pool && a->verdict == TAKEN) /* somebody named it: it is not for others either */
			r = ipam_driver_set_aside(probes->d, pool, &a->addr, &err);
		else if (pool)
			r = ipam_driver_release(probes->d, pool, &a->addr, &err);
		probes->undo = a->next;
		attempt_free(a);
	}
	if (ipam_driver_settle(probes->d, &err) < 0)
		dp_log_warning("addresses of failed requests are held until they are reclaimed: %s",
			       err.msg);
}

/* ---- beginning ---- */

int ipam_probe_begin(struct ipam_driver *d, struct dp_call *call,
		     const struct ipam_probe_subject *subject, struct dp_error *err)
{
	struct attempt *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return dp_error_oom(err);
	a->d = d;
	a->call = call;
	a->pool_row = ipam_pool_rowid(subject->pool);
	ipam_pool_id_format(ipam_pool_ident(subject->pool), a->pool_id);
	a->addr = subject->addr;
	a->first = subject->addr;
	a->is_dynamic = subject->is_dynamic;
	a->options = subject->options;
	(void)snprintf(a->detail, sizeof a->detail, "there is no network daemon");
	dp_call_then(call, step_judge, a, attempt_done);
	r = dp_peer_find(d->config->network_socket, &a->sockets, err);
	if (r < 0)
		return r;
	return ask_next(a, subject->pool) ? DP_STEP_PARK : hand_out_unprobed(a, subject->pool);
}

int ipam_probe_open(struct ipam_driver *d, struct dp_error *err)
{
	d->probes = calloc(1, sizeof *d->probes);
	if (!d->probes)
		return dp_error_oom(err);
	d->probes->d = d;
	d->probes->timer = (struct dp_timer){ .fn = undo_all, .ctx = d->probes };
	return 0;
}

void ipam_probe_close(struct ipam_driver *d)
{
	if (!d->probes)
		return;
	dp_timer_disarm(d->loop, &d->probes->timer);
	if (d->probes->undo)
		undo_all(d->probes);
	free(d->probes);
}

uint64_t ipam_probe_n_conflicts(const struct ipam_driver *d)
{
	return d->probes->n_conflicts;
}
