/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "netdriver/ifname.h"
#include "netdriver/probe.h"

enum { MAX_FRAMES_PER_EVENT = 64, ND_HOP_LIMIT = 255, OPT_UNIT = 8 };

/* ---- frames ---- */

struct arp_frame {
	struct ether_header eth;
	struct ether_arp arp;
} __attribute__((packed));

struct ns_frame {
	struct ether_header eth;
	struct ip6_hdr ip;
	struct nd_neighbor_solicit ns;
} __attribute__((packed));

static size_t compose_arp(const struct dp_addr *addr, const uint8_t mac[6], uint8_t *ret_frame)
{
	struct arp_frame f = {
		.eth = { .ether_type = htons(ETHERTYPE_ARP) },
		.arp.ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP),
				.ar_hln = 6, .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST) },
	};
	uint8_t bytes[16];

	dp_addr_to_bytes(addr, bytes);
	memset(f.eth.ether_dhost, 0xff, 6);
	memcpy(f.eth.ether_shost, mac, 6);
	memcpy(f.arp.arp_sha, mac, 6);
	memcpy(f.arp.arp_tpa, bytes, 4);
	memcpy(ret_frame, &f, sizeof f);
	return sizeof f;
}

static uint32_t sum16(const void *data, size_t size, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

/* RFC 8200 8.1: over the pseudo header too. @addrs: source and destination. */
static uint16_t icmp6_checksum(const uint8_t addrs[32], const void *icmp, size_t size)
{
	uint32_t sum = sum16(addrs, 32, (uint32_t)size + IPPROTO_ICMPV6);

	sum = sum16(icmp, size, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static size_t compose_ns(const struct dp_addr *addr, const uint8_t mac[6], uint8_t *ret_frame)
{
	static const uint8_t group[13] = { 0xff, 2, [11] = 1, [12] = 0xff }; /* solicited-node */
	struct ns_frame f = {
		.eth = { .ether_type = htons(ETHERTYPE_IPV6) },
		.ip = { .ip6_ctlun.ip6_un1 = { .ip6_un1_flow = htonl(6u << 28),
					       .ip6_un1_plen = htons(sizeof f.ns),
					       .ip6_un1_nxt = IPPROTO_ICMPV6,
					       .ip6_un1_hlim = ND_HOP_LIMIT } },
		.ns.nd_ns_hdr.icmp6_type = ND_NEIGHBOR_SOLICIT,
	};
	uint8_t addrs[32] = { 0 }; /* from the unspecified address */
	uint8_t bytes[16];

	dp_addr_to_bytes(addr, bytes);
	memcpy(f.eth.ether_shost, mac, 6);
	memset(f.eth.ether_dhost, 0x33, 2);
	f.eth.ether_dhost[2] = 0xff;
	memcpy(f.eth.ether_dhost + 3, bytes + 13, 3);
	memcpy(&f.ns.nd_ns_target, bytes, 16);
	memcpy(bytes, group, sizeof group);
	memcpy(&f.ip.ip6_dst, bytes, 16);
	memcpy(addrs + 16, bytes, 16);
	f.ns.nd_ns_hdr.icmp6_cksum = icmp6_checksum(addrs, &f.ns, sizeof f.ns);
	memcpy(ret_frame, &f, sizeof f);
	return sizeof f;
}

size_t ndrv_probe_compose(const struct dp_addr *addr, const uint8_t mac[static 6],
			  uint8_t ret_frame[static NDRV_PROBE_FRAME_SIZE])
{
	return addr->family == AF_INET ? compose_arp(addr, mac, ret_frame)
				       : compose_ns(addr, mac, ret_frame);
}

static uint64_t be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static bool parse_arp(const uint8_t *frame, size_t size, struct ndrv_claim *ret_claim)
{
	static const uint8_t zero[4];
	struct arp_frame f;
	const uint8_t *ip;

	if (size < sizeof f)
		return false;
	memcpy(&f, frame, sizeof f);
	if (f.arp.ea_hdr.ar_hrd != htons(ARPHRD_ETHER) || f.arp.ea_hdr.ar_pro != htons(ETHERTYPE_IP) ||
	    f.arp.ea_hdr.ar_hln != 6 || f.arp.ea_hdr.ar_pln != 4)
		return false;
	ret_claim->probe = !memcmp(f.arp.arp_spa, zero, 4);
	ip = ret_claim->probe ? f.arp.arp_tpa : f.arp.arp_spa;
	ret_claim->addr = (struct dp_addr){ .family = AF_INET, .lo = be(ip, 4) };
	memcpy(ret_claim->mac, f.arp.arp_sha, 6);
	return memcmp(ip, zero, 4) != 0;
}

/* The link-layer address option of a neighbour advertisement; without it the frame's sender. */
static void read_option(const uint8_t *opt, size_t size, uint8_t ret_mac[6])
{
	while (size >= OPT_UNIT && opt[1] && (size_t)opt[1] * OPT_UNIT <= size) {
		if (opt[0] == ND_OPT_TARGET_LINKADDR) {
			memcpy(ret_mac, opt + 2, 6);
			return;
		}
		size -= (size_t)opt[1] * OPT_UNIT;
		opt += (size_t)opt[1] * OPT_UNIT;
	}
}

/* A solicitation from the unspecified address tries its target; an advertisement has it. Those of
 * ordinary look-ups have an address of their own, and say nothing of the target. */
static bool parse_nd(const uint8_t *frame, size_t size, struct ndrv_claim *ret_claim)
{
	static const struct in6_addr unspecified;
	struct ns_frame f;

	if (size < sizeof f)
		return false;
	memcpy(&f, frame, sizeof f);
	if (f.ip.ip6_nxt != IPPROTO_ICMPV6 || f.ip.ip6_hlim != ND_HOP_LIMIT)
		return false;
	ret_claim->probe = f.ns.nd_ns_hdr.icmp6_type == ND_NEIGHBOR_SOLICIT;
	if (ret_claim->probe ? memcmp(&f.ip.ip6_src, &unspecified, 16) != 0
			     : f.ns.nd_ns_hdr.icmp6_type != ND_NEIGHBOR_ADVERT)
		return false;
	ret_claim->addr = (struct dp_addr){
		.family = AF_INET6,
		.hi = be((const uint8_t *)&f.ns.nd_ns_target, 8),
		.lo = be((const uint8_t *)&f.ns.nd_ns_target + 8, 8),
	};
	memcpy(ret_claim->mac, f.eth.ether_shost, 6);
	if (!ret_claim->probe)
		read_option(frame + sizeof f, size - sizeof f, ret_claim->mac);
	return true;
}

bool ndrv_probe_parse(const uint8_t *frame, size_t size, struct ndrv_claim *ret_claim)
{
	uint64_t type = size >= sizeof(struct ether_header) ? be(frame + 12, 2) : 0;

	if (type == ETHERTYPE_ARP)
		return parse_arp(frame, size, ret_claim);
	return type == ETHERTYPE_IPV6 && parse_nd(frame, size, ret_claim);
}

/* ---- sockets ---- */

enum family { V4, V6, N_FAMILIES };

static const uint16_t ethertypes[N_FAMILIES] = { ETHERTYPE_ARP, ETHERTYPE_IPV6 };

struct port {
	struct port *next;
	struct ndrv_prober *prober;
	char bridge[NDRV_IFNAME_BUF];
	int ifindex;
	uint8_t mac[6];
	int fd[N_FAMILIES];
	struct ndrv_probe *probes;
};

struct ndrv_prober {
	struct dp_loop *loop;
	ndrv_heard_fn heard;
	void *ctx;
	struct port *ports;
};

struct ndrv_probe {
	struct ndrv_probe *next;
	struct port *port;
	struct dp_addr addr;
	struct dp_timer timer;
	uint64_t step_ms; /* between two frames */
	unsigned left;    /* frames still to be sent */
	ndrv_probe_fn fn;
	void *ctx;
};

int ndrv_prober_new(struct dp_loop *loop, ndrv_heard_fn heard, void *ctx,
		    struct ndrv_prober **ret_prober, struct dp_error *err)
{
	struct ndrv_prober *p = calloc(1, sizeof *p);

	if (!p)
		return dp_error_oom(err);
	*p = (struct ndrv_prober){ .loop = loop, .heard = heard, .ctx = ctx };
	*ret_prober = p;
	return 0;
}

static void unlink_probe(struct ndrv_probe *probe)
{
	struct ndrv_probe **p = &probe->port->probes;

	while (*p != probe)
		p = &(*p)->next;
	*p = probe->next;
	dp_timer_disarm(probe->port->prober->loop, &probe->timer);
}

void ndrv_probe_cancel(struct ndrv_probe *probe)
{
	if (!probe)
		return;
	unlink_probe(probe);
	free(probe);
}

static void finish(struct ndrv_probe *probe, const uint8_t *mac)
{
	ndrv_probe_fn fn = probe->fn;
	void *ctx = probe->ctx;

	ndrv_probe_cancel(probe);
	fn(ctx, mac);
}

static void port_close(struct port *port)
{
	struct port **p = &port->prober->ports;

	while (port->probes)
		finish(port->probes, NULL);
	while (*p && *p != port)
		p = &(*p)->next;
	if (*p)
		*p = port->next;
	for (unsigned f = 0; f < N_FAMILIES; f++) {
		dp_loop_del_fd(port->prober->loop, port->fd[f]);
		if (port->fd[f] >= 0)
			(void)close(port->fd[f]);
	}
	free(port);
}

void ndrv_prober_free(struct ndrv_prober *prober)
{
	if (!prober)
		return;
	while (prober->ports)
		port_close(prober->ports);
	free(prober);
}

/* The probes of @port that @claim answers. Our own frames are not looped back to us, so a probe
 * for the same address is another host's. */
static void answer(struct port *port, const struct ndrv_claim *claim)
{
	struct ndrv_probe *next;

	for (struct ndrv_probe *p = port->probes; p; p = next) {
		next = p->next;
		if (!dp_addr_cmp(&p->addr, &claim->addr) && memcmp(claim->mac, port->mac, 6))
			finish(p, claim->mac);
	}
}

static void receive(struct port *port, enum family f)
{
	uint8_t frame[128]; /* what matters of it */
	ssize_t n;

	for (int i = 0; i < MAX_FRAMES_PER_EVENT; i++) {
		struct ndrv_claim claim;

		n = recv(port->fd[f], frame, sizeof frame, MSG_DONTWAIT);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				port_close(port); /* the bridge is down or gone */
			return;
		}
		if (!ndrv_probe_parse(frame, (size_t)n, &claim))
			continue;
		answer(port, &claim);
		port->prober->heard(port->prober->ctx, port->bridge, &claim);
	}
}

static void on_arp(void *port, uint32_t events)
{
	(void)events;
	receive(port, V4);
}

static void on_nd(void *port, uint32_t events)
{
	(void)events;
	receive(port, V6);
}

/* Only neighbour solicitations and advertisements pass, before they cost us a wake-up. */
static int filter_nd(int fd)
{
	enum { NEXT_HEADER = 14 + 6, ICMP_TYPE = 14 + 40 };
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NEXT_HEADER),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ICMP_TYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_SOLICIT, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	static const struct sock_fprog program = { .len = DP_ARRAY_LEN(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* @protocol 0 until it is bound, so that no frame of another link gets in. */
static int open_socket(struct port *port, enum family f, struct dp_error *err)
{
	static const dp_loop_fd_fn readers[N_FAMILIES] = { on_arp, on_nd };
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_ifindex = port->ifindex };
	auto_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return dp_error_set(err, errno == EPERM ? DP_ERR_UNSUPPORTED : DP_ERR_INTERNAL, -errno,
				    "packet socket: %s", strerror(errno));
	sa.sll_protocol = htons(ethertypes[f]);
	if ((f == V6 && filter_nd(fd) < 0) || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -errno, "packet socket on %s: %s",
				    port->bridge, strerror(errno));
	r = dp_loop_add_fd(port->prober->loop, fd, EPOLLIN, readers[f], port, err);
	if (r == 0)
		port->fd[f] = dp_take_fd(&fd);
	return r;
}

static struct port *find_port(const struct ndrv_prober *prober, const char *bridge)
{
	struct port *p = prober->ports;

	while (p && strcmp(p->bridge, bridge))
		p = p->next;
	return p;
}

void ndrv_prober_forget(struct ndrv_prober *prober, const char *bridge)
{
	struct port *port = find_port(prober, bridge);

	if (port)
		port_close(port);
}

int ndrv_prober_watch(struct ndrv_prober *prober, const char *bridge, struct dp_error *err)
{
	struct port *port = find_port(prober, bridge);
	int ifindex = (int)if_nametoindex(bridge);
	int r = 0;

	if (port && port->ifindex == ifindex)
		return 0;
	if (port)
		port_close(port);
	if (!ifindex)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -ENODEV, "link %s: %s", bridge,
				    strerror(errno));
	port = calloc(1, sizeof *port);
	if (!port)
		return dp_error_oom(err);
	*port = (struct port){ .prober = prober, .ifindex = ifindex, .fd = { -EBADF, -EBADF } };
	memccpy(port->bridge, bridge, '\0', sizeof port->bridge - 1);
	for (unsigned f = 0; r == 0 && f < N_FAMILIES; f++)
		r = open_socket(port, (enum family)f, err);
	if (r < 0) {
		port_close(port);
		return r;
	}
	port->next = prober->ports;
	prober->ports = port;
	return 0;
}

/* ---- probing ---- */

/* A bridge takes another MAC address as ports come and go, and answers go to the present one. */
static int read_mac(struct port *port, struct dp_error *err)
{
	struct sockaddr_ll sa;
	socklen_t len = sizeof sa;

	if (getsockname(port->fd[V4], (struct sockaddr *)&sa, &len) < 0 || sa.sll_halen != 6)
		return dp_error_set(err, DP_ERR_UNSUPPORTED, -EAFNOSUPPORT,
				    "%s has no Ethernet address", port->bridge);
	memcpy(port->mac, sa.sll_addr, 6);
	return 0;
}

static int send_probe(struct ndrv_probe *probe, struct dp_error *err)
{
	struct port *port = probe->port;
	uint8_t frame[NDRV_PROBE_FRAME_SIZE];
	size_t size = ndrv_probe_compose(&probe->addr, port->mac, frame);
	ssize_t n = send(port->fd[probe->addr.family == AF_INET ? V4 : V6], frame, size, MSG_DONTWAIT);

	if (n < 0)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, -errno, "probe on %s: %s", port->bridge,
				    strerror(errno));
	return 0;
}

/* A frame that cannot be sent is one that got lost: there are others. */
static void on_step(void *ctx)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct ndrv_probe *probe = ctx;
	struct dp_loop *loop = probe->port->prober->loop;

	if (!probe->left) {
		finish(probe, NULL);
		return;
	}
	probe->left--;
	(void)send_probe(probe, &ignored);
	dp_timer_arm(loop, &probe->timer, dp_loop_now_ms(loop) + probe->step_ms);
}

int ndrv_probe_start(struct ndrv_prober *prober, const char *bridge, const struct dp_addr *addr,
		     uint64_t wait_ms, ndrv_probe_fn fn, void *ctx, struct ndrv_probe **ret_probe,
		     struct dp_error *err)
{
	struct ndrv_probe *probe;
	int r = ndrv_prober_watch(prober, bridge, err);

	if (r < 0)
		return r;
	probe = calloc(1, sizeof *probe);
	if (!probe)
		return dp_error_oom(err);
	*probe = (struct ndrv_probe){ .port = find_port(prober, bridge),
				      .addr = *addr,
				      .timer = { .fn = on_step, .ctx = probe },
				      .step_ms = wait_ms / NDRV_PROBES + 1,
				      .left = NDRV_PROBES - 1,
				      .fn = fn,
				      .ctx = ctx };
	r = read_mac(probe->port, err);
	if (r == 0)
		r = send_probe(probe, err);
	if (r < 0) {
		free(probe);
		return r;
	}
	probe->next = probe->port->probes;
	probe->port->probes = probe;
	dp_timer_arm(prober->loop, &probe->timer, dp_loop_now_ms(prober->loop) + probe->step_ms);
	*ret_probe = probe;
	return 0;
}
