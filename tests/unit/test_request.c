// SPDX-License-Identifier: MIT
/*
 * test_request.c - what is refused and why; how requests are cut; what completion records
 * mean.  Data is checked by executing the chunks with the software DSA, in any order, against
 * a model of the same operation on plain arrays.
 */
#include <errno.h>
#include <string.h>

#include "../../broker/fault_fixup.h"
#include "../../broker/request.h"
#include "../../broker/soft.h"
#include "../../client/crc.h"
#include "core_util.h"

#define SIZE   (64u << 10)
#define FILES  3
#define FLIGHT 16 /* chunks in flight in the random tests */

/* Files 0, 1, 2; region 3 aliases file 0 and region 4 is file 1 read-only. */
enum { R0, R1, R2, ALIAS0, RO1, REGIONS };
static const unsigned int file_of[REGIONS] = { 0, 1, 2, 0, 1 };

static struct region *regions[REGIONS];
static uint8_t model[FILES][SIZE];
static uint64_t seed;

static void setup(void)
{
	char err[160];

	seed = 1;
	ck_assert_int_eq(fixup_init(), 0);
	for (unsigned int f = 0; f < FILES; f++) {
		int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);

		for (unsigned int i = 0; i < REGIONS; i++)
			if (file_of[i] == f)
				ck_assert_int_eq(region_map(&regions[i], fd, SIZE, i == RO1,
							    err, sizeof(err)),
						 0);
		close(fd);
		for (unsigned int i = 0; i < SIZE; i++)
			model[f][i] = regions[f]->addr[i] = (uint8_t)rnd(&seed);
	}
}

static void teardown(void)
{
	for (unsigned int i = 0; i < REGIONS; i++)
		region_unmap(regions[i], NULL);
}

/* ------------------------------------------------------------------ validation */

/* Judge @sqe, whose region[] are numbers in regions[] plus 1; 0 and 99 are none. */
static int judge(const struct amux_sqe *sqe, struct request *r, uint16_t *field)
{
	struct region *found[3] = { NULL, NULL, NULL };

	for (unsigned int i = 0; i < 3; i++)
		if ((op_regions(sqe->op) & (1u << i)) && sqe->region[i] - 1 < REGIONS)
			found[i] = regions[sqe->region[i] - 1];
	*field = 77;
	return request_init(r, sqe, found, field);
}

/* A COPY from region 0 to region 1. */
#define COPY(n, ...)                                                                      \
	{                                                                                 \
		.op = AMUX_OP_COPY, .region = { R0 + 1, R1 + 1 }, .len = (n), __VA_ARGS__ \
	}

