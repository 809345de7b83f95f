/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fit.h - may a pair be copied ahead of its turn?
 *
 * Between our copy and the moment when migrate_folio() freezes the reference count, nobody may
 * write to the source.  An anonymous folio that is locked, unmapped (its page table entries are
 * migration entries) and has no unexpected reference cannot be reached: whoever wants to pin or
 * write goes through a page table and waits for the migration entry.  A folio of a file can:
 * memfd_pin_folios() pins through the page cache without the folio lock, writes, unpins, and
 * leaves no trace in the reference count.  So only anonymous folios are copied ahead, whichever
 * provider asks.
 *
 * Thread: the task in migrate_pages(), which holds both folio locks and the one reference that
 * is expected beyond folio_expected_ref_count().
 */
#ifndef ACCELMUX_FIT_H
#define ACCELMUX_FIT_H

#include "stats.h"

struct amux_pair;

/* Why @p may not be copied ahead of its turn, or SKIP_COUNT if it may. */
enum stats_skip pair_unfit(const struct amux_pair *p);

#endif /* ACCELMUX_FIT_H */
