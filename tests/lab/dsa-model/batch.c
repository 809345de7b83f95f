// SPDX-License-Identifier: MIT
/*
 * batch.c - see batch.h.
 */
#include "batch.h"

#include "exec.h"
#include "report.h"

uint8_t batch_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	if (desc->desc_count < 2 || desc->desc_count > limits->batch)
		return DSA_COMP_DESC_CNT_ERANGE;
	return desc->desc_list_addr % 64 ? DSA_COMP_DESCLIST_ALIGN : DSA_COMP_SUCCESS;
}

/* What has become of it so far. */
struct progress {
	bool failed; /* one was not a success */
	bool lost;   /* one's record could not be written */
};

/* The next one, the @i-th; false: the batch ends before it. */
static bool batch_one(struct op *op, uint16_t i, struct progress *p)
{
	const struct dsa_hw_desc *desc = op->desc;
	struct outcome *out = op->out, one;
	struct member m = { .batch_id = out->batch_id, .index = i, .first = !p->lost };
	struct dsa_hw_desc inner;
	enum told told;

	if (!op_read(op, desc->desc_list_addr + i * sizeof(inner), &inner, sizeof(inner))) {
		out->status = DSA_COMP_BATCH_PAGE_FAULT;
		return false;
	}
	/* One after the other: a fence, therefore, only stops behind an error. */
	if ((p->failed || p->lost) && (inner.flags & IDXD_OP_FLAG_FENCE)) {
		p->failed = true;
		return false;
	}
	inner.pasid = desc->pasid;
	inner.priv = desc->priv;
	one = exec_inner(op->d, &inner, op->limits, op->clock);
	out->gone = one.gone;
	if (one.gone)
		return false;
	told = report_inner(op->d, op->limits, &inner, &one, &m);
	out->bytes += one.bytes;
	out->bytes_completed++;
	p->failed |= one.status != DSA_COMP_SUCCESS;
	p->lost |= told != TOLD;
	out->logged |= told == TOLD_LOG;
	return true;
}

void batch_run(struct op *op)
{
	struct progress p = { 0 };
	struct outcome *out = op->out;

	op_pass(op, 0);
	out->batch_id = __atomic_fetch_add(&op->d->batch_id, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < op->desc->desc_count; i++)
		if (op_gone(op) || !batch_one(op, (uint16_t)i, &p))
			break;
	out->result = p.failed;
	if (out->status == DSA_COMP_SUCCESS && p.failed)
		out->status = DSA_COMP_BATCH_FAIL;
}
