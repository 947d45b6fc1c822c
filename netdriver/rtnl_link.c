/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What all kinds of links have in common: being made, changed and deleted.
 *
 * Making one takes three exchanges. (1) One RTM_NEWLINK with everything the kernel applies at
 * creation: name, MTU, MAC, master and, for a veth pair, the other end. It ignores alias, IPv6
 * settings and (where a link-local address must not appear first) the up flag at that point, so
 * the link is born in group NDRV_GROUP_UNFINISHED. (2) A lookup by name, since the kernel of
 * Debian 12 does not tell the index of what it made. (3) One batch: no link-local address; alias,
 * default group and up in one request; the peer's alias; and both ends read back for comparison.
 *
 * Whatever fails after (1) was sent deletes the link again, also when it is unknown how (1) ended:
 * a link of that name in that group can only be ours.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <net/if.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "netdriver/rtnl_internal.h"

/* --- making --------------------------------------------------------------------------------- */

int rtnl_check_spec(const char *name, const char *alias, struct dp_error *err)
{
	size_t len = strlen(name);

	if (!len || len >= NDRV_IFNAME_SIZE)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "link name '%.64s' is not of 1 to 15 bytes", name);
	if (strncmp(alias, NDRV_MARK, sizeof NDRV_MARK - 1) || strlen(alias) >= NDRV_ALIAS_SIZE)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "link %s: alias '%.64s' is too long or not ours", name, alias);
	return 0;
}

struct rtnl_batch *rtnl_begin_create(struct ndrv_rtnl *rtnl, const char *name, uint32_t mtu)
{
	struct rtnl_batch *b = rtnl_batch_begin(rtnl);

	(void)rtnl_batch_add_link(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	rtnl_put_str(b, IFLA_IFNAME, name);
	rtnl_put_u32(b, IFLA_GROUP, NDRV_GROUP_UNFINISHED);
	if (mtu)
		rtnl_put_u32(b, IFLA_MTU, mtu);
	return b;
}

/* Deletes link @ifindex, which the caller knows to be ours; gone already is fine. */
static int delete_now(struct ndrv_rtnl *rtnl, int ifindex, struct dp_error *err)
{
	int r;

	(void)rtnl_batch_add_link(rtnl_batch_begin(rtnl), RTM_DELLINK, 0, ifindex);
	r = rtnl_request(rtnl, err, "delete link %d", ifindex);
	return r == -ENODEV ? 0 : r;
}

/* Undoes a creation that did not come to its end; the caller's error is what counts. */
static void abandon(struct ndrv_rtnl *rtnl, const struct rtnl_finish *fin)
{
	struct ndrv_link link;

	if (ndrv_rtnl_get_link_by_name(rtnl, fin->name, &link, NULL) < 0)
		return;
	if (link.group == NDRV_GROUP_UNFINISHED || !strcmp(link.alias, fin->alias))
		(void)delete_now(rtnl, link.ifindex, NULL);
}

/* Says who is in the way of a creation. */
static int conflict_error(struct ndrv_rtnl *rtnl, const struct rtnl_finish *fin,
			  struct dp_error *err)
{
	struct rtnl_ack ack = rtnl->batch.acks[0];
	struct ndrv_link link;

