/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_NETWORK_H
#define DP_NETDRIVER_NETWORK_H

/*
 * The registry of networks, endpoints and segments. Pure: no I/O. Finding, adding and removing cost
 * the same whatever there is.
 *
 * A *segment* is one bridge: networks on the same VLAN of the same parent share it, since the
 * kernel lets a subinterface be port of one bridge only, and one subinterface exist for one VLAN of
 * a parent. Networks without uplink have a segment each. A segment lives from its first network
 * to its last.
 *
 *   network, endpoint:  PENDING ──► READY ──► DELETING ──► gone
 *                          └── undone ──────────┘
 * PENDING is on disk before the kernel is touched, READY after; DELETING is on disk before
 * anything is taken down. What is PENDING or DELETING at start is taken down.
 */

#include <stddef.h>

#include "common/cleanup.h"
#include "netdriver/options.h"
#include "netdriver/table.h"

enum ndrv_state {
	NDRV_PENDING,
	NDRV_READY,
	NDRV_DELETING,
};

enum { NDRV_KEY_SIZE = 96 }; /* bytes of a segment key, NUL included */

/* What makes the links of a segment what they are: part of its networks' specs. */
struct ndrv_shape {
	enum ndrv_mode mode;
	char parent[NDRV_IFNAME_BUF]; /* "" = none */
	uint32_t vlan;                /* 1-4094; 0 = untagged */
	bool internal;
	bool has_subnets;
};

struct ndrv_segment {
	struct ndrv_segment *next;
	struct ndrv_segment **prev;
	struct ndrv_registry *registry;
	struct ndrv_table_node by_key;
	struct ndrv_table_node by_bridge;
	char key[NDRV_KEY_SIZE];        /* "eth0", "eth0.100", "net:<id>"; names it in marks */
	char bridge[NDRV_IFNAME_BUF];   /* the bridge: ours, or the parent itself if that is one; see
					 * ndrv_segment_set_bridge() */
	bool foreign_bridge;            /* the parent is a bridge of the host's: used, left alone */
	bool broken;                    /* not (completely) there, or not yet looked at */
	bool unsure;                    /* broken only as long as nobody has looked closer: by building it */
	unsigned n_rules;               /* that the firewall has for it, as last added or looked for */
	int bridge_ifindex;             /* as last built or looked at; 0 = unknown */
	int parent_ifindex;
	int uplink_ifindex;
	bool renamed;                   /* the parent has another name now, which was logged */
	unsigned n_networks;
	unsigned n_wanted;              /* of those, the ones that are not being deleted */
	struct ndrv_shape shape;        /* of its first network */
};

struct ndrv_network {
	struct ndrv_network *next;
	struct ndrv_network **prev;
	struct ndrv_table_node by_id;
	struct ndrv_spec spec;          /* as asked for */
	enum ndrv_state state;          /* see ndrv_network_set_state() */
	uint32_t mtu;                   /* bytes, resolved */
	char *aux;                      /* auxiliary addresses, blanks between; owned; NULL = none */
	struct ndrv_segment *segment;
	struct ndrv_endpoint *endpoints;
	struct ndrv_table addresses;    /* of its endpoints */
	unsigned n_endpoints;
};

struct ndrv_endpoint {
	struct ndrv_endpoint *next;     /* of the same network */
	struct ndrv_endpoint **prev;
	struct ndrv_table_node by_id;
	struct ndrv_table_node by_addr4;
	struct ndrv_table_node by_addr6;
	struct ndrv_network *network;
	char id[NDRV_ID_SIZE];
	enum ndrv_state state;
	struct dp_prefix addr4;         /* AF_UNSPEC = none; see ndrv_endpoint_set_addresses() */
	struct dp_prefix addr6;
	uint8_t mac[6];
	bool mac_given;                 /* by the engine; else derived by us */
	int ifindex;                    /* host end; 0 = not there (any more) */
	bool in_container;              /* its other end was seen in another namespace */
	bool detached;                  /* by Leave, or not joined yet with attach=direct: has no link,
					 * and is not dead for that */
	bool direct;                    /* its container end was made in the container */
	int64_t since;                  /* seconds since 1970: created; 0 = before that was noted */
	uint64_t asked_ms;              /* loop's time: last request about it, or when it was loaded */
	char *sysctls;                  /* for attach=direct, until joined; NULL = none */
	char link[NDRV_IFNAME_BUF];     /* host end */
	char peer[NDRV_IFNAME_BUF];     /* container end before it is moved */
};

