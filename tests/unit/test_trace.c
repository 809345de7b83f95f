// SPDX-License-Identifier: MIT
/*
 * test_trace.c - parsing of migration traces, its errors, the geometry of batches, and the
 * shape of the traces that are shipped.
 */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../broker/trace.h"

static char path[64];
static char err[256];
static struct trace t;

static void write_file(const char *text, size_t len)
{
	int fd;

	strcpy(path, "/tmp/amux-trace-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, text, len), (int)len);
	close(fd);
}

static int load_text(const char *text)
{
	int ret;

	write_file(text, strlen(text));
	ret = trace_load(&t, path, err, sizeof(err));
	unlink(path);
	return ret;
}

START_TEST(good)
{
	ck_assert_int_eq(load_text("# by hand\n\naccelmux-trace 1 recorded # there\n"
				   "0 mbind 512 0 7\n"
				   "  1000\tsyscall 1024 9 2 # two folios\n"
				   "1000 damon 1 0 1"),
			 0);
	ck_assert_int_eq(t.source, TRACE_RECORDED);
	ck_assert_uint_eq(t.n, 3);
	ck_assert_uint_eq(t.max_pages, 1024);
	ck_assert_uint_eq(t.period_ns, 1500);
	ck_assert_uint_eq(t.batch[0].reason, AMUX_REASON_MBIND);
	ck_assert_uint_eq(t.batch[0].runs, 7);
	ck_assert_uint_eq(t.batch[1].time_ns, 1000);
	ck_assert_uint_eq(t.batch[1].order, 9);
	ck_assert_uint_eq(t.batch[2].pages, 1);
	trace_free(&t);
	trace_free(&t);
}
END_TEST

#define HEAD "accelmux-trace 1 synthetic\n"

static const struct {
	const char *text, *where, *what;
} bad[] = {
	{ "", ":0: ", "expected a header" },
	{ "# nothing\n", ":1: ", "expected a header" },
	{ HEAD, ":1: ", "at least one batch" },
	{ "0 mbind 512 0 7\n", ":1: ", "header '0'" },
	{ "accelmux-trace 1\n", ":1: ", "header" },
	{ "accelmux-trace 1 synthetic x y z\n", ":1: ", "header" },
	{ "accelmux-trace 2 synthetic\n", ":1: ", "version '2': expected 1" },
	{ "accelmux-trace 1 real\n",
	  ":1: ", "provenance 'real': expected synthetic, recorded or paced" },
	{ HEAD "0 mbind 512 0\n", ":2: ", "4 fields: expected 5" },
	{ HEAD "0 mbind 512 0 1 9\n", ":2: ", "5 and more fields: expected 5" },
	{ HEAD "\n-1 mbind 512 0 1\n", ":3: ", "time '-1': expected a number from 0" },
	{ HEAD "1x mbind 512 0 1\n", ":2: ", "time '1x'" },
	{ HEAD "99999999999999999999999 mbind 1 0 1\n", ":2: ", "time '9999" },
	{ HEAD "21600000000001 mbind 1 0 1\n", ":2: ", "from 0 to 21600000000000" },
	{ HEAD "9 mbind 1 0 1\n8 mbind 1 0 1\n", ":3: ", "time '8': expected at least 9" },
	{ HEAD "0 swap 512 0 1\n", ":2: ", "reason 'swap': expected" },
	{ HEAD "0 mbind 512 3 1\n", ":2: ", "order '3': expected 0" },
	{ HEAD "0 mbind 0 0 1\n", ":2: ", "pages '0': expected a number from 1 to 512" },
	{ HEAD "0 mbind 513 0 1\n", ":2: ", "pages '513': expected a number from 1 to 512" },
	{ HEAD "0 mbind 4294967297 0 1\n", ":2: ", "pages '4294967297'" },
	{ HEAD "0 mbind 100 9 1\n",
	  ":2: ", "pages '100': expected a number from 512 to 262144" },
	{ HEAD "0 mbind 513 9 1\n", ":2: ", "expected a multiple of 512" },
	{ HEAD "0 mbind 262656 9 1\n", ":2: ", "pages '262656'" },
	{ HEAD "0 mbind 8 0 0\n", ":2: ", "runs '0': expected a number from 1 to 8" },
	{ HEAD "0 mbind 8 0 9\n", ":2: ", "runs '9': expected a number from 1 to 8" },
	{ HEAD "0 mbind 1024 9 3\n", ":2: ", "runs '3': expected a number from 1 to 2" },
	{ HEAD "0 \033[31m 1 0 1\n", ":2: ", "reason '?[31m'" },
};

START_TEST(errors)
{
	char prefix[80];

	ck_assert_int_eq(load_text(bad[_i].text), -EINVAL);
	snprintf(prefix, sizeof(prefix), "%s%s", path, bad[_i].where);
	ck_assert_msg(!strncmp(err, prefix, strlen(prefix)), "'%s' does not start with '%s'",
		      err, prefix);
	ck_assert_msg(strstr(err, bad[_i].what), "'%s' lacks '%s'", err, bad[_i].what);
	ck_assert_ptr_null(strchr(err, '\n'));
	ck_assert_ptr_null(t.batch);
}
END_TEST

START_TEST(odd_files)
{
	char longline[600];

	ck_assert_int_eq(trace_load(&t, "/nonexistent/x.trace", err, sizeof(err)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err, "/nonexistent/x.trace: No such file"));
	ck_assert_int_eq(trace_load(&t, "/tmp", err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "/tmp: expected a regular file"));

	strcpy(path, "/tmp/amux-fifo-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	strcat(path, "/f");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(trace_load(&t, path, err, sizeof(err)),
			 -EINVAL); /* and does not hang */
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);

	memset(longline, '7', sizeof(longline) - 1);
	longline[sizeof(longline) - 1] = '\0';
	ck_assert_int_eq(load_text(longline), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "expected lines of text"));
	write_file("accelmux-trace\0 1 synthetic\n0 mbind 1 0 1\n", 42);
	ck_assert_int_eq(trace_load(&t, path, err, sizeof(err)), -EINVAL);
	unlink(path);
}
END_TEST

