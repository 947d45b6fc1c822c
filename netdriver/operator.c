/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/* What people ask of the running daemon: the methods behind the commands, and the commands. */

#include <errno.h>

#include "common/command.h"
#include "netdriver/driver_internal.h"

struct no_args {
	bool unused;
};

static const struct dp_schema no_args_schema = { .n_fields = 0 };

static int on_reconcile(void *ctx, struct dp_call *call, const void *req, struct dp_error *err)
{
	struct ndrv_driver *d = ctx;
	bool complete = ndrv_driver_reconcile(d, err);

	(void)req;
	if (!d->registry)
		return err->code;
	dp_call_reply(call, json_pack("{s:i, s:i, s:i, s:b, s:s}", "Rebuilt", (int)d->report.rebuilt,
				      "Removed", (int)d->report.removed, "Dropped",
				      (int)d->report.dropped, "Complete", (int)complete, "Complaint",
				      complete ? "" : err->msg));
	return DP_STEP_DONE;
}

static long long number(const json_t *obj, const char *key)
{
	return (long long)json_integer_value(json_object_get(obj, key));
}

static void show_reconcile(const json_t *reply, unsigned page, FILE *out)
{
	(void)page;
	fprintf(out, "%lld networks rebuilt, %lld leftover links removed, %lld dead endpoints dropped\n",
		number(reply, "Rebuilt"), number(reply, "Removed"), number(reply, "Dropped"));
	if (json_is_true(json_object_get(reply, "Complete")))
		fprintf(out, "host and records agree\n");
	else
		fprintf(out, "not all could be done, the daemon goes on trying: %s\n",
			json_string_value(json_object_get(reply, "Complaint")));
}

const struct dp_route ndrv_operator_routes[] = {
	{ "/Operator.Reconcile", &no_args_schema, sizeof(struct no_args), on_reconcile },
	{ .path = NULL },
};

const struct dp_command ndrv_commands[] = {
	{ .name = "reconcile", .method = "/Operator.Reconcile", .show = show_reconcile,
	  .help = "compare the host with the records now, and mend what differs" },
	{ .name = NULL },
};
