/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_IPAM_TREND_H
#define DP_IPAM_TREND_H

/*
 * How fast a pool fills, so that people hear of it before it is full: the mean of the last hour or so,
 * older changes counting less and less. Pure.
 */

#include <stdint.h>

/* Zeroed = nothing known yet. */
struct ipam_trend {
	uint64_t used;      /* at the last sample */
	double seconds;     /* observed so far, up to an hour */
	double per_hour;    /* addresses an hour; negative: it empties */
	int n_samples;      /* 0, 1, 2 = enough */
};

/* ipam_trend_add() - @used addresses are in use, @seconds (> 0) after the last sample. */
void ipam_trend_add(struct ipam_trend *trend, uint64_t used, double seconds);

/* ipam_trend_full_in() - seconds until @free more addresses are used up; -1 = not at this rate. */
double ipam_trend_full_in(const struct ipam_trend *trend, uint64_t free);

#endif
