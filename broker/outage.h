/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * outage.h - an engine that stopped answering, on the scheduler's side: from up to lost, and what
 * becomes of the chunks that it has.  The states are drawn beside enum engine_health.
 *
 * An accepted request ends exactly once: a chunk that never reached the engine, or whose engine is
 * proved quiet, is done by this thread, unless it is an overlapping copy that may have begun,
 * which cannot be begun again: that one fails.  As long as an engine is not proved quiet its
 * chunks wait, for nothing but the device: their buffers must not be used again before.
 *
 * Owner: the scheduler.  Thread: the mux thread.
 */
#ifndef BROKER_OUTAGE_H
#define BROKER_OUTAGE_H

#include "sched.h"

/* Engine @e of device @d is lost: nothing is submitted to it until control says "up". */
void outage_begin(struct sched *s, unsigned int d, unsigned int e, enum engine_why why);

/* Set the record of @c, whose engine will not: by doing it, or as an error.  @fresh: it never
 * reached the engine. */
void outage_answer(struct sched *s, struct chunk *c, bool fresh);

/* Is everything that is still to be answered on engines that are lost and not proved quiet? */
bool outage_holds_all(const struct sched *s);

/* Look after one engine, records taken in before.  Returns how much it did. */
unsigned int outage_step(struct sched *s, unsigned int d, unsigned int e, uint64_t now);

#endif /* BROKER_OUTAGE_H */
