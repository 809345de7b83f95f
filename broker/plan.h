/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plan.h - run a policy safely: ask it each epoch, clamp what it says, replace it by
 * `partitioned` when it errs or stalls.
 *
 *	          plan_set()                 error, or 3 slow calls in a row, or plan_fail()
 *	ACTIVE ──────────────> ACTIVE(new)   ACTIVE ──────> REVERTED (partitioned)
 *	REVERTED ──plan_set()──> ACTIVE(new)
 *
 * A built-in policy is called.  A plug-in is asked over its link and answers when it does:
 * what it last said, or before that the policy before it, is judged by each epoch's view anew.
 *
 * Owner and thread: embedded in a mux, used by its thread alone.  plan_describe() and
 * plan_read() may be called by the control thread.
 */
#ifndef BROKER_PLAN_H
#define BROKER_PLAN_H

#include <stdbool.h>

#include "../policies/policy.h"
#include "plugin_link.h"
#include "stats.h"

#define PLAN_WHY_LEN 320

struct planner {
	const struct amux_policy_ops *ops;
	const struct amux_policy_ops *safe; /* what replaces one that errs: partitioned */
	uint64_t values[AMUX_POLICY_PARAMS];
	void *state;
	void *safe_state;	  /* made beforehand, so that a replacement needs no memory */
	struct plugin_link *link; /* of a plug-in; not ours; NULL: built-in */
	bool reverted;
	bool fresh;	       /* @raw was said in this epoch */
	unsigned int slow;     /* consecutive calls over budget */
	struct amux_plan raw;  /* what the policy last said, not judged */
	struct amux_plan plan; /* in force, clamped; written under @lock */
	struct mux_stats *stats;
	char why[PLAN_WHY_LEN]; /* why it reverted, "" if it did not; under @lock */
	uint32_t lock; /* spinlock word for the control thread, which reads @plan, @why, @ops */
};

/* Start with @ops; nothing is granted before the first plan_epoch().  -ENOMEM. */
int plan_init(struct planner *p, const struct amux_policy_ops *ops, const uint64_t *values,
	      struct mux_stats *stats);
void plan_fini(struct planner *p);

/* Switch policy: takes effect with the next plan_epoch().  @state is ops->state_size zeroed
 * bytes, allocated by the caller (the control thread), owned by the planner afterwards.
 * @link: that of a plug-in, whose @ops are a description and have no state; it stays the
 * caller's and must last until the next plan_set() or plan_fini(). */
void plan_set(struct planner *p, const struct amux_policy_ops *ops, const uint64_t *values,
	      void *state, struct plugin_link *link);

/* The plug-in behind @link is no more: @what ("crashed").  One that has been replaced is no
 * matter.  @link NULL: the policy called @name could not even be started, from a planner
 * that has `partitioned` in force. */
void plan_fail(struct planner *p, const struct plugin_link *link, const char *name,
	       enum policy_failure failure, const char *what);

/*
 * Ask the policy for a plan for @view and make it p->plan.  Never fails: see above; if even
 * `partitioned` has no plan, nothing is granted and everything is declined.
 */
void plan_epoch(struct planner *p, const struct amux_view *view);

/* The same without asking anew: the last answer of a plug-in is looked for, or one more epoch
 * without it is counted. */
void plan_look(struct planner *p, const struct amux_view *view);

/* Is there an answer to be looked for? */
static inline bool plan_owed(const struct planner *p)
{
	return p->link && p->link->owed && !p->reverted;
}

/* What a policy finds in its plan: valid, and nothing granted. */
void plan_default(struct amux_plan *plan, uint64_t epoch_ns);

/*
 * Correct @plan against @view; returns how many fields had to be changed.  Afterwards:
 * masks name existing engines of devices that are up; a share without engines, or with a
 * limit of 0, is all zeroes (nothing granted); reserves of a device sum up to at most its
 * rate (the classes in their order: the first ones stand); limit >= reserve
 * (the limit wins); chunk_bytes is 4 KiB .. 2 MiB, a multiple of 4 KiB; cap_bytes >=
 * chunk_bytes; kernel_min_pages >= 1; lend is 0 or 1; decline modes are known; loan_ns is
 * 1 epoch .. 1000 epochs; reserved fields are 0.
 */
unsigned int plan_clamp(struct amux_plan *plan, const struct amux_view *view);

/* Copy the name of the policy in force and, in @why (or ""), why it is a replacement. */
void plan_describe(struct planner *p, char *name, size_t namelen, char *why, size_t whylen);

/* Copy the plan in force. */
void plan_read(struct planner *p, struct amux_plan *out);

#endif /* BROKER_PLAN_H */
