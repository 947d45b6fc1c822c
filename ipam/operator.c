/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

/*
 * What people ask of the running daemon: the commands, the methods behind them, and what their handlers
 * share. Whatever is changed is on disk before it is answered, as with the engine's requests.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/archive.h"
#include "common/log.h"
#include "common/parse.h"
#include "ipam/operator_internal.h"
#include "ipam/operator_show.h"

/* ---- what the handlers share ---- */

const char *ipam_op_format_time(int64_t seconds, char buf[static IPAM_OP_TIME_SIZE])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, IPAM_OP_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf[0] = '\0';
	return buf;
}

int ipam_op_parse_time(const char *text, int64_t *ret_seconds, struct dp_error *err)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
					     "%Y-%m-%dT%H:%M",    "%Y-%m-%d %H:%M",
					     "%H:%M:%S",          "%H:%M" };
	time_t now = time(NULL);

	for (size_t i = 0; i < DP_ARRAY_LEN(forms); i++) {
		struct tm tm;
		const char *end;

		(void)gmtime_r(&now, &tm);
		tm.tm_sec = 0;
		end = strptime(text, forms[i], &tm);
		if (end && (!*end || !strcmp(end, "Z"))) {
			*ret_seconds = (int64_t)timegm(&tm);
			return 0;
		}
	}
	return dp_error_set(err, DP_ERR_INVALID, -EINVAL,
			    "at: '%s' is not a time (UTC) such as 2026-11-24T12:03 or 12:03", text);
}

int ipam_op_parse_position(const char *text, uint64_t ret_v[static IPAM_OP_MAX_NUMBERS],
			   struct dp_error *err)
{
	char copy[160];
	char *rest = NULL;
	size_t n = 0;

	memset(ret_v, 0, IPAM_OP_MAX_NUMBERS * sizeof *ret_v);
	(void)snprintf(copy, sizeof copy, "%s", text ? text : "");
	for (char *w = strtok_r(copy, ":", &rest); w; w = strtok_r(NULL, ":", &rest)) {
		if (n == IPAM_OP_MAX_NUMBERS || dp_parse_u64(w, 0, UINT64_MAX, &ret_v[n++]) < 0)
			return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "After: '%s'", text);
	}
	return 0;
}

int ipam_op_set_next(json_t *reply, const uint64_t v[static IPAM_OP_MAX_NUMBERS])
{
	char text[160];
	size_t n = 0;

	for (size_t i = 0; i < IPAM_OP_MAX_NUMBERS; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, i ? ":%" PRIu64 : "%" PRIu64,
				      v[i]);
	return json_object_set_new(reply, "Next", json_string(text));
}

json_t *ipam_op_number(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

struct ipam_subnet *ipam_op_nth_subnet(const struct ipam_driver *d, uint64_t n)
{
	for (int b = 0; b < IPAM_N_BOOKS; b++) {
		size_t n_book = ipam_space_n_subnets(d->space, (enum ipam_book)b);

		if (n < n_book)
			return ipam_space_subnet(d->space, (enum ipam_book)b, (size_t)n);
		n -= n_book;
	}
	return NULL;
}

bool ipam_op_is_of_pool(const struct ipam_subnet *subnet, const char *pool)
{
	char text[IPAM_POOL_ID_SIZE];
	char prefix[DP_PREFIX_STRLEN];

	if (!pool || !strcmp(pool, dp_prefix_format(ipam_subnet_prefix(subnet), prefix)))
		return true;
	for (size_t i = 0; i < ipam_subnet_n_pools(subnet); i++) {
		ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(subnet, i)), text);
		if (!strcmp(pool, text))
			return true;
	}
	return false;
}

int ipam_op_find_subnet(const struct ipam_driver *d, const char *pool, const struct dp_addr *addr,
			struct ipam_subnet **ret_subnet, struct dp_error *err)
{
	struct ipam_subnet *found = NULL;
	struct ipam_subnet *s;
	char a[IPAM_POOL_ID_SIZE];
	char b[IPAM_POOL_ID_SIZE];

	for (uint64_t i = 0; (s = ipam_op_nth_subnet(d, i)); i++) {
		if (!ipam_op_is_of_pool(s, pool) ||
		    (addr && !dp_prefix_has_addr(ipam_subnet_prefix(s), addr)))
			continue;
		if (found)
			return dp_error_set(
				err, DP_ERR_CONFLICT, -ENOTUNIQ,
				"which pool? --pool %s or --pool %s",
				ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(found, 0)), a),
				ipam_pool_id_format(ipam_pool_ident(ipam_subnet_pool(s, 0)), b));
		found = s;
	}
	if (!found)
		return dp_error_set(err, DP_ERR_NOT_FOUND, -ENOENT, "no pool %s%s%s",
				    pool ? pool : "", addr ? "has the address " : "is there",
				    addr ? dp_addr_format(addr, a) : "");
	*ret_subnet = found;
	return 0;
}

