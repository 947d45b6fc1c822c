/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The prefixes the host uses already.
 *
 * /proc/net/route: a heading, then a line a route with blank-separated fields
 *   Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
 * Destination and Mask are the four network-order bytes printed as one number of the host's own
 * byte order, hence the ntohl(). /proc/net/ipv6_route: no heading, fields
 *   destination length source length next-hop metric refcnt use flags iface
 * with addresses as 32 hex digits in network order.
 *
 * A prefix shorter than /8 says "everything", in one piece (the default route) or in a few
 * (OpenVPN's 0.0.0.0/1 and 128.0.0.0/1, 2000::/3): staying clear of it would leave no pool at all.
 */

#include <config.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "ipam/hostroutes.h"

enum {
	MIN_ROUTE_LEN = 8, /* shorter routes are (parts of) a default route */
	MAX_FIELDS = 11,   /* fields of a line that are looked at */
	FLAG_UP = 0x0001,  /* RTF_UP of <linux/route.h> */
};

/* What a line of a file says: adds to @routes. Return: 0; -ENOMEM. */
typedef int line_fn(char *const *fields, unsigned n_fields, struct ipam_hostroutes *routes);

static int add(struct ipam_hostroutes *routes, const struct dp_prefix *p)
{
	size_t n = routes->n_prefixes;
	struct dp_prefix *grown = routes->prefixes;

	if (!(n & (n - 1))) { /* n is 0 or a power of two: the array is full */
		grown = realloc(grown, (n ? 2 * n : 1) * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		routes->prefixes = grown;
	}
	routes->prefixes[routes->n_prefixes++] = dp_prefix_masked(p);
	return 0;
}

/* Loopback, link-local IPv6 and multicast never collide with a pool. */
static bool is_special(const struct dp_prefix *p)
{
	uint64_t hi = p->addr.hi;

	if (p->addr.family == AF_INET)
		return p->addr.lo >> 24 == 127 || p->addr.lo >> 28 == 0xe;
	return (!hi && p->addr.lo == 1) || hi >> 54 == 0xfe80 >> 6 || hi >> 56 == 0xff;
}

static int add_route(struct ipam_hostroutes *routes, const struct dp_prefix *p)
{
	return p->len < MIN_ROUTE_LEN || is_special(p) ? 0 : add(routes, p);
}

/* Exactly @n hex digits, 1..16, and nothing behind them. */
static bool parse_hex(const char *s, size_t n, uint64_t *ret_value)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t v = 0;

	if (strlen(s) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return false;
		v = v << 4 | (uint64_t)(strchr(digits, s[i] | 0x20) - digits);
	}
	*ret_value = v;
	return true;
}

static int route4_line(char *const *f, unsigned n_fields, struct ipam_hostroutes *routes)
{
	struct dp_prefix p = { .addr.family = AF_INET };
	uint64_t dest;
	uint64_t flags;
	uint64_t netmask;
	uint32_t mask;

	if (n_fields < 8 || !parse_hex(f[1], 8, &dest) || !parse_hex(f[3], 4, &flags) ||
	    !parse_hex(f[7], 8, &netmask) || !(flags & FLAG_UP))
		return 0;
	p.addr.lo = ntohl((uint32_t)dest);
	mask = ntohl((uint32_t)netmask);
	if (mask & (~mask >> 1))
		return 0; /* ones that do not stand together: not a prefix */
	p.len = (unsigned)__builtin_popcount(mask);
	return add_route(routes, &p);
}

static int route6_line(char *const *f, unsigned n_fields, struct ipam_hostroutes *routes)
{
	struct dp_prefix p = { .addr.family = AF_INET6 };
	uint64_t len;
	uint64_t flags;

	if (n_fields < 10 || strlen(f[0]) != 32 || !parse_hex(f[0] + 16, 16, &p.addr.lo) ||
	    !parse_hex(f[1], 2, &len) || len > 128 || !parse_hex(f[8], 8, &flags) ||
	    !(flags & FLAG_UP))
		return 0;
	f[0][16] = '\0';
	if (!parse_hex(f[0], 16, &p.addr.hi))
		return 0;
	p.len = (unsigned)len;
	return add_route(routes, &p);
}

static int resolv_line(char *const *f, unsigned n_fields, struct ipam_hostroutes *routes)
{
	struct dp_prefix p;

	if (n_fields < 2 || strcmp(f[0], "nameserver") != 0)
		return 0;
	f[1][strcspn(f[1], "%")] = '\0'; /* fe80::1%eth0 */
	if (dp_addr_parse(f[1], &p.addr) < 0)
		return 0;
	p.len = dp_addr_bits(p.addr.family);
	return add_route(routes, &p);
}

static unsigned split(char *line, char *fields[static MAX_FIELDS])
{
	static const char blanks[] = " \t\r\n";
	unsigned n = 0;

	for (;;) {
		line += strspn(line, blanks);
		if (!*line || n == MAX_FIELDS)
			return n;
		fields[n++] = line;
		line += strcspn(line, blanks);
		if (*line)
			*line++ = '\0';
	}
}

static void closefp(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

static int cannot_read(const char *path, struct dp_error *err)
{
	int r = errno ? -errno : -EIO;

	if (r == -ENOMEM)
		return dp_error_oom(err);
	return dp_error_set(err, DP_ERR_UNAVAILABLE, r, "cannot read %.300s: %s", path,
			    strerror(-r));
}

static int read_file(const char *root, const char *name, line_fn *line_handler,
		     struct ipam_hostroutes *routes, struct dp_error *err)
{
	DP_CLEANUP(closefp) FILE *file = NULL;
	auto_free char *line = NULL;
	char path[PATH_MAX];
	size_t n_allocated = 0;
	int r;

	if (snprintf(path, sizeof path, "%s%s", root, name) >= (int)sizeof path)
		return dp_error_set(err, DP_ERR_INVALID, -ENAMETOOLONG, "%.100s...: too long",
				    path);
	file = fopen(path, "re");
	if (!file && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!file)
		return cannot_read(path, err);
	for (;;) {
		char *fields[MAX_FIELDS];

		errno = 0;
		if (getline(&line, &n_allocated, file) < 0)
			break;
		r = line_handler(fields, split(line, fields), routes);
		if (r < 0)
			return dp_error_oom(err);
	}
	return feof(file) ? 0 : cannot_read(path, err);
}

int ipam_hostroutes_read(const char *root, struct ipam_hostroutes *ret_routes, struct dp_error *err)
{
	static const struct {
		const char *name;
		line_fn *line_handler;
	} files[] = {
		{ "/proc/net/route", route4_line },
		{ "/proc/net/ipv6_route", route6_line },
		{ "/etc/resolv.conf", resolv_line },
		{ "/run/systemd/resolve/resolv.conf", resolv_line },
	};
	DP_CLEANUP(ipam_hostroutes_done) struct ipam_hostroutes routes = IPAM_HOSTROUTES_INIT;

	for (size_t i = 0; i < DP_ARRAY_LEN(files); i++) {
		int r = read_file(root, files[i].name, files[i].line_handler, &routes, err);

		if (r < 0)
			return r;
	}
	*ret_routes = routes;
	routes = (struct ipam_hostroutes)IPAM_HOSTROUTES_INIT; /* given away */
	return 0;
}

void ipam_hostroutes_done(struct ipam_hostroutes *routes)
{
	free(routes->prefixes);
	*routes = (struct ipam_hostroutes)IPAM_HOSTROUTES_INIT;
}
