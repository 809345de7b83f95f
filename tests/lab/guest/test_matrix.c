// SPDX-License-Identifier: MIT
/*
 * test_matrix.c - kinds of memory times ways of moving it, with a writer and a reader at work:
 * the content stays right, and engine and CPU each copied what they should.
 *
 * The test looks at its own pages one by one: a page has moved if its frame is another one
 * than before, and was moved by engine if the engine's notes lead from the old frame to the new
 * one.  What else the way moves in the guest does not count.
 *
 * By engine, above zero: anonymous memory (4K, THP, KSM, mlocked) and hugetlb, wherever the way
 * moves it in batches that reach the threshold.  Never: files (shmem, tmpfs, ext4), whose
 * single folios are not copied ahead of their turn, and pinned pages, which do not move at all.
 *
 * Memory can be offline where the kernel has none of its own: lab-boot: movablecore=768M
 *
 * AMUX_LAB_FULL: all of it; otherwise some.  AMUX_LAB_KIND, AMUX_LAB_WAY: one of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES	   (8ul << 20)
#define PAGES	   (BYTES / PAGE)
#define FRAMES	   (2ul << 20) /* page frames that testdma keeps account of */
#define ROUNDS_MAX 8
#define TRIES	   48
#define HOPS	   16
#define MEMORIES   4

/* What is to become of the pages: */
enum expect {
	STAY,	 /* this way does not move this kind */
	BY_CPU,	 /* they move, none by engine */
	BY_BOTH, /* they move, some by engine */
	BY_ANY	 /* they move; batches may or may not reach the threshold */
};

static const char *const say[] = { "none moves", "some move, none by engine", "some by engine",
				   "some move" };

static bool is_file(enum kind k)
{
	return k == KIND_SHMEM || k == KIND_TMPFS || k == KIND_EXT4;
}

static enum expect expected(enum kind k, enum way w)
{
	bool huge = k == KIND_THP || k == KIND_HUGETLB;

	if (k == KIND_PINNED)
		return STAY;
	switch (w) {
	case WAY_COMPACT:
		/* makes huge pages: does not move them */
		return huge ? STAY : is_file(k) ? BY_CPU : BY_BOTH;
	case WAY_KCOMPACTD:
		/* It starts only where memory is so sparse that a block holds 16 pages of ours:
		 * batches reach 32 where there are others' beside them. */
		return huge ? STAY : is_file(k) ? BY_CPU : BY_ANY;
	case WAY_DAMON_HOT:
	case WAY_DAMON_COLD:
		/* what is on the LRU lists */
		return k == KIND_HUGETLB ? STAY : is_file(k) ? BY_CPU : BY_BOTH;
	case WAY_DEMOTION:
		/* what could be reclaimed; batches are mostly smaller than 32 */
		if (k == KIND_HUGETLB || k == KIND_MLOCKED)
			return STAY;
		return is_file(k) ? BY_CPU : k == KIND_THP ? BY_BOTH : BY_ANY;
	default:
		return is_file(k) ? BY_CPU : BY_BOTH;
	}
}

static bool quick(enum kind k, enum way w)
{
	return w == WAY_MOVE_PAGES || w == WAY_MBIND ||
	       (w == WAY_COMPACT && (k == KIND_ANON || k == KIND_EXT4)) ||
	       (w == WAY_DAMON_COLD && (k == KIND_ANON || k == KIND_TMPFS)) ||
	       (w == WAY_OFFLINE && k == KIND_ANON) || (w == WAY_DEMOTION && k == KIND_THP);
}

/* Frames before and after a round, and what the engine notes. */
static uint64_t before[PAGES], after[PAGES];
static uint32_t source_of[FRAMES];

static int copies_clear(void)
{
	return file_write(FAULTS "copies", "0");
}

