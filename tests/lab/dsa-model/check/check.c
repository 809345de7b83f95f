// SPDX-License-Identifier: MIT
/*
 * check - delta records, DIF and batches of the model, each descriptor by exec_run(), against
 * what is worked out here in another way: dsa_test, which runs them in a guest, looks at little
 * of what comes out.  Prints TAP.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../bits.h"
#include "../exec.h"

/* Two ranges with a hole of a page between them. */
#define BYTES	0x20000u
#define LOW	0x100000ull
#define HOLE	(LOW + BYTES)
#define HIGH	(HOLE + 0x1000)
#define RECORDS 0x8000u /* where in a range a third buffer is */

#define BLOCK 512u
#define WITH  520u /* and its field */
#define APP   0xfaceu
#define REF   0xfffffffeu /* wraps around after two blocks */

static struct device device;
static uint8_t *low, *high;
static unsigned int tests, failures;

static void ok(bool good, const char *what, ...)
{
	va_list args;

	printf("%s %u - ", good ? "ok" : "not ok", ++tests);
	failures += !good;
	va_start(args, what);
	vprintf(what, args);
	va_end(args);
	putchar('\n');
}

static uint8_t *range_map(uint64_t at)
{
	int fd = memfd_create("range", MFD_CLOEXEC);
	void *p;

	if (fd < 0 || ftruncate(fd, BYTES) ||
	    mem_map(&device.mem, at, BYTES, 0, fd, true, true))
		exit(2);
	p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		exit(2);
	close(fd);
	return p;
}

static struct outcome run(const struct dsa_hw_desc *desc)
{
	struct limits limits = { .xfer = 1u << 21, .batch = 32 };
	uint64_t clock = 0;

	return exec_run(&device, desc, &limits, UINT64_MAX, &clock);
}

static uint32_t word(const struct outcome *out, unsigned int at)
{
	uint32_t v;

	memcpy(&v, out->specific + at, sizeof(v));
	return v;
}

static void noise(uint8_t *p, uint32_t n)
{
	static uint32_t x = 1;

	while (n--) {
		x = x * 1664525 + 1013904223;
		*p++ = (uint8_t)(x >> 24);
	}
}

/* ------------------------------------------------------------------- delta */

static struct dsa_hw_desc create(uint64_t record, uint32_t size)
{
	return (struct dsa_hw_desc){ .opcode = DSA_OPCODE_CR_DELTA,
				     .src_addr = LOW,
				     .src2_addr = HIGH,
				     .xfer_size = size,
				     .delta_addr = record,
				     .max_delta_size = 200 };
}

/* The buffers differ in every 16th unit of eight bytes, from the third on. */
static void differ(uint32_t size)
{
	noise(low, size);
	memcpy(high, low, size);
	for (uint32_t at = 24; at < size; at += 128)
		high[at + 5] ^= 0x10;
}

static void test_create(void)
{
	struct dsa_hw_desc desc = create(LOW + RECORDS, 0x800);
	uint8_t *record = low + RECORDS;
	bool same = true;
	struct outcome out;

	differ(0x800);
	out = run(&desc);
	for (unsigned int i = 0; i < 16; i++)
		same &= record[i * 10] == 3 + 16 * i && !record[i * 10 + 1] &&
			!memcmp(record + i * 10 + 2, high + 24 + 128 * i, 8);
	ok(out.status == DSA_COMP_SUCCESS && out.result == 1 && word(&out, 0) == 160 && same,
	   "delta: 16 entries, status %#x, result %u, %u bytes", out.status, out.result,
	   word(&out, 0));
	desc.max_delta_size = 105;
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && out.result == 2 && word(&out, 0) == 100 &&
		   out.bytes_completed == 24 + 128 * 10,
	   "delta: too large for 105 bytes, behind %u of the source", out.bytes_completed);
	desc.flags = IDXD_OP_FLAG_CR;
	desc.expected_res_mask = 3;
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS_PRED && out.result == 2, "delta: not the expected");
	desc.expected_res_mask = 4;
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS, "delta: the expected");
	desc.flags = 0;
	desc.expected_res_mask = 0;
	memcpy(high, low, 0x800);
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && !out.result && !word(&out, 0), "delta: equal");
}