static const struct {
	struct amux_sqe sqe;
	int ret;
	uint16_t field;
} judged[] = {
	{ { .op = AMUX_OP_NOOP }, 0, AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_COUNT }, -EOPNOTSUPP, AMUX_FIELD_OP },
	{ { .op = AMUX_OP_CANCEL }, -EOPNOTSUPP, AMUX_FIELD_OP }, /* the session's own */
	{ { .op = 255, .flags = 0xffff }, -EOPNOTSUPP, AMUX_FIELD_OP },
	{ { .op = AMUX_OP_NOOP, .flags = 0x10 }, -EINVAL, AMUX_FIELD_FLAGS },
	{ { .op = AMUX_OP_NOOP, .flags = 0x8000 }, -EINVAL, AMUX_FIELD_FLAGS },
	{ { .op = AMUX_OP_NOOP, .flags = AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY },
	  -EINVAL,
	  AMUX_FIELD_FLAGS },
	{ { .op = AMUX_OP_NOOP, .flags = AMUX_SQE_FENCE | AMUX_SQE_CACHE },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_NOOP, .rsvd0 = 1 }, -EINVAL, AMUX_FIELD_RSVD },
	{ { .op = AMUX_OP_NOOP, .rsvd1 = 1 }, -EINVAL, AMUX_FIELD_RSVD },
	{ { .op = AMUX_OP_NOOP, .rsvd2 = 1 }, -EINVAL, AMUX_FIELD_RSVD },
	/* lengths */
	{ { .op = AMUX_OP_NOOP, .len = 1 }, -EINVAL, AMUX_FIELD_LEN },
	{ COPY(4096, .user_data = 1), 0, AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_COPY, .region = { 1, 2 } }, -EINVAL, AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_FILL, .region = { 0, 2 } }, -EINVAL, AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_COMPARE, .region = { 1, 2 } }, -EINVAL, AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_DUALCAST, .region = { 1, 2, 3 } }, -EINVAL, AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_CRC32C, .region = { 1 } }, -EINVAL, AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_COPY_CRC, .region = { 1, 2 } }, -EINVAL, AMUX_FIELD_LEN },
	/* what an op does not use must be zero */
	{ { .op = AMUX_OP_NOOP, .region = { 1 } }, -EINVAL, AMUX_FIELD_REGION0 },
	{ { .op = AMUX_OP_NOOP, .region = { 0, 1 } }, -EINVAL, AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_NOOP, .offset = { 1 } }, -EINVAL, AMUX_FIELD_OFFSET0 },
	{ { .op = AMUX_OP_NOOP, .offset = { 0, 1 } }, -EINVAL, AMUX_FIELD_OFFSET1 },
	{ { .op = AMUX_OP_NOOP, .offset = { 0, 0, 1 } }, -EINVAL, AMUX_FIELD_OFFSET2 },
	{ { .op = AMUX_OP_COPY, .region = { 1, 2, 3 }, .len = 1 },
	  -EINVAL,
	  AMUX_FIELD_REGION2 },
	{ COPY(4096, .offset = { 0, 0, 1 }), -EINVAL, AMUX_FIELD_OFFSET2 },
	{ { .op = AMUX_OP_FILL, .region = { 1, 2 }, .len = 8 }, -EINVAL, AMUX_FIELD_REGION0 },
	{ { .op = AMUX_OP_FILL, .region = { 0, 2 }, .offset = { 8 }, .len = 8 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET0 },
	{ { .op = AMUX_OP_FILL, .region = { 0, 2 }, .offset = { 0, 0, UINT64_MAX }, .len = 8 },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_CRC32C, .region = { 1, 2 }, .len = 8 }, -EINVAL, AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_CRC32C, .region = { 1 }, .offset = { 0, 0, 1ull << 32 }, .len = 8 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET2 },
	{ { .op = AMUX_OP_CRC32C, .region = { 1 }, .offset = { 0, 0, UINT32_MAX }, .len = 8 },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_COPY_CRC,
	    .region = { 1, 2 },
	    .offset = { 0, 0, 1ull << 32 },
	    .len = 8 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET2 },
	/* regions and rights */
	{ { .op = AMUX_OP_COPY, .region = { 0, 2 }, .len = 1 }, -EBADF, AMUX_FIELD_REGION0 },
	{ { .op = AMUX_OP_COPY, .region = { 1, 99 }, .len = 1 }, -EBADF, AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_DUALCAST, .region = { 1, 2, 99 }, .len = 1 },
	  -EBADF,
	  AMUX_FIELD_REGION2 },
	{ { .op = AMUX_OP_COPY, .region = { RO1 + 1, R0 + 1 }, .len = 1 }, 0, AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_COPY, .region = { R0 + 1, RO1 + 1 }, .len = 1 },
	  -EACCES,
	  AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_FILL, .region = { 0, RO1 + 1 }, .len = 1 },
	  -EACCES,
	  AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_COPY_CRC, .region = { R0 + 1, RO1 + 1 }, .len = 1 },
	  -EACCES,
	  AMUX_FIELD_REGION1 },
	{ { .op = AMUX_OP_DUALCAST, .region = { R0 + 1, R2 + 1, RO1 + 1 }, .len = 1 },
	  -EACCES,
	  AMUX_FIELD_REGION2 },
	{ { .op = AMUX_OP_COMPARE, .region = { R0 + 1, RO1 + 1 }, .len = 1 },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_CRC32C, .region = { RO1 + 1 }, .len = 1 }, 0, AMUX_FIELD_NONE },
	/* ranges, and sums that would wrap */
	{ COPY(4096, .offset = { SIZE - 4096, SIZE - 4096 }), 0, AMUX_FIELD_NONE },
	{ COPY(4096, .offset = { SIZE - 4095 }), -ERANGE, AMUX_FIELD_LEN },
	{ COPY(4096, .offset = { 0, SIZE - 4095 }), -ERANGE, AMUX_FIELD_LEN },
	{ COPY(4096, .offset = { SIZE }), -ERANGE, AMUX_FIELD_OFFSET0 },
	{ COPY(4096, .offset = { UINT64_MAX }), -ERANGE, AMUX_FIELD_OFFSET0 },
	{ COPY(4096, .offset = { 0, UINT64_MAX - 4095 }), -ERANGE, AMUX_FIELD_OFFSET1 },
	{ { .op = AMUX_OP_COPY, .region = { 1, 2 }, .offset = { 1, 1 }, .len = UINT64_MAX },
	  -ERANGE,
	  AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_FILL, .region = { 0, 2 }, .offset = { 0, 8 }, .len = UINT64_MAX - 7 },
	  -ERANGE,
	  AMUX_FIELD_LEN },
	{ { .op = AMUX_OP_DUALCAST, .region = { 1, 2, 3 }, .offset = { 0, 0, SIZE }, .len = 1 },
	  -ERANGE,
	  AMUX_FIELD_OFFSET2 },
	/* overlap: only COPY may, also through an alias of the file */
	{ { .op = AMUX_OP_COPY,
	    .region = { R0 + 1, ALIAS0 + 1 },
	    .offset = { 0, 1 },
	    .len = 99 },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_COPY_CRC,
	    .region = { R0 + 1, ALIAS0 + 1 },
	    .offset = { 0, 98 },
	    .len = 99 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET1 },
	{ { .op = AMUX_OP_COPY_CRC,
	    .region = { R0 + 1, ALIAS0 + 1 },
	    .offset = { 0, 99 },
	    .len = 99 },
	  0,
	  AMUX_FIELD_NONE },
	{ { .op = AMUX_OP_DUALCAST, .region = { R0 + 1, ALIAS0 + 1, R2 + 1 }, .len = 99 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET1 },
	{ { .op = AMUX_OP_DUALCAST, .region = { R0 + 1, R2 + 1, ALIAS0 + 1 }, .len = 99 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET2 },
	{ { .op = AMUX_OP_DUALCAST,
	    .region = { R2 + 1, R0 + 1, ALIAS0 + 1 },
	    .offset = { 0, 98, 0 },
	    .len = 99 },
	  -EINVAL,
	  AMUX_FIELD_OFFSET2 },
	{ { .op = AMUX_OP_COMPARE, .region = { R0 + 1, ALIAS0 + 1 }, .len = 99 },
	  0,
	  AMUX_FIELD_NONE },
};

START_TEST(judges)
{
	const struct amux_sqe *sqe = &judged[_i].sqe;
	struct request r;
	uint16_t field;
	int ret = judge(sqe, &r, &field);

	ck_assert_msg(ret == judged[_i].ret && field == judged[_i].field,
		      "case %d: %d, field %u: expected %d, %u", _i, ret, field, judged[_i].ret,
		      judged[_i].field);
	if (ret)
		return;
	ck_assert_uint_eq(r.user_data, sqe->user_data);
	ck_assert(list_empty(&r.link));
	ck_assert(request_ready(&r) && !request_finished(&r));
}
END_TEST

/* A region that is smaller than its file is judged by its own size, and a source beyond what
 * the destination's mapping holds cannot be moved in one address space. */
START_TEST(judges_by_registered_size)
{
	struct region part = *regions[R0], tail = *regions[ALIAS0];
	struct region *found[3] = { &tail, &part, NULL };
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .offset = { 0, 0 }, .len = 101 };
	struct request r;
	uint16_t field;

	part.size = 100;
	ck_assert_int_eq(request_init(&r, &sqe, found, &field), -ERANGE);
	ck_assert_uint_eq(field, AMUX_FIELD_LEN);
	part.size = part.mapped = 8192;
	sqe.offset[0] = 8000;
	sqe.offset[1] = 7000;
	sqe.len = 1192;
	ck_assert_int_eq(request_init(&r, &sqe, found, &field), -EINVAL);
	ck_assert_uint_eq(field, AMUX_FIELD_REGION0);
	sqe.offset[0] = 7000;
	ck_assert_int_eq(request_init(&r, &sqe, found, &field), 0);
}
END_TEST

