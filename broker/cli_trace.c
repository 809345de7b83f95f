// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_trace.c - migration traces: record them from the kernel module's tracepoint, show them,
 * give them other times.  None of it needs a broker.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "trace.h"

#define TRACEFS	  "/sys/kernel/tracing"
#define EVENT	  "events/accelmux/accelmux_batch"
#define BUFFER_KB "2048" /* per CPU: some 20,000 batches between two looks at it */
#define LOOK_NS	  50000000
#define RATE_MAX  1000000000000ull
#define SIZES	  20 /* powers of two of pages, up to 512 folios of 512 */

/* ----------------------------------------------------------------- arguments */

enum { RECORD = 1, SHOW = 2, PACE = 4 };

struct args {
	const char *what; /* of the command, for complaints */
	const char *file[2];
	unsigned int files;
	uint64_t time_ns, max, bps, seed;
	bool force;
};

static int set_option(struct args *a, const char *key, const char *value)
{
	if (!strcmp(key, "--time")) {
		if (!cli_parse_time(value, &a->time_ns) || !a->time_ns ||
		    a->time_ns > TRACE_TIME_MAX_NS)
			return cli_fail(CLI_USAGE,
					"%s: --time '%s': expected up to 21600s, such as 500ms "
					"or 10s",
					a->what, value);
	} else if (!strcmp(key, "--max")) {
		if (!cli_parse_bytes(value, &a->max) || !a->max || a->max > TRACE_BATCHES)
			return cli_fail(CLI_USAGE, "%s: --max '%s': expected 1 to %u batches",
					a->what, value, TRACE_BATCHES);
	} else if (!strcmp(key, "--rate")) {
		if (!cli_parse_rate(value, &a->bps) || a->bps < 1000000 || a->bps > RATE_MAX)
			return cli_fail(CLI_USAGE,
					"%s: --rate '%s': expected 1M to 1000G bytes/s, such "
					"as 5G",
					a->what, value);
	} else if (!cli_parse_bytes(value, &a->seed) || a->seed > UINT32_MAX) {
		return cli_fail(CLI_USAGE, "%s: --seed '%s': expected 0 to %u", a->what, value,
				UINT32_MAX);
	}
	return CLI_OK;
}

static int parse_args(struct args *a, const struct cli *cli, unsigned int command,
		      unsigned int files)
{
	static const struct {
		const char *key;
		unsigned int commands;
		bool value;
	} options[] = {
		{ "--time", RECORD, true },
		{ "--max", RECORD, true },
		{ "--rate", PACE, true },
		{ "--seed", PACE, true },
		{ "--force", RECORD | PACE, false },
	};
	static const char *const expected[] = {
		[RECORD] = "FILE, --time, --max, --force",
		[SHOW] = "FILE",
		[PACE] = "IN OUT, --rate, --seed, --force",
	};

	for (int i = 2; i < cli->argc; i++) {
		char *arg = cli->argv[i], *eq = strchr(arg, '=');
		size_t at, n = sizeof(options) / sizeof(options[0]);
		int code;

		if (strncmp(arg, "--", 2)) {
			if (a->files == files)
				return cli_fail(CLI_USAGE, "%s: '%s': expected %s", a->what,
						arg, expected[command]);
			a->file[a->files++] = arg;
			continue;
		}
		if (eq)
			*eq = '\0';
		for (at = 0; at < n; at++)
			if (options[at].commands & command && !strcmp(arg, options[at].key))
				break;
		if (at == n || (eq && !options[at].value))
			return cli_fail(CLI_USAGE, "%s: '%s': expected %s", a->what, arg,
					expected[command]);
		if (!options[at].value) {
			a->force = true;
			continue;
		}
		code = set_option(a, arg,
				  eq		      ? eq + 1
				  : i + 1 < cli->argc ? cli->argv[++i]
						      : "");
		if (code)
			return code;
	}
	if (a->files < files)
		return cli_fail(CLI_USAGE, "%s: expected %s", a->what, expected[command]);
	if (command == PACE && !a->bps)
		return cli_fail(CLI_USAGE, "%s: expected --rate, such as --rate 5G", a->what);
	return CLI_OK;
}

