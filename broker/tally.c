// SPDX-License-Identifier: GPL-2.0-only
/*
 * tally.c - see tally.h.
 */
#include "tally.h"

static void hist_add_many(struct hist *h, uint64_t ns, uint64_t n)
{
	stat_add(&h->bucket[hist_index(ns)], n);
	stat_add(&h->count, n);
	stat_add(&h->sum_ns, ns * n);
}

void tally_run_end(struct tally_run *r, struct hist *tenant, struct hist *class)
{
	if (!r->n)
		return;
	hist_add_many(tenant, r->ns, r->n);
	hist_add_many(class, r->ns, r->n);
	r->n = 0;
}

static void carry(uint64_t *from, uint64_t *tenant, uint64_t *class)
{
	if (!*from)
		return;
	stat_add(tenant, *from);
	stat_add(class, *from);
	*from = 0;
}

void tally_settle(struct tally *t, struct flow_stats *tenant, struct flow_stats *class)
{
	carry(&t->requests, &tenant->requests, &class->requests);
	carry(&t->completed, &tenant->completed, &class->completed);
	carry(&t->descriptors, &tenant->descriptors, &class->descriptors);
	carry(&t->engine_bytes, &tenant->engine_bytes, &class->engine_bytes);
	carry(&t->engine_cpu_ns, &tenant->engine_cpu_ns, &class->engine_cpu_ns);
	carry(&t->actual_ns, &tenant->actual_ns, &class->actual_ns);
	carry(&t->alone_ns, &tenant->alone_ns, &class->alone_ns);
	carry(&t->cpu_ns, &tenant->cpu_ns, &class->cpu_ns);
	stat_add(&tenant->ledger_in, t->ledger_in);
	stat_add(&tenant->ledger_out, t->ledger_out);
	t->ledger_in = t->ledger_out = 0;
	tally_run_end(&t->wait, &tenant->wait, &class->wait);
	tally_run_end(&t->service, &tenant->service, &class->service);
}