/* --------------------------------------------------------------------- cutting */

static struct chunk *chunk_new(void)
{
	struct chunk *c = aligned_alloc(64, sizeof(*c));

	ck_assert_ptr_nonnull(c);
	memset(c, 0, sizeof(*c));
	return c;
}

START_TEST(cuts_in_order)
{
	struct request r;
	uint16_t field;
	struct chunk *c = chunk_new();
	uint64_t at = 0;
	struct amux_sqe sqe = COPY(10000, .offset = { 5, 7 });

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	while (request_ready(&r)) {
		request_next(&r, c, 4096);
		ck_assert_uint_eq(c->offset, at);
		ck_assert_uint_eq(c->desc.src_addr, (uintptr_t)regions[R0]->addr + 5 + at);
		ck_assert_uint_eq(c->desc.dst_addr, (uintptr_t)regions[R1]->addr + 7 + at);
		ck_assert_uint_eq(c->desc.xfer_size, at < 8192 ? 4096 : 10000 - 8192);
		ck_assert_uint_eq(c->desc.opcode, DSA_OPCODE_MEMMOVE);
		ck_assert_uint_eq(c->desc.completion_addr, (uintptr_t)&c->rec);
		ck_assert(!(c->desc.flags & IDXD_OP_FLAG_CC));
		at += c->bytes;
	}
	ck_assert_uint_eq(at, 10000);
	ck_assert_uint_eq(r.inflight, 3);
	ck_assert(!request_finished(&r));
	free(c);
}
END_TEST

