// SPDX-License-Identifier: GPL-2.0-only
/*
 * engine.c - channels and their threads.
 *
 *	prep (takes a tag, may sleep for one) -> submit: pending -> issue: issued -> copied by
 *	the channel's thread -> callback, freed
 *
 * A lost descriptor stays with the channel: with late_ms it writes a pattern to its destination
 * long after, and answers; without, it only goes with terminate_all or the device.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "testdma.h"

#define LATE_PATTERN 0xdb

static struct channel *to_channel(struct dma_chan *chan)
{
	return container_of(chan, struct channel, chan);
}

/* Answer @t, freed afterwards.  Without DMA_PREP_INTERRUPT nobody ever hears, as on idxd. */
static void tx_answer(struct channel *c, struct tx *t, enum dmaengine_tx_result how)
{
	struct dmaengine_result r = { .result = how };
	dma_async_tx_callback_result callback = t->desc.callback_result;
	void *param = t->desc.callback_param;

	if (!(t->flags & DMA_PREP_INTERRUPT))
		return;
	c->chan.completed_cookie = t->desc.cookie;
	kfree(t);
	spin_lock_irq(&c->lock);
	c->used--;
	spin_unlock_irq(&c->lock);
	if (callback)
		callback(param, &r);
	wake_up_all(&c->room);
}

static void page_copy(phys_addr_t dst, phys_addr_t src, bool flip)
{
	struct page *d = pfn_to_page(PHYS_PFN(dst));

	if (src)
		copy_highpage(d, pfn_to_page(PHYS_PFN(src)));
	else
		memset(page_address(d), LATE_PATTERN, PAGE_SIZE);
	if (flip)
		((u8 *)page_address(d))[100] ^= 1;
	fault_copied(dst, src);
}

/* Whole pages, both ends aligned: prep refuses anything else. */
static void tx_copy(const struct tx *t, bool flip)
{
	size_t at;

	for (at = 0; at < t->len; at += PAGE_SIZE)
		page_copy(t->dst + at, t->src + at, flip);
}

static void tx_lose(struct channel *c, struct tx *t)
{
	unsigned int ms = fault_late_ms();

	t->due = ms ? (jiffies + msecs_to_jiffies(ms)) | 1 : 0;
	spin_lock_irq(&c->lock);
	list_add_tail(&t->node, &c->lost);
	spin_unlock_irq(&c->lock);
}

/* A lost one whose time has come, or NULL. */
static struct tx *tx_due(struct channel *c)
{
	struct tx *t, *due = NULL;

	spin_lock_irq(&c->lock);
	list_for_each_entry(t, &c->lost, node)
		if (t->due && time_after_eq(jiffies, t->due)) {
			list_del_init(&t->node);
			due = t;
			break;
		}
	c->busy = due;
	spin_unlock_irq(&c->lock);
	return due;
}

static void tx_late(struct channel *c, struct tx *t)
{
	size_t at;

	for (at = 0; at < t->len; at += PAGE_SIZE)
		page_copy(t->dst + at, 0, false);
	fault_late();
	tx_answer(c, t, DMA_TRANS_NOERROR);
}

/* The model clock: what the device would take for @len bytes. */
static void clock_wait(size_t len)
{
	u64 ns = READ_ONCE(desc_ns);

	if (READ_ONCE(rate_mbps))
		ns += div64_u64((u64)len * 1000, READ_ONCE(rate_mbps));
	if (ns >= 10000)
		usleep_range(ns / 1000, ns / 1000 + 50);
	else if (ns)
		ndelay(ns);
}

static void tx_run(struct channel *c, struct tx *t)
{
	struct fault f;

	fault_next(&f);
	clock_wait(t->len);
	if (f.delay_ms)
		msleep(f.delay_ms);
	if (!f.error && !f.lose)
		tx_copy(t, f.flip);
	fault_count(t->len, &f);
	if (f.lose)
		tx_lose(c, t);
	else if (fault_gate())
		list_add_tail(&t->node, &c->held);
	else
		tx_answer(c, t, f.error ? DMA_TRANS_READ_FAILED : DMA_TRANS_NOERROR);
}

