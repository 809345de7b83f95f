/* SPDX-License-Identifier: MIT */
/*
 * test_soft.c - the software DSA: operations against plain C, every error status, partial
 * completion, queues, arbitration, the modelled rate, engine threads.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../broker/clock.h"
#include "../../client/crc.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/soft.h"
#include "../../broker/soft_exec.h"

#define PAGE  4096u
#define ARENA (3u << 20)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif

static _Alignas(32) struct dsa_completion_record rec;

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

static void randomise(uint8_t *p, size_t n)
{
	while (n--)
		*p++ = (uint8_t)rnd();
}

static struct dsa_hw_desc describe(unsigned int opcode, const void *src, const void *dst,
				   size_t size)
{
	struct dsa_hw_desc d;

	memset(&d, 0, sizeof(d));
	d.opcode = opcode & 0xff;
	d.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR;
	d.completion_addr = (uintptr_t)&rec;
	d.src_addr = (uintptr_t)src;
	d.dst_addr = (uintptr_t)dst;
	d.xfer_size = (uint32_t)size;
	return d;
}

static uint8_t run(const struct dsa_hw_desc *d)
{
	memset(&rec, 0, sizeof(rec));
	soft_execute(d);
	return record_status(&rec);
}

static uint8_t *mem, *want;

static void arena(void)
{
	mem = malloc(ARENA);
	want = malloc(ARENA);
	ck_assert(mem && want);
	randomise(mem, ARENA);
	memcpy(want, mem, ARENA);
}

static void arena_free(void)
{
	free(mem);
	free(want);
}

static uint32_t random_size(void)
{
	return 1 + rnd() % (1u << (rnd() % 21));
}

/* ---------------------------------------------------------------- operations */

START_TEST(test_noop)
{
	struct dsa_hw_desc d = describe(DSA_OPCODE_NOOP, NULL, NULL, 0);

	ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
	d.opcode = DSA_OPCODE_DRAIN;
	ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
}
END_TEST

START_TEST(test_memmove)
{
	for (int i = 0; i < 120; i++) {
		uint32_t n = i < 4 ? (1u << 20) - (uint32_t)i : random_size();
		uint32_t from = rnd() % (ARENA - n), to = rnd() % (ARENA - n);
		struct dsa_hw_desc d;

		/* every third overlaps, in both directions */
		if (i % 3 == 0) {
			to = from + rnd() % n;
			to = to + n > ARENA ? ARENA - n : to;
		} else if (i % 3 == 1) {
			to = from - (from < n ? rnd() % (from + 1) : rnd() % n);
		}
		d = describe(DSA_OPCODE_MEMMOVE, mem + from, mem + to, n);
		if (i & 1)
			d.flags |= IDXD_OP_FLAG_CC;
		memmove(want + to, want + from, n);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.bytes_completed, n);
		ck_assert_uint_eq(rec.result, 0);
		ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	}
}
END_TEST

START_TEST(test_memfill)
{
	for (int i = 0; i < 60; i++) {
		uint32_t n = random_size(), to = rnd() % (ARENA - n);
		uint64_t pattern = (uint64_t)rnd() << 32 | rnd();
		struct dsa_hw_desc d = describe(DSA_OPCODE_MEMFILL, NULL, mem + to, n);

		d.pattern = pattern;
		for (uint32_t k = 0; k < n; k++)
			want[to + k] = (uint8_t)(pattern >> k % 8 * 8);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	}
}
END_TEST

START_TEST(test_compare)
{
	uint8_t *a = mem, *b = mem + ARENA / 2;

	for (int i = 0; i < 80; i++) {
		uint32_t n = random_size(), oa = rnd() % 64, ob = rnd() % 64;
		uint32_t at = rnd() % n, later = at + rnd() % (n - at);
		struct dsa_hw_desc d = describe(DSA_OPCODE_COMPARE, a + oa, b + ob, n);

		memcpy(b + ob, a + oa, n);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.result, 0);
		ck_assert_uint_eq(rec.bytes_completed, n);
		b[ob + at] ^= 0x40;
		if (later != at)
			b[ob + later] ^= 1;
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.result, 1);
		ck_assert_uint_eq(rec.bytes_completed, at);
		d.flags |= IDXD_OP_FLAG_CR;
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS_PRED);
		d.expected_res = 1;
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
	}
}
END_TEST

START_TEST(test_compval)
{
	for (int i = 0; i < 80; i++) {
		uint32_t n = random_size(), o = rnd() % 64, at = rnd() % n;
		uint64_t pattern = (uint64_t)rnd() << 32 | rnd();
		struct dsa_hw_desc d = describe(DSA_OPCODE_COMPVAL, mem + o, NULL, n);

		d.comp_pattern = pattern;
		for (uint32_t k = 0; k < n; k++)
			mem[o + k] = (uint8_t)(pattern >> k % 8 * 8);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.result, 0);
		mem[o + at] ^= 0x80;
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.result, 1);
		ck_assert_uint_eq(rec.bytes_completed, at);
	}
}
END_TEST

START_TEST(test_dualcast)
{
	for (int i = 0; i < 60; i++) {
		uint32_t n = random_size() / 2 + 1, from = rnd() % 4096;
		uint32_t to = (1u << 20) + rnd() % 4096, to2 = to + (1u << 20);
		struct dsa_hw_desc d = describe(DSA_OPCODE_DUALCAST, mem + from, mem + to, n);

		d.dest2 = (uintptr_t)(mem + to2);
		memmove(want + to, want + from, n);
		memmove(want + to2, want + from, n);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	}
}
END_TEST

