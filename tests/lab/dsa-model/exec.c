// SPDX-License-Identifier: MIT
/*
 * exec.c - see exec.h.
 */
#include "exec.h"

#include <string.h>

#include "batch.h"
#include "bits.h"
#include "delta.h"
#include "dif.h"
#include "translate.h"

#define PIECE (64u << 10) /* at most so much between two looks at the clock and the map */

#define HAS_SRC	 (1u << 0)
#define HAS_DST	 (1u << 1)
#define HAS_SRC2 (1u << 2) /* where others have the destination */
#define HAS_DST2 (1u << 3)
#define HAS_SIZE (1u << 4)

/* An operation that is checked and executed elsewhere. */
struct room {
	uint8_t (*check)(const struct dsa_hw_desc *desc, const struct limits *limits);
	void (*run)(struct op *op);
};

/* Where a piece lies; NULL for what the operation has not. */
struct piece {
	uint8_t *src, *dst, *src2, *dst2;
	uint64_t n;
};

static const uint8_t parts[256] = {
	[DSA_OPCODE_MEMMOVE] = HAS_SRC | HAS_DST | HAS_SIZE,
	[DSA_OPCODE_MEMFILL] = HAS_DST | HAS_SIZE,
	[DSA_OPCODE_COMPARE] = HAS_SRC | HAS_SRC2 | HAS_SIZE,
	[DSA_OPCODE_COMPVAL] = HAS_SRC | HAS_SIZE,
	[DSA_OPCODE_DUALCAST] = HAS_SRC | HAS_DST | HAS_DST2 | HAS_SIZE,
	[DSA_OPCODE_CRCGEN] = HAS_SRC | HAS_SIZE,
	[DSA_OPCODE_COPY_CRC] = HAS_SRC | HAS_DST | HAS_SIZE,
	[DSA_OPCODE_CFLUSH] = HAS_DST | HAS_SIZE,
	[DSA_OPCODE_BATCH] = HAS_SRC,
	[DSA_OPCODE_CR_DELTA] = HAS_SRC | HAS_SRC2 | HAS_DST,
	[DSA_OPCODE_AP_DELTA] = HAS_SRC | HAS_DST,
	[OPCODE_TRANSL_FETCH] = HAS_SRC,
	[DSA_OPCODE_DIF_CHECK] = HAS_SRC,
	[DSA_OPCODE_DIF_INS] = HAS_SRC | HAS_DST,
	[DSA_OPCODE_DIF_STRP] = HAS_SRC | HAS_DST,
	[DSA_OPCODE_DIF_UPDT] = HAS_SRC | HAS_DST,
	[OPCODE_DIX_GEN] = HAS_SRC | HAS_DST,
};

static const struct room rooms[256] = {
	[DSA_OPCODE_BATCH] = { batch_check, batch_run },
	[DSA_OPCODE_CR_DELTA] = { delta_create_check, delta_create },
	[DSA_OPCODE_AP_DELTA] = { delta_apply_check, delta_apply },
	[OPCODE_TRANSL_FETCH] = { translate_check, translate_run },
	[DSA_OPCODE_DIF_CHECK] = { dif_check, dif_run },
	[DSA_OPCODE_DIF_INS] = { dif_check, dif_run },
	[DSA_OPCODE_DIF_STRP] = { dif_check, dif_run },
	[DSA_OPCODE_DIF_UPDT] = { dif_check, dif_run },
	[OPCODE_DIX_GEN] = { dif_check, dif_run },
};

