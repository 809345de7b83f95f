/* SPDX-License-Identifier: MIT */
/*
 * move.h - the ways in which a kernel moves pages.
 */
#ifndef LAB_MOVE_H
#define LAB_MOVE_H

#include <stdbool.h>
#include <stddef.h>

#include "memory.h"

enum way {
	WAY_MOVE_PAGES,
	WAY_MIGRATE_PAGES,
	WAY_MBIND,
	WAY_COMPACT,
	WAY_KCOMPACTD,
	WAY_DAMON_HOT,
	WAY_DAMON_COLD,
	WAY_OFFLINE,
	WAY_DEMOTION,
	WAY_COUNT
};

extern const char *const way_name[WAY_COUNT];
/* The reason under which the module counts what @way moves. */
extern const char *const way_reason[WAY_COUNT];

/*
 * Once, before the first memory is made: this process into a control group of its own, which
 * WAY_DEMOTION reclaims from.
 */
int move_init(void);

/* Does WAY_OFFLINE find most of @m in blocks that can go?  The first call tries them all. */
bool move_offlinable(const struct memory *m);

/* Move by @way once or for some while; 0, or -errno: it cannot be done here. */
int move_by(enum way way, struct memory *m, unsigned int round);

/* Pages of [base, base + bytes) to @node by move_pages(2): how many are there afterwards. */
size_t move_to_node(char *base, size_t bytes, int node);

#endif /* LAB_MOVE_H */
