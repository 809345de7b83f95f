/* SPDX-License-Identifier: MIT */
/*
 * test_both.c - amux_copy() by engine and CPU together: both move bytes, each byte is right, it
 * takes less time than either alone, and with an engine that others keep busy no more than the
 * CPU; overlapping copies stay one ordered stream; nothing is in flight when it returns.
 *
 * Modelled: an engine of 300 MB/s beside a CPU of 100 MB/s.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define KIB	1024u
#define MIB	(1024u * KIB)
#define BYTES	(24u * MIB)
#define GUARD	64u
#define TRIES	12 /* a busy host takes CPU time away from the copies */
#define CPU_BPS 1e8

struct arena {
	struct amux *a;
	uint8_t *src, *dst; /* BYTES each, and GUARD around */
};

/* The last copy's counts. */
struct counts {
	uint64_t engine_bytes, both, engine, cpu, withdrawn, errors;
	double seconds;
};

static struct counts since(struct amux *a, const struct amux_stats *b, uint64_t start)
{
	struct amux_stats s;

	amux_get_stats(a, &s);
	return (struct counts){ .engine_bytes = s.engine_bytes - b->engine_bytes,
				.both = s.sync_both - b->sync_both,
				.engine = s.sync_engine - b->sync_engine,
				.cpu = s.sync_cpu - b->sync_cpu,
				.withdrawn = s.withdrawn - b->withdrawn,
				.errors = s.errors - b->errors,
				.seconds = (double)(tap_ns() - start) / 1e9 };
}

/* Copy @len bytes from odd to odd places.  Is it all right, and nothing beside it touched? */
static bool copy_once(const struct arena *m, uint64_t x, uint64_t y, uint64_t len,
		      struct counts *c)
{
	uint8_t *to = m->dst + GUARD + y, before[GUARD], after[GUARD];
	struct amux_stats b;
	uint64_t start;
	int err;

	memset(to, 0, len);
	memcpy(before, to - GUARD, GUARD);
	memcpy(after, to + len, GUARD);
	amux_get_stats(m->a, &b);
	start = tap_ns();
	err = amux_copy(m->a, to, m->src + GUARD + x, len);
	*c = since(m->a, &b, start);
	return !err && !memcmp(to, m->src + GUARD + x, len) &&
	       !memcmp(before, to - GUARD, GUARD) && !memcmp(after, to + len, GUARD);
}

/* The CPU's time for @len bytes at this moment, s: of memory that the engine cannot reach. */
static double cpu_alone(struct amux *a, uint64_t len)
{
	static uint8_t mine[2 * BYTES];
	uint64_t start = tap_ns();

	amux_copy(a, mine, mine + BYTES, len);
	return (double)(tap_ns() - start) / 1e9;
}

/* The same by the engine alone, s. */
static double engine_alone(const struct arena *m)
{
	struct amux_queue *q;
	struct amux_sqe *sqe;
	struct amux_cqe cqe;
	uint64_t start;

	if (amux_queue_create(m->a, 2, &q))
		tap_bail("queue: %s", amux_error());
	start = tap_ns();
	sqe = amux_get_sqe(q);
	amux_prep_copy(m->a, sqe, m->dst, m->src, BYTES);
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	amux_submit(q);
	if (amux_wait(q, &cqe, 1, 1, NULL) != 1 || cqe.status)
		tap_bail("the engine alone: %d", cqe.status);
	start = tap_ns() - start;
	amux_queue_destroy(q);
	return (double)start / 1e9;
}

static void test_faster(const struct arena *m)
{
	double cpu = (double)BYTES / CPU_BPS, engine = 0;
	struct counts c = { 0 };
	bool right = true;

	for (unsigned int i = 0; i < TRIES; i++) {
		engine = engine_alone(m);
		right = copy_once(m, 0, 0, BYTES, &c);
		if (!right || c.seconds < 0.95 * engine)
			break;
	}
	tap_ok(right && !c.errors, "%u MiB: every byte is right", BYTES / MIB);
	tap_ok(c.both == 1 && c.engine_bytes >= BYTES / 4 &&
		       c.engine_bytes <= BYTES - BYTES / 16,
	       "engine and CPU share it: %.1f MiB by the engine", (double)c.engine_bytes / MIB);
	if (TAP_SLOW > 1)
		tap_skip("faster than either", "a sanitizer slows the copies");
	else
		tap_ok(c.seconds < 0.95 * engine,
		       "%.0f ms; the engine alone takes %.0f, the CPU alone %.0f",
		       c.seconds * 1e3, engine * 1e3, cpu * 1e3);
}

