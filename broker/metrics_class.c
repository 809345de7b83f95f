// SPDX-License-Identifier: GPL-2.0-only
/*
 * metrics_class.c - what is told of the classes, the kernel among them, and of the tenants.
 */
#include <stddef.h>

#include "metrics_snapshot.h"
#include "prom.h"

#define FLOW(member)   offsetof(struct flow_stats, member)
#define KERNEL(member) ((long)offsetof(struct report_kernel, member))
#define NOT_KNOWN      -1L

/* Counters that tenants and classes have alike. */
static const struct {
	const char *name, *help;
	size_t flow;
	long kernel; /* where the kernel class keeps it, or NOT_KNOWN */
	bool ns;
} counters[] = {
	{ "requests_total", "Requests (kernel: batches) that arrived.", FLOW(requests),
	  KERNEL(batches), false },
	{ "completed_total", "Requests answered by the broker with success.", FLOW(completed),
	  NOT_KNOWN, false },
	{ "withdrawn_total", "Requests taken back before they had begun.", FLOW(withdrawn),
	  NOT_KNOWN, false },
	{ "failed_total", "Requests answered by the broker with an error.", FLOW(failed),
	  NOT_KNOWN, false },
	{ "engine_bytes_total", "Bytes copied by engines.", FLOW(engine_bytes),
	  KERNEL(engine_bytes), false },
	{ "cpu_bytes_total", "Bytes left to the client's own CPU.", FLOW(declined_bytes),
	  KERNEL(cpu_bytes), false },
	{ "descriptors_total", "Descriptors completed by engines.", FLOW(descriptors),
	  KERNEL(descriptors), false },
	{ "borrowed_bytes_total", "Bytes issued beyond the class's own reserve.",
	  FLOW(borrowed_bytes), NOT_KNOWN, false },
	{ "faults_total", "Page faults and SIGBUS met by engines.", FLOW(faults), NOT_KNOWN,
	  false },
	{ "fault_waits_total", "Faults beyond the tenant's rate, for which it had to wait.",
	  FLOW(fault_waits), NOT_KNOWN, false },
	{ "resumes_total", "Partial completions that were continued.", FLOW(resumes), NOT_KNOWN,
	  false },
	{ "actual_seconds_total", "Time from arrival to completion, summed up.",
	  FLOW(actual_ns), KERNEL(batch_ns), true },
	{ "alone_seconds_total", "The same, as predicted for an idle device.", FLOW(alone_ns),
	  KERNEL(alone_ns), true },
	{ "cpu_alternative_seconds_total", "The same, as predicted for the client's own CPU.",
	  FLOW(cpu_ns), KERNEL(cpu_ns), true },
};

#define N_COUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t flow_word(const struct flow_stats *flow, size_t offset)
{
	return stat_read((const uint64_t *)(const void *)((const char *)flow + offset));
}

static void flow_declines(FILE *f, const char *prefix, const char *key, const char *value,
			  const struct flow_stats *flow)
{
	for (unsigned int r = 0; r < DECLINE_REASONS; r++) {
		fprintf(f, "accelmux_%sdeclines_total{%s=\"", prefix, key);
		prom_label(f, value);
		fprintf(f, "\",reason=\"%s\"} ", report_declines[r]);
		prom_count(f, stat_read(&flow->declined[r]));
	}
}

/* ------------------------------------------------------------------- classes */

void metrics_write_classes(FILE *f, const struct snapshot *s)
{
	const struct report_kernel *k = s->kernel.present ? &s->kernel : NULL;
	const struct flow_stats *u = &s->users;

	for (unsigned int i = 0; i < N_COUNTERS; i++) {
		prom_family(f, "class_", counters[i].name, "counter", counters[i].help);
		if (k && counters[i].kernel != NOT_KNOWN) {
			const char *field = (const char *)k + counters[i].kernel;

			prom_sample(f, "class_", counters[i].name, "class", "kernel");
			prom_number(f, *(const uint64_t *)(const void *)field, counters[i].ns);
		}
		prom_sample(f, "class_", counters[i].name, "class", "user");
		prom_number(f, flow_word(u, counters[i].flow), counters[i].ns);
	}
	prom_family(f, "class_", "lent_bytes_total", "counter",
		    "Bytes that other classes issued on what this class left unused.");
	if (k) {
		prom_sample(f, "class_", "lent_bytes_total", "class", "kernel");
		prom_count(f, u->borrowed_bytes);
	}
	prom_family(f, "class_", "declines_total", "counter",
		    "Requests sent back to the client's own CPU, by reason.");
	flow_declines(f, "class_", "class", "user", u);
	prom_family(f, "class_", "slowdown_alone_ratio", "gauge",
		    "Actual time over that predicted for an idle device, since the start.");
	if (k)
		prom_ratio(f, "class_", "slowdown_alone_ratio", "class", "kernel", k->batch_ns,
			   k->alone_ns);
	prom_ratio(f, "class_", "slowdown_alone_ratio", "class", "user", u->actual_ns,
		   u->alone_ns);
	prom_family(
		f, "class_", "slowdown_cpu_ratio", "gauge",
		"Actual time over that predicted for the client's own CPU, since the start.");
	if (k)
		prom_ratio(f, "class_", "slowdown_cpu_ratio", "class", "kernel", k->batch_ns,
			   k->cpu_ns);
	prom_ratio(f, "class_", "slowdown_cpu_ratio", "class", "user", u->actual_ns, u->cpu_ns);
	prom_family(f, "class_", "wait_seconds", "histogram",
		    "Time from a request's arrival to its first issue.");
	if (k)
		prom_histogram(f, "class_", "wait_seconds", "class", "kernel", &k->wait);
	prom_histogram(f, "class_", "wait_seconds", "class", "user", &u->wait);
	prom_family(f, "class_", "service_seconds", "histogram",
		    "Time from a request's first issue to its completion.");
	prom_histogram(f, "class_", "service_seconds", "class", "user", &u->service);
}

