/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pair.h - one folio on its way: source, destination, and what became of the copy.
 *
 * Owner: the context of a migrate_pages() call (context.c).  Thread: the task that called
 * migrate_pages(); batch_copy() works on them in that task as well.
 */
#ifndef ACCELMUX_PAIR_H
#define ACCELMUX_PAIR_H

#include <linux/types.h>

struct folio;

/*
 *	RECORDED --batch_copy()--> COPIED   the data is there; one folio_mc_copy() returns 0
 *	    ^                  --> FAILED   a CPU copy ahead of time failed: @rc says how
 *	    |                  --> STUCK    DMA in flight at the time-out: folio_mc_copy() must
 *	    |                               return -EBUSY, nobody may write this dst again
 *	    |                  --> RECORDED not copied: the CPU copies it in its turn
 *	    `--- consumed by folio_mc_copy(), or a failed attempt was seen
 *	GONE: a slot without a pair.
 */
enum pair_state {
	PAIR_GONE,
	PAIR_RECORDED,
	PAIR_COPIED,
	PAIR_FAILED,
	PAIR_STUCK,
};

struct amux_pair {
	struct folio *src;
	struct folio *dst;
	u32 pages;
	u8 state;   /* enum pair_state */
	u8 batched; /* part of what batch_copy() got */
	s16 rc;
};

#endif /* ACCELMUX_PAIR_H */
