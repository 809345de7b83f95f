/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offer.h - what a grant allows for the next block of a mover's batch: token buckets,
 * choice of device and engine, prediction.  accelmux.ko decides by the same rules.
 *
 * Owner and thread: the mover's.
 */
#ifndef BROKER_OFFER_H
#define BROKER_OFFER_H

#include "mover.h"

/* What becomes of the next block: an enum amux_decline, or one of these. */
enum { MOVE_ENGINE = AMUX_DECLINE_COUNT, MOVE_WAIT };

/* How a device may serve the next block. */
struct offer {
	unsigned int dev;
	unsigned int engine;
	uint32_t bytes;
};

/*
 * Ask every device about the next block; the least loaded of the most willing gets it, lower
 * index first.  MOVE_ENGINE: @out tells where and how much; MOVE_WAIT: no room until
 * something is answered; else why no engine may take it.
 */
int offer_best(struct mover *m, const struct amux_grant *g, struct offer *out);

/* What threshold, reason mask and prediction say about the rest of the batch, @o being the
 * best offer or NULL: an enum amux_decline, or -1. */
int offer_judge(const struct mover *m, const struct amux_grant *g, const struct offer *o);

/* The copy rate of this class's CPU, as told by the grant (may be NULL), else as modelled,
 * else as measured. */
uint64_t offer_cpu_bps(const struct mover *m, const struct amux_grant *g);

/* ns for the whole batch on the first device if nobody else used it; needs a device. */
uint64_t offer_alone_ns(const struct mover *m, uint32_t chunk);

#endif /* BROKER_OFFER_H */
