// SPDX-License-Identifier: MIT
/*
 * move.c - see move.h.
 */
#include "move.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dma.h"
#include "pages.h"

#define DAMON  "/sys/kernel/mm/damon/admin/kdamonds/"
#define CGROUP "/sys/fs/cgroup/"
#define BLOCKS "/sys/devices/system/memory/"

#define BLOCKS_MAX 64
#define OFFLINE_S  20 /* then what cannot be moved away stays */

static uint64_t block_frames; /* page frames of a memory block */
static bool block_good[BLOCKS_MAX];

const char *const way_name[WAY_COUNT] = { "move_pages",	    "migrate_pages", "mbind",
					  "compact_memory", "kcompactd",     "migrate_hot",
					  "migrate_cold",   "offline",	     "demotion" };
const char *const way_reason[WAY_COUNT] = { "syscall",	  "syscall",	    "mbind",
					    "compaction", "compaction",	    "damon",
					    "damon",	  "memory_hotplug", "demotion" };

/* The kernel tries for ever to empty a block: a process of its own, that a signal ends. */
static int block_offline(size_t block)
{
	char path[128];
	pid_t pid = fork();
	int status;

	snprintf(path, sizeof(path), BLOCKS "memory%zu/state", block);
	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		alarm(OFFLINE_S);
		_exit(-file_write(path, "offline"));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	file_write(path, "online_movable");
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EBUSY;
}

/* Blocks with holes, of two zones, or with a page of the kernel in them cannot go. */
static void blocks_learn(void)
{
	unsigned long long bytes = 0;
	char path[128], zone[64];
	FILE *f;

	if (block_frames)
		return;
	f = fopen(BLOCKS "block_size_bytes", "r");
	if (f && fscanf(f, "%llx", &bytes) != 1)
		bytes = 0;
	if (f)
		fclose(f);
	block_frames = bytes / PAGE;
	for (size_t b = 0; b < BLOCKS_MAX; b++) {
		snprintf(path, sizeof(path), BLOCKS "memory%zu/valid_zones", b);
		f = fopen(path, "r");
		if (f && fgets(zone, sizeof(zone), f) && !strncmp(zone, "Movable", 7))
			block_good[b] = !block_offline(b);
		if (f)
			fclose(f);
	}
}

int move_init(void)
{
	/* DAMON runs once at a time; there are kernels where it keeps statistics from the
	 * start. */
	file_write("/sys/module/damon_stat/parameters/enabled", "N");
	mkdir(CGROUP "moved", 0700);
	file_write(CGROUP "cgroup.subtree_control", "+memory");
	return file_write(CGROUP "moved/cgroup.procs", "0");
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

static int compact(bool by_daemon)
{
	int ret;

	if (!by_daemon)
		return file_write("/proc/sys/vm/compact_memory", "1");
	ret = file_write("/proc/sys/vm/compaction_proactiveness", "100");
	sleep_ms(3000);
	file_write("/proc/sys/vm/compaction_proactiveness", "20");
	return ret;
}

static int damon_set(const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), DAMON "%s", name);
	return file_write(path, value);
}

/* Everything, accessed or not, to the other node. */
static int damon_move(const char *action, unsigned int round)
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
	if ((ret = damon_set("0/contexts/0/schemes/0/action", action)))
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

/* Frames of @m by memory block; the number of blocks that there may be, or 0. */
static size_t blocks_count(const struct memory *m, unsigned int *count)
{
	static uint64_t frame[1 << 16];
	size_t n = m->bytes / PAGE;

	if (n > sizeof(frame) / sizeof(*frame) || !block_frames || frames_of(m->base, n, frame))
		return 0;
	memset(count, 0, BLOCKS_MAX * sizeof(*count));
	for (size_t i = 0; i < n; i++)
		if (frame[i] && frame[i] / block_frames < BLOCKS_MAX)
			count[frame[i] / block_frames]++;
	return BLOCKS_MAX;
}

bool move_offlinable(const struct memory *m)
{
	unsigned int count[BLOCKS_MAX];
	size_t n, good = 0;

	blocks_learn();
	n = blocks_count(m, count);

	for (size_t b = 0; b < n; b++)
		good += block_good[b] ? count[b] : 0;
	return good > m->bytes / PAGE / 2;
}

/* The block that has most of @m among those that can go. */
static int offline(struct memory *m)
{
	unsigned int count[BLOCKS_MAX];
	size_t n = blocks_count(m, count), best = 0;

	for (size_t b = 1; b < n; b++)
		if (block_good[b] && count[b] > count[best])
			best = b;
	return count[best] && block_good[best] ? block_offline(best) : -ENOENT;
}

/* What is cold and on the upper tier goes down a tier instead of out. */
static int demote(struct memory *m)
{
	int ret = file_write("/sys/kernel/mm/numa/demotion_enabled", "1");
	char text[32];

	if (ret)
		return ret;
	madvise(m->base, m->bytes, MADV_COLD);
	snprintf(text, sizeof(text), "%zu swappiness=200", m->bytes);
	ret = file_write(CGROUP "moved/memory.reclaim", text);
	if (ret == -EINVAL) { /* older: without swappiness */
		snprintf(text, sizeof(text), "%zu", m->bytes);
		ret = file_write(CGROUP "moved/memory.reclaim", text);
	}
	file_write("/sys/kernel/mm/numa/demotion_enabled", "0");
	return ret == -EAGAIN ? 0 : ret; /* less than was asked for */
}

int move_by(enum way way, struct memory *m, unsigned int round)
{
	bool shared = m->kind == KIND_KSM || m->kind == KIND_SHMEM || m->kind == KIND_TMPFS ||
		      m->kind == KIND_EXT4;

	switch (way) {
	case WAY_MOVE_PAGES:
		move_to_node(m->base, m->bytes, round % 2 ? 0 : 1);
		return 0;
	case WAY_MIGRATE_PAGES:
		return migrate_process(round);
	case WAY_MBIND:
		return memory_bind(m->base, m->bytes, round % 2 ? 0 : 1,
				   shared ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE);
	case WAY_COMPACT:
	case WAY_KCOMPACTD:
		return compact(way == WAY_KCOMPACTD);
	case WAY_DAMON_HOT:
		return damon_move("migrate_hot", round);
	case WAY_DAMON_COLD:
		return damon_move("migrate_cold", round);
	case WAY_OFFLINE:
		return offline(m);
	case WAY_DEMOTION:
		return demote(m);
	default:
		return -EINVAL;
	}
}