/* ---------------------------------------------------------------------- file */

/* Where a trace will be written: known to be possible before any work is done. */
struct output {
	const char *path;
	int fd;
	bool ours; /* made by us: goes again if nothing comes of it */
};

static int output_open(struct output *out, const char *path, const struct args *a)
{
	out->path = path;
	out->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	out->ours = out->fd >= 0;
	if (out->fd < 0 && errno == EEXIST && a->force)
		out->fd = open(path, O_WRONLY | O_CLOEXEC);
	if (out->fd < 0 && errno == EEXIST)
		return cli_fail(CLI_FAILED, "%s: %s: exists; expected a new file, or --force",
				a->what, path);
	if (out->fd < 0)
		return cli_fail(CLI_FAILED, "%s: %s: %s", a->what, path, strerror(errno));
	return CLI_OK;
}

static void output_drop(struct output *out)
{
	if (out->ours)
		unlink(out->path);
	close(out->fd);
}

static int output_write(struct output *out, const struct args *a, const struct trace *t,
			const char *notes)
{
	FILE *f = fdopen(out->fd, "w");
	int ret = f ? 0 : -errno;

	/* EINVAL: no regular file, there is nothing to cut off. */
	if (!ret && ftruncate(out->fd, 0) && errno != EINVAL)
		ret = -errno;
	if (!ret)
		ret = trace_write(t, f, notes);
	if ((f ? fclose(f) : close(out->fd)) && (!ret || ret == -EIO))
		ret = -errno;
	if (!ret)
		return CLI_OK;
	if (out->ours)
		unlink(out->path);
	return cli_fail(CLI_FAILED, "%s: %s: %s", a->what, out->path, strerror(-ret));
}

/* -------------------------------------------------------------------- record */

