/* SPDX-License-Identifier: MIT */
/*
 * test_ops.c - every operation equals plain C: alone and mixed, small and huge, aligned and
 * odd, overlapping and aliased, whole and in chunks, by engine and by CPU, fenced and not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

/* Of a sanitized build everything costs a multiple: fewer and smaller ones. */
#define MIX_REQUESTS (tap_long() ? 40000u : 4800u / TAP_SLOW)
#define HUGE_BYTES   (TAP_SLOW > 1 ? 16 * MIB : 256 * MIB)

struct variant {
	const char *name;
	const char *sets[6];
	uint16_t flags_all, flags_any;
};

static const struct variant variants[] = {
	{ "shared, whole", { "broker.policy=shared" }, AMUX_SQE_ENGINE_ONLY, AMUX_SQE_CACHE },
	{ "dynamic, chunks of 64 KiB",
	  { "broker.policy=dynamic" },
	  AMUX_SQE_ENGINE_ONLY,
	  AMUX_SQE_CACHE },
	{ "dynamic, chunks of 4 KiB",
	  { "policy.dynamic.chunk=4K", "soft.user_wq_size=1", "soft.engines=3" },
	  AMUX_SQE_ENGINE_ONLY,
	  AMUX_SQE_CACHE },
	{ "partitioned, engine threads",
	  { "broker.policy=partitioned", "soft.threads=2" },
	  AMUX_SQE_ENGINE_ONLY,
	  AMUX_SQE_CACHE },
	{ "shared, engine threads, two devices",
	  { "broker.policy=shared", "soft.threads=1", "soft.engines=2", "soft.devices=2" },
	  AMUX_SQE_ENGINE_ONLY,
	  AMUX_SQE_CACHE },
	{ "cpu, all declined", { "broker.policy=cpu" }, 0, AMUX_SQE_CACHE },
	{ "dynamic, engine and CPU by prediction",
	  { "broker.policy=dynamic", "broker.own_core=on" },
	  0,
	  AMUX_SQE_CACHE | AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY },
};

#define N_VARIANTS (sizeof(variants) / sizeof(variants[0]))

/* ------------------------------------------------------------------- one by one */

/* Memory that is registered twice, and its private copy. */
struct bench {
	struct amux *a;
	struct amux_queue *q;
	uint8_t *mem, *alias, *must;
	uint64_t bytes;
	int fd;
	uint16_t flags;
	char why[200];
	uint64_t count;
};

