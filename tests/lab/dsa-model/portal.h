/* SPDX-License-Identifier: MIT */
/*
 * portal.h - BAR 2: descriptors come in through here.
 *
 * A CPU without MOVDIR64B writes the 64 bytes in pieces; they are one descriptor when all of a
 * slot are there, and a write to another slot of the WQ throws an unfinished one away.  For the
 * same reason there is a read, which hardware does not have: what became of the last
 * descriptor of this WQ, 0 accepted, 1 Retry (a shared WQ that is full, or not enabled).
 *
 * Threads: the connection's.  Takes the device's lock.
 */
#ifndef DSA_MODEL_PORTAL_H
#define DSA_MODEL_PORTAL_H

#include "device.h"

void portal_write(struct device *d, uint32_t offset, const void *data, uint32_t n);
void portal_read(struct device *d, uint32_t offset, void *data, uint32_t n);

#endif /* DSA_MODEL_PORTAL_H */
