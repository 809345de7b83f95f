// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "fault_fixup.h"
#include "request.h"

/* A page that faults this often although touching it works is given up. */
#define FAULTS_WITHOUT_PROGRESS 8

/* What each op uses of an SQE. */
struct op_use {
	uint8_t regions, writes; /* bits of region[] */
	bool param;		 /* offset[2] is a pattern or a seed */
};

static const struct op_use op_use[AMUX_OP_COUNT] = {
	[AMUX_OP_COPY] = { 3, 2, false },    [AMUX_OP_FILL] = { 2, 2, true },
	[AMUX_OP_COMPARE] = { 3, 0, false }, [AMUX_OP_DUALCAST] = { 7, 6, false },
	[AMUX_OP_CRC32C] = { 1, 0, true },   [AMUX_OP_COPY_CRC] = { 3, 2, true },
};

unsigned int op_regions(uint8_t op)
{
	return op < AMUX_OP_COUNT ? op_use[op].regions : 0;
}

static unsigned int op_writes(uint8_t op)
{
	return op_use[op].writes;
}

static bool op_uses_param(uint8_t op)
{
	return op_use[op].param;
}

static int sqe_check_fields(const struct amux_sqe *s, uint16_t *field)
{
	unsigned int uses = op_regions(s->op);

	*field = AMUX_FIELD_OP;
	if (s->op >= AMUX_OP_CANCEL) /* a CANCEL is the session's own: it becomes no request */
		return -EOPNOTSUPP;
	*field = AMUX_FIELD_FLAGS;
	if ((s->flags & ~AMUX_SQE_FLAGS) ||
	    (s->flags & (AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY)) ==
		    (AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY))
		return -EINVAL;
	*field = AMUX_FIELD_RSVD;
	if (s->rsvd0 || s->rsvd1 || s->rsvd2)
		return -EINVAL;
	for (unsigned int i = 0; i < 3; i++) {
		if (uses & (1u << i))
			continue;
		*field = (uint16_t)(AMUX_FIELD_REGION0 + i);
		if (s->region[i])
			return -EINVAL;
		*field = (uint16_t)(AMUX_FIELD_OFFSET0 + i);
		if (s->offset[i] && !(i == 2 && op_uses_param(s->op)))
			return -EINVAL;
	}
	*field = AMUX_FIELD_OFFSET2;
	if ((s->op == AMUX_OP_CRC32C || s->op == AMUX_OP_COPY_CRC) && s->offset[2] > UINT32_MAX)
		return -EINVAL;
	*field = AMUX_FIELD_LEN;
	if (s->op == AMUX_OP_NOOP ? s->len != 0 : s->len == 0)
		return -EINVAL;
	*field = AMUX_FIELD_NONE;
	return 0;
}

/* Do ranges i and j of @s touch a common byte of one file? */
static bool sqe_overlaps(const struct amux_sqe *s, struct region *const *region, unsigned int i,
			 unsigned int j)
{
	uint64_t a = s->offset[i], b = s->offset[j];

	if (region[i]->ino != region[j]->ino || region[i]->dev != region[j]->dev)
		return false;
	return a < b ? b - a < s->len : a - b < s->len;
}

