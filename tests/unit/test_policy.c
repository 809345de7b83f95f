// SPDX-License-Identifier: MIT
/*
 * test_policy.c - the built-in policies over thousands of views: right by themselves (the
 * core has nothing to correct), and each keeps its word.
 */
#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../../broker/clock.h"
#include "../../broker/param.h"
#include "../../broker/plan.h"

#define VIEWS	  120 /* per set of parameters */
#define PARAMSETS 25

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INSTRUMENTED 1
#endif
#endif
#ifdef INSTRUMENTED
#define PLAN_NS 40000u
#else
#define PLAN_NS 2000u
#endif

static uint64_t random_state = 7;
static struct amux_view view;
static struct mux_stats stats;

static uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t odd_random(void)
{
	switch (next_random() & 7) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return next_random() & 127;
	default:
		return next_random() >> (next_random() & 63);
	}
}

/* What changes from epoch to epoch while devices and clients stay the same. */
static void random_load(void)
{
	view.now_ns = next_random();
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++)
		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			view.devices[d].inflight_bytes[c] = odd_random();
			view.devices[d].served_bps[c] = odd_random();
		}
	for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
		struct amux_view_class *class = &view.classes[c];

		class->tenants = (uint32_t)odd_random();
		class->queued_bytes = odd_random();
		class->arrival_bps = odd_random();
		class->service_bps = odd_random();
		class->wait_p50_ns = odd_random();
		class->wait_p99_ns = odd_random();
		class->cpu_bps = odd_random();
		class->idle_ns = odd_random();
	}
	view.n_tenants = (uint32_t)(next_random() % (AMUX_POLICY_TENANTS + 1));
}

static void random_view(void)
{
	static const uint64_t epochs[] = { 1, 100000, 1000000, 1000000000, UINT64_MAX / 4000 };
	static const uint64_t scales[] = { 0, 1, 10, 1000, UINT64_MAX };

	memset(&view, 0, sizeof(view));
	view.abi = AMUX_POLICY_ABI;
	view.n_devices = (uint32_t)(next_random() % (AMUX_POLICY_DEVS + 1));
	view.epoch_ns = epochs[next_random() % 5];
	view.time_scale = scales[next_random() % 5];
	for (unsigned int d = 0; d < view.n_devices; d++)
		view.devices[d] = (struct amux_view_device){
			.engines = (uint32_t)(next_random() % 9),
			.flags = (uint32_t)next_random() & (AMUX_DEVICE_CPU | AMUX_DEVICE_DOWN),
			.rate_bps = odd_random(),
			.engine_bps = odd_random(),
			.desc_ns = odd_random(),
		};
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		view.classes[c].present = (uint32_t)next_random() & 1;
	random_load();
}

static void random_values(const struct amux_policy_ops *ops, uint64_t *values)
{
	char err[128];

	do {
		policy_defaults(ops, values);
		for (unsigned int i = 0; i < ops->n_params; i++) {
			const struct amux_policy_param *p = &ops->params[i];

			values[i] = p->min + next_random() % (p->max - p->min + 1);
			if (p->unit == AMUX_UNIT_BYTES)
				values[i] -= values[i] % 4096;
		}
	} while (policy_check(ops, values, err, sizeof(err)));
}

static uint64_t value_of(const struct amux_policy_ops *ops, const uint64_t *values,
			 const char *name)
{
	for (unsigned int i = 0; i < ops->n_params; i++)
		if (!strcmp(ops->params[i].name, name))
			return values[i];
	ck_abort_msg("no parameter %s", name);
}

static bool usable(unsigned int d)
{
	return d < view.n_devices && view.devices[d].engines &&
	       !(view.devices[d].flags & AMUX_DEVICE_DOWN);
}

/* What the core lets class @c have of device @d, as docs/policies.md defines it. */
static uint64_t allowed(const struct amux_plan *plan, unsigned int d, unsigned int c,
			const bool *active)
{
	const struct amux_plan_share *s = plan->share[d];
	uint64_t rest = view.devices[d].rate_bps;
	bool any = false;

	for (unsigned int k = 0; k < AMUX_CLASSES; k++) {
		any |= s[k].reserve_bps != 0;
		if (k != c && (active[k] || !s[k].lend))
			rest -= s[k].reserve_bps;
	}
	return any && rest < s[c].limit_bps ? rest : s[c].limit_bps;
}

typedef void (*judge)(const struct amux_plan *plan, const struct amux_policy_ops *ops,
		      const uint64_t *values);

