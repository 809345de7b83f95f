// SPDX-License-Identifier: MIT
/*
 * bad.c - a policy plug-in that misbehaves as its parameters say, or with -DLOAD=N as soon as it
 * is loaded.  Compiled by tests/integration/test_plugin.c against the public header alone.
 */
#include <accelmux/policy.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bad.h"

#ifndef LOAD
#define LOAD BAD_NOTHING
#endif
#ifndef ABI
#define ABI AMUX_POLICY_ABI
#endif
#ifndef VIEW_SIZE
#define VIEW_SIZE sizeof(struct amux_view)
#endif
#ifndef SYMBOL
#define SYMBOL amux_policy
#endif

struct state {
	uint64_t in_plan, after, calls, rng;
};

static uint64_t next(struct state *s)
{
	uint64_t z = s->rng += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	return (z ^ z >> 27) >> (z & 63);
}

static int die(uint64_t how)
{
	pid_t pid;

	switch (how) {
	case BAD_SEGV:
		*(volatile int *)8 = 0;
		break;
	case BAD_ABORT:
		abort();
	case BAD_EXIT:
		exit(3);
	case BAD_LOOP:
		for (;;)
			__asm__ __volatile__("");
	case BAD_STOP:
		raise(SIGSTOP);
		break;
	case BAD_ERROR:
		return -EINVAL;
	case BAD_FORK:
		pid = fork();
		if (pid < 0)
			return -errno;
		if (!pid) {
			prctl(PR_SET_NAME, BAD_STRAY);
			setsid();
			for (;;)
				pause();
		}
		break;
	case BAD_EXEC:
		execl("/bin/sleep", "sleep", "60", (char *)NULL);
		return -errno;
	case BAD_KILL:
		return kill(getppid(), SIGKILL) ? -errno : 0;
	case BAD_MEMORY:
		for (int i = 0; i < 64; i++) {
			char *p = malloc(64u << 20);

			if (!p)
				return -ENOMEM;
			*(volatile char *)p = 1;
		}
		break;
	}
	return 0;
}

__attribute__((constructor)) static void loaded(void)
{
	die(LOAD);
}

static void start(void *state, const uint64_t *values)
{
	struct state *s = state;

	s->in_plan = values[1];
	s->after = values[2];
	s->rng = values[1];
	die(values[0]);
}

/* The view may be what scribble() left. */
static void everything(const struct amux_view *view, struct amux_plan *plan)
{
	for (uint32_t d = 0; d < view->n_devices && d < AMUX_POLICY_DEVS; d++)
		for (int c = 0; c < AMUX_CLASSES; c++)
			plan->share[d][c] = (struct amux_plan_share){
				.engine_mask =
					(UINT64_C(1) << view->devices[d].engines % 64) - 1,
				.limit_bps = AMUX_BPS_MAX,
				.cap_bytes = 1 << 20,
				.lend = 1,
			};
}

static void garbage(struct state *s, struct amux_plan *plan)
{
	uint32_t *word = (uint32_t *)(void *)plan;

	for (size_t i = 0; i < sizeof(*plan) / sizeof(*word); i++)
		word[i] = (uint32_t)next(s);
	plan->abi = AMUX_POLICY_ABI;
}

/* All of the shared pages that lie about the view, and the view. */
static void scribble(struct state *s, const struct amux_view *view)
{
	char *at = (char *)((uintptr_t)view & ~(uintptr_t)4095);
	char *end = (char *)(uintptr_t)(view + 1) + sizeof(struct amux_plan) + 64;

	while (at < end)
		*at++ = (char)next(s);
}

static int plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	struct state *s = state;
	char *page = (char *)((uintptr_t)view & ~(uintptr_t)4095);

	everything(view, plan);
	if (s->calls++ < s->after)
		return 0;
	switch (s->in_plan) {
	case BAD_GARBAGE:
		garbage(s, plan);
		return 0;
	case BAD_SCRIBBLE:
		scribble(s, view);
		garbage(s, plan);
		return 0;
	case BAD_HOLE:
		return madvise(page, 8192, MADV_REMOVE) ? -errno : (plan->abi = ABI, 0);
	case BAD_MEAN:
		for (uint32_t d = 0; d < view->n_devices; d++)
			plan->share[d][AMUX_CLASS_USER].limit_bps = 1;
		plan->decline[AMUX_CLASS_USER] = AMUX_DECLINE_NEVER;
		return 0;
	case BAD_VERSION:
		plan->abi = 77;
		return 0;
	default:
		return die(s->in_plan);
	}
}

static int check(const uint64_t *values, char *err, size_t errlen)
{
	if (values[0] != BAD_CHECK)
		return 0;
	strncpy(err, "it likes\nnone of them", errlen);
	return -EINVAL;
}

static const struct amux_policy_param params[] = {
	{ "init", "what start() does", AMUX_UNIT_COUNT, 0, 99, 0 },
	{ "plan", "what plan() does", AMUX_UNIT_COUNT, 0, 99, 0 },
	{ "after", "calls of plan() before that", AMUX_UNIT_COUNT, 0, 1000000, 20 },
};

const struct amux_policy_ops SYMBOL = {
	/* AMUX_POLICY_HEADER, with lies */
	.abi = ABI,
	.ops_size = sizeof(struct amux_policy_ops),
	.view_size = VIEW_SIZE,
	.plan_size = sizeof(struct amux_plan),
	.n_params = sizeof(params) / sizeof(params[0]),
	.name = "bad",
	.summary = "does what it should not",
	.params = params,
	.state_size = sizeof(struct state),
	.check = check,
	.start = start,
	.plan = plan,
};