START_TEST(too_many)
{
	FILE *f;

	write_file(HEAD, strlen(HEAD));
	f = fopen(path, "a");
	ck_assert_ptr_nonnull(f);
	for (unsigned int i = 0; i <= TRACE_BATCHES; i++)
		fputs("0 mbind 1 0 1\n", f);
	fclose(f);
	ck_assert_int_eq(trace_load(&t, path, err, sizeof(err)), -EINVAL);
	unlink(path);
	ck_assert_ptr_nonnull(strstr(err, "more than 1048576 batches"));
}
END_TEST

/* Cut @b into pieces of at most @max pages: every page once, each to a place of its own. */
static bool covers(const struct trace_batch *b, uint32_t max)
{
	uint8_t src[TRACE_FOLIOS_MAX] = { 0 }, dst[TRACE_FOLIOS_MAX] = { 0 };
	struct trace_cursor c;
	uint32_t n = 0, p, d;

	trace_cursor_start(&c, b);
	while (c.page < b->pages) {
		uint32_t k = trace_cursor_take(&c, b, max, &p, &d);

		if (k < 1 || k > max || p + k > b->pages || d + k > b->pages)
			return false;
		while (k--)
			if (src[p + k]++ || dst[d + k]++)
				return false;
		n++;
	}
	return c.page == b->pages && n == trace_pieces(b, max) && n >= b->runs &&
	       !memchr(src, 0, b->pages) && !memchr(dst, 0, b->pages);
}

START_TEST(geometry)
{
	unsigned int tried = 0;

	for (uint32_t pages = 1; pages <= TRACE_FOLIOS_MAX; pages += pages < 20 ? 1 : 41) {
		for (uint32_t runs = 1; runs <= pages; runs += runs < 9 ? 1 : 67) {
			struct trace_batch b = { .pages = pages, .runs = (uint16_t)runs };

			for (uint32_t max = 1; max < 600; max = max * 3 + 1, tried++)
				if (!covers(&b, max))
					ck_abort_msg("%u pages, %u runs, pieces of %u", pages,
						     runs, max);
		}
	}
	ck_assert_uint_gt(tried, 1000);
}
END_TEST

/* ---------------------------------------------------------------- making traces */

