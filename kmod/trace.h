/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - the tracepoint of every batch: accelmux:accelmux_batch.  Times in ns,
 * CLOCK_MONOTONIC; `accelmux trace` records it.  While it is enabled every batch is looked at,
 * also where nothing is granted.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM accelmux

#if !defined(ACCELMUX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define ACCELMUX_TRACE_H

#include <linux/tracepoint.h>

#include "stats.h"

TRACE_EVENT_FN(accelmux_batch,
	TP_PROTO(const struct batch_outcome *o, u64 wait_ns, u64 copy_ns),
	TP_ARGS(o, wait_ns, copy_ns),
	TP_STRUCT__entry(
		__field(u64, arrival_ns)
		__field(u64, wait_ns)
		__field(u64, copy_ns)
		__field(u32, folios)
		__field(u32, pages)
		__field(u32, runs)
		__field(u32, engine)
		__field(u32, cpu)
		__field(u32, stuck)
		__field(u8, reason)
	),
	TP_fast_assign(
		__entry->arrival_ns = o->arrival_ns;
		__entry->wait_ns = wait_ns;
		__entry->copy_ns = copy_ns;
		__entry->folios = o->folios;
		__entry->pages = o->pages;
		__entry->runs = o->runs;
		__entry->engine = o->engine_pages;
		__entry->cpu = o->cpu_pages;
		__entry->stuck = o->stuck_pages;
		__entry->reason = o->reason;
	),
	TP_printk("arrival_ns=%llu reason=%s folios=%u pages=%u runs=%u engine=%u cpu=%u stuck=%u wait_ns=%llu copy_ns=%llu",
		  __entry->arrival_ns, stats_reason(__entry->reason), __entry->folios,
		  __entry->pages, __entry->runs, __entry->engine, __entry->cpu, __entry->stuck,
		  __entry->wait_ns, __entry->copy_ns),
	stats_trace_reg,
	stats_trace_unreg
);

#endif /* ACCELMUX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
