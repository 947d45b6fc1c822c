/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The books.
 *
 * The subnets of a book stand in one array, of all tenants, ordered by family, address, length,
 * tenant. Prefixes overlap only by nesting, so in this order a prefix is followed at once by all
 * that lie inside it, and the overlaps of a prefix P are
 *   - those that contain P: at most one place for each shorter length, found by binary search
 *     (lengths that no subnet of the book has are passed over), and
 *   - those inside P: the run that begins where P would stand.
 * Choosing a free prefix walks that run once, stepping past whatever is in the way, in step with
 * the array: O(subnets in the base), whatever the number of prefixes the base could hold; and it
 * begins where the last one ended, as long as no subnet has gone: O(log subnets) while networks
 * are only added.
 *
 * Invariants
 *   (1) subnets of one tenant never overlap;
 *   (2) a subnet has at least one pool; row ids are never used twice in a process's life;
 *   (3) a pool is claimed iff it was heard of in the present generation: beginning one is O(1).
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipam/space.h"

enum { N_LENGTHS = 129 }; /* prefix lengths 0..128 */

struct book {
	struct ipam_subnet **subnets; /* owned, ordered as above */
	size_t n_subnets;
	size_t n_slots;               /* size of @subnets */
	uint32_t n_by_len[N_LENGTHS]; /* subnets of each length, both families together */
	struct {
		struct dp_prefix base;      /* in which the last choice was made; len 0: none */
		struct dp_prefix candidate; /* subnets alone spoil all before this one */
	} hint;
};

struct ipam_space {
	struct book books[IPAM_N_BOOKS];
	struct ipam_subnet **by_rowid; /* the same subnets, ordered by row id */
	size_t n_by_rowid;
	size_t n_rowid_slots;         /* size of @by_rowid */
	struct ipam_dirty_list dirty; /* bitmaps with chunks to write */
	uint64_t generation;          /* the present one, from 1 */
	struct ipam_replay replay;    /* see generation.h */
	int64_t next_subnet_rowid;
	int64_t next_pool_rowid;
	struct ipam_pool *asked_for;  /* that a PoolID named last; NULL: none is known */
};

int ipam_space_new(struct ipam_space **ret_space)
{
	struct ipam_space *space = calloc(1, sizeof *space);

	if (!space)
		return -ENOMEM;
	space->generation = 1;
	space->next_subnet_rowid = 1;
	space->next_pool_rowid = 1;
	*ret_space = space;
	return 0;
}

void ipam_space_free(struct ipam_space *space)
{
	if (!space)
		return;
	for (size_t i = 0; i < space->n_by_rowid; i++)
		ipam_subnet_free(space->by_rowid[i]);
	for (unsigned b = 0; b < IPAM_N_BOOKS; b++)
		free(space->books[b].subnets);
	free(space->by_rowid);
	free(space);
}

uint64_t ipam_space_generation(const struct ipam_space *space)
{
	return space->generation;
}

void ipam_space_set_generation(struct ipam_space *space, uint64_t generation)
{
	space->generation = generation;
}

uint64_t ipam_space_new_generation(struct ipam_space *space)
{
	return ++space->generation;
}

struct ipam_replay *ipam_space_replay(struct ipam_space *space)
{
	return &space->replay;
}

/* ---- the ordered array ---- */

static int cmp_key(const struct ipam_subnet *subnet, const struct dp_prefix *p, const char *tenant)
{
	const struct dp_prefix *q = ipam_subnet_prefix(subnet);
	int c = dp_addr_cmp(&q->addr, &p->addr);

	if (c != 0)
		return c;
	if (q->len != p->len)
		return q->len < p->len ? -1 : 1;
	return strcmp(ipam_subnet_tenant(subnet), tenant);
}