	if (ndrv_rtnl_get_link_by_name(rtnl, fin->name, &link, NULL) < 0 &&
	    (!fin->peer_name || ndrv_rtnl_get_link_by_name(rtnl, fin->peer_name, &link, NULL) < 0))
		return rtnl_ack_error(&ack, err, "create %s %s", fin->kind, fin->name);
	return dp_error_set(err, DP_ERR_CONFLICT, ack.code,
			    "create %s %s: link %s exists already (%s, %s)", fin->kind, fin->name,
			    link.name, link.kind[0] ? link.kind : "no virtual link",
			    link.alias[0] ? link.alias : "not made by this plugin");
}

/* Step (1). A refusal leaves nothing; only where the answer was lost is there something to undo. */
static int send_create(struct ndrv_rtnl *rtnl, const struct rtnl_finish *fin, struct dp_error *err)
{
	const struct rtnl_ack *ack = &rtnl->batch.acks[0];
	int r = rtnl_exchange(rtnl, NULL, NULL, err);

	if (r < 0) {
		abandon(rtnl, fin);
		return r;
	}
	if (ack->code == -EEXIST)
		return conflict_error(rtnl, fin, err);
	if (ack->code < 0)
		return rtnl_ack_error(ack, err, "create %s %s", fin->kind, fin->name);
	return 0;
}

void rtnl_add_ipv6_off(struct rtnl_batch *b, int ifindex)
{
	struct nlattr *spec;
	struct nlattr *inet6;

	(void)rtnl_batch_add_link(b, RTM_SETLINK, 0, ifindex);
	spec = rtnl_nest_start(b, IFLA_AF_SPEC);
	inet6 = rtnl_nest_start(b, AF_INET6);
	rtnl_put_u8(b, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	rtnl_nest_end(b, inet6);
	rtnl_nest_end(b, spec);
}

static void add_finish(struct rtnl_batch *b, int ifindex, const struct rtnl_finish *fin)
{
	struct ifinfomsg *ifi = rtnl_batch_add_link(b, RTM_SETLINK, 0, ifindex);

	if (fin->up) {
		ifi->ifi_change = IFF_UP;
		ifi->ifi_flags = IFF_UP;
	}
	rtnl_put_str(b, IFLA_IFALIAS, fin->alias);
	rtnl_put_u32(b, IFLA_GROUP, 0);
	if (fin->set_mtu)
		rtnl_put_u32(b, IFLA_MTU, fin->set_mtu);
}

static void add_peer_alias(struct rtnl_batch *b, int ifindex, const char *alias)
{
	(void)rtnl_batch_add_link(b, RTM_SETLINK, 0, ifindex);
	rtnl_put_str(b, IFLA_IFALIAS, alias);
}

/* The requests of step (3), in this order; the number of each is its place in the batch. */
enum { DO_IPV6_OFF, DO_FINISH, DO_GET, DO_PEER_ALIAS, DO_PEER_GET, N_STEPS };

struct finishing {
	struct ndrv_link link; /* as read back */
	struct ndrv_link peer; /* veth: likewise */
};

static int take_finished(void *ctx, unsigned i, const struct nlmsghdr *nlh)
{
	struct finishing *f = ctx;

	if (i == DO_GET)
		return rtnl_parse_link(nlh, &f->link);
	if (i == DO_PEER_GET)
		return rtnl_parse_link(nlh, &f->peer);
	return 0;
}

static const char *step_name(unsigned i)
{
	static const char *const names[N_STEPS] = {
		[DO_IPV6_OFF] = "switch off link-local addresses of",
		[DO_FINISH] = "mark and set up",
		[DO_GET] = "read back",
		[DO_PEER_ALIAS] = "mark the peer of",
		[DO_PEER_GET] = "read back the peer of",
	};

	return names[i];
}

/* IPv6 absent or off for the link (no module, MTU below 1280): there is nothing to switch off. */
static bool is_failure(unsigned i, int code)
{
	if (i == DO_IPV6_OFF && (code == -EAFNOSUPPORT || code == -EOPNOTSUPP || code == -EINVAL))
		return false;
	return code < 0;
}

static int finish_verdict(const struct rtnl_batch *b, const struct rtnl_finish *fin,
			  struct dp_error *err)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (is_failure(i, b->acks[i].code))
			return rtnl_ack_error(&b->acks[i], err, "%s %s %s", step_name(i), fin->kind,
					      fin->name);
	}
	return 0;
}

