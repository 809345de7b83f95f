// SPDX-License-Identifier: GPL-2.0-only
/*
 * run.c - batches, and what becomes of them: /sys/kernel/debug/amux_testoffload/
 *
 *	folios, order	 the batch
 *	reason		 why it moves (enum migrate_reason)
 *	odd, odd_at	 what is wrong with one folio of it (enum odd), and which one
 *	pass_ms		 pause between the passes of the move phase
 *	hold_ms		 how long the result is watched before it is given back
 *	careless	 1: a move phase without the check of references that the kernel's
 *			 has: what the watching must then find
 *	run		 any write: do it
 *	result		 of the last one, "name value" lines
 *
 * Each folio has content of its own.  After the move it is looked for in the destination, or
 * still in the source if the move failed; again when hold_ms are over.  The memory of discarded
 * destinations is asked for again at once and watched as well: if the provider let go of
 * memory that a late DMA write still goes to, somebody here is hit.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/migrate_copy_offload.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "testoffload.h"

#ifdef FOLIO_MAPPING_ANON
#define MAPPING_ANON FOLIO_MAPPING_ANON
#else
#define MAPPING_ANON PAGE_MAPPING_ANON
#endif

#define FOLIOS_MAX 1024
#define PASSES	   10 /* of the kernel's move phase */

enum odd { ODD_NONE, ODD_PINNED, ODD_FILE, ODD_PRIVATE };

struct item {
	struct folio *src, *dst;
	enum odd odd;
	bool moved;
};

static struct {
	u32 folios, order, reason, odd, odd_at, pass_ms, hold_ms, careless;
} knob = { .folios = 64, .reason = MR_SYSCALL };

static struct {
	s32 answer;  /* of the provider */
	u32 marked;  /* by it */
	u32 moved;   /* marked or copied, and accepted */
	u32 refused; /* attempts that failed by the count of references */
	u32 failed;  /* folios that were not moved in the end */
	u32 held;    /* of those, sources somebody still holds after hold_ms */
	u32 watched; /* pages taken from what was discarded */
	u32 bad;     /* folios, or pages watched, with a wrong byte, ever */
} result;

static DEFINE_MUTEX(lock); /* one run at a time */
static u64 serial;

/* What folio mappings point to; never looked into. */
static u64 any_anon_vma;
static struct address_space any_file;

static u64 word_of(u64 id, size_t at)
{
	u64 x = (id + 1) * 0x9e3779b97f4a7c15ull + at;

	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ull;
}

static void content_fill(struct folio *f, u64 id)
{
	u64 *word = folio_address(f);
	size_t i;

	for (i = 0; i < folio_size(f) / sizeof(u64); i++)
		word[i] = word_of(id, i);
	cond_resched();
}

static bool content_right(struct folio *f, u64 id)
{
	const u64 *word = folio_address(f);
	size_t i;

	cond_resched();
	for (i = 0; i < folio_size(f) / sizeof(u64); i++)
		if (READ_ONCE(word[i]) != word_of(id, i))
			return false;
	return true;
}

/* Make @f look like a source in a batch: locked, not mapped, isolated by the one reference. */
static void source_dress(struct folio *f, enum odd odd)
{
	__folio_set_locked(f);
	if (odd == ODD_FILE) {
		f->mapping = &any_file;
		folio_ref_add(f, folio_nr_pages(f));
	} else {
		f->mapping = (void *)((unsigned long)&any_anon_vma | MAPPING_ANON);
	}
	if (odd == ODD_PINNED)
		folio_get(f);
	if (odd == ODD_PRIVATE)
		folio_set_private(f);
}

static void source_strip(struct folio *f, enum odd odd)
{
	if (odd == ODD_PRIVATE)
		folio_clear_private(f);
	if (odd == ODD_PINNED)
		folio_put(f);
	if (odd == ODD_FILE)
		folio_ref_sub(f, folio_nr_pages(f));
	f->mapping = NULL;
	folio_unlock(f);
}

static bool marked(const struct folio *dst)
{
	return (unsigned long)dst->private & FOLIO_CONTENT_COPIED;
}

/* Nobody but us: as __migrate_folio() asks before anything else. */
static bool references_right(const struct folio *src)
{
	return folio_ref_count(src) == folio_expected_ref_count(src) + 1;
}

static void move(struct item *item, u32 n)
{
	u32 pass, i, left = n;

	for (pass = 0; pass < PASSES && left; pass++) {
		if (pass && knob.pass_ms)
			msleep(knob.pass_ms);
		for (i = 0; i < n; i++) {
			struct item *t = &item[i];

			if (t->moved)
				continue;
			if (!knob.careless && !references_right(t->src)) {
				result.refused++;
				continue;
			}
			if (!marked(t->dst) && folio_mc_copy(t->dst, t->src))
				continue;
			t->moved = true;
			left--;
		}
	}
	result.moved = n - left;
	result.failed = left;
}

