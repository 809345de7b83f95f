// SPDX-License-Identifier: MIT
/*
 * test_metrics.c - the Prometheus text: well-formed whatever the counters are, and right.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "../../broker/metrics.h"
#include "fake_broker.h"

static struct broker b;
static struct metrics *m;
static char *text;

static void setup(void)
{
	fake_init(&b);
	text = NULL;
	ck_assert_int_eq(metrics_open(&m), 0);
}

static void teardown(void)
{
	free(text);
	metrics_close(m);
}

static void render(void)
{
	size_t len;

	free(text);
	text = metrics_text(m, &b, &len);
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq(strlen(text), len);
}

/* The number of a sample, written as "NAME{LABELS}"; NaN if there is none. */
static double value(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; (p = strstr(p, name)); p += len)
		if ((p == text || p[-1] == '\n') && p[len] == ' ')
			return strtod(p + len, NULL);
	return (double)NAN;
}

static void expect(const char *name, double want)
{
	double got = value(name);

	ck_assert_msg(fabs(got - want) < 1e-9 + fabs(want) * 1e-6, "%s is %g, not %g", name,
		      got, want);
}

/* A broker with everything in it. */
static void fill(void)
{
	strcpy(b.reverted, "dynamic: three plans over budget");
	b.kernel = true;
	b.trace = "paced";
	b.source = "replay:/tmp/\"odd\\name\"\n\xff";
	b.grant.flags = AMUX_GRANT_ENABLED;
	b.grant.written_ns = clock_ns() - 3 * NSEC_PER_SEC;
	b.demand.batches = 5;
	b.demand.engine_bytes = 1000000000;
	b.demand.cpu_bytes = 500000000;
	b.demand.batch_ns = 6000;
	b.demand.alone_ns = 3000;
	b.demand.cpu_ns = 12000;
	b.demand.cpu_time_ns = 2 * NSEC_PER_SEC;
	b.demand.declined_pages[AMUX_DECLINE_PACED] = 17;
	b.demand.reason_batches[AMUX_REASON_DEMOTION] = 5;
	b.demand.wait_hist[0] = 2;   /* below 128 ns */
	b.demand.wait_hist[12] = 3;  /* [1.024, 1.28) us */
	b.demand.wait_hist[127] = 4; /* beyond the last edge */
	b.demand.wait_ns = 77;
	b.users.engine_bytes = 500000000;
	b.users.borrowed_bytes = 1234;
	b.users.actual_ns = 10;
	b.users.alone_ns = 4;
	b.users.declined[DECLINE_ORDER] = 9;
	hist_add(&b.users.wait, 1024);
	hist_add(&b.users.wait, 1023);
	b.mux.cpu_ns = 1500000000;
	b.mux.plan_clamps = 3;
	hist_add(&b.mux.revoke, 100000);
	b.mux.revocations = 1;
	b.engines[1].busy_ns = 2500000001ull;
	b.engines[1].bytes[ENGINE_WQ_USER] = 4096;
	b.engines[1].full[ENGINE_WQ_KERNEL] = 6;
	b.engines[0].cpu_ns = 500000000;
	fake_tenant(&b, "web", 1, 100);
	fake_tenant(&b, "uid:1000", 3, 300);
	b.tenants[0].region_bytes = 8192;
}

