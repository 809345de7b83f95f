// SPDX-License-Identifier: GPL-2.0-only
/*
 * mux_kernel.c - the kernel class as the mux thread sees it: what it is granted, whether it is at
 * work, and what policies are shown of it.
 */
#include "clock.h"
#include "mux_parts.h"

#define WAIT_EPOCHS 16 /* window of the wait percentiles shown to policies */

/* The plan without the engines that an operator has drained. */
const struct amux_plan *mux_kernel_plan(struct mux *m)
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

void mux_kernel_grant(struct mux *m, uint64_t now)
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
	grant_write(m->kernel, mux_kernel_plan(m), m->device, loan, wait,
		    m->sched.model_cpu_bps, now);
}

/* Follow the kernel class's demand: it takes its reserve back the moment it uses an engine. */
void mux_kernel_poll(struct mux *m, uint64_t now)
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

void mux_kernel_view(struct mux *m, struct amux_view_class *k, uint64_t elapsed)
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
