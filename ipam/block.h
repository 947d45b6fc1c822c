/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_BLOCK_H
#define DP_IPAM_BLOCK_H

/*
 * Ranges of a subnet that dynamic picks leave alone, whatever their size: a /8 costs what one
 * address costs.
 *
 *   excluded: somebody else's. Not even --ip gets one, a gateway does.
 *   reserved: kept for people. --ip gets one; a range of one address may be kept for a container
 *             by its name or MAC, which then gets it without asking.
 *
 * A list is sorted and its ranges never overlap. A pick that meets a range goes on behind it, so it
 * costs at most one step for each range it passes; hence the limit. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/inaddr.h"

enum { IPAM_MAX_BLOCKS = 1024 }; /* ranges a subnet */

struct ipam_range {
	struct dp_addr first;
	struct dp_addr last; /* inclusive */
};

enum { IPAM_RANGE_STRLEN = 2 * DP_ADDR_STRLEN + 1 }; /* bytes for ipam_range_format() */

struct ipam_block {
	struct ipam_range range;
	bool reserved; /* else excluded */
	char *name;    /* container it is reserved for; "" = nobody's in particular; owned */
	char *mac;     /* the same by MAC, as "02:42:0a:00:00:02"; owned */
};

/* Zeroed = empty. */
struct ipam_block_list {
	struct ipam_block *items; /* sorted by range.first */
	size_t n;
	size_t n_slots;
	size_t n_owned; /* those with a name or MAC */
};

/**
 * ipam_range_parse() - "10.0.0.1-10.0.0.20", "10.0.0.99", "10.0.0.16/28"
 * @what: names the value in the complaint: "exclude"
 *
 * Return: 0; -EINVAL (DP_ERR_INVALID) not of these forms, or its end is before its beginning.
 */
DP_NODISCARD int ipam_range_parse(const char *what, const char *text, struct ipam_range *ret_range,
				  struct dp_error *err);

/* ipam_range_format() - "first-last", or the one address, into @buf; returns @buf. */
const char *ipam_range_format(const struct ipam_range *range, char buf[static IPAM_RANGE_STRLEN]);

/* ipam_range_has() - @addr lies in @range. */
bool ipam_range_has(const struct ipam_range *range, const struct dp_addr *addr);

/**
 * ipam_block_add() - keep a range
 * @name, @mac: copied; "" = none
 *
 * Return: 0; -EEXIST (DP_ERR_CONFLICT) it overlaps one that is kept, which is named; -E2BIG
 *         (DP_ERR_EXHAUSTED) IPAM_MAX_BLOCKS; -ENOMEM.
 */
DP_NODISCARD int ipam_block_add(struct ipam_block_list *list, const struct ipam_range *range,
				bool reserved, const char *name, const char *mac,
				struct dp_error *err);

/* ipam_block_remove() - Return: true if exactly @range was kept; it is no longer. */
bool ipam_block_remove(struct ipam_block_list *list, const struct ipam_range *range);

/* ipam_block_at() - the range that @addr lies in; NULL if none. O(log n). */
const struct ipam_block *ipam_block_at(const struct ipam_block_list *list,
				       const struct dp_addr *addr);

/* ipam_block_of() - the reservation of the container with that name or MAC ("" = unknown); NULL if
 * none. O(n), and O(1) where nothing is reserved for anybody. */
const struct ipam_block *ipam_block_of(const struct ipam_block_list *list, const char *name,
				       const char *mac);

/* ipam_block_list_done() - frees what the list holds. */
void ipam_block_list_done(struct ipam_block_list *list);

#endif
