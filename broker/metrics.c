// SPDX-License-Identifier: GPL-2.0-only
/*
 * metrics.c - one snapshot per scrape, then family after family: the text format wants all
 * samples of a name together.
 */
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "report.h"

struct base {
	uint32_t id;
	uint64_t bytes;
};

struct metrics {
	/* What tenants had moved when the fairness window began; sorted by id. */
	struct base *base;
	unsigned int n_base;
	uint64_t base_ns;
	double jain; /* of the last whole window */
};

struct snapshot {
	struct broker *b;
	const struct config *cfg;
	uint64_t now;
	struct status_node *nodes;
	unsigned int n_nodes;
	struct status_tenant *tenants;
	struct flow_stats *flows; /* what tenants[i].stats points to */
	unsigned int n_tenants;
	struct flow_stats users;
	struct report_kernel kernel;
};

int metrics_open(struct metrics **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->jain = 1;
	return 0;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	free(m->base);
	free(m); /* metrics_open() */
}

/* ---------------------------------------------------------------------- text */

static void family(FILE *f, const char *prefix, const char *name, const char *type,
		   const char *help)
{
	fprintf(f, "# HELP accelmux_%s%s %s\n# TYPE accelmux_%s%s %s\n", prefix, name, help,
		prefix, name, type);
}

/* A label's value; bytes that might not be UTF-8 would cost the whole scrape. */
static void label(FILE *f, const char *s)
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

static void count(FILE *f, uint64_t v)
{
	fprintf(f, "%llu\n", (unsigned long long)v);
}

static void seconds(FILE *f, uint64_t ns)
{
	fprintf(f, "%llu.%09llu\n", (unsigned long long)(ns / NSEC_PER_SEC),
		(unsigned long long)(ns % NSEC_PER_SEC));
}

/* accelmux_PREFIXNAME{KEY="VALUE"} without the number. */
static void sample(FILE *f, const char *prefix, const char *name, const char *key,
		   const char *value)
{
	fprintf(f, "accelmux_%s%s{%s=\"", prefix, name, key);
	label(f, value);
	fputs("\"} ", f);
}

/*
 * The fine buckets as 12 of a factor of 4, 1.024 us to 4.3 s: every edge is one of the fine
 * edges, so that nothing is interpolated.  The count is the sum of the buckets as read.
 */
static void histogram(FILE *f, const char *prefix, const char *name, const char *key,
		      const char *value, const struct hist *h)
{
	uint64_t sum = 0;
	unsigned int i = 0;

	for (unsigned int octave = 3; octave <= 25; octave += 2) {
		for (; i < 4 * octave; i++)
			sum += stat_read(&h->bucket[i]);
		fprintf(f, "accelmux_%s%s_bucket{%s=\"", prefix, name, key);
		label(f, value);
		fprintf(f, "\",le=\"%.10g\"} %llu\n", (double)hist_edge(4 * octave) / 1e9,
			(unsigned long long)sum);
	}
	for (; i < HIST_BUCKETS; i++)
		sum += stat_read(&h->bucket[i]);
	fprintf(f, "accelmux_%s%s_bucket{%s=\"", prefix, name, key);
	label(f, value);
	fprintf(f, "\",le=\"+Inf\"} %llu\naccelmux_%s%s_sum{%s=\"", (unsigned long long)sum,
		prefix, name, key);
	label(f, value);
	fputs("\"} ", f);
	seconds(f, stat_read(&h->sum_ns));
	fprintf(f, "accelmux_%s%s_count{%s=\"", prefix, name, key);
	label(f, value);
	fprintf(f, "\"} %llu\n", (unsigned long long)sum);
}

/* --------------------------------------------------------- classes and tenants */

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

static void number(FILE *f, uint64_t v, bool ns)
{
	if (ns)
		seconds(f, v);
	else
		count(f, v);
}

static void ratio(FILE *f, const char *prefix, const char *name, const char *key,
		  const char *value, uint64_t a, uint64_t b)
{
	if (!b)
		return; /* nothing completed yet: no sample rather than a made-up one */
	sample(f, prefix, name, key, value);
	fprintf(f, "%.6g\n", (double)a / (double)b);
}