static void test_create_faults(void)
{
	/* The record: room for seven entries and a half before the hole. */
	struct dsa_hw_desc desc = create(HOLE - 72, 0x800);
	struct outcome out;

	differ(0x800);
	desc.max_delta_size = 400;
	out = run(&desc);
	ok(out.status == (DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE) &&
		   out.fault_addr == HOLE && word(&out, 0) == 70 &&
		   out.bytes_completed == 24 + 128 * 7,
	   "delta: a fault in the record, status %#x, %u bytes of it, %u of the source",
	   out.status, word(&out, 0), out.bytes_completed);
	desc = create(LOW + RECORDS, 0x1000);
	desc.src_addr = HOLE - 0x800;
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && out.result == 2, "delta: full before the fault");
	desc.max_delta_size = 0x2000;
	out = run(&desc);
	ok(out.status == DSA_COMP_PAGE_FAULT_NOBOF && out.fault_addr == HOLE &&
		   out.bytes_completed == 0x800,
	   "delta: a fault in a source behind %#x bytes", out.bytes_completed);
}

static void test_apply(void)
{
	struct dsa_hw_desc desc = create(LOW + RECORDS, 0x800);
	struct outcome out;

	differ(0x800);
	out = run(&desc);
	desc = (struct dsa_hw_desc){ .opcode = DSA_OPCODE_AP_DELTA,
				     .src_addr = LOW + RECORDS,
				     .dst_addr = LOW,
				     .xfer_size = 0x800,
				     .delta_rec_size = word(&out, 0) };
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && !memcmp(low, high, 0x800),
	   "apply: the one buffer becomes the other");
	desc.xfer_size = 0x400;
	out = run(&desc);
	ok(out.status == DSA_COMP_DR_OFFSET_ERANGE && out.bytes_completed == 80,
	   "apply: an offset out of range behind %u bytes", out.bytes_completed);
	desc.xfer_size = 0x800;
	low[RECORDS + 30] = low[RECORDS + 20];
	out = run(&desc);
	ok(out.status == DSA_COMP_DR_OFFSET_NOINC && out.bytes_completed == 30,
	   "apply: an offset that does not increase behind %u bytes", out.bytes_completed);
	low[RECORDS + 30] = 3 + 48;
	desc.dst_addr = HOLE - 0x400;
	desc.src_addr = HIGH + RECORDS;
	memcpy(high + RECORDS, low + RECORDS, 160);
	out = run(&desc);
	ok(out.status == (DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE) &&
		   out.bytes_completed == 80 && out.fault_addr == HOLE + 24,
	   "apply: a fault in the destination behind %u bytes", out.bytes_completed);
	desc.dst_addr = HIGH;
	desc.src_addr = HOLE - 72;
	memcpy(low + BYTES - 72, high + RECORDS, 72);
	out = run(&desc);
	ok(out.status == DSA_COMP_PAGE_FAULT_NOBOF && out.bytes_completed == 70 &&
		   out.fault_addr == HOLE,
	   "apply: a fault in the record behind %u bytes", out.bytes_completed);
}

static void refused(struct dsa_hw_desc desc, uint8_t status, const char *what)
{
	struct outcome out = run(&desc);

	ok(out.status == status && !out.bytes, "refused: %s, status %#x", what, out.status);
}

static void test_delta_refused(void)
{
	struct dsa_hw_desc desc = create(LOW + RECORDS, 0x80000), bad = desc;

	bad.xfer_size = 0x80008;
	refused(bad, DSA_COMP_XFER_ERANGE, "delta of more than 512 KiB");
	bad.xfer_size = 12;
	refused(bad, DSA_COMP_XFER_ERANGE, "delta of 12 bytes");
	desc.xfer_size = 64;
	bad = desc;
	bad.src2_addr += 4;
	refused(bad, DSA_COMP_ADDR_ALIGN, "delta with a source that is not aligned");
	bad = desc;
	bad.max_delta_size = 79;
	refused(bad, DSA_COMP_DR_ERANGE, "delta record of at most 79 bytes");
	bad = desc;
	bad.delta_addr = bad.src2_addr + 56;
	refused(bad, DSA_COMP_OVERLAP_BUFFERS, "delta record in a source");
	bad = desc;
	bad.delt_rsvd = 1;
	refused(bad, DSA_COMP_NOZERO_RESERVE, "delta with something reserved");
	bad = desc;
	bad.opcode = DSA_OPCODE_AP_DELTA;
	bad.delta_addr = 0;
	bad.max_delta_size = 0;
	bad.delta_rec_size = 25;
	refused(bad, DSA_COMP_DR_ERANGE, "delta record of 25 bytes");
	bad.flags = IDXD_OP_FLAG_CR;
	refused(bad, DSA_COMP_INVALID_FLAGS, "apply with a flag of create");
}

