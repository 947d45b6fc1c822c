/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_OPERATOR_INTERNAL_H
#define DP_IPAM_OPERATOR_INTERNAL_H

/*
 * What the operators' methods share. operator.c has their tables; operator_list.c, operator_change.c
 * and operator_check.c answer them; operator_show.c prints the answers, in the command's process.
 *
 * Whatever is listed comes in pages, each within a turn of its own, so that neither the loop nor the
 * memory feels a million leases. A page says in "Next" where the following one begins: a position,
 * that is numbers separated by colons, whose meaning is the method's.
 */

#include "ipam/driver_internal.h"

enum {
	IPAM_OP_TIME_SIZE = 24,
	IPAM_OP_MAX_NUMBERS = 6, /* of a position */
};

/* The fields of all methods; each method's schema says which it takes. */
struct ipam_op_args {
	const char *pool;
	const char *range;
	const char *address;
	const char *to;
	const char *name;
	const char *mac;
	const char *at;
	const char *after;
};

/* ipam_op_format_time() - as 2026-11-24T12:03:10Z. Return: @buf. */
const char *ipam_op_format_time(int64_t seconds, char buf[static IPAM_OP_TIME_SIZE]);

/* ipam_op_parse_time() - 2026-11-24T12:03, 2026-11-24 12:03:10 or 12:03 (today), all in UTC, with or without
 * a Z. Return: 0; -EINVAL. */
DP_NODISCARD int ipam_op_parse_time(const char *text, int64_t *ret_seconds, struct dp_error *err);

/* ipam_op_parse_position() - where a page begins. Numbers that @text (NULL: the first page) lacks are 0.
 * Return: 0; -EINVAL. */
DP_NODISCARD int ipam_op_parse_position(const char *text,
					uint64_t ret_v[static IPAM_OP_MAX_NUMBERS],
					struct dp_error *err);

/* ipam_op_set_next() - say in @reply where the next page begins. Return: 0; -1 if memory ran out. */
DP_NODISCARD int ipam_op_set_next(json_t *reply, const uint64_t v[static IPAM_OP_MAX_NUMBERS]);

/* ipam_op_number() - a JSON integer; JSON has no more than 63 bits. */
json_t *ipam_op_number(uint64_t v);

/* ipam_op_nth_subnet() - all subnets of all books, one after the other; NULL behind the last. */
struct ipam_subnet *ipam_op_nth_subnet(const struct ipam_driver *d, uint64_t n);

/* ipam_op_is_of_pool() - does @subnet have a pool of that PoolID, or is that its prefix? NULL: any. */
bool ipam_op_is_of_pool(const struct ipam_subnet *subnet, const char *pool);

/* ipam_op_find_subnet() - the one that has @addr (NULL: any) and is @pool's (NULL: any). Return: 0; -ENOENT;
 * -ENOTUNIQ, with what to say instead. */
DP_NODISCARD int ipam_op_find_subnet(const struct ipam_driver *d, const char *pool,
				     const struct dp_addr *addr, struct ipam_subnet **ret_subnet,
				     struct dp_error *err);

/* ipam_op_find_pool() - by PoolID, or by a subnet that has one pool only. Return: as above. */
DP_NODISCARD int ipam_op_find_pool(const struct ipam_driver *d, const char *text,
				   struct ipam_pool **ret_pool, struct dp_error *err);

/* ipam_op_parse_address() - an operand. Return: 0; -EINVAL. */
DP_NODISCARD int ipam_op_parse_address(const char *text, struct dp_addr *ret_addr,
				       struct dp_error *err);

/* ipam_op_say() - the answer is this sentence, which is logged, too: somebody changed something. */
DP_PRINTF(2, 3) void ipam_op_say(struct dp_call *call, const char *fmt, ...);

/* ---- the methods; @req is a struct ipam_op_args ---- */

DP_NODISCARD int ipam_on_status(void *ctx, struct dp_call *call, const void *req,
				struct dp_error *err);
DP_NODISCARD int ipam_on_leases(void *ctx, struct dp_call *call, const void *req,
				struct dp_error *err);
DP_NODISCARD int ipam_on_history(void *ctx, struct dp_call *call, const void *req,
				 struct dp_error *err);
DP_NODISCARD int ipam_on_map(void *ctx, struct dp_call *call, const void *req,
			     struct dp_error *err);
DP_NODISCARD int ipam_on_check(void *ctx, struct dp_call *call, const void *req,
			       struct dp_error *err);
DP_NODISCARD int ipam_on_ranges(void *ctx, struct dp_call *call, const void *req,
				struct dp_error *err);
DP_NODISCARD int ipam_on_reserve(void *ctx, struct dp_call *call, const void *req,
				 struct dp_error *err);
DP_NODISCARD int ipam_on_exclude(void *ctx, struct dp_call *call, const void *req,
				 struct dp_error *err);
DP_NODISCARD int ipam_on_include(void *ctx, struct dp_call *call, const void *req,
				 struct dp_error *err);
DP_NODISCARD int ipam_on_extend(void *ctx, struct dp_call *call, const void *req,
				struct dp_error *err);
DP_NODISCARD int ipam_on_release(void *ctx, struct dp_call *call, const void *req,
				 struct dp_error *err);
DP_NODISCARD int ipam_on_move(void *ctx, struct dp_call *call, const void *req,
			      struct dp_error *err);

#endif
