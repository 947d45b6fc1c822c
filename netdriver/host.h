/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_HOST_H
#define DP_NETDRIVER_HOST_H

/*
 * The host as the driver sees it: looks, and carries plans out, over rtnl.h, firewall.h and a few
 * files of /proc/sys. Knows segments and endpoints, but no requests and no state on disk.
 */

#include "netdriver/firewall.h"
#include "netdriver/network.h"
#include "netdriver/plan.h"
#include "netdriver/rtnl.h"
#include "netdriver/sandbox.h"
#include "netdriver/tx.h"

struct ndrv_host;

/**
 * ndrv_host_open() - sockets to the kernel
 * @sysctl_dir:   where /proc/sys is mounted; borrowed
 * @add_rules:    false: no rule is added to DOCKER-USER, and those of ours go
 *
 * One daemon serves a network namespace: a second would take the links of the first for leftovers.
 * An abstract unix socket, of which each namespace has its own set, is the lock.
 *
 * Return: 0; -EADDRINUSE (DP_ERR_CONFLICT) another one serves this host; as ndrv_rtnl_open(),
 *         ndrv_fw_open(); -ENOMEM.
 */
DP_NODISCARD int ndrv_host_open(const char *sysctl_dir, bool add_rules,
				struct ndrv_host **ret_host, struct dp_error *err);
void ndrv_host_close(struct ndrv_host *host); /* NULL is fine; the data path stays */

/* ndrv_host_look_at() - has the engine moved @e's link into its container? Notes it in @e->in_container. */
void ndrv_host_look_at(struct ndrv_host *host, struct ndrv_endpoint *e);

/* ndrv_host_watch() - be told what happens to links. Return: as ndrv_rtnl_watch_open(). */
DP_NODISCARD int ndrv_host_watch(struct ndrv_host *host, ndrv_rtnl_event_fn *fn, void *ctx,
				 struct ndrv_rtnl_watch **ret_watch, struct dp_error *err);

/* ndrv_host_probe() - the facts for ndrv_plan_segment(). Return: 0; as rtnl.h says. */
DP_NODISCARD int ndrv_host_probe(struct ndrv_host *host, const struct ndrv_shape *shape,
				 const char *bridge_name, struct ndrv_facts *ret_facts,
				 struct dp_error *err);

/**
 * ndrv_host_build() - probe, plan, and carry out what is missing of a segment
 * @segment: foreign_bridge and bridge are updated where the parent has become a bridge; broken is
 *           cleared once everything is there
 * @spec:    the network for whose sake
 * @mtu:     bytes, for a bridge that is made
 * @tx:      gets the undo of each step; rolled back by the caller on failure
 *
 * A parent that is down is set up, and stays so: others may come to rely on it. Firewall rules that
 * could not be written because others keep the table busy leave the segment broken, no more.
 *
 * Return: 0; as ndrv_plan_segment(), rtnl.h, firewall.h.
 */
DP_NODISCARD int ndrv_host_build(struct ndrv_host *host, struct ndrv_segment *segment,
				 const struct ndrv_spec *spec, uint32_t mtu, struct ndrv_tx *tx,
				 struct dp_error *err);

/**
 * ndrv_host_dismantle() - take a segment down: rules at once, links with ndrv_host_reap()
 *
 * A subinterface or parent that is not ours is only taken out of the bridge.
 *
 * Return: 0; the first failure, after trying everything.
 */
DP_NODISCARD int ndrv_host_dismantle(struct ndrv_host *host, const struct ndrv_segment *segment,
				     struct dp_error *err);

/* ndrv_host_accept() - (again) the firewall rules of a segment. @ret_done: the engine's chain is
 * there and holds them. Return: as ndrv_fw_ensure(). */
DP_NODISCARD int ndrv_host_accept(struct ndrv_host *host, struct ndrv_segment *segment,
				  bool *ret_done, struct dp_error *err);

/* ndrv_host_accept_missing() - the rules of those segments that have none: an engine that starts may
 * have emptied its chain, but does not take single rules out of it. Where it has no chain (yet),
 * nothing is done. Return: 0; the first failure, after trying everything. */
