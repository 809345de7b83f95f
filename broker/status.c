// SPDX-License-Identifier: GPL-2.0-only
/*
 * status.c - what the broker shows of itself: see status.h.
 */
#include <stdio.h>
#include <string.h>

#include "../client/barrier.h"
#include "broker_state.h"
#include "replay.h"
#include "status.h"

const struct config *broker_config(struct broker *b)
{
	return &b->cfg;
}

uint64_t broker_start_ns(struct broker *b)
{
	return b->start_ns;
}

unsigned int broker_connections(struct broker *b)
{
	return b->host.n_conns;
}

uint64_t broker_rejected(struct broker *b)
{
	return b->host.rejected;
}

const struct refusal_counts *broker_refusals(struct broker *b)
{
	return &b->host.refusals;
}

unsigned int broker_closing(struct broker *b)
{
	return closer_pending(b->host.closer);
}

static void use_read(struct mux *m, unsigned int d, const struct amux_plan *plan,
		     struct status_device *sd)
{
	const struct sched_device *from = &m->sched.device[d];
	uint64_t drained = stat_read(&from->drained);

	for (unsigned int e = 0; e < m->device[d]->engines; e++) {
		struct status_use *use = &sd->use[e];

		use->drained = drained & (1ull << e);
		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			use->granted[c] =
				plan->share[d][c].engine_mask & ~drained & (1ull << e);
		use->inflight_bytes = stat_read(&from->engine[e].inflight_bytes);
		use->inflight = stat_read(&from->engine[e].inflight_chunks);
	}
}

unsigned int broker_node(struct broker *b, unsigned int i, struct status_node *out)
{
	struct mux *m;

	if (i >= b->n_nodes)
		return b->n_nodes;
	m = &b->mux[i];
	memset(out, 0, sizeof(*out));
	out->node = m->node;
	out->stats = &m->stats;
	out->users = &m->sched.users;
	plan_describe(&m->planner, out->policy, sizeof(out->policy), out->reverted,
		      sizeof(out->reverted));
	plan_read(&m->planner, &out->plan);
	out->n_devices = m->n_devices;
	for (unsigned int d = 0; d < m->n_devices; d++) {
		struct status_device *sd = &out->devices[d];
		struct device *dev = m->device[d];

		sd->dev = dev;
		sd->engine = dev->ops->name;
		for (unsigned int e = 0; e < dev->engines; e++) {
			const struct sched_engine *se = &m->sched.device[d].engine[e];
			struct status_outage *so = &sd->outages[e];

			dev->ops->read_stats(dev, e, &sd->engines[e]);
			so->health = (enum engine_health)amux_load_relaxed(&dev->health[e]);
			so->losses = stat_read(&se->losses);
			so->redone = stat_read(&se->redone);
			so->failed = stat_read(&se->failed);
		}
		use_read(m, d, &out->plan, sd);
		sd->inflight_bytes[AMUX_CLASS_USER] =
			stat_read(&m->sched.device[d].inflight_bytes);
		if (m->kernel) {
			struct grant_demand demand;

			grant_demand_read(m->kernel, &demand);
			sd->inflight_bytes[AMUX_CLASS_KERNEL] = demand.inflight_bytes[d];
		}
	}
	return b->n_nodes;
}

static void hist_sum(struct hist *to, const struct hist *from)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += stat_read(&from->bucket[i]);
	to->count += stat_read(&from->count);
	to->sum_ns += stat_read(&from->sum_ns);
}

/* struct flow_stats is u64 counters up to the two histograms at its end. */
static void flow_stats_sum(struct flow_stats *to, const struct flow_stats *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (size_t i = 0; i < offsetof(struct flow_stats, wait) / sizeof(*t); i++)
		t[i] += stat_read(&f[i]);
	hist_sum(&to->wait, &from->wait);
	hist_sum(&to->service, &from->service);
}

unsigned int broker_tenant(struct broker *b, unsigned int i, struct status_tenant *out)
{
	unsigned int n = 0;
	struct list *pos;

	list_for_each(pos, &b->host.tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		if (n++ != i)
			continue;
		memset(&b->scratch, 0, sizeof(b->scratch));
		memset(out, 0, sizeof(*out));
		for (unsigned int node = 0; node < b->n_nodes; node++) {
			flow_stats_sum(&b->scratch, &t->node[node].stats);
			out->queued_bytes += stat_read(&t->node[node].queued_bytes);
		}
		out->id = t->id;
		out->name = t->name;
		out->weight = t->weight;
		out->reserve_bps = t->reserve_bps;
		out->limit_bps = t->limit_bps;
		out->connections = t->connections;
		out->queues = t->queues;
		out->regions = t->regions;
		out->region_bytes = t->region_bytes;
		out->evictions = t->evictions;
		out->queue_bytes = t->queue_bytes;
		out->caps = &t->caps;
		out->refusals = &t->refusals;
		out->stats = &b->scratch;
	}
	return n;
}

const struct grant_page *broker_kernel(struct broker *b, const char **source)
{
	*source = b->grant_map ? b->cfg.kernel : "none";
	return b->grant_map ? &b->grant : NULL;
}

uint64_t broker_kernel_mismatches(struct broker *b)
{
	return b->replay ? replay_mismatches(b->replay) : 0;
}

const char *broker_kernel_trace(struct broker *b)
{
	return b->replay ? replay_provenance(b->replay) : "";
}

const struct amux_policy_ops *broker_policy(struct broker *b, const uint64_t **values)
{
	*values = b->values;
	return b->policy;
}

const char *broker_plugin(struct broker *b, pid_t *pid)
{
	*pid = b->plugin ? plugin_pid(b->plugin) : 0;
	return b->plugin ? plugin_path(b->plugin) : NULL;
}

uint64_t broker_load_failures(struct broker *b)
{
	return b->load_failures;
}
