// SPDX-License-Identifier: GPL-2.0-only
/*
 * report.c - documents are built by json_pack(), which yields NULL if any part of them is
 * NULL and frees the others: one check at the end is enough.
 */
#include "report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../client/abi.h"
#include "clock.h"
#include "report_json.h"

#define PAGE_BYTES 4096

const char *const report_declines[DECLINE_REASONS] = {
	[DECLINE_POLICY] = "policy",	   [DECLINE_PREDICTED] = "predicted",
	[DECLINE_NO_ENGINE] = "no_engine", [DECLINE_ORDER] = "order",
	[DECLINE_ASKED] = "asked",
};

const char *const report_kernel_declines[AMUX_DECLINE_COUNT] = {
	[AMUX_DECLINE_NO_GRANT] = "no_grant",	[AMUX_DECLINE_BELOW_MIN] = "below_min",
	[AMUX_DECLINE_REASON] = "reason",	[AMUX_DECLINE_PACED] = "paced",
	[AMUX_DECLINE_PREDICTED] = "predicted", [AMUX_DECLINE_SEQ_BUSY] = "seq_busy",
	[AMUX_DECLINE_ERROR] = "error",		[AMUX_DECLINE_TIMEOUT] = "timeout",
};

const char *const report_reasons[AMUX_REASON_COUNT] = {
	[AMUX_REASON_COMPACTION] = "compaction",
	[AMUX_REASON_MEMORY_FAILURE] = "memory_failure",
	[AMUX_REASON_MEMORY_HOTPLUG] = "memory_hotplug",
	[AMUX_REASON_SYSCALL] = "syscall",
	[AMUX_REASON_MBIND] = "mbind",
	[AMUX_REASON_NUMA_MISPLACED] = "numa_misplaced",
	[AMUX_REASON_CONTIG_RANGE] = "contig_range",
	[AMUX_REASON_LONGTERM_PIN] = "longterm_pin",
	[AMUX_REASON_DEMOTION] = "demotion",
	[AMUX_REASON_DAMON] = "damon",
};

const char *const report_failures[POLICY_FAILURES] = {
	[POLICY_NONE] = "none", [POLICY_ERROR] = "error",     [POLICY_ABI] = "abi",
	[POLICY_SLOW] = "slow", [POLICY_STALLED] = "stalled", [POLICY_CRASHED] = "crashed",
	[POLICY_LOAD] = "load",
};

static const char *const class_names[AMUX_CLASSES] = {
	[AMUX_CLASS_KERNEL] = "kernel",
	[AMUX_CLASS_USER] = "user",
};

static const char *const unit_names[] = {
	[AMUX_UNIT_COUNT] = "count",	 [AMUX_UNIT_BYTES] = "bytes",
	[AMUX_UNIT_BPS] = "bps",	 [AMUX_UNIT_NS] = "ns",
	[AMUX_UNIT_PERCENT] = "percent", [AMUX_UNIT_PAGES] = "pages",
};

static const char *const decline_modes[] = {
	[AMUX_DECLINE_NEVER] = "never",
	[AMUX_DECLINE_PREDICT] = "predict",
	[AMUX_DECLINE_ALWAYS] = "always",
};

/* ----------------------------------------------------------------- snapshots */

static uint64_t word(const __u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void read_hist(struct hist *h, const __u64 *bucket, uint64_t sum_ns)
{
	h->count = 0;
	h->sum_ns = sum_ns;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		h->bucket[i] = word(&bucket[i]);
		h->count += h->bucket[i];
	}
}

