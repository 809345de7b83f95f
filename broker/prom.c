// SPDX-License-Identifier: GPL-2.0-only
/*
 * prom.c - see prom.h.
 */
#include "prom.h"

#include "clock.h"
#include "stats.h"

void prom_family(FILE *f, const char *prefix, const char *name, const char *type,
		 const char *help)
{
	fprintf(f, "# HELP accelmux_%s%s %s\n# TYPE accelmux_%s%s %s\n", prefix, name, help,
		prefix, name, type);
}

void prom_label(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			fprintf(f, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", f);
		else
			fputc(*s & 0x80 ? '?' : *s, f);
	}
}

void prom_count(FILE *f, uint64_t v)
{
	fprintf(f, "%llu\n", (unsigned long long)v);
}

void prom_seconds(FILE *f, uint64_t ns)
{
	fprintf(f, "%llu.%09llu\n", (unsigned long long)(ns / NSEC_PER_SEC),
		(unsigned long long)(ns % NSEC_PER_SEC));
}

void prom_number(FILE *f, uint64_t v, bool ns)
{
	if (ns)
		prom_seconds(f, v);
	else
		prom_count(f, v);
}

void prom_sample(FILE *f, const char *prefix, const char *name, const char *key,
		 const char *value)
{
	fprintf(f, "accelmux_%s%s{%s=\"", prefix, name, key);
	prom_label(f, value);
	fputs("\"} ", f);
}

void prom_ratio(FILE *f, const char *prefix, const char *name, const char *key,
		const char *value, uint64_t a, uint64_t b)
{
	if (!b)
		return; /* nothing completed yet: no sample rather than a made-up one */
	prom_sample(f, prefix, name, key, value);
	fprintf(f, "%.6g\n", (double)a / (double)b);
}

void prom_histogram(FILE *f, const char *prefix, const char *name, const char *key,
		    const char *value, const struct hist *h)
{
	uint64_t sum = 0;
	unsigned int i = 0;

	for (unsigned int octave = 3; octave <= 25; octave += 2) {
		for (; i < 4 * octave; i++)
			sum += stat_read(&h->bucket[i]);
		fprintf(f, "accelmux_%s%s_bucket{%s=\"", prefix, name, key);
		prom_label(f, value);
		fprintf(f, "\",le=\"%.10g\"} %llu\n", (double)hist_edge(4 * octave) / 1e9,
			(unsigned long long)sum);
	}
	for (; i < HIST_BUCKETS; i++)
		sum += stat_read(&h->bucket[i]);
	fprintf(f, "accelmux_%s%s_bucket{%s=\"", prefix, name, key);
	prom_label(f, value);
	fprintf(f, "\",le=\"+Inf\"} %llu\naccelmux_%s%s_sum{%s=\"", (unsigned long long)sum,
		prefix, name, key);
	prom_label(f, value);
	fputs("\"} ", f);
	prom_seconds(f, stat_read(&h->sum_ns));
	fprintf(f, "accelmux_%s%s_count{%s=\"", prefix, name, key);
	prom_label(f, value);
	fprintf(f, "\"} %llu\n", (unsigned long long)sum);
}