struct recorder {
	const struct args *args;
	struct trace trace;
	uint64_t pages;
	uint64_t lost, foreign, bad;
	bool full;
	char dir[96]; /* of the tracefs instance */
	int pipe;
	char buf[65536];
	size_t len;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int instance_write(const struct recorder *r, const char *name, const char *text)
{
	char path[192];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int instance_fail(const struct recorder *r, const char *name, int err)
{
	return cli_fail(CLI_FAILED, "%s: %s/%s: %s", r->args->what, r->dir, name,
			strerror(-err));
}

static int kernel_ready(const struct args *a)
{
	if (access(TRACEFS "/instances", W_OK | X_OK)) {
		if (errno == ENOENT)
			return cli_fail(CLI_FAILED,
					"%s: " TRACEFS
					": no tracefs there; expected one (mount "
					"-t tracefs tracefs " TRACEFS ")",
					a->what);
		if (errno == EACCES || errno == EPERM)
			return cli_fail(CLI_FAILED,
					"%s: " TRACEFS ": expected to be run by root", a->what);
		return cli_fail(CLI_FAILED, "%s: " TRACEFS "/instances: %s", a->what,
				strerror(errno));
	}
	if (access(TRACEFS "/" EVENT, F_OK))
		return cli_fail(CLI_FAILED,
				"%s: " TRACEFS "/" EVENT ": no such event; expected the kernel "
				"module accelmux to be loaded",
				a->what);
	return CLI_OK;
}

/* An instance of our own: nobody else's tracing is touched. */
static int instance_open(struct recorder *r)
{
	char path[192];
	int ret;

	snprintf(r->dir, sizeof(r->dir), TRACEFS "/instances/accelmux-%d", (int)getpid());
	if (mkdir(r->dir, 0700))
		return cli_fail(CLI_FAILED, "%s: %s: %s", r->args->what, r->dir,
				strerror(errno));
	r->pipe = -1;
	ret = instance_write(r, "buffer_size_kb", BUFFER_KB);
	if (ret)
		return instance_fail(r, "buffer_size_kb", ret);
	snprintf(path, sizeof(path), "%s/trace_pipe", r->dir);
	r->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (r->pipe < 0)
		return instance_fail(r, "trace_pipe", -errno);
	ret = instance_write(r, EVENT "/enable", "1");
	return ret ? instance_fail(r, EVENT "/enable", ret) : CLI_OK;
}

static void instance_close(struct recorder *r)
{
	if (r->pipe >= 0)
		close(r->pipe);
	/* A reader that came along keeps it busy: give him a second. */
	for (int i = 0; rmdir(r->dir) && errno == EBUSY && i < 100; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

/* What the ring buffers say that they could not keep. */
static uint64_t instance_lost(const struct recorder *r)
{
	static const char *const what[] = { "overrun: %llu", "commit overrun: %llu",
					    "dropped events: %llu" };
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t lost = 0;

	for (long cpu = 0; cpu < cpus; cpu++) {
		char path[192], line[128];
		unsigned long long n;
		FILE *f;

		snprintf(path, sizeof(path), "%s/per_cpu/cpu%ld/stats", r->dir, cpu);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			for (unsigned int i = 0; i < sizeof(what) / sizeof(what[0]); i++)
				if (sscanf(line, what[i], &n) == 1)
					lost += n;
		if (f)
			fclose(f);
	}
	return lost;
}

static int record_line(struct recorder *r, const char *line)
{
	struct trace_event e;
	uint64_t lost;
	int ret = 0;

	switch (trace_event_parse(line, &e, &lost)) {
	case TRACE_LINE_LOST:
		r->lost += lost;
		break;
	case TRACE_LINE_BAD:
		r->bad++;
		break;
	case TRACE_LINE_BATCH:
		if (e.reason >= AMUX_REASON_COUNT) {
			r->foreign++;
			break;
		}
		if (r->trace.n < r->args->max)
			ret = trace_event_add(&r->trace, &e);
		r->full = r->trace.n >= r->args->max || ret == -E2BIG;
		break;
	case TRACE_LINE_OTHER:
		break;
	}
	return ret == -E2BIG ? 0 : ret;
}

/* Whatever the pipe has now.  0 or -errno. */
static int record_read(struct recorder *r)
{
	while (!r->full) {
		ssize_t n = read(r->pipe, r->buf + r->len, sizeof(r->buf) - 1 - r->len);
		char *line = r->buf, *end;
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n || errno == EAGAIN ? 0 : -errno;
		r->len += (size_t)n;
		r->buf[r->len] = '\0';
		/* A NUL within would hide the rest of its line, no more. */
		while ((end = memchr(line, '\n', r->len - (size_t)(line - r->buf)))) {
			*end = '\0';
			ret = record_line(r, line);
			if (ret)
				return ret;
			line = end + 1;
		}
		r->len -= (size_t)(line - r->buf);
		memmove(r->buf, line, r->len);
		if (r->len == sizeof(r->buf) - 1)
			r->len = 0; /* a line that long is none of ours */
	}
	return 0;
}

static int record_run(struct recorder *r)
{
	uint64_t end = clock_ns() + r->args->time_ns;
	int ret = 0;

	while (!ret && !stopped && !r->full && clock_ns() < end) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
		ret = record_read(r);
	}
	/* From now on nothing comes; what has come is taken. */
	instance_write(r, EVENT "/enable", "0");
	if (!ret)
		ret = record_read(r);
	if (ret)
		return instance_fail(r, "trace_pipe", ret);
	return CLI_OK;
}

static void record_notes(const struct recorder *r, FILE *f)
{
	time_t now = time(NULL);
	struct utsname u;
	struct tm tm;
	char date[32] = "?";

	if (gmtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(f, "# recorded on Linux %.64s, %s\n", uname(&u) ? "?" : u.release, date);
	if (r->foreign)
		fprintf(f, "# left out: %llu batches of reasons that have no name here\n",
			(unsigned long long)r->foreign);
	if (r->lost)
		fprintf(f, "# incomplete: %llu batches were lost\n",
			(unsigned long long)r->lost);
}

static int record_result(const struct recorder *r, const struct cli *cli)
{
	const struct args *a = r->args;
	unsigned long long batches = r->trace.n, pages = r->pages;
	uint64_t ns = r->trace.batch[r->trace.n - 1].time_ns;
	char buf[CLI_CELL];
	int code = CLI_OK;

	if (cli->json) {
		json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "file", a->file[0],
				      "batches", (json_int_t)batches, "pages",
				      (json_int_t)pages, "duration_ns", (json_int_t)ns, "lost",
				      (json_int_t)r->lost, "left_out", (json_int_t)r->foreign);

		code = cli_print_json(o);
		json_decref(o);
	} else {
		printf("%s: %llu batches, %llu pages in %s, %llu lost\n", a->file[0], batches,
		       pages, cli_time(buf, ns), (unsigned long long)r->lost);
		if (r->foreign)
			printf("%llu batches of reasons that have no name here were left out\n",
			       (unsigned long long)r->foreign);
	}
	if (r->lost)
		return cli_fail(CLI_FAILED, "%s: %s: %llu batches were lost; expected none",
				a->what, a->file[0], (unsigned long long)r->lost);
	return code;
}

static int record_save(struct recorder *r, struct output *out)
{
	char *notes = NULL;
	size_t size;
	FILE *f;
	int code;

	trace_sort(&r->trace);
	while (r->trace.n && r->trace.batch[r->trace.n - 1].time_ns > TRACE_TIME_MAX_NS)
		r->trace.n--;
	if (r->bad) {
		output_drop(out);
		return cli_fail(
			CLI_FAILED,
			"%s: %llu events make no sense; expected a module of version %s",
			r->args->what, (unsigned long long)r->bad, AMUX_VERSION);
	}
	if (!r->trace.n) {
		output_drop(out);
		return cli_fail(CLI_FAILED, "%s: no batch came; expected at least one",
				r->args->what);
	}
	r->trace.source = TRACE_RECORDED;
	for (uint32_t i = 0; i < r->trace.n; i++)
		r->pages += r->trace.batch[i].pages;
	f = open_memstream(&notes, &size);
	if (f) {
		record_notes(r, f);
		fclose(f);
	}
	code = output_write(out, r->args, &r->trace, notes ? notes : "");
	free(notes);
	return code;
}

static int trace_record(const struct cli *cli)
{
	struct args a = { .what = "trace record",
			  .time_ns = 10 * NSEC_PER_SEC,
			  .max = TRACE_BATCHES };
	struct sigaction sa = { .sa_handler = on_signal };
	struct recorder *r;
	struct output out;
	uint64_t lost;
	int code;

	code = parse_args(&a, cli, RECORD, 1);
	if (!code)
		code = kernel_ready(&a);
	if (!code)
		code = output_open(&out, a.file[0], &a);
	if (code)
		return code;
	r = calloc(1, sizeof(*r));
	if (!r) {
		output_drop(&out);
		return cli_fail(CLI_FAILED, "%s: %s", a.what, strerror(ENOMEM));
	}
	r->args = &a;
	r->pipe = -1;
	/* Before there is anything that would be left behind. */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	code = instance_open(r);
	if (!code)
		code = record_run(r);
	/* Both tell of the same losses, and neither of all. */
	lost = instance_lost(r);
	if (lost > r->lost)
		r->lost = lost;
	instance_close(r);
	if (code)
		output_drop(&out);
	else
		code = record_save(r, &out);
	if (!code)
		code = record_result(r, cli);
	trace_free(&r->trace);
	free(r);
	return code;
}

/* ---------------------------------------------------------------------- show */

struct tally {
	uint64_t batches, pages, folios, runs;
};

struct summary {
	struct tally all, reason[AMUX_REASON_COUNT];
	uint64_t sizes[SIZES];
	uint64_t bps;
};

static void tally_add(struct tally *t, const struct trace_batch *b)
{
	t->batches++;
	t->pages += b->pages;
	t->folios += b->pages >> b->order;
	t->runs += b->runs;
}

static void summarize(const struct trace *t, struct summary *s)
{
	memset(s, 0, sizeof(*s));
	for (uint32_t i = 0; i < t->n; i++) {
		const struct trace_batch *b = &t->batch[i];

		tally_add(&s->all, b);
		tally_add(&s->reason[b->reason], b);
		s->sizes[31 - __builtin_clz(b->pages)]++;
	}
	if (t->period_ns)
		s->bps = (uint64_t)((double)s->all.pages * 4096e9 / (double)t->period_ns);
}

static json_t *tally_json(const struct tally *t)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "batches", (json_int_t)t->batches, "pages",
			 (json_int_t)t->pages, "folios", (json_int_t)t->folios, "runs",
			 (json_int_t)t->runs);
}

static int show_json(const struct args *a, const struct trace *t, const struct summary *s)
{
	json_t *o = tally_json(&s->all), *reasons = json_object(), *sizes = json_array();
	int code;

	json_object_set_new(o, "file", json_string(a->file[0]));
	json_object_set_new(o, "provenance", json_string(trace_sources[t->source]));
	json_object_set_new(o, "duration_ns", json_integer((json_int_t)t->period_ns));
	json_object_set_new(o, "bytes_per_s", json_integer((json_int_t)s->bps));
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++)
		if (s->reason[i].batches)
			json_object_set_new(reasons, trace_reasons[i],
					    tally_json(&s->reason[i]));
	json_object_set_new(o, "reasons", reasons);
	for (unsigned int i = 0; i < SIZES; i++)
		if (s->sizes[i])
			json_array_append_new(sizes,
					      json_pack("{s:i, s:i, s:I}", "pages_min", 1 << i,
							"pages_max", (2 << i) - 1, "batches",
							(json_int_t)s->sizes[i]));
	json_object_set_new(o, "sizes", sizes);
	code = cli_print_json(o);
	json_decref(o);
	return code;
}

