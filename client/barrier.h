/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - every memory ordering primitive that the rings use, in one place.
 *
 * Owner: none, pure functions.  Any thread.
 *
 * The rings live in memory that another process writes, so the fields are plain
 * integers of the ABI and all access to them goes through these helpers, never
 * through a bare dereference: the compiler may neither tear, repeat nor invent one.
 */
#ifndef AMUX_BARRIER_H
#define AMUX_BARRIER_H

#include <stdint.h>

/* Read a field whose ordering does not matter, or is provided by someone else. */
#define amux_load_relaxed(p)	 __atomic_load_n((p), __ATOMIC_RELAXED)
#define amux_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

/* An acquire load must name its partner, the release store, where it is used. */
#define amux_load_acquire(p)	 __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define amux_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/*
 * The full barrier of the NEED_WAKEUP discipline, on both sides of the same pair:
 *   producer: publish tail; amux_full_barrier(); read NEED_WAKEUP
 *   sleeper:  set NEED_WAKEUP; amux_full_barrier(); recheck tail
 * Without it on either side the store may pass the load (store buffers) and both
 * sides miss each other: a lost wake-up.
 */
static inline void amux_full_barrier(void)
{
#if defined(__SANITIZE_THREAD__)
	/* TSan does not model fences; an RMW on a private word is a full barrier on x86. */
	uint32_t dummy = 0;
	__atomic_fetch_add(&dummy, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Polite busy-waiting: frees the sibling thread's issue slots. */
static inline void amux_cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

/* Have the cache line of @p come, to be read or to be written: what another CPU wrote last takes
 * as long as many instructions, and several lines can be on their way at once. */
static inline void amux_prefetch(const void *p)
{
	__builtin_prefetch(p, 0, 3);
}

static inline void amux_prefetch_write(void *p)
{
#if defined(__x86_64__)
	/* what the builtin does only when told of newer CPUs; the others take it as a no-op */
	__asm__ __volatile__("prefetchw %0" : : "m"(*(char *)p));
#else
	__builtin_prefetch(p, 1, 3);
#endif
}

/*
 * Order earlier non-temporal stores before a later publishing store: a release store
 * alone does not order movnt* on x86.
 */
static inline void amux_nt_fence(void)
{
#if defined(__x86_64__)
	__builtin_ia32_sfence();
#endif
}

#endif /* AMUX_BARRIER_H */
