/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Reading links and addresses, with libnl-route as the parser of the kernel's messages.
 *
 * Addresses come through libnl's cache; links, of which there may be thousands, without it. A dump
 * that a change has interrupted is repeated.
 * Single links are asked for over our own request socket, because libnl cannot look up alternative
 * names and drops the kernel's reason for a refusal; its parser still does the reading. libnl's
 * own error numbers end in this file.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>

#include "common/cleanup.h"
#include "netdriver/rtnl_internal.h"

#ifndef RTEXT_FILTER_SKIP_STATS
#define RTEXT_FILTER_SKIP_STATS (1 << 3)
#endif

#define ALTNAME_SIZE 128 /* bytes, NUL included: the kernel's ALTIFNAMSIZ */

static void cache_freep(struct nl_cache **cache)
{
	if (*cache)
		nl_cache_free(*cache);
}

static void msg_freep(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

static void cb_freep(struct nl_cb **cb)
{
	nl_cb_put(*cb);
}

/* A failure of libnl as errno. */
static int nle_to_errno(int nle)
{
	switch (nle < 0 ? -nle : nle) {
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_AGAIN:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

/* What is still to come of a dump that was given up would be taken for the answer to the next one. */
static void drain_reader(struct ndrv_rtnl *rtnl)
{
	int fd = nl_socket_get_fd(rtnl->reader);
	ssize_t n;

	do
		n = recv(fd, rtnl->rx.bytes, sizeof rtnl->rx, MSG_DONTWAIT);
	while (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)));
}

static int reader_error(struct ndrv_rtnl *rtnl, struct dp_error *err, int nle, const char *what)
{
	int code = nle_to_errno(nle);

	drain_reader(rtnl);
	if (code == -ENOMEM)
		return dp_error_oom(err);
	return dp_error_set(err, rtnl_error_kind(code, false), code, "%s: %s", what,
			    nl_geterror(nle));
}

/* --- link objects to values ----------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from ? from : "");
}

static void read_mac(struct rtnl_link *obj, uint8_t mac[6])
{
	struct nl_addr *addr = rtnl_link_get_addr(obj);

	if (addr && nl_addr_get_len(addr) == 6)
		memcpy(mac, nl_addr_get_binary_addr(addr), 6);
}

static void read_vlan(struct rtnl_link *obj, struct ndrv_link *link)
{
	int vid;

	if (!rtnl_link_is_vlan(obj))
		return;
	vid = rtnl_link_vlan_get_id(obj);
	link->vlan_id = vid > 0 ? (uint16_t)vid : 0;
	/* libnl hands it out in network order, as it is on the wire */
	link->vlan_proto = ntohs((uint16_t)rtnl_link_vlan_get_protocol(obj));
}

static void read_flags(struct rtnl_link *obj, struct ndrv_link *link)
{
	unsigned flags = rtnl_link_get_flags(obj);

	link->up = flags & IFF_UP;
	link->running = flags & IFF_RUNNING;
	link->loopback = flags & IFF_LOOPBACK;
}

static struct ndrv_link link_from_object(struct rtnl_link *obj)
{
	struct ndrv_link link = { .ifindex = rtnl_link_get_ifindex(obj),
				  .master = rtnl_link_get_master(obj),
				  .lower = rtnl_link_get_link(obj),
				  .mtu = rtnl_link_get_mtu(obj),
				  .group = rtnl_link_get_group(obj) };
	int32_t nsid;

	copy_text(link.name, sizeof link.name, rtnl_link_get_name(obj));
	copy_text(link.kind, sizeof link.kind, rtnl_link_get_type(obj));
	copy_text(link.alias, sizeof link.alias, rtnl_link_get_ifalias(obj));
	link.lower_elsewhere = rtnl_link_get_link_netnsid(obj, &nsid) >= 0;
	read_flags(obj, &link);
	read_vlan(obj, &link);
	read_mac(obj, link.mac);
	return link;
}

/* libnl stumbles over a link without data where it is a VLAN, in the accessors, or has statistics of its
 * kind, in many kinds' parsers. No kernel sends one. */
static bool is_readable(struct nlmsghdr *nlh)
{
	struct nlattr *info = nlmsg_find_attr(nlh, sizeof(struct ifinfomsg), IFLA_LINKINFO);
	struct nlattr *kind = info ? nla_find(nla_data(info), nla_len(info), IFLA_INFO_KIND) : NULL;

	return !kind || nla_find(nla_data(info), nla_len(info), IFLA_INFO_DATA) ||
	       (nla_strcmp(kind, "vlan") != 0 &&
		!nla_find(nla_data(info), nla_len(info), IFLA_INFO_XSTATS));
}

