// SPDX-License-Identifier: GPL-2.0-only
/*
 * stats.c - see stats.h.  Counters are per CPU; the demand page, which several CPUs write,
 * takes atomic additions and is never read back.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "channel.h"
#include "grant.h"
#include "provider.h"
#include "stats.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define REASONS	     (AMUX_REASON_COUNT + 1) /* the last one: not in the ABI */
#define SIZE_BUCKETS 11			     /* 1 .. 1024 pages, powers of two */

struct reason_counters {
	u64 batches, pages, engine_pages, cpu_pages, single_pages;
};

struct counters {
	u64 batches, engine_batches, engine_pages, cpu_pages, single_pages, stuck_pages;
	u64 runs, descriptors, cross_node, dma_errors, timeouts, cpu_time_ns;
	u64 declined[AMUX_DECLINE_COUNT];
	u64 skip[SKIP_COUNT];
	struct reason_counters reason[REASONS];
	u64 size_hist[SIZE_BUCKETS];
	u64 wait_hist[AMUX_GRANT_HIST];
	u64 copy_hist[AMUX_GRANT_HIST];
};

/*
 * The tracepoint's reg and unreg run under locks of tracing, before this module's init and
 * after its exit too: they only leave word.  A work item arms, and only then looks anybody at a
 * batch because of it.
 */
static DEFINE_SPINLOCK(trace_lock);
static bool trace_wanted, trace_open; /* the tracepoint is enabled; the work may be queued */
static bool tracing;

static void trace_work(struct work_struct *work)
{
	if (READ_ONCE(trace_wanted)) {
		if (!provider_arm(ARM_TRACE, true))
			WRITE_ONCE(tracing, true);
	} else {
		WRITE_ONCE(tracing, false);
		provider_arm(ARM_TRACE, false);
	}
}
static DECLARE_WORK(trace_follow, trace_work);

static void trace_say(bool *word, bool value)
{
	unsigned long flags;

	spin_lock_irqsave(&trace_lock, flags);
	WRITE_ONCE(*word, value);
	if (trace_open)
		schedule_work(&trace_follow);
	spin_unlock_irqrestore(&trace_lock, flags);
}

int stats_trace_reg(void)
{
	trace_say(&trace_wanted, true);
	return 0;
}

void stats_trace_unreg(void)
{
	trace_say(&trace_wanted, false);
}

void stats_trace_start(void)
{
	trace_say(&trace_open, true);
}

void stats_trace_stop(void)
{
	trace_say(&trace_open, false);
	cancel_work_sync(&trace_follow);
}

bool stats_tracing(void)
{
	return READ_ONCE(tracing);
}

void stats_trace(const struct batch_outcome *o)
{
	trace_accelmux_batch(o, 0, 0);
}

static struct counters __percpu *counters;
static struct dentry *dir;

static const char *const reason_name[REASONS] = {
	"compaction", "memory_failure", "memory_hotplug", "syscall",
	"mbind",      "numa_misplaced", "contig_range",	  "longterm_pin",
	"demotion",   "damon",		"other",
};

static const char *const decline_name[AMUX_DECLINE_COUNT] = {
	"no_grant", "below_min", "reason", "paced", "predicted", "seq_busy", "error", "timeout",
};

static const char *const skip_name[SKIP_COUNT] = {
	"refs", "mapped", "private", "mapping", "unknown", "stale", "no_context",
};

const char *stats_reason(u8 reason)
{
	return reason_name[min_t(u8, reason, AMUX_REASON_COUNT)];
}

/* The same buckets as broker/hist.h: quarter octaves from 128 ns on. */
static unsigned int hist_index(u64 ns)
{
	unsigned int log, i;

	if (ns < 128)
		return 0;
	log = ilog2(ns);
	i = (log - 7) * 4 + ((ns >> (log - 2)) & 3);
	return min_t(unsigned int, i, AMUX_GRANT_HIST - 1);
}

static u64 hist_edge(unsigned int i)
{
	return i ? (128ull << (i / 4)) + (32ull << (i / 4)) * (i % 4) : 0;
}

static void demand_add(__u64 *word, u64 v)
{
	atomic64_add(v, (atomic64_t *)word);
}

void stats_arrived(u8 reason, u32 pages, u64 now)
{
	struct amux_demand *d;

	rcu_read_lock();
	d = grant_demand();
	WRITE_ONCE(d->last_batch_ns, now);
	demand_add(&d->batches, 1);
	if (reason < AMUX_REASON_COUNT)
		demand_add(&d->reason_batches[reason], 1);
	demand_add(&d->arrived_bytes, (u64)pages << PAGE_SHIFT);
	rcu_read_unlock();
}