static void bench_open(struct bench *b, struct amux *a, uint64_t bytes, uint16_t flags)
{
	memset(b, 0, sizeof(*b));
	b->a = a;
	b->bytes = bytes;
	b->flags = flags;
	b->fd = memfd_create("test-ops", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->fd < 0 || ftruncate(b->fd, (off_t)bytes) ||
	    fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		tap_bail("memfd: %s", strerror(errno));
	b->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	b->alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	b->must = malloc(bytes);
	if (b->mem == MAP_FAILED || b->alias == MAP_FAILED || !b->must)
		tap_bail("no memory for %llu bytes", (unsigned long long)bytes);
	if (amux_register(a, b->fd, b->mem, bytes) || amux_register(a, b->fd, b->alias, bytes))
		tap_bail("register: %s", amux_error());
	if (amux_queue_create(a, 64, &b->q))
		tap_bail("queue: %s", amux_error());
	plain_random(b->must, bytes, tap_seed());
	memcpy(b->mem, b->must, bytes);
}

static void bench_close(struct bench *b)
{
	amux_queue_destroy(b->q);
	amux_unregister(b->a, b->mem);
	amux_unregister(b->a, b->alias);
	munmap(b->mem, b->bytes);
	munmap(b->alias, b->bytes);
	free(b->must);
	close(b->fd);
}

/* Submit what @sqe is prepared as, wait, and compare all memory and the result. */
static void bench_do(struct bench *b, struct amux_sqe *sqe, const char *what, uint64_t len,
		     uint64_t result)
{
	struct timespec limit = { 30 * TAP_SLOW, 0 };
	struct amux_cqe cqe = { 0 };
	uint64_t at;
	int n;

	b->count++;
	sqe->flags |= b->flags;
	sqe->user_data = b->count;
	amux_submit(b->q);
	n = amux_wait(b->q, &cqe, 1, 1, &limit);
	if (b->why[0])
		return;
	at = plain_compare(b->mem, b->must, b->bytes);
	if (n != 1 || cqe.user_data != b->count || cqe.status || cqe.result != result ||
	    (at < b->bytes))
		snprintf(b->why, sizeof(b->why),
			 "%s of %llu bytes: wait %d, status %d, result %llu of %llu, byte %llu",
			 what, (unsigned long long)len, n, cqe.status,
			 (unsigned long long)cqe.result, (unsigned long long)result,
			 (unsigned long long)at);
}

static struct amux_sqe *bench_sqe(struct bench *b)
{
	struct amux_sqe *sqe = amux_get_sqe(b->q);

	if (!sqe)
		tap_bail("amux_get_sqe: NULL with nothing in flight");
	return sqe;
}

/* Every operation with @len bytes at odd and even offsets @x, @y, @z. */
static void bench_ops(struct bench *b, uint64_t len, uint64_t x, uint64_t y, uint64_t z)
{
	uint64_t pattern = 0x8877665544332211ull + len;
	struct amux_sqe *sqe;

	sqe = bench_sqe(b);
	memcpy(b->must + y, b->must + x, len);
	amux_prep_copy(b->a, sqe, b->mem + y, b->mem + x, len);
	bench_do(b, sqe, "COPY", len, 0);

	sqe = bench_sqe(b);
	amux_prep_compare(b->a, sqe, b->mem + x, b->alias + y, len);
	bench_do(b, sqe, "COMPARE of equals", len, len);

	/* two differences: the lower one counts */
	b->must[y + len / 2] ^= 1;
	b->must[y + len - 1] ^= 2;
	b->mem[y + len / 2] = b->must[y + len / 2];
	b->mem[y + len - 1] = b->must[y + len - 1];
	sqe = bench_sqe(b);
	amux_prep_compare(b->a, sqe, b->mem + x, b->mem + y, len);
	bench_do(b, sqe, "COMPARE", len, plain_compare(b->must + x, b->must + y, len));

	sqe = bench_sqe(b);
	plain_fill(b->must + z, pattern, len);
	amux_prep_fill(b->a, sqe, b->mem + z, pattern, len);
	bench_do(b, sqe, "FILL", len, 0);

	sqe = bench_sqe(b);
	amux_prep_crc32c(b->a, sqe, b->mem + x, (uint32_t)len, len);
	bench_do(b, sqe, "CRC32C", len, plain_crc32c((uint32_t)len, b->must + x, len));

	sqe = bench_sqe(b);
	memcpy(b->must + z, b->must + x, len);
	amux_prep_copy_crc(b->a, sqe, b->alias + z, b->mem + x, 0, len);
	bench_do(b, sqe, "COPY_CRC", len, plain_crc32c(0, b->must + x, len));

	sqe = bench_sqe(b);
	memcpy(b->must + x, b->must + z, len);
	memcpy(b->must + y, b->must + z, len);
	amux_prep_dualcast(b->a, sqe, b->mem + x, b->mem + y, b->mem + z, len);
	bench_do(b, sqe, "DUALCAST", len, 0);

	sqe = bench_sqe(b);
	amux_prep_noop(sqe);
	bench_do(b, sqe, "NOOP", 0, 0);
}

static void test_sizes(struct amux *a, const struct variant *v)
{
	static const uint64_t sizes[] = { 1,	 2,	3,     7,     8,      9,     15,
					  63,	 64,	65,    4095,  4096,   4097,  8191,
					  65535, 65536, 65537, 65544, 131071, 200001 };
	struct bench b;

	bench_open(&b, a, 640 * KIB, v->flags_all);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bench_ops(&b, sizes[i], 0, 204800, 409600); /* the same bits 11:0 */
		bench_ops(&b, sizes[i], 5, 204801, 409603);
	}
	tap_ok(!b.why[0], "%s: each operation alone, 1 byte to 200 KB, %llu requests%s%s",
	       v->name, (unsigned long long)b.count, b.why[0] ? ": " : "", b.why);
	bench_close(&b);
}

