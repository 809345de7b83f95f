// SPDX-License-Identifier: GPL-2.0-only
/*
 * plan.c - see plan.h.
 */
#include "plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../client/barrier.h"
#include "clock.h"
#include "param.h"

#define SAFE_POLICY   "partitioned"
#define SLOW_CALLS    3 /* in a row over budget: replaced */
#define CHUNK_STEP    4096u
#define CHUNK_MAX     (2u << 20)
#define CHUNK_DEFAULT (64u << 10)
#define PAGES_DEFAULT 32u
#define LOAN_DEFAULT  10u /* epochs */
#define LOAN_MAX      1000u
#define EPOCH_ASSUMED 1000000u /* ns, before there is a view */
#define ERRNO_MAX     4096
#define REASON_LEN    80

static void planner_lock(struct planner *p)
{
	/* Pairs with the release in planner_unlock(). */
	while (__atomic_exchange_n(&p->lock, 1, __ATOMIC_ACQUIRE))
		amux_cpu_relax();
}

static void planner_unlock(struct planner *p)
{
	/* Pairs with the acquire in planner_lock(). */
	__atomic_store_n(&p->lock, 0, __ATOMIC_RELEASE);
}

/* What a policy finds in its plan: valid, and nothing granted. */
static void plan_default(struct amux_plan *plan, uint64_t epoch_ns)
{
	memset(plan, 0, sizeof(*plan));
	plan->abi = AMUX_POLICY_ABI;
	plan->chunk_bytes = CHUNK_DEFAULT;
	plan->kernel_min_pages = PAGES_DEFAULT;
	plan->reason_mask = ~0u;
	plan->loan_ns = epoch_ns * LOAN_DEFAULT;
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_PREDICT;
}

/* What is left when no policy has a plan. */
static void plan_refuse(struct amux_plan *plan, uint64_t epoch_ns)
{
	plan_default(plan, epoch_ns);
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_ALWAYS;
}

static void planner_start(struct planner *p, const struct amux_policy_ops *ops,
			  const uint64_t *values, void *state)
{
	memcpy(p->values, values, sizeof(p->values));
	p->state = state;
	p->slow = 0;
	if (ops->start)
		ops->start(state, p->values);

	planner_lock(p);
	p->ops = ops;
	planner_unlock(p);
}

int plan_init(struct planner *p, const struct amux_policy_ops *ops, const uint64_t *values,
	      struct mux_stats *stats)
{
	void *state = NULL;

	memset(p, 0, sizeof(*p));
	p->stats = stats;
	p->safe = policy_find(SAFE_POLICY);
	p->safe_state = calloc(1, p->safe->state_size);
	if (!p->safe_state)
		return -ENOMEM;
	if (ops->state_size) {
		state = calloc(1, ops->state_size);
		if (!state)
			goto err_state;
	}
	plan_default(&p->plan, EPOCH_ASSUMED);
	planner_start(p, ops, values, state);
	return 0;

err_state:
	free(p->safe_state);
	return -ENOMEM;
}

static void free_state(struct planner *p)
{
	if (p->state != p->safe_state)
		free(p->state);
	p->state = NULL;
}

void plan_fini(struct planner *p)
{
	free_state(p);
	free(p->safe_state);
	p->safe_state = NULL;
}

void plan_set(struct planner *p, const struct amux_policy_ops *ops, const uint64_t *values,
	      void *state)
{
	free_state(p);
	p->reverted = false;
	planner_lock(p);
	p->why[0] = '\0';
	planner_unlock(p);
	planner_start(p, ops, values, state);
	stat_add(&p->stats->policy_switches, 1);
}

/* One call of the policy.  0, or -errno and in @reason what it did ("returned ..."). */
static int plan_ask(struct planner *p, const struct amux_view *view, struct amux_plan *plan,
		    char *reason)
{
	const char *name;
	int ret;

	plan_default(plan, view->epoch_ns);
	if (p->ops->abi != AMUX_POLICY_ABI) {
		snprintf(reason, REASON_LEN, "has abi %u, expected %u,", p->ops->abi,
			 AMUX_POLICY_ABI);
		return -EPROTO;
	}
	ret = p->ops->plan(p->state, view, plan);
	if (ret) {
		name = ret < 0 && ret > -ERRNO_MAX ? strerrorname_np(-ret) : NULL;
		if (name)
			snprintf(reason, REASON_LEN, "returned -%s (%d)", name, ret);
		else
			snprintf(reason, REASON_LEN, "returned %d", ret);
		return ret < 0 ? ret : -EPROTO;
	}
	if (plan->abi != AMUX_POLICY_ABI) {
		snprintf(reason, REASON_LEN, "returned a plan of abi %u, expected %u,",
			 plan->abi, AMUX_POLICY_ABI);
		return -EPROTO;
	}
	return 0;
}

