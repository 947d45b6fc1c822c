/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_RTNL_H
#define DP_NETDRIVER_RTNL_H

/*
 * The kernel's network links, over rtnetlink.
 *
 * Requests are composed and sent with libmnl, so that the kernel's errno and its extended-ack text
 * reach the user unchanged; objects are read with libnl-route. Every call blocks for as long as
 * the kernel works on it, which for the creation of a link is some hundred microseconds and for
 * the deletion of one some ten milliseconds; no call waits for the world. Not thread-safe.
 *
 * Ownership: each link made here bears a mark, the interface alias "mynetworkplugin:<kind>:<id>".
 * Nothing here deletes a link without it. The kernel takes no alias with the message that creates
 * a link, so until the alias is on, the link is a member of link group NDRV_GROUP_UNFINISHED;
 * what a killed daemon left in that state is removed by ndrv_rtnl_delete_unfinished().
 *
 * Errors of every function that takes a struct dp_error (besides those each lists):
 *   -ENODEV, -ENOENT               DP_ERR_NOT_FOUND    no such link
 *   -EEXIST, -EBUSY, -EADDRINUSE   DP_ERR_CONFLICT     collides with what is there
 *   -EPERM, -EACCES, -EOPNOTSUPP   DP_ERR_UNSUPPORTED  no right, or not in this kernel
 *   -EINVAL, -ERANGE, -ELOOP with extended-ack text    DP_ERR_INVALID, the kernel said why
 *   -ETIMEDOUT, -ENETDOWN          DP_ERR_UNAVAILABLE  no answer within 5 seconds; parent down
 *   anything else                  DP_ERR_INTERNAL
 * The text is "<what was tried> <link>: <strerror>[: <extended-ack text>]".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/compiler.h"
#include "common/error.h"
#include "common/inaddr.h"

#define NDRV_IFNAME_SIZE      16  /* bytes, NUL included: the kernel's IFNAMSIZ */
#define NDRV_KIND_SIZE        32  /* bytes, NUL included */
#define NDRV_ALIAS_SIZE       256 /* bytes, NUL included: the kernel's IFALIASZ */
#define NDRV_MARK             "mynetworkplugin:"
#define NDRV_GROUP_UNFINISHED 0x6d6e7000U /* link group of our links that have no alias yet */
#define NDRV_GROUP_DOOMED     0x6d6e7001U /* first of the group numbers tried by deletions without a watch */

struct ndrv_rtnl; /* opaque: the request socket and the reading side */

/* A link as the kernel shows it: a plain value. */
struct ndrv_link {
	int ifindex;                 /* > 0 */
	char name[NDRV_IFNAME_SIZE]; /* its first name, also when it was found by another */
	char kind[NDRV_KIND_SIZE];   /* "bridge", "veth", "vlan", ...; "" for hardware links */
	char alias[NDRV_ALIAS_SIZE]; /* "" if none */
	int master;                  /* ifindex of the bridge it is a port of; 0 = none */
	int lower;                   /* VLAN: ifindex of its parent; veth: of its peer; 0 = none */
	bool lower_elsewhere;        /* @lower is an index of another network namespace */
	uint32_t mtu;                /* bytes */
	uint32_t group;              /* link group; 0 = the default one */
	uint16_t vlan_id;            /* 1-4094; 0 = not a VLAN link */
	uint16_t vlan_proto; /* 0x8100 (802.1Q) or 0x88a8, host order; 0 = not a VLAN link */
	uint8_t mac[6];      /* all zero if the link has none of 6 bytes */
	bool up;             /* administratively up (IFF_UP) */
	bool running;        /* up and with carrier (IFF_RUNNING) */
	bool loopback;       /* IFF_LOOPBACK */
};

/* A link to delete. */
struct ndrv_link_ref {
	int ifindex;       /* > 0 */
	const char *alias; /* the alias it must bear, borrowed; NULL = any with our mark */
};

struct ndrv_bridge_spec {
	const char *name;  /* 1-15 bytes */
	const char *alias; /* our mark; 1-255 bytes */
	uint32_t mtu;      /* bytes; 0 = the kernel's choice (the smallest of its ports) */
	uint8_t mac[6];    /* all zero = the kernel's choice, which changes with the ports */
	bool ipv6_off;     /* no link-local address of the bridge itself (addr_gen_mode none) */
	bool up;           /* administratively up when the call returns */
};

struct ndrv_vlan_spec {
	const char *name;  /* 1-15 bytes */
	const char *alias; /* our mark; 1-255 bytes */
	int parent;        /* ifindex of the link that carries the tagged frames */
	uint16_t vid;      /* 1-4094, IEEE 802.1Q */
	uint32_t mtu;      /* bytes; 0 = the parent's */
	int master;        /* ifindex of the bridge to become a port of; 0 = none */
	bool up;           /* administratively up when the call returns; needs the parent up */
};

