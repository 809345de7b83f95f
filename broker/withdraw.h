/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * withdraw.h - CANCEL: take back the requests of a queue of which nothing was issued yet.
 *
 * The walk goes from the latest to the oldest: those held behind a FENCE, then those with the
 * scheduler.  A flow issues its requests in order, so the first one that has begun ends it.  It
 * can be long, and a tenant may ask for one after the other: it is done in steps that count
 * against what a queue may pull, and nothing else of that queue is pulled meanwhile, so that no
 * request is new and none forgotten.
 *
 * Owner and thread: the queue, on the mux thread.
 */
#ifndef BROKER_WITHDRAW_H
#define BROKER_WITHDRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "../client/abi.h"

#define WITHDRAW_STEPS 4 /* requests looked at that cost as much as to pull one */

struct queue;
struct request;

struct withdrawal {
	bool active;
	bool listed;	      /* at the scheduler's; before that at those held */
	uint64_t user_data;   /* the CANCEL's own */
	uint64_t first, span; /* the user_data it names */
	uint64_t count;	      /* withdrawn so far */
	uint32_t held;	      /* those before this index are still to be looked at */
	struct request *next; /* to be looked at next, if it has not begun meanwhile */
};

/* Judge a CANCEL (a private copy) and make it q->withdrawal.  0, or -errno and *@field. */
int withdraw_begin(struct queue *q, const struct amux_sqe *sqe, uint16_t *field);

/* Look at up to @steps requests; q->withdrawal.active ends with the last one.  Returns how
 * many were looked at. */
unsigned int withdraw_step(struct queue *q, unsigned int steps, uint64_t now);

#endif /* BROKER_WITHDRAW_H */
