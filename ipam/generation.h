/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_GENERATION_H
#define DP_IPAM_GENERATION_H

/*
 * Generations: how one instance of the daemon tells a Swarm's repetition from a duplicate, and how
 * it gets rid of what a Swarm has stopped using without telling it.
 *
 * Every manager of a Swarm has an instance with books of its own. Only the leader's is asked; a new
 * leader tells its instance all it knows (moby: swarmkit, allocator/network.go, doNetworkInit):
 *
 *     GetCapabilities, then of each network RequestPool and the gateway, then of each service and
 *     task its address, explicitly; only then anything new.
 *
 * The instance may have led before and hold those very pools and addresses, and others that were
 * given back at another leader since: nobody will ever release them here. On the wire a repetition
 * looks like a second network on the same subnet, or a duplicate --ip. Hence:
 *
 *   GetCapabilities begins a generation: a number. A pool keeps the one in which it was requested,
 *   and the one in which it was heard of last (an address asked for in it is proof that no leader
 *   has changed: a new one would have requested the pool first); a lease keeps the one in which it
 *   was taken or asked for again.
 *
 *   A pool (global space):
 *
 *                  RequestPool                     GetCapabilities
 *      (none) ───────────────────► claimed ◄─────────────────────────► unclaimed
 *        ▲ ▲                        │  ▲ ▲    RequestPool, or an         │    │
 *        │ │ ReleasePool, nothing   │  │ │    address is asked for       │    │
 *        │ └────────────────────────┘  │ └────────────────────────────────    │
 *        │                             │                                      │
 *        │      ReleasePool while      │ RequestPool                          │
 *        │      addresses are held ──► kept                                   │
 *        │                             │ grace, or another pool               │
 *        ├─────────────────────────────┘ wants the place                      │
 *        └────────────────────────────────────────────────────────────────────┘
 *               a leader has claimed others since it was heard of, and: grace,
 *               or another pool wants the place
 *
 *   Claimed pools refuse a second RequestPool and whatever overlaps them. If a pool takes the place
 *   of others, the addresses held there go along, unconfirmed.
 *
 *   A lease in a pool that was claimed again:
 *
 *        unconfirmed (older than the pool's claim) ── asked for explicitly ──► confirmed
 *             │ grace                                                            │
 *             ▼                                                                  ▼
 *           cooling, then free                                  asked for again: "already in use"
 *
 *   Dynamic picks touch neither. The recorded gateway may be asked for at any time. Releases of the
 *   unknown, the second one included, succeed and change nothing.
 *
 *   The grace (configuration key swarm-grace) runs only for a complete repetition: one that begins
 *   within REPLAY_WINDOW of GetCapabilities, or of the repetition of another pool, and in which the
 *   recorded gateway is asked for again by its address. A leader that
 *   fails to allocate a network at its start tries again minutes later, and has then forgotten the
 *   tasks that run in it: so such a late repetition sets no end to what it does not confirm, nor
 *   does one whose pool was released within the window; the next complete one does.
 *
 * A node's local space: a Swarm's RequestPool of a pool that is on the books in an older generation
 * means that the engine has crashed, and with it all containers in it. What was not released is
 * reclaimed at once if both requests were certainly a Swarm's (its serial key is among the options). A
 * network without options, or made by --config-from, looks like a person's: where the host is said to
 * be in a Swarm its pool is given again, with all its addresses; which of them are in use the network
 * daemon knows (reclaim.h). The network daemon is asked before: if each pool on the subnet is one of a
 * network that the engine itself keeps on disk, which its id tells, then no crash has made it forget
 * one, and this is a second network. A pool that is certainly Swarm's and was not heard of in this generation
 * makes way for another such one: the leader does not allow the two at a time. Until then it stays: the
 * network may have left the host while the engine was down, or have containers that want nothing.
 *
 * Limits, all from what the protocol does not tell:
 *   - after GetCapabilities without a leader's change (a plugin enabled anew, a restart of the
 *     engine) a second network with the same subnet is taken for a repetition until the first asks
 *     for an address, and shares its bitmap: no address is given twice, but the first `network rm`
 *     of the two takes the pool along;
 *   - a leader that has no network left claims nothing, so that pools of its earlier terms stay and
 *     refuse others that overlap them, except equal ones: `myipamplugin release` ends them;
 *   - in the local space, where the network daemon is none of ours or does not answer, where a Swarm's
 *     network has the subnet, too (in another tenant's book), and where an engine's own network was
 *     deleted without its pool's release, a host that is said to be in a Swarm gives an unheard pool
 *     again: two networks then share its bitmap, as above;
 *   - a duplicate --ip of an address not yet confirmed since the pool's claim is not noticed;
 *   - the books of a manager that does not lead are those of its last term: they are put right
 *     when it leads again;
 *   - a network made with --gateway just after GetCapabilities, where another one had that subnet and
 *     gateway before, looks like a repetition: networks not heard of within the grace are forgotten;
 *   - a plugin that is down while its leader starts, and comes up within the window of the leader's
 *     second attempt, looks like a complete repetition: keep swarm-grace above the life of tasks
 *     that must never be risked, or 0 for no end at all.
 *
 * All functions run inside a turn, after ipam_driver_ready(), and spoil it if they fail.
 */

