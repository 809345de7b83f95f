/* SPDX-License-Identifier: MIT */
/*
 * region.h - the memory a connection shares with the broker, by address and by id.
 *
 * Owner: struct amux embeds the table; a region belongs to it from amux_alloc() or
 * amux_register() to amux_free() or amux_unregister().  Threads: any, under the table's
 * lock: readers look up, and hold it while the CPU copies, so that memory is never unmapped
 * under a copy.
 */
#ifndef CLIENT_REGION_H
#define CLIENT_REGION_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct amux;

struct amux_region {
	char *addr;
	size_t len; /* bytes registered */
	uint32_t id;
	uint32_t flags; /* AMUX_REGION_* */
	dev_t dev;	/* which file: regions may alias each other */
	ino_t ino;
	bool owned; /* mapped by amux_alloc() */
	bool local; /* unknown to any broker: made after its death */
	bool going; /* being unregistered: not found by address any more */
};

struct amux_regions {
	pthread_rwlock_t lock;
	struct amux_region **by_addr, **by_id; /* both sorted, both @n */
	unsigned int n, cap;
	uint32_t next_local;
	uint32_t aliased; /* two regions shared a file once; read without the lock */
};

int amux_regions_init(struct amux_regions *r);

/* Free all; unmaps what amux_alloc() mapped if @unmap. */
void amux_regions_fini(struct amux_regions *r, bool unmap);

/* With the lock held for reading: NULL if there is none. */
struct amux_region *amux_region_by_id(struct amux_regions *r, uint32_t id);
struct amux_region *amux_region_by_addr(struct amux_regions *r, const void *ptr, size_t len);

/* Do two ranges of @len bytes share memory, whatever addresses they are mapped at? */
bool amux_region_overlap(const struct amux_region *x, uint64_t x_offset,
			 const struct amux_region *y, uint64_t y_offset, uint64_t len);

#endif /* CLIENT_REGION_H */
