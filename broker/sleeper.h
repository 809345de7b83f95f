/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sleeper.h - timed sleep that another thread can end for good: how a thread waits for
 * points in time and yet stops at once.
 *
 * Owner: embedded in the sleeping object.  Threads: one sleeps, any thread stops it.
 */
#ifndef BROKER_SLEEPER_H
#define BROKER_SLEEPER_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "clock.h"

struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop; /* written under @lock, read anywhere */
};

static inline int sleeper_init(struct sleeper *s)
{
	pthread_condattr_t attr;
	int ret;

	s->stop = false;
	ret = pthread_condattr_init(&attr);
	if (ret)
		return -ret;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ret = pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (ret)
		return -ret;
	ret = pthread_mutex_init(&s->lock, NULL);
	if (ret)
		pthread_cond_destroy(&s->cond);
	return -ret;
}

/* Partner of sleeper_init(). */
static inline void sleeper_fini(struct sleeper *s)
{
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->cond);
}

static inline bool sleeper_stopped(const struct sleeper *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
}

/* End the sleep in progress and every later one. */
static inline void sleeper_stop(struct sleeper *s)
{
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Sleep until CLOCK_MONOTONIC @ns or stop; true if stopped. */
static inline bool sleeper_until(struct sleeper *s, uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(ns % NSEC_PER_SEC) };
	bool stop;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && pthread_cond_timedwait(&s->cond, &s->lock, &ts) != ETIMEDOUT)
		;
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

#endif /* BROKER_SLEEPER_H */
