/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Ids are found through libc's balanced trees (tsearch(3)); lists serve for walking. The trees hold
 * pointers to structs whose id is compared, so a lookup needs a key struct of the same kind only
 * in its id: both trees order by a `const char *` reached through a small accessor.
 */

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netdriver/network.h"

/* Tree node: what both kinds of object are filed under. */
struct node {
	const char *id; /* points into the object */
	void *object;
};

struct ndrv_registry {
	struct ndrv_network *networks;
	struct ndrv_segment *segments;
	void *network_tree;
	void *endpoint_tree;
};

static int compare(const void *a, const void *b)
{
	const struct node *x = a;
	const struct node *y = b;

	return strcmp(x->id, y->id);
}

static int file(void **tree, const char *id, void *object)
{
	struct node *e = malloc(sizeof *e);
	struct node **slot;

	if (!e)
		return -ENOMEM;
	*e = (struct node){ .id = id, .object = object };
	slot = tsearch(e, tree, compare);
	if (!slot) {
		free(e);
		return -ENOMEM;
	}
	assert(*slot == e); /* ids are new */
	return 0;
}

static void *look_up(void *const *tree, const char *id)
{
	struct node key = { .id = id };
	struct node **slot = tfind(&key, tree, compare);

	return slot ? (*slot)->object : NULL;
}

static void unfile(void **tree, const char *id)
{
	struct node key = { .id = id };
	struct node **slot = tfind(&key, tree, compare);
	struct node *e;

	if (!slot)
		return;
	e = *slot;
	(void)tdelete(&key, tree, compare);
	free(e);
}

int ndrv_registry_new(struct ndrv_registry **ret_registry)
{
	*ret_registry = calloc(1, sizeof **ret_registry);
	return *ret_registry ? 0 : -ENOMEM;
}

void ndrv_registry_free(struct ndrv_registry *registry)
{
	if (!registry)
		return;
	while (registry->networks)
		ndrv_network_remove(registry, registry->networks);
	free(registry);
}

struct ndrv_network *ndrv_registry_networks(const struct ndrv_registry *registry)
{
	return registry->networks;
}

struct ndrv_segment *ndrv_registry_segments(const struct ndrv_registry *registry)
{
	return registry->segments;
}

/* ---- segments ---- */

void ndrv_segment_key(const struct ndrv_spec *spec, char ret_key[static NDRV_KEY_SIZE])
{
	if (spec->mode != NDRV_L2)
		(void)snprintf(ret_key, NDRV_KEY_SIZE, "net:%s", spec->id);
	else if (spec->vlan)
		(void)snprintf(ret_key, NDRV_KEY_SIZE, "%s.%u", spec->parent, spec->vlan);
	else
		(void)snprintf(ret_key, NDRV_KEY_SIZE, "%s", spec->parent);
}

void ndrv_segment_bridge(const struct ndrv_spec *spec, char ret_name[static NDRV_IFNAME_BUF])
{
	char key[NDRV_KEY_SIZE];

	if (*spec->bridge) {
		memcpy(ret_name, spec->bridge, NDRV_IFNAME_BUF);
	} else if (spec->mode != NDRV_L2) {
		ndrv_ifname_bridge(spec->id, ret_name);
	} else {
		ndrv_segment_key(spec, key);
		ndrv_ifname_bridge(key, ret_name);
	}
}

struct ndrv_segment *ndrv_segment_by_key(const struct ndrv_registry *registry, const char *key)
{
	struct ndrv_segment *s = registry->segments;

	while (s && strcmp(s->key, key))
		s = s->next;
	return s;
}

struct ndrv_segment *ndrv_segment_by_bridge(const struct ndrv_registry *registry, const char *name)
{
	struct ndrv_segment *s = registry->segments;

	while (s && strcmp(s->bridge, name))
		s = s->next;
	return s;
}

static int segment_new(struct ndrv_registry *registry, const struct ndrv_spec *spec, const char *key,
		       struct ndrv_segment **ret_segment, struct dp_error *err)
{
	struct ndrv_segment *s = calloc(1, sizeof *s);
	const struct ndrv_segment *other;

	if (!s)
		return dp_error_oom(err);
	(void)snprintf(s->key, sizeof s->key, "%s", key);
	ndrv_segment_bridge(spec, s->bridge);
	other = ndrv_segment_by_bridge(registry, s->bridge);
	if (other) {
		int r = dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				     "bridge name %s is used by another network (%s)", s->bridge,
				     other->key);
		free(s);
		return r;
	}
	s->shape = *spec;
	s->broken = true;
	*ret_segment = s;
	return 0;
}