void report_kernel(struct broker *b, struct report_kernel *out)
{
	const struct grant_page *page = broker_kernel(b, &out->source);
	const char *source = out->source;
	const struct amux_demand *d;
	uint64_t written, now = clock_ns();

	_Static_assert(AMUX_GRANT_HIST == HIST_BUCKETS, "one kind of histogram");
	memset(out, 0, sizeof(*out));
	out->source = source;
	out->trace = broker_kernel_trace(b);
	if (!page)
		return;
	d = page->demand;
	out->present = true;
	out->enabled =
		__atomic_load_n(&page->grant->flags, __ATOMIC_RELAXED) & AMUX_GRANT_ENABLED;
	written = word(&page->grant->written_ns);
	out->grant_age_ns = now > written ? now - written : 0;
	out->mismatches = broker_kernel_mismatches(b);
	out->arrived_bytes = word(&d->arrived_bytes);
	out->finished_bytes = word(&d->finished_bytes);
	out->engine_bytes = word(&d->engine_bytes);
	out->cpu_bytes = word(&d->cpu_bytes);
	out->batches = word(&d->batches);
	out->engine_batches = word(&d->engine_batches);
	out->batch_ns = word(&d->batch_ns);
	out->alone_ns = word(&d->alone_ns);
	out->cpu_ns = word(&d->cpu_ns);
	out->cpu_time_ns = word(&d->cpu_time_ns);
	for (unsigned int i = 0; i < AMUX_GRANT_DEVS; i++) {
		out->descriptors += word(&d->dev[i].descriptors);
		out->errors += word(&d->dev[i].errors);
	}
	for (unsigned int i = 0; i < AMUX_DECLINE_COUNT; i++)
		out->declined_pages[i] = word(&d->declined_pages[i]);
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++)
		out->reason_batches[i] = word(&d->reason_batches[i]);
	read_hist(&out->wait, d->wait_hist, word(&d->wait_ns));
	read_hist(&out->batch, d->batch_hist, out->batch_ns);
}

void report_users(struct broker *b, struct flow_stats *out)
{
	struct status_node node;
	unsigned int n = broker_node(b, UINT32_MAX, &node);
	uint64_t *sum = (uint64_t *)out;

	/* Nothing but u64 counters, whatever will be added: summed as an array of them. */
	_Static_assert(sizeof(*out) % sizeof(*sum) == 0, "flow_stats holds u64 alone");
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < n; i++) {
		const uint64_t *part;

		broker_node(b, i, &node);
		part = (const uint64_t *)node.users;
		for (size_t w = 0; w < sizeof(*out) / sizeof(*sum); w++)
			sum[w] += stat_read(&part[w]);
	}
}

/* -------------------------------------------------------------------- pieces */

static json_int_t counter(const uint64_t *p)
{
	return num(stat_read(p));
}

/* A number, or null for "no limit". */
static json_t *limit(uint64_t v)
{
	return v == UINT64_MAX ? json_null() : json_integer(num(v));
}

/* A name or path from outside, which need not be UTF-8: what is not ASCII becomes '?' then. */
static json_t *text(const char *s)
{
	json_t *json = json_string(s);
	char clean[512];

	if (json)
		return json;
	snprintf(clean, sizeof(clean), "%s", s);
	for (char *p = clean; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(clean);
}

/* [[upper edge in ns, count], ...] of the buckets that hold something: two of them subtracted
 * tell what happened in between. */
static json_t *buckets_json(const struct hist *h)
{
	json_t *a = json_array();

	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = stat_read(&h->bucket[i]);

		if (n)
			a = append(a, json_pack("[I, I]", num(hist_edge(i + 1)), num(n)));
	}
	return a;
}

static json_t *hist_json(const struct hist *h)
{
	uint64_t count = stat_read(&h->count), sum = stat_read(&h->sum_ns);

	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "count", num(count), "mean_ns",
			 num(count ? sum / count : 0), "p50_ns",
			 num(hist_quantile(h->bucket, NULL, 500)), "p99_ns",
			 num(hist_quantile(h->bucket, NULL, 990)), "buckets", buckets_json(h));
}

