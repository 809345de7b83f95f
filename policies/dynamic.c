// SPDX-License-Identifier: MIT
/*
 * dynamic - guarantee and lend: each class has a reserve, and what it leaves idle is the
 * other's until it comes back.
 *
 * What it does	 all engines to both classes.  Each present class reserves its part of the
 *		 device's rate and lends it while it has no work.  The core itself enforces
 *		 that within an epoch: when the owner becomes active, the borrower falls back
 *		 to the rest at its next chunk.  What is then still in the way is the
 *		 borrower's bytes in flight, hence small chunks and small caps: users have at
 *		 most two chunks on an engine, the kernel as much as DYNAMIC_DELAY_NS of the
 *		 engine's time, within two to four chunks.  A request that the client's CPU is
 *		 predicted to finish earlier is declined.
 * When it suits nearly always: the default on a host where kernel and users share devices.
 * Where it fails a wall is wanted (side channels, hard isolation): use partitioned.  The
 *		 reserve counts bytes, so a class of tiny copies does not get half of the
 *		 *time*.  Two chunks on an engine must outlast the mux thread's turnaround: on
 *		 an engine much faster than the defaults assume, raise chunk.
 *
 * The plan is a function of the view alone: no memory, so no start-up phase and nothing
 * that could oscillate.  Measured waits are left out on purpose in this version: a deep
 * queue waits for its own depth, which no reserve or cap can shorten, and to act on it
 * would take from the class that has the shorter queue.
 */
#include "builtin.h"

#define DYNAMIC_DELAY_NS       20000ull /* time-scaled: kernel bytes on an engine, as time */
#define DYNAMIC_KERNEL_CAP_MIN 2u	/* chunks */
#define DYNAMIC_KERNEL_CAP_MAX 4u
#define DYNAMIC_LOAN_EPOCHS    1000u /* the longest loan the core accepts */

enum {
	DYNAMIC_SHARE,
	DYNAMIC_CHUNK,
	DYNAMIC_CAP,
	DYNAMIC_MIN_PAGES,
	DYNAMIC_LOAN,
	DYNAMIC_PARAMS
};

struct dynamic_state {
	uint32_t kernel_share; /* percent */
	uint32_t chunk;
	uint32_t cap_chunks;
	uint32_t min_pages;
	uint64_t loan_ns; /* not scaled */
};

static const struct amux_policy_param dynamic_params[] = {
	[DYNAMIC_SHARE] = { "kernel_share", "the kernel's reserve; users reserve the rest",
			    AMUX_UNIT_PERCENT, 1, 99, 50 },
	[DYNAMIC_CHUNK] = { "chunk", "largest piece handed to an engine", AMUX_UNIT_BYTES, 4096,
			    256u << 10, 64u << 10 },
	[DYNAMIC_CAP] = { "cap_chunks", "chunks of users in flight per engine", AMUX_UNIT_COUNT,
			  1, 2, 2 },
	[DYNAMIC_MIN_PAGES] = { "min_pages", "smaller kernel batches stay on the CPU",
				AMUX_UNIT_PAGES, 1, 65536, 32 },
	[DYNAMIC_LOAN] = { "loan", "a loan to the kernel expires after this (times time_scale)",
			   AMUX_UNIT_NS, 1000000, 1000000000, 10000000 },
};

static int dynamic_check(const uint64_t *values, char *err, size_t errlen)
{
	return amux_check_chunk(values[DYNAMIC_CHUNK], err, errlen);
}

static void dynamic_start(void *state, const uint64_t *values)
{
	struct dynamic_state *s = state;

	s->kernel_share = (uint32_t)values[DYNAMIC_SHARE];
	s->chunk = (uint32_t)values[DYNAMIC_CHUNK];
	s->cap_chunks = (uint32_t)values[DYNAMIC_CAP];
	s->min_pages = (uint32_t)values[DYNAMIC_MIN_PAGES];
	s->loan_ns = values[DYNAMIC_LOAN];
}

static uint64_t mul_sat(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
	if (v < lo)
		return lo;
	return v < hi ? v : hi;
}

/*
 * What the kernel may have in flight on an engine, bytes: users who come back find no more
 * than this ahead of them.  Never below two chunks: one in service, one behind it.
 */
static uint64_t kernel_cap(const struct dynamic_state *s, const struct amux_view *view,
			   const struct amux_view_device *dev)
{
	uint64_t bps = dev->engine_bps ? dev->engine_bps : dev->rate_bps / dev->engines;
	uint64_t delay = mul_sat(DYNAMIC_DELAY_NS, view->time_scale ? view->time_scale : 1);
	unsigned __int128 chunks = (unsigned __int128)delay * bps / 1000000000u / s->chunk;
	uint64_t n = chunks > UINT32_MAX ? UINT32_MAX : (uint64_t)chunks;

	return clamp(n, DYNAMIC_KERNEL_CAP_MIN, DYNAMIC_KERNEL_CAP_MAX) * s->chunk;
}

static void dynamic_device(const struct dynamic_state *s, const struct amux_view *view,
			   const struct amux_view_device *dev, struct amux_plan_share *share)
{
	uint64_t kernel = amux_percent_of(dev->rate_bps, s->kernel_share);
	uint64_t reserve[AMUX_CLASSES] = {
		[AMUX_CLASS_KERNEL] = kernel,
		[AMUX_CLASS_USER] = dev->rate_bps - kernel,
	};
	uint64_t cap[AMUX_CLASSES] = {
		[AMUX_CLASS_KERNEL] = kernel_cap(s, view, dev),
		[AMUX_CLASS_USER] = (uint64_t)s->cap_chunks * s->chunk,
	};

	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		share[c] = (struct amux_plan_share){
			.engine_mask = amux_engine_mask(dev->engines),
			/* A client that does not exist guards nothing; the mask stays, so
			 * that one that attaches to an idle broker can borrow at once. */
			.reserve_bps = view->classes[c].present ? reserve[c] : 0,
			.limit_bps = AMUX_BPS_MAX,
			.cap_bytes = cap[c],
			.lend = 1,
		};
}

static int dynamic_plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	const struct dynamic_state *s = state;

	plan->chunk_bytes = s->chunk;
	plan->kernel_min_pages = s->min_pages;
	plan->loan_ns = clamp(mul_sat(s->loan_ns, view->time_scale ? view->time_scale : 1),
			      view->epoch_ns, mul_sat(view->epoch_ns, DYNAMIC_LOAN_EPOCHS));
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_PREDICT;

	for (unsigned int d = 0; d < view->n_devices; d++) {
		const struct amux_view_device *dev = &view->devices[d];

		if (dev->engines && !(dev->flags & AMUX_DEVICE_DOWN))
			dynamic_device(s, view, dev, plan->share[d]);
	}
	return 0;
}

const struct amux_policy_ops amux_policy_dynamic = {
	AMUX_POLICY_HEADER,
	.n_params = DYNAMIC_PARAMS,
	.name = "dynamic",
	.summary = "guarantee and lend: reserves per class, idle ones are lent and come back",
	.params = dynamic_params,
	.state_size = sizeof(struct dynamic_state),
	.check = dynamic_check,
	.start = dynamic_start,
	.plan = dynamic_plan,
};
