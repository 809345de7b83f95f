/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * metrics.h - the broker's counters as Prometheus text (version 0.0.4).  docs/metrics.md says
 * what each means and which to watch.
 *
 * Owner: the caller of metrics_open().  Thread: the control thread.
 */
#ifndef BROKER_METRICS_H
#define BROKER_METRICS_H

#include <stddef.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The shortest interval over which the fairness index is computed. */
#define METRICS_WINDOW_NS 5000000000ull

struct broker;
struct metrics;

/* 0 and *@out, to be given to metrics_close(), or -ENOMEM. */
int metrics_open(struct metrics **out);
void metrics_close(struct metrics *m);

/* All metrics; *@len bytes, the caller's to free().  NULL: out of memory. */
char *metrics_text(struct metrics *m, struct broker *b, size_t *len);

#endif /* BROKER_METRICS_H */