DP_NODISCARD int ndrv_host_accept_missing(struct ndrv_host *host,
					  const struct ndrv_registry *registry,
					  struct dp_error *err);

/**
 * ndrv_host_attach() - an endpoint's veth pair, its host end a port of the segment's bridge
 *
 * @sandbox: NULL: the container end stays here for the engine to move; else it is made in this
 *           namespace and configured there (attach=direct)
 *
 * Pairs with the same names that are ours are replaced: they are leftovers of the same endpoint.
 * Sets @endpoint->ifindex and ->direct.
 *
 * Return: 0; as ndrv_rtnl_create_veth() and ndrv_sandbox_finish(); on failure nothing is left.
 */
DP_NODISCARD int ndrv_host_attach(struct ndrv_host *host, struct ndrv_endpoint *endpoint,
				  struct ndrv_sandbox *sandbox, struct dp_error *err);

/* ndrv_host_doom() - delete link @ifindex, which bears @alias, with the next ndrv_host_reap(). */
DP_NODISCARD int ndrv_host_doom(struct ndrv_host *host, int ifindex, const char *alias);

/* ndrv_host_doom_endpoint() - its pair, if it is there; forgets the ifindex. */
DP_NODISCARD int ndrv_host_doom_endpoint(struct ndrv_host *host, struct ndrv_endpoint *endpoint);

/* ndrv_host_reap() - delete all doomed links together. Return: as ndrv_rtnl_delete_links(). */
DP_NODISCARD int ndrv_host_reap(struct ndrv_host *host, struct dp_error *err);

/* All links and rules of the host at one moment. Looking anything up takes O(log links). */
struct ndrv_view;

/**
 * ndrv_host_look() - see all links, and which segments have rules
 * @ret_view: out: new; freed by ndrv_view_free()
 *
 * Return: 0; -ENOMEM; as ndrv_rtnl_list_links() and ndrv_fw_list().
 */
DP_NODISCARD int ndrv_host_look(struct ndrv_host *host, struct ndrv_view **ret_view,
				struct dp_error *err);
void ndrv_view_free(struct ndrv_view *view); /* NULL is fine */
DP_DEFINE_CLEANUP(struct ndrv_view, ndrv_view_free);

/**
 * ndrv_view_fault() - what is wrong with a segment, in words for the log
 * @segment: learns the indexes of its links
 *
 * A parent that was renamed is no fault: what hangs on it goes on working.
 *
 * Return: NULL nothing; else a static text such as "its bridge was gone", to be cured by
 *         ndrv_host_build().
 */
const char *ndrv_view_fault(const struct ndrv_host *host, const struct ndrv_view *view,
			    struct ndrv_segment *segment);

/**
 * ndrv_view_network_fault() - what is wrong with what the host holds for a network alone
 * @view:    learns the host's addresses when it is first asked about a routed network
 * @network: its segment's links are known, and in order
 *
 * Return: as ndrv_view_fault(); "" ndrv_host_build() knows what is wrong, or has to look itself.
 */
const char *ndrv_view_network_fault(struct ndrv_host *host, struct ndrv_view *view,
				    const struct ndrv_network *network);

/* ndrv_host_restore_names() - bridges of ours that someone renamed get their names back. Return: 0;
 * the first failure. */
DP_NODISCARD int ndrv_host_restore_names(struct ndrv_host *host, const struct ndrv_view *view,
					 struct ndrv_registry *registry, struct dp_error *err);

/**
 * ndrv_host_settle() - bring endpoints and leftovers in line with the registry
 * @ret_n_removed: out: leftover links removed
 *
 * Endpoints learn the ifindex of their link (0 = it is gone); their links are put back into their
 * bridges; links and rules with our mark that nothing in the registry explains are removed. Except
 * links of a container that lives: a pair whose other end is in another namespace, its bridge and
 * the bridge's uplink. They can only be unknown if state was lost, and are left with a warning.
 *
 * Return: 0; the first failure, after trying everything.
 */
DP_NODISCARD int ndrv_host_settle(struct ndrv_host *host, const struct ndrv_view *view,
				  struct ndrv_registry *registry, unsigned *ret_n_removed,
				  struct dp_error *err);

#endif
