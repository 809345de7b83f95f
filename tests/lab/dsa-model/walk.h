/* SPDX-License-Identifier: MIT */
/*
 * walk.h - page tables of x86 and of an Intel IOMMU's second stage, in the guest's physical
 * memory.
 *
 * The tables are the guest's: whatever they contain, and whatever becomes of them meanwhile, a
 * walk ends after as many steps as there are levels, and reads through mem_physical() alone.
 *
 * Owner: nobody, it has no state.  Threads: any; the memory map is held.
 */
#ifndef DSA_MODEL_WALK_H
#define DSA_MODEL_WALK_H

#include "mem.h"

struct walk {
	struct mem *mem;
	uint64_t table; /* physical address of the top one */
	unsigned int levels;
	bool user;    /* may not use what is the supervisor's */
	bool write;   /* the access writes */
	bool protect; /* a supervisor, too, may not write what is read-only */
	bool dirty;   /* second stage: set accessed and dirty */
};

/* Where @addr is, and how many bytes of its page follow in *n; false: a fault. */
bool walk_first(const struct walk *w, uint64_t addr, uint64_t *phys, uint64_t *n);
bool walk_second(const struct walk *w, uint64_t addr, uint64_t *phys, uint64_t *n);

#endif /* DSA_MODEL_WALK_H */
