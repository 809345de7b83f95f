// SPDX-License-Identifier: MIT
/*
 * move.c - see move.h.
 */
#include "move.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdint.h>
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

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

const char *const kind_name[KIND_COUNT] = { "anon",    "THP", "shmem",	 "tmpfs", "ext4",
					    "hugetlb", "KSM", "mlocked", "pinned" };
const char *const way_name[WAY_COUNT] = { "move_pages", "migrate_pages", "mbind",
					  "compact_memory", "kcompactd",	 "DAMON",
					  "offline",	"demotion" };
const char *const way_reason[WAY_COUNT] = { "syscall",	  "syscall", "mbind",
					    "compaction", "compaction", "damon",
					    "memory_hotplug", "demotion" };

static int node_bind(char *base, size_t bytes, unsigned int node, unsigned int flags)
{
	unsigned long mask = 1ul << node;

	return syscall(SYS_mbind, base, bytes, MPOL_BIND, &mask, 8 * sizeof(mask), flags) ? -errno
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

int memory_make(struct memory *m, enum kind kind, size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, ret = 0;

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
		ret = file_write("/proc/sys/vm/nr_hugepages", "96");
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
	node_bind(m->base, bytes, 0, 0);
	for (size_t i = 0; i < bytes; i += PAGE)
		m->base[i] = 1;
	/* The place was for the first touch alone. */
	syscall(SYS_mbind, m->base, bytes, MPOL_DEFAULT, NULL, 0, 0);
	if (kind == KIND_MLOCKED && mlock(m->base, bytes))
		return -errno;
	return 0;
}

int memory_settle(struct memory *m)
{
	if (m->kind == KIND_KSM) {
		if (madvise(m->base, m->bytes, MADV_MERGEABLE) ||
		    file_write("/sys/kernel/mm/ksm/pages_to_scan", "4000") ||
		    file_write("/sys/kernel/mm/ksm/sleep_millisecs", "10") ||
		    file_write("/sys/kernel/mm/ksm/run", "1"))
			return -EOPNOTSUPP;
		sleep_ms(4000);
		return file_write("/sys/kernel/mm/ksm/run", "0");
	}
	if (m->kind == KIND_PINNED) {
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
	}
	return 0;
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
	if (m->kind == KIND_HUGETLB)
		file_write("/proc/sys/vm/nr_hugepages", "0");
}

size_t move_to_node(char *base, size_t bytes, int node)
{
	size_t n = bytes / PAGE, there = 0;
	void **page = calloc(n, sizeof(*page));
	int *to = calloc(n, sizeof(*to)), *status = calloc(n, sizeof(*status));

	for (size_t i = 0; page && to && status && i < n; i++) {
		page[i] = base + i * PAGE;
		to[i] = node;
	}
	if (page && to && status) {
		syscall(SYS_move_pages, 0, n, page, to, status, MPOL_MF_MOVE_ALL);
		memset(status, 0xff, n * sizeof(*status));
		syscall(SYS_move_pages, 0, n, page, NULL, status, 0);
		for (size_t i = 0; i < n; i++)
			there += status[i] == node;
	}
	free(page);
	free(to);
	free(status);
	return there;
}

static int migrate_process(unsigned int round)
{
	unsigned long from = 1ul << (round % 2), to = 1ul << !(round % 2);

	return syscall(SYS_migrate_pages, 0, 8 * sizeof(from), &from, &to) < 0 ? -errno : 0;
}

/* Holes, so that there is something to compact: one page of two, or of four, of a large area. */
static int fragment_and_compact(bool by_daemon, unsigned int round)
{
	size_t bytes = 128ul << 20, every = round % 2 ? 4 : 2;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	for (size_t i = 0; i < bytes; i += every * PAGE)
		madvise(p + i, (every - 1) * PAGE, MADV_DONTNEED);
	if (by_daemon) {
		file_write("/proc/sys/vm/compaction_proactiveness", "100");
		sleep_ms(3000);
		file_write("/proc/sys/vm/compaction_proactiveness", "20");
	} else {
		file_write("/proc/sys/vm/compact_memory", "1");
	}
	munmap(p, bytes);
	return 0;
}

static int damon_set(const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), DAMON "%s", name);
	return file_write(path, value);
}

