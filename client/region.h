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
struct amux_sqe;

/*
 * The id that applications see stays the same; brokers come and go.  Each names the region
 * anew: that id goes into the ring.  In the beginning, and often later, the two are equal.
 */
struct amux_region {
	char *addr;
	size_t len; /* bytes registered */
	uint32_t id;
	uint32_t wire;	   /* as the broker of link @link names it; 0: it does not know it */
	uint32_t link;	   /* serial of the link that @wire is of */
	uint32_t old_wire; /* the same of the link before */
	uint32_t old_link;
	uint32_t next_wire; /* of a link that is being made, under life.lock */
	uint64_t asked;	    /* cookie of the question for it; 0: not asked, under life.lock */
	bool refused;	    /* the next broker will not have it */
	int fd;		    /* of the memfd, for the next broker; -1: it cannot be told */
	uint32_t flags;	    /* AMUX_REGION_* */
	dev_t dev;	    /* which file: regions may alias each other */
	ino_t ino;
	bool owned; /* mapped by amux_alloc() */
	bool going; /* being unregistered: not found by address any more */
};

struct amux_regions {
	pthread_rwlock_t lock;
	struct amux_region **by_addr, **by_id; /* both sorted, both @n */
	unsigned int n, cap;
	uint32_t next_local;
	uint32_t aliased; /* two regions shared a file once; read without the lock */
	uint32_t mapped;  /* some @id is not its @wire; read by relaxed loads */
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

/*
 * Put the broker's names into @sqe.  False: it knows not all of these regions, this CPU must
 * do it.  An id that names nothing becomes one that names nothing there.
 */
bool amux_regions_translate(struct amux_regions *r, struct amux_sqe *sqe);

/* With the lock held: which region did the broker of link @link know as @wire?  NULL: none. */
struct amux_region *amux_region_by_wire(struct amux_regions *r, uint32_t wire, uint32_t link);

/* ------------------- for a link that is being made; under life.lock, which keeps the set */

/* One that was not asked for yet; NULL: none left. */
struct amux_region *amux_regions_unasked(struct amux_regions *r);
/* The answer to question @cookie is @wire, or 0: refused.  False: nobody asked. */
bool amux_regions_answered(struct amux_regions *r, uint64_t cookie, uint32_t wire);
/* The link comes to nothing. */
void amux_regions_unask(struct amux_regions *r);
/* It is the handle's from now on: its names are in force. */
void amux_regions_renew(struct amux_regions *r, uint32_t link);

#endif /* CLIENT_REGION_H */
