/* SPDX-License-Identifier: MIT */
/*
 * test_model.c - the performance model against arithmetic and a fine-step reference.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../broker/soft_model.h"

#define GB 1000000000ull

static struct model make(unsigned int engines, uint64_t desc_ns, uint64_t engine_bps,
			 uint64_t fabric_bps, uint64_t scale)
{
	struct model_params p = { engines, desc_ns, engine_bps, fabric_bps, scale };
	struct model m;

	ck_assert(model_init(&m, &p));
	return m;
}

static void assert_near(double got, double want, double tolerance)
{
	ck_assert_msg(fabs(got - want) <= tolerance * fabs(want) + 1e-9,
		      "got %.6f, expected %.6f within %g", got, want, tolerance);
}

/*
 * Keep @busy engines backlogged with descriptors of @bytes, restarting each at its reported
 * finish, until @until.  Returns bytes of finished descriptors per ns, and each engine's count.
 */
static double saturate(struct model *m, unsigned int busy, uint64_t bytes, uint64_t start,
		       uint64_t until, uint64_t *count)
{
	uint64_t total = 0, t;
	int e;

	memset(count, 0, MODEL_ENGINES * sizeof(*count));
	for (unsigned int i = 0; i < busy; i++)
		ck_assert(model_start(m, i, bytes, 1, start));
	while ((t = model_next(m)) <= until) {
		while ((e = model_advance(m, t)) >= 0) {
			total += bytes;
			count[e]++;
			ck_assert(model_start(m, (unsigned int)e, bytes, 1, t));
		}
	}
	return (double)total / (double)(until - start);
}

START_TEST(test_single_rate)
{
	struct model m = make(4, 0, 30 * GB, 30 * GB, 1);
	uint64_t n[MODEL_ENGINES];

	/* 1000 bytes take 33.33 ns: rounding each to a whole ns would be 2 % off */
	assert_near(saturate(&m, 1, 1000, 12345, 1012345, n), 30, 0.001);
	ck_assert_uint_eq(n[1] + n[2] + n[3], 0);
	assert_near((double)model_busy_ns(&m, 0), 1e6, 0.001);
	ck_assert_uint_eq(model_busy_ns(&m, 1), 0);
}
END_TEST

START_TEST(test_one_descriptor)
{
	struct model m = make(1, 80, 10 * GB, 30 * GB, 1);

	ck_assert_uint_eq(model_next(&m), UINT64_MAX);
	ck_assert_int_eq(model_advance(&m, UINT64_MAX), -1);
	ck_assert(model_start(&m, 0, 4096, 1, 1000));
	ck_assert(!model_start(&m, 0, 4096, 1, 1000));
	ck_assert(!model_start(&m, 1, 4096, 1, 1000));
	ck_assert(model_engine_busy(&m, 0));
	/* 80 + 409.6, rounded up */
	ck_assert_uint_eq(model_next(&m), 1490);
	ck_assert_int_eq(model_advance(&m, 1489), -1);
	ck_assert_int_eq(model_advance(&m, 1490), 0);
	ck_assert(!model_engine_busy(&m, 0));
	ck_assert_uint_eq(model_busy_ns(&m, 0), 489);
	/* nothing to move, ten descriptors' worth of fixed cost */
	ck_assert(model_start(&m, 0, 0, 10, 5000));
	ck_assert_uint_eq(model_next(&m), 5800);
}
END_TEST

START_TEST(test_two_engines)
{
	struct model wide = make(2, 0, 10 * GB, 30 * GB, 1);
	struct model tight = make(2, 0, 30 * GB, 30 * GB, 1);
	uint64_t n[MODEL_ENGINES];

	assert_near(saturate(&wide, 2, 65536, 0, 5000000, n), 20, 0.005);
	assert_near((double)n[0], (double)n[1], 0.005);
	assert_near(saturate(&tight, 2, 65536, 0, 5000000, n), 30, 0.005);
	assert_near((double)n[0], (double)n[1], 0.005);
}
END_TEST

