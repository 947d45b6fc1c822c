/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * iptables-nft, through libnftnl on libmnl.
 *
 * iptables-nft keeps the table "filter" as nftables' tables ip filter and ip6 filter. Rules are
 * written the way it writes them (seen in versions 1.8.9), so that it lists them as ordinary rules:
 *
 *	meta load iifname, cmp eq NAME    -i NAME; with its NUL, or without it for a pattern NAME+
 *	meta load oifname, cmp eq NAME    -o NAME
 *	match comment                     the xtables match with its 256 bytes of data
 *	counter
 *	immediate                         the verdict
 *
 * When reading, a comment in the rule's user data (as nftables' own tools keep it) counts as well.
 * All changes of one call go in one batch, which the kernel does as a whole or not at all; rules
 * are deleted by handle, so that no other can be hit. A batch that fails because others changed
 * the chain meanwhile is computed anew.
 */

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_comment.h>

#include "common/cleanup.h"
#include "netdriver/firewall_internal.h"
#include "netdriver/rtnl_nlmsg.h"

#define BUF_SIZE          16384 /* bytes for one batch, and for one answer */
#define CHANGE_MAX        2048  /* bytes that one rule can take in it */
#define RECEIVE_TIMEOUT_S 5
#define REGISTER          NFT_REG_1

union buffer {
	struct nlmsghdr align; /* netlink headers need its alignment */
	char bytes[BUF_SIZE];
};

static void rule_freep(struct nftnl_rule **rule)
{
	if (*rule)
		nftnl_rule_free(*rule);
}

static const char *family_name(int family)
{
	return family == AF_INET ? "iptables-nft" : "ip6tables-nft";
}

static uint16_t nfproto_of(int family)
{
	return family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

/* --- socket --------------------------------------------------------------------------------- */

/* Connected to the kernel, so that nobody else can answer. */
static int connect_socket(struct mnl_socket *nl)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval tv = { .tv_sec = RECEIVE_TIMEOUT_S };
	int on = 1;

	if (mnl_socket_setsockopt(nl, NETLINK_CAP_ACK, &on, sizeof on) < 0 ||
	    mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    connect(mnl_socket_get_fd(nl), (const struct sockaddr *)&kernel, sizeof kernel) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) < 0)
		return -errno;
	return 0;
}

static int open_socket(struct ndrv_fw *fw)
{
	int r;

	if (fw->nft || fw->no_nft)
		return 0;
	fw->nft = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!fw->nft) {
		fw->no_nft = errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT;
		return fw->no_nft ? 0 : -errno;
	}
	r = connect_socket(fw->nft);
	if (r < 0)
		fw_nft_close(fw);
	return r;
}

void fw_nft_close(struct ndrv_fw *fw)
{
	if (fw->nft)
		(void)mnl_socket_close(fw->nft);
	fw->nft = NULL;
}

/* --- exchange ------------------------------------------------------------------------------- */

/* object_fn - takes one object of an answer. Return: 0; negative errno ends the exchange. */
typedef int object_fn(void *ctx, const struct nlmsghdr *nlh);

/* The receiving side of one exchange: messages with sequence numbers @first to @last. */
struct exchange {
	uint32_t first;    /* sequence number of the first message sent */
	uint32_t last;     /* of the last one */
	unsigned n_acks;   /* acknowledgements still to come */
	bool interrupted;  /* the dump is not of one moment */
	object_fn *object; /* may be NULL */
	void *ctx;         /* of @object */
};

/* The errno in an error message (0: an acknowledgement) or at the end of a dump. */
static int code_of(const struct nlmsghdr *nlh)
{
	int code;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof code)
		return nlh->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&code, mnl_nlmsg_get_payload(nlh), sizeof code);
	return ndrv_nlmsg_code(code);
}