static int segment_join(struct ndrv_registry *registry, const struct ndrv_spec *spec,
			struct ndrv_segment **ret_segment, struct dp_error *err)
{
	char key[NDRV_KEY_SIZE];
	struct ndrv_segment *s;
	int r;

	ndrv_segment_key(spec, key);
	s = ndrv_segment_by_key(registry, key);
	if (s && *spec->bridge && strcmp(s->bridge, spec->bridge))
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
				    "bridge name %s: another network has %s already, on bridge %s",
				    spec->bridge, key, s->bridge);
	if (!s) {
		r = segment_new(registry, spec, key, &s, err);
		if (r < 0)
			return r;
		s->next = registry->segments;
		registry->segments = s;
	}
	s->n_networks++;
	*ret_segment = s;
	return 0;
}

static void segment_leave(struct ndrv_registry *registry, struct ndrv_segment *s)
{
	struct ndrv_segment **p = &registry->segments;

	if (--s->n_networks)
		return;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	free(s);
}

/* ---- networks ---- */

int ndrv_network_add(struct ndrv_registry *registry, const struct ndrv_spec *spec, uint32_t mtu,
		     struct ndrv_network **ret_network, struct dp_error *err)
{
	struct ndrv_network *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return dp_error_oom(err);
	n->spec = *spec;
	n->mtu = mtu;
	r = segment_join(registry, spec, &n->segment, err);
	if (r < 0) {
		free(n);
		return r;
	}
	if (file(&registry->network_tree, n->spec.id, n) < 0) {
		segment_leave(registry, n->segment);
		free(n);
		return dp_error_oom(err);
	}
	n->next = registry->networks;
	registry->networks = n;
	*ret_network = n;
	return 0;
}

void ndrv_network_remove(struct ndrv_registry *registry, struct ndrv_network *network)
{
	struct ndrv_network **p = &registry->networks;

	while (network->endpoints)
		ndrv_endpoint_remove(registry, network->endpoints);
	while (*p != network)
		p = &(*p)->next;
	*p = network->next;
	unfile(&registry->network_tree, network->spec.id);
	segment_leave(registry, network->segment);
	free(network);
}

struct ndrv_network *ndrv_network_find(const struct ndrv_registry *registry, const char *id)
{
	return look_up(&registry->network_tree, id);
}

/* ---- endpoints ---- */

int ndrv_endpoint_add(struct ndrv_registry *registry, struct ndrv_network *network, const char *id,
		      struct ndrv_endpoint **ret_endpoint)
{
	struct ndrv_endpoint *e = calloc(1, sizeof *e);

	if (!e)
		return -ENOMEM;
	(void)snprintf(e->id, sizeof e->id, "%s", id);
	if (file(&registry->endpoint_tree, e->id, e) < 0) {
		free(e);
		return -ENOMEM;
	}
	ndrv_ifname_from_id(NDRV_PREFIX_HOST, id, e->link);
	ndrv_ifname_from_id(NDRV_PREFIX_PEER, id, e->peer);
	e->network = network;
	e->next = network->endpoints;
	network->endpoints = e;
	network->n_endpoints++;
	*ret_endpoint = e;
	return 0;
}

void ndrv_endpoint_remove(struct ndrv_registry *registry, struct ndrv_endpoint *endpoint)
{
	struct ndrv_endpoint **p = &endpoint->network->endpoints;

	while (*p != endpoint)
		p = &(*p)->next;
	*p = endpoint->next;
	endpoint->network->n_endpoints--;
	unfile(&registry->endpoint_tree, endpoint->id);
	free(endpoint->sysctls);
	free(endpoint);
}

struct ndrv_endpoint *ndrv_endpoint_find(const struct ndrv_registry *registry, const char *id)
{
	return look_up(&registry->endpoint_tree, id);
}

struct ndrv_endpoint *ndrv_endpoint_by_address(const struct ndrv_network *network,
					       const struct dp_addr *addr)
{
	struct ndrv_endpoint *e = network->endpoints;

	while (e && dp_addr_cmp(&e->addr4.addr, addr) && dp_addr_cmp(&e->addr6.addr, addr))
		e = e->next;
	return e;
}
