// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

void region_unmap(struct region *r)
{
	if (!r)
		return;
	munmap(r->addr, r->mapped);
	free(r);
}