START_TEST(test_crc_ops)
{
	for (int i = 0; i < 80; i++) {
		uint32_t n = random_size(), from = rnd() % 4096, seed = i ? rnd() : 0;
		uint32_t to = (3u << 19) + rnd() % 4096;
		struct dsa_hw_desc d = describe(DSA_OPCODE_CRCGEN, mem + from, NULL, n);
		uint32_t crc = amux_crc32c_table(seed, mem + from, n);

		d.crc_seed = seed;
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.crc_val, crc);
		d.opcode = DSA_OPCODE_COPY_CRC;
		d.dst_addr = (uintptr_t)(mem + to);
		memcpy(want + to, want + from, n);
		ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
		ck_assert_uint_eq(rec.crc_val, crc);
		ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	}
}
END_TEST

START_TEST(test_cflush)
{
	struct dsa_hw_desc d = describe(DSA_OPCODE_CFLUSH, NULL, mem, 4096);

	ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
	ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
}
END_TEST

/* -------------------------------------------------------------------- errors */

static void expect(struct dsa_hw_desc d, uint8_t status)
{
	ck_assert_uint_eq(run(&d), status);
	ck_assert_uint_eq(rec.bytes_completed, 0);
	ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
}

START_TEST(test_errors)
{
	struct dsa_hw_desc good = describe(DSA_OPCODE_MEMMOVE, mem, mem + 8192, 4096), d;
	struct soft_limits limits = { 4096, 32, 0 };
	uint64_t bytes;

	d = good, d.opcode = 0x0a;
	expect(d, DSA_COMP_BAD_OPCODE);
	d = good, d.opcode = 0xff;
	expect(d, DSA_COMP_BAD_OPCODE);
	d = good, d.flags |= IDXD_OP_FLAG_FENCE;
	expect(d, DSA_COMP_INVALID_FLAGS);
	ck_assert_uint_eq(rec.invalid_flags, IDXD_OP_FLAG_FENCE);
	d = good, d.flags |= IDXD_OP_FLAG_BOF;
	expect(d, DSA_COMP_INVALID_FLAGS);
	d = good, d.flags |= 0x10000;
	expect(d, DSA_COMP_INVALID_FLAGS);
	ck_assert_uint_eq(rec.invalid_flags, 0x10000);
	d = describe(DSA_OPCODE_NOOP, NULL, NULL, 0), d.flags |= IDXD_OP_FLAG_CC;
	expect(d, DSA_COMP_INVALID_FLAGS);
	d = good, d.rsvd = 1;
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = good, d.rsvd1 = 1;
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = good, d.int_handle = 3;
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = good, d.op_specific[23] = 1;
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = describe(DSA_OPCODE_CRCGEN, mem, mem + 8192, 4096);
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = describe(DSA_OPCODE_NOOP, NULL, NULL, 1);
	expect(d, DSA_COMP_NOZERO_RESERVE);
	d = good, d.xfer_size = 0;
	expect(d, DSA_COMP_XFER_ERANGE);
	d = good, d.xfer_size = (1u << 31) + 1;
	expect(d, DSA_COMP_XFER_ERANGE);
	d = good, d.opcode = DSA_OPCODE_COPY_CRC, d.dst_addr = d.src_addr + 4095;
	expect(d, DSA_COMP_OVERLAP_BUFFERS);
	d = good, d.opcode = DSA_OPCODE_DUALCAST, d.dest2 = d.dst_addr + 4096 + 8;
	expect(d, DSA_COMP_DCAST_ERR);
	d.xfer_size = 8192, d.dest2 = d.dst_addr + 4096;
	expect(d, DSA_COMP_OVERLAP_BUFFERS);
	d = good, d.opcode = DSA_OPCODE_DUALCAST, d.dest2 = d.dst_addr + 4096,
	d.src_addr = d.dst_addr + 1;
	expect(d, DSA_COMP_OVERLAP_BUFFERS);

	/* a record where none can be written: only the caller hears */
	memset(&rec, 0, sizeof(rec));
	ck_assert_int_eq(fixup_init(), 0);
	d = good, d.completion_addr += 8;
	ck_assert_uint_eq(soft_exec(&d, &limits, &bytes), DSA_COMP_CRA_ALIGN);
	d = good, d.flags = IDXD_OP_FLAG_RCR;
	ck_assert_uint_eq(soft_exec(&d, &limits, &bytes), DSA_COMP_INVALID_FLAGS);
	ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	/* the device's own limit */
	d = good, d.xfer_size = 4097;
	ck_assert_uint_eq(soft_exec(&d, &limits, &bytes), DSA_COMP_XFER_ERANGE);
	ck_assert_uint_eq(bytes, 0);
	memset(&rec, 0, sizeof(rec));
	/* no record wanted unless it fails */
	d = good, d.flags = IDXD_OP_FLAG_CRAV;
	ck_assert_uint_eq(soft_exec(&d, &limits, &bytes), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(record_status(&rec), DSA_COMP_NONE);
	d.xfer_size = 0;
	ck_assert_uint_eq(soft_exec(&d, &limits, &bytes), DSA_COMP_XFER_ERANGE);
	ck_assert_uint_eq(record_status(&rec), DSA_COMP_XFER_ERANGE);
}
END_TEST

/* ------------------------------------------------------------------- batches */

static _Alignas(64) struct dsa_hw_desc list[8];
static _Alignas(32) struct dsa_completion_record recs[8];

static void batch_of_moves(unsigned int n)
{
	memset(recs, 0, sizeof(recs));
	for (unsigned int i = 0; i < n; i++) {
		list[i] = describe(DSA_OPCODE_MEMMOVE, mem + i * 1024,
				   mem + (1 << 20) + i * 1024, 1024);
		list[i].completion_addr = (uintptr_t)&recs[i];
	}
}

static struct dsa_hw_desc batch(unsigned int n)
{
	return describe(DSA_OPCODE_BATCH, list, NULL, n);
}

START_TEST(test_batch)
{
	struct dsa_hw_desc d;

	batch_of_moves(8);
	list[3].flags |= IDXD_OP_FLAG_FENCE;
	d = batch(8);
	ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(rec.bytes_completed, 8);
	for (int i = 0; i < 8; i++)
		ck_assert_uint_eq(record_status(&recs[i]), DSA_COMP_SUCCESS);
	ck_assert_int_eq(memcmp(mem + (1 << 20), mem, 8192), 0);
}
END_TEST

START_TEST(test_batch_failure)
{
	struct dsa_hw_desc d;

	/* without a fence the rest is executed */
	batch_of_moves(8);
	list[2].xfer_size = 0;
	d = batch(8);
	ck_assert_uint_eq(run(&d), DSA_COMP_BATCH_FAIL);
	ck_assert_uint_eq(rec.bytes_completed, 8);
	ck_assert_uint_eq(record_status(&recs[2]), DSA_COMP_XFER_ERANGE);
	ck_assert_uint_eq(record_status(&recs[7]), DSA_COMP_SUCCESS);
	/* with one, the batch ends there */
	batch_of_moves(8);
	list[2].xfer_size = 0;
	list[5].flags |= IDXD_OP_FLAG_FENCE;
	ck_assert_uint_eq(run(&d), DSA_COMP_BATCH_FAIL);
	ck_assert_uint_eq(rec.bytes_completed, 5);
	ck_assert_uint_eq(record_status(&recs[4]), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(record_status(&recs[5]), DSA_COMP_NONE);
	ck_assert_uint_eq(record_status(&recs[6]), DSA_COMP_NONE);
	/* a false predicate counts as one */
	batch_of_moves(3);
	list[0].opcode = DSA_OPCODE_COMPARE;
	list[0].flags |= IDXD_OP_FLAG_CR;
	list[0].expected_res = 1;
	memcpy(mem + (1 << 20), mem, 1024);
	list[1].flags |= IDXD_OP_FLAG_FENCE;
	d = batch(3);
	ck_assert_uint_eq(run(&d), DSA_COMP_BATCH_FAIL);
	ck_assert_uint_eq(record_status(&recs[0]), DSA_COMP_SUCCESS_PRED);
	ck_assert_uint_eq(rec.bytes_completed, 1);
}
END_TEST

START_TEST(test_batch_errors)
{
	struct dsa_hw_desc d;

	batch_of_moves(8);
	expect(batch(0), DSA_COMP_DESC_CNT_ERANGE);
	expect(batch(1), DSA_COMP_DESC_CNT_ERANGE);
	expect(batch(SOFT_BATCH_MAX + 1), DSA_COMP_DESC_CNT_ERANGE);
	d = batch(4), d.desc_list_addr += 32;
	expect(d, DSA_COMP_DESCLIST_ALIGN);
	/* no batch inside a batch */
	batch_of_moves(2);
	list[0] = batch(2);
	list[0].completion_addr = (uintptr_t)&recs[0];
	d = batch(2);
	ck_assert_uint_eq(run(&d), DSA_COMP_BATCH_FAIL);
	ck_assert_uint_eq(record_status(&recs[0]), DSA_COMP_BAD_OPCODE);
}
END_TEST

/* -------------------------------------------------------------------- faults */

#define FILE_PAGES 40u
#define MAP_PAGES  80u

/* A mapping whose pages from FILE_PAGES on raise SIGBUS. */
static uint8_t *map_short(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	uint8_t *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, FILE_PAGES * PAGE), 0);
	p = mmap(NULL, MAP_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	close(fd);
	randomise(p, FILE_PAGES * PAGE);
	return p;
}

static void assert_fault(uint8_t status, const uint8_t *hole, bool write)
{
	ck_assert_uint_eq(status,
			  DSA_COMP_PAGE_FAULT_NOBOF | (write ? DSA_COMP_STATUS_WRITE : 0));
	ck_assert_uint_ge(rec.fault_addr, (uintptr_t)hole & ~(uintptr_t)(PAGE - 1));
	ck_assert_uint_lt(rec.fault_addr, (uintptr_t)hole + PAGE);
}

START_TEST(test_fault_read)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE;
	uint32_t lead = 20 * PAGE + 123;
	struct dsa_hw_desc d = describe(DSA_OPCODE_MEMMOVE, hole - lead, mem + 77, 32 * PAGE);

	memcpy(want + 77, hole - lead, lead);
	assert_fault(run(&d), hole, false);
	ck_assert_uint_eq(rec.bytes_completed, lead);
	ck_assert_uint_eq(rec.result, 0);
	ck_assert_int_eq(memcmp(mem, want, ARENA), 0);

	d.opcode = DSA_OPCODE_CRCGEN;
	d.dst_addr = 0;
	d.crc_seed = 5;
	assert_fault(run(&d), hole, false);
	ck_assert_uint_eq(rec.bytes_completed, lead);
	ck_assert_uint_eq(rec.crc_val, amux_crc32c_table(5, hole - lead, lead));

	memcpy(mem + 77, hole - lead, lead);
	d = describe(DSA_OPCODE_COMPARE, mem + 77, hole - lead, 32 * PAGE);
	assert_fault(run(&d), hole, false);
	ck_assert_uint_eq(rec.bytes_completed, lead);
	/* a difference before the hole is found before it */
	mem[77 + 1000] ^= 1;
	ck_assert_uint_eq(run(&d), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(rec.bytes_completed, 1000);
	/* nothing at all is there */
	d = describe(DSA_OPCODE_MEMMOVE, hole, mem, 1);
	assert_fault(run(&d), hole, false);
	ck_assert_uint_eq(rec.bytes_completed, 0);
	munmap(p, MAP_PAGES * PAGE);
}
END_TEST

START_TEST(test_fault_write)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE;
	uint32_t lead = 17 * PAGE + 61;
	struct dsa_hw_desc d = describe(DSA_OPCODE_MEMMOVE, mem + 5, hole - lead, 30 * PAGE);

	assert_fault(run(&d), hole, true);
	ck_assert_uint_eq(rec.bytes_completed, lead);
	ck_assert_int_eq(memcmp(hole - lead, mem + 5, lead), 0);

	/* a fill resumes in phase: whole patterns only */
	d = describe(DSA_OPCODE_MEMFILL, NULL, hole - lead, 30 * PAGE);
	d.pattern = 0x0807060504030201;
	assert_fault(run(&d), hole, true);
	ck_assert_uint_eq(rec.bytes_completed, lead & ~7u);
	for (uint32_t i = 0; i < lead; i++)
		ck_assert_uint_eq(hole[-(ptrdiff_t)lead + i], i % 8 + 1);

	d = describe(DSA_OPCODE_DUALCAST, mem, hole - 2 * PAGE, 4 * PAGE);
	d.dest2 = (uintptr_t)p;
	assert_fault(run(&d), hole, true);
	ck_assert_uint_eq(rec.bytes_completed, 2 * PAGE);
	munmap(p, MAP_PAGES * PAGE);
}
END_TEST

