// SPDX-License-Identifier: GPL-2.0-only
/*
 * spot.c - see spot.h.
 */
#include "clock.h"
#include "sched_parts.h"
#include "spot.h"

void spot_begin(struct spot *sp, const struct sched *s, const struct sched_tenant *t)
{
	const struct sched_device *sd = &s->device[0];
	uint64_t mask = share_of(s, 0)->engine_mask;

	sp->open = false;
	if (!sp->allowed || !sd->dev->ops->run || !sched_may_pass(s, t))
		return;
	/* in turn, as all of them are this thread */
	for (unsigned int i = 0; i < sd->dev->engines; i++) {
		sp->engine = (sp->engine + 1) % sd->dev->engines;
		if ((mask & (1ull << sp->engine)) && device_engine_up(sd->dev, sp->engine)) {
			sp->open = true;
			return;
		}
	}
}

bool spot_run(struct spot *sp, struct sched *s)
{
	const struct sched_device *sd = &s->device[0];
	struct request *r = &sp->req;
	struct chunk *c = &sp->chunk;

	if (r->len > SPOT_BYTES || r->len > s->plan->chunk_bytes || r->len > sd->dev->max_xfer)
		return false;
	request_next(r, c, r->len);
	if (request_ready(r))
		return false; /* a second piece, to another destination */
	sd->dev->ops->run(sd->dev, sp->engine, &c->desc);
	if (status_to_errno(record_status(&c->rec)))
		return false;
	request_chunk_done(r, c);
	sp->n++;
	sp->bytes += c->bytes;
	sp->cost += c->bytes > sd->min_cost ? c->bytes : sd->min_cost;
	sp->ahead += sp->bytes;
	return true;
}

void spot_end(struct spot *sp, struct sched *s, struct sched_tenant *t, uint64_t begin_ns)
{
	const struct sched_device *sd = &s->device[0];
	uint64_t spent;

	if (!sp->n)
		return;
	spent = clock_ns() - begin_ns;
	sd->dev->ops->ran(sd->dev, sp->engine, spent);
	sched_passed(s, t, sp->n, sp->cost, spent / sp->n);
	t->tally.descriptors += sp->n;
	t->tally.engine_bytes += sp->bytes;
	t->tally.engine_cpu_ns += spent;
	t->tally.actual_ns += spent * sp->n; /* they are published together */
	t->tally.alone_ns +=
		sp->n * sd->dev->desc_ns + (uint64_t)((double)sp->ahead * s->alone_ns_byte);
	t->tally.cpu_ns += (uint64_t)((double)sp->ahead * s->cpu_ns_byte);
	s->arrived_bytes += sp->bytes;
	sp->n = 0;
	sp->bytes = sp->cost = sp->ahead = 0;
	sp->ran = true;
}
