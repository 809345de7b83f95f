// SPDX-License-Identifier: MIT
/*
 * test_plan.c - the planner: corrections, replacement of a policy that errs or stalls, and
 * switching back.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../broker/param.h"
#include "../../broker/plan.h"

/* A policy that does what its state, shared by value through parameters, tells it to. */
enum { DO_ERRNO, DO_SLEEP_US, DO_ABI, DO_GARBAGE };

struct fake_state {
	uint64_t todo[4];
	uint64_t calls;
};

static uint64_t random_state = 42;

static uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Small, huge and random values, so that every edge of a clamp is met. */
static uint64_t odd_random(void)
{
	switch (next_random() & 7) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return next_random() & 7;
	default:
		return next_random() >> (next_random() & 63);
	}
}

static void garbage(struct amux_plan *plan)
{
	plan->chunk_bytes = (uint32_t)odd_random();
	plan->kernel_min_pages = (uint32_t)odd_random();
	plan->reason_mask = (uint32_t)odd_random();
	plan->loan_ns = odd_random();
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = (uint32_t)odd_random();
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++)
		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			plan->share[d][c] = (struct amux_plan_share){
				.engine_mask = odd_random(),
				.reserve_bps = odd_random(),
				.limit_bps = odd_random(),
				.cap_bytes = odd_random(),
				.lend = (uint32_t)odd_random(),
				.rsvd = (uint32_t)odd_random(),
			};
}

static void fake_start(void *state, const uint64_t *values)
{
	struct fake_state *s = state;

	ck_assert_uint_eq(s->calls, 0);
	memcpy(s->todo, values, sizeof(s->todo));
}

static int fake_plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	struct fake_state *s = state;

	(void)view;
	s->calls++;
	plan->chunk_bytes = 8192;
	if (s->todo[DO_SLEEP_US] && (s->todo[DO_SLEEP_US] & 1 || s->calls & 1))
		usleep((useconds_t)s->todo[DO_SLEEP_US]);
	if (s->todo[DO_ABI])
		plan->abi = (uint32_t)s->todo[DO_ABI];
	if (s->todo[DO_GARBAGE])
		garbage(plan);
	return (int)s->todo[DO_ERRNO];
}

static const struct amux_policy_ops fake = {
	.abi = AMUX_POLICY_ABI,
	.name = "fake",
	.summary = "for tests",
	.state_size = sizeof(struct fake_state),
	.start = fake_start,
	.plan = fake_plan,
};

static struct planner planner;
static struct mux_stats stats;
static struct amux_view view;

static void set_view(void)
{
	memset(&view, 0, sizeof(view));
	view.abi = AMUX_POLICY_ABI;
	view.n_devices = 1;
	view.epoch_ns = 1000000;
	view.time_scale = 1;
	view.devices[0] = (struct amux_view_device){ .engines = 4,
						     .rate_bps = 30000000000,
						     .engine_bps = 10000000000 };
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		view.classes[c].present = 1;
}

static void start_fake(int err, uint64_t sleep_us, uint64_t abi, uint64_t mess)
{
	uint64_t values[AMUX_POLICY_PARAMS] = { [DO_ERRNO] = (uint64_t)(int64_t)err,
						[DO_SLEEP_US] = sleep_us,
						[DO_ABI] = abi,
						[DO_GARBAGE] = mess };

	memset(&stats, 0, sizeof(stats));
	set_view();
	ck_assert_int_eq(plan_init(&planner, &fake, values, &stats), 0);
}

static void expect(const char *name, const char *why)
{
	char n[32], w[160];

	plan_describe(&planner, n, sizeof(n), w, sizeof(w));
	ck_assert_str_eq(n, name);
	ck_assert_str_eq(w, why);
}

/* The plan in force is the one `partitioned` makes of the view by itself. */
static void expect_partitioned_plan(void)
{
	const struct amux_policy_ops *ops = policy_find("partitioned");
	uint64_t values[AMUX_POLICY_PARAMS];
	struct mux_stats other_stats = { 0 };
	struct amux_plan a, b;
	struct planner other;

	policy_defaults(ops, values);
	ck_assert_int_eq(plan_init(&other, ops, values, &other_stats), 0);
	plan_epoch(&other, &view);
	plan_read(&other, &a);
	plan_read(&planner, &b);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_uint_ne(a.share[0][AMUX_CLASS_KERNEL].engine_mask, 0);
	plan_fini(&other);
}

START_TEST(before_first_epoch)
{
	struct amux_view none = { .epoch_ns = 1000000 };

	start_fake(0, 0, 0, 0);
	ck_assert_uint_eq(plan_clamp(&planner.plan, &none), 0);
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++)
		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			ck_assert_uint_eq(planner.plan.share[d][c].engine_mask, 0);
	ck_assert_uint_eq(stats.epochs, 0);
	expect("fake", "");
	plan_fini(&planner);
}
END_TEST

