/* SPDX-License-Identifier: MIT */
/*
 * mem.h - the guest's memory as the device sees it: ranges of DMA addresses, mapped from the
 * file descriptors that the client sends.
 *
 * Owner: struct device.  Threads: any.  Who uses an address that mem_at() gave holds the map by
 * mem_hold(); an unmap waits for that, so that no engine writes to what the client has taken
 * away.
 */
#ifndef DSA_MODEL_MEM_H
#define DSA_MODEL_MEM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_MAPS 1024

struct mem_map {
	uint64_t iova, size;
	uint8_t *base; /* NULL: nothing that can be mapped (ROM, frame buffer) */
	void *mapped;
	size_t mapped_size;
	bool readable, writable;
};

struct mem {
	pthread_rwlock_t lock;
	unsigned int n;
	struct mem_map map[MEM_MAPS]; /* by address */
};

int mem_init(struct mem *m);
/* @fd: -1, or what is mapped at @offset; stays the caller's.  0 or -errno. */
int mem_map(struct mem *m, uint64_t iova, uint64_t size, uint64_t offset, int fd, bool readable,
	    bool writable);
/* Exactly what was mapped before. */
int mem_unmap(struct mem *m, uint64_t iova, uint64_t size);
void mem_unmap_all(struct mem *m);

void mem_hold(struct mem *m);
void mem_release(struct mem *m);
/* Held: where @iova is, and how many bytes there are in a row in *n; NULL: a fault. */
uint8_t *mem_at(struct mem *m, uint64_t iova, bool write, uint64_t *n);
/* Held: the same for the byte before @iova, and how many in a row end there. */
uint8_t *mem_before(struct mem *m, uint64_t iova, bool write, uint64_t *n);

#endif /* DSA_MODEL_MEM_H */
