/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netdriver/network.h"

/* Lists serve for walking, tables for finding. */
struct ndrv_registry {
	struct ndrv_network *networks;
	struct ndrv_segment *segments;
	struct ndrv_table networks_by_id;
	struct ndrv_table endpoints_by_id;
	struct ndrv_table segments_by_key;
	struct ndrv_table segments_by_bridge;
};

static void *find_text(const struct ndrv_table *table, const char *text)
{
	return ndrv_table_find(table, text, strlen(text));
}

/* Double links by hand: @prev points at whatever points at the object. */
#define LINK_IN(head, object)                                   \
	do {                                                    \
		(object)->next = *(head);                       \
		if ((object)->next)                             \
			(object)->next->prev = &(object)->next; \
		(object)->prev = (head);                        \
		*(head) = (object);                             \
	} while (0)
#define LINK_OUT(object)                                          \
	do {                                                      \
		*(object)->prev = (object)->next;                 \
		if ((object)->next)                               \
			(object)->next->prev = (object)->prev;    \
	} while (0)

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
	ndrv_table_clear(&registry->networks_by_id);
	ndrv_table_clear(&registry->endpoints_by_id);
	ndrv_table_clear(&registry->segments_by_key);
	ndrv_table_clear(&registry->segments_by_bridge);
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

struct ndrv_shape ndrv_spec_shape(const struct ndrv_spec *spec)
{
	struct ndrv_shape shape = { .mode = spec->mode,
				    .vlan = spec->vlan,
				    .internal = spec->internal,
				    .has_subnets = spec->n_subnets > 0 };

	memcpy(shape.parent, spec->parent, sizeof shape.parent);
	return shape;
}

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
	return find_text(&registry->segments_by_key, key);
}

struct ndrv_segment *ndrv_segment_by_bridge(const struct ndrv_registry *registry, const char *name)
{
	return find_text(&registry->segments_by_bridge, name);
}

/* What has been in a table always has room there again. */
void ndrv_segment_set_bridge(struct ndrv_segment *segment, const char *name)
{
	struct ndrv_table *table = &segment->registry->segments_by_bridge;
	int r;

	ndrv_table_remove(table, &segment->by_bridge);
	(void)snprintf(segment->bridge, sizeof segment->bridge, "%s", name);
	r = ndrv_table_add(table, &segment->by_bridge, segment->bridge, strlen(segment->bridge),
			   segment);
	assert(r == 0);
	(void)r;
}

static int file_segment(struct ndrv_registry *registry, struct ndrv_segment *s)
{
	int r = ndrv_table_add(&registry->segments_by_key, &s->by_key, s->key, strlen(s->key), s);

	if (r < 0)
		return r;
	r = ndrv_table_add(&registry->segments_by_bridge, &s->by_bridge, s->bridge, strlen(s->bridge), s);
	if (r < 0) {
		ndrv_table_remove(&registry->segments_by_key, &s->by_key);
		return r;
	}
	LINK_IN(&registry->segments, s);
	return 0;
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
	s->registry = registry;
	s->shape = ndrv_spec_shape(spec);
	s->broken = true;
	if (file_segment(registry, s) < 0) {
		free(s);
		return dp_error_oom(err);
	}
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
	}
	s->n_networks++;
	s->n_wanted++;
	*ret_segment = s;
	return 0;
}

static void segment_leave(struct ndrv_registry *registry, struct ndrv_segment *s)
{
	if (--s->n_networks)
		return;
	ndrv_table_remove(&registry->segments_by_key, &s->by_key);
	ndrv_table_remove(&registry->segments_by_bridge, &s->by_bridge);
	LINK_OUT(s);
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
	if (ndrv_table_add(&registry->networks_by_id, &n->by_id, n->spec.id, strlen(n->spec.id), n) < 0) {
		segment_leave(registry, n->segment);
		free(n);
		return dp_error_oom(err);
	}
	LINK_IN(&registry->networks, n);
	*ret_network = n;
	return 0;
}

void ndrv_network_remove(struct ndrv_registry *registry, struct ndrv_network *network)
{
	while (network->endpoints)
		ndrv_endpoint_remove(registry, network->endpoints);
	ndrv_table_clear(&network->addresses);
	LINK_OUT(network);
	ndrv_table_remove(&registry->networks_by_id, &network->by_id);
	network->segment->n_wanted -= network->state != NDRV_DELETING;
	segment_leave(registry, network->segment);
	free(network->aux);
	free(network);
}