START_TEST(test_fault_large_streaming)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE;
	struct dsa_hw_desc d =
		describe(DSA_OPCODE_MEMMOVE, p + 3, mem + 1, MAP_PAGES * PAGE - 3);

	assert_fault(run(&d), hole, false);
	ck_assert_uint_eq(rec.bytes_completed, FILE_PAGES * PAGE - 3);
	ck_assert_int_eq(memcmp(mem + 1, p + 3, FILE_PAGES * PAGE - 3), 0);
	munmap(p, MAP_PAGES * PAGE);
}
END_TEST

/* Overlapping upwards into the hole: from the end, so the hole is met at once. */
START_TEST(test_fault_backward)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE;
	int fd = memfd_create("middle", MFD_CLOEXEC);
	uint32_t n = 6 * PAGE, shift = 100;
	struct dsa_hw_desc d;
	uint8_t *q, *copy;

	d = describe(DSA_OPCODE_MEMMOVE, hole - n, hole - n + shift, n);
	assert_fault(run(&d), hole, true);
	ck_assert_uint_eq(rec.bytes_completed, 0);
	ck_assert_uint_eq(rec.result, 1);
	munmap(p, MAP_PAGES * PAGE);

	/* The hole in front: [absent][file].  The tail is moved, the head is not, and the
	 * untouched source lets a resume shorten the length only. */
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, FILE_PAGES * PAGE), 0);
	p = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	/* pages 0-7 lie beyond the end of the file, 8-27 are its first 20 */
	q = mmap(p, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 50 * PAGE);
	ck_assert_ptr_eq(q, p);
	q = mmap(p + 8 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 0);
	ck_assert_ptr_eq(q, p + 8 * PAGE);
	randomise(q, 20 * PAGE);
	copy = malloc(20 * PAGE);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, q, 20 * PAGE);
	/* 10 pages, the first 4 of them absent, up by 50 bytes */
	d = describe(DSA_OPCODE_MEMMOVE, q - 4 * PAGE, q - 4 * PAGE + 50, 10 * PAGE);
	assert_fault(run(&d), q - PAGE, false);
	ck_assert_uint_eq(rec.result, 1);
	ck_assert_uint_eq(rec.bytes_completed, 6 * PAGE);
	memmove(copy + 50, copy, 6 * PAGE);
	ck_assert_int_eq(memcmp(q, copy, 20 * PAGE), 0);
	free(copy);
	munmap(p, 64 * PAGE);
	close(fd);
}
END_TEST

