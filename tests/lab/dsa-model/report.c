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

#define EVENT_WRITE BIT64(5)
#define EVENT_PRIV  BIT64(6)

#define EVENT_BYTES 64u

enum record {
	RECORD_TOLD, /* or there is nothing to tell */
	RECORD_NONE, /* no completion record is wanted, or not there */
	RECORD_LOST, /* its address is not the requester's */
};

void report_cause(struct device *d, uint32_t cause)
{
	d->intcause |= cause;
	irq_raise(&d->irq, 0);
}

static enum record record_write(struct device *d, const struct requester *by,
				const struct dsa_hw_desc *desc, const struct outcome *out)
{
	struct dsa_completion_record r = { .result = out->result,
					   .bytes_completed = out->bytes_completed,
					   .fault_addr = out->fault_addr };
	uint64_t n, first;
	bool good = false;
	uint8_t *to;

	if (!(desc->flags & IDXD_OP_FLAG_RCR) && out->status == DSA_COMP_SUCCESS)
		return RECORD_TOLD;
	if (!(desc->flags & IDXD_OP_FLAG_CRAV) || desc->completion_addr % sizeof(r))
		return RECORD_NONE;
	r.status = out->status;
	r.crc_val = out->crc;
	if (out->status == DSA_COMP_INVALID_FLAGS)
		r.crc_val = out->invalid_flags;
	mem_hold(&d->mem);
	to = iommu_at(&d->iommu, by, desc->completion_addr, true, &n);
	for (unsigned int i = 0; to && n >= sizeof(r) && !good && i < IOMMU_TRIES; i++) {
		/* The status last: who sees it sees the rest. */
		memcpy(&first, &r, sizeof(first));
		memcpy(to + sizeof(first), (uint8_t *)&r + sizeof(first),
		       sizeof(r) - sizeof(first));
		__atomic_store_n((uint64_t *)(void *)to, first, __ATOMIC_RELEASE);
		good = iommu_still(&d->iommu, by, desc->completion_addr, true, to);
		if (!good)
			to = iommu_at(&d->iommu, by, desc->completion_addr, true, &n);
	}
	mem_release(&d->mem);
	return good ? RECORD_TOLD : RECORD_LOST;
}

/*
 * The first quadwords of the software error register and of an event are alike.  A completion
 * record that could not be written is an error of its own, at the record's address.
 */
static void describe(uint64_t w[4], unsigned int wq, const struct dsa_hw_desc *desc,
		     const struct outcome *out, bool lost)
{
	uint8_t error = lost ? DSA_COMP_CRA_XLAT : out->status;

	w[0] = DESC_VALID | WQ_VALID | (lost ? EVENT_WRITE : 0) |
	       (desc->priv ? EVENT_PRIV : 0) | (uint64_t)error << 8 | (uint64_t)wq << 16 |
	       (uint64_t)desc->opcode << 32 | (uint64_t)desc->pasid << 40;
	w[1] = (uint64_t)out->invalid_flags << 32;
	w[2] = lost || error != (DSA_COMP_PAGE_FAULT_NOBOF | (error & DSA_COMP_STATUS_WRITE))
		       ? desc->completion_addr
		       : out->fault_addr;
	w[3] = 0;
}

static bool event_write(struct device *d, unsigned int wq, const struct dsa_hw_desc *desc,
			const struct outcome *out, bool lost)
{
	struct requester by = { .has_pasid = EVL_PASID_EN(d->evlcfg),
				.priv = EVL_PRIV(d->evlcfg),
				.pasid = EVL_PASID(d->evlcfg) };
	uint32_t size = EVL_SIZE(d->evlcfg);
	uint64_t at, n, w[EVENT_BYTES / 8] = { 0 };
	uint8_t *to;

	if (!(d->gencfg & GENCFG_EVL_EN) || !size || (d->evl_tail + 1) % size == d->evl_head)
		return false;
	describe(w, wq, desc, out, lost);
	w[4] = out->status | (uint64_t)out->result << 8 | (uint64_t)out->bytes_completed << 32;
	w[5] = out->fault_addr;
	at = EVL_BASE(d->evlcfg) + (uint64_t)d->evl_tail * EVENT_BYTES;
	mem_hold(&d->mem);
	to = iommu_at(&d->iommu, &by, at, true, &n);
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
			const struct outcome *out, bool lost)
{
	if (event_write(d, wq, desc, out, lost))
		return;
	if (d->swerr[0] & SWERR_VALID) {
		d->swerr[0] |= SWERR_OVERFLOW;
		return;
	}
	describe(d->swerr, wq, desc, out, lost);
	d->swerr[0] |= SWERR_VALID;
	if (d->genctrl & GENCTRL_SOFTERR_INT)
		report_cause(d, CAUSE_SWERR);
}

static bool is_error(enum record record, const struct outcome *out)
{
	return record == RECORD_LOST ||
	       (record == RECORD_NONE && out->status != DSA_COMP_SUCCESS);
}

void report_inner(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		  const struct outcome *out)
{
	enum record record = record_write(d, &limits->by, desc, out);

	if (!is_error(record, out))
		return;
	pthread_mutex_lock(&d->lock);
	if (d->epoch == limits->epoch)
		error_write(d, limits->wq, desc, out, record == RECORD_LOST);
	pthread_mutex_unlock(&d->lock);
}

void report_done(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq)
{
	enum record record = record_write(d, &limits->by, desc, out);

	pthread_mutex_lock(&d->lock);
	if (is_error(record, out))
		error_write(d, limits->wq, desc, out, record == RECORD_LOST);
	/* A handle that is none has been found by then, and is an error without interrupt. */
	if ((desc->flags & IDXD_OP_FLAG_RCI) && !lose_irq &&
	    out->status != DSA_COMP_INT_HANDLE_INVAL)
		irq_raise(&d->irq, desc->int_handle);
	pthread_mutex_unlock(&d->lock);
}
