/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * testdma.h - a DMA engine made of software, for tests of dmaengine clients: memcpy channels
 * with a depth, a model clock and fault injection.  Like idxd it neither completes nor frees a
 * descriptor without DMA_PREP_INTERRUPT and cannot be polled.
 *
 * Belongs to the lab alone: it takes DMA addresses for physical ones, which holds only where
 * no IOMMU translates and nothing is bounced.
 */
#ifndef TESTDMA_H
#define TESTDMA_H

#include <linux/dmaengine.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#define CHANNELS_MAX 32

/* One descriptor. */
struct tx {
	struct dma_async_tx_descriptor desc;
	struct list_head node;
	phys_addr_t dst, src;
	size_t len;
	u32 flags;
	unsigned long due; /* jiffies; 0: never */
};

struct channel {
	struct dma_chan chan;
	spinlock_t lock;
	wait_queue_head_t wait; /* for work */
	wait_queue_head_t room; /* for tags, and for being idle */
	struct list_head pending, issued, lost;
	struct list_head held; /* copied, not answered while the gate is shut; of the thread */
	struct task_struct *thread;
	u32 used;  /* tags */
	bool busy; /* a descriptor is being copied */
};

struct engine {
	struct dma_device dma;
	u32 n;
	struct channel channel[];
};

extern unsigned int channels, depth, desc_ns, rate_mbps;

int engine_add(struct platform_device *pdev);
void engine_remove(struct platform_device *pdev);

/* What is to go wrong with the descriptor that comes next. */
struct fault {
	bool error, lose, flip;
	unsigned int delay_ms;
};

void fault_next(struct fault *f);
void fault_count(u64 bytes, const struct fault *f);
void fault_late(void);
/* A page was copied: noted in debugfs copies, see fault.c. */
void fault_copied(phys_addr_t dst, phys_addr_t src);
unsigned int fault_late_ms(void);
/* nothing is answered */
bool fault_gate(void);
/* terminate_all and synchronize are there and honest */
bool fault_sync(void);
int fault_init(void);
void fault_exit(void);

#endif /* TESTDMA_H */