static int take_message(struct exchange *x, const struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_seq - x->first > x->last - x->first)
		return 0; /* of an exchange that was given up on */
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		x->interrupted = true;
	if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE) {
		x->n_acks--;
		return code_of(nlh);
	}
	if (nlh->nlmsg_type < NLMSG_MIN_TYPE || !x->object)
		return 0;
	return x->object(x->ctx, nlh);
}

static int receive_some(struct ndrv_fw *fw, struct exchange *x)
{
	union buffer buf;
	const struct nlmsghdr *nlh = &buf.align;
	int left;
	ssize_t n;
	int r = 0;

	do
		n = mnl_socket_recvfrom(fw->nft, buf.bytes, sizeof buf);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	for (left = (int)n; r >= 0 && x->n_acks && ndrv_nlmsg_ok(nlh, left);
	     nlh = mnl_nlmsg_next(nlh, &left))
		r = take_message(x, nlh);
	return r;
}

/* Sends @size bytes and takes the answers. Return: 0; the first failure the kernel reports. */
static int exchange(struct ndrv_fw *fw, const void *data, size_t size, struct exchange *x)
{
	ssize_t n;
	int r = 0;

	do
		n = mnl_socket_sendto(fw->nft, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	while (r >= 0 && x->n_acks)
		r = receive_some(fw, x);
	return r < 0 ? r : x->interrupted ? -EAGAIN : 0;
}

/* A message of its own, acknowledged or ended once. */
static int request(struct ndrv_fw *fw, const struct nlmsghdr *nlh, object_fn *object, void *ctx)
{
	struct exchange x = { nlh->nlmsg_seq, nlh->nlmsg_seq, 1, false, object, ctx };

	return exchange(fw, nlh, nlh->nlmsg_len, &x);
}

/* --- reading a rule ------------------------------------------------------------------------- */

/* A rule as far as we understand it. */
struct seen {
	struct fw_rule rule;           /* valid if @plain */
	char comment[FW_COMMENT_SIZE]; /* "" if it has none */
	uint64_t handle;               /* names it in its chain */
	bool plain;                    /* it consists of nothing but what we write */
	bool verdict;                  /* it has one of ours */
	uint32_t loaded;               /* NFT_META_* now in the register; for the next comparison */
};

static void read_meta(struct nftnl_expr *expr, struct seen *s)
{
	s->loaded = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY);
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG) != REGISTER)
		s->plain = false;
}

/* A comparison without the NUL is one of the beginning only. */
static void read_cmp(struct nftnl_expr *expr, struct seen *s)
{
	char *name = s->loaded == NFT_META_IIFNAME ? s->rule.in : s->rule.out;
	uint32_t size = 0;
	const char *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &size);
	size_t len = data ? strnlen(data, size) : 0;

	if ((s->loaded != NFT_META_IIFNAME && s->loaded != NFT_META_OIFNAME) || !len ||
	    len + 1 >= FW_IFNAME_SIZE + (len < size) || name[0] ||
	    nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) != NFT_CMP_EQ) {
		s->plain = false;
		return;
	}
	memcpy(name, data, len);
	if (len == size)
		name[len] = '+';
}

static void read_match(struct nftnl_expr *expr, struct seen *s)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);
	uint32_t size = 0;
	const char *info = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &size);

	if (!name || strcmp(name, "comment") || !info || s->comment[0]) {
		s->plain = false;
		return;
	}
	(void)snprintf(s->comment, sizeof s->comment, "%.*s", (int)strnlen(info, size), info);
}

static void read_verdict(struct nftnl_expr *expr, struct seen *s)
{
	uint32_t verdict = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT);

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT) ||
	    (verdict != NF_ACCEPT && verdict != (uint32_t)NFT_RETURN)) {
		s->plain = false;
		return;
	}
	s->rule.accept = verdict == NF_ACCEPT;
	s->verdict = true;
}

static int read_expr(struct nftnl_expr *expr, void *ctx)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct seen *s = ctx;

	if (!strcmp(name, "meta"))
		read_meta(expr, s);
	else if (!strcmp(name, "cmp"))
		read_cmp(expr, s);
	else if (!strcmp(name, "match"))
		read_match(expr, s);
	else if (!strcmp(name, "immediate"))
		read_verdict(expr, s);
	else if (strcmp(name, "counter"))
		s->plain = false;
	return 0;
}