static void tally_row(struct cli_table *table, const char *name, const struct tally *t)
{
	cli_cell(table, "%s", name);
	cli_cell(table, "%llu", (unsigned long long)t->batches);
	cli_cell(table, "%llu", (unsigned long long)t->pages);
	cli_cell(table, "%.0f", (double)t->pages / (double)t->batches);
	cli_cell(table, "%.2f", (double)t->runs / (double)t->folios);
}

static void show_text(const struct args *a, const struct trace *t, const struct summary *s)
{
	static const char *const meaning[TRACE_SOURCES] = {
		[TRACE_SYNTHETIC] = "made up",
		[TRACE_RECORDED] = "on a host, by the kernel module",
		[TRACE_PACED] = "recorded on a host, but the times are made up",
	};
	static const char *const head[] = { "REASON", "BATCHES", "PAGES", "MEAN",
					    "RUNS/FOLIO" };
	struct cli_table *table;
	char buf[CLI_CELL];

	printf("Trace        %s\n", a->file[0]);
	printf("Provenance   %s (%s)\n", trace_sources[t->source], meaning[t->source]);
	printf("Duration     %s, mean %s\n", cli_time(buf, t->period_ns),
	       cli_rate((char[CLI_CELL]){ 0 }, s->bps));
	printf("Batches      %llu of %llu pages\n\n", (unsigned long long)s->all.batches,
	       (unsigned long long)s->all.pages);
	table = cli_table("lrrrr");
	for (unsigned int i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(table, "%s", head[i]);
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++)
		if (s->reason[i].batches)
			tally_row(table, trace_reasons[i], &s->reason[i]);
	tally_row(table, "all", &s->all);
	cli_table_print(table);
	putchar('\n');
	table = cli_table("rrr");
	cli_cell(table, "PAGES IN A BATCH");
	cli_cell(table, "BATCHES");
	cli_cell(table, "SHARE");
	for (unsigned int i = 0; i < SIZES; i++) {
		if (!s->sizes[i])
			continue;
		if (i)
			cli_cell(table, "%u-%u", 1u << i, (2u << i) - 1);
		else
			cli_cell(table, "1");
		cli_cell(table, "%llu", (unsigned long long)s->sizes[i]);
		cli_cell(table, "%.1f%%", 100 * (double)s->sizes[i] / (double)s->all.batches);
	}
	cli_table_print(table);
}

