/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * grant.h - the broker's end of the grant page (kmod/uapi/accelmux.h): write grants, read
 * demand.  Where the pages come from (/dev/accelmux, or a replay in this process) is the
 * opener's business.
 *
 * The page is of all nodes.  Each node's mux has a part of it, the entries of its own devices,
 * and writes that alone; the part written last also says what is common to all (threshold,
 * chunk, reasons), which comes from one policy everywhere.
 *
 *	struct grant_page ── part of node 0: device 0, 1
 *	                  └─ part of node 1: device 2
 *
 * Owner: the broker; a part is its mux's, whose thread alone writes it.  Demand may be read by
 * any thread (each word by itself).
 */
#ifndef BROKER_GRANT_H
#define BROKER_GRANT_H

#include <pthread.h>

#include "../kmod/uapi/accelmux.h"
#include "../policies/policy.h"
#include "engine.h"

struct grant_page {
	struct amux_grant *grant;
	const struct amux_demand *demand;
	pthread_mutex_t lock; /* over what follows, and writing the page: for as long as that */
	struct amux_grant last; /* as published: the page itself is never read back */
	uint32_t enabled;	/* devices whose part grants something */
	uint64_t epoch;		/* plans applied so far, of all parts; atomic */
};

/* One node's part. */
struct grant_link {
	struct grant_page *page;
	unsigned int first, n;	/* its devices in the page */
	bool idle;		/* the whole-device loan stands */
	struct amux_grant last; /* this part as published, its first device at 0 */
};

/* What the kernel side wants right now, clamped against nonsense. */
struct grant_demand {
	bool active;				  /* a batch is waiting or in flight */
	uint64_t waiting_bytes;			  /* arrived, not finished */
	uint64_t inflight_bytes[AMUX_GRANT_DEVS]; /* of the part's devices */
	uint64_t last_batch_ns;
};

/* Initialise the grant page (disabled) over @map, AMUX_GRANT_MAP_BYTES.  A page that an earlier
 * broker wrote keeps its sequence, so that no reader mistakes the new grant for the old. */
void grant_init(struct grant_page *p, void *map);

/* The part of @p that begins with device @first and has at most @n. */
void grant_part(struct grant_link *g, struct grant_page *p, unsigned int first, unsigned int n);

/*
 * Publish the kernel class's share of @plan for the part's devices, @dev.  @loan_bps[i] is what other
 * classes leave idle on device i now, @est_wait_ns[i] what they have in flight; loans expire
 * at @now + plan->loan_ns.  When nothing but times differs and the loan that stands is good for
 * at least half its life, the page is left alone: its readers keep their cache lines.
 */
void grant_write(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		 const uint64_t *loan_bps, const uint64_t *est_wait_ns, uint64_t cpu_bps,
		 uint64_t now);

/* Before the mux sleeps: lend the whole of every device until withdrawn.  Respects a plan
 * that grants the kernel nothing, or lends nothing to it. */
void grant_idle(struct grant_link *g, const struct amux_plan *plan, struct device *const *dev,
		uint64_t cpu_bps, uint64_t now);

/* Disable the part: the kernel side does not use its devices (drain, shutdown). */
void grant_disable(struct grant_link *g, uint64_t now);

void grant_demand_read(const struct grant_link *g, struct grant_demand *out);

/* Copy the grant under its sequence counter, every field clamped to its range (a mask may
 * still name engines that a device has not).  Any thread or process: the replay stands on the
 * kernel side here.  -EAGAIN after AMUX_GRANT_TRIES, -EPROTO if it is not a grant. */
int grant_read(const struct amux_grant *g, struct amux_grant *out);

#endif /* BROKER_GRANT_H */
