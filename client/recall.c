// SPDX-License-Identifier: MIT
/*
 * recall.c - a broker that stopped: take back what it has not claimed, and work without it
 * until it shows a sign of life.
 *
 *	PUSHING --no sign of life for STALE_NS while it has work--> STALE: sq_recall is set
 *	STALE --a sign of life, every recalled entry answered--> PUSHING
 *
 * Not PUSHING, nothing goes into the ring.  What is behind the claim is done by this CPU at
 * once; the broker will answer it RECALLED when it comes to it.  What is claimed waits for the
 * broker, or for its death.  docs/abi.md proves that nothing is done twice.
 */
#include <sys/timerfd.h>

#include "cancel.h"
#include "handle.h"
#include "queue.h"

#define PROBE_NS 1000000u
#define STALE_NS 100000000u /* a broker with work refreshes its heartbeat 10 times as often */

/* Anything the broker wrote that is not what it was. */
static uint64_t watch_sign(const struct amux_queue *q)
{
	const struct amux_ring_hdr *h = q->ring.hdr;

	return amux_load_relaxed(&h->heartbeat_ns) * 0x9e3779b97f4a7c15ull +
	       amux_load_relaxed(&h->sq_head) * 0xbf58476d1ce4e5b9ull +
	       amux_load_relaxed(&h->sq_claimed) * 0x94d049bb133111ebull +
	       amux_load_relaxed(&h->cq_tail);
}

/* Take the @n requests pushed last back, and mark the @m before them. */
static void recall_mark(struct amux_queue *q, uint32_t n, uint32_t m)
{
	for (uint32_t i = q->newest; i != AMUX_SLOT_NONE && (n || m); i = q->slots[i].prev) {
		struct amux_slot *slot = &q->slots[i];

		if (!slot->sent)
			continue;
		if (n) {
			slot->sent = false;
			q->unsent = i;
			q->sent--;
			q->ready++;
			q->ghosts++;
			n--;
		} else {
			slot->contested_gen = slot->gen;
			q->contested++;
			m--;
		}
	}
}

static void recall(struct amux_queue *q)
{
	struct amux_ring *r = &q->ring;
	uint32_t from = amux_load_acquire(&r->hdr->sq_claimed), n = r->sq_tail - from, claimed;

	if (q->recalling || !n || n > r->sq_entries)
		return; /* nothing to recall, or nonsense */
	claimed = amux_sq_recall(r, from) - from;
	if (claimed > n)
		claimed = n; /* it cannot have: leave all of it to the broker */
	q->recalling = true;
	recall_mark(q, n - claimed, claimed);
	amux_store_relaxed(&q->stats.recalled, q->stats.recalled + q->ghosts);
}

static void recall_check(struct amux_queue *q)
{
	if (q->ghosts || q->contested)
		return;
	amux_sq_recall_end(&q->ring);
	q->recalling = false;
}

bool amux_recall_answered(struct amux_queue *q, const struct amux_cqe *cqe)
{
	uint32_t i = (uint32_t)cqe->user_data;
	struct amux_slot *slot = i < q->entries ? &q->slots[i] : NULL;
	bool recalled = cqe->status == AMUX_STATUS_RECALLED;

	if (slot && slot->sent && cqe->user_data == amux_slot_name(q, i)) {
		if (slot->contested_gen != slot->gen)
			return false;
		slot->contested_gen = 0;
		q->contested--;
		recall_check(q);
		if (!recalled)
			return false;
		slot->sent = false;
		q->sent--;
		q->ready++;
		/* Its successors are not with the broker either: unsent ones stay together. */
		for (q->unsent = q->oldest; q->slots[q->unsent].sent;)
			q->unsent = q->slots[q->unsent].next;
		return true;
	}
	if (!recalled || !q->ghosts)
		return false;
	q->ghosts--;
	recall_check(q);
	return true;
}

void amux_queue_watch(struct amux_queue *q, uint64_t now)
{
	bool ours = q->working || q->todo_head != q->todo_tail;
	uint64_t sign, oldest;

	if (q->dead)
		return;
	sign = watch_sign(q);
	oldest = q->oldest == AMUX_SLOT_NONE ? 0 : amux_slot_name(q, q->oldest);
	/* Fences wait for what is declined: while that is ours to do, a silent broker is right. */
	if (sign != q->sign || ours || (!q->sent && !q->recalling) ||
	    (!q->stale && oldest != q->sign_oldest)) {
		q->sign = sign;
		q->sign_oldest = oldest;
		q->alive_ns = now;
		q->stale = false;
	} else if (!q->stale && now - q->alive_ns >= STALE_NS) {
		q->stale = true;
		recall(q);
	}
	q->careful = q->stale || q->recalling || !amux_link_up(q->link);
}

void amux_queue_set_timer(struct amux_queue *q)
{
	const struct itimerspec in = { .it_value = { .tv_nsec = STALE_NS / 2 } };

	if (q->timer_fd < 0 || q->timer_ns || !(q->sent || q->careful))
		return; /* one that is set may go off too early: then it is set again */
	if (!timerfd_settime(q->timer_fd, 0, &in, NULL))
		q->timer_ns = amux_now() + STALE_NS / 2;
}

/* Is everything before the request in slot @i answered? */
static bool mind_first(const struct amux_queue *q, uint32_t i)
{
	return i == q->oldest && !q->working && q->todo_head == q->todo_tail;
}

/*
 * In order, as far as fences let: into the ring what the broker knows the regions of, unless
 * it is not to be trusted with anything now, the rest by this CPU.  ENGINE_ONLY waits.
 */
static void mind_ready(struct amux_queue *q)
{
	bool push = !q->careful, fenced = false, kept = false;
	uint32_t left = q->ready, pushed = 0, next, first = AMUX_SLOT_NONE;

	for (uint32_t i = q->oldest; i != AMUX_SLOT_NONE && left; i = next) {
		struct amux_slot *slot = &q->slots[i];
		struct amux_sqe sqe = slot->sqe;
		bool known;

		next = slot->next;
		fenced |= (sqe.flags & AMUX_SQE_FENCE) && !mind_first(q, i);
		if (slot->sent)
			continue;
		left--;
		if (sqe.op == AMUX_OP_CANCEL) {
			amux_cancel_name(q, i);
			sqe = slot->sqe;
		}
		known = amux_regions_translate(&q->a->regions, &sqe);
		if (push && !kept && known) {
			if (!amux_slot_push(q, i, &sqe))
				break;
			pushed++;
			continue;
		}
		if (fenced || (sqe.flags & AMUX_SQE_ENGINE_ONLY && known && !q->hidden)) {
			if (!kept)
				first = i;
			kept = true; /* what comes later is not to overtake it in the ring */
			continue;
		}
		q->ready--;
		amux_queue_spoil(q, i);
		amux_slot_execute(q, i, false);
	}
	if (!kept)
		for (first = q->oldest; first != AMUX_SLOT_NONE && q->slots[first].sent;)
			first = q->slots[first].next;
	q->unsent = first;
	if (pushed)
		amux_queue_publish(q, pushed);
}

void amux_queue_mind(struct amux_queue *q)
{
	uint32_t before = q->done_tail;
	uint64_t now;

	if (q->careful) {
		now = amux_now();
		/* With all work done here nobody sleeps on its descriptors. */
		if (now - q->probed_ns >= PROBE_NS) {
			q->probed_ns = now;
			amux_link_probe(q->a, q->link);
		}
		amux_queue_watch(q, now);
	}
	mind_ready(q);
	if (q->done_tail != before)
		amux_queue_kick(q);
}