static int load(struct trace *t, const struct args *a)
{
	char err[512];

	return trace_load(t, a->file[0], err, sizeof(err))
		       ? cli_fail(CLI_FAILED, "%s: %s", a->what, err)
		       : CLI_OK;
}

static int trace_show(const struct cli *cli)
{
	struct args a = { .what = "trace show" };
	struct summary s;
	struct trace t;
	int code;

	code = parse_args(&a, cli, SHOW, 1);
	if (!code)
		code = load(&t, &a);
	if (code)
		return code;
	summarize(&t, &s);
	if (cli->json)
		code = show_json(&a, &t, &s);
	else
		show_text(&a, &t, &s);
	trace_free(&t);
	return code;
}

/* ---------------------------------------------------------------------- pace */

/* Comments ahead of the first batch, without those that trace_write() and pacing add. */
static void copy_notes(const char *path, FILE *to)
{
	FILE *f = fopen(path, "re");
	char line[TRACE_LINE];

	while (f && fgets(line, sizeof(line), f) && (*line < '0' || *line > '9'))
		if (*line == '#' && strncmp(line, "# time_ns ", 10) &&
		    strncmp(line, "# paced ", 8))
			fputs(line, to);
	if (f)
		fclose(f);
}

static char *pace_notes(const struct args *a)
{
	char *notes = NULL;
	size_t size;
	FILE *f = open_memstream(&notes, &size);

	if (!f)
		return NULL;
	copy_notes(a->file[0], f);
	fprintf(f, "# paced at %.10g MB/s, seed %llu: the times are made up\n",
		(double)a->bps / 1e6, (unsigned long long)a->seed);
	return fclose(f) ? NULL : notes;
}

