/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * context.h - what one running migrate_pages() call knows: its pairs src -> dst of the current
 * batch, and which of them are copied already.
 *
 *	context_enter()  at the start of migrate_pages(); NULL: none free, nothing is batched
 *	context_record() at each get_new_folio(): later records of the same src win; the first
 *	                 record after a copy begins a new batch
 *	context_forget() at put_new_folio()
 *	context_copy()   at each folio_mc_copy(): the first one of a batch copies all of it
 *	context_failed() at each failed attempt (migrate_folio() entered a second time for a
 *	                 src): its mark is void
 *	context_leave()
 *
 * Owner: a pool allocated at load, never in reclaim.  A context belongs to one task from enter
 * to leave; calls nest (a nested call has a context of its own or none: the outer one is not
 * seen by it).  Finding the context of `current` takes no lock: only the task itself enters
 * and removes its own entry.
 */
#ifndef ACCELMUX_CONTEXT_H
#define ACCELMUX_CONTEXT_H

#include <linux/migrate_mode.h>
#include <linux/types.h>

struct folio;
struct context;

int context_init(void);
void context_exit(void);

struct context *context_enter(enum migrate_mode mode, int reason);
void context_leave(struct context *c);
/* The innermost context of current, or NULL.  Cheap when no context exists anywhere. */
struct context *context_current(void);

void context_record(struct context *c, struct folio *src, struct folio *dst);
void context_forget(struct context *c, struct folio *dst);
/* migrate_folio() or filemap_migrate_folio() begins an attempt at @src. */
void context_attempt(struct context *c, struct folio *src);
/*
 * Stand in for folio_mc_copy(@dst, @src).  Returns true if the answer is in @rc (0, -EBUSY,
 * -EHWPOISON); false: the caller copies with the original.
 */
bool context_copy(struct context *c, struct folio *dst, struct folio *src, int *rc);

#endif /* ACCELMUX_CONTEXT_H */
