/* SPDX-License-Identifier: MIT */
/*
 * test_memory.c - what memory may be: huge pages, also with holes punched into them, and regions
 * that go while copies are under way: unregistering waits for those, and only for those.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define MIB	 (1u << 20)
#define HUGE	 (2 * MIB)
#define BYTES	 (48u * MIB) /* 160 ms of the engine's time */
#define COPIES	 3u
#define PAGES	 "/proc/sys/vm/nr_hugepages"
#define PAGES_US 12u /* huge pages that this test uses at once */

/* --------------------------------------------------------------------- huge pages */

static long pages_get(void)
{
	FILE *f = fopen(PAGES, "re");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static void pages_set(long n)
{
	FILE *f = fopen(PAGES, "we");

	if (!f)
		return;
	fprintf(f, "%ld\n", n);
	fclose(f);
}

/* Have @n more huge pages, if the host lets us.  How many there were, for pages_set(). */
static long pages_reserve(unsigned int n)
{
	long had = pages_get();

	if (had >= 0)
		pages_set(had + n);
	return had;
}

/* One request; its status, -ETIME without an answer. */
static int run_one(struct amux_queue *q, struct amux_cqe *cqe)
{
	struct timespec limit = { 20 * TAP_SLOW, 0 };

	amux_submit(q);
	if (amux_wait(q, cqe, 1, 1, &limit) != 1)
		return -ETIME;
	return cqe->status;
}

static void huge_ops(struct amux *a, struct amux_queue *q, uint8_t *mem)
{
	uint8_t *src = mem, *dst = mem + 2 * HUGE;
	uint64_t len = 2 * HUGE - 77;
	struct amux_sqe *sqe;
	struct amux_cqe cqe;
	int err;

	plain_random(src, 2 * HUGE, tap_seed());
	sqe = amux_get_sqe(q);
	amux_prep_copy(a, sqe, dst + 33, src + 11, len);
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	err = run_one(q, &cqe);
	tap_ok(!err && cqe.bytes == len && !memcmp(dst + 33, src + 11, len),
	       "huge pages: COPY by the engine");
	sqe = amux_get_sqe(q);
	amux_prep_copy(a, sqe, dst + 4, dst, len - 4);
	sqe->flags = AMUX_SQE_CPU_ONLY;
	err = run_one(q, &cqe);
	tap_ok(!err && !memcmp(dst + 37, src + 11, len - 37), "... overlapping, by the CPU");
	err = amux_copy(a, dst, src, 2 * HUGE);
	tap_ok(!err && !memcmp(dst, src, 2 * HUGE), "... by amux_copy()");
	sqe = amux_get_sqe(q);
	amux_prep_crc32c(a, sqe, src, 1, len);
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	err = run_one(q, &cqe);
	tap_ok(!err && cqe.result == plain_crc32c(1, src, len), "... CRC32C");
}

/* A hole in a hugetlb file for which there is no page raises SIGBUS. */
static void huge_hole(struct amux *a, struct amux_queue *q)
{
	int fd = memfd_create("test-memory",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB);
	struct amux_cqe cqe = { 0 };
	struct amux_sqe *sqe;
	uint8_t *mem;
	int err;

	if (fd < 0 || ftruncate(fd, 2 * HUGE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("huge memfd: %s", strerror(errno));
	mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED || amux_register(a, fd, mem, 2 * HUGE))
		tap_bail("register: %s", amux_error());
	memset(mem, 7, 2 * HUGE);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE, HUGE))
		tap_bail("punch: %s", strerror(errno));
	sqe = amux_get_sqe(q);
	amux_prep_copy(a, sqe, mem + HUGE + 5, mem, 4096);
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	err = run_one(q, &cqe);
	/* The page may be there again: then it is as if it were new. */
	tap_ok(err == -EFAULT || (!err && !memcmp(mem + HUGE + 5, mem, 4096)),
	       "... a hole that was punched: %d, and the broker lives", err);
	amux_unregister(a, mem);
	munmap(mem, 2 * HUGE);
	close(fd);
}

static void test_huge(const struct daemon *d)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	long had = pages_reserve(PAGES_US);
	struct amux_queue *q;
	void *mem = NULL;
	struct amux *a;
	int err;

	opt.socket = d->socket;
	if (amux_connect(&a, &opt) || amux_queue_create(a, 16, &q))
		tap_bail("connect: %s", amux_error());
	err = amux_alloc(a, 4 * HUGE - 5, AMUX_ALLOC_HUGETLB, &mem);
	if (err) {
		tap_skip("huge pages", "the host has none, and does not let us reserve any");
		tap_ok(err == -ENOMEM && !mem, "without huge pages amux_alloc() says -ENOMEM");
	} else {
		huge_ops(a, q, mem);
		huge_hole(a, q);
		tap_ok(!amux_free(a, mem), "... and are given back");
		tap_ok(amux_alloc(a, 1ull << 44, AMUX_ALLOC_HUGETLB, &mem) == -ENOMEM,
		       "more huge pages than there are: -ENOMEM");
	}
	amux_close(a);
	if (had >= 0)
		pages_set(had);
}

