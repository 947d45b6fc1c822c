/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ipam/block.h"

int ipam_range_parse(const char *what, const char *text, struct ipam_range *ret_range,
		     struct dp_error *err)
{
	const char *dash = strchr(text, '-');
	char first[DP_ADDR_STRLEN];
	struct ipam_range range;
	struct dp_prefix p;

	if (dp_prefix_parse(text, &p) == 0) {
		p = dp_prefix_masked(&p);
		*ret_range = (struct ipam_range){ .first = p.addr, .last = dp_prefix_last(&p) };
		return 0;
	}
	(void)snprintf(first, sizeof first, "%.*s",
		       dash ? (int)(dash - text) : (int)strlen(text), text);
	if (dp_addr_parse(first, &range.first) < 0 ||
	    dp_addr_parse(dash ? dash + 1 : first, &range.last) < 0 ||
	    range.first.family != range.last.family)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "%s: '%s' is neither an address nor a range such as "
				    "10.0.0.1-10.0.0.20 or 10.0.0.16/28",
				    what, text);
	if (dp_addr_cmp(&range.first, &range.last) > 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s: %s ends before it begins",
				    what, text);
	*ret_range = range;
	return 0;
}

const char *ipam_range_format(const struct ipam_range *range, char buf[static IPAM_RANGE_STRLEN])
{
	char first[DP_ADDR_STRLEN];
	char last[DP_ADDR_STRLEN];

	dp_addr_format(&range->first, first);
	if (!dp_addr_cmp(&range->first, &range->last))
		(void)snprintf(buf, IPAM_RANGE_STRLEN, "%s", first);
	else
		(void)snprintf(buf, IPAM_RANGE_STRLEN, "%s-%s", first,
			       dp_addr_format(&range->last, last));
	return buf;
}

bool ipam_range_has(const struct ipam_range *range, const struct dp_addr *addr)
{
	return dp_addr_cmp(addr, &range->first) >= 0 && dp_addr_cmp(addr, &range->last) <= 0;
}

/* Index of the first range that does not end before @addr. */
static size_t index_of(const struct ipam_block_list *list, const struct dp_addr *addr)
{
	size_t lo = 0;
	size_t hi = list->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (dp_addr_cmp(&list->items[mid].range.last, addr) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct ipam_block *ipam_block_at(const struct ipam_block_list *list,
				       const struct dp_addr *addr)
{
	size_t i;

	if (!list->n)
		return NULL;
	i = index_of(list, addr);
	return i < list->n && ipam_range_has(&list->items[i].range, addr) ? &list->items[i] : NULL;
}

static int make_room(struct ipam_block_list *list, struct dp_error *err)
{
	size_t n = list->n_slots ? 2 * list->n_slots : 4;
	struct ipam_block *p;

	if (list->n == IPAM_MAX_BLOCKS)
		return dp_error_set(err, DP_ERR_EXHAUSTED, -E2BIG,
				    "a subnet can have %d excluded and reserved ranges",
				    IPAM_MAX_BLOCKS);
	if (list->n < list->n_slots)
		return 0;
	p = reallocarray(list->items, n, sizeof *p);
	if (!p)
		return dp_error_oom(err);
	list->items = p;
	list->n_slots = n;
	return 0;
}

static bool is_owned(const struct ipam_block *block)
{
	return *block->name || *block->mac;
}

int ipam_block_add(struct ipam_block_list *list, const struct ipam_range *range, bool reserved,
		   const char *name, const char *mac, struct dp_error *err)
{
	struct ipam_block block = { .range = *range, .reserved = reserved };
	size_t i = index_of(list, &range->first);
	char mine[IPAM_RANGE_STRLEN];
	char other[IPAM_RANGE_STRLEN];
	int r;

	if (i < list->n && dp_addr_cmp(&list->items[i].range.first, &range->last) <= 0)
		return dp_error_set(err, DP_ERR_CONFLICT, -EEXIST, "%s overlaps %s, which is %s",
				    ipam_range_format(range, mine),
				    ipam_range_format(&list->items[i].range, other),
				    list->items[i].reserved ? "reserved" : "excluded");
	r = make_room(list, err);
	if (r < 0)
		return r;
	block.name = strdup(name);
	block.mac = strdup(mac);
	if (!block.name || !block.mac) {
		free(block.name);
		free(block.mac);
		return dp_error_oom(err);
	}
	memmove(&list->items[i + 1], &list->items[i], (list->n - i) * sizeof block);
	list->items[i] = block;
	list->n++;
	list->n_owned += is_owned(&block);
	return 0;
}

bool ipam_block_remove(struct ipam_block_list *list, const struct ipam_range *range)
{
	size_t i = index_of(list, &range->first);
	struct ipam_block *block = &list->items[i];

	if (i == list->n || dp_addr_cmp(&block->range.first, &range->first) ||
	    dp_addr_cmp(&block->range.last, &range->last))
		return false;
	list->n_owned -= is_owned(block);
	free(block->name);
	free(block->mac);
	list->n--;
	memmove(block, block + 1, (list->n - i) * sizeof *block);
	return true;
}

const struct ipam_block *ipam_block_of(const struct ipam_block_list *list, const char *name,
				       const char *mac)
{
	for (size_t i = 0; list->n_owned && i < list->n; i++) {
		const struct ipam_block *b = &list->items[i];

		if ((*name && !strcmp(b->name, name)) || (*mac && !strcasecmp(b->mac, mac)))
			return b;
	}
	return NULL;
}

void ipam_block_list_done(struct ipam_block_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->items[i].name);
		free(list->items[i].mac);
	}
	free(list->items);
	*list = (struct ipam_block_list){ .n = 0 };
}
