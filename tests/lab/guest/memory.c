// SPDX-License-Identifier: MIT
/*
 * memory.c - see memory.h.
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dma.h"
#include "pages.h"

#define KSM "/sys/kernel/mm/ksm/"

#define HUGEPAGES "/proc/sys/vm/nr_hugepages"

static unsigned int hugetlb_users;

const char *const kind_name[KIND_COUNT] = { "anon",    "THP", "shmem",	 "tmpfs", "ext4",
					    "hugetlb", "KSM", "mlocked", "pinned" };

int memory_bind(char *base, size_t bytes, unsigned int node, unsigned int flags)
{
	unsigned long mask = 1ul << node;

	return syscall(SYS_mbind, base, bytes, MPOL_BIND, &mask, 8 * sizeof(mask), flags)
		       ? -errno
		       : 0;
}

static int file_make(struct memory *m, const char *path)
{
	m->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (m->fd < 0)
		return -errno;
	unlink(path);
	return ftruncate(m->fd, (off_t)m->mapped_bytes) ? -errno : 0;
}

static int ext4_mount(void)
{
	mkdir("/mnt", 0700);
	if (mount("/dev/vda", "/mnt", "ext4", 0, NULL) && errno != EBUSY)
		return -errno;
	return 0;
}

/* First touch, page by page, with pages of something else in between that are freed then. */
static int touch(struct memory *m, unsigned int filler)
{
	size_t n = m->bytes / PAGE, bytes = n * filler * PAGE;
	char *between = NULL;

	if (filler) {
		between = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		if (between == MAP_FAILED)
			return -errno;
		madvise(between, bytes, MADV_NOHUGEPAGE);
		memory_bind(between, bytes, 0, 0);
	}
	for (size_t i = 0; i < n; i++) {
		m->base[i * PAGE] = 1;
		for (size_t k = 0; between && k < filler; k++)
			between[(i * filler + k) * PAGE] = 1;
	}
	if (between)
		munmap(between, bytes);
	return 0;
}

int memory_make(struct memory *m, enum kind kind, size_t bytes, unsigned int between)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, ret = 0;
	char pages[32];

	*m = (struct memory){ .kind = kind, .bytes = bytes, .fd = -1, .pipe = { -1, -1 } };
	m->mapped_bytes = bytes + HUGE;
	if (kind == KIND_SHMEM) {
		flags = MAP_SHARED | MAP_ANONYMOUS;
	} else if (kind == KIND_TMPFS) {
		flags = MAP_SHARED;
		ret = file_make(m, "/tmp/pages");
	} else if (kind == KIND_EXT4) {
		flags = MAP_SHARED;
		ret = ext4_mount();
		if (!ret)
			ret = file_make(m, "/mnt/pages");
	} else if (kind == KIND_HUGETLB) {
		flags |= MAP_HUGETLB;
		m->mapped_bytes = bytes;
		/* Of each node: those in use, and as many again to move to. */
		hugetlb_users++;
		snprintf(pages, sizeof(pages), "%zu", (hugetlb_users + 5) * 2 * (bytes / HUGE));
		ret = file_write(HUGEPAGES, pages);
	}
	if (ret)
		return ret;
	m->mapped = mmap(NULL, m->mapped_bytes, PROT_READ | PROT_WRITE, flags, m->fd, 0);
	if (m->mapped == MAP_FAILED)
		return -errno;
	m->base = (char *)(((uintptr_t)m->mapped + HUGE - 1) & ~(HUGE - 1));
	if (kind != KIND_HUGETLB)
		madvise(m->mapped, m->mapped_bytes,
			kind == KIND_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memory_bind(m->base, bytes, 0, 0);
	ret = touch(m, kind == KIND_THP || kind == KIND_HUGETLB ? 0 : between);
	/* The place was for the first touch alone. */
	syscall(SYS_mbind, m->base, bytes, MPOL_DEFAULT, NULL, 0, 0);
	if (!ret && kind == KIND_MLOCKED && mlock(m->base, bytes))
		ret = -errno;
	return ret;
}

static uint64_t ksm_number(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), KSM "%s", name);
	return file_number(path);
}

/* Half of the pages are twins of others (pages.c). */
static int ksm_merge(struct memory *m)
{
	unsigned long want = m->bytes / PAGE / 2 * 9 / 10;

	/* What was merged and freed is counted until the next scan. */
	file_write(KSM "run", "2");
	if (madvise(m->base, m->bytes, MADV_MERGEABLE) ||
	    file_write(KSM "pages_to_scan", "100000") ||
	    file_write(KSM "sleep_millisecs", "1") || file_write(KSM "run", "1"))
		return -EOPNOTSUPP;
	file_write(KSM "smart_scan", "0"); /* not to pass over what did not merge at once */
	for (int i = 0; i < 2000 && ksm_number("pages_sharing") < want; i++)
		sleep_ms(50);
	file_write(KSM "run", "0");
	if (ksm_number("pages_sharing") < want) {
		static const char *const name[] = { "pages_shared",   "pages_sharing",
						    "pages_unshared", "pages_volatile",
						    "pages_skipped",  "full_scans" };
		for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++)
			printf("# %s %llu\n", name[i], (unsigned long long)ksm_number(name[i]));
		return -ETIMEDOUT;
	}
	return 0;
}

static int pin(struct memory *m)
{
	struct iovec v = { m->base, m->bytes };

	if (pipe(m->pipe) || fcntl(m->pipe[1], F_SETPIPE_SZ, (int)m->bytes) < 0)
		return -errno;
	while (v.iov_len) {
		ssize_t n = vmsplice(m->pipe[1], &v, 1, SPLICE_F_NONBLOCK);

		if (n <= 0)
			return -errno;
		v.iov_base = (char *)v.iov_base + n;
		v.iov_len -= (size_t)n;
	}
	return 0;
}

int memory_settle(struct memory *m)
{
	return m->kind == KIND_KSM ? ksm_merge(m) : m->kind == KIND_PINNED ? pin(m) : 0;
}

void memory_free(struct memory *m)
{
	for (int i = 0; i < 2; i++)
		if (m->pipe[i] >= 0)
			close(m->pipe[i]);
	if (m->mapped && m->mapped != MAP_FAILED)
		munmap(m->mapped, m->mapped_bytes);
	if (m->fd >= 0)
		close(m->fd);
	if (m->kind == KIND_HUGETLB && !--hugetlb_users)
		file_write(HUGEPAGES, "0");
}

int frames_of(const char *base, size_t n, uint64_t *frame)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t bytes = n * sizeof(*frame);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = pread(fd, frame, bytes, (off_t)((uintptr_t)base / PAGE * sizeof(*frame)));
	close(fd);
	if (got != (ssize_t)bytes)
		return -EIO;
	/* Bit 63: present; bits 0 to 54: the frame. */
	for (size_t i = 0; i < n; i++)
		frame[i] = frame[i] >> 63 ? frame[i] & ((1ull << 55) - 1) : 0;
	return 0;
}
