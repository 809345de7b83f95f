// SPDX-License-Identifier: MIT
/*
 * translate.c - see translate.h.
 */
#include "translate.h"

#include <string.h>

#define PAGE	  4096u
#define STRIDE_AT 8u /* in the operation's own fields */

uint8_t translate_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	if (desc->dst_addr || !op_zero(desc, 0, STRIDE_AT - 1) ||
	    !op_zero(desc, STRIDE_AT + 4, 23))
		return DSA_COMP_NOZERO_RESERVE;
	if (!desc->xfer_size || desc->xfer_size > limits->xfer)
		return DSA_COMP_XFER_ERANGE;
	return DSA_COMP_SUCCESS;
}

/* How far it is to the next address: to the next page at least. */
static uint64_t stride_of(const struct dsa_hw_desc *desc, uint64_t addr)
{
	uint32_t stride;

	memcpy(&stride, desc->op_specific + STRIDE_AT, sizeof(stride));
	return stride < PAGE ? PAGE - addr % PAGE : stride;
}

static bool translates(struct op *op, uint64_t addr)
{
	uint64_t n;
	bool good;

	mem_hold(&op->d->mem);
	good = iommu_at(&op->d->iommu, &op->limits->by, addr, false, &n);
	mem_release(&op->d->mem);
	return good;
}

void translate_run(struct op *op)
{
	const struct dsa_hw_desc *desc = op->desc;

	op_pass(op, 0);
	op->size = desc->xfer_size;
	for (uint64_t at = 0; at < op->size; at += stride_of(desc, desc->src_addr + at)) {
		op->done = (uint32_t)at;
		if (op_gone(op))
			return;
		if (at < op->at_most && translates(op, desc->src_addr + at))
			continue;
		op_fault(op, desc->src_addr + at, false);
		op->out->bytes_completed = op->done;
		return;
	}
	/* None of the region's bytes has been touched. */
	op->done = 0;
}
