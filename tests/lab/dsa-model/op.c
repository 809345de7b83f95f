// SPDX-License-Identifier: MIT
/*
 * op.c - see op.h.
 */
#include "op.h"

#include <string.h>

#include "bits.h"

#define OPERATIONS                                                                             \
	(BIT64(DSA_OPCODE_NOOP) | BIT64(DSA_OPCODE_BATCH) | BIT64(DSA_OPCODE_DRAIN) |          \
	 BIT64(DSA_OPCODE_MEMMOVE) | BIT64(DSA_OPCODE_MEMFILL) | BIT64(DSA_OPCODE_COMPARE) |   \
	 BIT64(DSA_OPCODE_COMPVAL) | BIT64(DSA_OPCODE_CR_DELTA) | BIT64(DSA_OPCODE_AP_DELTA) | \
	 BIT64(DSA_OPCODE_DUALCAST) | BIT64(DSA_OPCODE_CRCGEN) | BIT64(DSA_OPCODE_COPY_CRC) |  \
	 BIT64(DSA_OPCODE_DIF_CHECK) | BIT64(DSA_OPCODE_DIF_INS) |                             \
	 BIT64(DSA_OPCODE_DIF_STRP) | BIT64(DSA_OPCODE_DIF_UPDT) | BIT64(DSA_OPCODE_CFLUSH))
#define OPERATIONS_2 (BIT64(OPCODE_TRANSL_FETCH) | BIT64(OPCODE_DIX_GEN))

uint64_t op_known(const struct device *d)
{
	return OPERATIONS | (d->options.version >= 2 ? OPERATIONS_2 : 0);
}

bool op_fault(struct op *op, uint64_t addr, bool write)
{
	op->out->status = DSA_COMP_PAGE_FAULT_NOBOF | (write ? DSA_COMP_STATUS_WRITE : 0);
	op->out->fault_addr = addr;
	return false;
}

bool op_gone(struct op *op)
{
	op->out->gone = __atomic_load_n(&op->d->epoch, __ATOMIC_ACQUIRE) != op->limits->epoch;
	return op->out->gone;
}

void op_pass(struct op *op, uint64_t bytes)
{
	*op->clock = clock_pass(&op->d->clock, *op->clock, bytes, !op->begun);
	op->begun = true;
}

/* One page's worth at @addr, until it stands; 0: a fault. */
static uint32_t access_once(struct op *op, uint64_t addr, void *to, const void *from,
			    uint32_t n)
{
	struct iommu *u = &op->d->iommu;
	const struct requester *by = &op->limits->by;
	bool write = from;

	for (unsigned int i = 0; i < IOMMU_TRIES; i++) {
		uint64_t room;
		uint8_t *p = iommu_at(u, by, addr, write, &room);
		uint32_t some = n;

		if (!p)
			return 0;
		if (some > room)
			some = (uint32_t)room;
		if (write)
			memcpy(p, from, some);
		else
			memcpy(to, p, some);
		if (iommu_still(u, by, addr, write, p))
			return some;
	}
	return 0;
}

bool op_read(struct op *op, uint64_t addr, void *to, uint32_t n)
{
	uint32_t some = 1;

	mem_hold(&op->d->mem);
	for (uint32_t at = 0; at < n && some; at += some) {
		some = access_once(op, addr + at, (uint8_t *)to + at, NULL, n - at);
		if (!some)
			op_fault(op, addr + at, false);
	}
	mem_release(&op->d->mem);
	return some;
}

bool op_write(struct op *op, uint64_t addr, const void *from, uint32_t n)
{
	uint32_t some = 1;

	mem_hold(&op->d->mem);
	for (uint32_t at = 0; at < n && some; at += some) {
		some = access_once(op, addr + at, NULL, (const uint8_t *)from + at, n - at);
		if (!some)
			op_fault(op, addr + at, true);
	}
	mem_release(&op->d->mem);
	return some;
}

bool op_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return b - a < a_size || a - b < b_size;
}

bool op_zero(const struct dsa_hw_desc *desc, unsigned int first, unsigned int last)
{
	for (unsigned int i = first; i <= last; i++)
		if (desc->op_specific[i])
			return false;
	return true;
}
