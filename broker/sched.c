// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "outage.h"
#include "sched.h"

/* Rates are paced by tags; a late poll may catch up by this much without losing rate. */
#define PACE_BURST_CHUNKS 8
#define PACE_BURST_NS	  500000ull
#define MIB		  (1ull << 20)
#define WAIT_EPOCHS	  16	      /* window of the wait percentiles shown to policies */
#define MIN_COST_MAX	  (64u << 10) /* no descriptor is charged as more than this for its turn */

static const struct amux_plan_share *share_of(const struct sched *s, unsigned int d)
{
	return &s->plan->share[d][AMUX_CLASS_USER];
}

/* What the control thread shows is written whole, by this thread alone. */
static void gauge_add(uint64_t *gauge, uint64_t n)
{
	stat_set(gauge, *gauge + n);
}

static void gauge_sub(uint64_t *gauge, uint64_t n)
{
	stat_set(gauge, *gauge - n);
}

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
	for (size_t i = 0; i < total; i++)
		list_add_tail(&s->free, &s->chunks[i].link);
	s->n_devices = n;
	s->plan = plan;
	s->mux = mux;
	return 0;
}

void sched_fini(struct sched *s)
{
	free(s->chunks);
	s->chunks = NULL;
}

void sched_tenant_init(struct sched_tenant *t, uint32_t id, uint32_t weight,
		       uint64_t reserve_bps, uint64_t limit_bps)
{
	memset(t, 0, sizeof(*t));
	list_init(&t->link);
	list_init(&t->flows);
	t->id = id;
	t->weight = weight;
	t->reserve_bps = reserve_bps;
	t->limit_bps = limit_bps;
}

void flow_init(struct flow *f, struct sched_tenant *t,
	       void (*complete)(struct flow *flow, struct request *req, uint64_t now))
{
	memset(f, 0, sizeof(*f));
	list_init(&f->link);
	list_init(&f->pending);
	f->tenant = t;
	f->complete = complete;
}

static void tenant_activate(struct sched *s, struct sched_tenant *t)
{
	if (!list_empty(&t->link))
		return;
	list_add_tail(&s->active, &t->link);
	s->n_active++;
	s->active_weight += t->weight;
	s->n_reserved += t->reserve_bps != 0;
}

static void tenant_deactivate(struct sched *s, struct sched_tenant *t)
{
	if (list_empty(&t->link))
		return;
	list_del(&t->link);
	s->n_active--;
	s->active_weight -= t->weight;
	s->n_reserved -= t->reserve_bps != 0;
	/* Credit is not saved up while idle; a debt stays, or going idle would clear it. */
	if (t->deficit > 0)
		t->deficit = 0;
}

void sched_tenant_set(struct sched *s, struct sched_tenant *t, uint32_t weight,
		      uint64_t reserve_bps, uint64_t limit_bps)
{
	bool active = !list_empty(&t->link);

	if (active)
		tenant_deactivate(s, t);
	t->weight = weight;
	t->reserve_bps = reserve_bps;
	t->limit_bps = limit_bps;
	t->limit_tag = 0;
	if (active)
		tenant_activate(s, t);
}

static void flow_activate(struct sched *s, struct flow *f)
{
	if (!list_empty(&f->link) || list_empty(&f->pending))
		return;
	list_add_tail(&f->tenant->flows, &f->link);
	tenant_activate(s, f->tenant);
}

static void flow_deactivate(struct sched *s, struct flow *f)
{
	if (list_empty(&f->link) || !list_empty(&f->pending))
		return;
	list_del(&f->link);
	if (list_empty(&f->tenant->flows))
		tenant_deactivate(s, f->tenant);
}

/* ------------------------------------------------------------------ admission */

bool sched_has_engine(const struct sched *s)
{
	for (unsigned int d = 0; d < s->n_devices; d++) {
		const struct sched_device *sd = &s->device[d];

		if (!sd->user_bps)
			continue;
		for (unsigned int e = 0; e < sd->dev->engines; e++)
			if ((share_of(s, d)->engine_mask & (1ull << e)) &&
			    device_engine_up(sd->dev, e))
				return true;
	}
	return false;
}

