// SPDX-License-Identifier: MIT
/*
 * test_tally.c - counts that are carried over, and whether writes stay in a cache.
 */
#include "../../broker/footprint.h"
#include "../../broker/tally.h"
#include "core_util.h"

static struct flow_stats tenant, class;

START_TEST(carries_over_once)
{
	struct tally t = { .requests = 3, .completed = 2, .engine_bytes = 7, .ledger_in = 9 };

	memset(&tenant, 0, sizeof(tenant));
	memset(&class, 0, sizeof(class));
	class.requests = 10;
	for (unsigned int i = 0; i < 5; i++)
		tally_run_add(&t.wait, 1000, 1, &tenant.wait, &class.wait);
	ck_assert_uint_eq(tenant.wait.count, 0);
	tally_run_add(&t.wait, 50, 2, &tenant.wait, &class.wait);
	ck_assert_uint_eq(tenant.wait.count, 5); /* another duration ends the run */
	for (unsigned int i = 0; i < 2; i++) {
		tally_settle(&t, &tenant, &class);
		ck_assert_uint_eq(tenant.requests, 3);
		ck_assert_uint_eq(class.requests, 13);
		ck_assert_uint_eq(tenant.completed, 2);
		ck_assert_uint_eq(tenant.engine_bytes, 7);
		ck_assert_uint_eq(tenant.ledger_in, 9);
		ck_assert_uint_eq(tenant.wait.count, 7);
		ck_assert_uint_eq(class.wait.count, 7);
		ck_assert_uint_eq(tenant.wait.sum_ns, 5 * 1000 + 2 * 50);
		ck_assert_uint_eq(tenant.wait.bucket[hist_index(1000)], 5);
		ck_assert_uint_eq(tenant.wait.bucket[hist_index(50)], 2);
	}
}
END_TEST

/* Is a queue cold once it has written a buffer of @set bytes over and over, @bytes at a time? */
static bool cold(struct footprint *f, uint64_t set, uint64_t bytes)
{
	bool last = false;

	for (uint64_t at = 0, total = 0; total < 4ull * FOOTPRINT_WINDOW; total += bytes) {
		last = footprint_add(f, 0x7f0000000000ull + at, bytes);
		at = at + 2 * bytes <= set ? at + bytes : 0;
	}
	return last;
}

START_TEST(knows_what_stays)
{
	static const uint64_t sizes[] = { 4096, 64 << 10, 256 << 10, 2 << 20 };

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct footprint f = { 0 };

		ck_assert(!cold(&f, 4 << 20, sizes[i]));
		ck_assert(cold(&f, 64 << 20, sizes[i]));
		ck_assert(cold(&f, 1ull << 30, sizes[i]));
		ck_assert(!cold(&f, 4 << 20, sizes[i])); /* it may change its ways */
	}
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("tally");

	tcase_add_test(t, carries_over_once);
	tcase_add_test(t, knows_what_stays);
	return run_case(t, "tally", 60);
}