static uint32_t flags_of(const struct dsa_hw_desc *desc, bool in_batch)
{
	uint32_t flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_RCI |
			 IDXD_OP_FLAG_CRSTS | IDXD_OP_FLAG_CR_TCS | IDXD_OP_FLAG_BOF;

	if (in_batch)
		flags |= IDXD_OP_FLAG_FENCE;
	if (parts[desc->opcode])
		flags |= IDXD_OP_FLAG_ADDR1_TCS | IDXD_OP_FLAG_ADDR2_TCS;
	if (parts[desc->opcode] & HAS_DST)
		flags |= IDXD_OP_FLAG_CC | IDXD_OP_FLAG_STORD | IDXD_OP_FLAG_DRDBK |
			 IDXD_OP_FLAG_DSTS;
	if (desc->opcode == DSA_OPCODE_DUALCAST || desc->opcode == DSA_OPCODE_CR_DELTA)
		flags |= IDXD_OP_FLAG_ADDR3_TCS;
	if (desc->opcode == DSA_OPCODE_COMPARE || desc->opcode == DSA_OPCODE_COMPVAL ||
	    desc->opcode == DSA_OPCODE_CR_DELTA)
		flags |= IDXD_OP_FLAG_CR;
	return flags;
}

static bool known(const struct device *d, uint8_t opcode)
{
	return opcode < 64 && (op_known(d) >> opcode & 1);
}

