/* SPDX-License-Identifier: MIT */
/*
 * probe.h - everything that can be measured; rows.c says beside what, and for what target.
 *
 * Each function is a struct probe's run(): it sets up what it needs, warms up, measures for
 * bench.measure_ns, and leaves nothing running.
 *
 * Owner: rows.c.  Thread: the main thread.
 */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include "bench.h"

/* accelmux.c: through the broker that broker_open() has started */
int amux_noop_rate(const struct probe *p, struct sample *s);
int amux_noop_trip(const struct probe *p, struct sample *s);
int amux_copies(const struct probe *p, struct sample *s);
int amux_sync(const struct probe *p, struct sample *s);
int amux_wakeups(const struct probe *p, struct sample *s);
int amux_memory(const struct probe *p, struct sample *s);

/* memory.c: this thread's CPU on the same buffers */
int plain_copies(const struct probe *p, struct sample *s);
int stream_copies(const struct probe *p, struct sample *s);
int plain_sync(const struct probe *p, struct sample *s);

/* line.c, dpdk.c, uring.c: queues between two cores */
int line_trip(const struct probe *p, struct sample *s);
int dpdk_rate(const struct probe *p, struct sample *s);
int dpdk_trip(const struct probe *p, struct sample *s);
int uring_rate(const struct probe *p, struct sample *s);
int uring_trip(const struct probe *p, struct sample *s);

/* server.c: a process that is asked to copy, and ways to copy between processes */
int eventfd_trip(const struct probe *p, struct sample *s);
int seqpacket_copies(const struct probe *p, struct sample *s);
int eventfd_copies(const struct probe *p, struct sample *s);
int polled_copies(const struct probe *p, struct sample *s);
int vmsplice_copies(const struct probe *p, struct sample *s);
int readv_copies(const struct probe *p, struct sample *s);

#endif /* BENCH_PROBE_H */
