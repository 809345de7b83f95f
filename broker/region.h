/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * region.h - a client's memfd, mapped into the broker.
 *
 * Owner: the connection (control thread) maps and unmaps; in between the mux thread counts
 * the requests that use it in @refs, and only a region without any is unmapped.
 */
#ifndef BROKER_REGION_H
#define BROKER_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_PREFAULT_MAX (256ull << 20) /* what a registration may take time for */

struct closer;

struct region {
	uint8_t *addr;	   /* of the whole file as it was when registered */
	uint64_t mapped;   /* bytes mapped, >= size */
	uint64_t size;	   /* bytes registered: all that offsets are judged by */
	bool readonly;	   /* source only */
	uint64_t dev, ino; /* identity: two regions of one file alias each other */
	uint32_t id;	   /* the client's name for it */
	uint32_t refs;	   /* mux thread: requests that use it */
};

/*
 * Map the first @size bytes of memfd @fd (the fd stays the caller's).  The memfd must be
 * shmem or hugetlb with F_SEAL_SHRINK.  On error -EINVAL, -ERANGE, -EACCES or -ENOMEM, and one
 * line in @err.
 */
int region_map(struct region **out, int fd, uint64_t size, bool readonly, char *err,
	       size_t errlen);
/*
 * Map the pages that the memfd @fd of @r holds, so that a device need not stop at each of them,
 * for REGION_PREFAULT_MAX bytes of it at most.  Holes stay holes: nothing is allocated (of
 * hugetlb memory, which cannot tell, only what mapping it has reserved).  Best effort.
 */
void region_prefault(const struct region *r, int fd);
/* The same for bytes @addr .. @addr + @len - 1 of @r, clipped to it, holes included: a copy that
 * has begun needs them. */
void region_populate(const struct region *r, uint64_t addr, uint64_t len, bool write);
/* Its memory may be given back later, by @closer (may be NULL). */
void region_unmap(struct region *r, struct closer *closer);

#endif /* BROKER_REGION_H */
