/* SPDX-License-Identifier: Apache-2.0 */

/* The books: who may be added, generations, choosing; by example and beside a naive model. */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipam/space.h"
#include "tests/support/failalloc.h"
#include "tests/support/random.h"

static struct ipam_space *space_new(void)
{
	struct ipam_space *space = NULL;

	assert_int_equal(ipam_space_new(&space), 0);
	return space;
}

static struct dp_prefix prefix(const char *s)
{
	struct dp_prefix p;

	assert_int_equal(dp_prefix_parse(s, &p), 0);
	return p;
}

static struct ipam_pool_id ident(const char *s)
{
	struct ipam_pool_id id;

	assert_int_equal(ipam_pool_id_parse(s, &id, NULL), 0);
	return id;
}

static struct ipam_pool *request(struct ipam_space *space, const char *pool_id)
{
	struct ipam_pool_id id = ident(pool_id);
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool_grant grant;

	if (ipam_space_request_pool(space, &id, false, &grant, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(grant.new_pool);
	return grant.pool;
}

static void assert_refused(struct ipam_space *space, const char *pool_id, bool may_replay,
			   const char *want)
{
	struct ipam_pool_id id = ident(pool_id);
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool_grant grant = { .pool = NULL };
	char msg[512];

	if (ipam_space_request_pool(space, &id, may_replay, &grant, &err) != -EEXIST)
		fail_msg("granted: %s", pool_id);
	assert_null(grant.pool);
	assert_int_equal(err.kind, DP_ERR_CONFLICT);
	(void)snprintf(msg, sizeof msg, "Pool overlaps with other one on this address space: %s",
		       want);
	assert_string_equal(err.msg, msg);
}

static bool known(struct ipam_space *space, const char *pool_id)
{
	struct ipam_pool *pool;

	return ipam_space_pool_by_text(space, pool_id, &pool, NULL) == 0;
}

/* ---- overlap ---- */

static void a_pool_without_range_must_not_overlap_any_other(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();

	(void)state;
	request(space, "local/10.1.0.0/16");
	request(space, "local/10.2.5.0/24");
	request(space, "local/10.2.6.0/24");
	request(space, "local/10.3.0.0/16/10.3.9.0/24");
	request(space, "local/fd00::/64");
	assert_refused(space, "local/10.1.0.0/16", false,
		       "10.1.0.0/16 overlaps 10.1.0.0/16 (pool local/10.1.0.0/16)");
	assert_refused(space, "local/10.1.0.0/24", false,
		       "10.1.0.0/24 overlaps 10.1.0.0/16 (pool local/10.1.0.0/16)");
	assert_refused(space, "local/10.1.255.252/30", false,
		       "10.1.255.252/30 overlaps 10.1.0.0/16 (pool local/10.1.0.0/16)");
	assert_refused(space, "local/10.2.0.0/16", false,
		       "10.2.0.0/16 overlaps 10.2.5.0/24 (pool local/10.2.5.0/24)");
	assert_refused(space, "local/10.3.0.0/16", false,
		       "10.3.0.0/16 overlaps 10.3.0.0/16 (pool local/10.3.0.0/16/10.3.9.0/24)");
	assert_refused(space, "local/10.0.0.0/8", false,
		       "10.0.0.0/8 overlaps 10.1.0.0/16 (pool local/10.1.0.0/16)");
	assert_refused(space, "local/fd00::/48", false,
		       "fd00::/48 overlaps fd00::/64 (pool local/fd00::/64)");
	assert_refused(space, "local/fd00::8/126", false,
		       "fd00::8/126 overlaps fd00::/64 (pool local/fd00::/64)");
	request(space, "local/10.0.0.0/16");
	request(space, "local/10.2.4.0/24");
	request(space, "local/fd00:0:0:1::/64");
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 8);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_GLOBAL), 0);
}

