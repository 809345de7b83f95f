// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace_write.c - make migration traces (trace.h): from the module's tracepoint, with other
 * times, as text.
 */
#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EVENT	   "accelmux_batch: "
#define HUGE_PAGES (1u << TRACE_ORDER_HUGE)

/* ---------------------------------------------------------------- tracepoint */

/* The number behind " KEY=" in @text, at most @max. */
static bool event_number(const char *text, const char *key, uint64_t max, uint64_t *out)
{
	size_t len = strlen(key);
	char *end;

	for (const char *at = text; (at = strstr(at, key)); at += len) {
		if ((at != text && at[-1] != ' ') || at[len] != '=')
			continue;
		at += len + 1;
		if (*at < '0' || *at > '9')
			return false;
		errno = 0;
		*out = strtoull(at, &end, 10);
		return !errno && (*end == ' ' || !*end) && *out <= max;
	}
	return false;
}

static bool event_count(const char *text, const char *key, uint32_t max, uint32_t *out)
{
	uint64_t v;

	if (!event_number(text, key, max, &v) || !v)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool event_reason(const char *text, uint8_t *out)
{
	const char *name = strstr(text, " reason=");
	size_t len;

	if (!name)
		return false;
	name += strlen(" reason=");
	len = strcspn(name, " ");
	for (*out = 0; *out < AMUX_REASON_COUNT; (*out)++)
		if (strlen(trace_reasons[*out]) == len &&
		    !strncmp(name, trace_reasons[*out], len))
			break;
	return len > 0;
}

enum trace_line trace_event_parse(const char *line, struct trace_event *e, uint64_t *lost)
{
	const char *text = strstr(line, EVENT), *bracket;
	char *end;

	if (!text) {
		bracket = strstr(line, "[LOST ");
		if (strncmp(line, "CPU:", 4) || !bracket)
			return TRACE_LINE_OTHER;
		/* The kernel does not always know how many: at least one. */
		*lost = strtoull(bracket + strlen("[LOST "), &end, 10);
		if (!*lost)
			*lost = 1;
		return TRACE_LINE_LOST;
	}
	text += strlen(EVENT);
	if (!event_number(text, "arrival_ns", UINT64_MAX, &e->arrival_ns) ||
	    !event_reason(text, &e->reason) ||
	    !event_count(text, "folios", TRACE_FOLIOS_MAX, &e->folios) ||
	    !event_count(text, "pages", TRACE_FOLIOS_MAX * HUGE_PAGES, &e->pages) ||
	    !event_count(text, "runs", e->folios, &e->runs) || e->pages < e->folios)
		return TRACE_LINE_BAD;
	return TRACE_LINE_BATCH;
}

static uint32_t within(uint32_t v, uint32_t lo, uint32_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/*
 * Pages that are not in folios of order 9: as many batches of at most 512 pages as it takes,
 * over which @runs are dealt out.
 */
static int add_small(struct trace *t, struct trace_batch b, uint32_t pages, uint32_t runs)
{
	uint32_t done = 0;
	int ret = 0;

	b.order = 0;
	while (!ret && done < pages) {
		uint32_t n = within(pages - done, 1, TRACE_FOLIOS_MAX);
		uint32_t share = (uint32_t)(((uint64_t)runs * n + pages / 2) / pages);

		b.pages = n;
		b.runs = (uint16_t)within(share, 1, n);
		ret = trace_add(t, &b);
		done += n;
	}
	return ret;
}

int trace_event_add(struct trace *t, const struct trace_event *e)
{
	struct trace_batch b = { .time_ns = e->arrival_ns, .reason = e->reason };
	uint32_t more = e->pages - e->folios, huge, small, runs;
	int ret = 0;

	if (e->reason >= AMUX_REASON_COUNT)
		return -EINVAL;
	/* Each folio of order 9 has 511 pages more than it counts folios. */
	if (more % (HUGE_PAGES - 1) == 0 && more / (HUGE_PAGES - 1) <= e->folios) {
		huge = more / (HUGE_PAGES - 1);
		small = e->folios - huge;
	} else if (e->folios == 1 && e->pages % HUGE_PAGES == 0) {
		huge = e->pages / HUGE_PAGES; /* one of 1 GiB */
		small = 0;
	} else {
		huge = 0;
		small = e->pages;
	}
	/* A large folio next to another is rare: what is merged, small ones were. */
	runs = small ? within(e->runs > huge ? e->runs - huge : 1, 1, small) : 0;
	if (huge) {
		b.order = TRACE_ORDER_HUGE;
		b.pages = huge * HUGE_PAGES;
		b.runs = (uint16_t)within(e->runs > runs ? e->runs - runs : 1, 1, huge);
		ret = trace_add(t, &b);
	}
	return ret || !small ? ret : add_small(t, b, small, runs);
}

/* --------------------------------------------------------------------- times */

void trace_sort(struct trace *t)
{
	uint64_t first;

	/* Nearly in order, only CPUs overtake each other: insertion is cheap, and stable. */
	for (uint32_t i = 1; i < t->n; i++) {
		struct trace_batch b = t->batch[i];
		uint32_t at = i;

		for (; at && t->batch[at - 1].time_ns > b.time_ns; at--)
			t->batch[at] = t->batch[at - 1];
		t->batch[at] = b;
	}
	first = t->n ? t->batch[0].time_ns : 0;
	for (uint32_t i = 0; i < t->n; i++)
		t->batch[i].time_ns -= first;
}

/* Lehmer: 1 .. 2^31 - 2, the same everywhere. */
static uint32_t lehmer(uint32_t *seed)
{
	*seed = (uint32_t)((uint64_t)*seed * 48271 % 2147483647);
	return *seed;
}

int trace_pace(struct trace *t, uint64_t bps, uint32_t seed)
{
	uint64_t now = 0;

	seed = seed % 2147483646 + 1;
	for (uint32_t i = 0; i < t->n; i++) {
		double ns = (double)t->batch[i].pages * 4096 * 1e9 / (double)bps;

		if (now > TRACE_TIME_MAX_NS)
			return -ERANGE;
		t->batch[i].time_ns = now;
		ns = ns * (50 + lehmer(&seed) % 101) / 100;
		if (ns > (double)TRACE_TIME_MAX_NS)
			ns = (double)TRACE_TIME_MAX_NS;
		now += (uint64_t)ns;
	}
	return 0;
}

/* ---------------------------------------------------------------------- text */

int trace_write(const struct trace *t, FILE *f, const char *notes)
{
	fprintf(f,
		"%s" TRACE_MAGIC " " TRACE_VERSION " %s\n# time_ns reason pages order runs\n",
		notes, trace_sources[t->source]);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct trace_batch *b = &t->batch[i];

		fprintf(f, "%llu %s %u %u %u\n", (unsigned long long)b->time_ns,
			trace_reasons[b->reason], b->pages, b->order, b->runs);
	}
	return ferror(f) ? -EIO : 0;
}
