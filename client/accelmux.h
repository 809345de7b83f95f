/* SPDX-License-Identifier: MIT */
/*
 * accelmux.h - libaccelmux: copy memory through the host's accelmux broker.
 *
 *	struct amux *a;
 *	struct amux_queue *q;
 *	void *buf = NULL;
 *
 *	amux_connect(&a, NULL);
 *	amux_alloc(a, 1 << 20, 0, &buf);		shared with the broker
 *	amux_queue_create(a, 64, &q);
 *	sqe = amux_get_sqe(q);				NULL: the queue is full, wait first
 *	amux_prep_copy(a, sqe, dst, src, len);
 *	sqe->user_data = 42;
 *	amux_submit(q);
 *	amux_wait(q, cqes, 16, 1, NULL);		cqes[i].status is 0 or -errno
 *
 * What the broker declines is copied by the library inside amux_wait()/amux_peek(): an
 * application sees only 0 or -errno.  Without a broker amux_copy() is memmove().
 *
 * The broker's death.  Each request is answered once.  What the broker had not begun is done by
 * this CPU (-ENODEV if ENGINE_ONLY).  What it had perhaps begun is done over, in the order of
 * submission, if that comes to the same as having done it once: it must not overlap itself,
 * and no request submitted later that may have run writes its source or touches its
 * destination.  The rest is answered -EIO.  Then everything is done by this CPU, and the next
 * broker is looked for: after 10 ms, doubling to 1 s, jittered, by whatever call comes then
 * (amux_submit(), amux_peek(), amux_wait(), amux_copy(), amux_alive()), none of which waits for
 * it.  There is no hidden thread: a program that makes no calls finds no broker.  Regions,
 * queues, region ids and descriptors of amux_eventfd() stay what they were.
 *
 * A broker that stops.  After 100 ms without a sign of life requests that it has not claimed
 * are taken back and done by this CPU, and so is new work, ENGINE_ONLY excepted, which waits.
 * What it has claimed waits until it goes on or dies.
 *
 * Ownership: amux_connect() makes the handle, amux_close() frees it with everything made
 * from it.  Threads: one thread per queue at a time; queues of one handle may be used by
 * different threads; amux_copy(), amux_alloc(), amux_register() and the like may be called
 * by any thread.  After fork() every call in the child returns -EPERM; the child may
 * connect anew.
 *
 * Every function returns 0 (or a count) on success and -errno otherwise; none sets errno.
 * amux_error() gives the broker's one-line reason for the last failed call that asked it.
 */
#ifndef ACCELMUX_H
#define ACCELMUX_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <accelmux/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct amux;
struct amux_queue;

/* ---------------------------------------------------------------- connection */

struct amux_options {
	const char *socket; /* NULL: $ACCELMUX_SOCKET, else the per-user socket if there is
			     * one, else /run/accelmux/accelmux.sock */
	const char
		*name; /* shown to operators, up to 31 printable bytes; NULL: the program's */
	uint32_t node; /* preferred NUMA node; AMUX_NODE_ANY: the one the caller runs on */
};

#define AMUX_OPTIONS_INIT                 \
	{                                 \
		NULL, NULL, AMUX_NODE_ANY \
	}

/*
 * Connect to the broker.  @opt may be NULL.  On success *@out is the caller's.
 * -ENOENT, -ECONNREFUSED: no broker; -EPROTO: not a broker, or an incompatible one;
 * -ETIMEDOUT: it does not answer; -EINVAL: bad option.  On failure *@out is NULL.
 */
int amux_connect(struct amux **out, const struct amux_options *opt);

/* Close and free @a (may be NULL) with its queues and regions; memory from amux_alloc() is
 * unmapped.  Work in flight is waited for. */
void amux_close(struct amux *a);

/* The broker's reason for this thread's last failed call, one line, never NULL. */
const char *amux_error(void);

/* 1 while there is a broker, 0 after its death until the next one was found (everything then
 * runs on the CPU).  Helps to find it. */
int amux_alive(struct amux *a);

/* The tenant this connection is accounted to, by the current broker; valid until
 * amux_close(). */
const char *amux_tenant(struct amux *a);

/* -------------------------------------------------------------------- memory */

#define AMUX_ALLOC_HUGETLB (1u << 0) /* 2 MiB pages; -ENOMEM when the host has none */

/*
 * Allocate @len bytes (rounded up to pages) of zeroed memory shared with the broker.
 * Free with amux_free(@a, *@out).  -ENOMEM, -ENOSPC (region limit), -EINVAL.
 */
int amux_alloc(struct amux *a, size_t len, unsigned int flags, void **out);
int amux_free(struct amux *a, void *ptr); /* waits until no copy uses it */

/*
 * Register the caller's own shmem or hugetlb memfd, mapped by the caller at @addr
 * (MAP_SHARED, offset 0, @len bytes).  The fd must carry F_SEAL_SHRINK; a read-only fd makes
 * a source-only region.  The fd and mapping stay the caller's; the mapping must outlive the
 * registration.  The library keeps a duplicate of the fd, for the next broker.  Undo with
 * amux_unregister(@a, @addr).
 */
int amux_register(struct amux *a, int memfd, void *addr, size_t len);
int amux_unregister(struct amux *a, void *addr);

