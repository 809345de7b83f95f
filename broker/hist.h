/* SPDX-License-Identifier: MIT */
/*
 * hist.h - fixed log-scale histograms of durations, and single-writer counters.
 *
 * Owner: whoever embeds them.  Threads: one writer; any reader, without locks: each word
 * is read by itself (a snapshot may be a few events apart between words).
 *
 * Bucket i holds durations in [lo(i), lo(i+1)), lo(i) = 128 ns * 2^(i/4) with the quarter
 * steps linear inside an octave: at most 25 % wide.  The same buckets as amux_demand's.
 */
#ifndef BROKER_HIST_H
#define BROKER_HIST_H

#include <stdint.h>

#define HIST_BUCKETS 128

/* A counter with a single writer: plain arithmetic for it, untorn loads for readers. */
static inline uint64_t stat_read(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void stat_set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void stat_add(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + v, __ATOMIC_RELAXED);
}

struct hist {
	uint64_t bucket[HIST_BUCKETS];
	uint64_t count;
	uint64_t sum_ns;
};

static inline unsigned int hist_index(uint64_t ns)
{
	unsigned int log, idx;

	if (ns < 128)
		return 0;
	log = 63u - (unsigned int)__builtin_clzll(ns);
	idx = (log - 7) * 4 + (unsigned int)((ns >> (log - 2)) & 3);
	return idx < HIST_BUCKETS ? idx : HIST_BUCKETS - 1;
}

/* Lower edge of bucket @i, ns; bucket 0 starts at 0. */
static inline uint64_t hist_edge(unsigned int i)
{
	if (!i)
		return 0;
	return (128ull << (i / 4)) + (32ull << (i / 4)) * (i % 4);
}

static inline void hist_add(struct hist *h, uint64_t ns)
{
	stat_add(&h->bucket[hist_index(ns)], 1);
	stat_add(&h->count, 1);
	stat_add(&h->sum_ns, ns);
}

/* Upper edge of the bucket in which the @permille quantile lies; 0 when empty.
 * @since, if not NULL, is an earlier copy of the buckets: only what came later counts. */
static inline uint64_t hist_quantile(const uint64_t *bucket, const uint64_t *since,
				     unsigned int permille)
{
	uint64_t total = 0, seen = 0, want;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		total += stat_read(&bucket[i]) - (since ? since[i] : 0);
	if (!total)
		return 0;
	want = (total * permille + 999) / 1000;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += stat_read(&bucket[i]) - (since ? since[i] : 0);
		if (seen >= want)
			return hist_edge(i + 1);
	}
	return hist_edge(HIST_BUCKETS);
}

#endif /* BROKER_HIST_H */
