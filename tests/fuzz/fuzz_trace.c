// SPDX-License-Identifier: MIT
/*
 * fuzz_trace.c - a trace to be replayed, and the lines of the kernel's tracepoint that one is
 * recorded from.  What is accepted can be written and read again, and its runs cover every
 * page once; what is not is refused with the line's number.
 */
#include "../../broker/replay.h"
#include "../../broker/soft.h"
#include "../../broker/trace.h"
#include "input.h"

#define OPEN_PAGES 64 /* of a batch: larger arenas cost time and find nothing */

static struct device device;
static void *grant_map;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct soft_config cfg;

	(void)argc;
	(void)argv;
	soft_config_default(&cfg);
	cfg.engines = 2;
	must(!soft_open(&device, 0, &cfg));
	grant_map = mmap(NULL, AMUX_GRANT_MAP_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(grant_map != MAP_FAILED);
	return 0;
}

/* Destinations of a batch, each page once. */
static void judge_runs(const struct trace_batch *b, uint32_t chunk)
{
	static uint8_t seen[TRACE_FOLIOS_MAX << TRACE_ORDER_HUGE];
	struct trace_cursor c;
	uint32_t pieces = 0, expected = 0;

	memset(seen, 0, b->pages);
	trace_cursor_start(&c, b);
	while (c.page < b->pages) {
		uint32_t page, dst, n = trace_cursor_take(&c, b, chunk, &page, &dst);

		must(n >= 1 && n <= chunk && page == expected && page + n <= b->pages);
		must(dst + n <= b->pages);
		for (uint32_t i = 0; i < n; i++)
			must(!seen[dst + i]++);
		expected += n;
		pieces++;
	}
	must(pieces == trace_pieces(b, chunk));
}

static void judge_written(const struct trace *t)
{
	struct trace again;
	char *text, err[400];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	must(f && !trace_write(t, f, "# notes\n") && !fclose(f));
	must(!trace_load(&again, input_file((const uint8_t *)text, len), err, sizeof(err)));
	must(again.n == t->n && again.source == t->source);
	must(again.max_pages == t->max_pages && again.period_ns == t->period_ns);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct trace_batch *x = &t->batch[i], *y = &again.batch[i];

		must(x->time_ns == y->time_ns && x->pages == y->pages && x->runs == y->runs &&
		     x->reason == y->reason && x->order == y->order);
	}
	trace_free(&again);
	free(text);
}

static void replay(const uint8_t *data, size_t size, uint64_t scale)
{
	struct device *dev = &device;
	struct replay_config cfg = { .path = input_file(data, size),
				     .verify = true,
				     .time_scale = scale };
	struct replay *r;
	char err[400] = "";

	if (replay_open(&r, &cfg, grant_map, &dev, 1, NULL, err, sizeof(err)))
		must(err[0]);
	else
		replay_close(r);
}

/* The same bytes as what `accelmux trace record` reads. */
static void record(const uint8_t *data, size_t size)
{
	struct trace t = { .source = TRACE_RECORDED };
	char *text = strndup((const char *)data, size), *save = NULL;

	must(text);
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct trace_event e = { 0 };
		uint64_t lost = 0;

		if (trace_event_parse(line, &e, &lost) == TRACE_LINE_BATCH)
			trace_event_add(&t, &e);
	}
	free(text);
	if (t.n) {
		trace_sort(&t);
		trace_finish(&t);
		if (t.batch[t.n - 1].time_ns <= TRACE_TIME_MAX_NS)
			judge_written(&t);
		if (!trace_pace(&t, 1000000000, 1)) {
			trace_finish(&t);
			judge_written(&t);
		}
	}
	trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace t;
	char err[400] = "";
	const char *path = input_file(data, size);
	bool small;

	record(data, size);
	path = input_file(data, size);
	if (trace_load(&t, path, err, sizeof(err))) {
		must(!strncmp(err, path, strlen(path)));
		for (const char *c = err; *c; c++)
			must(*c >= ' ' && *c <= '~');
		return 0;
	}
	must(t.n >= 1);
	for (uint32_t i = 0; i < t.n && i < 16; i++)
		judge_runs(&t.batch[i], 1 + (uint32_t)size % 512);
	small = t.max_pages <= OPEN_PAGES;
	judge_written(&t);
	trace_free(&t);
	if (small)
		replay(data, size, size);
	return 0;
}