static void test_overlap(struct amux *a, const struct variant *v)
{
	static const uint64_t dist[] = { 0, 1, 8, 63, 64, 4095, 4096, 65536, 70001 };
	static const uint64_t sizes[] = { 1, 9, 4096, 65537, 250000 };
	struct bench b;

	bench_open(&b, a, 400 * KIB, v->flags_all);
	for (unsigned int i = 0; i < 2 * 4 * sizeof(dist) / sizeof(dist[0]); i++) {
		uint64_t d = dist[i / 8], lo = 3;
		bool up = i & 1;

		for (unsigned int k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			uint64_t from = up ? lo : lo + d, to = up ? lo + d : lo;
			struct amux_sqe *sqe = bench_sqe(&b);

			memmove(b.must + to, b.must + from, sizes[k]);
			amux_prep_copy(a, sqe, (i & 2 ? b.alias : b.mem) + to,
				       (i & 4 ? b.alias : b.mem) + from, sizes[k]);
			bench_do(&b, sqe,
				 up ? "overlapping COPY upwards" : "overlapping COPY downwards",
				 sizes[k], 0);
		}
	}
	tap_ok(!b.why[0], "%s: overlapping copies both ways, through two mappings, %llu%s%s",
	       v->name, (unsigned long long)b.count, b.why[0] ? ": " : "", b.why);
	bench_close(&b);
}

/* ----------------------------------------------------------------------- mixed */

static void test_mix(struct amux *a, const struct variant *v)
{
	static const unsigned int depths[] = { 1, 3, 16, 64 };
	struct load_options opt = { .flags_all = v->flags_all, .flags_any = v->flags_any };
	uint64_t rng = tap_seed();
	struct load l;

	for (unsigned int fence = 0; fence < 2; fence++) {
		uint64_t n = 0;
		int err = 0;

		if (fence)
			opt.flags_any |= AMUX_SQE_FENCE;
		for (unsigned int i = 0; !err && i < sizeof(depths) / sizeof(depths[0]); i++) {
			opt.depth = depths[i];
			err = load_open(&l, a, &opt, rng_next(&rng));
			if (!err)
				err = load_run(&l, MIX_REQUESTS / 8);
			n += l.answered;
			if (!err)
				load_close(&l);
		}
		tap_ok(!err, "%s: random mixes at depth 1 to 64%s, %llu requests%s%s", v->name,
		       fence ? " with fences" : "", (unsigned long long)n, err ? ": " : "",
		       err ? l.why : "");
		if (err)
			load_close(&l);
	}
}

/* ---------------------------------------------------------------------- fences */

#define CHAIN	   24
#define CHAIN_SPAN (320 * KIB)

/*
 * A -> B, fence B -> C, fence C -> D ...: each copy depends on the one before.  @wrong: an
 * erroneous request stands between them.  @flags: picked at random for every copy.
 */
