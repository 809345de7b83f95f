/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * prom.h - Prometheus text (version 0.0.4): families, labels, numbers.  Every name is
 * accelmux_PREFIXNAME.  Which families there are is the metrics' business.
 *
 * Owner: nobody, it keeps nothing.  Threads: any, with a file of its own.
 */
#ifndef BROKER_PROM_H
#define BROKER_PROM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hist.h"

/* The two lines that a family begins with; all its samples follow. */
void prom_family(FILE *f, const char *prefix, const char *name, const char *type,
		 const char *help);

/* A label's value; bytes that might not be UTF-8 would cost the whole scrape. */
void prom_label(FILE *f, const char *s);

/* A sample's number, and the end of its line: as it is, ns as seconds, or the one or the other. */
void prom_count(FILE *f, uint64_t v);
void prom_seconds(FILE *f, uint64_t ns);
void prom_number(FILE *f, uint64_t v, bool ns);

/* accelmux_PREFIXNAME{KEY="VALUE"} without the number. */
void prom_sample(FILE *f, const char *prefix, const char *name, const char *key,
		 const char *value);

/* The sample a / b, or none. */
void prom_ratio(FILE *f, const char *prefix, const char *name, const char *key,
		const char *value, uint64_t a, uint64_t b);

/*
 * The fine buckets as 12 of a factor of 4, 1.024 us to 4.3 s: every edge is one of the fine
 * edges, so that nothing is interpolated.  The count is the sum of the buckets as read.
 */
void prom_histogram(FILE *f, const char *prefix, const char *name, const char *key,
		    const char *value, const struct hist *h);

#endif /* BROKER_PROM_H */
