/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * A PoolID is compared as a value, not as text; text is accepted only in the one canonical form, so
 * both are the same relation.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "ipam/pool_id.h"

static const char *const book_names[IPAM_N_BOOKS] = {
	[IPAM_LOCAL] = "local",
	[IPAM_GLOBAL] = "global",
};

const char *ipam_book_name(enum ipam_book book)
{
	return book_names[book];
}

int ipam_book_parse(const char *s, enum ipam_book *ret_book)
{
	for (unsigned i = 0; i < IPAM_N_BOOKS; i++) {
		if (!strcmp(s, book_names[i])) {
			*ret_book = i;
			return 0;
		}
	}
	return -EINVAL;
}

bool ipam_tenant_valid(const char *s)
{
	static const char alnum[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t len = strlen(s);

	if (!len)
		return true;
	if (len >= IPAM_TENANT_SIZE || !strchr(alnum, *s))
		return false;
	while (*s && (strchr(alnum, *s) || strchr("_.-", *s)))
		s++;
	return !*s;
}

bool ipam_prefix_all_usable(const struct dp_prefix *pool)
{
	return dp_addr_bits(pool->addr.family) - pool->len < 2;
}

bool ipam_pool_id_bounds(const struct ipam_pool_id *id, struct dp_addr *first, struct dp_addr *last)
{
	const struct dp_prefix *range = id->range.addr.family ? &id->range : &id->pool;
	struct dp_addr broadcast = dp_prefix_last(&id->pool);

	*first = range->addr;
	*last = dp_prefix_last(range);
	if (first->hi != last->hi) { /* more than 2^64: the first 2^64 of them */
		last->hi = first->hi;
		last->lo = UINT64_MAX;
	}
	if (ipam_prefix_all_usable(&id->pool))
		return true;
	if (id->pool.addr.family == AF_INET && !dp_addr_cmp(last, &broadcast)) {
		if (!dp_addr_cmp(first, last))
			return false;
		last->lo--;
	}
	if (!dp_addr_cmp(first, &id->pool.addr)) {
		if (!dp_addr_cmp(first, last))
			return false;
		first->lo++;
	}
	return true;
}

int ipam_pool_id_make(enum ipam_book book, const char *tenant, const struct dp_prefix *pool,
		      const struct dp_prefix *range, struct ipam_pool_id *ret_id,
		      struct dp_error *err)
{
	struct ipam_pool_id id = { .book = book };
	char a[DP_PREFIX_STRLEN];
	char b[DP_PREFIX_STRLEN];
	struct dp_addr first;
	struct dp_addr last;

	if (!ipam_tenant_valid(tenant))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "invalid tenant \"%.80s\": want up to %d letters, digits, "
				    "'_', '.', '-', beginning with a letter or digit",
				    tenant, IPAM_TENANT_SIZE - 1);
	memcpy(id.tenant, tenant, strlen(tenant) + 1);
	id.pool = dp_prefix_masked(pool);
	dp_prefix_format(&id.pool, a);
	if (!id.pool.len)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "invalid pool %s: it is the whole address space", a);
	if (range && range->addr.family) {
		id.range = dp_prefix_masked(range);
		dp_prefix_format(&id.range, b);
		if (!dp_prefix_contains(&id.pool, &id.range))
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "invalid range %s: it is not inside pool %s", b, a);
		if (!ipam_pool_id_bounds(&id, &first, &last))
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
					    "invalid range %s: it holds only the network or "
					    "broadcast address of pool %s",
					    b, a);
	}
	*ret_id = id;
	return 0;
}

/* Moves from *rest up to the next @sep, which becomes a NUL; NULL: no such text. */
static char *take_field(char **rest, char sep)
{
	char *field = *rest;
	char *end = field ? strchr(field, sep) : NULL;

	if (end)
		*end++ = '\0';
	*rest = end;
	return field;
}

