// SPDX-License-Identifier: GPL-2.0-only
/*
 * offer.c - see offer.h.
 */
#include "offer.h"

#include "clock.h"

#define BURST_MIN    (4ull << 20) /* bytes of a full token bucket, or the cap if larger */
#define SPREAD_PAGES 8		  /* smaller blocks are not worth spreading over engines */

uint64_t offer_cpu_bps(const struct mover *m, const struct amux_grant *g)
{
	if (g && g->cpu_bps)
		return g->cpu_bps;
	return m->cpu_bps ? m->cpu_bps : m->measured_bps;
}

/* Bytes/s that @d grants at @now, saturating. */
static uint64_t grant_rate(const struct amux_grant_dev *d, uint64_t now)
{
	uint64_t rate = d->reserve_bps;

	if (d->loan_expiry_ns > now && __builtin_add_overflow(rate, d->loan_bps, &rate))
		rate = UINT64_MAX;
	return rate;
}

static bool grant_unlimited(const struct amux_grant_dev *d, uint64_t rate)
{
	return d->device_bps && rate >= d->device_bps;
}

static uint64_t bucket_burst(const struct amux_grant_dev *d)
{
	return d->cap_bytes > BURST_MIN ? d->cap_bytes : BURST_MIN;
}

/* Let tokens accrue at the rate so far, then note @rate. */
static void bucket_refill(struct mover_device *md, const struct amux_grant_dev *d,
			  uint64_t rate, uint64_t now)
{
	uint64_t burst = bucket_burst(d), earned;

	if (!md->refill_ns) {
		md->tokens = burst;
		md->refill_ns = now;
	}
	earned = ns_to_bytes(now - md->refill_ns, md->rate);
	if (earned >= burst || md->tokens + earned > burst)
		md->tokens = burst;
	else
		md->tokens += earned;
	if (earned || rate != md->rate)
		md->refill_ns = now;
	/* Tokens earned from a loan end with it. */
	if (rate < md->rate)
		md->tokens = (uint64_t)((unsigned __int128)md->tokens * rate / md->rate);
	md->rate = rate;
}

static uint32_t usable_mask(const struct mover_device *md, const struct amux_grant_dev *d)
{
	return d->engine_mask & ((1u << md->dev->engines) - 1);
}

/* The engine of @mask with the least in flight that has a free slot, or -1. */
static int pick_engine(const struct mover_device *md, uint32_t mask)
{
	int best = -1;

	for (unsigned int e = 0; e < md->dev->engines; e++)
		if ((mask & (1u << e)) && md->count[e] < md->dev->wq_size[ENGINE_WQ_KERNEL] &&
		    (best < 0 || md->bytes[e] < md->bytes[best]))
			best = (int)e;
	return best;
}

/* The next block on device @i: MOVE_ENGINE fills @out; MOVE_WAIT; or why not. */
static int offer_of(struct mover *m, const struct amux_grant *g, unsigned int i, uint64_t now,
		    struct offer *out)
{
	struct mover_device *md = &m->devs[i];
	const struct amux_grant_dev *d = &g->dev[i];
	uint64_t rate = grant_rate(d, now), want, room, run;
	uint32_t mask = usable_mask(md, d), left = m->batch->pages - m->at.page, engines;
	int engine;

	bucket_refill(md, d, rate, now);
	if (!mask || !rate)
		return AMUX_DECLINE_NO_GRANT;
	if (md->late || !m->spare)
		return AMUX_DECLINE_TIMEOUT;
	mask &= ~md->down;
	if (!mask)
		return AMUX_DECLINE_ERROR;

	engines = (uint32_t)__builtin_popcount(mask);
	want = (left + engines - 1) / engines;
	want = (want < SPREAD_PAGES ? SPREAD_PAGES : want) * ARENA_PAGE;
	if (want > (uint64_t)left * ARENA_PAGE)
		want = (uint64_t)left * ARENA_PAGE;
	if (want > g->chunk_bytes)
		want = g->chunk_bytes;
	if (!grant_unlimited(d, rate) && md->tokens < want)
		return AMUX_DECLINE_PACED;