START_TEST(values)
{
	fill();
	render();
	expect("accelmux_build_info{version=\"" AMUX_VERSION "\"}", 1);
	expect("accelmux_policy_info{node=\"0\",policy=\"partitioned\"}", 1);
	expect("accelmux_policy_reverted{node=\"0\"}", 1);
	expect("accelmux_class_requests_total{class=\"kernel\"}", 5);
	expect("accelmux_class_engine_bytes_total{class=\"kernel\"}", 1e9);
	expect("accelmux_class_cpu_bytes_total{class=\"kernel\"}", 5e8);
	expect("accelmux_class_slowdown_alone_ratio{class=\"kernel\"}", 2);
	expect("accelmux_class_slowdown_cpu_ratio{class=\"kernel\"}", 0.5);
	expect("accelmux_class_slowdown_alone_ratio{class=\"user\"}", 2.5);
	expect("accelmux_class_lent_bytes_total{class=\"kernel\"}", 1234);
	expect("accelmux_class_borrowed_bytes_total{class=\"user\"}", 1234);
	expect("accelmux_class_declines_total{class=\"user\",reason=\"order\"}", 9);
	expect("accelmux_class_actual_seconds_total{class=\"kernel\"}", 6e-6);
	/* Nothing predicted: no ratio instead of an invented one. */
	ck_assert(isnan(value("accelmux_class_slowdown_cpu_ratio{class=\"user\"}")));
	expect("accelmux_kernel_declined_pages_total{reason=\"paced\"}", 17);
	expect("accelmux_kernel_batches_total{reason=\"demotion\"}", 5);
	expect("accelmux_kernel_info{source=\"replay:/tmp/"
	       "\\\"odd\\\\name\\\"\\n?\",trace=\"paced\"}",
	       1);
	ck_assert(value("accelmux_grant_age_seconds") >= 3);
	ck_assert(value("accelmux_grant_age_seconds") < 60);
	ck_assert(value("accelmux_uptime_seconds") >= 10);
	expect("accelmux_engine_busy_seconds_total{device=\"soft0\",engine=\"1\"}",
	       2.500000001);
	expect("accelmux_engine_bytes_total{device=\"soft0\",engine=\"1\",wq=\"user\"}", 4096);
	expect("accelmux_engine_wq_full_total{device=\"soft0\",engine=\"1\",wq=\"kernel\"}", 6);
	expect("accelmux_tenant_memory_bytes{tenant=\"web\"}", 8192);
	expect("accelmux_tenant_engine_bytes_total{tenant=\"web\"}", 100);
	expect("accelmux_tenant_engine_bytes_total{tenant=\"uid:1000\"}", 300);
	expect("accelmux_plan_clamps_total{node=\"0\"}", 3);
	expect("accelmux_cpu_seconds_total{component=\"mux\"}", 1.5);
	expect("accelmux_cpu_seconds_total{component=\"kernel_copy\"}", 2);
	/* 4 s for 2 GB */
	expect("accelmux_cpu_seconds_per_gigabyte", 2);
	/* An inline engine's half second is in the mux thread's. */
	b.dev.caps = DEVICE_CAP_BLOCKING;
	render();
	expect("accelmux_cpu_seconds_total{component=\"engines\"}", 0);
	expect("accelmux_cpu_seconds_per_gigabyte", 1.75);
}
END_TEST

START_TEST(histograms)
{
	fill();
	render();
	expect("accelmux_class_wait_seconds_bucket{class=\"kernel\",le=\"1.024e-06\"}", 2);
	expect("accelmux_class_wait_seconds_bucket{class=\"kernel\",le=\"4.096e-06\"}", 5);
	expect("accelmux_class_wait_seconds_bucket{class=\"kernel\",le=\"4.294967296\"}", 5);
	expect("accelmux_class_wait_seconds_bucket{class=\"kernel\",le=\"+Inf\"}", 9);
	expect("accelmux_class_wait_seconds_count{class=\"kernel\"}", 9);
	expect("accelmux_class_wait_seconds_sum{class=\"kernel\"}", 77e-9);
	/* An edge belongs to the bucket above it. */
	expect("accelmux_class_wait_seconds_bucket{class=\"user\",le=\"1.024e-06\"}", 1);
	expect("accelmux_class_wait_seconds_bucket{class=\"user\",le=\"4.096e-06\"}", 2);
	expect("accelmux_revocation_seconds_count{node=\"0\"}", 1);
}
END_TEST

/* Windows are seconds long, but the first one ends with the first scrape: each case takes a
 * new struct metrics. */
