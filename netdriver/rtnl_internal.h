/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_RTNL_INTERNAL_H
#define DP_NETDRIVER_RTNL_INTERNAL_H

/*
 * What the rtnl*.c files share: messages, the exchange with the kernel, the making of links.
 * Included by them alone.
 */

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>

#include "netdriver/rtnl.h"
#include "netdriver/rtnl_nlmsg.h"

#define RTNL_BUF_SIZE   16384 /* bytes for the requests of one exchange, and for one answer */
#define RTNL_EXTACK_MAX 256   /* bytes kept of an extended-ack text, NUL included */

/* The kernel's verdict on one request. */
struct rtnl_ack {
	int code;                     /* 0 or negative errno */
	bool seen;                    /* the kernel has answered it */
	char extack[RTNL_EXTACK_MAX]; /* "" if the kernel gave no reason */
};

#define RTNL_BATCH_MAX 128 /* requests of one exchange */

/*
 * One or more requests that go to the kernel with one system call; it works on them in order, on
 * all of them, and answers each. Errors of composition stick until the exchange.
 */
struct rtnl_batch {
	union {
		struct nlmsghdr align; /* netlink headers need its alignment */
		char bytes[RTNL_BUF_SIZE];
	} buf;
	size_t size;                          /* bytes used in buf */
	unsigned n;                           /* requests */
	struct nlmsghdr *cur;                 /* the one being composed; NULL if n == 0 */
	bool overflow;                        /* something did not fit */
	struct rtnl_ack acks[RTNL_BATCH_MAX]; /* after the exchange: one a request */
};

/* rtnl_object_fn - takes an object message (not ack, error or done) that answers request @i. */
typedef int rtnl_object_fn(void *ctx, unsigned i, const struct nlmsghdr *nlh);

struct ndrv_rtnl {
	struct ndrv_rtnl_watch *watch; /* of the same namespace; NULL = nobody tells of changes */
	uint32_t free_group;     /* no link is in it, as far as @watch has told; 0 = not known */
	const int *doomed;       /* sorted indexes of links that are being put into it */
	size_t n_doomed;
	struct mnl_socket *nl;   /* requests; bound and connected to the kernel */
	uint32_t seq;            /* last sequence number used */
	struct nl_sock *reader;  /* dumps, through libnl's caches */
	struct rtnl_batch batch; /* the one being composed or just exchanged */
	union {
		struct nlmsghdr align;
		char bytes[2 * RTNL_BUF_SIZE];
	} rx; /* answers: a link with many virtual functions is large */
};

/* rtnl_note_group() - link @ifindex was seen in @group: that is not free then, unless we did it. */
void rtnl_note_group(struct ndrv_rtnl *rtnl, int ifindex, uint32_t group);

/* rtnl_batch_begin() - the handle's batch, emptied; the verdicts of the last one are gone. */
struct rtnl_batch *rtnl_batch_begin(struct ndrv_rtnl *rtnl);
/*
 * rtnl_batch_add() - begin the next request with a fixed header of @header_size zero bytes, which
 * is returned (a scratch one if it does not fit); NLM_F_REQUEST and NLM_F_ACK are added to @flags.
 */
void *rtnl_batch_add(struct rtnl_batch *b, uint16_t type, unsigned flags, size_t header_size);
/* rtnl_batch_add_link() - begin a request about a link: header with @ifindex (0 = not known). */
struct ifinfomsg *rtnl_batch_add_link(struct rtnl_batch *b, uint16_t type, unsigned flags,
				      int ifindex);
/* rtnl_batch_has_room() - another small request (< 256 bytes) fits. */
bool rtnl_batch_has_room(const struct rtnl_batch *b);