static int trace_repace(const struct cli *cli)
{
	struct args a = { .what = "trace pace" };
	struct output out;
	char *notes;
	struct trace t;
	int code;

	code = parse_args(&a, cli, PACE, 2);
	if (!code)
		code = load(&t, &a);
	if (code)
		return code;
	if (trace_pace(&t, a.bps, (uint32_t)a.seed)) {
		code = cli_fail(CLI_FAILED,
				"%s: %s: at this rate it takes more than 6 hours; expected a "
				"higher --rate",
				a.what, a.file[0]);
		goto out;
	}
	/* What was made up before is not any truer now. */
	if (t.source == TRACE_RECORDED)
		t.source = TRACE_PACED;
	notes = pace_notes(&a);
	if (notes)
		code = output_open(&out, a.file[1], &a);
	else
		code = cli_fail(CLI_FAILED, "%s: %s", a.what, strerror(ENOMEM));
	if (!code)
		code = output_write(&out, &a, &t, notes);
	free(notes);
out:
	trace_free(&t);
	return code;
}

int cli_trace(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "";

	if (!strcmp(what, "record"))
		return trace_record(cli);
	if (!strcmp(what, "show"))
		return trace_show(cli);
	if (!strcmp(what, "pace"))
		return trace_repace(cli);
	return cli_fail(CLI_USAGE, "trace: '%s': expected one of: record, show, pace", what);
}
