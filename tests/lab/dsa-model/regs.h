/* SPDX-License-Identifier: MIT */
/*
 * regs.h - BAR 0: the registers and tables, as dwords.
 *
 * Threads: the connection's.  Takes the device's lock.
 */
#ifndef DSA_MODEL_REGS_H
#define DSA_MODEL_REGS_H

#include "device.h"

void regs_read(struct device *d, uint32_t offset, void *data, uint32_t n);
/* Whole dwords, others are ignored. */
void regs_write(struct device *d, uint32_t offset, const void *data, uint32_t n);

#endif /* DSA_MODEL_REGS_H */