static void flow_declines(FILE *f, const char *prefix, const char *key, const char *value,
			  const struct flow_stats *flow)
{
	for (unsigned int r = 0; r < DECLINE_REASONS; r++) {
		fprintf(f, "accelmux_%sdeclines_total{%s=\"", prefix, key);
		label(f, value);
		fprintf(f, "\",reason=\"%s\"} ", report_declines[r]);
		count(f, stat_read(&flow->declined[r]));
	}
}

static void write_classes(FILE *f, const struct snapshot *s)
{
	const struct report_kernel *k = s->kernel.present ? &s->kernel : NULL;
	const struct flow_stats *u = &s->users;

	for (unsigned int i = 0; i < N_COUNTERS; i++) {
		family(f, "class_", counters[i].name, "counter", counters[i].help);
		if (k && counters[i].kernel != NOT_KNOWN) {
			const char *field = (const char *)k + counters[i].kernel;

			sample(f, "class_", counters[i].name, "class", "kernel");
			number(f, *(const uint64_t *)(const void *)field, counters[i].ns);
		}
		sample(f, "class_", counters[i].name, "class", "user");
		number(f, flow_word(u, counters[i].flow), counters[i].ns);
	}
	family(f, "class_", "lent_bytes_total", "counter",
	       "Bytes that other classes issued on what this class left unused.");
	if (k) {
		sample(f, "class_", "lent_bytes_total", "class", "kernel");
		count(f, u->borrowed_bytes);
	}
	family(f, "class_", "declines_total", "counter",
	       "Requests sent back to the client's own CPU, by reason.");
	flow_declines(f, "class_", "class", "user", u);
	family(f, "class_", "slowdown_alone_ratio", "gauge",
	       "Actual time over that predicted for an idle device, since the start.");
	if (k)
		ratio(f, "class_", "slowdown_alone_ratio", "class", "kernel", k->batch_ns,
		      k->alone_ns);
	ratio(f, "class_", "slowdown_alone_ratio", "class", "user", u->actual_ns, u->alone_ns);
	family(f, "class_", "slowdown_cpu_ratio", "gauge",
	       "Actual time over that predicted for the client's own CPU, since the start.");
	if (k)
		ratio(f, "class_", "slowdown_cpu_ratio", "class", "kernel", k->batch_ns,
		      k->cpu_ns);
	ratio(f, "class_", "slowdown_cpu_ratio", "class", "user", u->actual_ns, u->cpu_ns);
	family(f, "class_", "wait_seconds", "histogram",
	       "Time from a request's arrival to its first issue.");
	if (k)
		histogram(f, "class_", "wait_seconds", "class", "kernel", &k->wait);
	histogram(f, "class_", "wait_seconds", "class", "user", &u->wait);
	family(f, "class_", "service_seconds", "histogram",
	       "Time from a request's first issue to its completion.");
	histogram(f, "class_", "service_seconds", "class", "user", &u->service);
}

