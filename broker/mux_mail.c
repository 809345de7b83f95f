// SPDX-License-Identifier: GPL-2.0-only
/*
 * mux_mail.c - what the control thread asks of the mux thread: queues, regions and sessions come
 * and go, tenants and policies change, all of it drains; and which sessions are to be cut off.
 */
#include <sys/epoll.h>

#include "clock.h"
#include "mux_parts.h"
#include "outage.h"

#define DRAIN_HUNG_NS (5 * NSEC_PER_SEC) /* ... and for engines that may be dead */

static void mail_answer(struct mux *m, struct mail *mail)
{
	mailbox_post(m->outbox, mail);
}

static void queue_forget(struct mux *m, struct queue *q)
{
	epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, q->sq_efd, NULL);
	queue_detach(q);
}

/* Has everything been pulled?  A client that holds that up is left to its fate at last. */
static bool mux_drained(struct mux *m)
{
	struct list *pos;
	bool drained = true, late = !sched_busy(&m->sched) && clock_ns() >= m->drain_until_ns;

	list_for_each(pos, &m->queues.all) {
		struct queue *q = container_of(pos, struct queue, peer);

		if (late)
			q->stopped = true;
		drained &= queue_drained(q);
	}
	return drained;
}

/*
 * Engines that do not answer and are not proved quiet could hold up a drain for ever: nothing but
 * the end of this process, which takes its address space from them, makes sure of them then.
 */
static bool mux_hung(struct mux *m)
{
	uint64_t now = clock_ns();

	if (!outage_holds_all(&m->sched)) {
		m->hung_since_ns = 0;
		return false;
	}
	if (!m->hung_since_ns)
		m->hung_since_ns = now;
	m->hung = now - m->hung_since_ns >= DRAIN_HUNG_NS;
	return m->hung;
}

/* Is what a deferred mail waits for over?  Then finish it. */
static bool mail_settled(struct mux *m, struct mail *mail)
{
	struct list *pos, *tmp;
	struct region *r;

	switch (mail->type) {
	case MAIL_QUEUE_REMOVE:
		if (!queue_quiet(mail->arg))
			return false;
		queue_forget(m, mail->arg);
		return true;
	case MAIL_REGION_REMOVE:
		r = mail->arg;
		if (r->refs)
			return false;
		for (unsigned int i = 0; i < SESSION_REGIONS_MAX; i++)
			if (mail->session->regions[i] == r)
				mail->session->regions[i] = NULL;
		return true;
	case MAIL_SESSION_REMOVE:
		list_for_each(pos, &mail->session->queues)
			if (!queue_quiet(container_of(pos, struct queue, link)))
				return false;
		list_for_each_safe(pos, tmp, &mail->session->queues)
			queue_forget(m, container_of(pos, struct queue, link));
		return true;
	case MAIL_DRAIN:
		if (!mux_hung(m) &&
		    (!mux_drained(m) || sched_busy(&m->sched) || !list_empty(&m->queues.dirty)))
			return false;
		m->drain_until_ns = 0;
		return true;
	default:
		return true;
	}
}

void mux_mail_settle(struct mux *m)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &m->waiting) {
		struct mail *mail = container_of(pos, struct mail, link);

		if (!mail_settled(m, mail))
			continue;
		list_del(&mail->link);
		mail_answer(m, mail);
	}
}

static void mux_drain(struct mux *m, uint64_t now)
{
	struct list *pos;

	m->queues.draining = true;
	m->drain_until_ns = now + DRAIN_STALL_NS;
	list_for_each(pos, &m->queues.all) {
		struct queue *q = container_of(pos, struct queue, peer);

		/* What was submitted before the end is still served; it is bounded by the ring.
		 */
		queue_drain(q);
		queue_publish_state(q, now);
		if (!q->stopped && list_empty(&q->hot))
			list_add_tail(&m->queues.hot, &q->hot);
	}
	if (m->kernel)
		grant_disable(m->kernel, now);
}

