/* SPDX-License-Identifier: MIT */
/*
 * mem.h - the guest's memory as the device sees it: ranges of DMA addresses, mapped from the
 * file descriptors that the client sends.
 *
 * Behind an IOMMU (`keep`) these are physical addresses as long as the guest has not turned
 * translation on, and then the client takes them away.  The IOMMU's walk needs them from then
 * on: what is unmapped stays as physical memory until the client leaves.
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
#define MEM_KEPT 64

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
	bool keep;
	unsigned int kept;
	struct mem_map old[MEM_KEPT]; /* unmapped and kept, the newest last */
};

int mem_init(struct mem *m);
/* @fd: -1, or what is mapped at @offset; stays the caller's.  0 or -errno. */
int mem_map(struct mem *m, uint64_t iova, uint64_t size, uint64_t offset, int fd, bool readable,
	    bool writable);
/* All maps within; -EINVAL if there is one that is partly so. */
int mem_unmap(struct mem *m, uint64_t iova, uint64_t size);
void mem_unmap_all(struct mem *m);
/* From now on, is what is unmapped kept?  What is, stays. */
void mem_keep(struct mem *m, bool keep);
/* Nothing is mapped any more, nor kept. */
void mem_end(struct mem *m);

void mem_hold(struct mem *m);
void mem_release(struct mem *m);
/* Held: where @iova is, and how many bytes there are in a row in *n; NULL: a fault. */
uint8_t *mem_at(struct mem *m, uint64_t iova, bool write, uint64_t *n);
/* Held: the same for the byte before @iova, and how many in a row end there. */
uint8_t *mem_before(struct mem *m, uint64_t iova, bool write, uint64_t *n);
/* Held: the same as mem_at() for an address that is physical, whether it is mapped or kept. */
uint8_t *mem_physical(struct mem *m, uint64_t addr, bool write, uint64_t *n);

#endif /* DSA_MODEL_MEM_H */
