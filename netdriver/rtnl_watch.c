/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What happens to links, as the kernel tells it. Of each message only what is needed to recognise
 * the link is taken, since every attach of ours brings several.
 */

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netdriver/rtnl_internal.h"

enum { WATCH_BUFFER = 1 << 20 /* bytes: a thousand messages */ };

struct ndrv_rtnl_watch {
	struct ndrv_rtnl *rtnl;
	struct mnl_socket *nl;
	ndrv_rtnl_event_fn *fn;
	void *ctx;
	char rx[2 * RTNL_BUF_SIZE];
};

int ndrv_rtnl_watch_open(struct ndrv_rtnl *rtnl, ndrv_rtnl_event_fn *fn, void *ctx,
			 struct ndrv_rtnl_watch **ret_watch, struct dp_error *err)
{
	struct ndrv_rtnl_watch *w = calloc(1, sizeof *w);
	int size = WATCH_BUFFER;
	int r;

	if (!w)
		return dp_error_oom(err);
	w->rtnl = rtnl;
	w->fn = fn;
	w->ctx = ctx;
	w->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->nl ||
	    mnl_socket_bind(w->nl, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
			    MNL_SOCKET_AUTOPID) < 0) {
		r = dp_error_set(err, DP_ERR_INTERNAL, -errno, "watch links: %s", strerror(errno));
		ndrv_rtnl_watch_close(w);
		return r;
	}
	if (setsockopt(mnl_socket_get_fd(w->nl), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(mnl_socket_get_fd(w->nl), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	rtnl->watch = w;
	*ret_watch = w;
	return 0;
}

void ndrv_rtnl_watch_close(struct ndrv_rtnl_watch *watch)
{
	if (!watch)
		return;
	if (watch->nl)
		(void)mnl_socket_close(watch->nl);
	watch->rtnl->watch = NULL;
	watch->rtnl->free_group = 0;
	free(watch);
}

int ndrv_rtnl_watch_fd(const struct ndrv_rtnl_watch *watch)
{
	return mnl_socket_get_fd(watch->nl);
}

static void take_text(char *to, size_t size, const struct nlattr *attr)
{
	if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		(void)snprintf(to, size, "%s", mnl_attr_get_str(attr));
}

static int take_attribute(const struct nlattr *attr, void *ctx)
{
	struct ndrv_rtnl_event *ev = ctx;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		take_text(ev->name, sizeof ev->name, attr);
		break;
	case IFLA_IFALIAS:
		take_text(ev->alias, sizeof ev->alias, attr);
		break;
	case IFLA_GROUP:
		if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			ev->group = mnl_attr_get_u32(attr);
		break;
	case IFLA_MASTER:
		if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			ev->master = (int)mnl_attr_get_u32(attr);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static void take_message(struct ndrv_rtnl_watch *w, const struct nlmsghdr *nlh)
{
	struct ndrv_rtnl_event ev = { .kind = NDRV_EVENT_LINK };
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type == RTM_DELADDR && mnl_nlmsg_get_payload_len(nlh) >= sizeof *ifa) {
		ev.kind = NDRV_EVENT_ADDRESS_GONE;
		ev.ifindex = (int)ifa->ifa_index;
		w->fn(w->ctx, &ev);
		return;
	}
	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof *ifi)
		return;
	/* The bridge tells of its ports' states in messages of its own family. */
	if (ifi->ifi_family != AF_UNSPEC)
		return;
	if (nlh->nlmsg_type == RTM_DELLINK)
		ev.kind = NDRV_EVENT_LINK_GONE;
	ev.ifindex = ifi->ifi_index;
	ev.up = ifi->ifi_flags & IFF_UP;
	(void)mnl_attr_parse(nlh, sizeof *ifi, take_attribute, &ev);
	if (ev.kind == NDRV_EVENT_LINK)
		rtnl_note_group(w->rtnl, ev.ifindex, ev.group);
	w->fn(w->ctx, &ev);
}

void ndrv_rtnl_watch_read(struct ndrv_rtnl_watch *watch)
{
	static const struct ndrv_rtnl_event lost = { .kind = NDRV_EVENT_LOST };
	ssize_t n;

	for (;;) {
		const struct nlmsghdr *nlh = (const void *)watch->rx;
		int left;

		n = mnl_socket_recvfrom(watch->nl, watch->rx, sizeof watch->rx);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			watch->rtnl->free_group = 0;
			watch->fn(watch->ctx, &lost);
			continue;
		}
		if (n <= 0)
			return;
		for (left = (int)n; ndrv_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			take_message(watch, nlh);
	}
}
