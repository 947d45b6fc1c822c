/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Why hashes: ids of one engine are random, so 48 bits of them do not collide on one host (even
 * 10,000 links collide with a chance below one in five million), and a collision is an error at
 * creation, not a mix-up. FNV-1a because it is tiny and the same everywhere; nobody is kept from
 * choosing colliding ids by it, but whoever may choose ids here is root already.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "netdriver/ifname.h"

#define ID_HEX_LEN   64 /* characters of a local network or endpoint id */
#define NAME_HEX_LEN 12 /* characters of it that go into a name */
#define PREFIX_LEN   3  /* characters in front of them */

/* 64-bit FNV-1a, folded to 48 bits as its authors advise: high part xor low part. */
uint64_t ndrv_ifname_hash48(const char *s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
	return (h ^ h >> 48) & UINT64_C(0xffffffffffff);
}

static bool is_hex_id(const char *id)
{
	return strlen(id) == ID_HEX_LEN && strspn(id, "0123456789abcdef") == ID_HEX_LEN;
}

static void name_from_hash(const char *prefix, const char *text, char *ret_name)
{
	assert(strlen(prefix) == PREFIX_LEN);
	(void)snprintf(ret_name, NDRV_IFNAME_BUF, "%s%012" PRIx64, prefix,
		       ndrv_ifname_hash48(text));
}

void ndrv_ifname_from_id(const char *prefix, const char *id, char ret_name[static NDRV_IFNAME_BUF])
{
	if (!is_hex_id(id)) {
		name_from_hash(prefix, id, ret_name);
		return;
	}
	assert(strlen(prefix) == PREFIX_LEN);
	(void)snprintf(ret_name, NDRV_IFNAME_BUF, "%s%.*s", prefix, NAME_HEX_LEN, id);
}

void ndrv_ifname_bridge(const char *segment_key, char ret_name[static NDRV_IFNAME_BUF])
{
	ndrv_ifname_from_id(NDRV_PREFIX_BRIDGE, segment_key, ret_name);
}

void ndrv_ifname_vlan(const char *parent, unsigned vid, char ret_name[static NDRV_IFNAME_BUF])
{
	char natural[160]; /* an alternative name of the parent has up to 127 bytes */
	int n = snprintf(natural, sizeof natural, "%s.%u", parent, vid);

	if (n < NDRV_IFNAME_BUF)
		memcpy(ret_name, natural, (size_t)n + 1);
	else
		name_from_hash(NDRV_PREFIX_VLAN, natural, ret_name);
}

int ndrv_ifname_split_vlan(const char *name, char ret_parent[static NDRV_IFNAME_BUF],
			   uint16_t *ret_vid)
{
	const char *dot = strrchr(name, '.');
	char parent[NDRV_IFNAME_BUF];
	uint32_t vid;

	if (!dot || (size_t)(dot - name) >= sizeof parent)
		return -EINVAL;
	memcpy(parent, name, (size_t)(dot - name));
	parent[dot - name] = '\0';
	if (ndrv_ifname_validate(parent, NULL) < 0 || dp_parse_u32(dot + 1, 1, 4094, &vid) < 0)
		return -EINVAL;
	memcpy(ret_parent, parent, sizeof parent);
	*ret_vid = (uint16_t)vid;
	return 0;
}

/* What is wrong with byte @c in a name; NULL = nothing. */
static const char *bad_byte(unsigned char c)
{
	if (c == '/' || c == ':' || c == '%')
		return "contains '/', ':' or '%'";
	if (c == ' ' || c == 0xa0)
		return "contains a blank";
	if (c < ' ' || c == 0x7f)
		return "contains a control character";
	return NULL;
}

static const char *what_is_wrong(const char *name)
{
	if (!*name)
		return "is empty";
	if (strlen(name) >= NDRV_IFNAME_BUF)
		return "is longer than 15 bytes";
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return "is reserved";
	for (; *name; name++) {
		const char *why = bad_byte((unsigned char)*name);

		if (why)
			return why;
	}
	return NULL;
}

int ndrv_ifname_validate(const char *name, struct dp_error *err)
{
	const char *why = what_is_wrong(name);

	if (why)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "interface name '%.64s' %s", name,
				    why);
	return 0;
}