/* Everything on the node it is on, hot or not, to the other one. */
static int damon_move(unsigned int round)
{
	static const char ctx[] = "0/contexts/0/";
	char text[64], path[128];
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long start, end, low = ~0ull, high = 0;
	char line[128];
	int ret;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx : System RAM", &start, &end) == 2 &&
		    strstr(line, "System RAM")) {
			low = start < low ? start : low;
			high = end > high ? end : high;
		}
	if (f)
		fclose(f);
	/* Where the kernel has it, it keeps DAMON to itself. */
	file_write("/sys/module/damon_stat/parameters/enabled", "N");
	ret = damon_set("nr_kdamonds", "1");
	if (ret)
		return ret;
	if ((ret = damon_set("0/contexts/nr_contexts", "1")) ||
	    (ret = damon_set("0/contexts/0/operations", "paddr")) ||
	    (ret = damon_set("0/contexts/0/targets/nr_targets", "1")) ||
	    (ret = damon_set("0/contexts/0/targets/0/regions/nr_regions", "1")))
		return ret;
	snprintf(text, sizeof(text), "%llu", low);
	damon_set("0/contexts/0/targets/0/regions/0/start", text);
	snprintf(text, sizeof(text), "%llu", high);
	damon_set("0/contexts/0/targets/0/regions/0/end", text);
	damon_set("0/contexts/0/monitoring_attrs/intervals/sample_us", "5000");
	damon_set("0/contexts/0/monitoring_attrs/intervals/aggr_us", "100000");
	damon_set("0/contexts/0/schemes/nr_schemes", "1");
	if ((ret = damon_set("0/contexts/0/schemes/0/action", "migrate_cold")))
		return ret;
	damon_set("0/contexts/0/schemes/0/target_nid", round % 2 ? "0" : "1");
	snprintf(path, sizeof(path), "%sschemes/0/access_pattern/", ctx);
	for (int i = 0; i < 3; i++) {
		static const char *const what[] = { "sz", "nr_accesses", "age" };
		char name[192];

		snprintf(name, sizeof(name), "%s%s/min", path, what[i]);
		damon_set(name, "0");
		snprintf(name, sizeof(name), "%s%s/max", path, what[i]);
		damon_set(name, "18446744073709551615");
	}
	ret = damon_set("0/state", "on");
	if (!ret) {
		sleep_ms(3000);
		damon_set("0/state", "off");
	}
	damon_set("nr_kdamonds", "0");
	return ret;
}

/* One block of memory away and back. */
static int block_offline(unsigned int round)
{
	char path[128];
	int done = 0;

	for (unsigned int i = 4; i < 14 && done < 2; i++) {
		unsigned int block = (i + round * 3) % 12 + 2;

		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", block);
		if (file_write(path, "offline"))
			continue;
		file_write(path, "online_movable");
		done++;
	}
	return done ? 0 : -EBUSY;
}

static int demote(struct memory *m)
{
	file_write("/sys/kernel/mm/numa/demotion_enabled", "1");
	madvise(m->base, m->bytes, MADV_COLD);
	/* What is cold and on the upper tier goes down a tier instead of out. */
	if (madvise(m->base, m->bytes, MADV_PAGEOUT))
		return -errno;
	file_write("/sys/fs/cgroup/memory.reclaim", "64M");
	file_write("/sys/kernel/mm/numa/demotion_enabled", "0");
	return 0;
}

int move_by(enum way way, struct memory *m, unsigned int round)
{
	switch (way) {
	case WAY_MOVE_PAGES:
		move_to_node(m->base, m->bytes, round % 2 ? 0 : 1);
		return 0;
	case WAY_MIGRATE_PAGES:
		return migrate_process(round);
	case WAY_MBIND:
		node_bind(m->base, m->bytes, round % 2 ? 0 : 1, MPOL_MF_MOVE);
		return 0;
	case WAY_COMPACT:
	case WAY_KCOMPACTD:
		return fragment_and_compact(way == WAY_KCOMPACTD, round);
	case WAY_DAMON:
		return damon_move(round);
	case WAY_OFFLINE:
		return block_offline(round);
	case WAY_DEMOTION:
		return demote(m);
	default:
		return -EINVAL;
	}
}