/* Return: 0; -ENOMEM; -EBADMSG. */
static int parse_message(struct nl_msg *msg, void (*take)(struct nl_object *obj, void *ctx), void *ctx)
{
	int r = is_readable(nlmsg_hdr(msg)) ? nl_msg_parse(msg, take, ctx) : -NLE_PARSE_ERR;

	return r >= 0 ? 0 : r == -NLE_NOMEM ? -ENOMEM : -EBADMSG;
}

static void take_link_object(struct nl_object *obj, void *ctx)
{
	struct ndrv_link *link = ctx;

	*link = link_from_object((struct rtnl_link *)obj);
}

int rtnl_parse_link(const struct nlmsghdr *nlh, struct ndrv_link *ret_link)
{
	DP_CLEANUP(msg_freep) struct nl_msg *msg = NULL;
	struct nlmsghdr *copy_of; /* nlmsg_convert() copies, but takes no const */
	struct ndrv_link link = { 0 };
	int r;

	if (nlh->nlmsg_type != RTM_NEWLINK) /* libnl would make another kind of object of it */
		return -EBADMSG;
	memcpy(&copy_of, &nlh, sizeof copy_of);
	msg = nlmsg_convert(copy_of);
	if (!msg)
		return -ENOMEM;
	nlmsg_set_proto(msg, NETLINK_ROUTE);
	r = parse_message(msg, take_link_object, &link);
	if (r < 0)
		return r;
	if (link.ifindex <= 0)
		return -EBADMSG;
	*ret_link = link;
	return 0;
}

bool ndrv_link_is_ours(const struct ndrv_link *link)
{
	return !strncmp(link->alias, NDRV_MARK, sizeof NDRV_MARK - 1);
}

/* --- one link ------------------------------------------------------------------------------- */

void rtnl_batch_add_get(struct rtnl_batch *b, int ifindex)
{
	(void)rtnl_batch_add_link(b, RTM_GETLINK, 0, ifindex);
	rtnl_put_u32(b, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

static int take_only_link(void *ctx, unsigned i, const struct nlmsghdr *nlh)
{
	(void)i;
	return rtnl_parse_link(nlh, ctx);
}

/* Runs the one lookup in the batch. */
static int look_up(struct ndrv_rtnl *rtnl, const char *what, struct ndrv_link *ret_link,
		   struct dp_error *err)
{
	struct ndrv_link link = { 0 };
	int r = rtnl_exchange(rtnl, take_only_link, &link, err);

	if (r < 0)
		return r;
	if (rtnl->batch.acks[0].code < 0)
		return rtnl_ack_error(&rtnl->batch.acks[0], err, "%s", what);
	if (!link.ifindex)
		return dp_error_set(err, DP_ERR_INTERNAL, -EBADMSG, "%s: empty answer", what);
	*ret_link = link;
	return 0;
}

int ndrv_rtnl_get_link_by_index(struct ndrv_rtnl *rtnl, int ifindex, struct ndrv_link *ret_link,
				struct dp_error *err)
{
	char what[32];

	(void)snprintf(what, sizeof what, "link %d", ifindex);
	if (ifindex <= 0)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENODEV, "%s: no such link", what);
	rtnl_batch_add_get(rtnl_batch_begin(rtnl), ifindex);
	return look_up(rtnl, what, ret_link, err);
}

int ndrv_rtnl_get_link_by_name(struct ndrv_rtnl *rtnl, const char *name, struct ndrv_link *ret_link,
			       struct dp_error *err)
{
	size_t len = strlen(name);
	struct rtnl_batch *b;
	char what[ALTNAME_SIZE + 8];

	if (!len || len >= ALTNAME_SIZE)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENODEV, "link '%.32s': no such link",
				    name);
	(void)snprintf(what, sizeof what, "link %s", name);
	b = rtnl_batch_begin(rtnl);
	rtnl_batch_add_get(b, 0);
	/* either attribute finds both sorts of names, but the old one holds 15 bytes only */
	rtnl_put_str(b, len < NDRV_IFNAME_SIZE ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
	return look_up(rtnl, what, ret_link, err);
}

/* --- all of them ---------------------------------------------------------------------------- */

/* A growing array. libnl's own cache would keep every object it parsed, several times the size. */
struct link_list {
	struct ndrv_link *links;
	size_t n;
	size_t max;
	int r;
};

static void append_link(struct nl_object *obj, void *ctx)
{
	struct link_list *list = ctx;
	struct ndrv_link *p;
	size_t max;

	if (list->n == list->max) {
		max = list->max ? 2 * list->max : 64;
		p = reallocarray(list->links, max, sizeof *p);
		if (!p) {
			list->r = -ENOMEM;
			return;
		}
		list->links = p;
		list->max = max;
	}
	list->links[list->n++] = link_from_object((struct rtnl_link *)obj);
}

static int take_listed(struct nl_msg *msg, void *ctx)
{
	struct link_list *list = ctx;
	int r;

	if (list->r < 0 || nlmsg_hdr(msg)->nlmsg_type != RTM_NEWLINK)
		return NL_OK;
	r = parse_message(msg, append_link, list);
	if (list->r == 0)
		list->r = r;
	return NL_OK;
}

static int any_number(struct nl_msg *msg, void *ctx)
{
	(void)msg;
	(void)ctx;
	return NL_OK;
}

/* One pass. Return: 0; -EINTR links changed meanwhile; other negative libnl error. */
static int dump_links(struct ndrv_rtnl *rtnl, struct link_list *list)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	DP_CLEANUP(cb_freep) struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	DP_CLEANUP(msg_freep) struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_DUMP);
	int r;

	if (!cb || !msg)
		return -NLE_NOMEM;
	list->n = 0;
	r = nlmsg_append(msg, &ifi, sizeof ifi, NLMSG_ALIGNTO);
	if (r == 0)
		r = nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (r == 0)
		r = nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, take_listed, list);
	if (r == 0) /* see open_reader() */
		r = nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, any_number, NULL);
	if (r == 0)
		r = nl_send_auto(rtnl->reader, msg);
	return r < 0 ? r : nl_recvmsgs(rtnl->reader, cb);
}

