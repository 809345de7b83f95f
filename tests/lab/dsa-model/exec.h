/* SPDX-License-Identifier: MIT */
/*
 * exec.h - the operations.
 *
 * Threads: the engines'.  Nothing of the device is changed; the memory map is held by piece.
 */
#ifndef DSA_MODEL_EXEC_H
#define DSA_MODEL_EXEC_H

#include "op.h"

/*
 * Execute @desc.  @started: when, by the clock; on return, when it ended.  @at_most: of its
 * bytes, those beyond are a page fault (fault injection).
 */
struct outcome exec_run(struct device *d, const struct dsa_hw_desc *desc,
			const struct limits *limits, uint64_t at_most, uint64_t *clock);
/* The same of one in a batch. */
struct outcome exec_inner(struct device *d, const struct dsa_hw_desc *desc,
			  const struct limits *limits, uint64_t *clock);

#endif /* DSA_MODEL_EXEC_H */