/* One end stays on the host as a port of a bridge, the other (peer) goes into a container. */
struct ndrv_veth_spec {
	const char *name;       /* host end, 1-15 bytes */
	const char *alias;      /* host end, our mark; 1-255 bytes */
	uint32_t mtu;           /* host end, bytes; 0 = the kernel's default */
	int master;             /* host end: ifindex of the bridge; 0 = none */
	bool up;                /* host end administratively up when the call returns */
	const char *peer_name;  /* 1-15 bytes, while it is still on the host */
	const char *peer_alias; /* our mark; 1-255 bytes */
	uint32_t peer_mtu;      /* bytes; 0 = the kernel's default */
	uint8_t peer_mac[6];    /* all zero = a random one */
	int peer_ns;            /* descriptor of the namespace the peer is made in; 0 = this one */
};

/* A container's end of a pair, made directly in its namespace. */
struct ndrv_configure_spec {
	int ifindex;                    /* > 0 */
	const char *alias;              /* our mark; 1-255 bytes */
	const struct dp_prefix *addr4;  /* AF_UNSPEC = none */
	const struct dp_prefix *addr6;  /* AF_UNSPEC = none: no link-local address either */
};

/**
 * ndrv_rtnl_open() - sockets to the kernel, in the network namespace of the calling thread
 * @ret_rtnl: out: returns new, the caller closes it with ndrv_rtnl_close(); untouched on failure
 * @err:      out: reason on failure; may be NULL
 *
 * Return: 0; -ENOMEM; an errno of socket(2).
 */
DP_NODISCARD int ndrv_rtnl_open(struct ndrv_rtnl **ret_rtnl, struct dp_error *err);

/* ndrv_rtnl_close() - close and free; NULL is fine. */
void ndrv_rtnl_close(struct ndrv_rtnl *rtnl);

/* Generates the cleanup function of a struct ndrv_rtnl * variable. */
static inline void ndrv_rtnl_closep(struct ndrv_rtnl **rtnl)
{
	ndrv_rtnl_close(*rtnl);
	*rtnl = NULL;
}

/**
 * ndrv_rtnl_get_link_by_name() - look a link up by its name or one of its alternative names
 * @rtnl:     open handle
 * @name:     1-127 bytes (only alternative names are longer than 15)
 * @ret_link: out: the link; untouched on failure
 * @err:      out: reason on failure; may be NULL
 *
 * Return: 0; -ENODEV no link has that name (DP_ERR_NOT_FOUND), also for a name that no link can
 *         have.
 */
DP_NODISCARD int ndrv_rtnl_get_link_by_name(struct ndrv_rtnl *rtnl, const char *name,
					    struct ndrv_link *ret_link, struct dp_error *err);

/* ndrv_rtnl_get_link_by_index() - as ndrv_rtnl_get_link_by_name(), by @ifindex. */
DP_NODISCARD int ndrv_rtnl_get_link_by_index(struct ndrv_rtnl *rtnl, int ifindex,
					     struct ndrv_link *ret_link, struct dp_error *err);

/**
 * ndrv_rtnl_list_links() - all links of the namespace, in the kernel's order
 * @rtnl:        open handle
 * @ret_links:   out: returns new, one array, the caller frees it with free(); never NULL on success
 * @ret_n_links: out: number of its entries
 * @err:         out: reason on failure; may be NULL
 *
 * Return: 0; -ENOMEM; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_list_links(struct ndrv_rtnl *rtnl, struct ndrv_link **ret_links,
				      size_t *ret_n_links, struct dp_error *err);

/**
 * ndrv_rtnl_link_has_addrs() - does a link carry IP addresses other than link-local ones?
 * @rtnl:    open handle
 * @ifindex: the link; one that does not exist has none
 * @ret_has: out: true if it does
 * @err:     out: reason on failure; may be NULL
 *
 * Link-local are 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291). A link with others is the
 * host's own way to the world and cannot become a port of a bridge without cutting the host off.
 *
 * Return: 0; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_link_has_addrs(struct ndrv_rtnl *rtnl, int ifindex, bool *ret_has,
					  struct dp_error *err);

/* Something happened to a link: what is needed to recognise it. */
struct ndrv_rtnl_event {
	enum {
		NDRV_EVENT_LINK,         /* it was made or changed; this is how it is now */
		NDRV_EVENT_LINK_GONE,    /* deleted, or moved to another namespace */
		NDRV_EVENT_ADDRESS_GONE, /* an address was taken off; only ifindex is set */
		NDRV_EVENT_LOST,         /* there were more events than the socket holds */
	} kind;
	int ifindex;
	int master;                  /* 0 = port of none */
	bool up;
	uint32_t group;              /* NDRV_GROUP_UNFINISHED: it is being made by us */
	char name[NDRV_IFNAME_SIZE];
	char alias[NDRV_ALIAS_SIZE]; /* "" if none */
};