static void a_pool_with_range_may_share_the_subnet_that_is_exactly_equal(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool *a = request(space, "local/10.1.0.0/24");
	struct ipam_pool *b = request(space, "local/10.1.0.0/24/10.1.0.128/25");
	struct ipam_pool *c = request(space, "local/10.1.0.0/24/10.1.0.128/26"); /* may overlap */

	(void)state;
	assert_ptr_equal(ipam_pool_subnet(a), ipam_pool_subnet(b));
	assert_ptr_equal(ipam_pool_subnet(a), ipam_pool_subnet(c));
	assert_refused(space, "local/10.1.0.0/24/10.1.0.128/25", false,
		       "10.1.0.0/24 overlaps 10.1.0.0/24 (pool local/10.1.0.0/24/10.1.0.128/25)");
	assert_refused(space, "local/10.1.0.0/23/10.1.0.128/25", false,
		       "10.1.0.0/23 overlaps 10.1.0.0/24 (pool local/10.1.0.0/24)");
	assert_refused(space, "local/10.1.0.128/25/10.1.0.128/26", false,
		       "10.1.0.128/25 overlaps 10.1.0.0/24 (pool local/10.1.0.0/24)");
	assert_false(ipam_space_release_pool(space, a));
	assert_false(known(space, "local/10.1.0.0/24"));
	assert_refused(space, "local/10.1.0.0/24", false,
		       "10.1.0.0/24 overlaps 10.1.0.0/24 (pool local/10.1.0.0/24/10.1.0.128/25)");
	assert_false(ipam_space_release_pool(space, c));
	assert_true(ipam_space_release_pool(space, b));
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 0);
	request(space, "local/10.1.0.0/24");
}

static void books_and_tenants_are_kept_apart(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();

	(void)state;
	request(space, "local/10.1.0.0/24");
	request(space, "global/10.1.0.0/24");
	request(space, "global/10.1.0.0/24@red");
	request(space, "global/10.1.0.0/16@blue");
	request(space, "global/10.0.0.0/8@green");
	assert_refused(space, "global/10.1.0.0/25@red", false,
		       "10.1.0.0/25 overlaps 10.1.0.0/24 (pool global/10.1.0.0/24@red)");
	assert_refused(space, "global/10.1.0.0/25@green", false,
		       "10.1.0.0/25 overlaps 10.0.0.0/8 (pool global/10.0.0.0/8@green)");
	assert_refused(space, "global/10.0.0.0/8@blue", false,
		       "10.0.0.0/8 overlaps 10.1.0.0/16 (pool global/10.1.0.0/16@blue)");
	request(space, "global/10.1.0.0/24@re");
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 1);
	assert_int_equal(ipam_space_n_subnets(space, IPAM_GLOBAL), 5);
}

static void a_pool_is_found_by_its_exact_name_only(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool *a = request(space, "local/10.1.0.0/24/10.1.0.64/26@red");
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool *pool = NULL;

	(void)state;
	assert_int_equal(ipam_space_pool_by_text(space, "local/10.1.0.0/24/10.1.0.64/26@red", &pool,
						 NULL),
			 0);
	assert_ptr_equal(pool, a);
	assert_int_equal(ipam_space_pool_by_text(space, "local/10.1.0.0/24@red", &pool, &err),
			 -ENOENT);
	assert_int_equal(err.kind, DP_ERR_NOT_FOUND);
	assert_string_equal(err.msg, "cannot find address pool for poolID:local/10.1.0.0/24@red");
	assert_int_equal(ipam_space_pool_by_text(space, "", &pool, &err), -EINVAL);
	assert_string_equal(err.msg, "invalid pool id: \"\"");
	assert_false(known(space, "local/10.1.0.0/24/10.1.0.64/26"));
	assert_false(known(space, "global/10.1.0.0/24/10.1.0.64/26@red"));
	assert_false(known(space, "local/10.1.0.0/24/10.1.0.64/27@red"));
	assert_ptr_equal(pool, a);
}

static void a_pool_that_was_asked_for_a_moment_ago_is_unknown_once_it_is_released(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool *first = request(space, "local/10.1.0.0/24");
	struct ipam_pool *pool;

	(void)state;
	(void)request(space, "local/10.1.0.0/24/10.1.0.64/26");
	assert_true(known(space, "local/10.1.0.0/24"));
	assert_false(ipam_space_release_pool(space, first)); /* its subnet stays */
	assert_false(known(space, "local/10.1.0.0/24"));
	assert_int_equal(ipam_space_pool_by_text(space, "local/10.1.0.0/24/10.1.0.64/26", &pool, NULL), 0);
	assert_true(ipam_space_release_pool(space, pool));
	assert_false(known(space, "local/10.1.0.0/24/10.1.0.64/26"));
}

