/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_PROBE_H
#define DP_IPAM_PROBE_H

/*
 * Before an address is handed out, the segment is asked whether somebody has it already
 * (`--ipam-opt probe=200ms`). The network daemon knows the segment and asks (netdriver/probe.h); the
 * request waits for it, parked, while all others go on.
 *
 *   pick ──► held, durable ──► probe ──► free, or nobody can tell ──► answer
 *     ▲                          │
 *     └─── set aside ◄─── taken ─┘       (an address that was asked for by name: refused)
 *
 * An address set aside rests like a released one, for `conflict-rest` instead of `cooldown`; it is
 * tried again after that, or when nothing else is left. All tries together take at most the
 * request's deadline. Gateways are not probed: they are requested before the network exists, and are
 * often a router's. Neither are addresses of the global book, whose segment is on other nodes. Without
 * a network daemon that knows the pool addresses are handed out as they always were.
 */

#include "common/rpc.h"
#include "ipam/driver_internal.h"

enum { IPAM_PROBE_MAX_MS = 5000 };

/**
 * ipam_probe_parse() - "200ms", "1s", "0"
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) something else, or more than IPAM_PROBE_MAX_MS.
 */
DP_NODISCARD int ipam_probe_parse(const char *text, uint32_t *ret_ms, struct dp_error *err);

/* An address that was just taken for a request. */
struct ipam_probe_subject {
	struct ipam_pool *pool; /* borrowed for the call */
	struct dp_addr addr;
	bool is_dynamic;        /* another one will do */
	const json_t *options;  /* of the request; lives as long as the request's call */
};

/* ipam_probe_wanted() - is an address of @pool to be probed? */
bool ipam_probe_wanted(const struct ipam_pool *pool, bool is_gateway);

/**
 * ipam_probe_begin() - ask the segment, then answer @call, maybe with another address
 *
 * The lease row of the address has been written in this turn. It is released again if the request
 * fails.
 *
 * Return: DP_STEP_PARK; DP_STEP_DONE if there is nobody to ask; -ENOMEM.
 */
DP_NODISCARD int ipam_probe_begin(struct ipam_driver *d, struct dp_call *call,
				  const struct ipam_probe_subject *subject, struct dp_error *err);

/* ipam_probe_open() - Return: 0; -ENOMEM. */
DP_NODISCARD int ipam_probe_open(struct ipam_driver *d, struct dp_error *err);
void ipam_probe_close(struct ipam_driver *d); /* no call may be under way */

/* ipam_probe_n_conflicts() - addresses that were found taken since start. */
uint64_t ipam_probe_n_conflicts(const struct ipam_driver *d);

#endif
