/* SPDX-License-Identifier: MIT */
/*
 * clock.h - CLOCK_MONOTONIC in ns, the only time the broker knows.  Any thread.
 */
#ifndef BROKER_CLOCK_H
#define BROKER_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ull

static inline uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* CPU time of the calling thread. */
static inline uint64_t clock_thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ns that @bytes take at @bps, rounded up; 0 for an unlimited rate. */
static inline uint64_t bytes_to_ns(uint64_t bytes, uint64_t bps)
{
	if (!bps || bps == UINT64_MAX)
		return 0;
	return (uint64_t)(((unsigned __int128)bytes * NSEC_PER_SEC + bps - 1) / bps);
}

/* Bytes that @ns allow at @bps, saturating. */
static inline uint64_t ns_to_bytes(uint64_t ns, uint64_t bps)
{
	unsigned __int128 b = (unsigned __int128)ns * bps / NSEC_PER_SEC;

	return b > UINT64_MAX ? UINT64_MAX : (uint64_t)b;
}

/* Sleep until an absolute CLOCK_MONOTONIC time. */
static inline void clock_sleep_until(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(ns % NSEC_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

#endif /* BROKER_CLOCK_H */
