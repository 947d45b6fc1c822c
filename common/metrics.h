/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DP_COMMON_METRICS_H
#define DP_COMMON_METRICS_H

/*
 * Numbers for monitoring, in Prometheus' text format (version 0.0.4).
 *
 * Whoever does the work counts it in plain integers of its own; nothing is formatted until somebody
 * asks. A scrape calls each owner's writer, which puts a family's head and then its samples:
 *
 *   dp_metrics_family(m, "leases", "gauge", "addresses that are held");
 *   dp_metrics_value(m, "leases", 17, "pool", "local/10.1.0.0/24", NULL);
 *
 * Every name gets the daemon's in front: myipamplugin_leases{pool="local/10.1.0.0/24"} 17
 */

#include <stdint.h>
#include <stdio.h>

#include "common/compiler.h"

/* Buckets end at 1, 2, 4 ... 2^23; what is larger is in +Inf only. */
enum { DP_HISTOGRAM_BUCKETS = 24 };

/* A distribution of whole numbers; zeroed = empty. */
struct dp_histogram {
	uint64_t buckets[DP_HISTOGRAM_BUCKETS + 1]; /* [i]: values above 2^(i-1), up to 2^i */
	uint64_t sum;                               /* of all values */
};

/* Where samples go. */
struct dp_metrics {
	FILE *out;
	const char *prefix; /* "myipamplugin": before every name, with an underscore */
};

/* dp_histogram_add() - one more @value. A few instructions. */
void dp_histogram_add(struct dp_histogram *h, uint64_t value);

/* dp_metrics_now_us() - monotonic microseconds, for durations that go into a histogram. */
uint64_t dp_metrics_now_us(void);

/**
 * dp_metrics_family() - the head of a family, before its samples
 * @name: without prefix; counters end in "_total", seconds in "_seconds", bytes in "_bytes"
 * @type: "counter", "gauge", "histogram"
 */
void dp_metrics_family(const struct dp_metrics *m, const char *name, const char *type,
		       const char *help);

/* dp_metrics_value() - one sample. Varargs: pairs of label and value (texts), then NULL. Values are
 * escaped. */
__attribute__((sentinel)) void dp_metrics_value(const struct dp_metrics *m, const char *name,
						double value, ...);

/**
 * dp_metrics_histogram() - the samples of a histogram
 * @unit:  what one of its numbers is, in the unit that is shown: 1e-6 for microseconds as seconds
 * @label: NULL = no label
 */
void dp_metrics_histogram(const struct dp_metrics *m, const char *name,
			  const struct dp_histogram *h, double unit, const char *label,
			  const char *value);

/* dp_metrics_process() - the process itself: memory, descriptors, processor time. */
void dp_metrics_process(const struct dp_metrics *m);

#endif
