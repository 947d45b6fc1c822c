/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_COMPILER_H
#define DP_COMMON_COMPILER_H

/* Attribute and array macros. Depends on nothing of ours. */

#define DP_CLEANUP(fn)  __attribute__((__cleanup__(fn)))
#define DP_NODISCARD    __attribute__((__warn_unused_result__))
#define DP_PRINTF(f, a) __attribute__((__format__(__printf__, f, a)))
#define DP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
