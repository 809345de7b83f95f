/* SPDX-License-Identifier: MIT */
/*
 * roamer.h - a client process that lives through its brokers: it registers and unregisters
 * memory, makes and destroys queues, submits random requests and checks every byte of them
 * (load.h), copies synchronously, closes and connects anew; and rests when told, holding
 * nothing but one connection, so that what it holds can be counted.
 *
 *	ROAMING --rest == n--> RESTING (rested = n, census taken) --roam == n--> ROAMING
 *	ROAMING --stop--> ends
 *
 * Owner: the test.  Threads: the worker writes the second half of struct roamer, the test the
 * first.
 */
#ifndef TESTS_ROAMER_H
#define TESTS_ROAMER_H

#include <accelmux/accelmux.h>

#include "census.h"

struct roamer {
	/* by the test */
	char socket[96];
	uint64_t seed;
	uint32_t rest, roam, stop;
	/* by the worker */
	uint32_t rested;
	uint32_t failed;
	struct census census; /* of the last rest */
	uint64_t answered, bytes, lost, loads, syncs, connects;
	struct amux_stats stats; /* of connections that were closed */
	char why[320];
};

/* In the child: returns its exit status. */
int roamer_main(struct roamer *r);

#endif /* TESTS_ROAMER_H */
