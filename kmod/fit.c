// SPDX-License-Identifier: GPL-2.0-only
/*
 * fit.c - see fit.h.
 */
#include <linux/mm.h>

#include "fit.h"
#include "pair.h"

enum stats_skip pair_unfit(const struct amux_pair *p)
{
	struct folio *src = p->src;

	if (p->state != PAIR_RECORDED || !folio_test_locked(src) || !folio_test_locked(p->dst))
		return SKIP_UNKNOWN;
	if (folio_mapped(src))
		return SKIP_MAPPED;
	if (folio_test_private(src) || folio_test_writeback(src))
		return SKIP_PRIVATE;
#ifndef AMUX_TEST_KEEP_MARKS
	if (!folio_test_anon(src) || folio_test_swapcache(src) || folio_test_hugetlb(src))
		return SKIP_MAPPING;
#endif
	if (folio_ref_count(src) != folio_expected_ref_count(src) + 1)
		return SKIP_REFS;
	return SKIP_COUNT;
}