/* Overlapping: one chunk at a time, in memmove's order, and addressed by one mapping. */
START_TEST(cuts_overlaps)
{
	bool up = _i;
	struct amux_sqe sqe = { .op = AMUX_OP_COPY,
				.region = { R0 + 1, ALIAS0 + 1 },
				.offset = { up ? 0 : 100, up ? 100 : 0 },
				.len = 10000 };
	struct chunk *c = chunk_new();
	struct request r;
	uint64_t done = 0;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	while (!request_finished(&r)) {
		ck_assert(request_ready(&r));
		request_next(&r, c, 4096);
		ck_assert(!request_ready(&r)); /* until this one is done */
		ck_assert_uint_eq(c->offset, up ? 10000 - done - c->bytes : done);
		ck_assert_int_eq((int64_t)(c->desc.dst_addr - c->desc.src_addr),
				 up ? 100 : -100);
		c->rec.status = DSA_COMP_SUCCESS;
		done += c->bytes;
		ck_assert_int_eq(request_chunk_done(&r, c), CHUNK_DONE);
	}
	ck_assert_uint_eq(done, 10000);
	ck_assert_uint_eq(r.done, 10000);
	free(c);
}
END_TEST

START_TEST(cuts_noop)
{
	struct amux_sqe sqe = { .op = AMUX_OP_NOOP, .user_data = 9, .flags = AMUX_SQE_CACHE };
	struct chunk *c = chunk_new();
	struct amux_cqe cqe;
	struct request r;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	request_next(&r, c, 4096);
	ck_assert_uint_eq(c->bytes, 0);
	ck_assert(!(c->desc.flags & IDXD_OP_FLAG_CC));
	ck_assert(!request_ready(&r) && !request_finished(&r));
	soft_execute(&c->desc);
	ck_assert_int_eq(request_chunk_done(&r, c), CHUNK_DONE);
	ck_assert(request_finished(&r) && !request_ready(&r));
	request_answer(&r, &cqe);
	ck_assert(cqe.user_data == 9 && !cqe.status && !cqe.bytes && !cqe.field);
	free(c);
}
END_TEST

