/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * grant.h - what the broker allows now.  Reads the grant page under its sequence counter (at
 * most AMUX_GRANT_TRIES times), clamps every field, keeps the token buckets, and answers for
 * the next block of a batch.  Same rules as broker/offer.c.
 *
 * Without a broker the module's own default stands: parameter default=cpu (nothing) or share
 * (a grant made here of share_bps on every device held).
 *
 * Owner: module state.  Threads: attach and detach in process context under the cdev's mutex;
 * offers from any migrating task.  Nothing here sleeps or waits for user space.
 */
#ifndef ACCELMUX_GRANT_H
#define ACCELMUX_GRANT_H

#include <linux/types.h>

#include "uapi/accelmux.h"

/* What becomes of the next block: an enum amux_decline, or one of these. */
enum { OFFER_ENGINE = AMUX_DECLINE_COUNT, OFFER_WAIT };

struct offer_ask {
	u8 reason; /* enum amux_reason; more: not known, passes a mask of all reasons only */
	u32 pages; /* of the whole batch */
	u32 left;  /* pages neither submitted nor copied */
	u32 run;   /* pages left of the contiguous run at the head */
	u32 descs; /* descriptors that the rest will take, for prediction */
	int node;  /* where it goes */
};

struct offer {
	u32 dev;
	u32 engine_mask; /* channels of it that may be used */
	u32 bytes;	 /* at most, for the next block */
	u32 chunk_bytes;
	bool cocopy; /* the CPU is to copy from the tail meanwhile */
	/* of @first, whatever the answer: predicted for what is left */
	u64 alone_ns; /* on the idle engines granted; without any: cpu_ns */
	u64 cpu_ns;
};

int grant_init(void);
void grant_exit(void);

/* Is there anything that could be granted at all?  One load: the first question of a call. */
bool grant_possible(void);
/* The smallest batch worth looking at now, in pages; UINT_MAX without a grant. */
u32 grant_min_pages(void);

/*
 * Ask about the next block.  OFFER_ENGINE: @out is filled and the tokens are taken: what is
 * not submitted after all goes back by grant_refund().  OFFER_WAIT: no room until something in
 * flight is answered.  Otherwise the reason why the CPU is to copy (enum amux_decline).
 * @first: threshold, reason and prediction are judged too.
 */
int grant_offer(const struct offer_ask *ask, bool first, struct offer *out);
void grant_refund(u32 dev, u32 bytes);

/* Pages of the mapping (grant, demand), for the cdev's mmap; the demand page is used under
 * rcu_read_lock(): the next opener gets others. */
struct page *grant_page(unsigned int i);
struct amux_demand *grant_demand(void);
/* From now on the grant page counts.  -EPROTO: magic or version are wrong. */
int grant_attach(void);
/* A broker opens the device: fresh pages, and no share of our own any more. */
int grant_open(void);
/* It has gone: channels are released, and the module's own default stands again. */
void grant_detach(void);
/* The module's own default, at load and unload. */
void grant_share_start(void);
void grant_share_stop(void);
bool grant_attached(void);

#endif /* ACCELMUX_GRANT_H */
