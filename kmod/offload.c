// SPDX-License-Identifier: GPL-2.0-only
/*
 * offload.c - migrations reach this module by the proposed "migration copy offload" API:
 * migrate_offload_register(), posted for review up to v6, in no released kernel yet.
 *
 *	armed		registered: migrate_pages_batch() calls offload_copy() with the batch's
 *			folios, unmapped and locked, TLB flushed, in two lists that correspond
 *	offload_copy()	copies what is fit (fit.h) and granted, and marks those destinations
 *	move phase	the kernel checks the references of each folio and copies the unmarked
 *
 * When the move of a folio fails with -EAGAIN, the next pass may find it marked still.  That is
 * right only if nobody can have written to the source meanwhile: hence the same strictness as
 * under the hook.
 *
 * A folio whose DMA is in flight at the time-out stays unmarked, and the kernel would copy it
 * and map it.  The quarantine's reference on its source (channel.h) keeps the kernel from that.
 *
 * The API says neither why pages move nor in which mode.  The reason is "not known"
 * (AMUX_REASON_COUNT), which a grant allows only if it allows every reason (grant.c): so all
 * reasons are registered, and a grant that leaves out some gets none, rather than one that it
 * left out.
 *
 * .owner stays NULL: the core would hold a reference on this module while it is registered, and
 * a module that unregisters as it unloads could never be unloaded.  Leaving is safe without:
 * migrate_offload_unregister() waits, by SRCU, for every call of offload_copy().
 *
 * Owner: module state.  Threads: probe, arm, stop as provider.h says; offload_copy() runs in
 * whatever task migrates pages, may sleep, and allocates nothing.
 */
#include <linux/list.h>
#include <linux/migrate.h>
#include <linux/migrate_copy_offload.h>
#include <linux/mm.h>
#include <linux/timekeeping.h>

#include "batch.h"
#include "context.h"
#include "fit.h"
#include "grant.h"
#include "provider.h"

static bool registered;

/* The lab's stand-in brings a form of its own: there struct folio lacks the field. */
#ifndef folio_mark_copied
static void folio_mark_copied(struct folio *dst)
{
	dst->migrate_info |= FOLIO_CONTENT_COPIED;
}
#endif

/* Pair the lists up; returns the number of pairs, @pages are theirs. */
static unsigned int pairs_fill(struct amux_pair *pair, struct list_head *dst_list,
			       struct list_head *src_list, unsigned int max, u32 *pages)
{
	struct list_head *src = src_list->next, *dst = dst_list->next;
	unsigned int n;

	*pages = 0;
	for (n = 0; n < max && src != src_list && dst != dst_list; n++) {
		struct folio *f = list_entry(src, struct folio, lru);

		pair[n] = (struct amux_pair){
			.src = f,
			.dst = list_entry(dst, struct folio, lru),
			.pages = folio_nr_pages(f),
			.state = PAIR_RECORDED,
		};
		*pages += pair[n].pages;
		src = src->next;
		dst = dst->next;
	}
	return n;
}

/* @count: what is passed over is counted (not for a batch that is counted as a whole already).
 */
static void batch_fill(struct amux_batch *b, struct amux_pair *pair, unsigned int n, bool count)
{
	enum stats_skip why;
	unsigned int i;

	b->n = 0;
	b->pages = 0;
	b->reason = AMUX_REASON_COUNT;
	b->mode = MIGRATE_ASYNC; /* batches are tried that way first, whatever was asked for */
	for (i = 0; i < n; i++) {
		why = pair_unfit(&pair[i]);
		if (why == SKIP_COUNT) {
			batch_take(b, &pair[i]);
		} else if (count) {
			stats_skip(why);
			stats_single(b->reason, pair[i].pages);
		}
	}
}

static unsigned int batch_mark(struct amux_batch *b)
{
	unsigned int i, n = 0;

	for (i = 0; i < b->n; i++) {
		/* FAILED (poisoned) and STUCK: the kernel comes to its own verdict. */
		if (b->pair[i]->state != PAIR_COPIED)
			continue;
		folio_mark_copied(b->pair[i]->dst);
		n++;
	}
	return n;
}

/* 0: some are marked; -EBUSY: none is, the CPU copies them all. */
static int offload_copy(struct list_head *dst_list, struct list_head *src_list,
			unsigned int folio_cnt)
{
	static const struct context_call no_call;
	struct amux_batch *b;
	struct amux_pair *pair;
	struct context *c;
	unsigned int n, marked = 0;
	u32 pages;

	if (!stats_tracing() && (!grant_possible() || grant_min_pages() == UINT_MAX))
		return -EBUSY;
	c = context_enter(&no_call, MIGRATE_ASYNC, AMUX_REASON_COUNT);
	if (!c)
		return -EBUSY;
	pair = context_pairs(c);
	b = context_batch(c);
	b->arrival_ns = ktime_get_ns();
	n = pairs_fill(pair, dst_list, src_list, min_t(unsigned int, folio_cnt, BATCH_FOLIOS),
		       &pages);
	if (pages < grant_min_pages()) {
		stats_declined(AMUX_REASON_COUNT, pages);
		if (stats_tracing()) {
			batch_fill(b, pair, n, false);
			if (b->n)
				batch_trace(b);
		}
	} else {
		batch_fill(b, pair, n, true);
		if (b->n) {
			batch_copy(b);
			marked = batch_mark(b);
		}
	}
	context_leave(c);
	return marked ? 0 : -EBUSY;
}

static const struct migrator migrator = {
	.name = "accelmux",
	.offload_copy = offload_copy,
};

/* Nobody is registered as us yet: a kernel that has the API says -EINVAL. */
static int offload_probe(void)
{
	int ret = migrate_offload_set_reason_mask(&migrator, 0);

	if (ret != -EOPNOTSUPP)
		return 0;
	pr_info("this kernel was built without migration copy offload\n");
	return ret;
}

static int offload_start(void)
{
	return 0;
}

static void offload_off(void)
{
	if (registered)
		migrate_offload_unregister(&migrator);
	registered = false;
}

static int offload_arm(bool on)
{
	int ret = 0;

	if (!on) {
		offload_off();
	} else if (!registered) {
		ret = migrate_offload_register(&migrator, MIGRATE_OFFLOAD_REASONS_ALLOWED);
		if (ret == -EBUSY)
			pr_err("somebody else offloads migration copies: remove that first\n");
		else if (ret)
			pr_err("migration copy offload: cannot register (%d)\n", ret);
		registered = !ret;
	}
	return ret;
}

static void offload_stop(void)
{
	offload_off();
}

const struct migrate_provider offload_provider = {
	.name = "migration copy offload",
	.probe = offload_probe,
	.start = offload_start,
	.arm = offload_arm,
	.stop = offload_stop,
};
