// SPDX-License-Identifier: GPL-2.0-only
/*
 * channel.c - see channel.h. Locks: see channel_set.h.
 */
#include <linux/bitops.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "batch.h"
#include "channel_set.h"
#include "stats.h"

#define REMOTE_BYTES (256u << 10) /* a channel on another node counts as so much fuller */

struct set channel_sets[AMUX_GRANT_DEVS];
LIST_HEAD(all_channels);
struct percpu_rw_semaphore channel_table;
static atomic64_t quarantined_now, quarantined_ever;

static struct workqueue_struct *proofs;

static void channel_free(struct kref *ref)
{
	struct channel *c = container_of(ref, struct channel, ref);

	put_device(c->name);
	put_device(c->dev);
	kfree_rcu(c, rcu); /* a callback may be leaving its lock just now */
}

void channel_put(struct channel *c)
{
	kref_put(&c->ref, channel_free);
}

/* Have the proved slots looked at, and @c itself.  The caller keeps @c from going. */
static void proof_queue(struct channel *c)
{
	kref_get(&c->ref);
	if (!queue_work(proofs, &c->proof))
		channel_put(c);
}

static void set_busy(struct set *s, int by, u64 bytes)
{
	u64 now = ktime_get_ns();
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	if (s->flying)
		s->busy_ns += now - s->since_ns;
	s->since_ns = now;
	s->flying += by;
	s->busy_bytes += bytes;
	/* An average over the recent past: halve both when there is enough of it. */
	if (s->busy_bytes > (256ull << 20)) {
		s->busy_bytes >>= 1;
		s->busy_ns >>= 1;
	}
	spin_unlock_irqrestore(&s->lock, flags);
}

static void slot_unmap(struct slot *s)
{
	struct device *dev = s->channel->dev;

	dma_unmap_page(dev, s->src_dma, s->len, DMA_TO_DEVICE);
	dma_unmap_page(dev, s->dst_dma, s->len, DMA_FROM_DEVICE);
}

/* Folios that a run of @len bytes from @page covers: one reference more, or less, on each. */
static void run_hold(struct page *page, size_t len, bool hold)
{
	struct page *end = page + (len >> PAGE_SHIFT);

	while (page < end) {
		struct folio *f = page_folio(page);

		if (hold)
			folio_get(f);
		page = folio_page(f, 0) + folio_nr_pages(f);
		if (!hold)
			folio_put(f);
	}
}

/* Cut @s off from its batch: under the channel's lock. */
static void slot_quarantine(struct slot *s)
{
	struct channel *c = s->channel;
	struct amux_batch *b = s->batch;
	u32 i;

	run_hold(s->dst, s->len, true);
	run_hold(s->src, s->len, true);
	__module_get(THIS_MODULE);
	for (i = s->first; i < s->first + s->count; i++)
		b->pair[i]->state = PAIR_STUCK;
	s->state = SLOT_QUARANTINED;
	s->batch = NULL;
	c->flying--;
	c->quarantined++;
	atomic64_inc(&quarantined_now);
	atomic64_inc(&quarantined_ever);
}

/* The batch has one descriptor less in flight; nothing of it is touched afterwards. */
static void batch_landed(struct amux_batch *b)
{
	unsigned long flags;

	spin_lock_irqsave(&b->wait.lock, flags);
	b->flying--;
	b->landed++;
	wake_up_locked(&b->wait);
	spin_unlock_irqrestore(&b->wait.lock, flags);
}

/* Proved slots: give back what they hold.  A work item, for folio_put() and module_put(). */
static void channel_proof(struct work_struct *work)
{
	struct channel *c = container_of(work, struct channel, proof);
	unsigned int i, n = 0;
	bool gone;

	for (i = 0; i < CHANNEL_DEPTH; i++) {
		struct slot *s = &c->slot[i];

		if (READ_ONCE(s->state) != SLOT_PROVED)
			continue;
		slot_unmap(s);
		run_hold(s->dst, s->len, false);
		run_hold(s->src, s->len, false);
		set_busy(&channel_sets[c->index], -1, 0);
		spin_lock_irq(&c->lock);
		s->state = SLOT_FREE;
		c->bytes -= s->len;
		c->quarantined--;
		spin_unlock_irq(&c->lock);
		n++;
	}
	percpu_down_write(&channel_table);
	gone = !c->chan && !c->quarantined && !c->flying && !list_empty(&c->list);
	if (gone)
		list_del_init(&c->list);
	percpu_up_write(&channel_table);
	if (gone)
		channel_put(c);
	channel_put(c); /* proof_queue()'s */
	atomic64_sub(n, &quarantined_now);
	while (n--)
		module_put(THIS_MODULE);
}

