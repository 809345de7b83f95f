/* SPDX-License-Identifier: MIT */
/*
 * clock.h - the modelled time of the engines: a descriptor costs a fixed time, its bytes pass
 * an engine at the engine's rate and all engines together at the fabric's.  Without a time
 * scale there is no modelled time: everything takes as long as it takes here.
 *
 * The fabric serves pieces in the order in which they are asked for, so that engines at work
 * share it about evenly.
 *
 * Owner: struct device.  Threads: the engines'.
 */
#ifndef DSA_MODEL_CLOCK_H
#define DSA_MODEL_CLOCK_H

#include <pthread.h>
#include <stdint.h>

struct clock_params {
	uint64_t time_scale; /* 0: no model; else everything is so many times slower */
	uint64_t descriptor_ns;
	uint64_t engine_bps, fabric_bps;
};

struct clock {
	struct clock_params params;
	pthread_mutex_t lock;
	uint64_t fabric_free_ns;
};

int clock_init(struct clock *c, const struct clock_params *params);
uint64_t clock_now(void);
/*
 * Wait until a piece of @bytes that starts a descriptor (@first) and began at @start_ns is
 * through; returns when that is.
 */
uint64_t clock_pass(struct clock *c, uint64_t start_ns, uint64_t bytes, int first);

#endif /* DSA_MODEL_CLOCK_H */