void mux_mail_act(struct mux *m, struct mail *mail, uint64_t now)
{
	struct policy_change *pc;
	struct policy_failed *pf;
	struct tenant_change *tc;
	struct engines_change *ec;
	struct mux_tuning *tune;
	struct queue *q;
	struct list *pos;

	switch (mail->type) {
	case MAIL_QUEUE_ADD:
		q = mail->arg;
		queue_attach(q, mail->session, &m->queues);
		if (m->queues.draining)
			queue_drain(q); /* it came too late */
		queue_publish_state(q, now);
		m->force_epoch = true; /* it starts with a prediction of now */
		break;
	case MAIL_QUEUE_REMOVE:
		queue_stop(mail->arg, now);
		break;
	case MAIL_REGION_ADD:
		mail->session->regions[((struct region *)mail->arg)->id % SESSION_REGIONS_MAX] =
			mail->arg;
		break;
	case MAIL_REGION_REMOVE:
		((struct region *)mail->arg)->id = 0; /* found no more */
		break;
	case MAIL_SESSION_REMOVE:
		list_for_each(pos, &mail->session->queues)
			queue_stop(container_of(pos, struct queue, link), now);
		break;
	case MAIL_TENANT_SET:
		tc = container_of(mail, struct tenant_change, mail);
		sched_tenant_set(&m->sched, tc->tenant, tc->weight, tc->reserve_bps,
				 tc->limit_bps);
		tc->tenant->fault_ns = tc->fault_ns;
		break;
	case MAIL_POLICY:
		pc = container_of(mail, struct policy_change, mail);
		plan_set(&m->planner, pc->ops, pc->values, pc->state, pc->link);
		m->force_epoch = true;
		break;
	case MAIL_POLICY_FAILED:
		pf = container_of(mail, struct policy_failed, mail);
		plan_fail(&m->planner, pf->link, pf->name, pf->failure, pf->what);
		m->force_epoch = true;
		break;
	case MAIL_TUNE:
		tune = container_of(mail, struct mux_tuning, mail);
		m->spin_ns = tune->spin_ns;
		m->epoch_ns = tune->epoch_ns;
		break;
	case MAIL_ENGINES:
		ec = container_of(mail, struct engines_change, mail);
		sched_drain(&m->sched, ec->device, ec->drained, now);
		mux_kernel_grant(m, now); /* at once, not at the next epoch's end */
		m->force_epoch = true;
		break;
	case MAIL_DRAIN:
		mux_drain(m, now);
		break;
	case MAIL_STOP:
		m->stop = true;
		return; /* joining is the answer */
	case MAIL_SESSION_BROKEN:
	case MAIL_REVERTED:
		break; /* only ever go the other way */
	}
	list_add_tail(&m->waiting, &mail->link);
}

/* The client is not to be served any more: stop its rings and let control cut it off. */
void mux_session_break(struct mux *m, struct session *s, enum cutoff cut, const char *why,
		       uint64_t now)
{
	struct list *pos;

	if (s->is_broken)
		return;
	s->is_broken = true;
	s->why = why;
	s->cut = cut;
	list_for_each(pos, &s->queues)
		queue_stop(container_of(pos, struct queue, link), now);
	s->broken.type = MAIL_SESSION_BROKEN;
	s->broken.session = s;
	mail_answer(m, &s->broken);
}

/* Every session of the tenant that the scheduler has had enough of. */
void mux_cut_offender(struct mux *m, uint64_t now)
{
	struct sched_tenant *t = m->sched.offender;
	struct list *pos;

	m->sched.offender = NULL;
	t->fault_since = 0;
	list_for_each(pos, &m->queues.all) {
		struct queue *q = container_of(pos, struct queue, peer);

		if (q->flow.tenant == t)
			mux_session_break(
				m, q->session, CUT_FAULTS,
				"its copies fault too often, on memory that is not there "
				"(max_tenant_faults)",
				now);
	}
}