/* "10.0.0.0", "24" -> prefix */
static int parse_prefix_fields(const char *addr, const char *len, struct dp_prefix *ret_prefix)
{
	uint32_t bits;

	if (!addr || !len || dp_addr_parse(addr, &ret_prefix->addr) < 0 ||
	    dp_parse_u32(len, 0, dp_addr_bits(ret_prefix->addr.family), &bits) < 0)
		return -EINVAL;
	ret_prefix->len = bits;
	return 0;
}

static int parse_pool_id(const char *s, struct ipam_pool_id *ret_id)
{
	char text[IPAM_POOL_ID_SIZE];
	char again[IPAM_POOL_ID_SIZE];
	struct dp_prefix pool = { .len = 0 };
	struct dp_prefix range = { .len = 0 };
	struct ipam_pool_id id;
	enum ipam_book book;
	char *tenant = text;
	char *rest;
	char *addr;

	if (strlen(s) >= sizeof text)
		return -EINVAL;
	memcpy(text, s, strlen(s) + 1);
	rest = take_field(&tenant, '@');
	if (ipam_book_parse(take_field(&rest, '/'), &book) < 0)
		return -EINVAL;
	addr = take_field(&rest, '/');
	if (parse_prefix_fields(addr, take_field(&rest, '/'), &pool) < 0)
		return -EINVAL;
	addr = take_field(&rest, '/');
	if (addr && parse_prefix_fields(addr, take_field(&rest, '/'), &range) < 0)
		return -EINVAL;
	if (ipam_pool_id_make(book, tenant ? tenant : "", &pool, &range, &id, NULL) < 0)
		return -EINVAL;

	/* Host bits, other spellings of an address, "@" without a tenant, anything left over. */
	if (strcmp(ipam_pool_id_format(&id, again), s) != 0)
		return -EINVAL;
	*ret_id = id;
	return 0;
}

int ipam_pool_id_parse(const char *s, struct ipam_pool_id *ret_id, struct dp_error *err)
{
	if (parse_pool_id(s, ret_id) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "invalid pool id: \"%.200s\"", s);
	return 0;
}

const char *ipam_pool_id_format(const struct ipam_pool_id *id, char buf[static IPAM_POOL_ID_SIZE])
{
	char pool[DP_PREFIX_STRLEN];
	char range[DP_PREFIX_STRLEN] = "";
	bool has_range = id->range.addr.family != AF_UNSPEC;

	dp_prefix_format(&id->pool, pool);
	if (has_range)
		dp_prefix_format(&id->range, range);
	(void)snprintf(buf, IPAM_POOL_ID_SIZE, "%s/%s%s%s%s%s", ipam_book_name(id->book), pool,
		       has_range ? "/" : "", range, id->tenant[0] ? "@" : "", id->tenant);
	return buf;
}

static bool prefix_same(const struct dp_prefix *a, const struct dp_prefix *b)
{
	return a->len == b->len && !dp_addr_cmp(&a->addr, &b->addr);
}

bool ipam_pool_id_equal(const struct ipam_pool_id *a, const struct ipam_pool_id *b)
{
	return a->book == b->book && prefix_same(&a->pool, &b->pool) &&
	       prefix_same(&a->range, &b->range) && !strcmp(a->tenant, b->tenant);
}

/* "2/8" -> 2, 3 (8 is 2^3) */
static int parse_slice(const char *s, uint32_t *ret_number, unsigned *ret_bits)
{
	char text[24];
	char *rest = text;
	const char *number;
	uint32_t n_parts;

	if (strlen(s) >= sizeof text)
		return -EINVAL;
	memcpy(text, s, strlen(s) + 1);
	number = take_field(&rest, '/');
	if (!rest || dp_parse_u32(rest, 1, UINT32_C(1) << 31, &n_parts) < 0 ||
	    (n_parts & (n_parts - 1)) || dp_parse_u32(number, 1, n_parts, ret_number) < 0)
		return -EINVAL;
	for (*ret_bits = 0; n_parts > 1; n_parts /= 2)
		++*ret_bits;
	return 0;
}

