/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_FIREWALL_H
#define DP_NETDRIVER_FIREWALL_H

/*
 * Accept rules that let the traffic of our bridges pass an engine's firewall.
 *
 * Where the engine switched on forwarding it set the policy of FORWARD to DROP, and where the
 * module br_netfilter is loaded that policy also hits frames that are merely bridged. The engine
 * leaves one chain to its users, DOCKER-USER, which FORWARD visits first. We add our rules there
 * and nowhere else, never create or flush a chain, and never touch a rule that is not ours: ours
 * bear the comment "mynetworkplugin:<id>".
 *
 * Rules of a bridge BR, in this order, at the top of the chain:
 *	bridged:  -i BR -o BR -j ACCEPT
 *	routed:   -i BR -o docker0 -j RETURN      the engine's own isolation between its
 *	          -i BR -o br-+ -j RETURN         networks stays in force
 *	          -i BR -j ACCEPT
 *	          -o BR -j ACCEPT
 *
 * A host can have up to four such chains: IPv4 and IPv6, each as iptables-legacy (kept with
 * libip4tc and libip6tc) and as iptables-nft (kept with libnftnl). Each one that exists is served.
 *
 * iptables-legacy replaces a table as a whole, so concurrent writers agree on a lock file; where
 * another process holds it for longer than 100 ms the call fails with DP_ERR_UNAVAILABLE. Needs
 * CAP_NET_ADMIN; for iptables-legacy also CAP_NET_RAW, as libiptc talks through a raw socket.
 */

#include <stdbool.h>
#include <stddef.h>

#include "common/compiler.h"
#include "common/error.h"

#define NDRV_FW_ID_MAX 200 /* bytes of an id, without NUL: the comment's limit is 255 */

struct ndrv_fw; /* opaque */

/* What a segment needs. */
struct ndrv_fw_rules {
	const char *bridge; /* name of the bridge, 1-15 bytes; borrowed */
	const char *id;     /* id of the segment: 1-200 bytes, no control characters */
	bool routed;        /* the host forwards for it; false = bridged traffic only */
};

/* An id that was found; returned in arrays. */
struct ndrv_fw_id {
	char id[NDRV_FW_ID_MAX + 1]; /* NUL-terminated */
	unsigned n;                  /* rules that have it, in all tables together */
};

/**
 * ndrv_fw_open() - a handle on the firewall of the calling thread's network namespace
 * @lock_path: lock file of iptables-legacy; NULL = /run/xtables.lock; kept as a copy
 * @ret_fw:    out: returns new, the caller closes it with ndrv_fw_close(); untouched on failure
 * @err:       out: reason on failure; may be NULL
 *
 * Opens nothing yet. Later calls make the kernel create no table: those of iptables-legacy are
 * opened only where the kernel lists them as in use already.
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int ndrv_fw_open(const char *lock_path, struct ndrv_fw **ret_fw, struct dp_error *err);

/* ndrv_fw_close() - close and free; NULL is fine; the rules stay. */
void ndrv_fw_close(struct ndrv_fw *fw);

static inline void ndrv_fw_closep(struct ndrv_fw **fw)
{
	ndrv_fw_close(*fw);
	*fw = NULL;
}

/**
 * ndrv_fw_ensure() - make sure that the rules of a segment stand in every DOCKER-USER chain
 * @fw:           open handle
 * @rules:        borrowed for the call
 * @ret_n_rules:  out: rules that stand now, in all chains together; 0 = the engine has not set up
 *                its firewall (yet): nothing was done, call again later; may be NULL
 * @err:          out: reason on failure; may be NULL
 *
 * Nothing is written where the rules stand complete and in order, in whatever place of the chain.
 * Where they do not, what is there of @rules->id is replaced, in one transaction a chain.
 *
 * Return: 0; -EINVAL @rules->bridge or @rules->id is not of that form (DP_ERR_INVALID); -EAGAIN
 *         others keep changing the table or hold its lock (DP_ERR_UNAVAILABLE); -EPERM a
 *         capability is missing (DP_ERR_UNSUPPORTED); other errno of the kernel
 *         (DP_ERR_INTERNAL). The other chains are served nevertheless.
 */
DP_NODISCARD int ndrv_fw_ensure(struct ndrv_fw *fw, const struct ndrv_fw_rules *rules,
				unsigned *ret_n_rules, struct dp_error *err);

/**
 * ndrv_fw_remove() - remove the rules of a segment from every DOCKER-USER chain
 * @fw:  open handle
 * @id:  id of the segment, as given to ndrv_fw_ensure()
 * @err: out: reason on failure; may be NULL
 *
 * Exactly the rules whose comment is "mynetworkplugin:<id>".
 *
 * Return: 0, also if there are none; as ndrv_fw_ensure().
 */
DP_NODISCARD int ndrv_fw_remove(struct ndrv_fw *fw, const char *id, struct dp_error *err);

/**
 * ndrv_fw_list() - ids of all rules of ours, sorted, each once
 * @fw:        open handle
 * @ret_ids:   out: returns new, one array, the caller frees it with free(); NULL if there are none
 * @ret_n_ids: out: number of its entries
 * @err:       out: reason on failure; may be NULL
 *
 * Return: 0; as ndrv_fw_ensure().
 */
DP_NODISCARD int ndrv_fw_list(struct ndrv_fw *fw, struct ndrv_fw_id **ret_ids, size_t *ret_n_ids,
			      struct dp_error *err);

#endif