/* What the whole user class gets now, bytes/s. */
static uint64_t class_bps(const struct sched *s)
{
	uint64_t sum = 0;

	for (unsigned int d = 0; d < s->n_devices; d++) {
		const struct sched_device *sd = &s->device[d];
		unsigned int engines =
			(unsigned int)__builtin_popcountll(share_of(s, d)->engine_mask);
		uint64_t bps = sd->dev->engine_bps * engines;

		if (bps > sd->dev->rate_bps)
			bps = sd->dev->rate_bps;
		if (bps > sd->user_bps)
			bps = sd->user_bps;
		sum += bps;
	}
	return sum;
}

uint64_t sched_tenant_bps(const struct sched *s, const struct sched_tenant *t)
{
	uint64_t bps = class_bps(s);
	uint32_t weights = s->active_weight;

	if (list_empty(&t->link))
		weights += t->weight;
	bps = (uint64_t)((unsigned __int128)bps * t->weight / weights);
	if (bps < t->reserve_bps)
		bps = t->reserve_bps;
	return bps < t->limit_bps ? bps : t->limit_bps;
}

uint64_t sched_wait_ns(const struct sched *s, const struct sched_tenant *t)
{
	uint64_t bps = sched_tenant_bps(s, t);

	if (!bps)
		return UINT64_MAX;
	return bytes_to_ns(t->queued_bytes + t->inflight_bytes, bps);
}

int sched_admit(const struct sched *s, const struct sched_tenant *t, uint16_t flags,
		uint64_t bytes, uint64_t cpu_backlog)
{
	uint64_t wait, engine_ns;

	if (flags & AMUX_SQE_ENGINE_ONLY)
		return -1; /* the session answers -ENODEV if there is none at all */
	if (flags & AMUX_SQE_CPU_ONLY)
		return DECLINE_ASKED;
	if (s->cpu_only)
		return DECLINE_NO_ENGINE;
	if (s->plan->decline[AMUX_CLASS_USER] == AMUX_DECLINE_ALWAYS)
		return DECLINE_POLICY;
	if (!sched_has_engine(s))
		return DECLINE_NO_ENGINE;
	if (s->plan->decline[AMUX_CLASS_USER] != AMUX_DECLINE_PREDICT || !bytes)
		return -1; /* a NOOP asks for its place in the order, not for speed */
	wait = sched_wait_ns(s, t);
	if (wait == UINT64_MAX)
		return DECLINE_NO_ENGINE;
	engine_ns =
		wait + s->device[0].dev->desc_ns + bytes_to_ns(bytes, sched_tenant_bps(s, t));
	return engine_ns > bytes_to_ns(cpu_backlog + bytes, s->cpu_bps) ? DECLINE_PREDICTED
									: -1;
}

void sched_enqueue(struct sched *s, struct flow *f, struct request *r)
{
	struct sched_tenant *t = f->tenant;

	r->flow = f;
	list_add_tail(&f->pending, &r->link);
	f->unanswered++;
	f->unanswered_bytes += r->len;
	gauge_add(&t->queued_bytes, r->len);
	s->queued_bytes += r->len;
	s->arrived_bytes += r->len;
	flow_activate(s, f);
}

/* ---------------------------------------------------------------------- rates */

/*
 * What users may have on device @d: its rate less what is reserved for the kernel class and
 * either not lent or wanted back right now.  A rate the device cannot exceed needs no pacing.
 */
static uint64_t user_rate(const struct sched *s, unsigned int d)
{
	const struct amux_plan_share *user = share_of(s, d);
	const struct amux_plan_share *kernel = &s->plan->share[d][AMUX_CLASS_KERNEL];
	uint64_t rate = s->device[d].dev->rate_bps, left = rate;

	if (!user->engine_mask)
		return 0;
	if (!kernel->lend || s->device[d].kernel_active)
		left = kernel->reserve_bps < rate ? rate - kernel->reserve_bps : 0;
	if (left > user->limit_bps)
		left = user->limit_bps;
	return left >= rate ? AMUX_BPS_MAX : left;
}

