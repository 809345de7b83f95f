/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * spot.h - requests that are done the moment they are pulled: where the engine is the very thread
 * that pulls (an inline engine of the CPU), and nobody waits for a turn or is held to a rate, a
 * request that is one descriptor gains nothing from queues, chunks and work queues on its way.
 *
 *	request judged and admitted ── spot_run() ─┬─ done ────> CQE
 *	                                           └─ no, or a page was not there ──> sched_enqueue()
 *
 * What it costs is charged, and counted, for all of a piece together (spot_end()), before it is
 * published; the clock is read once for it.
 *
 * Owner: a mux's queue_set.  Thread: the mux thread.
 */
#ifndef BROKER_SPOT_H
#define BROKER_SPOT_H

#include "sched.h"

#define SPOT_BYTES (64u << 10) /* of one request: a bigger one is worth its way */

struct spot {
	bool allowed; /* the mux: one queue is polled, no kernel class shares the engines */
	bool open;    /* for the piece that is being pulled */
	bool ran;     /* something since the mux last cleared it */
	unsigned int engine;
	/* of this piece */
	uint32_t n;
	uint64_t bytes, cost;
	uint64_t ahead; /* sum over its requests of the bytes up to and with each */
	/* always the same ones, so that they stay in the cache */
	struct request req;
	struct chunk chunk;
};

/* A piece of @t's queue begins. */
void spot_begin(struct spot *sp, const struct sched *s, const struct sched_tenant *t);

/* Do sp->req, which was just judged.  false: it was not, or not all of it: begin anew. */
bool spot_run(struct spot *sp, struct sched *s);

/* The piece ends: @t pays.  @begin_ns: when it began. */
void spot_end(struct spot *sp, struct sched *s, struct sched_tenant *t, uint64_t begin_ns);

#endif /* BROKER_SPOT_H */