/* Show @name many views under many parameters: never a correction, never a replacement. */
static void over_views(const char *name, judge check)
{
	const struct amux_policy_ops *ops = policy_find(name);
	uint64_t values[AMUX_POLICY_PARAMS];
	unsigned int granted = 0;
	struct planner p;

	ck_assert_ptr_nonnull(ops);
	memset(&stats, 0, sizeof(stats));
	for (unsigned int i = 0; i < PARAMSETS; i++) {
		if (i)
			random_values(ops, values);
		else
			policy_defaults(ops, values);
		ck_assert_int_eq(plan_init(&p, ops, values, &stats), 0);
		for (unsigned int k = 0; k < VIEWS; k++) {
			random_view();
			plan_epoch(&p, &view);
			ck_assert_uint_eq(stats.plan_clamps, 0);
			for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++)
				for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
					uint64_t mask = p.plan.share[d][c].engine_mask;

					ck_assert(usable(d) || !mask);
					granted += mask != 0;
				}
			check(&p.plan, ops, values);
		}
		ck_assert_str_eq(p.why, "");
		plan_fini(&p);
	}
	ck_assert_uint_eq(stats.policy_reverts, 0);
	ck_assert_uint_eq(stats.epochs, PARAMSETS * VIEWS);
	ck_assert(!strcmp(name, "cpu") ? !granted : granted > VIEWS);
}

static void judge_cpu(const struct amux_plan *plan, const struct amux_policy_ops *ops,
		      const uint64_t *values)
{
	(void)ops;
	(void)values;
	for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
		ck_assert_uint_eq(plan->decline[c], AMUX_DECLINE_ALWAYS);
		for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++) {
			ck_assert_uint_eq(plan->share[d][c].engine_mask, 0);
			ck_assert_uint_eq(plan->share[d][c].limit_bps, 0);
		}
	}
}

START_TEST(cpu_grants_nothing)
{
	over_views("cpu", judge_cpu);
}
END_TEST

static void judge_shared(const struct amux_plan *plan, const struct amux_policy_ops *ops,
			 const uint64_t *values)
{
	ck_assert_uint_eq(plan->chunk_bytes, value_of(ops, values, "chunk"));
	ck_assert_uint_eq(plan->kernel_min_pages, value_of(ops, values, "min_pages"));
	for (unsigned int d = 0; d < view.n_devices; d++) {
		const struct amux_plan_share *s = plan->share[d];

		ck_assert_mem_eq(&s[0], &s[1], sizeof(s[0]));
		if (!usable(d))
			continue;
		ck_assert_uint_eq(s->engine_mask, (1u << view.devices[d].engines) - 1);
		ck_assert_uint_eq(s->reserve_bps, 0);
		ck_assert_uint_eq(s->limit_bps, AMUX_BPS_MAX);
	}
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		ck_assert_uint_eq(plan->decline[c], AMUX_DECLINE_NEVER);
}

START_TEST(shared_is_free_for_all)
{
	over_views("shared", judge_shared);
}
END_TEST

static void judge_partitioned(const struct amux_plan *plan, const struct amux_policy_ops *ops,
			      const uint64_t *values)
{
	uint64_t percent = value_of(ops, values, "kernel_share");

	for (unsigned int d = 0; d < view.n_devices; d++) {
		const struct amux_plan_share *kernel = &plan->share[d][AMUX_CLASS_KERNEL];
		const struct amux_plan_share *user = &plan->share[d][AMUX_CLASS_USER];
		uint64_t all = (UINT64_C(1) << view.devices[d].engines) - 1;
		uint64_t rate = view.devices[d].rate_bps;

		if (!usable(d))
			continue;
		ck_assert(!kernel->lend && !user->lend);
		if (view.devices[d].engines > 1) {
			ck_assert_uint_eq(kernel->engine_mask & user->engine_mask, 0);
			if (rate >= 100 || !rate) {
				ck_assert_uint_ne(kernel->engine_mask, 0);
				ck_assert_uint_ne(user->engine_mask, 0);
				ck_assert_uint_eq(kernel->engine_mask | user->engine_mask, all);
			}
		} else if (rate >= 100) {
			ck_assert_uint_eq(kernel->engine_mask, 1);
			ck_assert_uint_eq(user->engine_mask, 1);
		}
		if (!rate)
			continue;
		ck_assert_uint_le(kernel->limit_bps, rate);
		ck_assert_uint_eq(user->limit_bps, rate - kernel->limit_bps);
		ck_assert((unsigned __int128)kernel->limit_bps * 100 <=
			  (unsigned __int128)rate * percent);
		ck_assert((unsigned __int128)(kernel->limit_bps + 1) * 100 >=
			  (unsigned __int128)rate * percent);

		/* Whoever is active, each has its own share, no more and no less. */
		for (unsigned int who = 0; who < 4; who++) {
			const bool active[] = { who & 1, who & 2 };

			for (unsigned int c = 0; c < AMUX_CLASSES; c++)
				ck_assert_uint_eq(allowed(plan, d, c, active),
						  plan->share[d][c].limit_bps);
		}
	}
}