/* Step (3) for link @born of step (2). */
static int finish_link(struct ndrv_rtnl *rtnl, const struct ndrv_link *born,
		       const struct rtnl_finish *fin, struct finishing *f, struct dp_error *err)
{
	struct rtnl_batch *b = rtnl_batch_begin(rtnl);
	int r;

	if (fin->ipv6_off)
		rtnl_add_ipv6_off(b, born->ifindex);
	else
		rtnl_batch_add_get(b, born->ifindex); /* keeps the numbers of the steps */
	add_finish(b, born->ifindex, fin);
	rtnl_batch_add_get(b, born->ifindex);
	if (fin->peer_name) {
		add_peer_alias(b, born->lower, fin->peer_alias);
		rtnl_batch_add_get(b, born->lower);
	}
	r = rtnl_exchange(rtnl, take_finished, f, err);
	if (r < 0)
		return r;
	return finish_verdict(b, fin, err);
}

/* First property that is not as wanted; NULL if there is none. */
static const char *mismatch(const struct ndrv_link *is, const struct rtnl_finish *want)
{
	if (strcmp(is->name, want->name) || strcmp(is->kind, want->kind))
		return "name or kind";
	if (strcmp(is->alias, want->alias))
		return "alias";
	if (want->want_mtu && is->mtu != want->want_mtu)
		return "MTU";
	if (is->master != want->want_master)
		return "master";
	if (is->vlan_id != want->want_vid)
		return "VLAN id";
	if (want->up && !is->up)
		return "up flag";
	if (is->group)
		return "group";
	return NULL;
}

static const char *peer_mismatch(const struct ndrv_link *is, const struct rtnl_finish *want)
{
	if (!want->peer_name)
		return NULL;
	if (strcmp(is->name, want->peer_name) || strcmp(is->kind, want->kind))
		return "peer's name or kind";
	if (strcmp(is->alias, want->peer_alias))
		return "peer's alias";
	if (want->peer_mtu && is->mtu != want->peer_mtu)
		return "peer's MTU";
	if (want->peer_mac && memcmp(is->mac, want->peer_mac, sizeof is->mac))
		return "peer's MAC";
	return NULL;
}

static int verify(const struct finishing *f, const struct rtnl_finish *fin, struct dp_error *err)
{
	const char *what = mismatch(&f->link, fin);

	if (!what)
		what = peer_mismatch(&f->peer, fin);
	if (what)
		return dp_error_set(err, DP_ERR_INTERNAL, -EIO,
				    "create %s %s: the kernel made it, but with another %s",
				    fin->kind, fin->name, what);
	return 0;
}

int rtnl_make_link(struct ndrv_rtnl *rtnl, const struct rtnl_finish *fin,
		   struct ndrv_link *ret_link, struct dp_error *err)
{
	struct finishing f = { 0 };
	struct ndrv_link born;
	int r;

	r = send_create(rtnl, fin, err);
	if (r < 0)
		return r;
	r = ndrv_rtnl_get_link_by_name(rtnl, fin->name, &born, err);
	if (r >= 0)
		r = finish_link(rtnl, &born, fin, &f, err);
	if (r >= 0)
		r = verify(&f, fin, err);
	if (r < 0) {
		abandon(rtnl, fin);
		return r;
	}
	*ret_link = f.link;
	return 0;
}

/* --- changing ------------------------------------------------------------------------------- */

int ndrv_rtnl_set_up(struct ndrv_rtnl *rtnl, int ifindex, bool up, struct dp_error *err)
{
	struct ifinfomsg *ifi;

	ifi = rtnl_batch_add_link(rtnl_batch_begin(rtnl), RTM_SETLINK, 0, ifindex);
	ifi->ifi_change = IFF_UP;
	ifi->ifi_flags = up ? IFF_UP : 0;
	return rtnl_request(rtnl, err, "set link %d %s", ifindex, up ? "up" : "down");
}

