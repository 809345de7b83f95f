// SPDX-License-Identifier: MIT
/*
 * dif.c - see dif.h.  All five operations have their fields at the same places of the
 * descriptor and of the completion record: DIF Update's, of which the others leave out either
 * the source's (at "chk") or the destination's ("ins").
 */
#include "dif.h"

#include <string.h>

#include "bits.h"

#define FIELD	  8u
#define BLOCK_MAX 4104u
#define TAG_ALL	  0xffffu
#define REF_ALL	  0xffffffffu

/* DIF flags */
#define DIF_BLOCK(f)	((f)&3u)
#define DIF_INVERT_SEED 0x04u
#define DIF_INVERT_CRC	0x08u
#define DIF_RESERVED	0xf0u
/* Source DIF flags */
#define SRC_ALL_F_ERROR 0x01u
#define SRC_ALL_F	0x02u
#define SRC_APP_F	0x04u
#define SRC_APP_REF_F	0x08u
#define SRC_NO_GUARD	0x20u
#define SRC_NO_REF	0x40u
/* Destination DIF flags; those that pass on what the source has are DIF Update's */
#define DST_RESERVED   0x07u
#define DST_PASS_APP   0x08u
#define DST_PASS_GUARD 0x20u
#define DST_PASS_REF   0x40u
#define DST_PASS       (DST_PASS_APP | DST_PASS_GUARD | DST_PASS_REF)
/* Both */
#define APP_INCREMENTS 0x10u
#define REF_FIXED      0x80u

/* DIF status */
enum { BAD_GUARD = 1, BAD_APP = 2, BAD_REF = 4, BAD_ALL_F = 8 };

/* What the tags of the next block are. */
struct tags {
	uint8_t flags;
	uint16_t app, mask;
	uint32_t ref;
};

struct dif {
	uint32_t block, in, out; /* bytes of a block: of data, read, written */
	uint8_t flags;
	struct tags src, dst;
};

static bool has_source(uint8_t opcode)
{
	return opcode == DSA_OPCODE_DIF_CHECK || opcode == DSA_OPCODE_DIF_STRP ||
	       opcode == DSA_OPCODE_DIF_UPDT;
}

static bool has_field_out(uint8_t opcode)
{
	return opcode == DSA_OPCODE_DIF_INS || opcode == DSA_OPCODE_DIF_UPDT ||
	       opcode == OPCODE_DIX_GEN;
}

static struct dif dif_of(const struct dsa_hw_desc *desc)
{
	static const uint32_t blocks[] = { 512, 520, 4096, BLOCK_MAX };
	struct dif f = {
		.block = blocks[DIF_BLOCK(desc->dif_chk_flags)],
		.flags = desc->dif_chk_flags,
		.src = { desc->src_dif_flags, desc->chk_app_tag_seed, desc->chk_app_tag_mask,
			 desc->chk_ref_tag_seed },
		.dst = { desc->dest_dif_flag, desc->ins_app_tag_seed, desc->ins_app_tag_mask,
			 desc->ins_ref_tag_seed },
	};

	f.in = f.block + (has_source(desc->opcode) ? FIELD : 0);
	if (desc->opcode != DSA_OPCODE_DIF_CHECK && desc->opcode != OPCODE_DIX_GEN)
		f.out = f.block;
	if (has_field_out(desc->opcode))
		f.out += FIELD;
	return f;
}

static bool reserved_are_zero(const struct dsa_hw_desc *desc)
{
	uint8_t opcode = desc->opcode;
	uint8_t dst = DST_RESERVED | (opcode == DSA_OPCODE_DIF_UPDT ? 0 : DST_PASS);

	if (!op_zero(desc, 3, 7) || (desc->dif_chk_flags & DIF_RESERVED))
		return false;
	if (!has_source(opcode) && (!op_zero(desc, 0, 0) || !op_zero(desc, 8, 15)))
		return false;
	if (!has_field_out(opcode))
		return op_zero(desc, 1, 1) && op_zero(desc, 16, 23);
	return !(desc->dest_dif_flag & dst);
}

