// SPDX-License-Identifier: GPL-2.0-only
/*
 * batch.c - see batch.h.
 *
 *	head -> engine, in blocks as granted          CPU <- tail, if the grant asks for it
 *	[0 ......... cursor)   [cursor ...... tail)   [tail ......... n)
 *	 submitted              nobody's yet           copied by the CPU
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "batch.h"
#include "channel.h"
#include "copy.h"
#include "grant.h"
#include "stats.h"

#define SPIN_NS	       20000 /* an engine answers in about this time: then sleep */
#define COCOPY_CHUNKS  2     /* enough in flight to keep the engine busy meanwhile */
#define MEASURE_BYTES  (64u << 10)
#define MEASURE_ROUNDS 8

static unsigned int timeout_ms = 1000;

static int timeout_set(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;

	if (kstrtouint(val, 0, &ms) || ms < 1 || ms > 600000) {
		pr_err("timeout_ms='%s': expected 1 to 600000\n", val);
		return -EINVAL;
	}
	WRITE_ONCE(timeout_ms, ms);
	return 0;
}

static const struct kernel_param_ops timeout_ops = {
	.set = timeout_set,
	.get = param_get_uint,
};
module_param_cb(timeout_ms, &timeout_ops, &timeout_ms, 0644);
MODULE_PARM_DESC(timeout_ms, "ms without an answer until what is in flight is given up");

static u64 cpu_bps;

u64 batch_cpu_bps(void)
{
	return cpu_bps;
}

void batch_init(void)
{
	void *a = kmalloc(MEASURE_BYTES, GFP_KERNEL), *b = kmalloc(MEASURE_BYTES, GFP_KERNEL);
	u64 start, ns, best = U64_MAX;
	int i;

	if (a && b) {
		memset(a, 1, MEASURE_BYTES);
		for (i = 0; i < MEASURE_ROUNDS; i++) {
			start = ktime_get_ns();
			memcpy(b, a, MEASURE_BYTES);
			barrier_data(b);
			ns = ktime_get_ns() - start;
			best = min(best, max(ns, 1ull));
		}
		cpu_bps = div64_u64((u64)MEASURE_BYTES * NSEC_PER_SEC, best);
	}
	kfree(a);
	kfree(b);
}

/* Where the head is, and where the tail begins. */
struct cursor {
	u32 i, page; /* pair, page within it */
	u32 tail;
};

void batch_take(struct amux_batch *b, struct amux_pair *p)
{
	p->batched = 1;
	b->pair[b->n++] = p;
	b->pages += p->pages;
}

static struct page *at_src(struct amux_batch *b, u32 i)
{
	return folio_page(b->pair[i]->src, 0);
}

static struct page *at_dst(struct amux_batch *b, u32 i)
{
	return folio_page(b->pair[i]->dst, 0);
}

/* Pages from the cursor on that are contiguous on both sides, at most @max. */
static u32 run_pages(struct amux_batch *b, const struct cursor *c, u32 max)
{
	u32 pages = b->pair[c->i]->pages - c->page, i;

	for (i = c->i + 1; i < c->tail && pages < max; i++) {
		u32 before = b->pair[i - 1]->pages;

		if (page_to_pfn(at_src(b, i)) != page_to_pfn(at_src(b, i - 1)) + before ||
		    page_to_pfn(at_dst(b, i)) != page_to_pfn(at_dst(b, i - 1)) + before)
			break;
		pages += b->pair[i]->pages;
	}
	return min(pages, max);
}

/* Merged runs of the whole batch: descriptors that it takes if no chunk cuts them. */
static u32 count_runs(struct amux_batch *b)
{
	struct cursor c = { .tail = b->n };
	u32 runs = 0, pages;

	while (c.i < b->n) {
		for (pages = run_pages(b, &c, U32_MAX); pages; c.i++)
			pages -= b->pair[c.i]->pages;
		runs++;
	}
	return runs;
}

