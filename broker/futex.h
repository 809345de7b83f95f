/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * futex.h - sleep on a 32-bit word until it changes.  Private to this process, but for the
 * two whose names say otherwise.
 *
 * Owner: whoever owns the word.  Any thread.  The caller follows the NEED_WAKEUP discipline
 * of client/barrier.h around it: the sleeper announces itself, full barrier, rechecks; the
 * waker publishes, full barrier, looks for an announcement.
 */
#ifndef BROKER_FUTEX_H
#define BROKER_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

/*
 * Sleep while *@word == @seen, at most @timeout_ns (UINT64_MAX: for ever).  Returns 0 when
 * woken, changed or interrupted - the caller rechecks - and -ETIMEDOUT.
 */
static inline int futex_wait(uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(timeout_ns % NSEC_PER_SEC) };

	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen,
		    timeout_ns == UINT64_MAX ? NULL : &ts, NULL, 0) == 0)
		return 0;
	return errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static inline void futex_wake_all(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* The same for a word in memory that another process maps; without a time-out. */
static inline void futex_wait_shared(uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

/* Never blocks, whatever the other process did to the word. */
static inline void futex_wake_shared(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

#endif /* BROKER_FUTEX_H */
