/* SPDX-License-Identifier: MIT */
/*
 * report.h - how the device tells: completion records, interrupts, the software error
 * register, the event log.
 *
 * Threads: the engines'.  report_done() takes the device's lock and the memory's.
 */
#ifndef DSA_MODEL_REPORT_H
#define DSA_MODEL_REPORT_H

#include "device.h"
#include "exec.h"

/* Write the completion record of @desc if it wants one; false: there is no way to do so. */
bool report_record(struct device *d, const struct dsa_hw_desc *desc, const struct outcome *out);
/* Completion record and interrupt of a descriptor of @wq, or the error elsewhere.  Unlocked. */
void report_done(struct device *d, unsigned int wq, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq);
/* INTCAUSE gets @cause, vector 0 is raised; locked. */
void report_cause(struct device *d, uint32_t cause);

#endif /* DSA_MODEL_REPORT_H */
