/* SPDX-License-Identifier: MIT */
/*
 * delta.h - Create and Apply Delta Record.  A record is a row of entries of ten bytes: where,
 * in units of eight bytes, and what is there.
 *
 * Threads: the engines'.
 */
#ifndef DSA_MODEL_DELTA_H
#define DSA_MODEL_DELTA_H

#include "op.h"

/* The checks of its own fields before it is executed; a status. */
uint8_t delta_create_check(const struct dsa_hw_desc *desc, const struct limits *limits);
void delta_create(struct op *op);
uint8_t delta_apply_check(const struct dsa_hw_desc *desc, const struct limits *limits);
void delta_apply(struct op *op);

#endif /* DSA_MODEL_DELTA_H */