/* ---- generations ---- */

static void a_replay_is_granted_once_a_generation_and_only_where_allowed(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool_id id = ident("global/10.1.0.0/24");
	struct ipam_pool *a = request(space, "global/10.1.0.0/24");
	const char *want = "10.1.0.0/24 overlaps 10.1.0.0/24 (pool global/10.1.0.0/24)";
	struct ipam_pool_grant grant;

	(void)state;
	assert_refused(space, "global/10.1.0.0/24", true, want);
	assert_int_equal(ipam_space_new_generation(space), 2);
	assert_refused(space, "global/10.1.0.0/24", false, want);
	assert_int_equal(ipam_pool_generation(a), 1);
	assert_int_equal(ipam_space_request_pool(space, &id, true, &grant, NULL), 0);
	assert_ptr_equal(grant.pool, a);
	assert_false(grant.new_pool);
	assert_false(grant.new_subnet);
	assert_int_equal(ipam_pool_generation(a), 2);
	assert_refused(space, "global/10.1.0.0/24", true, want);

	/* A replay of something else that overlaps is no replay. */
	ipam_space_new_generation(space);
	assert_refused(space, "global/10.1.0.0/25", true,
		       "10.1.0.0/25 overlaps 10.1.0.0/24 (pool global/10.1.0.0/24)");
	assert_int_equal(ipam_space_request_pool(space, &id, true, &grant, NULL), 0);
}

static void every_network_of_a_shared_subnet_is_replayed_by_itself(void **state)
{
	static const char *const ids[] = { "global/10.1.0.0/24/10.1.0.0/25",
					   "global/10.1.0.0/24/10.1.0.128/25" };
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool *pools[2];

	(void)state;
	for (size_t i = 0; i < 2; i++)
		pools[i] = request(space, ids[i]);
	ipam_space_new_generation(space);
	for (size_t i = 0; i < 2; i++) {
		struct ipam_pool_id id = ident(ids[i]);
		struct ipam_pool_grant grant;

		assert_int_equal(ipam_space_request_pool(space, &id, true, &grant, NULL), 0);
		assert_ptr_equal(grant.pool, pools[i]);
		assert_int_equal(ipam_space_request_pool(space, &id, true, &grant, NULL), -EEXIST);
	}
}

/* ---- loading ---- */

static void loaded_pools_keep_their_ids_and_new_ones_get_larger(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool_id a = ident("local/10.1.0.0/24/10.1.0.0/25");
	struct ipam_pool_id b = ident("local/10.1.0.0/24");
	struct ipam_pool_id c = ident("global/10.9.0.0/24");
	struct ipam_pool *pool;

	(void)state;
	ipam_space_set_generation(space, 9);
	/* In any order: the pool without range after the one that shares its subnet. */
	assert_int_equal(ipam_space_load_pool(space, &a, 40, 7, 9, &pool, NULL), 0);
	assert_int_equal(ipam_space_load_pool(space, &b, 40, 5, 8, NULL, NULL), 0);
	assert_int_equal(ipam_space_load_pool(space, &c, 12, 6, 9, NULL, NULL), 0);
	assert_int_equal(ipam_pool_rowid(pool), 7);
	assert_int_equal(ipam_pool_generation(pool), 9);
	assert_ptr_equal(ipam_space_subnet_by_id(space, 40), ipam_pool_subnet(pool));
	assert_int_equal(ipam_subnet_n_pools(ipam_pool_subnet(pool)), 2);
	assert_non_null(ipam_space_subnet_by_id(space, 12));
	assert_null(ipam_space_subnet_by_id(space, 13));
	assert_null(ipam_space_subnet_by_id(space, 41));
	pool = request(space, "local/10.2.0.0/24");
	assert_int_equal(ipam_pool_rowid(pool), 8);
	assert_int_equal(ipam_subnet_id(ipam_pool_subnet(pool)), 41);
	assert_int_equal(ipam_pool_generation(pool), 9);
	assert_ptr_equal(ipam_space_subnet_by_id(space, 41), ipam_pool_subnet(pool));
	assert_true(ipam_space_release_pool(space, pool));
	assert_null(ipam_space_subnet_by_id(space, 41));
	pool = request(space, "local/10.2.0.0/24");
	assert_int_equal(ipam_subnet_id(ipam_pool_subnet(pool)), 42); /* never used twice */
}