static u32 look(struct item *item, u32 n, u64 id)
{
	u32 i, bad = 0;

	for (i = 0; i < n; i++)
		bad += !content_right(item[i].moved ? item[i].dst : item[i].src, id + i);
	return bad;
}

static u32 look_page(struct folio **page, u32 n, u64 id)
{
	u32 i, bad = 0;

	for (i = 0; i < n; i++)
		bad += !content_right(page[i], id + i);
	return bad;
}

/* Until the end: what was moved is in use, what was not is given back and asked for anew. */
static void watch(struct item *item, u32 n, u64 id)
{
	u64 page_id = id + n;
	struct folio **page;
	u32 i, pages = 0, want = 2 * (result.failed << knob.order);

	page = kvcalloc(max(want, 1u), sizeof(*page), GFP_KERNEL);
	for (i = 0; i < n; i++) {
		item[i].dst->private = NULL;
		folio_unlock(item[i].dst);
		if (item[i].moved)
			continue;
		folio_put(item[i].dst);
		item[i].dst = NULL;
	}
	for (; page && pages < want; pages++) {
		page[pages] = folio_alloc(GFP_KERNEL | __GFP_NORETRY, 0);
		if (!page[pages])
			break;
		content_fill(page[pages], page_id + pages);
	}
	result.watched = pages;
	result.bad = look(item, n, id);
	msleep(knob.hold_ms);
	result.bad = max(result.bad, look(item, n, id) + look_page(page, pages, page_id));
	for (i = 0; i < n; i++)
		result.held += !item[i].moved && item[i].odd != ODD_PINNED &&
			       !references_right(item[i].src);
	while (pages)
		folio_put(page[--pages]);
	kvfree(page);
}

static int run(void)
{
	u32 n = clamp(knob.folios, 1u, FOLIOS_MAX), made = 0, i;
	LIST_HEAD(src_list);
	LIST_HEAD(dst_list);
	struct item *item;
	u64 id = serial;
	int ret = -ENOMEM;

	item = kvcalloc(n, sizeof(*item), GFP_KERNEL);
	if (!item)
		return -ENOMEM;
	memset(&result, 0, sizeof(result));
	for (; made < n; made++) {
		item[made].src = folio_alloc(GFP_KERNEL, knob.order);
		if (!item[made].src)
			goto free;
		item[made].dst = folio_alloc(GFP_KERNEL, knob.order);
		if (!item[made].dst) {
			folio_put(item[made].src);
			goto free;
		}
	}
	serial += n + 2 * ((u64)n << knob.order);
	for (i = 0; i < n; i++) {
		item[i].odd = i == knob.odd_at ? knob.odd : ODD_NONE;
		content_fill(item[i].src, id + i);
		content_fill(item[i].dst, ~id);
		source_dress(item[i].src, item[i].odd);
		__folio_set_locked(item[i].dst);
		list_add_tail(&item[i].src->lru, &src_list);
		list_add_tail(&item[i].dst->lru, &dst_list);
	}
	result.answer = core_copy(knob.reason, &dst_list, &src_list, n);
	for (i = 0; i < n; i++) {
		result.marked += marked(item[i].dst);
		list_del_init(&item[i].src->lru);
		list_del_init(&item[i].dst->lru);
	}
	move(item, n);
	watch(item, n, id);
	for (i = 0; i < n; i++)
		source_strip(item[i].src, item[i].odd);
	ret = 0;

free:
	for (i = 0; i < made; i++) {
		folio_put(item[i].src);
		if (item[i].dst)
			folio_put(item[i].dst);
	}
	kvfree(item);
	return ret;
}

static int run_set(void *arg, u64 unused)
{
	int ret;

	if (READ_ONCE(knob.order) > HPAGE_PMD_ORDER || READ_ONCE(knob.reason) >= MR_TYPES)
		return -EINVAL;
	mutex_lock(&lock);
	ret = run();
	mutex_unlock(&lock);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(run_fops, NULL, run_set, "%llu\n");

static int result_show(struct seq_file *m, void *unused)
{
	mutex_lock(&lock);
	seq_printf(m, "answer %d\nmarked %u\nmoved %u\nrefused %u\nfailed %u\nheld %u\n",
		   result.answer, result.marked, result.moved, result.refused, result.failed,
		   result.held);
	seq_printf(m, "watched %u\nbad %u\n", result.watched, result.bad);
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(result);

void run_init(struct dentry *dir)
{
	static const struct {
		const char *name;
		u32 *value;
	} file[] = {
		{ "folios", &knob.folios },   { "order", &knob.order },
		{ "reason", &knob.reason },   { "odd", &knob.odd },
		{ "odd_at", &knob.odd_at },   { "pass_ms", &knob.pass_ms },
		{ "hold_ms", &knob.hold_ms }, { "careless", &knob.careless },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(file); i++)
		debugfs_create_u32(file[i].name, 0600, dir, file[i].value);
	debugfs_create_file_unsafe("run", 0200, dir, NULL, &run_fops);
	debugfs_create_file("result", 0400, dir, NULL, &result_fops);
}
