/* SPDX-License-Identifier: MIT */
/*
 * fault.h - faults on demand: what happens to the next descriptors and interrupts.
 *
 * Owner: struct device.  Threads: any, under the device's lock.
 */
#ifndef DSA_MODEL_FAULT_H
#define DSA_MODEL_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Settings, by the name under which they are set; "every": each Nth, 0: none. */
enum fault_name {
	FAULT_ERROR_EVERY,
	FAULT_ERROR_STATUS,   /* the status that those get, DSA_COMP_* */
	FAULT_PARTIAL_EVERY,  /* half is done, then a page fault is reported */
	FAULT_LOSE_EVERY,     /* never answered; a drain does not wait for them */
	FAULT_LOSE_IRQ_EVERY, /* answered without the interrupt */
	FAULT_HANG,	      /* engines keep what they start until this is 0 again */
	FAULT_DELAY_US,	      /* of every descriptor, before it is executed */
	FAULT_WQ,	      /* only descriptors of this WQ; -1: all */
	FAULT_COUNT
};

struct fault {
	int64_t set[FAULT_COUNT];
	uint64_t seen[FAULT_COUNT];
};

/* What a descriptor gets. */
struct verdict {
	uint8_t status; /* 0: none */
	bool partial, lose, lose_irq, hang;
	uint32_t delay_us;
};

void fault_init(struct fault *f);
/* false: there is no such setting, or it cannot have that value. */
bool fault_set(struct fault *f, const char *name, int64_t value);
void fault_show(const struct fault *f, FILE *out);
struct verdict fault_judge(struct fault *f, unsigned int wq);

#endif /* DSA_MODEL_FAULT_H */
