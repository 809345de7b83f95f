// SPDX-License-Identifier: MIT
/*
 * test_grant.c - the grant page: what a plan becomes, when a write is skipped, idle loans,
 * hostile values on either page, and readers that race with the writer.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../broker/clock.h"
#include "../../broker/grant.h"

#define RATE  30000000000ull
#define MS    1000000ull
#define CHUNK 65536u

static _Alignas(4096) uint8_t map[AMUX_GRANT_MAP_BYTES];
static struct grant_page page;
static struct grant_link lk;
static struct device dev0 = { .engines = 4, .rate_bps = RATE, .pci_id = 0x6a08 };
static struct device dev1 = { .engines = 4, .rate_bps = RATE / 2 };
static struct device *const devs[] = { &dev0, &dev1 };
static struct amux_plan plan;
static uint64_t loan[2], est_wait[2];

/* A plan that gives the kernel 8 of 30 GB/s of device 0 and lends it the rest. */
static void setup(void)
{
	memset(map, 0, sizeof(map));
	memset(loan, 0, sizeof(loan));
	memset(est_wait, 0, sizeof(est_wait));
	grant_init(&page, map);
	grant_part(&lk, &page, 0, 2);
	plan = (struct amux_plan){ .chunk_bytes = CHUNK,
				   .kernel_min_pages = 32,
				   .reason_mask = ~0u,
				   .loan_ns = 4 * MS };
	plan.share[0][AMUX_CLASS_KERNEL] = (struct amux_plan_share){ .engine_mask = 0xf,
								     .reserve_bps = 8000000000,
								     .limit_bps = AMUX_BPS_MAX,
								     .cap_bytes = CHUNK };
	plan.share[0][AMUX_CLASS_USER] = (struct amux_plan_share){ .engine_mask = 0xf,
								   .reserve_bps = 22000000000,
								   .limit_bps = AMUX_BPS_MAX,
								   .cap_bytes = CHUNK,
								   .lend = 1 };
}

static void write_at(uint64_t now)
{
	grant_write(&lk, &plan, devs, loan, est_wait, 10000000000, now);
}

static struct amux_grant read_back(void)
{
	struct amux_grant g;

	ck_assert_int_eq(grant_read(page.grant, &g), 0);
	return g;
}

START_TEST(starts_disabled)
{
	struct amux_grant g = read_back();

	ck_assert_uint_eq(g.flags, 0);
	ck_assert_uint_eq(g.seq & 1, 0);
	ck_assert_uint_eq(g.version, AMUX_GRANT_VERSION);
}
END_TEST

/* A second broker on the same page goes on where the first one stopped, even mid-write. */
START_TEST(inherits_sequence)
{
	uint32_t before;

	write_at(MS);
	page.grant->seq++;
	before = page.grant->seq;
	grant_init(&page, map);
	grant_part(&lk, &page, 0, 2);
	ck_assert_uint_gt(page.grant->seq, before);
	ck_assert_uint_eq(read_back().flags, 0);
}
END_TEST

START_TEST(plan_to_grant)
{
	struct amux_grant g;

	loan[0] = 5000000000;
	est_wait[0] = 1234;
	write_at(100 * MS);
	g = read_back();
	ck_assert_uint_eq(g.flags, AMUX_GRANT_ENABLED);
	ck_assert_uint_eq(g.n_devs, 2);
	ck_assert_uint_eq(g.min_pages, 32);
	ck_assert_uint_eq(g.chunk_bytes, CHUNK);
	ck_assert_uint_eq(g.reason_mask, ~0u);
	ck_assert_uint_eq(g.cpu_bps, 10000000000);
	ck_assert_uint_eq(g.epoch, 1);
	ck_assert_uint_eq(g.written_ns, 100 * MS);
	ck_assert_uint_eq(g.dev[0].engine_mask, 0xf);
	ck_assert_uint_eq(g.dev[0].reserve_bps, 8000000000);
	ck_assert_uint_eq(g.dev[0].loan_bps, 5000000000);
	ck_assert_uint_eq(g.dev[0].loan_expiry_ns, 104 * MS);
	ck_assert_uint_eq(g.dev[0].est_wait_ns, 1234);
	ck_assert_uint_eq(g.dev[0].device_bps, RATE);
	ck_assert_uint_eq(g.dev[0].pci_id, 0x6a08);
	ck_assert_uint_eq(g.dev[1].pci_id, 0);
	ck_assert_uint_eq(g.dev[0].cap_bytes, 4 * CHUNK);
	ck_assert_uint_eq(g.dev[1].engine_mask, 0);
	ck_assert_uint_eq(g.dev[1].reserve_bps, 0);
}
END_TEST

