/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stats.h - counters by migrate reason and path, histograms, the demand page.
 *
 * debugfs: /sys/kernel/debug/accelmux/{stats,reasons,hist,channels}, "name value" lines.
 * Counters are monotonic u64.
 *
 * Owner: module state.  Any thread may count; sums are read without a lock.
 */
#ifndef ACCELMUX_STATS_H
#define ACCELMUX_STATS_H

#include <linux/types.h>

#include "uapi/accelmux.h"

int stats_init(void);
void stats_exit(void);
/* The files appear when everything that they show is there, and go before it. */
void stats_publish(void);
void stats_unpublish(void);

const char *stats_reason(u8 reason);

/* A batch of @pages has arrived (its first folio_mc_copy()). */
void stats_arrived(u8 reason, u32 pages, u64 now);

/* What became of it, once per batch. */
struct batch_outcome {
	u8 reason;
	u32 folios, pages, runs;
	u32 engine_pages, cpu_pages, stuck_pages;
	u32 declined[AMUX_DECLINE_COUNT]; /* pages, by why */
	u64 arrival_ns, start_ns;	  /* start of the first copy */
	u64 copy_ns;	      /* arrival to the last page copied, without what the kernel did
			       * between copies of the CPU in their turn */
	u64 alone_ns, cpu_ns; /* the same, predicted: an idle engine; the CPU */
	u64 cpu_time_ns;
};
void stats_batch(const struct batch_outcome *o);

/*
 * Is the tracepoint enabled?  Then every batch is looked at, also where nothing is granted, and
 * those that stats_batch() does not hear of are given to stats_trace().
 */
bool stats_tracing(void);
void stats_trace(const struct batch_outcome *o);
/* The tracepoint's state is followed between start and stop: the provider is armed for it. */
void stats_trace_start(void);
void stats_trace_stop(void);
/* trace.h: called when the first one listens, and when the last one has gone. */
int stats_trace_reg(void);
void stats_trace_unreg(void);

/* A batch below the threshold, or that nothing is granted to: not looked at any further. */
void stats_declined(u8 reason, u32 pages);
void stats_timeout(void);
/* A descriptor that went to a channel on another node than its destination. */
void stats_cross_node(void);

/* Pages that reached folio_mc_copy() without being part of a batch, by reason. */
void stats_single(u8 reason, u32 pages);

/* Folios passed over when a batch was put together, by why. */
enum stats_skip {
	SKIP_REFS, /* an unexpected reference: pinned, or just looked at */
	SKIP_MAPPED,
	SKIP_PRIVATE, /* buffer heads and the like */
	SKIP_MAPPING, /* not a mapping whose folios may be copied ahead */
	SKIP_UNKNOWN, /* no pair on record */
	SKIP_STALE,   /* a mark made void by a failed attempt */
	SKIP_NO_CONTEXT,
	SKIP_COUNT
};
void stats_skip(enum stats_skip why);

/* A descriptor on device index @dev: submitted; answered (@err: with an error). */
void stats_submitted(u32 dev, u64 bytes);
void stats_answered(u32 dev, u64 bytes, bool err);

#endif /* ACCELMUX_STATS_H */
