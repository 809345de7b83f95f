/* SPDX-License-Identifier: MIT */
/*
 * ring.h - the two ends of a queue's rings: index arithmetic and memory ordering only.
 *
 * Owner: the caller owns the mapping; these structs hold private copies of everything
 * that the peer could change (entries, masks, own index, cached peer index), so that a
 * hostile peer can only lie about an index, and a lie is bounded by the private size.
 * Thread: one per end.
 *
 *   client  --- SQ: sq_tail (release) ---> (acquire) --- broker
 *   client  --- CQ: cq_tail (acquire) <--- (release) --- broker
 */
#ifndef AMUX_RING_H
#define AMUX_RING_H

#include <errno.h>
#include <string.h>

#include "abi.h"
#include "barrier.h"

struct amux_ring {
	struct amux_ring_hdr *hdr;
	struct amux_sqe *sqes;
	struct amux_cqe *cqes;
	uint32_t sq_entries, sq_mask;
	uint32_t cq_entries, cq_mask;

	/* client: sq_tail own (incl. unpublished), sq_head cached; cq_head own, cq_tail cached
	 * broker: sq_head own, sq_tail cached; cq_tail own (incl. unpublished), cq_head cached */
	uint32_t sq_tail, sq_head;
	uint32_t cq_tail, cq_head;
};

static inline uint64_t amux_ring_bytes(uint32_t sq_entries, uint32_t cq_entries)
{
	uint64_t bytes = AMUX_RING_SQ_OFFSET + (uint64_t)sq_entries * sizeof(struct amux_sqe) +
			 (uint64_t)cq_entries * sizeof(struct amux_cqe);

	return (bytes + 4095) & ~4095ull;
}

/*
 * Bind @r to a mapping of @bytes bytes.  The client checks what the broker wrote into the
 * constant line; the broker calls amux_ring_init() first.  Returns 0 or -EPROTO.
 */
static inline int amux_ring_bind(struct amux_ring *r, void *map, uint64_t bytes)
{
	struct amux_ring_hdr *h = map;
	uint32_t sq = h->sq_entries, cq = h->cq_entries;

	if (h->magic != AMUX_RING_MAGIC || h->version != AMUX_ABI_VERSION || sq < 2 ||
	    sq > AMUX_ENTRIES_MAX || (sq & (sq - 1)) || cq < sq || cq > 2 * AMUX_ENTRIES_MAX ||
	    (cq & (cq - 1)) || h->sq_offset != AMUX_RING_SQ_OFFSET ||
	    h->cq_offset != AMUX_RING_SQ_OFFSET + sq * sizeof(struct amux_sqe) ||
	    amux_ring_bytes(sq, cq) > bytes)
		return -EPROTO;
	memset(r, 0, sizeof(*r));
	r->hdr = h;
	r->sqes = (struct amux_sqe *)((char *)map + AMUX_RING_SQ_OFFSET);
	r->cqes = (struct amux_cqe *)((char *)r->sqes + sq * sizeof(struct amux_sqe));
	r->sq_entries = sq;
	r->sq_mask = sq - 1;
	r->cq_entries = cq;
	r->cq_mask = cq - 1;
	return 0;
}

/* Broker: lay out a zeroed mapping before its fd is passed to the client. */
static inline void amux_ring_init(void *map, uint32_t sq_entries, uint32_t cq_entries)
{
	struct amux_ring_hdr *h = map;

	h->magic = AMUX_RING_MAGIC;
	h->version = AMUX_ABI_VERSION;
	h->sq_entries = sq_entries;
	h->cq_entries = cq_entries;
	h->sq_offset = AMUX_RING_SQ_OFFSET;
	h->cq_offset = (uint32_t)(AMUX_RING_SQ_OFFSET + sq_entries * sizeof(struct amux_sqe));
	h->ring_bytes = amux_ring_bytes(sq_entries, cq_entries);
	h->state = AMUX_BROKER_RUNNING;
	h->min_offload = AMUX_OFFLOAD_NEVER;
}

/* ------------------------------------------------------------- client: SQ end */

/* Free SQ slots.  The acquire pairs with amux_sq_release(): the broker has copied the slot
 * before the client may overwrite it. */
static inline uint32_t amux_sq_space(struct amux_ring *r)
{
	uint32_t used = r->sq_tail - r->sq_head;

	if (used == r->sq_entries) {
		r->sq_head = amux_load_acquire(&r->hdr->sq_head);
		used = r->sq_tail - r->sq_head;
	}
	return used > r->sq_entries ? 0 : r->sq_entries - used;
}

/* The next free slot, not yet visible to the broker; NULL when the ring is full. */
static inline struct amux_sqe *amux_sq_next(struct amux_ring *r)
{
	if (!amux_sq_space(r))
		return NULL;
	return &r->sqes[r->sq_tail++ & r->sq_mask];
}

