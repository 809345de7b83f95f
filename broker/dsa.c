// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsa.c - see dsa.h.
 */
#include "dsa.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "dsa_wq.h"
#include "fault_fixup.h"
#include "soft.h"
#include "stats.h"

#define PROBE_NS NSEC_PER_SEC /* for a NOOP */

/*
 * Waiting for records: looked at all the time for SPIN_NS since something happened, then after
 * naps of a quarter of the time since, which no wait is made longer by than a quarter.
 */
#define SPIN_NS	   20000u
#define NAP_MAX_NS 1000000u

const char *const dsa_submit_names[DSA_WRITE + 1] = {
	[DSA_AUTO] = "auto",
	[DSA_MOVDIR64B] = "movdir64b",
	[DSA_ENQCMD] = "enqcmd",
	[DSA_WRITE] = "write",
};

struct dsa {
	struct dsa_config cfg;
	char path[ENGINE_MAX][IDXD_NAME]; /* of the WQs' devices */
	struct dsa_wq wq[ENGINE_MAX];	  /* by engine */
};

void dsa_config_default(struct dsa_config *cfg)
{
	struct soft_config model;

	soft_config_default(&model);
	*cfg = (struct dsa_config){
		.submit = DSA_AUTO,
		.prefault = true,
		.time_scale = 1,
		.desc_ns = model.desc_ns,
		.engine_bps = model.engine_bps,
		.fabric_bps = model.fabric_bps,
		.timeout_ns = NSEC_PER_SEC,
	};
}

/* ------------------------------------------------------------------ operations */

static int dsa_submit(struct device *dev, unsigned int engine, enum engine_wq wq,
		      const struct dsa_hw_desc *desc, unsigned int n)
{
	struct dsa *d = dev->priv;

	if (engine >= dev->engines || wq != ENGINE_WQ_USER)
		return -EINVAL;
	return dsa_wq_submit(&d->wq[engine], desc, n, dev->timeout_ns);
}

/* The device works by itself. */
static unsigned int dsa_progress(struct device *dev, uint64_t now_ns, uint64_t budget_ns)
{
	(void)dev;
	(void)now_ns;
	(void)budget_ns;
	return 0;
}

/* Records come without a sound: when to look again. */
static uint64_t dsa_next_event(struct device *dev, uint64_t now)
{
	const struct dsa *d = dev->priv;
	uint64_t last = 0, since, nap;
	bool waiting = false;

	for (unsigned int e = 0; e < dev->engines; e++) {
		const struct dsa_wq *w = &d->wq[e];

		/* a lost one is waited for by control; its records are seen at every epoch */
		if (!device_engine_up(dev, e) || (!w->inflight && !w->refused_ns))
			continue;
		waiting = true;
		if (w->last_ns > last)
			last = w->last_ns;
	}
	if (!waiting)
		return UINT64_MAX;
	since = now > last ? now - last : 0;
	if (since < SPIN_NS)
		return now;
	nap = since / 4;
	return now + (nap < NAP_MAX_NS ? nap : NAP_MAX_NS);
}

static void dsa_completed(struct device *dev, unsigned int engine,
			  const struct dsa_hw_desc *desc,
			  const struct dsa_completion_record *rec)
{
	dsa_wq_completed(&((struct dsa *)dev->priv)->wq[engine], desc, rec);
}

static void dsa_read_stats(struct device *dev, unsigned int engine, struct engine_stats *out)
{
	const struct dsa *d = dev->priv;
	const uint64_t *from = (const uint64_t *)&d->wq[engine].count;
	uint64_t *to = (uint64_t *)out;

	_Static_assert(sizeof(*out) % sizeof(*to) == 0, "engine_stats holds u64 alone");
	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = stat_read(&from[i]);
}

static void dsa_close(struct device *dev)
{
	struct dsa *d = dev->priv;

	for (unsigned int e = 0; e < dev->engines; e++)
		dsa_portal_close(&d->wq[e].portal);
	free(d);
	dev->priv = NULL;
}

static const struct engine_ops dsa_ops = {
	.name = "dsa",
	.submit = dsa_submit,
	.progress = dsa_progress,
	.next_event = dsa_next_event,
	.completed = dsa_completed,
	.redo = soft_execute,
	.read_stats = dsa_read_stats,
	.close = dsa_close,
};

bool device_is_dsa(const struct device *dev)
{
	return dev->ops == &dsa_ops;
}

const char *dsa_wq_name(const struct device *dev, unsigned int e)
{
	return ((const struct dsa *)dev->priv)->wq[e].name;
}

/* --------------------------------------------------------------------- opening */

/* User WQs of distinct groups, in the order of their first engines. */
static unsigned int user_wqs(const struct idxd_device *dev, const struct idxd_wq **wq)
{
	unsigned int n = 0;

	for (unsigned int e = 0; e < dev->n_engines; e++) {
		const struct idxd_wq *w = idxd_engine_wq(dev, e, IDXD_TYPE_USER);
		bool known = false;

		for (unsigned int i = 0; i < n; i++)
			known |= wq[i] == w;
		if (w && !known && n < ENGINE_MAX)
			wq[n++] = w;
	}
	return n;
}

unsigned int dsa_engines(const struct idxd_device *dev)
{
	const struct idxd_wq *wq[ENGINE_MAX];

	return dev->enabled ? user_wqs(dev, wq) : 0;
}

