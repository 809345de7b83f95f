/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft.h - a software DSA: real copies by the CPU behind the hardware's own ABI.
 *
 * With @model it takes as long as a DSA would (times time_scale): soft_model.h decides when
 * a descriptor is done, the copy happens then.  Without, it copies as fast as it can.
 * With @threads == 0 everything runs inline in progress() on the mux thread; otherwise
 * engine i runs on thread i % threads.
 *
 * Kernel WQ completions raise the kernel completion event of engine.h in both cases; engine
 * threads ring the doorbell after user WQ completions.  Threads of a node run on its CPUs.
 *
 * Owner and threads: see engine.h.
 */
#ifndef BROKER_SOFT_H
#define BROKER_SOFT_H

#include "engine.h"

/*
 * The defaults describe one DSA 1 device of Sapphire or Emerald Rapids.  None of them was
 * measured by this project; they are starting values from public sources:
 *
 *   engines      4          as many as the device has (spec 341204)
 *   wq_size      16 and 16  its 128 entries over 4 engines x (1 kernel + 1 user WQ)
 *   wq_priority  8 and 4    this project's layout: kernel above user; range 1 .. 15 (spec)
 *   max_xfer     2 MiB      the idxd driver's default for a WQ; the device takes 2 GiB
 *   desc_ns      80         assumed: no source tells an engine's own turn apart from the
 *                           cost of submission (40 ns a page in batches of 256)
 *   engine_bps   30e9       one synchronous copy of 512 KiB, so one engine, takes 18.65 us
 *                           (DTO's README): 28e9 and nearly the device's peak
 *   fabric_bps   30e9       about 30 GB/s a device; two clients get about 15 each
 *   time_scale   1          off; the configuration has its own default for modelled runs
 */
struct soft_config {
	unsigned int engines;		      /* 1 .. ENGINE_MAX */
	unsigned int threads;		      /* 0: inline; at most engines */
	unsigned int wq_size[ENGINE_WQS];     /* 1 .. SOFT_WQ_MAX entries */
	unsigned int wq_priority[ENGINE_WQS]; /* 1 .. 15 */
	uint64_t max_xfer;		      /* 1 .. 2 GiB, bytes */
	bool model;
	uint64_t time_scale; /* >= 1; applies to the next three, and only with @model */
	uint64_t desc_ns;    /* per descriptor, unscaled */
	uint64_t engine_bps; /* one engine, bytes/s, unscaled */
	uint64_t fabric_bps; /* the device, bytes/s, unscaled */
	int node;	     /* NUMA node of the engine threads; < 0: anywhere */
};

#define SOFT_WQ_MAX 1024

/* The defaults: one DSA 1 device, model off. */
void soft_config_default(struct soft_config *cfg);

/*
 * Create device number @index in *@dev, which must not move until it is closed.  Returns 0,
 * -EINVAL for a value out of range, or -errno.  close() completes what was not drained with
 * DSA_COMP_HW_ERR1.
 */
int soft_open(struct device *dev, unsigned int index, const struct soft_config *cfg);

/*
 * Execute one descriptor on the calling thread, whatever its opcode (BATCH included), and
 * write its completion record.  Memory that is not there completes partially with
 * DSA_COMP_PAGE_FAULT_NOBOF (with DSA_COMP_STATUS_WRITE if it was written to) and a fault
 * address.  Exposed for tests.
 */
void soft_execute(const struct dsa_hw_desc *desc);

#endif /* BROKER_SOFT_H */