/* {"name": counter, ...} */
static json_t *counts_json(const char *const *names, const uint64_t *values, unsigned int n)
{
	json_t *o = json_object();

	for (unsigned int i = 0; o && i < n; i++) {
		if (json_object_set_new(o, names[i], json_integer(counter(&values[i])))) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

/* {"refused": {...}, "cut_off": {...}, "request_waits": n} */
static json_t *refusals_json(const struct refusal_counts *rc)
{
	return json_pack("{s:o, s:o, s:I}", "refused",
			 counts_json(refusal_names, rc->refused, REFUSALS), "cut_off",
			 counts_json(cutoff_names, rc->cut, CUTOFFS), "request_waits",
			 num(rc->waits));
}

static json_t *caps_json(const struct config_caps *c)
{
	return json_pack("{s:I, s:I, s:o, s:I, s:o, s:o, s:o}", "connections",
			 num(c->connections), "regions", num(c->regions), "region_bytes",
			 limit(c->region_bytes), "queues", num(c->queues), "queue_bytes",
			 limit(c->queue_bytes), "faults_per_s", limit(c->faults),
			 "requests_per_s", limit(c->requests));
}

static json_t *flow_json(const struct flow_stats *f)
{
	uint64_t actual = stat_read(&f->actual_ns), declined = 0;

	for (unsigned int i = 0; i < DECLINE_REASONS; i++)
		declined += stat_read(&f->declined[i]);
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
		" s:I, s:I, s:o, s:o, s:o, s:o}",
		"requests", counter(&f->requests), "completed", counter(&f->completed),
		"failed", counter(&f->failed), "withdrawn", counter(&f->withdrawn), "declined",
		num(declined), "declines",
		counts_json(report_declines, f->declined, DECLINE_REASONS), "declined_bytes",
		counter(&f->declined_bytes), "descriptors", counter(&f->descriptors),
		"engine_bytes", counter(&f->engine_bytes), "borrowed_bytes",
		counter(&f->borrowed_bytes), "faults", counter(&f->faults), "fault_waits",
		counter(&f->fault_waits), "resumes", counter(&f->resumes), "actual_ns",
		num(actual), "alone_ns", counter(&f->alone_ns), "cpu_ns", counter(&f->cpu_ns),
		"engine_cpu_ns", counter(&f->engine_cpu_ns), "slowdown_alone",
		ratio(actual, stat_read(&f->alone_ns)), "slowdown_cpu",
		ratio(actual, stat_read(&f->cpu_ns)), "wait", hist_json(&f->wait), "service",
		hist_json(&f->service));
}

/* Move the members of @from into @into; consumes @from, and @into if that is NULL. */
static json_t *merge(json_t *into, json_t *from)
{
	if (into && from && !json_object_update(into, from)) {
		json_decref(from);
		return into;
	}
	json_decref(into);
	json_decref(from);
	return NULL;
}

/* ------------------------------------------------------------------- classes */

static json_t *kernel_json(struct broker *b)
{
	struct report_kernel k;
	uint64_t pages = 0;

	report_kernel(b, &k);
	if (!k.present)
		return json_pack("{s:s, s:b, s:o}", "class", "kernel", "present", 0, "source",
				 text(k.source));
	for (unsigned int i = 0; i < AMUX_DECLINE_COUNT; i++)
		pages += k.declined_pages[i];
	return json_pack(
		"{s:s, s:b, s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o,"
		" s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
		"class", "kernel", "present", 1, "source", text(k.source), "trace", k.trace,
		"grant_enabled", (int)k.enabled, "grant_age_ns", num(k.grant_age_ns),
		"mismatches", num(k.mismatches), "requests", num(k.batches), "engine_requests",
		num(k.engine_batches), "arrived_bytes", num(k.arrived_bytes), "finished_bytes",
		num(k.finished_bytes), "engine_bytes", num(k.engine_bytes), "cpu_bytes",
		num(k.cpu_bytes), "declined_pages",
		counts_json(report_kernel_declines, k.declined_pages, AMUX_DECLINE_COUNT),
		"batches_by_reason",
		counts_json(report_reasons, k.reason_batches, AMUX_REASON_COUNT),
		"declined_bytes", num(pages * PAGE_BYTES), "descriptors", num(k.descriptors),
		"errors", num(k.errors), "actual_ns", num(k.batch_ns), "alone_ns",
		num(k.alone_ns), "cpu_ns", num(k.cpu_ns), "copy_cpu_ns", num(k.cpu_time_ns),
		"slowdown_alone", ratio(k.batch_ns, k.alone_ns), "slowdown_cpu",
		ratio(k.batch_ns, k.cpu_ns), "wait", hist_json(&k.wait), "batch",
		hist_json(&k.batch));
}

static json_t *classes_json(struct broker *b)
{
	struct flow_stats users;
	json_t *user;

	report_users(b, &users);
	user = merge(json_pack("{s:s, s:b, s:I}", "class", "user", "present", 1, "cpu_bytes",
			       num(users.declined_bytes)),
		     flow_json(&users));
	return json_pack("[o, o]", kernel_json(b), user);
}

/* --------------------------------------------------------------------- nodes */

static json_t *plan_json(const struct status_node *node)
{
	const struct amux_plan *plan = &node->plan;
	json_t *shares = json_array();

	for (unsigned int d = 0; d < node->n_devices; d++) {
		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			const struct amux_plan_share *s = &plan->share[d][c];

			shares = append(shares,
					json_pack("{s:s, s:s, s:I, s:I, s:o, s:I, s:b}",
						  "device", node->devices[d].dev->name, "class",
						  class_names[c], "engine_mask",
						  num(s->engine_mask), "reserve_bps",
						  num(s->reserve_bps), "limit_bps",
						  limit(s->limit_bps), "cap_bytes",
						  num(s->cap_bytes), "lend", (int)s->lend));
		}
	}
	return json_pack("{s:I, s:I, s:I, s:{s:s, s:s}, s:o}", "chunk_bytes",
			 num(plan->chunk_bytes), "kernel_min_pages",
			 num(plan->kernel_min_pages), "loan_ns", num(plan->loan_ns), "decline",
			 "kernel", decline_modes[plan->decline[AMUX_CLASS_KERNEL] % 3], "user",
			 decline_modes[plan->decline[AMUX_CLASS_USER] % 3], "shares", shares);
}