/* Whatever the device's limit, a FILL chunk begins with the pattern's first byte. */
START_TEST(cuts_fill_at_pattern)
{
	struct amux_sqe sqe = { .op = AMUX_OP_FILL,
				.region = { 0, R1 + 1 },
				.offset = { 0, 3, 0x0807060504030201 },
				.len = 20003 };
	struct chunk *c = chunk_new();
	struct request r;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	while (request_ready(&r)) {
		request_next(&r, c, 4099);
		ck_assert_uint_eq(c->offset % 8, 0);
		soft_execute(&c->desc);
		ck_assert_int_eq(request_chunk_done(&r, c), CHUNK_DONE);
	}
	ck_assert(request_finished(&r) && !r.status);
	for (unsigned int i = 0; i < 20003; i++)
		ck_assert_uint_eq(regions[R1]->addr[3 + i], i % 8 + 1);
	ck_assert_uint_eq(regions[R1]->addr[2], model[1][2]);
	ck_assert_uint_eq(regions[R1]->addr[20006], model[1][20006]);
	free(c);
}
END_TEST

/* ------------------------------------------------------------ random, with data */

static struct amux_sqe random_sqe(void)
{
	struct amux_sqe sqe = { .op = (uint8_t)(AMUX_OP_COPY + rnd_below(&seed, 6)),
				.user_data = rnd(&seed),
				.flags = (uint16_t)(rnd(&seed) & AMUX_SQE_CACHE) };
	unsigned int uses = op_regions(sqe.op);

	sqe.len = 1 + rnd_below(&seed, rnd(&seed) & 1 ? 300 : SIZE / 2);
	for (unsigned int i = 0; i < 3; i++) {
		if (!(uses & (1u << i)))
			continue;
		sqe.region[i] = 1 + (uint32_t)rnd_below(&seed, RO1);
		sqe.offset[i] = rnd_below(&seed, SIZE - sqe.len + 1);
		if (rnd(&seed) &
		    1) /* near the first: overlaps, equal contents, equal low bits */
			sqe.offset[i] = sqe.offset[0] & ~7ull;
	}
	if (sqe.op == AMUX_OP_FILL)
		sqe.offset[2] = rnd(&seed);
	else if (sqe.op == AMUX_OP_CRC32C || sqe.op == AMUX_OP_COPY_CRC)
		sqe.offset[2] = (uint32_t)rnd(&seed);
	return sqe;
}

/* What the operation is to do, on the model; its result. */
static uint64_t model_run(const struct amux_sqe *sqe)
{
	uint8_t *buf[3] = { NULL, NULL, NULL };
	uint64_t i = 0;

	for (unsigned int k = 0; k < 3; k++)
		if (op_regions(sqe->op) & (1u << k))
			buf[k] = &model[file_of[sqe->region[k] - 1]][sqe->offset[k]];
	switch (sqe->op) {
	case AMUX_OP_COPY:
		memmove(buf[1], buf[0], sqe->len);
		return 0;
	case AMUX_OP_FILL:
		for (; i < sqe->len; i++)
			buf[1][i] = (uint8_t)(sqe->offset[2] >> (i % 8 * 8));
		return 0;
	case AMUX_OP_COMPARE:
		while (i < sqe->len && buf[0][i] == buf[1][i])
			i++;
		return i;
	case AMUX_OP_DUALCAST:
		memcpy(buf[1], buf[0], sqe->len);
		memcpy(buf[2], buf[0], sqe->len);
		return 0;
	case AMUX_OP_COPY_CRC:
		memcpy(buf[1], buf[0], sqe->len);
		return amux_crc32c_table((uint32_t)sqe->offset[2], buf[1], sqe->len);
	default:
		return amux_crc32c_table((uint32_t)sqe->offset[2], buf[0], sqe->len);
	}
}

/* Break off a chunk's execution after @did bytes: done as a shorter descriptor, reported as a
 * page fault whose page is there by now. */