static void write_kernel(FILE *f, const struct snapshot *s)
{
	const struct report_kernel *k = &s->kernel;

	family(f, "kernel_", "info", "gauge", "Where the kernel class comes from.");
	fputs("accelmux_kernel_info{source=\"", f);
	label(f, k->source);
	if (*k->trace)
		fprintf(f, "\",trace=\"%s", k->trace);
	fputs("\"} ", f);
	count(f, 1);
	if (!k->present)
		return;
	family(f, "kernel_", "engine_batches_total", "counter",
	       "Batches of which at least one page went by engine.");
	fputs("accelmux_kernel_engine_batches_total ", f);
	count(f, k->engine_batches);
	family(f, "kernel_", "batches_total", "counter", "Batches by why the pages moved.");
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++) {
		sample(f, "kernel_", "batches_total", "reason", report_reasons[i]);
		count(f, k->reason_batches[i]);
	}
	family(f, "kernel_", "declined_pages_total", "counter",
	       "Pages left to the CPU, by reason.");
	for (unsigned int i = 0; i < AMUX_DECLINE_COUNT; i++) {
		sample(f, "kernel_", "declined_pages_total", "reason",
		       report_kernel_declines[i]);
		count(f, k->declined_pages[i]);
	}
	family(f, "kernel_", "batch_seconds", "histogram",
	       "Time from a batch's arrival to its last page.");
	histogram(f, "kernel_", "batch_seconds", "class", "kernel", &k->batch);
	family(f, "kernel_", "errors_total", "counter",
	       "Descriptors that engines answered with an error.");
	fputs("accelmux_kernel_errors_total ", f);
	count(f, k->errors);
	family(f, "kernel_", "mismatches_total", "counter",
	       "Pages that differed after their copy; must be 0.");
	fputs("accelmux_kernel_mismatches_total ", f);
	count(f, k->mismatches);
	family(f, "", "grant_age_seconds", "gauge",
	       "Time since the grant to the kernel class was last written.");
	fputs("accelmux_grant_age_seconds ", f);
	seconds(f, k->grant_age_ns);
	family(f, "", "grant_enabled", "gauge", "1 while the kernel class may use engines.");
	fputs("accelmux_grant_enabled ", f);
	count(f, k->enabled);
}