typedef void ndrv_rtnl_event_fn(void *ctx, const struct ndrv_rtnl_event *event);

struct ndrv_rtnl_watch;

/**
 * ndrv_rtnl_watch_open() - be told what happens to links and their addresses, whoever does it
 * @rtnl: of the same namespace, borrowed until the watch is closed: learns which link group is free,
 *        and reads the watch while it deletes
 * @fn:   called by ndrv_rtnl_watch_read() with @ctx, once for each event
 *
 * Return: 0; -ENOMEM; an errno of socket(2) or bind(2).
 */
DP_NODISCARD int ndrv_rtnl_watch_open(struct ndrv_rtnl *rtnl, ndrv_rtnl_event_fn *fn, void *ctx,
				      struct ndrv_rtnl_watch **ret_watch, struct dp_error *err);
void ndrv_rtnl_watch_close(struct ndrv_rtnl_watch *watch); /* NULL is fine */

/* ndrv_rtnl_watch_fd() - becomes readable with each event. */
int ndrv_rtnl_watch_fd(const struct ndrv_rtnl_watch *watch);

/* ndrv_rtnl_watch_read() - deliver what has come. Never blocks. */
void ndrv_rtnl_watch_read(struct ndrv_rtnl_watch *watch);

/* ndrv_link_is_ours() - @link bears our mark: its alias begins with NDRV_MARK. */
bool ndrv_link_is_ours(const struct ndrv_link *link);

/**
 * ndrv_rtnl_create_bridge() - a bridge, without spanning tree and VLAN filtering
 * @rtnl:        open handle
 * @spec:        borrowed for the call
 * @ret_ifindex: out: its index; untouched on failure
 * @err:         out: reason on failure; may be NULL
 *
 * The create functions read the link back and compare it with @spec. Whatever fails, nothing of
 * the new link is left behind; a link that existed before is never changed. Where the kernel runs
 * without IPv6, @spec->ipv6_off holds by itself.
 *
 * Return: 0; -EEXIST a link of that name exists (DP_ERR_CONFLICT, the text says of which kind and
 *         whose); -EINVAL name or alias empty or too long, alias without our mark
 *         (DP_ERR_INVALID); see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_create_bridge(struct ndrv_rtnl *rtnl,
					 const struct ndrv_bridge_spec *spec, int *ret_ifindex,
					 struct dp_error *err);

/**
 * ndrv_rtnl_create_vlan() - an 802.1Q subinterface
 *
 * As ndrv_rtnl_create_bridge(); it never gets a link-local IPv6 address of its own.
 *
 * Return: likewise; -EEXIST also where @spec->parent has that VLAN under another name; -ENETDOWN
 *         the parent is down and @spec->up is wanted (DP_ERR_UNAVAILABLE); -EOPNOTSUPP the kernel
 *         has no 802.1Q or the parent takes no VLANs; -ENODEV no such parent or master.
 */
DP_NODISCARD int ndrv_rtnl_create_vlan(struct ndrv_rtnl *rtnl, const struct ndrv_vlan_spec *spec,
				       int *ret_ifindex, struct dp_error *err);

/**
 * ndrv_rtnl_create_veth() - a veth pair, its host end enslaved and up
 * @rtnl:             open handle
 * @spec:             borrowed for the call
 * @ret_ifindex:      out: index of the host end; untouched on failure
 * @ret_peer_ifindex: out: index of the peer; may be NULL; untouched on failure
 * @err:              out: reason on failure; may be NULL
 *
 * As ndrv_rtnl_create_bridge(). The host end gets no link-local IPv6 address. The peer is left
 * down, without addresses: the engine configures it inside the container. A peer made in another
 * namespace is neither marked nor verified, since this handle cannot see it.
 *
 * Return: as ndrv_rtnl_create_bridge(); -EEXIST for either name.
 */
DP_NODISCARD int ndrv_rtnl_create_veth(struct ndrv_rtnl *rtnl, const struct ndrv_veth_spec *spec,
				       int *ret_ifindex, int *ret_peer_ifindex,
				       struct dp_error *err);

