/* SPDX-License-Identifier: MIT */
/*
 * queue.h - one queue of a connection: its rings and every request in flight.
 *
 *	FREE --amux_get_sqe()--> PREPARED --amux_submit()--> READY --queue_flush()--> SENT
 *	SENT --CQE--> FREE        SENT --DECLINED--> todo, done by this CPU --> FREE
 *	SENT --broker died--> done over by this CPU, or -EIO --> FREE (bury.c)
 *	SENT --broker stopped, not claimed--> READY (recall.c)
 *	READY, broker dead or stopped --> this CPU --> FREE
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
#include "link.h"
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
	uint32_t spoiled_gen;	 /* = @gen: something done since stands in the way of a redo */
	uint32_t contested_gen;	 /* = @gen: recalled, but the broker decides */
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

	/* Which broker: changed under amux.lock.  NULL: none, or it is dead. */
	struct amux_link *link;
	uint32_t serial;   /* of the latest link */
	uint64_t retry_ns; /* no new ring is asked for before */
	uint64_t retry_pause_ns;

	struct amux_ring ring; /* unused while @dead */
	/* NULL: made without a broker.  The next broker's ring is mapped in the same place:
	 * amux_copy() looks at the header without a lock. */
	void *map;
	size_t map_len;
	int sq_efd;
	int cq_fd;    /* readable when the broker woke us; -1 without one */
	int self_efd; /* by which we wake our own event loop once it is gone; made with @epfd */
	int timer_fd; /* in @epfd: an event loop, too, has to look whether the broker stopped */
	uint64_t timer_ns; /* when it goes off; 0: not set */
	int epfd;	   /* what amux_eventfd() gives; -1 until it is asked for */

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
	bool hidden;	    /* amux_copy()'s own: what fails here is done over, and ENGINE_ONLY
			     * is not waited for */
	bool kicked;	    /* @self_efd was written */
	bool dead;	    /* no broker now: everything is done by this CPU */
	bool broken;	    /* the broker's CQ tail is impossible: as good as dead */
	uint32_t vain;	    /* amux_peek() calls that found nothing */
	uint64_t probed_ns; /* when amux_peek() last asked for the broker */

	/* recall.c: is the broker at work? */
	bool careful;		 /* nothing may go into the ring: stale, recalling or hung up */
	bool stale;		 /* no sign of life for too long */
	bool hushed;		 /* @epfd does not watch the hung-up broker any more */
	uint64_t sign, alive_ns; /* its last sign of life, and when it was seen */
	uint64_t sign_oldest;	 /* the request that waited then */
	bool recalling;		 /* sq_recall is set */
	uint32_t ghosts;	 /* recalled, and yet to be answered RECALLED */
	uint32_t contested;	 /* recalled, the broker decides */

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

/* ---------------------------------------------------------------------- answer.c */

/* The request in slot @i is answered by @cqe: both go from here to the application. */
void amux_slot_answer(struct amux_queue *q, uint32_t i, const struct amux_cqe *cqe);
/* Do it on this CPU; @redo: it was the broker's, and what fails is lost. */
void amux_slot_execute(struct amux_queue *q, uint32_t i, bool redo);
/* Wake our own event loop. */
void amux_queue_kick(struct amux_queue *q);
/* Put what is ready into the ring, one by one: @i is the first of them.  False: no room. */
bool amux_slot_push(struct amux_queue *q, uint32_t i, const struct amux_sqe *sqe);
void amux_queue_publish(struct amux_queue *q, uint32_t n);

/* ---------------------------------------------------------------------- attach.c */

/* Ask the broker behind @l for a ring.  @try: do not wait for other threads.  0 or -errno. */
int amux_queue_attach(struct amux_queue *q, struct amux_link *l, bool try, int timeout_ms);
/* A dead queue: look for a new broker, and for a ring when there is one. */
void amux_queue_revive(struct amux_queue *q);
/* Let go of the dead broker's descriptors; the map stays. */
void amux_queue_detach(struct amux_queue *q);
/* Have @epfd watch the broker's descriptors, or no more.  0 or -errno. */
int amux_queue_listen(struct amux_queue *q);
void amux_queue_hush(struct amux_queue *q, bool all); /* @all: its pidfd as well */
/* Nobody writes the rings and the memory of @q's requests any more. */
bool amux_queue_over(const struct amux_queue *q);
/* Wait until that is so for all queues whose broker hung up. */
void amux_queues_await_end(struct amux *a);

/* ------------------------------------------------------------------------ bury.c */

/* The broker is gone and everything published was collected: do over what may be, the rest is
 * lost; what was never taken is ready again. */
void amux_queue_bury(struct amux_queue *q);
/* The request in slot @i is about to be done here, before earlier ones were answered. */
void amux_queue_spoil(struct amux_queue *q, uint32_t i);

/* ---------------------------------------------------------------------- recall.c */

/* An event loop is about to sleep: wake it in time for amux_queue_watch(). */
void amux_queue_set_timer(struct amux_queue *q);
/* Look for a sign of life; recall what is not claimed if there was none for too long. */
void amux_queue_watch(struct amux_queue *q, uint64_t now);
/* amux_queue_flush() where requests cannot simply be pushed. */
void amux_queue_mind(struct amux_queue *q);
/* With @recalling: is @cqe an answer to a recall? */
bool amux_recall_answered(struct amux_queue *q, const struct amux_cqe *cqe);

#endif /* CLIENT_QUEUE_H */
