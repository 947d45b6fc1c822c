/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "ipam/trend.h"

static const double hour = 3600;
static const double slowest = 1e-3; /* addresses an hour: less is no trend */

void ipam_trend_add(struct ipam_trend *trend, uint64_t used, double seconds)
{
	double change = used >= trend->used ? (double)(used - trend->used) :
					      -(double)(trend->used - used);

	trend->used = used;
	if (trend->n_samples++ == 0)
		return;
	trend->n_samples = 2;
	trend->seconds = trend->seconds + seconds < hour ? trend->seconds + seconds : hour;
	/* A plain mean until an hour has been seen, then one that forgets. */
	trend->per_hour += (change * hour / seconds - trend->per_hour) *
			   (seconds < trend->seconds ? seconds / trend->seconds : 1);
}

double ipam_trend_full_in(const struct ipam_trend *trend, uint64_t free)
{
	if (trend->per_hour < slowest)
		return -1;
	return (double)free / trend->per_hour * hour;
}
