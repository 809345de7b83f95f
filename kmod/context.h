/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * context.h - what one running migrate_pages() call knows: its pairs src -> dst of the batch
 * in progress, and which of them are copied already.
 *
 *	context_enter()  at the start of migrate_pages(); NULL: none free, nothing is batched
 *	context_record() at each get_new_folio(): the latest record of a src wins; the first
 *			 record after a copy begins a new batch
 *	context_forget() at put_new_folio()
 *	context_copy()	 at each folio_mc_copy(): the first one of a batch copies all of it
 *	context_leave()
 *
 * A folio is copied ahead of its turn only if nobody can write to it until its turn comes:
 * fit.h says which ones, and why.
 *
 * Owner: a pool allocated at load, never in reclaim.  A context belongs to one task from enter
 * to leave; calls nest (the inner call's context hides the outer one).  Finding the context of
 * `current` takes no lock: only the task itself enters and removes its own entry.
 */
#ifndef ACCELMUX_CONTEXT_H
#define ACCELMUX_CONTEXT_H

#include <linux/migrate.h>
#include <linux/migrate_mode.h>
#include <linux/types.h>

struct amux_batch;
struct amux_pair;
struct context;

/* The callbacks that the caller of migrate_pages() gave. */
struct context_call {
	struct folio *(*get_new_folio)(struct folio *folio, unsigned long private);
	void (*put_new_folio)(struct folio *folio, unsigned long private);
	unsigned long private;
};

int context_init(void);
void context_exit(void);

struct context *context_enter(const struct context_call *call, enum migrate_mode mode,
			      int reason);
void context_leave(struct context *c);
/* Wait until nobody has a context any more; nobody may enter one meanwhile. */
void context_drain(void);
/* The innermost context of current, or NULL.  Calls nothing that can be traced. */
struct context *context_current(void);
const struct context_call *context_call(const struct context *c);

void context_record(struct context *c, struct folio *src, struct folio *dst);
void context_forget(struct context *c, struct folio *dst);
/*
 * Stand in for folio_mc_copy(@dst, @src).  True: the answer is in @rc (0, -EBUSY,
 * -EHWPOISON).  False: the caller copies with the original.
 */
bool context_copy(struct context *c, struct folio *dst, struct folio *src, int *rc);

/*
 * For a provider that is handed its pairs and batches (offload.c): the memory of @c, which it
 * then uses instead of context_record() .. context_copy().  BATCH_FOLIOS pairs.
 */
struct amux_pair *context_pairs(struct context *c);
struct amux_batch *context_batch(struct context *c);

#endif /* ACCELMUX_CONTEXT_H */