/* Index of the first subnet that does not stand before (@p, @tenant); @p is masked. */
static size_t lower_bound(const struct book *book, const struct dp_prefix *p, const char *tenant)
{
	size_t lo = 0;
	size_t hi = book->n_subnets;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cmp_key(book->subnets[mid], p, tenant) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t rowid_index(const struct ipam_space *space, int64_t rowid)
{
	size_t lo = 0;
	size_t hi = space->n_by_rowid;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ipam_subnet_id(space->by_rowid[mid]) < rowid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int reserve(struct ipam_subnet ***array, size_t n, size_t *n_slots)
{
	size_t n_new = *n_slots ? 2 * *n_slots : 16;
	void *p;

	if (n < *n_slots)
		return 0;
	p = realloc(*array, n_new * sizeof **array);
	if (!p)
		return -ENOMEM;
	*array = p;
	*n_slots = n_new;
	return 0;
}

static void insert_at(struct ipam_subnet **array, size_t *n, size_t i, struct ipam_subnet *subnet)
{
	memmove(&array[i + 1], &array[i], (*n - i) * sizeof *array);
	array[i] = subnet;
	++*n;
}

static void remove_at(struct ipam_subnet **array, size_t *n, size_t i)
{
	--*n;
	memmove(&array[i], &array[i + 1], (*n - i) * sizeof *array);
}

/* ---- look-ups ---- */

struct ipam_subnet *ipam_space_find_overlap(const struct ipam_space *space, enum ipam_book book_no,
					    const char *tenant, const struct dp_prefix *p)
{
	const struct book *book = &space->books[book_no];
	struct dp_prefix key = dp_prefix_masked(p);
	struct dp_prefix outer = key;

	for (outer.len = 0; outer.len < key.len; outer.len++) {
		struct dp_prefix masked;
		size_t i;

		if (!book->n_by_len[outer.len])
			continue;
		masked = dp_prefix_masked(&outer);
		i = lower_bound(book, &masked, tenant);
		if (i < book->n_subnets && !cmp_key(book->subnets[i], &masked, tenant))
			return book->subnets[i];
	}
	for (size_t i = lower_bound(book, &key, ""); i < book->n_subnets; i++) {
		if (!dp_prefix_contains(&key, ipam_subnet_prefix(book->subnets[i])))
			break;
		if (!strcmp(ipam_subnet_tenant(book->subnets[i]), tenant))
			return book->subnets[i];
	}
	return NULL;
}

static struct ipam_subnet *find_subnet(const struct ipam_space *space,
				       const struct ipam_pool_id *id)
{
	const struct book *book = &space->books[id->book];
	size_t i = lower_bound(book, &id->pool, id->tenant);

	return i < book->n_subnets && !cmp_key(book->subnets[i], &id->pool, id->tenant) ?
		       book->subnets[i] :
		       NULL;
}

static struct ipam_pool *find_pool_in(const struct ipam_subnet *subnet,
				      const struct ipam_pool_id *id)
{
	for (size_t i = 0; subnet && i < ipam_subnet_n_pools(subnet); i++) {
		struct ipam_pool *pool = ipam_subnet_pool(subnet, i);

		if (ipam_pool_id_equal(ipam_pool_ident(pool), id))
			return pool;
	}
	return NULL;
}

struct ipam_pool *ipam_space_find_pool(const struct ipam_space *space,
				       const struct ipam_pool_id *id)
{
	return find_pool_in(find_subnet(space, id), id);
}

int ipam_space_pool_by_text(struct ipam_space *space, const char *pool_id,
			    struct ipam_pool **ret_pool, struct dp_error *err)
{
	struct ipam_pool_id id;
	struct ipam_pool *pool;
	int r;

	/* One network's containers come and go together. */
	if (space->asked_for && !strcmp(ipam_pool_name(space->asked_for), pool_id)) {
		*ret_pool = space->asked_for;
		return 0;
	}
	r = ipam_pool_id_parse(pool_id, &id, err);
	if (r < 0)
		return r;
	pool = ipam_space_find_pool(space, &id);
	if (!pool)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT,
				    "cannot find address pool for poolID:%s", pool_id);
	space->asked_for = pool;
	*ret_pool = pool;
	return 0;
}

struct ipam_subnet *ipam_space_subnet_by_id(const struct ipam_space *space, int64_t rowid)
{
	size_t i = rowid_index(space, rowid);

	return i < space->n_by_rowid && ipam_subnet_id(space->by_rowid[i]) == rowid ?
		       space->by_rowid[i] :
		       NULL;
}

size_t ipam_space_n_subnets(const struct ipam_space *space, enum ipam_book book)
{
	return space->books[book].n_subnets;
}

struct ipam_subnet *ipam_space_subnet(const struct ipam_space *space, enum ipam_book book, size_t i)
{
	assert(i < space->books[book].n_subnets);
	return space->books[book].subnets[i];
}

/* ---- pools come and go ---- */

static int conflict(const struct ipam_pool_id *id, const struct ipam_subnet *other,
		    const struct ipam_pool *pool, struct dp_error *err)
{
	char a[DP_PREFIX_STRLEN];
	char b[DP_PREFIX_STRLEN];
	char buf[IPAM_POOL_ID_SIZE];

	return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST,
			    "Pool overlaps with other one on this address space: %s overlaps %s "
			    "(pool %s)",
			    dp_prefix_format(&id->pool, a),
			    dp_prefix_format(ipam_subnet_prefix(other), b),
			    ipam_pool_id_format(ipam_pool_ident(pool), buf));
}

