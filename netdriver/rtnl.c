/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Transport: requests to rtnetlink and their verdicts.
 *
 * The kernel works on a batch of requests inside sendmsg(2), one after the other, and has queued
 * all answers when the call returns; so receiving never really waits, and the timeout of the
 * socket only guards against a broken kernel. Every request asks for an acknowledgement, which
 * carries the errno and, with NETLINK_EXT_ACK, the reason in words. NETLINK_CAP_ACK keeps the
 * kernel from sending the request back with it.
 *
 * The socket is connected to the kernel, so that no other process can put messages into it; its
 * port id is the kernel's choice, because process ids are not unique across containers.
 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/cleanup.h"
#include "netdriver/rtnl_internal.h"

#define RECEIVE_TIMEOUT_S   5
#define RECEIVE_BUFFER_SIZE (1024 * 1024) /* bytes; holds the answers of any batch */
#define SMALL_REQUEST_SIZE  256           /* bytes */

enum dp_err_kind rtnl_error_kind(int code, bool explained)
{
	switch (code) {
	case -ENODEV:
	case -ENOENT:
		return DP_ERR_NOT_FOUND;
	case -EEXIST:
	case -EBUSY:
	case -EADDRINUSE:
		return DP_ERR_CONFLICT;
	case -EPERM:
	case -EACCES:
	case -EOPNOTSUPP:
		return DP_ERR_UNSUPPORTED;
	case -ETIMEDOUT:
	case -ENETDOWN:
		return DP_ERR_UNAVAILABLE;
	case -EINVAL:
	case -ERANGE:
	case -ELOOP:
		return explained ? DP_ERR_INVALID : DP_ERR_INTERNAL;
	default:
		return DP_ERR_INTERNAL;
	}
}

static int transport_error(struct dp_error *err, int code, const char *step)
{
	return dp_error_set(err, rtnl_error_kind(code, false), code, "rtnetlink, %s: %s", step,
			    strerror(-code));
}

static void set_ack_text(struct dp_error *err, const struct rtnl_ack *ack, const char *what)
{
	(void)dp_error_set(err, rtnl_error_kind(ack->code, ack->extack[0]), ack->code, "%s: %s%s%s",
			   what, strerror(-ack->code), ack->extack[0] ? ": " : "", ack->extack);
}

int rtnl_ack_error(const struct rtnl_ack *ack, struct dp_error *err, const char *what, ...)
{
	char text[NDRV_ALIAS_SIZE];
	va_list ap;

	assert(ack->code < 0);
	va_start(ap, what);
	(void)vsnprintf(text, sizeof text, what, ap);
	va_end(ap);
	set_ack_text(err, ack, text);
	return ack->code;
}

/* --- sockets -------------------------------------------------------------------------------- */

static int set_receive_limits(int fd)
{
	struct timeval tv = { .tv_sec = RECEIVE_TIMEOUT_S };
	int size = RECEIVE_BUFFER_SIZE;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) < 0)
		return -errno;
	/* beyond net.core.rmem_max only the forced one gets through; smaller is no disaster */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	return 0;
}

static int connect_to_kernel(int fd)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (connect(fd, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	return set_receive_limits(fd);
}

static int open_requests(struct ndrv_rtnl *rtnl)
{
	int on = 1;

	rtnl->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!rtnl->nl || mnl_socket_setsockopt(rtnl->nl, NETLINK_EXT_ACK, &on, sizeof on) < 0 ||
	    mnl_socket_setsockopt(rtnl->nl, NETLINK_CAP_ACK, &on, sizeof on) < 0 ||
	    mnl_socket_bind(rtnl->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	return connect_to_kernel(mnl_socket_get_fd(rtnl->nl));
}

/* libnl would derive the port id from the process id; it takes a bound socket as well. */
static int open_reader(struct ndrv_rtnl *rtnl)
{
	struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int r;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof any) < 0)
		return -errno;
	r = set_receive_limits(fd);
	if (r < 0)
		return r;
	rtnl->reader = nl_socket_alloc();
	if (!rtnl->reader)
		return -ENOMEM;
	/* After a dump that broke off libnl would expect its number for ever. Nothing of it is left to be
	 * mistaken for another's: drain_reader(). */
	nl_socket_disable_seq_check(rtnl->reader);
	if (nl_socket_set_fd(rtnl->reader, NETLINK_ROUTE, fd) < 0)
		return -EIO;
	(void)dp_take_fd(&fd);
	return nl_socket_set_msg_buf_size(rtnl->reader, sizeof rtnl->rx) < 0 ? -ENOMEM : 0;
}

