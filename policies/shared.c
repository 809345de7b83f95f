// SPDX-License-Identifier: MIT
/*
 * shared - free for all: every class uses every engine, first come, first served.
 *
 * What it does	 all engines to both classes, no reserves, no limits, requests uncut up to
 *		 2 MiB, queues as deep as a work queue of the hardware, and nothing is sent
 *		 back to the CPU.  This is what happens today where a work queue is simply
 *		 shared, and it is kept that naive on purpose: it is the baseline.
 * When it suits one client at a time, or clients that trust each other and want
 *		 throughput only.
 * Where it fails under contention: one class's large copies hold the engines (2 MiB is
 *		 70 us of a device's time, a full queue of them 9 ms), the other class waits
 *		 behind all of them and may be slower than its own CPU.  It guarantees nothing.
 */
#include "builtin.h"

#define SHARED_WQ_ENTRIES 128u /* a DSA 1 device's, all in one queue */

enum { SHARED_CHUNK, SHARED_MIN_PAGES, SHARED_PARAMS };

struct shared_state {
	uint32_t chunk;
	uint32_t min_pages;
};

static const struct amux_policy_param shared_params[] = {
	[SHARED_CHUNK] = { "chunk", "largest piece handed to an engine", AMUX_UNIT_BYTES, 4096,
			   2u << 20, 2u << 20 },
	[SHARED_MIN_PAGES] = { "min_pages", "smaller kernel batches stay on the CPU",
			       AMUX_UNIT_PAGES, 1, 65536, 32 },
};

static int shared_check(const uint64_t *values, char *err, size_t errlen)
{
	return amux_check_chunk(values[SHARED_CHUNK], err, errlen);
}

static void shared_start(void *state, const uint64_t *values)
{
	struct shared_state *s = state;

	s->chunk = (uint32_t)values[SHARED_CHUNK];
	s->min_pages = (uint32_t)values[SHARED_MIN_PAGES];
}

static int shared_plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	const struct shared_state *s = state;

	plan->chunk_bytes = s->chunk;
	plan->kernel_min_pages = s->min_pages;
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_NEVER;

	for (unsigned int d = 0; d < view->n_devices; d++) {
		const struct amux_view_device *dev = &view->devices[d];

		if (!dev->engines || dev->flags & AMUX_DEVICE_DOWN)
			continue;
		for (unsigned int c = 0; c < AMUX_CLASSES; c++)
			plan->share[d][c] = (struct amux_plan_share){
				.engine_mask = amux_engine_mask(dev->engines),
				.limit_bps = AMUX_BPS_MAX,
				.cap_bytes = (uint64_t)s->chunk * SHARED_WQ_ENTRIES,
			};
	}
	return 0;
}

const struct amux_policy_ops amux_policy_shared = {
	AMUX_POLICY_HEADER,
	.n_params = SHARED_PARAMS,
	.name = "shared",
	.summary = "free for all: no reserves, no limits, 2 MiB pieces (the baseline)",
	.params = shared_params,
	.state_size = sizeof(struct shared_state),
	.check = shared_check,
	.start = shared_start,
	.plan = shared_plan,
};
