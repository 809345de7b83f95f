// SPDX-License-Identifier: MIT
/*
 * irq.c - see irq.h.
 */
#include "irq.h"

#include <unistd.h>

void irq_init(struct irq *q)
{
	for (unsigned int i = 0; i < IRQ_VECTORS; i++)
		q->fd[i] = -1;
}

void irq_set(struct irq *q, unsigned int vector, int fd)
{
	if (q->fd[vector] >= 0)
		close(q->fd[vector]);
	q->fd[vector] = fd;
}

void irq_clear(struct irq *q)
{
	for (unsigned int i = 0; i < IRQ_VECTORS; i++)
		irq_set(q, i, -1);
}

void irq_raise(struct irq *q, unsigned int vector)
{
	uint64_t one = 1;

	if (vector >= IRQ_VECTORS)
		return;
	q->raised[vector]++;
	/* Full means that nobody has looked since: then there is nothing to add. */
	if (q->fd[vector] >= 0 && write(q->fd[vector], &one, sizeof(one)) < 0)
		return;
}