static const char *chain_run(struct amux *a, uint64_t *rng, bool wrong, uint16_t flags)
{
	struct timespec limit = { 30 * TAP_SLOW, 0 };
	uint64_t len = 1 + rng_below(rng, CHAIN_SPAN);
	const char *why = NULL;
	unsigned int sent = 0;
	struct amux_queue *q;
	void *mem = NULL;
	uint8_t *buf;

	if (amux_alloc(a, (CHAIN + 1) * CHAIN_SPAN, 0, &mem) || amux_queue_create(a, 64, &q))
		tap_bail("chain: %s", amux_error());
	buf = mem;
	plain_random(buf, len, rng_next(rng));
	for (unsigned int i = 0; i < CHAIN; i++) {
		struct amux_sqe *sqe = amux_get_sqe(q);

		amux_prep_copy(a, sqe, buf + (i + 1) * CHAIN_SPAN, buf + i * CHAIN_SPAN, len);
		sqe->flags = flags & (uint16_t)rng_next(rng);
		if (sqe->flags & AMUX_SQE_ENGINE_ONLY)
			sqe->flags &= (uint16_t)~AMUX_SQE_CPU_ONLY;
		sqe->flags |= i ? AMUX_SQE_FENCE : 0;
		sqe->user_data = i;
		sent++;
		if (!wrong || !rng_below(rng, 2))
			continue;
		sqe = amux_get_sqe(q);
		amux_prep_copy(a, sqe, buf + 8, buf, 8);
		sqe->region[0] ^= 0x5000; /* nobody's */
		sqe->flags = rng_below(rng, 2) ? AMUX_SQE_FENCE : 0;
		sqe->user_data = 1000 + i;
		sent++;
	}
	amux_submit(q);
	for (unsigned int next = 0; sent; sent--) {
		struct amux_cqe cqe;

		if (amux_wait(q, &cqe, 1, 1, &limit) != 1) {
			why = "an answer is missing";
			break;
		}
		if (cqe.user_data >= 1000 && cqe.status >= 0)
			why = "a request without a region succeeded";
		else if (cqe.user_data < 1000 && cqe.status)
			why = strerror(-cqe.status);
		else if (cqe.user_data < 1000 && cqe.user_data != next++)
			why = "answers of fenced requests out of order";
	}
	for (unsigned int i = 1; !why && i <= CHAIN; i++)
		if (memcmp(buf, buf + i * CHAIN_SPAN, len))
			why = "a copy was made before the one it depends on";
	amux_queue_destroy(q);
	amux_free(a, mem);
	return why;
}

static void test_chains(struct amux *a, const struct variant *v)
{
	unsigned int rounds = tap_long() ? 100 : TAP_SLOW > 1 ? 2 : 6;
	bool engine = v->flags_all & AMUX_SQE_ENGINE_ONLY,
	     both = v->flags_any & AMUX_SQE_ENGINE_ONLY;
	uint16_t mixed = AMUX_SQE_CPU_ONLY | AMUX_SQE_CACHE;
	uint64_t rng = tap_seed() + 1;
	const char *why = NULL;

	for (unsigned int i = 0; i < rounds && !why; i++)
		why = chain_run(a, &rng, false, v->flags_all);
	tap_ok(!why, "%s: chains of dependent copies with fences%s%s", v->name, why ? ": " : "",
	       why ? why : "");
	why = NULL;
	for (unsigned int i = 0; i < rounds && !why; i++)
		why = chain_run(a, &rng, true, v->flags_all);
	tap_ok(!why, "%s: fences after errors%s%s", v->name, why ? ": " : "", why ? why : "");
	why = NULL;
	if (engine || both)
		mixed |= AMUX_SQE_ENGINE_ONLY;
	for (unsigned int i = 0; i < rounds && !why; i++)
		why = chain_run(a, &rng, i & 1, mixed);
	tap_ok(!why, "%s: fences among declined requests%s%s", v->name, why ? ": " : "",
	       why ? why : "");
}

/* ------------------------------------------------------------------------ huge */

/* The word at @i of the huge pattern. */
static inline uint64_t huge_word(uint64_t i)
{
	return i * 0x9e3779b97f4a7c15ull ^ i >> 7;
}

static void huge_make(uint8_t *p, uint64_t len)
{
	for (uint64_t i = 0; i < len / 8; i++) {
		uint64_t w = huge_word(i);

		memcpy(p + 8 * i, &w, sizeof(w));
	}
}

/* Does @p hold the pattern's first @len bytes? */
static bool huge_is(const uint8_t *p, uint64_t len)
{
	for (uint64_t i = 0; i < len / 8; i++) {
		uint64_t w;

		memcpy(&w, p + 8 * i, sizeof(w));
		if (w != huge_word(i))
			return false;
	}
	return true;
}

static int huge_do(struct amux_queue *q, struct amux_sqe *sqe, struct amux_cqe *cqe)
{
	struct timespec limit = { 60, 0 };

	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	amux_submit(q);
	if (amux_wait(q, cqe, 1, 1, &limit) != 1)
		return -ETIME;
	return cqe->status;
}

static struct amux_sqe *huge_sqe(struct amux_queue *q)
{
	struct amux_sqe *sqe = amux_get_sqe(q);