int ndrv_rtnl_open(struct ndrv_rtnl **ret_rtnl, struct dp_error *err)
{
	DP_CLEANUP(ndrv_rtnl_closep) struct ndrv_rtnl *rtnl = calloc(1, sizeof *rtnl);
	int r;

	if (!rtnl)
		return dp_error_oom(err);
	r = open_requests(rtnl);
	if (r >= 0)
		r = open_reader(rtnl);
	if (r < 0)
		return transport_error(err, r, "open");
	*ret_rtnl = DP_TAKE_PTR(rtnl);
	return 0;
}

void ndrv_rtnl_close(struct ndrv_rtnl *rtnl)
{
	if (!rtnl)
		return;
	if (rtnl->nl)
		(void)mnl_socket_close(rtnl->nl);
	nl_socket_free(rtnl->reader);
	free(rtnl);
}

/* --- composing ------------------------------------------------------------------------------ */

struct rtnl_batch *rtnl_batch_begin(struct ndrv_rtnl *rtnl)
{
	struct rtnl_batch *b = &rtnl->batch;

	b->size = 0;
	b->n = 0;
	b->cur = NULL;
	b->overflow = false;
	return b;
}

bool rtnl_batch_has_room(const struct rtnl_batch *b)
{
	return b->n < RTNL_BATCH_MAX && sizeof b->buf - b->size >= SMALL_REQUEST_SIZE;
}

static size_t align_up(size_t size) /* MNL_ALIGN() mixes signs */
{
	return (size + NLMSG_ALIGNTO - 1) & ~(size_t)(NLMSG_ALIGNTO - 1);
}

/* Takes @size bytes, rounded up to netlink's alignment, from the buffer; NULL if it is full. */
static void *take_room(struct rtnl_batch *b, size_t size)
{
	size_t aligned = align_up(size);
	char *p = b->buf.bytes + b->size;

	if (b->overflow || sizeof b->buf - b->size < aligned) {
		b->overflow = true;
		return NULL;
	}
	memset(p, 0, aligned);
	b->size += aligned;
	if (b->cur)
		b->cur->nlmsg_len += (uint32_t)aligned;
	return p;
}

void *rtnl_batch_add(struct rtnl_batch *b, uint16_t type, unsigned flags, size_t header_size)
{
	struct nlmsghdr *nlh;
	void *header;

	assert(b->n < RTNL_BATCH_MAX);
	b->cur = NULL;
	nlh = take_room(b, sizeof *nlh);
	if (nlh) {
		nlh->nlmsg_len = sizeof *nlh;
		nlh->nlmsg_type = type;
		nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
		b->cur = nlh;
	}
	b->acks[b->n++] = (struct rtnl_ack){ 0 };
	header = take_room(b, header_size);
	return header ? header : memset(b->buf.bytes, 0, align_up(header_size));
}

struct ifinfomsg *rtnl_batch_add_link(struct rtnl_batch *b, uint16_t type, unsigned flags,
				      int ifindex)
{
	struct ifinfomsg *ifi = rtnl_batch_add(b, type, flags, sizeof *ifi);

	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = ifindex;
	return ifi;
}

void rtnl_put_bytes(struct rtnl_batch *b, int type, const void *data, size_t size)
{
	struct nlattr *attr = NULL;

	if (size <= UINT16_MAX - sizeof *attr)
		attr = take_room(b, sizeof *attr + size);
	if (!attr) {
		b->overflow = true;
		return;
	}
	attr->nla_type = (uint16_t)type;
	attr->nla_len = (uint16_t)(sizeof *attr + size);
	if (size)
		memcpy(attr + 1, data, size);
}

void rtnl_put_u8(struct rtnl_batch *b, int type, uint8_t v)
{
	rtnl_put_bytes(b, type, &v, sizeof v);
}

void rtnl_put_u16(struct rtnl_batch *b, int type, uint16_t v)
{
	rtnl_put_bytes(b, type, &v, sizeof v);
}

void rtnl_put_u32(struct rtnl_batch *b, int type, uint32_t v)
{
	rtnl_put_bytes(b, type, &v, sizeof v);
}

void rtnl_put_str(struct rtnl_batch *b, int type, const char *s)
{
	rtnl_put_bytes(b, type, s, strlen(s) + 1);
}

struct nlattr *rtnl_nest_start(struct rtnl_batch *b, int type)
{
	struct nlattr *nest = take_room(b, sizeof *nest);

	if (nest)
		nest->nla_type = (uint16_t)(type | NLA_F_NESTED);
	return nest;
}

void rtnl_nest_end(struct rtnl_batch *b, struct nlattr *nest)
{
	if (nest)
		nest->nla_len = (uint16_t)(b->buf.bytes + b->size - (char *)nest);
}

void rtnl_put_header(struct rtnl_batch *b, size_t size)
{
	(void)take_room(b, size);
}

/* --- exchange ------------------------------------------------------------------------------- */

