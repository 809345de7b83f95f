// SPDX-License-Identifier: GPL-2.0-only
/*
 * outage.c - see outage.h.
 */
#include "outage.h"

#include "../client/barrier.h"
#include "clock.h"

/* Hand the engine on; pairs with the acquire loads of control and of device_engine_up(). */
static void health_set(struct device *dev, unsigned int e, enum engine_health health)
{
	amux_store_release(&dev->health[e], (uint32_t)health);
	if (dev->alarm.ring)
		dev->alarm.ring(dev->alarm.arg);
}

void outage_begin(struct sched *s, unsigned int d, unsigned int e, enum engine_why why)
{
	struct sched_device *sd = &s->device[d];

	if (!device_engine_up(sd->dev, e))
		return;
	sd->troubled = true;
	stat_add(&sd->engine[e].losses, 1);
	amux_store_relaxed(&sd->dev->why[e], (uint32_t)why);
	health_set(sd->dev, e, ENGINE_LOST);
}

/* Would doing @c again, all of it, come to the same? */
static bool chunk_repeatable(const struct chunk *c)
{
	return c->req->op != AMUX_OP_COPY || !c->req->sequential;
}

void outage_answer(struct sched *s, struct chunk *c, bool fresh)
{
	struct sched_device *sd = &s->device[c->dev];

	c->redone = true;
	if (sd->dev->ops->redo && (fresh || chunk_repeatable(c))) {
		sd->dev->ops->redo(&c->desc);
		stat_add(&sd->engine[c->engine].redone, 1);
		return;
	}
	/* as the hardware would have said it */
	stat_add(&sd->engine[c->engine].failed, 1);
	__atomic_store_n(&c->rec.status, (uint8_t)DSA_COMP_HW_ERR1, __ATOMIC_RELEASE);
}

/* One chunk in a loop: a CPU's copy must not hold up everybody's queues for long. */
static unsigned int outage_end_one(struct sched *s, unsigned int d, unsigned int e)
{
	struct sched_device *sd = &s->device[d];
	struct list *pos;

	list_for_each(pos, &sd->engine[e].inflight) {
		struct chunk *c = container_of(pos, struct chunk, link);

		if (record_status(&c->rec))
			continue;
		outage_answer(s, c, false);
		return 1;
	}
	/* stalled ones count as in flight; sched_issue() brings them to their end */
	if (sd->engine[e].inflight_chunks)
		return 0;
	health_set(sd->dev, e, ENGINE_EMPTY);
	return 1;
}

bool outage_holds_all(const struct sched *s)
{
	uint64_t held = 0;

	for (unsigned int d = 0; d < s->n_devices; d++) {
		const struct sched_device *sd = &s->device[d];

		for (unsigned int e = 0; e < sd->dev->engines; e++)
			if (amux_load_acquire(&sd->dev->health[e]) == ENGINE_LOST)
				held += sd->engine[e].inflight_chunks;
	}
	return held && held == s->inflight_chunks && list_empty(&s->active);
}

unsigned int outage_step(struct sched *s, unsigned int d, unsigned int e, uint64_t now)
{
	struct sched_device *sd = &s->device[d];
	struct device *dev = sd->dev;
	const struct chunk *oldest;
	uint64_t late;

	switch (amux_load_acquire(&dev->health[e])) {
	case ENGINE_UP:
		if (amux_load_relaxed(&dev->suspect) & (1u << e)) {
			__atomic_fetch_and(&dev->suspect, ~(1u << e), __ATOMIC_RELAXED);
			outage_begin(s, d, e, ENGINE_GONE);
			return 1;
		}
		if (!dev->timeout_ns || list_empty(&sd->engine[e].inflight))
			return 0;
		oldest = container_of(sd->engine[e].inflight.next, struct chunk, link);
		if (now <= oldest->submit_ns || now - oldest->submit_ns <= dev->timeout_ns)
			return 0;
		/* What it has is worth so much more patience; computed only when it is late. */
		late = now - oldest->submit_ns - dev->timeout_ns;
		if (late <= bytes_to_ns(sd->engine[e].inflight_bytes, dev->engine_bps))
			return 0;
		outage_begin(s, d, e, ENGINE_LATE);
		return 1;
	case ENGINE_QUIET:
		return outage_end_one(s, d, e);
	default:
		return 0;
	}
}
