// SPDX-License-Identifier: MIT
/*
 * memory.c - the limits: this thread copies the broker's buffers by itself, in the order in
 * which the broker is asked to.
 */
#include "memory.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "broker.h"
#include "machine.h"
#include "probe.h"

typedef void *copy_fn(void *dst, const void *src, size_t len);

/* Through a pointer: or the compiler would take the loop apart. */
static copy_fn *volatile plain_copy = memcpy;

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void *stream_copy(void *dst, const void *src, size_t len)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	for (; len >= 128; len -= 128, d += 128, s += 128) {
		__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)s);
		__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(s + 32));
		__m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(s + 64));
		__m256i e = _mm256_loadu_si256((const __m256i *)(const void *)(s + 96));

		_mm256_stream_si256((__m256i *)(void *)d, a);
		_mm256_stream_si256((__m256i *)(void *)(d + 32), b);
		_mm256_stream_si256((__m256i *)(void *)(d + 64), c);
		_mm256_stream_si256((__m256i *)(void *)(d + 96), e);
	}
	_mm_sfence();
	return dst;
}

static bool stream_can(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
static void *stream_copy(void *dst, const void *src, size_t len)
{
	return memcpy(dst, src, len);
}

static bool stream_can(void)
{
	return false;
}
#endif

static void copy_loop(const struct probe *p, copy_fn *copy, struct sample *s, uint64_t until,
		      uint64_t least)
{
	uint64_t pieces = broker.set / p->size, piece = 0;

	s->ops = 0;
	do {
		uint8_t *src = broker.src + piece * p->size,
			*dst = broker.dst + piece * p->size;

		if (p->touch)
			touch_write(src, p->size, s->ops);
		copy(dst, src, p->size);
		if (p->touch)
			touch_read(dst, p->size);
		if (++piece == pieces)
			piece = 0;
		s->ops++;
	} while (ticks() < until || s->ops < least);
}

static int copies(const struct probe *p, copy_fn *copy, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct meter m;

	copy_loop(p, copy, s, ticks() + length / 8, bench.warming ? broker.set / p->size : 0);
	meter_start(&m, PEER_NONE, BUSY_CLIENT);
	copy_loop(p, copy, s, ticks() + length, 0);
	meter_stop(&m, s);
	s->bytes = s->ops * p->size;
	s->value = (double)s->bytes / (double)s->wall_ns;
	return 0;
}

int plain_copies(const struct probe *p, struct sample *s)
{
	return copies(p, plain_copy, s);
}

int stream_copies(const struct probe *p, struct sample *s)
{
	if (!stream_can())
		return bench_absent("this CPU has no AVX2");
	return copies(p, stream_copy, s);
}
