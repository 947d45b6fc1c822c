/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_TABLE_H
#define DP_NETDRIVER_TABLE_H

/*
 * Hash table whose nodes are members of the objects in it. Finding, adding and removing cost the
 * same whatever the table holds. Keys are bytes; equal ones may be in it twice, and any is found then.
 * Pure: no I/O.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/compiler.h"

struct ndrv_table_node {
	struct ndrv_table_node *next; /* of the same bucket */
	const void *key;              /* bytes that do not change while the node is in a table */
	void *object;                 /* what it stands for */
	uint32_t size;                /* bytes of @key */
	uint32_t hash;
};

/* All zero is an empty table. */
struct ndrv_table {
	struct ndrv_table_node **buckets;
	size_t n_buckets; /* a power of 2, or 0 */
	size_t n;         /* nodes */
};

/**
 * ndrv_table_add() - put a node into the table
 * @node:   of no table; it and @key must outlive its time in @table
 * @object: what ndrv_table_find() gives for @key
 *
 * Where there is no memory to grow, the table goes on with what it has.
 *
 * Return: 0; -ENOMEM it has nothing yet.
 */
DP_NODISCARD int ndrv_table_add(struct ndrv_table *table, struct ndrv_table_node *node,
				const void *key, size_t size, void *object);

/* ndrv_table_remove() - take it out; a node that is in no table (all zero) is fine. */
void ndrv_table_remove(struct ndrv_table *table, struct ndrv_table_node *node);

/* ndrv_table_find() - an object with that key; NULL if there is none. */
void *ndrv_table_find(const struct ndrv_table *table, const void *key, size_t size);

/* ndrv_table_clear() - free what the table holds itself; the nodes are their owners'. */
void ndrv_table_clear(struct ndrv_table *table);

#endif