static void execute_partly(struct request *r, struct chunk *c, uint32_t did)
{
	struct dsa_hw_desc d = c->desc;
	bool from_end = d.opcode == DSA_OPCODE_MEMMOVE && r->sequential && r->backward;

	d.xfer_size = did;
	if (from_end) {
		d.src_addr += c->bytes - did;
		d.dst_addr += c->bytes - did;
	}
	c->rec.crc_val = (uint32_t)r->param;
	if (did)
		soft_execute(&d);
	if (did && d.opcode == DSA_OPCODE_COMPARE && c->rec.result)
		return; /* it ended with the mismatch */
	c->rec.bytes_completed = did;
	c->rec.result = from_end;
	c->rec.fault_addr = (uintptr_t)(r->addr[0] ? r->addr[0] : r->addr[1]);
	c->rec.status = DSA_COMP_PAGE_FAULT_NOBOF;
}

/* Run @r, up to FLIGHT chunks in flight, executed and completed in random order. */
static void run_request(struct request *r, bool faults)
{
	struct chunk *flight[FLIGHT];
	unsigned int n = 0;

	while (!request_finished(r)) {
		unsigned int k;
		struct chunk *c;

		while (n < FLIGHT && request_ready(r) && (!n || rnd(&seed) & 3)) {
			flight[n] = chunk_new();
			request_next(r, flight[n++], 4096 * (1 + rnd_below(&seed, 3)));
		}
		ck_assert_uint_gt(n, 0);
		ck_assert_uint_eq(r->inflight, n);
		if (r->sequential)
			ck_assert_uint_eq(n, 1);
		k = (unsigned int)rnd_below(&seed, n);
		c = flight[k];
		if (faults && !(rnd(&seed) & 3))
			execute_partly(r, c,
				       (uint32_t)rnd_below(&seed, c->bytes) &
					       (r->op == AMUX_OP_FILL ? ~7u : ~0u));
		else
			soft_execute(&c->desc);
		if (request_chunk_done(r, c) == CHUNK_RESUME) {
			ck_assert_uint_eq(c->rec.status, 0);
			continue;
		}
		free(c);
		flight[k] = flight[--n];
	}
	ck_assert_uint_eq(n, 0);
}

static void run_random(unsigned int rounds, bool faults)
{
	unsigned int done = 0, seen[AMUX_OP_CANCEL] = { 0 };

	while (done < rounds) {
		struct amux_sqe sqe = random_sqe();
		struct amux_cqe cqe;
		struct request r;
		uint64_t result;
		uint16_t field;

		if (judge(&sqe, &r, &field))
			continue; /* overlaps where it must not: tested above */
		run_request(&r, faults);
		request_answer(&r, &cqe);
		result = model_run(&sqe);
		ck_assert_msg(!cqe.status, "op %u: %d", sqe.op, cqe.status);
		ck_assert_uint_eq(cqe.user_data, sqe.user_data);
		ck_assert_msg(cqe.result == result,
			      "op %u len %llu: result %llx, expected %llx", sqe.op,
			      (unsigned long long)sqe.len, (unsigned long long)cqe.result,
			      (unsigned long long)result);
		ck_assert_uint_eq(cqe.bytes, sqe.len);
		for (unsigned int f = 0; f < FILES; f++)
			ck_assert_msg(!memcmp(model[f], regions[f]->addr, SIZE),
				      "file %u differs after op %u", f, sqe.op);
		seen[sqe.op]++;
		done++;
	}
	for (unsigned int op = AMUX_OP_COPY; op < AMUX_OP_CANCEL; op++)
		ck_assert_uint_gt(seen[op], rounds / 20);
}

START_TEST(random_requests)
{
	run_random(3000, false);
}
END_TEST

START_TEST(random_faults)
{
	run_random(3000, true);
}
END_TEST

/* -------------------------------------------------------------------- verdicts */

/* A request of four chunks of 4 KiB, all in flight. */
static void four(struct request *r, uint8_t op, struct chunk **c)
{
	struct amux_sqe sqe = { .op = op, .region = { R0 + 1, R1 + 1 }, .len = 16384 };
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, r, &field), 0);
	for (unsigned int i = 0; i < 4; i++) {
		c[i] = chunk_new();
		request_next(r, c[i], 4096);
	}
	ck_assert(!request_ready(r));
}

