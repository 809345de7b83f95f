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
#define REASON_LEN    288

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

void plan_default(struct amux_plan *plan, uint64_t epoch_ns)
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
			  const uint64_t *values, void *state, struct plugin_link *link)
{
	memcpy(p->values, values, sizeof(p->values));
	p->state = state;
	p->link = link;
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
	p->raw = p->plan;
	planner_start(p, ops, values, state, NULL);
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
	      void *state, struct plugin_link *link)
{
	free_state(p);
	p->reverted = false;
	planner_lock(p);
	p->why[0] = '\0';
	planner_unlock(p);
	planner_start(p, ops, values, state, link);
	stat_add(&p->stats->policy_switches, 1);
}

/* What is wrong with what plan() returned, in @reason. */
static enum policy_failure judge(int ret, uint32_t abi, char *reason)
{
	const char *name;

	if (ret) {
		name = ret < 0 && ret > -ERRNO_MAX ? strerrorname_np(-ret) : NULL;
		if (name)
			snprintf(reason, REASON_LEN, "returned -%s (%d)", name, ret);
		else
			snprintf(reason, REASON_LEN, "returned %d", ret);
		return POLICY_ERROR;
	}
	if (abi != AMUX_POLICY_ABI) {
		snprintf(reason, REASON_LEN, "returned a plan of abi %u, expected %u,", abi,
			 AMUX_POLICY_ABI);
		return POLICY_ABI;
	}
	return POLICY_NONE;
}

/* One call of a built-in policy, into p->raw; else what it did ("returned ...") in @reason. */
static enum policy_failure ask_builtin(struct planner *p, const struct amux_view *view,
				       char *reason)
{
	uint64_t start = clock_ns(), took;
	enum policy_failure failure;
	int ret;

	p->fresh = true;
	plan_default(&p->raw, view->epoch_ns);
	if (p->ops->abi != AMUX_POLICY_ABI) {
		snprintf(reason, REASON_LEN, "has abi %u, expected %u,", p->ops->abi,
			 AMUX_POLICY_ABI);
		return POLICY_ABI;
	}
	ret = p->ops->plan(p->state, view, &p->raw);
	took = clock_ns() - start;
	p->slow = took > AMUX_POLICY_BUDGET_NS ? p->slow + 1 : 0;
	failure = judge(ret, p->raw.abi, reason);
	if (failure || p->slow < SLOW_CALLS)
		return failure;
	snprintf(reason, REASON_LEN,
		 "took %" PRIu64 " us (budget %llu us), the third time running,", took / 1000,
		 AMUX_POLICY_BUDGET_NS / 1000);
	return POLICY_SLOW;
}

/* A plug-in's answer, if there is one by now. */
static enum policy_failure ask_plugin(struct planner *p, const struct amux_view *view,
				      char *reason)
{
	struct plugin_answer answer;
	enum policy_failure failure;
	uint32_t late = p->link->late;
	int ret = plugin_take(p->link, &answer);
	bool given_up;

	if (ret == -EFAULT) {
		snprintf(reason, REASON_LEN, "took away the memory that it shares");
		return POLICY_CRASHED;
	}
	if (!ret) {
		p->fresh = true;
		failure = judge(answer.ret, answer.plan.abi, reason);
		if (!failure)
			p->raw = answer.plan;
		return failure;
	}
	given_up = plugin_late(p->link, clock_ns(), view->epoch_ns);
	stat_add(&p->stats->policy_late, p->link->late - late);
	if (!given_up)
		return POLICY_NONE;
	snprintf(reason, REASON_LEN, "gave no plan for %u epochs", p->link->late);
	return POLICY_STALLED;
}

static enum policy_failure plan_ask(struct planner *p, const struct amux_view *view,
				    char *reason)
{
	return p->link ? ask_plugin(p, view, reason) : ask_builtin(p, view, reason);
}

/* Replace the policy by the safe one with default parameters; needs no memory. */
static void plan_revert(struct planner *p, const char *name, enum policy_failure failure,
			const char *reason)
{
	uint64_t values[AMUX_POLICY_PARAMS];

	planner_lock(p);
	snprintf(p->why, sizeof(p->why), "policy %.24s %s in epoch %" PRIu64 "; %s took over",
		 name, reason, stat_read(&p->stats->epochs) + 1, p->safe->name);
	planner_unlock(p);

	if (p->link)
		plugin_give_up(p->link, failure);
	free_state(p);
	p->reverted = true;
	memset(p->safe_state, 0, p->safe->state_size);
	policy_defaults(p->safe, values);
	planner_start(p, p->safe, values, p->safe_state, NULL);
	stat_add(&p->stats->policy_reverts, 1);
	stat_add(&p->stats->policy_failures[failure], 1);
}

void plan_fail(struct planner *p, const struct plugin_link *link, const char *name,
	       enum policy_failure failure, const char *what)
{
	if (link == p->link && !p->reverted)
		plan_revert(p, name, failure, what);
}

static void plan_round(struct planner *p, const struct amux_view *view, bool ask)
{
	uint64_t start = clock_ns();
	enum policy_failure failure;
	char reason[REASON_LEN];
	struct amux_plan plan;
	unsigned int clamps;

	p->fresh = false;
	failure = plan_ask(p, view, reason);
	/* A replacement that is slow, too, means that the machine is: its plan holds. */
	if (failure && !p->reverted) {
		plan_revert(p, p->ops->name, failure, reason);
		failure = plan_ask(p, view, reason);
	}
	if (failure && failure != POLICY_SLOW)
		plan_refuse(&p->raw, view->epoch_ns);
	plan = p->raw;
	clamps = plan_clamp(&plan, view);

	planner_lock(p);
	p->plan = plan;
	planner_unlock(p);
	/* A page that is not there is noticed by the next look. */
	if (ask && p->link && !p->link->owed)
		plugin_ask(p->link, view);
	if (p->fresh)
		stat_add(&p->stats->plan_clamps, clamps);
	stat_add(&p->stats->epochs, 1);
	stat_add(&p->stats->plan_ns, clock_ns() - start);
}

void plan_epoch(struct planner *p, const struct amux_view *view)
{
	plan_round(p, view, true);
}

void plan_look(struct planner *p, const struct amux_view *view)
{
	plan_round(p, view, false);
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