static const struct {
	const char *line;
	enum trace_line is;
	struct trace_event e;
	uint64_t lost;
} lines[] = {
	{ "         migload-123     [001] .....   12.345678: accelmux_batch: arrival_ns=12345 "
	  "reason=mbind folios=512 pages=512 runs=7 engine=0 cpu=512 stuck=0 wait_ns=0 "
	  "copy_ns=9",
	  TRACE_LINE_BATCH,
	  { 12345, 512, 512, 7, AMUX_REASON_MBIND },
	  0 },
	/* A task may be called anything, and other modules have other reasons. */
	{ "a pages=9 reason=x-1 [0] ..... 1.0: accelmux_batch: arrival_ns=0 reason=other "
	  "folios=1 "
	  "pages=512 runs=1",
	  TRACE_LINE_BATCH,
	  { 0, 1, 512, 1, AMUX_REASON_COUNT },
	  0 },
	{ "CPU:1 [LOST 77 EVENTS]", TRACE_LINE_LOST, { 0 }, 77 },
	{ "CPU:0 [LOST EVENTS]", TRACE_LINE_LOST, { 0 }, 1 },
	{ "", TRACE_LINE_OTHER, { 0 }, 0 },
	{ "# tracer: nop", TRACE_LINE_OTHER, { 0 }, 0 },
	{ "x-1 [000] ..... 1.0: sched_switch: prev_comm=y", TRACE_LINE_OTHER, { 0 }, 0 },
#define START "x-1 [000] ..... 1.0: accelmux_batch: "
	{ START, TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=1 reason=mbind folios=512 pages=512", TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=1 reason=mbind folios=513 pages=513 runs=1",
	  TRACE_LINE_BAD,
	  { 0 },
	  0 },
	{ START "arrival_ns=1 reason=mbind folios=2 pages=1 runs=1", TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=1 reason=mbind folios=2 pages=2 runs=3", TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=1 reason=mbind folios=2 pages=2 runs=0", TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=-1 reason=mbind folios=2 pages=2 runs=1",
	  TRACE_LINE_BAD,
	  { 0 },
	  0 },
	{ START "arrival_ns=1 folios=2 pages=2 runs=1", TRACE_LINE_BAD, { 0 }, 0 },
	{ START "arrival_ns=99999999999999999999 reason=mbind folios=2 pages=2 runs=1",
	  TRACE_LINE_BAD,
	  { 0 },
	  0 },
};

START_TEST(events)
{
	const struct trace_event *want = &lines[_i].e;
	struct trace_event e = { 0 };
	uint64_t lost = 0;

	ck_assert_int_eq(trace_event_parse(lines[_i].line, &e, &lost), lines[_i].is);
	ck_assert_uint_eq(lost, lines[_i].lost);
	if (lines[_i].is != TRACE_LINE_BATCH)
		return;
	ck_assert_uint_eq(e.arrival_ns, want->arrival_ns);
	ck_assert_uint_eq(e.folios, want->folios);
	ck_assert_uint_eq(e.pages, want->pages);
	ck_assert_uint_eq(e.runs, want->runs);
	ck_assert_uint_eq(e.reason, want->reason);
}
END_TEST

/* Every event becomes batches that the reader takes, with all of its pages. */
START_TEST(event_orders)
{
	static const struct {
		uint32_t folios, pages, runs;
		struct trace_batch first, second;
		uint32_t n;
	} cases[] = {
		{ 5, 5, 2, { .pages = 5, .runs = 2 }, { 0 }, 1 },
		{ 3, 1536, 3, { .pages = 1536, .runs = 3, .order = 9 }, { 0 }, 1 },
		{ 12,
		  10 + 1024,
		  7,
		  { .pages = 1024, .runs = 2, .order = 9 },
		  { .pages = 10, .runs = 5 },
		  2 },
		{ 12,
		  10 + 1024,
		  1,
		  { .pages = 1024, .runs = 1, .order = 9 },
		  { .pages = 10, .runs = 1 },
		  2 },
		{ 1, 262144, 1, { .pages = 262144, .runs = 1, .order = 9 }, { 0 }, 1 },
		/* 16 KiB each */
		{ 20, 80, 20, { .pages = 80, .runs = 20 }, { 0 }, 1 },
		{ 512,
		  2048,
		  256,
		  { .pages = 512, .runs = 64 },
		  { .pages = 512, .runs = 64 },
		  4 },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trace_event e = { 7, cases[i].folios, cases[i].pages, cases[i].runs,
					 AMUX_REASON_DAMON };
		const struct trace_batch *want[] = { &cases[i].first, &cases[i].second };
		struct trace made = { 0 };
		uint32_t pages = 0;

		ck_assert_int_eq(trace_event_add(&made, &e), 0);
		ck_assert_uint_eq(made.n, cases[i].n);
		for (uint32_t k = 0; k < made.n; k++) {
			pages += made.batch[k].pages;
			ck_assert_uint_eq(made.batch[k].time_ns, 7);
			ck_assert_uint_eq(made.batch[k].reason, AMUX_REASON_DAMON);
			if (k > 1)
				continue;
			ck_assert_uint_eq(made.batch[k].pages, want[k]->pages);
			ck_assert_uint_eq(made.batch[k].runs, want[k]->runs);
			ck_assert_uint_eq(made.batch[k].order, want[k]->order);
		}
		ck_assert_uint_eq(pages, cases[i].pages);
		trace_free(&made);
	}
}
END_TEST

