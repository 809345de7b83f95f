/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bucket.h - a token bucket in one word: the time up to which what was taken is paid for.
 *
 * Owner: the struct it is part of; zeroed: full.  Thread: its owner's.
 */
#ifndef BROKER_BUCKET_H
#define BROKER_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t paid_ns;
};

/*
 * Take one of a bucket that is filled with one every @each_ns (0: no limit) and holds @burst_ns
 * worth of them.  false: it is empty.
 */
static inline bool bucket_take(struct bucket *b, uint64_t now, uint64_t each_ns,
			       uint64_t burst_ns)
{
	uint64_t from = b->paid_ns > now ? b->paid_ns : now;

	if (from - now > burst_ns)
		return false;
	b->paid_ns = from + each_ns;
	return true;
}

/* How long until one can be taken, ns. */
static inline uint64_t bucket_wait(const struct bucket *b, uint64_t now, uint64_t burst_ns)
{
	return b->paid_ns > now + burst_ns ? b->paid_ns - now - burst_ns : 0;
}

#endif /* BROKER_BUCKET_H */