int request_init(struct request *r, const struct amux_sqe *sqe, struct region *const *region,
		 uint16_t *field)
{
	unsigned int uses = op_regions(sqe->op), writes;
	int ret = sqe_check_fields(sqe, field);

	if (ret)
		return ret;
	writes = op_writes(sqe->op);
	for (unsigned int i = 0; i < 3; i++) {
		if (!(uses & (1u << i)))
			continue;
		*field = (uint16_t)(AMUX_FIELD_REGION0 + i);
		if (!region[i])
			return -EBADF;
		if ((writes & (1u << i)) && region[i]->readonly)
			return -EACCES;
		*field = (uint16_t)(AMUX_FIELD_OFFSET0 + i);
		if (sqe->offset[i] >= region[i]->size)
			return -ERANGE;
		*field = AMUX_FIELD_LEN;
		if (sqe->len > region[i]->size - sqe->offset[i]) /* cannot wrap: no sum */
			return -ERANGE;
	}

	list_init(&r->link);
	r->flow = NULL;
	r->user_data = sqe->user_data;
	for (unsigned int i = 0; i < 3; i++) {
		bool used = uses & (1u << i);

		r->region[i] = used ? region[i] : NULL;
		r->addr[i] = used ? region[i]->addr + sqe->offset[i] : NULL;
	}
	r->param = op_uses_param(sqe->op) ? sqe->offset[2] : 0;
	r->len = sqe->len;
	r->issued = r->done = r->result = 0;
	r->arrived_ns = r->issued_ns = r->ahead = 0;
	r->inflight = 0;
	r->status = 0;
	r->field = 0;
	r->flags = sqe->flags;
	r->op = sqe->op;
	r->sequential = r->backward = r->split_dual = r->stop = false;

	switch (r->op) {
	case AMUX_OP_COPY:
		if (!sqe_overlaps(sqe, region, 0, 1))
			break;
		/*
		 * Both ranges by the destination's mapping: through two mappings of one file
		 * memmove could not see within a chunk which way it must go.
		 */
		*field = AMUX_FIELD_REGION0;
		if (region[1]->mapped < sqe->offset[0] ||
		    region[1]->mapped - sqe->offset[0] < sqe->len)
			return -EINVAL;
		r->addr[0] = region[1]->addr + sqe->offset[0];
		r->sequential = true;
		r->backward = sqe->offset[1] > sqe->offset[0];
		break;
	case AMUX_OP_DUALCAST:
		*field = AMUX_FIELD_OFFSET2;
		if (sqe_overlaps(sqe, region, 0, 2) || sqe_overlaps(sqe, region, 1, 2))
			return -EINVAL;
		*field = AMUX_FIELD_OFFSET1;
		if (sqe_overlaps(sqe, region, 0, 1))
			return -EINVAL;
		if (((uintptr_t)r->addr[1] ^ (uintptr_t)r->addr[2]) & 0xfff) {
			*field = AMUX_FIELD_LEN;
			if (r->len > UINT64_MAX / 2)
				return -ERANGE;
			r->split_dual = true;
			r->len *= 2;
		}
		break;
	case AMUX_OP_COPY_CRC:
		*field = AMUX_FIELD_OFFSET1;
		if (sqe_overlaps(sqe, region, 0, 1))
			return -EINVAL;
		r->sequential = true;
		break;
	case AMUX_OP_CRC32C:
		r->sequential = true;
		break;
	case AMUX_OP_COMPARE:
		r->result = r->len;
		break;
	default:
		break;
	}
	*field = AMUX_FIELD_NONE;
	return 0;
}

