/* SPDX-License-Identifier: MIT */
/*
 * exec.h - the operations.
 *
 * Threads: the engines'.  Nothing of the device is changed; the memory map is held by piece.
 */
#ifndef DSA_MODEL_EXEC_H
#define DSA_MODEL_EXEC_H

#include "device.h"

/* What comes into the completion record. */
struct outcome {
	uint8_t status, result;
	uint32_t bytes_completed, invalid_flags;
	uint64_t fault_addr, crc;
	uint64_t bytes; /* moved, compared or filled, those of a batch included */
	bool gone;	/* the device was reset meanwhile: nothing may be told of it */
};

struct limits {
	uint64_t xfer;
	uint32_t batch;
	uint32_t handles; /* interrupt handles that are valid */
	uint64_t epoch;	  /* of the device when it was started */
	unsigned int wq;
	struct requester by;
};

/*
 * Execute @desc.  @started: when, by the clock; on return, when it ended.  @at_most: of its
 * bytes, those beyond are a page fault (fault injection).
 */
struct outcome exec_run(struct device *d, const struct dsa_hw_desc *desc,
			const struct limits *limits, uint64_t at_most, uint64_t *clock);

#endif /* DSA_MODEL_EXEC_H */
