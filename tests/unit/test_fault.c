// SPDX-License-Identifier: MIT
/*
 * test_fault.c - the engine that fails on purpose: its words, that its luck repeats, and that an
 * engine of it that was lost is called quiet only when nothing can write any more.
 */
#include <errno.h>
#include <string.h>

#include "../../broker/clock.h"
#include "../../broker/fault.h"
#include "core_util.h"

#define BYTES 4096u
#define DESCS 4000u
#define WQ    16u

static struct device dev;
static uint8_t src[BYTES], dst[WQ][BYTES];
static uint64_t now;

struct slot {
	struct dsa_completion_record rec __attribute__((aligned(32)));
};

static struct slot slots[DESCS];

static void open_as(const char *spec, unsigned int engines)
{
	struct soft_config soft;
	struct fault_config cfg;
	char err[400] = "";

	soft_config_default(&soft);
	soft.engines = engines;
	ck_assert_msg(!fault_spec_parse(&cfg, spec, err, sizeof(err)), "%s: %s", spec, err);
	ck_assert_int_eq(fault_open(&dev, 0, &soft, &cfg, 1), 0);
	memset(slots, 0, sizeof(slots));
	for (unsigned int i = 0; i < BYTES; i++)
		src[i] = (uint8_t)(i * 7 + 1);
	memset(dst, 0, sizeof(dst));
	now = NSEC_PER_SEC;
}

static int put(unsigned int e, struct slot *s, uint8_t *to)
{
	struct dsa_hw_desc d = {
		.opcode = DSA_OPCODE_MEMMOVE,
		.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
		.completion_addr = (uintptr_t)&s->rec,
		.src_addr = (uintptr_t)src,
		.dst_addr = (uintptr_t)to,
		.xfer_size = BYTES,
	};

	memset(s, 0, sizeof(*s));
	return dev.ops->submit(&dev, e, ENGINE_WQ_USER, &d, 1);
}

static void turn(uint64_t ns)
{
	now += ns;
	dev.ops->progress(&dev, now, 1000000);
}

/* What became of DESCS descriptors, as one number each: a status, or 0xff refused. */
static void outcomes(const char *spec, uint8_t *out)
{
	open_as(spec, 1);
	for (unsigned int i = 0; i < DESCS; i++) {
		int n = put(0, &slots[i], dst[0]);

		turn(1000);
		out[i] = n < 0 ? 0xff : record_status(&slots[i].rec);
	}
	dev.ops->close(&dev);
}

START_TEST(repeats)
{
	static const char *const spec[] = {
		"seed=3,error=2%,error=1%@0x2a,partial=4%,refuse=1%",
		"seed=4,error=2%,error=1%@0x2a,partial=4%,refuse=1%",
	};
	static uint8_t a[DESCS], b[DESCS];
	unsigned int n[256] = { 0 };

	outcomes(spec[0], a);
	outcomes(spec[0], b);
	ck_assert_int_eq(memcmp(a, b, sizeof(a)), 0);
	outcomes(spec[1], b);
	ck_assert_int_ne(memcmp(a, b, sizeof(a)), 0);
	for (unsigned int i = 0; i < DESCS; i++)
		n[a[i]]++;
	/* within five standard deviations of what was asked for */
	ck_assert_int_gt(n[DSA_COMP_HW_ERR1], 80 - 45);
	ck_assert_int_lt(n[DSA_COMP_HW_ERR1], 80 + 45);
	ck_assert_int_gt(n[0x2a], 40 - 32);
	ck_assert_int_lt(n[0x2a], 40 + 32);
	ck_assert_int_gt(n[DSA_COMP_PAGE_FAULT_NOBOF], 160 - 63);
	ck_assert_int_lt(n[DSA_COMP_PAGE_FAULT_NOBOF], 160 + 63);
	ck_assert_int_gt(n[0xff], 40 - 32);
	ck_assert_int_lt(n[0xff], 40 + 32);
}
END_TEST

START_TEST(partial_is_half)
{
	open_as("partial=1", 1);
	ck_assert_int_eq(put(0, &slots[0], dst[0]), 1);
	turn(1000);
	ck_assert_int_eq(record_status(&slots[0].rec), DSA_COMP_PAGE_FAULT_NOBOF);
	ck_assert_uint_eq(slots[0].rec.bytes_completed, BYTES / 2);
	ck_assert_uint_eq(slots[0].rec.fault_addr, (uintptr_t)src + BYTES / 2);
	ck_assert_int_eq(memcmp(dst[0], src, BYTES / 2), 0);
	ck_assert_int_eq(dst[0][BYTES / 2], 0);
	dev.ops->close(&dev);
}
END_TEST

START_TEST(delay_is_kept)
{
	open_as("delay=1@5ms", 1);
	ck_assert_int_eq(put(0, &slots[0], dst[0]), 1);
	turn(1000);
	turn(4900000);
	ck_assert_int_eq(record_status(&slots[0].rec), 0);
	ck_assert_uint_le(dev.ops->next_event(&dev, now), now + 5000000);
	turn(200000);
	ck_assert_int_eq(record_status(&slots[0].rec), DSA_COMP_SUCCESS);
	ck_assert_int_eq(memcmp(dst[0], src, BYTES), 0);
	dev.ops->close(&dev);
}
END_TEST