/* Replace the policy by the safe one with default parameters; needs no memory. */
static void plan_revert(struct planner *p, const char *reason)
{
	uint64_t values[AMUX_POLICY_PARAMS];

	planner_lock(p);
	snprintf(p->why, sizeof(p->why), "policy %.24s %s in epoch %" PRIu64 "; %s took over",
		 p->ops->name, reason, stat_read(&p->stats->epochs) + 1, p->safe->name);
	planner_unlock(p);

	free_state(p);
	p->reverted = true;
	memset(p->safe_state, 0, p->safe->state_size);
	policy_defaults(p->safe, values);
	planner_start(p, p->safe, values, p->safe_state);
	stat_add(&p->stats->policy_reverts, 1);
}

void plan_epoch(struct planner *p, const struct amux_view *view)
{
	uint64_t start = clock_ns(), took;
	char reason[REASON_LEN];
	struct amux_plan plan;
	unsigned int clamps;
	bool bad;
	int err;

	err = plan_ask(p, view, &plan, reason);
	took = clock_ns() - start;
	bad = err;
	p->slow = took > AMUX_POLICY_BUDGET_NS ? p->slow + 1 : 0;
	if (!err && p->slow >= SLOW_CALLS) {
		snprintf(reason, sizeof(reason),
			 "took %" PRIu64 " us (budget %llu us), the third time running,",
			 took / 1000, AMUX_POLICY_BUDGET_NS / 1000);
		bad = true;
	}
	/* A replacement that is slow, too, means that the machine is: its plan holds. */
	if (bad && !p->reverted) {
		plan_revert(p, reason);
		err = plan_ask(p, view, &plan, reason);
	}
	if (err)
		plan_refuse(&plan, view->epoch_ns);
	clamps = plan_clamp(&plan, view);

	planner_lock(p);
	p->plan = plan;
	planner_unlock(p);
	stat_add(&p->stats->plan_clamps, clamps);
	stat_add(&p->stats->epochs, 1);
	stat_add(&p->stats->plan_ns, clock_ns() - start);
}

void plan_describe(struct planner *p, char *name, size_t namelen, char *why, size_t whylen)
{
	planner_lock(p);
	snprintf(name, namelen, "%s", p->ops->name);
	snprintf(why, whylen, "%s", p->why);
	planner_unlock(p);
}

void plan_read(struct planner *p, struct amux_plan *out)
{
	planner_lock(p);
	*out = p->plan;
	planner_unlock(p);
}

static void fix32(uint32_t *field, uint32_t want, unsigned int *fixed)
{
	if (*field != want) {
		*field = want;
		++*fixed;
	}
}

static void fix64(uint64_t *field, uint64_t want, unsigned int *fixed)
{
	if (*field != want) {
		*field = want;
		++*fixed;
	}
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t usable_engines(const struct amux_view *view, unsigned int d)
{
	const struct amux_view_device *dev = &view->devices[d];

	if (d >= view->n_devices || dev->flags & AMUX_DEVICE_DOWN)
		return 0;
	return dev->engines >= 64 ? UINT64_MAX : (UINT64_C(1) << dev->engines) - 1;
}

/* @free_bps: what is left of the device's rate to be reserved. */
static unsigned int clamp_share(struct amux_plan_share *s, uint64_t usable, uint64_t chunk,
				uint64_t *free_bps)
{
	uint64_t mask = s->engine_mask & usable;
	bool granted = mask && s->limit_bps;
	unsigned int fixed = 0;

	fix64(&s->engine_mask, granted ? mask : 0, &fixed);
	fix64(&s->limit_bps, granted ? s->limit_bps : 0, &fixed);
	fix64(&s->reserve_bps, min64(s->reserve_bps, min64(s->limit_bps, *free_bps)), &fixed);
	fix64(&s->cap_bytes, granted ? max64(s->cap_bytes, chunk) : 0, &fixed);
	fix32(&s->lend, granted && s->lend, &fixed);
	fix32(&s->rsvd, 0, &fixed);
	*free_bps -= s->reserve_bps;
	return fixed;
}

unsigned int plan_clamp(struct amux_plan *plan, const struct amux_view *view)
{
	uint64_t epoch = max64(view->epoch_ns, 1), longest;
	unsigned int fixed = 0;
	uint32_t chunk;

	chunk = (uint32_t)min64(max64(plan->chunk_bytes, CHUNK_STEP), CHUNK_MAX);
	fix32(&plan->chunk_bytes, chunk - chunk % CHUNK_STEP, &fixed);
	fix32(&plan->kernel_min_pages, plan->kernel_min_pages ? plan->kernel_min_pages : 1,
	      &fixed);
	if (__builtin_mul_overflow(epoch, LOAN_MAX, &longest))
		longest = UINT64_MAX;
	fix64(&plan->loan_ns, min64(max64(plan->loan_ns, epoch), longest), &fixed);
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		if (plan->decline[c] > AMUX_DECLINE_ALWAYS)
			fix32(&plan->decline[c], AMUX_DECLINE_PREDICT, &fixed);

	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++) {
		uint64_t free_bps = d < view->n_devices ? view->devices[d].rate_bps : 0;

		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			fixed += clamp_share(&plan->share[d][c], usable_engines(view, d),
					     plan->chunk_bytes, &free_bps);
	}
	return fixed;
}
