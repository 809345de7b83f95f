// SPDX-License-Identifier: MIT
/*
 * engine.c - see engine.h.
 */
#include "engine.h"

#include <errno.h>
#include <time.h>

#include "bits.h"
#include "exec.h"
#include "report.h"
#include "wq.h"

/* Wait, locked, until @us have passed; not over a reset. */
static void delay(struct device *d, uint32_t us, uint64_t epoch)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += us / 1000000;
	ts.tv_nsec += us % 1000000 * 1000l;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	while (d->epoch == epoch &&
	       pthread_cond_timedwait(&d->work, &d->lock, &ts) != ETIMEDOUT)
		;
}

/* A Drain ends when everything of its WQ that was before it has; nothing behind it is started.
 */
static void drain(struct device *d, struct wq *w, uint64_t epoch)
{
	while (w->running > 1 && d->epoch == epoch)
		pthread_cond_wait(&d->quiet, &d->lock);
}

static struct limits limits_of(const struct device *d, unsigned int wq,
			       const struct dsa_hw_desc *desc)
{
	const struct wq *w = &d->wq[wq];

	return (struct limits){
		.xfer = 1ull << WQ_XFER_SHIFT(w->cfg),
		.batch = 1u << WQ_BATCH_SHIFT(w->cfg),
		.handles = d->handles,
		.epoch = d->epoch,
		.wq = wq,
		.by = { .has_pasid = WQ_PASID_EN(w->cfg),
			.pasid = desc->pasid,
			.priv = desc->priv },
	};
}

static void account(struct engine *e, struct wq *w, const struct outcome *out, uint64_t ns)
{
	w->count.done++;
	w->count.errors += out->status != DSA_COMP_SUCCESS;
	w->count.bytes += out->bytes;
	e->count.descriptors++;
	e->count.bytes += out->bytes;
	e->count.busy_ns += ns;
}

/* One descriptor, from its start to its answer; locked but while it is executed. */
static void serve(struct engine *e, unsigned int index, const struct dsa_hw_desc *desc)
{
	struct device *d = e->device;
	struct wq *w = &d->wq[index];
	struct limits limits = limits_of(d, index, desc);
	struct verdict v = fault_judge(&d->fault, index);
	struct outcome out = { .status = v.status };
	uint64_t begin = clock_now(), end = begin, at_most = UINT64_MAX;

	if (desc->opcode == DSA_OPCODE_DRAIN)
		drain(d, w, limits.epoch);
	if (v.delay_us)
		delay(d, v.delay_us, limits.epoch);
	while (v.hang && d->fault.set[FAULT_HANG] && d->epoch == limits.epoch) {
		e->stuck = true;
		pthread_cond_wait(&d->work, &d->lock);
	}
	e->stuck = false;
	if (d->epoch != limits.epoch)
		return;
	if (v.lose) {
		w->count.lost++;
		return;
	}
	if (v.partial)
		at_most = desc->xfer_size / 2;
	pthread_mutex_unlock(&d->lock);
	if (!v.status)
		out = exec_run(d, desc, &limits, at_most, &end);
	/* Counted before it is told: who hears of it finds it in the counters. */
	pthread_mutex_lock(&d->lock);
	if (d->epoch != limits.epoch)
		out.gone = true;
	if (!out.gone)
		account(e, w, &out, end - begin);
	pthread_mutex_unlock(&d->lock);
	if (!out.gone)
		report_done(d, &limits, desc, &out, v.lose_irq);
	pthread_mutex_lock(&d->lock);
}

static void *engine_main(void *arg)
{
	struct engine *e = arg;
	struct device *d = e->device;
	struct dsa_hw_desc desc;
	int index;

	pthread_mutex_lock(&d->lock);
	for (;;) {
		index = wq_take(d, e->index, &desc);
		if (index < 0) {
			pthread_cond_wait(&d->work, &d->lock);
			continue;
		}
		e->busy = true;
		e->pasid = desc.pasid;
		serve(e, (unsigned int)index, &desc);
		e->busy = false;
		d->wq[index].running--;
		if (desc.opcode == DSA_OPCODE_DRAIN) {
			d->wq[index].draining = false;
			pthread_cond_broadcast(&d->work);
		}
		pthread_cond_broadcast(&d->quiet);
	}
	return NULL;
}

int engines_start(struct device *d)
{
	int ret = 0;

	for (unsigned int i = 0; i < ENGINES && !ret; i++) {
		d->engine[i].device = d;
		d->engine[i].index = i;
		ret = -pthread_create(&d->engine[i].thread, NULL, engine_main, &d->engine[i]);
	}
	return ret;
}

void engines_settle(struct device *d, uint32_t mask)
{
	for (unsigned int i = 0; i < WQS; i++)
		while ((mask >> i & 1) && d->wq[i].running)
			pthread_cond_wait(&d->quiet, &d->lock);
}
