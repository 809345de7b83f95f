// SPDX-License-Identifier: GPL-2.0-only
/*
 * sched.c - chunks: cut, put on an engine, taken back from it, withdrawn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../client/barrier.h"
#include "outage.h"
#include "sched_parts.h"

#define MIN_COST_MAX   (64u << 10) /* no descriptor is charged as more than this for its turn */
#define SLOW_CHUNK_MIN 4096ull

int sched_init(struct sched *s, struct device *const *dev, unsigned int n,
	       const struct amux_plan *plan, struct mux_stats *mux)
{
	size_t total = 0;

	memset(s, 0, sizeof(*s));
	for (unsigned int i = 0; i < n; i++) {
		struct sched_device *sd = &s->device[i];
		uint64_t cost = ns_to_bytes(dev[i]->desc_ns, dev[i]->engine_bps);

		sd->dev = dev[i];
		sd->min_cost = cost < MIN_COST_MAX ? (uint32_t)cost : MIN_COST_MAX;
		sd->user_bps = AMUX_BPS_MAX;
		sd->troubled = true; /* until it was looked at */
		for (unsigned int e = 0; e < ENGINE_MAX; e++)
			list_init(&sd->engine[e].inflight);
		total += (size_t)dev[i]->engines * dev[i]->wq_size[ENGINE_WQ_USER];
	}
	/* A WQ slot is freed when service starts, so an engine holds one chunk beyond its WQ.
	 */
	total = total * 2 + 64;
	if (posix_memalign((void **)&s->chunks, 64, total * sizeof(*s->chunks)))
		return -ENOMEM;
	memset(s->chunks, 0, total * sizeof(*s->chunks));
	/* Devices write records here by themselves: best not where a page may be missing. */
	if (n && dev[0]->ops->completed)
		(void)mlock(s->chunks, total * sizeof(*s->chunks));
	list_init(&s->free);
	list_init(&s->active);
	list_init(&s->stalled);
	list_init(&s->tallied);
	for (size_t i = 0; i < total; i++)
		list_add_tail(&s->free, &s->chunks[i].link);
	s->n_devices = n;
	s->alone_ns_byte = n && dev[0]->rate_bps ? NSEC_PER_SEC / (double)dev[0]->rate_bps : 0;
	s->plan = plan;
	s->mux = mux;
	return 0;
}

void sched_fini(struct sched *s)
{
	free(s->chunks);
	s->chunks = NULL;
}

/* ---------------------------------------------------------------------- issue */

/* The least loaded engine the plan lets users have, with room for a chunk. */
static struct sched_engine *engine_pick(struct sched *s, uint64_t now, unsigned int *dev,
					unsigned int *engine)
{
	struct sched_engine *best = NULL;

	s->ready_ns = 0;
	for (unsigned int d = 0; d < s->n_devices; d++) {
		struct sched_device *sd = &s->device[d];
		const struct amux_plan_share *sh = share_of(s, d);
		uint32_t slots = sd->dev->wq_size[ENGINE_WQ_USER];
		uint64_t mask = users_mask(s, d);
		uint64_t most = s->plan->chunk_bytes;

		if (most < sd->min_cost)
			most = sd->min_cost;
		if (s->finishing)
			mask = s->on_drained ? UINT64_MAX : ~sd->drained;
		if (!sd->user_bps && !s->finishing)
			continue;
		if (sd->user_bps && sd->user_bps != AMUX_BPS_MAX && sd->user_tag > now) {
			if (!s->ready_ns || sd->user_tag < s->ready_ns)
				s->ready_ns = sd->user_tag;
			continue;
		}
		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			struct sched_engine *se = &sd->engine[e];

			if (!(mask & (1ull << e)) || se->inflight_chunks >= slots ||
			    !(device_engine_up(sd->dev, e) ||
			      (s->by_cpu && sd->dev->ops->redo)))
				continue;
			if (se->inflight_bytes && se->inflight_bytes + most > sh->cap_bytes)
				continue;
			if (!best || se->inflight_bytes < best->inflight_bytes) {
				best = se;
				*dev = d;
				*engine = e;
			}
		}
	}
	return best;
}

