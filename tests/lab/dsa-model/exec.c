// SPDX-License-Identifier: MIT
/*
 * exec.c - see exec.h.
 */
#include "exec.h"

#include <string.h>

#include "bits.h"
#include "report.h"

#define PIECE (64u << 10) /* at most so much between two looks at the clock and the map */

#define HAS_SRC	  (1u << 0)
#define HAS_DST	  (1u << 1)
#define HAS_SRC2  (1u << 2) /* where others have the destination */
#define HAS_DST2  (1u << 3)
#define HAS_SIZE  (1u << 4)
#define HAS_BATCH (1u << 5)

struct op {
	struct device *d;
	const struct dsa_hw_desc *desc;
	struct outcome *out;
	const struct limits *limits;
	uint64_t at_most;
	uint64_t *clock;
	uint32_t size, done, crc;
	bool backward;
};

/* Where a piece lies; NULL for what the operation has not. */
struct piece {
	uint8_t *src, *dst, *src2, *dst2;
	uint64_t n;
};

static const uint8_t parts[256] = {
	[DSA_OPCODE_BATCH] = HAS_BATCH,
	[DSA_OPCODE_MEMMOVE] = HAS_SRC | HAS_DST | HAS_SIZE,
	[DSA_OPCODE_MEMFILL] = HAS_DST | HAS_SIZE,
	[DSA_OPCODE_COMPARE] = HAS_SRC | HAS_SRC2 | HAS_SIZE,
	[DSA_OPCODE_COMPVAL] = HAS_SRC | HAS_SIZE,
	[DSA_OPCODE_DUALCAST] = HAS_SRC | HAS_DST | HAS_DST2 | HAS_SIZE,
	[DSA_OPCODE_CRCGEN] = HAS_SRC | HAS_SIZE,
	[DSA_OPCODE_COPY_CRC] = HAS_SRC | HAS_DST | HAS_SIZE,
	[DSA_OPCODE_CFLUSH] = HAS_DST | HAS_SIZE,
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
	if (desc->opcode == DSA_OPCODE_DUALCAST)
		flags |= IDXD_OP_FLAG_ADDR3_TCS;
	if (desc->opcode == DSA_OPCODE_COMPARE || desc->opcode == DSA_OPCODE_COMPVAL)
		flags |= IDXD_OP_FLAG_CR;
	return flags;
}

static bool overlap(uint64_t a, uint64_t b, uint32_t n)
{
	return a - b < n || b - a < n;
}

static bool known(uint8_t opcode)
{
	return opcode == DSA_OPCODE_NOOP || opcode == DSA_OPCODE_DRAIN || parts[opcode];
}

/* The checks before anything is executed. */
static uint8_t check(const struct dsa_hw_desc *desc, const struct limits *limits, bool in_batch,
		     struct outcome *out)
{
	uint8_t has = parts[desc->opcode];