static void slot_callback(void *arg, const struct dmaengine_result *result)
{
	struct slot *s = arg;
	struct channel *c = s->channel;
	struct amux_batch *b;
	bool aborted = result && result->result == DMA_TRANS_ABORTED;
	bool failed = result && result->result != DMA_TRANS_NOERROR;
	unsigned long flags;
	u32 first, count, index = c->index;
	size_t len;

	spin_lock_irqsave(&c->lock, flags);
	b = s->batch;
	if (s->state == SLOT_QUARANTINED) {
		/* Late, but its own: the engine is done with it.  ABORTED proves nothing. */
		if (!aborted) {
			s->state = SLOT_PROVED;
			proof_queue(c);
		}
		spin_unlock_irqrestore(&c->lock, flags);
		return;
	}
	if (s->state != SLOT_FLYING) {
		spin_unlock_irqrestore(&c->lock, flags);
		return;
	}
	if (aborted) {
		slot_quarantine(s);
		spin_unlock_irqrestore(&c->lock, flags);
		batch_landed(b);
		return;
	}
	first = s->first;
	count = s->count;
	len = s->len;
	slot_unmap(s);
	s->state = SLOT_FREE;
	s->batch = NULL;
	c->flying--;
	c->bytes -= len;
	spin_unlock_irqrestore(&c->lock, flags);

	/* The slot is free: with nothing else in flight @c may be going. */
	set_busy(&channel_sets[index], -1, failed ? 0 : len);
	stats_answered(index, len, failed);
	batch_answered(b, first, count, failed ? -EIO : 0);
	batch_landed(b);
}

/* On another node than @node, as far as it is known. */
static bool is_remote(const struct channel *c, int node)
{
	int here = dev_to_node(c->dev);

	return here != NUMA_NO_NODE && here != node;
}

/* The usable channel of @mask with the least in flight that has a free slot. */
static struct channel *channel_pick(struct set *s, u32 mask, int node)
{
	struct channel *best = NULL;
	u64 weight, least = U64_MAX;
	u32 i;

	for (i = 0; i < s->n; i++) {
		struct channel *c = s->channel[i];

		if (!(mask & BIT(i)) || c->closing || c->quarantined ||
		    c->flying >= CHANNEL_DEPTH)
			continue;
		weight = c->bytes + (is_remote(c, node) ? REMOTE_BYTES : 0);
		if (weight < least) {
			best = c;
			least = weight;
		}
	}
	return best;
}

static struct slot *slot_take(struct channel *c, struct amux_batch *b, size_t len)
{
	struct slot *s = NULL;
	unsigned int i;

	spin_lock_irq(&c->lock);
	for (i = 0; i < CHANNEL_DEPTH && !c->closing && !c->quarantined; i++)
		if (c->slot[i].state == SLOT_FREE) {
			s = &c->slot[i];
			s->state = SLOT_FLYING;
			s->batch = b;
			s->len = len;
			c->flying++;
			c->bytes += len;
			c->submitted++;
			break;
		}
	spin_unlock_irq(&c->lock);
	return s;
}

/* A slot that nothing was submitted from; false: its callback has been heard meanwhile. */
static bool slot_give_back(struct slot *s)
{
	struct channel *c = s->channel;
	bool mine;

	spin_lock_irq(&c->lock);
	mine = s->state == SLOT_FLYING;
	if (mine) {
		s->state = SLOT_FREE;
		s->batch = NULL;
		c->flying--;
		c->bytes -= s->len;
	}
	spin_unlock_irq(&c->lock);
	return mine;
}