static json_t *mux_json(const struct mux_stats *m)
{
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "loops",
		counter(&m->loops), "sleeps", counter(&m->sleeps), "cpu_ns",
		counter(&m->cpu_ns), "epochs", counter(&m->epochs), "plan_ns",
		counter(&m->plan_ns), "plan_clamps", counter(&m->plan_clamps),
		"policy_switches", counter(&m->policy_switches), "policy_reverts",
		counter(&m->policy_reverts), "policy_late", counter(&m->policy_late),
		"policy_failures",
		counts_json(report_failures + 1, m->policy_failures + 1, POLICY_FAILURES - 1),
		"revocations", counter(&m->revocations), "revoke", hist_json(&m->revoke));
}

/* What went wrong with the policy, or null. */
static json_t *reverted_json(const struct status_node *node)
{
	return node->reverted[0] ? json_string(node->reverted) : json_null();
}

static json_t *nodes_json(struct broker *b)
{
	struct status_node node;
	unsigned int n = broker_node(b, UINT32_MAX, &node);
	json_t *a = json_array();

	for (unsigned int i = 0; i < n; i++) {
		broker_node(b, i, &node);
		a = append(a, json_pack("{s:i, s:s, s:o, s:o, s:o}", "node", node.node,
					"policy", node.policy, "reverted", reverted_json(&node),
					"plan", plan_json(&node), "mux", mux_json(node.stats)));
	}
	return a;
}

static uint64_t uptime_ns(struct broker *b)
{
	return clock_ns() - broker_start_ns(b);
}

/* ------------------------------------------------------------------ policies */

static json_t *param_text(uint64_t value, enum amux_unit unit)
{
	char text[48];

	param_format(value, unit, text, sizeof(text));
	return json_string(text);
}

static json_t *params_json(const struct amux_policy_ops *ops, const uint64_t *values)
{
	json_t *a = json_array();

	for (unsigned int i = 0; i < ops->n_params; i++) {
		const struct amux_policy_param *p = &ops->params[i];
		uint64_t v = values[i];

		a = append(a, json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:s}", "name",
					p->name, "value", limit(v), "text",
					param_text(v, p->unit), "unit", unit_names[p->unit],
					"default", param_text(p->def, p->unit), "min",
					param_text(p->min, p->unit), "max",
					param_text(p->max, p->unit), "help", p->help));
	}
	return a;
}

/* Where the policy in use comes from, or null: it is built in. */
static json_t *plugin_json(struct broker *b)
{
	pid_t pid;
	const char *file = broker_plugin(b, &pid);

	if (!file)
		return json_null();
	return json_pack("{s:o, s:o}", "file", text(file), "pid",
			 pid ? json_integer(pid) : json_null());
}

json_t *report_policy(struct broker *b)
{
	const uint64_t *values;
	const struct amux_policy_ops *ops = broker_policy(b, &values);
	struct status_node node;
	unsigned int n = broker_node(b, UINT32_MAX, &node);
	json_t *force = json_array();

	for (unsigned int i = 0; i < n; i++) {
		broker_node(b, i, &node);
		force = append(force, json_pack("{s:i, s:s, s:o}", "node", node.node, "policy",
						node.policy, "reverted", reverted_json(&node)));
	}
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "policy", ops->name, "summary",
			 ops->summary, "plugin", plugin_json(b), "params",
			 params_json(ops, values), "in_force", force);
}

