/* SPDX-License-Identifier: MIT */
/*
 * machine.h - clocks, cores, CPU time of who took part, and whether anybody else was at work.
 *
 * Owner: main.c.  Threads: any, but for machine_open() and struct noise (the main thread).
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <jansson.h>
#include <sys/types.h>

#include "bench.h"

/* Calibrate the clock, raise the limit of open files, check the two cores. */
void machine_open(void);

/* Put the calling thread on @core; bails out if that is refused. */
void machine_pin(unsigned int core);

/* Ticks of the cheapest monotonic clock there is, and what they mean. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	extern uint64_t machine_ns(void);

	return machine_ns();
#endif
}

uint64_t ticks_of_ns(uint64_t ns);
double ns_of_ticks(double t);
uint64_t machine_ns(void); /* CLOCK_MONOTONIC */

/* ------------------------------------------------------------------------- CPU time */

#define PEER_NONE   ((pid_t)0)
#define PEER_THREAD ((pid_t)-1) /* every other thread of this process */

/* Who never sleeps in a measurement, so that what lacks of its CPU time went to others. */
enum busy { BUSY_NONE, BUSY_CLIENT, BUSY_BOTH };

struct meter {
	pid_t peer;
	enum busy busy;
	uint64_t wall_ns, client_ns, peer_ns;
};

/* From here on; @peer: a process that is alive until meter_stop(), or one of the above. */
void meter_start(struct meter *m, pid_t peer, enum busy busy);
/* Until here: fills in wall_ns, client_ns, peer_ns and lost of @s. */
void meter_stop(const struct meter *m, struct sample *s);

/* ---------------------------------------------------------------------- round trips */

struct latency {
	unsigned int shift; /* a bucket is 2^shift ticks */
	uint64_t n;
	uint32_t *bucket;
};

void latency_open(struct latency *l, enum waiting waiting);
void latency_close(struct latency *l);
/* Put its median and 99th percentile into @s, and close it. */
void latency_report(struct latency *l, struct sample *s);

#define LATENCY_BUCKETS (1u << 17)

static inline void latency_add(struct latency *l, uint64_t t)
{
	t >>= l->shift;
	l->bucket[t < LATENCY_BUCKETS ? t : LATENCY_BUCKETS - 1]++;
	l->n++;
}

/* ---------------------------------------------------------------------------- noise */

/* Of a round: CPU time of the machine beside that of this program's processes. */
struct noise {
	uint64_t wall_ns, own_ns, busy_ns, steal_ns;
};

/* @broker: its process, which is counted as this program's; 0: none. */
void noise_start(struct noise *n, pid_t broker);
/* True if it was quiet; else the reason is in @why.  @lost: the largest of its samples. */
bool noise_quiet(const struct noise *n, pid_t broker, double lost, char *why, size_t len);

json_t *machine_json(void);

#endif /* BENCH_MACHINE_H */
