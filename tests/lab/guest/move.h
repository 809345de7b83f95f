/* SPDX-License-Identifier: MIT */
/*
 * move.h - kinds of memory, and the ways in which a kernel moves pages.
 */
#ifndef LAB_MOVE_H
#define LAB_MOVE_H

#include <stdbool.h>
#include <stddef.h>

enum kind {
	KIND_ANON,
	KIND_THP,
	KIND_SHMEM,
	KIND_TMPFS,
	KIND_EXT4,
	KIND_HUGETLB,
	KIND_KSM,
	KIND_MLOCKED,
	KIND_PINNED,
	KIND_COUNT
};

enum way {
	WAY_MOVE_PAGES,
	WAY_MIGRATE_PAGES,
	WAY_MBIND,
	WAY_COMPACT,
	WAY_KCOMPACTD,
	WAY_DAMON,
	WAY_OFFLINE,
	WAY_DEMOTION,
	WAY_COUNT
};

struct memory {
	enum kind kind;
	char *base;
	size_t bytes;
	char *mapped; /* what was mmapped, and its size */
	size_t mapped_bytes;
	int fd, pipe[2];
};

extern const char *const kind_name[KIND_COUNT];
extern const char *const way_name[WAY_COUNT];
/* The reason under which the module counts what @way moves. */
extern const char *const way_reason[WAY_COUNT];

/* Memory of @kind on node 0, touched.  0, or -errno: this guest has none of it. */
int memory_make(struct memory *m, enum kind kind, size_t bytes);
/* After its content is there: merge, pin. */
int memory_settle(struct memory *m);
void memory_free(struct memory *m);

/* Move by @way once or for some while; 0, or -errno: it cannot be done here. */
int move_by(enum way way, struct memory *m, unsigned int round);

/* Pages of [base, base + bytes) to @node by move_pages(2): how many are there afterwards. */
size_t move_to_node(char *base, size_t bytes, int node);

#endif /* LAB_MOVE_H */
