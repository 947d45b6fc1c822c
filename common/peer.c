/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/peer.h"

void dp_peer_list_done(struct dp_peer_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->paths[i]);
	free(list->paths);
	*list = (struct dp_peer_list){ .n = 0 };
}

static bool is_known(const struct dp_peer_list *list, const struct stat *st)
{
	struct stat other;

	for (size_t i = 0; i < list->n; i++) {
		if (stat(list->paths[i], &other) == 0 && other.st_dev == st->st_dev &&
		    other.st_ino == st->st_ino)
			return true;
	}
	return false;
}

static int add(struct dp_peer_list *list, const char *path)
{
	struct stat st;
	char **p;

	if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode) || is_known(list, &st))
		return 0;
	p = reallocarray(list->paths, list->n + 1, sizeof *p);
	if (!p)
		return -1;
	list->paths = p;
	p[list->n] = strdup(path);
	if (!p[list->n])
		return -1;
	list->n++;
	return 0;
}

/* Return: 0; -1 out of memory. */
static int add_matches(struct dp_peer_list *list, const char *pattern)
{
	glob_t found;
	int r = glob(pattern, GLOB_NOSORT, NULL, &found);
	int e = r == GLOB_NOSPACE ? -1 : 0;

	for (size_t i = 0; r == 0 && e == 0 && i < found.gl_pathc; i++)
		e = add(list, found.gl_pathv[i]);
	globfree(&found);
	return e;
}

int dp_peer_find(const char *patterns, struct dp_peer_list *ret_list, struct dp_error *err)
{
	struct dp_peer_list list = { .n = 0 };
	auto_free char *copy = strdup(patterns);
	char *rest = NULL;
	int r = copy ? 0 : -1;

	for (char *w = copy ? strtok_r(copy, " ", &rest) : NULL; w && r == 0;
	     w = strtok_r(NULL, " ", &rest))
		r = add_matches(&list, w);
	if (r < 0) {
		dp_peer_list_done(&list);
		return dp_error_oom(err);
	}
	*ret_list = list;
	return 0;
}