	if (!sqe)
		tap_bail("amux_get_sqe: NULL with nothing in flight");
	return sqe;
}

static void test_huge(struct amux *a, const char *name)
{
	uint64_t len = HUGE_BYTES, room = len + 4096;
	struct amux_sqe *sqe;
	struct amux_queue *q;
	struct amux_cqe cqe;
	void *mem = NULL;
	uint8_t *x, *y;
	int err;

	if (amux_alloc(a, 2 * room, 0, &mem) || amux_queue_create(a, 2, &q))
		tap_bail("huge: %s", amux_error());
	x = mem;
	y = x + room;
	huge_make(x, len);

	sqe = huge_sqe(q);
	amux_prep_copy(a, sqe, y, x, len);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && cqe.bytes == len && huge_is(y, len), "%s: COPY of %llu MiB", name,
	       (unsigned long long)(len / MIB));

	sqe = huge_sqe(q);
	amux_prep_compare(a, sqe, x, y, len);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && cqe.result == len, "%s: COMPARE of as much, equal", name);
	y[len - 1] ^= 1;
	sqe = huge_sqe(q);
	amux_prep_compare(a, sqe, x, y, len);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && cqe.result == len - 1, "%s: COMPARE finds the last byte", name);

	sqe = huge_sqe(q);
	amux_prep_copy(a, sqe, x + 4095, x, len);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && huge_is(x + 4095, len), "%s: COPY of as much by 4095 bytes upwards",
	       name);
	sqe = huge_sqe(q);
	amux_prep_copy(a, sqe, x, x + 4095, len);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && huge_is(x, len), "%s: and back down", name);

	sqe = huge_sqe(q);
	amux_prep_copy_crc(a, sqe, y, x, 7, len / 4 - 1);
	err = huge_do(q, sqe, &cqe);
	tap_ok(!err && cqe.result == plain_crc32c(7, x, len / 4 - 1) &&
		       !memcmp(x, y, len / 4 - 1),
	       "%s: COPY_CRC of %llu MiB less one byte", name,
	       (unsigned long long)(len / 4 / MIB));
	amux_queue_destroy(q);
	amux_free(a, mem);
}

/* ------------------------------------------------------------------------ main */

static struct amux *connect_to(const struct daemon *d)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a;
	int err;

	opt.socket = d->socket;
	err = amux_connect(&a, &opt);
	if (err)
		tap_bail("connect: %s", amux_error());
	return a;
}

static void run_variant(const struct variant *v)
{
	struct amux_stats stats;
	struct daemon d;
	struct amux *a;

	daemon_prepare(&d);
	daemon_launch(&d, v->sets, false);
	daemon_await(&d);
	a = connect_to(&d);
	test_sizes(a, v);
	test_overlap(a, v);
	test_mix(a, v);
	test_chains(a, v);
	amux_get_stats(a, &stats);
	tap_ok(!stats.rejected && !stats.lost_broker, "%s: no answer fitted no request",
	       v->name);
	if (v->flags_all & AMUX_SQE_ENGINE_ONLY)
		tap_ok(stats.engine_bytes > stats.declined_bytes, "%s: by engine", v->name);
	else if (!(v->flags_any & AMUX_SQE_ENGINE_ONLY))
		tap_ok(!stats.engine_bytes && stats.declined_bytes, "%s: by CPU", v->name);
	else
		tap_ok(stats.engine_bytes && stats.declined_bytes, "%s: by both", v->name);
	amux_close(a);
	daemon_stop(&d);
}

static void run_huge(const char *name, const char *policy, const char *threads)
{
	struct daemon d;
	struct amux *a;

	daemon_start(&d, policy, threads, NULL);
	a = connect_to(&d);
	test_huge(a, name);
	amux_close(a);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	for (unsigned int i = 0; i < N_VARIANTS; i++)
		run_variant(&variants[i]);
	run_huge("dynamic", "broker.policy=dynamic", "soft.threads=0");
	run_huge("shared, engine threads", "broker.policy=shared", "soft.threads=2");
	return tap_done();
}
