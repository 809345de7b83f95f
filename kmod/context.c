// SPDX-License-Identifier: GPL-2.0-only
/*
 * context.c - see context.h.
 *
 * Only what fit.h allows is copied ahead of its turn.  The folio whose turn it is may be of any
 * kind: that copy stands exactly where the kernel's own stands.
 *
 * A mark (PAIR_COPIED) is good for one folio_mc_copy().
 */
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "batch.h"
#include "context.h"
#include "fit.h"
#include "grant.h"
#include "stats.h"

#define TASK_BITS  8
#define TASK_PROBE 8 /* entries looked at from a task's hash on */
#define SRC_BITS   8
#define NONE	   U16_MAX

struct context {
	struct context *outer; /* of the same task, or NULL */
	struct context *next_free;
	struct task_entry *entry;
	struct context_call call;
	enum migrate_mode mode;
	u8 reason;  /* enum amux_reason; AMUX_REASON_COUNT: not in the ABI */
	bool begun; /* the first folio_mc_copy() of the batch in progress has been seen */
	bool tried; /* all of it has been looked at */
	u16 n;	    /* records */
	u16 turn;   /* the record whose turn is probably next */
	u32 pages;  /* of all records */
	struct amux_pair record[BATCH_FOLIOS];
	u16 chain[BATCH_FOLIOS]; /* older record with the same hash */
	u16 head[1 << SRC_BITS];
	struct amux_batch batch;
};

/* Written by the task alone, cleared by it alone; others only see it taken. */
struct task_entry {
	struct task_struct *task;
	struct context *innermost;
};

static struct task_entry tasks[(1 << TASK_BITS) + TASK_PROBE];
static struct context **pool;
static unsigned int pool_size;
static struct context *free_contexts;
static DEFINE_SPINLOCK(free_lock);
static atomic_t live = ATOMIC_INIT(0); /* contexts in use */

int context_init(void)
{
	unsigned int i;

	pool_size = min(2 * num_possible_cpus() + 8, 64u);
	pool = kcalloc(pool_size, sizeof(*pool), GFP_KERNEL);
	if (!pool)
		return -ENOMEM;
	for (i = 0; i < pool_size; i++) {
		pool[i] = kvzalloc(sizeof(**pool), GFP_KERNEL);
		if (!pool[i]) {
			context_exit();
			return -ENOMEM;
		}
		init_waitqueue_head(&pool[i]->batch.wait);
		memset(pool[i]->head, 0xff, sizeof(pool[i]->head));
		pool[i]->next_free = free_contexts;
		free_contexts = pool[i];
	}
	return 0;
}

void context_exit(void)
{
	unsigned int i;

	for (i = 0; i < pool_size; i++)
		kvfree(pool[i]);
	kfree(pool);
	pool = NULL;
	free_contexts = NULL;
	memset(tasks, 0, sizeof(tasks));
}

static notrace struct task_entry *entry_of(const struct task_struct *task)
{
	struct task_entry *e = &tasks[hash_ptr(task, TASK_BITS)];
	unsigned int i;

	for (i = 0; i < TASK_PROBE; i++, e++)
		if (READ_ONCE(e->task) == task)
			return e;
	return NULL;
}

static struct task_entry *entry_take(struct task_struct *task)
{
	struct task_entry *e = entry_of(task);
	unsigned int i;

	if (e)
		return e;
	e = &tasks[hash_ptr(task, TASK_BITS)];
	for (i = 0; i < TASK_PROBE; i++, e++)
		if (!READ_ONCE(e->task) && !cmpxchg(&e->task, NULL, task))
			return e;
	return NULL;
}