int ndrv_rtnl_list_links(struct ndrv_rtnl *rtnl, struct ndrv_link **ret_links, size_t *ret_n_links,
			 struct dp_error *err)
{
	struct link_list list = { .n = 0 };
	int r;

	do
		r = dump_links(rtnl, &list);
	while (r == -NLE_DUMP_INTR);
	if (r >= 0 && list.r == 0 && !list.links)
		list.links = calloc(1, sizeof *list.links);
	if (r < 0 || list.r < 0 || !list.links) {
		free(list.links);
		if (r < 0)
			return reader_error(rtnl, err, r, "list links");
		return list.r == -EBADMSG ? dp_error_set(err, DP_ERR_INTERNAL, -EBADMSG,
							 "list links: the kernel's answer is garbled")
					  : dp_error_oom(err);
	}
	*ret_links = list.links;
	*ret_n_links = list.n;
	return 0;
}

static bool is_link_local(const struct nl_addr *addr)
{
	const uint8_t *b = nl_addr_get_binary_addr(addr);

	if (nl_addr_get_family(addr) == AF_INET)
		return b[0] == 169 && b[1] == 254;
	return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

static bool is_ip(const struct nl_addr *addr)
{
	int family = nl_addr_get_family(addr);

	return family == AF_INET || family == AF_INET6;
}

int ndrv_rtnl_link_has_addrs(struct ndrv_rtnl *rtnl, int ifindex, bool *ret_has,
			     struct dp_error *err)
{
	DP_CLEANUP(cache_freep) struct nl_cache *cache = NULL;
	bool has = false;
	int r;

	r = rtnl_addr_alloc_cache(rtnl->reader, &cache);
	if (r < 0)
		return reader_error(rtnl, err, r, "list addresses");
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *obj = (struct rtnl_addr *)o;
		const struct nl_addr *local = rtnl_addr_get_local(obj);

		if (rtnl_addr_get_ifindex(obj) == ifindex && local && is_ip(local))
			has = has || !is_link_local(local);
	}
	*ret_has = has;
	return 0;
}

static bool read_address(struct rtnl_addr *obj, struct ndrv_rtnl_address *ret)
{
	const struct nl_addr *local = rtnl_addr_get_local(obj);
	struct dp_addr *addr = &ret->addr.addr;
	const uint8_t *bytes;

	if (!local || !is_ip(local))
		return false;
	*ret = (struct ndrv_rtnl_address){ .ifindex = rtnl_addr_get_ifindex(obj) };
	addr->family = nl_addr_get_family(local);
	ret->addr.len = (unsigned)rtnl_addr_get_prefixlen(obj);
	bytes = nl_addr_get_binary_addr(local);
	for (unsigned i = 0; i < nl_addr_get_len(local); i++) {
		addr->hi = addr->hi << 8 | addr->lo >> 56;
		addr->lo = addr->lo << 8 | bytes[i];
	}
	return true;
}

int ndrv_rtnl_list_addresses(struct ndrv_rtnl *rtnl, struct ndrv_rtnl_address **ret, size_t *ret_n,
			     struct dp_error *err)
{
	DP_CLEANUP(cache_freep) struct nl_cache *cache = NULL;
	struct ndrv_rtnl_address *list;
	size_t n = 0;
	int r = rtnl_addr_alloc_cache(rtnl->reader, &cache);

	if (r < 0)
		return reader_error(rtnl, err, r, "list addresses");
	list = calloc((size_t)nl_cache_nitems(cache) + 1, sizeof *list);
	if (!list)
		return dp_error_oom(err);
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
		n += read_address((struct rtnl_addr *)o, &list[n]);
	*ret = list;
	*ret_n = n;
	return 0;
}
