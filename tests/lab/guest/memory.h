/* SPDX-License-Identifier: MIT */
/*
 * memory.h - kinds of memory that a kernel may move.
 */
#ifndef LAB_MEMORY_H
#define LAB_MEMORY_H

#include <stddef.h>
#include <stdint.h>

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

struct memory {
	enum kind kind;
	char *base;
	size_t bytes;
	char *mapped; /* what was mmapped, and its size */
	size_t mapped_bytes;
	int fd, pipe[2];
};

extern const char *const kind_name[KIND_COUNT];

/*
 * Memory of @kind on node 0, touched.  @between: so many pages of free memory between two of its
 * pages, so that there is something to compact.  0, or -errno: this guest has none of it.
 */
int memory_make(struct memory *m, enum kind kind, size_t bytes, unsigned int between);
/* After its content is there: merge, pin. */
int memory_settle(struct memory *m);
void memory_free(struct memory *m);

/* The place of [base, base + bytes) from now on: @node; @flags: MPOL_MF_*. */
int memory_bind(char *base, size_t bytes, unsigned int node, unsigned int flags);

/* Page frames of the @n pages at @base; 0: not mapped.  0 or -errno. */
int frames_of(const char *base, size_t n, uint64_t *frame);

#endif /* LAB_MEMORY_H */
