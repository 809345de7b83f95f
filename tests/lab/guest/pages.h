/* SPDX-License-Identifier: MIT */
/*
 * pages.h - memory whose content tells whether it is right: every 4 KiB page carries its
 * number, a version, and words that follow from both.  Writer and reader threads work on it
 * while it is moved; the locks lie elsewhere.
 *
 * Owner: the test.  Threads: pages_start() makes one writer and one reader.
 */
#ifndef LAB_PAGES_H
#define LAB_PAGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ul
#define HUGE (2ul << 20)

struct pages {
	char *base;
	size_t n;	/* of 4 KiB */
	bool read_only; /* nobody writes: KSM, pinned source */
	uint32_t *version;
	atomic_flag *lock;
	atomic_bool stop;
	atomic_ulong bad;     /* pages found wrong */
	atomic_ulong written; /* by the writer */
	atomic_ulong checked;
	pthread_t writer, reader;
};

/* Fill @n pages at @base.  0 or -ENOMEM. */
int pages_init(struct pages *p, void *base, size_t n);
int pages_start(struct pages *p);
/* Stop the threads, check every page; returns how many were ever found wrong. */
unsigned long pages_finish(struct pages *p);
void pages_free(struct pages *p);
/* Check all pages now. */
void pages_check(struct pages *p);
/* Write page @i anew, as the writer does. */
void pages_write(struct pages *p, size_t i);

#endif /* LAB_PAGES_H */