START_TEST(decline_modes)
{
	plan.decline[AMUX_CLASS_KERNEL] = AMUX_DECLINE_PREDICT;
	write_at(MS);
	ck_assert_uint_eq(read_back().flags, AMUX_GRANT_ENABLED | AMUX_GRANT_PREDICT);
	plan.decline[AMUX_CLASS_KERNEL] = AMUX_DECLINE_ALWAYS;
	write_at(2 * MS);
	ck_assert_uint_eq(read_back().flags, 0);
	plan.decline[AMUX_CLASS_KERNEL] = AMUX_DECLINE_NEVER;
	plan.share[0][AMUX_CLASS_KERNEL].engine_mask = 0;
	write_at(3 * MS);
	ck_assert_uint_eq(read_back().flags, 0);
}
END_TEST

/* No reserves and no limit (policy shared): the device itself is the limit. */
START_TEST(free_for_all)
{
	plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = 0;
	plan.share[0][AMUX_CLASS_USER].reserve_bps = 0;
	write_at(MS);
	ck_assert_uint_eq(read_back().dev[0].reserve_bps, RATE);
	/* but a kernel class that lives on loans alone is guaranteed nothing */
	plan.share[0][AMUX_CLASS_USER].reserve_bps = RATE;
	write_at(2 * MS);
	ck_assert_uint_eq(read_back().dev[0].reserve_bps, 0);
	ck_assert_uint_eq(read_back().flags, AMUX_GRANT_ENABLED);
}
END_TEST

START_TEST(limits_bind)
{
	struct amux_grant g;

	loan[0] = RATE;
	plan.share[0][AMUX_CLASS_KERNEL].limit_bps = 9000000000;
	plan.share[0][AMUX_CLASS_KERNEL].cap_bytes = 3ull << 30;
	write_at(MS);
	g = read_back();
	ck_assert_uint_eq(g.dev[0].loan_bps, 1000000000);
	ck_assert_uint_eq(g.dev[0].cap_bytes, UINT32_MAX);
	plan.share[0][AMUX_CLASS_KERNEL].limit_bps = 1;
	write_at(2 * MS);
	ck_assert_uint_eq(read_back().dev[0].loan_bps, 0);
}
END_TEST

START_TEST(skips_equal_writes)
{
	uint32_t seq;

	loan[0] = 1000;
	est_wait[0] = 100000;
	write_at(100 * MS);
	seq = page.grant->seq;
	est_wait[0] = 105000;
	write_at(101 * MS);
	ck_assert_uint_eq(page.grant->seq, seq); /* little changed, 3 of 4 ms to live */
	write_at(103 * MS);
	ck_assert_uint_eq(page.grant->seq, seq + 2); /* less than half its life */
	ck_assert_uint_eq(read_back().dev[0].loan_expiry_ns, 107 * MS);
	est_wait[0] = 200000;
	write_at(103 * MS);
	ck_assert_uint_eq(page.grant->seq, seq + 4);
	loan[0] = 999;
	write_at(103 * MS);
	ck_assert_uint_eq(page.grant->seq, seq + 6);
	loan[0] = 0;
	write_at(103 * MS);
	write_at(900 * MS); /* a reserve needs no refreshing */
	ck_assert_uint_eq(page.grant->seq, seq + 8);
	plan.kernel_min_pages = 64;
	write_at(900 * MS);
	ck_assert_uint_eq(page.grant->seq, seq + 10);
	ck_assert_uint_eq(read_back().epoch, page.epoch);
}
END_TEST

START_TEST(idle_lends_all)
{
	struct amux_grant g;
	uint32_t seq;

	write_at(MS);
	grant_idle(&lk, &plan, devs, 0, 2 * MS);
	g = read_back();
	ck_assert(lk.idle);
	ck_assert_uint_eq(g.dev[0].reserve_bps + g.dev[0].loan_bps, RATE);
	ck_assert(g.dev[0].loan_expiry_ns == AMUX_LOAN_UNTIL_WITHDRAWN);
	ck_assert_uint_eq(g.dev[1].engine_mask, 0);
	ck_assert_uint_eq(g.dev[1].loan_bps, 0);
	seq = page.grant->seq;
	grant_idle(&lk, &plan, devs, 0, 3 * MS);
	ck_assert_uint_eq(page.grant->seq, seq);
	/* withdrawn by the next write, whatever it says */
	write_at(4 * MS);
	ck_assert(!lk.idle);
	ck_assert_uint_eq(read_back().dev[0].loan_bps, 0);
}
END_TEST