/* (Re)write the descriptor for c->offset, c->bytes. */
static void chunk_describe(struct request *r, struct chunk *c)
{
	struct dsa_hw_desc *d = &c->desc;
	uint64_t off = c->offset;

	memset(d, 0, sizeof(*d));
	memset(&c->rec, 0, sizeof(c->rec));
	d->flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR;
	if (r->flags & AMUX_SQE_CACHE)
		d->flags |= IDXD_OP_FLAG_CC;
	d->completion_addr = (uintptr_t)&c->rec;
	d->xfer_size = c->bytes;
	switch (r->op) {
	case AMUX_OP_NOOP:
		d->opcode = DSA_OPCODE_NOOP;
		d->flags &= ~(uint32_t)IDXD_OP_FLAG_CC & 0xffffff;
		break;
	case AMUX_OP_COPY:
		d->opcode = DSA_OPCODE_MEMMOVE;
		d->src_addr = (uintptr_t)(r->addr[0] + off);
		d->dst_addr = (uintptr_t)(r->addr[1] + off);
		break;
	case AMUX_OP_FILL:
		/* off is a multiple of 8, so the pattern keeps its phase */
		d->opcode = DSA_OPCODE_MEMFILL;
		d->pattern = r->param;
		d->dst_addr = (uintptr_t)(r->addr[1] + off);
		break;
	case AMUX_OP_COMPARE:
		d->opcode = DSA_OPCODE_COMPARE;
		d->flags &= ~(uint32_t)IDXD_OP_FLAG_CC & 0xffffff;
		d->src_addr = (uintptr_t)(r->addr[0] + off);
		d->src2_addr = (uintptr_t)(r->addr[1] + off);
		break;
	case AMUX_OP_DUALCAST:
		if (r->split_dual) {
			unsigned int which = off < r->len / 2 ? 1 : 2;

			off -= which == 2 ? r->len / 2 : 0;
			d->opcode = DSA_OPCODE_MEMMOVE;
			d->src_addr = (uintptr_t)(r->addr[0] + off);
			d->dst_addr = (uintptr_t)(r->addr[which] + off);
			break;
		}
		d->opcode = DSA_OPCODE_DUALCAST;
		d->src_addr = (uintptr_t)(r->addr[0] + off);
		d->dst_addr = (uintptr_t)(r->addr[1] + off);
		d->dest2 = (uintptr_t)(r->addr[2] + off);
		break;
	case AMUX_OP_CRC32C:
		d->opcode = DSA_OPCODE_CRCGEN;
		d->flags &= ~(uint32_t)IDXD_OP_FLAG_CC & 0xffffff;
		d->src_addr = (uintptr_t)(r->addr[0] + off);
		d->crc_seed = (uint32_t)r->param;
		break;
	case AMUX_OP_COPY_CRC:
		d->opcode = DSA_OPCODE_COPY_CRC;
		d->src_addr = (uintptr_t)(r->addr[0] + off);
		d->dst_addr = (uintptr_t)(r->addr[1] + off);
		d->crc_seed = (uint32_t)r->param;
		break;
	}
}

void request_next(struct request *r, struct chunk *c, uint64_t max)
{
	uint64_t left = r->len - r->issued, n = left < max ? left : max;

	if (r->op == AMUX_OP_FILL && n < left)
		n &= ~7ull; /* the next one begins with the pattern's first byte */
	c->req = r;
	c->faults = 0;
	if (r->op == AMUX_OP_NOOP) {
		n = 0;
		r->issued = 1;
	}
	if (r->split_dual && r->issued < r->len / 2 && n > r->len / 2 - r->issued)
		n = r->len / 2 - r->issued; /* a descriptor stays within one destination */
	c->offset = r->backward ? left - n : (r->op == AMUX_OP_NOOP ? 0 : r->issued);
	c->bytes = (uint32_t)n;
	r->issued += n;
	r->inflight++;
	chunk_describe(r, c);
}