static uint64_t tag_advance(uint64_t tag, uint64_t now, uint64_t burst, uint64_t cost,
			    uint64_t bps)
{
	uint64_t from = now > burst ? now - burst : 0;

	return (tag > from ? tag : from) + bytes_to_ns(cost, bps);
}

/* Undo the accounting of a chunk that leaves its engine. */
static void chunk_leave(struct sched *s, struct chunk *c)
{
	struct sched_device *sd = &s->device[c->dev];
	struct sched_engine *se = &sd->engine[c->engine];
	struct sched_tenant *t = c->req->flow->tenant;

	list_del(&c->link);
	gauge_sub(&se->inflight_bytes, c->cost);
	gauge_sub(&se->inflight_chunks, 1);
	sd->inflight_chunks--;
	gauge_sub(&sd->inflight_bytes, c->cost);
	s->inflight_bytes -= c->cost;
	s->inflight_chunks--;
	t->inflight_bytes -= c->cost;
	if (c->borrowed)
		sd->borrowed_inflight -= c->cost;
}

/* Nothing more of @r will be issued, or not now. */
static void request_unlink(struct sched *s, struct request *r)
{
	list_del(&r->link);
	flow_deactivate(s, r->flow);
}

static void request_end(struct sched *s, struct request *r, uint64_t now)
{
	struct flow *f = r->flow;
	struct sched_tenant *t = f->tenant;
	uint64_t left = r->op == AMUX_OP_NOOP ? 0 : r->len - r->issued;

	/* stopped early: what was never issued is no longer queued */
	gauge_sub(&t->queued_bytes, left);
	s->queued_bytes -= left;
	if (!list_empty(&r->link))
		request_unlink(s, r);
	f->unanswered--;
	f->unanswered_bytes -= r->len;
	f->complete(f, r, now);
}

/* The largest piece: of a tenant whose bytes are slow, one that takes no longer than others'. */
static uint64_t chunk_max(const struct sched *s, const struct sched_device *sd,
			  const struct sched_tenant *t)
{
	uint64_t max = s->plan->chunk_bytes < sd->dev->max_xfer ? s->plan->chunk_bytes
								: sd->dev->max_xfer;

	if (t->slow == SCHED_SLOW_ONE || max <= SLOW_CHUNK_MIN)
		return max;
	max = max * SCHED_SLOW_ONE / t->slow & ~(SLOW_CHUNK_MIN - 1);
	return max > SLOW_CHUNK_MIN ? max : SLOW_CHUNK_MIN;
}