/* Where the part after @n others of the length of @first begins. */
static struct dp_addr nth_part(const struct dp_prefix *first, uint64_t n)
{
	unsigned host = dp_addr_bits(first->addr.family) - first->len;
	struct dp_addr addr = first->addr;

	if (host >= 64) {
		addr.hi += n << (host - 64);
	} else {
		addr.lo |= n << host; /* the bits of the part's number are clear */
		addr.hi |= host ? n >> (64 - host) : 0;
	}
	return addr;
}

int ipam_pool_id_slice(struct ipam_pool_id *id, const char *slice, struct dp_error *err)
{
	struct ipam_pool_id sliced = *id;
	struct dp_prefix *range = &sliced.range;
	char text[DP_PREFIX_STRLEN];
	struct dp_addr first;
	struct dp_addr last;
	uint32_t number;
	unsigned bits;

	if (parse_slice(slice, &number, &bits) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "slice: \"%.30s\" is not N/M with M a power of two and N from 1 to "
				    "M, as in 2/8", slice);
	if (!range->addr.family)
		*range = id->pool;
	dp_prefix_format(range, text);
	range->len += bits;
	if (range->len > dp_addr_bits(range->addr.family))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "slice: %s has less parts than %.30s",
				    text, slice);
	range->addr = nth_part(range, number - 1);
	if (!ipam_pool_id_bounds(&sliced, &first, &last))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "slice: part %.30s of %s holds only its network or broadcast address",
				    slice, text);
	*id = sliced;
	return 0;
}

static int bad_default_pool(struct dp_error *err, const char *entry, const char *what,
			    const char *value)
{
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "default pool \"%.100s\": %s \"%.60s\" (want base=PREFIX,size=BITS, "
			    "for example base=172.17.0.0/16,size=16)",
			    entry, what, value);
}

int ipam_default_pool_parse(const char *s, struct ipam_default_pool *ret_pool, struct dp_error *err)
{
	struct ipam_default_pool p = { .size = 0 };
	const char *size = NULL;
	struct dp_prefix masked;
	char text[128];
	char *rest = text;
	uint32_t bits;

	if (strlen(s) >= sizeof text)
		return bad_default_pool(err, s, "too long:", s);
	memcpy(text, s, strlen(s) + 1);
	while (rest) {
		char *value = take_field(&rest, ',');
		char *key = take_field(&value, '=');

		if (!value)
			return bad_default_pool(err, s, "no '=' in", key);
		if (!strcmp(key, "base") && !p.base.addr.family) {
			if (dp_prefix_parse(value, &p.base) < 0)
				return bad_default_pool(err, s, "base is not a prefix:", value);
		} else if (!strcmp(key, "size") && !size) {
			size = value;
		} else {
			return bad_default_pool(err, s, "unknown or repeated key", key);
		}
	}
	if (!p.base.addr.family)
		return bad_default_pool(err, s, "missing key", "base");
	if (!size)
		return bad_default_pool(err, s, "missing key", "size");
	masked = dp_prefix_masked(&p.base);
	if (dp_addr_cmp(&masked.addr, &p.base.addr) != 0) {
		char buf[DP_PREFIX_STRLEN];

		return bad_default_pool(err, s, "base has host bits set, the prefix is",
					dp_prefix_format(&masked, buf));
	}
	if (dp_parse_u32(size, p.base.len ? p.base.len : 1, dp_addr_bits(p.base.addr.family),
			 &bits) < 0)
		return bad_default_pool(
			err, s, "size is not a number of bits from the base's length up:", size);
	p.size = bits;
	*ret_pool = p;
	return 0;
}

bool ipam_prefix_is_any(const struct dp_prefix *p)
{
	struct dp_prefix masked = dp_prefix_masked(p);

	return p->len > 0 && !masked.addr.hi && !masked.addr.lo;
}
