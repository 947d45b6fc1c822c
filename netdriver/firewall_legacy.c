/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * iptables-legacy, through libiptc.
 *
 * A table is read as a whole, changed in memory and written back as a whole. Two guards keep us
 * from undoing what another process does in between: the lock file that all users of libiptc agree
 * on, and the kernel, which refuses a replacement (EAGAIN) when the number of entries is not what
 * it was at reading; then everything is done again. libiptc carries the counters of rules that
 * stay over into the new table.
 *
 * A table is opened only if the kernel lists it as existing: opening another would create it, and
 * iptables-nft would from then on warn about it.
 *
 * The check whether anything is to be done needs no lock, so the common case writes nothing and
 * waits for nobody.
 *
 * IPv4 and IPv6 differ in types and names of functions, not in what is done. struct family holds
 * the differences, and the macro below makes one for each.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>

#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>
#include <linux/netfilter/xt_comment.h>

#include "common/cleanup.h"
#include "netdriver/firewall_internal.h"

#define LOCK_TRIES   10
#define LOCK_WAIT_MS 10 /* between two of them */

/* Sizes as the kernel rounds them. */
#define MATCH_SIZE \
	(XT_ALIGN(sizeof(struct xt_entry_match)) + XT_ALIGN(sizeof(struct xt_comment_info)))
#define TARGET_SIZE XT_ALIGN(sizeof(struct xt_standard_target))
#define ENTRY_MAX   (XT_ALIGN(sizeof(struct ip6t_entry)) + MATCH_SIZE + TARGET_SIZE)

static const xt_chainlabel chain_name = FW_CHAIN; /* libiptc reads all 32 bytes */

/* An entry under construction; its head is a struct ipt_entry or ip6t_entry. */
union entry {
	uint64_t align; /* what XT_ALIGN() rounds to */
	struct ipt_entry v4;
	struct ip6t_entry v6;
	char bytes[ENTRY_MAX];
};

/* What differs between the address families. Entries are passed as pointers without a type. */
struct family {
	const char *names_path; /* where the kernel lists the existing tables */
	const char *name;       /* for errors */
	struct xtc_handle *(*init)(const char *table);
	int (*is_chain)(const char *chain, struct xtc_handle *h);
	const void *(*first)(struct xtc_handle *h);
	const void *(*next)(const void *entry, struct xtc_handle *h);
	const char *(*target)(const void *entry, struct xtc_handle *h);
	int (*insert)(const void *entry, struct xtc_handle *h);
	int (*delete_num)(unsigned n, struct xtc_handle *h);
	int (*commit)(struct xtc_handle *h);
	void (*free)(struct xtc_handle *h);
	const char *(*strerror)(int code);
	/* sizes and offsets of an entry's head; where its matches are */
	const void *(*matches)(const void *entry, size_t *ret_size);
	size_t (*compose_head)(union entry *e, const struct fw_rule *rule);
	size_t head_size; /* bytes of an entry that say what it matches, without offsets, counters */
};

/* As iptables does it: a name with its NUL, or what is in front of the '+', has to be equal. */
static void compose_name(const char *name, char *iface, unsigned char *mask)
{
	size_t len = strlen(name);

	if (!len)
		return;
	memcpy(iface, name, len);
	memset(mask, 0xff, name[len - 1] == '+' ? len - 1 : len + 1);
}

#define DEFINE_FAMILY(v, prefix, entry_type, head, names, title)                       \
	static const void *v##_first(struct xtc_handle *h)                             \
	{                                                                              \
		return prefix##_first_rule(chain_name, h);                             \
	}                                                                              \
	static const void *v##_next(const void *entry, struct xtc_handle *h)           \
	{                                                                              \
		return prefix##_next_rule(entry, h);                                   \
	}                                                                              \
	static const char *v##_target(const void *entry, struct xtc_handle *h)         \
	{                                                                              \
		return prefix##_get_target(entry, h);                                  \
	}                                                                              \
	static int v##_insert(const void *entry, struct xtc_handle *h)                 \
	{                                                                              \
		return prefix##_insert_entry(chain_name, entry, 0, h);                 \
	}                                                                              \
	static int v##_delete_num(unsigned n, struct xtc_handle *h)                    \
	{                                                                              \
		return prefix##_delete_num_entry(chain_name, n, h);                    \
	}                                                                              \
	static const void *v##_matches(const void *entry, size_t *ret_size)            \
	{                                                                              \
		const struct entry_type *e = entry;                                    \
                                                                                       \
		*ret_size = e->target_offset - sizeof *e;                              \
		return e->elems;                                                       \
	}                                                                              \
	static size_t v##_compose_head(union entry *e, const struct fw_rule *rule)     \
	{                                                                              \
		compose_name(rule->in, e->v.head.iniface, e->v.head.iniface_mask);     \
		compose_name(rule->out, e->v.head.outiface, e->v.head.outiface_mask);  \
		e->v.target_offset = (uint16_t)(sizeof e->v + MATCH_SIZE);             \
		e->v.next_offset = (uint16_t)(sizeof e->v + MATCH_SIZE + TARGET_SIZE); \
		return sizeof e->v;                                                    \
	}                                                                              \
	static const struct family v = { names,                                        \
					 title,                                        \
					 prefix##_init,                                \
					 prefix##_is_chain,                            \
					 v##_first,                                    \
					 v##_next,                                     \
					 v##_target,                                   \
					 v##_insert,                                   \
					 v##_delete_num,                               \
					 prefix##_commit,                              \
					 prefix##_free,                                \
					 prefix##_strerror,                            \
					 v##_matches,                                  \
					 v##_compose_head,                             \
					 offsetof(struct entry_type, nfcache) }

