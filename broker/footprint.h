/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * footprint.h - does what a queue writes stay in a cache until it is written again?
 *
 * For a CPU that copies it makes a difference of two, either way: stores that bypass the caches
 * are the slower ones into a cache and the faster ones into memory.  (A DSA is told by its
 * descriptors' cache control flag; there it is the client's to say.)  So distinct blocks are
 * counted, by a hash into a bitmap, while a window's worth of bytes is written; the next window
 * goes by what the last one has shown.
 *
 * Owner: whoever embeds it.  Thread: one.
 */
#ifndef BROKER_FOOTPRINT_H
#define BROKER_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FOOTPRINT_BLOCK	 16	     /* log2 of the bytes of a block */
#define FOOTPRINT_WINDOW (32u << 20) /* bytes: about the last-level cache of a few cores */
#define FOOTPRINT_COLD	 112 /* distinct blocks, some fallen together: 8 MiB, a part of it */

struct footprint {
	uint64_t seen[8];
	uint64_t bytes; /* of this window */
	bool cold;	/* as of the last */
};

/* @bytes are written at @addr.  Returns whether they had better bypass the caches. */
static inline bool footprint_add(struct footprint *f, uint64_t addr, uint64_t bytes)
{
	uint32_t hash = (uint32_t)((addr >> FOOTPRINT_BLOCK) * 0x9e3779b97f4a7c15ull >> 55);
	unsigned int blocks = 0;

	f->seen[hash / 64] |= 1ull << (hash % 64);
	f->bytes += bytes;
	if (f->bytes < FOOTPRINT_WINDOW)
		return f->cold;
	for (unsigned int i = 0; i < 8; i++)
		blocks += (unsigned int)__builtin_popcountll(f->seen[i]);
	/* A request counts as one block: where they are big, few of them fill the window. */
	f->cold = blocks >= FOOTPRINT_COLD || blocks * bytes >= FOOTPRINT_WINDOW / 4;
	memset(f->seen, 0, sizeof(f->seen));
	f->bytes = 0;
	return f->cold;
}

#endif /* BROKER_FOOTPRINT_H */
