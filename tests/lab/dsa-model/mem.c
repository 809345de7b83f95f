// SPDX-License-Identifier: MIT
/*
 * mem.c - see mem.h.
 */
#include "mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int mem_init(struct mem *m)
{
	return -pthread_rwlock_init(&m->lock, NULL);
}

/* The first map that ends behind @iova; n: none. */
static unsigned int find(const struct mem *m, uint64_t iova)
{
	unsigned int low = 0, high = m->n;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct mem_map *map = &m->map[middle];

		if (map->iova + (map->size - 1) < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The file must have it: what is mapped beyond its end would kill us when it is touched. */
static int file_map(struct mem_map *map, uint64_t offset, int fd)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = offset % page;
	int prot = (map->readable ? PROT_READ : 0) | (map->writable ? PROT_WRITE : 0);
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < 0 || offset > (uint64_t)st.st_size ||
	    map->size > (uint64_t)st.st_size - offset)
		return -EINVAL;
	p = mmap(NULL, map->size + skip, prot, MAP_SHARED, fd, (off_t)(offset - skip));
	if (p == MAP_FAILED)
		return -errno;
	map->mapped = p;
	map->mapped_size = map->size + skip;
	map->base = (uint8_t *)p + skip;
	return 0;
}

int mem_map(struct mem *m, uint64_t iova, uint64_t size, uint64_t offset, int fd, bool readable,
	    bool writable)
{
	struct mem_map map = {
		.iova = iova, .size = size, .readable = readable, .writable = writable
	};
	unsigned int i;
	int ret = 0;

	if (!size || iova + (size - 1) < iova)
		return -EINVAL;
	pthread_rwlock_wrlock(&m->lock);
	i = find(m, iova);
	if (i < m->n && m->map[i].iova <= iova + (size - 1))
		ret = -EEXIST;
	else if (m->n == MEM_MAPS)
		ret = -ENOSPC;
	else if (fd >= 0)
		ret = file_map(&map, offset, fd);
	if (!ret) {
		memmove(&m->map[i + 1], &m->map[i], (m->n - i) * sizeof(map));
		m->map[i] = map;
		m->n++;
	}
	pthread_rwlock_unlock(&m->lock);
	return ret;
}

static void drop(struct mem_map *map)
{
	if (map->mapped)
		munmap(map->mapped, map->mapped_size);
}

/* It is no longer one of the maps: what becomes of it. */
static void retire(struct mem *m, struct mem_map *map)
{
	unsigned int i = 0;

	if (!m->keep || !map->base) {
		drop(map);
		return;
	}
	while (i < m->kept && (m->old[i].iova != map->iova || m->old[i].size != map->size))
		i++;
	if (i == MEM_KEPT)
		i = 0; /* no room: the oldest goes */
	if (i < m->kept) {
		drop(&m->old[i]);
		m->kept--;
		memmove(&m->old[i], &m->old[i + 1], (m->kept - i) * sizeof(*map));
	}
	m->old[m->kept++] = *map;
}

int mem_unmap(struct mem *m, uint64_t iova, uint64_t size)
{
	uint64_t last = iova + (size - 1);
	unsigned int first, end;
	int ret = 0;

	if (!size || last < iova)
		return -EINVAL;
	pthread_rwlock_wrlock(&m->lock);
	first = find(m, iova);
	for (end = first; end < m->n && m->map[end].iova <= last; end++)
		if (m->map[end].iova < iova || m->map[end].iova + (m->map[end].size - 1) > last)
			ret = -EINVAL;
	if (!ret) {
		for (unsigned int i = first; i < end; i++)
			retire(m, &m->map[i]);
		memmove(&m->map[first], &m->map[end], (m->n - end) * sizeof(m->map[0]));
		m->n -= end - first;
	}
	pthread_rwlock_unlock(&m->lock);
	return ret;
}

void mem_keep(struct mem *m, bool keep)
{
	pthread_rwlock_wrlock(&m->lock);
	m->keep = keep;
	pthread_rwlock_unlock(&m->lock);
}

void mem_unmap_all(struct mem *m)
{
	pthread_rwlock_wrlock(&m->lock);
	for (unsigned int i = 0; i < m->n; i++)
		retire(m, &m->map[i]);
	m->n = 0;
	pthread_rwlock_unlock(&m->lock);
}

void mem_end(struct mem *m)
{
	mem_keep(m, false);
	mem_unmap_all(m);
	pthread_rwlock_wrlock(&m->lock);
	for (unsigned int i = 0; i < m->kept; i++)
		drop(&m->old[i]);
	m->kept = 0;
	pthread_rwlock_unlock(&m->lock);
}

void mem_hold(struct mem *m)
{
	pthread_rwlock_rdlock(&m->lock);
}

void mem_release(struct mem *m)
{
	pthread_rwlock_unlock(&m->lock);
}

static const struct mem_map *lookup(struct mem *m, uint64_t iova, bool write)
{
	unsigned int i = find(m, iova);
	const struct mem_map *map = &m->map[i];

	if (i == m->n || map->iova > iova || !map->base ||
	    !(write ? map->writable : map->readable))
		return NULL;
	return map;
}

uint8_t *mem_at(struct mem *m, uint64_t iova, bool write, uint64_t *n)
{
	const struct mem_map *map = lookup(m, iova, write);

	if (!map)
		return NULL;
	*n = map->size - (iova - map->iova);
	return map->base + (iova - map->iova);
}

uint8_t *mem_before(struct mem *m, uint64_t iova, bool write, uint64_t *n)
{
	const struct mem_map *map = iova ? lookup(m, iova - 1, write) : NULL;

	if (!map)
		return NULL;
	*n = iova - map->iova;
	return map->base + (iova - map->iova);
}

uint8_t *mem_physical(struct mem *m, uint64_t addr, bool write, uint64_t *n)
{
	for (unsigned int i = m->kept; i-- > 0;) {
		const struct mem_map *map = &m->old[i];

		if (addr < map->iova || addr - map->iova >= map->size ||
		    !(write ? map->writable : map->readable))
			continue;
		*n = map->size - (addr - map->iova);
		return map->base + (addr - map->iova);
	}
	return mem_at(m, addr, write, n);
}