void metrics_write_kernel(FILE *f, const struct snapshot *s)
{
	const struct report_kernel *k = &s->kernel;

	prom_family(f, "kernel_", "info", "gauge", "Where the kernel class comes from.");
	fputs("accelmux_kernel_info{source=\"", f);
	prom_label(f, k->source);
	if (*k->trace)
		fprintf(f, "\",trace=\"%s", k->trace);
	fputs("\"} ", f);
	prom_count(f, 1);
	if (!k->present)
		return;
	prom_family(f, "kernel_", "engine_batches_total", "counter",
		    "Batches of which at least one page went by engine.");
	fputs("accelmux_kernel_engine_batches_total ", f);
	prom_count(f, k->engine_batches);
	prom_family(f, "kernel_", "batches_total", "counter",
		    "Batches by why the pages moved.");
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++) {
		prom_sample(f, "kernel_", "batches_total", "reason", report_reasons[i]);
		prom_count(f, k->reason_batches[i]);
	}
	prom_family(f, "kernel_", "declined_pages_total", "counter",
		    "Pages left to the CPU, by reason.");
	for (unsigned int i = 0; i < AMUX_DECLINE_COUNT; i++) {
		prom_sample(f, "kernel_", "declined_pages_total", "reason",
			    report_kernel_declines[i]);
		prom_count(f, k->declined_pages[i]);
	}
	prom_family(f, "kernel_", "batch_seconds", "histogram",
		    "Time from a batch's arrival to its last page.");
	prom_histogram(f, "kernel_", "batch_seconds", "class", "kernel", &k->batch);
	prom_family(f, "kernel_", "errors_total", "counter",
		    "Descriptors that engines answered with an error.");
	fputs("accelmux_kernel_errors_total ", f);
	prom_count(f, k->errors);
	prom_family(f, "kernel_", "mismatches_total", "counter",
		    "Pages that differed after their copy; must be 0.");
	fputs("accelmux_kernel_mismatches_total ", f);
	prom_count(f, k->mismatches);
	prom_family(f, "", "grant_age_seconds", "gauge",
		    "Time since the grant to the kernel class was last written.");
	fputs("accelmux_grant_age_seconds ", f);
	prom_seconds(f, k->grant_age_ns);
	prom_family(f, "", "grant_enabled", "gauge",
		    "1 while the kernel class may use engines.");
	fputs("accelmux_grant_enabled ", f);
	prom_count(f, k->enabled);
}

/* ------------------------------------------------------------------- tenants */

/* Gauges of tenants, from struct status_tenant. */
static void tenant_gauge(FILE *f, const struct snapshot *s, const char *name, const char *help,
			 uint64_t (*get)(const struct status_tenant *t))
{
	prom_family(f, "tenant_", name, "gauge", help);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		prom_sample(f, "tenant_", name, "tenant", s->tenants[i].name);
		prom_count(f, get(&s->tenants[i]));
	}
}

static uint64_t get_weight(const struct status_tenant *t)
{
	return t->weight;
}

static uint64_t get_connections(const struct status_tenant *t)
{
	return t->connections;
}

static uint64_t get_queues(const struct status_tenant *t)
{
	return t->queues;
}

static uint64_t get_memory(const struct status_tenant *t)
{
	return t->region_bytes;
}

static uint64_t get_queued(const struct status_tenant *t)
{
	return t->queued_bytes;
}

static uint64_t get_queue_memory(const struct status_tenant *t)
{
	return t->queue_bytes;
}

/* Counters by reason: accelmux_PREFIXNAME{tenant="...",reason="..."}, without @t the broker's. */
static void reasons(FILE *f, const struct status_tenant *t, const char *name,
		    const char *const *names, const uint64_t *counts, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		fprintf(f, "accelmux_%s%s{", t ? "tenant_" : "", name);
		if (t) {
			fputs("tenant=\"", f);
			prom_label(f, t->name);
			fputs("\",", f);
		}
		fprintf(f, "reason=\"%s\"} ", names[i]);
		prom_count(f, counts[i]);
	}
}

