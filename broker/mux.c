// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <limits.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../client/barrier.h"
#include "clock.h"
#include "mux.h"
#include "outage.h"

#define PULL_BUDGET    64    /* SQEs of one queue in one loop: no queue holds up the others */
#define PULL_PIECE     8     /* of them, between two publications */
#define PULL_TENANT    256   /* ... and no tenant, however many it has */
#define PROGRESS_NS    50000 /* an inline device copies at most about this long at once */
#define POLL_EVENTS_NS 20000 /* how often a busy loop looks for kicks of cold queues */
#define COLD_LOOPS     256   /* loops without work after which a queue is polled no more */
#define WATCH_LOOKS    128 /* at the rings, before a loop that finds nothing looks elsewhere */
#define WATCH_RELAX    8   /* looks for a pause */
#define SHORT_WAIT_NS  20000 /* a wait shorter than this is spun, not slept */
#define KERNEL_HOLD_NS 50000 /* the kernel class stays active this long after its last copy */
#define WAIT_EPOCHS    16    /* window of the wait percentiles shown to policies */
#define STATE_QUEUES   64    /* queues whose headers one epoch refreshes, beyond hot ones */
#define BEAT_NS	       10000000	    /* clients with work hear from us this often: real time */
#define DRAIN_STALL_NS NSEC_PER_SEC /* a drain waits this long for clients to make room */
#define DRAIN_HUNG_NS  (5 * NSEC_PER_SEC) /* ... and for engines that may be dead */

/* ---------------------------------------------------------------------- kernel */

/* The plan without the engines that an operator has drained. */
static const struct amux_plan *kernel_plan(struct mux *m)
{
	bool drained = false;

	for (unsigned int d = 0; d < m->n_devices; d++)
		drained |= m->sched.device[d].drained != 0;
	if (!drained)
		return &m->planner.plan;
	m->granted = m->planner.plan;
	for (unsigned int d = 0; d < m->n_devices; d++)
		m->granted.share[d][AMUX_CLASS_KERNEL].engine_mask &=
			~m->sched.device[d].drained;
	return &m->granted;
}

static void kernel_grant(struct mux *m, uint64_t now)
{
	uint64_t loan[AMUX_POLICY_DEVS] = { 0 }, wait[AMUX_POLICY_DEVS] = { 0 };
	bool users = sched_busy(&m->sched);

	if (!m->kernel || m->queues.draining)
		return;
	for (unsigned int d = 0; d < m->n_devices; d++) {
		const struct amux_plan_share *k = &m->planner.plan.share[d][AMUX_CLASS_KERNEL];
		const struct amux_plan_share *u = &m->planner.plan.share[d][AMUX_CLASS_USER];
		uint64_t rate = m->device[d]->rate_bps;

		if (!users && u->lend && rate > k->reserve_bps)
			loan[d] = rate - k->reserve_bps;
		wait[d] = bytes_to_ns(m->sched.device[d].inflight_bytes, rate);
	}
	grant_write(m->kernel, kernel_plan(m), m->device, loan, wait, m->sched.model_cpu_bps,
		    now);
}

/* Follow the kernel class's demand: it takes its reserve back the moment it uses an engine. */
static void kernel_poll(struct mux *m, uint64_t now)
{
	struct grant_demand demand;
	bool inflight = false;

	if (!m->kernel)
		return;
	grant_demand_read(m->kernel, &demand);
	for (unsigned int d = 0; d < m->n_devices; d++)
		inflight |= demand.inflight_bytes[d] != 0;
	if (inflight)
		m->kernel_quiet_ns = now;
	else if (m->kernel_active && now - m->kernel_quiet_ns < KERNEL_HOLD_NS * m->time_scale)
		return;
	if (inflight == m->kernel_active)
		return;
	m->kernel_active = inflight;
	for (unsigned int d = 0; d < m->n_devices; d++)
		sched_kernel_active(&m->sched, d, inflight, now);
}

