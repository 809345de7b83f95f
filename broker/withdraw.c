// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>

#include "session.h"
#include "withdraw.h"

int withdraw_begin(struct queue *q, const struct amux_sqe *sqe, uint16_t *field)
{
	struct withdrawal *w = &q->withdrawal;

	*field = AMUX_FIELD_FLAGS;
	if (sqe->flags)
		return -EINVAL;
	*field = AMUX_FIELD_RSVD;
	if (sqe->rsvd0 || sqe->rsvd1 || sqe->rsvd2)
		return -EINVAL;
	for (unsigned int i = 0; i < 3; i++) {
		*field = (uint16_t)(AMUX_FIELD_REGION0 + i);
		if (sqe->region[i])
			return -EINVAL;
	}
	*field = AMUX_FIELD_OFFSET2;
	if (sqe->offset[2])
		return -EINVAL;
	*field = AMUX_FIELD_LEN;
	if (sqe->len)
		return -EINVAL;
	*field = AMUX_FIELD_NONE;
	*w = (struct withdrawal){
		.active = true,
		.user_data = sqe->user_data,
		.first = sqe->offset[0],
		.span = sqe->offset[1] - sqe->offset[0],
		.held = q->held_tail,
	};
	return 0;
}

static bool withdraw_names(const struct withdrawal *w, uint64_t user_data)
{
	return user_data - w->first <= w->span;
}

/* The one before @r in its flow, or NULL. */
static struct request *flow_before(const struct flow *f, const struct list *r)
{
	return r->prev == &f->pending ? NULL : container_of(r->prev, struct request, link);
}

static void withdraw_held(struct queue *q, struct withdrawal *w)
{
	struct amux_sqe *sqe = &q->held[--w->held & q->ring.cq_mask];

	if (sqe->op == AMUX_OP_CANCEL || !withdraw_names(w, sqe->user_data))
		return;
	/* It keeps its place, and its FENCE: those behind it must wait all the same. */
	sqe->op = AMUX_OP_CANCEL;
	w->count++;
}

unsigned int withdraw_step(struct queue *q, unsigned int steps, uint64_t now)
{
	struct withdrawal *w = &q->withdrawal;
	unsigned int n = 0;

	for (; n < steps && w->held != q->held_head; n++)
		withdraw_held(q, w);
	if (n == steps)
		return n;
	if (!w->listed) {
		w->listed = true;
		w->next = flow_before(&q->flow, &q->flow.pending);
	}
	for (; n < steps; n++) {
		struct request *r = w->next;

		/* Begun or answered since the last step: so have all before it. */
		if (!r || r->issued || list_empty(&r->link)) {
			w->active = false;
			break;
		}
		w->next = flow_before(&q->flow, &r->link);
		if (!withdraw_names(w, r->user_data))
			continue;
		sched_withdraw(q->set->sched, r, now);
		w->count++;
	}
	return n;
}
