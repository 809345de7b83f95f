// SPDX-License-Identifier: MIT
/*
 * sync.c - amux_copy() beside memcpy(), one call after the other on the same two buffers.
 */
#include <string.h>

#include "broker.h"
#include "machine.h"
#include "probe.h"

#define SYNC_BYTES 65536u /* copied between looks at the clock, as far as sizes allow */

/* Both through a pointer, so that the compiler knows neither. */
static int (*volatile sync_copy)(struct amux *a, void *dst, const void *src,
				 size_t len) = amux_copy;
static void *(*volatile plain_copy)(void *dst, const void *src, size_t len) = memcpy;

static uint64_t sync_until(const struct probe *p, uint64_t until)
{
	uint64_t calls = p->size < SYNC_BYTES ? SYNC_BYTES / p->size : 1, ops = 0;
	int err;

	do {
		for (uint64_t i = 0; i < calls; i++) {
			err = sync_copy(broker.a, broker.dst, broker.src, p->size);
			if (err)
				bench_fail("amux_copy(): %s", strerror(-err));
		}
		ops += calls;
	} while (ticks() < until);
	return ops;
}

static uint64_t plain_until(const struct probe *p, uint64_t until)
{
	uint64_t calls = p->size < SYNC_BYTES ? SYNC_BYTES / p->size : 1, ops = 0;

	do {
		for (uint64_t i = 0; i < calls; i++)
			plain_copy(broker.dst, broker.src, p->size);
		ops += calls;
	} while (ticks() < until);
	return ops;
}

static void sync_value(const struct probe *p, struct sample *s)
{
	s->bytes = s->ops * p->size;
	if (p->unit == UNIT_NS)
		s->value = (double)s->wall_ns / (double)s->ops;
	else
		s->value = (double)s->bytes / (double)s->wall_ns;
}

/* By whom each call was done is the library's choice; that none was forgotten is checked. */
static void sync_check(const struct amux_stats *before, const struct broker_count *counted,
		       uint64_t ops, size_t size)
{
	struct amux_stats now;
	struct broker_count c;
	uint64_t engine, cpu, both, bytes;

	if (amux_get_stats(broker.a, &now))
		bench_fail("amux_copy(): no statistics");
	broker_count(&c);
	engine = now.sync_engine - before->sync_engine;
	cpu = now.sync_cpu - before->sync_cpu;
	both = now.sync_both - before->sync_both;
	bytes = now.engine_bytes - before->engine_bytes;
	if (engine + cpu + both != ops || c.bytes - counted->bytes != bytes ||
	    bytes < engine * size || bytes > (engine + both) * size)
		bench_fail(
			"amux_copy(): %llu calls, %llu by the broker, %llu by both, %llu by "
			"the CPU, %llu bytes, by the library's word; the broker counted %llu "
			"bytes",
			(unsigned long long)ops, (unsigned long long)engine,
			(unsigned long long)both, (unsigned long long)cpu,
			(unsigned long long)bytes,
			(unsigned long long)(c.bytes - counted->bytes));
}

int amux_sync(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns), warm;
	struct broker_count counted;
	struct amux_stats before;
	struct meter m;

	broker_count(&counted);
	if (amux_get_stats(broker.a, &before))
		bench_fail("amux_copy(): no statistics");
	warm = sync_until(p, ticks() + length / 8);
	meter_start(&m, broker.daemon.pid, BUSY_CLIENT);
	s->ops = sync_until(p, ticks() + length);
	meter_stop(&m, s);
	sync_check(&before, &counted, s->ops + warm, p->size);
	sync_value(p, s);
	return 0;
}

int plain_sync(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct meter m;

	plain_until(p, ticks() + length / 8);
	meter_start(&m, PEER_NONE, BUSY_CLIENT);
	s->ops = plain_until(p, ticks() + length);
	meter_stop(&m, s);
	sync_value(p, s);
	return 0;
}
