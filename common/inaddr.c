/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "common/inaddr.h"
#include "common/parse.h"

unsigned dp_addr_bits(int family)
{
	return family == AF_INET ? 32 : 128;
}

/* Mask of the lowest @n bits of a 64-bit half; defined for 0..64, unlike a bare shift. */
static uint64_t low_mask(unsigned n)
{
	return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* Splits "the lowest @host bits are host bits" over the two halves. */
static void host_masks(unsigned host, uint64_t *ret_hi, uint64_t *ret_lo)
{
	*ret_lo = low_mask(host);
	*ret_hi = host > 64 ? low_mask(host - 64) : 0;
}

static uint64_t load_be(const uint8_t *b, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | b[i];
	return v;
}

static void store_be(uint8_t *b, unsigned n, uint64_t v)
{
	for (unsigned i = n; i-- > 0; v >>= 8)
		b[i] = (uint8_t)v;
}

int dp_addr_parse(const char *s, struct dp_addr *ret_addr)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, s, b) == 1)
		*ret_addr = (struct dp_addr){ .family = AF_INET, .lo = load_be(b, 4) };
	else if (inet_pton(AF_INET6, s, b) == 1)
		*ret_addr = (struct dp_addr){ .family = AF_INET6,
					      .hi = load_be(b, 8),
					      .lo = load_be(b + 8, 8) };
	else
		return -EINVAL;
	return 0;
}

unsigned dp_addr_to_bytes(const struct dp_addr *addr, uint8_t bytes[static 16])
{
	if (addr->family == AF_INET) {
		store_be(bytes, 4, addr->lo);
		return 4;
	}
	store_be(bytes, 8, addr->hi);
	store_be(bytes + 8, 8, addr->lo);
	return 16;
}

/* @v (up to 999) in decimal to @p; returns its end. Not snprintf(3): several times a request. */
static char *put_number(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

const char *dp_addr_format(const struct dp_addr *addr, char buf[static DP_ADDR_STRLEN])
{
	uint8_t b[16];
	char *p = buf;
	unsigned n = dp_addr_to_bytes(addr, b);

	if (addr->family == AF_INET) {
		for (unsigned i = 0; i < n; i++) {
			if (i)
				*p++ = '.';
			p = put_number(p, b[i]);
		}
		*p = '\0';
	} else if (addr->family == AF_UNSPEC || !inet_ntop(addr->family, b, buf, DP_ADDR_STRLEN)) {
		buf[0] = '\0';
	}
	return buf;
}

int dp_addr_cmp(const struct dp_addr *a, const struct dp_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->hi != b->hi)
		return a->hi < b->hi ? -1 : 1;
	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return 0;
}

struct dp_addr dp_addr_add(const struct dp_addr *addr, uint64_t n)
{
	struct dp_addr r = *addr;

	r.lo += n;
	if (r.family == AF_INET6 && r.lo < n)
		r.hi++;
	return r;
}

int dp_prefix_parse(const char *s, struct dp_prefix *ret_prefix)
{
	char text[DP_ADDR_STRLEN];
	const char *slash = strchr(s, '/');
	struct dp_prefix p;
	uint32_t len;
	int r;

	if (!slash || (size_t)(slash - s) >= sizeof text)
		return -EINVAL;
	memcpy(text, s, (size_t)(slash - s));
	text[slash - s] = '\0';
	r = dp_addr_parse(text, &p.addr);
	if (r < 0)
		return r;
	r = dp_parse_u32(slash + 1, 0, dp_addr_bits(p.addr.family), &len);
	if (r < 0)
		return r;
	p.len = len;
	*ret_prefix = p;
	return 0;
}

const char *dp_prefix_format(const struct dp_prefix *p, char buf[static DP_PREFIX_STRLEN])
{
	char *end = buf + strlen(dp_addr_format(&p->addr, buf));

	*end++ = '/';
	*put_number(end, p->len) = '\0'; /* at most 128 */
	return buf;
}

struct dp_prefix dp_prefix_masked(const struct dp_prefix *p)
{
	struct dp_prefix r = *p;
	uint64_t hi;
	uint64_t lo;

	host_masks(dp_addr_bits(p->addr.family) - p->len, &hi, &lo);
	r.addr.hi &= ~hi;
	r.addr.lo &= ~lo;
	return r;
}

struct dp_addr dp_prefix_last(const struct dp_prefix *p)
{
	struct dp_addr r = p->addr;
	uint64_t hi;
	uint64_t lo;

	host_masks(dp_addr_bits(p->addr.family) - p->len, &hi, &lo);
	r.hi |= hi;
	r.lo |= lo;
	return r;
}

bool dp_prefix_equal(const struct dp_prefix *a, const struct dp_prefix *b)
{
	return a->len == b->len && dp_prefix_has_addr(a, &b->addr);
}

bool dp_prefix_has_addr(const struct dp_prefix *p, const struct dp_addr *a)
{
	struct dp_prefix q = { .addr = *a, .len = p->len };

	if (a->family != p->addr.family)
		return false;
	q = dp_prefix_masked(&q);
	struct dp_prefix base = dp_prefix_masked(p);

	return !dp_addr_cmp(&q.addr, &base.addr);
}

bool dp_prefix_contains(const struct dp_prefix *outer, const struct dp_prefix *inner)
{
	return outer->len <= inner->len && dp_prefix_has_addr(outer, &inner->addr);
}

bool dp_prefix_overlaps(const struct dp_prefix *a, const struct dp_prefix *b)
{
	return dp_prefix_contains(a, b) || dp_prefix_contains(b, a);
}
