/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft_wq.h - a dedicated work queue: a bounded ring of descriptors, one submitter, one
 * consumer.  As on hardware an entry is free again when the engine has taken the descriptor,
 * not when that is done.
 *
 * Owner: the soft device.  Threads: wq_push() and wq_room() by the submitter; wq_peek() and
 * wq_pop() by the consumer; wq_empty() by the consumer, or by anyone as a hint.
 */
#ifndef BROKER_SOFT_WQ_H
#define BROKER_SOFT_WQ_H

#include <errno.h>
#include <linux/idxd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "../client/barrier.h"

struct soft_wq {
	/* constant after wq_init() */
	uint32_t size, mask;
	struct dsa_hw_desc *desc;
	uint64_t *stamp; /* when submitted, ns */

	uint32_t tail __attribute__((aligned(64))); /* writer: submitter */
	uint32_t seen_head;			    /* the submitter's cache of head */
	uint32_t head __attribute__((aligned(64))); /* writer: consumer */
};

static inline int wq_init(struct soft_wq *q, uint32_t size)
{
	uint32_t slots = 1;

	while (slots < size)
		slots *= 2;
	q->size = size;
	q->mask = slots - 1;
	q->tail = q->seen_head = q->head = 0;
	q->desc = aligned_alloc(64, slots * sizeof(*q->desc));
	q->stamp = calloc(slots, sizeof(*q->stamp));
	return q->desc && q->stamp ? 0 : -ENOMEM;
}

static inline void wq_fini(struct soft_wq *q)
{
	free(q->desc);
	free(q->stamp);
}

/* Take up to @n descriptors, publish them at once, and return how many fitted. */
static inline uint32_t wq_push(struct soft_wq *q, const struct dsa_hw_desc *desc, uint32_t n,
			       uint64_t now)
{
	uint32_t room = q->size - (q->tail - q->seen_head);

	if (room < n) {
		/* acquire: pairs with wq_pop(), which is done reading the slots */
		q->seen_head = amux_load_acquire(&q->head);
		room = q->size - (q->tail - q->seen_head);
	}
	if (n > room)
		n = room;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = (q->tail + i) & q->mask;

		q->desc[slot] = desc[i];
		q->stamp[slot] = now;
	}
	/* release: pairs with wq_empty() */
	amux_store_release(&q->tail, q->tail + n);
	return n;
}

static inline bool wq_empty(const struct soft_wq *q)
{
	/* acquire: pairs with wq_push(); head is the consumer's own */
	return amux_load_acquire(&q->tail) == amux_load_relaxed(&q->head);
}

/* When the first descriptor was submitted; the queue must not be empty. */
static inline uint64_t wq_stamp(const struct soft_wq *q)
{
	return q->stamp[q->head & q->mask];
}

/* Take the first descriptor; the queue must not be empty. */
static inline void wq_pop(struct soft_wq *q, struct dsa_hw_desc *out)
{
	*out = q->desc[q->head & q->mask];
	/* release: pairs with wq_push(), which may overwrite the slot now */
	amux_store_release(&q->head, q->head + 1);
}

#endif /* BROKER_SOFT_WQ_H */
