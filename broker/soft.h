/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft.h - a software DSA: real copies by the CPU behind the hardware's own ABI.
 *
 * With @model it takes as long as a DSA would (times time_scale): soft_model.h decides when
 * a descriptor is done, the copy happens then.  Without, it copies as fast as it can.
 * With @threads == 0 everything runs inline in progress() on the mux thread; otherwise
 * engine i runs on thread i % threads.
 *
 * Owner and threads: see engine.h.
 */
#ifndef BROKER_SOFT_H
#define BROKER_SOFT_H

#include "engine.h"

/* Where the numbers come from: docs/architecture.md, "The performance model". */
struct soft_config {
	unsigned int engines; /* 1 .. ENGINE_MAX */
	unsigned int threads; /* 0: inline */
	unsigned int wq_size[ENGINE_WQS];
	unsigned int wq_priority[ENGINE_WQS]; /* 1 .. 15 */
	uint64_t max_xfer;
	bool model;
	uint64_t time_scale;  /* >= 1; applies to the next three */
	uint64_t desc_ns;     /* per descriptor, unscaled */
	uint64_t engine_bps;  /* one engine, unscaled */
	uint64_t fabric_bps;  /* the device, unscaled */
	int node;
};

/* The defaults: one DSA 1 device, model off. */
void soft_config_default(struct soft_config *cfg);

/* Create device number @index.  Returns 0 or -errno. */
int soft_open(struct device *dev, unsigned int index, const struct soft_config *cfg);

/*
 * Execute one descriptor on the calling thread, whatever its opcode (BATCH included), and
 * write its completion record.  Memory that is not there completes partially with
 * DSA_COMP_PAGE_FAULT_NOBOF and a fault address.  Exposed for tests.
 */
void soft_execute(const struct dsa_hw_desc *desc);

#endif /* BROKER_SOFT_H */