/* The kernel may number its reasons anew; those of the ABI stay. */
static u8 reason_of(int reason)
{
	static const u8 stable[] = {
		[MR_COMPACTION] = AMUX_REASON_COMPACTION,
		[MR_MEMORY_FAILURE] = AMUX_REASON_MEMORY_FAILURE,
		[MR_MEMORY_HOTPLUG] = AMUX_REASON_MEMORY_HOTPLUG,
		[MR_SYSCALL] = AMUX_REASON_SYSCALL,
		[MR_MEMPOLICY_MBIND] = AMUX_REASON_MBIND,
		[MR_NUMA_MISPLACED] = AMUX_REASON_NUMA_MISPLACED,
		[MR_CONTIG_RANGE] = AMUX_REASON_CONTIG_RANGE,
		[MR_LONGTERM_PIN] = AMUX_REASON_LONGTERM_PIN,
		[MR_DEMOTION] = AMUX_REASON_DEMOTION,
		[MR_DAMON] = AMUX_REASON_DAMON,
	};

	/* A reason between these that the table does not know would read as compaction. */
	BUILD_BUG_ON(ARRAY_SIZE(stable) != AMUX_REASON_COUNT);
	return reason >= 0 && reason < ARRAY_SIZE(stable) ? stable[reason] : AMUX_REASON_COUNT;
}

struct context *context_enter(const struct context_call *call, enum migrate_mode mode,
			      int reason)
{
	struct context *c;
	unsigned long flags;

	spin_lock_irqsave(&free_lock, flags);
	c = free_contexts;
	if (c)
		free_contexts = c->next_free;
	spin_unlock_irqrestore(&free_lock, flags);
	if (!c)
		goto none;
	c->entry = entry_take(current);
	if (!c->entry)
		goto give_back;
	c->outer = c->entry->innermost;
	c->call = *call;
	c->mode = mode;
	c->reason = reason_of(reason);
	c->begun = false;
	c->tried = false;
	c->n = 0;
	c->turn = 0;
	c->pages = 0;
	WRITE_ONCE(c->entry->innermost, c);
	atomic_inc(&live);
	return c;

give_back:
	spin_lock_irqsave(&free_lock, flags);
	c->next_free = free_contexts;
	free_contexts = c;
	spin_unlock_irqrestore(&free_lock, flags);
none:
	stats_skip(SKIP_NO_CONTEXT);
	return NULL;
}

/* Forget all records; the hash is cleared where it was used. */
static void context_reset(struct context *c)
{
	unsigned int i;

	batch_close(&c->batch);
	if (c->n < (1 << SRC_BITS) / 4)
		for (i = 0; i < c->n; i++)
			c->head[hash_ptr(c->record[i].src, SRC_BITS)] = NONE;
	else
		memset(c->head, 0xff, sizeof(c->head));
	c->n = 0;
	c->turn = 0;
	c->pages = 0;
	c->begun = false;
	c->tried = false;
}

void context_leave(struct context *c)
{
	struct task_entry *e = c->entry;
	unsigned long flags;

	context_reset(c);
	WRITE_ONCE(e->innermost, c->outer);
	if (!c->outer)
		smp_store_release(&e->task, NULL); /* pairs with cmpxchg() in entry_take() */
	atomic_dec(&live);
	spin_lock_irqsave(&free_lock, flags);
	c->next_free = free_contexts;
	free_contexts = c;
	spin_unlock_irqrestore(&free_lock, flags);
}

void context_drain(void)
{
	while (atomic_read(&live))
		schedule_timeout_uninterruptible(1);
}

notrace struct context *context_current(void)
{
	struct task_entry *e;

	if (!atomic_read(&live))
		return NULL;
	e = entry_of(current);
	return e ? e->innermost : NULL;
}

const struct context_call *context_call(const struct context *c)
{
	return &c->call;
}

struct amux_pair *context_pairs(struct context *c)
{
	return c->record;
}

struct amux_batch *context_batch(struct context *c)
{
	return &c->batch;
}

/* The latest record of @src, or NULL. */
static struct amux_pair *record_find(struct context *c, const struct folio *src)
{
	u16 i;

	if (c->turn < c->n && c->record[c->turn].src == src && c->begun)
		return &c->record[c->turn];
	for (i = c->head[hash_ptr(src, SRC_BITS)]; i != NONE; i = c->chain[i])
		if (c->record[i].src == src)
			return &c->record[i];
	return NULL;
}

