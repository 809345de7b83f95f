// SPDX-License-Identifier: MIT
/*
 * report.c - see report.h.
 */
#include "report.h"

#include <stddef.h>
#include <string.h>

#include "bits.h"

#define SWERR_VALID    BIT64(0)
#define SWERR_OVERFLOW BIT64(1)
#define DESC_VALID     BIT64(2)
#define WQ_VALID       BIT64(3)

#define EVENT_BYTES 64u

void report_cause(struct device *d, uint32_t cause)
{
	d->intcause |= cause;
	irq_raise(&d->irq, 0);
}

bool report_record(struct device *d, const struct dsa_hw_desc *desc, const struct outcome *out)
{
	struct dsa_completion_record r = { .result = out->result,
					   .bytes_completed = out->bytes_completed,
					   .fault_addr = out->fault_addr };
	uint64_t n, first;
	uint8_t *to;

	if (!(desc->flags & IDXD_OP_FLAG_CRAV))
		return false;
	if (!(desc->flags & IDXD_OP_FLAG_RCR) && out->status == DSA_COMP_SUCCESS)
		return true;
	if (desc->completion_addr % sizeof(r))
		return false;
	r.status = out->status;
	r.crc_val = out->crc;
	if (out->status == DSA_COMP_INVALID_FLAGS)
		r.crc_val = out->invalid_flags;
	mem_hold(&d->mem);
	to = mem_at(&d->mem, desc->completion_addr, true, &n);
	if (to && n >= sizeof(r)) {
		/* The status last: who sees it sees the rest. */
		memcpy(&first, &r, sizeof(first));
		memcpy(to + sizeof(first), (uint8_t *)&r + sizeof(first),
		       sizeof(r) - sizeof(first));
		__atomic_store_n((uint64_t *)(void *)to, first, __ATOMIC_RELEASE);
	}
	mem_release(&d->mem);
	return to && n >= sizeof(r);
}

/* The first quadwords of the software error register and of an event are alike. */
static void describe(uint64_t w[4], unsigned int wq, const struct dsa_hw_desc *desc,
		     const struct outcome *out)
{
	w[0] = DESC_VALID | WQ_VALID | (uint64_t)out->status << 8 | (uint64_t)wq << 16 |
	       (uint64_t)desc->opcode << 32 | (uint64_t)desc->pasid << 40;
	w[1] = (uint64_t)out->invalid_flags << 32;
	w[2] = desc->completion_addr;
	w[3] = 0;
}

static bool event_write(struct device *d, unsigned int wq, const struct dsa_hw_desc *desc,
			const struct outcome *out)
{
	uint32_t size = (uint32_t)(d->evlcfg[1] & 0xffff);
	uint64_t at, n, w[EVENT_BYTES / 8] = { 0 };
	uint8_t *to;

	if (!(d->gencfg & GENCFG_EVL_EN) || !size || (d->evl_tail + 1) % size == d->evl_head)
		return false;
	describe(w, wq, desc, out);
	w[4] = out->status | (uint64_t)out->result << 8 | (uint64_t)out->bytes_completed << 32;
	w[5] = out->fault_addr;
	at = (d->evlcfg[0] & ~0xfffull) + (uint64_t)d->evl_tail * EVENT_BYTES;
	mem_hold(&d->mem);
	to = mem_at(&d->mem, at, true, &n);
	if (to && n >= EVENT_BYTES)
		memcpy(to, w, EVENT_BYTES);
	mem_release(&d->mem);
	if (!to || n < EVENT_BYTES)
		return false;
	d->evl_tail = (d->evl_tail + 1) % size;
	d->evl_pending = 1;
	if (d->genctrl & GENCTRL_EVL_INT)
		report_cause(d, CAUSE_EVL);
	return true;
}

static void error_write(struct device *d, unsigned int wq, const struct dsa_hw_desc *desc,
			const struct outcome *out)
{
	if (event_write(d, wq, desc, out))
		return;
	if (d->swerr[0] & SWERR_VALID) {
		d->swerr[0] |= SWERR_OVERFLOW;
		return;
	}
	describe(d->swerr, wq, desc, out);
	d->swerr[0] |= SWERR_VALID;
	if (d->genctrl & GENCTRL_SOFTERR_INT)
		report_cause(d, CAUSE_SWERR);
}

void report_done(struct device *d, unsigned int wq, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq)
{
	bool told = report_record(d, desc, out);

	pthread_mutex_lock(&d->lock);
	if (!told && out->status != DSA_COMP_SUCCESS)
		error_write(d, wq, desc, out);
	/* A handle that is none has been found by then, and is an error without interrupt. */
	if ((desc->flags & IDXD_OP_FLAG_RCI) && !lose_irq &&
	    out->status != DSA_COMP_INT_HANDLE_INVAL)
		irq_raise(&d->irq, desc->int_handle);
	pthread_mutex_unlock(&d->lock);
}
