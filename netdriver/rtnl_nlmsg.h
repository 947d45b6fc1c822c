/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_NETDRIVER_RTNL_NLMSG_H
#define DP_NETDRIVER_RTNL_NLMSG_H

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdbool.h>

/* ndrv_nlmsg_ok() - there is a whole message at @nlh, of the @left bytes that are there. libmnl's own
 * check takes a length of 2 GiB and more for a negative one, which fits everywhere. */
static inline bool ndrv_nlmsg_ok(const struct nlmsghdr *nlh, int left)
{
	return mnl_nlmsg_ok(nlh, left) && nlh->nlmsg_len <= (unsigned)left;
}

/* ndrv_nlmsg_code() - the code of an error message, 0 or a negative errno, whatever sign it came with;
 * -EBADMSG beyond the kernel's largest. */
static inline int ndrv_nlmsg_code(int code)
{
	enum { MAX_ERRNO = 4095 };

	if (code < -MAX_ERRNO || code > MAX_ERRNO)
		return -EBADMSG;
	return code > 0 ? -code : code;
}

#endif
