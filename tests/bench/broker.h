/* SPDX-License-Identifier: MIT */
/*
 * broker.h - the broker under measurement: a real accelmuxd of this build, on CORE_PEER, with
 * one session of ours, and the buffers that all probes of a row copy between.
 *
 * Owner: main.c opens and closes it around a row.  Thread: the main thread.
 */
#ifndef BENCH_BROKER_H
#define BENCH_BROKER_H

#include <accelmux/accelmux.h>

#include "bench.h"
#include "../lib/harness.h"

struct broker {
	struct daemon daemon;
	struct amux *a;
	size_t set;	    /* bytes of each buffer */
	uint8_t *src, *dst; /* shared with the broker; NULL if set is 0 */
};

extern struct broker broker;

/* Start it; @spin: "20us" is its default, "0ns" never spins. */
void broker_open(size_t set, const char *spin);
void broker_close(void);
void broker_abandon(void); /* something went wrong: kill it, and leave nothing behind */

/* @n more sessions with a queue of 32 each, idle; 0: they leave. */
void broker_crowd(unsigned int n);

/* What the broker has counted for its tenants so far. */
struct broker_count {
	uint64_t requests, completed, failed, bytes, declined;
};
void broker_count(struct broker_count *c);

#endif /* BENCH_BROKER_H */