START_TEST(idle_respects_plan)
{
	struct amux_grant g;

	plan.share[0][AMUX_CLASS_USER].lend = 0;
	grant_idle(&lk, &plan, devs, 0, MS);
	g = read_back();
	ck_assert_uint_eq(g.dev[0].loan_bps, 0);
	ck_assert_uint_eq(g.dev[0].reserve_bps, 8000000000);
	/* a new plan while idle shows at once */
	plan.share[0][AMUX_CLASS_USER].lend = 1;
	plan.share[0][AMUX_CLASS_KERNEL].limit_bps = 10000000000;
	grant_idle(&lk, &plan, devs, 0, 2 * MS);
	ck_assert_uint_eq(read_back().dev[0].loan_bps, 2000000000);
	plan.decline[AMUX_CLASS_KERNEL] = AMUX_DECLINE_ALWAYS;
	grant_idle(&lk, &plan, devs, 0, 3 * MS);
	ck_assert_uint_eq(read_back().flags, 0);
}
END_TEST

START_TEST(disable_withdraws)
{
	struct amux_grant g;

	loan[0] = 1000;
	write_at(MS);
	grant_disable(&lk, 2 * MS);
	g = read_back();
	ck_assert_uint_eq(g.flags, 0);
	ck_assert_uint_eq(g.dev[0].loan_bps, 0);
	ck_assert_uint_eq(g.written_ns, 2 * MS);
	write_at(3 * MS);
	ck_assert_uint_eq(read_back().flags, AMUX_GRANT_ENABLED);
}
END_TEST

START_TEST(reader_gives_up)
{
	struct amux_grant g;

	page.grant->seq |= 1;
	ck_assert_int_eq(grant_read(page.grant, &g), -EAGAIN);
	page.grant->seq++;
	ck_assert_int_eq(grant_read(page.grant, &g), 0);
	page.grant->magic++;
	ck_assert_int_eq(grant_read(page.grant, &g), -EPROTO);
	page.grant->magic--;
	page.grant->version++;
	ck_assert_int_eq(grant_read(page.grant, &g), -EPROTO);
}
END_TEST

START_TEST(hostile_grant)
{
	struct amux_grant g;

	memset(&page.grant->flags, 0xff, sizeof(g) - offsetof(struct amux_grant, flags));
	g = read_back();
	ck_assert_uint_eq(g.n_devs, AMUX_GRANT_DEVS);
	ck_assert_uint_eq(g.chunk_bytes, 2u << 20);
	for (unsigned int i = 0; i < AMUX_GRANT_DEVS; i++)
		ck_assert_uint_lt(g.dev[i].est_wait_ns, UINT64_MAX / 2);
	memset(&page.grant->n_devs, 0, sizeof(g) - offsetof(struct amux_grant, n_devs));
	page.grant->dev[3].engine_mask = 1;
	g = read_back();
	ck_assert_uint_eq(g.chunk_bytes, 4096);
	ck_assert_uint_eq(g.min_pages, 1);
	ck_assert_uint_eq(g.dev[0].cap_bytes, 4096);
	ck_assert_uint_eq(g.dev[3].engine_mask, 0); /* beyond n_devs */
}
END_TEST

/* Two nodes, a device each: either writes its own alone. */
START_TEST(parts)
{
	struct amux_demand *d = (struct amux_demand *)(void *)(map + 4096);
	struct device *const second[] = { &dev1 };
	struct grant_link other;
	struct grant_demand out;
	struct amux_grant g;

	grant_part(&lk, &page, 0, 1);
	grant_part(&other, &page, 1, 1);
	write_at(MS);
	g = read_back();
	ck_assert_uint_eq(g.n_devs, 1);
	grant_write(&other, &plan, second, loan, est_wait, 0, 2 * MS);
	g = read_back();
	ck_assert_uint_eq(g.n_devs, 2);
	ck_assert_uint_eq(g.epoch, 2);
	ck_assert_uint_eq(g.dev[0].device_bps, RATE);
	ck_assert_uint_eq(g.dev[1].device_bps, RATE / 2);
	ck_assert_uint_eq(g.dev[1].engine_mask, 0xf);

	grant_disable(&lk, 3 * MS);
	g = read_back();
	ck_assert_uint_eq(g.flags, AMUX_GRANT_ENABLED);
	ck_assert_uint_eq(g.dev[0].engine_mask, 0);
	ck_assert_uint_eq(g.dev[1].engine_mask, 0xf);
	grant_disable(&other, 4 * MS);
	ck_assert_uint_eq(read_back().flags, 0);
	write_at(5 * MS);
	g = read_back();
	ck_assert_uint_eq(g.flags, AMUX_GRANT_ENABLED);
	ck_assert_uint_eq(g.dev[0].engine_mask, 0xf);
	ck_assert_uint_eq(g.dev[1].engine_mask, 0);

	d->dev[1].submitted_bytes = 10;
	grant_demand_read(&lk, &out);
	ck_assert(!out.active);
	grant_demand_read(&other, &out);
	ck_assert(out.active);
	ck_assert_uint_eq(out.inflight_bytes[0], 10);

	/* What does not fit into the page has no part of it. */
	grant_part(&other, &page, AMUX_GRANT_DEVS - 1, 3);
	ck_assert_uint_eq(other.n, 1);
	grant_part(&other, &page, AMUX_GRANT_DEVS + 1, 3);
	ck_assert_uint_eq(other.n, 0);
}
END_TEST

