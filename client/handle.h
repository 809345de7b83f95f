/* SPDX-License-Identifier: MIT */
/*
 * handle.h - struct amux, the connection, and what the library's files share of it.
 *
 * Owner: amux_connect() makes it, amux_close() frees it.  Threads: any; each group of
 * fields names its lock.  Locks are taken in the order sync_lock, lock, talk_lock,
 * regions.lock; none is held while the library sleeps for pacing.
 *
 * Names that begin with amux_ but are not in accelmux.h are private: hidden in the shared
 * library, prefixed so that the static one does not pollute an application.
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <accelmux/accelmux.h>

#include "barrier.h"
#include "region.h"
#include "tally.h"

#define AMUX_NSEC_PER_SEC 1000000000ull
#define AMUX_GUARD_MAGIC  0x616d757867756172ull
#define AMUX_RATES	  4
#define AMUX_LAGS	  14

struct amux {
	/* constant after amux_connect() */
	uint64_t *guard; /* a page that fork() wipes: AMUX_GUARD_MAGIC in the maker alone */
	int sock, pidfd;
	uint64_t cpu_bps; /* modelled CPU copy rate, bytes/s; 0: full speed */
	uint32_t max_entries;
	bool may_spin; /* more than one CPU to run on */
	char tenant[AMUX_NAME_LEN];

	uint32_t dead; /* set once, release; the acquire is in amux_is_dead() */

	pthread_mutex_t talk_lock; /* the socket: one exchange at a time */
	uint64_t cookie;

	struct amux_regions regions; /* has its own lock */

	pthread_mutex_t lock; /* the list of queues, the totals of closed ones */
	struct amux_queue *queues;
	struct amux_stats closed;

	pthread_mutex_t sync_lock; /* amux_copy()'s queue; only ever tried, never waited for */
	struct amux_queue *sync;   /* NULL until the first copy worth it; set with release */
	uint32_t sync_off;	   /* it could not be made: amux_copy() stays on the CPU */

	/* What amux_copy() knows; any thread, relaxed: hints, and one is as good as another. */
	uint64_t copy_min;	       /* smaller ones are not for the engine, as last seen */
	uint64_t sync_lag_ns[AMUX_LAGS]; /* of the engine, beyond what was predicted, by size */
	uint64_t cpu_rate[AMUX_RATES]; /* measured, bytes/s by size of copy; 0: not yet */

	struct amux_tally tallies[AMUX_TALLIES] __attribute__((aligned(64)));
};

static inline uint64_t amux_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * AMUX_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* 0, -EINVAL for no handle, -EPERM in a process that did not make it. */
int amux_check(const struct amux *a);

/* Has the broker's death been noticed?  The acquire pairs with amux_set_dead(): whoever
 * sees it also sees every CQE that was published before. */
static inline bool amux_is_dead(const struct amux *a)
{
	return amux_load_acquire(&a->dead);
}

static inline void amux_set_dead(struct amux *a)
{
	amux_store_release(&a->dead, 1); /* pairs with amux_is_dead() */
}

/* Ask the kernel whether the broker died or hung up; notes it.  Costs a system call. */
bool amux_probe_dead(struct amux *a);

/* Where to connect, see amux_options.socket.  -ENAMETOOLONG. */
int amux_socket_path(const char *wanted, char *buf, size_t len);

/* Set this thread's amux_error() text. */
void amux_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ----------------------------------------------------------- message exchange (talk.c) */

#define AMUX_TALK_FOREVER (-1)

struct amux_answer {
	union {
		struct amux_msg_hdr hdr;
		struct amux_msg_welcome welcome;
		struct amux_msg_registered registered;
		struct amux_msg_queue_created queue_created;
		struct amux_msg_error error;
		uint8_t raw[AMUX_MSG_MAX];
	};
	int fds[AMUX_MSG_FDS]; /* the caller's after success */
};

/*
 * Send @req (type and len filled in), with @fd unless it is -1, and wait for the answer of
 * type @want.  @timeout_ms bounds the wait for the answer.  0; the broker's own -errno;
 * -EPROTO: malformed answer; -ETIMEDOUT; -ECONNRESET: the broker is gone, which is noted.
 * Every failure sets amux_error().
 */
int amux_talk(struct amux *a, struct amux_msg_hdr *req, int fd, uint32_t want, int timeout_ms,
	      struct amux_answer *ans);

#endif /* CLIENT_HANDLE_H */
