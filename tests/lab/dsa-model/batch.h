/* SPDX-License-Identifier: MIT */
/*
 * batch.h - Batch: the descriptors of a list, one after the other.
 *
 * Threads: the engines'.
 */
#ifndef DSA_MODEL_BATCH_H
#define DSA_MODEL_BATCH_H

#include "op.h"

/* The checks of its own fields before it is executed; a status. */
uint8_t batch_check(const struct dsa_hw_desc *desc, const struct limits *limits);
void batch_run(struct op *op);

#endif /* DSA_MODEL_BATCH_H */
