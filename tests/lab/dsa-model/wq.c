// SPDX-License-Identifier: MIT
/*
 * wq.c - see wq.h.
 */
#include "wq.h"

#include <string.h>

static bool in_group(const struct group *g, unsigned int wq)
{
	return g->wqs[0] >> wq & 1;
}

enum command_error wq_check_device(const struct device *d)
{
	uint64_t wqs = 0, engines = 0;
	unsigned int size = 0;

	for (unsigned int i = 0; i < WQS; i++)
		size += WQ_SIZE(d->wq[i].cfg);
	if (size > d->entries)
		return E_WQ_SIZE_SUM;
	for (unsigned int i = 0; i < GROUPS; i++) {
		const struct group *g = &d->group[i];

		if ((g->wqs[0] & wqs) || g->wqs[0] >> WQS || g->wqs[1] || g->wqs[2] ||
		    g->wqs[3])
			return E_GROUP_WQ_TWICE;
		if ((g->engines & engines) || g->engines >> ENGINES)
			return E_GROUP_ENGINE_TWICE;
		if (g->wqs[0] && !g->engines)
			return E_GROUP_NO_ENGINE;
		if (g->engines && !g->wqs[0])
			return E_GROUP_NO_WQ;
		wqs |= g->wqs[0];
		engines |= g->engines;
	}
	return E_NONE;
}

enum command_error wq_check(const struct device *d, unsigned int wq)
{
	const uint32_t *c = d->wq[wq].cfg;
	bool grouped = false;

	for (unsigned int i = 0; i < GROUPS; i++)
		grouped |= in_group(&d->group[i], wq);
	if (!WQ_SIZE(c) || !grouped)
		return E_WQ_SIZE;
	if (!WQ_PRIORITY(c))
		return E_WQ_PRIORITY;
	if (WQ_BATCH_SHIFT(c) > BATCH_SHIFT_MAX)
		return E_WQ_BATCH;
	if (WQ_XFER_SHIFT(c) > XFER_SHIFT_MAX)
		return E_WQ_XFER;
	if (!WQ_DEDICATED(c) && WQ_THRESHOLD(c) > WQ_SIZE(c))
		return E_WQ_SIZE;
	return E_NONE;
}

void wq_abort(struct wq *w)
{
	w->count.aborted += w->queued;
	w->head = 0;
	w->queued = 0;
}

void wq_reset(struct wq *w, bool keep_size)
{
	uint32_t size = w->cfg[0];

	wq_abort(w);
	w->enabled = false;
	w->have = 0;
	w->credit = 0;
	memset(w->cfg, 0, sizeof(w->cfg));
	if (keep_size)
		w->cfg[0] = size;
}

bool wq_idle(const struct wq *w)
{
	return !w->queued && !w->running;
}

bool wq_has_pasid(const struct wq *w, uint32_t pasid)
{
	for (unsigned int i = 0; i < w->queued; i++)
		if (w->ring[(w->head + i) % ENTRIES_MAX].pasid == pasid)
			return true;
	return false;
}

bool wq_has_room(const struct wq *w, bool limited)
{
	uint32_t size = WQ_SIZE(w->cfg);

	if (!WQ_DEDICATED(w->cfg) && limited)
		size = WQ_THRESHOLD(w->cfg);
	return w->queued < size && w->queued < ENTRIES_MAX;
}

void wq_push(struct wq *w, const uint32_t *words)
{
	struct dsa_hw_desc *desc = &w->ring[(w->head + w->queued) % ENTRIES_MAX];

	memcpy(desc, words, sizeof(*desc));
	/* Whose it is, a shared WQ's submitter says; a dedicated one's its configuration. */
	if (WQ_DEDICATED(w->cfg)) {
		desc->pasid = WQ_PASID(w->cfg);
		desc->priv = WQ_PRIV(w->cfg);
	}
	w->queued++;
}

static struct group *group_of(struct device *d, unsigned int engine)
{
	for (unsigned int i = 0; i < GROUPS; i++)
		if (d->group[i].engines >> engine & 1)
			return &d->group[i];
	return NULL;
}

static bool has_work(const struct wq *w)
{
	return w->enabled && w->queued && !w->draining;
}

int wq_take(struct device *d, unsigned int engine, struct dsa_hw_desc *desc)
{
	struct group *g = group_of(d, engine);
	int best = -1;

	if (!g || d->state != STATE_ENABLED)
		return -1;
	/* Twice: the second time with the credit that all get when nobody has any left. */
	for (unsigned int pass = 0; pass < 2 && best < 0; pass++) {
		for (unsigned int i = 0; i < WQS; i++) {
			struct wq *w = &d->wq[i];

			if (!in_group(g, i) || !has_work(w))
				continue;
			if (pass)
				w->credit = WQ_PRIORITY(w->cfg);
			if (w->credit && (best < 0 || w->credit > d->wq[best].credit))
				best = (int)i;
		}
	}
	if (best < 0)
		return -1;
	*desc = d->wq[best].ring[d->wq[best].head];
	d->wq[best].head = (d->wq[best].head + 1) % ENTRIES_MAX;
	d->wq[best].queued--;
	d->wq[best].credit--;
	d->wq[best].running++;
	d->wq[best].draining = desc->opcode == DSA_OPCODE_DRAIN;
	return best;
}