static int read_udata(const struct nftnl_udata *attr, void *ctx)
{
	struct seen *s = ctx;

	if (nftnl_udata_type(attr) == NFTNL_UDATA_RULE_COMMENT && !s->comment[0])
		(void)snprintf(s->comment, sizeof s->comment, "%.*s",
			       (int)strnlen(nftnl_udata_get(attr), nftnl_udata_len(attr)),
			       (const char *)nftnl_udata_get(attr));
	return 0;
}

static int read_rule(const struct nlmsghdr *nlh, struct seen *ret_seen)
{
	DP_CLEANUP(rule_freep) struct nftnl_rule *rule = nftnl_rule_alloc();
	struct seen s = { .plain = true };
	const void *udata;
	uint32_t size;

	if (!rule)
		return -ENOMEM;
	errno = 0;
	if (nftnl_rule_nlmsg_parse(nlh, rule) < 0)
		return errno == ENOMEM ? -ENOMEM : -EBADMSG;
	s.handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE);
	(void)nftnl_expr_foreach(rule, read_expr, &s);
	udata = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &size);
	if (udata)
		(void)nftnl_udata_parse(udata, size, read_udata, &s);
	s.plain = s.plain && s.verdict;
	*ret_seen = s;
	return 0;
}

/* --- reading the chain ---------------------------------------------------------------------- */

/* Errors by which kernels say that there is no such table, chain, family or nftables. */
static bool means_absent(int code)
{
	return code == -ENOENT || code == -EAFNOSUPPORT || code == -EOPNOTSUPP ||
	       code == -EPROTONOSUPPORT || code == -EINVAL;
}

static int find_chain(struct ndrv_fw *fw, int family, bool *ret_found)
{
	union buffer buf;
	struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf.bytes, NFT_MSG_GETCHAIN,
						     nfproto_of(family), NLM_F_ACK, ++fw->seq);
	int r;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, FW_TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, FW_CHAIN);
	r = request(fw, nlh, NULL, NULL);
	*ret_found = r >= 0;
	return means_absent(r) ? 0 : r;
}

/* seen_fn - takes one rule of the chain, in its order. */
typedef int seen_fn(void *ctx, const struct seen *s);

struct walk {
	seen_fn *seen; /* takes the rules */
	void *ctx;     /* of @seen */
};

static int take_rule(void *ctx, const struct nlmsghdr *nlh)
{
	const struct walk *w = ctx;
	struct seen s;
	int r = read_rule(nlh, &s);

	return r < 0 ? r : w->seen(w->ctx, &s);
}

/* Kernels heed table and chain in the request of a dump since 4.12; we need no older ones. */
static int walk_rules(struct ndrv_fw *fw, int family, seen_fn *seen, void *ctx)
{
	union buffer buf;
	struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf.bytes, NFT_MSG_GETRULE, nfproto_of(family),
						     NLM_F_DUMP, ++fw->seq);
	struct walk w = { seen, ctx };

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, FW_TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, FW_CHAIN);
	return request(fw, nlh, take_rule, &w);
}

/* --- writing a rule ------------------------------------------------------------------------- */

/* Adds an expression to @rule; NULL if memory ran out. */
static struct nftnl_expr *add_expr(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (expr)
		nftnl_rule_add_expr(rule, expr);
	return expr;
}

static int add_interface(struct nftnl_rule *rule, uint32_t key, const char *name)
{
	size_t len = strlen(name);
	struct nftnl_expr *meta;
	struct nftnl_expr *cmp;

	if (!len)
		return 0;
	meta = add_expr(rule, "meta");
	cmp = add_expr(rule, "cmp");
	if (!meta || !cmp)
		return -ENOMEM;
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_DREG, REGISTER);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_SREG, REGISTER);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	return nftnl_expr_set(cmp, NFTNL_EXPR_CMP_DATA, name,
			      (uint32_t)(name[len - 1] == '+' ? len - 1 : len + 1)) < 0 ?
		       -ENOMEM :
		       0;
}