/* @modelled: it is known who is fastest; else this host's timing decides. */
static void test_random(const struct arena *m, bool modelled)
{
	unsigned int rounds = tap_long() ? 400 : 24, both = 0, wrong = 0;
	uint64_t rng = tap_seed(), total = 0, engine = 0;
	struct counts c;

	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t len = 1 + rng_below(&rng, i & 1 ? 2 * MIB : 600 * KIB);
		uint64_t x = rng_below(&rng, 4096), y = rng_below(&rng, 4096);

		wrong += !copy_once(m, x, y, len, &c);
		wrong += c.both + c.engine + c.cpu != 1;
		both += (unsigned int)c.both;
		engine += c.engine_bytes;
		total += len;
	}
	tap_ok(!wrong, "%u copies of all sizes at odd places", rounds);
	tap_ok(!modelled || (both > rounds / 4 && engine && engine < total),
	       "%u of them by both, %.0f %% of their bytes by the engine", both,
	       100.0 * (double)engine / (double)total);
}

static void test_overlap(const struct arena *m)
{
	uint8_t *mem = m->src, *must = malloc(5 * MIB);
	struct amux_stats b;
	struct counts c;
	bool right = true;

	memcpy(must, mem, 5 * MIB);
	amux_get_stats(m->a, &b);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t d = i < 2 ? 4095 : 300 * KIB, from = i & 1 ? d : 0, to = d - from;

		memmove(must + to, must + from, 4 * MIB);
		right &= !amux_copy(m->a, mem + to, mem + from, 4 * MIB);
		right &= !memcmp(mem, must, 5 * MIB);
	}
	c = since(m->a, &b, 0);
	tap_ok(right && !c.both, "overlapping copies: one ordered stream, %llu by the engine",
	       (unsigned long long)c.engine);
	free(must);
}

/* ------------------------------------------------------------------------- alias */