/* ndrv_rtnl_set_up() - set a link administratively up or down. Return: 0; -ENODEV; as above. */
DP_NODISCARD int ndrv_rtnl_set_up(struct ndrv_rtnl *rtnl, int ifindex, bool up,
				  struct dp_error *err);

/* ndrv_rtnl_set_master() - make it a port of bridge @master; 0 = of none. Return: as above. */
DP_NODISCARD int ndrv_rtnl_set_master(struct ndrv_rtnl *rtnl, int ifindex, int master,
				      struct dp_error *err);

/* ndrv_rtnl_rename() - @name of 1-15 bytes; the link is down for a moment if it was up, since older
 * kernels rename no other. Return: 0; -EEXIST @name is taken; as above. */
DP_NODISCARD int ndrv_rtnl_rename(struct ndrv_rtnl *rtnl, const struct ndrv_link *link,
				  const char *name, struct dp_error *err);

struct ndrv_rtnl_address {
	int ifindex;
	struct dp_prefix addr; /* with host bits */
};

/**
 * ndrv_rtnl_list_addresses() - all addresses of the namespace, in the kernel's order
 * @rtnl:    open handle
 * @ret:     out: returns new, one array, the caller frees it with free(); never NULL
 * @ret_n:   out: number of its entries
 * @err:     out: reason on failure; may be NULL
 *
 * Return: 0; -ENOMEM; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_list_addresses(struct ndrv_rtnl *rtnl, struct ndrv_rtnl_address **ret,
					  size_t *ret_n, struct dp_error *err);

/**
 * ndrv_rtnl_add_address() - give a link an address, with its connected route
 * @rtnl:    open handle
 * @ifindex: the link
 * @addr:    address with host bits, and length of its prefix
 * @err:     out: reason on failure; may be NULL
 *
 * IPv6: without duplicate address detection, so that it answers at once.
 *
 * Return: 0, also if the link has exactly that address already; -EEXIST it has it with another
 *         prefix length (DP_ERR_CONFLICT); -ENODEV; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_add_address(struct ndrv_rtnl *rtnl, int ifindex,
				       const struct dp_prefix *addr, struct dp_error *err);

/**
 * ndrv_rtnl_configure() - what makes a bare link of a container's namespace usable
 * @rtnl:  handle opened in that namespace
 * @spec:  borrowed for the call
 * @err:   out: reason on failure; may be NULL
 *
 * Addresses, alias and the up flag, in one exchange. IPv6 addresses are without duplicate address
 * detection; a link without one gets no link-local address either.
 *
 * Return: 0; see the top of this file. After a failure the link is half done: delete it.
 */
DP_NODISCARD int ndrv_rtnl_configure(struct ndrv_rtnl *rtnl, const struct ndrv_configure_spec *spec,
				     struct dp_error *err);

/**
 * ndrv_rtnl_delete_link() - delete one link of ours
 * @rtnl:    open handle
 * @ifindex: the link
 * @alias:   the alias it must bear; NULL = any with our mark
 * @err:     out: reason on failure; may be NULL
 *
 * The other end of a veth pair goes with it, wherever it is. About 18 ms: the kernel waits for all
 * processors to let go of the link. Where several die together, use ndrv_rtnl_delete_links().
 *
 * Return: 0, also if there is no such link; -EPERM it is not ours or another one's
 *         (DP_ERR_CONFLICT), and was left alone; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_delete_link(struct ndrv_rtnl *rtnl, int ifindex, const char *alias,
				       struct dp_error *err);

/**
 * ndrv_rtnl_delete_links() - delete several links of ours with one wait for all of them
 * @rtnl:   open handle
 * @refs:   array of @n_refs links, borrowed
 * @n_refs: number of links; 0 is fine
 * @err:    out: the first reason on failure; may be NULL
 *
 * They are put into a link group that no other link is in, and the group is deleted with one
 * request: about 18 ms + 0.4 ms for each. Links that are gone count as deleted; one that is not
 * ours is left alone while the others are deleted.
 *
 * Return: 0; -EPERM as for ndrv_rtnl_delete_link(); see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_delete_links(struct ndrv_rtnl *rtnl, const struct ndrv_link_ref *refs,
					size_t n_refs, struct dp_error *err);

/**
 * ndrv_rtnl_delete_unfinished() - remove what a killed daemon left between creation and mark
 * @rtnl:        open handle
 * @ret_n_links: out: number of links found and deleted; may be NULL
 * @err:         out: reason on failure; may be NULL
 *
 * To be called once at start, before anything is created.
 *
 * Return: 0; see the top of this file.
 */
DP_NODISCARD int ndrv_rtnl_delete_unfinished(struct ndrv_rtnl *rtnl, size_t *ret_n_links,
					     struct dp_error *err);

#endif
