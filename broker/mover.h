/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mover.h - move batches of pages the way accelmux.ko does: read the grant, decide between
 * engine and CPU block by block, submit to kernel WQs, keep the demand page.
 *
 *	mover_prepare(b)     content of the pages; before the batch's time, not measured
 *	mover_move(b)        from arrival to the last page copied
 *	mover_verify(b)      compare every byte; not measured
 *
 * A batch goes in blocks of at most the granted chunk.  For each block the grant is read
 * anew; a block without tokens goes to the CPU, a withdrawn grant sends the rest there.
 * Nothing waits for tokens.  A descriptor that times out takes its device out of use and its
 * arena out of circulation until the answer has come; its pages are copied elsewhere.
 *
 * Owner: the replay.  Thread: the replay's, after mover_init(); it is the single submitter
 * of the kernel WQs and the single writer of the demand page.
 */
#ifndef BROKER_MOVER_H
#define BROKER_MOVER_H

#include "../kmod/uapi/accelmux.h"
#include "arena.h"
#include "engine.h"
#include "sleeper.h"
#include "trace.h"

/* Late descriptors hold a device out of use, so that not more arenas are ever held back. */
#define MOVER_ARENAS (AMUX_GRANT_DEVS + 2)

/* One descriptor that was submitted and not answered yet. */
struct mover_piece {
	struct arena *arena;
	uint32_t page; /* first source page; also its record */
	uint32_t dst;  /* first destination page */
	uint32_t pages;
	uint16_t dev, engine;
	uint64_t submit_ns;
};

/* What this mover has on one device. */
struct mover_device {
	struct device *dev;
	uint32_t count[ENGINE_MAX]; /* descriptors, late ones included */
	uint64_t bytes[ENGINE_MAX];
	uint64_t total;	 /* sum of bytes[] */
	uint32_t late;	 /* timed out; while there are any the device is not used */
	uint32_t down;	 /* engines that refused in this batch */
	uint64_t tokens; /* bytes */
	uint64_t rate;	 /* at which they accrue */
	uint64_t refill_ns;
};

struct mover {
	struct sleeper *sleeper;
	const struct amux_grant *grant;
	struct amux_demand *demand;
	void (*arrived)(void *arg);
	void *arg;
	uint64_t cpu_bps;      /* modelled, 0: full speed */
	uint64_t measured_bps; /* of this CPU, for predictions at full speed */
	uint64_t timeout_ns;   /* of one descriptor */
	bool verify;
	unsigned int n_devs;
	struct mover_device devs[AMUX_GRANT_DEVS];

	struct mover_piece *flying; /* submitted, unanswered */
	struct mover_piece *late;   /* the same, timed out */
	uint32_t n_flying, n_late;

	struct arena *arenas[MOVER_ARENAS];
	struct arena *cur;
	struct arena *spare; /* takes the pages of late descriptors; none: no engine is used */
	bool spare_used;     /* in this batch: becomes the next one's arena */
	uint8_t *redirected; /* by page: 1: its copy is in the spare */
	__u64 mismatches;    /* pages; read by any thread */

	/* the batch in progress */
	const struct trace_batch *batch;
	struct trace_cursor at;
	uint64_t seed;
	uint64_t arrival_ns;
	uint64_t start_ns;  /* of the first copy, 0: none yet */
	uint64_t cpu_until; /* when the modelled CPU is done with what it was given */
	bool by_engine;	    /* at least one page of it went that way */
	bool judged;	    /* threshold, reason and prediction were looked at */
};

/*
 * Prepare to move batches of at most @max_pages on @dev[].  The caller sets sleeper, grant,
 * demand, arrived, arg, cpu_bps, timeout_ns and verify in a zeroed @m before.  0 or -ENOMEM.
 */
int mover_init(struct mover *m, struct device *const *dev, unsigned int n_devs,
	       uint32_t max_pages);
/* Partner of mover_init().  Memory that an engine may still write to is leaked. */
void mover_fini(struct mover *m);

/* Measure this CPU's copy rate, if the predictor will need it. */
void mover_measure(struct mover *m);
void mover_prepare(struct mover *m, const struct trace_batch *b);
/* After a stop the rest of the batch is copied by the CPU, at full speed. */
void mover_move(struct mover *m, const struct trace_batch *b);
void mover_verify(struct mover *m, const struct trace_batch *b);
/* Wait until late descriptors are answered, at most @ns. */
void mover_quiesce(struct mover *m, uint64_t ns);

#endif /* BROKER_MOVER_H */