START_TEST(counts)
{
	start_fake(0, 0, 0, 0);
	for (unsigned int i = 0; i < 5; i++)
		plan_epoch(&planner, &view);
	ck_assert_uint_eq(stats.epochs, 5);
	ck_assert_uint_gt(stats.plan_ns, 0);
	ck_assert_uint_eq(stats.plan_clamps, 0);
	ck_assert_uint_eq(stats.policy_reverts, 0);
	ck_assert_uint_eq(stats.policy_switches, 0);
	ck_assert_uint_eq(planner.plan.chunk_bytes, 8192);
	expect("fake", "");
	plan_fini(&planner);
}
END_TEST

START_TEST(reverts_on_error)
{
	struct fake_state *fresh;
	uint64_t values[AMUX_POLICY_PARAMS] = { 0 };

	start_fake(0, 0, 0, 0);
	for (unsigned int i = 0; i < 16; i++)
		plan_epoch(&planner, &view);
	((struct fake_state *)planner.state)->todo[DO_ERRNO] = (uint64_t)-EINVAL;
	plan_epoch(&planner, &view);
	expect("partitioned",
	       "policy fake returned -EINVAL (-22) in epoch 17; partitioned took over");
	expect_partitioned_plan();
	ck_assert_uint_eq(stats.policy_reverts, 1);
	ck_assert_uint_eq(stats.epochs, 17);

	/* It stays so, and is counted once. */
	plan_epoch(&planner, &view);
	ck_assert_uint_eq(stats.policy_reverts, 1);
	expect("partitioned",
	       "policy fake returned -EINVAL (-22) in epoch 17; partitioned took over");

	/* Set again it starts afresh; fake_start() insists on zeroed state. */
	fresh = calloc(1, sizeof(*fresh));
	plan_set(&planner, &fake, values, fresh, NULL);
	ck_assert_uint_eq(planner.plan.chunk_bytes, 65536); /* still the old plan */
	plan_epoch(&planner, &view);
	ck_assert_uint_eq(planner.plan.chunk_bytes, 8192);
	ck_assert_uint_eq(stats.policy_switches, 1);
	expect("fake", "");

	/* The replacement is ready a second time. */
	fresh->todo[DO_ERRNO] = (uint64_t)-ENOMEM;
	plan_epoch(&planner, &view);
	expect("partitioned",
	       "policy fake returned -ENOMEM (-12) in epoch 20; partitioned took over");
	expect_partitioned_plan();
	ck_assert_uint_eq(stats.policy_reverts, 2);
	plan_fini(&planner);
}
END_TEST

static const struct {
	int err;
	uint64_t abi;
	const char *why;
} broken[] = {
	{ -4095, 0, "policy fake returned -4095 in epoch 1; partitioned took over" },
	{ INT32_MIN, 0, "policy fake returned -2147483648 in epoch 1; partitioned took over" },
	{ 5, 0, "policy fake returned 5 in epoch 1; partitioned took over" },
	{ 0, 7,
	  "policy fake returned a plan of abi 7, expected 1, in epoch 1; partitioned took "
	  "over" },
};

START_TEST(reverts_on_broken)
{
	start_fake(broken[_i].err, 0, broken[_i].abi, 1);
	plan_epoch(&planner, &view);
	expect("partitioned", broken[_i].why);
	expect_partitioned_plan();
	ck_assert_uint_eq(stats.plan_clamps, 0);
	plan_fini(&planner);
}
END_TEST

START_TEST(reverts_on_foreign_abi)
{
	struct amux_policy_ops old = fake;
	uint64_t values[AMUX_POLICY_PARAMS] = { 0 };

	old.abi = 9;
	set_view();
	ck_assert_int_eq(plan_init(&planner, &old, values, &stats), 0);
	plan_epoch(&planner, &view);
	expect("partitioned",
	       "policy fake has abi 9, expected 1, in epoch 1; partitioned took over");
	plan_fini(&planner);
}
END_TEST

START_TEST(reverts_on_stall)
{
	char name[32], why[160];

	start_fake(0, 6001, 0, 0); /* odd: sleeps in every call */
	plan_epoch(&planner, &view);
	plan_epoch(&planner, &view);
	expect("fake", "");
	ck_assert_uint_eq(planner.plan.chunk_bytes, 8192); /* slow, but it counts */
	plan_epoch(&planner, &view);
	plan_describe(&planner, name, sizeof(name), why, sizeof(why));
	ck_assert_str_eq(name, "partitioned");
	ck_assert_ptr_nonnull(strstr(why, "policy fake took "));
	ck_assert_ptr_nonnull(
		strstr(why, " us (budget 5000 us), the third time running, in epoch 3; "
			    "partitioned took over"));
	expect_partitioned_plan();
	ck_assert_uint_eq(stats.policy_reverts, 1);
	ck_assert_uint_ge(stats.plan_ns, 3 * 6000000);
	plan_fini(&planner);
}
END_TEST

