/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netdriver/table.h"

enum { FIRST_BUCKETS = 16 };

/* FNV-1a. Who chooses the keys is root already: collisions made on purpose are no concern. */
static uint32_t hash_of(const void *key, size_t size)
{
	const unsigned char *p = key;
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < size; i++)
		h = (h ^ p[i]) * 16777619U;
	return h;
}

static struct ndrv_table_node **bucket_of(const struct ndrv_table *table, uint32_t hash)
{
	return &table->buckets[hash & (table->n_buckets - 1)];
}

static int grow(struct ndrv_table *table)
{
	struct ndrv_table bigger = { .n_buckets = table->n_buckets ? 2 * table->n_buckets :
								     FIRST_BUCKETS };

	bigger.buckets = calloc(bigger.n_buckets, sizeof(struct ndrv_table_node *));
	if (!bigger.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < table->n_buckets; i++) {
		struct ndrv_table_node *next;

		for (struct ndrv_table_node *node = table->buckets[i]; node; node = next) {
			struct ndrv_table_node **bucket = bucket_of(&bigger, node->hash);

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(table->buckets);
	table->buckets = bigger.buckets;
	table->n_buckets = bigger.n_buckets;
	return 0;
}

int ndrv_table_add(struct ndrv_table *table, struct ndrv_table_node *node, const void *key,
		   size_t size, void *object)
{
	struct ndrv_table_node **bucket;

	if (table->n >= table->n_buckets && grow(table) < 0 && !table->n_buckets)
		return -ENOMEM;
	node->key = key;
	node->size = (uint32_t)size;
	node->object = object;
	node->hash = hash_of(key, size);
	bucket = bucket_of(table, node->hash);
	node->next = *bucket;
	*bucket = node;
	table->n++;
	return 0;
}

void ndrv_table_remove(struct ndrv_table *table, struct ndrv_table_node *node)
{
	struct ndrv_table_node **p;

	if (!node->key)
		return;
	p = bucket_of(table, node->hash);
	while (*p != node)
		p = &(*p)->next;
	*p = node->next;
	node->key = NULL;
	table->n--;
}

void *ndrv_table_find(const struct ndrv_table *table, const void *key, size_t size)
{
	uint32_t hash = hash_of(key, size);
	struct ndrv_table_node *node = table->n_buckets ? *bucket_of(table, hash) : NULL;

	while (node && (node->hash != hash || node->size != size || memcmp(node->key, key, size)))
		node = node->next;
	return node ? node->object : NULL;
}

void ndrv_table_clear(struct ndrv_table *table)
{
	free(table->buckets);
	*table = (struct ndrv_table){ .n = 0 };
}
