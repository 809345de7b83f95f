/* SPDX-License-Identifier: MIT */
/*
 * figures.h - what happened between two samples of a class's running totals.
 *
 * Owner: the caller.  Pure functions, any thread.
 */
#ifndef DEMO_FIGURES_H
#define DEMO_FIGURES_H

#include <jansson.h>

#include "../../broker/hist.h"

enum who { GOLD, BRONZE, KERNEL, CLASSES };

/* Totals since the start of whoever counts. */
struct sample {
	uint64_t t_ns;
	uint64_t bytes; /* finished, by whichever path */
	uint64_t engine_bytes, cpu_bytes;
	uint64_t units, declined; /* requests of a tenant, pages of the kernel class */
	uint64_t latency[HIST_BUCKETS];
};

struct figures {
	double bps;	   /* bytes/s finished */
	double engine_bps; /* of those, by engines */
	double p50_ms, p99_ms;
	double declined; /* share of the units, 0 .. 1 */
	uint64_t units_declined, units;
};

/* From a tenant's report.  0 or -EPROTO. */
int sample_tenant(struct sample *s, const json_t *report);
/* From `accelmux --json status`. */
int sample_kernel(struct sample *s, const json_t *status);

/* @to was taken after @from. */
void figures_between(const struct sample *from, const struct sample *to, struct figures *out);

/* Jain's index of the tenants' engine rates over their weights: 1 is fair, 1/n is all to
 * one; negative if none used an engine. */
double figures_jain(const struct figures f[CLASSES], const unsigned int weight[CLASSES]);

/* The member @class of "classes" in a status, or NULL. */
const json_t *figures_class(const json_t *status, const char *class);

/* The integer called @key, 0 if there is none. */
uint64_t figures_int(const json_t *object, const char *key);

#endif /* DEMO_FIGURES_H */
