// SPDX-License-Identifier: MIT
/*
 * clock.c - see clock.h.
 */
#include "clock.h"

#include <errno.h>
#include <time.h>

#define SECOND 1000000000ull

int clock_init(struct clock *c, const struct clock_params *params)
{
	if (params->time_scale && (!params->engine_bps || !params->fabric_bps))
		return -EINVAL;
	c->params = *params;
	c->fabric_free_ns = 0;
	return -pthread_mutex_init(&c->lock, NULL);
}

uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static uint64_t scaled(const struct clock *c, uint64_t bytes, uint64_t bps)
{
	return (uint64_t)((double)bytes * 1e9 * (double)c->params.time_scale / (double)bps);
}

uint64_t clock_pass(struct clock *c, uint64_t start_ns, uint64_t bytes, int first)
{
	uint64_t fixed, fabric, end;
	struct timespec ts;

	if (!c->params.time_scale)
		return clock_now();
	fixed = first ? c->params.descriptor_ns * c->params.time_scale : 0;
	pthread_mutex_lock(&c->lock);
	fabric = c->fabric_free_ns > start_ns + fixed ? c->fabric_free_ns : start_ns + fixed;
	fabric += scaled(c, bytes, c->params.fabric_bps);
	if (bytes)
		c->fabric_free_ns = fabric;
	pthread_mutex_unlock(&c->lock);
	end = start_ns + fixed + scaled(c, bytes, c->params.engine_bps);
	if (end < fabric && bytes)
		end = fabric;
	ts.tv_sec = (time_t)(end / SECOND);
	ts.tv_nsec = (long)(end % SECOND);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
	return end;
}
