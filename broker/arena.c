// SPDX-License-Identifier: GPL-2.0-only
/*
 * arena.c - see arena.h.
 */
#include "arena.h"

#include <stdlib.h>
#include <sys/mman.h>

#define WORDS (ARENA_PAGE / sizeof(uint64_t))

/* An odd factor keeps the words of all pages and batches distinct. */
#define STAMP_FACTOR 0x9e3779b97f4a7c15ull

static inline uint64_t stamp_word(uint64_t seed, uint32_t page, uint64_t word)
{
	return ((seed << 32) + (uint64_t)page * WORDS + word + 1) * STAMP_FACTOR;
}

struct arena *arena_new(uint32_t pages)
{
	size_t pool = (size_t)pages * ARENA_PAGE;
	struct arena *a = calloc(1, sizeof(*a));
	uint8_t *map;

	if (!a)
		return NULL;
	a->pages = pages;
	a->bytes = 2 * pool + pages * sizeof(*a->rec);
	map = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		free(a);
		return NULL;
	}
	a->src = map;
	a->dst = map + pool;
	a->rec = (struct dsa_completion_record *)(void *)(map + 2 * pool);
	return a;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	if (!a->late)
		munmap(a->src, a->bytes);
	free(a);
}

void arena_stamp(struct arena *a, uint32_t pages, uint64_t seed)
{
	for (uint32_t p = 0; p < pages; p++) {
		uint64_t *page = (uint64_t *)(void *)arena_src(a, p);

		for (uint64_t w = 0; w < WORDS; w++)
			page[w] = stamp_word(seed, p, w);
	}
}

bool arena_page_ok(const uint8_t *copy, uint32_t page, uint64_t seed)
{
	const uint64_t *got = (const uint64_t *)(const void *)copy;
	uint64_t diff = 0;

	for (uint64_t w = 0; w < WORDS; w++)
		diff |= got[w] ^ stamp_word(seed, page, w);
	return !diff;
}
