/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * Configuration of both daemons: what begins with '{' is a file; anything else is KEY=VALUE lines,
 * as environment and command line give them.
 */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/schema.h"
#include "ipam/driver.h"
#include "netdriver/driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_outcome(int r, const struct dp_error *err)
{
	assert(r == 0 || (r == -EINVAL && err->code == r && *err->msg));
}

/* Lists are made for the life of a process; here they end with each run. */
static void free_lists(const struct dp_schema *schema, void *dst)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct dp_field *f = &schema->fields[i];
		char *list;

		if (f->type != DP_T_LIST)
			continue;
		memcpy(&list, (char *)dst + f->offset, sizeof list);
		if (list != f->def)
			free(list);
	}
}

static void check_file(const char *text, size_t size)
{
	struct ipam_config ipam = { .cooldown = 0 };
	struct ndrv_config net = { .scope = NULL };
	struct dp_error err = DP_ERROR_INIT;
	json_auto_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (!root)
		return;
	dp_schema_defaults(&ipam_config_schema, &ipam);
	r = dp_schema_decode(&ipam_config_schema, root, &ipam, &err);
	check_outcome(r, &err);
	if (r == 0) {
		assert(ipam.common.deadline >= 1 && ipam.common.deadline <= 60);
		assert(*ipam.common.socket && strlen(ipam.common.socket) <= 107);
		check_outcome(ipam_config_check(&ipam, &err), &err);
	}
	free_lists(&ipam_config_schema, &ipam);
	dp_schema_defaults(&ndrv_config_schema, &net);
	check_outcome(dp_schema_decode(&ndrv_config_schema, root, &net, &err), &err);
	free_lists(&ndrv_config_schema, &net);
}

static void check_line(const char *key, const char *value)
{
	struct ipam_config ipam = { .cooldown = 0 };
	struct ndrv_config net = { .scope = NULL };
	struct dp_error err = DP_ERROR_INIT;
	int r;

	dp_schema_defaults(&ipam_config_schema, &ipam);
	r = dp_schema_set_text(&ipam_config_schema, key, value, &ipam, &err);
	check_outcome(r, &err);
	if (r == 0)
		check_outcome(ipam_config_check(&ipam, &err), &err);
	check_outcome(dp_schema_set_text(&ndrv_config_schema, key, value, &net, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	char *rest = NULL;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (*text == '{') {
		check_file(text, size);
		return 0;
	}
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value = '\0';
		check_line(line, value + 1);
	}
	return 0;
}