void metrics_write_refusals(FILE *f, const struct snapshot *s)
{
	const struct refusal_counts *all = broker_refusals(s->b);

	prom_family(f, "", "refused_total", "counter",
		    "Connections and requests refused, by reason.");
	reasons(f, NULL, "refused_total", refusal_names, all->refused, REFUSALS);
	prom_family(f, "", "cut_off_total", "counter",
		    "Connections ended for what their client did, by reason.");
	reasons(f, NULL, "cut_off_total", cutoff_names, all->cut, CUTOFFS);
	prom_family(f, "tenant_", "refused_total", "counter",
		    "Connections and requests refused, by reason.");
	for (unsigned int i = 0; i < s->n_tenants; i++)
		reasons(f, &s->tenants[i], "refused_total", refusal_names,
			s->tenants[i].refusals->refused, REFUSALS);
	prom_family(f, "tenant_", "cut_off_total", "counter",
		    "Connections ended for what their client did, by reason.");
	for (unsigned int i = 0; i < s->n_tenants; i++)
		reasons(f, &s->tenants[i], "cut_off_total", cutoff_names,
			s->tenants[i].refusals->cut, CUTOFFS);
	prom_family(f, "tenant_", "request_waits_total", "counter",
		    "Times that a tenant's requests were read later, being too many.");
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		prom_sample(f, "tenant_", "request_waits_total", "tenant", s->tenants[i].name);
		prom_count(f, s->tenants[i].refusals->waits);
	}
}

void metrics_write_tenants(FILE *f, const struct snapshot *s)
{
	tenant_gauge(f, s, "weight", "Share among tenants that have work.", get_weight);
	tenant_gauge(f, s, "connections", "Connections now.", get_connections);
	tenant_gauge(f, s, "queues", "Queues now.", get_queues);
	tenant_gauge(f, s, "memory_bytes", "Registered memory now.", get_memory);
	tenant_gauge(f, s, "queue_memory_bytes", "The broker's memory behind its queues now.",
		     get_queue_memory);
	tenant_gauge(f, s, "queued_bytes", "Waiting, not yet on an engine.", get_queued);
	prom_family(f, "tenant_", "evictions_total", "counter",
		    "Connections that an operator cut off.");
	for (unsigned int t = 0; t < s->n_tenants; t++) {
		prom_sample(f, "tenant_", "evictions_total", "tenant", s->tenants[t].name);
		prom_count(f, s->tenants[t].evictions);
	}
	for (unsigned int i = 0; i < N_COUNTERS; i++) {
		prom_family(f, "tenant_", counters[i].name, "counter", counters[i].help);
		for (unsigned int t = 0; t < s->n_tenants; t++) {
			prom_sample(f, "tenant_", counters[i].name, "tenant",
				    s->tenants[t].name);
			prom_number(f, flow_word(s->tenants[t].stats, counters[i].flow),
				    counters[i].ns);
		}
	}
	prom_family(f, "tenant_", "engine_cpu_seconds_total", "counter",
		    "CPU time that software engines spent for the tenant.");
	for (unsigned int t = 0; t < s->n_tenants; t++) {
		prom_sample(f, "tenant_", "engine_cpu_seconds_total", "tenant",
			    s->tenants[t].name);
		prom_seconds(f, stat_read(&s->tenants[t].stats->engine_cpu_ns));
	}
	prom_family(f, "tenant_", "declines_total", "counter",
		    "Requests sent back to the client's own CPU, by reason.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		flow_declines(f, "tenant_", "tenant", s->tenants[t].name, s->tenants[t].stats);
	prom_family(f, "tenant_", "slowdown_alone_ratio", "gauge",
		    "Actual time over that predicted for an idle device, since the start.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		prom_ratio(f, "tenant_", "slowdown_alone_ratio", "tenant", s->tenants[t].name,
			   stat_read(&s->tenants[t].stats->actual_ns),
			   stat_read(&s->tenants[t].stats->alone_ns));
	prom_family(
		f, "tenant_", "slowdown_cpu_ratio", "gauge",
		"Actual time over that predicted for the client's own CPU, since the start.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		prom_ratio(f, "tenant_", "slowdown_cpu_ratio", "tenant", s->tenants[t].name,
			   stat_read(&s->tenants[t].stats->actual_ns),
			   stat_read(&s->tenants[t].stats->cpu_ns));
	prom_family(f, "tenant_", "wait_seconds", "histogram",
		    "Time from a request's arrival to its first issue.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		prom_histogram(f, "tenant_", "wait_seconds", "tenant", s->tenants[t].name,
			       &s->tenants[t].stats->wait);
	prom_family(f, "tenant_", "service_seconds", "histogram",
		    "Time from a request's first issue to its completion.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		prom_histogram(f, "tenant_", "service_seconds", "tenant", s->tenants[t].name,
			       &s->tenants[t].stats->service);
}
