/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_PEER_H
#define DP_IPAM_PEER_H

/*
 * What the network daemons know, asked for over their sockets (common/peer.h): which networks and
 * endpoints live, with the link, MAC address and network behind each address, which the engine does not
 * tell an IPAM driver.
 */

#include <jansson.h>
#include <stdbool.h>

#include "common/inaddr.h"
#include "common/loop.h"

enum { IPAM_PEER_ID_SIZE = 65, IPAM_PEER_LINK_SIZE = 16, IPAM_PEER_MAC_SIZE = 18 };

/* One address of an endpoint; an endpoint of two families is there twice. */
struct ipam_peer_endpoint {
	struct dp_addr addr;
	char id[IPAM_PEER_ID_SIZE];
	char network[IPAM_PEER_ID_SIZE];
	char mac[IPAM_PEER_MAC_SIZE];
	char link[IPAM_PEER_LINK_SIZE];   /* the host's end of the container's link */
	char bridge[IPAM_PEER_LINK_SIZE];
	int64_t since;                    /* seconds since 1970; 0 = not known */
};

/* All answers of one round. */
struct ipam_peer_view;

void ipam_peer_view_free(struct ipam_peer_view *view); /* NULL is fine */

/* ipam_peer_view_networks() - how many networks have @pool, in the local book. */
size_t ipam_peer_view_networks(const struct ipam_peer_view *view, const struct dp_prefix *pool);

/* ipam_peer_view_own() - of those, how many are networks of the engine itself, which it keeps on disk:
 * their ids are 64 hexadecimal digits, those of a Swarm's networks are not (moby: stringid, swarmkit:
 * identity). */
size_t ipam_peer_view_own(const struct ipam_peer_view *view, const struct dp_prefix *pool);

/* ipam_peer_view_endpoint() - the endpoint that has @addr; NULL if there is none, or more than one:
 * tenants may have the same addresses. O(log endpoints). Borrowed. */
const struct ipam_peer_endpoint *ipam_peer_view_endpoint(const struct ipam_peer_view *view,
							 const struct dp_addr *addr);

/* ipam_peer_view_explains() - does an endpoint, a gateway or an auxiliary address explain @addr? */
bool ipam_peer_view_explains(const struct ipam_peer_view *view, const struct dp_addr *addr);

struct ipam_peer_question;

/* The outcome. @view: taken by the callee; NULL on failure. @err: NULL on success. The question is
 * gone. */
typedef void (*ipam_peer_fn)(void *ctx, struct ipam_peer_view *view, const struct dp_error *err);

/**
 * ipam_peer_ask() - ask all network daemons that are there
 * @loop:    borrowed; must outlive the question
 * @sockets: as dp_peer_find(); borrowed for the call
 * @probed:  taken: array of pools with probe=; NULL = none
 * @fn:      called once with @ctx, never from within this function
 *
 * Sockets of others that happen to have the name are passed over. Any of ours that does not answer
 * fails the question: with one of several silent, nothing can be concluded from what is missing.
 *
 * Return: 0; -ENOENT (DP_ERR_UNAVAILABLE) there is no network daemon; -ENOMEM.
 */
DP_NODISCARD int ipam_peer_ask(struct dp_loop *loop, const char *sockets, json_t *probed,
			       ipam_peer_fn fn, void *ctx,
			       struct ipam_peer_question **ret_question, struct dp_error *err);

/* ipam_peer_cancel() - forget it: its function will not be called. NULL is fine. */
void ipam_peer_cancel(struct ipam_peer_question *question);

/* ipam_peer_is_foreign() - was the answer that of a daemon which is none of ours, or knows no peers? */
bool ipam_peer_is_foreign(const struct dp_error *err);

#endif
