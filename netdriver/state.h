/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_STATE_H
#define DP_NETDRIVER_STATE_H

/*
 * What the network daemon keeps on disk: segments, networks with their subnets, endpoints, as rows
 * that people can read. All writes of a turn are one transaction (common/store.h).
 */

#include "common/store.h"
#include "netdriver/network.h"

struct ndrv_state_store;

extern const struct dp_store_schema ndrv_state_schema; /* version and migrations of the file */

/* ndrv_store_open() - open or create @dir/mynetworkplugin.db. Return: as dp_store_open(). */
DP_NODISCARD int ndrv_store_open(const char *dir, struct ndrv_state_store **ret_store,
				 struct dp_error *err);

/**
 * ndrv_store_check() - look at the database of a daemon that is stopped, and change nothing
 * @out: gets a line for each finding
 *
 * Return: number of findings; negative errno: it cannot be looked at.
 */
DP_NODISCARD int ndrv_store_check(const char *dir, FILE *out, struct dp_error *err);

void ndrv_store_close(struct ndrv_state_store *store); /* NULL is fine */
DP_DEFINE_CLEANUP(struct ndrv_state_store, ndrv_store_close);

/**
 * ndrv_store_load() - build the registry from the rows
 * @ret_registry: out: new; freed by ndrv_registry_free()
 *
 * Return: 0; -EUCLEAN the rows make no sense; as the disk says; -ENOMEM.
 */
DP_NODISCARD int ndrv_store_load(struct ndrv_state_store *store, struct ndrv_registry **ret_registry,
				 struct dp_error *err);

DP_NODISCARD int ndrv_store_commit(struct ndrv_state_store *store, struct dp_error *err);
void ndrv_store_rollback(struct ndrv_state_store *store);

/* Row by row. Return: 0; a negative errno of the store, after which the turn is lost. */
DP_NODISCARD int ndrv_store_put_network(struct ndrv_state_store *store,
					const struct ndrv_network *network, struct dp_error *err);
DP_NODISCARD int ndrv_store_remove_network(struct ndrv_state_store *store,
					   const struct ndrv_network *network,
					   struct dp_error *err); /* endpoints and, with the last
								     * network, the segment too */
DP_NODISCARD int ndrv_store_put_segment(struct ndrv_state_store *store,
					const struct ndrv_segment *segment, struct dp_error *err);
DP_NODISCARD int ndrv_store_put_endpoint(struct ndrv_state_store *store,
					 const struct ndrv_endpoint *endpoint, struct dp_error *err);
DP_NODISCARD int ndrv_store_remove_endpoint(struct ndrv_state_store *store, const char *id,
					    struct dp_error *err);

#endif
