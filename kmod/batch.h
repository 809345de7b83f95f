/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * batch.h - copy a batch of pairs: engine, CPU or both, as the grant allows block by block.
 *
 * Owner: the caller (a context), which passes memory allocated at load: nothing is allocated
 * here, this may run in reclaim.  Thread: the task in migrate_pages(); sleeps.
 */
#ifndef ACCELMUX_BATCH_H
#define ACCELMUX_BATCH_H

#include <linux/migrate_mode.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "pair.h"
#include "stats.h"

#define BATCH_FOLIOS 512 /* NR_MAX_BATCHED_MIGRATION: HPAGE_PMD_NR */

struct amux_batch {
	struct amux_pair *pair[BATCH_FOLIOS]; /* in list order, all RECORDED and fit */
	unsigned int n;
	u32 pages;
	u8 reason; /* enum amux_reason; AMUX_REASON_COUNT: not known */
	enum migrate_mode mode;
	u64 arrival_ns;

	/* in flight: under wait.lock; whoever saw flying fall takes that lock once more before
	 * it lets go of the batch, so that the waker has left */
	wait_queue_head_t wait;
	u32 flying;			      /* descriptors submitted and not answered */
	u32 landed;			      /* answered, ever */
	DECLARE_BITMAP(failed, BATCH_FOLIOS); /* pairs with an error */

	bool open; /* between batch_copy() and batch_close() */
	struct batch_outcome outcome;
};

/* Add @p, which is RECORDED; at most BATCH_FOLIOS. */
void batch_take(struct amux_batch *b, struct amux_pair *p);
/*
 * Copy what the grant allows; afterwards every pair's state tells what became of it (pair.h).
 * No descriptor refers to @b any more when it returns.  Takes no longer than twice the
 * time-out, whatever the engines do.
 */
void batch_copy(struct amux_batch *b);
/* A pair that batch_copy() left RECORDED, in its turn, by the CPU: 0 or -EHWPOISON. */
int batch_copy_late(struct amux_batch *b, struct amux_pair *p);
/* Nothing more comes: count the batch in the statistics.  Idempotent. */
void batch_close(struct amux_batch *b);
/* Only trace it: all of it is left to folio_mc_copy(), and it is no part of the demand. */
void batch_trace(struct amux_batch *b);

/* channel.c: pairs first .. first + count of @b were answered with @status (callback context,
 * before b->flying falls). */
void batch_answered(struct amux_batch *b, u32 first, u32 count, int status);

/* What this CPU copies, bytes/s, measured at load. */
u64 batch_cpu_bps(void);
void batch_init(void);

#endif /* ACCELMUX_BATCH_H */
