/* SPDX-License-Identifier: MIT */
/*
 * handle.h - struct amux, the connection, and what the library's files share of it.
 *
 * Owner: amux_connect() makes it, amux_close() frees it.  Threads: any; each group of
 * fields names its lock.  Locks are taken in the order sync_lock, life.lock, talk_lock, lock,
 * regions.lock; none is held while the library sleeps for pacing.
 *
 * Names that begin with amux_ but are not in accelmux.h are private: hidden in the shared
 * library, prefixed so that the static one does not pollute an application.
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <accelmux/accelmux.h>

#include "barrier.h"
#include "life.h"
#include "link.h"
#include "region.h"
#include "tally.h"

#define AMUX_NSEC_PER_SEC 1000000000ull
#define AMUX_GUARD_MAGIC  0x616d757867756172ull
#define AMUX_RATES	  4
#define AMUX_LAGS	  14

struct amux {
	/* constant after amux_connect() */
	uint64_t *guard; /* a page that fork() wipes: AMUX_GUARD_MAGIC in the maker alone */
	bool may_spin;	 /* more than one CPU to run on */

	/* The broker's, of its last WELCOME: written under @lock, read by relaxed loads. */
	uint64_t cpu_bps; /* modelled CPU copy rate, bytes/s; 0: full speed */
	uint32_t max_entries;

	uint32_t dead; /* @link is not up; stored with release, acquire in amux_is_dead() */

	struct amux_life life; /* has its own lock: how a new broker is found */

	pthread_mutex_t talk_lock; /* the socket: one exchange at a time */

	struct amux_regions regions; /* has its own lock */

	pthread_mutex_t lock; /* the link, the list of queues, the totals of closed ones */
	struct amux_link *link;
	struct amux_queue *queues;
	struct amux_stats closed;

	pthread_mutex_t sync_lock; /* amux_copy()'s queue; only ever tried, never waited for */
	struct amux_queue *sync;   /* NULL until the first copy worth it; set with release */
	uint32_t sync_off;	   /* it could not be made: amux_copy() stays on the CPU */
	uint32_t sync_renew;	   /* a new broker: what its ring says is an old one's */

	/* What amux_copy() knows; any thread, relaxed: hints, and one is as good as another. */
	uint64_t copy_min;		 /* smaller ones are not for the engine, as last seen */
	uint64_t sync_lag_ns[AMUX_LAGS]; /* of the engine, beyond what was predicted, by size */
	uint64_t cpu_rate[AMUX_RATES];	 /* measured, bytes/s by size of copy; 0: not yet */

	struct amux_tally tallies[AMUX_TALLIES] __attribute__((aligned(64)));
};

static inline uint64_t amux_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * AMUX_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* 0, -EINVAL for no handle, -EPERM in a process that did not make it. */
static inline int amux_check(const struct amux *a)
{
	if (!a)
		return -EINVAL;
	return *a->guard == AMUX_GUARD_MAGIC ? 0 : -EPERM;
}

/* Is there no broker, as far as anyone has noticed?  The acquire pairs with the release in
 * amux_link_fail(). */
static inline bool amux_is_dead(const struct amux *a)
{
	return amux_load_acquire(&a->dead);
}

/* Where to connect, see amux_options.socket.  -ENAMETOOLONG. */
int amux_socket_path(const char *wanted, char *buf, size_t len);

/* Set this thread's amux_error() text. */
void amux_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* CLIENT_HANDLE_H */