static int copies_read(void)
{
	int fd = open(FAULTS "copies", O_RDONLY | O_CLOEXEC);
	char *at = (char *)source_of;
	size_t left = sizeof(source_of);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (left && (n = read(fd, at, left)) > 0) {
		at += n;
		left -= (size_t)n;
	}
	close(fd);
	return left ? -EIO : 0;
}

struct count {
	unsigned long moved, engine;  /* of the pages under test */
	uint64_t all_engine, all_cpu; /* of whatever moved for the same reason */
};

/* Did engines copy it from @from to @to, in one hop or several? */
static bool by_engine(uint64_t from, uint64_t to)
{
	for (int hop = 0; hop < HOPS && to && to < FRAMES; hop++) {
		to = source_of[to];
		if (to == from)
			return true;
	}
	return false;
}

/* Move once by @w, and count. */
static int round_of(struct memory *m, enum way w, unsigned int round, struct count *c)
{
	uint64_t engine = dma_reason(way_reason[w], 2);
	uint64_t cpu = dma_reason(way_reason[w], 3) + dma_reason(way_reason[w], 4);
	int ret = copies_clear();

	if (!ret)
		ret = frames_of(m->base, PAGES, before);
	if (!ret)
		ret = move_by(w, m, round);
	if (!ret)
		ret = frames_of(m->base, PAGES, after);
	if (!ret)
		ret = copies_read();
	for (size_t i = 0; !ret && i < PAGES; i++) {
		if (!before[i] || !after[i] || before[i] == after[i])
			continue;
		c->moved++;
		c->engine += by_engine(before[i], after[i]);
	}
	c->all_engine += dma_reason(way_reason[w], 2) - engine;
	c->all_cpu += dma_reason(way_reason[w], 3) + dma_reason(way_reason[w], 4) - cpu;
	return ret;
}

static bool as_expected(enum expect want, const struct count *c)
{
	switch (want) {
	case STAY:
		return !c->moved;
	case BY_CPU:
		return c->moved && !c->engine;
	case BY_BOTH:
		/* Where frames are used again and again the notes lead nowhere. */
		return c->engine > 0 || (c->moved && c->all_engine && !c->all_cpu);
	default:
		return c->moved > 0;
	}
}

/* Memory of @k in a block that can go: others are held meanwhile, as often as it takes. */
static int make_offlinable(struct memory *m, enum kind k)
{
	struct memory other[TRIES];
	unsigned int n = 0;
	int ret;

	for (;;) {
		ret = memory_make(m, k, BYTES, 0);
		if (ret || move_offlinable(m))
			break;
		/* There are kernels with a page of their own in each such block of node 0. */
		move_to_node(m->base, BYTES, 1);
		if (move_offlinable(m))
			break;
		if (n == TRIES) {
			ret = -ENOSPC;
			break;
		}
		other[n++] = *m;
	}
	while (n)
		memory_free(&other[--n]);
	return ret;
}

static int make(struct memory *m, enum kind k, enum way w)
{
	/* The daemon wants a good part of the zone in pieces. */
	unsigned int between = w == WAY_COMPACT ? 7 : w == WAY_KCOMPACTD ? 30 : 0;

	return w == WAY_OFFLINE ? make_offlinable(m, k) : memory_make(m, k, BYTES, between);
}

static unsigned int ksm_cells;	  /* with pages that were merged */
static unsigned int daemon_cells; /* kcompactd's that could go by engine */
static uint64_t daemon_engine;	  /* pages of them that did */

struct cell {
	enum expect want;
	struct count c;
	unsigned long bad, written, checked;
	int ret;
};