static int wq_open(struct device *dev, unsigned int e, const struct idxd_device *from,
		   const struct idxd_wq *wq, char *err, size_t errlen)
{
	struct dsa *d = dev->priv;
	char name[IDXD_NAME];

	snprintf(name, sizeof(name), "wq%u.%u", from->id, wq->id);
	memcpy(d->path[e], wq->path, sizeof(d->path[e]));
	return dsa_wq_open(&d->wq[e], name, wq, d->cfg.submit, PROBE_NS, err, errlen);
}

/* What all WQs have; priorities are told of the first. */
static void describe(struct device *dev, unsigned int index, const struct idxd_device *from,
		     const struct idxd_wq *const *wq, unsigned int n,
		     const struct dsa_config *cfg)
{
	const struct idxd_wq *kernel = idxd_engine_wq(from, 0, IDXD_TYPE_KERNEL);

	memset(dev, 0, sizeof(*dev));
	dev->ops = &dsa_ops;
	snprintf(dev->name, sizeof(dev->name), "%.31s", from->name);
	dev->index = index;
	dev->node = from->node;
	dev->pci_id = idxd_pci_id(from->pci);
	dev->caps = DEVICE_CAP_USER | (cfg->time_scale > 1 ? DEVICE_CAP_MODEL : 0);
	dev->engines = n;
	dev->max_xfer = from->max_xfer;
	if (kernel) {
		dev->wq_size[ENGINE_WQ_KERNEL] = kernel->size;
		dev->wq_priority[ENGINE_WQ_KERNEL] = kernel->priority;
	}
	dev->wq_size[ENGINE_WQ_USER] = dsa_wq_capacity(wq[0]);
	dev->wq_priority[ENGINE_WQ_USER] = wq[0]->priority;
	for (unsigned int e = 0; e < n; e++) {
		unsigned int capacity = dsa_wq_capacity(wq[e]);

		if (capacity < dev->wq_size[ENGINE_WQ_USER])
			dev->wq_size[ENGINE_WQ_USER] = capacity;
		if (wq[e]->max_xfer < dev->max_xfer)
			dev->max_xfer = wq[e]->max_xfer;
	}
	dev->engine_bps = cfg->engine_bps / cfg->time_scale;
	dev->rate_bps = (cfg->engine_bps > cfg->fabric_bps / n ? cfg->fabric_bps
							       : cfg->engine_bps * n) /
			cfg->time_scale;
	dev->desc_ns = cfg->desc_ns * cfg->time_scale;
	dev->timeout_ns = cfg->timeout_ns * cfg->time_scale;
}

int dsa_open(struct device *dev, unsigned int index, const struct idxd_device *from,
	     const struct dsa_config *cfg, char *err, size_t errlen)
{
	const struct idxd_wq *wq[ENGINE_MAX];
	unsigned int n = user_wqs(from, wq);
	struct dsa *d;
	int ret;

	if (!n) {
		snprintf(err, errlen, "%s has no enabled user WQ", from->name);
		return -ENODEV;
	}
	ret = fixup_init();
	if (ret)
		return ret;
	d = aligned_alloc(64, sizeof(*d) + (-sizeof(*d) & 63));
	if (!d) {
		snprintf(err, errlen, "%s: out of memory", from->name);
		return -ENOMEM;
	}
	memset(d, 0, sizeof(*d));
	d->cfg = *cfg;
	for (unsigned int e = 0; e < ENGINE_MAX; e++)
		d->wq[e].portal.fd = -1;
	describe(dev, index, from, wq, n, cfg);
	dev->priv = d;
	for (unsigned int e = 0; e < n; e++) {
		ret = wq_open(dev, e, from, wq[e], err, errlen);
		if (ret)
			goto err_close;
	}
	return 0;

err_close:
	dsa_close(dev);
	return ret;
}

/* -------------------------------------------------------------- lost and found */

bool dsa_is_gone(const struct device *dev, unsigned int e)
{
	return dsa_portal_gone(&((const struct dsa *)dev->priv)->wq[e].portal);
}

void dsa_settle(struct device *dev, unsigned int e)
{
	struct dsa_portal *p = &((struct dsa *)dev->priv)->wq[e].portal;

	dsa_portal_unmap(p);
	if (!dsa_portal_gone(p))
		dsa_portal_close(p);
}

static const struct idxd_wq *wq_now(const struct dsa_wq *w, const struct idxd_device *now)
{
	for (unsigned int i = 0; now && i < now->n_wqs; i++)
		if (now->wq[i].id == w->id)
			return &now->wq[i];
	return NULL;
}

bool dsa_settled(const struct device *dev, unsigned int e, const struct idxd_device *now)
{
	const struct dsa *d = dev->priv;
	const struct idxd_wq *wq = wq_now(&d->wq[e], now);
	struct stat st;

	if (now && now->halted)
		return false;
	if (d->wq[e].portal.fd < 0)
		return true; /* the driver came back from draining it */
	/* Its node is gone, but the driver is done with the hardware only when it says that it is
	 * disabled, or has made a node for the next one. */
	return !wq || !wq->enabled || !stat(d->path[e], &st);
}

int dsa_renew(struct device *dev, unsigned int e, const struct idxd_device *now, char *err,
	      size_t errlen)
{
	struct dsa *d = dev->priv;
	const struct idxd_wq *wq = wq_now(&d->wq[e], now);
	struct stat st;

	if (!wq || !now->enabled || !wq->enabled || wq->type != IDXD_TYPE_USER ||
	    !wq->path[0] || stat(wq->path, &st))
		return -ENODEV;
	/* A stale one first: as the driver sees it, the one closed last would close both. */
	dsa_portal_close(&d->wq[e].portal);
	return wq_open(dev, e, now, wq, err, errlen);
}
