// SPDX-License-Identifier: MIT
/*
 * test_matrix.c - kinds of memory times ways of moving it, with a writer and a reader at work:
 * the content stays right, and engine and CPU each copied what they should.
 *
 * By engine, above zero: anonymous memory (4K, THP, KSM, mlocked) and hugetlb wherever batches
 * reach the threshold.  Never: pinned pages.  Single folios of files (tmpfs, shmem, ext4) are
 * below the threshold, and only anonymous folios are copied ahead of their turn: none by engine.
 * Compaction and its like move whatever there is on the host: there the kind under test need
 * not be what went by engine, so the counts are told, and only the sum must be above zero.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES	   (16ul << 20)
#define ROUNDS_MAX 10

enum expect { NONE, SOME, ANY };

static bool targeted(enum way w)
{
	return w == WAY_MOVE_PAGES || w == WAY_MBIND;
}

static enum expect expected(enum kind k, enum way w)
{
	/* demotion: batches of less than 32, mostly; hugetlb and pinned memory is not demoted */
	if (w == WAY_DEMOTION)
		return ANY;
	if (!targeted(w))
		return w == WAY_DAMON || w == WAY_OFFLINE ? ANY : SOME;
	switch (k) {
	case KIND_PINNED:
	case KIND_SHMEM:
	case KIND_TMPFS:
	case KIND_EXT4:
		return NONE;
	default:
		return SOME;
	}
}

static bool quick_kind(enum kind k)
{
	return k != KIND_KSM && k != KIND_MLOCKED;
}

static bool quick_way(enum way w)
{
	return w == WAY_MOVE_PAGES || w == WAY_MBIND || w == WAY_COMPACT;
}

static void one(enum kind k, enum way w)
{
	static const char *const say[] = { "none by engine", "some by engine", "counts told" };
	uint64_t engine, batched, single;
	enum expect want = expected(k, w);
	struct pages p = { .read_only = k == KIND_KSM || k == KIND_PINNED };
	unsigned int rounds = w == WAY_MOVE_PAGES || w == WAY_MBIND ? 4 : 2;
	struct memory m;
	unsigned long bad;
	bool ok;
	int ret;

	ret = memory_make(&m, k, BYTES);
	if (!ret)
		ret = pages_init(&p, m.base, BYTES / PAGE);
	if (!ret)
		ret = memory_settle(&m);
	if (ret) {
		tap_ok(false, "%s x %s: the memory cannot be had: %s", kind_name[k], way_name[w],
		       strerror(-ret));
		memory_free(&m);
		return;
	}
	engine = dma_reason(way_reason[w], 2);
	batched = dma_reason(way_reason[w], 3);
	single = dma_reason(way_reason[w], 4);
	pages_start(&p);
	for (unsigned int i = 0; i < rounds && !ret; i++)
		ret = move_by(w, &m, i);
	/* How much there is to compact depends on where free pages happened to lie. */
	for (unsigned int i = rounds;
	     !ret && i < ROUNDS_MAX && want == SOME && dma_reason(way_reason[w], 2) == engine; i++)
		ret = move_by(w, &m, i);
	bad = pages_finish(&p);
	engine = dma_reason(way_reason[w], 2) - engine;
	batched = dma_reason(way_reason[w], 3) - batched;
	single = dma_reason(way_reason[w], 4) - single;
	ok = !ret && !bad && (want == ANY || (want == SOME) == (engine > 0));
	tap_note("%s x %s: %lu pages by engine, %lu by CPU in batches, %lu by CPU singly; %lu written, %lu read",
		 kind_name[k], way_name[w], (unsigned long)engine, (unsigned long)batched,
		 (unsigned long)single, (unsigned long)p.written, (unsigned long)p.checked);
	tap_ok(ok, "%s x %s: content right (%lu bad), %s%s%s", kind_name[k], way_name[w], bad,
	       say[want], ret ? ": " : "", ret ? strerror(-ret) : "");
	pages_free(&p);
	memory_free(&m);
}

int main(int argc, char **argv)
{
	bool full = getenv("AMUX_LAB_FULL");
	int ret;

	tap_init(argc, argv, 1500);
	ret = dma_load_both("channels=4", "min_pages=32");
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	for (enum way w = 0; w < WAY_COUNT; w++)
		for (enum kind k = 0; k < KIND_COUNT; k++)
			if (full || (quick_kind(k) && quick_way(w)))
				one(k, w);
	tap_ok(!dma_stat("quarantined"), "nothing is quarantined");
	dma_unload_both();
	return tap_done();
}
