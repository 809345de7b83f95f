/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft_exec.h - execute one DSA descriptor with the CPU, as the hardware would.
 *
 * Owner: the caller owns descriptor, buffers and record.  Any thread; one call touches only
 * what its descriptor names.  fixup_init() must have been called.
 *
 * Where this differs from silicon, or settles what was open:
 * - CRC: crc_seed and crc_val are the standard, chainable CRC-32C: seed 0 begins, and the
 *   crc_val of one descriptor is the seed of the next.  With none of the CRC flags (read
 *   seed, bypass inversion, bypass reflection) that is the hardware's convention as well, as
 *   far as SPDK's driver tells: it undoes the final inversion of crc_val to match its own raw
 *   CRC, and feeds crc_val of one descriptor to the next as seed.  Those flags are refused.
 * - Block on fault is refused as on a WQ without it: a fault completes partially.
 * - There are no interrupts: RCI is accepted and nobody hears it.  PASID and priv are ignored,
 *   as on a dedicated WQ.
 * - A misaligned completion address cannot be written to; hardware logs it, here it is the
 *   return value only.
 * - MEMFILL completes partially in multiples of 8, so that the pattern keeps its phase.
 * - Delta records, DIF and everything of later generations: BAD_OPCODE.
 */
#ifndef BROKER_SOFT_EXEC_H
#define BROKER_SOFT_EXEC_H

#include <linux/idxd.h>
#include <stdint.h>

#include "engine.h"

#define SOFT_XFER_MAX  (1ull << 31) /* bytes of one descriptor; the field has 32 bits */
#define SOFT_BATCH_MAX 1024

struct soft_limits {
	uint64_t max_xfer;  /* bytes */
	uint32_t max_batch; /* descriptors */
	uint32_t timed;	    /* relaxed: tell in each record how long it took (ENGINE_TIME_NS) */
};

/*
 * Execute @desc, a BATCH included, and write its completion record, status last.  Returns that
 * status; *@bytes is what was transferred.
 */
uint8_t soft_exec(const struct dsa_hw_desc *desc, const struct soft_limits *limits,
		  uint64_t *bytes);

/*
 * What the performance model charges for @desc: *@bytes to move, and the number of
 * descriptors, those of a batch included.
 */
uint64_t soft_exec_cost(const struct dsa_hw_desc *desc, const struct soft_limits *limits,
			uint64_t *bytes);

/* Do @n copies in order; returns how many, all of them unless a page was not there. */
uint32_t soft_exec_copies(const struct engine_copy *v, uint32_t n);

/* Write @status with no bytes done into @desc's record, without executing it. */
void soft_exec_abort(const struct dsa_hw_desc *desc, uint8_t status);

#endif /* BROKER_SOFT_EXEC_H */