/* One memfd, two regions: the addresses say nothing of the overlap. */
static void test_alias(struct amux *a, const char *by)
{
	static const uint64_t dist[] = { 1, 64, 4095, 70001 };
	static const uint64_t size[] = { 100, 5000, 60000, 400000, 3 * MIB };
	uint64_t bytes = 4 * MIB, rng = tap_seed();
	uint8_t *map[2], *must = malloc(bytes);
	bool right = true;
	int fd = memfd_create("test-both", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("memfd: %s", strerror(errno));
	for (unsigned int i = 0; i < 2; i++) {
		map[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map[i] == MAP_FAILED || amux_register(a, fd, map[i], bytes))
			tap_bail("register: %s", amux_error());
	}
	plain_random(must, bytes, rng);
	memcpy(map[0], must, bytes);
	for (unsigned int i = 0; i < 2 * 4 * 5; i++) {
		uint64_t d = dist[i / 2 % 4], n = size[i / 8], from = i & 1 ? d : 0;
		uint64_t to = d - from;

		memmove(must + to, must + from, n);
		right &= !amux_copy(a, map[rng_next(&rng) & 1] + to,
				    map[rng_next(&rng) & 1] + from, n);
		right &= !memcmp(map[0], must, bytes);
	}
	tap_ok(right, "%s: aliased regions, overlapping copies in memmove's order", by);
	for (unsigned int i = 0; i < 2; i++) {
		amux_unregister(a, map[i]);
		munmap(map[i], bytes);
	}
	close(fd);
	free(must);
}

/* -------------------------------------------------------------------------- busy */

/* Another connection's queues, kept full for a while. */
struct hog {
	struct amux *a;
	pthread_t thread;
	unsigned int queues, from_ms, for_ms;
};

static void *hog_run(void *arg)
{
	struct hog *h = arg;
	struct amux_queue *q[8];
	struct amux_cqe cqes[64];
	struct amux_sqe *sqe;
	uint64_t end;
	void *mem;

	if (amux_alloc(h->a, 512 * KIB, 0, &mem))
		tap_bail("hog: %s", amux_error());
	for (unsigned int i = 0; i < h->queues; i++)
		if (amux_queue_create(h->a, 64, &q[i]))
			tap_bail("hog: %s", amux_error());
	tap_sleep_ms(h->from_ms);
	for (end = tap_ns() + h->for_ms * 1000000ull; tap_ns() < end; tap_sleep_ms(1)) {
		for (unsigned int i = 0; i < h->queues; i++) {
			amux_peek(q[i], cqes, 64);
			while ((sqe = amux_get_sqe(q[i]))) {
				amux_prep_copy(h->a, sqe, (char *)mem + 256 * KIB, mem,
					       256 * KIB);
				sqe->flags = AMUX_SQE_ENGINE_ONLY;
				sqe->user_data = 1;
			}
			amux_submit(q[i]);
		}
	}
	for (unsigned int i = 0; i < h->queues; i++)
		amux_queue_destroy(q[i]);
	amux_free(h->a, mem);
	return NULL;
}

static void hog_start(struct hog *h, const struct amux_options *opt)
{
	if (amux_connect(&h->a, opt) || pthread_create(&h->thread, NULL, hog_run, h))
		tap_bail("hog: %s", amux_error());
}

static void hog_stop(struct hog *h)
{
	pthread_join(h->thread, NULL);
	amux_close(h->a);
}

/* The engine is busy for as long as the copy lasts and longer. */
static void test_busy(const struct arena *m, const struct amux_options *opt)
{
	struct hog h = { .queues = 1, .for_ms = 1000 };
	double cpu = 1, took = 1e9;
	struct counts c;
	bool right = true;

	hog_start(&h, opt);
	tap_sleep_ms(100);
	for (unsigned int i = 0; i < TRIES && took > 1.15 * cpu; i++) {
		right &= copy_once(m, 1, 2, 4 * MIB, &c);
		took = c.seconds;
		cpu = cpu_alone(m->a, 4 * MIB);
	}
	hog_stop(&h);
	tap_ok(right, "beside a full engine: every byte is right");
	if (TAP_SLOW > 1)
		tap_skip("no slower than the CPU", "a sanitizer slows the copies");
	else
		tap_ok(took < 1.15 * cpu, "and no slower than the CPU: %.1f ms, alone %.1f",
		       took * 1e3, cpu * 1e3);
}

/* The engine is lost to others after the copy has begun: where the tail meets the front, pieces
 * that it has not begun are taken back. */
static void test_surprise(const struct arena *m, const struct amux_options *opt)
{
	double cpu = 1, took = 1e9;
	uint64_t withdrawn = 0, errors = 0;
	struct counts c;
	bool right = true;

	for (unsigned int i = 0; i < TRIES && (!withdrawn || took > 1.15 * cpu); i++) {
		struct hog h = { .queues = 8, .from_ms = 10, .for_ms = 200 };

		hog_start(&h, opt);
		tap_sleep_ms(5);
		right &= copy_once(m, 1, 2, BYTES, &c);
		hog_stop(&h);
		withdrawn += c.withdrawn;
		errors += c.errors;
		took = c.seconds;
		cpu = cpu_alone(m->a, BYTES);
	}
	tap_ok(right && withdrawn && !errors,
	       "an engine lost to others half-way: %llu pieces withdrawn, every byte is right",
	       (unsigned long long)withdrawn);
	if (TAP_SLOW > 1)
		tap_skip("no slower than the CPU", "a sanitizer slows the copies");
	else
		tap_ok(took < 1.15 * cpu, "and no slower than the CPU: %.0f ms, alone %.0f",
		       took * 1e3, cpu * 1e3);
}

static void arena_open(struct arena *m, const struct daemon *d, struct amux_options *opt)
{
	void *mem[2];

	opt->socket = d->socket;
	if (amux_connect(&m->a, opt) || amux_alloc(m->a, BYTES + 8192, 0, &mem[0]) ||
	    amux_alloc(m->a, BYTES + 8192, 0, &mem[1]))
		tap_bail("connect: %s", amux_error());
	m->src = mem[0];
	m->dst = mem[1];
	plain_random(m->src, BYTES + 8192, tap_seed());
}

int main(int argc, char **argv)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct arena m;
	struct counts c;
	struct daemon d;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=dynamic", "soft.model=on", NULL);
	arena_open(&m, &d, &opt);
	test_faster(&m);
	test_random(&m, true);
	test_overlap(&m);
	test_busy(&m, &opt);
	test_surprise(&m, &opt);
	test_alias(m.a, "modelled engine");
	tap_ok(daemon_settles(&d, "status", "classes.user.failed", 0, 1000),
	       "the broker counts no failure");
	amux_close(m.a);
	daemon_stop(&d);

	daemon_start(&d, "broker.policy=dynamic", NULL);
	arena_open(&m, &d, &opt);
	tap_ok(copy_once(&m, 0, 0, BYTES, &c) && c.cpu == 1 && !c.engine_bytes,
	       "the only engine is a CPU: the library copies by itself");
	test_alias(m.a, "no engine");
	amux_close(m.a);
	daemon_stop(&d);

	daemon_start(&d, "broker.policy=dynamic", "broker.own_core=on", NULL);
	arena_open(&m, &d, &opt);
	tap_ok(copy_once(&m, 3, 5, BYTES, &c) && c.both == 1 && c.engine_bytes,
	       "the broker has a core: by both, %.1f MiB by the engine",
	       (double)c.engine_bytes / MIB);
	test_random(&m, false);
	test_alias(m.a, "a core of the broker's");
	amux_close(m.a);
	daemon_stop(&d);
	return tap_done();
}