/* Fill in @slot, word by word: a wider copy would wait for the stores that made @sqe. */
static inline void amux_sq_put(struct amux_sqe *slot, const struct amux_sqe *sqe)
{
	volatile uint64_t *dst = (volatile uint64_t *)slot;
	const uint64_t *src = (const uint64_t *)sqe;

	for (unsigned int i = 0; i < sizeof(*sqe) / 8; i++)
		dst[i] = src[i];
}

/* The slot that the @n-th amux_sq_next() from here gives is about to be filled. */
static inline void amux_sq_prefetch_write(const struct amux_ring *r, uint32_t n)
{
	amux_prefetch_write(&r->sqes[(r->sq_tail + n) & r->sq_mask]);
}

/*
 * Make every slot taken so far visible.  The release pairs with the acquire in
 * amux_sq_ready().  Returns non-zero if the broker sleeps and its eventfd must be written.
 */
static inline int amux_sq_publish(struct amux_ring *r)
{
	amux_store_release(&r->hdr->sq_tail, r->sq_tail);
	amux_full_barrier(); /* pairs with the one in amux_sq_sleep() */
	return amux_load_relaxed(&r->hdr->sq_flags) & AMUX_RING_NEED_WAKEUP;
}

/*
 * Recall the entries from @from up to sq_tail.  Returns how far the broker had claimed: what
 * lies behind that it will answer AMUX_STATUS_RECALLED and never begin; of what lies between
 * it decides, and its answers tell.  The barrier pairs with the one in amux_sq_claim(): of two
 * who each store and then load, at least one sees what the other stored.
 */
static inline uint32_t amux_sq_recall(struct amux_ring *r, uint32_t from)
{
	amux_store_relaxed(&r->hdr->sq_recall, (uint64_t)r->sq_tail << 32 | from);
	amux_full_barrier();
	return amux_load_acquire(&r->hdr->sq_claimed);
}

/* Only once every entry that was recalled has been answered: the broker has looked by then. */
static inline void amux_sq_recall_end(struct amux_ring *r)
{
	amux_store_relaxed(&r->hdr->sq_recall, 0);
}

/* ------------------------------------------------------------- broker: SQ end */

/*
 * SQEs ready to be copied, 0 .. sq_entries; -EPROTO if the client's tail is impossible.
 * The acquire pairs with amux_sq_publish(): the entries are read after the tail.
 */
static inline int amux_sq_ready(struct amux_ring *r)
{
	uint32_t n = r->sq_tail - r->sq_head;

	if (!n) {
		r->sq_tail = amux_load_acquire(&r->hdr->sq_tail);
		n = r->sq_tail - r->sq_head;
	}
	return n > r->sq_entries ? -EPROTO : (int)n; /* once impossible, always */
}

/* The next @n SQEs are about to be taken, if they are ready. */
static inline void amux_sq_prefetch(const struct amux_ring *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		amux_prefetch(&r->sqes[(r->sq_head + i) & r->sq_mask]);
}

/*
 * Claim the next @n entries before any of them is begun; returns what the client recalls, to
 * be asked about by amux_sq_recalled().  The barrier pairs with the one in amux_sq_recall():
 * a client that did not see the claim has its recall seen here.
 */
static inline uint64_t amux_sq_claim(struct amux_ring *r, uint32_t n)
{
	amux_store_relaxed(&r->hdr->sq_claimed, r->sq_head + n);
	amux_full_barrier();
	return amux_load_relaxed(&r->hdr->sq_recall);
}

/* Is the entry taken last among what is recalled? */
static inline int amux_sq_recalled(const struct amux_ring *r, uint64_t recall)
{
	uint32_t from = (uint32_t)recall, to = (uint32_t)(recall >> 32);

	return r->sq_head - 1 - from < to - from;
}

/* Copy the oldest SQE, each word exactly once (design promise 5); call only if one is ready. */
static inline void amux_sq_take(struct amux_ring *r, struct amux_sqe *out)
{
	const volatile uint64_t *src =
		(const volatile uint64_t *)&r->sqes[r->sq_head & r->sq_mask];
	uint64_t *dst = (uint64_t *)out;

	AMUX_STATIC_ASSERT(sizeof(*out) == 8 * sizeof(*dst), "unrolled");
	dst[0] = src[0];
	dst[1] = src[1];
	dst[2] = src[2];
	dst[3] = src[3];
	dst[4] = src[4];
	dst[5] = src[5];
	dst[6] = src[6];
	dst[7] = src[7];
	r->sq_head++;
}

/* The SQE just taken stays for a later look, which copies it anew. */
static inline void amux_sq_untake(struct amux_ring *r)
{
	r->sq_head--;
}

/* Give the copied slots back; the release pairs with amux_sq_space(). */
static inline void amux_sq_release(struct amux_ring *r)
{
	amux_store_release(&r->hdr->sq_head, r->sq_head);
}

