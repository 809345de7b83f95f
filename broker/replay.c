// SPDX-License-Identifier: GPL-2.0-only
/*
 * replay.c - see replay.h: when batches arrive.  What becomes of one is mover.c's.
 */
#include "replay.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "../client/barrier.h"
#include "mover.h"

#define TIMEOUT_NS  NSEC_PER_SEC
#define TIMER_SLACK 1000 /* ns; the default of 50 us would show in modelled copies */
#define QUIESCE_NS  (2 * NSEC_PER_SEC)
#define SCALE_MAX   100000ull /* times the longest trace: still far from overflow */

struct replay {
	struct trace trace;
	struct mover mover;
	struct sleeper sleeper;
	uint64_t time_scale;
	bool loop;
	bool running;
	pthread_t thread;
};

/* One pass over the trace that begins at @start; false if stopped. */
static bool replay_pass(struct replay *r, uint64_t start)
{
	for (uint32_t i = 0; i < r->trace.n; i++) {
		const struct trace_batch *b = &r->trace.batch[i];

		mover_prepare(&r->mover, b);
		if (sleeper_until(&r->sleeper, start + b->time_ns * r->time_scale))
			return false;
		mover_move(&r->mover, b);
		mover_verify(&r->mover, b);
	}
	return true;
}

static void *replay_thread(void *arg)
{
	struct replay *r = arg;
	uint64_t start, now;

	pthread_setname_np(pthread_self(), "amux-replay");
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0);
	mover_measure(&r->mover);
	start = clock_ns();
	while (replay_pass(r, start) && r->loop) {
		start += r->trace.period_ns * r->time_scale;
		now = clock_ns();
		if (start < now) /* a pass that fell behind owes nothing to the next */
			start = now;
	}
	mover_quiesce(&r->mover, QUIESCE_NS);
	return NULL;
}

int replay_open(struct replay **out, const struct replay_config *cfg, void *map,
		struct device *const *dev, unsigned int n_devs,
		const struct replay_notify *notify, char *err, size_t errlen)
{
	struct amux_demand *demand = (struct amux_demand *)((char *)map + 4096);
	struct replay *r;
	uint64_t scale = cfg->time_scale ? cfg->time_scale : 1;
	int ret;

	if (scale > SCALE_MAX) {
		snprintf(err, errlen, "%s: time_scale %llu: expected at most %llu", cfg->path,
			 (unsigned long long)scale, SCALE_MAX);
		return -EINVAL;
	}
	snprintf(err, errlen, "%s: not enough memory to replay it", cfg->path);
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	ret = trace_load(&r->trace, cfg->path, err, errlen);
	if (ret)
		goto free_replay;
	ret = sleeper_init(&r->sleeper);
	if (ret)
		goto free_trace;
	r->time_scale = scale;
	r->loop = cfg->loop;
	r->mover.sleeper = &r->sleeper;
	r->mover.grant = map;
	r->mover.demand = demand;
	r->mover.arrived = notify ? notify->arrived : NULL;
	r->mover.arg = notify ? notify->arg : NULL;
	r->mover.cpu_bps = cfg->cpu_bps;
	r->mover.verify = cfg->verify;
	r->mover.timeout_ns =
		cfg->timeout_ns ? cfg->timeout_ns : TIMEOUT_NS * (scale > 10 ? scale / 10 : 1);
	ret = mover_init(&r->mover, dev, n_devs, r->trace.max_pages);
	if (ret)
		goto fini_sleeper;
	amux_store_relaxed(&demand->version, AMUX_GRANT_VERSION);
	amux_store_release(&demand->magic, AMUX_GRANT_MAGIC);
	*out = r;
	return 0;

fini_sleeper:
	sleeper_fini(&r->sleeper);
free_trace:
	trace_free(&r->trace);
free_replay:
	free(r);
	return ret;
}

int replay_start(struct replay *r)
{
	int ret = pthread_create(&r->thread, NULL, replay_thread, r);

	r->running = !ret;
	return -ret;
}

void replay_stop(struct replay *r)
{
	if (!r->running)
		return;
	sleeper_stop(&r->sleeper);
	pthread_join(r->thread, NULL);
	r->running = false;
}

void replay_close(struct replay *r)
{
	if (!r)
		return;
	replay_stop(r);
	mover_fini(&r->mover);
	sleeper_fini(&r->sleeper);
	trace_free(&r->trace);
	free(r);
}

uint64_t replay_mismatches(const struct replay *r)
{
	return amux_load_relaxed(&r->mover.mismatches);
}

const char *replay_provenance(const struct replay *r)
{
	return trace_sources[r->trace.source];
}
