// SPDX-License-Identifier: MIT
/*
 * cpu - no engine for anybody: every copy goes back to its client's own CPU.
 *
 * What it does	 grants no engine to any class and declines every request.
 * When it suits a baseline to measure the others against; an engine that is suspected of
 *		 misbehaving; taking the engines out of use without stopping the broker.
 * Where it fails requests with ENGINE_ONLY get -ENODEV; nothing is offloaded, so copies
 *		 burn CPU time and stop where one core's copy rate stops.
 */
#include "builtin.h"

static int cpu_plan(void *state, const struct amux_view *view, struct amux_plan *plan)
{
	(void)state;
	(void)view;
	for (unsigned int c = 0; c < AMUX_CLASSES; c++)
		plan->decline[c] = AMUX_DECLINE_ALWAYS;
	return 0;
}

const struct amux_policy_ops amux_policy_cpu = {
	AMUX_POLICY_HEADER,
	.name = "cpu",
	.summary = "no engines: every client copies with its own CPU",
	.plan = cpu_plan,
};