/* A new subnet with its first pool. */
static int add_subnet(struct ipam_space *space, const struct ipam_pool_id *id, int64_t subnet_rowid,
		      int64_t pool_rowid, uint64_t generation, struct ipam_pool **ret_pool)
{
	DP_CLEANUP(ipam_subnet_freep) struct ipam_subnet *subnet = NULL;
	struct book *book = &space->books[id->book];
	struct ipam_pool *pool;
	int r;

	r = ipam_subnet_new(subnet_rowid, id, &space->dirty, &subnet);
	if (r < 0)
		return r;
	r = ipam_subnet_add_pool(subnet, pool_rowid, id, generation, &pool);
	if (r < 0)
		return r;
	r = reserve(&book->subnets, book->n_subnets, &book->n_slots);
	if (r < 0)
		return r;
	r = reserve(&space->by_rowid, space->n_by_rowid, &space->n_rowid_slots);
	if (r < 0)
		return r;

	insert_at(book->subnets, &book->n_subnets, lower_bound(book, &id->pool, id->tenant),
		  subnet);
	insert_at(space->by_rowid, &space->n_by_rowid, rowid_index(space, subnet_rowid), subnet);
	book->n_by_len[id->pool.len]++;
	*ret_pool = pool;
	subnet = NULL; /* the space has it */
	return 0;
}

int ipam_space_request_pool(struct ipam_space *space, const struct ipam_pool_id *id,
			    bool may_replay, struct ipam_pool_grant *ret_grant,
			    struct dp_error *err)
{
	struct ipam_subnet *subnet = find_subnet(space, id);
	struct ipam_pool *pool = find_pool_in(subnet, id);
	bool new_subnet = false;
	int r;

	if (pool) {
		struct ipam_pool_life *life = ipam_pool_life(pool);
		bool revived = life->released_at != 0;

		if (!revived && (!may_replay || life->alive >= space->generation))
			return conflict(id, subnet, pool, err);
		life->released_at = 0;
		ipam_pool_set_generation(pool, space->generation);
		*ret_grant = (struct ipam_pool_grant){ .pool = pool, .revived = revived };
		return 0;
	}
	if (!subnet || id->range.addr.family == AF_UNSPEC) {
		subnet = ipam_space_find_overlap(space, id->book, id->tenant, &id->pool);
		if (subnet)
			return conflict(id, subnet, ipam_subnet_pool(subnet, 0), err);
		new_subnet = true;
		r = add_subnet(space, id, space->next_subnet_rowid, space->next_pool_rowid,
			       space->generation, &pool);
	} else {
		r = ipam_subnet_add_pool(subnet, space->next_pool_rowid, id, space->generation,
					 &pool);
	}
	if (r < 0)
		return dp_error_oom(err);
	space->next_pool_rowid++;
	if (new_subnet)
		space->next_subnet_rowid++;
	*ret_grant = (struct ipam_pool_grant){ .pool = pool,
					       .new_subnet = new_subnet,
					       .new_pool = true };
	return 0;
}

