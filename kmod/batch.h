/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * batch.h - copy a batch of pairs: engine, CPU or both, as the grant allows block by block.
 *
 * Owner: the caller (a context), which passes scratch memory it has preallocated: nothing is
 * allocated here, this may run in reclaim.  Thread: the task in migrate_pages(); may sleep.
 */
#ifndef ACCELMUX_BATCH_H
#define ACCELMUX_BATCH_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/migrate_mode.h>
#include <linux/types.h>

#include "pair.h"

#define BATCH_FOLIOS 512 /* NR_MAX_BATCHED_MIGRATION: HPAGE_PMD_NR */

struct amux_batch {
	struct amux_pair *pair[BATCH_FOLIOS]; /* in list order, all RECORDED and eligible */
	unsigned int n;
	u32 pages;
	u8 reason; /* enum amux_reason; AMUX_REASON_COUNT: unknown to the ABI */
	enum migrate_mode mode;
	u64 arrival_ns;

	/* batch.c's own */
	u32 runs; /* merged runs, as found */
	atomic_t flying;	 /* descriptors submitted and not answered */
	struct completion idle;	 /* @flying fell to zero */
	u64 start_ns;
	u32 engine_pages, cpu_pages;
};

/*
 * Copy what the grant allows; afterwards every pair's state tells what became of it
 * (pair.h).  Counts the whole batch in the statistics, pages that are left to
 * folio_mc_copy() as the CPU's.  No descriptor refers to @b any more when it returns.
 */
void batch_copy(struct amux_batch *b);

#endif /* ACCELMUX_BATCH_H */