int ndrv_rtnl_set_master(struct ndrv_rtnl *rtnl, int ifindex, int master, struct dp_error *err)
{
	struct rtnl_batch *b = rtnl_batch_begin(rtnl);

	(void)rtnl_batch_add_link(b, RTM_SETLINK, 0, ifindex);
	rtnl_put_u32(b, IFLA_MASTER, (uint32_t)master);
	return rtnl_request(rtnl, err, "set master of link %d to %d", ifindex, master);
}

int ndrv_rtnl_rename(struct ndrv_rtnl *rtnl, const struct ndrv_link *link, const char *name,
		     struct dp_error *err)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct rtnl_batch *b;
	int r = link->up ? ndrv_rtnl_set_up(rtnl, link->ifindex, false, err) : 0;

	if (r < 0)
		return r;
	b = rtnl_batch_begin(rtnl);
	(void)rtnl_batch_add_link(b, RTM_SETLINK, 0, link->ifindex);
	rtnl_put_str(b, IFLA_IFNAME, name);
	r = rtnl_request(rtnl, err, "rename link %s to %s", link->name, name);
	if (link->up && ndrv_rtnl_set_up(rtnl, link->ifindex, true, &ignored) < 0 && r == 0) {
		*err = ignored;
		r = ignored.code;
	}
	return r;
}

/* --- deleting ------------------------------------------------------------------------------- */

static int refuse(const struct ndrv_link *link, const char *alias, struct dp_error *err)
{
	return dp_error_set(err, DP_ERR_CONFLICT, -EPERM,
			    "link %s (%d) bears '%s', not '%s', and is left alone", link->name,
			    link->ifindex, link->alias, alias ? alias : NDRV_MARK "...");
}

static bool may_delete(const struct ndrv_link *link, const char *alias)
{
	return ndrv_link_is_ours(link) && (!alias || !strcmp(link->alias, alias));
}

int ndrv_rtnl_delete_link(struct ndrv_rtnl *rtnl, int ifindex, const char *alias,
			  struct dp_error *err)
{
	struct ndrv_link link;
	int r = ndrv_rtnl_get_link_by_index(rtnl, ifindex, &link, err);

	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return r;
	if (!may_delete(&link, alias))
		return refuse(&link, alias, err);
	return delete_now(rtnl, ifindex, err);
}

/*
 * Links that die together are put into a group of their own, and the group is deleted. Nobody else's
 * link may be in it: a list of all links tells which number is free. Where a watch sees what happens to
 * links (rtnl_watch.c), a number that was free once is free until the watch tells otherwise, so that the
 * list is not needed again, however many links there are. The kernel does not tell when a link that is
 * down changes its group: so the number is a random one then, which nobody else comes upon.
 */
struct doomed {
	struct ndrv_link *links;          /* of the namespace: all, or only those to delete */
	size_t n_links;                   /* entries of @links */
	const struct ndrv_link_ref *refs; /* those to delete, as asked */
	size_t n_refs;                    /* entries of @refs */
	int *ifindexes;                   /* those to delete, as found and allowed; sorted */
	size_t n;                         /* entries of @ifindexes */
	uint32_t group;                   /* that holds no others */
	bool watched;                     /* known to be free from the watch alone */
};