static void cursor_advance(struct amux_batch *b, struct cursor *c, u32 pages)
{
	while (pages) {
		u32 here = min(pages, b->pair[c->i]->pages - c->page);

		c->page += here;
		pages -= here;
		if (c->page == b->pair[c->i]->pages) {
			c->page = 0;
			c->i++;
		}
	}
}

void batch_answered(struct amux_batch *b, u32 first, u32 count, int status)
{
	u32 i;

	for (i = first; status && i < first + count; i++)
		set_bit(i, b->failed);
}

static u32 batch_landed_count(struct amux_batch *b)
{
	return READ_ONCE(b->landed);
}

static u64 timeout_ns(void)
{
	return (u64)READ_ONCE(timeout_ms) * NSEC_PER_MSEC;
}

/* Wait until more than @seen were answered; false: it is @deadline. */
static bool batch_wait(struct amux_batch *b, u32 seen, u64 deadline)
{
	u64 start = ktime_get_ns(), now = start;

	while (now - start < SPIN_NS && !need_resched()) {
		if (batch_landed_count(b) != seen)
			return true;
		cpu_relax();
		now = ktime_get_ns();
	}
	return wait_event_timeout(b->wait, batch_landed_count(b) != seen,
				  now < deadline ? nsecs_to_jiffies(deadline - now) + 1 : 1);
}

/* One pair from the tail by the CPU. */
static void copy_tail(struct amux_batch *b, struct cursor *c)
{
	struct amux_pair *p = b->pair[--c->tail];
	u64 start = ktime_get_ns();

	p->rc = (s16)copy_by_cpu(p->dst, p->src);
	p->state = p->rc ? PAIR_FAILED : PAIR_COPIED;
	b->outcome.cpu_time_ns += ktime_get_ns() - start;
}

/* Hand one block to an engine: 0, -EAGAIN: wait, else: it will not work. */
static int submit_block(struct amux_batch *b, struct cursor *c, const struct offer *of)
{
	u32 max = min_t(u32, of->bytes, CHANNEL_LEN_MAX) >> PAGE_SHIFT, pages, last = c->i;
	struct cursor end = *c;
	int ret;

	pages = run_pages(b, c, max);
	cursor_advance(b, &end, pages);
	last = end.page ? end.i : end.i - 1;
	ret = channel_submit(of->dev, of->engine_mask, b,
			     folio_page(b->pair[c->i]->dst, c->page),
			     folio_page(b->pair[c->i]->src, c->page),
			     (size_t)pages << PAGE_SHIFT, c->i, last - c->i + 1);
	if (ret)
		grant_refund(of->dev, of->bytes);
	else
		grant_refund(of->dev, of->bytes - (pages << PAGE_SHIFT));
	if (!ret)
		*c = end;
	return ret;
}

static u32 pages_left(struct amux_batch *b, const struct cursor *c)
{
	u32 pages = 0, i;

	for (i = c->i; i < c->tail; i++)
		pages += b->pair[i]->pages;
	return pages - c->page;
}

/* Feed the engines until all is submitted, they may not have more, or it is @deadline. */
static void batch_feed(struct amux_batch *b, struct cursor *c, u64 deadline)
{
	struct batch_outcome *o = &b->outcome;
	u32 left = b->pages, run, seen;
	struct offer of = {};
	bool first = true;
	int what, ret;

	while (c->i < c->tail) {
		/* Engines that answer, but ever so slowly: the CPU has the rest. */
		if (!first && ktime_get_ns() >= deadline) {
			o->declined[AMUX_DECLINE_TIMEOUT] += left;
			return;
		}
		run = run_pages(b, c, CHANNEL_LEN_MAX >> PAGE_SHIFT);
		seen = batch_landed_count(b);
		what = grant_offer(&(struct offer_ask){ .reason = b->reason,
							.pages = b->pages,
							.left = left,
							.run = run,
							.node = page_to_nid(at_dst(b, c->i)),
							.descs = o->runs },
				   first, &of);
		if (first) {
			o->alone_ns = of.alone_ns;
			o->cpu_ns = of.cpu_ns;
		}
		first = false;
		if (what == OFFER_ENGINE && of.cocopy &&
		    READ_ONCE(b->flying) >= COCOPY_CHUNKS && c->tail > c->i + 1) {
			grant_refund(of.dev, of.bytes);
			copy_tail(b, c);
			left = pages_left(b, c);
			continue;
		}
		if (what == OFFER_ENGINE) {
			if (!o->start_ns)
				o->start_ns = ktime_get_ns();
			ret = submit_block(b, c, &of);
			left = pages_left(b, c);
			if (!ret)
				continue;
			what = ret == -EAGAIN ? OFFER_WAIT : AMUX_DECLINE_ERROR;
		}
		if (what == OFFER_WAIT && READ_ONCE(b->flying)) {
			if (batch_wait(b, seen, deadline))
				continue;
			what = AMUX_DECLINE_TIMEOUT;
		} else if (what == OFFER_WAIT) {
			/* Others hold all the room: never wait for them. */
			what = AMUX_DECLINE_PACED;
		}
		o->declined[what] += left;
		return;
	}
}

