/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sched_parts.h - inside the scheduler: what sched.c (chunks: issued, reaped, withdrawn),
 * sched_turn.c (whose turn it is), sched_rate.c (what users may have, and who is admitted) and
 * sched_view.c (what a policy is shown) share.  Not for others.
 *
 * Owner: a scheduler.  Thread: the mux thread.
 */
#ifndef BROKER_SCHED_PARTS_H
#define BROKER_SCHED_PARTS_H

#include "clock.h"
#include "sched.h"

#define MIB (1ull << 20)

static inline const struct amux_plan_share *share_of(const struct sched *s, unsigned int d)
{
	return &s->plan->share[d][AMUX_CLASS_USER];
}

/* The engines that users may have: of the plan, and not drained. */
static inline uint64_t users_mask(const struct sched *s, unsigned int d)
{
	return share_of(s, d)->engine_mask & ~s->device[d].drained;
}

/* What the control thread shows is written whole, by this thread alone. */
static inline void gauge_add(uint64_t *gauge, uint64_t n)
{
	stat_set(gauge, *gauge + n);
}

static inline void gauge_sub(uint64_t *gauge, uint64_t n)
{
	stat_set(gauge, *gauge - n);
}

/* @f has something to issue: among its tenant's flows, and the tenant among the active. */
void flow_activate(struct sched *s, struct flow *f);
/* ... or nothing any more, and perhaps its tenant neither. */
void flow_deactivate(struct sched *s, struct flow *f);

/* Who is furthest behind its reserve, or NULL. */
struct sched_tenant *sched_tenant_reserved(struct sched *s, uint64_t now);

/* The next in deficit round-robin, or NULL: s->ready_ns says when, if limits are why. */
struct sched_tenant *sched_tenant_pick(struct sched *s, uint64_t now);

/* A chunk of @t took @took_ns (0: it was not measured) where @fair_ns were to be expected. */
void sched_tenant_slow(struct sched_tenant *t, uint64_t took_ns, uint64_t fair_ns);

/*
 * A copy of @t met memory that was not there; @missing: it could not be had either.  Beyond its
 * rate a tenant waits until its faults are paid for; one that goes on for seconds with memory that
 * cannot be had becomes s->offender.
 */
void sched_tenant_fault(struct sched *s, struct sched_tenant *t, bool missing, uint64_t now);

/* Set the users' rate of every device as the plan in force says. */
void sched_rates_set(struct sched *s, uint64_t now);

#endif /* BROKER_SCHED_PARTS_H */