void context_record(struct context *c, struct folio *src, struct folio *dst)
{
	struct amux_pair *p;
	unsigned int h;

	if (c->begun)
		context_reset(c);
	if (c->n < BATCH_FOLIOS) {
		h = hash_ptr(src, SRC_BITS);
		p = &c->record[c->n];
		c->chain[c->n] = c->head[h];
		c->head[h] = c->n++;
	} else {
		/* More attempts than folios: only a folio that is known already has a place. */
		p = record_find(c, src);
		if (!p)
			return;
		c->pages -= p->pages;
	}
	p->src = src;
	p->dst = dst;
	p->pages = folio_nr_pages(src);
	p->state = PAIR_RECORDED;
	p->batched = 0;
	p->rc = 0;
	c->pages += p->pages;
}

void context_forget(struct context *c, struct folio *dst)
{
	unsigned int i;

	/* What is given back was taken last, nearly always. */
	for (i = c->n; i-- > 0;)
		if (c->record[i].dst == dst) {
			/* A dst that DMA may still write to stays known as such. */
			if (c->record[i].state != PAIR_STUCK)
				c->record[i].state = PAIR_GONE;
			return;
		}
}

/*
 * Add to the batch what comes after @first in the list of unmapped folios, as far as it is fit.
 * The head of that list lies on the stack of migrate_pages_batch(), that is ours.
 * @count: what is passed over is counted (not for a batch that is counted as a whole already).
 */
static void batch_collect(struct context *c, struct amux_pair *first, bool count)
{
	struct amux_batch *b = &c->batch;
	struct list_head *at = first->src->lru.next;
	unsigned int steps;

	for (steps = 1; steps < BATCH_FOLIOS && b->n < BATCH_FOLIOS; steps++, at = at->next) {
		struct amux_pair *p;
		enum stats_skip why;

		if (object_is_on_stack(at))
			break;
		p = record_find(c, list_entry(at, struct folio, lru));
		why = p ? pair_unfit(p) : SKIP_UNKNOWN;
		if (why == SKIP_COUNT) {
			batch_take(b, p);
			continue;
		}
		if (!count)
			continue;
		stats_skip(why);
		if (p && p->state == PAIR_RECORDED)
			stats_single(c->reason, p->pages);
	}
}

static void batch_begin(struct context *c)
{
	struct amux_batch *b = &c->batch;

	batch_close(b);
	b->arrival_ns = ktime_get_ns();
	b->n = 0;
	b->pages = 0;
	b->reason = c->reason;
	b->mode = c->mode;
}

/*
 * It is the turn of @p, and the folios after it have not been looked at.  If it is fit to be
 * copied ahead it leads a batch of all that are.  If not, it must not wait for others: a large
 * one is a batch of its own, a small one is left to the CPU, and the next folio may lead.
 */
static void batch_try(struct context *c, struct amux_pair *p)
{
	struct amux_batch *b = &c->batch;
	bool leads = pair_unfit(p) == SKIP_COUNT;

	if (c->pages < grant_min_pages()) {
		c->tried = true;
		stats_declined(c->reason, c->pages);
		if (!stats_tracing())
			return;
		batch_begin(c);
		if (leads || folio_test_large(p->src))
			batch_take(b, p);
		if (!folio_test_hugetlb(p->src))
			batch_collect(c, p, false);
		if (b->n)
			batch_trace(b);
		return;
	}
	if (!leads && p->pages < grant_min_pages()) {
		stats_single(c->reason, p->pages);
		return;
	}
	batch_begin(c);
	batch_take(b, p);
	if (leads) {
		c->tried = true;
		batch_collect(c, p, true);
	}
	batch_copy(b);
}

bool context_copy(struct context *c, struct folio *dst, struct folio *src, int *rc)
{
	struct amux_pair *p = record_find(c, src);

	c->begun = true;
	if (!p || p->dst != dst) {
		stats_single(c->reason, folio_nr_pages(src));
		return false;
	}
	if (p->state == PAIR_RECORDED && !c->tried)
		batch_try(c, p);
	c->turn = p - c->record + 1;
	switch (p->state) {
	case PAIR_COPIED:
	case PAIR_FAILED:
		*rc = p->rc;
#ifndef AMUX_TEST_KEEP_MARKS
		p->state = PAIR_GONE;
#endif
		return true;
	case PAIR_STUCK:
		*rc = -EBUSY;
		return true;
	default:
		if (!p->batched)
			return false;
		*rc = batch_copy_late(&c->batch, p);
		return true;
	}
}
