/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every part of bench-peers shares: a probe measures one thing once, a row
 * sets probes side by side in rounds and judges ratios within a round.
 *
 * The measuring thread sits on core 0, whoever answers it (the broker, a peer) on core 1.
 *
 * Owner: main.c.  Thread: the main thread; a probe may have one peer thread or process, which
 * ends with the measurement.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define CORE_CLIENT 0u
#define CORE_PEER   1u

#define PROBES_MAX  8
#define TARGETS_MAX 4
#define ROUNDS_MAX  99

/* One measurement. */
struct sample {
	double value;  /* in the probe's unit */
	double p99_ns; /* round trips only, else 0 */
	uint64_t ops, bytes;
	uint64_t wall_ns;
	uint64_t client_ns; /* CPU time of the measuring thread */
	uint64_t peer_ns;   /* CPU time of the broker, or of the peer's thread or process */
	double lost;	    /* share of the time that somebody was not running who would have */
};

enum unit { UNIT_MOPS, UNIT_NS, UNIT_GBPS, UNIT_COUNT, UNIT_MIB };

/* A round trip is polled for or slept for. */
enum waiting { WAIT_POLL, WAIT_SLEEP };

struct probe {
	const char *name;
	/* Measure for bench.measure_ns; 0, or BENCH_ABSENT with bench_why() set: it cannot be
	 * had here.  Anything else that goes wrong ends the program. */
	int (*run)(const struct probe *p, struct sample *s);
	enum unit unit;
	size_t size;	    /* bytes of a copy; 0: no data */
	unsigned int depth; /* requests in flight */
	bool touch;	    /* the client writes each source and reads each destination */
	enum waiting waiting;
	unsigned int sessions; /* that many more are connected, and idle */
};

#define BENCH_ABSENT 1

struct bench {
	uint64_t measure_ns; /* length of one measurement */
	bool warming;	     /* this round is not recorded */
};

extern struct bench bench;

/* Why the last probe was absent. */
__attribute__((format(printf, 1, 2))) int bench_absent(const char *fmt, ...);
const char *bench_why(void);

/* The measurement cannot go on: one line, everything started is killed, exit 2. */
__attribute__((format(printf, 1, 2), noreturn)) void bench_fail(const char *fmt, ...);

#endif /* BENCH_H */