static void chunk_issue(struct sched *s, struct sched_engine *se, unsigned int d,
			unsigned int e, struct sched_tenant *t, bool reserved, uint64_t now)
{
	struct sched_device *sd = &s->device[d];
	struct chunk *c = container_of(s->free.next, struct chunk, link);
	struct flow *f = container_of(t->flows.next, struct flow, link);
	struct request *r = container_of(f->pending.next, struct request, link);
	const struct amux_plan_share *sh = share_of(s, d);
	uint64_t burst = sd->burst_ns;
	uint32_t cost;

	request_next(r, c, chunk_max(s, sd, t));
	c->dev = (uint8_t)d;
	c->engine = (uint8_t)e;
	cost = c->bytes > sd->min_cost ? c->bytes : sd->min_cost;
	c->cost = (uint32_t)((uint64_t)cost * t->slow / SCHED_SLOW_ONE);
	if (!r->issued_ns) {
		r->issued_ns = now;
		tally_run_add(&t->tally.wait, now - r->arrived_ns, 1, &t->stats.wait,
			      &s->users.wait);
		sched_tallied(s, t);
	}
	gauge_sub(&t->queued_bytes, c->bytes);
	s->queued_bytes -= c->bytes;

	/* tags and deficit */
	if (!reserved) /* what is guaranteed does not cost a tenant its turn */
		t->deficit -= c->cost;
	if (t->limit_bps != AMUX_BPS_MAX)
		t->limit_tag = tag_advance(t->limit_tag, now, burst, cost, t->limit_bps);
	if (t->reserve_bps)
		t->reserve_tag = tag_advance(t->reserve_tag, now, burst, cost, t->reserve_bps);
	if (sd->user_bps && sd->user_bps != AMUX_BPS_MAX)
		sd->user_tag = tag_advance(sd->user_tag, now, burst, cost, sd->user_bps);
	c->borrowed = false;
	if (sh->reserve_bps) {
		c->borrowed = sd->own_tag > now;
		if (!c->borrowed)
			sd->own_tag =
				tag_advance(sd->own_tag, now, burst, cost, sh->reserve_bps);
	}

	/* in flight */
	list_del(&c->link);
	list_add_tail(&se->inflight, &c->link);
	gauge_add(&se->inflight_bytes, c->cost);
	gauge_add(&se->inflight_chunks, 1);
	sd->inflight_chunks++;
	gauge_add(&sd->inflight_bytes, c->cost);
	s->inflight_bytes += c->cost;
	s->inflight_chunks++;
	t->inflight_bytes += c->cost;
	if (c->borrowed)
		sd->borrowed_inflight += c->cost;

	/* whose turn is next: the flow's next request, the tenant's next flow */
	if (!request_ready(r)) {
		list_del(&r->link);
		if (list_empty(&f->pending)) {
			flow_deactivate(s, f);
			return;
		}
	}
	list_del(&f->link);
	list_add_tail(&t->flows, &f->link);
}

/* Hand a prepared chunk to its engine.  false: the WQ is full, try later. */
static bool chunk_submit(struct sched *s, struct chunk *c, uint64_t now)
{
	struct device *dev = s->device[c->dev].dev;
	int n = -EIO;

	c->redone = false;
	c->submit_ns = now;
	if (device_engine_up(dev, c->engine)) {
		n = dev->ops->submit(dev, c->engine, ENGINE_WQ_USER, &c->desc, 1);
		if (n < 0)
			outage_begin(s, c->dev, c->engine, ENGINE_REFUSED);
	}
	if (n < 0)
		outage_answer(s, c, true);
	return n != 0;
}

unsigned int sched_issue(struct sched *s, uint64_t now)
{
	unsigned int n = 0, d = 0, e = 0;
	struct list *pos, *tmp;

	s->ready_ns = 0;
	list_for_each_safe(pos, tmp, &s->stalled) {
		struct chunk *c = container_of(pos, struct chunk, link);

		if (!chunk_submit(s, c, now))
			break;
		list_del(&c->link);
		list_add_tail(&s->device[c->dev].engine[c->engine].inflight, &c->link);
		n++;
	}
	while (!list_empty(&s->active) && !list_empty(&s->free)) {
		struct sched_engine *se = engine_pick(s, now, &d, &e);
		struct sched_tenant *t;
		struct chunk *c;
		bool reserved;

		if (!se)
			break;
		t = sched_tenant_reserved(s, now);
		reserved = t != NULL;
		if (!t)
			t = sched_tenant_pick(s, now);
		if (!t)
			break;
		c = container_of(s->free.next, struct chunk, link);
		chunk_issue(s, se, d, e, t, reserved, now);
		if (!chunk_submit(s, c, now)) {
			list_del(&c->link);
			list_add_tail(&s->stalled, &c->link);
			break;
		}
		n++;
		if (s->by_cpu)
			break; /* a copy at a time: others have a turn between them */
	}
	if (sched_busy(s))
		s->last_user_ns = now;
	return n;
}

/* ----------------------------------------------------------------- completion */