static void rows_that_contradict_each_other_are_refused(void **state)
{
	static const struct {
		const char *id;
		int64_t subnet_rowid;
		int64_t pool_rowid;
	} cases[] = {
		{ "local/10.1.0.0/24", 1, 3 },             /* twice */
		{ "local/10.1.0.0/25", 2, 3 },             /* overlap */
		{ "local/10.1.0.0/24/10.1.0.0/25", 2, 3 }, /* one subnet, two ids */
		{ "local/10.2.0.0/24", 1, 3 },             /* two subnets, one id */
		{ "local/10.2.0.0/24", 0, 3 },
		{ "local/10.2.0.0/24", 2, 0 },
	};
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool_id first = ident("local/10.1.0.0/24");

	(void)state;
	assert_int_equal(ipam_space_load_pool(space, &first, 1, 1, 1, NULL, NULL), 0);
	for (size_t i = 0; i < DP_ARRAY_LEN(cases); i++) {
		struct ipam_pool_id id = ident(cases[i].id);
		struct dp_error err = DP_ERROR_INIT;

		assert_int_equal(ipam_space_load_pool(space, &id, cases[i].subnet_rowid,
						      cases[i].pool_rowid, 1, NULL, &err),
				 -EUCLEAN);
		assert_int_equal(err.kind, DP_ERR_INTERNAL);
		assert_non_null(strstr(err.msg, cases[i].id));
	}
	assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), 1);
}

static void a_released_subnet_has_nothing_to_write_any_more(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_pool *a = request(space, "local/10.1.0.0/24");
	struct ipam_pool *b = request(space, "local/10.2.0.0/24");
	struct ipam_pool *c = request(space, "global/10.3.0.0/24");
	struct ipam_dirty_chunk chunk;
	struct dp_addr addr;

	(void)state;
	assert_int_equal(ipam_pool_pick(a, false, &addr, NULL), 0);
	assert_int_equal(ipam_pool_pick(b, false, &addr, NULL), 0);
	assert_int_equal(ipam_pool_pick(c, false, &addr, NULL), 0);
	assert_true(ipam_space_release_pool(space, b));
	assert_true(ipam_space_pop_dirty(space, &chunk));
	assert_int_equal(chunk.subnet_id, ipam_subnet_id(ipam_pool_subnet(a)));
	assert_true(ipam_space_pop_dirty(space, &chunk));
	assert_int_equal(chunk.subnet_id, ipam_subnet_id(ipam_pool_subnet(c)));
	assert_int_equal(chunk.bytes[0], 2);
	assert_false(ipam_space_pop_dirty(space, &chunk));
}

/* ---- choosing ---- */

static struct ipam_default_pool base(const char *s, unsigned size)
{
	return (struct ipam_default_pool){ .base = prefix(s), .size = size };
}

