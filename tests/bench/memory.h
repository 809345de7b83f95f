/* SPDX-License-Identifier: MIT */
/*
 * memory.h - what a client does with the data of a copy besides having it copied.
 *
 * Owner: none.  Threads: any.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define TOUCH_LINE 64

/* Write a word of each cache line. */
static inline void touch_write(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t off = 0; off + sizeof(uint64_t) <= len; off += TOUCH_LINE)
		*(volatile uint64_t *)(void *)(p + off) = seed + off;
}

/* Read a word of each cache line, whether the sum is used or not. */
static inline uint64_t touch_read(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t off = 0; off + sizeof(uint64_t) <= len; off += TOUCH_LINE)
		sum += *(const volatile uint64_t *)(const void *)(p + off);
	return sum;
}

#endif /* BENCH_MEMORY_H */
