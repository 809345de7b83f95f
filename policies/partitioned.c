// SPDX-License-Identifier: MIT
/*
 * partitioned - a strict wall: each class has engines and bytes of its own, always.
 *
 * What it does	 splits a device's engines into two disjoint sets and its rate into two
 *		 limits, both by kernel_share.  Nothing is lent, not even to a host without a
 *		 kernel client: the plan does not depend on who is there, nor on any history.
 *		 On a device with a single engine both classes use it and only the byte
 *		 limits separate them.
 * When it suits predictability above throughput: tenants that must not feel each other, a
 *		 kernel client whose migrations must never depend on users; and as the fallback
 *		 when another policy errs.
 * Where it fails idle shares stay idle, so a single busy class gets its share and no more;
 *		 whole engines are a coarse measure (with two engines the masks are half and
 *		 half whatever kernel_share says, the byte limits still follow it); engines
 *		 share the device's fabric, hence the byte limits on top of the masks.
 */
#include "builtin.h"

#define PARTITIONED_CAP_OWN    8u /* chunks in flight on an engine of one's own */
#define PARTITIONED_CAP_COMMON 2u /* ... on the only engine, which the other uses too */

enum { PARTITIONED_SHARE, PARTITIONED_CHUNK, PARTITIONED_MIN_PAGES, PARTITIONED_PARAMS };

struct partitioned_state {
	uint32_t kernel_share; /* percent */
	uint32_t chunk;
	uint32_t min_pages;
};

static const struct amux_policy_param partitioned_params[] = {
	[PARTITIONED_SHARE] = { "kernel_share", "the kernel's part of engines and bytes",
				AMUX_UNIT_PERCENT, 1, 99, 50 },
	[PARTITIONED_CHUNK] = { "chunk", "largest piece handed to an engine", AMUX_UNIT_BYTES,
				4096, 2u << 20, 64u << 10 },
	[PARTITIONED_MIN_PAGES] = { "min_pages", "smaller kernel batches stay on the CPU",
				    AMUX_UNIT_PAGES, 1, 65536, 32 },
};

static int partitioned_check(const uint64_t *values, char *err, size_t errlen)
{
	return amux_check_chunk(values[PARTITIONED_CHUNK], err, errlen);
}

static void partitioned_start(void *state, const uint64_t *values)
{
	struct partitioned_state *s = state;

	s->kernel_share = (uint32_t)values[PARTITIONED_SHARE];
	s->chunk = (uint32_t)values[PARTITIONED_CHUNK];
	s->min_pages = (uint32_t)values[PARTITIONED_MIN_PAGES];
}

/* Engines of the kernel out of @engines: the share rounded, but at least one for each. */
static uint32_t kernel_engines(uint32_t engines, uint32_t percent)
{
	uint32_t n = (uint32_t)(((uint64_t)engines * percent + 50) / 100);

	if (n < 1)
		return 1;
	return n < engines ? n : engines - 1;
}

static void partitioned_device(const struct partitioned_state *s,
			       const struct amux_view_device *dev,
			       struct amux_plan_share *share)
{
	uint64_t all = amux_engine_mask(dev->engines);
	uint64_t mask[AMUX_CLASSES] = { all, all };
	uint64_t limit[AMUX_CLASSES];
	uint64_t cap = PARTITIONED_CAP_COMMON;

	if (dev->engines > 1) {
		uint32_t n = kernel_engines(dev->engines, s->kernel_share);

		mask[AMUX_CLASS_KERNEL] = amux_engine_mask(n);
		mask[AMUX_CLASS_USER] = all & ~mask[AMUX_CLASS_KERNEL];
		cap = PARTITIONED_CAP_OWN;
	}
	limit[AMUX_CLASS_KERNEL] = amux_percent_of(dev->rate_bps, s->kernel_share);
	limit[AMUX_CLASS_USER] = dev->rate_bps - limit[AMUX_CLASS_KERNEL];

	for (unsigned int c = 0; c < AMUX_CLASSES; c++) {
		/* A share of a few bytes/s that rounds to none would be a queue that
		 * never moves: no engines instead, so that requests are declined. */
		if (dev->rate_bps && !limit[c])
			continue;
		share[c].engine_mask = mask[c];
		/* While the rate is unknown only the masks can separate. */
		share[c].limit_bps = dev->rate_bps ? limit[c] : AMUX_BPS_MAX;
		share[c].reserve_bps = limit[c];
		share[c].cap_bytes = cap * s->chunk;
	}
}

static int partitioned_plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	const struct partitioned_state *s = state;

	plan->chunk_bytes = s->chunk;
	plan->kernel_min_pages = s->min_pages;
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_PREDICT;

	for (unsigned int d = 0; d < view->n_devices; d++) {
		const struct amux_view_device *dev = &view->devices[d];

		if (dev->engines && !(dev->flags & AMUX_DEVICE_DOWN))
			partitioned_device(s, dev, plan->share[d]);
	}
	return 0;
}

const struct amux_policy_ops amux_policy_partitioned = {
	AMUX_POLICY_HEADER,
	.n_params = PARTITIONED_PARAMS,
	.name = "partitioned",
	.summary = "a strict wall: own engines and own bytes per class, nothing is lent",
	.params = partitioned_params,
	.state_size = sizeof(struct partitioned_state),
	.check = partitioned_check,
	.start = partitioned_start,
	.plan = partitioned_plan,
};
