/* SPDX-License-Identifier: MIT */
/*
 * report.h - how the device tells: completion records, interrupts, the software error
 * register, the event log.
 *
 * Threads: the engines'.  Who is unlocked takes the device's lock and the memory's.
 */
#ifndef DSA_MODEL_REPORT_H
#define DSA_MODEL_REPORT_H

#include "device.h"
#include "exec.h"

/* Completion record and interrupt of a descriptor, or the error elsewhere.  Unlocked. */
void report_done(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq);
/* The same of one in a batch, which has no interrupt of its own.  Unlocked. */
void report_inner(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		  const struct outcome *out);
/* INTCAUSE gets @cause, vector 0 is raised; locked. */
void report_cause(struct device *d, uint32_t cause);

#endif /* DSA_MODEL_REPORT_H */