/* Which region and offset @ptr .. @ptr + @len lies in; -ENOENT if in none. */
int amux_locate(struct amux *a, const void *ptr, size_t len, uint32_t *region,
		uint64_t *offset);

/* -------------------------------------------------------------------- queues */

/* A queue of @entries (2 .. 32768, rounded up to a power of two) requests in flight. */
int amux_queue_create(struct amux *a, unsigned int entries, struct amux_queue **out);
int amux_queue_destroy(struct amux_queue *q); /* waits for what is in flight */

/* The next free request, zeroed, or NULL if the queue is full.  The library counts one
 * request in flight from here to its answer: never more than the queue's entries. */
struct amux_sqe *amux_get_sqe(struct amux_queue *q);

/* Fill in a request; user_data and flags are the caller's to set afterwards.  -ENOENT if a
 * range lies in no region: the request is then a NOOP.  Lengths in bytes. */
int amux_prep_noop(struct amux_sqe *sqe);
int amux_prep_copy(struct amux *a, struct amux_sqe *sqe, void *dst, const void *src,
		   size_t len);
int amux_prep_fill(struct amux *a, struct amux_sqe *sqe, void *dst, uint64_t pattern,
		   size_t len);
int amux_prep_compare(struct amux *a, struct amux_sqe *sqe, const void *x, const void *y,
		      size_t len);
int amux_prep_dualcast(struct amux *a, struct amux_sqe *sqe, void *dst1, void *dst2,
		       const void *src, size_t len);
int amux_prep_crc32c(struct amux *a, struct amux_sqe *sqe, const void *src, uint32_t seed,
		     size_t len);
int amux_prep_copy_crc(struct amux *a, struct amux_sqe *sqe, void *dst, const void *src,
		       uint32_t seed, size_t len);

/*
 * Take back an earlier request of the same queue: the latest in flight with @user_data, and with
 * AMUX_CANCEL_LATER all that were submitted after it, too.  Those not begun yet are answered
 * -ECANCELED; result: how many.  What has begun goes on to its end.  A CANCEL waits for nothing,
 * not even a FENCE, takes no flags, and is taken back by none.  Never fails but for a NULL @sqe or
 * unknown @flags (-EINVAL).
 */
#define AMUX_CANCEL_LATER (1u << 0)
int amux_prep_cancel(struct amux_sqe *sqe, uint64_t user_data, unsigned int flags);

/* Hand everything prepared to the broker; returns how many. */
int amux_submit(struct amux_queue *q);

/*
 * Collect up to @max answers.  Copies what was declined (amux_peek: at most 1 MiB a call).
 * amux_peek never sleeps.  amux_wait sleeps until at least @min (1 .. @max) are there or the
 * relative @timeout (NULL: none) has passed; returns the number, -ETIME if there is none,
 * -ENODATA if nothing is in flight.
 */
int amux_peek(struct amux_queue *q, struct amux_cqe *cqes, unsigned int max);
int amux_wait(struct amux_queue *q, struct amux_cqe *cqes, unsigned int max, unsigned int min,
	      const struct timespec *timeout);

/* A descriptor for event loops: readable when amux_peek() may find something (the broker's
 * death included), provided amux_arm() was called and returned 0 since the last peek that
 * found nothing.  Poll it for input, never read it; the library owns it. */
int amux_eventfd(struct amux_queue *q);
/* 0: armed; 1: answers are already there, peek first. */
int amux_arm(struct amux_queue *q);

/* How long amux_wait() spins before it sleeps, ns; default 20000. */
void amux_set_spin(struct amux_queue *q, uint64_t ns);

/* --------------------------------------------------------------- synchronous */

/* memmove(), by the engine where that is predicted to be faster, else by this CPU.  @a may be
 * NULL: plain memmove().  -EIO: the broker died in the middle of an overlapping copy.  If the
 * broker stops in the middle, so does the copy, until it goes on or dies. */
int amux_copy(struct amux *a, void *dst, const void *src, size_t len);

/* --------------------------------------------------------------------- stats */

struct amux_stats {
	uint64_t submitted;   /* requests handed to the broker */
	uint64_t engine_done; /* answered by the broker, success or error */
	uint64_t engine_bytes;
	uint64_t declined; /* requests done by this library's CPU: the broker sent them
				 * back, or there is none any more */
	uint64_t declined_bytes;
	uint64_t sync_engine; /* amux_copy() calls by path */
	uint64_t sync_cpu;
	uint64_t errors;      /* answers with -errno, but for -ECANCELED */
	uint64_t lost_broker; /* requests answered -EIO because the broker died */
	uint64_t cpu_ns;      /* spent copying in this library, pacing excluded; at full speed
				 * amux_copy() of less than 256 KiB is estimated from every
				 * 256th call, of less than 4 KiB left out */
	uint64_t rejected;    /* answers that fitted no request: ignored */
	uint64_t withdrawn;   /* answered -ECANCELED: neither done nor errors */
	uint64_t sync_both;   /* amux_copy() calls by engine and CPU together */
	uint64_t reconnects;  /* brokers found after the first one was gone */
	uint64_t redone;      /* requests of a dead broker done over by this CPU; also in
				 * declined */
	uint64_t recalled;    /* requests taken back from a broker that stopped */
};

/* Totals over all queues, closed ones included. */
int amux_get_stats(struct amux *a, struct amux_stats *out);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* ACCELMUX_H */
