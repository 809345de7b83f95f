// SPDX-License-Identifier: MIT
/*
 * userwq WQ dedicated|shared write|portal CHECK - a program on a user WQ of idxd: WQ is its
 * device file, submission by write() or by the mapped portal (MOVDIR64B, ENQCMD).  Prints what
 * it found; exit status 0: as it must be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/idxd.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096u
#define HUGE	(2u << 20)
#define WAIT_S	30
#define STORM_S 5
#define BATCH	8u
#define MANY	64u
#define FLAGS	(IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR)

struct userwq {
	int fd;
	bool shared;
	volatile uint8_t *portal; /* NULL: write() */
	unsigned int slot;
};

static void die(const char *what)
{
	fprintf(stderr, "userwq: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void *memory(size_t bytes)
{
	uint8_t *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || madvise(p, bytes, MADV_NOHUGEPAGE))
		die("memory");
	return p;
}

static void *touched(size_t bytes)
{
	uint8_t *p = memory(bytes);

	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)rand();
	return p;
}

static void wq_open(struct userwq *q, const char *path, bool shared, bool portal)
{
	void *p;

	*q = (struct userwq){ .fd = open(path, O_RDWR | O_CLOEXEC), .shared = shared };
	if (q->fd < 0)
		die(path);
	if (!portal)
		return;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd, 0);
	if (p == MAP_FAILED)
		die("the portal");
	q->portal = p;
}

static void movdir64b(volatile void *to, const void *from)
{
	asm volatile(".byte 0x66, 0x0f, 0x38, 0xf8, 0x02" ::"a"(to), "d"(from) : "memory");
}

static bool enqcmd(volatile void *to, const void *from)
{
	bool retry;

	asm volatile(".byte 0xf2, 0x0f, 0x38, 0xf8, 0x02; setz %0"
		     : "=q"(retry)
		     : "a"(to), "d"(from)
		     : "memory", "cc");
	return !retry;
}

/* false: Retry */
static bool submit(struct userwq *q, const struct dsa_hw_desc *desc)
{
	volatile uint8_t *to;

	if (!q->portal) {
		if (write(q->fd, desc, sizeof(*desc)) == (ssize_t)sizeof(*desc))
			return true;
		if (errno != EAGAIN)
			die("write");
		return false;
	}
	to = q->portal + (q->slot++ % (PAGE / sizeof(*desc))) * sizeof(*desc);
	if (q->shared)
		return enqcmd(to, desc);
	movdir64b(to, desc);
	return true;
}

static uint8_t await(volatile struct dsa_completion_record *r)
{
	time_t end = time(NULL) + WAIT_S;

	while (!r->status && time(NULL) < end)
		sched_yield();
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return r->status;
}

static void describe(struct dsa_hw_desc *desc, struct dsa_completion_record *r, uint8_t opcode,
		     const void *src, const void *dst, uint32_t n)
{
	*desc = (struct dsa_hw_desc){ .opcode = opcode,
				      .flags = FLAGS,
				      .completion_addr = (uintptr_t)r,
				      .src_addr = (uintptr_t)src,
				      .dst_addr = (uintptr_t)dst,
				      .xfer_size = n };
	memset(r, 0, sizeof(*r));
}

/* One copy, from its submission to its end. */
static uint8_t copy(struct userwq *q, struct dsa_completion_record *r, const void *src,
		    void *dst, uint32_t n)
{
	struct dsa_hw_desc desc __attribute__((aligned(64)));

	describe(&desc, r, DSA_OPCODE_MEMMOVE, src, dst, n);
	while (!submit(q, &desc))
		sched_yield();
	return await(r);
}

/* ------------------------------------------------------------------ checks */

static bool check_copy(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *src = touched(HUGE), *dst = touched(HUGE), *want = touched(HUGE);
	unsigned long bytes = 0;

	memcpy(want, dst, HUGE);
	for (unsigned int i = 0; i < MANY; i++) {
		uint32_t n = 1 + (uint32_t)rand() % (i % 4 ? 3 * PAGE : HUGE / 8);
		uint32_t from = (uint32_t)rand() % (HUGE - n),
			 to = (uint32_t)rand() % (HUGE - n);

		if (copy(q, r, src + from, dst + to, n) != DSA_COMP_SUCCESS) {
			printf("status %#x of a copy of %u bytes\n", r->status, n);
			return false;
		}
		memcpy(want + to, src + from, n);
		bytes += n;
	}
	printf("%u copies, %lu bytes\n", MANY, bytes);
	return !memcmp(dst, want, HUGE);
}

/* Overlapping, from behind: what is copied from the end crosses pages backwards. */
static bool check_overlap(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *at = touched(8 * PAGE), *want = touched(8 * PAGE);

	memcpy(want, at, 8 * PAGE);
	memmove(want + 5000, want + 100, 6 * PAGE);
	copy(q, r, at + 100, at + 5000, 6 * PAGE);
	printf("status %#x\n", r->status);
	return r->status == DSA_COMP_SUCCESS && !memcmp(at, want, 8 * PAGE);
}

