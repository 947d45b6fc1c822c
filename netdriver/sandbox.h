/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_SANDBOX_H
#define DP_NETDRIVER_SANDBOX_H

/*
 * A container's network namespace (the engine's "sandbox"), for attach=direct: the container's end
 * of the pair is made in there, so that nothing has to be moved, which costs the kernel some 18 ms
 * a link, one at a time.
 *
 * The daemon's thread never changes its namespace. Whatever has to be done inside is done by a
 * thread that lives as long as one function: sockets that it opens stay in the namespace, and the
 * daemon talks through them. Entering takes CAP_SYS_ADMIN (setns(2)).
 *
 * What the engine then does not do, since it does not know the link (moby: libnetwork/sandbox.go,
 * osl/interface_linux.go): name, MAC, addresses, sysctls, up, announcement - all done here - and the
 * counters of `docker stats` and --link-local-ip, which are lost. Default routes stay its job: it
 * looks up the link by the gateway's address.
 */

#include "common/error.h"
#include "common/inaddr.h"
#include "netdriver/ifname.h"
#include "netdriver/rtnl.h"

struct ndrv_sandbox {
	int ns_fd;               /* the namespace */
	struct ndrv_rtnl *rtnl;  /* talks to the kernel inside */
};

#define NDRV_SANDBOX_INIT { .ns_fd = -EBADF }

/**
 * ndrv_sandbox_open() - enter a namespace and leave sockets in it
 * @key:         SandboxKey of a Join: path of a mounted namespace
 * @ret_sandbox: out: closed by ndrv_sandbox_close(); untouched on failure
 *
 * Return: 0; -ENOENT there is none yet (engines before 28 make it after Join); -EINVAL the file is no
 *         network namespace; -EPERM no privilege to enter (DP_ERR_UNSUPPORTED); -ENOMEM.
 */
DP_NODISCARD int ndrv_sandbox_open(const char *key, struct ndrv_sandbox *ret_sandbox,
				   struct dp_error *err);

/* ndrv_sandbox_close() - one that never was opened is fine. */
void ndrv_sandbox_close(struct ndrv_sandbox *sandbox);

/**
 * ndrv_sandbox_free_name() - @prefix with the lowest number that no link inside has
 *
 * Return: 0; -ENOSPC the name would be too long; as the kernel says.
 */
DP_NODISCARD int ndrv_sandbox_free_name(struct ndrv_sandbox *sandbox, const char *prefix,
					char ret_name[static NDRV_IFNAME_BUF], struct dp_error *err);

/* What the container's link is to be, once it is there. */
struct ndrv_sandbox_link {
	int ifindex;                   /* inside */
	const char *name;
	const char *alias;             /* our mark */
	const uint8_t *mac;            /* 6 bytes, as it was made */
	const struct dp_prefix *addr4; /* AF_UNSPEC = none */
	const struct dp_prefix *addr6; /* AF_UNSPEC = none */
	const char *sysctls;           /* "net.ipv4.conf.IFNAME.log_martians=1,...", or "" */
	const char *sysctl_dir;        /* where /proc/sys is writable */
};

/**
 * ndrv_sandbox_finish() - addresses, sysctls, up, announced
 * @sandbox: open
 * @link:    borrowed for the call
 *
 * IFNAME in a sysctl stands for the link's name, as in the engine's endpoint option. The
 * announcement (RFC 5227 section 3: a gratuitous ARP; RFC 4861 section 7.2.6: an unsolicited
 * advertisement) is left out without CAP_NET_RAW.
 *
 * Return: 0; -EINVAL a sysctl is malformed or outside net.; as the kernel says. After a failure the
 *         link is half done: delete it.
 */
DP_NODISCARD int ndrv_sandbox_finish(struct ndrv_sandbox *sandbox,
				     const struct ndrv_sandbox_link *link, struct dp_error *err);

#endif