/* Gauges of tenants, from struct status_tenant. */
static void tenant_gauge(FILE *f, const struct snapshot *s, const char *name, const char *help,
			 uint64_t (*get)(const struct status_tenant *t))
{
	family(f, "tenant_", name, "gauge", help);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		sample(f, "tenant_", name, "tenant", s->tenants[i].name);
		count(f, get(&s->tenants[i]));
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

static void write_tenants(FILE *f, const struct snapshot *s)
{
	tenant_gauge(f, s, "weight", "Share among tenants that have work.", get_weight);
	tenant_gauge(f, s, "connections", "Connections now.", get_connections);
	tenant_gauge(f, s, "queues", "Queues now.", get_queues);
	tenant_gauge(f, s, "memory_bytes", "Registered memory now.", get_memory);
	tenant_gauge(f, s, "queued_bytes", "Waiting, not yet on an engine.", get_queued);
	for (unsigned int i = 0; i < N_COUNTERS; i++) {
		family(f, "tenant_", counters[i].name, "counter", counters[i].help);
		for (unsigned int t = 0; t < s->n_tenants; t++) {
			sample(f, "tenant_", counters[i].name, "tenant", s->tenants[t].name);
			number(f, flow_word(s->tenants[t].stats, counters[i].flow),
			       counters[i].ns);
		}
	}
	family(f, "tenant_", "engine_cpu_seconds_total", "counter",
	       "CPU time that software engines spent for the tenant.");
	for (unsigned int t = 0; t < s->n_tenants; t++) {
		sample(f, "tenant_", "engine_cpu_seconds_total", "tenant", s->tenants[t].name);
		seconds(f, stat_read(&s->tenants[t].stats->engine_cpu_ns));
	}
	family(f, "tenant_", "declines_total", "counter",
	       "Requests sent back to the client's own CPU, by reason.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		flow_declines(f, "tenant_", "tenant", s->tenants[t].name, s->tenants[t].stats);
	family(f, "tenant_", "slowdown_alone_ratio", "gauge",
	       "Actual time over that predicted for an idle device, since the start.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		ratio(f, "tenant_", "slowdown_alone_ratio", "tenant", s->tenants[t].name,
		      stat_read(&s->tenants[t].stats->actual_ns),
		      stat_read(&s->tenants[t].stats->alone_ns));
	family(f, "tenant_", "slowdown_cpu_ratio", "gauge",
	       "Actual time over that predicted for the client's own CPU, since the start.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		ratio(f, "tenant_", "slowdown_cpu_ratio", "tenant", s->tenants[t].name,
		      stat_read(&s->tenants[t].stats->actual_ns),
		      stat_read(&s->tenants[t].stats->cpu_ns));
	family(f, "tenant_", "wait_seconds", "histogram",
	       "Time from a request's arrival to its first issue.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		histogram(f, "tenant_", "wait_seconds", "tenant", s->tenants[t].name,
			  &s->tenants[t].stats->wait);
	family(f, "tenant_", "service_seconds", "histogram",
	       "Time from a request's first issue to its completion.");
	for (unsigned int t = 0; t < s->n_tenants; t++)
		histogram(f, "tenant_", "service_seconds", "tenant", s->tenants[t].name,
			  &s->tenants[t].stats->service);
}

/* ------------------------------------------------------------------- devices */

/* accelmux_NAME{device="...",engine="..."} and, if @wq is a name, wq. */
static void engine_sample(FILE *f, const char *name, const struct device *dev, unsigned int e,
			  const char *wq)
{
	fprintf(f, "accelmux_engine_%s{device=\"", name);
	label(f, dev->name);
	fprintf(f, "\",engine=\"%u\"", e);
	if (wq)
		fprintf(f, ",wq=\"%s\"", wq);
	fputs("} ", f);
}

#define for_each_device(s, n, d)                        \
	for (unsigned int n = 0; n < (s)->n_nodes; n++) \
		for (unsigned int d = 0; d < (s)->nodes[n].n_devices; d++)

/* Counters per engine, or per engine and WQ: offsets into struct engine_stats. */
static const struct {
	const char *name, *help;
	size_t offset;
	bool per_wq, ns;
} engine_counters[] = {
	{ "bytes_total", "Bytes copied.", offsetof(struct engine_stats, bytes), true, false },
	{ "descriptors_total", "Descriptors completed.",
	  offsetof(struct engine_stats, descriptors), true, false },
	{ "wq_full_total", "Submissions refused because the work queue was full.",
	  offsetof(struct engine_stats, full), true, false },
	{ "busy_seconds_total", "Time with a descriptor in service; its rate is utilisation.",
	  offsetof(struct engine_stats, busy_ns), false, true },
	{ "partial_total", "Descriptors completed in part, because of a page fault.",
	  offsetof(struct engine_stats, partial), false, false },
	{ "errors_total", "Descriptors answered with an error.",
	  offsetof(struct engine_stats, errors), false, false },
	{ "cpu_seconds_total", "CPU time burnt by a software engine.",
	  offsetof(struct engine_stats, cpu_ns), false, true },
};

/* Of engines that can be lost, and whose devices tell statuses. */
static void write_outages(FILE *f, const struct snapshot *s)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} losses[] = {
		{ "losses_total", "Times that the engine was lost.",
		  offsetof(struct status_outage, losses) },
		{ "redone_total", "Descriptors that a CPU did because their engine was lost.",
		  offsetof(struct status_outage, redone) },
		{ "lost_total", "Descriptors that failed because their engine was lost.",
		  offsetof(struct status_outage, failed) },
	};

	family(f, "engine_", "up", "gauge", "1 while descriptors are put on it.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			engine_sample(f, "up", sd->dev, e, NULL);
			count(f, sd->outages[e].health == ENGINE_UP);
		}
	}
	for (size_t c = 0; c < sizeof(losses) / sizeof(losses[0]); c++) {
		family(f, "engine_", losses[c].name, "counter", losses[c].help);
		for_each_device(s, n, d)
		{
			const struct status_device *sd = &s->nodes[n].devices[d];

			for (unsigned int e = 0; e < sd->dev->engines; e++) {
				const char *so = (const char *)&sd->outages[e];

				engine_sample(f, losses[c].name, sd->dev, e, NULL);
				count(f,
				      *(const uint64_t *)(const void *)(so + losses[c].offset));
			}
		}
	}
	family(f, "engine_", "status_total", "counter",
	       "Descriptors answered with an error or a page fault, by the record's status.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			for (unsigned int i = 0; i < ENGINE_STATUSES; i++) {
				if (!sd->engines[e].status[i])
					continue;
				fputs("accelmux_engine_status_total{device=\"", f);
				label(f, sd->dev->name);
				fprintf(f, "\",engine=\"%u\",status=\"0x%02x\"} ", e, i);
				count(f, sd->engines[e].status[i]);
			}
		}
	}
}

