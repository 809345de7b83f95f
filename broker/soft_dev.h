/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft_dev.h - inside the soft device: what soft.c (the device), soft_sched.c (which
 * descriptor is served when) and soft_thread.c (engine threads) share.  Not for others.
 *
 * Who consumes the WQs and, in a modelled device, turns the model: the mux thread (inline);
 * the engine's thread (threads, no model); whoever holds the lock (threads, model).
 */
#ifndef BROKER_SOFT_DEV_H
#define BROKER_SOFT_DEV_H

#include <pthread.h>

#include "engine.h"
#include "soft_exec.h"
#include "soft_model.h"
#include "soft_wq.h"

#define SOFT_FINISHED \
	16 /* descriptors past their modelled finish, not copied yet; power of 2 */

struct soft_item {
	struct dsa_hw_desc desc;
	enum engine_wq wq;
};

/* Each word has one writer at a time, see above; relaxed. */
struct soft_counters {
	uint64_t descriptors[ENGINE_WQS];
	uint64_t bytes[ENGINE_WQS];
	uint64_t busy_ns;
	uint64_t errors;
	uint64_t cpu_ns;
	uint64_t full[ENGINE_WQS] __attribute__((aligned(64))); /* writer: the submitter */
};

struct soft_engine {
	struct soft_wq wq[ENGINE_WQS];
	unsigned int credit[ENGINE_WQS];

	/* model only: in service, then finished and waiting for the copy */
	struct soft_item serving;
	struct soft_item finished[SOFT_FINISHED];
	uint32_t finished_head, finished_tail;

	struct soft_counters count;
};

/* An engine thread, and how it sleeps. */
struct soft_thread {
	struct soft *soft;
	unsigned int index;
	pthread_t id;
	uint32_t wake_seq; /* futex word */
	uint32_t sleeping;
};

/*
 * Page faults of the thread that copies.  While there are more of them than a few, descriptors are
 * timed: bytes do not tell any more what each costs.
 */
struct soft_watch {
	uint64_t looked_ns, until_ns;
	long faults;
};

struct soft {
	struct device *dev;
	struct soft_limits limits;
	unsigned int engines;
	unsigned int priority[ENGINE_WQS];
	unsigned int first; /* inline: engine to begin with, in turn */
	bool modelled;
	struct model model;
	unsigned int threads; /* that run; 0: inline */
	uint32_t stop;
	pthread_mutex_t lock; /* threads and model: see above */
	struct soft_thread thread[ENGINE_MAX];
	struct soft_watch watch[ENGINE_MAX]; /* by thread; inline: the first */
	struct soft_engine engine[ENGINE_MAX];
};

static inline void soft_count(uint64_t *word, uint64_t n)
{
	amux_store_relaxed(word, amux_load_relaxed(word) + n);
}

/* Completions by WQ that nobody has been told of. */
struct soft_done {
	unsigned int n[ENGINE_WQS];
};

/* Tell of them: the kernel side by its event, the mux by the doorbell if it sleeps apart. */
void soft_announce(struct soft *s, struct soft_done *done);

/*
 * Without a model: execute descriptors of engines @from, @from + @step, ... (of all, beginning
 * with @from, if @step is 1), one of each in turn, until all WQs are empty or about @budget_ns
 * have passed.  Returns how many.
 */
unsigned int soft_run(struct soft *s, unsigned int from, unsigned int step, uint64_t budget_ns);

enum { SOFT_STEP_NONE = -2, SOFT_STEP_STARTED = -1 };

/*
 * With a model: process the next start or finish in the order of modelled time.  Returns the
 * engine whose descriptor finished (it waits in finished[]), SOFT_STEP_STARTED, or
 * SOFT_STEP_NONE: nothing happens until @now.
 */
int soft_step(struct soft *s, uint64_t now);

/* When soft_step() is next worth calling, as next_event(). */
uint64_t soft_step_next(struct soft *s, uint64_t now);

/* Take the first finished descriptor of @engine. */
bool soft_take_finished(struct soft *s, unsigned int engine, struct soft_item *out);

/* Execute it and account for it; returns bytes moved. */
uint64_t soft_complete(struct soft *s, unsigned int engine, const struct soft_item *item,
		       struct soft_done *done);

int soft_threads_start(struct soft *s);
void soft_threads_stop(struct soft *s);
/* There is something new for @engine's thread. */
void soft_thread_wake(struct soft *s, unsigned int engine);

#endif /* BROKER_SOFT_DEV_H */
