/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_INADDR_H
#define DP_COMMON_INADDR_H

/*
 * IPv4 and IPv6 addresses and prefixes as plain values, and all mask arithmetic of the project.
 *
 * An address is a 128-bit number in two host-order halves (IPv4: hi = 0, lo < 2^32), so that no
 * byte order can be mixed up and no shift by the full width can be written by accident. Two
 * halves instead of __int128, because the project also builds for 32-bit ARM.
 */

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

#include "common/compiler.h"

struct dp_addr {
	int family;  /* AF_INET, AF_INET6; AF_UNSPEC = no address */
	uint64_t hi; /* upper 64 bits, host order; 0 for IPv4 */
	uint64_t lo; /* lower 64 bits, host order */
};

struct dp_prefix {
	struct dp_addr addr; /* may carry host bits: an interface address is one too */
	unsigned len;        /* bits: 0-32 or 0-128 */
};

#define DP_ADDR_STRLEN   INET6_ADDRSTRLEN       /* bytes for dp_addr_format(), NUL included */
#define DP_PREFIX_STRLEN (INET6_ADDRSTRLEN + 4) /* bytes for dp_prefix_format() */

/* dp_addr_bits() - width of the family: 32 or 128. */
unsigned dp_addr_bits(int family);

/**
 * dp_addr_parse() - address from its text (inet_pton(3) forms only: no zone, no octal parts)
 *
 * Return: 0; -EINVAL not an address.
 */
DP_NODISCARD int dp_addr_parse(const char *s, struct dp_addr *ret_addr);

/* dp_addr_format() - canonical text (RFC 5952 for IPv6) into @buf; returns @buf. */
const char *dp_addr_format(const struct dp_addr *addr, char buf[static DP_ADDR_STRLEN]);

/* dp_addr_to_bytes() - network-order bytes: 4 or 16 are written; returns that number. */
unsigned dp_addr_to_bytes(const struct dp_addr *addr, uint8_t bytes[static 16]);

/* dp_addr_cmp() - order by family, then value: <0, 0, >0. */
int dp_addr_cmp(const struct dp_addr *a, const struct dp_addr *b);

/* dp_addr_add() - @addr + @n, carry included; the caller stays inside the family's width. */
struct dp_addr dp_addr_add(const struct dp_addr *addr, uint64_t n);

/**
 * dp_prefix_parse() - "address/length"; host bits are kept as given
 *
 * Return: 0; -EINVAL not of that form; -ERANGE length too large for the family.
 */
DP_NODISCARD int dp_prefix_parse(const char *s, struct dp_prefix *ret_prefix);

/* dp_prefix_format() - "address/length" into @buf; returns @buf. */
const char *dp_prefix_format(const struct dp_prefix *p, char buf[static DP_PREFIX_STRLEN]);

/* dp_prefix_masked() - @p with all host bits cleared. */
struct dp_prefix dp_prefix_masked(const struct dp_prefix *p);

/* dp_prefix_last() - the highest address of @p (IPv4: its broadcast address, if it has one). */
struct dp_addr dp_prefix_last(const struct dp_prefix *p);

/* dp_prefix_equal() - same family, length and masked address. */
bool dp_prefix_equal(const struct dp_prefix *a, const struct dp_prefix *b);

/* dp_prefix_has_addr() - @a lies in @p (same family). */
bool dp_prefix_has_addr(const struct dp_prefix *p, const struct dp_addr *a);

/* dp_prefix_contains() - every address of @inner lies in @outer. */
bool dp_prefix_contains(const struct dp_prefix *outer, const struct dp_prefix *inner);

/* dp_prefix_overlaps() - @a and @b share an address. Prefixes overlap only by nesting. */
bool dp_prefix_overlaps(const struct dp_prefix *a, const struct dp_prefix *b);

#endif
