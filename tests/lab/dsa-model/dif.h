/* SPDX-License-Identifier: MIT */
/*
 * dif.h - DIF Check, Insert, Strip and Update, DIX Generate: blocks with, or that get, a data
 * integrity field of eight bytes, big-endian: guard (CRC-16 T10), application tag, reference
 * tag.
 *
 * Threads: the engines'.
 */
#ifndef DSA_MODEL_DIF_H
#define DSA_MODEL_DIF_H

#include "op.h"

/* The checks of its own fields before it is executed; a status. */
uint8_t dif_check(const struct dsa_hw_desc *desc, const struct limits *limits);
void dif_run(struct op *op);

#endif /* DSA_MODEL_DIF_H */