/* Until nothing of this batch is in flight any more. */
static void batch_land(struct amux_batch *b, u64 deadline)
{
	u32 seen;

	while (READ_ONCE(b->flying)) {
		seen = batch_landed_count(b);
		if (!READ_ONCE(b->flying))
			break;
		if (!batch_wait(b, seen, deadline)) {
			stats_timeout();
			channel_abandon(b);
		}
	}
	/* Pairs with batch_landed() in channel.c: the last waker has left, and what the engines
	 * and callbacks wrote is visible. */
	spin_lock_irq(&b->wait.lock);
	spin_unlock_irq(&b->wait.lock);
}

void batch_copy(struct amux_batch *b)
{
	struct batch_outcome *o = &b->outcome;
	struct cursor c = { .tail = b->n };
	u64 deadline = b->arrival_ns + timeout_ns();
	u32 i;

	*o = (struct batch_outcome){
		.reason = b->reason,
		.folios = b->n,
		.pages = b->pages,
		.arrival_ns = b->arrival_ns,
	};
	b->open = true;
	b->flying = 0;
	b->landed = 0;
	bitmap_zero(b->failed, BATCH_FOLIOS);
	stats_arrived(b->reason, b->pages, b->arrival_ns);
	o->runs = count_runs(b);
	batch_feed(b, &c, deadline);
	/* What was submitted last has its time, too. */
	batch_land(b, max(deadline, ktime_get_ns() + timeout_ns()));

	for (i = 0; i < b->n; i++) {
		struct amux_pair *p = b->pair[i];

		if (p->state == PAIR_STUCK) {
			o->stuck_pages += p->pages;
		} else if (i >= c.i) {
			continue; /* the CPU's, or cut in the middle: the CPU copies all of it
				   */
		} else if (test_bit(i, b->failed)) {
			o->declined[AMUX_DECLINE_ERROR] += p->pages;
		} else {
			p->state = PAIR_COPIED;
			o->engine_pages += p->pages;
		}
	}
	o->cpu_pages = b->pages - o->engine_pages - o->stuck_pages;
	o->copy_ns = ktime_get_ns() - b->arrival_ns;
	if (!o->start_ns)
		o->start_ns = b->arrival_ns + o->copy_ns;
}

int batch_copy_late(struct amux_batch *b, struct amux_pair *p)
{
	u64 start = ktime_get_ns(), ns;
	int rc = copy_by_cpu(p->dst, p->src);

	ns = ktime_get_ns() - start;
	b->outcome.copy_ns += ns;
	b->outcome.cpu_time_ns += ns;
	return rc;
}

void batch_close(struct amux_batch *b)
{
	if (b->open)
		stats_batch(&b->outcome);
	b->open = false;
}

void batch_trace(struct amux_batch *b)
{
	struct batch_outcome o = {
		.reason = b->reason,
		.folios = b->n,
		.pages = b->pages,
		.runs = count_runs(b),
		.cpu_pages = b->pages,
		.arrival_ns = b->arrival_ns,
	};

	stats_trace(&o);
}