static int add_comment(struct nftnl_rule *rule, const char *comment)
{
	struct nftnl_expr *expr = add_expr(rule, "match");
	struct xt_comment_info *info = calloc(1, sizeof *info);

	if (!expr || !info) {
		free(info);
		return -ENOMEM;
	}
	memcpy(info->comment, comment, strlen(comment) + 1);
	(void)nftnl_expr_set(expr, NFTNL_EXPR_MT_INFO, info, sizeof *info); /* takes @info */
	nftnl_expr_set_u32(expr, NFTNL_EXPR_MT_REV, 0);
	return nftnl_expr_set_str(expr, NFTNL_EXPR_MT_NAME, "comment") < 0 ? -ENOMEM : 0;
}

static int add_verdict(struct nftnl_rule *rule, bool accept)
{
	struct nftnl_expr *counter = add_expr(rule, "counter");
	struct nftnl_expr *imm = add_expr(rule, "immediate");

	if (!counter || !imm)
		return -ENOMEM;
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_PACKETS, 0);
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_BYTES, 0);
	nftnl_expr_set_u32(imm, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(imm, NFTNL_EXPR_IMM_VERDICT, accept ? NF_ACCEPT : (uint32_t)NFT_RETURN);
	return 0;
}

static int compose_rule(struct nftnl_rule *rule, const struct fw_rule *want, const char *comment)
{
	int r = add_interface(rule, NFT_META_IIFNAME, want->in);

	if (r >= 0)
		r = add_interface(rule, NFT_META_OIFNAME, want->out);
	if (r >= 0)
		r = add_comment(rule, comment);
	if (r >= 0)
		r = add_verdict(rule, want->accept);
	return r;
}

/* --- changing the chain --------------------------------------------------------------------- */

/* A transaction being composed. */
struct change {
	struct ndrv_fw *fw;
	int family;
	const struct fw_set *set;
	size_t n_good;   /* rules of the id seen so far, all as wanted and in order */
	bool bad;        /* one was seen that is not */
	unsigned n_acks; /* messages in @buf that will be acknowledged */
	size_t size;     /* bytes used in @buf */
	uint32_t first;  /* sequence number of the first message */
	union buffer buf;
};

static int begin_message(struct change *c, struct nlmsghdr **ret_nlh, uint16_t type, uint16_t flags)
{
	if (sizeof c->buf - c->size < CHANGE_MAX)
		return -EMSGSIZE;
	*ret_nlh = nftnl_nlmsg_build_hdr(c->buf.bytes + c->size, type, nfproto_of(c->family),
					 (uint16_t)(NLM_F_ACK | flags), ++c->fw->seq);
	c->n_acks++;
	return 0;
}

static void begin_batch(struct change *c)
{
	c->size = 0;
	c->n_acks = 0;
	c->n_good = 0;
	c->bad = false;
	c->first = ++c->fw->seq;
	c->size = nftnl_batch_begin(c->buf.bytes, c->first)->nlmsg_len;
}

static int add_deletion(struct change *c, uint64_t handle)
{
	struct nlmsghdr *nlh;
	int r = begin_message(c, &nlh, NFT_MSG_DELRULE, 0);

	if (r < 0)
		return r;
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, FW_TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, FW_CHAIN);
	mnl_attr_put_u64(nlh, NFTA_RULE_HANDLE, htobe64(handle));
	c->size += nlh->nlmsg_len;
	return 0;
}