static void demand_batch(const struct batch_outcome *o, u64 wait, u64 took)
{
	u64 bytes = (u64)o->pages << PAGE_SHIFT, engine = (u64)o->engine_pages << PAGE_SHIFT;
	struct amux_demand *d;
	unsigned int i;

	rcu_read_lock();
	d = grant_demand();
	demand_add(&d->engine_bytes, engine);
	demand_add(&d->cpu_bytes, bytes - engine);
	if (o->engine_pages)
		demand_add(&d->engine_batches, 1);
	demand_add(&d->batch_ns, took);
	demand_add(&d->alone_ns, o->alone_ns);
	demand_add(&d->cpu_ns, o->cpu_ns);
	demand_add(&d->wait_ns, wait);
	demand_add(&d->cpu_time_ns, o->cpu_time_ns);
	for (i = 0; i < AMUX_DECLINE_COUNT; i++)
		if (o->declined[i])
			demand_add(&d->declined_pages[i], o->declined[i]);
	demand_add(&d->wait_hist[hist_index(wait)], 1);
	demand_add(&d->batch_hist[hist_index(took)], 1);
	/* Last: readers subtract it from what has arrived.  Pairs with the broker's acquire. */
	smp_mb__before_atomic();
	demand_add(&d->finished_bytes, bytes);
	rcu_read_unlock();
}

void stats_batch(const struct batch_outcome *o)
{
	u64 wait = o->start_ns - o->arrival_ns;
	u64 took = o->copy_ns;
	struct counters *c = get_cpu_ptr(counters);
	struct reason_counters *r = &c->reason[min_t(u8, o->reason, AMUX_REASON_COUNT)];
	unsigned int i;

	c->batches++;
	c->engine_batches += !!o->engine_pages;
	c->engine_pages += o->engine_pages;
	c->cpu_pages += o->cpu_pages;
	c->stuck_pages += o->stuck_pages;
	c->runs += o->runs;
	c->cpu_time_ns += o->cpu_time_ns;
	for (i = 0; i < AMUX_DECLINE_COUNT; i++)
		c->declined[i] += o->declined[i];
	r->batches++;
	r->pages += o->pages;
	r->engine_pages += o->engine_pages;
	r->cpu_pages += o->cpu_pages;
	c->size_hist[min_t(unsigned int, ilog2(o->pages), SIZE_BUCKETS - 1)]++;
	c->wait_hist[hist_index(wait)]++;
	c->copy_hist[hist_index(took)]++;
	put_cpu_ptr(counters);
	demand_batch(o, wait, took);
	trace_accelmux_batch(o, wait, took);
}

void stats_declined(u8 reason, u32 pages)
{
	struct reason_counters __percpu *r = &counters->reason[reason];
	u64 bytes = (u64)pages << PAGE_SHIFT;
	struct amux_demand *d;

	rcu_read_lock();
	d = grant_demand();
	demand_add(&d->batches, 1);
	demand_add(&d->arrived_bytes, bytes);
	demand_add(&d->cpu_bytes, bytes);
	demand_add(&d->declined_pages[AMUX_DECLINE_BELOW_MIN], pages);
	demand_add(&d->finished_bytes, bytes);
	rcu_read_unlock();
	this_cpu_add(counters->declined[AMUX_DECLINE_BELOW_MIN], pages);
	this_cpu_inc(r->batches);
	this_cpu_add(r->pages, pages);
	this_cpu_add(r->cpu_pages, pages);
}

void stats_single(u8 reason, u32 pages)
{
	this_cpu_add(counters->single_pages, pages);
	this_cpu_add(counters->reason[reason].single_pages, pages);
}

void stats_skip(enum stats_skip why)
{
	this_cpu_inc(counters->skip[why]);
}

void stats_timeout(void)
{
	this_cpu_inc(counters->timeouts);
}

void stats_cross_node(void)
{
	this_cpu_inc(counters->cross_node);
}

void stats_submitted(u32 dev, u64 bytes)
{
	rcu_read_lock();
	demand_add(&grant_demand()->dev[dev].submitted_bytes, bytes);
	rcu_read_unlock();
}