int channel_submit(u32 dev, u32 engine_mask, struct amux_batch *b, struct page *dst,
		   struct page *src, size_t len, u32 first, u32 count)
{
	struct dma_async_tx_descriptor *tx;
	struct channel *c;
	struct slot *s;
	int ret = -EAGAIN;

	percpu_down_read(&channel_table);
	c = channel_pick(&channel_sets[dev], engine_mask, page_to_nid(dst));
	s = c ? slot_take(c, b, len) : NULL;
	if (!s)
		goto unlock;
	ret = -EIO;
	s->dst = dst;
	s->src = src;
	s->first = first;
	s->count = count;
	s->src_dma = dma_map_page(c->dev, src, 0, len, DMA_TO_DEVICE);
	if (dma_mapping_error(c->dev, s->src_dma))
		goto give_back;
	s->dst_dma = dma_map_page(c->dev, dst, 0, len, DMA_FROM_DEVICE);
	if (dma_mapping_error(c->dev, s->dst_dma))
		goto unmap_src;
	/* Without DMA_PREP_INTERRUPT idxd neither completes nor frees a descriptor. */
	tx = dmaengine_prep_dma_memcpy(c->chan, s->dst_dma, s->src_dma, len,
				       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		goto unmap_dst;
	tx->callback_result = slot_callback;
	tx->callback_param = s;
	if (is_remote(c, page_to_nid(dst)))
		stats_cross_node();
	spin_lock_irq(&b->wait.lock);
	b->flying++;
	spin_unlock_irq(&b->wait.lock);
	set_busy(&channel_sets[dev], 1, 0);
	stats_submitted(dev, len);
	if (dma_submit_error(dmaengine_submit(tx))) {
		/* idxd may have called back ABORTED as well: then that counts, not this. */
		if (!slot_give_back(s)) {
			ret = 0;
			goto unlock;
		}
		set_busy(&channel_sets[dev], -1, 0);
		stats_answered(dev, len, true);
		batch_landed(b);
		dma_unmap_page(c->dev, s->dst_dma, len, DMA_FROM_DEVICE);
		dma_unmap_page(c->dev, s->src_dma, len, DMA_TO_DEVICE);
		goto unlock;
	}
	dma_async_issue_pending(c->chan);
	ret = 0;
	goto unlock;

unmap_dst:
	dma_unmap_page(c->dev, s->dst_dma, len, DMA_FROM_DEVICE);
unmap_src:
	dma_unmap_page(c->dev, s->src_dma, len, DMA_TO_DEVICE);
give_back:
	slot_give_back(s);
unlock:
	percpu_up_read(&channel_table);
	return ret;
}

unsigned int channel_abandon(struct amux_batch *b)
{
	unsigned int n = 0, here, i;
	struct channel *c;

	percpu_down_read(&channel_table);
	list_for_each_entry(c, &all_channels, list) {
		here = 0;
		spin_lock_irq(&c->lock);
		for (i = 0; i < CHANNEL_DEPTH; i++)
			if (c->slot[i].state == SLOT_FLYING && c->slot[i].batch == b) {
				slot_quarantine(&c->slot[i]);
				here++;
			}
		spin_unlock_irq(&c->lock);
		n += here;
		while (here--)
			batch_landed(b);
	}
	percpu_up_read(&channel_table);
	return n;
}

void channel_load(u32 dev, struct channel_load *out)
{
	struct set *s = &channel_sets[dev];
	u32 i;

	*out = (struct channel_load){ .node = NUMA_NO_NODE };
	percpu_down_read(&channel_table);
	for (i = 0; i < s->n; i++) {
		struct channel *c = s->channel[i];
		u32 flying = READ_ONCE(c->flying);

		if (c->closing)
			continue;
		if (READ_ONCE(c->quarantined)) {
			out->suspect++;
			continue;
		}
		if (!out->usable)
			out->node = dev_to_node(c->dev);
		else if (out->node != dev_to_node(c->dev))
			out->node = NUMA_NO_NODE;
		out->usable |= BIT(i);
		out->free += flying < CHANNEL_DEPTH ? CHANNEL_DEPTH - flying : 0;
		out->bytes += READ_ONCE(c->bytes);
	}
	percpu_up_read(&channel_table);
	/* An old measurement is none: else a slow moment would keep work away for ever. */
	if (READ_ONCE(s->busy_ns) > NSEC_PER_MSEC &&
	    ktime_get_ns() - READ_ONCE(s->since_ns) < NSEC_PER_SEC)
		out->device_bps = mul_u64_u64_div_u64(READ_ONCE(s->busy_bytes), NSEC_PER_SEC,
						      READ_ONCE(s->busy_ns));
}

u64 channel_quarantined(void)
{
	return atomic64_read(&quarantined_now);
}

u64 channel_quarantined_total(void)
{
	return atomic64_read(&quarantined_ever);
}

struct channel *channel_new(struct dma_chan *chan, u32 index, u32 engine)
{
	struct channel *c = kzalloc(sizeof(*c), GFP_KERNEL);
	unsigned int i;