START_TEST(test_fault_batch_list)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE;
	struct dsa_hw_desc d = describe(DSA_OPCODE_BATCH, hole - 128, NULL, 4);

	batch_of_moves(2);
	memcpy(hole - 128, list, 128);
	ck_assert_uint_eq(run(&d), DSA_COMP_BATCH_PAGE_FAULT);
	ck_assert_uint_eq(rec.bytes_completed, 2);
	ck_assert_uint_eq(record_status(&recs[1]), DSA_COMP_SUCCESS);
	munmap(p, MAP_PAGES * PAGE);
}
END_TEST

START_TEST(test_touch)
{
	uint8_t *p = map_short(), *hole = p + FILE_PAGES * PAGE, last = hole[-1];

	ck_assert_int_eq(fixup_init(), 0);
	ck_assert_int_eq(fixup_touch(hole - 1, false), 0);
	ck_assert_int_eq(fixup_touch(hole - 1, true), 0);
	ck_assert_uint_eq(hole[-1], last);
	ck_assert_int_eq(fixup_touch(hole, false), -EFAULT);
	ck_assert_int_eq(fixup_touch(hole + 99, true), -EFAULT);
	ck_assert_int_eq(fixup_touch(hole - 1, true), 0);
	munmap(p, MAP_PAGES * PAGE);
}
END_TEST