static int cmp_link(const void *a, const void *b)
{
	const struct ndrv_link *x = a;
	const struct ndrv_link *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

static int cmp_int(const void *a, const void *b)
{
	const int *x = a;
	const int *y = b;

	return (*x > *y) - (*x < *y);
}

/* Fills @d->ifindexes. Returns the first refusal; those allowed are found nevertheless. */
static int select_doomed(struct doomed *d, struct dp_error *err)
{
	int r = 0;

	qsort(d->links, d->n_links, sizeof *d->links, cmp_link);
	for (size_t i = 0; i < d->n_refs; i++) {
		const struct ndrv_link key = { .ifindex = d->refs[i].ifindex };
		const struct ndrv_link *link =
			bsearch(&key, d->links, d->n_links, sizeof key, cmp_link);

		if (!link)
			continue;
		if (may_delete(link, d->refs[i].alias))
			d->ifindexes[d->n++] = link->ifindex;
		else if (r == 0)
			r = refuse(link, d->refs[i].alias, err);
	}
	qsort(d->ifindexes, d->n, sizeof *d->ifindexes, cmp_int);
	return r;
}

/*
 * A group number from @group on that nothing on the host uses. Members that an interrupted deletion of ours has
 * left in one are not trusted either: the next number is as good.
 */
static uint32_t free_group(const struct doomed *d, uint32_t group)
{
	for (size_t i = 0; i < d->n_links; i++) {
		if (d->links[i].group == group) {
			group++;
			i = (size_t)-1; /* start over; each round passes a number that is in use */
		}
	}
	return group;
}

static uint32_t random_group(void)
{
	uint32_t group;

	if (getrandom(&group, sizeof group, GRND_NONBLOCK) != sizeof group)
		return NDRV_GROUP_DOOMED;
	return (group & 0x3fffffffU) | 0x40000000U;
}

void rtnl_note_group(struct ndrv_rtnl *rtnl, int ifindex, uint32_t group)
{
	bool is_ours = rtnl->n_doomed &&
		       bsearch(&ifindex, rtnl->doomed, rtnl->n_doomed, sizeof ifindex, cmp_int);

	if (group && group == rtnl->free_group && !is_ours)
		rtnl->free_group = 0;
}

static void read_watch(struct ndrv_rtnl *rtnl)
{
	if (rtnl->watch)
		ndrv_rtnl_watch_read(rtnl->watch);
}

/* Sends the batch; a link that has gone meanwhile is no failure. */
static int flush_group(struct ndrv_rtnl *rtnl, rtnl_object_fn *object, void *ctx,
		       struct dp_error *err)
{
	const struct rtnl_batch *b = &rtnl->batch;
	int r = rtnl_exchange(rtnl, object, ctx, err);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < b->n; i++) {
		if (b->acks[i].code < 0 && b->acks[i].code != -ENODEV)
			return rtnl_ack_error(&b->acks[i], err, "link to delete");
	}
	return 0;
}

static int put_into_group(struct ndrv_rtnl *rtnl, const struct doomed *d, struct dp_error *err)
{
	for (size_t i = 0; i < d->n;) {
		struct rtnl_batch *b = rtnl_batch_begin(rtnl);
		int r;

		for (; i < d->n && rtnl_batch_has_room(b); i++) {
			(void)rtnl_batch_add_link(b, RTM_SETLINK, 0, d->ifindexes[i]);
			rtnl_put_u32(b, IFLA_GROUP, d->group);
		}
		r = flush_group(rtnl, NULL, NULL, err);
		if (r < 0)
			return r;
		read_watch(rtnl); /* often, as it does not hold the events of any number of links */
	}
	return 0;
}

/* Return: 0; -EAGAIN another link has come into the group. */
static int delete_group(struct ndrv_rtnl *rtnl, const struct doomed *d, struct dp_error *err)
{
	struct rtnl_batch *b;
	int r = put_into_group(rtnl, d, err);

	if (r < 0)
		return r;
	if (d->watched && rtnl->free_group != d->group)
		return -EAGAIN;
	b = rtnl_batch_begin(rtnl);
	(void)rtnl_batch_add_link(b, RTM_DELLINK, 0, 0);
	rtnl_put_u32(b, IFLA_GROUP, d->group);
	r = rtnl_request(rtnl, err, "delete %zu links", d->n);
	return r == -ENODEV ? 0 : r; /* all of them gone meanwhile */
}

static int delete_doomed(struct ndrv_rtnl *rtnl, const struct doomed *d, struct dp_error *err)
{
	int r;

	if (d->n == 0)
		return 0;
	if (d->n == 1)
		return delete_now(rtnl, d->ifindexes[0], err);
	rtnl->free_group = rtnl->watch ? d->group : 0;
	rtnl->doomed = d->ifindexes;
	rtnl->n_doomed = d->n;
	r = delete_group(rtnl, d, err);
	read_watch(rtnl);
	rtnl->doomed = NULL;
	rtnl->n_doomed = 0;
	if (r < 0)
		rtnl->free_group = 0;
	return r;
}