START_TEST(test_four_share_exactly)
{
	struct model m = make(4, 0, 30 * GB, 30 * GB, 1);

	for (unsigned int i = 0; i < 4; i++)
		ck_assert(model_start(&m, i, 30000, 1, 0));
	/* a quarter of the fabric each: 7.5 bytes/ns */
	ck_assert_uint_eq(model_next(&m), 4000);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(model_advance(&m, 4000), i);
	ck_assert_int_eq(model_advance(&m, 4000), -1);
}
END_TEST

START_TEST(test_rates_change_midway)
{
	struct model m = make(2, 0, 20 * GB, 30 * GB, 1);

	/* alone until 1000: 20000 done; then 15 each; 15000 more by 2000, when 1 ends */
	ck_assert(model_start(&m, 0, 55000, 1, 0));
	ck_assert(model_start(&m, 1, 15000, 1, 1000));
	ck_assert_uint_eq(model_next(&m), 2000);
	ck_assert_int_eq(model_advance(&m, 10000), 1);
	/* the last 20000 alone again */
	ck_assert_int_eq(model_advance(&m, 2999), -1);
	ck_assert_int_eq(model_advance(&m, 3000), 0);
}
END_TEST

START_TEST(test_descriptor_cost_is_off_the_fabric)
{
	struct model m = make(2, 100, 30 * GB, 30 * GB, 1);
	struct model alone = make(2, 100, 30 * GB, 30 * GB, 1);
	uint64_t n[MODEL_ENGINES];

	/* 3000 bytes: 100 fixed and 100 moving; a second engine fills the gaps exactly */
	assert_near(saturate(&alone, 1, 3000, 0, 1000000, n), 15, 0.001);
	ck_assert(model_start(&m, 0, 3000, 1, 0));
	ck_assert(model_start(&m, 1, 3000, 1, 100));
	ck_assert_int_eq(model_advance(&m, 200), 0);
	ck_assert(model_start(&m, 0, 3000, 1, 200));
	ck_assert_uint_eq(model_next(&m), 300);
	ck_assert_int_eq(model_advance(&m, 300), 1);
	ck_assert_uint_eq(model_next(&m), 400);
}
END_TEST

START_TEST(test_late_start_is_not_lost)
{
	struct model m = make(1, 0, 30 * GB, 30 * GB, 1);

	ck_assert(model_start(&m, 0, 1000, 1, 0));
	ck_assert_uint_eq(model_next(&m), 34);
	/* the exact instant is 33.33: three of them end at 100, not at 102 */
	ck_assert_int_eq(model_advance(&m, 1000), 0);
	ck_assert(model_start(&m, 0, 1000, 1, 34));
	ck_assert_int_eq(model_advance(&m, 1000), 0);
	ck_assert(model_start(&m, 0, 1000, 1, 67));
	ck_assert_uint_eq(model_next(&m), 100);
}
END_TEST

START_TEST(test_scale_invariance)
{
	const uint64_t scale = 1000;
	struct model a = make(4, 80, 20 * GB, 30 * GB, 1);
	struct model b = make(4, 80, 20 * GB, 30 * GB, scale);

	srand(7);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert(model_start(&a, i, 1000 + 1000 * i, 1, 0));
		ck_assert(model_start(&b, i, 1000 + 1000 * i, 1, 0));
	}
	for (int k = 0; k < 2000; k++) {
		uint64_t ta = model_next(&a), tb = model_next(&b), bytes;
		int ea = model_advance(&a, ta), eb = model_advance(&b, tb);

		ck_assert_int_eq(ea, eb);
		/* both are rounded up to their own ns */
		ck_assert(tb <= ta * scale && tb + 2 * scale >= ta * scale);
		bytes = (uint64_t)(rand() % 100000);
		ck_assert(model_start(&a, (unsigned int)ea, bytes, 1, ta));
		ck_assert(model_start(&b, (unsigned int)eb, bytes, 1, tb));
	}
}
END_TEST

/* The definition, by small steps: what the event-driven model must agree with. */
struct reference {
	double fixed[4], bytes[4], moved[4], finish[4];
	bool busy[4];
};