static struct tx *tx_next(struct channel *c)
{
	struct tx *t;

	spin_lock_irq(&c->lock);
	t = list_first_entry_or_null(&c->issued, struct tx, node);
	if (t)
		list_del_init(&t->node);
	c->busy = t;
	spin_unlock_irq(&c->lock);
	return t;
}

static void held_answer(struct channel *c)
{
	struct tx *t, *next;

	list_for_each_entry_safe(t, next, &c->held, node) {
		list_del_init(&t->node);
		tx_answer(c, t, DMA_TRANS_NOERROR);
	}
}

static int channel_thread(void *arg)
{
	struct channel *c = arg;
	struct tx *t;

	while (!kthread_should_stop()) {
		wait_event_interruptible_timeout(
			c->wait, kthread_should_stop() || !list_empty_careful(&c->issued),
			list_empty_careful(&c->lost) && list_empty(&c->held)
				? MAX_SCHEDULE_TIMEOUT
				: 1);
		while ((t = tx_next(c)))
			tx_run(c, t);
		if (!fault_gate())
			held_answer(c);
		while ((t = tx_due(c)))
			tx_late(c, t);
		wake_up_all(&c->room);
	}
	held_answer(c);
	return 0;
}

static dma_cookie_t tx_submit(struct dma_async_tx_descriptor *desc)
{
	struct channel *c = to_channel(desc->chan);
	struct tx *t = container_of(desc, struct tx, desc);
	unsigned long flags;
	dma_cookie_t cookie;

	spin_lock_irqsave(&c->lock, flags);
	cookie = c->chan.cookie + 1;
	if (cookie < DMA_MIN_COOKIE)
		cookie = DMA_MIN_COOKIE;
	desc->cookie = c->chan.cookie = cookie;
	list_add_tail(&t->node, &c->pending);
	spin_unlock_irqrestore(&c->lock, flags);
	return cookie;
}

static bool tag_take(struct channel *c)
{
	bool ok;

	spin_lock_irq(&c->lock);
	ok = c->used < depth;
	c->used += ok;
	spin_unlock_irq(&c->lock);
	return ok;
}

static struct dma_async_tx_descriptor *prep_memcpy(struct dma_chan *chan, dma_addr_t dst,
						   dma_addr_t src, size_t len,
						   unsigned long flags)
{
	struct channel *c = to_channel(chan);
	struct tx *t;

	if (!len || (dst | src | len) & ~PAGE_MASK || !pfn_valid(PHYS_PFN(dst)) ||
	    !pfn_valid(PHYS_PFN(dst + len - 1)) || !pfn_valid(PHYS_PFN(src)) ||
	    !pfn_valid(PHYS_PFN(src + len - 1)))
		return NULL;
	if (wait_event_interruptible(c->room, tag_take(c)))
		return NULL;
	t = kzalloc(sizeof(*t), GFP_NOWAIT);
	if (!t) {
		spin_lock_irq(&c->lock);
		c->used--;
		spin_unlock_irq(&c->lock);
		return NULL;
	}
	dma_async_tx_descriptor_init(&t->desc, chan);
	t->desc.tx_submit = tx_submit;
	t->desc.flags = flags;
	t->flags = (u32)flags;
	t->dst = dst;
	t->src = src;
	t->len = len;
	return &t->desc;
}

static void issue_pending(struct dma_chan *chan)
{
	struct channel *c = to_channel(chan);
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	list_splice_tail_init(&c->pending, &c->issued);
	spin_unlock_irqrestore(&c->lock, flags);
	wake_up(&c->wait);
}

static enum dma_status tx_status(struct dma_chan *chan, dma_cookie_t cookie,
				 struct dma_tx_state *state)
{
	return DMA_OUT_OF_ORDER;
}

