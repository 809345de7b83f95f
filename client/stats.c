// SPDX-License-Identifier: MIT
/*
 * stats.c - totals over a connection.
 */
#include <errno.h>
#include <string.h>

#include "handle.h"
#include "queue.h"

void amux_stats_sum(struct amux_stats *a, const struct amux_stats *b)
{
	uint64_t *to = (uint64_t *)a;
	const uint64_t *from = (const uint64_t *)b;

	_Static_assert(sizeof(*a) % sizeof(*to) == 0, "only counters");
	for (unsigned int i = 0; i < sizeof(*a) / sizeof(*to); i++)
		to[i] += amux_load_relaxed(&from[i]);
}

int amux_get_stats(struct amux *a, struct amux_stats *out)
{
	int err = amux_check(a);

	if (err)
		return err;
	if (!out)
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&a->lock);
	amux_stats_sum(out, &a->closed);
	for (struct amux_queue *q = a->queues; q; q = q->next)
		amux_stats_sum(out, &q->stats);
	pthread_mutex_unlock(&a->lock);
	for (unsigned int i = 0; i < AMUX_TALLIES; i++) {
		const struct amux_tally *t = &a->tallies[i];

		out->sync_cpu += amux_load_relaxed(&t->cpu);
		out->sync_engine += amux_load_relaxed(&t->engine);
		out->sync_both += amux_load_relaxed(&t->both);
		out->cpu_ns += amux_load_relaxed(&t->cpu_ns);
	}
	out->reconnects = amux_load_relaxed(&a->life.reconnects);
	return 0;
}
