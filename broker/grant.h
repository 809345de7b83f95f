/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * grant.h - the broker's end of the grant page (kmod/uapi/accelmux.h): write grants, read
 * demand.  Where the pages come from (/dev/accelmux, or a replay in this process) is the
 * opener's business.
 *
 * Owner: the mux that serves the kernel class; its thread alone writes grants.  Demand may
 * be read by any thread (each word by itself).
 */
#ifndef BROKER_GRANT_H
#define BROKER_GRANT_H

#include "../kmod/uapi/accelmux.h"
#include "../policies/policy.h"
#include "engine.h"

struct grant_link {
	struct amux_grant *grant;
	const struct amux_demand *demand;
	bool idle; /* the whole-device loan stands */
	uint64_t epoch;		/* plans applied so far: grant_write() counts */
	struct amux_grant last; /* as published: the page itself is never read back */
};

/* What the kernel side wants right now, clamped against nonsense. */
struct grant_demand {
	bool active; /* a batch is waiting or in flight */
	uint64_t waiting_bytes;	 /* arrived, not finished */
	uint64_t inflight_bytes[AMUX_GRANT_DEVS];
	uint64_t last_batch_ns;
};

/* Initialise the grant page (disabled) over @map, AMUX_GRANT_MAP_BYTES.  A page that an earlier
 * broker wrote keeps its sequence, so that no reader mistakes the new grant for the old. */
void grant_init(struct grant_link *g, void *map);

/*
 * Publish the kernel class's part of @plan for @n devices.  @loan_bps[i] is what other
 * classes leave idle on device i now, @est_wait_ns[i] what they have in flight; loans expire
 * at @now + plan->loan_ns.  When nothing but times differs and the loan that stands is good for
 * at least half its life, the page is left alone: its readers keep their cache lines.
 */
void grant_write(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		 unsigned int n, const uint64_t *loan_bps, const uint64_t *est_wait_ns,
		 uint64_t cpu_bps, uint64_t now);

/* Before the mux sleeps: lend the whole of every device until withdrawn.  Respects a plan
 * that grants the kernel nothing, or lends nothing to it. */
void grant_idle(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		unsigned int n, uint64_t cpu_bps, uint64_t now);

/* Disable: the kernel side uses the CPU (drain, shutdown). */
void grant_disable(struct grant_link *g, uint64_t now);

void grant_demand_read(const struct grant_link *g, struct grant_demand *out);

/* Copy the grant under its sequence counter, every field clamped to its range (a mask may
 * still name engines that a device has not).  Any thread or process: the replay stands on the
 * kernel side here.  -EAGAIN after AMUX_GRANT_TRIES, -EPROTO if it is not a grant. */
int grant_read(const struct amux_grant *g, struct amux_grant *out);

#endif /* BROKER_GRANT_H */
