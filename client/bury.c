// SPDX-License-Identifier: MIT
/*
 * bury.c - what becomes of a dead broker's requests: the rule of redo.h applied to a queue.
 *
 * What was answered since the oldest unanswered request is no longer kept by the library, but
 * the submission ring still holds it, as the last requests pushed: they are read from there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "queue.h"
#include "redo.h"

#define STAT_ADD(q, field, n) \
	amux_store_relaxed(&(q)->stats.field, (q)->stats.field + (uint64_t)(n))

static void span_set(struct amux_redo *r, const struct amux_region *reg, uint64_t start,
		     uint64_t len, bool write)
{
	struct amux_span *s = write ? &r->write[r->n_write] : &r->read[r->n_read];

	if (!reg || (write ? r->n_write : r->n_read) == 2) {
		r->opaque = true;
		return;
	}
	*s = (struct amux_span){ reg->dev, reg->ino, start, len };
	if (write)
		r->n_write++;
	else
		r->n_read++;
}

/*
 * What @sqe touches.  Its regions are ours, or with @link those of that broker.  With the
 * regions' lock held.
 */
static void redo_describe(struct amux *a, const struct amux_sqe *sqe, uint32_t link,
			  struct amux_redo *r)
{
	/* By region[i]: bit i is read, bit i + 4 is written. */
	static const uint8_t touches[AMUX_OP_COUNT] = {
		[AMUX_OP_COPY] = 0x21,	   [AMUX_OP_FILL] = 0x20,   [AMUX_OP_COMPARE] = 0x03,
		[AMUX_OP_DUALCAST] = 0x61, [AMUX_OP_CRC32C] = 0x01, [AMUX_OP_COPY_CRC] = 0x21,
	};
	unsigned int t = sqe->op < AMUX_OP_COUNT ? touches[sqe->op] : 0;

	memset(r, 0, sizeof(*r));
	r->fence = sqe->flags & AMUX_SQE_FENCE;
	for (unsigned int i = 0; i < 3; i++) {
		const struct amux_region *reg;

		if (!(t & 0x11u << i))
			continue;
		reg = link ? amux_region_by_wire(&a->regions, sqe->region[i], link)
			   : amux_region_by_id(&a->regions, sqe->region[i]);
		span_set(r, reg, sqe->offset[i], sqe->len, t & 0x10u << i);
	}
}

void amux_queue_spoil(struct amux_queue *q, uint32_t i)
{
	struct amux_redo here, there;

	if (!q->sent)
		return;
	pthread_rwlock_rdlock(&q->a->regions.lock);
	redo_describe(q->a, &q->slots[i].sqe, 0, &here);
	for (uint32_t k = q->slots[i].prev; k != AMUX_SLOT_NONE; k = q->slots[k].prev) {
		if (!q->slots[k].sent)
			continue;
		redo_describe(q->a, &q->slots[k].sqe, 0, &there);
		if (amux_redo_conflict(&there, &here))
			q->slots[k].spoiled_gen = q->slots[k].gen;
	}
	pthread_rwlock_unlock(&q->a->regions.lock);
}

/* The broker has let go of the ring: what it never took out of it is as good as not sent.
 * Entries are taken in order, so these are the latest. */
static void bury_take_back(struct amux_queue *q)
{
	uint32_t head = amux_load_acquire(&q->ring.hdr->sq_head);
	uint32_t left = q->ring.sq_tail - head, i = q->newest;

	if (q->broken || left > q->ring.sq_entries)
		return; /* it lies, and may still be at it */
	left -= q->ghosts < left ? q->ghosts : left;
	while (left && i != AMUX_SLOT_NONE) {
		struct amux_slot *slot = &q->slots[i];

		if (slot->sent) {
			slot->sent = false;
			q->unsent = i;
			q->ready++;
			q->sent--;
			left--;
		}
		i = slot->prev;
	}
}

/* Which request of ours is entry @k of the ring?  AMUX_SLOT_NONE: none that is outstanding. */
static uint32_t bury_slot(const struct amux_queue *q, uint32_t k, struct amux_sqe *sqe)
{
	uint32_t i;

	*sqe = q->ring.sqes[k & q->ring.sq_mask];
	i = (uint32_t)sqe->user_data;
	return i < q->entries && q->slots[i].sent && sqe->user_data == amux_slot_name(q, i)
		       ? i
		       : AMUX_SLOT_NONE;
}

/*
 * Decide by @lose[slot].  Requests that are not among the last ones pushed are lost: what came
 * after them is not known any more.  False: no memory for it, all are lost.
 */
static bool bury_judge(struct amux_queue *q, bool *lose)
{
	/* The ring's first round is not full of requests; what else begins with so small an
	 * index is merely lost. */
	uint32_t n =
		q->ring.sq_tail < q->ring.sq_entries ? q->ring.sq_tail : q->ring.sq_entries;
	uint32_t first = q->ring.sq_tail - n, head = amux_load_relaxed(&q->ring.hdr->sq_head);
	struct amux_redo *list = calloc(n + 1, sizeof(*list));
	struct amux_sqe sqe;

	if (!list)
		return false;
	pthread_rwlock_rdlock(&q->a->regions.lock);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = bury_slot(q, first + k, &sqe);

		if (i != AMUX_SLOT_NONE)
			redo_describe(q->a, &q->slots[i].sqe, 0, &list[k]);
		else
			redo_describe(q->a, &sqe, q->serial, &list[k]);
		list[k].state = i != AMUX_SLOT_NONE		   ? AMUX_REDO_UNKNOWN
				: (int32_t)(first + k - head) >= 0 ? AMUX_REDO_WITHHELD
								   : AMUX_REDO_ANSWERED;
		if (i != AMUX_SLOT_NONE)
			list[k].spoiled = q->slots[i].spoiled_gen == q->slots[i].gen;
	}
	pthread_rwlock_unlock(&q->a->regions.lock);
	amux_redo_judge(list, n);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = bury_slot(q, first + k, &sqe);

		if (i != AMUX_SLOT_NONE)
			lose[i] = list[k].verdict != AMUX_REDO_DO;
	}
	free(list);
	return true;
}

static void bury_lose(struct amux_queue *q, uint32_t i)
{
	struct amux_cqe cqe = { .user_data = q->slots[i].sqe.user_data, .status = -EIO };

	amux_slot_answer(q, i, &cqe);
	STAT_ADD(q, lost_broker, 1);
	STAT_ADD(q, errors, 1);
}

void amux_queue_bury(struct amux_queue *q)
{
	bool *lose = NULL, judged = false;

	bury_take_back(q);
	if (q->sent && !q->broken)
		lose = malloc(q->entries * sizeof(*lose));
	if (lose) {
		memset(lose, true, q->entries * sizeof(*lose));
		judged = bury_judge(q, lose);
	}
	while (q->oldest != AMUX_SLOT_NONE && q->sent) {
		uint32_t i = q->oldest;

		q->sent--;
		if (judged && !lose[i])
			amux_slot_execute(q, i, true);
		else
			bury_lose(q, i);
	}
	free(lose);
	q->dead = true;
	q->careful = q->stale = q->recalling = false;
	q->ghosts = q->contested = 0;
	if (q->broken)
		amux_queue_hush(q, true); /* amux_queue_close() still tells the broker */
	else
		amux_queue_detach(q);
	amux_queue_kick(q);
}