START_TEST(partitioned_is_a_wall)
{
	over_views("partitioned", judge_partitioned);
}
END_TEST

static const struct {
	uint32_t engines;
	const char *share;
	uint32_t kernel;
} split[] = {
	{ 4, "50", 2 }, { 4, "25", 1 }, { 4, "1", 1 },	{ 4, "99", 3 }, { 2, "10", 1 },
	{ 2, "90", 1 }, { 3, "50", 2 }, { 8, "30", 2 }, { 8, "32", 3 }, { 8, "99", 7 },
};

START_TEST(partitioned_rounds_engines)
{
	const struct amux_policy_ops *ops = policy_find("partitioned");
	uint64_t values[AMUX_POLICY_PARAMS];
	struct planner p;
	char err[128];

	policy_defaults(ops, values);
	ck_assert_int_eq(policy_set_param(ops, values, "kernel_share", split[_i].share, err,
					  sizeof(err)),
			 0);
	memset(&view, 0, sizeof(view));
	view.abi = AMUX_POLICY_ABI;
	view.n_devices = 1;
	view.epoch_ns = 1000000;
	view.time_scale = 1;
	view.devices[0].engines = split[_i].engines;
	view.devices[0].rate_bps = 30000000000;
	ck_assert_int_eq(plan_init(&p, ops, values, &stats), 0);
	plan_epoch(&p, &view);
	ck_assert_uint_eq(p.plan.share[0][AMUX_CLASS_KERNEL].engine_mask,
			  (1u << split[_i].kernel) - 1);
	plan_fini(&p);
}
END_TEST

static void judge_dynamic(const struct amux_plan *plan, const struct amux_policy_ops *ops,
			  const uint64_t *values)
{
	uint64_t chunk = value_of(ops, values, "chunk");

	ck_assert_uint_eq(plan->chunk_bytes, chunk);
	ck_assert_uint_eq(plan->decline[AMUX_CLASS_KERNEL], AMUX_DECLINE_PREDICT);
	ck_assert_uint_eq(plan->decline[AMUX_CLASS_USER], AMUX_DECLINE_PREDICT);
	for (unsigned int d = 0; d < view.n_devices; d++) {
		const struct amux_plan_share *kernel = &plan->share[d][AMUX_CLASS_KERNEL];
		const struct amux_plan_share *user = &plan->share[d][AMUX_CLASS_USER];
		uint64_t rate = view.devices[d].rate_bps;

		if (!usable(d))
			continue;
		ck_assert_uint_le(kernel->reserve_bps, rate);
		ck_assert_uint_le(user->reserve_bps, rate - kernel->reserve_bps);
		ck_assert(kernel->lend && user->lend);
		ck_assert_uint_eq(user->cap_bytes, chunk * value_of(ops, values, "cap_chunks"));
		ck_assert_uint_le(user->cap_bytes, 2 * chunk);
		ck_assert_uint_ge(kernel->cap_bytes, 2 * chunk);
		ck_assert_uint_le(kernel->cap_bytes, 4 * chunk);

		/* Nobody starves, and what one leaves is the other's, whole. */
		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			const bool both[] = { true, true };
			const bool alone[] = { c == 0, c == 1 };

			if (!view.classes[c].present) {
				ck_assert_uint_eq(plan->share[d][c].reserve_bps, 0);
				continue;
			}
			if (rate < 100)
				continue;
			ck_assert_uint_gt(allowed(plan, d, c, both), 0);
			ck_assert_uint_ge(allowed(plan, d, c, both),
					  plan->share[d][c].reserve_bps);
			ck_assert_uint_ge(allowed(plan, d, c, alone), rate);
		}
		if (view.classes[0].present && view.classes[1].present)
			ck_assert_uint_eq(kernel->reserve_bps + user->reserve_bps, rate);
	}
}

START_TEST(dynamic_guarantees_and_lends)
{
	over_views("dynamic", judge_dynamic);
}
END_TEST

/* The load alone moves no frame: nothing to oscillate, nothing to learn first. */
START_TEST(dynamic_is_steady)
{
	const struct amux_policy_ops *ops = policy_find("dynamic");
	uint64_t values[AMUX_POLICY_PARAMS];
	struct amux_plan first;
	struct planner p;

	policy_defaults(ops, values);
	for (unsigned int i = 0; i < 50; i++) {
		random_view();
		ck_assert_int_eq(plan_init(&p, ops, values, &stats), 0);
		plan_epoch(&p, &view);
		first = p.plan;
		for (unsigned int k = 0; k < 100; k++) {
			random_load();
			plan_epoch(&p, &view);
			ck_assert_mem_eq(&p.plan, &first, sizeof(first));
		}
		plan_fini(&p);
	}
}
END_TEST

