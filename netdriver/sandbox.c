/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "netdriver/sandbox.h"

enum { STACK_BYTES = 128 * 1024, MAX_NUMBER = 1000, HOPS_ON_LINK = 255 };

/* ---- being inside ---- */

struct visit {
	int ns_fd;
	int (*fn)(void *arg, struct dp_error *err);
	void *arg;
	struct dp_error err;
	int r;
};

static void *visit_main(void *arg)
{
	struct visit *v = arg;

	if (setns(v->ns_fd, CLONE_NEWNET) < 0)
		v->r = dp_error_set(&v->err, DP_ERR_UNSUPPORTED, -errno,
				    "enter the container's network namespace: %s", strerror(errno));
	else
		v->r = v->fn(v->arg, &v->err);
	return NULL;
}

/* Runs @fn inside, in a thread that ends with it. */
static int visit(int ns_fd, int (*fn)(void *arg, struct dp_error *err), void *arg,
		 struct dp_error *err)
{
	struct visit v = { .ns_fd = ns_fd, .fn = fn, .arg = arg, .err = DP_ERROR_INIT };
	pthread_attr_t attr;
	pthread_t thread;
	int r = pthread_attr_init(&attr);

	if (r == 0) {
		(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
		r = pthread_create(&thread, &attr, visit_main, &v);
		(void)pthread_attr_destroy(&attr);
	}
	if (r != 0)
		return dp_error_set(err, DP_ERR_INTERNAL, -r, "start a thread: %s", strerror(r));
	(void)pthread_join(thread, NULL);
	if (v.r < 0 && err)
		*err = v.err;
	return v.r;
}

static int open_inside(void *arg, struct dp_error *err)
{
	return ndrv_rtnl_open(arg, err);
}

int ndrv_sandbox_open(const char *key, struct ndrv_sandbox *ret_sandbox, struct dp_error *err)
{
	struct ndrv_rtnl *rtnl;
	auto_close int fd = open(key, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return dp_error_set(err, errno == ENOENT ? DP_ERR_NOT_FOUND : DP_ERR_UNSUPPORTED,
				    -errno, "%s: %s", key, strerror(errno));
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "%s is no network namespace", key);
	r = visit(fd, open_inside, &rtnl, err);
	if (r < 0)
		return r;
	*ret_sandbox = (struct ndrv_sandbox){ .ns_fd = dp_take_fd(&fd), .rtnl = rtnl };
	return 0;
}

void ndrv_sandbox_close(struct ndrv_sandbox *sandbox)
{
	ndrv_rtnl_close(sandbox->rtnl);
	if (sandbox->ns_fd >= 0)
		(void)close(sandbox->ns_fd);
	*sandbox = (struct ndrv_sandbox)NDRV_SANDBOX_INIT;
}

static bool is_taken(const struct ndrv_link *links, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(links[i].name, name))
			return true;
	}
	return false;
}

int ndrv_sandbox_free_name(struct ndrv_sandbox *sandbox, const char *prefix,
			   char ret_name[static NDRV_IFNAME_BUF], struct dp_error *err)
{
	auto_free struct ndrv_link *links = NULL;
	size_t n;
	int r = ndrv_rtnl_list_links(sandbox->rtnl, &links, &n, err);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < MAX_NUMBER; i++) {
		int len = snprintf(ret_name, NDRV_IFNAME_BUF, "%s%u", prefix, i);

		if (len >= NDRV_IFNAME_BUF)
			break;
		if (!is_taken(links, n, ret_name))
			return 0;
	}
	return dp_error_set(err, DP_ERR_EXHAUSTED, -ENOSPC,
			    "no free name that begins with '%s' is left in the container", prefix);
}

/* ---- finishing ---- */

static int write_sysctl(const char *path, const char *value, struct dp_error *err)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		return dp_error_set(err, DP_ERR_INVALID, -errno, "sysctl %s=%s: %s", path,
				    value, strerror(errno));
	return 0;
}

/* "net.ipv4.conf.IFNAME.log_martians=1". Dots separate; none is part of a name of ours. */
static int set_sysctl(const char *text, const struct ndrv_sandbox_link *link, struct dp_error *err)
{
	auto_free char *path = NULL;
	const char *value = strchr(text, '=');
	const char *hole = strstr(text, ".IFNAME.");

	if (strncmp(text, "net.", 4) || !value || strstr(text, "..") || strchr(text, '/'))
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "endpoint sysctl '%s': expected net.ipv4.conf.IFNAME.KEY=VALUE",
				    text);
	if (hole && hole < value) {
		if (asprintf(&path, "%s/%.*s/%s/%.*s", link->sysctl_dir, (int)(hole - text), text,
			     link->name, (int)(value - hole - 8), hole + 8) < 0)
			path = NULL;
	} else if (asprintf(&path, "%s/%.*s", link->sysctl_dir, (int)(value - text), text) < 0) {
		path = NULL;
	}
	if (!path)
		return dp_error_oom(err);
	for (char *p = path + strlen(link->sysctl_dir); *p; p++) {
		if (*p == '.')
			*p = '/';
	}
	return write_sysctl(path, value + 1, err);
}