static void save_and_load(const struct trace *made)
{
	FILE *f;

	write_file("", 0);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(trace_write(made, f, "# a note\n"), 0);
	fclose(f);
	ck_assert_msg(!trace_load(&t, path, err, sizeof(err)), "%s", err);
	unlink(path);
	ck_assert_int_eq(t.source, made->source);
	ck_assert_uint_eq(t.n, made->n);
	ck_assert_int_eq(memcmp(t.batch, made->batch, made->n * sizeof(*made->batch)), 0);
	trace_free(&t);
}

/* Any events at all, in any order: what is written can be read, and is the same. */
START_TEST(any_events)
{
	struct trace made = { .source = TRACE_RECORDED };

	srand(7);
	for (unsigned int i = 0; i < 60; i++) {
		struct trace_event e = { .arrival_ns = 1000000u + (unsigned int)rand() % 5000 };

		e.folios = 1 + (uint32_t)rand() % 512;
		e.pages = e.folios + (uint32_t)rand() % (e.folios * 511 + 1);
		e.runs = 1 + (uint32_t)rand() % e.folios;
		e.reason = (uint8_t)((uint32_t)rand() % AMUX_REASON_COUNT);
		ck_assert_int_eq(trace_event_add(&made, &e), 0);
	}
	trace_sort(&made);
	ck_assert_uint_eq(made.batch[0].time_ns, 0);
	save_and_load(&made);
	ck_assert_int_eq(trace_pace(&made, 5000000000, 1), 0);
	made.source = TRACE_PACED;
	save_and_load(&made);
	trace_free(&made);
}
END_TEST

START_TEST(sorted_is_stable)
{
	struct trace made = { 0 };
	static const uint64_t times[] = { 50, 40, 50, 40, 90, 10, 10 };
	static const uint32_t want[] = { 6, 7, 2, 4, 1, 3, 5 };

	for (uint32_t i = 0; i < 7; i++) {
		struct trace_batch b = { .time_ns = times[i], .pages = i + 1, .runs = 1 };

		ck_assert_int_eq(trace_add(&made, &b), 0);
	}
	trace_sort(&made);
	for (uint32_t i = 0; i < 7; i++)
		ck_assert_uint_eq(made.batch[i].pages, want[i]);
	ck_assert_uint_eq(made.batch[6].time_ns, 80);
	trace_free(&made);
}
END_TEST

START_TEST(paced)
{
	struct trace made = { 0 };
	struct trace_batch b = { .pages = 512, .runs = 1 };
	uint64_t before = 0;

	for (unsigned int i = 0; i < 2000; i++)
		ck_assert_int_eq(trace_add(&made, &b), 0);
	ck_assert_int_eq(trace_pace(&made, 2097152000, 9), 0); /* 1 ms each */
	for (uint32_t i = 1; i < made.n; i++) {
		uint64_t gap = made.batch[i].time_ns - before;

		before = made.batch[i].time_ns;
		ck_assert_msg(gap >= 500000 && gap <= 1500000, "%u after %llu", i,
			      (unsigned long long)gap);
	}
	ck_assert_uint_gt(before, 1900000000);
	ck_assert_uint_lt(before, 2100000000);
	ck_assert_int_eq(trace_pace(&made, 1, 9), -ERANGE);
	trace_free(&made);
}
END_TEST

/* ------------------------------------------------------------- shipped traces */

/* tests/traces, seen from this file. */
static const char *traces_dir(void)
{
	static char dir[256];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", __FILE__);
	slash = strrchr(dir, '/');
	snprintf(slash, sizeof(dir) - (size_t)(slash - dir), "/../traces");
	return dir;
}

static const struct {
	const char *name;
	enum trace_source source;
} shipped[] = {
	{ "mbind", TRACE_PACED }, { "syscall", TRACE_PACED },	{ "compaction", TRACE_PACED },
	{ "damon", TRACE_PACED }, { "demotion", TRACE_PACED },	{ "thp", TRACE_PACED },
	{ "mixed", TRACE_PACED }, { "burst", TRACE_SYNTHETIC },
};

static void load_shipped(const char *name)
{
	char file[300];
	struct stat st;

	snprintf(file, sizeof(file), "%s/%s.trace", traces_dir(), name);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_int_lt((int)st.st_size, 100000);
	ck_assert_msg(!trace_load(&t, file, err, sizeof(err)), "%s", err);
}

START_TEST(shipped_say_what_they_are)
{
	load_shipped(shipped[_i].name);
	ck_assert_int_eq(t.source, shipped[_i].source);
	ck_assert_uint_ge(t.n, 100);
	trace_free(&t);
}
END_TEST

