/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_DRIVER_INTERNAL_H
#define DP_NETDRIVER_DRIVER_INTERNAL_H

/*
 * What the daemon's own files share: the one object behind all requests. driver.c and
 * endpoint.c answer the engine; reconcile.c keeps host and records together; operator.c answers
 * people, peer.c the IPAM daemon.
 */

#include "netdriver/driver.h"
#include "netdriver/host.h"
#include "netdriver/state.h"

/* What the last repair has done. */
struct ndrv_report {
	unsigned rebuilt; /* networks whose segment was built or mended */
	unsigned removed; /* links of ours that nothing explained */
	unsigned dropped; /* endpoints whose link was gone */
};

struct ndrv_driver {
	const struct ndrv_config *config;
	struct dp_loop *loop;
	struct ndrv_state_store *store;
	struct ndrv_registry *registry; /* NULL after a failed reload, until one succeeds */
	struct ndrv_host *host;
	struct dp_timer repair;  /* armed while something is left to be done */
	struct dp_timer idle;    /* armed while an endpoint is not known to be in a container */
	uint64_t repair_wait_ms; /* how long it was armed for last; 0 = all was well */
	char complaint[600];     /* last warning of a repair */
	struct ndrv_report report;
	struct ndrv_rtnl_watch *watch;
	struct ndrv_peer *peer; /* what is shared with the IPAM daemon */
	bool heal_pending;      /* an event asked for the repair that is armed */
	uint64_t heal_wait_ms;  /* how long the last event waited for it */
	uint64_t healed_ms;     /* when an event was last answered with a repair */
	bool move_noted;        /* that attach=direct is not possible was logged */
	bool rules_unsure;      /* the engine may have (re)started: look at the rules again */
	bool spoilt;            /* a write of this turn failed */
	struct dp_error spoilt_err;
};

/* ---- driver.c ---- */

/* ndrv_config_is_direct() - may containers' links be made in their namespaces? */
bool ndrv_config_is_direct(const struct ndrv_config *c);

/* An id on its way through several steps. */
struct ndrv_subject {
	char id[NDRV_ID_SIZE];
};

/* ndrv_driver_start_steps() - the request goes on with @step, whose data is a struct ndrv_subject with @id.
 * Return: DP_STEP_AGAIN, for the handler to return; -ENOMEM. */
DP_NODISCARD int ndrv_driver_start_steps(struct dp_call *call, const char *id, dp_rpc_step step,
					 struct dp_error *err);

/* ---- endpoint.c: methods that driver.c's table names ---- */

struct ndrv_endpoint_request {
	const char *network;
	const char *id;
	json_t *interface;
	json_t *options;
	const char *sandbox;
};

extern const struct dp_schema ndrv_endpoint_schema; /* fills the above */
DP_NODISCARD int ndrv_on_create_endpoint(void *ctx, struct dp_call *call, const void *req,
					 struct dp_error *err);
DP_NODISCARD int ndrv_on_delete_endpoint(void *ctx, struct dp_call *call, const void *req,
					 struct dp_error *err);
DP_NODISCARD int ndrv_on_endpoint_info(void *ctx, struct dp_call *call, const void *req,
				       struct dp_error *err);
DP_NODISCARD int ndrv_on_join(void *ctx, struct dp_call *call, const void *req,
			      struct dp_error *err);
DP_NODISCARD int ndrv_on_leave(void *ctx, struct dp_call *call, const void *req,
			       struct dp_error *err);

/* ---- reconcile.c ---- */

/*
 * Host and records are compared at start, when asked to (ndrv_driver_reconcile()), when an event tells
 * of a change that is not ours, and by a timer while something could not be done. What is missing
 * is built, what is ours and unexplained is removed. Endpoints are dropped whose link is gone, and those
 * which are in no container for long: an engine moves the link into one at once and deletes what it
 * has left at once, so it died in between, or its request was lost with this process.
 */

/* ndrv_driver_ready() - every handler's first line: is there a registry to work on? */
DP_NODISCARD int ndrv_driver_ready(struct ndrv_driver *d, struct dp_error *err);

/* ndrv_driver_load() - read the registry and repair the host. Return: 0, also if that takes longer. */
DP_NODISCARD int ndrv_driver_load(struct ndrv_driver *d, struct dp_error *err);

/* ndrv_driver_spoil() - if @r is a failed write, nothing of this turn may be answered as done.
 * Return: @r. */
int ndrv_driver_spoil(struct ndrv_driver *d, int r, const struct dp_error *err);

/* ndrv_driver_reconcile() - compare and mend now; d->report tells what was done. Return: true =
 * nothing is left to do; else @err says what is, and it is tried again. */
DP_NODISCARD bool ndrv_driver_reconcile(struct ndrv_driver *d, struct dp_error *err);

/* ndrv_driver_want_repair() - soon, and less and less often while it does not help. */
void ndrv_driver_want_repair(struct ndrv_driver *d);
void ndrv_driver_on_repair(void *ctx); /* the timer's function */

/* ndrv_driver_asked() - the engine has asked about @e: if it is in no container `abandon-after` seconds
 * from now, it is dropped. */
void ndrv_driver_asked(struct ndrv_driver *d, struct ndrv_endpoint *e);
void ndrv_driver_on_idle(void *ctx); /* the timer's function */

/* ndrv_driver_watch() - from now on foreign changes are noticed. Return: as dp_loop_add_fd(). */
DP_NODISCARD int ndrv_driver_watch(struct ndrv_driver *d, struct dp_error *err);
void ndrv_driver_unwatch(struct ndrv_driver *d);

/* ndrv_driver_build_segment() - what @n's segment lacks is built and recorded, or nothing is. */
DP_NODISCARD int ndrv_driver_build_segment(struct ndrv_driver *d, struct ndrv_network *n,
					   struct dp_error *err);

/* ndrv_driver_take_down() - the links of a network go, if it is the last on its segment. They are
 * doomed, not yet gone. */
DP_NODISCARD int ndrv_driver_take_down(struct ndrv_driver *d, struct ndrv_network *n,
				       struct dp_error *err);

/* The links are gone: the records follow. */
int ndrv_driver_forget_network(struct ndrv_driver *d, struct ndrv_network *n, struct dp_error *err);
int ndrv_driver_forget_endpoint(struct ndrv_driver *d, struct ndrv_endpoint *e,
				struct dp_error *err);

/* ---- peer.c ---- */

/* ndrv_peer_open() - to be called before anything is loaded. Return: 0; -ENOMEM. */
DP_NODISCARD int ndrv_peer_open(struct ndrv_driver *d, struct dp_error *err);
void ndrv_peer_close(struct ndrv_driver *d); /* no call may be under way */

/* ndrv_peer_dropped() - an endpoint is gone without the engine's doing: the IPAM daemon is soon asked
 * to compare its leases. */
void ndrv_peer_dropped(struct ndrv_driver *d);

/* ndrv_peer_n_thefts() - claims that were heard to addresses of our endpoints. */
uint64_t ndrv_peer_n_thefts(const struct ndrv_driver *d);

#endif