/* Pages of 2 MiB, where there are any to be had. */
static bool check_huge(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *p = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		die("huge pages");
	for (size_t i = 0; i < 4 * HUGE; i++)
		p[i] = (uint8_t)(i * 7 >> 3);
	memset(p + 2 * HUGE, 0, 2 * HUGE);
	/* As much as a WQ takes at once, over the border of two pages. */
	copy(q, r, p + 12345, p + 2 * HUGE + 777, HUGE);
	printf("status %#x\n", r->status);
	return r->status == DSA_COMP_SUCCESS && !memcmp(p + 12345, p + 2 * HUGE + 777, HUGE);
}

/* What a copy of two pages comes to if the second one at @bad is not there. */
static bool partial(const struct dsa_completion_record *r, uint8_t status, const uint8_t *bad,
		    uint32_t done)
{
	printf("status %#x, %u bytes completed, fault address %s\n", r->status,
	       r->bytes_completed,
	       r->fault_addr == (uintptr_t)bad ? "as expected" : "another one");
	return r->status == status && r->bytes_completed == done &&
	       r->fault_addr == (uintptr_t)bad;
}

/* A page that nobody has touched; the rest is copied once it has been. */
static bool check_fault(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *src = touched(2 * PAGE), *dst = memory(2 * PAGE);

	dst[0] = 1;
	copy(q, r, src + 100, dst + 100, PAGE);
	if (!partial(r, DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE, dst + PAGE,
		     PAGE - 100) ||
	    memcmp(src + 100, dst + 100, PAGE - 100))
		return false;
	dst[PAGE] = 1;
	copy(q, r, src + PAGE, dst + PAGE, 100);
	return r->status == DSA_COMP_SUCCESS && !memcmp(src + 100, dst + 100, PAGE);
}

static bool check_fault_read(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *src = memory(2 * PAGE), *dst = touched(2 * PAGE);

	src[0] = 1;
	copy(q, r, src, dst, 2 * PAGE);
	return partial(r, DSA_COMP_PAGE_FAULT_NOBOF, src + PAGE, PAGE);
}

/* A page that may only be read. */
static bool check_readonly(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *src = touched(2 * PAGE), *dst = touched(2 * PAGE);

	if (mprotect(dst + PAGE, PAGE, PROT_READ))
		die("mprotect");
	copy(q, r, src, dst, 2 * PAGE);
	return partial(r, DSA_COMP_PAGE_FAULT_NOBOF | DSA_COMP_STATUS_WRITE, dst + PAGE, PAGE);
}

/* The kernel's half of the address space, mapped or not: nothing of it for a program. */
static bool check_kernel(struct userwq *q, struct dsa_completion_record *r)
{
	static const uint64_t places[] = { 0xffffffff81000000, 0xffff888000001000,
					   0x0000800000000000, 0xfffffffffffff000 };
	uint8_t *dst = touched(PAGE);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint8_t *src = (uint8_t *)(uintptr_t)places[i];

		copy(q, r, src, dst, 64);
		if (!partial(r, DSA_COMP_PAGE_FAULT_NOBOF, src, 0))
			return false;
	}
	return true;
}

/* The completion record's page has not been touched: the kernel writes it by the event log. */
static bool check_record(struct userwq *q, struct dsa_completion_record *unused)
{
	uint8_t *src = touched(PAGE), *dst = touched(PAGE);
	struct dsa_completion_record *r = memory(PAGE);
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	unsigned char resident = 0;

	(void)unused;
	describe(&desc, (struct dsa_completion_record *)(void *)src, DSA_OPCODE_MEMMOVE,
		 src + 64, dst, 512);
	desc.completion_addr = (uintptr_t)r;
	while (!submit(q, &desc))
		sched_yield();
	/* Not a look at the record: that would bring its page in. */
	for (int i = 0; i < WAIT_S * 10 && !(resident & 1); i++) {
		usleep(100000);
		if (mincore(r, PAGE, &resident))
			die("mincore");
	}
	printf("the page is %sthere, status %#x\n", resident & 1 ? "" : "not ", r->status);
	return (resident & 1) && r->status == DSA_COMP_SUCCESS && !memcmp(src + 64, dst, 512);
}

static bool check_batch(struct userwq *q, struct dsa_completion_record *r)
{
	struct dsa_hw_desc *list = memory(PAGE), desc __attribute__((aligned(64)));
	struct dsa_completion_record *records = memory(PAGE);
	uint8_t *src = touched(BATCH * PAGE), *dst = touched(BATCH * PAGE);

	for (unsigned int i = 0; i < BATCH; i++)
		describe(&list[i], &records[i], DSA_OPCODE_MEMMOVE, src + i * PAGE,
			 dst + i * PAGE, PAGE);
	describe(&desc, r, DSA_OPCODE_BATCH, list, NULL, 0);
	desc.desc_count = BATCH;
	while (!submit(q, &desc))
		sched_yield();
	await(r);
	printf("status %#x, %u descriptors\n", r->status, r->bytes_completed);
	return r->status == DSA_COMP_SUCCESS && r->bytes_completed == BATCH &&
	       records[BATCH - 1].status == DSA_COMP_SUCCESS && !memcmp(src, dst, BATCH * PAGE);
}