#include "ipam/driver_internal.h"

/* ipam_generation_begin() - the engine asked for the capabilities. */
DP_NODISCARD int ipam_generation_begin(struct ipam_driver *d, struct dp_error *err);

/* ipam_generation_doubtful() - @pool, of the local book, is requested again without a Swarm's sign: does
 * it take the network daemons (ipam_join_then()) to tell whose request it is? */
bool ipam_generation_doubtful(const struct ipam_driver *d, struct ipam_pool *pool);

/* ipam_generation_is_own() - when they were asked: is it a second network beside the engine's own? */
bool ipam_generation_is_own(const struct ipam_driver *d, const struct ipam_pool *pool);

enum { IPAM_MAX_MOVES = 8 }; /* subnets that make way for one pool; with more it is refused */

/* What has to move for a pool that is about to be requested. */
struct ipam_generation_move {
	struct {
		int64_t subnet_id; /* its rows are still there, the model has forgotten it */
		int family;
	} gone[IPAM_MAX_MOVES];
	size_t n_gone;
};

/**
 * ipam_generation_make_way() - before Swarm is given a pool: pools in its place that may go do so
 * @id:       what is requested
 * @ret_move: out: for ipam_generation_claimed(), once the request was granted
 *
 * All of them or none: if one stays, the request will be refused.
 */
void ipam_generation_make_way(struct ipam_driver *d, const struct ipam_pool_id *id,
			      struct ipam_generation_move *ret_move);

/**
 * ipam_generation_claimed() - a pool was requested and granted; the caller writes its row
 * @certain: the request is certainly a Swarm's
 *
 * Return: 0; negative errno of the store.
 */
DP_NODISCARD int ipam_generation_claimed(struct ipam_driver *d, const struct ipam_pool_grant *grant,
					 bool certain, const struct ipam_generation_move *move,
					 struct dp_error *err);

/**
 * ipam_generation_gateway() - the recorded gateway of @pool was asked for again, by its address
 * @lease_generation: its lease's, before this request
 *
 * If the pool was claimed again just before, this is what tells a repetition from a new network: that
 * one's gateway is chosen here, or has no lease yet.
 *
 * Return: 0; negative errno of the store, not spoilt yet.
 */
DP_NODISCARD int ipam_generation_gateway(struct ipam_driver *d, struct ipam_pool *pool,
					 uint64_t lease_generation, struct dp_error *err);

/* ipam_generation_heard() - an address is asked for in @pool. Return: 0; -ENOMEM. */
DP_NODISCARD int ipam_generation_heard(struct ipam_driver *d, struct ipam_pool *pool,
				       struct dp_error *err);

/**
 * ipam_generation_keeps() - ReleasePool: must the pool stay for a while?
 *
 * Return: 1 it is kept; 0 drop it; negative errno of the store.
 */
DP_NODISCARD int ipam_generation_keeps(struct ipam_driver *d, struct ipam_pool *pool,
				       struct dp_error *err);

/* ipam_generation_start() - begin to end what is overdue, a little at a time, and go on so. */
void ipam_generation_start(struct ipam_driver *d);
void ipam_generation_stop(struct ipam_driver *d);

#endif
