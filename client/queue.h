/* SPDX-License-Identifier: MIT */
/*
 * queue.h - one queue of a connection: its rings and every request in flight.
 *
 *	FREE --amux_get_sqe()--> PREPARED --amux_submit()--> READY --queue_flush()--> SENT
 *	SENT --CQE--> FREE        SENT --DECLINED--> todo, done by this CPU --> FREE
 *	SENT --broker died--> FREE, -EIO        READY, broker dead --> this CPU --> FREE
 *
 * What is in flight is bounded by @entries from amux_get_sqe() until the application has
 * the answer, so neither the rings nor @done can overflow.
 *
 * Owner: struct amux lists its queues; amux_queue_close() frees one.  Thread: one at a time,
 * but for @stats, whose words have one writer and may be read by any thread.
 */
#ifndef CLIENT_QUEUE_H
#define CLIENT_QUEUE_H

#include <stdbool.h>

#include <accelmux/accelmux.h>

#include "cpu.h"
#include "ring.h"

#define AMUX_SLOT_NONE UINT32_MAX

/* A request, kept from amux_get_sqe() to its answer so that the CPU can do it as well. */
struct amux_slot {
	struct amux_sqe sqe; /* with the application's user_data */
	uint32_t gen;	     /* which request of the queue it is: tells it from the slot's
			      * earlier ones, and what was submitted later */
	uint32_t prev, next; /* in order of amux_get_sqe(); next: also the free list */
	bool sent;
	bool withdrawn;		 /* by a CANCEL, before any broker had it */
	bool named;		 /* a CANCEL: in the broker's words by now */
	uint32_t withdrawn_here; /* of a CANCEL: what the library itself took back */
};

/* What the broker declined. */
struct amux_todo {
	struct amux_sqe sqe;
	uint64_t name;	/* as the broker knew it */
	bool withdrawn; /* by a CANCEL: answered in its turn, not done */
};

struct amux_queue {
	struct amux *a;
	struct amux_queue *prev, *next; /* under amux.lock */
	uint32_t id;
	uint32_t entries;
	uint64_t spin_ns;

	struct amux_ring ring; /* unused once @dead */
	void *map;	       /* NULL: made after the broker's death */
	size_t map_len;
	int sq_efd;
	int cq_fd;    /* readable when the broker woke us; -1 without one */
	int self_efd; /* by which we wake our own event loop once it is gone; made with @epfd */
	int epfd; /* what amux_eventfd() gives; -1 until it is asked for */

	struct amux_slot *slots;
	uint32_t gen; /* the latest request's */
	uint32_t free, oldest, newest;
	uint32_t unsent;   /* the first slot after the last sent one */
	uint32_t inflight; /* got and not collected */
	uint32_t prepared; /* of them: not submitted yet */
	uint32_t ready;	   /* of them: submitted, not in the ring yet */
	uint32_t sent;	   /* of them: with the broker */

	struct amux_todo *todo; /* declined, in CQ order: a ring of @entries */
	uint32_t todo_head, todo_tail;
	struct amux_job job; /* the declined request in work */
	uint64_t job_name;
	bool working;
	uint32_t declined_done;

	struct amux_cqe *done; /* answers made here: a ring of @entries */
	uint32_t done_head, done_tail;

	bool armed;	    /* amux_arm() left NEED_WAKEUP set */
	bool dead;	    /* no broker any more: everything is done by this CPU */
	bool broken;	    /* the broker's CQ tail is impossible: as good as dead */
	uint32_t vain;	    /* amux_peek() calls that found nothing */
	uint64_t probed_ns; /* when amux_peek() last asked for the broker */

	struct amux_stats stats;
};

/* What the broker knows the request in slot @i by. */
static inline uint64_t amux_slot_name(const struct amux_queue *q, uint32_t i)
{
	return (uint64_t)q->slots[i].gen << 32 | i;
}

/* Free @q.  With @mine what is in flight is waited for and the broker told. */
int amux_queue_close(struct amux_queue *q, bool mine);

/* amux_queue_create() without the check of the calling process; @timeout_ms bounds it. */
int amux_queue_open(struct amux *a, unsigned int entries, int timeout_ms,
		    struct amux_queue **out);

/* Put what was submitted into the ring as far as there is room, or do it by CPU where there
 * is no broker any more. */
void amux_queue_flush(struct amux_queue *q);

/* Take back earlier wake-ups, so that only a new one makes the descriptor readable. */
void amux_queue_drain(struct amux_queue *q);

/* Add @b to @a; @b may have a writer in another thread. */
void amux_stats_sum(struct amux_stats *a, const struct amux_stats *b);

#endif /* CLIENT_QUEUE_H */