	if (!known(desc->opcode) || (in_batch && (desc->opcode == DSA_OPCODE_BATCH ||
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
	if (has & HAS_BATCH) {
		if (desc->desc_count < 2 || desc->desc_count > limits->batch)
			return DSA_COMP_DESC_CNT_ERANGE;
		return desc->desc_list_addr % 64 ? DSA_COMP_DESCLIST_ALIGN : DSA_COMP_SUCCESS;
	}
	if ((has & HAS_SIZE) && (!desc->xfer_size || desc->xfer_size > limits->xfer))
		return DSA_COMP_XFER_ERANGE;
	if ((has & HAS_DST2) && ((desc->dst_addr ^ desc->dest2) & 0xfff))
		return DSA_COMP_DCAST_ERR;
	if ((has & HAS_DST2) && (overlap(desc->src_addr, desc->dst_addr, desc->xfer_size) ||
				 overlap(desc->src_addr, desc->dest2, desc->xfer_size) ||
				 overlap(desc->dst_addr, desc->dest2, desc->xfer_size)))
		return DSA_COMP_OVERLAP_BUFFERS;
	if (desc->opcode == DSA_OPCODE_COPY_CRC &&
	    overlap(desc->src_addr, desc->dst_addr, desc->xfer_size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

/* ------------------------------------------------------------------ pieces */

static bool fault(struct op *op, uint64_t addr, bool write)
{
	op->out->status = DSA_COMP_PAGE_FAULT_NOBOF | (write ? DSA_COMP_STATUS_WRITE : 0);
	op->out->fault_addr = addr;
	return false;
}

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
		return fault(op, op->backward ? addr - 1 : addr, write);
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
		return fault(op, desc->src_addr + op->done, false);
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
	return fault(op, op->desc->dst_addr + done, true);
}

static bool is_gone(struct device *d, const struct limits *limits, struct outcome *out)
{
	out->gone = __atomic_load_n(&d->epoch, __ATOMIC_ACQUIRE) != limits->epoch;
	return out->gone;
}

static void operate(struct op *op)
{
	const struct dsa_hw_desc *desc = op->desc;
	bool more = true, first = true;
	struct piece p;

	op->size = desc->xfer_size;
	op->crc = desc->crc_seed;
	if (desc->opcode == DSA_OPCODE_MEMMOVE && desc->dst_addr > desc->src_addr &&
	    overlap(desc->src_addr, desc->dst_addr, desc->xfer_size)) {
		op->backward = true;
		op->out->result = 1; /* what is done is at the end */
	}
	while (more && op->done < op->size) {
		if (is_gone(op->d, op->limits, op->out))
			return;
		mem_hold(&op->d->mem);
		more = piece_next(op, &p);
		mem_release(&op->d->mem);
		*op->clock = clock_pass(&op->d->clock, *op->clock, p.n, first);
		first = false;
	}
	if (op->out->status == DSA_COMP_SUCCESS && op->backward)
		op->out->result = 0;
	op->out->bytes_completed =
		op->out->status == DSA_COMP_SUCCESS && !op->out->result ? 0 : op->done;
	op->out->bytes = op->done;
	if (desc->opcode == DSA_OPCODE_CRCGEN || desc->opcode == DSA_OPCODE_COPY_CRC)
		op->out->crc = op->crc;
	/* "Check result": a result that is not the expected one is told by the status. */
	if (op->out->status == DSA_COMP_SUCCESS && (desc->flags & IDXD_OP_FLAG_CR) &&
	    op->out->result != desc->expected_res)
		op->out->status = DSA_COMP_SUCCESS_PRED;
}

static struct outcome run(struct device *d, const struct dsa_hw_desc *desc,
			  const struct limits *limits, bool in_batch, uint64_t at_most,
			  uint64_t *clock);

static bool fetch(struct device *d, const struct requester *by, uint64_t addr,
		  struct dsa_hw_desc *desc)
{
	bool good = false;
	uint64_t n;
	uint8_t *from;

	mem_hold(&d->mem);
	from = iommu_at(&d->iommu, by, addr, false, &n);
	for (unsigned int i = 0; from && n >= sizeof(*desc) && i < IOMMU_TRIES; i++) {
		memcpy(desc, from, sizeof(*desc));
		good = iommu_still(&d->iommu, by, addr, false, from);
		if (good)
			break;
		from = iommu_at(&d->iommu, by, addr, false, &n);
	}
	mem_release(&d->mem);
	return good;
}

/* One after the other: a fence, therefore, only stops behind an error. */
static void batch(struct device *d, const struct dsa_hw_desc *desc, const struct limits *limits,
		  struct outcome *out, uint64_t *clock)
{
	bool failed = false;

	for (uint32_t i = 0; i < desc->desc_count; i++) {
		uint64_t addr = desc->desc_list_addr + (uint64_t)i * sizeof(struct dsa_hw_desc);
		struct dsa_hw_desc inner;
		struct outcome one;

		if (is_gone(d, limits, out))
			return;
		if (!fetch(d, &limits->by, addr, &inner)) {
			out->status = DSA_COMP_BATCH_PAGE_FAULT;
			out->fault_addr = addr;
			return;
		}
		if (failed && (inner.flags & IDXD_OP_FLAG_FENCE))
			break;
		inner.pasid = desc->pasid;
		inner.priv = desc->priv;
		one = run(d, &inner, limits, true, UINT64_MAX, clock);
		out->gone = one.gone;
		if (one.gone)
			return;
		report_inner(d, limits, &inner, &one);
		out->bytes += one.bytes;
		out->bytes_completed++;
		failed |= one.status != DSA_COMP_SUCCESS;
	}
	out->status = failed ? DSA_COMP_BATCH_FAIL : DSA_COMP_SUCCESS;
}

static struct outcome run(struct device *d, const struct dsa_hw_desc *desc,
			  const struct limits *limits, bool in_batch, uint64_t at_most,
			  uint64_t *clock)
{
	struct outcome out = { 0 };
	struct op op = { .d = d,
			 .desc = desc,
			 .out = &out,
			 .limits = limits,
			 .at_most = at_most,
			 .clock = clock };

	out.status = check(desc, limits, in_batch, &out);
	if (out.status == DSA_COMP_SUCCESS && (parts[desc->opcode] & HAS_SIZE)) {
		operate(&op);
		return out;
	}
	*clock = clock_pass(&d->clock, *clock, 0, 1);
	if (out.status == DSA_COMP_SUCCESS && (parts[desc->opcode] & HAS_BATCH))
		batch(d, desc, limits, &out, clock);
	return out;
}

struct outcome exec_run(struct device *d, const struct dsa_hw_desc *desc,
			const struct limits *limits, uint64_t at_most, uint64_t *clock)
{
	return run(d, desc, limits, false, at_most, clock);
}