int ipam_op_find_pool(const struct ipam_driver *d, const char *text, struct ipam_pool **ret_pool,
		      struct dp_error *err)
{
	struct dp_error ignored = DP_ERROR_INIT;
	struct ipam_subnet *subnet;
	int r;

	if (text && ipam_space_pool_by_text(d->space, text, ret_pool, &ignored) == 0)
		return 0;
	r = ipam_op_find_subnet(d, text, NULL, &subnet, err);
	if (r < 0)
		return r;
	if (ipam_subnet_n_pools(subnet) > 1)
		return dp_error_set(err, DP_ERR_CONFLICT, -ENOTUNIQ,
				    "subnet %s has %zu pools: name one by its PoolID, see `status`",
				    text, ipam_subnet_n_pools(subnet));
	*ret_pool = ipam_subnet_pool(subnet, 0);
	return 0;
}

int ipam_op_parse_address(const char *text, struct dp_addr *ret_addr, struct dp_error *err)
{
	if (dp_addr_parse(text, ret_addr) < 0)
		return dp_error_set(err, DP_ERR_INVALID, -EINVAL, "'%s' is not an IP address",
				    text);
	return 0;
}

void ipam_op_say(struct dp_call *call, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dp_log_notice("operator: %s", text);
	dp_call_reply(call, json_pack("{s:s}", "Said", text));
}

/* ---- tables ---- */

#define POOL_FIELD \
	DP_STR(struct ipam_op_args, pool, "pool", .min = 1, .help = "PoolID or subnet; needed where several have it")
#define AFTER_FIELD DP_STR(struct ipam_op_args, after, "After", .max = 150)

#define SCHEMA(name, n, ...)                                           \
	static const struct dp_schema name = {                         \
		.noun = "option",                                      \
		.text_values = true,                                   \
		.refuse_unknown = true,                                \
		.n_fields = (n),                                       \
		.fields = (const struct dp_field[n]){ __VA_ARGS__ },   \
	}