static void full_view(uint64_t scale)
{
	memset(&view, 0, sizeof(view));
	view.abi = AMUX_POLICY_ABI;
	view.n_devices = AMUX_POLICY_DEVS;
	view.n_tenants = AMUX_POLICY_TENANTS;
	view.epoch_ns = 1000000 * scale;
	view.time_scale = scale;
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++)
		view.devices[d] =
			(struct amux_view_device){ .engines = 8,
						   .rate_bps = 30000000000 / scale,
						   .engine_bps = 10000000000 / scale };
	view.classes[AMUX_CLASS_KERNEL].present = view.classes[AMUX_CLASS_USER].present = 1;
}

/* A model that runs 1000 times slower has the same caps in bytes and the same loan in epochs.
 */
START_TEST(dynamic_scales_with_time)
{
	const struct amux_policy_ops *ops = policy_find("dynamic");
	uint64_t values[AMUX_POLICY_PARAMS];
	struct amux_plan real;
	struct planner p;

	policy_defaults(ops, values);
	ck_assert_int_eq(plan_init(&p, ops, values, &stats), 0);
	full_view(1);
	plan_epoch(&p, &view);
	real = p.plan;
	ck_assert_uint_eq(real.loan_ns, 10 * view.epoch_ns);
	full_view(1000);
	plan_epoch(&p, &view);
	ck_assert_uint_eq(p.plan.loan_ns, 10 * view.epoch_ns);
	for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
		ck_assert_uint_eq(p.plan.share[0][c].cap_bytes, real.share[0][c].cap_bytes);
		ck_assert_uint_eq(p.plan.share[0][c].reserve_bps * 1000,
				  real.share[0][c].reserve_bps);
	}
	/* 20 us of 10 GB/s are three chunks of 64 KiB. */
	ck_assert_uint_eq(real.share[0][AMUX_CLASS_KERNEL].cap_bytes, 3 * 65536);
	plan_fini(&p);
}
END_TEST

START_TEST(table_is_sound)
{
	static const char *const order[] = { "partitioned", "dynamic", "shared", "cpu" };
	const struct amux_policy_ops *ops = amux_policies[_i];

	ck_assert_ptr_null(amux_policies[4]);
	ck_assert_str_eq(ops->name, order[_i]);
	ck_assert_uint_eq(ops->abi, AMUX_POLICY_ABI);
	ck_assert_uint_le(ops->n_params, AMUX_POLICY_PARAMS);
	ck_assert_ptr_nonnull(ops->summary);
	ck_assert_ptr_null(strchr(ops->summary, '\n'));
	for (unsigned int i = 0; i < ops->n_params; i++) {
		const struct amux_policy_param *p = &ops->params[i];

		for (const char *c = p->name; *c; c++)
			ck_assert(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
				  *c == '_');
		ck_assert_ptr_nonnull(p->help);
		ck_assert_uint_le(p->min, p->def);
		ck_assert_uint_le(p->def, p->max);
		for (unsigned int k = 0; k < i; k++)
			ck_assert_str_ne(p->name, ops->params[k].name);
	}
}
END_TEST

/* The quickest of many calls, because this machine has other things to do as well. */
START_TEST(plans_are_quick)
{
	const struct amux_policy_ops *ops = amux_policies[_i];
	uint64_t values[AMUX_POLICY_PARAMS], best = UINT64_MAX;
	struct planner p;

	policy_defaults(ops, values);
	full_view(1);
	ck_assert_int_eq(plan_init(&p, ops, values, &stats), 0);
	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t start = clock_ns(), took;

		plan_epoch(&p, &view);
		took = clock_ns() - start;
		if (took < best)
			best = took;
	}
	ck_assert_msg(best < PLAN_NS, "%s: %llu ns", ops->name, (unsigned long long)best);
	plan_fini(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy");
	TCase *t = tcase_create("policy");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, table_is_sound, 0, 4);
	tcase_add_test(t, cpu_grants_nothing);
	tcase_add_test(t, shared_is_free_for_all);
	tcase_add_test(t, partitioned_is_a_wall);
	tcase_add_loop_test(t, partitioned_rounds_engines, 0,
			    (int)(sizeof(split) / sizeof(split[0])));
	tcase_add_test(t, dynamic_guarantees_and_lends);
	tcase_add_test(t, dynamic_is_steady);
	tcase_add_test(t, dynamic_scales_with_time);
	tcase_add_loop_test(t, plans_are_quick, 0, 4);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