/* --------------------------------------------------------------------- DIF */

/* The remainder of the polynomial's division, bit by bit over the message and 16 zeros. */
static uint16_t remainder_of(const uint8_t *p, uint32_t n)
{
	uint32_t r = 0;

	for (uint32_t bit = 0; bit < n * 8 + 16; bit++) {
		uint32_t in = bit < n * 8 ? (uint32_t)p[bit / 8] >> (7 - bit % 8) & 1 : 0;

		r = r << 1 | in;
		if (r & 0x10000)
			r ^= 0x18bb7;
	}
	return (uint16_t)r;
}

/* A block's field as it should be. */
static bool field_is(const uint8_t *field, uint16_t guard, uint32_t app, uint32_t ref)
{
	uint8_t want[8] = { (uint8_t)(guard >> 8), (uint8_t)guard,	 (uint8_t)(app >> 8),
			    (uint8_t)app,	   (uint8_t)(ref >> 24), (uint8_t)(ref >> 16),
			    (uint8_t)(ref >> 8),   (uint8_t)ref };

	return !memcmp(field, want, sizeof(want));
}

static struct dsa_hw_desc insert(uint32_t blocks)
{
	return (struct dsa_hw_desc){ .opcode = DSA_OPCODE_DIF_INS,
				     .src_addr = LOW,
				     .dst_addr = HIGH,
				     .xfer_size = BLOCK * blocks,
				     .ins_app_tag_seed = APP,
				     .ins_ref_tag_seed = REF };
}

static struct dsa_hw_desc of_source(uint8_t opcode, uint32_t blocks)
{
	return (struct dsa_hw_desc){ .opcode = opcode,
				     .src_addr = HIGH,
				     .dst_addr =
					     opcode == DSA_OPCODE_DIF_CHECK ? 0 : LOW + RECORDS,
				     .xfer_size = WITH * blocks,
				     .chk_app_tag_seed = APP,
				     .chk_ref_tag_seed = REF };
}

/* Four blocks with their fields are at HIGH. */
static void inserted(void)
{
	struct dsa_hw_desc desc = insert(4);

	noise(low, 4 * BLOCK);
	if (run(&desc).status != DSA_COMP_SUCCESS)
		exit(2);
}

static void test_insert(void)
{
	struct dsa_hw_desc desc = insert(4);
	struct outcome out;
	bool good = true;

	ok(remainder_of((const uint8_t *)"123456789", 9) == 0xd0db, "CRC-16 T10 of 123456789");
	noise(low, 4 * BLOCK);
	out = run(&desc);
	for (uint32_t i = 0; i < 4; i++)
		good &= !memcmp(high + i * WITH, low + i * BLOCK, BLOCK) &&
			field_is(high + i * WITH + BLOCK, remainder_of(low + i * BLOCK, BLOCK),
				 APP, REF + i);
	ok(out.status == DSA_COMP_SUCCESS && good, "insert: blocks and fields");
	ok(word(&out, 8) == REF + 4 && word(&out, 12) == APP << 16 && !word(&out, 0),
	   "insert: the tags that would be next are in the record");
	desc.dest_dif_flag = 0x90; /* application tag increments, reference tag is fixed */
	desc.ins_app_tag_mask = 0xff;
	desc.dif_ins_flags = 0x8; /* the CRC inverted */
	run(&desc);
	for (uint32_t i = 0; i < 4; i++)
		good &= field_is(high + i * WITH + BLOCK,
				 (uint16_t)~remainder_of(low + i * BLOCK, BLOCK),
				 (APP + i) & 0xff00, REF);
	ok(good, "insert: with flags and a mask");
	desc = insert(4);
	run(&desc);
	desc.opcode = OPCODE_DIX_GEN;
	desc.dst_addr = LOW + RECORDS;
	out = run(&desc);
	for (uint32_t i = 0; i < 4; i++)
		good &= !memcmp(low + RECORDS + 8 * i, high + i * WITH + BLOCK, 8);
	ok(out.status == DSA_COMP_SUCCESS && good, "generate: the fields alone");
	/* Three blocks and a part of the fourth are before the hole. */
	desc = insert(4);
	desc.src_addr = HIGH;
	desc.dst_addr = HOLE - 4 * WITH + 100;
	out = run(&desc);
	ok(out.status == (DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE) &&
		   out.bytes_completed == 3 * BLOCK && out.fault_addr == HOLE &&
		   word(&out, 8) == REF + 3,
	   "insert: a fault behind %u bytes, the tag goes on there", out.bytes_completed);
}

