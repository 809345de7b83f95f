// SPDX-License-Identifier: GPL-2.0-only
/*
 * sched_view.c - what a policy is shown of devices, the user class and its tenants.
 */
#include <string.h>

#include "sched_parts.h"

#define WAIT_EPOCHS 16 /* window of the wait percentiles shown to policies */

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
		down += !device_engine_up(sd->dev, e) || (sd->drained & (1ull << e));
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