static enum chunk_verdict complete(struct request *r, struct chunk *c, uint8_t status,
				   uint8_t result, uint32_t did)
{
	c->rec.bytes_completed = did;
	c->rec.result = result;
	c->rec.fault_addr = (uintptr_t)r->addr[1];
	c->rec.status = status;
	return request_chunk_done(r, c);
}

START_TEST(errors)
{
	static const struct {
		uint8_t status;
		int error;
	} map[] = {
		{ DSA_COMP_HW_ERR1, -EIO },
		{ DSA_COMP_BAD_OPCODE, -EOPNOTSUPP },
		{ DSA_COMP_INVALID_FLAGS, -EINVAL },
		{ DSA_COMP_XFER_ERANGE, -ERANGE },
		{ DSA_COMP_OVERLAP_BUFFERS, -EINVAL },
		{ DSA_COMP_PAGE_FAULT_IR, -EFAULT },
		{ 0x7f, -EIO }, /* one that nobody knows yet */
	};
	struct chunk *c[4];
	struct amux_cqe cqe;
	struct request r;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		four(&r, AMUX_OP_COPY, c);
		ck_assert_int_eq(complete(&r, c[1], DSA_COMP_SUCCESS, 0, 0), CHUNK_DONE);
		ck_assert_int_eq(complete(&r, c[2], map[i].status, 0, 0), CHUNK_DONE);
		ck_assert(!request_finished(&r)); /* two are in flight still */
		ck_assert_int_eq(complete(&r, c[0], DSA_COMP_SUCCESS, 0, 0), CHUNK_DONE);
		/* a second error does not replace the first */
		ck_assert_int_eq(complete(&r, c[3], DSA_COMP_DCAST_ERR, 0, 0), CHUNK_DONE);
		ck_assert(request_finished(&r) && !request_ready(&r));
		request_answer(&r, &cqe);
		ck_assert_int_eq(cqe.status, map[i].error);
		ck_assert_uint_eq(cqe.bytes, 8192);
		for (unsigned int k = 0; k < 4; k++)
			free(c[k]);
	}
	ck_assert_int_eq(status_to_errno(DSA_COMP_SUCCESS), 0);
	ck_assert_int_eq(status_to_errno(DSA_COMP_SUCCESS_PRED), 0);
	ck_assert_int_eq(status_to_errno(DSA_COMP_SUCCESS | DSA_COMP_STATUS_WRITE), 0);
}
END_TEST

/* An error stops a request of which not everything was issued. */
START_TEST(error_stops)
{
	struct chunk *c = chunk_new();
	struct amux_sqe sqe = COPY(16384, .user_data = 3);
	struct request r;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	request_next(&r, c, 4096);
	ck_assert(request_ready(&r));
	ck_assert_int_eq(complete(&r, c, DSA_COMP_HW_ERR1, 0, 0), CHUNK_DONE);
	ck_assert(!request_ready(&r) && request_finished(&r));
	free(c);
}
END_TEST

/* The lowest mismatch wins, whatever completes first; what lies below it is still compared,
 * also through a page fault. */
START_TEST(compare_lowest)
{
	struct chunk *c[4];
	struct amux_cqe cqe;
	struct request r;

	four(&r, AMUX_OP_COMPARE, c);
	ck_assert_int_eq(complete(&r, c[3], DSA_COMP_SUCCESS, 1, 10), CHUNK_DONE);
	ck_assert_int_eq(complete(&r, c[1], DSA_COMP_PAGE_FAULT_NOBOF, 0, 100), CHUNK_RESUME);
	ck_assert_uint_eq(c[1]->offset, 4196);
	ck_assert_int_eq(complete(&r, c[2], DSA_COMP_SUCCESS, 1, 20), CHUNK_DONE);
	ck_assert_int_eq(complete(&r, c[1], DSA_COMP_SUCCESS, 1, 7), CHUNK_DONE);
	ck_assert(!request_finished(&r));
	ck_assert_int_eq(complete(&r, c[0], DSA_COMP_SUCCESS, 0, 0), CHUNK_DONE);
	ck_assert(request_finished(&r));
	request_answer(&r, &cqe);
	ck_assert_int_eq(cqe.status, 0);
	ck_assert_uint_eq(cqe.result, 4196 + 7);
	ck_assert_uint_eq(cqe.bytes, 4 * 4096);
	for (unsigned int k = 0; k < 4; k++)
		free(c[k]);
}
END_TEST