static void kernel_view(struct mux *m, struct amux_view_class *k, uint64_t elapsed)
{
	const struct amux_demand *demand;
	struct grant_demand now_wants;
	uint64_t arrived, served;

	if (!m->kernel)
		return;
	demand = m->kernel->page->demand;
	grant_demand_read(m->kernel, &now_wants);
	arrived = stat_read((const uint64_t *)&demand->arrived_bytes);
	served = stat_read((const uint64_t *)&demand->engine_bytes);
	k->present = 1;
	k->tenants = now_wants.active;
	k->queued_bytes = now_wants.waiting_bytes;
	if (elapsed) {
		k->arrival_bps = (uint64_t)((unsigned __int128)(arrived - m->kernel_arrived) *
					    NSEC_PER_SEC / elapsed);
		k->service_bps = (uint64_t)((unsigned __int128)(served - m->kernel_served) *
					    NSEC_PER_SEC / elapsed);
	}
	m->kernel_arrived = arrived;
	m->kernel_served = served;
	k->cpu_bps = m->sched.cpu_bps;
	k->idle_ns = now_wants.active ? 0 : clock_ns() - now_wants.last_batch_ns;
	k->wait_p50_ns =
		hist_quantile((const uint64_t *)demand->wait_hist, m->kernel_wait_base, 500);
	k->wait_p99_ns =
		hist_quantile((const uint64_t *)demand->wait_hist, m->kernel_wait_base, 990);
	if (++m->kernel_wait_age < WAIT_EPOCHS)
		return;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		m->kernel_wait_base[i] = stat_read((const uint64_t *)&demand->wait_hist[i]);
	m->kernel_wait_age = 0;
}

/* ----------------------------------------------------------------------- epoch */

/*
 * Tell clients what they may expect.  Also those whose queues are cold: one that was told to
 * use its CPU would never submit again, and so never hear of better times.
 */
static void mux_tell(struct mux *m, unsigned int most, uint64_t now)
{
	struct list *pos, *first = NULL;

	list_for_each(pos, &m->queues.hot)
		queue_publish_state(container_of(pos, struct queue, hot), now);
	while (most-- && !list_empty(&m->queues.all) && m->queues.all.next != first) {
		pos = m->queues.all.next;
		queue_publish_state(container_of(pos, struct queue, peer), now);
		list_del(pos);
		list_add_tail(&m->queues.all, pos);
		if (!first)
			first = pos;
	}
}

/* Follow the plan; whoever keeps the log hears of a policy that was replaced. */
static void mux_replan(struct mux *m, uint64_t now)
{
	uint32_t reverts = (uint32_t)stat_read(&m->stats.policy_reverts);

	sched_replan(&m->sched, now);
	kernel_grant(m, now);
	m->last_look_ns = now;
	if (reverts == m->reverts_told || !m->reverted.done ||
	    amux_load_acquire(&m->reverted_out))
		return;
	m->reverts_told = reverts;
	m->reverted_out = 1;
	mailbox_post(m->outbox, &m->reverted);
}

/* Epochs follow the time scale; what a client takes for a sign of life does not. */
static void mux_beat(struct mux *m, uint64_t now)
{
	struct list *pos;

	list_for_each(pos, &m->queues.hot)
		amux_store_relaxed(
			&container_of(pos, struct queue, hot)->ring.hdr->heartbeat_ns, now);
	m->last_beat_ns = now;
}

static void mux_epoch(struct mux *m, uint64_t now)
{
	struct amux_view *v = &m->view;
	uint64_t elapsed = m->last_epoch_ns ? now - m->last_epoch_ns : 0;

	memset(v, 0, offsetof(struct amux_view, tenants));
	v->abi = AMUX_POLICY_ABI;
	v->now_ns = now;
	v->epoch_ns = m->epoch_ns;
	v->time_scale = m->time_scale;
	sched_view(&m->sched, v, now, elapsed);
	kernel_view(m, &v->classes[AMUX_CLASS_KERNEL], elapsed);
	plan_epoch(&m->planner, v);
	mux_replan(m, now);
	mux_tell(m, m->force_epoch ? UINT_MAX : STATE_QUEUES, now);
	m->told = m->pulled = false;
	m->last_epoch_ns = now;
	m->force_epoch = false;
	stat_set(&m->stats.cpu_ns, clock_thread_cpu_ns());
}