static void write_devices(FILE *f, const struct snapshot *s)
{
	for (size_t c = 0; c < sizeof(engine_counters) / sizeof(engine_counters[0]); c++) {
		family(f, "engine_", engine_counters[c].name, "counter",
		       engine_counters[c].help);
		for_each_device(s, n, d)
		{
			const struct status_device *sd = &s->nodes[n].devices[d];

			for (unsigned int e = 0; e < sd->dev->engines; e++) {
				const uint64_t *v =
					(const uint64_t *)(const void *)((const char *)&sd
										 ->engines[e] +
									 engine_counters[c]
										 .offset);
				unsigned int wqs = engine_counters[c].per_wq ? ENGINE_WQS : 1;

				for (unsigned int w = wqs > 1 && sd->dev->caps & DEVICE_CAP_USER
							      ? ENGINE_WQ_USER
							      : 0;
				     w < wqs; w++) {
					engine_sample(f, engine_counters[c].name, sd->dev, e,
						      wqs > 1 ? report_wqs[w] : NULL);
					number(f, v[w], engine_counters[c].ns);
				}
			}
		}
	}
	write_outages(f, s);
	family(f, "device_", "inflight_bytes", "gauge", "On the engines now.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			fputs("accelmux_device_inflight_bytes{device=\"", f);
			label(f, sd->dev->name);
			fprintf(f, "\",class=\"%s\"} ",
				c == AMUX_CLASS_KERNEL ? "kernel" : "user");
			count(f, sd->inflight_bytes[c]);
		}
	}
	family(f, "device_", "engines", "gauge", "Engines of the device.");
	for_each_device(s, n, d)
	{
		sample(f, "device_", "engines", "device", s->nodes[n].devices[d].dev->name);
		count(f, s->nodes[n].devices[d].dev->engines);
	}
	family(f, "device_", "rate_bytes_per_second", "gauge",
	       "What all engines of the device reach together, modelled time included.");
	for_each_device(s, n, d)
	{
		sample(f, "device_", "rate_bytes_per_second", "device",
		       s->nodes[n].devices[d].dev->name);
		count(f, s->nodes[n].devices[d].dev->rate_bps);
	}
}

/* ------------------------------------------------------------- nodes, policy */

/* Counters of struct mux_stats, per node. */
static const struct {
	const char *name, *help;
	size_t offset;
	bool ns;
} mux_counters[] = {
	{ "policy_switches_total", "Policies that took effect.",
	  offsetof(struct mux_stats, policy_switches), false },
	{ "policy_reverts_total", "Policies replaced because they erred or stalled.",
	  offsetof(struct mux_stats, policy_reverts), false },
	{ "plan_clamps_total", "Fields of plans that had to be corrected.",
	  offsetof(struct mux_stats, plan_clamps), false },
	{ "plan_epochs_total", "Plans applied.", offsetof(struct mux_stats, epochs), false },
	{ "plan_seconds_total", "Time spent planning.", offsetof(struct mux_stats, plan_ns),
	  true },
	{ "revocations_total", "Times the kernel class wanted back what users had borrowed.",
	  offsetof(struct mux_stats, revocations), false },
	{ "mux_loops_total", "Rounds of the mux thread.", offsetof(struct mux_stats, loops),
	  false },
	{ "mux_sleeps_total", "Times the mux thread went to sleep.",
	  offsetof(struct mux_stats, sleeps), false },
};

