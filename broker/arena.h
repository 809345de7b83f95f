/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arena.h - the pages that a replayed batch moves: as many sources, destinations and
 * completion records as the largest batch has pages, with content that tells a missed,
 * torn or misplaced copy.
 *
 * Owner and thread: the mover that made it.  An arena with late descriptors (timed out, not
 * answered yet) must be neither reused nor freed: the engine may still write to it.
 */
#ifndef BROKER_ARENA_H
#define BROKER_ARENA_H

#include <linux/idxd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_PAGE 4096u

struct arena {
	uint8_t *src, *dst;
	struct dsa_completion_record *rec; /* one for every page */
	uint32_t pages;
	uint32_t late; /* descriptors on this arena that timed out and are unanswered */
	size_t bytes;
};

/* NULL: -ENOMEM.  Partner: arena_free(). */
struct arena *arena_new(uint32_t pages);
/* NULL is allowed.  Pages that late descriptors may still write to stay mapped for ever. */
void arena_free(struct arena *a);

/* Fill source pages 0 .. @pages - 1 with content that only this @seed and page number have. */
void arena_stamp(struct arena *a, uint32_t pages, uint64_t seed);
/* All bytes of @copy are what arena_stamp() wrote into source page @page. */
bool arena_page_ok(const uint8_t *copy, uint32_t page, uint64_t seed);

static inline uint8_t *arena_src(const struct arena *a, uint32_t page)
{
	return a->src + (size_t)page * ARENA_PAGE;
}

static inline uint8_t *arena_dst(const struct arena *a, uint32_t page)
{
	return a->dst + (size_t)page * ARENA_PAGE;
}

#endif /* BROKER_ARENA_H */
