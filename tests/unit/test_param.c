// SPDX-License-Identifier: MIT
/*
 * test_param.c - numbers with units, and policy parameters with their error lines.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../broker/param.h"

static const struct {
	const char *text;
	enum amux_unit unit;
	uint64_t value;
} good[] = {
	{ "0", AMUX_UNIT_COUNT, 0 },
	{ "007", AMUX_UNIT_COUNT, 7 },
	{ "18446744073709551615", AMUX_UNIT_COUNT, UINT64_MAX },
	{ "64K", AMUX_UNIT_BYTES, 65536 },
	{ "2M", AMUX_UNIT_BYTES, 2097152 },
	{ "3G", AMUX_UNIT_BYTES, 3221225472 },
	{ "4096", AMUX_UNIT_BYTES, 4096 },
	{ "17179869183G", AMUX_UNIT_BYTES, 17179869183ull << 30 },
	{ "10G", AMUX_UNIT_BPS, 10000000000 },
	{ "250M", AMUX_UNIT_BPS, 250000000 },
	{ "1K", AMUX_UNIT_BPS, 1000 },
	{ "5", AMUX_UNIT_BPS, 5 },
	{ "7", AMUX_UNIT_NS, 7 },
	{ "7ns", AMUX_UNIT_NS, 7 },
	{ "20us", AMUX_UNIT_NS, 20000 },
	{ "10ms", AMUX_UNIT_NS, 10000000 },
	{ "2s", AMUX_UNIT_NS, 2000000000 },
	{ "50", AMUX_UNIT_PERCENT, 50 },
	{ "50%", AMUX_UNIT_PERCENT, 50 },
	{ "512", AMUX_UNIT_PAGES, 512 },
};

START_TEST(parse_good)
{
	uint64_t v = ~good[_i].value;
	char err[128] = "";

	ck_assert_int_eq(param_parse(good[_i].text, good[_i].unit, &v, err, sizeof(err)), 0);
	ck_assert_uint_eq(v, good[_i].value);
	ck_assert_str_eq(err, "");
}
END_TEST

static const struct {
	const char *text;
	enum amux_unit unit;
} bad[] = {
	{ "", AMUX_UNIT_COUNT },
	{ " 1", AMUX_UNIT_COUNT },
	{ "1 ", AMUX_UNIT_COUNT },
	{ "+1", AMUX_UNIT_COUNT },
	{ "-1", AMUX_UNIT_COUNT },
	{ "0x10", AMUX_UNIT_COUNT },
	{ "1.5", AMUX_UNIT_COUNT },
	{ "1K", AMUX_UNIT_COUNT },
	{ "18446744073709551616", AMUX_UNIT_COUNT },
	{ "99999999999999999999999", AMUX_UNIT_COUNT },
	{ "K", AMUX_UNIT_BYTES },
	{ "12q", AMUX_UNIT_BYTES },
	{ "1KK", AMUX_UNIT_BYTES },
	{ "1k", AMUX_UNIT_BYTES },
	{ "17179869184G", AMUX_UNIT_BYTES },
	{ "-64K", AMUX_UNIT_BYTES },
	{ "18446744074G", AMUX_UNIT_BPS },
	{ "10%", AMUX_UNIT_BPS },
	{ "10m", AMUX_UNIT_NS },
	{ "18446744074s", AMUX_UNIT_NS },
	{ "1msx", AMUX_UNIT_NS },
	{ "50%%", AMUX_UNIT_PERCENT },
	{ "%", AMUX_UNIT_PERCENT },
	{ "32K", AMUX_UNIT_PAGES },
};

START_TEST(parse_bad)
{
	uint64_t v = 4711;
	char err[128] = "";
	char quoted[64];

	ck_assert_int_eq(param_parse(bad[_i].text, bad[_i].unit, &v, err, sizeof(err)),
			 -EINVAL);
	ck_assert_uint_eq(v, 4711);
	snprintf(quoted, sizeof(quoted), "'%s': expected ", bad[_i].text);
	ck_assert_msg(!strncmp(err, quoted, strlen(quoted)), "%s", err);
}
END_TEST

START_TEST(parse_error_text)
{
	uint64_t v;
	char err[128];
	char tiny[8];

	param_parse("12q", AMUX_UNIT_BYTES, &v, err, sizeof(err));
	ck_assert_str_eq(err, "'12q': expected bytes, such as 65536, 64K or 2M");
	param_parse("1\n2", AMUX_UNIT_NS, &v, err, sizeof(err));
	ck_assert_str_eq(err, "'1?2': expected a time, such as 500ns, 20us, 10ms or 1s");
	param_parse("0123456789012345678901234567890123456789x", AMUX_UNIT_COUNT, &v, err,
		    sizeof(err));
	ck_assert_str_eq(err, "'0123456789012345678901234567890123456789...': expected "
			      "a number, such as 2");
	ck_assert_int_eq(param_parse("12q", AMUX_UNIT_BYTES, &v, tiny, sizeof(tiny)), -EINVAL);
	ck_assert_str_eq(tiny, "'12q': ");
	ck_assert_int_eq(param_parse("12q", AMUX_UNIT_BYTES, &v, NULL, 0), -EINVAL);
}
END_TEST

static uint64_t next_random(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void round_trip(uint64_t value, enum amux_unit unit)
{
	char text[32], err[128] = "";
	uint64_t back = ~value;

	param_format(value, unit, text, sizeof(text));
	ck_assert_msg(!param_parse(text, unit, &back, err, sizeof(err)), "%s", err);
	ck_assert_msg(back == value, "%s is not %llu", text, (unsigned long long)value);
}

START_TEST(format_round_trip)
{
	static const uint64_t step[] = { 1, 1000, 1024, 1000000, 1 << 20, 1000000000, 1 << 30 };
	uint64_t seed = 1;

	for (enum amux_unit u = AMUX_UNIT_COUNT; u <= AMUX_UNIT_PAGES; u++) {
		round_trip(0, u);
		round_trip(UINT64_MAX, u);
		for (unsigned int i = 0; i < 4000; i++) {
			uint64_t v = next_random(&seed) >> (next_random(&seed) & 63);
			uint64_t m = step[next_random(&seed) % 7];

			round_trip(v, u);
			round_trip(v / m * m, u);
		}
	}
}
END_TEST

static const struct {
	uint64_t value;
	enum amux_unit unit;
	const char *text;
} shown[] = {
	{ 65536, AMUX_UNIT_BYTES, "64K" },
	{ 65537, AMUX_UNIT_BYTES, "65537" },
	{ 0, AMUX_UNIT_BYTES, "0" },
	{ 2500000000, AMUX_UNIT_BPS, "2500M" },
	{ 10000000, AMUX_UNIT_NS, "10ms" },
	{ 1500, AMUX_UNIT_NS, "1500ns" },
	{ 0, AMUX_UNIT_NS, "0ns" },
	{ 50, AMUX_UNIT_PERCENT, "50%" },
	{ 0, AMUX_UNIT_PERCENT, "0%" },
	{ 1000, AMUX_UNIT_COUNT, "1000" },
	{ UINT64_MAX, AMUX_UNIT_PAGES, "18446744073709551615" },
};

START_TEST(format_text)
{
	char text[32];

	param_format(shown[_i].value, shown[_i].unit, text, sizeof(text));
	ck_assert_str_eq(text, shown[_i].text);
}
END_TEST

START_TEST(find)
{
	ck_assert_ptr_eq(policy_find("partitioned"), amux_policies[0]);
	ck_assert_str_eq(policy_find("dynamic")->name, "dynamic");
	ck_assert_ptr_null(policy_find("dynami"));
	ck_assert_ptr_null(policy_find("dynamics"));
	ck_assert_ptr_null(policy_find(""));
}
END_TEST

static const struct {
	const char *policy, *key, *value, *err;
} refused[] = {
	{ "dynamic", "kernel_share", "140",
	  "policy dynamic: kernel_share = '140': expected a percentage from 1 to 99" },
	{ "dynamic", "kernel_share", "0",
	  "policy dynamic: kernel_share = '0': expected a percentage from 1 to 99" },
	{ "dynamic", "kernel_share", "",
	  "policy dynamic: kernel_share = '': expected a percentage from 1 to 99" },
	{ "dynamic", "chunk", "12q",
	  "policy dynamic: chunk = '12q': expected bytes from 4K to 256K" },
	{ "dynamic", "chunk", "1M",
	  "policy dynamic: chunk = '1M': expected bytes from 4K to 256K" },
	{ "dynamic", "loan", "-1ms",
	  "policy dynamic: loan = '-1ms': expected a time from 1ms to 1s" },
	{ "dynamic", "cap_chunks", "3",
	  "policy dynamic: cap_chunks = '3': expected a number from 1 to 2" },
	{ "shared", "min_pages", "99999999999999999999",
	  "policy shared: min_pages = '99999999999999999999': expected a number of pages from "
	  "1 "
	  "to 65536" },
	{ "partitioned", "share", "1",
	  "policy partitioned: unknown parameter 'share': expected one of kernel_share, chunk, "
	  "min_pages" },
	{ "cpu", "chunk", "64K", "policy cpu: unknown parameter 'chunk': it has none" },
};

START_TEST(set_refused)
{
	const struct amux_policy_ops *ops = policy_find(refused[_i].policy);
	uint64_t values[AMUX_POLICY_PARAMS], before[AMUX_POLICY_PARAMS];
	char err[256] = "";

	policy_defaults(ops, values);
	memcpy(before, values, sizeof(values));
	ck_assert_int_eq(policy_set_param(ops, values, refused[_i].key, refused[_i].value, err,
					  sizeof(err)),
			 -EINVAL);
	ck_assert_str_eq(err, refused[_i].err);
	ck_assert_mem_eq(values, before, sizeof(values));
}
END_TEST

START_TEST(set_every_param)
{
	for (unsigned int i = 0; amux_policies[i]; i++) {
		const struct amux_policy_ops *ops = amux_policies[i];
		uint64_t values[AMUX_POLICY_PARAMS], want[AMUX_POLICY_PARAMS];
		char err[256] = "", text[32];

		policy_defaults(ops, values);
		memcpy(want, values, sizeof(values));
		for (unsigned int k = 0; k < ops->n_params; k++) {
			const struct amux_policy_param *param = &ops->params[k];
			const uint64_t edge[] = { param->max, param->min };

			for (unsigned int e = 0; e < 2; e++) {
				param_format(edge[e], param->unit, text, sizeof(text));
				ck_assert_msg(!policy_set_param(ops, values, param->name, text,
								err, sizeof(err)),
					      "%s", err);
				want[k] = edge[e];
				ck_assert_mem_eq(values, want, sizeof(values));
			}
			param_format(param->max + 1, param->unit, text, sizeof(text));
			ck_assert_int_eq(policy_set_param(ops, values, param->name, text, err,
							  sizeof(err)),
					 -EINVAL);
			param_format(param->min - 1, param->unit, text, sizeof(text));
			ck_assert_int_eq(policy_set_param(ops, values, param->name, text, err,
							  sizeof(err)),
					 -EINVAL);
			ck_assert_mem_eq(values, want, sizeof(values));
		}
	}
}
END_TEST

START_TEST(defaults_hold)
{
	for (unsigned int i = 0; amux_policies[i]; i++) {
		uint64_t values[AMUX_POLICY_PARAMS];
		char err[256] = "";

		memset(values, 0xff, sizeof(values));
		policy_defaults(amux_policies[i], values);
		ck_assert_msg(!policy_check(amux_policies[i], values, err, sizeof(err)), "%s",
			      err);
		for (unsigned int k = amux_policies[i]->n_params; k < AMUX_POLICY_PARAMS; k++)
			ck_assert_uint_eq(values[k], 0);
	}
}
END_TEST

START_TEST(check_refuses)
{
	const struct amux_policy_ops *ops = policy_find("dynamic");
	uint64_t values[AMUX_POLICY_PARAMS];
	char err[256] = "";

	policy_defaults(ops, values);
	ck_assert_int_eq(policy_set_param(ops, values, "chunk", "5000", err, sizeof(err)), 0);
	ck_assert_int_eq(policy_check(ops, values, err, sizeof(err)), -EINVAL);
	ck_assert_str_eq(err,
			 "policy dynamic: chunk = 5000: expected a multiple of 4096 bytes");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("param");
	TCase *t = tcase_create("param");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, parse_good, 0, (int)(sizeof(good) / sizeof(good[0])));
	tcase_add_loop_test(t, parse_bad, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(t, parse_error_text);
	tcase_add_test(t, format_round_trip);
	tcase_add_loop_test(t, format_text, 0, (int)(sizeof(shown) / sizeof(shown[0])));
	tcase_add_test(t, find);
	tcase_add_loop_test(t, set_refused, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, set_every_param);
	tcase_add_test(t, defaults_hold);
	tcase_add_test(t, check_refuses);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
