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

/* What became of a record. */
enum told {
	TOLD,	    /* or there was nothing to tell */
	TOLD_LOG,   /* its address is not the requester's: it is in the event log */
	TOLD_ERROR, /* the same, and it is lost */
};

/* Where in a batch one is. */
struct member {
	uint8_t batch_id;
	uint16_t index;
	bool first; /* the first of this batch whose record could not be written, if it cannot */
};

/* Completion record and interrupt of a descriptor, or the error elsewhere.  Unlocked. */
void report_done(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq);
/* The same of one in a batch, which has no interrupt of its own.  Unlocked. */
enum told report_inner(struct device *d, const struct limits *limits,
		       const struct dsa_hw_desc *desc, const struct outcome *out,
		       const struct member *member);
/* INTCAUSE gets @cause, vector 0 is raised; locked. */
void report_cause(struct device *d, uint32_t cause);

#endif /* DSA_MODEL_REPORT_H */
