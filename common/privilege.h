/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_PRIVILEGE_H
#define DP_COMMON_PRIVILEGE_H

/*
 * A process gives away, for good, what it does not need: capabilities, new privileges by execve(2),
 * and system calls. It does so itself, so that it holds wherever it runs: under a service manager,
 * as a managed plugin with the engine's generous defaults, or by hand.
 *
 * System calls are allowed by a list (privilege.c), made up of what the C library, SQLite,
 * libmicrohttpd and the netlink libraries use, more where a capability is kept. Any other call fails
 * with ENOSYS, as on a kernel that does not know it: that is what a C library newer than this
 * list tries first and knows how to do without. The kernel logs each such call (audit type 1326).
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Bit of capability @cap (CAP_NET_ADMIN and so on, capabilities(7)) in a set of them. */
#define DP_CAPABILITY(cap) (UINT64_C(1) << (cap))

enum dp_seccomp {
	DP_SECCOMP_ON,  /* calls not on the list fail */
	DP_SECCOMP_OFF, /* no filter */
	DP_SECCOMP_LOG, /* calls not on the list work and are logged by the kernel */
};

extern const char *const dp_seccomp_names[]; /* by enum dp_seccomp; NULL-terminated */

/**
 * dp_seccomp_parse() - mode from its name ("on", "off", "log")
 *
 * Return: 0; -EINVAL for any other name.
 */
DP_NODISCARD int dp_seccomp_parse(const char *name, enum dp_seccomp *ret_mode);

/* What could not be had, though asked for. */
struct dp_privilege_lack {
	uint64_t capabilities; /* to be kept, but not there */
	bool seccomp;          /* the kernel has no filters */
};

/**
 * dp_privilege_drop() - keep what is asked for, give away all else
 * @capabilities: set of DP_CAPABILITY(); these stay permitted and effective if they were
 * @seccomp:      whether system calls are filtered
 * @ret_lack:     out: what is missing; the process may be able to work without
 *
 * For the calling thread, and those that it starts later. Comes after all that needs more, such as
 * changing the owner of a file. CAP_DAC_OVERRIDE is among what goes: root then opens what root
 * owns, no longer everything.
 *
 * Return: 0; errno of capset(2), prctl(2), seccomp(2); -ENOMEM.
 */
DP_NODISCARD int dp_privilege_drop(uint64_t capabilities, enum dp_seccomp seccomp,
				   struct dp_privilege_lack *ret_lack, struct dp_error *err);

/**
 * dp_capability_name() - "CAP_NET_ADMIN"
 *
 * Return: static string; "a capability" for those that no daemon here asks for.
 */
const char *dp_capability_name(unsigned capability);

#endif