/* Attributes of the request being composed; what does not fit makes the exchange fail. */
void rtnl_put_u8(struct rtnl_batch *b, int type, uint8_t v);
void rtnl_put_u16(struct rtnl_batch *b, int type, uint16_t v);
void rtnl_put_u32(struct rtnl_batch *b, int type, uint32_t v);
void rtnl_put_str(struct rtnl_batch *b, int type, const char *s);
void rtnl_put_bytes(struct rtnl_batch *b, int type, const void *data, size_t size);
struct nlattr *rtnl_nest_start(struct rtnl_batch *b, int type);
void rtnl_nest_end(struct rtnl_batch *b, struct nlattr *nest);
/* rtnl_put_header() - @size zero bytes without attribute header, as inside VETH_INFO_PEER. */
void rtnl_put_header(struct rtnl_batch *b, size_t size);

/**
 * rtnl_exchange() - send all requests of the handle's batch and take all answers
 * @object: called for each object in an answer; NULL if none is expected
 *
 * Return: 0 if every request was answered, whatever the answers are (see the acks of the batch);
 *         a negative errno with @err filled if the exchange itself broke: -EMSGSIZE, -ETIMEDOUT,
 *         -ENOBUFS...
 */
int rtnl_exchange(struct ndrv_rtnl *rtnl, rtnl_object_fn *object, void *ctx, struct dp_error *err);

/* rtnl_request() - exchange a batch of one; its verdict is the result, with @what as context. */
DP_PRINTF(3, 4)
int rtnl_request(struct ndrv_rtnl *rtnl, struct dp_error *err, const char *what, ...);

/* rtnl_ack_error() - the verdict (a failure) as a struct dp_error: "<what>: <why>". */
DP_PRINTF(3, 4)
int rtnl_ack_error(const struct rtnl_ack *ack, struct dp_error *err, const char *what, ...);

/* rtnl_error_kind() - DP_ERR_* of an errno; @explained: the kernel gave a text with it. */
enum dp_err_kind rtnl_error_kind(int code, bool explained);

/* rtnl_batch_add_get() - begin a request for one link; its answer is for rtnl_parse_link(). */
void rtnl_batch_add_get(struct rtnl_batch *b, int ifindex);

/* rtnl_add_ipv6_off() - begin a request that keeps a link from getting a link-local address: with
 * one, the host would speak on a network that it only carries. */
void rtnl_add_ipv6_off(struct rtnl_batch *b, int ifindex);

/* rtnl_parse_link() - RTM_NEWLINK message to value. Return: 0; -ENOMEM; -EBADMSG. */
int rtnl_parse_link(const struct nlmsghdr *nlh, struct ndrv_link *ret_link);

/* How a new link is finished after the kernel has made it, and what it then has to be. */
struct rtnl_finish {
	const char *name;        /* as created */
	const char *kind;        /* as created */
	const char *alias;       /* to be put on */
	uint32_t set_mtu;        /* to be set once more after creation; 0 = no */
	uint32_t want_mtu;       /* to be verified; 0 = any */
	int want_master;         /* to be verified */
	uint16_t want_vid;       /* to be verified; 0 = not a VLAN link */
	bool ipv6_off;           /* addr_gen_mode none */
	bool up;                 /* to be set up, else it stays as it is */
	const char *peer_name;   /* veth only, else NULL */
	const char *peer_alias;  /* veth only */
	uint32_t peer_mtu;       /* veth only; to be verified; 0 = any */
	const uint8_t *peer_mac; /* veth only; to be verified; NULL = any */
};

/**
 * rtnl_make_link() - send the creating request in the handle's batch, mark the link, verify it
 * @ret_link: out: the finished link, as read back
 *
 * The creating request must set NDRV_GROUP_UNFINISHED. On failure the link is deleted again.
 */
int rtnl_make_link(struct ndrv_rtnl *rtnl, const struct rtnl_finish *fin,
		   struct ndrv_link *ret_link, struct dp_error *err);

/* rtnl_begin_create() - batch with the common front of a creating request: name, group, MTU. */
struct rtnl_batch *rtnl_begin_create(struct ndrv_rtnl *rtnl, const char *name, uint32_t mtu);

/* rtnl_check_spec() - name and alias of a link to be created. Return: 0; -EINVAL. */
int rtnl_check_spec(const char *name, const char *alias, struct dp_error *err);

#endif
