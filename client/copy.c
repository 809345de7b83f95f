// SPDX-License-Identifier: MIT
/*
 * copy.c - amux_copy(): one synchronous copy by whoever is predicted to be done first.
 */
#include <errno.h>
#include <string.h>

#include "handle.h"
#include "queue.h"

#define COPY_FLOOR	  4096u		 /* smaller ones are not worth a thought */
#define COPY_CPU_BPS	  10000000000ull /* what this CPU is taken for unless modelled */
#define COPY_OPEN_MS	  1000 /* a broker that is stuck holds up the first copy so long */
#define COPY_SYNC_ENTRIES 2

static uint32_t stripe_next;
static _Thread_local uint32_t stripe_mine; /* 1 + index; 0: not chosen yet */

static struct amux_stripe *copy_stripe(struct amux *a)
{
	if (!stripe_mine)
		stripe_mine = 1 + __atomic_fetch_add(&stripe_next, 1, __ATOMIC_RELAXED) %
					  AMUX_STRIPES;
	return &a->stripes[stripe_mine - 1];
}

static void stripe_add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static int copy_cpu(struct amux *a, void *dst, const void *src, size_t len)
{
	struct amux_stripe *s = copy_stripe(a);

	stripe_add(&s->sync_cpu, 1);
	if (len < COPY_FLOOR && !amux_load_relaxed(&a->cpu_bps)) {
		memmove(dst, src, len);
		return 0;
	}
	stripe_add(&s->cpu_ns, amux_cpu_move(a, dst, src, len));
	return 0;
}

static double copy_ns(size_t len, uint64_t bps)
{
	return (double)len * 1e9 / (double)bps;
}

/* Is the engine predicted to beat this CPU? */
static bool copy_predict(const struct amux *a, struct amux_queue *q, size_t len)
{
	struct amux_ring_hdr *h = q->ring.hdr;
	uint64_t bps, wait, idle, cpu = amux_load_relaxed(&a->cpu_bps);

	if (!h || amux_load_relaxed(&h->state) != AMUX_BROKER_RUNNING ||
	    len < amux_load_relaxed(&h->min_offload))
		return false;
	bps = amux_load_relaxed(&h->engine_bps);
	if (!bps)
		return false;
	/*
	 * The estimate is refreshed only while this queue has work: what waited then has been
	 * served meanwhile, or one bad moment would keep this handle off the engine for ever.
	 */
	wait = amux_load_relaxed(&h->est_wait_ns);
	if (wait) {
		idle = amux_now() - amux_load_relaxed(&h->heartbeat_ns);
		if ((int64_t)idle > 0)
			wait = idle < wait ? wait - idle : 0;
	}
	return (double)wait + copy_ns(len, bps) <
	       copy_ns(len, cpu ? cpu : COPY_CPU_BPS);
}

/* The hidden queue, made by the first copy that could use it; with sync_lock held. */
static struct amux_queue *copy_queue(struct amux *a)
{
	struct amux_queue *q;

	if (a->sync || amux_load_relaxed(&a->sync_off))
		return a->sync;
	if (amux_queue_open(a, COPY_SYNC_ENTRIES, COPY_OPEN_MS, &q)) {
		amux_store_relaxed(&a->sync_off, 1);
		return NULL;
	}
	amux_store_release(&a->sync, q); /* pairs with the acquire in amux_copy() */
	return q;
}

/* May a failed copy be done over?  The memory is the caller's until amux_copy() returns, but
 * a source that was overwritten half-way is gone. */
static bool copy_may_redo(struct amux *a, const struct amux_sqe *sqe, int status)
{
	struct amux_region *src, *dst;
	bool overlap;

	if (status == -ENODEV || status == -EAGAIN)
		return true;
	if (status != -EIO)
		return false;
	pthread_rwlock_rdlock(&a->regions.lock);
	src = amux_region_by_id(&a->regions, sqe->region[0]);
	dst = amux_region_by_id(&a->regions, sqe->region[1]);
	overlap = !src || !dst ||
		  amux_region_overlap(src, sqe->offset[0], dst, sqe->offset[1], sqe->len);
	pthread_rwlock_unlock(&a->regions.lock);
	return !overlap;
}

/*
 * Copy through the hidden queue, with sync_lock held.  0 or -errno; 1: the CPU should do it.
 */
static int copy_engine(struct amux *a, const struct amux_sqe *want)
{
	struct amux_queue *q = copy_queue(a);
	struct amux_cqe cqe;
	struct amux_sqe *sqe;
	uint64_t declined;
	int err;

	if (!q)
		return 1;
	if (q->dead || q->careful)
		amux_peek(q, &cqe, 1); /* perhaps it can be used again */
	if (!q->dead)
		amux_store_relaxed(&a->sync_renew, 0);
	if (q->dead || q->careful || !copy_predict(a, q, want->len))
		return 1;
	sqe = amux_get_sqe(q);
	if (!sqe)
		return 1;
	*sqe = *want;
	declined = q->stats.declined;
	amux_submit(q);
	err = amux_wait(q, &cqe, 1, 1, NULL);
	if (err < 0)
		return err;
	if (cqe.status)
		return copy_may_redo(a, want, cqe.status) ? 1 : cqe.status;
	stripe_add(q->stats.declined == declined ? &copy_stripe(a)->sync_engine
						 : &copy_stripe(a)->sync_cpu,
		   1);
	return 0;
}

/* Name the operands; false if one is not shared with the broker as it has to be. */
static bool copy_locate(struct amux *a, struct amux_sqe *sqe, void *dst, const void *src,
			size_t len)
{
	struct amux_region *from, *to;
	bool ok;

	memset(sqe, 0, sizeof(*sqe));
	sqe->op = AMUX_OP_COPY;
	sqe->len = len;
	pthread_rwlock_rdlock(&a->regions.lock);
	from = amux_region_by_addr(&a->regions, src, len);
	to = amux_region_by_addr(&a->regions, dst, len);
	ok = from && to && !(to->flags & AMUX_REGION_READONLY);
	if (ok) {
		sqe->region[0] = from->id;
		sqe->region[1] = to->id;
		sqe->offset[0] = (uint64_t)((const char *)src - from->addr);
		sqe->offset[1] = (uint64_t)((char *)dst - to->addr);
	}
	pthread_rwlock_unlock(&a->regions.lock);
	return ok;
}

int amux_copy(struct amux *a, void *dst, const void *src, size_t len)
{
	struct amux_queue *q;
	struct amux_sqe sqe;
	int err = 1;

	if (!a) {
		memmove(dst, src, len);
		return 0;
	}
	if (*a->guard != AMUX_GUARD_MAGIC)
		return -EPERM;
	if (!len)
		return 0;
	if (amux_is_dead(a))
		amux_reconnect(a);
	if (len < COPY_FLOOR || amux_is_dead(a) || amux_load_relaxed(&a->sync_off))
		return copy_cpu(a, dst, src, len);
	/* The acquire pairs with the release in copy_queue(): a queue that is seen is whole. */
	q = amux_load_acquire(&a->sync);
	if ((q && !amux_load_relaxed(&a->sync_renew) && !copy_predict(a, q, len)) || !copy_locate(a, &sqe, dst, src, len))
		return copy_cpu(a, dst, src, len);
	/* Another thread copies: waiting for it is worse than copying at once. */
	if (!pthread_mutex_trylock(&a->sync_lock)) {
		err = copy_engine(a, &sqe);
		pthread_mutex_unlock(&a->sync_lock);
	}
	return err > 0 ? copy_cpu(a, dst, src, len) : err;
}