static json_t *policy_json(const struct amux_policy_ops *ops, bool active,
			   const uint64_t *values)
{
	return json_pack("{s:s, s:s, s:b, s:o}", "name", ops->name, "summary", ops->summary,
			 "active", (int)active, "params", params_json(ops, values));
}

json_t *report_policies(struct broker *b)
{
	const uint64_t *values;
	const struct amux_policy_ops *active = broker_policy(b, &values);
	const struct config *cfg = broker_config(b);
	json_t *a = json_array();
	pid_t pid;

	for (unsigned int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++) {
		const struct amux_policy_ops *ops = amux_policies[i];

		a = append(a, policy_json(ops, ops == active,
					  ops == active ? values : cfg->policy_values[i]));
	}
	if (broker_plugin(b, &pid))
		a = append(a, policy_json(active, true, values));
	return json_pack("{s:o}", "policies", a);
}

/* ----------------------------------------------------------------- documents */

json_t *report_version(void)
{
	return json_pack("{s:s, s:i, s:i, s:i}", "version", AMUX_VERSION, "session_abi",
			 (int)AMUX_ABI_VERSION, "grant_abi", (int)AMUX_GRANT_VERSION,
			 "policy_abi", (int)AMUX_POLICY_ABI);
}

json_t *report_status(struct broker *b)
{
	const struct config *cfg = broker_config(b);
	const uint64_t *values;
	const struct amux_policy_ops *policy = broker_policy(b, &values);
	uint64_t uptime = uptime_ns(b);
	struct status_tenant tenant;
	json_t *metrics = cfg->metrics_addr[0] ? text(cfg->metrics_addr) : json_null();

	return merge(
		refusals_json(broker_refusals(b)),
		json_pack(
			"{s:s, s:i, s:I, s:s, s:o, s:b, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:o,"
			" s:o, s:o}",
			"version", AMUX_VERSION, "pid", (int)getpid(), "uptime_ns", num(uptime),
			"policy", policy->name, "plugin", plugin_json(b), "model",
			(int)config_modelled(cfg), "time_scale", num(config_time_scale(cfg)),
			"socket", text(cfg->socket), "metrics", metrics, "connections",
			num(broker_connections(b)), "tenants",
			num(broker_tenant(b, UINT32_MAX, &tenant)), "rejected",
			num(broker_rejected(b)), "closing", num(broker_closing(b)), "classes",
			classes_json(b), "nodes", nodes_json(b), "devices",
			report_device_list(b, uptime)));
}

/* Whole 64-bit words, which JSON integers are not. */
static json_t *ledger_json(const struct flow_stats *f)
{
	return json_pack(
		"{s:o, s:o}", "ledger_in",
		json_sprintf("%016llx", (unsigned long long)stat_read(&f->ledger_in)),
		"ledger_out",
		json_sprintf("%016llx", (unsigned long long)stat_read(&f->ledger_out)));
}

json_t *report_tenants(struct broker *b)
{
	struct status_tenant t;
	unsigned int n = broker_tenant(b, UINT32_MAX, &t);
	json_t *a = json_array();

	for (unsigned int i = 0; i < n; i++) {
		broker_tenant(b, i, &t);
		a = append(a, merge(json_pack("{s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, "
					      "s:I, s:I, s:o, s:I}",
					      "id", num(t.id), "name", text(t.name), "weight",
					      num(t.weight), "reserve_bps", num(t.reserve_bps),
					      "limit_bps", limit(t.limit_bps), "connections",
					      num(t.connections), "queues", num(t.queues),
					      "regions", num(t.regions), "region_bytes",
					      num(t.region_bytes), "queued_bytes",
					      num(t.queued_bytes), "queue_bytes",
					      num(t.queue_bytes), "limits", caps_json(t.caps),
					      "evictions", num(t.evictions)),
				    merge(refusals_json(t.refusals),
					  merge(ledger_json(t.stats), flow_json(t.stats)))));
	}
	return json_pack("{s:o}", "tenants", a);
}

json_t *report_devices(struct broker *b)
{
	uint64_t uptime = uptime_ns(b);

	return json_pack("{s:I, s:o}", "uptime_ns", num(uptime), "devices",
			 report_device_list(b, uptime));
}
