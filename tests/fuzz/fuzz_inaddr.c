/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Text of addresses, prefixes and PoolIDs. What is accepted must survive being written and read
 * again, and the arithmetic on it must hold together.
 */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/inaddr.h"
#include "common/parse.h"
#include "ipam/pool.h"
#include "netdriver/ifname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The only ways a parser may end. */
static void accepted_or_refused(int r)
{
	assert(r == 0 || r == -EINVAL || r == -ERANGE);
}

static void check_addr(const char *s)
{
	char text[DP_ADDR_STRLEN];
	struct dp_addr a;
	struct dp_addr b;

	if (dp_addr_parse(s, &a) < 0)
		return;
	assert(dp_addr_parse(dp_addr_format(&a, text), &b) == 0);
	assert(dp_addr_cmp(&a, &b) == 0);
}

static void check_prefix(const char *s)
{
	char text[DP_PREFIX_STRLEN];
	struct dp_prefix p;
	struct dp_prefix q;
	struct dp_addr last;

	if (dp_prefix_parse(s, &p) < 0)
		return;
	assert(dp_prefix_parse(dp_prefix_format(&p, text), &q) == 0);
	assert(dp_prefix_equal(&p, &q) && dp_prefix_overlaps(&p, &q));
	q = dp_prefix_masked(&p);
	last = dp_prefix_last(&p);
	assert(dp_prefix_equal(&p, &q) && dp_prefix_has_addr(&p, &last));
	assert(dp_addr_cmp(&q.addr, &p.addr) <= 0 && dp_addr_cmp(&p.addr, &last) <= 0);
}

static void check_pool_id(const char *s)
{
	char text[IPAM_POOL_ID_SIZE];
	struct dp_error err = DP_ERROR_INIT;
	struct ipam_pool_id id;
	struct ipam_default_pool def;

	if (ipam_pool_id_parse(s, &id, &err) == 0) {
		(void)ipam_pool_id_format(&id, text);
		assert(!strcmp(text, s));
	}
	accepted_or_refused(ipam_default_pool_parse(s, &def, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *s = malloc(size + 1);
	char parent[NDRV_IFNAME_BUF];
	uint8_t mac[6];
	uint64_t n;
	uint16_t vid;
	bool b;

	if (!s)
		return 0;
	memcpy(s, data, size);
	s[size] = '\0';
	check_addr(s);
	check_prefix(s);
	check_pool_id(s);
	accepted_or_refused(dp_parse_u64(s, 0, UINT64_MAX, &n));
	accepted_or_refused(dp_parse_bool(s, &b));
	accepted_or_refused(dp_parse_mac(s, mac));
	accepted_or_refused(ndrv_ifname_validate(s, NULL));
	if (ndrv_ifname_split_vlan(s, parent, &vid) == 0)
		assert(vid >= 1 && vid <= 4094 && ndrv_ifname_validate(parent, NULL) == 0);
	return 0;
}