START_TEST(forgives_single_stalls)
{
	start_fake(0, 6000, 0, 0); /* even: sleeps in every other call */
	for (unsigned int i = 0; i < 8; i++)
		plan_epoch(&planner, &view);
	expect("fake", "");
	ck_assert_uint_eq(stats.policy_reverts, 0);
	plan_fini(&planner);
}
END_TEST

START_TEST(everything_fails)
{
	struct amux_policy_ops unsafe = *policy_find("partitioned");

	start_fake(-EIO, 0, 0, 0);
	unsafe.start = NULL;
	unsafe.plan = fake_plan; /* its zeroed state has room for fake_state: see below */
	unsafe.state_size = sizeof(struct fake_state);
	free(planner.safe_state);
	planner.safe_state = calloc(1, unsafe.state_size);
	planner.safe = &unsafe;
	plan_epoch(&planner, &view);
	ck_assert_uint_eq(stats.policy_reverts, 1);

	/* The replacement now fails as well. */
	((struct fake_state *)planner.safe_state)->todo[DO_ERRNO] = (uint64_t)-EIO;
	((struct fake_state *)planner.safe_state)->todo[DO_GARBAGE] = 1;
	for (unsigned int i = 0; i < 3; i++) {
		plan_epoch(&planner, &view);
		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			ck_assert_uint_eq(planner.plan.decline[c], AMUX_DECLINE_ALWAYS);
			ck_assert_uint_eq(planner.plan.share[0][c].engine_mask, 0);
		}
	}
	ck_assert_uint_eq(stats.policy_reverts, 1);
	ck_assert_uint_eq(stats.epochs, 4);
	expect("partitioned",
	       "policy fake returned -EIO (-5) in epoch 1; partitioned took over");
	plan_fini(&planner);
}
END_TEST

static void random_view(void)
{
	set_view();
	view.n_devices = (uint32_t)(next_random() % (AMUX_POLICY_DEVS + 1));
	view.epoch_ns = next_random() & 1 ? 1000000 : odd_random();
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++) {
		view.devices[d].engines = (uint32_t)(next_random() % 9);
		view.devices[d].flags =
			(uint32_t)next_random() & (AMUX_DEVICE_CPU | AMUX_DEVICE_DOWN);
		view.devices[d].rate_bps = odd_random();
	}
}

/* The invariants of plan.h, in their words. */
static void check_invariants(const struct amux_plan *plan)
{
	uint64_t epoch = view.epoch_ns ? view.epoch_ns : 1;

	ck_assert_uint_ge(plan->chunk_bytes, 4096);
	ck_assert_uint_le(plan->chunk_bytes, 2u << 20);
	ck_assert_uint_eq(plan->chunk_bytes % 4096, 0);
	ck_assert_uint_ge(plan->kernel_min_pages, 1);
	ck_assert_uint_ge(plan->loan_ns, epoch);
	ck_assert(plan->loan_ns / epoch < 1000 || plan->loan_ns == epoch * 1000);
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		ck_assert_uint_le(plan->decline[c], AMUX_DECLINE_ALWAYS);
	for (unsigned int d = 0; d < AMUX_POLICY_DEVS; d++) {
		bool up = d < view.n_devices && !(view.devices[d].flags & AMUX_DEVICE_DOWN);
		uint64_t left = view.devices[d].rate_bps;

		for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
			const struct amux_plan_share *s = &plan->share[d][c];
			static const struct amux_plan_share nothing;

			ck_assert_uint_eq(s->engine_mask >> view.devices[d].engines, 0);
			if (!s->engine_mask) {
				ck_assert_mem_eq(s, &nothing, sizeof(nothing));
				continue;
			}
			ck_assert(up);
			ck_assert_uint_gt(s->limit_bps, 0);
			ck_assert_uint_ge(s->limit_bps, s->reserve_bps);
			ck_assert_uint_ge(s->cap_bytes, plan->chunk_bytes);
			ck_assert_uint_le(s->lend, 1);
			ck_assert_uint_eq(s->rsvd, 0);
			ck_assert_uint_le(s->reserve_bps, left);
			left -= s->reserve_bps;
		}
	}
}

