// SPDX-License-Identifier: GPL-2.0-only
/*
 * sched_turn.c - whose turn it is: the tenants that have something to issue, and their flows.
 */
#include <string.h>

#include "sched_parts.h"

/* Faults that a tenant may meet at once, as time; what memory that cannot be had costs: signals
 * taken, tries repeated; and for how long it may go on beyond its rate. */
#define FAULT_BURST_NS	   NSEC_PER_SEC
#define FAULT_MISSING_COST 10
#define FAULT_CUT_NS	   (3 * NSEC_PER_SEC)

void sched_tenant_init(struct sched_tenant *t, uint32_t id, uint32_t weight,
		       uint64_t reserve_bps, uint64_t limit_bps)
{
	memset(t, 0, sizeof(*t));
	list_init(&t->link);
	list_init(&t->flows);
	list_init(&t->tally.link);
	t->id = id;
	t->weight = weight;
	t->slow = SCHED_SLOW_ONE;
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

void flow_activate(struct sched *s, struct flow *f)
{
	if (!list_empty(&f->link) || list_empty(&f->pending))
		return;
	list_add_tail(&f->tenant->flows, &f->link);
	tenant_activate(s, f->tenant);
}

void flow_deactivate(struct sched *s, struct flow *f)
{
	if (list_empty(&f->link) || !list_empty(&f->pending))
		return;
	list_del(&f->link);
	if (list_empty(&f->tenant->flows))
		tenant_deactivate(s, f->tenant);
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

void sched_passed(struct sched *s, struct sched_tenant *t, uint32_t n, uint64_t cost,
		  uint64_t service_ns)
{
	int64_t debt = -(int64_t)s->plan->chunk_bytes;

	/* nobody was kept waiting; a debt as of any one chunk is all that may be left behind */
	t->deficit -= (int64_t)cost;
	if (t->deficit < debt)
		t->deficit = debt;
	t->tally.completed += n;
	tally_run_add(&t->tally.wait, 0, n, &t->stats.wait, &s->users.wait);
	tally_run_add(&t->tally.service, service_ns, n, &t->stats.service, &s->users.service);
	sched_tallied(s, t);
}

/* ----------------------------------------------------------------------- turn */

struct sched_tenant *sched_tenant_reserved(struct sched *s, uint64_t now)
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
struct sched_tenant *sched_tenant_pick(struct sched *s, uint64_t now)
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

void sched_tenant_slow(struct sched_tenant *t, uint64_t took_ns, uint64_t fair_ns)
{
	uint64_t slow = took_ns * SCHED_SLOW_ONE / (fair_ns ? fair_ns : 1);

	if (slow < SCHED_SLOW_ONE)
		slow = SCHED_SLOW_ONE;
	if (slow > SCHED_SLOW_MAX)
		slow = SCHED_SLOW_MAX;
	t->slow = (uint32_t)((t->slow * 7ull + slow) / 8);
}

/* --------------------------------------------------------------------- faults */

void sched_tenant_fault(struct sched *s, struct sched_tenant *t, bool missing, uint64_t now)
{
	if (!t->fault_ns)
		return;
	if (t->fault_tag < now)
		t->fault_tag = now;
	t->fault_tag += t->fault_ns * (missing ? FAULT_MISSING_COST : 1);
	if (t->fault_tag - now <= FAULT_BURST_NS) {
		/* its last second was within its rate, or it had slept */
		if (t->fault_tag - now <= FAULT_BURST_NS / 2)
			t->fault_since = 0;
		return;
	}
	if (t->limit_tag < t->fault_tag - FAULT_BURST_NS)
		t->limit_tag = t->fault_tag - FAULT_BURST_NS;
	stat_add(&t->stats.fault_waits, 1);
	stat_add(&s->users.fault_waits, 1);
	if (!t->fault_since)
		t->fault_since = now;
	if (missing && now - t->fault_since >= FAULT_CUT_NS && !s->offender)
		s->offender = t;
}