/* What is not being copied is aborted; what was lost as well: it will not write any more. */
static int terminate_all(struct dma_chan *chan)
{
	struct channel *c = to_channel(chan);
	struct tx *t, *next;
	LIST_HEAD(out);

	if (!fault_sync())
		return -EOPNOTSUPP;
	spin_lock_irq(&c->lock);
	list_splice_init(&c->pending, &out);
	list_splice_tail_init(&c->issued, &out);
	list_splice_tail_init(&c->lost, &out);
	spin_unlock_irq(&c->lock);
	list_for_each_entry_safe(t, next, &out, node) {
		list_del_init(&t->node);
		tx_answer(c, t, DMA_TRANS_ABORTED);
	}
	return 0;
}

static void synchronize(struct dma_chan *chan)
{
	struct channel *c = to_channel(chan);

	wait_event(c->room, !READ_ONCE(c->busy));
}

static int alloc_chan_resources(struct dma_chan *chan)
{
	return (int)depth;
}

static void free_chan_resources(struct dma_chan *chan)
{
}

int engine_add(struct platform_device *pdev)
{
	struct engine *e;
	u32 i;
	int ret;

	e = kzalloc(struct_size(e, channel, channels), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	e->dma.dev = &pdev->dev;
	INIT_LIST_HEAD(&e->dma.channels);
	dma_cap_set(DMA_MEMCPY, e->dma.cap_mask);
	dma_cap_set(DMA_PRIVATE, e->dma.cap_mask);
	e->dma.device_prep_dma_memcpy = prep_memcpy;
	e->dma.device_issue_pending = issue_pending;
	e->dma.device_tx_status = tx_status;
	e->dma.device_terminate_all = terminate_all;
	e->dma.device_synchronize = synchronize;
	e->dma.device_alloc_chan_resources = alloc_chan_resources;
	e->dma.device_free_chan_resources = free_chan_resources;
	for (i = 0; i < channels; i++) {
		struct channel *c = &e->channel[i];

		spin_lock_init(&c->lock);
		init_waitqueue_head(&c->wait);
		init_waitqueue_head(&c->room);
		INIT_LIST_HEAD(&c->pending);
		INIT_LIST_HEAD(&c->issued);
		INIT_LIST_HEAD(&c->lost);
		INIT_LIST_HEAD(&c->held);
		c->chan.device = &e->dma;
		c->chan.cookie = c->chan.completed_cookie = DMA_MIN_COOKIE;
		list_add_tail(&c->chan.device_node, &e->dma.channels);
		c->thread = kthread_run(channel_thread, c, "amux-dma/%u", i);
		if (IS_ERR(c->thread)) {
			ret = PTR_ERR(c->thread);
			goto stop;
		}
		e->n++;
	}
	ret = dma_async_device_register(&e->dma);
	if (ret)
		goto stop;
	platform_set_drvdata(pdev, e);
	return 0;

stop:
	while (e->n)
		kthread_stop(e->channel[--e->n].thread);
	kfree(e);
	return ret;
}

void engine_remove(struct platform_device *pdev)
{
	struct engine *e = platform_get_drvdata(pdev);
	struct tx *t, *next;
	u32 i;

	dma_async_device_unregister(&e->dma);
	for (i = 0; i < e->n; i++) {
		struct channel *c = &e->channel[i];
		LIST_HEAD(out);

		kthread_stop(c->thread);
		spin_lock_irq(&c->lock);
		list_splice_init(&c->pending, &out);
		list_splice_tail_init(&c->issued, &out);
		list_splice_tail_init(&c->lost, &out);
		spin_unlock_irq(&c->lock);
		list_for_each_entry_safe(t, next, &out, node) {
			list_del_init(&t->node);
			tx_answer(c, t, DMA_TRANS_ABORTED);
		}
	}
	kfree(e);
}