SCHEMA(reserve_args, 4, POOL_FIELD,
       DP_STR(struct ipam_op_args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.9, 10.0.0.1-10.0.0.20 or 10.0.0.16/28"),
       DP_STR(struct ipam_op_args, name, "name", .max = 255,
	      .help = "container it is for, as engine 29 on tells it"),
       DP_STR(struct ipam_op_args, mac, "mac", .max = 17,
	      .help = "the same by MAC, with requires-mac-address=true"));
SCHEMA(range_args, 2, POOL_FIELD,
       DP_STR(struct ipam_op_args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.9, 10.0.0.1-10.0.0.20 or 10.0.0.16/28"));
SCHEMA(extend_args, 2,
       DP_STR(struct ipam_op_args, pool, "pool", .flags = DP_F_REQUIRED, .help = "PoolID or subnet"),
       DP_STR(struct ipam_op_args, range, "range", .flags = DP_F_REQUIRED,
	      .help = "10.0.0.1-10.0.0.99 or 10.0.0.0/25; contains the present range"));
SCHEMA(release_args, 2, POOL_FIELD,
       DP_STR(struct ipam_op_args, address, "address", .flags = DP_F_REQUIRED, .help = "a held address"));
SCHEMA(move_args, 3, POOL_FIELD,
       DP_STR(struct ipam_op_args, address, "address", .flags = DP_F_REQUIRED, .help = "what it has now"),
       DP_STR(struct ipam_op_args, to, "to", .flags = DP_F_REQUIRED, .help = "what it gets next time"));
SCHEMA(list_args, 2, DP_STR(struct ipam_op_args, pool, "pool", .help = "only of this PoolID or subnet"),
       AFTER_FIELD);
SCHEMA(leases_args, 5, DP_STR(struct ipam_op_args, pool, "pool", .help = "only of this PoolID or subnet"),
       DP_STR(struct ipam_op_args, address, "address", .help = "only this address"),
       DP_STR(struct ipam_op_args, name, "name", .help = "only of the container of that name"),
       DP_STR(struct ipam_op_args, mac, "mac", .help = "only of the container with that MAC"), AFTER_FIELD);
SCHEMA(history_args, 4,
       DP_STR(struct ipam_op_args, address, "address", .flags = DP_F_REQUIRED, .help = "whose history"),
       DP_STR(struct ipam_op_args, pool, "pool", .help = "only of this PoolID"),
       DP_STR(struct ipam_op_args, at, "at",
	      .help = "only who had it then (UTC): 2026-11-24T12:03, or 12:03 today"),
       AFTER_FIELD);
SCHEMA(map_args, 2,
       DP_STR(struct ipam_op_args, pool, "pool", .flags = DP_F_REQUIRED, .help = "PoolID or subnet"),
       DP_STR(struct ipam_op_args, range, "range", .help = "only this part: 10.0.4.0/22"));
SCHEMA(check_args, 1, AFTER_FIELD);

const struct dp_route ipam_operator_routes[] = {
	{ "/Operator.Status", &list_args, sizeof(struct ipam_op_args), ipam_on_status },
	{ "/Operator.Leases", &leases_args, sizeof(struct ipam_op_args), ipam_on_leases },
	{ "/Operator.History", &history_args, sizeof(struct ipam_op_args), ipam_on_history },
	{ "/Operator.Map", &map_args, sizeof(struct ipam_op_args), ipam_on_map },
	{ "/Operator.Check", &check_args, sizeof(struct ipam_op_args), ipam_on_check },
	{ "/Operator.Ranges", &list_args, sizeof(struct ipam_op_args), ipam_on_ranges },
	{ "/Operator.Reserve", &reserve_args, sizeof(struct ipam_op_args), ipam_on_reserve },
	{ "/Operator.Exclude", &range_args, sizeof(struct ipam_op_args), ipam_on_exclude },
	{ "/Operator.Include", &range_args, sizeof(struct ipam_op_args), ipam_on_include },
	{ "/Operator.Extend", &extend_args, sizeof(struct ipam_op_args), ipam_on_extend },
	{ "/Operator.Release", &release_args, sizeof(struct ipam_op_args), ipam_on_release },
	{ "/Operator.Move", &move_args, sizeof(struct ipam_op_args), ipam_on_move },
	{ .path = NULL },
};

static const char *const one_range[] = { "range", NULL };
static const char *const one_address[] = { "address", NULL };
static const char *const one_pool[] = { "pool", NULL };
static const char *const pool_and_range[] = { "pool", "range", NULL };
static const char *const from_and_to[] = { "address", "to", NULL };


/* ---- state as JSON, without the daemon ---- */

static const struct dp_archive archive = {
	.format = "myipamplugin",
	.file = "myipamplugin.db",
	.schema = &ipam_state_schema,
	.check = ipam_state_check,
};

static int run_export(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ipam_config *c = config;

	(void)args;
	return dp_archive_export(&archive, c->common.state_dir, stdout, err);
}

static int run_import(const void *config, const json_t *args, struct dp_error *err)
{
	const struct ipam_config *c = config;

	return dp_archive_run_import(&archive, c->common.state_dir, args, err);
}

const struct dp_command ipam_commands[] = {
	{ .name = "status", .method = "/Operator.Status", .args = &list_args, .pages = "Pools",
	  .show = ipam_show_status, .help = "how full each pool is, and when it will be full" },
	{ .name = "leases", .method = "/Operator.Leases", .args = &leases_args, .pages = "Leases",
	  .show = ipam_show_leases, .help = "who has which address since when" },
	{ .name = "history", .method = "/Operator.History", .args = &history_args,
	  .operands = one_address, .pages = "History", .show = ipam_show_history,
	  .help = "who had an address, and when" },
	{ .name = "map", .method = "/Operator.Map", .args = &map_args, .operands = one_pool,
	  .show = ipam_show_map, .help = "draw a pool, cell by cell" },
	{ .name = "check", .method = "/Operator.Check", .args = &check_args, .pages = "Findings",
	  .finds = true, .show = ipam_show_check,
	  .help = "compare bitmap and leases, while all goes on" },
	{ .name = "ranges", .method = "/Operator.Ranges", .args = &list_args, .pages = "Blocks",
	  .show = ipam_show_blocks, .help = "what is reserved and excluded" },
	{ .name = "reserve", .method = "/Operator.Reserve", .args = &reserve_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "keep addresses for --ip, or one for a container" },
	{ .name = "exclude", .method = "/Operator.Exclude", .args = &range_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "never give out addresses, they are somebody else's" },
	{ .name = "include", .method = "/Operator.Include", .args = &range_args,
	  .operands = one_range, .show = ipam_show_said,
	  .help = "give out again what was reserved or excluded" },
	{ .name = "extend", .method = "/Operator.Extend", .args = &extend_args,
	  .operands = pool_and_range, .show = ipam_show_said,
	  .help = "widen the range of a pool, inside its subnet" },
	{ .name = "release", .method = "/Operator.Release", .args = &release_args,
	  .operands = one_address, .show = ipam_show_said,
	  .help = "take an address from a container that is gone (it must be gone)" },
	{ .name = "move", .method = "/Operator.Move", .args = &move_args, .operands = from_and_to,
	  .show = ipam_show_said,
	  .help = "give a container another address when it is started again" },
	{ .name = "export", .run = run_export,
	  .help = "the whole state as JSON, with the daemon stopped" },
	{ .name = "import", .run = run_import, .args = &dp_archive_import_schema,
	  .operands = dp_archive_import_operands,
	  .help = "make the state what an export says, with the daemon stopped" },
	{ .name = NULL },
};