/* Lost ones are done or not, never answered; and slots that they hold come back. */
START_TEST(lost_then_quiet)
{
	unsigned int done = 0;

	open_as("lose=1,back=1ms", 1);
	for (unsigned int round = 0; round < 8; round++) {
		for (unsigned int i = 0; i < WQ; i++)
			ck_assert_int_eq(put(0, &slots[i], dst[i]), 1);
		/* before it has run, what it took may still be done: not quiet */
		dev.health[0] = ENGINE_LOST;
		turn(1000);
		turn(1000);
		ck_assert_uint_eq(dev.health[0], ENGINE_QUIET);
		for (unsigned int i = 0; i < WQ; i++) {
			ck_assert_int_eq(record_status(&slots[i].rec), 0);
			done += dst[i][0] != 0;
			memset(dst[i], 0, BYTES);
		}
		turn(1000);
		ck_assert_uint_eq(dev.health[0],
				  ENGINE_QUIET); /* the mux thread's step is next */
		dev.health[0] = ENGINE_EMPTY;
		turn(1000);
		ck_assert_uint_eq(dev.health[0], ENGINE_EMPTY);
		turn(1000000);
		ck_assert_uint_eq(dev.health[0], ENGINE_UP);
	}
	ck_assert_uint_gt(done, 20);
	ck_assert_uint_lt(done, 8 * WQ - 20);
	dev.ops->close(&dev);
}
END_TEST

/* What is still to be done keeps an engine from being called quiet. */
START_TEST(not_quiet_while_open)
{
	open_as("delay=1@10ms", 1);
	ck_assert_int_eq(put(0, &slots[0], dst[0]), 1);
	dev.health[0] = ENGINE_LOST;
	turn(1000);
	turn(1000000);
	ck_assert_uint_eq(dev.health[0], ENGINE_LOST);
	turn(10000000);
	ck_assert_int_eq(record_status(&slots[0].rec), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(dev.health[0], ENGINE_QUIET);
	dev.ops->close(&dev);

	open_as("stuck=1", 1);
	ck_assert_int_eq(put(0, &slots[0], dst[0]), 1);
	dev.health[0] = ENGINE_LOST;
	for (unsigned int i = 0; i < 100; i++)
		turn(NSEC_PER_SEC);
	ck_assert_uint_eq(dev.health[0], ENGINE_LOST);
	dev.ops->close(&dev);
}
END_TEST

START_TEST(disable_in_turn)
{
	open_as("disable=10ms@2ms,back=1ms", 2);
	turn(1000);
	turn(10000000);
	ck_assert_uint_eq(dev.suspect, 1u);
	ck_assert_int_eq(put(0, &slots[0], dst[0]), -EIO);
	ck_assert_int_eq(put(1, &slots[1], dst[1]), 1);
	dev.suspect = 0;
	dev.health[0] = ENGINE_EMPTY;
	turn(1500000);
	ck_assert_uint_eq(dev.health[0], ENGINE_EMPTY);
	turn(1500000);
	ck_assert_uint_eq(dev.health[0], ENGINE_UP);
	turn(10000000);
	ck_assert_uint_eq(dev.suspect, 2u);
	dev.ops->close(&dev);
}
END_TEST

START_TEST(words)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "lose", "'lose': expected KEY=VALUE" },
		{ "=1", "expected KEY=VALUE" },
		{ "loose=1%", "'loose': unknown fault, expected one of: error" },
		{ "lose=2", "lose = '2': expected a probability" },
		{ "lose=-1%", "lose = '-1%': expected a probability" },
		{ "lose=1e-3", "lose = '1e-3'" },
		{ "lose=", "lose = ''" },
		{ "lose=1%@5ms", "lose = '1%@5ms'" },
		{ "lose=nan", "lose = 'nan'" },
		{ "error=1%@1", "error = '1%@1': expected a probability, such as 1% or 0.01, "
				"'@' and a status from 0x02 to 0x3f" },
		{ "error=1%@0x40", "error = '1%@0x40'" },
		{ "delay=1%", "delay = '1%': expected a probability" },
		{ "disable=5ms", "disable = '5ms': expected how often and for how long" },
		{ "timeout=0ns", "timeout = '0ns': expected a time" },
		{ "seed=x", "seed = 'x': expected a number" },
		{ "lose=1%,,", "'': expected KEY=VALUE" },
		{ "lose=1,lose=1,lose=1,lose=1,lose=1,lose=1,lose=1,lose=1,lose=1,lose=1,lose="
		  "1,"
		  "lose=1,lose=1,lose=1,lose=1,lose=1,lose=1",
		  "expected at most 16 kinds" },
	};
	struct fault_config cfg;
	char err[400];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		ck_assert_msg(fault_spec_parse(&cfg, bad[i].spec, err, sizeof(err)) == -EINVAL,
			      "%s was taken", bad[i].spec);
		ck_assert_msg(strstr(err, bad[i].says) && !strchr(err, '\n'), "%s: %s",
			      bad[i].spec, err);
	}
	ck_assert_int_eq(fault_spec_parse(&cfg, "", err, sizeof(err)), 0);
	ck_assert_uint_eq(cfg.n_rules, 0);
	ck_assert_int_eq(
		fault_spec_parse(&cfg, "error=0.25@0x13,disable=1s@2ms", err, sizeof(err)), 0);
	ck_assert_uint_eq(cfg.rule[0].chance, 1u << 30);
	ck_assert_uint_eq(cfg.rule[0].status, 0x13);
	ck_assert_uint_eq(cfg.disable_every_ns, NSEC_PER_SEC);
	ck_assert_uint_eq(cfg.disable_ns, 2000000);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("fault");

	tcase_add_test(t, repeats);
	tcase_add_test(t, partial_is_half);
	tcase_add_test(t, delay_is_kept);
	tcase_add_test(t, lost_then_quiet);
	tcase_add_test(t, not_quiet_while_open);
	tcase_add_test(t, disable_in_turn);
	tcase_add_test(t, words);
	return run_case(t, "fault", 20);
}
