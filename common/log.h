/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_LOG_H
#define DP_COMMON_LOG_H

/*
 * One line a message on stdout: the Docker engine logs a managed plugin's stdout as "info" but its
 * stderr as "error", and systemd takes either. Under systemd (JOURNAL_STREAM set) a line begins
 * with its "<N>" priority, else with the level's name.
 *
 * Only main, rpc and background work log above debug; everything below returns a struct dp_error.
 */

#include "common/compiler.h"

enum dp_log_level { /* the numbers of syslog(3) */
	DP_LOG_ERROR = 3,   /* an operator must act */
	DP_LOG_WARNING = 4, /* something is off, we go on */
	DP_LOG_NOTICE = 5,  /* rare and worth knowing: start, stop, repair */
	DP_LOG_INFO = 6,    /* one line for each change of a network or pool, each refused request */
	DP_LOG_DEBUG = 7,   /* each request */
};

/* dp_log_set_level() - messages above @level are dropped from now on; the start value is INFO. */
void dp_log_set_level(enum dp_log_level level);

/**
 * dp_log_level_parse() - level from its name (error, warning, notice, info, debug)
 * @name:      text
 * @ret_level: out: the level; untouched on failure
 *
 * Return: 0; -EINVAL for any other name.
 */
DP_NODISCARD int dp_log_level_parse(const char *name, enum dp_log_level *ret_level);

/* dp_log() - write one line if @level passes; control characters of the text become '?'. */
DP_PRINTF(2, 3) void dp_log(enum dp_log_level level, const char *fmt, ...);

#define dp_log_error(...)   dp_log(DP_LOG_ERROR, __VA_ARGS__)
#define dp_log_warning(...) dp_log(DP_LOG_WARNING, __VA_ARGS__)
#define dp_log_notice(...)  dp_log(DP_LOG_NOTICE, __VA_ARGS__)
#define dp_log_info(...)    dp_log(DP_LOG_INFO, __VA_ARGS__)
#define dp_log_debug(...)   dp_log(DP_LOG_DEBUG, __VA_ARGS__)

#endif