static void assert_chosen(struct ipam_space *space, const struct ipam_choice *choice,
			  const char *want)
{
	char text[DP_PREFIX_STRLEN];
	struct dp_error err = DP_ERROR_INIT;
	struct dp_prefix p;

	if (ipam_space_choose(space, choice, &p, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(dp_prefix_format(&p, text), want);
}

static void the_lowest_free_prefix_of_the_first_base_is_chosen(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_default_pool bases[] = { base("172.17.0.0/16", 16), base("172.20.0.0/14", 16),
					     base("192.168.0.0/16", 20) };
	struct ipam_choice choice = { .bases = bases, .n_bases = 3 };
	struct dp_prefix p;
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool *pool;

	(void)state;
	assert_chosen(space, &choice, "172.17.0.0/16");
	assert_chosen(space, &choice, "172.17.0.0/16"); /* nothing was claimed */
	request(space, "local/172.17.0.0/16");
	assert_chosen(space, &choice, "172.20.0.0/16");
	pool = request(space, "local/172.20.3.0/24"); /* smaller than what is cut */
	assert_chosen(space, &choice, "172.21.0.0/16");
	request(space, "local/172.22.0.0/15@red"); /* larger, and another tenant's */
	assert_chosen(space, &choice, "172.21.0.0/16");
	request(space, "local/172.21.0.0/16");
	assert_chosen(space, &choice, "192.168.0.0/20");
	ipam_space_release_pool(space, pool);
	assert_chosen(space, &choice, "172.20.0.0/16");
	request(space, "local/172.16.0.0/12@blue"); /* holds two of the bases */
	assert_chosen(space, &choice, "192.168.0.0/20");
	request(space, "local/192.168.15.252/30");
	assert_chosen(space, &choice, "192.168.16.0/20");
	request(space, "local/192.168.0.0/16@blue");
	assert_int_equal(ipam_space_choose(space, &choice, &p, &err), -ENOSPC);
	assert_int_equal(err.kind, DP_ERR_EXHAUSTED);
	assert_string_equal(err.msg, "all predefined address pools have been fully subnetted "
				     "(local address space)");
	choice.book = IPAM_GLOBAL;
	assert_chosen(space, &choice, "172.17.0.0/16");
}

static void what_the_host_uses_is_avoided(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_default_pool bases[] = { base("172.16.0.0/12", 16) };
	struct dp_prefix avoid[] = { prefix("172.17.9.1/32"), prefix("fd00::/8"),
				     prefix("172.16.0.0/24"), prefix("172.18.0.0/15") };
	struct ipam_choice choice = { .bases = bases, .n_bases = 1, .avoid = avoid, .n_avoid = 4 };
	struct dp_prefix p;

	(void)state;
	assert_chosen(space, &choice, "172.20.0.0/16");
	request(space, "local/172.20.0.0/16");
	assert_chosen(space, &choice, "172.21.0.0/16");
	avoid[0] = prefix("172.0.0.0/8");
	assert_int_equal(ipam_space_choose(space, &choice, &p, NULL), -ENOSPC);
}

static void a_prefix_of_the_size_asked_for_is_carved_out(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_default_pool bases[] = { base("192.168.0.0/16", 20), base("10.0.0.0/8", 24) };
	struct ipam_default_pool bases6[] = { base("fd11:2233:4455::/48", 64) };
	struct ipam_choice choice = { .bases = bases, .n_bases = 2, .len = 28 };
	struct ipam_choice choice6 = { .bases = bases6, .n_bases = 1, .len = 56 };
	struct dp_error err = DP_ERROR_INIT;
	struct dp_prefix p;

	(void)state;
	assert_chosen(space, &choice, "192.168.0.0/28");
	request(space, "local/192.168.0.0/28");
	assert_chosen(space, &choice, "192.168.0.16/28");
	choice.len = 12;
	assert_chosen(space, &choice, "10.0.0.0/12");
	choice.len = 16;
	assert_chosen(space, &choice, "10.0.0.0/16"); /* 192.168/16 is not all free */
	request(space, "local/10.0.0.0/9");
	request(space, "local/10.128.0.0/9");
	assert_int_equal(ipam_space_choose(space, &choice, &p, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "no /16 is left"));
	choice.len = 7;
	assert_int_equal(ipam_space_choose(space, &choice, &p, &err), -EINVAL);
	assert_int_equal(err.kind, DP_ERR_INVALID);
	choice.len = 33;
	assert_int_equal(ipam_space_choose(space, &choice, &p, &err), -EINVAL);
	choice.len = 32;
	assert_chosen(space, &choice, "192.168.0.16/32");
	assert_chosen(space, &choice6, "fd11:2233:4455::/56");
	request(space, "local/fd11:2233:4455:1::/64");
	assert_chosen(space, &choice6, "fd11:2233:4455:100::/56");
}

static void the_end_of_the_address_space_is_an_end(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_default_pool bases[] = { base("255.255.255.0/24", 25) };
	struct ipam_default_pool bases6[] = { base("ffff:ffff:ffff:ffff::/64", 65) };
	struct ipam_choice choice = { .bases = bases, .n_bases = 1 };
	struct ipam_choice choice6 = { .bases = bases6, .n_bases = 1 };
	struct dp_prefix p;

	(void)state;
	request(space, "local/255.255.255.0/25");
	request(space, "local/ffff:ffff:ffff:ffff::/65");
	assert_chosen(space, &choice, "255.255.255.128/25");
	assert_chosen(space, &choice6, "ffff:ffff:ffff:ffff:8000::/65");
	request(space, "local/255.255.255.255/32");
	request(space, "local/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
	assert_int_equal(ipam_space_choose(space, &choice, &p, NULL), -ENOSPC);
	assert_int_equal(ipam_space_choose(space, &choice6, &p, NULL), -ENOSPC);
}

/* What dockerd does while it dislikes the answers: holds each, and asks again. */
/* The @n-th subnet of length @len inside @p, counted from 0. */
static int nth_subnet(const struct dp_prefix *p, unsigned len, uint64_t n, struct dp_prefix *ret)
{
	unsigned shift = dp_addr_bits(p->addr.family) - len; /* n counts units of 2^shift */
	struct dp_prefix r = dp_prefix_masked(p);

	if (len - p->len < 64 && n >> (len - p->len))
		return -ERANGE;
	if (shift >= 64) {
		r.addr.hi |= shift < 128 ? n << (shift - 64) : 0;
	} else {
		r.addr.lo |= n << shift;
		r.addr.hi |= shift ? n >> (64 - shift) : 0;
	}
	r.len = len;
	*ret = r;
	return 0;
}

static void thousands_of_held_answers_are_all_different(void **state)
{
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct ipam_default_pool bases[] = { base("10.0.0.0/8", 20), base("fd00::/48", 64) };
	struct ipam_choice choice = { .bases = bases, .n_bases = 1 };
	struct ipam_pool_grant grant;
	struct dp_prefix p;

	(void)state;
	for (unsigned i = 0; i < 4096; i++) {
		struct ipam_pool_id id;
		struct dp_prefix want;

		assert_int_equal(ipam_space_choose(space, &choice, &p, NULL), 0);
		assert_int_equal(nth_subnet(&bases[0].base, 20, i, &want), 0);
		assert_true(dp_prefix_equal(&p, &want));
		assert_int_equal(ipam_pool_id_make(IPAM_LOCAL, "", &p, NULL, &id, NULL), 0);
		assert_int_equal(ipam_space_request_pool(space, &id, false, &grant, NULL), 0);
	}
	assert_int_equal(ipam_space_choose(space, &choice, &p, NULL), -ENOSPC);
	choice.bases++;
	assert_chosen(space, &choice, "fd00::/64");
}

/* ---- out of memory ---- */

static void a_request_that_runs_out_of_memory_changes_nothing(void **state)
{
	static const char *const ids[] = { "local/10.1.0.0/24", "local/10.2.0.0/24/10.2.0.64/26" };
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = NULL;
	struct ipam_pool *shared;

	(void)state;
	fail_alloc_nth(1);
	assert_int_equal(ipam_space_new(&space), -ENOMEM);
	assert_true(fail_alloc_stop());
	for (size_t i = 0; i < 2; i++) {
		struct ipam_pool_id id = ident(ids[i]);
		unsigned nth = 1;

		ipam_space_free(space);
		space = space_new();
		/* The second case adds to a subnet that is there. */
		shared = i == 1 ? request(space, "local/10.2.0.0/24") : NULL;
		for (;; nth++) {
			struct ipam_pool_grant grant = { .pool = NULL };
			struct dp_error err = DP_ERROR_INIT;
			int r;

			fail_alloc_nth(nth);
			r = ipam_space_request_pool(space, &id, false, &grant, &err);
			if (!fail_alloc_stop()) {
				assert_int_equal(r, 0);
				break;
			}
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(err.kind, DP_ERR_INTERNAL);
			assert_null(grant.pool);
			assert_false(known(space, ids[i]));
			assert_int_equal(ipam_space_n_subnets(space, IPAM_LOCAL), i);
			assert_true(!shared || ipam_subnet_n_pools(ipam_pool_subnet(shared)) == 1);
		}
		assert_true(nth > (i == 0 ? 4 : 2));
		assert_true(known(space, ids[i]));
	}
}

/* ---- beside a naive model ---- */

enum { MAX_POOLS = 300 };

struct model {
	struct ipam_pool_id ids[MAX_POOLS];
	uint64_t generations[MAX_POOLS];
	size_t n;
	uint64_t generation;
};

static size_t model_find(const struct model *m, const struct ipam_pool_id *id)
{
	size_t i = 0;

	while (i < m->n && !ipam_pool_id_equal(&m->ids[i], id))
		i++;
	return i;
}

static int model_request(struct model *m, const struct ipam_pool_id *id, bool may_replay)
{
	size_t i = model_find(m, id);

	if (i < m->n) {
		if (!may_replay || m->generations[i] == m->generation)
			return -EEXIST;
		m->generations[i] = m->generation;
		return 0;
	}
	for (i = 0; i < m->n; i++) {
		const struct ipam_pool_id *other = &m->ids[i];

		if (other->book == id->book && !strcmp(other->tenant, id->tenant) &&
		    dp_prefix_overlaps(&other->pool, &id->pool) &&
		    !(id->range.addr.family && dp_prefix_equal(&other->pool, &id->pool)))
			return -EEXIST;
	}
	assert_true(m->n < MAX_POOLS);
	m->ids[m->n] = *id;
	m->generations[m->n++] = m->generation;
	return 0;
}

static int model_choose(const struct model *m, const struct ipam_choice *choice,
			struct dp_prefix *ret_prefix)
{
	bool is_possible = !choice->len;

	for (size_t b = 0; b < choice->n_bases; b++) {
		const struct ipam_default_pool *d = &choice->bases[b];
		unsigned len = choice->len ? choice->len : d->size;
		struct dp_prefix p;

		if (len < d->base.len)
			continue;
		is_possible = true;
		for (uint64_t n = 0; nth_subnet(&d->base, len, n, &p) == 0; n++) {
			bool is_free = true;

			for (size_t i = 0; i < m->n; i++)
				is_free = is_free && !(m->ids[i].book == choice->book &&
						       dp_prefix_overlaps(&m->ids[i].pool, &p));
			for (size_t i = 0; i < choice->n_avoid; i++)
				is_free = is_free && !dp_prefix_overlaps(&choice->avoid[i], &p);
			if (is_free) {
				*ret_prefix = p;
				return 0;
			}
		}
	}
	return is_possible ? -ENOSPC : -EINVAL;
}

static struct dp_prefix random_prefix(uint64_t *rng, const struct dp_prefix *within, unsigned max)
{
	unsigned len = within->len + (unsigned)random_below(rng, max - within->len + 1);
	struct dp_prefix p;

	assert_int_equal(nth_subnet(within, len,
				       random_below(rng, UINT64_C(1) << (len - within->len)), &p),
			 0);
	return p;
}

static void random_walk(const struct dp_prefix *world, uint64_t rng)
{
	static const char *const tenants[] = { "", "a", "b" };
	DP_CLEANUP(ipam_space_freep) struct ipam_space *space = space_new();
	struct model *m = calloc(1, sizeof *m);
	unsigned max = world->len + 8;

	assert_non_null(m);
	m->generation = 1;
	for (unsigned step = 0; step < 20000; step++) {
		enum ipam_book book = random_below(&rng, 2) ? IPAM_GLOBAL : IPAM_LOCAL;

		switch (random_below(&rng, 8)) {
		case 0:
		case 1:
		case 2:
		case 3: {
			struct dp_prefix pool = random_prefix(&rng, world, max);
			struct dp_prefix range = random_prefix(&rng, &pool, max);
			bool may_replay = random_below(&rng, 2);
			struct ipam_pool_grant grant;
			struct ipam_pool_id id;
			size_t n = m->n;

			if (m->n > MAX_POOLS - 10)
				break;
			if (random_below(&rng, 3) == 0)
				range.addr.family = AF_UNSPEC;
			if (random_below(&rng, 3) == 0 && m->n) { /* something that is there */
				id = m->ids[random_below(&rng, m->n)];
			} else if (ipam_pool_id_make(book, tenants[random_below(&rng, 3)], &pool,
						     &range, &id, NULL) < 0) {
				break; /* the range is only the network or broadcast address */
			}
			int r = model_request(m, &id, may_replay);

			assert_int_equal(
				ipam_space_request_pool(space, &id, may_replay, &grant, NULL), r);
			if (r == 0) {
				assert_true(grant.new_pool == (m->n > n));
				assert_true(ipam_pool_id_equal(ipam_pool_ident(grant.pool), &id));
				assert_int_equal(ipam_pool_generation(grant.pool), m->generation);
			}
			break;
		}
		case 4:
		case 5: {
			size_t i = m->n ? random_below(&rng, m->n) : 0;
			struct ipam_pool *pool;
			bool is_last = true;

			if (!m->n)
				break;
			pool = ipam_space_find_pool(space, &m->ids[i]);
			assert_non_null(pool);
			for (size_t k = 0; k < m->n; k++)
				is_last = is_last &&
					  !(k != i && m->ids[k].book == m->ids[i].book &&
					    !strcmp(m->ids[k].tenant, m->ids[i].tenant) &&
					    dp_prefix_equal(&m->ids[k].pool, &m->ids[i].pool));
			assert_true(ipam_space_release_pool(space, pool) == is_last);
			assert_null(ipam_space_find_pool(space, &m->ids[i]));
			m->ids[i] = m->ids[--m->n];
			m->generations[i] = m->generations[m->n];
			break;
		}
		case 6: {
			struct ipam_default_pool bases[2];
			struct dp_prefix avoid[2];
			struct ipam_choice choice = { .book = book,
						      .bases = bases,
						      .n_bases = 2,
						      .avoid = avoid,
						      .n_avoid = random_below(&rng, 3) };
			struct dp_prefix want = *world;
			struct dp_prefix got = *world;

			for (unsigned b = 0; b < 2; b++) {
				bases[b].base = random_prefix(&rng, world, max);
				if (random_below(&rng, 2)) /* the same again and again */
					bases[b].base =
						(struct dp_prefix){ world->addr, world->len + b };
				bases[b].size =
					bases[b].base.len +
					(unsigned)random_below(&rng, max + 1 - bases[b].base.len);
				avoid[b] = random_prefix(&rng, world, max);
			}
			if (random_below(&rng, 2))
				choice.len = world->len + (unsigned)random_below(&rng, 9);
			assert_int_equal(ipam_space_choose(space, &choice, &got, NULL),
					 model_choose(m, &choice, &want));
			assert_true(dp_prefix_equal(&got, &want));
			break;
		}
		default:
			if (random_below(&rng, 20) == 0)
				assert_int_equal(ipam_space_new_generation(space), ++m->generation);
			break;
		}
	}
	for (size_t i = 0; i < m->n; i++)
		assert_non_null(ipam_space_find_pool(space, &m->ids[i]));
	free(m);
}

static void random_walks_agree_with_a_naive_model(void **state)
{
	static const char *const worlds[] = { "10.1.0.0/20", "255.255.255.0/24", "0.0.0.0/1",
					      "fd00::/44",   "fd00::/60",        "ffff::/112" };
	uint64_t seed = random_seed(__func__);

	(void)state;
	for (size_t i = 0; i < DP_ARRAY_LEN(worlds); i++) {
		struct dp_prefix world = prefix(worlds[i]);

		random_walk(&world, seed + i);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_without_range_must_not_overlap_any_other),
		cmocka_unit_test(a_pool_with_range_may_share_the_subnet_that_is_exactly_equal),
		cmocka_unit_test(books_and_tenants_are_kept_apart),
		cmocka_unit_test(a_pool_is_found_by_its_exact_name_only),
		cmocka_unit_test(a_pool_that_was_asked_for_a_moment_ago_is_unknown_once_it_is_released),
		cmocka_unit_test(a_replay_is_granted_once_a_generation_and_only_where_allowed),
		cmocka_unit_test(every_network_of_a_shared_subnet_is_replayed_by_itself),
		cmocka_unit_test(loaded_pools_keep_their_ids_and_new_ones_get_larger),
		cmocka_unit_test(rows_that_contradict_each_other_are_refused),
		cmocka_unit_test(a_released_subnet_has_nothing_to_write_any_more),
		cmocka_unit_test(the_lowest_free_prefix_of_the_first_base_is_chosen),
		cmocka_unit_test(what_the_host_uses_is_avoided),
		cmocka_unit_test(a_prefix_of_the_size_asked_for_is_carved_out),
		cmocka_unit_test(the_end_of_the_address_space_is_an_end),
		cmocka_unit_test(thousands_of_held_answers_are_all_different),
		cmocka_unit_test(a_request_that_runs_out_of_memory_changes_nothing),
		cmocka_unit_test(random_walks_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
