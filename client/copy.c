// SPDX-License-Identifier: MIT
/*
 * copy.c - amux_copy(): one synchronous copy by whoever is predicted to be done first.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"
#include "handle.h"
#include "queue.h"
#include "split.h"

#define COPY_FLOOR	  4096u	      /* smaller ones are not worth a thought */
#define COPY_LOOK	  (64u << 10) /* from here on the ring's header is looked at each time */
#define COPY_TIMED	  (256u << 10)	 /* and the time is taken each time */
#define COPY_SAMPLE	  256u		 /* of smaller ones both is done once in so many */
#define COPY_CPU_BPS	  10000000000ull /* what this CPU is taken for until it is known */
#define COPY_CPU_BPS_MIN  500000000ull	 /* a slower sample was preempted, or met new pages */
#define LAG_MOST	  2.0		 /* of the CPU's time for the copy */
#define LAG_LIFE	  256  /* one in so many is forgotten by a copy it keeps away */
#define COPY_OPEN_MS	  1000 /* a broker that is stuck holds up the first copy so long */
#define COPY_SYNC_ENTRIES (AMUX_SPLIT_WINDOW + 2)

enum copy_by { BY_CPU, BY_ENGINE, BY_BOTH };

/* ------------------------------------------------------------------------ the CPU */

/* Copies of one class find their operands in the same caches. */
static unsigned int rate_class(size_t len)
{
	return len < 64u << 10 ? 0 : len < 1u << 20 ? 1 : len < 32u << 20 ? 2 : 3;
}

/* What this CPU copies in a second, as far as it is known; modelled, if it is. */
static uint64_t rate_of(const struct amux *a, size_t len)
{
	uint64_t bps = amux_load_relaxed(&a->cpu_bps);

	if (!bps)
		bps = amux_load_relaxed(&a->cpu_rate[rate_class(len)]);
	return bps ? bps : COPY_CPU_BPS;
}

/* Learn from a copy; an eighth of the new to seven of the old. */
static void rate_learn(struct amux *a, size_t len, uint64_t ns)
{
	uint64_t *rate = &a->cpu_rate[rate_class(len)], old = amux_load_relaxed(rate);
	uint64_t bps = ns ? (uint64_t)((double)len * 1e9 / (double)ns) : 0;

	if (bps >= COPY_CPU_BPS_MIN)
		amux_store_relaxed(rate, old ? old - old / 8 + bps / 8 : bps);
}

/* Through two mappings of one file memmove() cannot see an overlap.  1: there is none. */
static int copy_alias(struct amux *a, const struct amux_sqe *sqe)
{
	uint32_t mine = amux_tally_index();
	struct amux_region *src, *dst;
	struct amux_job job;
	bool hidden;

	pthread_rwlock_rdlock(&a->regions.lock);
	src = amux_region_by_id(&a->regions, sqe->region[0]);
	dst = amux_region_by_id(&a->regions, sqe->region[1]);
	hidden = src && dst && src != dst &&
		 amux_region_overlap(src, sqe->offset[0], dst, sqe->offset[1], sqe->len);
	pthread_rwlock_unlock(&a->regions.lock);
	if (!hidden)
		return 1;
	amux_tally_add(&a->tallies[mine].cpu, mine, 1);
	amux_job_start(&job, sqe);
	while (!job.finished)
		amux_job_step(a, &job, UINT64_MAX);
	amux_tally_add(&a->tallies[mine].cpu_ns, mine, job.cpu_ns);
	return job.cqe.status;
}

/* @timed: it is worth two looks at the clock, and stands for @weight others. */
static int copy_cpu(struct amux *a, void *dst, const void *src, size_t len, bool timed,
		    unsigned int weight)
{
	uint32_t mine = amux_tally_index();
	struct amux_tally *t = &a->tallies[mine];
	uint64_t ns;

	amux_tally_add(&t->cpu, mine, 1);
	if (!timed && !amux_load_relaxed(&a->cpu_bps)) {
		memmove(dst, src, len);
		return 0;
	}
	ns = amux_cpu_move(a, dst, src, len);
	rate_learn(a, len, ns);
	amux_tally_add(&t->cpu_ns, mine, ns * weight);
	return 0;
}

/* --------------------------------------------------------------------- prediction */

static double copy_ns(size_t len, uint64_t bps)
{
	return (double)len * 1e9 / (double)bps;
}

/* Copies of about the same size, from AMUX_SPLIT_MIN on, have their own; smaller ones share the
 * first. */
static uint64_t *lag_of(struct amux *a, size_t len)
{
	unsigned int i = 0;

	for (len /= AMUX_SPLIT_MIN; len && i + 1 < AMUX_LAGS; len /= 2)
		i++;
	return &a->sync_lag_ns[i];
}

/*
 * What a copy with the engine takes beyond the prediction (waking the broker, being woken, a
 * memory that gives two no more than one) is learned from each, and forgotten little by little
 * while it keeps copies from the engine.
 */