START_TEST(hostile_demand)
{
	struct amux_demand *d = (struct amux_demand *)(void *)(map + 4096);
	struct grant_demand out;
	uint64_t now = clock_ns();

	grant_demand_read(&lk, &out);
	ck_assert(!out.active);
	d->arrived_bytes = 8192;
	d->finished_bytes = 4096;
	d->last_batch_ns = 77;
	grant_demand_read(&lk, &out);
	ck_assert(out.active);
	ck_assert_uint_eq(out.waiting_bytes, 4096);
	ck_assert_uint_eq(out.last_batch_ns, 77);

	d->finished_bytes = 8193; /* more than ever arrived */
	grant_demand_read(&lk, &out);
	ck_assert(!out.active);
	ck_assert_uint_eq(out.waiting_bytes, 0);

	d->dev[2].submitted_bytes = 10; /* another part's */
	grant_demand_read(&lk, &out);
	ck_assert(!out.active);
	d->dev[1].submitted_bytes = 10;
	grant_demand_read(&lk, &out);
	ck_assert(out.active);
	ck_assert_uint_eq(out.inflight_bytes[1], 10);

	memset(d, 0xff, sizeof(*d));
	d->finished_bytes = 0;
	d->dev[0].completed_bytes = 0;
	grant_demand_read(&lk, &out);
	ck_assert_uint_eq(out.waiting_bytes, 64ull << 30);
	ck_assert_uint_eq(out.inflight_bytes[0], 64ull << 30);
	ck_assert_uint_eq(out.inflight_bytes[1], 0);
	ck_assert_uint_ge(out.last_batch_ns, now);
	ck_assert_uint_le(out.last_batch_ns, clock_ns());
}
END_TEST

/* The writer keeps every field of one version equal; a reader must never see two versions. */
#define RACE_READS 20000u

static uint32_t race_done;

static void *race_writer(void *arg)
{
	(void)arg;
	for (uint32_t v = 1; !__atomic_load_n(&race_done, __ATOMIC_RELAXED); v++) {
		uint32_t version = v % 1000 + 1;

		plan.kernel_min_pages = version;
		plan.share[0][AMUX_CLASS_KERNEL].reserve_bps = version;
		plan.share[1][AMUX_CLASS_KERNEL].engine_mask = version;
		est_wait[0] = version * MS;
		grant_write(&lk, &plan, devs, loan, est_wait, version, version);
	}
	return NULL;
}

static void *race_reader(void *arg)
{
	unsigned int *torn = arg;
	struct amux_grant g;

	for (unsigned int i = 0; i < RACE_READS;) {
		if (grant_read(page.grant, &g) || !g.flags)
			continue;
		i++;
		if (g.dev[0].reserve_bps != g.min_pages ||
		    g.dev[1].engine_mask != g.min_pages ||
		    g.dev[0].est_wait_ns != g.min_pages * MS || g.cpu_bps != g.min_pages ||
		    g.written_ns != g.min_pages)
			++*torn;
	}
	return NULL;
}

START_TEST(no_torn_reads)
{
	unsigned int torn[2] = { 0, 0 };
	pthread_t writer, reader[2];

	plan.share[1][AMUX_CLASS_KERNEL].reserve_bps = 1;
	ck_assert_int_eq(pthread_create(&writer, NULL, race_writer, NULL), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&reader[i], NULL, race_reader, &torn[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(reader[i], NULL);
	__atomic_store_n(&race_done, 1, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(torn[0], 0);
	ck_assert_uint_eq(torn[1], 0);
	ck_assert_uint_gt(page.epoch, 100);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("grant");
	TCase *tc = tcase_create("grant");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, starts_disabled);
	tcase_add_test(tc, inherits_sequence);
	tcase_add_test(tc, plan_to_grant);
	tcase_add_test(tc, decline_modes);
	tcase_add_test(tc, free_for_all);
	tcase_add_test(tc, limits_bind);
	tcase_add_test(tc, skips_equal_writes);
	tcase_add_test(tc, idle_lends_all);
	tcase_add_test(tc, idle_respects_plan);
	tcase_add_test(tc, disable_withdraws);
	tcase_add_test(tc, reader_gives_up);
	tcase_add_test(tc, hostile_grant);
	tcase_add_test(tc, parts);
	tcase_add_test(tc, hostile_demand);
	tcase_add_test(tc, no_torn_reads);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
