/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tally.h - what a tenant's requests came to since the last publication of answers.
 *
 * Counting straight into the two struct flow_stats that readers see (the tenant's and its
 * class's, histograms included) costs more than a small request.  So the hot path adds up here,
 * and tally_settle() carries it over once for all answers that are published together, before
 * they are: whoever has an answer finds it counted.
 *
 * Owner: a scheduler's tenant.  Thread: the mux thread.
 */
#ifndef BROKER_TALLY_H
#define BROKER_TALLY_H

#include "list.h"
#include "stats.h"

/* Equal durations in a row: requests of one loop share their time stamps. */
struct tally_run {
	uint64_t ns, n;
};

struct tally {
	struct list link; /* sched->tallied, while there is something to carry over */
	uint64_t requests, completed;
	uint64_t descriptors, engine_bytes, engine_cpu_ns;
	uint64_t actual_ns, alone_ns, cpu_ns;
	uint64_t ledger_in, ledger_out;
	struct tally_run wait, service;
};

/* Add all of @t to both and clear it. */
void tally_settle(struct tally *t, struct flow_stats *tenant, struct flow_stats *class);

void tally_run_end(struct tally_run *r, struct hist *tenant, struct hist *class);

static inline void tally_run_add(struct tally_run *r, uint64_t ns, uint64_t n,
				 struct hist *tenant, struct hist *class)
{
	if (r->n && r->ns != ns)
		tally_run_end(r, tenant, class);
	r->ns = ns;
	r->n += n;
}

/* Spread ids so that sums of them tell multisets of ids apart. */
static inline uint64_t tally_mix(uint64_t id)
{
	uint64_t x = (id + 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;

	return (x ^ (x >> 32)) * 0x94d049bb133111ebull;
}

#endif /* BROKER_TALLY_H */
