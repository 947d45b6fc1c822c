/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <dirent.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/metrics.h"

void dp_histogram_add(struct dp_histogram *h, uint64_t value)
{
	unsigned i = value <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(value - 1);

	h->buckets[i < DP_HISTOGRAM_BUCKETS ? i : DP_HISTOGRAM_BUCKETS]++;
	h->sum += value;
}

uint64_t dp_metrics_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void dp_metrics_family(const struct dp_metrics *m, const char *name, const char *type,
		       const char *help)
{
	fprintf(m->out, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", m->prefix, name, help, m->prefix, name,
		type);
}

/* Writes @label="@value", the value escaped as the format wants it. */
static void put_label(FILE *out, const char *label, const char *value)
{
	fprintf(out, "%s=\"", label);
	for (const char *p = value; *p; p++) {
		if (*p == '\n') {
			fputs("\\n", out);
			continue;
		}
		if (*p == '"' || *p == '\\')
			putc('\\', out);
		putc(*p, out);
	}
	putc('"', out);
}

void dp_metrics_value(const struct dp_metrics *m, const char *name, double value, ...)
{
	const char *label;
	char before = '{';
	va_list ap;

	fprintf(m->out, "%s_%s", m->prefix, name);
	va_start(ap, value);
	while ((label = va_arg(ap, const char *))) {
		putc(before, m->out);
		put_label(m->out, label, va_arg(ap, const char *));
		before = ',';
	}
	va_end(ap);
	fprintf(m->out, before == ',' ? "} %.17g\n" : " %.17g\n", value);
}

static void put_part(const struct dp_metrics *m, const char *name, const char *part,
		     const char *label, const char *value, const char *le)
{
	fprintf(m->out, "%s_%s_%s", m->prefix, name, part);
	if (label || le)
		putc('{', m->out);
	if (label)
		put_label(m->out, label, value);
	if (label && le)
		putc(',', m->out);
	if (le)
		put_label(m->out, "le", le);
	if (label || le)
		putc('}', m->out);
}

void dp_metrics_histogram(const struct dp_metrics *m, const char *name,
			  const struct dp_histogram *h, double unit, const char *label,
			  const char *value)
{
	uint64_t n = 0;
	char le[32];

	for (unsigned i = 0; i <= DP_HISTOGRAM_BUCKETS; i++) {
		n += h->buckets[i];
		if (i == DP_HISTOGRAM_BUCKETS)
			(void)snprintf(le, sizeof le, "+Inf");
		else
			(void)snprintf(le, sizeof le, "%g", (double)(UINT64_C(1) << i) * unit);
		put_part(m, name, "bucket", label, value, le);
		fprintf(m->out, " %llu\n", (unsigned long long)n);
	}
	put_part(m, name, "sum", label, value, NULL);
	fprintf(m->out, " %.17g\n", (double)h->sum * unit);
	put_part(m, name, "count", label, value, NULL);
	fprintf(m->out, " %llu\n", (unsigned long long)n);
}

static double resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	(void)fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned n = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	(void)closedir(dir);
	return n - 1; /* the folder itself */
}

void dp_metrics_process(const struct dp_metrics *m)
{
	struct rusage use;
	double cpu = 0;

	if (getrusage(RUSAGE_SELF, &use) == 0)
		cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		      (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
	dp_metrics_family(m, "process_resident_memory_bytes", "gauge", "memory in use");
	dp_metrics_value(m, "process_resident_memory_bytes", resident_bytes(), NULL);
	dp_metrics_family(m, "process_open_fds", "gauge", "descriptors in use");
	dp_metrics_value(m, "process_open_fds", open_descriptors(), NULL);
	dp_metrics_family(m, "process_cpu_seconds_total", "counter", "processor time used");
	dp_metrics_value(m, "process_cpu_seconds_total", cpu, NULL);
}
