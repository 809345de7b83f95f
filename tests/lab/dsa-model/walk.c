// SPDX-License-Identifier: MIT
/*
 * walk.c - see walk.h.
 */
#include "walk.h"

#define ADDRESS	   0x000ffffffffff000ull
#define LEVEL_BITS 9u
#define PAGE_BITS  12u

/* First stage: as the CPU has it. */
#define FS_PRESENT  0x01ull
#define FS_WRITE    0x02ull
#define FS_USER	    0x04ull
#define FS_ACCESSED 0x20ull
#define FS_DIRTY    0x40ull
/* Second stage */
#define SS_READ	    0x01ull
#define SS_WRITE    0x02ull
#define SS_ACCESSED 0x100ull
#define SS_DIRTY    0x200ull
/* Both: a page above the lowest level */
#define LARGE 0x80ull

#define LARGE_LEVELS 3u /* 4 KiB, 2 MiB, 1 GiB */

/* What an entry must have for the access to go on, and what it gets by it. */
struct rule {
	uint64_t need, mark, mark_page;
};

static bool next(const struct walk *w, const struct rule *r, uint64_t at, unsigned int level,
		 uint64_t *entry)
{
	uint64_t n, *p = (void *)mem_physical(w->mem, at, false, &n), mark, old;

	if (!p || n < sizeof(*p) || (uintptr_t)p % sizeof(*p))
		return false;
	old = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	do {
		bool page = level == 1 || (old & LARGE);

		if ((old & r->need) != r->need || (level > LARGE_LEVELS && (old & LARGE)))
			return false;
		mark = r->mark | (page ? r->mark_page : 0);
		/* Read-only memory has no place for a mark. */
		if ((old & mark) != mark &&
		    (mem_physical(w->mem, at, true, &n) != (uint8_t *)p))
			return false;
	} while ((old & mark) != mark &&
		 !__atomic_compare_exchange_n(p, &old, old | mark, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	*entry = old;
	return true;
}

static bool walk(const struct walk *w, const struct rule *r, uint64_t addr, uint64_t *phys,
		 uint64_t *n)
{
	uint64_t table = w->table, entry, size;

	for (unsigned int level = w->levels; level > 0; level--) {
		unsigned int shift = PAGE_BITS + (level - 1) * LEVEL_BITS;
		uint64_t index = addr >> shift & ((1u << LEVEL_BITS) - 1);

		if (!next(w, r, table + index * sizeof(entry), level, &entry))
			return false;
		table = entry & ADDRESS;
		if (level > 1 && !(entry & LARGE))
			continue;
		size = 1ull << shift;
		*phys = (table & ~(size - 1)) | (addr & (size - 1));
		*n = size - (addr & (size - 1));
		return true;
	}
	return false;
}

bool walk_first(const struct walk *w, uint64_t addr, uint64_t *phys, uint64_t *n)
{
	unsigned int unused = 64 - (PAGE_BITS + w->levels * LEVEL_BITS);
	struct rule r = { .need = FS_PRESENT | (w->user ? FS_USER : 0),
			  .mark = FS_ACCESSED,
			  .mark_page = w->write ? FS_DIRTY : 0 };

	/* Canonical: what is not translated repeats the highest bit that is. */
	if ((uint64_t)((int64_t)(addr << unused) >> unused) != addr)
		return false;
	if (w->write && (w->user || w->protect))
		r.need |= FS_WRITE;
	return walk(w, &r, addr, phys, n);
}

bool walk_second(const struct walk *w, uint64_t addr, uint64_t *phys, uint64_t *n)
{
	struct rule r = { .need = w->write ? SS_WRITE : SS_READ,
			  .mark = w->dirty ? SS_ACCESSED : 0,
			  .mark_page = w->dirty && w->write ? SS_DIRTY : 0 };

	if (addr >> (PAGE_BITS + w->levels * LEVEL_BITS))
		return false;
	return walk(w, &r, addr, phys, n);
}