void stats_answered(u32 dev, u64 bytes, bool err)
{
	struct amux_demand_dev *d;

	this_cpu_inc(counters->descriptors);
	if (err)
		this_cpu_inc(counters->dma_errors);
	rcu_read_lock();
	d = &grant_demand()->dev[dev];
	demand_add(&d->descriptors, 1);
	if (err)
		demand_add(&d->errors, 1);
	/* pairs with the broker's acquire: it never sees more completed than submitted */
	smp_mb__before_atomic();
	demand_add(&d->completed_bytes, bytes);
	rcu_read_unlock();
}

/* Sum of all CPUs, to be freed by the caller. */
static struct counters *counters_sum(void)
{
	struct counters *sum = kvzalloc(sizeof(*sum), GFP_KERNEL);
	unsigned int cpu, i;

	if (!sum)
		return NULL;
	for_each_possible_cpu(cpu) {
		const u64 *from = (const u64 *)per_cpu_ptr(counters, cpu);
		u64 *to = (u64 *)sum;

		for (i = 0; i < sizeof(*sum) / sizeof(u64); i++)
			to[i] += READ_ONCE(from[i]);
	}
	return sum;
}

static int stats_show(struct seq_file *m, void *unused)
{
	struct counters *c = counters_sum();
	unsigned int i;

	if (!c)
		return -ENOMEM;
	seq_printf(m, "batches %llu\nengine_batches %llu\nengine_pages %llu\ncpu_pages %llu\n",
		   c->batches, c->engine_batches, c->engine_pages, c->cpu_pages);
	seq_printf(m, "single_pages %llu\nstuck_pages %llu\nruns %llu\ndescriptors %llu\n",
		   c->single_pages, c->stuck_pages, c->runs, c->descriptors);
	seq_printf(m, "cross_node %llu\ndma_errors %llu\ntimeouts %llu\ncpu_time_ns %llu\n",
		   c->cross_node, c->dma_errors, c->timeouts, c->cpu_time_ns);
	seq_printf(m, "quarantined %llu\nquarantined_total %llu\nattached %d\narmed %d\n",
		   channel_quarantined(), channel_quarantined_total(), grant_attached(),
		   grant_possible());
	for (i = 0; i < AMUX_DECLINE_COUNT; i++)
		seq_printf(m, "declined_%s %llu\n", decline_name[i], c->declined[i]);
	for (i = 0; i < SKIP_COUNT; i++)
		seq_printf(m, "skip_%s %llu\n", skip_name[i], c->skip[i]);
	kvfree(c);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int reasons_show(struct seq_file *m, void *unused)
{
	struct counters *c = counters_sum();
	unsigned int i;

	if (!c)
		return -ENOMEM;
	for (i = 0; i < REASONS; i++)
		seq_printf(m, "%s %llu %llu %llu %llu %llu\n", reason_name[i],
			   c->reason[i].batches, c->reason[i].pages, c->reason[i].engine_pages,
			   c->reason[i].cpu_pages, c->reason[i].single_pages);
	kvfree(c);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(reasons);

static int hist_show(struct seq_file *m, void *unused)
{
	struct counters *c = counters_sum();
	unsigned int i;

	if (!c)
		return -ENOMEM;
	for (i = 0; i < SIZE_BUCKETS; i++)
		if (c->size_hist[i])
			seq_printf(m, "batch_pages %u %llu\n", 1u << i, c->size_hist[i]);
	for (i = 0; i < AMUX_GRANT_HIST; i++)
		if (c->wait_hist[i])
			seq_printf(m, "wait_ns %llu %llu\n", hist_edge(i), c->wait_hist[i]);
	for (i = 0; i < AMUX_GRANT_HIST; i++)
		if (c->copy_hist[i])
			seq_printf(m, "copy_ns %llu %llu\n", hist_edge(i), c->copy_hist[i]);
	kvfree(c);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hist);

static int channels_show(struct seq_file *m, void *unused)
{
	channel_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channels);

int stats_init(void)
{
	counters = alloc_percpu(struct counters);
	return counters ? 0 : -ENOMEM;
}

/* When everything that is shown is there. */
void stats_publish(void)
{
	dir = debugfs_create_dir("accelmux", NULL);
	debugfs_create_file("stats", 0444, dir, NULL, &stats_fops);
	debugfs_create_file("reasons", 0444, dir, NULL, &reasons_fops);
	debugfs_create_file("hist", 0444, dir, NULL, &hist_fops);
	debugfs_create_file("channels", 0444, dir, NULL, &channels_fops);
}

void stats_unpublish(void)
{
	debugfs_remove(dir);
}

void stats_exit(void)
{
	free_percpu(counters);
}