	if (!c)
		return NULL;
	kref_init(&c->ref);
	c->chan = chan;
	c->dev = get_device(chan->device->dev);
	c->name = get_device(&chan->dev->device);
	c->index = index;
	c->engine = engine;
	spin_lock_init(&c->lock);
	INIT_WORK(&c->proof, channel_proof);
	for (i = 0; i < CHANNEL_DEPTH; i++)
		c->slot[i].channel = c;
	return c;
}

void channel_quarantine(struct channel *c)
{
	struct amux_batch *b;
	unsigned int i;

	for (i = 0; i < CHANNEL_DEPTH; i++) {
		b = NULL;
		spin_lock_irq(&c->lock);
		if (c->slot[i].state == SLOT_FLYING) {
			b = c->slot[i].batch;
			slot_quarantine(&c->slot[i]);
		}
		spin_unlock_irq(&c->lock);
		if (b)
			batch_landed(b);
	}
}

/* Under the channel's lock. */
static void slots_proved(struct channel *c)
{
	unsigned int i;

	for (i = 0; i < CHANNEL_DEPTH; i++)
		if (c->slot[i].state == SLOT_QUARANTINED)
			c->slot[i].state = SLOT_PROVED;
}

void channel_closed(struct channel *c, bool quiet)
{
	/* With chan gone, a proof that is queued already may let go of the list's reference. */
	kref_get(&c->ref);
	spin_lock_irq(&c->lock);
	c->chan = NULL;
	if (quiet)
		slots_proved(c);
	spin_unlock_irq(&c->lock);
	proof_queue(c);
	channel_put(c);
}

void channel_proved(struct channel *c)
{
	spin_lock_irq(&c->lock);
	slots_proved(c);
	spin_unlock_irq(&c->lock);
	proof_queue(c);
}

void channel_show(struct seq_file *m)
{
	struct channel *c;

	percpu_down_read(&channel_table);
	list_for_each_entry(c, &all_channels, list)
		seq_printf(m, "%u %u %s %d %s %u %u %llu %llu\n", c->index, c->engine,
			   dev_name(c->dev), dev_to_node(c->dev),
			   c->quarantined ? "suspect"
			   : c->closing	  ? "closed"
					  : "open",
			   c->flying, c->quarantined, c->bytes, c->submitted);
	percpu_up_read(&channel_table);
}

int channel_init(void)
{
	int ret;
	u32 i;

	for (i = 0; i < AMUX_GRANT_DEVS; i++)
		spin_lock_init(&channel_sets[i].lock);
	ret = percpu_init_rwsem(&channel_table);
	if (ret)
		return ret;
	proofs = alloc_workqueue("accelmux", WQ_UNBOUND, 0);
	if (!proofs) {
		percpu_free_rwsem(&channel_table);
		return -ENOMEM;
	}
	return 0;
}

void channel_exit(void)
{
	destroy_workqueue(proofs);
	/* Waits for its RCU callback, which would run in memory that is gone. */
	percpu_free_rwsem(&channel_table);
}