static void write_nodes(FILE *f, const struct snapshot *s)
{
	char node[16];

	for (size_t c = 0; c < sizeof(mux_counters) / sizeof(mux_counters[0]); c++) {
		family(f, "", mux_counters[c].name, "counter", mux_counters[c].help);
		for (unsigned int i = 0; i < s->n_nodes; i++) {
			const char *field =
				(const char *)s->nodes[i].stats + mux_counters[c].offset;

			snprintf(node, sizeof(node), "%d", s->nodes[i].node);
			sample(f, "", mux_counters[c].name, "node", node);
			number(f, stat_read((const uint64_t *)(const void *)field),
			       mux_counters[c].ns);
		}
	}
	family(f, "", "revocation_seconds", "histogram",
	       "Time from the kernel class becoming active to borrowed work off the engines.");
	for (unsigned int i = 0; i < s->n_nodes; i++) {
		snprintf(node, sizeof(node), "%d", s->nodes[i].node);
		histogram(f, "", "revocation_seconds", "node", node,
			  &s->nodes[i].stats->revoke);
	}
	family(f, "", "policy_info", "gauge", "The policy in force.");
	for (unsigned int i = 0; i < s->n_nodes; i++) {
		fprintf(f, "accelmux_policy_info{node=\"%d\",policy=\"", s->nodes[i].node);
		label(f, s->nodes[i].policy);
		fputs("\"} 1\n", f);
	}
	family(f, "", "policy_reverted", "gauge",
	       "1 while the policy in force is a replacement for one that erred or stalled.");
	for (unsigned int i = 0; i < s->n_nodes; i++)
		fprintf(f, "accelmux_policy_reverted{node=\"%d\"} %d\n", s->nodes[i].node,
			s->nodes[i].reverted[0] != '\0');
}

/* ------------------------------------------------------------------ CPU time */

static void write_cpu(FILE *f, const struct snapshot *s)
{
	uint64_t mux = 0, engines = 0, copy = s->kernel.cpu_time_ns, bytes;

	for (unsigned int i = 0; i < s->n_nodes; i++)
		mux += stat_read(&s->nodes[i].stats->cpu_ns);
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		/* Inline engines burn the mux thread's time, which is counted already. */
		if (sd->dev->caps & DEVICE_CAP_BLOCKING)
			continue;
		for (unsigned int e = 0; e < sd->dev->engines; e++)
			engines += sd->engines[e].cpu_ns;
	}
	family(f, "", "cpu_seconds_total", "counter",
	       "CPU time by who burnt it: the mux threads (inline engines included), engine "
	       "threads, the kernel side's own copying.");
	fputs("accelmux_cpu_seconds_total{component=\"mux\"} ", f);
	seconds(f, mux);
	fputs("accelmux_cpu_seconds_total{component=\"engines\"} ", f);
	seconds(f, engines);
	fputs("accelmux_cpu_seconds_total{component=\"kernel_copy\"} ", f);
	seconds(f, copy);
	bytes = s->users.engine_bytes + s->kernel.engine_bytes + s->kernel.cpu_bytes;
	family(f, "", "cpu_seconds_per_gigabyte", "gauge",
	       "All of that over the bytes it moved (in 10^9), since the start.");
	if (bytes)
		fprintf(f, "accelmux_cpu_seconds_per_gigabyte %.6g\n",
			(double)(mux + engines + copy) / (double)bytes);
}

/* ------------------------------------------------------------------ fairness */

static int base_cmp(const void *a, const void *b)
{
	const struct base *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Bytes of tenant @t within the window; one that is new moved everything in it. */
static uint64_t moved(const struct metrics *m, const struct status_tenant *t)
{
	struct base key = { .id = t->id };
	const struct base *base = NULL;

	if (m->n_base)
		base = bsearch(&key, m->base, m->n_base, sizeof(key), base_cmp);
	return stat_read(&t->stats->engine_bytes) - (base ? base->bytes : 0);
}

/*
 * Jain's index (sum x)^2 / (n sum x^2) of x = engine bytes / weight, over the tenants that
 * moved bytes in the window or have bytes waiting at its end.
 */
static double jain(const struct metrics *m, const struct snapshot *s)
{
	double sum = 0, squares = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n_tenants; i++) {
		const struct status_tenant *t = &s->tenants[i];
		double x = (double)moved(m, t) / (double)(t->weight ? t->weight : 1);

		if (x <= 0 && !t->queued_bytes)
			continue;
		n++;
		sum += x;
		squares += x * x;
	}
	return squares > 0 ? sum * sum / (n * squares) : 1;
}