/* Without work there are no epochs, but the last answer of a plug-in is still waited for. */
static void mux_look(struct mux *m, uint64_t now)
{
	plan_look(&m->planner, &m->view);
	mux_replan(m, now);
}

/* ------------------------------------------------------------------------ mail */

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

static void mail_settle(struct mux *m)
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

static void mail_act(struct mux *m, struct mail *mail, uint64_t now)
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
		kernel_grant(m, now); /* at once, not at the next epoch's end */
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
static void session_break(struct mux *m, struct session *s, enum cutoff cut, const char *why,
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
static void mux_cut_offender(struct mux *m, uint64_t now)
{
	struct sched_tenant *t = m->sched.offender;
	struct list *pos;

	m->sched.offender = NULL;
	t->fault_since = 0;
	list_for_each(pos, &m->queues.all) {
		struct queue *q = container_of(pos, struct queue, peer);

		if (q->flow.tenant == t)
			session_break(m, q->session, CUT_FAULTS,
				      "its copies fault too often, on memory that is not there "
				      "(max_tenant_faults)",
				      now);
	}
}

/* ------------------------------------------------------------------------ loop */

/*
 * Pull from one queue.  What is answered on the spot is published every few: the client goes on
 * with the first while the last are judged.  @few: so are copies that this thread does itself, also
 * because they drive everything else out of its caches.
 */
static int mux_pull_one(struct mux *m, struct queue *q, bool few, uint64_t now)
{
	int total = 0, n;

	m->queues.spot.ran = false;
	do {
		n = queue_pull(q, PULL_PIECE, now);
		if (n < 0)
			return n;
		total += n;
		queues_flush(&m->queues);
	} while (n == PULL_PIECE && total < PULL_BUDGET && !m->queues.spot.ran &&
		 !(few && sched_busy(&m->sched)));
	return total;
}

static unsigned int mux_pull(struct mux *m, uint64_t now)
{
	struct list *pos, *tmp;
	unsigned int total = 0;
	/* who shares an engine by weight must have more waiting than it takes at once */
	bool few = m->copies && m->queues.hot.next == m->queues.hot.prev;

	m->queues.spot.allowed = few && !m->kernel;

	m->turn++;
	list_for_each_safe(pos, tmp, &m->queues.hot) {
		struct queue *q = container_of(pos, struct queue, hot);
		struct sched_tenant *t = q->flow.tenant;
		int n;

		if (q->turn == m->turn)
			break; /* it, and those behind it, have had theirs */
		if (t->pull_turn != m->turn) {
			t->pull_turn = m->turn;
			t->pulled = 0;
		} else if (t->pulled >= PULL_TENANT) {
			continue;
		}
		n = mux_pull_one(m, q, few, now);
		if (n > 0) {
			q->quiet = 0;
			total += (unsigned int)n;
			t->pulled += (unsigned int)n;
			if (n == PULL_BUDGET) { /* the tenant's next one is first next time */
				q->turn = m->turn;
				list_del(pos);
				list_add_tail(&m->queues.hot, pos);
			}
		} else if (n < 0) {
			session_break(m, q->session, CUT_RING,
				      "impossible submission queue tail", now);
			break; /* its queues left the list we walk */
		} else if (++q->quiet > COLD_LOOPS && !q->flow.unanswered && !queue_holds(q) &&
			   !amux_sq_sleep(&q->ring)) {
			list_del(&q->hot); /* its eventfd brings it back */
		}
	}
	return total;
}

/* Collect kicks; wait for them until @until_ns if @wait.  Returns whether there were any. */
static bool mux_events(struct mux *m, bool wait, uint64_t until_ns)
{
	struct epoll_event ev[32];
	struct timespec ts = { 0, 0 }, *timeout = &ts;
	uint64_t now, count;
	int n;

	if (wait && until_ns == UINT64_MAX) {
		timeout = NULL;
	} else if (wait) {
		now = clock_ns();
		if (until_ns > now) {
			ts.tv_sec = (time_t)((until_ns - now) / NSEC_PER_SEC);
			ts.tv_nsec = (long)((until_ns - now) % NSEC_PER_SEC);
		}
	}
	n = epoll_pwait2(m->epoll_fd, ev, 32, timeout, NULL);
	for (int i = 0; i < n; i++) {
		struct queue *q = ev[i].data.ptr;

		if (!q) {
			ssize_t got = read(m->wake_fd, &count, sizeof(count));

			(void)got; /* only its readability mattered */
			continue;
		}
		if (q->stopped || !list_empty(&q->hot))
			continue;
		q->quiet = 0;
		amux_sq_wake(&q->ring);
		list_add_tail(&m->queues.hot, &q->hot);
	}
	return n > 0;
}

/* Until when nothing will happen unless somebody kicks; 0: work is at hand. */
static uint64_t mux_next(struct mux *m, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	bool busy = sched_busy(&m->sched);

	for (unsigned int d = 0; d < m->n_devices; d++) {
		uint64_t t = m->device[d]->ops->next_event(m->device[d], now);

		if (t < next)
			next = t;
	}
	if (busy && m->sched.ready_ns && m->sched.ready_ns < next)
		next = m->sched.ready_ns;
	if ((busy || m->kernel_active) && m->last_epoch_ns + m->epoch_ns < next)
		next = m->last_epoch_ns + m->epoch_ns;
	if (plan_owed(&m->planner) && m->last_look_ns + m->epoch_ns < next)
		next = m->last_look_ns + m->epoch_ns;
	if (busy && m->epoch_ns > BEAT_NS && m->last_beat_ns + BEAT_NS < next)
		next = m->last_beat_ns + BEAT_NS;
	if (m->kernel_active && now + KERNEL_HOLD_NS * m->time_scale < next)
		next = now + KERNEL_HOLD_NS * m->time_scale;
	if (m->drain_until_ns && m->drain_until_ns < next)
		next = m->drain_until_ns;
	return next <= now + (m->modelled ? SHORT_WAIT_NS : 0) ? 0 : next;
}

static void mux_wake_flags(struct mux *m)
{
	struct list *pos;

	list_for_each(pos, &m->queues.hot)
		amux_sq_wake(&container_of(pos, struct queue, hot)->ring);
}

/* Announce the sleep everywhere, look once more, sleep. */
static void mux_sleep(struct mux *m, uint64_t now)
{
	uint64_t until = mux_next(m, now);
	bool work = false;
	struct list *pos;

	if (!until || m->stop)
		return; /* without spinning the mail that stops it comes just before */
	if (m->kernel && !m->queues.draining && !sched_busy(&m->sched) && !m->kernel->idle)
		grant_idle(m->kernel, kernel_plan(m), m->device, m->sched.model_cpu_bps, now);
	if (!m->told && !sched_busy(&m->sched)) {
		mux_tell(m, UINT_MAX, now);
		m->told = true;
	}
	amux_store_relaxed(&m->sleeping, 1u);
	list_for_each(pos, &m->queues.hot)
		amux_store_relaxed(&container_of(pos, struct queue, hot)->ring.hdr->sq_flags,
				   AMUX_RING_NEED_WAKEUP);
	amux_full_barrier(); /* pairs with mux_ring() and amux_sq_publish() */
	list_for_each(pos, &m->queues.hot)
		work |= queue_has_work(container_of(pos, struct queue, hot));
	work |= mailbox_pending(&m->inbox) || sched_reap(&m->sched, now) || !mux_next(m, now) ||
		!list_empty(&m->queues.dirty);
	if (!work) {
		stat_add(&m->stats.sleeps, 1);
		stat_set(&m->stats.cpu_ns, clock_thread_cpu_ns());
		mux_events(m, true, until);
	}
	amux_store_relaxed(&m->sleeping, 0u);
	mux_wake_flags(m);
}

/*
 * Wait a little for a client's next request, which is what a loop with nothing in flight waits
 * for: one look at the rings costs a tenth of a whole loop, and is seen so much the sooner.
 */
static void mux_spin(struct mux *m)
{
	bool alone = !m->kernel && !sched_busy(&m->sched) && list_empty(&m->waiting);
	struct list *pos;

	for (unsigned int i = alone ? WATCH_LOOKS : 1; i; i--) {
		list_for_each(pos, &m->queues.hot) {
			struct queue *q = container_of(pos, struct queue, hot);

			/* The entry comes over while its tail does, and its answer's place while
			 * the clock is read. */
			amux_sq_prefetch(&q->ring, 1);
			if (!amux_sq_ready(&q->ring))
				continue;
			amux_cq_prefetch_write(&q->ring, 1);
			m->answered = queue_pull_noops(q, PULL_PIECE);
			queues_flush(&m->queues);
			return;
		}
		if (mailbox_pending(&m->inbox))
			return;
		if (i % WATCH_RELAX ==
		    1) /* a pause takes as long as a cache line to come over */
			amux_cpu_relax();
	}
}

static void mux_loop(struct mux *m)
{
	uint64_t now = clock_ns();
	unsigned int work = 0, pulled;
	struct mail *mail;

	stat_add(&m->stats.loops, 1);
	while (mailbox_pending(&m->inbox) && (mail = mailbox_take(&m->inbox))) {
		mail_act(m, mail, now);
		work++;
	}
	if (m->stop)
		return; /* with spin = 0 the end of this loop would be a sleep */
	for (unsigned int d = 0; d < m->n_devices; d++)
		if (m->kernel || m->sched.device[d].inflight_chunks)
			work += m->device[d]->ops->progress(m->device[d], now, PROGRESS_NS);
	work += sched_reap(&m->sched, now);
	queues_flush(&m->queues);
	kernel_poll(m, now);
	pulled = mux_pull(m, now) + m->answered;
	m->answered = 0;
	work += pulled;
	if (pulled) {
		m->pulled = true;
		m->sched.last_user_ns = now;
	}
	if (m->kernel && m->kernel->idle && sched_busy(&m->sched))
		kernel_grant(m, now); /* the loan is withdrawn before the first user chunk */
	work += sched_issue(&m->sched, now);
	queues_flush(&m->queues); /* errors and declines found while pulling */
	if (m->force_epoch || ((sched_busy(&m->sched) || m->kernel_active || m->pulled) &&
			       now - m->last_epoch_ns >= m->epoch_ns))
		mux_epoch(m, now);
	else if (plan_owed(&m->planner) && now - m->last_look_ns >= m->epoch_ns)
		mux_look(m, now);
	if (m->sched.offender)
		mux_cut_offender(m, now);
	if (m->epoch_ns > BEAT_NS && now - m->last_beat_ns >= BEAT_NS && sched_busy(&m->sched))
		mux_beat(m, now);
	if (m->drain_until_ns && (pulled || sched_busy(&m->sched)))
		m->drain_until_ns = now + DRAIN_STALL_NS;
	if (!list_empty(&m->waiting))
		mail_settle(m);
	if (work)
		m->quiet_since_ns = now;
	if (now - m->quiet_since_ns >= m->spin_ns || (m->modelled && !work)) {
		mux_sleep(m, now);
	} else if (now - m->last_poll_ns >= POLL_EVENTS_NS) {
		m->last_poll_ns = now;
		mux_events(m, false, 0);
	} else if (!work) {
		mux_spin(m);
	}
}

static void *mux_main(void *arg)
{
	struct mux *m = arg;
	char name[16];

	snprintf(name, sizeof(name), "amux-mux%d", m->node);
	pthread_setname_np(pthread_self(), name);
	prctl(PR_SET_TIMERSLACK, 1000ul); /* modelled waits are tens of microseconds */
	if (numa_available() >= 0 && m->node >= 0)
		numa_run_on_node(m->node);
	while (!m->stop)
		mux_loop(m);
	return NULL;
}

int mux_watch(struct mux *m, struct queue *q)
{
	/* Edges: kicks need no reading, and with O_NONBLOCK undone a client could block that.
	 */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = q };

	return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, q->sq_efd, &ev) < 0 ? -errno : 0;
}

