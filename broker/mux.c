// SPDX-License-Identifier: GPL-2.0-only
/*
 * mux.c - the loop of a mux thread: pull, drive devices, reap, issue; spin, and sleep when idle.
 */
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
#include "mux_parts.h"

#define PULL_BUDGET    64    /* SQEs of one queue in one loop: no queue holds up the others */
#define PULL_PIECE     8     /* of them, between two publications */
#define PULL_TENANT    256   /* ... and no tenant, however many it has */
#define PROGRESS_NS    50000 /* an inline device copies at most about this long at once */
#define POLL_EVENTS_NS 20000 /* how often a busy loop looks for kicks of cold queues */
#define COLD_LOOPS     256   /* loops without work after which a queue is polled no more */
#define WATCH_LOOKS    128 /* at the rings, before a loop that finds nothing looks elsewhere */
#define WATCH_RELAX    8   /* looks for a pause */
#define SHORT_WAIT_NS  20000 /* a wait shorter than this is spun, not slept */

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
			mux_session_break(m, q->session, CUT_RING,
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

	if (!until)
		return;
	if (m->kernel && !m->queues.draining && !sched_busy(&m->sched) && !m->kernel->idle)
		grant_idle(m->kernel, mux_kernel_plan(m), m->device, m->sched.model_cpu_bps,
			   now);
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
			if (m->answered)
				q->quiet = 0;
			queues_flush(&m->queues);
			return;
		}
		if (mailbox_pending(&m->inbox))
			return;
		/* seldom: a pause takes as long as a cache line to come over */
		if (i % WATCH_RELAX == 1)
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
		mux_mail_act(m, mail, now);
		work++;
	}
	if (m->stop)
		return; /* with spin = 0 the end of this loop would be a sleep */
	for (unsigned int d = 0; d < m->n_devices; d++)
		if (m->kernel || m->sched.device[d].inflight_chunks)
			work += m->device[d]->ops->progress(m->device[d], now, PROGRESS_NS);
	work += sched_reap(&m->sched, now);
	queues_flush(&m->queues);
	mux_kernel_poll(m, now);
	pulled = mux_pull(m, now) + m->answered;
	m->answered = 0;
	work += pulled;
	if (pulled) {
		m->pulled = true;
		m->sched.last_user_ns = now;
	}
	/* the loan is withdrawn before the first user chunk */
	if (m->kernel && m->kernel->idle && sched_busy(&m->sched))
		mux_kernel_grant(m, now);
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
		mux_mail_settle(m);
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