/*
 * Announce that the broker will sleep, then recheck.  Returns 0 if nothing is there and
 * sleeping is safe, 1 if there is work (the flag is taken back), -EPROTO as above.
 */
static inline int amux_sq_sleep(struct amux_ring *r)
{
	int n;

	amux_store_relaxed(&r->hdr->sq_flags, AMUX_RING_NEED_WAKEUP);
	amux_full_barrier(); /* pairs with the one in amux_sq_publish() */
	n = amux_sq_ready(r);
	if (n)
		amux_store_relaxed(&r->hdr->sq_flags, 0);
	return n > 0 ? 1 : n;
}

static inline void amux_sq_wake(struct amux_ring *r)
{
	amux_store_relaxed(&r->hdr->sq_flags, 0);
}

/* ------------------------------------------------------------- broker: CQ end */

/* The next @n CQEs are about to be put. */
static inline void amux_cq_prefetch_write(const struct amux_ring *r, uint32_t n)
{
	amux_prefetch_write(&r->hdr->cq_tail);
	for (uint32_t i = 0; i < n; i += 2) /* two of them on a line */
		amux_prefetch_write(&r->cqes[(r->cq_tail + i) & r->cq_mask]);
}

/* Free CQ slots by the head as last read: there may be more. */
static inline uint32_t amux_cq_known(const struct amux_ring *r)
{
	return r->cq_entries - (r->cq_tail - r->cq_head);
}

/*
 * Free CQ slots, judged by the client's head; an impossible head counts as no progress.
 * The acquire pairs with amux_cq_release().
 */
static inline uint32_t amux_cq_space(struct amux_ring *r)
{
	uint32_t head = amux_load_acquire(&r->hdr->cq_head);

	if (r->cq_tail - head <= r->cq_entries)
		r->cq_head = head;
	return amux_cq_known(r);
}

/* Write one CQE; visible after amux_cq_publish().  Room was reserved at admission.  Field by
 * field, as it was made: a copy as a whole would wait for those stores. */
static inline void amux_cq_put(struct amux_ring *r, const struct amux_cqe *cqe)
{
	struct amux_cqe *slot = &r->cqes[r->cq_tail++ & r->cq_mask];

	slot->user_data = cqe->user_data;
	slot->status = cqe->status;
	slot->field = cqe->field;
	slot->rsvd = 0;
	slot->result = cqe->result;
	slot->bytes = cqe->bytes;
}

/*
 * Publish all CQEs written so far; the release pairs with amux_cq_ready().  Copies done
 * with non-temporal stores must be fenced (amux_nt_fence) before.  Returns non-zero if
 * the client sleeps and its eventfd must be written.
 */
static inline int amux_cq_publish(struct amux_ring *r)
{
	amux_store_release(&r->hdr->cq_tail, r->cq_tail);
	amux_full_barrier(); /* pairs with the one in amux_cq_sleep() */
	return amux_load_relaxed(&r->hdr->cq_flags) & AMUX_RING_NEED_WAKEUP;
}

/* ------------------------------------------------------------- client: CQ end */

/* CQEs ready; the acquire pairs with amux_cq_publish(). */
static inline uint32_t amux_cq_ready(struct amux_ring *r)
{
	uint32_t n = r->cq_tail - r->cq_head;

	if (!n) {
		/* the entry comes over while its tail does */
		amux_prefetch(&r->cqes[r->cq_head & r->cq_mask]);
		r->cq_tail = amux_load_acquire(&r->hdr->cq_tail);
		n = r->cq_tail - r->cq_head;
	}
	return n > r->cq_entries ? r->cq_entries : n;
}

/* The next @n CQEs, ready, are about to be taken. */
static inline void amux_cq_prefetch(const struct amux_ring *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 2)
		amux_prefetch(&r->cqes[(r->cq_head + i) & r->cq_mask]);
}

/* The oldest CQE; only if one is ready.  Valid until amux_cq_release(). */
static inline const struct amux_cqe *amux_cq_take(struct amux_ring *r)
{
	return &r->cqes[r->cq_head++ & r->cq_mask];
}

/* Give the slots back; the release pairs with amux_cq_space(). */
static inline void amux_cq_release(struct amux_ring *r)
{
	amux_store_release(&r->hdr->cq_head, r->cq_head);
}

/* As amux_sq_sleep(), for the client: 0 safe to sleep, 1 there are CQEs. */
static inline int amux_cq_sleep(struct amux_ring *r)
{
	amux_store_relaxed(&r->hdr->cq_flags, AMUX_RING_NEED_WAKEUP);
	amux_full_barrier(); /* pairs with the one in amux_cq_publish() */
	if (!amux_cq_ready(r))
		return 0;
	amux_store_relaxed(&r->hdr->cq_flags, 0);
	return 1;
}

static inline void amux_cq_wake(struct amux_ring *r)
{
	amux_store_relaxed(&r->hdr->cq_flags, 0);
}

#endif /* AMUX_RING_H */
