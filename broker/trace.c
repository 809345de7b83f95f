// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace.c - see trace.h.
 */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS 5

const char *const trace_reasons[AMUX_REASON_COUNT] = {
	[AMUX_REASON_COMPACTION] = "compaction",
	[AMUX_REASON_MEMORY_FAILURE] = "memory_failure",
	[AMUX_REASON_MEMORY_HOTPLUG] = "memory_hotplug",
	[AMUX_REASON_SYSCALL] = "syscall",
	[AMUX_REASON_MBIND] = "mbind",
	[AMUX_REASON_NUMA_MISPLACED] = "numa_misplaced",
	[AMUX_REASON_CONTIG_RANGE] = "contig_range",
	[AMUX_REASON_LONGTERM_PIN] = "longterm_pin",
	[AMUX_REASON_DEMOTION] = "demotion",
	[AMUX_REASON_DAMON] = "damon",
};

const char *const trace_sources[TRACE_SOURCES] = {
	[TRACE_SYNTHETIC] = "synthetic",
	[TRACE_RECORDED] = "recorded",
	[TRACE_PACED] = "paced",
};

/* Where the parser stands, for its errors. */
struct parser {
	const char *path;
	unsigned int line;
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int parse_error(const struct parser *p,
							     const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A stray byte must not reach the operator's terminal. */
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	snprintf(p->err, p->errlen, "%s:%u: %s", p->path, p->line, text);
	return -EINVAL;
}

/* A decimal number in @min .. @max; no sign, no suffix. */
static int parse_number(const struct parser *p, const char *field, const char *text,
			uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	const char *c = text;

	for (; *c >= '0' && *c <= '9' && v <= max; c++)
		v = v * 10 + (uint64_t)(*c - '0');
	if (c == text || *c || v < min || v > max)
		return parse_error(p, "%s '%.40s': expected a number from %llu to %llu", field,
				   text, (unsigned long long)min, (unsigned long long)max);
	*out = v;
	return 0;
}

static int parse_reason(const struct parser *p, const char *text, uint8_t *out)
{
	for (unsigned int i = 0; i < AMUX_REASON_COUNT; i++)
		if (!strcmp(text, trace_reasons[i])) {
			*out = (uint8_t)i;
			return 0;
		}
	return parse_error(p,
			   "reason '%.40s': expected compaction, mbind, damon, demotion ... "
			   "(docs/kernel-replay.md lists them)",
			   text);
}

/* Cut @line into words; returns how many there are, at most @max + 1. */
static unsigned int split_words(char *line, char **word, unsigned int max)
{
	unsigned int n = 0;
	char *save = NULL;

	for (char *w = strtok_r(line, " \t\r\n", &save); w;
	     w = strtok_r(NULL, " \t\r\n", &save)) {
		if (n == max)
			return max + 1;
		word[n++] = w;
	}
	return n;
}

static int parse_header(const struct parser *p, char **word, unsigned int n, struct trace *t)
{
	if (n != 3 || strcmp(word[0], TRACE_MAGIC))
		return parse_error(p,
				   "header '%.40s': expected '" TRACE_MAGIC " " TRACE_VERSION
				   " synthetic', '... recorded' or '... paced'",
				   word[0]);
	if (strcmp(word[1], TRACE_VERSION))
		return parse_error(p, "version '%.40s': expected " TRACE_VERSION, word[1]);
	for (unsigned int i = 0; i < TRACE_SOURCES; i++)
		if (!strcmp(word[2], trace_sources[i])) {
			t->source = (enum trace_source)i;
			return 0;
		}
	return parse_error(p, "provenance '%.40s': expected synthetic, recorded or paced",
			   word[2]);
}

static int parse_batch(const struct parser *p, char **word, unsigned int n, uint64_t prev_ns,
		       struct trace_batch *b)
{
	uint64_t v, folio;
	int ret;

