/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What the kernel answers. The first byte names an operation; then come datagrams: two bytes of
 * length, a byte that says whether the messages get the numbers of the requests they answer, and the
 * bytes. Nothing is sent: the linker wraps libmnl's two calls. When the datagrams are used up, the
 * kernel is silent.
 */

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netdriver/firewall_internal.h"
#include "netdriver/rtnl_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);

static const uint8_t *input;
static size_t input_size;
static uint32_t first_seq; /* of the requests sent last */
static unsigned n_sent;
static bool no_objects; /* only verdicts arrive */

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size)
{
	const struct nlmsghdr *nlh = buf;
	int left = (int)size;

	(void)nl;
	first_seq = nlh->nlmsg_seq;
	for (n_sent = 0; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		n_sent++;
	assert(left == 0 && n_sent > 0); /* what we compose is well-formed */
	return (ssize_t)size;
}

static void number_messages(void *buf, size_t size)
{
	struct nlmsghdr *nlh = buf;
	int left = (int)size;
	uint32_t i = 0;

	for (; ndrv_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		nlh->nlmsg_seq = first_seq + i % (n_sent ? n_sent : 1);
		i += nlh->nlmsg_type == NLMSG_ERROR;
	}
}

static void drop_objects(void *buf, size_t size)
{
	struct nlmsghdr *nlh = buf;

	for (int left = (int)size; ndrv_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_type >= NLMSG_MIN_TYPE)
			nlh->nlmsg_type = NLMSG_NOOP;
	}
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
	size_t n;

	(void)nl;
	if (input_size < 3) {
		errno = EAGAIN;
		return -1;
	}
	n = (size_t)(input[0] | input[1] << 8);
	if (n > input_size - 3)
		n = input_size - 3;
	if (n > size)
		n = size;
	memcpy(buf, input + 3, n);
	if (input[2] & 1)
		number_messages(buf, n);
	if (no_objects)
		drop_objects(buf, n);
	input += 3 + n;
	input_size -= 3 + n;
	return (ssize_t)n;
}

/* ---- operations ---- */

static void check(int r, const struct dp_error *err)
{
	assert(r <= 0);
	assert(r == 0 || (err->code == r && *err->msg && strlen(err->msg) < sizeof err->msg));
}

static void check_link(int r, const struct ndrv_link *link, const struct dp_error *err)
{
	check(r, err);
	if (r < 0)
		return;
	assert(link->ifindex > 0);
	assert(memchr(link->name, 0, sizeof link->name));
	assert(memchr(link->kind, 0, sizeof link->kind));
	assert(memchr(link->alias, 0, sizeof link->alias));
	(void)ndrv_link_is_ours(link);
}

static void get(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	struct ndrv_link link = { .ifindex = 0 };

	check_link(ndrv_rtnl_get_link_by_name(rtnl, "eth9", &link, err), &link, err);
	*err = (struct dp_error)DP_ERROR_INIT;
	check_link(ndrv_rtnl_get_link_by_index(rtnl, 7, &link, err), &link, err);
}

static void create_bridge(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct ndrv_bridge_spec spec = { .name = "b0", .alias = "mynetworkplugin:bridge:x",
					       .mtu = 1500, .ipv6_off = true, .up = true };
	int ifindex = 0;
	int r = ndrv_rtnl_create_bridge(rtnl, &spec, &ifindex, err);

	check(r, err);
	assert(r < 0 || ifindex > 0);
}

static void create_vlan(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct ndrv_vlan_spec spec = { .name = "v0", .alias = "mynetworkplugin:vlan:x",
					     .parent = 2, .vid = 7, .master = 3, .up = true };
	int ifindex = 0;
	int r = ndrv_rtnl_create_vlan(rtnl, &spec, &ifindex, err);

	check(r, err);
	assert(r < 0 || ifindex > 0);
}

static void create_veth(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct ndrv_veth_spec spec = { .name = "h0", .alias = "mynetworkplugin:veth:x",
					     .master = 3, .up = true, .peer_name = "c0",
					     .peer_alias = "mynetworkplugin:peer:x",
					     .peer_mac = { 2, 0, 0, 0, 0, 1 } };
	int ifindex = 0;
	int peer = 0;
	int r = ndrv_rtnl_create_veth(rtnl, &spec, &ifindex, &peer, err);

	check(r, err);
	assert(r < 0 || (ifindex > 0 && peer > 0));
}

static void delete(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct ndrv_link_ref refs[] = { { 5, "mynetworkplugin:veth:x" }, { 6, NULL }, { 7, NULL } };

	check(ndrv_rtnl_delete_links(rtnl, refs, 3, err), err);
}

static void change(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct ndrv_link link = { .ifindex = 4, .name = "old", .up = true };

	check(ndrv_rtnl_rename(rtnl, &link, "new", err), err);
	*err = (struct dp_error)DP_ERROR_INIT;
	check(ndrv_rtnl_set_master(rtnl, 4, 5, err), err);
}

static void configure(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	struct dp_prefix addr4;
	struct dp_prefix addr6;
	struct ndrv_configure_spec spec = { .ifindex = 4, .alias = "mynetworkplugin:peer:x",
					    .addr4 = &addr4, .addr6 = &addr6 };

	assert(dp_prefix_parse("10.0.0.2/24", &addr4) == 0 && dp_prefix_parse("fd00::2/64", &addr6) == 0);
	check(ndrv_rtnl_configure(rtnl, &spec, err), err);
	*err = (struct dp_error)DP_ERROR_INIT;
	check(ndrv_rtnl_add_address(rtnl, 4, &addr4, err), err);
}

static void on_event(void *ctx, const struct ndrv_rtnl_event *event)
{
	(void)ctx;
	assert(memchr(event->name, 0, sizeof event->name));
	assert(memchr(event->alias, 0, sizeof event->alias));
}

/* Events come by the same way, on a socket of their own. */
static void watch(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	static struct ndrv_rtnl_watch *w;

	if (!w && ndrv_rtnl_watch_open(rtnl, on_event, NULL, &w, err) < 0)
		return;
	ndrv_rtnl_watch_read(w);
}

/* Verdicts only: libnftnl, which reads the rules, ends the process at an attribute that is not as it
 * expects. That is its answer to a kernel that is broken. */
static void change_rules(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	static struct ndrv_fw fw;
	const struct fw_set set = { .id = "x", .comment = FW_MARK "x", .n_rules = 1,
				    .rules = { { .in = "b0", .out = "b0", .accept = true } } };
	struct fw_ids ids = { .n = 0 };
	bool found;

	(void)rtnl;
	no_objects = true;
	check(fw_nft.list(&fw, AF_INET, &ids, err), err);
	for (size_t i = 0; i < ids.n; i++)
		assert(memchr(ids.ids[i].id, 0, sizeof ids.ids[i].id));
	free(ids.ids);
	*err = (struct dp_error)DP_ERROR_INIT;
	check(fw_nft.sync(&fw, AF_INET6, &set, &found, err), err);
	no_objects = false;
}

static void (*const operations[])(struct ndrv_rtnl *rtnl, struct dp_error *err) = {
	get, create_bridge, create_vlan, create_veth, delete, change, configure, watch,
	change_rules,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ndrv_rtnl *rtnl;
	struct dp_error err = DP_ERROR_INIT;

	if (!rtnl && ndrv_rtnl_open(&rtnl, &err) < 0)
		return 0; /* no netlink here */
	if (!size)
		return 0;
	input = data + 1;
	input_size = size - 1;
	operations[data[0] % DP_ARRAY_LEN(operations)](rtnl, &err);
	return 0;
}