static void number_requests(struct ndrv_rtnl *rtnl)
{
	struct rtnl_batch *b = &rtnl->batch;
	size_t pos = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct nlmsghdr *nlh = (void *)(b->buf.bytes + pos);

		nlh->nlmsg_seq = ++rtnl->seq;
		pos += nlh->nlmsg_len;
	}
}

static int send_batch(struct ndrv_rtnl *rtnl, struct dp_error *err)
{
	const struct rtnl_batch *b = &rtnl->batch;
	ssize_t n;

	do
		n = mnl_socket_sendto(rtnl->nl, b->buf.bytes, b->size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return transport_error(err, -errno, "send");
	return 0;
}

/* The text the kernel gave with a verdict; truncated to what an error can carry. */
static void read_extack(const struct nlmsghdr *nlh, const struct nlmsgerr *e, char *ret_text)
{
	unsigned skip = sizeof *e;
	const struct nlattr *attr;

	ret_text[0] = '\0';
	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED)) { /* the request comes first, completely */
		if (e->msg.nlmsg_len < sizeof e->msg || e->msg.nlmsg_len > nlh->nlmsg_len)
			return;
		skip += (unsigned)align_up(e->msg.nlmsg_len - sizeof e->msg);
	}
	if (skip > mnl_nlmsg_get_payload_len(nlh))
		return;
	for (attr = mnl_nlmsg_get_payload_offset(nlh, skip);
	     mnl_attr_ok(attr, (int)((char *)mnl_nlmsg_get_payload_tail(nlh) - (char *)attr));
	     attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			(void)snprintf(ret_text, RTNL_EXTACK_MAX, "%s", mnl_attr_get_str(attr));
	}
}

/* Takes one verdict; returns true if it is the first one for its request. */
static bool take_ack(struct rtnl_ack *ack, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	if (ack->seen)
		return false;
	ack->seen = true;
	ack->code = -EBADMSG;
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof *e)
		return true;
	ack->code = ndrv_nlmsg_code(e->error);
	read_extack(nlh, e, ack->extack);
	return true;
}

/* What is wanted from the receiving side of one exchange. */
struct exchange {
	uint32_t first;         /* sequence number of the first request */
	unsigned n_open;        /* requests without a verdict */
	rtnl_object_fn *object; /* takes objects; may be NULL */
	void *ctx;              /* of @object */
};

/* Answers to earlier exchanges that were given up on are passed over by their number. */
static int take_message(struct rtnl_batch *b, struct exchange *x, const struct nlmsghdr *nlh)
{
	uint32_t i = nlh->nlmsg_seq - x->first;

	if (i >= b->n)
		return 0;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		x->n_open -= take_ack(&b->acks[i], nlh);
		return 0;
	}
	if (nlh->nlmsg_type < NLMSG_MIN_TYPE || !x->object)
		return 0;
	return x->object(x->ctx, i, nlh);
}

static int receive_some(struct ndrv_rtnl *rtnl, struct exchange *x)
{
	const struct nlmsghdr *nlh = &rtnl->rx.align;
	int left;
	ssize_t n;

	do
		n = mnl_socket_recvfrom(rtnl->nl, rtnl->rx.bytes, sizeof rtnl->rx);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	for (left = (int)n; ndrv_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		int r = take_message(&rtnl->batch, x, nlh);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * After ENOBUFS (answers were lost) or a timeout it is unknown what the kernel did: the caller
 * cleans up by name, and the next exchange passes over what still arrives of this one.
 */
int rtnl_exchange(struct ndrv_rtnl *rtnl, rtnl_object_fn *object, void *ctx, struct dp_error *err)
{
	struct rtnl_batch *b = &rtnl->batch;
	struct exchange x = { rtnl->seq + 1, b->n, object, ctx };
	int r;

	if (b->overflow)
		return transport_error(err, -EMSGSIZE, "compose");
	number_requests(rtnl);
	r = send_batch(rtnl, err);
	if (r < 0)
		return r;
	while (x.n_open > 0) {
		r = receive_some(rtnl, &x);
		if (r < 0)
			return transport_error(err, r, "receive");
	}
	return 0;
}

int rtnl_request(struct ndrv_rtnl *rtnl, struct dp_error *err, const char *what, ...)
{
	char text[NDRV_ALIAS_SIZE];
	va_list ap;
	int r;

	assert(rtnl->batch.n == 1);
	r = rtnl_exchange(rtnl, NULL, NULL, err);
	if (r >= 0)
		r = rtnl->batch.acks[0].code;
	else
		return r;
	if (r < 0) {
		va_start(ap, what);
		(void)vsnprintf(text, sizeof text, what, ap);
		va_end(ap);
		set_ack_text(err, &rtnl->batch.acks[0], text);
	}
	return r;
}
