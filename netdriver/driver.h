/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_DRIVER_H
#define DP_NETDRIVER_DRIVER_H

/*
 * The NetworkDriver protocol (moby: libnetwork/drivers/remote) on top of registry, state and host.
 *
 * Order of things, for every change:
 *   create:  record PENDING → commit → kernel, under an undo stack → record READY → commit → answer
 *   delete:  record DELETING → commit → kernel → forget → commit → answer (networks);
 *            kernel → forget → commit → answer (endpoints: what has no link is dropped at start)
 * Links that die in one turn are deleted in one kernel request, before the turn's commit.
 *
 * Engines replay nothing to a network driver: at start everything is rebuilt from the records,
 * endpoints whose link is gone are dropped, and leftovers with our mark are removed. What could not
 * be repaired or taken down is tried again every 5 seconds.
 */

#include "common/daemon.h"

/* Configuration: the table is ndrv_config_schema. */
struct ndrv_config {
	struct dp_common_config common; /* first, as dp_daemon_main() wants it */
	const char *scope;              /* local, global */
	const char *connectivity_scope; /* local, global; "" = as scope */
	const char *parent;             /* for networks that name a vlan but no parent */
	const char *firewall;           /* auto, off */
	const char *sysctl_dir;         /* where /proc/sys is writable */
	const char *attach;             /* move, direct: for networks that do not say */
	const char *ipam_socket;        /* where the IPAM daemon may be; see common/peer.h */
	const char *sandbox_dir;        /* where namespaces of containers are seen; "" = as told */
	uint32_t abandon_after;         /* seconds until an endpoint without container goes; 0 = never */
};

extern const struct dp_schema ndrv_config_schema;
extern const struct dp_route ndrv_routes[];          /* the engine's methods */
extern const struct dp_route ndrv_operator_routes[]; /* people's: operator.c */
extern const struct dp_route ndrv_peer_routes[];     /* the IPAM daemon's: peer.c */
extern const struct dp_command ndrv_commands[];      /* what calls those */

/* ndrv_config_check() - what the schema cannot say. For struct dp_daemon_spec. */
DP_NODISCARD int ndrv_config_check(const void *config, struct dp_error *err);

/* ndrv_capabilities() - what this configuration needs. For struct dp_daemon_spec. */
uint64_t ndrv_capabilities(const void *config);

/**
 * ndrv_driver_start() - open state and kernel, repair the host
 * @config:  struct ndrv_config; borrowed until ndrv_driver_stop()
 * @loop:    borrowed, for the repair timer
 * @ret_ctx: out: new, for the routes and turn hooks; freed by ndrv_driver_stop()
 *
 * A host that cannot be repaired (a parent is missing) is no failure.
 *
 * Return: 0; as ndrv_store_open(), ndrv_store_load(), ndrv_host_open().
 */
DP_NODISCARD int ndrv_driver_start(const void *config, struct dp_loop *loop, void **ret_ctx,
				   struct dp_error *err);
void ndrv_driver_stop(void *ctx);

/* ndrv_driver_metrics() - for struct dp_daemon_spec. */
void ndrv_driver_metrics(void *ctx, const struct dp_metrics *m);

/* Hooks of the turn. */
DP_NODISCARD int ndrv_driver_flush(void *ctx, struct dp_error *err);
void ndrv_driver_reload(void *ctx);

/* ndrv_driver_check_state() - for dp_daemon_spec. */
int ndrv_driver_check_state(const void *config, FILE *out, struct dp_error *err);

#endif
