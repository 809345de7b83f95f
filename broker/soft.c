// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft.c - the software DSA as a device: creation, the engine operations, counters.
 */
#include "soft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fault_fixup.h"
#include "soft_dev.h"

/* Without a model nothing is known of this host's speed: nominal, not measured. */
#define NOMINAL_BPS	10000000000ull
#define NOMINAL_DESC_NS 400u /* pull, schedule and answer included: one thread does it all */

void soft_config_default(struct soft_config *cfg)
{
	*cfg = (struct soft_config){
		.engines = 4,
		.wq_size = { [ENGINE_WQ_KERNEL] = 16, [ENGINE_WQ_USER] = 16 },
		.wq_priority = { [ENGINE_WQ_KERNEL] = ENGINE_PRIORITY_KERNEL,
				 [ENGINE_WQ_USER] = ENGINE_PRIORITY_USER },
		.max_xfer = 2 << 20,
		.time_scale = 1,
		.desc_ns = 80,
		.engine_bps = 30000000000ull,
		.fabric_bps = 30000000000ull,
		.node = -1,
	};
}

static int soft_submit(struct device *dev, unsigned int engine, enum engine_wq wq,
		       const struct dsa_hw_desc *desc, unsigned int n)
{
	struct soft *s = dev->priv;
	struct soft_engine *e;
	unsigned int taken;

	if (engine >= s->engines || wq >= ENGINE_WQS)
		return -EINVAL;
	e = &s->engine[engine];
	taken = wq_push(&e->wq[wq], desc, n, s->modelled ? clock_ns() : 0);
	if (taken < n)
		soft_count(&e->count.full[wq], n - taken);
	if (!taken)
		return 0;
	if (s->threads)
		soft_thread_wake(s, engine);
	else if (wq == ENGINE_WQ_KERNEL && dev->doorbell.ring)
		dev->doorbell.ring(dev->doorbell.arg);
	return (int)taken;
}

/* Inline, with a model: copy each descriptor when its modelled time has come. */
static unsigned int progress_modelled(struct soft *s, uint64_t now, uint64_t budget_ns)
{
	uint64_t begin = 0, last = 0, t;
	struct soft_done done = { 0 };
	struct soft_item item;
	unsigned int n = 0;
	int e;

	while ((e = soft_step(s, now)) != SOFT_STEP_NONE) {
		if (e < 0 || !soft_take_finished(s, (unsigned int)e, &item))
			continue;
		if (!n++)
			begin = last = clock_ns();
		soft_complete(s, (unsigned int)e, &item, &done);
		t = clock_ns();
		soft_count(&s->engine[e].count.cpu_ns, t - last);
		last = t;
		soft_announce(s, &done);
		if (t - begin >= budget_ns)
			break;
	}
	return n;
}

static unsigned int soft_progress(struct device *dev, uint64_t now_ns, uint64_t budget_ns)
{
	struct soft *s = dev->priv;

	if (s->threads)
		return 0;
	if (s->modelled)
		return progress_modelled(s, now_ns, budget_ns);
	/* where the budget ends must not favour an engine */
	s->first = s->first + 1 < s->engines ? s->first + 1 : 0;
	return soft_run(s, s->first, 1, budget_ns);
}

static uint32_t soft_copy(struct device *dev, unsigned int engine, const struct engine_copy *v,
			  uint32_t n)
{
	struct soft *s = dev->priv;
	struct soft_counters *c = &s->engine[engine].count;
	uint32_t done = soft_exec_copies(v, n);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < done; i++)
		bytes += v[i].bytes;
	soft_count(&c->descriptors[ENGINE_WQ_USER], done);
	soft_count(&c->bytes[ENGINE_WQ_USER], bytes);
	return done;
}

static void soft_copied(struct device *dev, unsigned int engine, uint64_t ns)
{
	struct soft *s = dev->priv;

	soft_count(&s->engine[engine].count.busy_ns, ns);
	soft_count(&s->engine[engine].count.cpu_ns, ns);
}

static uint64_t soft_next_event(struct device *dev, uint64_t now_ns)
{
	struct soft *s = dev->priv;

	if (s->threads)
		return UINT64_MAX;
	if (s->modelled)
		return soft_step_next(s, now_ns);
	for (unsigned int i = 0; i < s->engines; i++)
		for (unsigned int wq = 0; wq < ENGINE_WQS; wq++)
			if (!wq_empty(&s->engine[i].wq[wq]))
				return now_ns;
	return UINT64_MAX;
}

static void soft_read_stats(struct device *dev, unsigned int engine, struct engine_stats *out)
{
	const struct soft *s = dev->priv;
	const struct soft_counters *c;

	memset(out, 0, sizeof(*out));
	if (engine >= s->engines)
		return;
	c = &s->engine[engine].count;
	for (unsigned int wq = 0; wq < ENGINE_WQS; wq++) {
		out->descriptors[wq] = amux_load_relaxed(&c->descriptors[wq]);
		out->bytes[wq] = amux_load_relaxed(&c->bytes[wq]);
		out->full[wq] = amux_load_relaxed(&c->full[wq]);
	}
	out->busy_ns = amux_load_relaxed(&c->busy_ns);
	out->errors = amux_load_relaxed(&c->errors);
	out->cpu_ns = amux_load_relaxed(&c->cpu_ns);
}

