// SPDX-License-Identifier: GPL-2.0-only
/*
 * metrics_device.c - what is told of devices and their engines, of nodes, and of the CPU time
 * that all of it took.
 */
#include <inttypes.h>
#include <stddef.h>

#include "metrics_snapshot.h"
#include "prom.h"

#define for_each_device(s, n, d)                        \
	for (unsigned int n = 0; n < (s)->n_nodes; n++) \
		for (unsigned int d = 0; d < (s)->nodes[n].n_devices; d++)

/* ------------------------------------------------------------------- devices */

/* accelmux_NAME{device="...",engine="..."} and, if @wq is a name, wq. */
static void engine_sample(FILE *f, const char *name, const struct device *dev, unsigned int e,
			  const char *wq)
{
	fprintf(f, "accelmux_engine_%s{device=\"", name);
	prom_label(f, dev->name);
	fprintf(f, "\",engine=\"%u\"", e);
	if (wq)
		fprintf(f, ",wq=\"%s\"", wq);
	fputs("} ", f);
}

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

	prom_family(f, "engine_", "up", "gauge", "1 while descriptors are put on it.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			engine_sample(f, "up", sd->dev, e, NULL);
			prom_count(f, sd->outages[e].health == ENGINE_UP);
		}
	}
	prom_family(f, "engine_", "drained", "gauge",
		    "1 while an operator keeps it out of use.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			engine_sample(f, "drained", sd->dev, e, NULL);
			prom_count(f, sd->use[e].drained);
		}
	}
	for (size_t c = 0; c < sizeof(losses) / sizeof(losses[0]); c++) {
		prom_family(f, "engine_", losses[c].name, "counter", losses[c].help);
		for_each_device(s, n, d)
		{
			const struct status_device *sd = &s->nodes[n].devices[d];

			for (unsigned int e = 0; e < sd->dev->engines; e++) {
				const char *so = (const char *)&sd->outages[e];

				engine_sample(f, losses[c].name, sd->dev, e, NULL);
				prom_count(f,
					   *(const uint64_t *)(const void *)(so +
									     losses[c].offset));
			}
		}
	}
	prom_family(
		f, "engine_", "status_total", "counter",
		"Descriptors answered with an error or a page fault, by the record's status.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			for (unsigned int i = 0; i < ENGINE_STATUSES; i++) {
				if (!sd->engines[e].status[i])
					continue;
				fputs("accelmux_engine_status_total{device=\"", f);
				prom_label(f, sd->dev->name);
				fprintf(f, "\",engine=\"%u\",status=\"0x%02x\"} ", e, i);
				prom_count(f, sd->engines[e].status[i]);
			}
		}
	}
}