static void request_end(struct sched *s, struct request *r, uint64_t now);

/* Nothing more of @r will be issued, or not now. */
static void request_unlink(struct sched *s, struct request *r)
{
	list_del(&r->link);
	flow_deactivate(s, r->flow);
}

static bool sched_is_up(const struct sched *s)
{
	for (unsigned int d = 0; d < s->n_devices; d++)
		for (unsigned int e = 0; e < s->device[d].dev->engines; e++)
			if (device_engine_up(s->device[d].dev, e))
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
	bool up = sched_is_up(s) || s->by_cpu;

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

static void sched_rates(struct sched *s, uint64_t now)
{
	for (unsigned int d = 0; d < s->n_devices; d++) {
		struct sched_device *sd = &s->device[d];
		uint64_t bps = user_rate(s, d);
		uint64_t burst = bytes_to_ns(s->plan->chunk_bytes, sd->dev->rate_bps);

		burst *= PACE_BURST_CHUNKS;
		sd->burst_ns = burst < PACE_BURST_NS ? PACE_BURST_NS : burst;

		/* An old, slower rate must not hold back the next chunk of a faster one. */
		if (bps > sd->user_bps && sd->user_tag > now)
			sd->user_tag = now;
		/* Nor is what was left unused of a faster one a credit to catch up with. */
		if (bps < sd->user_bps && sd->user_tag < now)
			sd->user_tag = now;
		sd->user_bps = bps;
	}
	s->ready_ns = 0;
}

void sched_replan(struct sched *s, uint64_t now)
{
	sched_rates(s, now);
	s->finishing = s->by_cpu = false;
	if (sched_has_engine(s))
		return;
	s->by_cpu = !sched_is_up(s) && sched_can_redo(s);
	sched_evict(s, now);
	s->finishing = true;
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

static uint64_t tag_advance(uint64_t tag, uint64_t now, uint64_t burst, uint64_t cost,
			    uint64_t bps)
{
	uint64_t from = now > burst ? now - burst : 0;

	return (tag > from ? tag : from) + bytes_to_ns(cost, bps);
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
		uint64_t mask = s->finishing ? UINT64_MAX : sh->engine_mask;
		uint64_t most = s->plan->chunk_bytes;

		if (most < sd->min_cost)
			most = sd->min_cost;
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

/* Who is furthest behind its reserve, or NULL. */
static struct sched_tenant *tenant_reserved(struct sched *s, uint64_t now)
{
	struct sched_tenant *best = NULL;
	struct list *pos;

	if (!s->n_reserved)
		return NULL;
	list_for_each(pos, &s->active) {
		struct sched_tenant *t = container_of(pos, struct sched_tenant, link);

		if (t->reserve_bps && t->reserve_tag <= now && t->limit_tag <= now &&
		    (!best || t->reserve_tag < best->reserve_tag))
			best = t;
	}
	return best;
}

/*
 * Deficit round-robin.  The head of the ring spends its deficit; once spent it goes to the
 * end with a new quantum.  A debt is at most one chunk, so every round lets everyone in.
 */
static struct sched_tenant *tenant_pick(struct sched *s, uint64_t now)
{
	struct sched_tenant *t;
	unsigned int limited = 0;
	uint64_t ready = 0;

	while (!list_empty(&s->active)) {
		t = container_of(s->active.next, struct sched_tenant, link);
		if (t->limit_tag > now) {
			if (!ready || t->limit_tag < ready)
				ready = t->limit_tag;
			if (++limited >= s->n_active)
				break;
		} else {
			if (t->deficit > 0)
				return t;
			t->deficit += (int64_t)t->weight * s->plan->chunk_bytes;
			limited = 0;
		}
		list_del(&t->link);
		list_add_tail(&s->active, &t->link);
	}
	if (ready && (!s->ready_ns || ready < s->ready_ns))
		s->ready_ns = ready;
	return NULL;
}

/* Undo the accounting of a chunk that leaves its engine. */
static void chunk_leave(struct sched *s, struct chunk *c)
{
	struct sched_device *sd = &s->device[c->dev];
	struct sched_engine *se = &sd->engine[c->engine];
	struct sched_tenant *t = c->req->flow->tenant;

	list_del(&c->link);
	se->inflight_bytes -= c->cost;
	se->inflight_chunks--;
	gauge_sub(&sd->inflight_bytes, c->cost);
	s->inflight_bytes -= c->cost;
	s->inflight_chunks--;
	t->inflight_bytes -= c->cost;
	if (c->borrowed)
		sd->borrowed_inflight -= c->cost;
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

static void chunk_issue(struct sched *s, struct sched_engine *se, unsigned int d,
			unsigned int e, struct sched_tenant *t, bool reserved, uint64_t now)
{
	struct sched_device *sd = &s->device[d];
	struct chunk *c = container_of(s->free.next, struct chunk, link);
	struct flow *f = container_of(t->flows.next, struct flow, link);
	struct request *r = container_of(f->pending.next, struct request, link);
	const struct amux_plan_share *sh = share_of(s, d);
	uint64_t burst = sd->burst_ns;

	request_next(r, c,
		     s->plan->chunk_bytes < sd->dev->max_xfer ? s->plan->chunk_bytes
							      : sd->dev->max_xfer);
	c->dev = (uint8_t)d;
	c->engine = (uint8_t)e;
	c->cost = c->bytes > sd->min_cost ? c->bytes : sd->min_cost;
	if (!r->issued_ns) {
		r->issued_ns = now;
		hist_add(&t->stats.wait, now - r->arrived_ns);
		hist_add(&s->users.wait, now - r->arrived_ns);
	}
	gauge_sub(&t->queued_bytes, c->bytes);
	s->queued_bytes -= c->bytes;

	/* tags and deficit */
	if (!reserved) /* what is guaranteed does not cost a tenant its turn */
		t->deficit -= c->cost;
	if (t->limit_bps != AMUX_BPS_MAX)
		t->limit_tag = tag_advance(t->limit_tag, now, burst, c->cost, t->limit_bps);
	if (t->reserve_bps)
		t->reserve_tag =
			tag_advance(t->reserve_tag, now, burst, c->cost, t->reserve_bps);
	if (sd->user_bps && sd->user_bps != AMUX_BPS_MAX)
		sd->user_tag = tag_advance(sd->user_tag, now, burst, c->cost, sd->user_bps);
	c->borrowed = false;
	if (sh->reserve_bps) {
		c->borrowed = sd->own_tag > now;
		if (!c->borrowed)
			sd->own_tag =
				tag_advance(sd->own_tag, now, burst, c->cost, sh->reserve_bps);
	}

	/* in flight */
	list_del(&c->link);
	list_add_tail(&se->inflight, &c->link);
	se->inflight_bytes += c->cost;
	se->inflight_chunks++;
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
		t = tenant_reserved(s, now);
		reserved = t != NULL;
		if (!t)
			t = tenant_pick(s, now);
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

	stat_add(&t->stats.descriptors, 1);
	stat_add(&s->users.descriptors, 1);
	stat_add(&t->stats.engine_bytes, bytes);
	stat_add(&s->users.engine_bytes, bytes);
	stat_add(&t->stats.engine_cpu_ns, cpu_ns);
	stat_add(&s->users.engine_cpu_ns, cpu_ns);
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
	bool fault =
		(record_status(&c->rec) & DSA_COMP_STATUS_MASK) == DSA_COMP_PAGE_FAULT_NOBOF;

	if (!c->redone && sd->dev->ops->completed)
		sd->dev->ops->completed(sd->dev, c->engine, &c->desc, &c->rec);
	if (fault) {
		stat_add(&t->stats.faults, 1);
		stat_add(&s->users.faults, 1);
	}
	if (request_chunk_done(r, c) == CHUNK_RESUME) {
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
		}
	}
	return n;
}

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

/* ----------------------------------------------------------------------- view */

static uint64_t per_second(uint64_t bytes, uint64_t elapsed)
{
	return elapsed ? (uint64_t)((unsigned __int128)bytes * NSEC_PER_SEC / elapsed) : 0;
}

static void view_device(struct sched_device *sd, struct amux_view_device *v, uint64_t elapsed)
{
	uint64_t kernel = 0, user = 0, cpu_ns = 0, bytes;
	unsigned int down = 0;
	struct engine_stats st;

	v->engines = sd->dev->engines;
	v->rate_bps = sd->dev->rate_bps;
	v->engine_bps = sd->dev->engine_bps;
	v->desc_ns = sd->dev->desc_ns;
	v->flags = sd->dev->caps & DEVICE_CAP_CPU ? AMUX_DEVICE_CPU : 0;
	for (unsigned int e = 0; e < sd->dev->engines; e++) {
		sd->dev->ops->read_stats(sd->dev, e, &st);
		kernel += st.bytes[ENGINE_WQ_KERNEL];
		user += st.bytes[ENGINE_WQ_USER];
		cpu_ns += st.cpu_ns;
		down += !device_engine_up(sd->dev, e);
	}
	if (down == sd->dev->engines)
		v->flags |= AMUX_DEVICE_DOWN;
	sd->served_bps[AMUX_CLASS_KERNEL] =
		per_second(kernel - sd->epoch_kernel_bytes, elapsed);
	sd->served_bps[AMUX_CLASS_USER] = per_second(user - sd->epoch_user_bytes, elapsed);
	bytes = kernel - sd->epoch_kernel_bytes + user - sd->epoch_user_bytes;
	if (bytes >= MIB) /* from fewer one would learn the fixed cost of a turn */
		sd->cpu_ns_mib = (cpu_ns - sd->epoch_cpu_ns) / (bytes / MIB);
	sd->epoch_cpu_ns = cpu_ns;
	sd->epoch_kernel_bytes = kernel;
	sd->epoch_user_bytes = user;
	memcpy(v->served_bps, sd->served_bps, sizeof(v->served_bps));
	v->inflight_bytes[AMUX_CLASS_USER] = sd->inflight_bytes;
}

void sched_view(struct sched *s, struct amux_view *view, uint64_t now, uint64_t elapsed)
{
	struct amux_view_class *u = &view->classes[AMUX_CLASS_USER];
	struct list *pos;

	view->n_devices = s->n_devices;
	u->present = 1;
	u->tenants = s->n_active;
	u->queued_bytes = s->queued_bytes;
	u->arrival_bps = per_second(s->arrived_bytes - s->epoch_arrived, elapsed);
	s->epoch_arrived = s->arrived_bytes;
	u->cpu_bps = s->cpu_bps;
	u->idle_ns = sched_busy(s) ? 0 : now - s->last_user_ns;
	u->wait_p50_ns = hist_quantile(s->users.wait.bucket, s->wait_base, 500);
	u->wait_p99_ns = hist_quantile(s->users.wait.bucket, s->wait_base, 990);
	if (++s->wait_age >= WAIT_EPOCHS) {
		memcpy(s->wait_base, s->users.wait.bucket, sizeof(s->wait_base));
		s->wait_age = 0;
	}
	for (unsigned int d = 0; d < s->n_devices; d++) {
		view_device(&s->device[d], &view->devices[d], elapsed);
		u->service_bps += view->devices[d].served_bps[AMUX_CLASS_USER];
	}
	view->n_tenants = 0;
	list_for_each(pos, &s->active) {
		struct sched_tenant *t = container_of(pos, struct sched_tenant, link);
		struct amux_view_tenant *v;

		if (view->n_tenants == AMUX_POLICY_TENANTS)
			break;
		v = &view->tenants[view->n_tenants++];
		v->id = t->id;
		v->weight = t->weight;
		v->reserve_bps = t->reserve_bps;
		v->limit_bps = t->limit_bps;
		v->queued_bytes = t->queued_bytes;
		v->service_bps = per_second(t->stats.engine_bytes - t->epoch_bytes, elapsed);
		t->epoch_bytes = t->stats.engine_bytes;
	}
}
