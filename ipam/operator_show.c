/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ipam/operator_show.h"

enum { BAR = 20, MAP_WIDTH = 64 };

static long long number(const json_t *obj, const char *key)
{
	return (long long)json_integer_value(json_object_get(obj, key));
}

static const char *text(const json_t *obj, const char *key)
{
	const char *v = json_string_value(json_object_get(obj, key));

	return v ? v : "";
}

static const char *or_dash(const char *s)
{
	return *s ? s : "-";
}

/* Where the dots of a bar end: at least one cell for what there is, never full unless it is. */
static int cells(double part, double whole)
{
	int n = whole > 0 ? (int)(part / whole * BAR) : 0;

	if (part > 0 && n == 0)
		n = 1;
	return n > BAR ? BAR : n;
}

static void put_duration(double seconds, FILE *out)
{
	if (seconds < 0)
		fputs("-", out);
	else if (seconds < 2 * 3600)
		fprintf(out, "%.0f min", seconds / 60);
	else if (seconds < 2 * 86400)
		fprintf(out, "%.0f h", seconds / 3600);
	else if (seconds < 1000.0 * 86400)
		fprintf(out, "%.0f days", seconds / 86400);
	else
		fputs("years", out);
}

void ipam_show_status(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *pool;
	size_t i;

	if (page == 0)
		fprintf(out, "%-36s %-22s %5s %8s %8s %8s %9s %8s  %-8s %s\n", "POOL",
			"USED # RESTING ~ KEPT x", "FULL", "HELD", "RESTING", "KEPT", "CONFLICTS",
			"FREE", "PICKS", "FULL IN");
	json_array_foreach(json_object_get(reply, "Pools"), i, pool)
	{
		double usable = (double)number(pool, "Usable");
		double used = (double)number(pool, "Used");
		int n_rest = cells((double)number(pool, "Resting"), usable);
		int n_used = cells(used - (double)number(pool, "Resting"), usable);
		int n_kept = cells((double)number(pool, "Kept"), usable);
		char bar[BAR + 1];

		memset(bar, '.', BAR);
		bar[BAR] = '\0';
		for (int k = 0; k < BAR; k++) {
			if (k < n_used)
				bar[k] = '#';
			else if (k < n_used + n_rest)
				bar[k] = '~';
			else if (k >= BAR - n_kept)
				bar[k] = 'x';
		}
		fprintf(out, "%-36s [%s] %4.0f%% %8lld %8lld %8lld %9lld %8lld  %-8s ",
			text(pool, "Pool"), bar, usable > 0 ? 100 * used / usable : 0,
			number(pool, "Held"), number(pool, "Resting"), number(pool, "Kept"),
			number(pool, "Conflicts"), number(pool, "Free"), text(pool, "Strategy"));
		put_duration(json_number_value(json_object_get(pool, "FullInSeconds")), out);
		putc('\n', out);
	}
}

void ipam_show_leases(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *lease;
	size_t i;

	if (page == 0)
		fprintf(out, "%-24s %-32s %-8s %-20s %-18s %-15s %s\n", "ADDRESS", "POOL", "STATE",
			"SINCE", "MAC", "LINK", "NAME");
	json_array_foreach(json_object_get(reply, "Leases"), i, lease)
		fprintf(out, "%-24s %-32s %-8s %-20s %-18s %-15s %s\n", text(lease, "Address"),
			text(lease, "Pool"), text(lease, "State"), text(lease, "Since"),
			or_dash(text(lease, "MAC")), or_dash(text(lease, "Link")),
			or_dash(text(lease, "Name")));
}

void ipam_show_history(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *lease;
	size_t i;

	if (page == 0)
		fprintf(out, "%-20s %-20s %-32s %-18s %s\n", "FROM", "TO", "POOL", "MAC", "NAME");
	json_array_foreach(json_object_get(reply, "History"), i, lease)
		fprintf(out, "%-20s %-20s %-32s %-18s %s\n", text(lease, "Since"),
			*text(lease, "Until") ? text(lease, "Until") : "now", text(lease, "Pool"),
			or_dash(text(lease, "MAC")), or_dash(text(lease, "Name")));
}

void ipam_show_blocks(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *block;
	size_t i;

	if (page == 0)
		fprintf(out, "%-36s %-24s %-10s %-18s %s\n", "RANGE", "SUBNET", "IS", "MAC", "NAME");
	json_array_foreach(json_object_get(reply, "Blocks"), i, block)
		fprintf(out, "%-36s %-24s %-10s %-18s %s\n", text(block, "Range"),
			text(block, "Subnet"), text(block, "Is"), or_dash(text(block, "MAC")),
			or_dash(text(block, "Name")));
}

void ipam_show_map(const json_t *reply, unsigned page, FILE *out)
{
	const char *map = text(reply, "Cells");
	size_t n = strlen(map);
	long long per_cell = number(reply, "PerCell");
	const json_t *rows = json_object_get(reply, "Rows");

	(void)page;
	if (per_cell == 1)
		fprintf(out, "%s: an address a cell: . free  # held  ~ resting  ! conflict  G gateway  x excluded  "
			     "r reserved  - never given\n",
			text(reply, "Pool"));
	else
		fprintf(out, "%s: %lld addresses a cell, shaded by use: . none  1-9 tenths  # full  "
			     "x excluded or reserved\n",
			text(reply, "Pool"), per_cell);
	for (size_t i = 0; i * MAP_WIDTH < n; i++)
		fprintf(out, "%-20s %.*s\n", json_string_value(json_array_get(rows, i)), MAP_WIDTH,
			map + i * MAP_WIDTH);
}

void ipam_show_check(const json_t *reply, unsigned page, FILE *out)
{
	const json_t *finding;
	size_t i;

	(void)page;
	json_array_foreach(json_object_get(reply, "Findings"), i, finding)
		fprintf(out, "%s\n", text(finding, "Finding"));
	if (!json_is_string(json_object_get(reply, "Next")))
		fprintf(out, "checked: every lease against the bitmap, and every bit against the leases\n");
}

void ipam_show_said(const json_t *reply, unsigned page, FILE *out)
{
	(void)page;
	fprintf(out, "%s\n", text(reply, "Said"));
}
