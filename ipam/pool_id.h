/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_POOL_ID_H
#define DP_IPAM_POOL_ID_H

/*
 * What pools are called and where their addresses begin and end: address spaces, tenants, PoolIDs,
 * and the entries of default-pools lists. Pure values.
 */

#include <stdbool.h>

#include "common/compiler.h"
#include "common/error.h"
#include "common/inaddr.h"

/* The two address spaces, separate books under the names `local` and `global`. */
enum ipam_book {
	IPAM_LOCAL,
	IPAM_GLOBAL,
};

enum {
	IPAM_N_BOOKS = 2,
	IPAM_TENANT_SIZE = 64,   /* bytes of a tenant's name, NUL included */
	IPAM_POOL_ID_SIZE = 192, /* bytes for ipam_pool_id_format(), NUL included */
};

/* What a PoolID says: `<space>/<pool>[/<range>][@<tenant>]`. A plain value. */
struct ipam_pool_id {
	enum ipam_book book;
	struct dp_prefix pool;         /* masked */
	struct dp_prefix range;        /* masked, inside @pool; addr.family AF_UNSPEC = none */
	char tenant[IPAM_TENANT_SIZE]; /* "" = the default tenant */
};

/* ipam_book_name() - "local" or "global". */
const char *ipam_book_name(enum ipam_book book);

/**
 * ipam_book_parse() - address space from its name
 *
 * Return: 0; -EINVAL neither of the two.
 */
DP_NODISCARD int ipam_book_parse(const char *s, enum ipam_book *ret_book);

/* ipam_tenant_valid() - "" or a letter or digit followed by up to 62 of [A-Za-z0-9_.-]. */
bool ipam_tenant_valid(const char *s);

/**
 * ipam_pool_id_make() - the PoolID of a request; masks host bits
 * @book:   address space
 * @tenant: "" = default; keeps a copy
 * @pool:   subnet asked for
 * @range:  range for dynamic picks; NULL or AF_UNSPEC = none
 * @ret_id: out: untouched on failure
 * @err:    out: reason; may be NULL
 *
 * Docker Engine 20.10 passes host bits and ranges outside the pool on unchecked.
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) bad tenant, pool of length 0, range outside the pool, range
 *         without a usable address.
 */
DP_NODISCARD int ipam_pool_id_make(enum ipam_book book, const char *tenant,
				   const struct dp_prefix *pool, const struct dp_prefix *range,
				   struct ipam_pool_id *ret_id, struct dp_error *err);

/**
 * ipam_pool_id_parse() - read a PoolID back; accepts exactly what ipam_pool_id_format() writes
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) anything else: "invalid pool id: ...".
 */
DP_NODISCARD int ipam_pool_id_parse(const char *s, struct ipam_pool_id *ret_id,
				    struct dp_error *err);

/* ipam_pool_id_format() - canonical text into @buf; returns @buf. */
const char *ipam_pool_id_format(const struct ipam_pool_id *id, char buf[static IPAM_POOL_ID_SIZE]);

/* ipam_pool_id_equal() - do they name the same pool? */
bool ipam_pool_id_equal(const struct ipam_pool_id *a, const struct ipam_pool_id *b);

/* ipam_prefix_all_usable() - less than four addresses: neither a network nor a broadcast address is
 * set aside (RFC 3021, RFC 6164). */
bool ipam_prefix_all_usable(const struct dp_prefix *pool);

/**
 * ipam_pool_id_bounds() - first and last address that dynamic picks may use
 *
 * The range's, else the pool's, less network and broadcast address; of more than 2^64 addresses the
 * first 2^64.
 *
 * Return: true; false there is none.
 */
bool ipam_pool_id_bounds(const struct ipam_pool_id *id, struct dp_addr *first, struct dp_addr *last);

/* One entry of a default-pools list: subnets of length @size are cut from @base. */
struct ipam_default_pool {
	struct dp_prefix base; /* masked */
	unsigned size;         /* bits: base.len..32 or 128 */
};

/**
 * ipam_pool_id_slice() - cut the range of dynamic picks into equal parts and keep one
 * @id:    its range, or else its pool, is cut; unchanged on failure
 * @slice: "N/M": the Nth of M parts, M a power of two, so that each part is a prefix
 *
 * For hosts that share a subnet but no books: each has a slice of its own, and the same subnet,
 * gateway and explicit addresses.
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) not of that form, too many parts for the prefix, or nothing
 *         usable in this one.
 */
DP_NODISCARD int ipam_pool_id_slice(struct ipam_pool_id *id, const char *slice,
				    struct dp_error *err);

/**
 * ipam_default_pool_parse() - `base=172.17.0.0/16,size=16`, keys in either order
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID), the text names the entry and the value.
 */
DP_NODISCARD int ipam_default_pool_parse(const char *s, struct ipam_default_pool *ret_pool,
					 struct dp_error *err);

/* ipam_prefix_is_any() - 0.0.0.0/N or ::/N with N > 0: "any free pool of that size". */
bool ipam_prefix_is_any(const struct dp_prefix *p);

#endif
