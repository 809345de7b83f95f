// SPDX-License-Identifier: GPL-2.0-only
/*
 * sched_rate.c - what the user class may have of the devices, what a tenant of it can expect, and
 * whether an engine is worth its wait.
 */
#include "sched_parts.h"

/* Rates are paced by tags; a late poll may catch up by this much without losing rate. */
#define PACE_BURST_CHUNKS 8
#define PACE_BURST_NS	  500000ull
#define RATE_LEAST_PART	  1024 /* of a device's rate: less than that grants nothing */

/* ---------------------------------------------------------------------- rates */

/*
 * What users may have on device @d: its rate less what is reserved for the kernel class and
 * either not lent or wanted back right now.  A rate the device cannot exceed needs no pacing.
 */
static uint64_t user_rate(const struct sched *s, unsigned int d)
{
	const struct amux_plan_share *user = share_of(s, d);
	const struct amux_plan_share *kernel = &s->plan->share[d][AMUX_CLASS_KERNEL];
	uint64_t rate = s->device[d].dev->rate_bps, left = rate;

	if (!users_mask(s, d))
		return 0;
	if (!kernel->lend || s->device[d].kernel_active)
		left = kernel->reserve_bps < rate ? rate - kernel->reserve_bps : 0;
	if (left > user->limit_bps)
		left = user->limit_bps;
	/* No policy may keep requests waiting for ever: what is next to nothing is nothing, and
	 * they go to their clients' CPUs. */
	if (left < rate / RATE_LEAST_PART)
		return 0;
	return left >= rate ? AMUX_BPS_MAX : left;
}

void sched_rates_set(struct sched *s, uint64_t now)
{
	for (unsigned int d = 0; d < s->n_devices; d++) {
		struct sched_device *sd = &s->device[d];
		uint64_t bps = user_rate(s, d);
		uint64_t burst = bytes_to_ns(s->plan->chunk_bytes, sd->dev->rate_bps);

		burst *= PACE_BURST_CHUNKS;
		sd->burst_ns = burst < PACE_BURST_NS ? PACE_BURST_NS : burst;

		/* An old, slower rate must not hold back the next chunk of a faster one. */
		if (bps > sd->user_bps && sd->user_tag > now)
			sd->user_tag = now;
		/* Nor is what was left unused of a faster one a credit to catch up with. */
		if (bps < sd->user_bps && sd->user_tag < now)
			sd->user_tag = now;
		sd->user_bps = bps;
	}
	s->ready_ns = 0;
}

void sched_cpu_set(struct sched *s, uint64_t bps)
{
	s->cpu_bps = bps;
	s->cpu_ns_byte = bps ? NSEC_PER_SEC / (double)bps : 0;
}

/* ------------------------------------------------------------------ admission */

bool sched_has_engine(const struct sched *s)
{
	for (unsigned int d = 0; d < s->n_devices; d++) {
		const struct sched_device *sd = &s->device[d];

		if (!sd->user_bps)
			continue;
		for (unsigned int e = 0; e < sd->dev->engines; e++)
			if ((users_mask(s, d) & (1ull << e)) && device_engine_up(sd->dev, e))
				return true;
	}
	return false;
}

/* What the whole user class gets now, bytes/s. */
static uint64_t class_bps(const struct sched *s)
{
	uint64_t sum = 0;

	for (unsigned int d = 0; d < s->n_devices; d++) {
		const struct sched_device *sd = &s->device[d];
		unsigned int engines = (unsigned int)__builtin_popcountll(users_mask(s, d));
		uint64_t bps = sd->dev->engine_bps * engines;

		if (bps > sd->dev->rate_bps)
			bps = sd->dev->rate_bps;
		if (bps > sd->user_bps)
			bps = sd->user_bps;
		sum += bps;
	}
	return sum;
}

uint64_t sched_tenant_bps(const struct sched *s, const struct sched_tenant *t)
{
	uint64_t bps = class_bps(s);
	uint32_t weights = s->active_weight;

	if (list_empty(&t->link))
		weights += t->weight;
	if (weights != t->weight)
		bps = (uint64_t)((unsigned __int128)bps * t->weight / weights);
	if (bps < t->reserve_bps)
		bps = t->reserve_bps;
	return bps < t->limit_bps ? bps : t->limit_bps;
}

uint64_t sched_wait_ns(const struct sched *s, const struct sched_tenant *t)
{
	uint64_t bps = sched_tenant_bps(s, t);

	if (!bps)
		return UINT64_MAX;
	return bytes_to_ns(t->queued_bytes + t->inflight_bytes, bps);
}

int sched_admit(const struct sched *s, const struct sched_tenant *t, uint16_t flags,
		uint64_t bytes, uint64_t cpu_backlog)
{
	double engine_ns, cpu_ns;
	uint64_t bps;

	if (flags & AMUX_SQE_ENGINE_ONLY)
		return -1; /* the session answers -ENODEV if there is none at all */
	if (flags & AMUX_SQE_CPU_ONLY)
		return DECLINE_ASKED;
	if (s->cpu_only)
		return DECLINE_NO_ENGINE;
	if (s->plan->decline[AMUX_CLASS_USER] == AMUX_DECLINE_ALWAYS)
		return DECLINE_POLICY;
	if (!sched_has_engine(s))
		return DECLINE_NO_ENGINE;
	if (s->plan->decline[AMUX_CLASS_USER] != AMUX_DECLINE_PREDICT || !bytes)
		return -1; /* a NOOP asks for its place in the order, not for speed */
	bps = sched_tenant_bps(s, t);
	if (!bps)
		return DECLINE_NO_ENGINE;
	/* Floating point: for an estimate two divisions of 128 bits are too dear. */
	engine_ns = (double)s->device[0].dev->desc_ns +
		    (double)(t->queued_bytes + t->inflight_bytes + bytes) * NSEC_PER_SEC /
			    (double)bps;
	cpu_ns = (double)(cpu_backlog + bytes) * NSEC_PER_SEC / (double)s->cpu_bps;
	return engine_ns > cpu_ns ? DECLINE_PREDICTED : -1;
}