uint8_t dif_check(const struct dsa_hw_desc *desc, const struct limits *limits)
{
	struct dif f = dif_of(desc);

	if (!reserved_are_zero(desc))
		return DSA_COMP_NOZERO_RESERVE;
	if (!desc->xfer_size || desc->xfer_size > limits->xfer || desc->xfer_size % f.in)
		return DSA_COMP_XFER_ERANGE;
	if (f.out && op_overlap(desc->src_addr, desc->xfer_size, desc->dst_addr,
				(uint64_t)desc->xfer_size / f.in * f.out))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

/* ------------------------------------------------------------------ fields */

static uint16_t crc_t10(uint16_t crc, const uint8_t *p, uint32_t n)
{
	while (n--) {
		crc = (uint16_t)(crc ^ *p++ << 8);
		for (int k = 0; k < 8; k++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1);
	}
	return crc;
}

static uint16_t guard_of(const struct dif *f, const uint8_t *block)
{
	uint16_t crc = crc_t10(f->flags & DIF_INVERT_SEED ? 0xffff : 0, block, f->block);

	return f->flags & DIF_INVERT_CRC ? (uint16_t)~crc : crc;
}

static uint32_t load(const uint8_t *p, unsigned int n)
{
	uint32_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static void store(uint8_t *p, uint32_t v, unsigned int n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* What is wrong with a block. */
static uint8_t block_check(const struct dif *f, const uint8_t *block)
{
	const uint8_t *field = block + f->block;
	uint32_t guard = load(field, 2), app = load(field + 2, 2), ref = load(field + 4, 4);
	uint8_t flags = f->src.flags, bad = 0;
	bool tags_f = app == TAG_ALL && ref == REF_ALL;

	if ((flags & SRC_ALL_F) && tags_f && guard == TAG_ALL)
		return flags & SRC_ALL_F_ERROR ? BAD_ALL_F : 0;
	if (((flags & SRC_APP_REF_F) && tags_f) || ((flags & SRC_APP_F) && app == TAG_ALL))
		return 0;
	if (!(flags & SRC_NO_GUARD) && guard != guard_of(f, block))
		bad |= BAD_GUARD;
	if ((app ^ f->src.app) & (uint16_t)~f->src.mask)
		bad |= BAD_APP;
	if (!(flags & SRC_NO_REF) && ref != f->src.ref)
		bad |= BAD_REF;
	return bad;
}

/* The field behind a block; what is passed on is there already. */
static void field_make(const struct dif *f, uint8_t *block)
{
	uint8_t *field = block + f->block;

	if (!(f->dst.flags & DST_PASS_GUARD))
		store(field, guard_of(f, block), 2);
	if (!(f->dst.flags & DST_PASS_APP))
		store(field + 2, f->dst.app & (uint16_t)~f->dst.mask, 2);
	if (!(f->dst.flags & DST_PASS_REF))
		store(field + 4, f->dst.ref, 4);
}

static void tags_next(struct tags *t)
{
	if (t->flags & APP_INCREMENTS)
		t->app++;
	if (!(t->flags & REF_FIXED))
		t->ref++;
}

/* --------------------------------------------------------------- execution */

static bool block_do(struct op *op, const struct dif *f)
{
	const struct dsa_hw_desc *desc = op->desc;
	uint8_t block[BLOCK_MAX + FIELD], bad = 0;
	const uint8_t *from = block;

	if (op->done + (uint64_t)f->in > op->at_most)
		return op_fault(op, desc->src_addr + op->done, false);
	if (!op_read(op, desc->src_addr + op->done, block, f->in))
		return false;
	if (has_source(desc->opcode))
		bad = block_check(f, block);
	if (bad) {
		op->out->status = DSA_COMP_DIF_ERR;
		op->out->result = bad;
		return false;
	}
	if (has_field_out(desc->opcode))
		field_make(f, block);
	if (desc->opcode == OPCODE_DIX_GEN)
		from += f->block;
	return op_write(op, desc->dst_addr + (uint64_t)op->done / f->in * f->out, from, f->out);
}

/* The tags of the block that would be next: where one goes on behind a fault. */
static void record_make(const struct op *op, const struct dif *f)
{
	struct dsa_completion_record r = { 0 };

	if (has_source(op->desc->opcode)) {
		r.dif_upd_src_ref_tag = f->src.ref;
		r.dif_upd_src_app_tag_mask = f->src.mask;
		r.dif_upd_src_app_tag = f->src.app;
	}
	if (has_field_out(op->desc->opcode)) {
		r.dif_upd_dest_ref_tag = f->dst.ref;
		r.dif_upd_dest_app_tag_mask = f->dst.mask;
		r.dif_upd_dest_app_tag = f->dst.app;
	}
	memcpy(op->out->specific, r.op_specific, sizeof(r.op_specific));
}

void dif_run(struct op *op)
{
	struct dif f = dif_of(op->desc);

	op->size = op->desc->xfer_size;
	while (op->done < op->size) {
		if (op_gone(op))
			return;
		if (!block_do(op, &f))
			break;
		op->done += f.in;
		op_pass(op, f.in);
		tags_next(&f.src);
		tags_next(&f.dst);
	}
	if (op->out->status != DSA_COMP_SUCCESS)
		op->out->bytes_completed = op->done;
	record_make(op, &f);
}