/* Outside of a guard SIGBUS kills, whether a fault or sent. */
START_TEST(test_unguarded_bus_error)
{
	signal(SIGBUS, SIG_DFL);
	for (int sent = 0; sent < 2; sent++) {
		int status;
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (!pid) {
			uint8_t *p = map_short();

			if (fixup_init() ||
			    fixup_touch(p + FILE_PAGES * PAGE, false) != -EFAULT)
				_exit(1);
			if (sent)
				kill(getpid(), SIGBUS);
			else
				*(volatile uint8_t *)(p + FILE_PAGES * PAGE) = 1;
			_exit(2);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status));
		ck_assert_int_eq(WTERMSIG(status), SIGBUS);
	}
}
END_TEST

/* -------------------------------------------------------------------- device */

static void open_device(struct device *dev, const struct soft_config *cfg)
{
	ck_assert_int_eq(soft_open(dev, 0, cfg), 0);
}

START_TEST(test_config)
{
	struct soft_config cfg, bad;
	struct device dev;

	soft_config_default(&cfg);
	ck_assert_uint_eq(cfg.engines * (cfg.wq_size[0] + cfg.wq_size[1]), 128);
	ck_assert_uint_gt(cfg.wq_priority[ENGINE_WQ_KERNEL], cfg.wq_priority[ENGINE_WQ_USER]);
	open_device(&dev, &cfg);
	ck_assert_uint_eq(dev.caps, DEVICE_CAP_CPU | DEVICE_CAP_BLOCKING);
	ck_assert_str_eq(dev.name, "soft0");
	ck_assert_uint_eq(dev.ops->next_event(&dev, 5), UINT64_MAX);
	ck_assert_uint_eq(dev.ops->progress(&dev, 5, 1000), 0);
	dev.ops->close(&dev);
	cfg.model = true;
	cfg.time_scale = 1000;
	open_device(&dev, &cfg);
	ck_assert_uint_eq(dev.caps, DEVICE_CAP_MODEL | DEVICE_CAP_BLOCKING);
	ck_assert_uint_eq(dev.rate_bps, 30000000);
	ck_assert_uint_eq(dev.desc_ns, 80000);
	dev.ops->close(&dev);

	bad = cfg, bad.engines = 0;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.engines = ENGINE_MAX + 1;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.threads = cfg.engines + 1;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.wq_size[1] = 0;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.wq_priority[0] = 16;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.max_xfer = (1ull << 31) + 1;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.time_scale = 0;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
	bad = cfg, bad.fabric_bps = 0;
	ck_assert_int_eq(soft_open(&dev, 0, &bad), -EINVAL);
}
END_TEST

#define SLOTS 256
static struct dsa_hw_desc descs[SLOTS];
static _Alignas(32) struct dsa_completion_record slots[SLOTS];

static void noops(unsigned int n)
{
	memset(slots, 0, sizeof(slots));
	for (unsigned int i = 0; i < n; i++) {
		descs[i] = describe(DSA_OPCODE_NOOP, NULL, NULL, 0);
		descs[i].completion_addr = (uintptr_t)&slots[i];
	}
}

START_TEST(test_wq_full)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;

	soft_config_default(&cfg);
	cfg.wq_size[ENGINE_WQ_USER] = 11; /* not a power of two */
	open_device(&dev, &cfg);
	noops(40);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_USER, descs, 8), 8);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_USER, descs + 8, 8), 3);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_USER, descs + 11, 1), 0);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_KERNEL, descs + 11, 20), 16);
	ck_assert_int_eq(dev.ops->submit(&dev, cfg.engines, ENGINE_WQ_USER, descs, 1), -EINVAL);
	ck_assert_uint_eq(dev.ops->next_event(&dev, 77), 77);
	ck_assert_uint_eq(dev.ops->progress(&dev, 77, 1000000), 27);
	for (int i = 0; i < 27; i++)
		ck_assert_uint_eq(record_status(&slots[i]), DSA_COMP_SUCCESS);
	dev.ops->read_stats(&dev, 1, &st);
	ck_assert_uint_eq(st.full[ENGINE_WQ_USER], 6);
	ck_assert_uint_eq(st.full[ENGINE_WQ_KERNEL], 4);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], 11);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_KERNEL], 16);
	ck_assert_uint_eq(st.errors, 0);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_USER, descs, 11), 11);
	/* what is left at close is answered */
	memset(slots, 0, sizeof(slots));
	dev.ops->close(&dev);
	for (int i = 0; i < 11; i++)
		ck_assert_uint_eq(record_status(&slots[i]), DSA_COMP_HW_ERR1);
}
END_TEST

static void count_ring(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_RELAXED);
}

START_TEST(test_doorbell_inline)
{
	struct soft_config cfg;
	struct device dev;
	uint32_t rings = 0, seq;

	soft_config_default(&cfg);
	open_device(&dev, &cfg);
	dev.doorbell = (struct engine_doorbell){ count_ring, &rings };
	noops(2);
	seq = device_kernel_seq(&dev);
	dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, 1);
	ck_assert_uint_eq(rings, 0);
	dev.ops->submit(&dev, 0, ENGINE_WQ_KERNEL, descs + 1, 1);
	ck_assert_uint_eq(rings, 1);
	ck_assert_int_eq(device_wait_kernel(&dev, seq, 1000000), -ETIMEDOUT);
	ck_assert_uint_eq(dev.ops->progress(&dev, 0, 1000), 2);
	ck_assert_int_eq(device_wait_kernel(&dev, seq, UINT64_MAX), 0);
	dev.ops->close(&dev);
}
END_TEST