static void test_sizes(void)
{
	static const uint32_t sizes[] = { 512, 520, 4096, 4104 };

	for (uint8_t i = 0; i < 4; i++) {
		struct dsa_hw_desc desc = insert(1);
		struct outcome out;

		noise(low, sizes[i]);
		desc.xfer_size = sizes[i];
		desc.dif_ins_flags = i;
		out = run(&desc);
		ok(out.status == DSA_COMP_SUCCESS &&
			   field_is(high + sizes[i], remainder_of(low, sizes[i]), APP, REF),
		   "insert: a block of %u", sizes[i]);
	}
}

static void test_strip_update(void)
{
	struct dsa_hw_desc desc = of_source(DSA_OPCODE_DIF_STRP, 4);
	struct outcome out;
	bool good = true;

	inserted();
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && !memcmp(low + RECORDS, low, 4 * BLOCK),
	   "strip: what insert was given");
	desc.opcode = DSA_OPCODE_DIF_UPDT;
	desc.dest_app_tag_seed = 0x1234;
	desc.dest_ref_tag_seed = 7;
	desc.upd_dest_flags = 0x80;
	out = run(&desc);
	for (uint32_t i = 0; i < 4; i++)
		good &= field_is(low + RECORDS + i * WITH + BLOCK,
				 remainder_of(low + i * BLOCK, BLOCK), 0x1234, 7);
	ok(out.status == DSA_COMP_SUCCESS && good && word(&out, 0) == REF + 4 &&
		   word(&out, 8) == 7,
	   "update: other tags");
	desc.upd_dest_flags = 0x68; /* all passed on */
	out = run(&desc);
	ok(out.status == DSA_COMP_SUCCESS && !memcmp(low + RECORDS, high, 4 * WITH),
	   "update: everything passed on");
}

/* What DIF Check says of the third block when its field's byte @at is another one. */
static void wrong(unsigned int at, uint8_t result, const char *what)
{
	struct dsa_hw_desc desc = of_source(DSA_OPCODE_DIF_CHECK, 4);
	struct outcome out;

	inserted();
	high[2 * WITH + BLOCK + at] ^= 1;
	out = run(&desc);
	ok(out.status == DSA_COMP_DIF_ERR && out.result == result &&
		   out.bytes_completed == 2 * WITH && word(&out, 0) == REF + 2,
	   "check: a wrong %s, result %u", what, out.result);
}

static void test_check(void)
{
	struct dsa_hw_desc desc = of_source(DSA_OPCODE_DIF_CHECK, 4);

	inserted();
	ok(run(&desc).status == DSA_COMP_SUCCESS, "check: four blocks");
	wrong(1, 1, "guard");
	wrong(3, 2, "application tag");
	wrong(7, 4, "reference tag");
	desc.src_dif_flags = 0x40;
	ok(run(&desc).status == DSA_COMP_SUCCESS, "check: a reference tag unchecked");
	inserted();
	high[WITH + BLOCK + 3] ^= 1;
	desc.src_dif_flags = 0;
	desc.chk_app_tag_mask = 1;
	ok(run(&desc).status == DSA_COMP_SUCCESS, "check: a masked bit of the tag unchecked");
	high[7] ^= 1;
	desc.src_dif_flags = 0x20;
	ok(run(&desc).status == DSA_COMP_SUCCESS, "check: the guard unchecked");
	memset(high + 2 * WITH + BLOCK + 2, 0xff, 6);
	high[7] ^= 1;
	desc.src_dif_flags = 0x8;
	ok(run(&desc).status == DSA_COMP_SUCCESS, "check: both tags all ones, unchecked");
	desc.src_dif_flags = 0x3;
	ok(run(&desc).result == 6, "check: not the whole field");
	memset(high + 2 * WITH + BLOCK, 0xff, 8);
	ok(run(&desc).result == 8, "check: the whole field all ones, an error");
}

