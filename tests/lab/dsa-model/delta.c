// SPDX-License-Identifier: MIT
/*
 * delta.c - see delta.h.
 */
#include "delta.h"

#include <string.h>

#define UNIT	    8u
#define ENTRY	    10u
#define REACH	    0x80000u /* what an offset of 16 bits reaches */
#define RECORD_MIN  80u	     /* the least maximum */
#define PIECE	    4096u
#define PIECE_UNITS (PIECE / UNIT)

enum { RESULT_EQUAL, RESULT_DIFFERENT, RESULT_TOO_LARGE };

static uint8_t size_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	if (!desc->xfer_size || desc->xfer_size % UNIT || desc->xfer_size > REACH ||
	    desc->xfer_size > limits->xfer)
		return DSA_COMP_XFER_ERANGE;
	if (desc->src_addr % UNIT || desc->dst_addr % UNIT)
		return DSA_COMP_ADDR_ALIGN;
	return DSA_COMP_SUCCESS;
}

uint8_t delta_create_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	uint8_t status = size_check(desc, limits);

	if (desc->delt_rsvd || desc->expected_res_mask >> (RESULT_TOO_LARGE + 1) ||
	    !op_zero(desc, 17, 23))
		return DSA_COMP_NOZERO_RESERVE;
	if (status != DSA_COMP_SUCCESS)
		return status;
	if (desc->delta_addr % UNIT)
		return DSA_COMP_ADDR_ALIGN;
	if (desc->max_delta_size < RECORD_MIN)
		return DSA_COMP_DR_ERANGE;
	if (op_overlap(desc->src_addr, desc->xfer_size, desc->delta_addr,
		       desc->max_delta_size) ||
	    op_overlap(desc->src2_addr, desc->xfer_size, desc->delta_addr,
		       desc->max_delta_size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

uint8_t delta_apply_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	uint8_t status = size_check(desc, limits);

	if (!op_zero(desc, 4, 23))
		return DSA_COMP_NOZERO_RESERVE;
	if (status != DSA_COMP_SUCCESS)
		return status;
	if (!desc->delta_rec_size || desc->delta_rec_size % ENTRY)
		return DSA_COMP_DR_ERANGE;
	if (op_overlap(desc->src_addr, desc->delta_rec_size, desc->dst_addr, desc->xfer_size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

/* ------------------------------------------------------------------ create */

/* How many bytes the next piece has: within one page of either source. */
static uint32_t piece_size(const struct op *op)
{
	uint64_t n = op->size - op->done, a = op->desc->src_addr + op->done,
		 b = op->desc->src2_addr + op->done;

	if (n > PIECE - a % PIECE)
		n = PIECE - a % PIECE;
	if (n > PIECE - b % PIECE)
		n = PIECE - b % PIECE;
	if (op->done + n > op->at_most)
		n = (op->at_most - op->done) / UNIT * UNIT;
	return (uint32_t)n;
}

static uint16_t entry_offset(const uint8_t *entry)
{
	uint16_t offset;

	memcpy(&offset, entry, sizeof(offset));
	return offset;
}

/* One piece; @written: of the record.  false: it ends with this. */
static bool create_piece(struct op *op, uint32_t *written)
{
	const struct dsa_hw_desc *desc = op->desc;
	uint8_t a[PIECE], b[PIECE], record[PIECE_UNITS * ENTRY];
	uint32_t n = piece_size(op), entries = 0, units;
	bool full = false;

	if (!n)
		return op_fault(op, desc->src_addr + op->done, false);
	if (!op_read(op, desc->src_addr + op->done, a, n) ||
	    !op_read(op, desc->src2_addr + op->done, b, n))
		return false;
	for (units = 0; units < n / UNIT; units++) {
		uint8_t *entry = record + entries * ENTRY;
		uint16_t offset = (uint16_t)(op->done / UNIT + units);

		if (!memcmp(a + units * UNIT, b + units * UNIT, UNIT))
			continue;
		full = *written + (entries + 1) * ENTRY > desc->max_delta_size;
		if (full)
			break;
		memcpy(entry, &offset, sizeof(offset));
		memcpy(entry + sizeof(offset), b + units * UNIT, UNIT);
		entries++;
	}
	if (!op_write(op, desc->delta_addr + *written, record, entries * ENTRY)) {
		uint64_t in = op->out->fault_addr - (desc->delta_addr + *written);
		uint32_t whole = (uint32_t)(in / ENTRY);

		op->done = (uint32_t)entry_offset(record + whole * ENTRY) * UNIT;
		*written += whole * ENTRY;
		return false;
	}
	op->done += units * UNIT;
	*written += entries * ENTRY;
	op_pass(op, n);
	if (full)
		op->out->result = RESULT_TOO_LARGE;
	return !full;
}

void delta_create(struct op *op)
{
	const struct dsa_hw_desc *desc = op->desc;
	struct outcome *out = op->out;
	uint32_t written = 0;

	op->size = desc->xfer_size;
	while (op->done < op->size) {
		if (op_gone(op))
			return;
		if (!create_piece(op, &written))
			break;
	}
	if (out->result != RESULT_TOO_LARGE)
		out->result = written ? RESULT_DIFFERENT : RESULT_EQUAL;
	if (out->status != DSA_COMP_SUCCESS || out->result == RESULT_TOO_LARGE)
		out->bytes_completed = op->done;
	memcpy(out->specific, &written, sizeof(written));
	if (out->status == DSA_COMP_SUCCESS && (desc->flags & IDXD_OP_FLAG_CR) &&
	    !(desc->expected_res_mask >> out->result & 1))
		out->status = DSA_COMP_SUCCESS_PRED;
}

/* ------------------------------------------------------------------- apply */

/* @last: the offset of the entry before, -1: none. */
static bool apply_entry(struct op *op, const uint8_t *entry, int32_t *last)
{
	int32_t offset = entry_offset(entry);

	if (offset <= *last || (uint32_t)offset * UNIT >= op->desc->xfer_size) {
		op->out->status =
			offset <= *last ? DSA_COMP_DR_OFFSET_NOINC : DSA_COMP_DR_OFFSET_ERANGE;
		op->out->fault_addr = 0;
		return false;
	}
	if (!op_write(op, op->desc->dst_addr + (uint32_t)offset * UNIT,
		      entry + sizeof(uint16_t), UNIT))
		return false;
	*last = offset;
	op->done += ENTRY;
	return true;
}

static bool apply_piece(struct op *op, int32_t *last)
{
	uint8_t record[PIECE_UNITS * ENTRY];
	uint64_t from = op->desc->src_addr + op->done;
	uint32_t n = op->size - op->done;
	bool good;

	if (n > sizeof(record))
		n = sizeof(record);
	if (op->done + n > op->at_most)
		n = (uint32_t)(op->at_most - op->done);
	if (!n)
		return op_fault(op, from, false);
	good = op_read(op, from, record, n);
	/* The entries before a fault are applied all the same. */
	if (!good)
		n = (uint32_t)(op->out->fault_addr - from) / ENTRY * ENTRY;
	for (uint32_t at = 0; at < n; at += ENTRY)
		if (!apply_entry(op, record + at, last))
			return false;
	op_pass(op, n);
	return good;
}

void delta_apply(struct op *op)
{
	int32_t last = -1;

	/* Its bytes are those of the record: half of it, where one was told to be half done. */
	op->size = op->desc->delta_rec_size;
	if (op->at_most != UINT64_MAX)
		op->at_most = op->size / ENTRY / 2 * ENTRY;
	while (op->done < op->size) {
		if (op_gone(op))
			return;
		if (!apply_piece(op, &last))
			break;
	}
	if (op->out->status != DSA_COMP_SUCCESS)
		op->out->bytes_completed = op->done;
}