void ndrv_network_set_state(struct ndrv_network *network, enum ndrv_state state)
{
	network->segment->n_wanted -= network->state != NDRV_DELETING;
	network->segment->n_wanted += state != NDRV_DELETING;
	network->state = state;
}

struct ndrv_network *ndrv_network_find(const struct ndrv_registry *registry, const char *id)
{
	return find_text(&registry->networks_by_id, id);
}

/* ---- endpoints ---- */

int ndrv_endpoint_add(struct ndrv_registry *registry, struct ndrv_network *network, const char *id,
		      struct ndrv_endpoint **ret_endpoint)
{
	struct ndrv_endpoint *e = calloc(1, sizeof *e);

	if (!e)
		return -ENOMEM;
	(void)snprintf(e->id, sizeof e->id, "%s", id);
	if (ndrv_table_add(&registry->endpoints_by_id, &e->by_id, e->id, strlen(e->id), e) < 0) {
		free(e);
		return -ENOMEM;
	}
	ndrv_ifname_from_id(NDRV_PREFIX_HOST, id, e->link);
	ndrv_ifname_from_id(NDRV_PREFIX_PEER, id, e->peer);
	e->network = network;
	LINK_IN(&network->endpoints, e);
	network->n_endpoints++;
	*ret_endpoint = e;
	return 0;
}

static void drop_addresses(struct ndrv_endpoint *e)
{
	ndrv_table_remove(&e->network->addresses, &e->by_addr4);
	ndrv_table_remove(&e->network->addresses, &e->by_addr6);
}

void ndrv_endpoint_remove(struct ndrv_registry *registry, struct ndrv_endpoint *endpoint)
{
	drop_addresses(endpoint);
	LINK_OUT(endpoint);
	endpoint->network->n_endpoints--;
	ndrv_table_remove(&registry->endpoints_by_id, &endpoint->by_id);
	free(endpoint->sysctls);
	free(endpoint);
}

struct ndrv_endpoint *ndrv_endpoint_find(const struct ndrv_registry *registry, const char *id)
{
	return find_text(&registry->endpoints_by_id, id);
}

/* The bytes of an address that tell it from others; of each family another number of them. */
static const void *addr_key(const struct dp_addr *addr, size_t *ret_size)
{
	*ret_size = addr->family == AF_INET ? sizeof addr->lo : sizeof addr->hi + sizeof addr->lo;
	return addr->family == AF_INET ? &addr->lo : &addr->hi;
}

static int file_address(struct ndrv_endpoint *e, struct ndrv_table_node *node,
			const struct dp_prefix *address)
{
	size_t size;
	const void *key = addr_key(&address->addr, &size);

	if (address->addr.family == AF_UNSPEC)
		return 0;
	return ndrv_table_add(&e->network->addresses, node, key, size, e);
}

int ndrv_endpoint_set_addresses(struct ndrv_endpoint *endpoint, const struct dp_prefix *addr4,
				const struct dp_prefix *addr6)
{
	drop_addresses(endpoint);
	endpoint->addr4 = *addr4;
	endpoint->addr6 = *addr6;
	if (file_address(endpoint, &endpoint->by_addr4, &endpoint->addr4) < 0)
		return -ENOMEM;
	return file_address(endpoint, &endpoint->by_addr6, &endpoint->addr6);
}

/* Puts @e where it belongs among the @n smallest ids that were seen. */
static size_t insert(const struct ndrv_endpoint **page, size_t n, size_t max,
		     const struct ndrv_endpoint *e)
{
	size_t lo = 0;
	size_t hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(page[mid]->id, e->id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == max)
		return n;
	if (n < max)
		n++;
	memmove(&page[lo + 1], &page[lo], (n - 1 - lo) * sizeof(const struct ndrv_endpoint *));
	page[lo] = e;
	return n;
}

size_t ndrv_endpoint_page(const struct ndrv_registry *registry, const char *after,
			  const struct ndrv_endpoint **ret_page, size_t max)
{
	size_t n = 0;

	for (const struct ndrv_network *w = registry->networks; w; w = w->next) {
		for (const struct ndrv_endpoint *e = w->endpoints; e; e = e->next) {
			if (strcmp(e->id, after) > 0)
				n = insert(ret_page, n, max, e);
		}
	}
	return n;
}

struct ndrv_endpoint *ndrv_endpoint_by_address(const struct ndrv_network *network,
					       const struct dp_addr *addr)
{
	size_t size;
	const void *key = addr_key(addr, &size);

	return ndrv_table_find(&network->addresses, key, size);
}
