/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft_model.h - how long a DSA takes, in virtual time and nothing else.
 *
 * A device has engines, each serving one descriptor at a time.  A descriptor first costs
 * desc_ns on its engine alone, then moves its bytes at
 *
 *	min(engine_bps, fabric_bps / engines moving bytes at that moment)
 *
 * so that engines share the fabric equally and exactly: rates are recomputed whenever one
 * begins or ends to move bytes (a fluid model, no steps).  Time inside is finer than a ns;
 * only what is reported is rounded (up), so that nothing drifts.
 *
 * Pure: no clock, no memory but the struct, no include but stdint and stdbool; the broker,
 * the simulator and the emulated PCI device compile the same file.
 *
 * Owner and thread: the caller's, one at a time.
 */
#ifndef BROKER_SOFT_MODEL_H
#define BROKER_SOFT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_ENGINES 16

struct model_params {
	unsigned int engines; /* 1 .. MODEL_ENGINES */
	uint64_t desc_ns;     /* fixed cost of a descriptor, unscaled */
	uint64_t engine_bps;  /* > 0, bytes/s, unscaled */
	uint64_t fabric_bps;  /* > 0, bytes/s, unscaled */
	uint64_t time_scale;  /* >= 1: everything takes so many times longer */
};

struct model_engine {
	bool busy;
	double fixed_ns; /* left before the bytes begin to move */
	double bytes;	 /* left to move */
	double busy_ns;	 /* in service so far */
};

struct model {
	unsigned int engines;
	double desc_ns;	    /* scaled, as the next two */
	double engine_rate; /* bytes per ns */
	double fabric_rate;
	uint64_t now; /* the time up to which all is computed: now + frac ns */
	double frac;
	bool next_valid;
	uint64_t next;
	struct model_engine engine[MODEL_ENGINES];
};

/* Returns false if @p is out of range. */
bool model_init(struct model *m, const struct model_params *p);

/*
 * @engine takes @descs descriptors (1, or the number in a batch) of @bytes bytes together at
 * @now, ns.  Finishes until @now must have been collected by model_advance(); a @now in the
 * model's past means "as soon as possible", in particular the reported finish time of the
 * descriptor before means the exact instant of that finish.  Returns false if it is busy.
 */
bool model_start(struct model *m, unsigned int engine, uint64_t bytes, uint64_t descs,
		 uint64_t now);

/* When the next descriptor finishes if nothing else starts, ns; UINT64_MAX: none runs. */
uint64_t model_next(struct model *m);

/* The engine of the next finish, if that is at @t or before, else -1.  Call until -1. */
int model_advance(struct model *m, uint64_t t);

/* The time that the model has reached, ns, rounded up. */
uint64_t model_now(const struct model *m);

/* Time with a descriptor in service on @engine up to model_now(), ns. */
uint64_t model_busy_ns(const struct model *m, unsigned int engine);

static inline bool model_engine_busy(const struct model *m, unsigned int engine)
{
	return m->engine[engine].busy;
}

#endif /* BROKER_SOFT_MODEL_H */