	if (n != FIELDS)
		return parse_error(
			p, "%u%s fields: expected %u, TIME_NS REASON PAGES ORDER RUNS",
			n > FIELDS ? FIELDS : n, n > FIELDS ? " and more" : "", FIELDS);
	ret = parse_number(p, "time", word[0], 0, TRACE_TIME_MAX_NS, &b->time_ns);
	if (ret)
		return ret;
	if (b->time_ns < prev_ns)
		return parse_error(
			p, "time '%s': expected at least %llu, that of the batch before",
			word[0], (unsigned long long)prev_ns);
	ret = parse_reason(p, word[1], &b->reason);
	if (ret)
		return ret;
	if (strcmp(word[3], "0") && strcmp(word[3], "9"))
		return parse_error(p, "order '%.40s': expected 0 (4 KiB) or 9 (2 MiB)",
				   word[3]);
	b->order = (uint8_t)(word[3][0] - '0');
	folio = 1ull << b->order;
	ret = parse_number(p, "pages", word[2], folio, TRACE_FOLIOS_MAX * folio, &v);
	if (ret)
		return ret;
	if (v % folio)
		return parse_error(p, "pages '%s': expected a multiple of %llu for order %u",
				   word[2], (unsigned long long)folio, b->order);
	b->pages = (uint32_t)v;
	ret = parse_number(p, "runs", word[4], 1, b->pages / folio, &v);
	if (ret)
		return ret;
	b->runs = (uint16_t)v;
	return 0;
}

int trace_add(struct trace *t, const struct trace_batch *b)
{
	struct trace_batch *bigger;
	uint32_t room;

	if (t->n == TRACE_BATCHES)
		return -E2BIG;
	if (t->n == t->room) {
		room = t->room ? t->room * 2 : 256;
		bigger = reallocarray(t->batch, room, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		t->batch = bigger;
		t->room = room;
	}
	t->batch[t->n++] = *b;
	return 0;
}

void trace_finish(struct trace *t)
{
	uint64_t last = t->batch[t->n - 1].time_ns;

	t->max_pages = 0;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->batch[i].pages > t->max_pages)
			t->max_pages = t->batch[i].pages;
	t->period_ns = t->n > 1 ? last + (last - t->batch[0].time_ns) / (t->n - 1) : last;
}

static int trace_parse(struct parser *p, FILE *f, struct trace *t)
{
	char line[TRACE_LINE], *word[FIELDS];
	bool header = false;
	int ret;

	while (fgets(line, sizeof(line), f)) {
		struct trace_batch b = { 0 };
		char *hash;
		unsigned int n;

		p->line++;
		if (!strchr(line, '\n') && !feof(f))
			return parse_error(p, "expected lines of text of less than %u bytes",
					   TRACE_LINE);
		hash = strchr(line, '#');
		if (hash)
			*hash = '\0';
		n = split_words(line, word, FIELDS);
		if (!n)
			continue;
		if (!header) {
			ret = parse_header(p, word, n, t);
			header = true;
		} else {
			ret = parse_batch(p, word, n, t->n ? t->batch[t->n - 1].time_ns : 0,
					  &b);
			if (!ret)
				ret = trace_add(t, &b);
			if (ret == -E2BIG)
				return parse_error(
					p, "more than %u batches: expected a shorter trace",
					TRACE_BATCHES);
		}
		if (ret)
			return ret;
	}
	if (ferror(f))
		return -EIO;
	if (!t->n)
		return parse_error(
			p, "end of file: expected a header line and at least one batch");
	return 0;
}

int trace_load(struct trace *t, const char *path, char *err, size_t errlen)
{
	struct parser p = { .path = path, .err = err, .errlen = errlen };
	struct stat st;
	FILE *f;
	int fd, ret;

	memset(t, 0, sizeof(*t));
	/* O_NONBLOCK: a FIFO in the trace's place must not hang the broker. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		snprintf(err, errlen, "%s: %s", path, strerror(-ret));
		return ret;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "%s: expected a regular file", path);
		close(fd);
		return -EINVAL;
	}
	f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		snprintf(err, errlen, "%s: %s", path, strerror(ENOMEM));
		return -ENOMEM;
	}
	ret = trace_parse(&p, f, t);
	fclose(f);
	if (ret) {
		if (ret != -EINVAL)
			snprintf(err, errlen, "%s: %s", path, strerror(-ret));
		trace_free(t);
		return ret;
	}
	trace_finish(t);
	return 0;
}

void trace_free(struct trace *t)
{
	free(t->batch);
	memset(t, 0, sizeof(*t));
}

void trace_cursor_start(struct trace_cursor *c, const struct trace_batch *b)
{
	c->page = 0;
	c->run = 0;
	c->run_end = trace_run_start(b, 1);
}

uint32_t trace_cursor_take(struct trace_cursor *c, const struct trace_batch *b, uint32_t max,
			   uint32_t *page, uint32_t *dst)
{
	uint32_t n = c->run_end - c->page, start = trace_run_start(b, c->run);

	if (n > max)
		n = max;
	*page = c->page;
	*dst = b->pages - c->run_end + (c->page - start);
	c->page += n;
	if (c->page == c->run_end && c->page < b->pages) {
		c->run++;
		c->run_end = trace_run_start(b, c->run + 1);
	}
	return n;
}

uint32_t trace_pieces(const struct trace_batch *b, uint32_t chunk)
{
	uint32_t n = 0;

	for (uint32_t run = 0; run < b->runs; run++) {
		uint32_t pages = trace_run_start(b, run + 1) - trace_run_start(b, run);

		n += (pages + chunk - 1) / chunk;
	}
	return n;
}