/* The budget bounds a call: 64 descriptors are the granularity. */
START_TEST(test_budget_and_errors)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;
	unsigned int n;

	soft_config_default(&cfg);
	cfg.engines = 1;
	cfg.wq_size[ENGINE_WQ_USER] = SLOTS;
	open_device(&dev, &cfg);
	noops(SLOTS);
	descs[0].opcode = 0xff;
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, SLOTS), SLOTS);
	n = dev.ops->progress(&dev, 0, 0);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_lt(n, SLOTS);
	ck_assert_uint_eq(record_status(&slots[n - 1]), DSA_COMP_SUCCESS);
	ck_assert_uint_eq(record_status(&slots[n]), DSA_COMP_NONE);
	while (dev.ops->progress(&dev, 0, 1000000))
		;
	dev.ops->read_stats(&dev, 0, &st);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], SLOTS);
	ck_assert_uint_eq(st.errors, 1);
	ck_assert_uint_gt(st.cpu_ns, 0);
	ck_assert_uint_eq(st.busy_ns, st.cpu_ns);
	dev.ops->close(&dev);
}
END_TEST

/* Both WQs always full: served in the ratio of their priorities. */
START_TEST(test_priority)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;

	soft_config_default(&cfg);
	cfg.engines = 1;
	cfg.wq_priority[ENGINE_WQ_KERNEL] = 9;
	cfg.wq_priority[ENGINE_WQ_USER] = 3;
	cfg.model = _i;
	cfg.wq_size[ENGINE_WQ_KERNEL] = cfg.wq_size[ENGINE_WQ_USER] = SLOTS / 2;
	cfg.time_scale = 1;
	cfg.desc_ns = 1000000000;
	open_device(&dev, &cfg);
	noops(SLOTS);
	dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, SLOTS / 2);
	dev.ops->submit(&dev, 0, ENGINE_WQ_KERNEL, descs + SLOTS / 2, SLOTS / 2);
	if (cfg.model) /* 80 and a half modelled seconds from now */
		ck_assert_uint_eq(
			dev.ops->progress(&dev, clock_ns() + 80500000000ull, 1000000000), 80);
	else
		ck_assert_uint_eq(dev.ops->progress(&dev, 0, 0), 64);
	dev.ops->read_stats(&dev, 0, &st);
	/* 3 in 12; the model's first went to the user's WQ, when that was alone */
	ck_assert_uint_ge(st.descriptors[ENGINE_WQ_USER] + 3, cfg.model ? 20 : 16);
	ck_assert_uint_le(st.descriptors[ENGINE_WQ_USER], cfg.model ? 21 + 3 : 16 + 3);
	dev.ops->close(&dev);
}
END_TEST

/* Without a competitor the low priority gets everything. */
START_TEST(test_priority_alone)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;

	soft_config_default(&cfg);
	cfg.engines = 1;
	open_device(&dev, &cfg);
	noops(16);
	dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, 16);
	dev.ops->progress(&dev, 0, 1000000);
	dev.ops->read_stats(&dev, 0, &st);
	ck_assert_uint_eq(st.descriptors[ENGINE_WQ_USER], 16);
	dev.ops->close(&dev);
}
END_TEST

/*
 * Modelled throughput against the configured rate, with the WQs kept full and progress()
 * called at random, often late, times.  @_i: engines - 1.  The times handed to progress() run
 * ahead of the clock, so that the submission stamps, which are real, lie in their past.
 */
START_TEST(test_model_rate)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;
	unsigned int engines = (unsigned int)_i + 1, next = 0;
	uint64_t begin, now, bytes = 0, busy = 0;
	const uint32_t n = 4096;
	double rate, got;

	soft_config_default(&cfg);
	cfg.engines = engines;
	cfg.model = true;
	cfg.time_scale = 2000; /* slower than the slowest sanitizer copies */
	cfg.desc_ns = 0;
	cfg.engine_bps = 20000000000ull;
	cfg.wq_size[ENGINE_WQ_USER] = SOFT_WQ_MAX;
	open_device(&dev, &cfg);
	rate = (double)(engines == 1 ? cfg.engine_bps : cfg.fabric_bps) / 2000;
	ck_assert_uint_eq(dev.rate_bps, (uint64_t)rate);
	for (unsigned int i = 0; i < SLOTS; i++) {
		descs[i] = describe(DSA_OPCODE_MEMMOVE, mem, mem + (1 << 20), n);
		descs[i].completion_addr = (uintptr_t)&slots[i];
	}
	begin = now = clock_ns();
	while (now < begin + 4 * NSEC_PER_SEC) {
		int took;

		for (unsigned int e = 0; e < engines; e++) {
			do {
				took = dev.ops->submit(&dev, e, ENGINE_WQ_USER, descs + next,
						       1);
				next = (next + (unsigned int)took) % SLOTS;
			} while (took > 0);
		}
		/* up to 20 descriptors of one engine between two calls */
		now = (clock_ns() > now ? clock_ns() : now) + 1 + rnd() % 8000000;
		while (dev.ops->progress(&dev, now, 1000000))
			;
	}
	for (unsigned int e = 0; e < engines; e++) {
		dev.ops->read_stats(&dev, e, &st);
		bytes += st.bytes[ENGINE_WQ_USER];
		busy += st.busy_ns;
		ck_assert_uint_eq(st.errors, 0);
	}
	got = (double)bytes * 1e9 / (double)(now - begin);
	ck_assert_msg(got > rate * 0.98 && got < rate * 1.02, "%.0f bytes/s, configured %.0f",
		      got, rate);
	ck_assert_uint_gt(busy, (now - begin) / 100 * 98 * engines);
	ck_assert_uint_le(busy, (now - begin) * engines);
	dev.ops->close(&dev);
}
END_TEST

