/* SPDX-License-Identifier: MIT */
/*
 * translate.h - Translation Fetch (DSA 2): addresses of a region are translated ahead of their
 * use.  Nothing is cached here, so all that comes of it is a fault, if there is one.
 *
 * Threads: the engines'.
 */
#ifndef DSA_MODEL_TRANSLATE_H
#define DSA_MODEL_TRANSLATE_H

#include "op.h"

/* The checks of its own fields before it is executed; a status. */
uint8_t translate_check(const struct dsa_hw_desc *desc, const struct limits *limits);
void translate_run(struct op *op);

#endif /* DSA_MODEL_TRANSLATE_H */