/* Without NLM_F_APPEND a rule goes to the top of its chain. */
static int add_insertion(struct change *c, const struct fw_rule *want)
{
	DP_CLEANUP(rule_freep) struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *nlh;
	int r;

	if (!rule || nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, FW_TABLE) < 0 ||
	    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, FW_CHAIN) < 0)
		return -ENOMEM;
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, nfproto_of(c->family));
	r = compose_rule(rule, want, c->set->comment);
	if (r >= 0)
		r = begin_message(c, &nlh, NFT_MSG_NEWRULE, NLM_F_CREATE);
	if (r < 0)
		return r;
	nftnl_rule_nlmsg_build_payload(nlh, rule);
	c->size += nlh->nlmsg_len;
	return 0;
}

static int commit(struct change *c)
{
	struct exchange x = { .first = c->first, .n_acks = c->n_acks };

	/* begin_message() has kept this much room, and no rule takes all of it */
	assert(sizeof c->buf - c->size >= CHANGE_MAX / 2);
	c->size += nftnl_batch_end(c->buf.bytes + c->size, ++c->fw->seq)->nlmsg_len;
	x.last = c->fw->seq;
	return exchange(c->fw, c->buf.bytes, c->size, &x);
}

static bool is_equal(const struct fw_rule *a, const struct fw_rule *b)
{
	return !strcmp(a->in, b->in) && !strcmp(a->out, b->out) && a->accept == b->accept;
}

/* Compares the rules of the id with the wanted ones; notes the deletion of each just in case. */
static int compare(void *ctx, const struct seen *s)
{
	struct change *c = ctx;

	if (strcmp(s->comment, c->set->comment))
		return 0;
	if (s->plain && c->n_good < c->set->n_rules &&
	    is_equal(&s->rule, &c->set->rules[c->n_good]))
		c->n_good++;
	else
		c->bad = true;
	return add_deletion(c, s->handle);
}

/* One round. -EAGAIN and -ENOENT: others have changed the chain meanwhile, do it again. */
static int try_sync(struct change *c, bool *ret_found)
{
	int r = find_chain(c->fw, c->family, ret_found);

	if (r < 0 || !*ret_found)
		return r;
	begin_batch(c);
	r = walk_rules(c->fw, c->family, compare, c);
	if (r < 0 || (!c->bad && c->n_good == c->set->n_rules))
		return r;
	for (size_t i = c->set->n_rules; r >= 0 && i-- > 0;)
		r = add_insertion(c, &c->set->rules[i]);
	return r < 0 ? r : commit(c);
}

static int nft_error(int family, int code, struct dp_error *err)
{
	if (code == -ENOENT)
		code = -EAGAIN; /* after the last round */
	return fw_error(err, code, family_name(family));
}

static int nft_sync(struct ndrv_fw *fw, int family, const struct fw_set *set, bool *ret_found,
		    struct dp_error *err)
{
	struct change c = { .fw = fw, .family = family, .set = set };
	int r = open_socket(fw);

	*ret_found = false;
	if (r >= 0 && !fw->nft)
		return 0;
	for (int i = 0; r >= 0 && i < FW_TRIES; i++) {
		r = try_sync(&c, ret_found);
		if (r != -EAGAIN && r != -ENOENT)
			break;
		if (i + 1 < FW_TRIES)
			r = 0;
	}
	return r < 0 ? nft_error(family, r, err) : 0;
}

static int take_id(void *ctx, const struct seen *s)
{
	return fw_ids_add(ctx, s->comment);
}

static int nft_list(struct ndrv_fw *fw, int family, struct fw_ids *ids, struct dp_error *err)
{
	bool found = false;
	int r = open_socket(fw);

	if (r >= 0 && !fw->nft)
		return 0;
	for (int i = 0; r >= 0 && i < FW_TRIES; i++) {
		r = find_chain(fw, family, &found);
		if (r >= 0 && found)
			r = walk_rules(fw, family, take_id, ids);
		if (r != -EAGAIN)
			break;
		if (i + 1 < FW_TRIES)
			r = 0;
	}
	return r < 0 ? nft_error(family, r, err) : 0;
}

const struct fw_backend fw_nft = { nft_sync, nft_list };