int ipam_space_load_pool(struct ipam_space *space, const struct ipam_pool_id *id,
			 int64_t subnet_rowid, int64_t pool_rowid, uint64_t generation,
			 struct ipam_pool **ret_pool, struct dp_error *err)
{
	struct ipam_subnet *subnet = find_subnet(space, id);
	struct ipam_subnet *by_rowid = ipam_space_subnet_by_id(space, subnet_rowid);
	char buf[IPAM_POOL_ID_SIZE];
	struct ipam_pool *pool;
	int r;

	if (subnet_rowid < 1 || pool_rowid < 1 || by_rowid != subnet || find_pool_in(subnet, id) ||
	    (!subnet && ipam_space_find_overlap(space, id->book, id->tenant, &id->pool)))
		return dp_error_set(err, DP_ERR_INTERNAL, -EUCLEAN,
				    "stored pool %s clashes with another one",
				    ipam_pool_id_format(id, buf));
	if (subnet)
		r = ipam_subnet_add_pool(subnet, pool_rowid, id, generation, &pool);
	else
		r = add_subnet(space, id, subnet_rowid, pool_rowid, generation, &pool);
	if (r < 0)
		return dp_error_oom(err);
	if (subnet_rowid >= space->next_subnet_rowid)
		space->next_subnet_rowid = subnet_rowid + 1;
	if (pool_rowid >= space->next_pool_rowid)
		space->next_pool_rowid = pool_rowid + 1;
	if (ret_pool)
		*ret_pool = pool;
	return 0;
}

bool ipam_space_release_pool(struct ipam_space *space, struct ipam_pool *pool)
{
	struct ipam_subnet *subnet = ipam_pool_subnet(pool);
	struct book *book = &space->books[ipam_subnet_book(subnet)];
	const struct dp_prefix *p = ipam_subnet_prefix(subnet);

	if (space->asked_for == pool)
		space->asked_for = NULL;
	if (ipam_subnet_n_pools(subnet) > 1) {
		ipam_subnet_remove_pool(subnet, pool);
		return false;
	}
	book->hint.base.len = 0; /* what has become free may lie before it */
	book->n_by_len[p->len]--;
	remove_at(book->subnets, &book->n_subnets,
		  lower_bound(book, p, ipam_subnet_tenant(subnet)));
	remove_at(space->by_rowid, &space->n_by_rowid, rowid_index(space, ipam_subnet_id(subnet)));
	ipam_subnet_free(subnet);
	return true;
}

/* ---- choosing ---- */

/* An address behind which the search for a free prefix goes on. */
static const struct dp_addr *obstacle(const struct book *book, const struct ipam_choice *choice,
				      const struct dp_prefix *candidate, size_t *i,
				      struct dp_addr *buf)
{
	struct dp_addr candidate_last = dp_prefix_last(candidate);

	for (; *i < book->n_subnets; ++*i) { /* those before the candidate are done with */
		const struct ipam_subnet *subnet = book->subnets[*i];

		if (dp_addr_cmp(ipam_subnet_last(subnet), &candidate->addr) < 0)
			continue;
		if (dp_addr_cmp(&ipam_subnet_prefix(subnet)->addr, &candidate_last) <= 0)
			return ipam_subnet_last(subnet);
		break;
	}
	for (size_t a = 0; a < choice->n_avoid; a++) {
		if (!dp_prefix_overlaps(&choice->avoid[a], candidate))
			continue;
		*buf = dp_prefix_last(&choice->avoid[a]);
		return buf;
	}
	return NULL;
}

