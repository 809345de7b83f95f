/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * channel_set.h - channels and their slots as channel.c (work on them) and hold.c (which ones are
 * held) share them; nobody else includes it.
 *
 * Locks, outermost first: hold.c's mutex over acquire and release; channel_table (percpu rwsem)
 * over the sets and the list of channels, read by submitters, so that a release waits for them;
 * a channel's `lock` over its slots; a batch's wait.lock over its count.
 *
 * Owner: module state.
 */
#ifndef ACCELMUX_CHANNEL_SET_H
#define ACCELMUX_CHANNEL_SET_H

#include <linux/dmaengine.h>
#include <linux/kref.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "channel.h"

#define CHANNELS_MAX 32 /* behind one device index: the bits of an engine mask */

/* channel.h draws it */
enum slot_state { SLOT_FREE, SLOT_FLYING, SLOT_QUARANTINED, SLOT_PROVED };

struct slot {
	struct channel *channel;
	enum slot_state state;	  /* under channel->lock */
	struct amux_batch *batch; /* NULL once cut off; under channel->lock */
	struct page *dst, *src;
	dma_addr_t dst_dma, src_dma;
	size_t len;
	u32 first, count; /* pairs */
};

/* References: all_channels, the proof while it is queued or runs, whoever closes it. */
struct channel {
	struct kref ref;
	struct rcu_head rcu;
	struct list_head list; /* in all_channels: has a client, or a quarantined slot */
	struct dma_chan *chan; /* NULL once given back */
	struct device *dev;    /* held by a reference */
	struct device *name;   /* of the channel itself, in sysfs; held, too */
	u32 index, engine;
	spinlock_t lock;
	bool closing;
	u32 flying, quarantined;
	u64 bytes;     /* in flight, abandoned ones included */
	u64 submitted; /* descriptors, ever */
	struct work_struct proof;
	struct slot slot[CHANNEL_DEPTH];
};

/* What is behind one device index. */
struct set {
	u32 n;
	struct channel *channel[CHANNELS_MAX];
	/* busy time, for the measured rate */
	spinlock_t lock;
	u64 flying, since_ns, busy_ns, busy_bytes;
};

extern struct set channel_sets[AMUX_GRANT_DEVS];
extern struct list_head all_channels;
extern struct percpu_rw_semaphore channel_table;

/* A channel around @chan, with one reference, in no list yet.  NULL: no memory. */
struct channel *channel_new(struct dma_chan *chan, u32 index, u32 engine);
void channel_put(struct channel *c);

/* Cut every slot in flight off from its batch, into quarantine.  Process context. */
void channel_quarantine(struct channel *c);
/*
 * @c has no client any more; @quiet: the hardware is proved to be done with it.  What is proved
 * is given back by a work item, and @c itself when its last slot is free.
 */
void channel_closed(struct channel *c, bool quiet);
/* The hardware is proved to be done with @c, which has been closed. */
void channel_proved(struct channel *c);

#endif /* ACCELMUX_CHANNEL_SET_H */