static void chunk_account(struct sched *s, struct chunk *c, uint64_t bytes)
{
	struct sched_tenant *t = c->req->flow->tenant;
	uint64_t cpu_ns = bytes * s->device[c->dev].cpu_ns_mib / MIB;

	t->tally.descriptors++;
	t->tally.engine_bytes += bytes;
	t->tally.engine_cpu_ns += cpu_ns;
	sched_tallied(s, t);
	if (c->borrowed) {
		stat_add(&t->stats.borrowed_bytes, bytes);
		stat_add(&s->users.borrowed_bytes, bytes);
	}
}

static void chunk_complete(struct sched *s, struct chunk *c, uint64_t now)
{
	struct sched_device *sd = &s->device[c->dev];
	struct request *r = c->req;
	struct sched_tenant *t = r->flow->tenant;
	uint64_t before = r->done;
	enum chunk_verdict verdict;
	bool fault =
		(record_status(&c->rec) & DSA_COMP_STATUS_MASK) == DSA_COMP_PAGE_FAULT_NOBOF;

	if (!c->redone && sd->dev->ops->completed)
		sd->dev->ops->completed(sd->dev, c->engine, &c->desc, &c->rec);
	verdict = request_chunk_done(r, c);
	if (fault) {
		stat_add(&t->stats.faults, 1);
		stat_add(&s->users.faults, 1);
		sched_tenant_fault(s, t, verdict == CHUNK_DONE, now);
	}
	if (verdict == CHUNK_RESUME) {
		chunk_account(s, c, r->done - before);
		stat_add(&t->stats.resumes, 1);
		stat_add(&s->users.resumes, 1);
		list_del(&c->link);
		list_add_tail(chunk_submit(s, c, now) ? &sd->engine[c->engine].inflight
						      : &s->stalled,
			      &c->link);
		return;
	}
	chunk_account(s, c, r->done - before);
	chunk_leave(s, c);
	if ((c->rec.rsvd || t->slow > SCHED_SLOW_ONE) && (sd->dev->caps & DEVICE_CAP_CPU)) {
		uint64_t cost =
			c->desc.xfer_size > sd->min_cost ? c->desc.xfer_size : sd->min_cost;

		sched_tenant_slow(t, c->rec.rsvd * (uint64_t)ENGINE_TIME_NS,
				  bytes_to_ns(cost, sd->dev->engine_bps));
	}
	list_add_head(&s->free, &c->link);
	if (sd->kernel_since && !sd->borrowed_inflight) {
		hist_add(&s->mux->revoke, now - sd->kernel_since);
		sd->kernel_since = 0;
	}
	if (r->flow->cancelled && !r->stop && r->issued < r->len) {
		r->stop = true;
		if (!r->status)
			r->status = -ECANCELED;
	}
	if (request_finished(r)) {
		request_end(s, r, now);
	} else if (r->sequential && request_ready(r)) {
		/* it was first in its flow, and goes on before what came later */
		list_add_head(&r->flow->pending, &r->link);
		flow_activate(s, r->flow);
	} else if (r->stop && !list_empty(&r->link)) {
		request_unlink(s, r);
	}
}

unsigned int sched_reap(struct sched *s, uint64_t now)
{
	unsigned int n = 0;

	for (unsigned int d = 0; d < s->n_devices; d++) {
		struct sched_device *sd = &s->device[d];

		if (!sd->inflight_chunks && !sd->troubled &&
		    !amux_load_relaxed(&sd->dev->suspect))
			continue;
		sd->troubled = false;
		for (unsigned int e = 0; e < sd->dev->engines; e++) {
			struct list *pos, *tmp;

			/* An engine may finish out of order: look at all of the few in flight.
			 */
			list_for_each_safe(pos, tmp, &sd->engine[e].inflight) {
				struct chunk *c = container_of(pos, struct chunk, link);

				if (!record_status(&c->rec))
					continue;
				chunk_complete(s, c, now);
				n++;
			}
			n += outage_step(s, d, e, now);
			sd->troubled |= !device_engine_up(sd->dev, e);
		}
	}
	sched_settle(s);
	return n;
}

