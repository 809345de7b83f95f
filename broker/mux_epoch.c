// SPDX-License-Identifier: GPL-2.0-only
/*
 * mux_epoch.c - once an epoch: show the policy what there is, follow its plan, tell the clients.
 */
#include <limits.h>
#include <string.h>

#include "../client/barrier.h"
#include "clock.h"
#include "mux_parts.h"

#define STATE_QUEUES 64 /* queues whose headers one epoch refreshes, beyond hot ones */

/*
 * Tell clients what they may expect.  Also those whose queues are cold: one that was told to
 * use its CPU would never submit again, and so never hear of better times.
 */
void mux_tell(struct mux *m, unsigned int most, uint64_t now)
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
	mux_kernel_grant(m, now);
	m->last_look_ns = now;
	if (reverts == m->reverts_told || !m->reverted.done ||
	    amux_load_acquire(&m->reverted_out))
		return;
	m->reverts_told = reverts;
	m->reverted_out = 1;
	mailbox_post(m->outbox, &m->reverted);
}

/* Epochs follow the time scale; what a client takes for a sign of life does not. */
void mux_beat(struct mux *m, uint64_t now)
{
	struct list *pos;

	list_for_each(pos, &m->queues.hot)
		amux_store_relaxed(
			&container_of(pos, struct queue, hot)->ring.hdr->heartbeat_ns, now);
	m->last_beat_ns = now;
}

void mux_epoch(struct mux *m, uint64_t now)
{
	struct amux_view *v = &m->view;
	uint64_t elapsed = m->last_epoch_ns ? now - m->last_epoch_ns : 0;

	memset(v, 0, offsetof(struct amux_view, tenants));
	v->abi = AMUX_POLICY_ABI;
	v->now_ns = now;
	v->epoch_ns = m->epoch_ns;
	v->time_scale = m->time_scale;
	sched_view(&m->sched, v, now, elapsed);
	mux_kernel_view(m, &v->classes[AMUX_CLASS_KERNEL], elapsed);
	plan_epoch(&m->planner, v);
	mux_replan(m, now);
	mux_tell(m, m->force_epoch ? UINT_MAX : STATE_QUEUES, now);
	m->told = m->pulled = false;
	m->last_epoch_ns = now;
	m->force_epoch = false;
	stat_set(&m->stats.cpu_ns, clock_thread_cpu_ns());
}

/* Without work there are no epochs, but the last answer of a plug-in is still waited for. */
void mux_look(struct mux *m, uint64_t now)
{
	plan_look(&m->planner, &m->view);
	mux_replan(m, now);
}
