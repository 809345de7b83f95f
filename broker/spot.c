// SPDX-License-Identifier: GPL-2.0-only
/*
 * spot.c - see spot.h.
 */
#include "spot.h"

#include "clock.h"
#include "sched_parts.h"

void spot_begin(struct spot *sp, const struct sched *s, const struct sched_tenant *t)
{
	const struct sched_device *sd = &s->device[0];
	uint64_t mask = users_mask(s, 0);

	sp->open = false;
	if (!sp->allowed || !sd->dev->ops->copy || !sched_may_pass(s, t))
		return;
	sp->bytes = sp->cost = sp->ahead = 0;
	/* in turn, as all of them are this thread */
	for (unsigned int i = 0; i < sd->dev->engines; i++) {
		sp->engine = sp->engine + 1 < sd->dev->engines ? sp->engine + 1 : 0;
		if ((mask & (1ull << sp->engine)) && device_engine_up(sd->dev, sp->engine)) {
			sp->open = true;
			return;
		}
	}
}

bool spot_add(struct spot *sp, const struct sched *s, const struct amux_sqe *sqe)
{
	const struct sched_device *sd = &s->device[0];
	const struct request *r = &sp->req;

	if (r->op != AMUX_OP_COPY || r->sequential || sp->n == SPOT_MAX ||
	    r->len > SPOT_BYTES || r->len > s->plan->chunk_bytes || r->len > sd->dev->max_xfer)
		return false;
	sp->sqe[sp->n] = *sqe;
	sp->copy[sp->n].dst = r->addr[1];
	sp->copy[sp->n].src = r->addr[0];
	sp->copy[sp->n].bytes = (uint32_t)r->len;
	sp->copy[sp->n].cached = r->flags & AMUX_SQE_CACHE;
	sp->n++;
	sp->bytes += r->len;
	sp->cost += r->len > sd->min_cost ? r->len : sd->min_cost;
	sp->ahead += sp->bytes;
	return true;
}

uint32_t spot_run(struct spot *sp, struct sched *s, struct sched_tenant *t, uint64_t begin_ns)
{
	const struct sched_device *sd = &s->device[0];
	uint32_t done = sd->dev->ops->copy(sd->dev, sp->engine, sp->copy, sp->n);
	uint64_t spent = clock_ns() - begin_ns;

	sp->ran = true;
	sd->dev->ops->copied(sd->dev, sp->engine, spent);
	for (uint32_t i = done; i < sp->n; i++) {
		uint64_t bytes = sp->copy[i].bytes;

		sp->bytes -= bytes;
		sp->cost -= bytes > sd->min_cost ? bytes : sd->min_cost;
	}
	if (!done)
		return 0;
	sched_passed(s, t, done, sp->cost, spent / done);
	t->tally.descriptors += done;
	t->tally.engine_bytes += sp->bytes;
	t->tally.engine_cpu_ns += spent;
	t->tally.actual_ns += spent * done; /* they are published together */
	t->tally.alone_ns +=
		done * sd->dev->desc_ns + (uint64_t)((double)sp->ahead * s->alone_ns_byte);
	t->tally.cpu_ns += (uint64_t)((double)sp->ahead * s->cpu_ns_byte);
	s->arrived_bytes += sp->bytes;
	return done;
}