/* Close the window if it is long enough, and begin the next.  -ENOMEM. */
static int fairness(struct metrics *m, const struct snapshot *s)
{
	struct base *base;

	/* The first window begins with the broker, and ends with the first scrape. */
	if (m->base_ns && s->now - m->base_ns < METRICS_WINDOW_NS)
		return 0;
	base = calloc(s->n_tenants + 1, sizeof(*base));
	if (!base)
		return -ENOMEM;
	m->jain = jain(m, s);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		base[i].id = s->tenants[i].id;
		base[i].bytes = stat_read(&s->tenants[i].stats->engine_bytes);
	}
	qsort(base, s->n_tenants, sizeof(*base), base_cmp);
	free(m->base);
	m->base = base;
	m->n_base = s->n_tenants;
	m->base_ns = s->now;
	return 0;
}

/* ---------------------------------------------------------------- everything */

static void write_broker(FILE *f, const struct metrics *m, const struct snapshot *s)
{
	family(f, "", "build_info", "gauge", "The broker's version.");
	fprintf(f, "accelmux_build_info{version=\"%s\"} 1\n", AMUX_VERSION);
	family(f, "", "uptime_seconds", "gauge", "Time since the broker started.");
	fputs("accelmux_uptime_seconds ", f);
	seconds(f, s->now - broker_start_ns(s->b));
	family(f, "", "time_scale_ratio", "gauge",
	       "How many times slower than real modelled devices run; 1: nothing is modelled.");
	fputs("accelmux_time_scale_ratio ", f);
	count(f, config_time_scale(s->cfg));
	family(f, "", "connections", "gauge", "Client connections now.");
	fputs("accelmux_connections ", f);
	count(f, broker_connections(s->b));
	family(f, "", "rejected_total", "counter", "Connections and requests refused.");
	fputs("accelmux_rejected_total ", f);
	count(f, broker_rejected(s->b));
	family(f, "", "fairness_jain_ratio", "gauge",
	       "Jain's index of engine bytes by weight over the active tenants of the last "
	       "window; 1 is fair.");
	fprintf(f, "accelmux_fairness_jain_ratio %.6f\n", m->jain);
}

static int snapshot_take(struct snapshot *s, struct broker *b)
{
	struct status_node node;
	struct status_tenant tenant;

	memset(s, 0, sizeof(*s));
	s->b = b;
	s->cfg = broker_config(b);
	s->now = clock_ns();
	s->n_nodes = broker_node(b, UINT32_MAX, &node);
	s->n_tenants = broker_tenant(b, UINT32_MAX, &tenant);
	s->nodes = calloc(s->n_nodes + 1, sizeof(*s->nodes));
	s->tenants = calloc(s->n_tenants + 1, sizeof(*s->tenants));
	s->flows = calloc(s->n_tenants + 1, sizeof(*s->flows));
	if (!s->nodes || !s->tenants || !s->flows)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_nodes; i++)
		broker_node(b, i, &s->nodes[i]);
	for (unsigned int i = 0; i < s->n_tenants; i++) {
		broker_tenant(b, i, &s->tenants[i]);
		s->flows[i] = *s->tenants[i].stats; /* the next call reuses it */
		s->tenants[i].stats = &s->flows[i];
	}
	report_users(b, &s->users);
	report_kernel(b, &s->kernel);
	return 0;
}

static void snapshot_drop(struct snapshot *s)
{
	free(s->nodes);
	free(s->tenants);
	free(s->flows);
}

char *metrics_text(struct metrics *m, struct broker *b, size_t *len)
{
	char *text = NULL;
	struct snapshot s;
	FILE *f;
	int bad;

	f = open_memstream(&text, len);
	if (!f)
		return NULL;
	bad = snapshot_take(&s, b) || fairness(m, &s);
	if (!bad) {
		write_broker(f, m, &s);
		write_classes(f, &s);
		write_kernel(f, &s);
		write_tenants(f, &s);
		write_devices(f, &s);
		write_nodes(f, &s);
		write_cpu(f, &s);
		bad = ferror(f);
	}
	snapshot_drop(&s);
	if (fclose(f) || bad) {
		free(text);
		return NULL;
	}
	return text;
}