/* Does the whole of @base lie inside a subnet that is larger? */
static bool is_covered(const struct book *book, const struct dp_prefix *base)
{
	for (struct dp_prefix outer = *base; outer.len-- > 0;) {
		struct dp_prefix masked;
		size_t i;

		if (!book->n_by_len[outer.len])
			continue;
		masked = dp_prefix_masked(&outer);
		i = lower_bound(book, &masked, "");
		if (i < book->n_subnets &&
		    dp_prefix_equal(ipam_subnet_prefix(book->subnets[i]), &masked))
			return true;
	}
	return false;
}

/* Where to begin: *i is the first subnet that may be in the way. */
static struct dp_prefix first_candidate(const struct book *book, const struct dp_prefix *base,
					unsigned len, size_t *i)
{
	const struct dp_prefix *hint = &book->hint.candidate;

	if (book->hint.base.len && dp_prefix_equal(&book->hint.base, base) && hint->len == len &&
	    !is_covered(book, hint)) {
		*i = lower_bound(book, hint, "");
		return *hint;
	}
	*i = lower_bound(book, base, "");
	return (struct dp_prefix){ .addr = base->addr, .len = len };
}

static bool choose_in(struct book *book, const struct ipam_choice *choice,
		      const struct dp_prefix *base, unsigned len, struct dp_prefix *ret_prefix)
{
	struct dp_addr base_last = dp_prefix_last(base);
	struct dp_prefix candidate;
	struct dp_prefix hint;
	bool only_subnets = true; /* have been in the way so far; what is avoided may change */
	size_t i;

	if (is_covered(book, base))
		return false;
	candidate = first_candidate(book, base, len, &i);
	hint = candidate;
	for (;;) {
		struct dp_addr buf;
		const struct dp_addr *last = obstacle(book, choice, &candidate, &i, &buf);
		struct dp_prefix spoilt = { .len = len };

		if (!last)
			break;
		/* The candidate that holds the obstacle's end is the last one it spoils. */
		spoilt.addr = *last;
		spoilt.addr = dp_prefix_last(&spoilt);
		if (dp_addr_cmp(&spoilt.addr, &base_last) >= 0)
			return false;
		candidate.addr = dp_addr_add(&spoilt.addr, 1);
		only_subnets = only_subnets && last != &buf;
		if (only_subnets)
			hint = candidate;
	}
	book->hint.base = *base;
	book->hint.candidate = hint;
	*ret_prefix = candidate;
	return true;
}

int ipam_space_choose(struct ipam_space *space, const struct ipam_choice *choice,
		      struct dp_prefix *ret_prefix, struct dp_error *err)
{
	struct book *book = &space->books[choice->book];
	bool all_too_small = true;

	for (size_t i = 0; i < choice->n_bases; i++) {
		const struct ipam_default_pool *base = &choice->bases[i];
		unsigned len = choice->len ? choice->len : base->size;

		if (len < base->base.len || len > dp_addr_bits(base->base.addr.family))
			continue;
		all_too_small = false;
		if (choose_in(book, choice, &base->base, len, ret_prefix))
			return 0;
	}
	if (!choice->len)
		return dp_error_set(err, DP_ERR_EXHAUSTED, -ENOSPC,
				    "all predefined address pools have been fully subnetted (%s "
				    "address space)",
				    ipam_book_name(choice->book));
	if (all_too_small)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "no predefined address pool can hold a /%u (%s address space)",
				    choice->len, ipam_book_name(choice->book));
	return dp_error_set(
		err, DP_ERR_EXHAUSTED, -ENOSPC,
		"all predefined address pools have been fully subnetted: no /%u is left "
		"(%s address space)",
		choice->len, ipam_book_name(choice->book));
}

bool ipam_space_pop_dirty(struct ipam_space *space, struct ipam_dirty_chunk *ret_chunk)
{
	return ipam_dirty_list_pop(&space->dirty, ret_chunk);
}
