// SPDX-License-Identifier: MIT
/*
 * test_cost.c - what the module costs a migration that it declines, in instructions.
 *
 * Wants a guest of one vCPU under `-icount shift=0`, where the time stamp counter counts
 * instructions: one tick each.  Without it the test is skipped: a busy host would be measured
 * instead.  Every case moves the same pages to and fro with mbind(); the first pass is with no
 * module in the kernel.
 *
 *	no grant	   loaded, no broker, default=cpu
 *	grant of nothing   a broker is attached and grants nothing
 *	below threshold	   granted, every batch is smaller than min_pages
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../kmod/uapi/accelmux.h"
#include "../../lib/tap.h"
#include "dma.h"

#define PAGE	   4096ul
#define BASE_PAGES 4096ul /* of 4 KiB */
#define HUGE	   (2ul << 20)
#define HUGES	   8ul
#define SMALL	   16ul /* pages of one mbind() that stays below the threshold */
#define ROUNDS	   6

enum { WARM_UP = 2 };

struct region {
	char *base;
	size_t bytes; /* of the region */
	size_t step;  /* of one mbind() */
};

static uint64_t ticks(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static int move_to(char *base, size_t bytes, unsigned int node)
{
	unsigned long mask = 1ul << node;

	return (int)syscall(SYS_mbind, base, bytes, MPOL_BIND, &mask, 8 * sizeof(mask) + 1,
			    MPOL_MF_MOVE | MPOL_MF_STRICT);
}

/* Fewest ticks of ROUNDS for moving the region once, per 4 KiB; 0 if it did not move. */
static double cost_of(const struct region *r)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t sum = 0;

		for (size_t at = 0; at < r->bytes; at += r->step) {
			uint64_t start = ticks();

			if (move_to(r->base + at, r->step, i % 2 == 0))
				return 0;
			sum += ticks() - start;
		}
		/* Both directions count alike: a round is there and back. */
		if (i >= WARM_UP && sum < best)
			best = sum;
	}
	return (double)best / (double)(r->bytes / PAGE);
}

static int region_make(struct region *r, size_t bytes, size_t step, int advice)
{
	char *p = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	if (madvise(p, bytes, advice))
		return -errno;
	memset(p, 0x5a, bytes);
	*r = (struct region){ p, bytes, step };
	return 0;
}

/* A broker of our own: attached, with the grant given.  The mapping goes at once: while it
 * stands the device stays open. */
static int broker_attach(uint32_t flags, uint32_t min_pages)
{
	struct amux_hello hello = { .version = AMUX_GRANT_VERSION };
	struct amux_acquire acquire = { .dev = 0, .node = -1, .max_channels = 4 };
	struct amux_grant *g;
	int fd = open("/dev/accelmux", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, AMUX_IOC_HELLO, &hello) || ioctl(fd, AMUX_IOC_ACQUIRE, &acquire))
		goto fail;
	g = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (g == MAP_FAILED)
		goto fail;
	g->magic = AMUX_GRANT_MAGIC;
	g->version = AMUX_GRANT_VERSION;
	g->flags = flags;
	g->n_devs = 1;
	g->min_pages = min_pages;
	g->chunk_bytes = 256 << 10;
	g->reason_mask = ~0u;
	g->dev[0].reserve_bps = 10000000000ull;
	g->dev[0].device_bps = 10000000000ull;
	g->dev[0].engine_mask = ~0u;
	g->dev[0].cap_bytes = 4 << 20;
	munmap(g, PAGE);
	if (ioctl(fd, AMUX_IOC_ATTACH))
		goto fail;
	return fd;
fail:
	close(fd);
	return -EIO;
}

static void judge(const char *what, double without, double with, double limit)
{
	double more = without > 0 ? 100 * (with - without) / without : 100;

	tap_note("%s: %.0f instructions per 4 KiB without the module, %.0f with: %+.2f %%",
		 what, without, with, more);
	tap_ok(without > 0 && with > 0 && more <= limit, "%s: at most +%.1f %%", what, limit);
}

int main(int argc, char **argv)
{
	static const char *const name[] = { "mbind 4K in 512s", "mbind 4K in 16s",
					    "mbind THP" };
	static const double no_grant[] = { 1.5, 1.5, 0.1 }, below[] = { 3, 3, 0.1 };
	struct region r[3];
	double without[3], with;
	int fd;

	tap_init(argc, argv, 900);
	if (!getenv("AMUX_LAB_ICOUNT")) {
		for (int i = 0; i < 9; i++)
			tap_skip("instructions", "not counted in this guest");
		return tap_done();
	}
	if (region_make(&r[0], BASE_PAGES * PAGE, BASE_PAGES * PAGE, MADV_NOHUGEPAGE) ||
	    region_make(&r[1], BASE_PAGES * PAGE, SMALL * PAGE, MADV_NOHUGEPAGE) ||
	    region_make(&r[2], HUGES * HUGE, HUGES * HUGE, MADV_HUGEPAGE))
		tap_bail("no memory");
	for (int i = 0; i < 3; i++)
		without[i] = cost_of(&r[i]);

	if (dma_load("/m/amux_testdma.ko", "") || dma_load("/m/accelmux.ko", "default=cpu"))
		tap_bail("the modules do not load");
	for (int i = 0; i < 3; i++) {
		with = cost_of(&r[i]);
		tap_note("no broker");
		judge(name[i], without[i], with, no_grant[i]);
	}
	fd = broker_attach(0, 32);
	if (fd < 0)
		tap_bail("no broker link");
	for (int i = 0; i < 3; i++) {
		with = cost_of(&r[i]);
		tap_note("a grant of nothing");
		judge(name[i], without[i], with, no_grant[i]);
	}
	close(fd);
	/* More than a batch ever holds: each one is looked at and left alone. */
	fd = broker_attach(AMUX_GRANT_ENABLED, 1024);
	if (fd < 0)
		tap_bail("no broker link");
	for (int i = 0; i < 3; i++) {
		with = cost_of(&r[i]);
		tap_note("below the threshold");
		judge(name[i], without[i], with, below[i]);
	}
	close(fd);
	dma_unload("accelmux");
	dma_unload("amux_testdma");
	return tap_done();
}
