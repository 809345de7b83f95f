/* SPDX-License-Identifier: MIT */
/*
 * siege.h - a tenant beside one that means harm: what the first still gets.
 *
 *	siege_run(&d, attack_main, 2, &r);
 *	tap_ok(r.copies > 0.25, ...);
 *
 * The victim is two processes of tenant "victim": one copies 64 KiB at a time, four in flight,
 * and verifies; one registers and unregisters memory once a millisecond.  The attackers are of tenant
 * "bad".  Windows with and without the attack follow each other, so that whatever else the host
 * does falls upon both, and the best round counts: others can only take away.  A round in which a
 * thread of the broker waited long for a CPU without an attack is made again, some times.
 *
 * Owner: the test.  Thread: the main thread; attackers are processes.
 */
#ifndef TESTS_SIEGE_H
#define TESTS_SIEGE_H

#include "harness.h"

struct siege_shared {
	uint32_t on;
};

/* What an attacker's main() gets as its argument. */
struct siege_attack {
	char socket[96];
	unsigned int index;
	struct siege_shared *shared;
};

struct siege_result {
	double copies;	  /* the victim's copies a second under attack, over those without */
	double ask_ms;	  /* what a request of the victim on its socket takes under attack */
	double ask_alone; /* ... and without */
	uint64_t attacks; /* what the attackers counted as done */
	bool crowded;	  /* the host was too busy in too many of the rounds */
};

/* The attack is on. */
bool siege_on(const struct siege_attack *a);
/* Sleep until it is.  false: it is all over. */
bool siege_wait(const struct siege_attack *a, const struct worker_report *r);

/*
 * Let @n processes run @main (worker.h; its argument is a struct siege_attack).  Bails out where
 * a victim is wronged: an error, a wrong byte, a lost answer.
 */
void siege_run(struct daemon *d, int (*main)(struct worker_report *r, void *arg),
	       unsigned int n, struct siege_result *out);

/*
 * One TAP result: copies at least @copies of those alone (a part of it under a sanitizer), and requests answered on average within
 * 100 ms, or 50 times what they take alone: a wait for an attacker would be one of seconds.  Skipped
 * where the host was too busy to tell.
 */
bool siege_judge(const char *name, const struct siege_result *r, double copies);

#endif /* TESTS_SIEGE_H */
