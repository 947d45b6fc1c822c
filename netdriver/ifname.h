/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_IFNAME_H
#define DP_NETDRIVER_IFNAME_H

/*
 * Names of kernel links: derived from ids, validated, taken apart. Pure: no I/O.
 *
 * A name has at most 15 bytes, so ours are a prefix of three letters and 12 hex digits. They are
 * the same on every start, and on every host for the same id.
 */

#include <stdint.h>

#include "common/compiler.h"
#include "common/error.h"

#define NDRV_IFNAME_BUF    16 /* bytes for a name, NUL included: the kernel's IFNAMSIZ */

#define NDRV_PREFIX_BRIDGE "mnb" /* bridge of a segment */
#define NDRV_PREFIX_HOST   "mnv" /* host end of a veth pair */
#define NDRV_PREFIX_PEER   "mnc" /* container end, before it is moved */
#define NDRV_PREFIX_VLAN   "mnl" /* VLAN subinterface whose natural name would be too long */

/**
 * ndrv_ifname_from_id() - name from a prefix and an id of the engine
 * @prefix:   three bytes (asserted), one of NDRV_PREFIX_*
 * @id:       network or endpoint id: 64 hex digits give the first 12, as `docker` abbreviates
 *            them; anything else (Swarm's 25 letters and digits, a segment key) gives 12 hex
 *            digits of its FNV-1a hash, folded from 64 to 48 bits
 * @ret_name: out: the name
 */
void ndrv_ifname_from_id(const char *prefix, const char *id, char ret_name[static NDRV_IFNAME_BUF]);

/* ndrv_ifname_hash48() - FNV-1a of @s, folded to its low 48 bits; the same everywhere, for ever. */
uint64_t ndrv_ifname_hash48(const char *s);

/* ndrv_ifname_bridge() - name of a bridge, from a segment key or network id. */
void ndrv_ifname_bridge(const char *segment_key, char ret_name[static NDRV_IFNAME_BUF]);

/**
 * ndrv_ifname_vlan() - name of a VLAN subinterface
 * @parent:   name of the parent link
 * @vid:      VLAN id
 * @ret_name: out: "parent.vid" if that fits 15 bytes, else NDRV_PREFIX_VLAN and a hash of it
 */
void ndrv_ifname_vlan(const char *parent, unsigned vid, char ret_name[static NDRV_IFNAME_BUF]);

/**
 * ndrv_ifname_split_vlan() - take "eth0.100" apart at its last dot
 * @name:       any text
 * @ret_parent: out: the part before the dot, a valid link name; untouched on failure
 * @ret_vid:    out: 1-4094; untouched on failure
 *
 * Return: 0; -EINVAL it is not of that form, or no VLAN id stands behind the dot.
 */
DP_NODISCARD int ndrv_ifname_split_vlan(const char *name, char ret_parent[static NDRV_IFNAME_BUF],
					uint16_t *ret_vid);

/**
 * ndrv_ifname_validate() - would the kernel take this as the name of a link?
 * @name: any text
 * @err:  out: reason on failure, quoting the name; may be NULL
 *
 * The rule of dev_valid_name() in the kernel's net/core/dev.c: 1-15 bytes, not "." or "..", no
 * '/', ':' or blank (among which it counts the byte 0xa0). Besides, no '%', which the kernel
 * would take for a pattern to number links by, and no control characters.
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID).
 */
DP_NODISCARD int ndrv_ifname_validate(const char *name, struct dp_error *err);

#endif