/* A page that faults again and again although it is there is given up, but only then. */
START_TEST(gives_up)
{
	struct amux_sqe sqe = COPY(4096, .user_data = 3);
	struct chunk *c = chunk_new();
	unsigned int resumes = 0;
	struct amux_cqe cqe;
	struct request r;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	request_next(&r, c, 4096);
	/* progress, however small, starts the count anew */
	for (unsigned int i = 0; i < 40; i++)
		ck_assert_int_eq(complete(&r, c, DSA_COMP_PAGE_FAULT_NOBOF, 0, i % 2),
				 CHUNK_RESUME);
	ck_assert_uint_eq(c->bytes, 4096 - 20);
	ck_assert_uint_eq(c->desc.xfer_size, 4096 - 20);
	ck_assert_uint_eq(c->desc.dst_addr, (uintptr_t)regions[R1]->addr + 20);
	while (complete(&r, c, DSA_COMP_PAGE_FAULT_NOBOF, 0, 0) == CHUNK_RESUME)
		ck_assert_uint_lt(++resumes, 100);
	ck_assert_uint_gt(resumes, 2);
	ck_assert(request_finished(&r));
	request_answer(&r, &cqe);
	ck_assert_int_eq(cqe.status, -EFAULT);
	ck_assert_uint_eq(cqe.field, AMUX_FIELD_REGION1);
	ck_assert_uint_eq(cqe.bytes, 20);
	free(c);
}
END_TEST

/* A record that claims more than was asked for is not believed. */
START_TEST(claims_too_much)
{
	struct amux_sqe sqe = COPY(4096, .user_data = 3);
	struct chunk *c = chunk_new();
	struct amux_cqe cqe;
	struct request r;
	uint16_t field;

	ck_assert_int_eq(judge(&sqe, &r, &field), 0);
	request_next(&r, c, 4096);
	ck_assert_int_eq(complete(&r, c, DSA_COMP_PAGE_FAULT_NOBOF, 0, UINT32_MAX), CHUNK_DONE);
	request_answer(&r, &cqe);
	ck_assert_uint_eq(cqe.bytes, 4096);
	ck_assert(request_finished(&r));
	free(c);
}
END_TEST

/* Memory that is not there and cannot be brought in: -EFAULT, the field, and what was done. */
START_TEST(memory_is_gone)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct region lost = *regions[R1];
	struct region *found[3] = { regions[R0], &lost, NULL };
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .len = 3 * 4096 };
	struct amux_cqe cqe;
	struct request r;
	uint16_t field;

	ck_assert_int_eq(ftruncate(fd, 2 * 4096), 0);
	lost.addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(lost.addr, MAP_FAILED);
	lost.ino = 0;
	ck_assert_int_eq(request_init(&r, &sqe, found, &field), 0);
	run_request(&r, false);
	request_answer(&r, &cqe);
	ck_assert_int_eq(cqe.status, -EFAULT);
	ck_assert_uint_eq(cqe.field, AMUX_FIELD_REGION1);
	ck_assert_uint_le(cqe.bytes, 2 * 4096);
	munmap(lost.addr, SIZE);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("request");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, judges, 0, (int)(sizeof(judged) / sizeof(judged[0])));
	tcase_add_test(t, judges_by_registered_size);
	tcase_add_test(t, cuts_in_order);
	tcase_add_loop_test(t, cuts_overlaps, 0, 2);
	tcase_add_test(t, cuts_noop);
	tcase_add_test(t, cuts_fill_at_pattern);
	tcase_add_test(t, random_requests);
	tcase_add_test(t, random_faults);
	tcase_add_test(t, errors);
	tcase_add_test(t, error_stops);
	tcase_add_test(t, compare_lowest);
	tcase_add_test(t, gives_up);
	tcase_add_test(t, claims_too_much);
	tcase_add_test(t, memory_is_gone);
	return run_case(t, "request", 30);
}