/* Percent of the pages that lie in batches of @lo to @hi pages, of @order. */
static unsigned int percent(uint32_t lo, uint32_t hi, unsigned int order)
{
	uint64_t all = 0, some = 0;

	for (uint32_t i = 0; i < t.n; i++) {
		const struct trace_batch *b = &t.batch[i];

		all += b->pages;
		if (b->pages >= lo && b->pages <= hi && b->order == order)
			some += b->pages;
	}
	return (unsigned int)(100 * some / all);
}

static unsigned int runs_percent(void)
{
	uint64_t folios = 0, runs = 0;

	for (uint32_t i = 0; i < t.n; i++) {
		folios += t.batch[i].pages >> t.batch[i].order;
		runs += t.batch[i].runs;
	}
	return (unsigned int)(100 * runs / folios);
}

/* The table of shipped traces in docs/kernel-replay.md. */
START_TEST(shipped_have_the_shape_seen)
{
	bool reason[AMUX_REASON_COUNT] = { false };
	uint64_t bytes = 0;

	load_shipped("mbind");
	ck_assert_uint_ge(percent(512, 512, 0), 90);
	ck_assert_uint_lt(runs_percent(), 50);
	trace_free(&t);
	load_shipped("syscall");
	ck_assert_uint_ge(percent(512, 512, 0), 90);
	trace_free(&t);
	load_shipped("compaction");
	ck_assert_uint_ge(percent(32, 512, 0), 90);
	ck_assert_uint_gt(runs_percent(), 90);
	trace_free(&t);
	load_shipped("damon");
	ck_assert_uint_ge(percent(128, 512, 0), 90);
	ck_assert_uint_gt(runs_percent(), 90);
	trace_free(&t);
	load_shipped("demotion");
	ck_assert_uint_ge(percent(1, 127, 0), 95);
	trace_free(&t);
	load_shipped("thp");
	ck_assert_uint_eq(percent(512, 512 * 512, 9), 100);
	trace_free(&t);

	load_shipped("mixed"); /* about 10 GB/s */
	for (uint32_t i = 0; i < t.n; i++) {
		bytes += t.batch[i].pages * 4096ull;
		reason[t.batch[i].reason] = true;
	}
	ck_assert_uint_gt(bytes, t.period_ns * 9);
	ck_assert_uint_lt(bytes, t.period_ns * 11);
	ck_assert_uint_gt(t.period_ns, 250000000);
	ck_assert_uint_lt(t.period_ns, 500000000);
	ck_assert(reason[AMUX_REASON_MBIND] && reason[AMUX_REASON_SYSCALL]);
	ck_assert(reason[AMUX_REASON_COMPACTION] && reason[AMUX_REASON_DAMON]);
	ck_assert(reason[AMUX_REASON_DEMOTION] && reason[AMUX_REASON_NUMA_MISPLACED]);
	trace_free(&t);
}
END_TEST

/* A program of the build that this one belongs to. */
static void build_path(char *buf, size_t len, const char *name)
{
	ssize_t n = readlink("/proc/self/exe", buf, len - 1);

	ck_assert_int_gt((int)n, 0);
	buf[n] = '\0';
	for (int up = 0; up < 2; up++)
		*strrchr(buf, '/') = '\0';
	ck_assert_uint_lt(strlen(buf) + strlen(name) + 2, len);
	strcat(buf, "/");
	strcat(buf, name);
}

/* generate.sh makes the files that are shipped, byte by byte, with this host's awk and our
 * command. */
START_TEST(generator_reproduces)
{
	char dir[] = "/tmp/amux-traces-XXXXXX", cmd[1200], command[300];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	build_path(command, sizeof(command), "accelmux");
	snprintf(cmd, sizeof(cmd),
		 "ACCELMUX=%s %s/generate.sh %s && for f in %s/*.trace; do cmp $f %s/${f##*/} "
		 "|| exit 1; "
		 "done",
		 command, traces_dir(), dir, traces_dir(), dir);
	ck_assert_int_eq(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trace");
	TCase *tc = tcase_create("trace");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, good);
	tcase_add_loop_test(tc, errors, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, odd_files);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, geometry);
	tcase_add_loop_test(tc, events, 0, (int)(sizeof(lines) / sizeof(lines[0])));
	tcase_add_test(tc, event_orders);
	tcase_add_test(tc, any_events);
	tcase_add_test(tc, sorted_is_stable);
	tcase_add_test(tc, paced);
	tcase_add_loop_test(tc, shipped_say_what_they_are, 0,
			    (int)(sizeof(shipped) / sizeof(shipped[0])));
	tcase_add_test(tc, shipped_have_the_shape_seen);
	tcase_add_test(tc, generator_reproduces);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
