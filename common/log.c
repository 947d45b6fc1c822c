/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static const char *const level_names[] = {
	[DP_LOG_ERROR] = "error", [DP_LOG_WARNING] = "warning", [DP_LOG_NOTICE] = "notice",
	[DP_LOG_INFO] = "info",   [DP_LOG_DEBUG] = "debug",
};

static enum dp_log_level max_level = DP_LOG_INFO;

void dp_log_set_level(enum dp_log_level level)
{
	max_level = level;
}

int dp_log_level_parse(const char *name, enum dp_log_level *ret_level)
{
	for (unsigned i = DP_LOG_ERROR; i <= DP_LOG_DEBUG; i++) {
		if (!strcmp(name, level_names[i])) {
			*ret_level = (enum dp_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void dp_log(enum dp_log_level level, const char *fmt, ...)
{
	char line[1024];
	int saved = errno;
	size_t head;
	size_t len;
	va_list ap;

	if (level > max_level)
		return;
	if (getenv("JOURNAL_STREAM"))
		(void)snprintf(line, sizeof line, "<%d>", (int)level);
	else
		(void)snprintf(line, sizeof line, "%s: ", level_names[level]);
	head = strlen(line);
	va_start(ap, fmt);
	(void)vsnprintf(line + head, sizeof line - head - 1, fmt, ap); /* room for '\n' */
	va_end(ap);
	len = strlen(line);
	for (size_t i = head; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?'; /* a hostile name must not forge a second line */
	}
	line[len++] = '\n';
	/* One write a line keeps lines whole; if the reader is gone there is nobody to tell. */
	ssize_t n = write(STDOUT_FILENO, line, len);
	(void)n;
	errno = saved;
}
