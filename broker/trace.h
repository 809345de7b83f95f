/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - a migration trace: which batches of pages the kernel moved, when and why.
 * docs/kernel-replay.md describes the format.
 *
 * Owner: whoever loaded it.  Immutable once loaded: any thread may read.
 */
#ifndef BROKER_TRACE_H
#define BROKER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../kmod/uapi/accelmux.h"

#define TRACE_FOLIOS_MAX 512	    /* of one batch, as in migrate_pages() */
#define TRACE_ORDER_HUGE 9	    /* 512 pages of 4 KiB */
#define TRACE_BATCHES	 (1u << 20) /* of one trace */

struct trace_batch {
	uint64_t time_ns; /* since the start of the trace */
	uint32_t pages;	  /* of 4 KiB, a multiple of 1 << order */
	uint16_t runs;	  /* physically contiguous ones, 1 .. folios */
	uint8_t reason;	  /* enum amux_reason */
	uint8_t order;	  /* of its folios: 0 or TRACE_ORDER_HUGE */
};

struct trace {
	bool synthetic;	    /* made up, not recorded on a host */
	uint32_t n;	    /* batches, at least 1 */
	uint32_t max_pages; /* of the largest batch */
	uint64_t period_ns; /* a loop starts again after this: one mean gap after the last batch
			     */
	struct trace_batch *batch;
};

/* Names of enum amux_reason as in traces. */
extern const char *const trace_reasons[AMUX_REASON_COUNT];

/* Load @path.  -errno and one line in @err, "FILE:LINE: field 'value': expected ...". */
int trace_load(struct trace *t, const char *path, char *err, size_t errlen);
void trace_free(struct trace *t);

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

#endif /* BROKER_TRACE_H */