START_TEST(clamps_garbage)
{
	unsigned int granted = 0;

	start_fake(0, 0, 0, 1);
	for (unsigned int i = 0; i < 3000; i++) {
		uint64_t before = stats.plan_clamps;

		random_view();
		plan_epoch(&planner, &view);
		check_invariants(&planner.plan);
		granted += planner.plan.share[0][AMUX_CLASS_USER].engine_mask != 0;
		ck_assert_uint_gt(stats.plan_clamps, before);
		ck_assert_uint_eq(plan_clamp(&planner.plan, &view), 0);
	}
	ck_assert_uint_gt(granted, 300); /* it did not just refuse everything */
	expect("fake", "");
	plan_fini(&planner);
}
END_TEST

START_TEST(clamps_count_fields)
{
	struct amux_plan plan, good;
	struct amux_plan_share *s = &plan.share[0][AMUX_CLASS_USER];

	start_fake(0, 0, 0, 0);
	plan_epoch(&planner, &view);
	good = planner.plan;
	good.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){
		.engine_mask = 0xf,
		.reserve_bps = 1000,
		.limit_bps = 2000,
		.cap_bytes = 8192,
		.lend = 1,
	};
	plan = good;
	ck_assert_uint_eq(plan_clamp(&plan, &view), 0);
	s->engine_mask = 0x1f;
	s->cap_bytes = 8191;
	s->lend = 2;
	s->rsvd = 3;
	plan.decline[0] = 3;
	plan.kernel_min_pages = 0;
	ck_assert_uint_eq(plan_clamp(&plan, &view), 6);
	ck_assert_uint_eq(plan.decline[0], AMUX_DECLINE_PREDICT);
	plan.decline[0] = good.decline[0];
	plan.kernel_min_pages = good.kernel_min_pages;
	ck_assert_mem_eq(&plan, &good, sizeof(good));

	s->limit_bps = 500; /* below its reserve: the limit wins */
	ck_assert_uint_eq(plan_clamp(&plan, &view), 1);
	ck_assert_uint_eq(s->reserve_bps, 500);

	plan.share[0][AMUX_CLASS_KERNEL] = good.share[0][AMUX_CLASS_USER];
	plan.share[0][AMUX_CLASS_KERNEL].limit_bps = AMUX_BPS_MAX;
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = view.devices[0].rate_bps - 100;
	ck_assert_uint_eq(plan_clamp(&plan, &view), 1); /* users get what is left */
	ck_assert_uint_eq(s->reserve_bps, 100);

	view.devices[0].flags = AMUX_DEVICE_DOWN;
	ck_assert_uint_eq(plan_clamp(&plan, &view), 10);
	ck_assert_uint_eq(s->engine_mask, 0);
	plan_fini(&planner);
}
END_TEST

static void *describe_thread(void *arg)
{
	struct amux_plan plan;
	char name[32], why[160];

	while (!__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE)) {
		plan_describe(&planner, name, sizeof(name), why, sizeof(why));
		ck_assert(!strcmp(name, "fake") || !strcmp(name, "partitioned"));
		if (why[0])
			ck_assert_ptr_nonnull(strstr(why, "; partitioned took over"));
		plan_read(&planner, &plan);
		ck_assert(plan.chunk_bytes == 8192 || plan.chunk_bytes == 65536);
	}
	return NULL;
}

START_TEST(described_meanwhile)
{
	uint64_t values[AMUX_POLICY_PARAMS] = { 0 };
	pthread_t thread;
	int stop = 0;

	start_fake(0, 0, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, describe_thread, &stop), 0);
	for (unsigned int i = 0; i < 3000; i++) {
		values[DO_ERRNO] = i & 1 ? (uint64_t)-EIO : 0;
		plan_set(&planner, &fake, values, calloc(1, sizeof(struct fake_state)), NULL);
		plan_epoch(&planner, &view);
		plan_epoch(&planner, &view);
	}
	/* Pairs with the acquire in describe_thread(). */
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(stats.policy_switches, 3000);
	ck_assert_uint_eq(stats.policy_reverts, 1500);
	plan_fini(&planner);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plan");
	TCase *t = tcase_create("plan");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_test(t, before_first_epoch);
	tcase_add_test(t, counts);
	tcase_add_test(t, reverts_on_error);
	tcase_add_loop_test(t, reverts_on_broken, 0, (int)(sizeof(broken) / sizeof(broken[0])));
	tcase_add_test(t, reverts_on_foreign_abi);
	tcase_add_test(t, reverts_on_stall);
	tcase_add_test(t, forgives_single_stalls);
	tcase_add_test(t, everything_fails);
	tcase_add_test(t, clamps_garbage);
	tcase_add_test(t, clamps_count_fields);
	tcase_add_test(t, described_meanwhile);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