/* ---------------------------------------------------------------------- going away */

struct leaver {
	struct amux *a;
	void *addr;
	uint64_t took_ns;
	int err;
};

static void *leave(void *arg)
{
	struct leaver *l = arg;
	uint64_t start = tap_ns();

	l->err = amux_unregister(l->a, l->addr);
	l->took_ns = tap_ns() - start;
	return NULL;
}

/* Unregister what an engine is copying from or to, again and again for half a second; the copies
 * must be whole when that returns. */
static void leave_round(struct daemon *d, struct amux *a, struct amux_queue *q, uint8_t *mine,
			bool source)
{
	int fd = memfd_create("test-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct leaver l = { .a = a };
	uint64_t len = BYTES, before;
	struct amux_sqe *sqe;
	struct amux_cqe cqe;
	uint8_t *view, *mem;
	uint32_t region;
	uint64_t offset;
	pthread_t t;
	bool whole;

	if (fd < 0 || ftruncate(fd, (off_t)len) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("memfd: %s", strerror(errno));
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	view = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED || view == MAP_FAILED || amux_register(a, fd, mem, len) ||
	    amux_locate(a, mem, 1, &region, &offset))
		tap_bail("register: %s", amux_error());
	plain_random(source ? mem : mine, len, tap_seed() + source);
	memset(source ? mine : mem, 0, len);
	for (unsigned int i = 0; i < COPIES; i++) {
		sqe = amux_get_sqe(q);
		amux_prep_copy(a, sqe, source ? mine : mem, source ? mem : mine, len);
		sqe->flags = AMUX_SQE_ENGINE_ONLY;
	}
	before = daemon_count(d, "status", "classes.user.engine_bytes");
	amux_submit(q);
	while (daemon_count(d, "status", "classes.user.engine_bytes") == before)
		tap_sleep_ms(1);
	l.addr = mem;
	pthread_create(&t, NULL, leave, &l);
	/* Going, it is found no more. */
	while (amux_locate(a, mem, 1, &region, &offset) != -ENOENT)
		tap_sleep_ms(1);
	pthread_join(t, NULL);
	munmap(mem, len);
	whole = !memcmp(view, mine, len);
	tap_ok(!l.err && whole,
	       "unregistering the %s of a copy under way: returned after %.0f ms, all is "
	       "copied",
	       source ? "source" : "destination", (double)l.took_ns / 1e6);
	tap_ok(l.took_ns > 1000000, "it waited for that");
	for (unsigned int i = 0; i < COPIES; i++)
		if (amux_wait(q, &cqe, 1, 1, NULL) != 1 || cqe.status)
			tap_ok(false, "a copy's own answer: %d", cqe.status);
	sqe = amux_get_sqe(q);
	sqe->op = AMUX_OP_FILL;
	sqe->region[1] = region;
	sqe->len = 1;
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	tap_ok(run_one(q, &cqe) == -EBADF && cqe.field == AMUX_FIELD_REGION1,
	       "its id names nothing any more");
	munmap(view, len);
	close(fd);
}

static void test_leave(struct daemon *d)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux_queue *q;
	struct amux_sqe *sqe;
	struct amux_cqe cqe;
	uint64_t start;
	struct amux *a;
	void *mem, *idle;
	int err;

	opt.socket = d->socket;
	if (amux_connect(&a, &opt) || amux_queue_create(a, 16, &q) ||
	    amux_alloc(a, 2 * BYTES, 0, &mem) || amux_alloc(a, MIB, 0, &idle))
		tap_bail("connect: %s", amux_error());
	leave_round(d, a, q, mem, true);
	leave_round(d, a, q, mem, false);
	sqe = amux_get_sqe(q);
	amux_prep_copy(a, sqe, (char *)mem + BYTES, mem, BYTES);
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	amux_submit(q);
	start = tap_ns();
	err = amux_free(a, idle);
	tap_ok(!err && !amux_peek(q, &cqe, 1), "memory that no copy uses goes at once: %.1f ms",
	       (double)(tap_ns() - start) / 1e6);
	amux_close(a); /* with a copy in flight */
}

int main(int argc, char **argv)
{
	struct daemon d;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=shared", "soft.model=on", NULL);
	test_huge(&d);
	test_leave(&d);
	daemon_stop(&d);
	return tap_done();
}
