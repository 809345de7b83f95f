// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft_thread.c - engine threads: thread t serves engines t, t + threads, ...
 */
#include <errno.h>
#include <numa.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "clock.h"
#include "futex.h"
#include "soft_dev.h"

#define STRETCH_NS 1000000u /* of execution between two looks at the stop flag */
#define SLACK_NS   1000u    /* timer slack: modelled finishes are close together */

static void thread_wake(struct soft_thread *t)
{
	/* the waker's half of NEED_WAKEUP; the sleeper's is in thread_sleep() */
	amux_full_barrier();
	if (!amux_load_relaxed(&t->sleeping))
		return;
	__atomic_fetch_add(&t->wake_seq, 1, __ATOMIC_RELAXED);
	futex_wake_all(&t->wake_seq);
}

void soft_thread_wake(struct soft *s, unsigned int engine)
{
	thread_wake(&s->thread[engine % s->threads]);
}

static bool stopping(struct soft *s)
{
	/* acquire: pairs with soft_threads_stop() */
	return amux_load_acquire(&s->stop);
}

static bool has_work(const struct soft_thread *t)
{
	const struct soft *s = t->soft;

	for (unsigned int i = t->index; i < s->engines; i += s->threads)
		if (!wq_empty(&s->engine[i].wq[ENGINE_WQ_KERNEL]) ||
		    !wq_empty(&s->engine[i].wq[ENGINE_WQ_USER]))
			return true;
	return false;
}

static void free_running(struct soft_thread *t)
{
	struct soft *s = t->soft;

	while (!stopping(s)) {
		uint32_t seq = amux_load_relaxed(&t->wake_seq);

		if (soft_run(s, t->index, s->threads, STRETCH_NS))
			continue;
		amux_store_relaxed(&t->sleeping, 1);
		/* the sleeper's half of NEED_WAKEUP; the waker's is in thread_wake() */
		amux_full_barrier();
		if (!has_work(t) && !stopping(s))
			futex_wait(&t->wake_seq, seq, UINT64_MAX);
		amux_store_relaxed(&t->sleeping, 0);
	}
}

/* Called and returns with the lock held: copy what finished on this thread's engines. */
static bool copy_finished(struct soft_thread *t)
{
	struct soft *s = t->soft;
	struct soft_item item;
	bool any = false;

	for (unsigned int i = t->index; i < s->engines; i += s->threads) {
		struct soft_done done = { 0 };
		uint64_t from;

		if (!soft_take_finished(s, i, &item))
			continue;
		pthread_mutex_unlock(&s->lock);
		from = clock_ns();
		soft_complete(s, i, &item, &done);
		soft_count(&s->engine[i].count.cpu_ns, clock_ns() - from);
		soft_announce(s, &done);
		pthread_mutex_lock(&s->lock);
		any = true;
	}
	return any;
}

/* Whoever is awake turns the model for all engines; each thread copies for its own. */
static void modelled(struct soft_thread *t)
{
	struct soft *s = t->soft;

	pthread_mutex_lock(&s->lock);
	while (!stopping(s)) {
		uint32_t seq = amux_load_relaxed(&t->wake_seq);
		bool others = false;
		uint64_t now, next;
		int e;

		while ((e = soft_step(s, clock_ns())) != SOFT_STEP_NONE)
			others |= e >= 0;
		/* A finish may be another thread's to copy, and speeds the others up. */
		for (unsigned int i = 0; i < s->threads && others; i++)
			if (i != t->index)
				thread_wake(&s->thread[i]);
		if (copy_finished(t))
			continue;

		amux_store_relaxed(&t->sleeping, 1);
		/* the sleeper's half of NEED_WAKEUP; the waker's is in thread_wake() */
		amux_full_barrier();
		now = clock_ns();
		next = soft_step_next(s, now);
		if (next > now && !stopping(s)) {
			pthread_mutex_unlock(&s->lock);
			futex_wait(&t->wake_seq, seq,
				   next == UINT64_MAX ? UINT64_MAX : next - now);
			pthread_mutex_lock(&s->lock);
		}
		amux_store_relaxed(&t->sleeping, 0);
	}
	pthread_mutex_unlock(&s->lock);
}

static void *thread_main(void *arg)
{
	struct soft_thread *t = arg;
	char name[16];

	snprintf(name, sizeof(name), "soft%u.%u", t->soft->dev->index & 0xff, t->index & 0xf);
	pthread_setname_np(pthread_self(), name);
	prctl(PR_SET_TIMERSLACK, SLACK_NS);
	/* best effort: a wrong node costs speed, not correctness, and is the config's to refuse
	 */
	if (t->soft->dev->node >= 0 && numa_available() >= 0)
		numa_run_on_node(t->soft->dev->node);
	if (t->soft->modelled)
		modelled(t);
	else
		free_running(t);
	return NULL;
}

static void stop(struct soft *s, unsigned int n)
{
	/* release: pairs with stopping() */
	amux_store_release(&s->stop, 1);
	for (unsigned int i = 0; i < n; i++) {
		thread_wake(&s->thread[i]);
		pthread_join(s->thread[i].id, NULL);
	}
}

int soft_threads_start(struct soft *s)
{
	for (unsigned int i = 0; i < s->threads; i++) {
		struct soft_thread *t = &s->thread[i];
		int ret;

		t->soft = s;
		t->index = i;
		ret = pthread_create(&t->id, NULL, thread_main, t);
		if (ret) {
			stop(s, i);
			return -ret;
		}
	}
	return 0;
}

void soft_threads_stop(struct soft *s)
{
	stop(s, s->threads);
}