struct ndrv_registry;

DP_NODISCARD int ndrv_registry_new(struct ndrv_registry **ret_registry);
void ndrv_registry_free(struct ndrv_registry *registry); /* with all in it; NULL is fine */
DP_DEFINE_CLEANUP(struct ndrv_registry, ndrv_registry_free);

struct ndrv_network *ndrv_registry_networks(const struct ndrv_registry *registry); /* list head */
struct ndrv_segment *ndrv_registry_segments(const struct ndrv_registry *registry); /* list head */

/* ndrv_spec_shape() - what a segment for @spec is like. */
struct ndrv_shape ndrv_spec_shape(const struct ndrv_spec *spec);

/* ndrv_segment_key() - the segment that a network belongs to, by its spec. */
void ndrv_segment_key(const struct ndrv_spec *spec, char ret_key[static NDRV_KEY_SIZE]);

/* ndrv_segment_bridge() - the name that the bridge of a new segment gets: as asked for, or derived
 * from the network's id (without uplink) or the segment's key. */
void ndrv_segment_bridge(const struct ndrv_spec *spec, char ret_name[static NDRV_IFNAME_BUF]);

/* ndrv_segment_by_key(), ndrv_segment_by_bridge() - NULL if there is none. */
struct ndrv_segment *ndrv_segment_by_key(const struct ndrv_registry *registry, const char *key);
struct ndrv_segment *ndrv_segment_by_bridge(const struct ndrv_registry *registry, const char *name);

/* ndrv_segment_set_bridge() - from now on its bridge is @name. */
void ndrv_segment_set_bridge(struct ndrv_segment *segment, const char *name);

/**
 * ndrv_network_add() - a new network, PENDING, in its segment (made if it is the first)
 * @spec: copied; its id is new (asserted)
 * @mtu:  bytes, resolved
 *
 * The segment's bridge name is the one asked for, else derived from its key.
 *
 * Return: 0; -EEXIST (DP_ERR_CONFLICT) the bridge name is claimed by another segment, or the
 *         segment exists with another bridge name or mode; -ENOMEM.
 */
DP_NODISCARD int ndrv_network_add(struct ndrv_registry *registry, const struct ndrv_spec *spec,
				  uint32_t mtu, struct ndrv_network **ret_network,
				  struct dp_error *err);

/* ndrv_network_remove() - forget @network and its endpoints; its segment too if it was the last. */
void ndrv_network_remove(struct ndrv_registry *registry, struct ndrv_network *network);

/* ndrv_network_set_state() - also tells its segment how many want it. */
void ndrv_network_set_state(struct ndrv_network *network, enum ndrv_state state);

/* ndrv_network_find() - by id; NULL if unknown. */
struct ndrv_network *ndrv_network_find(const struct ndrv_registry *registry, const char *id);

/**
 * ndrv_endpoint_add() - a new endpoint of @network, PENDING; link names derived from its id
 * @id: new (asserted)
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int ndrv_endpoint_add(struct ndrv_registry *registry, struct ndrv_network *network,
				   const char *id, struct ndrv_endpoint **ret_endpoint);

/* ndrv_endpoint_remove() - forget it. */
void ndrv_endpoint_remove(struct ndrv_registry *registry, struct ndrv_endpoint *endpoint);

/* ndrv_endpoint_set_addresses() - AF_UNSPEC = none. Return: 0; -ENOMEM, it cannot be found by them. */
DP_NODISCARD int ndrv_endpoint_set_addresses(struct ndrv_endpoint *endpoint,
					     const struct dp_prefix *addr4,
					     const struct dp_prefix *addr6);

/* ndrv_endpoint_find() - by id; NULL if unknown. */
struct ndrv_endpoint *ndrv_endpoint_find(const struct ndrv_registry *registry, const char *id);

/**
 * ndrv_endpoint_page() - the endpoints whose ids follow @after in order, for answers in pages
 * @after:   id; "" = from the beginning
 * @ret_page: out: borrowed, at most @max of them, by id
 *
 * An endpoint that lives through all calls is in one of the pages. O(endpoints).
 *
 * Return: how many.
 */
size_t ndrv_endpoint_page(const struct ndrv_registry *registry, const char *after,
			  const struct ndrv_endpoint **ret_page, size_t max);

/* ndrv_endpoint_by_address() - an endpoint of @network that has @addr; NULL if none. */
struct ndrv_endpoint *ndrv_endpoint_by_address(const struct ndrv_network *network,
					       const struct dp_addr *addr);

#endif