void sched_settle(struct sched *s)
{
	while (!list_empty(&s->tallied)) {
		struct sched_tenant *t =
			container_of(s->tallied.next, struct sched_tenant, tally.link);

		list_del(&t->tally.link);
		tally_settle(&t->tally, &t->stats, &s->users);
	}
}

/* ----------------------------------------------------------------- withdrawal */

void sched_cancel(struct sched *s, struct flow *f, uint64_t now)
{
	struct list *pos, *tmp;

	f->cancelled = true;
	list_for_each_safe(pos, tmp, &f->pending) {
		struct request *r = container_of(pos, struct request, link);

		r->stop = true;
		if (!r->status)
			r->status = -ECANCELED;
		if (request_finished(r)) {
			request_end(s, r, now);
			continue;
		}
		list_del(&r->link);
	}
	flow_deactivate(s, f);
}

void sched_withdraw(struct sched *s, struct request *r, uint64_t now)
{
	r->stop = true;
	r->status = -ECANCELED;
	request_end(s, r, now);
}

/* @drained: drained engines count, too. */
static bool sched_is_up(const struct sched *s, bool drained)
{
	for (unsigned int d = 0; d < s->n_devices; d++)
		for (unsigned int e = 0; e < s->device[d].dev->engines; e++)
			if (device_engine_up(s->device[d].dev, e) &&
			    (drained || !(s->device[d].drained & (1ull << e))))
				return true;
	return false;
}

static bool sched_can_redo(const struct sched *s)
{
	for (unsigned int d = 0; d < s->n_devices; d++)
		if (s->device[d].dev->ops->redo)
			return true;
	return false;
}

/* Send back what no engine will ever take, in order. */
static void sched_evict(struct sched *s, uint64_t now)
{
	struct list *tp, *tt, *fp, *ft, *rp, *rt;
	bool up = sched_is_up(s, true) || s->by_cpu;

	list_for_each_safe(tp, tt, &s->active) {
		struct sched_tenant *t = container_of(tp, struct sched_tenant, link);

		list_for_each_safe(fp, ft, &t->flows) {
			struct flow *f = container_of(fp, struct flow, link);

			list_for_each_safe(rp, rt, &f->pending) {
				struct request *r = container_of(rp, struct request, link);

				if (r->issued && up)
					continue;
				r->stop = true;
				if (!r->issued)
					r->status = r->flags & AMUX_SQE_ENGINE_ONLY
							    ? -ENODEV
							    : AMUX_STATUS_DECLINED;
				else if (!r->status)
					r->status = -EIO;
				if (request_finished(r))
					request_end(s, r, now);
				else
					request_unlink(s, r); /* ends with its last chunk */
			}
		}
	}
}

void sched_replan(struct sched *s, uint64_t now)
{
	sched_rates_set(s, now);
	s->finishing = s->by_cpu = s->on_drained = false;
	if (sched_has_engine(s))
		return;
	s->by_cpu = !sched_is_up(s, true) && sched_can_redo(s);
	s->on_drained = !sched_is_up(s, false);
	sched_evict(s, now);
	s->finishing = true;
}

void sched_drain(struct sched *s, unsigned int d, uint64_t drained, uint64_t now)
{
	stat_set(&s->device[d].drained, drained);
	sched_replan(s, now);
}

void sched_kernel_active(struct sched *s, unsigned int d, bool active, uint64_t now)
{
	struct sched_device *sd = &s->device[d];

	if (sd->kernel_active == active)
		return;
	sd->kernel_active = active;
	if (active && sd->borrowed_inflight && s->plan->share[d][AMUX_CLASS_KERNEL].lend) {
		stat_add(&s->mux->revocations, 1);
		sd->kernel_since = now;
	}
	if (!active)
		sd->kernel_since = 0;
	sched_replan(s, now);
}
