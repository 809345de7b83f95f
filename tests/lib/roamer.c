/* SPDX-License-Identifier: MIT */
#include "roamer.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define CONNECT_S 30
#define SYNC_MAX  (3u << 20)

__attribute__((format(printf, 2, 3))) static int fail(struct roamer *r, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return -1;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
	__atomic_store_n(&r->failed, 1, __ATOMIC_RELEASE);
	return -1;
}

static bool told(const uint32_t *word, uint32_t than)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE) != than;
}

/* There is a broker most of the time; the first connection needs one. */
static struct amux *connect_to(struct roamer *r)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	uint64_t end = tap_ns() + CONNECT_S * TAP_SLOW * 1000000000ull;
	struct amux *a;
	int err;

	opt.socket = r->socket;
	opt.name = "roamer";
	while ((err = amux_connect(&a, &opt))) {
		if (tap_ns() > end) {
			fail(r, "connect: %s: %s", strerror(-err), amux_error());
			return NULL;
		}
		tap_sleep_ms(5);
	}
	worker_add(&r->connects, 1);
	return a;
}

static int check_stats(struct roamer *r, struct amux *a)
{
	struct amux_stats s;

	if (amux_get_stats(a, &s))
		return fail(r, "amux_get_stats failed");
	if (s.rejected)
		return fail(r, "%llu answers fitted no request: answered twice",
			    (unsigned long long)s.rejected);
	return 0;
}

static int disconnect(struct roamer *r, struct amux *a)
{
	struct amux_stats s;
	int err = check_stats(r, a);

	if (!amux_get_stats(a, &s)) {
		r->stats.reconnects += s.reconnects;
		r->stats.redone += s.redone;
		r->stats.recalled += s.recalled;
		r->stats.lost_broker += s.lost_broker;
		r->stats.engine_done += s.engine_done;
		r->stats.declined += s.declined;
	}
	amux_close(a);
	return err;
}

/* Memory, a queue, some hundred requests, and all of it back. */
static int one_load(struct roamer *r, struct amux *a, uint64_t *rng)
{
	struct load_options opt = {
		.depth = 2 + (unsigned int)rng_below(rng, 31),
		.flags_any = AMUX_SQE_FENCE | AMUX_SQE_CACHE,
		.may_refuse = true,
		.may_lose = true,
		.big_span = 64ull << 10 << rng_below(rng, 6),
	};
	uint64_t requests = 1 + rng_below(rng, 600);
	struct load l;
	int err;

	if (!rng_below(rng, 3))
		opt.flags_any |= AMUX_SQE_ENGINE_ONLY;
	if (!rng_below(rng, 4))
		opt.flags_any |= AMUX_SQE_CPU_ONLY;
	err = load_open(&l, a, &opt, rng_next(rng));
	while (!err && l.answered < requests && !told(&r->rest, r->rested) && !r->stop)
		err = load_step(&l);
	if (!err)
		err = load_drain(&l);
	worker_add(&r->answered, l.answered);
	worker_add(&r->bytes, l.copied);
	worker_add(&r->lost, l.lost);
	worker_add(&r->loads, 1);
	if (err)
		return fail(r, "%s", l.why);
	load_close(&l);
	return 0;
}

/* amux_copy() on a connection of its own, sometimes overlapping. */
static int one_sync(struct roamer *r, uint64_t *rng)
{
	struct amux *a = connect_to(r);
	uint8_t *mem = NULL, *must;
	uint64_t len, from, to;
	int err = 0;

	if (!a)
		return -1;
	must = malloc(2 * SYNC_MAX);
	if (!must || amux_alloc(a, 2 * SYNC_MAX, 0, (void **)&mem)) {
		free(must);
		return fail(r, "alloc: %s", amux_error());
	}
	plain_random(must, 2 * SYNC_MAX, rng_next(rng));
	memcpy(mem, must, 2 * SYNC_MAX);
	for (unsigned int i = 0; i < 8 && !err; i++) {
		len = 1 + rng_below(rng, SYNC_MAX);
		from = rng_below(rng, SYNC_MAX);
		to = rng_below(rng, 2) ? SYNC_MAX : rng_below(rng, SYNC_MAX);
		err = amux_copy(a, mem + to, mem + from, len);
		memmove(must + to, must + from, len);
		worker_add(&r->syncs, 1);
		if (err == -EIO) {
			/* The broker died in the middle of one that overlaps. */
			worker_add(&r->lost, 1);
			memcpy(must, mem, 2 * SYNC_MAX);
			err = 0;
		} else if (err) {
			fail(r, "amux_copy: %s", strerror(-err));
		} else if (memcmp(mem, must, 2 * SYNC_MAX)) {
			err = fail(r,
				   "amux_copy of %llu bytes, %llu -> %llu: byte %llu is wrong",
				   (unsigned long long)len, (unsigned long long)from,
				   (unsigned long long)to,
				   (unsigned long long)plain_compare(mem, must, 2 * SYNC_MAX));
		}
	}
	free(must);
	return disconnect(r, a) || err ? -1 : 0;
}

/* Hold one live connection and nothing else, until told to go on. */
static int rest(struct roamer *r, struct amux *a)
{
	uint64_t end = tap_ns() + CONNECT_S * TAP_SLOW * 1000000000ull;
	uint32_t n = __atomic_load_n(&r->rest, __ATOMIC_ACQUIRE);

	while (amux_alive(a) != 1) {
		if (tap_ns() > end)
			return fail(r, "no broker for %d s", CONNECT_S);
		tap_sleep_ms(5);
	}
	if (check_stats(r, a))
		return -1;
	malloc_trim(0); /* what is free but kept is no leak */
	if (!census_take(0, &r->census))
		return fail(r, "no census of ourselves");
	__atomic_store_n(&r->rested, n, __ATOMIC_RELEASE);
	while (__atomic_load_n(&r->roam, __ATOMIC_ACQUIRE) != n && !r->stop)
		tap_sleep_ms(2);
	return 0;
}

int roamer_main(struct roamer *r)
{
	uint64_t rng = r->seed;
	struct amux *a = connect_to(r);
	int err = a ? 0 : -1;

	while (!err && !__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		if (told(&r->rest, r->rested)) {
			err = rest(r, a);
			continue;
		}
		err = one_load(r, a, &rng);
		if (!err && !rng_below(&rng, 6))
			err = one_sync(r, &rng);
		if (!err && !rng_below(&rng, 20)) {
			err = disconnect(r, a);
			a = err ? NULL : connect_to(r);
			err = a ? 0 : -1;
		}
	}
	if (!err)
		err = disconnect(r, a);
	return err ? 1 : 0;
}
