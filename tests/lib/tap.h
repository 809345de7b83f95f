/* SPDX-License-Identifier: MIT */
/*
 * tap.h - what every integration test begins and ends with: TAP lines, a hard time-out, a
 * seed, and worker processes that cannot outlive the test.
 *
 *	tap_init(argc, argv, 30);
 *	tap_ok(answer == 42, "the answer is %d", answer);
 *	return tap_done();
 *
 * A test is a process group.  When its time is up, or it bails out, the whole group is
 * killed; workers and brokers also die with their parent.  No plan line, no success.
 *
 * Environment: SEED=N repeats a run's random choices, AMUX_TEST_LONG=1 runs longer versions.
 *
 * Owner: the test's main process; workers report through struct worker_report alone.
 * Thread: the main thread.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How much slower this build is than a plain one: for time-outs and amounts of work. */
#if defined(__SANITIZE_THREAD__)
#define TAP_SLOW 8u
#elif defined(__SANITIZE_ADDRESS__)
#define TAP_SLOW 3u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TAP_SLOW 8u
#elif __has_feature(address_sanitizer)
#define TAP_SLOW 3u
#endif
#endif
#ifndef TAP_SLOW
#define TAP_SLOW 1u
#endif

/* @limit_s: seconds of wall time until everything is killed; times TAP_SLOW, and times ten
 * for a long run.  Ends the process (exit 77) if the build under test is not there. */
void tap_init(int argc, char **argv, unsigned int limit_s);

/* One result; returns @ok.  The name says what holds. */
__attribute__((format(printf, 2, 3))) bool tap_ok(bool ok, const char *fmt, ...);

/* A result that could not be had, with the reason. */
void tap_skip(const char *name, const char *why);

/* A comment line. */
__attribute__((format(printf, 1, 2))) void tap_note(const char *fmt, ...);

/* Nothing more can be tested: "Bail out!", the group is killed, exit 1. */
__attribute__((format(printf, 1, 2), noreturn)) void tap_bail(const char *fmt, ...);

/* Print the plan; 0: all well, 1: a failure, 77: everything was skipped. */
int tap_done(void);

bool tap_long(void);
uint64_t tap_seed(void);
const char *tap_build(void); /* directory of accelmuxd: $AMUX_BUILD, else argv[0]'s parent's */

uint64_t tap_ns(void); /* CLOCK_MONOTONIC */
void tap_sleep_ms(unsigned int ms);

/* ----------------------------------------------------------------------- random */

static inline uint64_t rng_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* 0 .. n-1; n > 0 */
static inline uint64_t rng_below(uint64_t *state, uint64_t n)
{
	return (uint64_t)((unsigned __int128)rng_next(state) * n >> 64);
}

/* ---------------------------------------------------------------------- workers */

/* Shared with the worker; counters have the worker as their only writer. */
struct worker_report {
	uint32_t stop;	/* written by the test: finish */
	uint32_t ready; /* the worker is at work */
	uint32_t failed;
	uint64_t done;	  /* requests answered */
	uint64_t bytes;	  /* of them */
	uint64_t refused; /* of them: -ENODEV and the like, where that is allowed */
	uint64_t lost;	  /* of them: -EIO after the broker's death */
	uint64_t dry;	  /* times that too little was outstanding for what is measured */
	char why[256];	  /* the first failure */
};

struct worker {
	pid_t pid;
	struct worker_report *report;
};

/*
 * Fork; the child runs @main(@report, @arg) and exits with its value.  A worker of a test that
 * is gone is killed.
 */
void worker_spawn(struct worker *w, int (*main)(struct worker_report *report, void *arg),
		  void *arg);
/* Wait until it says ready, or has failed or ended; bails out after @timeout_s * TAP_SLOW. */
void worker_await(struct worker *w, unsigned int timeout_s);
/* Ask it to finish and wait for it, at most @timeout_s * TAP_SLOW.  Its exit status, 256 + the
 * signal that killed it, or -1: it did not end and was killed. */
int worker_stop(struct worker *w, unsigned int timeout_s);
/* Kill it with SIGKILL and wait. */
void worker_kill(struct worker *w);
/* Give the report back. */
void worker_free(struct worker *w);

/* For the worker: note the first failure. */
__attribute__((format(printf, 2, 3))) void worker_fail(struct worker_report *r, const char *fmt,
						       ...);
bool worker_stopping(const struct worker_report *r);
void worker_add(uint64_t *counter, uint64_t n);
uint64_t worker_read(const uint64_t *counter);

/* Exit status of @pid within @timeout_ms as worker_stop() tells it; -1: still running. */
int process_wait(pid_t pid, unsigned int timeout_ms);

#endif /* TESTS_TAP_H */
