/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_DRIVER_H
#define DP_IPAM_DRIVER_H

/*
 * The IpamDriver protocol (moby: libnetwork/ipams/remote) on top of the model (space.h) and its
 * rows (state.h). One object serves all requests of the daemon, a turn at a time.
 *
 * What the protocol does not say and engines do:
 *  - GetCapabilities precedes every replay: it begins a new generation, in which pools and explicit
 *    addresses of older generations may be asked for again (see space.h);
 *  - releases of the unknown succeed: the engine forgets the object whatever we answer;
 *  - RequestPool with an empty Pool is asked in a loop while the engine dislikes the answer, so
 *    each call must bring another pool;
 *  - ReleasePool frees everything inside, since the engine leaks addresses in known places.
 */

#include "common/daemon.h"

/* Configuration: the table is ipam_config_schema. */
struct ipam_config {
	struct dp_common_config common;   /* first, as dp_daemon_main() wants it */
	const char *default_pools;        /* blank-separated base=...,size=... for the local space */
	const char *global_default_pools; /* the same for the global space */
	const char *default_pools_v6;     /* the same for IPv6, both spaces; "" = a ULA of our own */
	uint32_t cooldown;                /* seconds a released address rests */
	const char *network_socket;       /* where network daemons may be; see common/peer.h */
	uint32_t reclaim_after;           /* seconds until an unused lease is released; 0 = never */
	uint32_t conflict_rest;           /* seconds an address in use by others is set aside */
	uint32_t sticky_time;             /* the same in pools whose strategy is sticky */
	uint32_t history;                 /* past leases that are remembered */
	bool requires_mac_address;        /* ask the engine for the container's MAC */
	uint32_t swarm_grace;             /* seconds; see generation.h; 0: without end */
	bool swarm;                       /* the host is in a Swarm, whose engine may ask again */
};

extern const struct dp_schema ipam_config_schema;
extern const struct dp_schema ipam_option_schema; /* --ipam-opt */
extern const struct dp_route ipam_peer_routes[];     /* network daemons': reclaim.c */
extern const struct dp_route ipam_routes[];          /* the engine's methods */
extern const struct dp_route ipam_operator_routes[]; /* people's: operator.c */
extern const struct dp_command ipam_commands[];      /* what calls those */

/* ipam_config_check() - do the pool lists parse? For struct dp_daemon_spec. */
DP_NODISCARD int ipam_config_check(const void *config, struct dp_error *err);

/**
 * ipam_driver_start() - open the state in config->common.state_dir
 * @config:  struct ipam_config; borrowed until ipam_driver_stop()
 * @loop:    borrowed
 * @ret_ctx: out: new, for the routes and turn hooks; freed by ipam_driver_stop()
 *
 * Return: 0; as ipam_state_open() and ipam_state_load().
 */
DP_NODISCARD int ipam_driver_start(const void *config, struct dp_loop *loop, void **ret_ctx,
				   struct dp_error *err);
void ipam_driver_stop(void *ctx);

/* ipam_driver_metrics() - for struct dp_daemon_spec. */
void ipam_driver_metrics(void *ctx, const struct dp_metrics *m);

/* Hooks of the turn: write what changed in one transaction; after a failure, read it back. */
DP_NODISCARD int ipam_driver_flush(void *ctx, struct dp_error *err);
void ipam_driver_reload(void *ctx);

/* ipam_driver_check_state() - for dp_daemon_spec. */
int ipam_driver_check_state(const void *config, FILE *out, struct dp_error *err);

#endif