static void test_dif_refused(void)
{
	struct dsa_hw_desc desc = insert(4), bad = desc;

	bad.xfer_size++;
	refused(bad, DSA_COMP_XFER_ERANGE, "insert of a part of a block");
	bad = desc;
	bad.dif_ins_flags = 0x10;
	refused(bad, DSA_COMP_NOZERO_RESERVE, "a reserved DIF flag");
	bad = desc;
	bad.dest_dif_flag = 0x40;
	refused(bad, DSA_COMP_NOZERO_RESERVE, "insert with a flag of update");
	bad = desc;
	bad.dst_addr = bad.src_addr - 4 * WITH + 1;
	refused(bad, DSA_COMP_OVERLAP_BUFFERS, "insert into its source");
	bad = of_source(DSA_OPCODE_DIF_CHECK, 4);
	bad.dest_app_tag_seed = 1;
	refused(bad, DSA_COMP_NOZERO_RESERVE, "check with a tag of update");
}

/* ------------------------------------------------------- DSA 2 and batches */

static void test_version(void)
{
	struct dsa_hw_desc desc = { .opcode = OPCODE_TRANSL_FETCH,
				    .src_addr = HOLE - 0x1800,
				    .xfer_size = 0x1800 };
	struct outcome out = run(&desc);

	ok(out.status == DSA_COMP_SUCCESS, "translation: a region that is there");
	desc.xfer_size++;
	out = run(&desc);
	ok(out.status == DSA_COMP_PAGE_FAULT_NOBOF && out.fault_addr == HOLE &&
		   out.bytes_completed == 0x1800,
	   "translation: a fault behind %#x bytes", out.bytes_completed);
	device.options.version = 1;
	refused(desc, DSA_COMP_BAD_OPCODE, "translation by DSA 1");
	desc = insert(1);
	desc.opcode = OPCODE_DIX_GEN;
	refused(desc, DSA_COMP_BAD_OPCODE, "generate by DSA 1");
	device.options.version = 2;
}

static void test_batch(void)
{
	struct dsa_hw_desc desc = { .opcode = DSA_OPCODE_BATCH,
				    .desc_list_addr = HOLE - 3 * sizeof(desc),
				    .desc_count = 5 };
	struct dsa_hw_desc list[3] = { 0 };
	struct outcome out;

	memcpy(low + BYTES - sizeof(list), list, sizeof(list));
	out = run(&desc);
	ok(out.status == DSA_COMP_BATCH_PAGE_FAULT && out.fault_addr == HOLE &&
		   out.bytes_completed == 3 && !out.result,
	   "batch: the list ends in a fault behind %u", out.bytes_completed);
	list[1].opcode = DSA_OPCODE_MEMMOVE;
	list[1].src_addr = HOLE;
	list[1].dst_addr = HIGH;
	list[1].xfer_size = 1;
	memcpy(low + BYTES - sizeof(list), list, sizeof(list));
	out = run(&desc);
	ok(out.status == DSA_COMP_BATCH_PAGE_FAULT && out.result == 1,
	   "batch: the same, and one has failed");
	desc.desc_count = 3;
	out = run(&desc);
	ok(out.status == DSA_COMP_BATCH_FAIL && out.result == 1 && out.bytes_completed == 3,
	   "batch: one has failed");
	list[2].flags = IDXD_OP_FLAG_FENCE;
	memcpy(low + BYTES - sizeof(list), list, sizeof(list));
	out = run(&desc);
	ok(out.status == DSA_COMP_BATCH_FAIL && out.result == 1 && out.bytes_completed == 2,
	   "batch: a fence behind it");
}

int main(void)
{
	struct device_options options = { .version = 2 };

	if (device_init(&device, &options))
		return 2;
	low = range_map(LOW);
	high = range_map(HIGH);
	test_create();
	test_create_faults();
	test_apply();
	test_delta_refused();
	test_insert();
	test_sizes();
	test_strip_update();
	test_check();
	test_dif_refused();
	test_version();
	test_batch();
	printf("1..%u\n", tests);
	return failures != 0;
}