/*
 * As many as there can be without one of them ending: the model keeps them.  Prints how many
 * were taken, and ends when all of those have been answered.
 */
static bool check_retry(struct userwq *q, struct dsa_completion_record *unused)
{
	uint8_t *src = touched(PAGE), *dst = touched(PAGE);
	struct dsa_completion_record *r = touched(PAGE);
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	unsigned int taken = 0, good = 0;

	(void)unused;
	for (; taken < MANY; taken++) {
		describe(&desc, &r[taken], DSA_OPCODE_MEMMOVE, src + taken * 64,
			 dst + taken * 64, 64);
		if (!submit(q, &desc))
			break;
		usleep(20000); /* the engine has taken its one */
	}
	printf("%u taken\n", taken);
	fflush(stdout);
	for (unsigned int i = 0; i < taken; i++)
		good += await(&r[i]) == DSA_COMP_SUCCESS;
	return good == taken && !memcmp(src, dst, taken * 64);
}

/* More than a dedicated WQ holds: those too many are dropped, and nobody is told. */
static bool check_drop(struct userwq *q, struct dsa_completion_record *unused)
{
	struct dsa_completion_record *r = touched(PAGE);
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	unsigned int good = 0;

	(void)unused;
	for (unsigned int i = 0; i < MANY; i++) {
		describe(&desc, &r[i], DSA_OPCODE_NOOP, NULL, NULL, 0);
		submit(q, &desc);
		usleep(20000);
	}
	printf("%u submitted\n", MANY);
	fflush(stdout);
	/* In their order: those behind the last one that was taken are never answered. */
	while (good < MANY && await(&r[good]) == DSA_COMP_SUCCESS)
		good++;
	printf("%u answered\n", good);
	return good < MANY;
}

/* Copies for some seconds, whatever others do on the same WQ. */
static bool check_storm(struct userwq *q, struct dsa_completion_record *r)
{
	uint8_t *src = touched(4 * PAGE), *dst = touched(4 * PAGE);
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	unsigned long done = 0, retries = 0;
	time_t end = time(NULL) + STORM_S;

	while (time(NULL) < end) {
		uint32_t n = 1 + (uint32_t)rand() % (2 * PAGE),
			 at = (uint32_t)rand() % (2 * PAGE);

		describe(&desc, r, DSA_OPCODE_MEMMOVE, src + at, dst + at, n);
		memset(dst, 0, 4 * PAGE);
		while (!submit(q, &desc))
			retries++;
		if (await(r) != DSA_COMP_SUCCESS || memcmp(src + at, dst + at, n)) {
			printf("status %#x after %lu copies\n", r->status, done);
			return false;
		}
		done++;
	}
	printf("done %lu retries %lu\n", done, retries);
	return done > 0;
}

/*
 * Wrong descriptors without a completion record: the device logs them, and on a device without
 * an event log poll() tells of it.
 */
static bool check_bad(struct userwq *q, struct dsa_completion_record *r)
{
	struct dsa_hw_desc desc __attribute__((aligned(64)));
	struct pollfd p = { .fd = q->fd, .events = POLLIN };

	for (unsigned int i = 0; i < 3 * MANY; i++) {
		describe(&desc, r, 0x7f, NULL, NULL, 0);
		desc.flags = 0;
		while (!submit(q, &desc))
			sched_yield();
		usleep(5000);
	}
	printf("%u submitted, poll %s\n", 3 * MANY,
	       poll(&p, 1, 2000) == 1 && (p.revents & POLLIN) ? "tells" : "does not tell");
	return true;
}

static const struct {
	const char *name;
	bool (*check)(struct userwq *q, struct dsa_completion_record *r);
} checks[] = {
	{ "copy", check_copy },
	{ "overlap", check_overlap },
	{ "huge", check_huge },
	{ "fault", check_fault },
	{ "fault-read", check_fault_read },
	{ "readonly", check_readonly },
	{ "kernel", check_kernel },
	{ "record", check_record },
	{ "batch", check_batch },
	{ "retry", check_retry },
	{ "drop", check_drop },
	{ "storm", check_storm },
	{ "bad", check_bad },
};

int main(int argc, char **argv)
{
	struct userwq q;

	if (argc != 5) {
		fprintf(stderr, "userwq: expected WQ dedicated|shared write|portal CHECK\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (strcmp(argv[4], checks[i].name))
			continue;
		wq_open(&q, argv[1], !strcmp(argv[2], "shared"), !strcmp(argv[3], "portal"));
		return !checks[i].check(&q, touched(PAGE));
	}
	fprintf(stderr, "userwq: '%s': expected a check\n", argv[4]);
	return 2;
}