static int take_doomed(void *ctx, unsigned i, const struct nlmsghdr *nlh)
{
	struct doomed *d = ctx;

	(void)i;
	return d->n_links < d->n_refs ? rtnl_parse_link(nlh, &d->links[d->n_links++]) : -EBADMSG;
}

/* Fills @d->links with those to delete that are there. */
static int look_at_doomed(struct ndrv_rtnl *rtnl, struct doomed *d, struct dp_error *err)
{
	for (size_t i = 0; i < d->n_refs;) {
		struct rtnl_batch *b = rtnl_batch_begin(rtnl);
		int r;

		for (; i < d->n_refs && rtnl_batch_has_room(b); i++)
			rtnl_batch_add_get(b, d->refs[i].ifindex);
		r = flush_group(rtnl, take_doomed, d, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One way to do it: with a list of all links, or with what the watch knows. Return: 0; -EAGAIN the
 * watch does not know; others. */
static int delete_all(struct ndrv_rtnl *rtnl, const struct ndrv_link_ref *refs, size_t n_refs,
		      bool watched, struct dp_error *err)
{
	auto_free int *ifindexes = calloc(n_refs, sizeof *ifindexes);
	auto_free struct ndrv_link *links = watched ? calloc(n_refs, sizeof *links) : NULL;
	struct doomed d = { .refs = refs, .n_refs = n_refs, .watched = watched };
	int refused;
	int r;

	if (!ifindexes || (watched && !links))
		return dp_error_oom(err);
	d.ifindexes = ifindexes;
	d.links = links;
	d.group = rtnl->free_group;
	r = watched ? look_at_doomed(rtnl, &d, err)
		    : ndrv_rtnl_list_links(rtnl, &links, &d.n_links, err);
	if (r < 0)
		return r;
	d.links = links;
	if (!watched)
		d.group = free_group(&d, rtnl->watch ? random_group() : NDRV_GROUP_DOOMED);
	refused = select_doomed(&d, err);
	r = delete_doomed(rtnl, &d, refused < 0 ? NULL : err);
	return refused < 0 && r != -EAGAIN ? refused : r;
}

int ndrv_rtnl_delete_links(struct ndrv_rtnl *rtnl, const struct ndrv_link_ref *refs, size_t n_refs,
			   struct dp_error *err)
{
	int r = -EAGAIN;

	if (n_refs == 0)
		return 0;
	if (n_refs == 1)
		return ndrv_rtnl_delete_link(rtnl, refs[0].ifindex, refs[0].alias, err);
	read_watch(rtnl);
	if (rtnl->free_group)
		r = delete_all(rtnl, refs, n_refs, true, err);
	return r == -EAGAIN ? delete_all(rtnl, refs, n_refs, false, err) : r;
}

static bool is_unfinished(const struct ndrv_link *link)
{
	return link->group == NDRV_GROUP_UNFINISHED && !link->alias[0] &&
	       (!strcmp(link->kind, "bridge") || !strcmp(link->kind, "vlan") ||
		!strcmp(link->kind, "veth"));
}

int ndrv_rtnl_delete_unfinished(struct ndrv_rtnl *rtnl, size_t *ret_n_links, struct dp_error *err)
{
	auto_free struct ndrv_link *links = NULL;
	size_t n_links;
	size_t n = 0;
	int r = ndrv_rtnl_list_links(rtnl, &links, &n_links, err);

	for (size_t i = 0; r >= 0 && i < n_links; i++) {
		if (!is_unfinished(&links[i]))
			continue;
		r = delete_now(rtnl, links[i].ifindex, err);
		n++;
	}
	if (r >= 0 && ret_n_links)
		*ret_n_links = n;
	return r;
}