int status_to_errno(uint8_t status)
{
	switch (status & DSA_COMP_STATUS_MASK) {
	case DSA_COMP_SUCCESS:
	case DSA_COMP_SUCCESS_PRED:
		return 0;
	case DSA_COMP_PAGE_FAULT_NOBOF:
	case DSA_COMP_PAGE_FAULT_IR:
	case DSA_COMP_BATCH_PAGE_FAULT:
	case DSA_COMP_PFAULT_RDBA:
	case DSA_COMP_CRA_XLAT:
	case DSA_COMP_TRANSLATION_FAIL:
		return -EFAULT;
	case DSA_COMP_BAD_OPCODE:
		return -EOPNOTSUPP;
	case DSA_COMP_XFER_ERANGE:
	case DSA_COMP_DESC_CNT_ERANGE:
		return -ERANGE;
	case DSA_COMP_INVALID_FLAGS:
	case DSA_COMP_NOZERO_RESERVE:
	case DSA_COMP_OVERLAP_BUFFERS:
	case DSA_COMP_DCAST_ERR:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* Which of the request's regions a faulting address lies in, as the CQE's field. */
static uint16_t fault_field(const struct request *r, uint64_t addr)
{
	for (unsigned int i = 0; i < 3; i++) {
		const struct region *g = r->region[i];

		if (g && addr - (uintptr_t)g->addr < g->mapped)
			return (uint16_t)(AMUX_FIELD_REGION0 + i);
	}
	return AMUX_FIELD_NONE;
}

static bool fault_is_write(const struct request *r, uint64_t addr)
{
	for (unsigned int i = 0; i < 3; i++) {
		const struct region *g = r->region[i];

		if ((op_writes(r->op) & (1u << i)) && addr - (uintptr_t)g->addr < g->mapped)
			return true;
	}
	return false;
}

/* What follows the page that was not there will not be there either: one fault for all of it. */
static void chunk_populate(const struct request *r, const struct chunk *c, uint64_t addr,
			   bool from_end)
{
	uint16_t field = fault_field(r, addr);

	if (field == AMUX_FIELD_NONE)
		return;
	if (from_end) /* it goes on downwards */
		addr -= c->bytes < addr ? c->bytes : addr;
	region_populate(r->region[field - AMUX_FIELD_REGION0], addr, c->bytes,
			fault_is_write(r, c->rec.fault_addr));
}

/* A page was not there: bring it in and go on behind what is done, or give up. */
static enum chunk_verdict chunk_fault(struct request *r, struct chunk *c)
{
	uint32_t did = c->rec.bytes_completed;
	bool from_end = c->rec.result == 1; /* an overlapping move ran backwards */

	if (did > c->bytes)
		did = c->bytes;
	r->done += did;
	c->bytes -= did;
	if (!from_end)
		c->offset += did;
	if (r->op == AMUX_OP_CRC32C || r->op == AMUX_OP_COPY_CRC)
		r->param = (uint32_t)c->rec.crc_val;
	c->faults = did ? 0 : (uint16_t)(c->faults + 1);
	/* A mismatch above stops a COMPARE, too, but what lies below it must still be compared.
	 */
	if (c->bytes && !r->status && c->faults < FAULTS_WITHOUT_PROGRESS &&
	    fixup_touch((void *)(uintptr_t)c->rec.fault_addr,
			fault_is_write(r, c->rec.fault_addr)) == 0) {
		chunk_populate(r, c, c->rec.fault_addr, from_end);
		chunk_describe(r, c);
		return CHUNK_RESUME;
	}
	if (!r->status) {
		r->status = -EFAULT;
		r->field = fault_field(r, c->rec.fault_addr);
	}
	r->stop = true;
	r->inflight--;
	return CHUNK_DONE;
}

enum chunk_verdict request_chunk_done(struct request *r, struct chunk *c)
{
	uint8_t status = record_status(&c->rec) & DSA_COMP_STATUS_MASK;
	int ret;

	if (status == DSA_COMP_PAGE_FAULT_NOBOF)
		return chunk_fault(r, c);
	r->inflight--;
	ret = status_to_errno(status);
	if (ret) {
		if (!r->status)
			r->status = ret;
		r->stop = true;
		return CHUNK_DONE;
	}
	switch (r->op) {
	case AMUX_OP_COMPARE:
		if (c->rec.result) {
			uint64_t at = c->offset + c->rec.bytes_completed;

			if (at < r->result)
				r->result = at;
			r->stop = true; /* everything below is already in flight */
		}
		break;
	case AMUX_OP_CRC32C:
	case AMUX_OP_COPY_CRC:
		r->param = (uint32_t)c->rec.crc_val;
		break;
	default:
		break;
	}
	r->done += c->bytes;
	return CHUNK_DONE;
}

void request_answer(const struct request *r, struct amux_cqe *cqe)
{
	memset(cqe, 0, sizeof(*cqe));
	cqe->user_data = r->user_data;
	cqe->status = r->status;
	cqe->field = r->field;
	cqe->bytes = r->split_dual ? r->done / 2 : r->done;
	if (r->op == AMUX_OP_COMPARE) {
		cqe->result = r->result;
		if (!r->status)
			cqe->bytes = r->len; /* also where a mismatch made the rest needless */
	} else if (r->op == AMUX_OP_CRC32C || r->op == AMUX_OP_COPY_CRC) {
		cqe->result = (uint32_t)r->param;
	}
}
