// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "cancel.h"

/* Names nobody: no queue has so many slots. */
#define NOBODY UINT64_MAX

static bool names(const struct amux_sqe *cancel, uint64_t name)
{
	return name - cancel->offset[0] <= cancel->offset[1] - cancel->offset[0];
}

/* Was @x submitted after @y?  Both are names, or NOBODY. */
static bool later(uint64_t x, uint64_t y)
{
	return y == NOBODY || (int32_t)((uint32_t)(x >> 32) - (uint32_t)(y >> 32)) > 0;
}

/* The latest request before slot @i that the application calls @user_data. */
static uint64_t find(const struct amux_queue *q, uint32_t i, uint64_t user_data)
{
	uint64_t found = NOBODY;

	for (i = q->slots[i].prev; i != AMUX_SLOT_NONE; i = q->slots[i].prev) {
		const struct amux_sqe *sqe = &q->slots[i].sqe;

		if (sqe->op != AMUX_OP_CANCEL && sqe->user_data == user_data) {
			found = amux_slot_name(q, i);
			break;
		}
	}
	for (uint32_t k = q->todo_head; k != q->todo_tail; k++) {
		const struct amux_todo *todo = &q->todo[k & (q->entries - 1)];

		if (todo->sqe.user_data == user_data && later(todo->name, found))
			found = todo->name;
	}
	if (q->working && q->job.sqe.user_data == user_data && later(q->job_name, found))
		found = q->job_name;
	return found;
}

/* Take back what was declined and is not in work yet; returns how many. */
static unsigned int cancel_todo(struct amux_queue *q, const struct amux_sqe *cancel)
{
	unsigned int n = 0;

	for (uint32_t k = q->todo_head; k != q->todo_tail; k++) {
		struct amux_todo *todo = &q->todo[k & (q->entries - 1)];

		if (todo->withdrawn || !names(cancel, todo->name))
			continue;
		todo->withdrawn = true;
		n++;
	}
	return n;
}

/* Put a range of names where amux_prep_cancel() put what the application said. */
static void cancel_range(struct amux_queue *q, uint32_t i)
{
	struct amux_sqe *sqe = &q->slots[i].sqe;
	uint64_t found;

	if (q->slots[i].named) /* sent once, and taken back from a broker that died */
		return;
	q->slots[i].named = true;
	found = find(q, i, sqe->offset[0]);
	sqe->offset[0] = sqe->offset[1] = found;
	if (sqe->offset[2] & AMUX_CANCEL_LATER && found != NOBODY) {
		sqe->offset[0] = found >> 32 << 32;
		sqe->offset[1] = ((uint64_t)q->slots[i].gen << 32) - 1;
	}
	sqe->offset[2] &= ~(uint64_t)AMUX_CANCEL_LATER;
}

void amux_cancel_name(struct amux_queue *q, uint32_t i)
{
	struct amux_slot *slot = &q->slots[i];

	cancel_range(q, i);
	slot->withdrawn_here += cancel_todo(q, &slot->sqe);
}

void amux_cancel_answered(struct amux_queue *q, struct amux_slot *slot, struct amux_cqe *cqe)
{
	if (cqe->status)
		return;
	if (cqe->result > q->entries)
		cqe->result = q->entries; /* it lies */
	cqe->result += slot->withdrawn_here + cancel_todo(q, &slot->sqe);
}

/* What the broker would find wrong with a CANCEL. */
static enum amux_field cancel_wrong(const struct amux_sqe *s)
{
	if (s->flags)
		return AMUX_FIELD_FLAGS;
	if (s->rsvd0 || s->rsvd1 || s->rsvd2)
		return AMUX_FIELD_RSVD;
	for (unsigned int i = 0; i < 3; i++)
		if (s->region[i])
			return AMUX_FIELD_REGION0 + i;
	if (s->offset[2])
		return AMUX_FIELD_OFFSET2;
	return s->len ? AMUX_FIELD_LEN : AMUX_FIELD_NONE;
}

void amux_cancel_ready(struct amux_queue *q)
{
	uint32_t i = q->unsent;

	for (uint32_t n = q->ready; n; n--, i = q->slots[i].next) {
		struct amux_slot *slot = &q->slots[i];

		if (slot->sqe.op != AMUX_OP_CANCEL)
			continue;
		cancel_range(q, i);
		if (cancel_wrong(&slot->sqe))
			continue;
		for (uint32_t k = q->unsent; k != i; k = q->slots[k].next) {
			if (q->slots[k].withdrawn || q->slots[k].sqe.op == AMUX_OP_CANCEL ||
			    !names(&slot->sqe, amux_slot_name(q, k)))
				continue;
			q->slots[k].withdrawn = true;
			slot->withdrawn_here++;
		}
	}
}

void amux_cancel_answer(const struct amux_slot *slot, struct amux_cqe *cqe)
{
	cqe->field = (uint16_t)cancel_wrong(&slot->sqe);
	cqe->status = cqe->field ? -EINVAL : 0;
	cqe->result = slot->withdrawn_here;
}
