// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "closer.h"
#include "region.h"

int region_map(struct region **out, int fd, uint64_t size, bool readonly, char *err,
	       size_t errlen)
{
	struct region *r;
	struct stat st;
	int seals, mode;

	/* Only shmem and hugetlb know seals: this also refuses sockets, pipes and files. */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0) {
		snprintf(err, errlen, "fd: expected a shmem or hugetlb memfd");
		return -EINVAL;
	}
	if (!(seals & F_SEAL_SHRINK)) {
		snprintf(err, errlen,
			 "fd: seals = 0x%x: expected F_SEAL_SHRINK (0x%x) to be set",
			 (unsigned int)seals, F_SEAL_SHRINK);
		return -EINVAL;
	}
	mode = fcntl(fd, F_GETFL);
	if (mode < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!size || (uint64_t)st.st_size < size) {
		snprintf(err, errlen, "size = %llu: expected 1 to %lld, the memfd's size",
			 (unsigned long long)size, (long long)st.st_size);
		return -ERANGE;
	}
	if ((mode & O_ACCMODE) == O_WRONLY) {
		snprintf(err, errlen, "fd: expected it to be open for reading");
		return -EACCES;
	}
	if ((mode & O_ACCMODE) == O_RDONLY || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		readonly = true;

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->addr = mmap(NULL, (size_t)st.st_size, readonly ? PROT_READ : PROT_READ | PROT_WRITE,
		       MAP_SHARED, fd, 0);
	if (r->addr == MAP_FAILED) {
		int ret = -errno;

		snprintf(err, errlen, "size = %llu: the broker cannot map it: %s",
			 (unsigned long long)size, strerror(-ret));
		free(r);
		return ret;
	}
	r->mapped = (uint64_t)st.st_size;
	r->size = size;
	r->readonly = readonly;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	*out = r;
	return 0;
}

/* In pieces: each is one system call that nothing interrupts. */
#define POPULATE_STEP (32ull << 20)

void region_populate(const struct region *r, uint64_t addr, uint64_t len, bool write)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)r->addr;
	uint64_t start, end;

	if (addr < base || addr - base >= r->mapped)
		return;
	if (len > r->mapped - (addr - base))
		len = r->mapped - (addr - base);
	start = addr & ~(page - 1);
	end = (addr + len + page - 1) & ~(page - 1);
	while (start < end) {
		uint64_t n = end - start < POPULATE_STEP ? end - start : POPULATE_STEP;

		/* An older kernel knows neither; what cannot be had is found out by using it. */
		if (madvise((void *)(uintptr_t)start, n,
			    write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
			return;
		start += n;
	}
}

void region_prefault(const struct region *r, int fd)
{
	uint64_t base = (uintptr_t)r->addr, left = REGION_PREFAULT_MAX;
	off_t data = 0, hole;

	while (left && (data = lseek(fd, data, SEEK_DATA)) >= 0 && (uint64_t)data < r->mapped) {
		uint64_t n;

		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data)
			return;
		n = (uint64_t)(hole - data) < left ? (uint64_t)(hole - data) : left;
		region_populate(r, base + (uint64_t)data, n, !r->readonly);
		left -= n;
		data = hole;
	}
}

void region_unmap(struct region *r, struct closer *closer)
{
	if (!r)
		return;
	closer_unmap(closer, r->addr, r->mapped);
	free(r);
}
