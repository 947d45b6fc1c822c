/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_OPTIONS_H
#define DP_NETDRIVER_OPTIONS_H

/*
 * What a network is asked to be: `docker network create` decoded and checked, without a look at the
 * host. Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/inaddr.h"
#include "common/schema.h"
#include "netdriver/ifname.h"

enum {
	NDRV_ID_SIZE = 65,      /* bytes of a network or endpoint id, NUL included */
	NDRV_MAX_SUBNETS = 16,  /* of one network, both families together */
	NDRV_MIN_MTU = 68,      /* bytes; RFC 791 */
	NDRV_MIN_MTU_V6 = 1280, /* bytes; RFC 8200 */
};

enum ndrv_mode {
	NDRV_L2,       /* bridged onto the parent or its VLAN; the gateway is a router out there */
	NDRV_ISOLATED, /* a bridge without uplink; no gateway */
	NDRV_ROUTED,   /* the bridge holds the gateway address, the host forwards */
};

/* How a container gets its link; see sandbox.h. */
enum ndrv_attach {
	NDRV_ATTACH_DEFAULT, /* as the daemon is configured */
	NDRV_ATTACH_MOVE,    /* the engine moves it */
	NDRV_ATTACH_DIRECT,  /* it is made in the container, where engine and privileges allow it */
};

struct ndrv_subnet {
	struct dp_prefix pool;    /* masked */
	struct dp_prefix gateway; /* address with the pool's length; AF_UNSPEC = none */
	bool local_book;          /* its address space is "local": that of our IPAM daemon */
};

/* A plain value, comparable with ndrv_spec_equal(). */
struct ndrv_spec {
	char id[NDRV_ID_SIZE];
	enum ndrv_mode mode;
	char parent[NDRV_IFNAME_BUF];       /* "" = none */
	uint32_t vlan;                       /* 1-4094; 0 = untagged */
	uint32_t mtu;                        /* bytes; 0 = the parent's, else 1500 */
	char bridge[NDRV_IFNAME_BUF];       /* "" = derived */
	char iface_prefix[NDRV_IFNAME_BUF]; /* of the name inside the container */
	bool gwbridge;                       /* let the engine add docker_gwbridge */
	bool internal;                       /* --internal: no gateway */
	bool ipv6;                           /* --ipv6 */
	enum ndrv_attach attach;
	unsigned n_subnets;
	struct ndrv_subnet subnets[NDRV_MAX_SUBNETS];
};

extern const struct dp_schema ndrv_option_schema; /* -o of network create */

/* CreateNetwork and GwAllocCheck as they arrive. */
struct ndrv_network_request {
	const char *id;      /* NULL in GwAllocCheck */
	json_t *options;     /* com.docker.network.* and the generic ones below */
	json_t *ipv4;        /* array of pools */
	json_t *ipv6;
};

/**
 * ndrv_spec_decode() - check a request and put it into plain values
 * @rq:             borrowed
 * @default_parent: parent where `vlan` comes without one; "" = none
 * @ret_spec:       out: written completely on success
 * @err:            out: names the option and the value
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID).
 */
DP_NODISCARD int ndrv_spec_decode(const struct ndrv_network_request *rq, const char *default_parent,
				  struct ndrv_spec *ret_spec, struct dp_error *err);

/**
 * ndrv_aux_decode() - the auxiliary addresses of a request, which IPAM holds for others
 * @ret_aux: out: addresses with blanks between; NULL if there are none; freed by the caller
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) one is no address; -ENOMEM.
 */
DP_NODISCARD int ndrv_aux_decode(const struct ndrv_network_request *rq, char **ret_aux,
				 struct dp_error *err);

/* ndrv_spec_equal() - do they ask for the same network? Whose book its subnets are in is no matter. */
bool ndrv_spec_equal(const struct ndrv_spec *a, const struct ndrv_spec *b);

/**
 * ndrv_id_check() - is @id fit to name things with? 1-64 of [A-Za-z0-9_.-]
 * @what: "network" or "endpoint", for the error
 *
 * Return: 0; -EINVAL.
 */
DP_NODISCARD int ndrv_id_check(const char *what, const char *id, struct dp_error *err);

/* ndrv_mode_name() - "l2", "isolated", "routed". */
const char *ndrv_mode_name(enum ndrv_mode mode);

/* ndrv_attach_name(), ndrv_attach_parse() - "" for the default, "move", "direct". */
const char *ndrv_attach_name(enum ndrv_attach attach);
DP_NODISCARD int ndrv_attach_parse(const char *name, enum ndrv_attach *ret_attach);

/* ndrv_mode_parse() - Return: 0; -EINVAL any other name. */
DP_NODISCARD int ndrv_mode_parse(const char *name, enum ndrv_mode *ret_mode);

/**
 * ndrv_spec_gateway() - the gateway that a container with @addr is to use
 * @addr: the container's address; AF_UNSPEC = it has none of this family
 *
 * Return: the gateway of the subnet that @addr lies in; NULL where there is none, or where the
 * mode, --internal or gwbridge=true says that containers get none.
 */
const struct dp_addr *ndrv_spec_gateway(const struct ndrv_spec *spec, const struct dp_addr *addr);

/* ndrv_spec_direct_prefix() - of the link's name where it is made in the container. Never "eth":
 * the engine numbers the links it moves without looking at others (moby: osl/interface_linux.go). */
const char *ndrv_spec_direct_prefix(const struct ndrv_spec *spec);

/**
 * ndrv_mac_derive() - a MAC address that stays with an address of a segment
 * @spec:    the network
 * @addr:    address of the endpoint
 * @ret_mac: out: 6 bytes, locally administered unicast (IEEE 802)
 *
 * The same on every host of a VLAN, so neighbours' ARP caches stay right when an address comes
 * back in another container, even on another host.
 */
void ndrv_mac_derive(const struct ndrv_spec *spec, const struct dp_addr *addr, uint8_t ret_mac[6]);

#endif