	/* Rather wait for room than cut a contiguous run; a chunk always fits into the cap. */
	engine = pick_engine(md, mask);
	room = d->cap_bytes > md->total ? d->cap_bytes - md->total : 0;
	run = (uint64_t)(m->at.run_end - m->at.page) * ARENA_PAGE;
	if (engine < 0 || room < (run < want ? run : want))
		return MOVE_WAIT;
	out->dev = i;
	out->engine = (unsigned int)engine;
	out->bytes = (uint32_t)(want < room ? want : room) & ~(ARENA_PAGE - 1);
	return MOVE_ENGINE;
}

/* From the least to the most willing answer of a device. */
static unsigned int offer_rank(int what)
{
	switch (what) {
	case MOVE_ENGINE:
		return 5;
	case MOVE_WAIT:
		return 4;
	case AMUX_DECLINE_PACED:
		return 3;
	case AMUX_DECLINE_ERROR:
		return 2;
	case AMUX_DECLINE_TIMEOUT:
		return 1;
	default:
		return 0;
	}
}

int offer_best(struct mover *m, const struct amux_grant *g, struct offer *out)
{
	uint64_t now = clock_ns();
	int best = AMUX_DECLINE_NO_GRANT;
	unsigned int chosen = 0;

	for (unsigned int i = 0; i < m->n_devs && i < g->n_devs; i++) {
		struct offer o = { 0 };
		int what = offer_of(m, g, i, now, &o);

		if (offer_rank(what) < offer_rank(best) ||
		    (offer_rank(what) == offer_rank(best) &&
		     (what != MOVE_ENGINE || m->devs[i].total >= m->devs[chosen].total)))
			continue;
		best = what;
		chosen = i;
		*out = o;
	}
	return best;
}

/*
 * ns until the engine side of @o would be done with the rest of the batch: what others have
 * in flight there, the bytes that tokens are there for at the device's own rate, and what is
 * beyond them at the granted one.
 */
static uint64_t predict_engine(const struct mover *m, const struct amux_grant *g,
			       const struct offer *o)
{
	const struct mover_device *md = &m->devs[o->dev];
	const struct amux_grant_dev *d = &g->dev[o->dev];
	uint64_t pages = m->batch->pages - m->at.page, bytes = pages * ARENA_PAGE,
		 burst = bytes;
	uint32_t engines = (uint32_t)__builtin_popcount(usable_mask(md, d));
	uint64_t full = d->device_bps ? d->device_bps : md->rate, rate = md->rate, pieces;

	if (md->dev->engine_bps && full > engines * md->dev->engine_bps)
		full = engines * md->dev->engine_bps;
	if (rate > full)
		rate = full;
	if (!grant_unlimited(d, md->rate) && md->tokens < bytes)
		burst = md->tokens;
	pieces = trace_pieces(m->batch, g->chunk_bytes / ARENA_PAGE) * pages / m->batch->pages;
	return d->est_wait_ns + bytes_to_ns(burst, full) + bytes_to_ns(bytes - burst, rate) +
	       (pieces + engines - 1) / engines * md->dev->desc_ns;
}

uint64_t offer_alone_ns(const struct mover *m, uint32_t chunk)
{
	const struct device *dev = m->devs[0].dev;
	uint64_t bytes = (uint64_t)m->batch->pages * ARENA_PAGE, engine_ns, fabric_ns;
	uint32_t pieces = trace_pieces(m->batch, chunk / ARENA_PAGE);
	uint32_t engines = pieces < dev->engines ? pieces : dev->engines;

	engine_ns = (pieces * dev->desc_ns + bytes_to_ns(bytes, dev->engine_bps)) / engines;
	fabric_ns = bytes_to_ns(bytes, dev->rate_bps);
	return engine_ns > fabric_ns ? engine_ns : fabric_ns;
}

int offer_judge(const struct mover *m, const struct amux_grant *g, const struct offer *o)
{
	const struct trace_batch *b = m->batch;
	uint64_t left = (uint64_t)(b->pages - m->at.page) * ARENA_PAGE;

	if (b->pages < g->min_pages)
		return AMUX_DECLINE_BELOW_MIN;
	if (!(g->reason_mask & (1u << b->reason)))
		return AMUX_DECLINE_REASON;
	if (o && (g->flags & AMUX_GRANT_PREDICT) &&
	    predict_engine(m, g, o) > bytes_to_ns(left, offer_cpu_bps(m, g)))
		return AMUX_DECLINE_PREDICTED;
	return -1;
}
