// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft_model.c - the fluid model: between two events every engine's rate is constant.
 */
#include "soft_model.h"

/* Residues of floating point below these count as nothing left. */
#define TINY_NS	   1e-6
#define TINY_BYTES 1e-6

bool model_init(struct model *m, const struct model_params *p)
{
	double scale = (double)p->time_scale;

	if (!p->engines || p->engines > MODEL_ENGINES || !p->engine_bps || !p->fabric_bps ||
	    !p->time_scale)
		return false;
	*m = (struct model){
		.engines = p->engines,
		.desc_ns = (double)p->desc_ns * scale,
		.engine_rate = (double)p->engine_bps / scale / 1e9,
		.fabric_rate = (double)p->fabric_bps / scale / 1e9,
	};
	return true;
}

/* Bytes per ns of every engine that moves any. */
static double rate(const struct model *m)
{
	unsigned int moving = 0;
	double share;

	for (unsigned int i = 0; i < m->engines; i++)
		moving += m->engine[i].busy && m->engine[i].fixed_ns <= 0;
	if (!moving)
		return m->engine_rate;
	share = m->fabric_rate / moving;
	return share < m->engine_rate ? share : m->engine_rate;
}

/* Nothing left to do, not yet collected: its index, or -1. */
static int finished(const struct model *m)
{
	for (unsigned int i = 0; i < m->engines; i++) {
		const struct model_engine *e = &m->engine[i];

		if (e->busy && e->fixed_ns <= 0 && e->bytes <= 0)
			return (int)i;
	}
	return -1;
}

static bool idle(const struct model *m)
{
	for (unsigned int i = 0; i < m->engines; i++)
		if (m->engine[i].busy)
			return false;
	return true;
}

/* Let time pass until the next change of rates or @limit_ns, whichever comes first. */
static void flow(struct model *m, double limit_ns)
{
	double r = rate(m), dt = limit_ns;
	uint64_t whole;

	for (unsigned int i = 0; i < m->engines; i++) {
		const struct model_engine *e = &m->engine[i];
		double left = e->fixed_ns > 0 ? e->fixed_ns : e->bytes / r;

		if (e->busy && left < dt)
			dt = left;
	}
	for (unsigned int i = 0; i < m->engines; i++) {
		struct model_engine *e = &m->engine[i];

		if (!e->busy)
			continue;
		e->busy_ns += dt;
		if (e->fixed_ns > 0) {
			e->fixed_ns -= dt;
			if (e->fixed_ns < TINY_NS)
				e->fixed_ns = 0;
		} else {
			e->bytes -= dt * r;
			if (e->bytes < TINY_BYTES)
				e->bytes = 0;
		}
	}
	m->frac += dt;
	whole = (uint64_t)m->frac;
	m->now += whole;
	m->frac -= (double)whole;
}

uint64_t model_now(const struct model *m)
{
	return m->now + (m->frac > TINY_NS);
}

uint64_t model_next(struct model *m)
{
	struct model ahead;

	if (m->next_valid)
		return m->next;
	m->next_valid = true;
	m->next = UINT64_MAX;
	if (idle(m))
		return m->next;
	ahead = *m;
	while (finished(&ahead) < 0)
		flow(&ahead, 1e300);
	m->next = model_now(&ahead);
	return m->next;
}

int model_advance(struct model *m, uint64_t t)
{
	int e;

	if (idle(m) || model_next(m) > t)
		return -1;
	while ((e = finished(m)) < 0)
		flow(m, 1e300);
	m->engine[e].busy = false;
	m->next_valid = false;
	return e;
}

bool model_start(struct model *m, unsigned int engine, uint64_t bytes, uint64_t descs,
		 uint64_t now)
{
	if (engine >= m->engines || m->engine[engine].busy)
		return false;
	if (idle(m)) {
		if (model_now(m) < now) {
			m->now = now;
			m->frac = 0;
		}
	} else {
		if (model_next(m) < now)
			now = model_next(m);
		while (finished(m) < 0 && model_now(m) < now)
			flow(m, (double)(now - m->now) - m->frac);
	}
	m->engine[engine].busy = true;
	m->engine[engine].fixed_ns = m->desc_ns * (double)descs;
	m->engine[engine].bytes = (double)bytes;
	m->next_valid = false;
	return true;
}

uint64_t model_busy_ns(const struct model *m, unsigned int engine)
{
	return (uint64_t)m->engine[engine].busy_ns;
}
