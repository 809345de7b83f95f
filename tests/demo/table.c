// SPDX-License-Identifier: MIT
/*
 * table.c - see table.h.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *const table_policies[TABLE_POLICIES] = { "cpu", "shared", "partitioned",
						     "dynamic" };
const char *const table_classes[CLASSES] = {
	[GOLD] = "gold", [BRONZE] = "bronze", [KERNEL] = "kernel"
};

static void print_row(const char *policy, const char *class, const struct figures *f,
		      double slowdown)
{
	printf("%-12s %-7s %7.0f %8.0f %9.1f %9.1f %8.2fx %8.0f%%\n", policy, class,
	       f->bps / 1e6, f->engine_bps / 1e6, f->p50_ms, f->p99_ms, slowdown,
	       f->declined * 100);
}

/* Users and kernel together. */
static void print_sum(const struct results *r, const struct figures f[CLASSES])
{
	double bps = 0, engine = 0, jain = figures_jain(f, r->weight);
	uint64_t units = 0, declined = 0;

	for (unsigned int c = 0; c < CLASSES; c++) {
		bps += f[c].bps;
		engine += f[c].engine_bps;
		if (!r->weight[c])
			continue;
		units += f[c].units;
		declined += f[c].units_declined;
	}
	printf("%-12s %-7s %7.0f %8.0f %9s %9s %9s", "", "all", bps / 1e6, engine / 1e6, "", "",
	       "");
	printf(" %8.0f%%", units ? 100.0 * (double)declined / (double)units : 0);
	if (jain >= 0)
		printf("  %.3f\n", jain);
	else
		puts("      -");
}

/* The model runs on the host's clock: what holds up the host shows in the figures. */
static void print_load(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	double load;

	if (getloadavg(&load, 1) == 1 && load > (double)cpus)
		printf("The host was busy (load %.1f, %ld CPUs): its own delays are in them, "
		       "too.\n",
		       load, cpus);
}

static void print_notes(const struct results *r)
{
	printf("\n"
	       "Figures are those of the modelled soft DSA, not of silicon: time_scale %u, so\n"
	       "multiply rates by %u and divide times by %u for the modelled device.\n",
	       r->time_scale, r->time_scale, r->time_scale);
	print_load();
	puts("MB/s       finished by engine and by CPU together, within a window; engine: of "
	     "those\n"
	     "           by engines.  Each class has a CPU of its own, modelled too.\n"
	     "p50, p99   gold, bronze: from submission to answer of a copy of 64 KiB to 2 "
	     "MiB,\n"
	     "           8 MiB outstanding (the wait in one's own queue included); kernel: "
	     "from a\n"
	     "           batch's arrival to its last page.  Histogram buckets are 25 % wide.\n"
	     "slowdown   throughput alone / throughput now, same load.  Alone: the class by "
	     "itself\n"
	     "           under the policy shared.  The kernel's load is what its trace asks "
	     "for, not\n"
	     "           as much as it can get: 1.00x means that migration keeps up, and its "
	     "p50\n"
	     "           and p99 say how long a batch took.\n"
	     "declined   sent back to the CPU: share of copies; kernel: of pages; all: of "
	     "tenants'.\n"
	     "Jain       fairness of gold and bronze: engine rates over weights, 1 is as "
	     "weighted.");
}

void table_print(const struct results *r)
{
	printf("\n%-12s %-7s %7s %8s %9s %9s %9s %9s  %5s\n", "policy", "class", "MB/s",
	       "engine", "p50 ms", "p99 ms", "slowdown", "declined", "Jain");
	for (unsigned int c = 0; c < CLASSES; c++)
		print_row(c ? "" : "each alone", table_classes[c], &r->alone[c], 1);
	for (unsigned int p = 0; p < TABLE_POLICIES; p++) {
		const struct figures *f = r->together[p];

		for (unsigned int c = 0; c < CLASSES; c++)
			print_row(c ? "" : table_policies[p], table_classes[c], &f[c],
				  f[c].bps > 0 ? r->alone[c].bps / f[c].bps : 0);
		print_sum(r, f);
	}
	print_notes(r);
}
