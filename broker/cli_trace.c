// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_trace.c - migration traces: show them, give them other times; see cli_trace.h.  None of
 * it needs a broker.
 */
#include "cli_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define RATE_MAX 1000000000000ull
#define SIZES	 20 /* powers of two of pages, up to 512 folios of 512 */

/* ----------------------------------------------------------------- arguments */

static int set_option(struct trace_args *a, const char *key, const char *value)
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

int trace_args_parse(struct trace_args *a, const struct cli *cli, unsigned int command,
		     unsigned int files)
{
	static const struct {
		const char *key;
		unsigned int commands;
		bool value;
	} options[] = {
		{ "--time", CLI_TRACE_RECORD, true },
		{ "--max", CLI_TRACE_RECORD, true },
		{ "--rate", CLI_TRACE_PACE, true },
		{ "--seed", CLI_TRACE_PACE, true },
		{ "--force", CLI_TRACE_RECORD | CLI_TRACE_PACE, false },
	};
	static const char *const expected[] = {
		[CLI_TRACE_RECORD] = "FILE, --time, --max, --force",
		[CLI_TRACE_SHOW] = "FILE",
		[CLI_TRACE_PACE] = "IN OUT, --rate, --seed, --force",
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
	if (command == CLI_TRACE_PACE && !a->bps)
		return cli_fail(CLI_USAGE, "%s: expected --rate, such as --rate 5G", a->what);
	return CLI_OK;
}

/* ---------------------------------------------------------------------- file */

int trace_output_open(struct trace_output *out, const char *path, const struct trace_args *a)
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

void trace_output_drop(struct trace_output *out)
{
	if (out->ours)
		unlink(out->path);
	close(out->fd);
}

int trace_output_write(struct trace_output *out, const struct trace_args *a,
		       const struct trace *t, const char *notes)
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

static int show_json(const struct trace_args *a, const struct trace *t, const struct summary *s)
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

static void show_text(const struct trace_args *a, const struct trace *t,
		      const struct summary *s)
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

static int load(struct trace *t, const struct trace_args *a)
{
	char err[512];

	return trace_load(t, a->file[0], err, sizeof(err))
		       ? cli_fail(CLI_FAILED, "%s: %s", a->what, err)
		       : CLI_OK;
}

static int trace_show(const struct cli *cli)
{
	struct trace_args a = { .what = "trace show" };
	struct summary s;
	struct trace t;
	int code;

	code = trace_args_parse(&a, cli, CLI_TRACE_SHOW, 1);
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

static char *pace_notes(const struct trace_args *a)
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
	struct trace_args a = { .what = "trace pace" };
	struct trace_output out;
	char *notes;
	struct trace t;
	int code;

	code = trace_args_parse(&a, cli, CLI_TRACE_PACE, 2);
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
		code = trace_output_open(&out, a.file[1], &a);
	else
		code = cli_fail(CLI_FAILED, "%s: %s", a.what, strerror(ENOMEM));
	if (!code)
		code = trace_output_write(&out, &a, &t, notes);
	free(notes);
out:
	trace_free(&t);
	return code;
}

int cli_trace(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "";

	if (!strcmp(what, "record"))
		return cli_trace_record(cli);
	if (!strcmp(what, "show"))
		return trace_show(cli);
	if (!strcmp(what, "pace"))
		return trace_repace(cli);
	return cli_fail(CLI_USAGE, "trace: '%s': expected one of: record, show, pace", what);
}
