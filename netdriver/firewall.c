/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What has to stand in DOCKER-USER; the backends know how it gets there.
 *
 * Removing is the same as wanting nothing to stand there, so each backend has one function that
 * makes the rules of an id exactly those wanted, and does nothing where they are.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "netdriver/firewall_internal.h"
#include "netdriver/ifname.h"

#define LOCK_PATH "/run/xtables.lock"

static const struct fw_backend *const backends[] = { &fw_legacy, &fw_nft };
static const int families[] = { AF_INET, AF_INET6 };

int ndrv_fw_open(const char *lock_path, struct ndrv_fw **ret_fw, struct dp_error *err)
{
	DP_CLEANUP(ndrv_fw_closep) struct ndrv_fw *fw = calloc(1, sizeof *fw);

	if (!fw)
		return dp_error_oom(err);
	fw->lock_path = strdup(lock_path ? lock_path : LOCK_PATH);
	if (!fw->lock_path)
		return dp_error_oom(err);
	*ret_fw = DP_TAKE_PTR(fw);
	return 0;
}

void ndrv_fw_close(struct ndrv_fw *fw)
{
	if (!fw)
		return;
	fw_nft_close(fw);
	free(fw->lock_path);
	free(fw);
}

static enum dp_err_kind error_kind(int code)
{
	if (code == -EAGAIN)
		return DP_ERR_UNAVAILABLE;
	if (code == -EPERM || code == -EACCES)
		return DP_ERR_UNSUPPORTED;
	return DP_ERR_INTERNAL;
}

int fw_error(struct dp_error *err, int code, const char *what)
{
	return dp_error_set(err, error_kind(code), code, "%s: %s", what, strerror(-code));
}

int fw_ids_add(struct fw_ids *ids, const char *comment)
{
	const char *id = comment + sizeof FW_MARK - 1;

	if (strncmp(comment, FW_MARK, sizeof FW_MARK - 1) || strlen(id) > NDRV_FW_ID_MAX)
		return 0;
	if (ids->n && !strcmp(ids->ids[ids->n - 1].id, id)) {
		ids->ids[ids->n - 1].n++;
		return 0;
	}
	if (ids->n == ids->max) {
		size_t max = ids->max ? 2 * ids->max : 16;
		struct ndrv_fw_id *p = reallocarray(ids->ids, max, sizeof *p);

		if (!p)
			return -ENOMEM;
		ids->ids = p;
		ids->max = max;
	}
	memcpy(ids->ids[ids->n].id, id, strlen(id) + 1);
	ids->ids[ids->n++].n = 1;
	return 0;
}

/* --- what is wanted ------------------------------------------------------------------------- */

static void add_rule(struct fw_set *set, const char *in, const char *out, bool accept)
{
	struct fw_rule *rule = &set->rules[set->n_rules++];

	assert(set->n_rules <= FW_RULES_MAX);
	(void)snprintf(rule->in, sizeof rule->in, "%s", in);
	(void)snprintf(rule->out, sizeof rule->out, "%s", out);
	rule->accept = accept;
}

/* The engine's default bridge and those of its networks are called docker0 and br-<id>. */
static void add_rules(struct fw_set *set, const struct ndrv_fw_rules *rules)
{
	if (!rules->routed) {
		add_rule(set, rules->bridge, rules->bridge, true);
		return;
	}
	add_rule(set, rules->bridge, "docker0", false);
	add_rule(set, rules->bridge, "br-+", false);
	add_rule(set, rules->bridge, "", true);
	add_rule(set, "", rules->bridge, true);
}

static int init_set(struct fw_set *set, const char *id, struct dp_error *err)
{
	size_t len = strlen(id);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)id[i] < ' ' || id[i] == 0x7f)
			len = 0;
	}
	if (!len || len > NDRV_FW_ID_MAX)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "firewall: '%.64s' cannot be the id of a rule", id);
	*set = (struct fw_set){ .id = id };
	(void)snprintf(set->comment, sizeof set->comment, FW_MARK "%s", id);
	return 0;
}

/* --- all chains ----------------------------------------------------------------------------- */

/* Serves every chain even after a failure, and reports the first one. */
static int sync_all(struct ndrv_fw *fw, const struct fw_set *set, unsigned *ret_n_rules,
		    struct dp_error *err)
{
	unsigned n_chains = 0;
	int first = 0;

	for (size_t i = 0; i < DP_ARRAY_LEN(backends) * DP_ARRAY_LEN(families); i++) {
		const struct fw_backend *backend = backends[i / DP_ARRAY_LEN(families)];
		int family = families[i % DP_ARRAY_LEN(families)];
		bool found = false;
		int r = backend->sync(fw, family, set, &found, first < 0 ? NULL : err);

		n_chains += r >= 0 && found;
		if (r < 0 && first == 0)
			first = r;
	}
	if (ret_n_rules)
		*ret_n_rules = n_chains * (unsigned)set->n_rules;
	return first;
}

int ndrv_fw_ensure(struct ndrv_fw *fw, const struct ndrv_fw_rules *rules, unsigned *ret_n_rules,
		   struct dp_error *err)
{
	struct fw_set set;
	int r = init_set(&set, rules->id, err);

	if (r >= 0)
		r = ndrv_ifname_validate(rules->bridge, err);
	if (r < 0)
		return r;
	/* the firewall would read it as a pattern, and take in links of others */
	if (rules->bridge[strlen(rules->bridge) - 1] == '+')
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
				    "firewall: bridge name '%s' ends in '+'", rules->bridge);
	add_rules(&set, rules);
	return sync_all(fw, &set, ret_n_rules, err);
}

int ndrv_fw_remove(struct ndrv_fw *fw, const char *id, struct dp_error *err)
{
	struct fw_set set;
	int r = init_set(&set, id, err);

	return r < 0 ? r : sync_all(fw, &set, NULL, err);
}

static int cmp_id(const void *a, const void *b)
{
	const struct ndrv_fw_id *x = a;
	const struct ndrv_fw_id *y = b;

	return strcmp(x->id, y->id);
}

static void sort_ids(struct fw_ids *ids)
{
	size_t n = 0;

	if (ids->n)
		qsort(ids->ids, ids->n, sizeof *ids->ids, cmp_id);
	for (size_t i = 0; i < ids->n; i++) {
		if (n && !cmp_id(&ids->ids[n - 1], &ids->ids[i]))
			ids->ids[n - 1].n += ids->ids[i].n;
		else
			ids->ids[n++] = ids->ids[i];
	}
	ids->n = n;
}

int ndrv_fw_list(struct ndrv_fw *fw, struct ndrv_fw_id **ret_ids, size_t *ret_n_ids,
		 struct dp_error *err)
{
	struct fw_ids ids = { 0 };

	for (size_t i = 0; i < DP_ARRAY_LEN(backends) * DP_ARRAY_LEN(families); i++) {
		const struct fw_backend *backend = backends[i / DP_ARRAY_LEN(families)];
		int r = backend->list(fw, families[i % DP_ARRAY_LEN(families)], &ids, err);

		if (r < 0) {
			free(ids.ids);
			return r;
		}
	}
	sort_ids(&ids);
	*ret_ids = ids.ids;
	*ret_n_ids = ids.n;
	return 0;
}
