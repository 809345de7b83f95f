// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft_exec.c - the operations of a DSA, their checks and their completion records.
 *
 * An operation works in slices and counts what is certainly done.  The first attempt takes
 * big slices; after a fault it goes on in slices that lie within one page of every buffer, so
 * that the second fault is exact to the page.  Overlapping moves take small slices from the
 * start: such a slice faults on its first access to the page that is missing or not at all,
 * so it is never half done, which a resume could not repair.
 */
#include "soft_exec.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../client/barrier.h"
#include "../client/crc.h"
#include "clock.h"
#include "fault_fixup.h"
#include "soft.h"

#define PAGE	4096u
#define SLICE	(64u << 10)
#define NT_MIN	(4u << 10) /* a smaller piece is hardly worth the fence behind it */
#define BUFFERS 3

struct op {
	const struct dsa_hw_desc *desc;
	uint8_t *buf[BUFFERS]; /* NULL: the opcode has no such buffer */
	uint32_t size;
	bool backward;
	bool streaming;
	/* survive a fault */
	volatile bool careful;
	volatile bool touched_nt;
	volatile uint32_t done;
	volatile uint32_t crc;
	volatile uint8_t result;
};

/* ------------------------------------------------------------------ slices */

/* Bytes of the next slice, which begins at offset @at or, backward, ends there. */
static uint32_t slice(const struct op *op, uint32_t at)
{
	uint32_t n = op->size - op->done;

	if (!op->careful)
		return n < SLICE ? n : SLICE;
	for (unsigned int i = 0; i < BUFFERS; i++) {
		uintptr_t a = (uintptr_t)op->buf[i] + at;
		uint32_t room = op->backward ? (uint32_t)((a - 1) % PAGE) + 1
					     : PAGE - (uint32_t)(a % PAGE);

		if (op->buf[i] && room < n)
			n = room;
	}
	return n;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void copy_nt(uint8_t *dst, const uint8_t *src, size_t n)
{
	size_t head = -(uintptr_t)dst & 31;

	if (head > n)
		head = n;
	memcpy(dst, src, head);
	dst += head;
	src += head;
	n -= head;
	for (; n >= 128; n -= 128, dst += 128, src += 128) {
		__m256i a = _mm256_loadu_si256((const __m256i_u *)src);
		__m256i b = _mm256_loadu_si256((const __m256i_u *)(src + 32));
		__m256i c = _mm256_loadu_si256((const __m256i_u *)(src + 64));
		__m256i d = _mm256_loadu_si256((const __m256i_u *)(src + 96));

		_mm256_stream_si256((__m256i *)(void *)dst, a);
		_mm256_stream_si256((__m256i *)(void *)(dst + 32), b);
		_mm256_stream_si256((__m256i *)(void *)(dst + 64), c);
		_mm256_stream_si256((__m256i *)(void *)(dst + 96), d);
	}
	memcpy(dst, src, n);
}

static bool can_stream(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
static void copy_nt(uint8_t *dst, const uint8_t *src, size_t n)
{
	memcpy(dst, src, n);
}

static bool can_stream(void)
{
	return false;
}
#endif

/* Offset of the first difference, or @n. */
static uint32_t mismatch(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	uint32_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t x, y;

		memcpy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		if (x != y)
			return i + (uint32_t)__builtin_ctzll(x ^ y) / 8;
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

static void fill(uint8_t *dst, uint64_t pattern, uint32_t n)
{
	for (; n >= 8; n -= 8, dst += 8)
		memcpy(dst, &pattern, 8);
	memcpy(dst, &pattern, n);
}

static uint64_t rotate(uint64_t pattern, uint32_t bytes)
{
	unsigned int bits = bytes % 8 * 8;

	return bits ? pattern >> bits | pattern << (64 - bits) : pattern;
}

/* -------------------------------------------------------------- operations */

static void do_move(void *arg)
{
	struct op *op = arg;
	uint8_t *src = op->buf[0], *dst = op->buf[1];

	while (op->done < op->size) {
		uint32_t at = op->backward ? op->size - op->done : op->done;
		uint32_t n = slice(op, at);

		if (op->backward)
			at -= n;
		if (op->streaming && !op->careful) {
			op->touched_nt = true;
			copy_nt(dst + at, src + at, n);
		} else {
			memmove(dst + at, src + at, n);
		}
		op->done += n;
	}
}

static void do_fill(void *arg)
{
	struct op *op = arg;

	while (op->done < op->size) {
		uint32_t at = op->done, n = slice(op, at);

		fill(op->buf[1] + at, rotate(op->desc->pattern, at), n);
		op->done += n;
	}
}

static void do_compare(void *arg)
{
	struct op *op = arg;

	while (op->done < op->size) {
		uint32_t at = op->done, n = slice(op, at);
		uint32_t same = mismatch(op->buf[0] + at, op->buf[1] + at, n);

		op->done += same;
		if (same < n) {
			op->result = 1;
			return;
		}
	}
}

static void do_compval(void *arg)
{
	struct op *op = arg;
	uint8_t expect[16];

	while (op->done < op->size) {
		uint32_t at = op->done, n = slice(op, at), i = 0, same;
		uint64_t pattern = rotate(op->desc->comp_pattern, at);

		memcpy(expect, &pattern, 8);
		do {
			uint32_t part = n - i < 8 ? n - i : 8;

			same = mismatch(op->buf[0] + at + i, expect, part);
			i += same;
		} while (same == 8);
		op->done += i;
		if (i < n) {
			op->result = 1;
			return;
		}
	}
}

static void do_dualcast(void *arg)
{
	struct op *op = arg;

	while (op->done < op->size) {
		uint32_t at = op->done, n = slice(op, at);

		memcpy(op->buf[1] + at, op->buf[0] + at, n);
		memcpy(op->buf[2] + at, op->buf[0] + at, n);
		op->done += n;
	}
}

/* CRCGEN, and COPY_CRC where there is a destination. */
static void do_crc(void *arg)
{
	struct op *op = arg;

	while (op->done < op->size) {
		uint32_t at = op->done, n = slice(op, at);
		const uint8_t *from = op->buf[0] + at;

		if (op->buf[1]) {
			memcpy(op->buf[1] + at, from, n);
			from = op->buf[1] + at; /* of what was copied, if the source changes */
		}
		op->crc = amux_crc32c(op->crc, from, n);
		op->done += n;
	}
}

/* There are no caches of our own to write back. */
static void do_nothing(void *arg)
{
	struct op *op = arg;

	op->done = op->size;
}

/* --------------------------------------------------------------- opcodes */

#define F_RECORD                                                                        \
	(IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_RCI | IDXD_OP_FLAG_CRSTS | \
	 IDXD_OP_FLAG_CR_TCS)
#define F_READ (F_RECORD | IDXD_OP_FLAG_ADDR1_TCS)
#define F_WRITE                                                                   \
	(F_READ | IDXD_OP_FLAG_ADDR2_TCS | IDXD_OP_FLAG_CC | IDXD_OP_FLAG_STORD | \
	 IDXD_OP_FLAG_DRDBK | IDXD_OP_FLAG_DSTS)

/* Fields that an opcode uses; the others are reserved. */
#define HAS_SRC	  (1u << 0)
#define HAS_DST	  (1u << 1) /* dst_addr, src2_addr, comp_pattern */
#define HAS_SIZE  (1u << 2)
#define DST_VALUE (1u << 3) /* dst_addr holds a value, not an address */
#define SRC_VALUE (1u << 4)

struct opcode {
	void (*run)(void *arg);
	uint32_t flags;	  /* allowed, FENCE aside */
	uint8_t has;	  /* HAS_* */
	uint8_t specific; /* bytes of op_specific in use, from its start; 0 .. 8 */
	bool known;
};

static const struct opcode opcodes[] = {
	[DSA_OPCODE_NOOP] = { .flags = F_RECORD, .known = true },
	[DSA_OPCODE_BATCH] = { .flags = F_READ, .has = HAS_SRC | HAS_SIZE, .known = true },
	[DSA_OPCODE_DRAIN] = { .flags = F_RECORD, .known = true },
	[DSA_OPCODE_MEMMOVE] = { do_move, F_WRITE, HAS_SRC | HAS_DST | HAS_SIZE, 0, true },
	[DSA_OPCODE_MEMFILL] = { do_fill, F_WRITE, HAS_SRC | SRC_VALUE | HAS_DST | HAS_SIZE, 0,
				 true },
	[DSA_OPCODE_COMPARE] = { do_compare, F_READ | IDXD_OP_FLAG_ADDR2_TCS | IDXD_OP_FLAG_CR,
				 HAS_SRC | HAS_DST | HAS_SIZE, 1, true },
	[DSA_OPCODE_COMPVAL] = { do_compval, F_READ | IDXD_OP_FLAG_CR,
				 HAS_SRC | HAS_DST | DST_VALUE | HAS_SIZE, 1, true },
	[DSA_OPCODE_DUALCAST] = { do_dualcast, F_WRITE | IDXD_OP_FLAG_ADDR3_TCS,
				  HAS_SRC | HAS_DST | HAS_SIZE, 8, true },
	[DSA_OPCODE_CRCGEN] = { do_crc, F_READ, HAS_SRC | HAS_SIZE, 4, true },
	[DSA_OPCODE_COPY_CRC] = { do_crc, F_WRITE, HAS_SRC | HAS_DST | HAS_SIZE, 4, true },
	[DSA_OPCODE_CFLUSH] = { do_nothing, F_WRITE, HAS_DST | HAS_SIZE, 0, true },
};

static const struct opcode *opcode_find(const struct dsa_hw_desc *d)
{
	unsigned int n = sizeof(opcodes) / sizeof(opcodes[0]);

	return d->opcode < n && opcodes[d->opcode].known ? &opcodes[d->opcode] : NULL;
}

static bool overlap(uint64_t a, uint64_t b, uint32_t n)
{
	return a - b < n || b - a < n;
}

static bool reserved_set(const struct opcode *o, const struct dsa_hw_desc *d)
{
	uint64_t word[3]; /* op_specific; no opcode uses more than the first */

	if (d->rsvd || d->rsvd1 || (!(d->flags & IDXD_OP_FLAG_RCI) && d->int_handle))
		return true;
	if ((!(o->has & HAS_SRC) && d->src_addr) || (!(o->has & HAS_DST) && d->dst_addr) ||
	    (!(o->has & HAS_SIZE) && d->xfer_size))
		return true;
	memcpy(word, d->op_specific, sizeof(word));
	if (o->specific < 8)
		word[0] >>= o->specific * 8;
	else
		word[0] = 0;
	if (word[0] | word[1] | word[2])
		return true;
	/* without "check result" there is nothing to expect */
	return (o->flags & IDXD_OP_FLAG_CR) && !(d->flags & IDXD_OP_FLAG_CR) && d->expected_res;
}

/* The checks before anything is executed, in the order of the specification. */
static uint8_t check(const struct opcode *o, const struct dsa_hw_desc *d,
		     const struct soft_limits *limits, bool in_batch, uint32_t *bad_flags)
{
	uint32_t allowed;

	if (!o ||
	    (in_batch && (d->opcode == DSA_OPCODE_BATCH || d->opcode == DSA_OPCODE_DRAIN)))
		return DSA_COMP_BAD_OPCODE;
	allowed = o->flags | (in_batch ? IDXD_OP_FLAG_FENCE : 0);
	*bad_flags = d->flags & ~allowed;
	if ((d->flags & (IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CRAV)) == IDXD_OP_FLAG_RCR)
		*bad_flags |= IDXD_OP_FLAG_RCR;
	if (*bad_flags)
		return DSA_COMP_INVALID_FLAGS;
	if (reserved_set(o, d))
		return DSA_COMP_NOZERO_RESERVE;
	if (d->opcode == DSA_OPCODE_BATCH) {
		if (d->desc_count < 2 || d->desc_count > limits->max_batch)
			return DSA_COMP_DESC_CNT_ERANGE;
		return d->desc_list_addr % 64 ? DSA_COMP_DESCLIST_ALIGN : DSA_COMP_SUCCESS;
	}
	if ((o->has & HAS_SIZE) && (!d->xfer_size || d->xfer_size > limits->max_xfer))
		return DSA_COMP_XFER_ERANGE;
	if (d->opcode == DSA_OPCODE_DUALCAST) {
		if ((d->dst_addr ^ d->dest2) & 0xfff)
			return DSA_COMP_DCAST_ERR;
		if (overlap(d->src_addr, d->dst_addr, d->xfer_size) ||
		    overlap(d->src_addr, d->dest2, d->xfer_size) ||
		    overlap(d->dst_addr, d->dest2, d->xfer_size))
			return DSA_COMP_OVERLAP_BUFFERS;
	}
	if (d->opcode == DSA_OPCODE_COPY_CRC && overlap(d->src_addr, d->dst_addr, d->xfer_size))
		return DSA_COMP_OVERLAP_BUFFERS;
	return DSA_COMP_SUCCESS;
}

/* --------------------------------------------------------------- execution */

static uint8_t *pointer(uint64_t addr)
{
	return (uint8_t *)(uintptr_t)addr;
}

static void op_prepare(struct op *op, const struct opcode *o, const struct dsa_hw_desc *d)
{
	memset(op, 0, sizeof(*op));
	op->desc = d;
	op->size = d->xfer_size;
	if ((o->has & (HAS_SRC | SRC_VALUE)) == HAS_SRC)
		op->buf[0] = pointer(d->src_addr);
	if ((o->has & (HAS_DST | DST_VALUE)) == HAS_DST)
		op->buf[1] = pointer(d->dst_addr);
	if (d->opcode == DSA_OPCODE_DUALCAST)
		op->buf[2] = pointer(d->dest2);
	if (d->opcode == DSA_OPCODE_CRCGEN || d->opcode == DSA_OPCODE_COPY_CRC)
		op->crc = d->crc_seed;
	if (d->opcode == DSA_OPCODE_MEMMOVE) {
		bool crossing = overlap(d->src_addr, d->dst_addr, d->xfer_size);

		op->careful = crossing;
		op->backward = crossing && d->dst_addr > d->src_addr;
		op->streaming = !crossing && op->size >= NT_MIN &&
				!(d->flags & IDXD_OP_FLAG_CC) && can_stream();
	}
}

static uint8_t op_run(struct op *op, const struct opcode *o, struct dsa_completion_record *out)
{
	const struct dsa_hw_desc *d = op->desc;
	uint8_t status = DSA_COMP_SUCCESS;
	struct fixup_fault fault;
	int ret;

	ret = fixup_run(o->run, op, &fault);
	if (ret && !op->careful) {
		op->careful = true;
		ret = fixup_run(o->run, op, &fault);
	}
	if (op->touched_nt)
		amux_nt_fence();
	out->bytes_completed = op->done;
	out->result = op->result;
	if (ret) {
		status = DSA_COMP_PAGE_FAULT_NOBOF;
		if (fault.write)
			status |= DSA_COMP_STATUS_WRITE;
		out->fault_addr = fault.addr;
		out->result = op->backward;
		if (d->opcode == DSA_OPCODE_MEMFILL)
			out->bytes_completed &= ~7u;
	} else if ((d->flags & IDXD_OP_FLAG_CR) && op->result != d->expected_res) {
		status = DSA_COMP_SUCCESS_PRED;
	}
	if (d->opcode == DSA_OPCODE_CRCGEN || d->opcode == DSA_OPCODE_COPY_CRC)
		out->crc_val = op->crc;
	return status;
}

/* Write the record if the descriptor has one and wants it, or failed. */
static void record_write(const struct dsa_hw_desc *d, uint8_t status,
			 const struct dsa_completion_record *out)
{
	struct dsa_completion_record *rec = (void *)pointer(d->completion_addr);

	if (!(d->flags & IDXD_OP_FLAG_CRAV))
		return;
	if (!(d->flags & IDXD_OP_FLAG_RCR) && status == DSA_COMP_SUCCESS)
		return;
	rec->result = out->result;
	rec->rsvd = out->rsvd;
	rec->bytes_completed = out->bytes_completed;
	rec->fault_addr = out->fault_addr;
	memcpy(rec->op_specific, out->op_specific, sizeof(rec->op_specific));
	/* release: pairs with record_status(); the data and the record before the status */
	amux_store_release(&rec->status, status);
}

static bool record_misaligned(const struct dsa_hw_desc *d)
{
	return (d->flags & IDXD_OP_FLAG_CRAV) &&
	       (!d->completion_addr || d->completion_addr % 32);
}

struct fetch {
	const uint8_t *from;
	struct dsa_hw_desc desc;
};

static void do_fetch(void *arg)
{
	struct fetch *f = arg;

	memcpy(&f->desc, f->from, sizeof(f->desc));
}

static uint8_t exec(const struct dsa_hw_desc *d, const struct soft_limits *limits,
		    bool in_batch, uint64_t *bytes);

/* In order; a failure before a fence ends the batch there. */
static uint8_t batch_run(const struct dsa_hw_desc *d, const struct soft_limits *limits,
			 struct dsa_completion_record *out, uint64_t *bytes)
{
	bool failed = false;
	struct fixup_fault fault;
	uint64_t moved;
	struct fetch f;

	for (uint32_t i = 0; i < d->desc_count; i++) {
		f.from = pointer(d->desc_list_addr) + (uint64_t)i * sizeof(f.desc);
		if (fixup_run(do_fetch, &f, &fault)) {
			out->fault_addr = fault.addr;
			return DSA_COMP_BATCH_PAGE_FAULT;
		}
		if (failed && (f.desc.flags & IDXD_OP_FLAG_FENCE))
			break;
		if (exec(&f.desc, limits, true, &moved) != DSA_COMP_SUCCESS)
			failed = true;
		*bytes += moved;
		out->bytes_completed++;
	}
	return failed ? DSA_COMP_BATCH_FAIL : DSA_COMP_SUCCESS;
}

static uint8_t exec(const struct dsa_hw_desc *d, const struct soft_limits *limits,
		    bool in_batch, uint64_t *bytes)
{
	const struct opcode *o = opcode_find(d);
	struct dsa_completion_record out;
	uint32_t bad_flags = 0;
	uint64_t began = 0;
	struct op op;
	uint8_t status;

	*bytes = 0;
	if (record_misaligned(d))
		return DSA_COMP_CRA_ALIGN;
	memset(&out, 0, sizeof(out));
	if (amux_load_relaxed(&limits->timed))
		began = clock_ns();
	status = check(o, d, limits, in_batch, &bad_flags);
	if (status != DSA_COMP_SUCCESS) {
		out.invalid_flags = bad_flags & 0xffffff;
	} else if (d->opcode == DSA_OPCODE_BATCH) {
		status = batch_run(d, limits, &out, bytes);
	} else if (o->run) {
		op_prepare(&op, o, d);
		status = op_run(&op, o, &out);
		*bytes = out.bytes_completed;
	}
	if (began) {
		uint64_t took = (clock_ns() - began) / ENGINE_TIME_NS + 1;

		out.rsvd = took < UINT16_MAX ? (uint16_t)took : UINT16_MAX;
	}
	record_write(d, status, &out);
	return status;
}

uint8_t soft_exec(const struct dsa_hw_desc *desc, const struct soft_limits *limits,
		  uint64_t *bytes)
{
	return exec(desc, limits, false, bytes);
}

static uint64_t cost_bytes(const struct dsa_hw_desc *d, const struct soft_limits *limits)
{
	const struct opcode *o = opcode_find(d);

	/* what will be refused moves nothing */
	if (!o || !(o->has & HAS_SIZE) || d->xfer_size > limits->max_xfer)
		return 0;
	return d->xfer_size;
}

uint64_t soft_exec_cost(const struct dsa_hw_desc *desc, const struct soft_limits *limits,
			uint64_t *bytes)
{
	uint32_t bad_flags;
	struct fixup_fault fault;
	struct fetch f;

	*bytes = 0;
	if (desc->opcode != DSA_OPCODE_BATCH) {
		*bytes = cost_bytes(desc, limits);
		return 1;
	}
	if (check(opcode_find(desc), desc, limits, false, &bad_flags) != DSA_COMP_SUCCESS)
		return 1;
	for (uint32_t i = 0; i < desc->desc_count; i++) {
		f.from = pointer(desc->desc_list_addr) + (uint64_t)i * sizeof(f.desc);
		if (fixup_run(do_fetch, &f, &fault))
			return i + 1;
		if (f.desc.opcode != DSA_OPCODE_BATCH)
			*bytes += cost_bytes(&f.desc, limits);
	}
	return desc->desc_count + 1ull;
}

struct copies {
	const struct engine_copy *v;
	uint32_t n;
	bool streams;
	/* survive a fault */
	volatile bool touched_nt;
	volatile uint32_t done;
};

static void do_copies(void *arg)
{
	struct copies *c = arg;

	for (uint32_t i = 0; i < c->n; i++) {
		const struct engine_copy *v = &c->v[i];

		if (v->cached || v->bytes < NT_MIN || !c->streams) {
			memcpy(v->dst, v->src, v->bytes);
		} else {
			c->touched_nt = true;
			copy_nt(v->dst, v->src, v->bytes);
		}
		c->done = i + 1;
	}
}

uint32_t soft_exec_copies(const struct engine_copy *v, uint32_t n)
{
	struct copies c = { .v = v, .n = n, .streams = can_stream() };
	struct fixup_fault fault;

	fixup_run(do_copies, &c, &fault);
	if (c.touched_nt)
		amux_nt_fence();
	return c.done;
}

void soft_exec_abort(const struct dsa_hw_desc *desc, uint8_t status)
{
	struct dsa_completion_record out;

	memset(&out, 0, sizeof(out));
	if (!record_misaligned(desc))
		record_write(desc, status, &out);
}

void soft_execute(const struct dsa_hw_desc *desc)
{
	static const struct soft_limits device = { SOFT_XFER_MAX, SOFT_BATCH_MAX, 0 };
	uint64_t bytes;

	if (fixup_init() == 0)
		soft_exec(desc, &device, &bytes);
	else
		soft_exec_abort(desc, DSA_COMP_HW_ERR1);
}