/* What the callers should have drained: an answer is owed all the same. */
static void abandon(struct soft *s, unsigned int engine)
{
	struct soft_engine *e = &s->engine[engine];
	struct soft_item item;

	while (soft_take_finished(s, engine, &item))
		soft_exec_abort(&item.desc, DSA_COMP_HW_ERR1);
	if (model_engine_busy(&s->model, engine))
		soft_exec_abort(&e->serving.desc, DSA_COMP_HW_ERR1);
	for (unsigned int wq = 0; wq < ENGINE_WQS; wq++) {
		while (!wq_empty(&e->wq[wq])) {
			wq_pop(&e->wq[wq], &item.desc);
			soft_exec_abort(&item.desc, DSA_COMP_HW_ERR1);
		}
	}
}

static void soft_free(struct soft *s)
{
	for (unsigned int i = 0; i < s->engines; i++)
		for (unsigned int wq = 0; wq < ENGINE_WQS; wq++)
			wq_fini(&s->engine[i].wq[wq]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void soft_close(struct device *dev)
{
	struct soft *s = dev->priv;

	soft_threads_stop(s);
	for (unsigned int i = 0; i < s->engines; i++)
		abandon(s, i);
	/* a kernel side that still waits for one of them */
	device_kernel_completed(dev);
	soft_free(s);
	dev->priv = NULL;
}

static const struct engine_ops soft_ops = {
	.name = "soft",
	.submit = soft_submit,
	.progress = soft_progress,
	.next_event = soft_next_event,
	.read_stats = soft_read_stats,
	.close = soft_close,
};

/* Without a model and threads of its own. */
static const struct engine_ops soft_inline_ops = {
	.name = "soft",
	.submit = soft_submit,
	.progress = soft_progress,
	.next_event = soft_next_event,
	.copy = soft_copy,
	.copied = soft_copied,
	.read_stats = soft_read_stats,
	.close = soft_close,
};

static bool config_sane(const struct soft_config *cfg)
{
	if (cfg->engines < 1 || cfg->engines > ENGINE_MAX || cfg->threads > cfg->engines ||
	    cfg->max_xfer < 1 || cfg->max_xfer > SOFT_XFER_MAX || cfg->time_scale < 1)
		return false;
	for (unsigned int wq = 0; wq < ENGINE_WQS; wq++)
		if (cfg->wq_size[wq] < 1 || cfg->wq_size[wq] > SOFT_WQ_MAX ||
		    cfg->wq_priority[wq] < 1 || cfg->wq_priority[wq] > 15)
			return false;
	return true;
}

/* What the scheduler is to expect of the device. */
static void describe(struct device *dev, unsigned int index, const struct soft_config *cfg)
{
	memset(dev, 0, sizeof(*dev));
	dev->ops = cfg->model || cfg->threads ? &soft_ops : &soft_inline_ops;
	snprintf(dev->name, sizeof(dev->name), "soft%u", index);
	dev->index = index;
	dev->node = cfg->node;
	dev->caps = (cfg->model ? DEVICE_CAP_MODEL : DEVICE_CAP_CPU) |
		    (cfg->threads ? 0 : DEVICE_CAP_BLOCKING);
	dev->engines = cfg->engines;
	memcpy(dev->wq_size, cfg->wq_size, sizeof(dev->wq_size));
	memcpy(dev->wq_priority, cfg->wq_priority, sizeof(dev->wq_priority));
	dev->max_xfer = cfg->max_xfer;
	if (cfg->model) {
		uint64_t sum = cfg->engine_bps > UINT64_MAX / cfg->engines
				       ? UINT64_MAX
				       : cfg->engine_bps * cfg->engines;

		dev->rate_bps =
			(sum < cfg->fabric_bps ? sum : cfg->fabric_bps) / cfg->time_scale;
		dev->engine_bps = (cfg->engine_bps < cfg->fabric_bps ? cfg->engine_bps
								     : cfg->fabric_bps) /
				  cfg->time_scale;
		dev->desc_ns = cfg->desc_ns * cfg->time_scale;
	} else {
		dev->rate_bps = NOMINAL_BPS * (cfg->threads ? cfg->threads : 1);
		dev->engine_bps = NOMINAL_BPS;
		dev->desc_ns = NOMINAL_DESC_NS;
	}
}

int soft_open(struct device *dev, unsigned int index, const struct soft_config *cfg)
{
	struct model_params params = {
		.engines = cfg->engines,
		.desc_ns = cfg->desc_ns,
		.engine_bps = cfg->engine_bps,
		.fabric_bps = cfg->fabric_bps,
		.time_scale = cfg->time_scale,
	};
	struct soft *s;
	int ret;

	if (!config_sane(cfg))
		return -EINVAL;
	ret = fixup_init();
	if (ret)
		return ret;
	s = aligned_alloc(64, sizeof(*s));
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	ret = -pthread_mutex_init(&s->lock, NULL);
	if (ret) {
		free(s);
		return ret;
	}
	s->dev = dev;
	s->limits = (struct soft_limits){ cfg->max_xfer, SOFT_BATCH_MAX, 0 };
	s->engines = cfg->engines;
	s->threads = cfg->threads;
	s->modelled = cfg->model;
	memcpy(s->priority, cfg->wq_priority, sizeof(s->priority));
	if (cfg->model && !model_init(&s->model, &params)) {
		ret = -EINVAL;
		goto err_free;
	}
	for (unsigned int i = 0; i < s->engines; i++) {
		for (unsigned int wq = 0; wq < ENGINE_WQS; wq++) {
			ret = wq_init(&s->engine[i].wq[wq], cfg->wq_size[wq]);
			if (ret)
				goto err_free;
		}
	}
	describe(dev, index, cfg);
	dev->priv = s;
	ret = soft_threads_start(s);
	if (ret)
		goto err_free;
	return 0;

err_free:
	dev->priv = NULL;
	soft_free(s);
	return ret;
}
