// SPDX-License-Identifier: MIT
/*
 * migload SECONDS MIB [WAY [KIND]] - a migration load for shell tests: memory of KIND (move.h;
 * anon) moved by WAY (move.h, or numa_balancing; move_pages) to and fro between two nodes, at
 * least once, with a writer and a reader.  Prints pages moved or asked to; exit 1 if the
 * content went wrong or this guest cannot do it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dma.h"
#include "move.h"
#include "pages.h"

#define SCHED	  "/sys/kernel/debug/sched/numa_balancing/"
#define WAY_NUMA  WAY_COUNT
#define BALANCING "numa_balancing"

static int find(const char *const *names, int n, const char *name)
{
	int i = 0;

	while (i < n && strcmp(names[i], name))
		i++;
	return i;
}

/*
 * To the node without CPUs: whoever touches it there (the writer and the reader do) finds the
 * kernel bringing it back, folio by folio.
 */
static int balance(struct memory *m)
{
	int ret = file_write("/proc/sys/kernel/numa_balancing", "1");

	file_write(SCHED "scan_delay_ms", "100");
	file_write(SCHED "scan_period_min_ms", "100");
	file_write(SCHED "scan_period_max_ms", "500");
	move_to_node(m->base, m->bytes, 1);
	sleep_ms(3000);
	file_write("/proc/sys/kernel/numa_balancing", "0");
	return ret;
}

static bool compacts(enum way way)
{
	return way == WAY_COMPACT || way == WAY_KCOMPACTD;
}

/* With holes, so that there is something to do: one page of two, or of four, of a large area.
 */
static int compact(enum way way, struct memory *m, unsigned int round)
{
	size_t bytes = 128ul << 20, every = round % 2 ? 4 : 2;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	for (size_t i = 0; i < bytes; i += every * PAGE)
		madvise(p + i, (every - 1) * PAGE, MADV_DONTNEED);
	ret = move_by(way, m, round);
	munmap(p, bytes);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	size_t bytes = (argc > 2 ? (size_t)atoi(argv[2]) : 8) << 20;
	const char *way_arg = argc > 3 ? argv[3] : "move_pages";
	int way = find(way_name, WAY_COUNT, way_arg), ret = 0;
	int kind = argc > 4 ? find(kind_name, KIND_COUNT, argv[4]) : KIND_ANON;
	time_t end = time(NULL) + seconds;
	unsigned int rounds = 0;
	struct pages p = { 0 };
	struct memory m;
	unsigned long bad;

	if ((way == WAY_COUNT && strcmp(way_arg, BALANCING)) || kind == KIND_COUNT) {
		fprintf(stderr, "migload: '%s' '%s': expected a way and a kind of move.h\n",
			way_arg, argc > 4 ? argv[4] : "");
		return 1;
	}
	ret = move_init();
	if (ret) {
		fprintf(stderr, "migload: no control group: %s\n", strerror(-ret));
		return 1;
	}
	if (memory_make(&m, (enum kind)kind, bytes, 0) ||
	    pages_init(&p, m.base, bytes / PAGE) || pages_start(&p)) {
		fprintf(stderr, "migload: no memory\n");
		return 1;
	}
	do
		ret = way == WAY_NUMA		? balance(&m)
		      : compacts((enum way)way) ? compact((enum way)way, &m, rounds)
						: move_by((enum way)way, &m, rounds);
	while (++rounds && !ret && time(NULL) < end);
	bad = pages_finish(&p);
	printf("%lu pages moved, %lu bad\n", rounds * (bytes / PAGE), bad);
	if (ret)
		fprintf(stderr, "migload: %s: %s\n", way_arg, strerror(-ret));
	memory_free(&m);
	pages_free(&p);
	return bad || ret;
}