DEFINE_FAMILY(v4, iptc, ipt_entry, ip, "/proc/net/ip_tables_names", "iptables-legacy");
DEFINE_FAMILY(v6, ip6tc, ip6t_entry, ipv6, "/proc/net/ip6_tables_names", "ip6tables-legacy");

static const struct family *family_of(int family)
{
	return family == AF_INET ? &v4 : &v6;
}

/* --- entries -------------------------------------------------------------------------------- */

static void compose_match(struct xt_entry_match *m, const char *comment)
{
	m->u.user.match_size = (uint16_t)MATCH_SIZE;
	memcpy(m->u.user.name, "comment", sizeof "comment");
	memcpy(m->data, comment, strlen(comment) + 1);
}

/* libiptc turns the names of the two verdicts into numbers. */
static void compose_target(struct xt_entry_target *t, bool accept)
{
	const char *name = accept ? IPTC_LABEL_ACCEPT : IPTC_LABEL_RETURN;

	t->u.user.target_size = (uint16_t)TARGET_SIZE;
	memcpy(t->u.user.name, name, strlen(name) + 1);
}

static void compose_entry(const struct family *f, union entry *e, const struct fw_rule *rule,
			  const char *comment)
{
	size_t size;

	memset(e, 0, sizeof *e);
	size = f->compose_head(e, rule);
	compose_match((void *)(e->bytes + size), comment);
	compose_target((void *)(e->bytes + size + MATCH_SIZE), rule->accept);
}

/* The first match of an entry that is a comment; NULL if it has none. */
static const char *comment_of(const struct family *f, const void *entry, size_t *ret_matches_size)
{
	const char *p = f->matches(entry, ret_matches_size);
	size_t left = *ret_matches_size;

	while (left >= sizeof(struct xt_entry_match)) {
		const struct xt_entry_match *m = (const void *)p;
		size_t size = m->u.match_size;

		if (size < sizeof *m || size > left)
			return NULL;
		if (!strcmp(m->u.user.name, "comment") && size >= MATCH_SIZE)
			return memchr(m->data, 0, FW_COMMENT_SIZE) ? (const char *)m->data : NULL;
		p += size;
		left -= size;
	}
	return NULL;
}

/* @entry, whose comment is as wanted, is besides exactly @rule. */
static bool is_rule(const struct family *f, struct xtc_handle *h, const void *entry,
		    const struct fw_rule *rule)
{
	const char *target = f->target(entry, h);
	union entry wanted;
	size_t size;

	memset(&wanted, 0, sizeof wanted);
	(void)f->compose_head(&wanted, rule);
	(void)f->matches(entry, &size);
	return size == MATCH_SIZE && !memcmp(entry, &wanted, f->head_size) && target &&
	       !strcmp(target, rule->accept ? IPTC_LABEL_ACCEPT : IPTC_LABEL_RETURN);
}

static bool is_of(const struct family *f, const void *entry, const char *comment)
{
	size_t size;
	const char *is = comment_of(f, entry, &size);

	return is && !strcmp(is, comment);
}

/* --- one table in memory -------------------------------------------------------------------- */

/* The rules of the set stand there, all of them, in order, and no others of its id. */
static bool is_synced(const struct family *f, struct xtc_handle *h, const struct fw_set *set)
{
	size_t n = 0;

	for (const void *e = f->first(h); e; e = f->next(e, h)) {
		if (!is_of(f, e, set->comment))
			continue;
		if (n == set->n_rules || !is_rule(f, h, e, &set->rules[n]))
			return false;
		n++;
	}
	return n == set->n_rules;
}

/* Position of the first rule of @comment, counted from 0; -1 if there is none. */
static int find_first(const struct family *f, struct xtc_handle *h, const char *comment)
{
	int n = 0;

	for (const void *e = f->first(h); e; e = f->next(e, h), n++) {
		if (is_of(f, e, comment))
			return n;
	}
	return -1;
}

static int change(const struct family *f, struct xtc_handle *h, const struct fw_set *set)
{
	int n;

	while ((n = find_first(f, h, set->comment)) >= 0) {
		if (!f->delete_num((unsigned)n, h))
			return -errno;
	}
	for (size_t i = set->n_rules; i-- > 0;) {
		union entry e;

		compose_entry(f, &e, &set->rules[i], set->comment);
		if (!f->insert(&e, h))
			return -errno;
	}
	return 0;
}