static void lag_learn(struct amux *a, const struct amux_forecast *f, size_t len,
		      double predicted, uint64_t ns)
{
	uint64_t *lag = lag_of(a, len), old = amux_load_relaxed(lag);
	double more = (double)ns - predicted, most = LAG_MOST * copy_ns(len, f->cpu_bps);

	if (more > most) /* one that was preempted is no reason to stay away for long */
		more = most;
	amux_store_relaxed(lag, old / 2 + (more > 0 ? (uint64_t)more / 2 : 0));
}

static void lag_forget(struct amux *a, size_t len)
{
	uint64_t *lag = lag_of(a, len), old = amux_load_relaxed(lag);

	amux_store_relaxed(lag, old - (old + LAG_LIFE - 1) / LAG_LIFE);
}

/* What to expect of the engine now; false: nothing. */
static bool engine_ask(struct amux *a, struct amux_queue *q, size_t len,
		       struct amux_forecast *f)
{
	struct amux_ring_hdr *h = q->ring.hdr;
	uint64_t wait, idle, min = AMUX_OFFLOAD_NEVER;

	if (h && amux_load_relaxed(&h->state) == AMUX_BROKER_RUNNING)
		min = amux_load_relaxed(&h->min_offload);
	amux_store_relaxed(&a->copy_min, min);
	if (len < min)
		return false;
	f->engine_bps = amux_load_relaxed(&h->engine_bps);
	if (!f->engine_bps)
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
	f->wait_ns = wait;
	f->cpu_bps = rate_of(a, len);
	return true;
}

/* What engine and CPU together, or the engine, are predicted to take, ns. */
static double both_ns(const struct amux_forecast *f, size_t len)
{
	return (double)f->wait_ns + copy_ns((size_t)amux_split_share(f, len), f->engine_bps);
}

static double engine_ns(const struct amux_forecast *f, size_t len)
{
	return (double)f->wait_ns + copy_ns(len, f->engine_bps);
}

/* Who is predicted to be done first? */
static enum copy_by copy_predict(struct amux *a, struct amux_queue *q, size_t len,
				 struct amux_forecast *f)
{
	enum copy_by by = len < AMUX_SPLIT_MIN ? BY_ENGINE : BY_BOTH;
	double lag;

	if (!engine_ask(a, q, len, f))
		return BY_CPU;
	lag = (double)amux_load_relaxed(lag_of(a, len));
	if (by == BY_BOTH && !amux_split_share(f, len))
		return BY_CPU;
	if (lag + (by == BY_BOTH ? both_ns(f, len) : engine_ns(f, len)) <
	    copy_ns(len, f->cpu_bps))
		return by;
	lag_forget(a, len);
	if (len < COPY_LOOK) /* nor are the next such, until one is looked at again */
		amux_store_relaxed(&a->copy_min, len + 1);
	return BY_CPU;
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
	q->hidden = true;
	amux_store_release(&a->sync, q); /* pairs with the acquire in amux_copy() */
	return q;
}

/* Do source and destination share memory, whatever their addresses?  So it is taken, too, if one
 * of them has gone meanwhile. */
static bool copy_overlaps(struct amux *a, const struct amux_sqe *sqe)
{
	struct amux_region *src, *dst;
	bool overlap;

	pthread_rwlock_rdlock(&a->regions.lock);
	src = amux_region_by_id(&a->regions, sqe->region[0]);
	dst = amux_region_by_id(&a->regions, sqe->region[1]);
	overlap = !src || !dst ||
		  amux_region_overlap(src, sqe->offset[0], dst, sqe->offset[1], sqe->len);
	pthread_rwlock_unlock(&a->regions.lock);
	return overlap;
}

/* One request for all of it.  0 or -errno; 1: the CPU should do it. */
static int copy_whole(struct amux *a, struct amux_queue *q, const struct amux_sqe *want,
		      const struct amux_forecast *f)
{
	uint32_t mine = amux_tally_index();
	struct amux_tally *t = &a->tallies[mine];
	uint64_t declined = q->stats.declined, start = amux_now();
	struct amux_cqe cqe;
	struct amux_sqe *sqe;
	int err;

	sqe = amux_get_sqe(q);
	if (!sqe)
		return 1;
	*sqe = *want;
	amux_submit(q);
	err = amux_wait(q, &cqe, 1, 1, NULL);
	if (err < 0)
		return err;
	/* The memory is the caller's until amux_copy() returns, but a source that was
	 * overwritten half-way is gone. */
	if (cqe.status)
		return amux_split_redo(cqe.status) &&
				       (cqe.status != -EIO || !copy_overlaps(a, want))
			       ? 1
			       : cqe.status;
	if (q->stats.declined != declined) {
		amux_tally_add(&t->cpu, mine, 1);
		return 0;
	}
	lag_learn(a, f, want->len, engine_ns(f, want->len), amux_now() - start);
	amux_tally_add(&t->engine, mine, 1);
	return 0;
}

