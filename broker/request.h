/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * request.h - one validated SQE on its way through the scheduler, and the chunks it is cut
 * into: what to put into the next descriptor, and what a completion record means for it.
 *
 *	 admitted ── request_next() ──> chunks in flight ── request_chunk_done() ──┐
 *	    ^                                                  │ more to issue      │
 *	    └──────────────────────────────────────────────────┘                    v
 *	                                                       request_finished(): answered
 *
 * Parallel operations (COPY without overlap, FILL, COMPARE, DUALCAST) may have many chunks in
 * flight; sequential ones (overlapping COPY, CRC32C, COPY_CRC) have one, in order.
 *
 * Owner and thread: the queue that admitted it, on the mux thread.
 */
#ifndef BROKER_REQUEST_H
#define BROKER_REQUEST_H

#include "../client/abi.h"
#include "engine.h"
#include "list.h"
#include "region.h"

struct flow;

struct request {
	struct list link; /* flow->pending while there is something to issue */
	struct flow *flow;
	uint64_t user_data;
	struct region *region[3]; /* NULL where the op has none; refs are held */
	uint8_t *addr[3];
	uint64_t param;	 /* pattern, or CRC so far */
	uint64_t len;	 /* bytes to issue: twice the length for an emulated DUALCAST */
	uint64_t issued; /* bytes handed to engines */
	uint64_t done;	 /* bytes completed */
	uint64_t result;
	uint64_t arrived_ns, issued_ns;
	uint64_t ahead;	   /* bytes of its own queue that were before it when it arrived */
	uint32_t inflight; /* chunks */
	int32_t status;	   /* 0 or the first error */
	uint16_t field;
	uint16_t flags; /* AMUX_SQE_* */
	uint8_t op;
	bool sequential;
	bool backward;	 /* sequential, from the end: dst above src */
	bool split_dual; /* DUALCAST as two copies: destinations differ in bits 11:0 */
	bool stop;	 /* an error or a mismatch: issue no more */
};

struct chunk {
	struct dsa_completion_record rec __attribute__((aligned(32)));
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	struct list link; /* in flight on its engine, or free */
	struct request *req;
	uint64_t offset;    /* in the request */
	uint32_t bytes;	    /* still to be done by this descriptor */
	uint32_t cost;	    /* what the scheduler charged */
	uint64_t submit_ns; /* when its engine took it */
	uint16_t faults;    /* resumes without progress */
	uint8_t dev, engine;
	bool borrowed;
	bool redone; /* its record is not the engine's */
};

/*
 * Judge @sqe (a private copy) against @region[], which the caller looked up from its ids, and
 * set up @r.  Returns 0, or -errno with *@field naming what was wrong.
 */
int request_init(struct request *r, const struct amux_sqe *sqe, struct region *const *region,
		 uint16_t *field);

/* How many region ids an op uses, as a bit mask over region[0..2]. */
unsigned int op_regions(uint8_t op);

/* More to issue right now? */
static inline bool request_ready(const struct request *r)
{
	return !r->stop && (r->issued < r->len || (r->op == AMUX_OP_NOOP && !r->issued)) &&
	       !(r->sequential && r->inflight);
}

static inline bool request_finished(const struct request *r)
{
	return !r->inflight &&
	       (r->stop || (r->op == AMUX_OP_NOOP ? r->issued : r->issued >= r->len));
}

/* Cut the next piece of at most @max bytes into @c.  Only if request_ready(). */
void request_next(struct request *r, struct chunk *c, uint64_t max);

enum chunk_verdict {
	CHUNK_DONE,   /* the descriptor is finished, well or badly */
	CHUNK_RESUME, /* c->desc was shortened: submit it again */
};

/* Take in a completion record whose status is set. */
enum chunk_verdict request_chunk_done(struct request *r, struct chunk *c);

/* A completion record's status as -errno; 0 for success. */
int status_to_errno(uint8_t status);

/* Fill in the CQE of a finished request. */
void request_answer(const struct request *r, struct amux_cqe *cqe);

#endif /* BROKER_REQUEST_H */