void metrics_write_devices(FILE *f, const struct snapshot *s)
{
	for (size_t c = 0; c < sizeof(engine_counters) / sizeof(engine_counters[0]); c++) {
		prom_family(f, "engine_", engine_counters[c].name, "counter",
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
					prom_number(f, v[w], engine_counters[c].ns);
				}
			}
		}
	}
	write_outages(f, s);
	prom_family(f, "device_", "inflight_bytes", "gauge", "On the engines now.");
	for_each_device(s, n, d)
	{
		const struct status_device *sd = &s->nodes[n].devices[d];

		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			fputs("accelmux_device_inflight_bytes{device=\"", f);
			prom_label(f, sd->dev->name);
			fprintf(f, "\",class=\"%s\"} ",
				c == AMUX_CLASS_KERNEL ? "kernel" : "user");
			prom_count(f, sd->inflight_bytes[c]);
		}
	}
	prom_family(f, "device_", "engines", "gauge", "Engines of the device.");
	for_each_device(s, n, d)
	{
		prom_sample(f, "device_", "engines", "device",
			    s->nodes[n].devices[d].dev->name);
		prom_count(f, s->nodes[n].devices[d].dev->engines);
	}
	prom_family(f, "device_", "rate_bytes_per_second", "gauge",
		    "What all engines of the device reach together, modelled time included.");
	for_each_device(s, n, d)
	{
		prom_sample(f, "device_", "rate_bytes_per_second", "device",
			    s->nodes[n].devices[d].dev->name);
		prom_count(f, s->nodes[n].devices[d].dev->rate_bps);
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
	{ "policy_late_total", "Epochs for which a plug-in policy had no plan ready.",
	  offsetof(struct mux_stats, policy_late), false },
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

static void write_failures(FILE *f, const struct snapshot *s)
{
	prom_family(f, "", "policy_failures_total", "counter",
		    "Policies that were replaced, by what they did.");
	for (unsigned int i = 0; i < s->n_nodes; i++)
		for (unsigned int r = POLICY_NONE + 1; r < POLICY_FAILURES; r++)
			fprintf(f,
				"accelmux_policy_failures_total{node=\"%d\",reason=\"%s\"} "
				"%" PRIu64 "\n",
				s->nodes[i].node, report_failures[r],
				stat_read(&s->nodes[i].stats->policy_failures[r]));
	prom_family(f, "", "policy_load_failures_total", "counter",
		    "Plug-in policies that could not be loaded; what was in force stayed.");
	fputs("accelmux_policy_load_failures_total ", f);
	prom_count(f, broker_load_failures(s->b));
}

void metrics_write_nodes(FILE *f, const struct snapshot *s)
{
	char node[16];

	write_failures(f, s);

	for (size_t c = 0; c < sizeof(mux_counters) / sizeof(mux_counters[0]); c++) {
		prom_family(f, "", mux_counters[c].name, "counter", mux_counters[c].help);
		for (unsigned int i = 0; i < s->n_nodes; i++) {
			const char *field =
				(const char *)s->nodes[i].stats + mux_counters[c].offset;

			snprintf(node, sizeof(node), "%d", s->nodes[i].node);
			prom_sample(f, "", mux_counters[c].name, "node", node);
			prom_number(f, stat_read((const uint64_t *)(const void *)field),
				    mux_counters[c].ns);
		}
	}
	prom_family(
		f, "", "revocation_seconds", "histogram",
		"Time from the kernel class becoming active to borrowed work off the engines.");
	for (unsigned int i = 0; i < s->n_nodes; i++) {
		snprintf(node, sizeof(node), "%d", s->nodes[i].node);
		prom_histogram(f, "", "revocation_seconds", "node", node,
			       &s->nodes[i].stats->revoke);
	}
	prom_family(f, "", "policy_info", "gauge", "The policy in force.");
	for (unsigned int i = 0; i < s->n_nodes; i++) {
		fprintf(f, "accelmux_policy_info{node=\"%d\",policy=\"", s->nodes[i].node);
		prom_label(f, s->nodes[i].policy);
		fputs("\"} 1\n", f);
	}
	prom_family(
		f, "", "policy_reverted", "gauge",
		"1 while the policy in force is a replacement for one that erred or stalled.");
	for (unsigned int i = 0; i < s->n_nodes; i++)
		fprintf(f, "accelmux_policy_reverted{node=\"%d\"} %d\n", s->nodes[i].node,
			s->nodes[i].reverted[0] != '\0');
}

/* ------------------------------------------------------------------ CPU time */

void metrics_write_cpu(FILE *f, const struct snapshot *s)
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
	prom_family(
		f, "", "cpu_seconds_total", "counter",
		"CPU time by who burnt it: the mux threads (inline engines included), engine "
		"threads, the kernel side's own copying.");
	fputs("accelmux_cpu_seconds_total{component=\"mux\"} ", f);
	prom_seconds(f, mux);
	fputs("accelmux_cpu_seconds_total{component=\"engines\"} ", f);
	prom_seconds(f, engines);
	fputs("accelmux_cpu_seconds_total{component=\"kernel_copy\"} ", f);
	prom_seconds(f, copy);
	bytes = s->users.engine_bytes + s->kernel.engine_bytes + s->kernel.cpu_bytes;
	prom_family(f, "", "cpu_seconds_per_gigabyte", "gauge",
		    "All of that over the bytes it moved (in 10^9), since the start.");
	if (bytes)
		fprintf(f, "accelmux_cpu_seconds_per_gigabyte %.6g\n",
			(double)(mux + engines + copy) / (double)bytes);
}