/* The checks before anything is executed. */
static uint8_t check(const struct device *d, const struct dsa_hw_desc *desc,
		     const struct limits *limits, bool in_batch, struct outcome *out)
{
	uint8_t has = parts[desc->opcode];

	if (!known(d, desc->opcode) || (in_batch && (desc->opcode == DSA_OPCODE_BATCH ||
						     desc->opcode == DSA_OPCODE_DRAIN)))
		return DSA_COMP_BAD_OPCODE;
	out->invalid_flags = desc->flags & ~flags_of(desc, in_batch);
	if ((desc->flags & (IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CRAV)) == IDXD_OP_FLAG_RCR)
		out->invalid_flags |= IDXD_OP_FLAG_RCR;
	if (out->invalid_flags)
		return DSA_COMP_INVALID_FLAGS;
	if (desc->rsvd || desc->rsvd1)
		return DSA_COMP_NOZERO_RESERVE;
	if ((desc->flags & IDXD_OP_FLAG_CRAV) && desc->completion_addr % 32)
		return DSA_COMP_CRA_ALIGN;
	if ((desc->flags & IDXD_OP_FLAG_RCI) &&
	    (desc->int_handle >= 32 || !(limits->handles >> desc->int_handle & 1)))
		return DSA_COMP_INT_HANDLE_INVAL;
	if (rooms[desc->opcode].check)
		return rooms[desc->opcode].check(desc, limits);
	if ((has & HAS_SIZE) && (!desc->xfer_size || desc->xfer_size > limits->xfer))
		return DSA_COMP_XFER_ERANGE;
	if ((has & HAS_DST2) && ((desc->dst_addr ^ desc->dest2) & 0xfff))
		return DSA_COMP_DCAST_ERR;
	if ((has & HAS_DST2) &&
	    (op_overlap(desc->src_addr, desc->xfer_size, desc->dst_addr, desc->xfer_size) ||
	     op_overlap(desc->src_addr, desc->xfer_size, desc->dest2, desc->xfer_size) ||
	     op_overlap(desc->dst_addr, desc->xfer_size, desc->dest2, desc->xfer_size)))
		return DSA_COMP_OVERLAP_BUFFERS;
	if (desc->opcode == DSA_OPCODE_COPY_CRC &&
	    op_overlap(desc->src_addr, desc->xfer_size, desc->dst_addr, desc->xfer_size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

/* ------------------------------------------------------------------ pieces */

/* The buffer at @addr: its next bytes, or the last ones that are not done.  false: a fault. */
static bool reach(struct op *op, uint64_t addr, bool write, uint8_t **to, uint64_t *n)
{
	struct iommu *u = &op->d->iommu;
	const struct requester *by = &op->limits->by;
	uint64_t room;

	addr += op->backward ? op->size - op->done : op->done;
	*to = op->backward ? iommu_before(u, by, addr, write, &room)
			   : iommu_at(u, by, addr, write, &room);
	if (!*to)
		return op_fault(op, op->backward ? addr - 1 : addr, write);
	if (*n > room)
		*n = room;
	return true;
}

/* A copy that overlaps itself: by pieces that do not, which can be done again. */
static uint64_t piece_max(const struct op *op)
{
	uint64_t a = op->desc->src_addr, b = op->desc->dst_addr, apart = a > b ? a - b : b - a;

	if (op->desc->opcode == DSA_OPCODE_MEMMOVE && op->d->iommu.on && apart && apart < PIECE)
		return apart;
	return PIECE;
}

static bool next(struct op *op, struct piece *p)
{
	const struct dsa_hw_desc *desc = op->desc;
	uint8_t has = parts[desc->opcode];

	*p = (struct piece){ .n = op->size - op->done };
	if (p->n > piece_max(op))
		p->n = piece_max(op);
	if (op->done + p->n > op->at_most)
		p->n = op->at_most - op->done;
	if (!p->n)
		return op_fault(op, desc->src_addr + op->done, false);
	if (((has & HAS_SRC) && !reach(op, desc->src_addr, false, &p->src, &p->n)) ||
	    ((has & HAS_DST) && !reach(op, desc->dst_addr, true, &p->dst, &p->n)) ||
	    ((has & HAS_SRC2) && !reach(op, desc->src2_addr, false, &p->src2, &p->n)) ||
	    ((has & HAS_DST2) && !reach(op, desc->dest2, true, &p->dst2, &p->n)))
		return false;
	if (op->backward) {
		p->src -= p->n;
		p->dst -= p->n;
	}
	return true;
}

static bool stayed(const struct op *op, uint64_t addr, const struct piece *p, uint32_t done,
		   bool write, const uint8_t *at)
{
	addr += op->backward ? op->size - done - p->n : done;
	return !at || iommu_still(&op->d->iommu, &op->limits->by, addr, write, at);
}

/* What was done from @done on was done where it belongs. */
static bool stands(const struct op *op, const struct piece *p, uint32_t done)
{
	const struct dsa_hw_desc *desc = op->desc;

	return stayed(op, desc->src_addr, p, done, false, p->src) &&
	       stayed(op, desc->dst_addr, p, done, true, p->dst) &&
	       stayed(op, desc->src2_addr, p, done, false, p->src2) &&
	       stayed(op, desc->dest2, p, done, true, p->dst2);
}

/* -------------------------------------------------------------- operations */

static uint32_t crc_table[256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc32c(uint32_t crc, const uint8_t *p, uint64_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, crc_init);
	crc = ~crc;
	while (n--)
		crc = crc_table[(crc ^ *p++) & 0xff] ^ crc >> 8;
	return ~crc;
}

static uint8_t pattern_at(uint64_t pattern, uint64_t at)
{
	return (uint8_t)(pattern >> at % 8 * 8);
}

/* Bytes of a piece that are as expected. */
static uint64_t same(const struct op *op, const struct piece *p)
{
	uint64_t i = 0;

	for (; i < p->n; i++) {
		uint8_t want =
			p->src2 ? p->src2[i] : pattern_at(op->desc->comp_pattern, op->done + i);

		if (p->src[i] != want)
			break;
	}
	return i;
}

/* One piece; false: the operation ends with it. */
static bool piece_do(struct op *op, const struct piece *p)
{
	uint64_t n = p->n;

	switch (op->desc->opcode) {
	case DSA_OPCODE_MEMMOVE:
		memmove(p->dst, p->src, n);
		break;
	case DSA_OPCODE_MEMFILL:
		for (uint64_t i = 0; i < n; i++)
			p->dst[i] = pattern_at(op->desc->pattern, op->done + i);
		break;
	case DSA_OPCODE_COMPARE:
	case DSA_OPCODE_COMPVAL:
		n = same(op, p);
		break;
	case DSA_OPCODE_DUALCAST:
		memmove(p->dst, p->src, n);
		memmove(p->dst2, p->src, n);
		break;
	case DSA_OPCODE_CRCGEN:
		op->crc = crc32c(op->crc, p->src, n);
		break;
	case DSA_OPCODE_COPY_CRC:
		memmove(p->dst, p->src, n);
		op->crc = crc32c(op->crc, p->dst, n);
		break;
	default: /* no caches of our own to write back */
		break;
	}
	op->done += (uint32_t)n;
	return n == p->n;
}

/* The next piece, until it stands; false: the operation ends with it. */
static bool piece_next(struct op *op, struct piece *p)
{
	uint32_t done = op->done, crc = op->crc;

	for (unsigned int i = 0; i < IOMMU_TRIES; i++) {
		bool more;

		op->done = done;
		op->crc = crc;
		if (!next(op, p))
			return false;
		more = piece_do(op, p);
		if (!stands(op, p, done))
			continue;
		if (!more)
			op->out->result = 1;
		return more;
	}
	op->done = done;
	op->crc = crc;
	return op_fault(op, op->desc->dst_addr + done, true);
}

static void operate(struct op *op)
{
	const struct dsa_hw_desc *desc = op->desc;
	bool more = true;
	struct piece p;

	op->size = desc->xfer_size;
	op->crc = desc->crc_seed;
	if (desc->opcode == DSA_OPCODE_MEMMOVE && desc->dst_addr > desc->src_addr &&
	    op_overlap(desc->src_addr, desc->xfer_size, desc->dst_addr, desc->xfer_size)) {
		op->backward = true;
		op->out->result = 1; /* what is done is at the end */
	}
	while (more && op->done < op->size) {
		if (op_gone(op))
			return;
		mem_hold(&op->d->mem);
		more = piece_next(op, &p);
		mem_release(&op->d->mem);
		op_pass(op, p.n);
	}
	if (op->out->status == DSA_COMP_SUCCESS && op->backward)
		op->out->result = 0;
	op->out->bytes_completed =
		op->out->status == DSA_COMP_SUCCESS && !op->out->result ? 0 : op->done;
	if (desc->opcode == DSA_OPCODE_CRCGEN || desc->opcode == DSA_OPCODE_COPY_CRC)
		memcpy(op->out->specific, &op->crc, sizeof(op->crc));
	/* "Check result": a result that is not the expected one is told by the status. */
	if (op->out->status == DSA_COMP_SUCCESS && (desc->flags & IDXD_OP_FLAG_CR) &&
	    op->out->result != desc->expected_res)
		op->out->status = DSA_COMP_SUCCESS_PRED;
}

static struct outcome run(struct device *d, const struct dsa_hw_desc *desc,
			  const struct limits *limits, bool in_batch, uint64_t at_most,
			  uint64_t *clock)
{
	const struct room *room = &rooms[desc->opcode];
	struct outcome out = { 0 };
	struct op op = { .d = d,
			 .desc = desc,
			 .out = &out,
			 .limits = limits,
			 .at_most = at_most,
			 .clock = clock };

	out.status = check(d, desc, limits, in_batch, &out);
	if (out.status != DSA_COMP_SUCCESS)
		memcpy(out.specific, &out.invalid_flags, sizeof(out.invalid_flags));
	else if (room->run)
		room->run(&op);
	else if (parts[desc->opcode] & HAS_SIZE)
		operate(&op);
	if (!op.begun)
		op_pass(&op, 0);
	out.bytes += op.done;
	return out;
}

struct outcome exec_run(struct device *d, const struct dsa_hw_desc *desc,
			const struct limits *limits, uint64_t at_most, uint64_t *clock)
{
	return run(d, desc, limits, false, at_most, clock);
}

struct outcome exec_inner(struct device *d, const struct dsa_hw_desc *desc,
			  const struct limits *limits, uint64_t *clock)
{
	return run(d, desc, limits, true, UINT64_MAX, clock);
}