/* Make memory, and move it some times with a writer and a reader at work. */
static void try(struct cell *cell, struct memory *m, enum kind k, enum way w)
{
	struct pages p = { .read_only = k == KIND_KSM || k == KIND_PINNED };
	unsigned int rounds = w == WAY_MOVE_PAGES || w == WAY_MBIND ? 4
			      : w == WAY_OFFLINE		    ? 1
								    : 2;

	cell->ret = make(m, k, w);
	if (!cell->ret)
		cell->ret = pages_init(&p, m->base, PAGES);
	if (!cell->ret)
		cell->ret = memory_settle(m);
	if (cell->ret)
		return;
	pages_start(&p);
	for (unsigned int i = 0; i < rounds && !cell->ret; i++)
		cell->ret = round_of(m, w, i, &cell->c);
	/* How much there is to move, and how it is split, depends on chance. */
	for (unsigned int i = rounds;
	     !cell->ret && i < ROUNDS_MAX && !as_expected(cell->want, &cell->c); i++)
		cell->ret = round_of(m, w, i, &cell->c);
	/* A block with pinned pages stays. */
	if (w == WAY_OFFLINE && k == KIND_PINNED && cell->ret == -EBUSY)
		cell->ret = 0;
	cell->bad += pages_finish(&p);
	cell->written += p.written;
	cell->checked += p.checked;
	pages_free(&p);
}

static void one(enum kind k, enum way w)
{
	struct cell cell = { .want = expected(k, w) };
	struct memory m[MEMORIES];
	unsigned int n = 0;

	/* What lies at the end of its zone is not compacted: then other memory, beside it. */
	do
		try(&cell, &m[n++], k, w);
	while (!cell.ret && n < MEMORIES && !as_expected(cell.want, &cell.c));
	while (n)
		memory_free(&m[--n]);
	if (k == KIND_KSM && cell.ret == -ETIMEDOUT && !cell.bad) {
		tap_skip(way_name[w], "ksmd did not merge the pages in time");
		return;
	}
	ksm_cells += k == KIND_KSM;
	if (w == WAY_KCOMPACTD && cell.want == BY_ANY) {
		daemon_cells++;
		daemon_engine += cell.c.all_engine;
	}
	tap_note("%s x %s: %lu pages moved, %lu by engine, %lu by CPU; for this reason in all: "
		 "%lu by engine, %lu by CPU; %lu written, %lu read",
		 kind_name[k], way_name[w], cell.c.moved, cell.c.engine,
		 cell.c.moved - cell.c.engine, (unsigned long)cell.c.all_engine,
		 (unsigned long)cell.c.all_cpu, cell.written, cell.checked);
	tap_ok(!cell.ret && !cell.bad && as_expected(cell.want, &cell.c),
	       "%s x %s: content right (%lu bad), %s%s%s", kind_name[k], way_name[w], cell.bad,
	       say[cell.want], cell.ret ? ": " : "", cell.ret ? strerror(-cell.ret) : "");
}

int main(int argc, char **argv)
{
	const char *kind = getenv("AMUX_LAB_KIND"), *way = getenv("AMUX_LAB_WAY");
	bool full = getenv("AMUX_LAB_FULL") || kind || way;
	int ret;

	tap_init(argc, argv, 3000);
	ret = move_init();
	if (ret)
		tap_bail("no control group: %s", strerror(-ret));
	ret = dma_load_both("channels=4", "min_pages=32");
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	for (enum way w = 0; w < WAY_COUNT; w++)
		for (enum kind k = 0; k < KIND_COUNT; k++)
			if ((full || quick(k, w)) && (!kind || k == (enum kind)atoi(kind)) &&
			    (!way || w == (enum way)atoi(way)))
				one(k, w);
	if (!kind || atoi(kind) == KIND_KSM)
		tap_ok(ksm_cells > 0, "%u ways with KSM pages that were merged", ksm_cells);
	if (daemon_cells > 1) /* of one alone it is chance */
		tap_ok(daemon_engine > 0, "kcompactd: %lu pages by engine, %u kinds together",
		       (unsigned long)daemon_engine, daemon_cells);
	tap_ok(!dma_stat("quarantined"), "nothing is quarantined");
	dma_unload_both();
	return tap_done();
}