/* The data and the record appear at the modelled time, not before. */
START_TEST(test_model_time)
{
	struct soft_config cfg;
	struct device dev;
	uint64_t before, after, due, due_first;

	soft_config_default(&cfg);
	cfg.model = true;
	cfg.time_scale = 1000;
	open_device(&dev, &cfg);
	descs[0] = describe(DSA_OPCODE_MEMMOVE, mem, mem + 8192, 4096);
	memset(&rec, 0, sizeof(rec));
	before = clock_ns();
	ck_assert_int_eq(dev.ops->submit(&dev, 2, ENGINE_WQ_USER, descs, 1), 1);
	after = clock_ns();
	ck_assert_uint_eq(dev.ops->next_event(&dev, before), before);
	ck_assert_uint_eq(dev.ops->progress(&dev, before, 1000000), 0);
	due = dev.ops->next_event(&dev, before);
	/* 80 ns and 4096 bytes at 30 GB/s, 1000 times slower, from the submission on */
	ck_assert_uint_ge(due, before + 80000 + 136533);
	ck_assert_uint_le(due, after + 80000 + 136533 + 2);
	due_first = due;
	ck_assert_uint_eq(dev.ops->progress(&dev, due - 1, 1000000), 0);
	ck_assert_uint_eq(record_status(&rec), DSA_COMP_NONE);
	ck_assert_int_eq(memcmp(mem, want, ARENA), 0);
	ck_assert_uint_eq(dev.ops->progress(&dev, due, 1000000), 1);
	ck_assert_uint_eq(record_status(&rec), DSA_COMP_SUCCESS);
	ck_assert_int_eq(memcmp(mem + 8192, mem, 4096), 0);
	ck_assert_uint_eq(dev.ops->next_event(&dev, due), UINT64_MAX);
	/* a batch costs what its parts do; the clock has to catch up with the above first */
	clock_sleep_until(due_first);
	batch_of_moves(4);
	descs[0] = batch(4);
	before = clock_ns();
	dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, 1);
	after = clock_ns();
	dev.ops->progress(&dev, after, 1000000);
	due = dev.ops->next_event(&dev, after);
	ck_assert_uint_ge(due, before + 5 * 80000 + 136533);
	ck_assert_uint_le(due, after + 5 * 80000 + 136533 + 2);
	/* close with one in service */
	memset(&rec, 0, sizeof(rec));
	dev.ops->close(&dev);
	ck_assert_uint_eq(record_status(&rec), DSA_COMP_HW_ERR1);
}
END_TEST

/* ------------------------------------------------------------------- threads */

/* One submitter with a window of its own: copies, checks every result. */
struct client {
	struct device *dev;
	enum engine_wq wq;
	unsigned int rounds;
	uint32_t *rings; /* user: the doorbell */
	pthread_t id;
};

#define WINDOW 24
#define BLOCK  2048u

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct dsa_completion_record *r = aligned_alloc(32, WINDOW * sizeof(*r));
	uint8_t *buf = malloc(2 * WINDOW * BLOCK);
	uint64_t x = c->wq + 1;

	for (unsigned int round = 0; round < c->rounds; round++) {
		uint64_t give_up = clock_ns() + 20 * NSEC_PER_SEC;

		for (unsigned int i = 0; i < WINDOW; i++) {
			uint8_t *src = buf + 2 * i * BLOCK;
			struct dsa_hw_desc d =
				describe(DSA_OPCODE_MEMMOVE, src, src + BLOCK, BLOCK);

			x = x * 6364136223846793005ull + 1442695040888963407ull;
			memset(src, (int)(x >> 56), BLOCK);
			memset(src + BLOCK, (int)(x >> 56) ^ 0xff, BLOCK);
			memset(&r[i], 0, sizeof(r[i]));
			d.completion_addr = (uintptr_t)&r[i];
			while (c->dev->ops->submit(c->dev, i % c->dev->engines, c->wq, &d, 1) !=
			       1)
				usleep(10);
		}
		for (unsigned int i = 0; i < WINDOW; i++) {
			uint8_t *src = buf + 2 * i * BLOCK;

			for (;;) {
				uint32_t seq = device_kernel_seq(c->dev);

				if (record_status(&r[i]))
					break;
				ck_assert_uint_lt(clock_ns(), give_up);
				if (c->wq == ENGINE_WQ_KERNEL)
					ck_assert_int_eq(device_wait_kernel(c->dev, seq,
									    5 * NSEC_PER_SEC),
							 0);
				else
					usleep(20);
			}
			/* whoever sees the status sees record and data */
			ck_assert_uint_eq(record_status(&r[i]), DSA_COMP_SUCCESS);
			ck_assert_uint_eq(r[i].bytes_completed, BLOCK);
			ck_assert_int_eq(memcmp(src, src + BLOCK, BLOCK), 0);
		}
	}
	free(buf);
	free(r);
	return NULL;
}

