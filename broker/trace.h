/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - a migration trace: which batches of pages the kernel moved, when and why.
 * docs/kernel-replay.md describes the format.  The broker reads traces (trace.c); the command
 * also makes them (trace_write.c).
 *
 * Owner: whoever loaded or made it.  Immutable once loaded: any thread may read.
 */
#ifndef BROKER_TRACE_H
#define BROKER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../kmod/uapi/accelmux.h"

#define TRACE_MAGIC	  "accelmux-trace"
#define TRACE_VERSION	  "1"
#define TRACE_LINE	  256	     /* bytes, more than any line has */
#define TRACE_FOLIOS_MAX  512	     /* of one batch, as in migrate_pages() */
#define TRACE_ORDER_HUGE  9	     /* 512 pages of 4 KiB */
#define TRACE_BATCHES	  (1u << 20) /* of one trace */
#define TRACE_TIME_MAX_NS (6 * 3600 * 1000000000ull)

/* Where a trace comes from: the third word of its header. */
enum trace_source {
	TRACE_SYNTHETIC, /* made up */
	TRACE_RECORDED,	 /* on a host, by `accelmux trace record` */
	TRACE_PACED,	 /* recorded, but the times are made up */
	TRACE_SOURCES
};

struct trace_batch {
	uint64_t time_ns; /* since the start of the trace */
	uint32_t pages;	  /* of 4 KiB, a multiple of 1 << order */
	uint16_t runs;	  /* physically contiguous ones, 1 .. folios */
	uint8_t reason;	  /* enum amux_reason */
	uint8_t order;	  /* of its folios: 0 or TRACE_ORDER_HUGE */
};

struct trace {
	enum trace_source source;
	uint32_t n;	    /* batches, at least 1 */
	uint32_t room;	    /* of the array */
	uint32_t max_pages; /* of the largest batch */
	uint64_t period_ns; /* a loop starts again after this: one mean gap after the last batch
			     */
	struct trace_batch *batch;
};

/* Names of enum amux_reason as in traces. */
extern const char *const trace_reasons[AMUX_REASON_COUNT];
extern const char *const trace_sources[TRACE_SOURCES];

/* Load @path.  -errno and one line in @err, "FILE:LINE: field 'value': expected ...". */
int trace_load(struct trace *t, const char *path, char *err, size_t errlen);
void trace_free(struct trace *t);

/* Put @b behind the others, whatever its time.  0, -E2BIG (TRACE_BATCHES) or -ENOMEM. */
int trace_add(struct trace *t, const struct trace_batch *b);
/* All batches are there, in order of time: fill in what follows from them. */
void trace_finish(struct trace *t);

/* First page of run @run of @b (run == b->runs: the end): folios are dealt out evenly. */
static inline uint32_t trace_run_start(const struct trace_batch *b, uint32_t run)
{
	uint32_t folios = b->pages >> b->order;

	return (uint32_t)((uint64_t)run * folios / b->runs) << b->order;
}

/* Where in a batch: the next page and the contiguous run that it lies in. */
struct trace_cursor {
	uint32_t page, run, run_end;
};

void trace_cursor_start(struct trace_cursor *c, const struct trace_batch *b);

/*
 * Take at most @max pages of one run; call only while c->page < b->pages.  Returns how many,
 * their first source page and first destination page.  Destinations lie in the opposite order
 * of runs, as compaction finds them: nothing is merged by accident.
 */
uint32_t trace_cursor_take(struct trace_cursor *c, const struct trace_batch *b, uint32_t max,
			   uint32_t *page, uint32_t *dst);

/* Descriptors that the whole batch takes in pieces of at most @chunk pages. */
uint32_t trace_pieces(const struct trace_batch *b, uint32_t chunk);

/* A batch as the kernel module's tracepoint tells of it. */
struct trace_event {
	uint64_t arrival_ns;
	uint32_t folios, pages, runs;
	uint8_t reason; /* enum amux_reason; AMUX_REASON_COUNT: not in the format */
};

enum trace_line {
	TRACE_LINE_BATCH, /* *e is filled */
	TRACE_LINE_LOST,  /* *lost events did not reach the reader */
	TRACE_LINE_OTHER, /* nothing to do with batches */
	TRACE_LINE_BAD,	  /* a batch that makes no sense */
};

/* Understand one line of trace_pipe, without its newline. */
enum trace_line trace_event_parse(const char *line, struct trace_event *e, uint64_t *lost);

/*
 * Add @e to @t: one batch, or several at the same time if it held folios of several orders or
 * of orders that the format does not have (docs/kernel-replay.md).  As trace_add(), or -EINVAL.
 */
int trace_event_add(struct trace *t, const struct trace_event *e);

/* Order by time, batches at the same time as they stand, and count time from the first one. */
void trace_sort(struct trace *t);

/*
 * New times: a batch comes when the one before would be done at @bps, give or take half.  The
 * same @seed gives the same times.  -ERANGE: it would take longer than a trace may.
 */
int trace_pace(struct trace *t, uint64_t bps, uint32_t seed);

/* @notes (lines of comment, may be empty), header and batches.  0 or -errno; not flushed. */
int trace_write(const struct trace *t, FILE *f, const char *notes);

#endif /* BROKER_TRACE_H */
