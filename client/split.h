/* SPDX-License-Identifier: MIT */
/*
 * split.h - one synchronous copy by engine and CPU together: the engine takes pieces from the
 * front, the calling thread copies from the tail, and where they meet what the engine has not
 * begun is withdrawn.  Never for copies that overlap.
 *
 *	0 ........ front .................. tail ........ len
 *	| engine's: done, in flight | nobody's yet | CPU's: done |
 *
 * Nothing depends on the forecast but how much is in flight: a slow engine gets fewer pieces.
 *
 * Owner: amux_copy().  Thread: the one that copies, with sync_lock held.
 */
#ifndef CLIENT_SPLIT_H
#define CLIENT_SPLIT_H

#include <stdbool.h>

#include "queue.h"

#define AMUX_SPLIT_MIN	  (128u << 10) /* bytes; a smaller copy is left whole */
#define AMUX_SPLIT_WINDOW 30u /* pieces in flight at most; a CANCEL needs a place, too */

struct amux_forecast {
	uint64_t wait_ns;    /* until the engine begins */
	uint64_t engine_bps; /* not 0 */
	uint64_t cpu_bps;    /* not 0 */
};

struct amux_split_result {
	uint64_t engine_bytes, cpu_bytes; /* their sum is the length, but after an error */
	uint64_t cpu_ns;
};

/* Bytes of @len that the engine is expected to take; 0: fewer than are worth a request. */
uint64_t amux_split_share(const struct amux_forecast *f, size_t len);

/* May a request that failed so be done over by the CPU, if its source is whole? */
bool amux_split_redo(int status);

/* Copy as @want says, which is the same as @src to @dst.  0 or -errno; nothing is in flight
 * afterwards. */
int amux_split_copy(struct amux_queue *q, const struct amux_sqe *want, void *dst,
		    const void *src, const struct amux_forecast *f,
		    struct amux_split_result *r);

#endif /* CLIENT_SPLIT_H */
