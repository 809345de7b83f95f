/* SPDX-License-Identifier: MIT */
/*
 * irq.h - MSI-X vectors: an eventfd each, which the client sends and QEMU turns into the
 * guest's interrupt.
 *
 * Owner: struct device.  Threads: any, under the device's lock.
 */
#ifndef DSA_MODEL_IRQ_H
#define DSA_MODEL_IRQ_H

#include <stdint.h>

#define IRQ_VECTORS 9 /* commands and errors; one per WQ */

struct irq {
	int fd[IRQ_VECTORS]; /* -1: none */
	uint64_t raised[IRQ_VECTORS];
};

void irq_init(struct irq *q);
/* Takes @fd over, closes what was there; -1: none from now on. */
void irq_set(struct irq *q, unsigned int vector, int fd);
void irq_clear(struct irq *q);
void irq_raise(struct irq *q, unsigned int vector);

#endif /* DSA_MODEL_IRQ_H */