static void reference_step(struct reference *r, double now, double dt)
{
	int moving = 0;
	double rate;

	for (int i = 0; i < 4; i++)
		moving += r->busy[i] && r->fixed[i] <= 0;
	rate = fmin(20, 30.0 / (moving ? moving : 1));
	for (int i = 0; i < 4; i++) {
		if (!r->busy[i])
			continue;
		if (r->fixed[i] > 0) {
			r->fixed[i] -= dt;
			continue;
		}
		r->moved[i] += fmin(rate * dt, r->bytes[i]);
		r->bytes[i] -= rate * dt;
		if (r->bytes[i] <= 0) {
			r->busy[i] = false;
			r->finish[i] = now + dt;
		}
	}
}

START_TEST(test_random_against_reference)
{
	struct model m = make(4, 80, 20 * GB, 30 * GB, 1);
	struct reference r = { 0 };
	const double dt = 0.25;
	double moved = 0, ends[4] = { 0 };
	uint64_t begins[4] = { 0 }, next[4], given = 0;
	unsigned int finishes = 0;

	srand((unsigned int)_i + 1);
	for (int i = 0; i < 4; i++)
		next[i] = (uint64_t)(rand() % 3000);
	for (uint64_t t = 0; t < 150000; t++) {
		int e;

		while ((e = model_advance(&m, t)) >= 0) {
			ends[e] = (double)t;
			finishes++;
			next[e] = t + 20 + (uint64_t)(rand() % 3000);
			/* in both, at the same time to a step and the rounding up */
			ck_assert_msg(!r.busy[e] || r.bytes[e] < 20 * 4,
				      "engine %d ends at %lu, reference has %.1f bytes left", e,
				      (unsigned long)t, r.bytes[e]);
			ck_assert_msg(r.busy[e] || fabs(r.finish[e] - ends[e]) < 4,
				      "engine %d ends at %lu, reference at %.2f", e,
				      (unsigned long)t, r.finish[e]);
			r.busy[e] = false;
		}
		for (unsigned int i = 0; i < 4; i++) {
			uint64_t bytes = 100 + (uint64_t)(rand() % 20000);

			if (next[i] != t)
				continue;
			ck_assert(model_start(&m, i, bytes, 1, t));
			begins[i]++;
			given += bytes;
			r.busy[i] = true;
			r.fixed[i] = 80;
			r.bytes[i] = (double)bytes;
		}
		for (int k = 0; k < 4; k++)
			reference_step(&r, (double)t + k * dt, dt);
	}
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_gt(begins[i], 20);
		moved += r.moved[i];
	}
	ck_assert_uint_gt(finishes, 100);
	/* bytes are conserved: what was given is moved, or in the last descriptors' rest */
	for (int i = 0; i < 4; i++)
		if (r.busy[i])
			moved += r.bytes[i];
	assert_near(moved, (double)given, 0.005);
}
END_TEST

START_TEST(test_bad_parameters)
{
	struct model_params good = { 4, 0, 1, 1, 1 }, bad;
	struct model m;

	ck_assert(model_init(&m, &good));
	bad = good, bad.engines = 0;
	ck_assert(!model_init(&m, &bad));
	bad = good, bad.engines = MODEL_ENGINES + 1;
	ck_assert(!model_init(&m, &bad));
	bad = good, bad.engine_bps = 0;
	ck_assert(!model_init(&m, &bad));
	bad = good, bad.fabric_bps = 0;
	ck_assert(!model_init(&m, &bad));
	bad = good, bad.time_scale = 0;
	ck_assert(!model_init(&m, &bad));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("model");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_single_rate);
	tcase_add_test(t, test_one_descriptor);
	tcase_add_test(t, test_two_engines);
	tcase_add_test(t, test_four_share_exactly);
	tcase_add_test(t, test_rates_change_midway);
	tcase_add_test(t, test_descriptor_cost_is_off_the_fabric);
	tcase_add_test(t, test_late_start_is_not_lost);
	tcase_add_test(t, test_scale_invariance);
	tcase_add_loop_test(t, test_random_against_reference, 0, 5);
	tcase_add_test(t, test_bad_parameters);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