/* The engine forbids IPv6 to containers that had no address of it, for links to come as well (moby:
 * osl/interface_linux.go). A kernel without IPv6 has no such file. */
static void allow_ipv6(const struct ndrv_sandbox_link *link)
{
	auto_free char *path = NULL;
	struct dp_error err = DP_ERROR_INIT;

	if (asprintf(&path, "%s/net/ipv6/conf/%s/disable_ipv6", link->sysctl_dir, link->name) < 0)
		path = NULL;
	else if (write_sysctl(path, link->addr6->addr.family == AF_UNSPEC ? "1" : "0", &err) < 0 &&
		 err.code != -ENOENT)
		dp_log_warning("%s", err.msg);
}

static int set_sysctls(void *arg, struct dp_error *err)
{
	const struct ndrv_sandbox_link *link = arg;
	auto_free char *list = strdup(link->sysctls);
	char *rest = NULL;
	int r = list ? 0 : dp_error_oom(err);

	allow_ipv6(link);
	for (char *w = list ? strtok_r(list, ",", &rest) : NULL; w && r == 0;
	     w = strtok_r(NULL, ",", &rest))
		r = set_sysctl(w, link, err);
	return r;
}

/* Neighbours that knew the address under another MAC learn of this one (RFC 5227 section 3). */
static void announce4(const struct ndrv_sandbox_link *link)
{
	struct ether_arp arp = {
		.ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP),
			    .ar_hln = ETH_ALEN, .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST) },
	};
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_ARP),
				  .sll_ifindex = link->ifindex, .sll_halen = ETH_ALEN,
				  .sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	auto_close int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	uint8_t ip[16];

	(void)dp_addr_to_bytes(&link->addr4->addr, ip);
	memcpy(arp.arp_sha, link->mac, ETH_ALEN);
	memcpy(arp.arp_spa, ip, sizeof arp.arp_spa);
	memcpy(arp.arp_tpa, ip, sizeof arp.arp_tpa);
	if (fd < 0 || sendto(fd, &arp, sizeof arp, 0, (const struct sockaddr *)&to, sizeof to) < 0)
		dp_log_debug("%s is not announced: %s", link->name, strerror(errno));
}

/* The same for IPv6 (RFC 4861 section 7.2.6). The kernel adds the checksum. */
static void announce6(const struct ndrv_sandbox_link *link)
{
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr opt;
		uint8_t mac[ETH_ALEN];
	} msg = { .na = { .nd_na_hdr.icmp6_type = ND_NEIGHBOR_ADVERT },
		  .opt = { .nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1 } };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 };
	struct sockaddr_in6 to = { .sin6_family = AF_INET6,
				   .sin6_scope_id = (uint32_t)link->ifindex };
	int hops = HOPS_ON_LINK;
	auto_close int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);

	msg.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	(void)dp_addr_to_bytes(&link->addr6->addr, from.sin6_addr.s6_addr);
	msg.na.nd_na_target = from.sin6_addr;
	memcpy(msg.mac, link->mac, ETH_ALEN);
	to.sin6_addr = (struct in6_addr){ .s6_addr = { 0xff, 2, [15] = 1 } };
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) < 0 ||
	    bind(fd, (const struct sockaddr *)&from, sizeof from) < 0 ||
	    sendto(fd, &msg, sizeof msg, 0, (const struct sockaddr *)&to, sizeof to) < 0)
		dp_log_debug("%s is not announced: %s", link->name, strerror(errno));
}

static int announce(void *arg, struct dp_error *err)
{
	const struct ndrv_sandbox_link *link = arg;

	(void)err;
	if (link->addr4->addr.family != AF_UNSPEC)
		announce4(link);
	if (link->addr6->addr.family != AF_UNSPEC)
		announce6(link);
	return 0;
}

int ndrv_sandbox_finish(struct ndrv_sandbox *sandbox, const struct ndrv_sandbox_link *link,
			struct dp_error *err)
{
	const struct ndrv_configure_spec spec = { .ifindex = link->ifindex,
						  .alias = link->alias,
						  .addr4 = link->addr4,
						  .addr6 = link->addr6 };
	struct ndrv_sandbox_link copy = *link;
	int r = visit(sandbox->ns_fd, set_sysctls, &copy, err); /* some count only before it is up */

	if (r == 0)
		r = ndrv_rtnl_configure(sandbox->rtnl, &spec, err);
	return r < 0 ? r : visit(sandbox->ns_fd, announce, &copy, err);
}
