/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session.h - the mux side of a connection: its regions and queues.  Pulls SQEs from rings
 * into requests, posts answers into rings.
 *
 *	SQE ── copied once, judged ──┬─ wrong ──────────────> CQE -errno
 *				     ├─ declined ───────────> CQE DECLINED
 *				     └─ sched_enqueue() ····> queue_complete() ──> CQE
 *
 * A FENCE is held here until everything before it in its queue has been answered, and what
 * was declined has been finished by the client; what comes behind it is held with it.  But for
 * a CANCEL: that is done when it is pulled (withdraw.h).
 *
 * Owner: the connection (control thread) makes and frees these; between MAIL_*_ADD and the
 * answer to MAIL_*_REMOVE they are the mux thread's.
 */
#ifndef BROKER_SESSION_H
#define BROKER_SESSION_H

#include "../client/ring.h"
#include "footprint.h"
#include "mailbox.h"
#include "refusal.h"
#include "sched.h"
#include "spot.h"
#include "withdraw.h"

#define SESSION_REGIONS_MAX 4096 /* region ids carry the slot in their low 12 bits */

/* What the queues of one mux share. */
struct queue_set {
	struct sched *sched;
	struct list hot;   /* queues polled in every loop */
	struct list dirty; /* queues with CQEs to publish */
	struct list all;   /* every queue attached */
	bool draining;
	bool by_cpu; /* engines are CPUs: footprint.h */
	struct spot spot;
};

struct session {
	struct list queues;
	struct region *regions[SESSION_REGIONS_MAX];
	struct mail broken; /* posted once, when the client breaks the ABI */
	bool is_broken;
	const char *why;
	enum cutoff cut; /* the same for counters */
};

struct queue {
	struct flow flow;
	struct list hot;   /* queue_set->hot, or nowhere: waiting for its eventfd */
	struct list dirty; /* queue_set->dirty */
	struct list link;  /* session->queues */
	struct list peer;  /* queue_set->all */
	struct session *session;
	struct queue_set *set;
	uint32_t id;

	struct amux_ring ring;
	void *map;
	uint64_t map_bytes;
	int sq_efd;
	int cq_fd;   /* our end of the socket pair that wakes the client */
	int cq_peer; /* the client's, until it was passed; then -1 */

	struct request *reqs; /* cq_entries of them */
	uint32_t *free;	      /* indices of free ones, a stack */
	uint32_t n_free;

	struct amux_sqe *held; /* a FENCE that must wait and what came after it: a ring of
				* cq_entries, free-running indices */
	uint32_t held_head, held_tail;
	struct withdrawal withdrawal;
	uint32_t claimed; /* what the client was told may be begun: entries before this index */
	uint64_t recall;  /* what the client recalled, as of that claim */

	bool stopped;  /* pull no more */
	bool draining; /* pull no more than @drain_left */
	uint32_t drain_left;
	uint32_t quiet; /* loops without work: after a while the queue goes cold */
	uint32_t turn;	/* of mux_pull(), in which it gave all that it may */

	/* DECLINED: a count of those posted, and what the client has left of them */
	uint32_t declined_total, declined_seen;
	uint32_t declined_mark; /* declining ends when the client's cq_head reaches this */
	bool declining;
	uint64_t *declined_len; /* by index & cq_mask */
	uint64_t cpu_backlog;	/* bytes the client's CPU still has to copy */

	struct footprint written;
};

/* What a queue takes of the broker's memory, bytes. */
uint64_t queue_bytes(uint32_t sq_entries, uint32_t cq_entries);

/* Make a queue's memory: ring memfd (sealed), wake-ups, requests.  *@ring_fd is for the
 * client, the caller closes it after passing it.  Returns 0 or -errno. */
int queue_create(struct queue **out, uint32_t id, uint32_t sq_entries, uint32_t cq_entries,
		 int *ring_fd);
void queue_free(struct queue *q);

/* Mux thread: attach to a session and a set (q->flow.tenant was set by the maker); and the
 * reverse. */
void queue_attach(struct queue *q, struct session *s, struct queue_set *set);
/* Pull no more and withdraw what has not begun. */
void queue_stop(struct queue *q, uint64_t now);
/* Pull what is in the ring by now, and then no more. */
void queue_drain(struct queue *q);
/* Is it all pulled? */
bool queue_drained(const struct queue *q);
/* Nothing in flight, nothing to publish? */
bool queue_quiet(const struct queue *q);
void queue_detach(struct queue *q);

/*
 * Pull up to @budget SQEs.  Returns how many are on their way, those not counted that a FENCE
 * holds; -EPROTO if the ring is impossible.
 */
int queue_pull(struct queue *q, unsigned int budget, uint64_t now);

/*
 * Answer up to @budget NOOPs that are first in the ring and need nothing but their turn, without so
 * much as a look at the clock.  Returns how many; whatever comes then is queue_pull()'s.
 */
unsigned int queue_pull_noops(struct queue *q, unsigned int budget);

/* Would queue_pull() take something now?  Also true for a ring that is impossible. */
bool queue_has_work(struct queue *q);

/* The scheduler is done with a request of a queue: flow->complete of all of them. */
void queue_complete(struct flow *f, struct request *r, uint64_t now);

/* Publish all CQEs written since the last call and wake their sleepers. */
void queues_flush(struct queue_set *set);

/* Refresh what the ring header tells the client (state, heartbeat, prediction). */
void queue_publish_state(struct queue *q, uint64_t now);

/* Has it pulled anything that neither the scheduler nor the client has by now? */
static inline bool queue_holds(const struct queue *q)
{
	return q->held_head != q->held_tail || q->withdrawal.active;
}

static inline struct region *session_region(const struct session *s, uint32_t id)
{
	struct region *r = s->regions[id % SESSION_REGIONS_MAX];

	return r && r->id == id ? r : NULL;
}

#endif /* BROKER_SESSION_H */
