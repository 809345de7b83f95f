/* SPDX-License-Identifier: MIT */
/*
 * tally.h - what amux_copy() counts: a cache line for each thread, so that counting costs a
 * small copy an instruction or two and no lock.
 *
 * Owner: struct amux embeds AMUX_TALLIES of them.  Threads: a thread owns one line of every
 * handle from its first copy to its end; those that come when all are taken share the last.
 */
#ifndef CLIENT_TALLY_H
#define CLIENT_TALLY_H

#include <stdint.h>

#include "barrier.h"

#define AMUX_TALLIES	  64u
#define AMUX_TALLY_SHARED (AMUX_TALLIES - 1)

struct amux_tally {
	uint64_t cpu, engine, both; /* calls by path */
	uint64_t cpu_ns;
	uint8_t pad[32];
};

/* 1 + the calling thread's index; 0: none yet. */
extern _Thread_local uint32_t amux_tally_mine __attribute__((tls_model("initial-exec")));

/* Choose the calling thread's index. */
uint32_t amux_tally_choose(void);

static inline uint32_t amux_tally_index(void)
{
	uint32_t mine = amux_tally_mine;

	return (mine ? mine : amux_tally_choose()) - 1;
}

/* Add to a counter of line @index. */
static inline void amux_tally_add(uint64_t *counter, uint32_t index, uint64_t n)
{
	if (index == AMUX_TALLY_SHARED)
		__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
	else
		amux_store_relaxed(counter, *counter + n);
}

#endif /* CLIENT_TALLY_H */
