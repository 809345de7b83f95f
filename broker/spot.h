/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * spot.h - copies that are done where they are pulled: where the engine is the very thread that
 * pulls (an inline engine of the CPU), and nobody waits for a turn or is held to a rate, a copy
 * that is one descriptor gains nothing from queues, chunks and work queues on its way.
 *
 *	request judged and admitted ── spot_add() ── spot_run() ─┬─ done ───────────────> CQE
 *							        └─ a page not there ─> sched_enqueue()
 *
 * A piece of a queue's requests is pulled, then copied back to back, then answered; what it costs
 * is charged and counted for all of it, and the clock is read once.
 *
 * Owner: a mux's queue_set.  Thread: the mux thread.
 */
#ifndef BROKER_SPOT_H
#define BROKER_SPOT_H

#include "sched.h"

#define SPOT_BYTES (64u << 10) /* of one copy: a bigger one is worth its way */
#define SPOT_MAX   8	       /* copies of a piece */

struct spot {
	bool allowed; /* the mux: one queue is polled, no kernel class shares the engines */
	bool open;    /* for the piece that is being pulled */
	bool ran;     /* something, since the mux last cleared it */
	unsigned int engine;
	/* of this piece */
	uint32_t n;
	uint64_t bytes, cost;
	uint64_t ahead; /* sum over its copies of the bytes up to and with each */
	struct engine_copy copy[SPOT_MAX];
	struct amux_sqe sqe[SPOT_MAX];
	struct request req; /* to judge by; always the same, so that it stays in the cache */
};

/* A piece of @t's queue begins. */
void spot_begin(struct spot *sp, const struct sched *s, const struct sched_tenant *t);

/* Take sp->req, just judged and admitted, of @sqe.  false: it is not for here. */
bool spot_add(struct spot *sp, const struct sched *s, const struct amux_sqe *sqe);

/*
 * Do the piece's copies and charge @t; @begin_ns: when the piece began.  Returns how many of sp->n
 * were done: the others meet a page that is not there, and have to be enqueued.  The caller
 * answers, and clears sp->n.
 */
uint32_t spot_run(struct spot *sp, struct sched *s, struct sched_tenant *t, uint64_t begin_ns);

#endif /* BROKER_SPOT_H */
