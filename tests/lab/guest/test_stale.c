// SPDX-License-Identifier: MIT
/*
 * test_stale.c - a mark holds only for its own pass.
 *
 * A memfd's page can be pinned through the page cache, without its page table entry and without
 * the folio lock.  The race, step by step, with pages of a memfd that a udmabuf pins:
 *
 *	migrate_pages()				somebody else
 *	all are unmapped; the batch is copied
 *	... copied, not answered yet ...	pins, writes new data
 *	pass 1: a reference too many, -EAGAIN
 *						unpins
 *	pass 2: folio_mc_copy() ...
 *
 * ... must copy again: what pass 1 had is stale.  With a module built to copy files ahead and
 * to keep its marks from one pass to the next, data is lost: the control, which shows that the
 * race is really run.  With the module as it is, none is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define N	  512ul /* pages: one batch */
#define ATTEMPTS  40
#define OLD	  0x0101010101010101ull
#define NEW(page) (0xa5a5000000000000ull | (page))

struct race {
	int memfd, udmabuf;
	char *base;	       /* the memfd, mapped */
	unsigned int unpin_ms; /* after the answer */
};

/* Pin all pages, write to them past every page table that migration knows of. */
static int pin_and_write(struct race *r)
{
	struct udmabuf_create create = { .memfd = (__u32)r->memfd, .size = N * PAGE };
	int buf = ioctl(r->udmabuf, UDMABUF_CREATE, &create);
	char *p;

	if (buf < 0)
		return -errno;
	p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (p == MAP_FAILED) {
		close(buf);
		return -errno;
	}
	for (size_t i = 0; i < N; i++)
		*(volatile uint64_t *)(p + i * PAGE + 8) = NEW(i);
	munmap(p, N * PAGE);
	return buf;
}

static void *mover(void *arg)
{
	struct race *r = arg;

	move_to_node(r->base, N * PAGE, 1);
	return NULL;
}

/* Pages that lost what was written while they were pinned; -errno. */
static int race_once(struct race *r)
{
	uint64_t copied, seen;
	pthread_t thread;
	int buf, lost = 0;

	move_to_node(r->base, N * PAGE, 0);
	for (size_t i = 0; i < N; i++)
		*(volatile uint64_t *)(r->base + i * PAGE + 8) = OLD;
	fault_set("gate", 1);
	copied = fault_get("descriptors");
	if (pthread_create(&thread, NULL, mover, r))
		return -EAGAIN;
	/* Where files are not copied ahead there is nothing to wait for: a matter of chance. */
	for (int i = 0; i < 50 && fault_get("descriptors") == copied; i++)
		sleep_ms(2);
	do {
		seen = fault_get("descriptors");
		sleep_ms(20);
	} while (fault_get("descriptors") != seen);
	/* Copied, not answered. */
	buf = pin_and_write(r);
	fault_set("gate", 0);
	sleep_ms(r->unpin_ms);
	if (buf >= 0)
		close(buf);
	pthread_join(thread, NULL);
	if (buf < 0)
		return buf;
	for (size_t i = 0; i < N; i++)
		lost += *(volatile uint64_t *)(r->base + i * PAGE + 8) != NEW(i);
	return lost;
}

/* Pages lost in all attempts, or until some are if @enough. */
static int races(const char *module, bool enough, unsigned int *attempts)
{
	struct race r = { .udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC) };
	int lost = 0, ret;

	r.memfd = memfd_create("pinned", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if (r.udmabuf < 0 || r.memfd < 0 || ftruncate(r.memfd, (off_t)(N * PAGE)) ||
	    fcntl(r.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("no memfd to pin: %s", strerror(errno));
	r.base = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r.memfd, 0);
	if (r.base == MAP_FAILED)
		tap_bail("no memory");
	madvise(r.base, N * PAGE, MADV_NOHUGEPAGE);
	ret = dma_load(module, "default=share timeout_ms=10000");
	if (ret || !dma_stat_becomes("armed", 1, 5000))
		tap_bail("%s does not load: %s", module, strerror(-ret));
	for (*attempts = 0; *attempts < ATTEMPTS && !(enough && lost); (*attempts)++) {
		r.unpin_ms = 6 + *attempts % 20 * 2;
		ret = race_once(&r);
		if (ret < 0)
			tap_bail("pinning: %s", strerror(-ret));
		lost += ret;
	}
	ret = dma_unload("accelmux");
	if (ret)
		tap_bail("%s does not unload: %s", module, strerror(-ret));
	munmap(r.base, N * PAGE);
	close(r.memfd);
	close(r.udmabuf);
	return lost;
}

int main(int argc, char **argv)
{
	unsigned int attempts;
	int lost, ret;

	tap_init(argc, argv, 900);
	/* Many channels: nearly all of a batch is in flight at once. */
	ret = dma_load("/m/amux_testdma.ko", "channels=32 depth=32");
	if (ret)
		tap_bail("amux_testdma.ko: %s", strerror(-ret));
	lost = races("/m/accelmux-keepmarks.ko", true, &attempts);
	tap_ok(lost > 0, "control, marks that survive a pass: %d pages lost in %u attempts",
	       lost, attempts);
	lost = races("/m/accelmux.ko", false, &attempts);
	tap_ok(!lost, "marks of one pass only: %d pages lost in %u attempts", lost, attempts);
	dma_unload("amux_testdma");
	return tap_done();
}