/* @_i: bit 0 model, bits 1-2: 0 inline, else 1, 2 or 3 threads */
START_TEST(test_two_submitters)
{
	struct soft_config cfg;
	struct engine_stats st;
	struct device dev;
	struct client c[ENGINE_WQS];
	uint64_t sum[ENGINE_WQS] = { 0 };
	uint32_t rings = 0;
	const unsigned int rounds = SLOW ? 60 : 200;

	soft_config_default(&cfg);
	cfg.model = _i & 1;
	cfg.threads = (unsigned int)_i >> 1;
	cfg.engines = 3;
	cfg.wq_size[ENGINE_WQ_KERNEL] = 4;
	open_device(&dev, &cfg);
	dev.doorbell = (struct engine_doorbell){ count_ring, &rings };
	ck_assert_uint_eq(!!(dev.caps & DEVICE_CAP_BLOCKING), !cfg.threads);
	for (int wq = 0; wq < ENGINE_WQS; wq++) {
		c[wq] = (struct client){ &dev, (enum engine_wq)wq, rounds, &rings, 0 };
		ck_assert_int_eq(pthread_create(&c[wq].id, NULL, client_main, &c[wq]), 0);
	}
	if (!cfg.threads) {
		const uint64_t all = 2ull * rounds * WINDOW;
		uint64_t done = 0;

		while (done < all)
			done += dev.ops->progress(&dev, clock_ns(), 100000);
	} else {
		ck_assert_uint_eq(dev.ops->progress(&dev, clock_ns(), 100000), 0);
		ck_assert_uint_eq(dev.ops->next_event(&dev, clock_ns()), UINT64_MAX);
	}
	for (int wq = 0; wq < ENGINE_WQS; wq++)
		pthread_join(c[wq].id, NULL);
	for (unsigned int e = 0; e < cfg.engines; e++) {
		dev.ops->read_stats(&dev, e, &st);
		sum[0] += st.descriptors[0];
		sum[1] += st.descriptors[1];
	}
	dev.ops->close(&dev);
	ck_assert_uint_eq(sum[0], (uint64_t)rounds * WINDOW);
	ck_assert_uint_eq(sum[1], (uint64_t)rounds * WINDOW);
	ck_assert_uint_gt(rings, 0);
}
END_TEST

/* Engine threads: what a device modelled at 3 MB/s delivers in real time. */
START_TEST(test_threaded_model_rate)
{
	struct soft_config cfg;
	struct device dev;
	uint64_t begin, took;
	unsigned int n = 64;

	soft_config_default(&cfg);
	cfg.model = true;
	cfg.time_scale = 10000;
	cfg.desc_ns = 0;
	cfg.threads = (unsigned int)_i;
	cfg.engines = 2;
	cfg.wq_size[ENGINE_WQ_USER] = 32;
	open_device(&dev, &cfg);
	memset(slots, 0, sizeof(slots));
	for (unsigned int i = 0; i < n; i++) {
		descs[i] = describe(DSA_OPCODE_MEMMOVE, mem, mem + (1 << 20) + i * 4096, 4096);
		descs[i].completion_addr = (uintptr_t)&slots[i];
	}
	begin = clock_ns();
	ck_assert_int_eq(dev.ops->submit(&dev, 0, ENGINE_WQ_USER, descs, n / 2), (int)n / 2);
	ck_assert_int_eq(dev.ops->submit(&dev, 1, ENGINE_WQ_USER, descs + n / 2, n / 2),
			 (int)n / 2);
	while (!record_status(&slots[n / 2 - 1]) || !record_status(&slots[n - 1])) {
		ck_assert_uint_lt(clock_ns(), begin + 20 * NSEC_PER_SEC);
		usleep(200);
	}
	took = clock_ns() - begin;
	dev.ops->close(&dev);
	/* 64 x 4096 bytes at 3 MB/s are 87.4 ms; never earlier, later by what this host adds */
	ck_assert_uint_ge(took, 87300000);
	ck_assert_uint_le(took, 87400000 * (SLOW ? 6 : 3));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("soft");
	TCase *ops = tcase_create("operations"), *dev = tcase_create("device");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(ops, arena, arena_free);
	tcase_set_timeout(ops, 60);
	tcase_add_test(ops, test_noop);
	tcase_add_test(ops, test_memmove);
	tcase_add_test(ops, test_memfill);
	tcase_add_test(ops, test_compare);
	tcase_add_test(ops, test_compval);
	tcase_add_test(ops, test_dualcast);
	tcase_add_test(ops, test_crc_ops);
	tcase_add_test(ops, test_cflush);
	tcase_add_test(ops, test_errors);
	tcase_add_test(ops, test_batch);
	tcase_add_test(ops, test_batch_failure);
	tcase_add_test(ops, test_batch_errors);
	tcase_add_test(ops, test_fault_read);
	tcase_add_test(ops, test_fault_write);
	tcase_add_test(ops, test_fault_large_streaming);
	tcase_add_test(ops, test_fault_backward);
	tcase_add_test(ops, test_fault_batch_list);
	tcase_add_test(ops, test_touch);
	tcase_add_test(ops, test_unguarded_bus_error);
	suite_add_tcase(s, ops);

	tcase_add_checked_fixture(dev, arena, arena_free);
	tcase_set_timeout(dev, 60);
	tcase_add_test(dev, test_config);
	tcase_add_test(dev, test_wq_full);
	tcase_add_test(dev, test_doorbell_inline);
	tcase_add_test(dev, test_budget_and_errors);
	tcase_add_loop_test(dev, test_priority, 0, 2);
	tcase_add_test(dev, test_priority_alone);
	tcase_add_loop_test(dev, test_model_rate, 0, 4);
	tcase_add_test(dev, test_model_time);
	tcase_add_loop_test(dev, test_two_submitters, 0, 8);
	tcase_add_loop_test(dev, test_threaded_model_rate, 1, 3);
	suite_add_tcase(s, dev);

	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
