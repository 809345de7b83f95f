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

#define EVENT_BATCH	   BIT64(4)
#define EVENT_WRITE	   BIT64(5)
#define EVENT_PRIV	   BIT64(6)
#define EVENT_BATCH_ID(id) ((uint64_t)(id) << 24)
/* Of the second quadword, where it is of a record */
#define EVENT_HANDLE(h) ((uint64_t)(h) << 32)
#define EVENT_RCI	BIT64(48)
#define EVENT_RCR	BIT64(50)
#define EVENT_FIRST	BIT64(51)

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

static struct dsa_completion_record record_of(const struct outcome *out)
{
	struct dsa_completion_record r = { .status = out->status,
					   .result = out->result,
					   .bytes_completed = out->bytes_completed,
					   .fault_addr = out->fault_addr };

	memcpy(r.op_specific, out->specific, sizeof(r.op_specific));
	return r;
}

static enum record record_write(struct device *d, const struct requester *by,
				const struct dsa_hw_desc *desc, const struct outcome *out)
{
	struct dsa_completion_record r = record_of(out);
	uint64_t n, first;
	bool good = false;
	uint8_t *to;

	if (!(desc->flags & IDXD_OP_FLAG_RCR) && out->status == DSA_COMP_SUCCESS)
		return RECORD_TOLD;
	if (!(desc->flags & IDXD_OP_FLAG_CRAV) || desc->completion_addr % sizeof(r))
		return RECORD_NONE;
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

/* An error that is told elsewhere than in a completion record. */
struct event {
	unsigned int wq;
	const struct dsa_hw_desc *desc;
	const struct outcome *out;
	const struct member *member; /* NULL: not in a batch */
	uint8_t error;
};

static bool is_page_fault(uint8_t status)
{
	return (status & DSA_COMP_STATUS_MASK) == DSA_COMP_PAGE_FAULT_NOBOF ||
	       status == DSA_COMP_BATCH_PAGE_FAULT;
}

/*
 * The first quadwords of the software error register and of an event are alike.  A completion
 * record that could not be written is an error of its own, at the record's address.
 */
static void describe(uint64_t w[4], const struct event *e)
{
	const struct dsa_hw_desc *desc = e->desc;
	const struct member *m = e->member;

	w[0] = DESC_VALID | WQ_VALID | (e->error == DSA_COMP_CRA_XLAT ? EVENT_WRITE : 0) |
	       (desc->priv ? EVENT_PRIV : 0) | (uint64_t)e->error << 8 | (uint64_t)e->wq << 16 |
	       (uint64_t)desc->opcode << 32 | (uint64_t)desc->pasid << 40;
	w[0] |= m ? EVENT_BATCH : 0;
	w[1] = (uint64_t)e->out->invalid_flags << 32 | (m ? m->index : 0);
	w[2] = is_page_fault(e->error) ? e->out->fault_addr : desc->completion_addr;
	w[3] = 0;
}

/* What an event has beyond that: which batch, and what was to be told of the record. */
static void describe_more(uint64_t w[2], const struct event *e)
{
	const struct dsa_hw_desc *desc = e->desc;
	const struct member *m = e->member;

	if (m)
		w[0] |= EVENT_BATCH_ID(m->batch_id);
	else if (e->error == COMP_BATCH_EVL_ERR)
		w[0] |= EVENT_BATCH_ID(e->out->batch_id);
	if (e->error == DSA_COMP_CRA_XLAT || e->error == COMP_BATCH_EVL_ERR)
		w[1] = (w[1] & UINT32_MAX) | EVENT_HANDLE(desc->int_handle) |
		       (desc->flags & IDXD_OP_FLAG_RCI ? EVENT_RCI : 0) |
		       (desc->flags & IDXD_OP_FLAG_RCR ? EVENT_RCR : 0) |
		       (m && m->first ? EVENT_FIRST : 0);
}

static bool event_write(struct device *d, const struct event *e)
{
	struct requester by = { .has_pasid = EVL_PASID_EN(d->evlcfg),
				.priv = EVL_PRIV(d->evlcfg),
				.pasid = EVL_PASID(d->evlcfg) };
	struct dsa_completion_record r = record_of(e->out);
	uint32_t size = EVL_SIZE(d->evlcfg);
	uint64_t at, n, w[EVENT_BYTES / 8] = { 0 };
	uint8_t *to;

	if (!(d->gencfg & GENCFG_EVL_EN) || !size || (d->evl_tail + 1) % size == d->evl_head)
		return false;
	describe(w, e);
	describe_more(w, e);
	memcpy(&w[4], &r, sizeof(r));
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

/* In the event log or else the register; true: in the log. */
static bool error_write(struct device *d, const struct event *e)
{
	if (event_write(d, e))
		return true;
	if (d->swerr[0] & SWERR_VALID) {
		d->swerr[0] |= SWERR_OVERFLOW;
		return false;
	}
	describe(d->swerr, e);
	d->swerr[0] |= SWERR_VALID;
	if (d->genctrl & GENCTRL_SOFTERR_INT)
		report_cause(d, CAUSE_SWERR);
	return false;
}

static bool is_error(enum record record, const struct outcome *out)
{
	return record == RECORD_LOST ||
	       (record == RECORD_NONE && out->status != DSA_COMP_SUCCESS);
}

static uint8_t error_of(enum record record, const struct outcome *out)
{
	return record == RECORD_LOST ? DSA_COMP_CRA_XLAT : out->status;
}

enum told report_inner(struct device *d, const struct limits *limits,
		       const struct dsa_hw_desc *desc, const struct outcome *out,
		       const struct member *member)
{
	enum record record = record_write(d, &limits->by, desc, out);
	struct event e = { limits->wq, desc, out, member, error_of(record, out) };
	bool logged = false;

	if (!is_error(record, out))
		return TOLD;
	pthread_mutex_lock(&d->lock);
	if (d->epoch == limits->epoch)
		logged = error_write(d, &e);
	pthread_mutex_unlock(&d->lock);
	if (record != RECORD_LOST)
		return TOLD;
	return logged ? TOLD_LOG : TOLD_ERROR;
}

/* Behind the records of its descriptors, so that who finds it finds those; locked. */
static bool batch_logged(struct device *d, const struct limits *limits,
			 const struct dsa_hw_desc *desc, const struct outcome *out)
{
	struct event e = { limits->wq, desc, out, NULL, COMP_BATCH_EVL_ERR };

	return out->logged && (desc->flags & IDXD_OP_FLAG_CRAV) && event_write(d, &e);
}

void report_done(struct device *d, const struct limits *limits, const struct dsa_hw_desc *desc,
		 const struct outcome *out, bool lose_irq)
{
	enum record record = RECORD_TOLD;
	struct event e = { limits->wq, desc, out, NULL, 0 };
	bool logged;

	pthread_mutex_lock(&d->lock);
	logged = batch_logged(d, limits, desc, out);
	pthread_mutex_unlock(&d->lock);
	if (!logged)
		record = record_write(d, &limits->by, desc, out);
	e.error = error_of(record, out);
	pthread_mutex_lock(&d->lock);
	if (is_error(record, out))
		error_write(d, &e);
	/* A handle that is none has been found by then, and is an error without interrupt. */
	if ((desc->flags & IDXD_OP_FLAG_RCI) && !lose_irq &&
	    out->status != DSA_COMP_INT_HANDLE_INVAL)
		irq_raise(&d->irq, desc->int_handle);
	pthread_mutex_unlock(&d->lock);
}
