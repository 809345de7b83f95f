// SPDX-License-Identifier: MIT
/*
 * pages.c - see pages.h.
 */
#include "pages.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t word_of(size_t page, uint32_t version, size_t i)
{
	uint64_t x =
		page * 0x9e3779b97f4a7c15ull + (uint64_t)version * 0xbf58476d1ce4e5b9ull + i;

	return (x ^ (x >> 29)) * 0x94d049bb133111ebull;
}

/* What is only read comes in twins, far apart: KSM has something to merge. */
static size_t content_of(const struct pages *p, size_t i)
{
	return p->read_only ? i % (p->n / 2) : i;
}

static void page_lock(struct pages *p, size_t i)
{
	while (atomic_flag_test_and_set_explicit(&p->lock[i], memory_order_acquire))
		sched_yield();
}

static void page_unlock(struct pages *p, size_t i)
{
	atomic_flag_clear_explicit(&p->lock[i], memory_order_release);
}

static void page_fill(struct pages *p, size_t i)
{
	volatile uint64_t *w = (volatile uint64_t *)(p->base + i * PAGE);

	for (size_t k = 0; k < WORDS; k++)
		w[k] = word_of(content_of(p, i), p->version[i], k);
}

static bool page_right(struct pages *p, size_t i)
{
	volatile uint64_t *w = (volatile uint64_t *)(p->base + i * PAGE);

	for (size_t k = 0; k < WORDS; k++)
		if (w[k] != word_of(content_of(p, i), p->version[i], k))
			return false;
	return true;
}

static void page_check(struct pages *p, size_t i)
{
	page_lock(p, i);
	if (!page_right(p, i)) {
		atomic_fetch_add(&p->bad, 1);
		if (!p->read_only)
			page_fill(p, i); /* count each loss once */
	}
	page_unlock(p, i);
	atomic_fetch_add(&p->checked, 1);
}

void pages_write(struct pages *p, size_t i)
{
	page_lock(p, i);
	p->version[i]++;
	page_fill(p, i);
	page_unlock(p, i);
	atomic_fetch_add(&p->written, 1);
}

void pages_check(struct pages *p)
{
	for (size_t i = 0; i < p->n; i++)
		page_check(p, i);
}

int pages_init(struct pages *p, void *base, size_t n)
{
	bool read_only = p->read_only;

	*p = (struct pages){ .base = base, .n = n, .read_only = read_only };
	p->version = calloc(n, sizeof(*p->version));
	p->lock = calloc(n, sizeof(*p->lock));
	if (!p->version || !p->lock) {
		pages_free(p);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		page_fill(p, i);
	return 0;
}

static void *writer(void *arg)
{
	struct pages *p = arg;
	uint64_t x = 88172645463325252ull;

	while (!atomic_load(&p->stop)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pages_write(p, x % p->n);
		if (!(x & 15))
			sched_yield();
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct pages *p = arg;

	for (size_t i = 0; !atomic_load(&p->stop); i = (i + 7) % p->n)
		page_check(p, i);
	return NULL;
}

int pages_start(struct pages *p)
{
	int ret = pthread_create(&p->reader, NULL, reader, p);

	if (!ret && !p->read_only)
		ret = pthread_create(&p->writer, NULL, writer, p);
	return -ret;
}

unsigned long pages_finish(struct pages *p)
{
	atomic_store(&p->stop, true);
	pthread_join(p->reader, NULL);
	if (!p->read_only)
		pthread_join(p->writer, NULL);
	pages_check(p);
	return atomic_load(&p->bad);
}

void pages_free(struct pages *p)
{
	free(p->version);
	free(p->lock);
	p->version = NULL;
	p->lock = NULL;
}