void mux_ring(void *arg)
{
	struct mux *m = arg;
	uint64_t one = 1;
	ssize_t n;

	amux_full_barrier(); /* pairs with the one in mux_sleep() */
	if (!amux_load_relaxed(&m->sleeping))
		return;
	n = write(m->wake_fd, &one, sizeof(one));
	(void)n; /* a full counter is readable already */
}

int mux_open(struct mux *m, int node, struct device *const *dev, unsigned int n,
	     const struct config *cfg, struct grant_link *kernel, struct mailbox *outbox)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	int policy = config_policy_index(cfg->policy), ret;

	memset(m, 0, sizeof(*m));
	m->node = node;
	m->n_devices = n;
	m->kernel = kernel;
	m->outbox = outbox;
	m->time_scale = config_time_scale(cfg);
	m->spin_ns = cfg->spin_ns;
	m->epoch_ns = cfg->epoch_ns * m->time_scale;
	m->epoll_fd = m->wake_fd = -1;
	list_init(&m->waiting);
	list_init(&m->queues.hot);
	list_init(&m->queues.dirty);
	list_init(&m->queues.all);
	m->queues.sched = &m->sched;
	m->force_epoch = true;
	m->reverted.type = MAIL_REVERTED;
	m->reverted.arg = m;
	if (policy < 0)
		policy = config_policy_index("partitioned"); /* until a plug-in is loaded */
	ret = plan_init(&m->planner, amux_policies[policy], cfg->policy_values[policy],
			&m->stats);
	if (ret)
		return ret;
	ret = sched_init(&m->sched, dev, n, &m->planner.plan, &m->stats);
	if (ret)
		goto err_plan;
	sched_cpu_set(&m->sched, cfg->cpu_bps / m->time_scale);
	m->sched.cpu_only = true;
	for (unsigned int d = 0; d < n; d++) {
		m->device[d] = dev[d];
		if (dev[d]->caps & DEVICE_CAP_MODEL) {
			m->modelled = true;
			m->sched.model_cpu_bps = m->sched.cpu_bps;
		}
		m->queues.by_cpu |= (dev[d]->caps & DEVICE_CAP_CPU) != 0;
		m->copies |=
			(dev[d]->caps & DEVICE_CAP_CPU) && (dev[d]->caps & DEVICE_CAP_BLOCKING);
		if (!(dev[d]->caps & DEVICE_CAP_CPU) || cfg->own_core)
			m->sched.cpu_only = false;
		dev[d]->doorbell.ring = mux_ring;
		dev[d]->doorbell.arg = m;
	}
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->epoll_fd < 0 || m->wake_fd < 0 ||
	    epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->wake_fd, &ev) < 0) {
		ret = -errno;
		goto err_sched;
	}
	mailbox_init(&m->inbox, mux_ring, m);
	return 0;

err_sched:
	if (m->epoll_fd >= 0)
		close(m->epoll_fd);
	if (m->wake_fd >= 0)
		close(m->wake_fd);
	sched_fini(&m->sched);
err_plan:
	plan_fini(&m->planner);
	return ret;
}

int mux_start(struct mux *m)
{
	int ret = pthread_create(&m->thread, NULL, mux_main, m);

	m->started = ret == 0;
	return -ret;
}

void mux_stop(struct mux *m)
{
	struct mail mail = { .type = MAIL_STOP };

	if (!m->started)
		return;
	mux_post(m, &mail);
	pthread_join(m->thread, NULL);
	m->started = false;
}

void mux_close(struct mux *m)
{
	mux_stop(m);
	mailbox_fini(&m->inbox);
	close(m->epoll_fd);
	close(m->wake_fd);
	sched_fini(&m->sched);
	plan_fini(&m->planner);
}
