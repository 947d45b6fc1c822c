/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_PROBE_H
#define DP_NETDRIVER_PROBE_H

/*
 * Is an address in use on a segment already? Asked before a container gets it, and listened for
 * ever after.
 *
 * IPv4: ARP probes (RFC 5227 2.1.1: sender address 0.0.0.0), IPv6: neighbour solicitations from the
 * unspecified address (RFC 4862 5.4). Three of them spread over the time that is given, where the
 * RFCs take seconds: whoever waits for a container does not. Taken is an address whose holder says
 * so within that time, or that another host probes for as well.
 *
 * Frames go out by the bridge, which floods them to all its ports: the uplink and every container.
 * Answers go to the bridge's own MAC address, or to all. One packet socket a bridge and family, each
 * with a filter in the kernel; they stay open as long as the bridge is watched. CAP_NET_RAW.
 */

#include <net/if.h>
#include <stdbool.h>

#include "common/inaddr.h"
#include "common/loop.h"

enum {
	NDRV_PROBE_FRAME_SIZE = 86, /* bytes: the longest frame that is sent, a solicitation */
	NDRV_PROBES = 3,            /* frames sent for one address */
};

/* ---- frames; pure ---- */

/* What a frame says: that @addr is @mac's, or that @mac wants to have it. */
struct ndrv_claim {
	struct dp_addr addr;
	uint8_t mac[6];
	bool probe; /* it only asks, as we do */
};

/**
 * ndrv_probe_compose() - the frame that asks for @addr
 * @mac: of the sender
 *
 * Return: bytes of @ret_frame.
 */
size_t ndrv_probe_compose(const struct dp_addr *addr, const uint8_t mac[static 6],
			  uint8_t ret_frame[static NDRV_PROBE_FRAME_SIZE]);

/**
 * ndrv_probe_parse() - what an ARP or neighbour discovery frame claims
 * @frame: from the Ethernet header on, any content
 *
 * Return: true; false if it claims nothing, or is malformed.
 */
bool ndrv_probe_parse(const uint8_t *frame, size_t size, struct ndrv_claim *ret_claim);

/* ---- probing ---- */

struct ndrv_prober;
struct ndrv_probe;

/* Every claim that is heard on a watched bridge. */
typedef void (*ndrv_heard_fn)(void *ctx, const char *bridge, const struct ndrv_claim *claim);

/* The outcome: @mac is the holder's, NULL = nobody holds the address. The probe is gone. */
typedef void (*ndrv_probe_fn)(void *ctx, const uint8_t *mac);

/**
 * ndrv_prober_new() - no socket yet
 * @loop:  borrowed; must outlive it
 * @heard: called with @ctx; must not close the prober
 *
 * Return: 0; -ENOMEM.
 */
DP_NODISCARD int ndrv_prober_new(struct dp_loop *loop, ndrv_heard_fn heard, void *ctx,
				 struct ndrv_prober **ret_prober, struct dp_error *err);

/* ndrv_prober_free() - closes the sockets. Probes must have ended. NULL is fine. */
void ndrv_prober_free(struct ndrv_prober *prober);

/**
 * ndrv_prober_watch() - listen on @bridge from now on; again and again is fine
 *
 * A bridge that has been made anew is noticed by its index.
 *
 * Return: 0; -ENODEV (DP_ERR_UNAVAILABLE) no such link; -EPERM (DP_ERR_UNSUPPORTED) CAP_NET_RAW is
 *         missing; negative errno of socket(2), bind(2); -ENOMEM.
 */
DP_NODISCARD int ndrv_prober_watch(struct ndrv_prober *prober, const char *bridge,
				   struct dp_error *err);

/* ndrv_prober_forget() - stop listening on @bridge; its probes end as if nobody held the address. */
void ndrv_prober_forget(struct ndrv_prober *prober, const char *bridge);

/**
 * ndrv_probe_start() - who holds @addr?
 * @bridge:    watched from now on
 * @wait_ms:   time for an answer, > 0
 * @fn:        called once with @ctx, never from within this function
 * @ret_probe: out: for ndrv_probe_cancel(), until @fn is called
 *
 * Return: 0; as ndrv_prober_watch(); negative errno of sendto(2), such as -ENETDOWN.
 */
DP_NODISCARD int ndrv_probe_start(struct ndrv_prober *prober, const char *bridge,
				  const struct dp_addr *addr, uint64_t wait_ms, ndrv_probe_fn fn,
				  void *ctx, struct ndrv_probe **ret_probe, struct dp_error *err);

/* ndrv_probe_cancel() - forget it: its function will not be called. NULL is fine. */
void ndrv_probe_cancel(struct ndrv_probe *probe);

#endif