/* --- the kernel's table --------------------------------------------------------------------- */

static void close_filep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

/* The filter table of this family exists already. */
static int has_table(const struct family *f, bool *ret_has)
{
	DP_CLEANUP(close_filep) FILE *file = fopen(f->names_path, "re");
	char line[64];

	*ret_has = false;
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		*ret_has = *ret_has || !strcmp(line, FW_TABLE);
	}
	return 0;
}

static int table_error(const struct family *f, int code, const char *step, struct dp_error *err)
{
	char what[64];

	(void)snprintf(what, sizeof what, "%s, %s", f->name, step);
	if (code == -ENOENT) /* libiptc's "no such chain, target or match" */
		return dp_error_set(err, DP_ERR_INTERNAL, code, "%s: %s", what, f->strerror(-code));
	if (code == -EPERM)
		return dp_error_set(err, DP_ERR_UNSUPPORTED, code,
				    "%s: CAP_NET_ADMIN and CAP_NET_RAW are needed", what);
	if (code == -EAFNOSUPPORT) /* systemd's RestrictAddressFamilies= */
		return dp_error_set(err, DP_ERR_UNSUPPORTED, code,
				    "%s: CAP_NET_RAW and AF_INET sockets are needed, see SERVICE in "
				    "mynetworkplugin(8), or firewall=off", what);
	return fw_error(err, code, what);
}

/* Reads the table. *ret_h is NULL if it or the chain does not exist. */
static int open_table(const struct family *f, struct xtc_handle **ret_h, struct dp_error *err)
{
	struct xtc_handle *h;
	bool has;
	int r = has_table(f, &has);

	*ret_h = NULL;
	if (r < 0)
		return table_error(f, r, "list tables", err);
	if (!has)
		return 0;
	h = f->init(FW_TABLE);
	if (!h)
		return table_error(f, -errno, "read", err);
	if (f->is_chain(chain_name, h))
		*ret_h = h;
	else
		f->free(h);
	return 0;
}

/* One round. -EAGAIN: the table has changed meanwhile, do it again. */
static int try_change(const struct family *f, const struct fw_set *set, struct dp_error *err)
{
	struct xtc_handle *h;
	int r = open_table(f, &h, err);

	if (r < 0 || !h)
		return r;
	if (!is_synced(f, h, set)) {
		r = change(f, h, set);
		if (r >= 0 && !f->commit(h))
			r = -errno;
	}
	f->free(h);
	return r < 0 ? table_error(f, r, "write", err) : 0;
}

/*
 * Where the file cannot be opened (read-only /run, as in a container) nobody can be agreed with,
 * and the kernel's check has to do.
 */
static int take_lock(const struct ndrv_fw *fw, int *ret_fd)
{
	static const struct timespec wait = { .tv_nsec = LOCK_WAIT_MS * 1000000L };
	auto_close int fd = open(fw->lock_path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return -EAGAIN;
		(void)nanosleep(&wait, NULL); /* a file lock sends no event */
	}
	*ret_fd = dp_take_fd(&fd);
	return 0;
}

static int change_locked(const struct ndrv_fw *fw, const struct family *f, const struct fw_set *set,
			 struct dp_error *err)
{
	auto_close int lock = -EBADF;
	int r = take_lock(fw, &lock);

	if (r < 0)
		return dp_error_set(err, DP_ERR_UNAVAILABLE, r,
				    "%s: another process holds the lock %s", f->name,
				    fw->lock_path);
	for (int i = 0; i < FW_TRIES; i++) {
		r = try_change(f, set, err);
		if (r != -EAGAIN)
			break;
	}
	return r;
}

static int legacy_sync(struct ndrv_fw *fw, int family, const struct fw_set *set, bool *ret_found,
		       struct dp_error *err)
{
	const struct family *f = family_of(family);
	struct xtc_handle *h;
	bool synced;
	int r = open_table(f, &h, err);

	*ret_found = h != NULL;
	if (r < 0 || !h)
		return r;
	synced = is_synced(f, h, set);
	f->free(h);
	return synced ? 0 : change_locked(fw, f, set, err);
}

static int legacy_list(struct ndrv_fw *fw, int family, struct fw_ids *ids, struct dp_error *err)
{
	const struct family *f = family_of(family);
	struct xtc_handle *h;
	int r = open_table(f, &h, err);

	(void)fw;
	if (r < 0 || !h)
		return r;
	for (const void *e = f->first(h); e && r >= 0; e = f->next(e, h)) {
		size_t size;
		const char *comment = comment_of(f, e, &size);

		if (comment)
			r = fw_ids_add(ids, comment);
	}
	f->free(h);
	return r < 0 ? dp_error_oom(err) : 0;
}

const struct fw_backend fw_legacy = { legacy_sync, legacy_list };