static int copy_both(struct amux *a, struct amux_queue *q, const struct amux_sqe *want,
		     void *dst, const void *src, const struct amux_forecast *f)
{
	uint32_t mine = amux_tally_index();
	struct amux_tally *t = &a->tallies[mine];
	uint64_t start = amux_now();
	struct amux_split_result r;
	int err = amux_split_copy(q, want, dst, src, f, &r);

	lag_learn(a, f, want->len, both_ns(f, want->len), amux_now() - start);
	amux_tally_add(&t->cpu_ns, mine, r.cpu_ns);
	amux_tally_add(!r.engine_bytes ? &t->cpu
		       : r.cpu_bytes   ? &t->both
				       : &t->engine,
		       mine, 1);
	return err;
}

/*
 * Copy with the hidden queue, with sync_lock held.  0 or -errno; 1: the CPU should do it.
 */
static int copy_engine(struct amux *a, const struct amux_sqe *want, void *dst, const void *src)
{
	struct amux_queue *q = copy_queue(a);
	struct amux_forecast f;
	struct amux_cqe cqe;
	enum copy_by by;

	if (!q)
		return 1;
	if (q->dead || q->careful)
		amux_peek(q, &cqe, 1); /* perhaps it can be used again */
	if (!q->dead)
		amux_store_relaxed(&a->sync_renew, 0);
	if (q->dead || q->careful)
		return 1;
	by = copy_predict(a, q, want->len, &f);
	if (by == BY_CPU)
		return 1;
	if (by == BY_BOTH && !copy_overlaps(a, want))
		return copy_both(a, q, want, dst, src, &f);
	/* An overlapping copy is one ordered stream. */
	return engine_ns(&f, want->len) < copy_ns(want->len, f.cpu_bps)
		       ? copy_whole(a, q, want, &f)
		       : 1;
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

/* A copy that is looked at.  On its own, or a small copy would have to save and restore the
 * registers that only this needs. */
static __attribute__((noinline)) int copy_look(struct amux *a, void *dst, const void *src,
					       size_t len)
{
	unsigned int weight = 1;
	struct amux_forecast f;
	struct amux_queue *q;
	struct amux_sqe sqe;
	bool timed;
	int err = 1;

	if (!a) {
		memmove(dst, src, len);
		return 0;
	}
	if (*a->guard != AMUX_GUARD_MAGIC)
		return -EPERM;
	if (!len)
		return 0;
	timed = len >= COPY_TIMED ||
		(len >= COPY_FLOOR && !amux_load_relaxed(&a->cpu_rate[rate_class(len)]));
	if (!timed && len >= COPY_FLOOR && !amux_load_relaxed(&a->cpu_bps) &&
	    !(amux_load_relaxed(&a->tallies[amux_tally_index()].cpu) % COPY_SAMPLE)) {
		timed = true; /* it stands for those whose time is not taken */
		weight = COPY_SAMPLE;
	}
	if (amux_is_dead(a))
		amux_reconnect(a);
	if (amux_load_relaxed(&a->regions.aliased) && copy_locate(a, &sqe, dst, src, len)) {
		err = copy_alias(a, &sqe);
		if (err <= 0)
			return err;
	}
	amux_store_relaxed(&a->copy_min, AMUX_OFFLOAD_NEVER); /* but for what is found below */
	if (len < COPY_FLOOR || !amux_load_relaxed(&a->regions.n) || amux_is_dead(a) ||
	    amux_load_relaxed(&a->sync_off))
		return copy_cpu(a, dst, src, len, timed, weight);
	/* The acquire pairs with the release in copy_queue(): a queue that is seen is whole. */
	q = amux_load_acquire(&a->sync);
	if ((q && !amux_load_relaxed(&a->sync_renew) &&
	     copy_predict(a, q, len, &f) == BY_CPU) ||
	    !copy_locate(a, &sqe, dst, src, len))
		return copy_cpu(a, dst, src, len, timed, weight);
	/* Another thread copies: waiting for it is worse than copying at once. */
	if (!pthread_mutex_trylock(&a->sync_lock)) {
		err = copy_engine(a, &sqe, dst, src);
		pthread_mutex_unlock(&a->sync_lock);
	}
	return err > 0 ? copy_cpu(a, dst, src, len, timed, weight) : err;
}

/* Is a copy of @len bytes done before a thought costs more than it gains? */
static inline bool copy_is_plain(const struct amux *a, const struct amux_tally *t, size_t len)
{
	if (amux_load_relaxed(&a->cpu_bps) || amux_load_relaxed(&a->regions.aliased))
		return false;
	if (len < COPY_FLOOR)
		return true;
	return len < COPY_LOOK && len < amux_load_relaxed(&a->copy_min) &&
	       amux_load_relaxed(&t->cpu) % COPY_SAMPLE;
}

/* Nothing that is called here before memmove(): a small copy has no register to save. */
int amux_copy(struct amux *a, void *dst, const void *src, size_t len)
{
	uint32_t mine = amux_tally_mine - 1;
	struct amux_tally *t;

	if (a && *a->guard == AMUX_GUARD_MAGIC && len && mine < AMUX_TALLY_SHARED) {
		t = &a->tallies[mine];
		if (copy_is_plain(a, t, len)) {
			amux_store_relaxed(&t->cpu, t->cpu + 1);
			memmove(dst, src, len);
			return 0;
		}
	}
	return copy_look(a, dst, src, len);
}