START_TEST(fairness)
{
	render();
	expect("accelmux_fairness_jain_ratio", 1);
	metrics_close(m);
	ck_assert_int_eq(metrics_open(&m), 0);
	/* 100/1 and 300/3: fair by weight. */
	fake_tenant(&b, "a", 1, 100);
	fake_tenant(&b, "b", 3, 300);
	render();
	expect("accelmux_fairness_jain_ratio", 1);
	/* Inside the window: the last one's value, whatever happens meanwhile. */
	b.flows[0].engine_bytes += 1000000;
	render();
	expect("accelmux_fairness_jain_ratio", 1);
	metrics_close(m);
	ck_assert_int_eq(metrics_open(&m), 0);
	/* One has all: 1/n. An idle third does not count, a starved one does. */
	b.flows[0].engine_bytes = 1000;
	b.flows[1].engine_bytes = 0;
	b.tenants[1].queued_bytes = 1;
	fake_tenant(&b, "idle", 1, 0);
	render();
	expect("accelmux_fairness_jain_ratio", 0.5);
}
END_TEST

/* ------------------------------------------------------------------ the format */

struct format {
	char family[128]; /* of the last TYPE line */
	char kind[16];
	char done[200][128]; /* families finished */
	unsigned int n_done;
	unsigned int samples;
};

static bool name_of(const struct format *f, const char *sample)
{
	static const char *const suffixes[] = { "", "_bucket", "_sum", "_count" };
	char want[160];
	unsigned int n = strcmp(f->kind, "histogram") ? 1 : 4;

	for (unsigned int i = 0; i < n; i++) {
		snprintf(want, sizeof(want), "%s%s", f->family, suffixes[i]);
		if (!strcmp(want, sample))
			return true;
	}
	return false;
}

/* Judge one line by the rules of the text format 0.0.4. */
static void line(struct format *f, char *s)
{
	char name[128], *p, *end;

	if (sscanf(s, "# HELP %127s", name) == 1) {
		for (unsigned int i = 0; i < f->n_done; i++)
			ck_assert_msg(strcmp(f->done[i], name) != 0, "%s comes twice", name);
		ck_assert_uint_lt(f->n_done, 200);
		strcpy(f->done[f->n_done++], name);
		return;
	}
	if (sscanf(s, "# TYPE %127s %15s", f->family, f->kind) == 2) {
		ck_assert_str_eq(f->family, f->done[f->n_done - 1]);
		p = strstr(f->family, "_total");
		ck_assert_msg((p && !p[6]) == !strcmp(f->kind, "counter"), "%s: %s", f->family,
			      f->kind);
		return;
	}
	p = s + strspn(s, "abcdefghijklmnopqrstuvwxyz_");
	memcpy(name, s, (size_t)(p - s));
	name[p - s] = '\0';
	ck_assert_msg(name_of(f, name), "%s stands under %s", name, f->family);
	if (*p == '{') {
		bool quoted = false;

		for (p++; *p && (quoted || *p != '}'); p++) {
			if (*p == '\\' && quoted)
				p++;
			else if (*p == '"')
				quoted = !quoted;
		}
		ck_assert_msg(*p == '}', "%s", s);
		p++;
	}
	ck_assert_msg(*p == ' ', "%s", s);
	strtod(p + 1, &end);
	ck_assert_msg(end > p + 1 && !*end, "%s", s);
	f->samples++;
}

static void check_format(void)
{
	static struct format f;
	char *copy = strdup(text), *save = NULL;

	memset(&f, 0, sizeof(f));
	ck_assert_int_eq(copy[strlen(copy) - 1], '\n');
	for (char *s = strtok_r(copy, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
		line(&f, s);
	ck_assert_uint_gt(f.samples, 50);
	free(copy);
}

/* Prometheus' own judgement, where it is installed. */
static void check_promtool(void)
{
	FILE *f;

	if (system("command -v promtool >/dev/null"))
		return;
	f = popen("promtool check metrics >/dev/null", "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(pclose(f), 0);
}

START_TEST(format)
{
	render();
	check_format();
	check_promtool();
	fill();
	render();
	check_format();
	check_promtool();
	/* A kernel side that writes nonsense into its page costs nobody the scrape. */
	memset(&b.demand, 0xff, sizeof(b.demand));
	b.grant.written_ns = UINT64_MAX;
	render();
	check_format();
	check_promtool();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("metrics");
	TCase *t = tcase_create("metrics");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, values);
	tcase_add_test(t, histograms);
	tcase_add_test(t, fairness);
	tcase_add_test(t, format);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
