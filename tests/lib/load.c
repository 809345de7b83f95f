/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SMALL_SPAN (32u << 10)
#define BIG_SPAN   (1u << 20)
#define WAIT_S	   30 /* an answer that takes longer is lost */
#define CRC_POLY   0x82f63b78u

/* ----------------------------------------------------------------- in plain C */

uint32_t plain_crc32c(uint32_t crc, const void *p, uint64_t len)
{
	static uint32_t table[256];
	const uint8_t *b = p;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t c = i;

		for (unsigned int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ CRC_POLY : c >> 1;
		table[i] = c;
	}
	crc = ~crc;
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *b++) & 0xff];
	return ~crc;
}

void plain_fill(uint8_t *dst, uint64_t pattern, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		dst[i] = (uint8_t)(pattern >> 8 * (i % 8));
}

uint64_t plain_compare(const uint8_t *x, const uint8_t *y, uint64_t len)
{
	uint64_t i = 0;

	while (len - i >= 4096 && !memcmp(x + i, y + i, 4096))
		i += 4096; /* only to be quick */
	while (i < len && x[i] == y[i])
		i++;
	return i;
}

void plain_random(uint8_t *dst, uint64_t len, uint64_t seed)
{
	uint64_t word, i = 0;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		word = rng_next(&seed);
		memcpy(dst + i, &word, sizeof(word));
	}
	word = rng_next(&seed);
	memcpy(dst + i, &word, len - i);
}

const char *op_name(uint8_t op)
{
	static const char *const names[AMUX_OP_CANCEL] = {
		[AMUX_OP_NOOP] = "NOOP",	 [AMUX_OP_COPY] = "COPY",
		[AMUX_OP_FILL] = "FILL",	 [AMUX_OP_COMPARE] = "COMPARE",
		[AMUX_OP_DUALCAST] = "DUALCAST", [AMUX_OP_CRC32C] = "CRC32C",
		[AMUX_OP_COPY_CRC] = "COPY_CRC",
	};

	return op < AMUX_OP_CANCEL ? names[op] : "?";
}

/* ------------------------------------------------------------------------ open */

__attribute__((format(printf, 2, 3))) static int fail(struct load *l, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	if (l->why[0])
		return -1;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
	n = strlen(l->why);
	snprintf(l->why + n, sizeof(l->why) - n, " (load seed %llu)",
		 (unsigned long long)l->seed);
	return -1;
}

/* A memfd of l->bytes, mapped three times, and registered under each address. */
static int load_map(struct load *l)
{
	char path[64];

	l->fd = memfd_create("test-load", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (l->fd < 0 || ftruncate(l->fd, (off_t)l->bytes) ||
	    fcntl(l->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return fail(l, "memfd: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->fd);
	l->ro_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (l->ro_fd < 0)
		return fail(l, "%s: %s", path, strerror(errno));
	l->mem = mmap(NULL, l->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
	l->alias = mmap(NULL, l->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
	l->readonly = mmap(NULL, l->bytes, PROT_READ, MAP_SHARED, l->ro_fd, 0);
	if (l->mem == MAP_FAILED || l->alias == MAP_FAILED || l->readonly == MAP_FAILED)
		return fail(l, "mmap: %s", strerror(errno));
	if (amux_register(l->a, l->fd, l->mem, l->bytes) ||
	    amux_register(l->a, l->fd, l->alias, l->bytes) ||
	    amux_register(l->a, l->ro_fd, (void *)(uintptr_t)l->readonly, l->bytes))
		return fail(l, "register: %s", amux_error());
	return 0;
}

int load_open(struct load *l, struct amux *a, const struct load_options *opt, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->a = a;
	l->opt = *opt;
	l->rng = l->seed = seed;
	l->fd = l->ro_fd = -1;
	if (!l->opt.big_span)
		l->opt.big_span = BIG_SPAN;
	for (unsigned int i = 0; i < l->opt.depth; i++) {
		l->lanes[i].base = l->bytes;
		l->lanes[i].span = i % 8 == 7 ? l->opt.big_span : SMALL_SPAN;
		l->bytes += l->lanes[i].span;
	}
	l->shadow = malloc(l->bytes);
	if (!l->shadow)
		return fail(l, "out of memory");
	if (load_map(l))
		return -1;
	plain_random(l->shadow, l->bytes, rng_next(&l->rng));
	memcpy(l->mem, l->shadow, l->bytes);
	if (amux_queue_create(a, l->opt.depth < 2 ? 2 : l->opt.depth, &l->q))
		return fail(l, "queue: %s", amux_error());
	return 0;
}

static void load_unmap(const struct load *l, const void *addr)
{
	if (!addr || addr == MAP_FAILED)
		return;
	amux_unregister(l->a, (void *)(uintptr_t)addr);
	munmap((void *)(uintptr_t)addr, l->bytes);
}

void load_close(struct load *l)
{
	if (l->q)
		amux_queue_destroy(l->q);
	load_unmap(l, l->mem);
	load_unmap(l, l->alias);
	load_unmap(l, l->readonly);
	if (l->fd >= 0)
		close(l->fd);
	if (l->ro_fd >= 0)
		close(l->ro_fd);
	free(l->shadow);
	memset(l, 0, sizeof(*l));
}

/* ----------------------------------------------------------------------- choose */

/* 1 .. max, every magnitude alike; often just at or beside a power of two. */
static uint64_t choose_len(struct load *l, uint64_t max)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzll(max);
	uint64_t len = 1ull << rng_below(&l->rng, bits);

	switch (rng_below(&l->rng, 4)) {
	case 0:
		break;
	case 1:
		len += rng_below(&l->rng, 3) - 1;
		break;
	default:
		len += rng_below(&l->rng, len);
		break;
	}
	return len < 1 ? 1 : len > max ? max : len;
}

static void choose_copy(struct load *l, struct load_lane *lane)
{
	static const uint64_t near[] = { 0, 1, 7, 8, 63, 64, 4095, 4096, 65535 };
	uint64_t room, d;

	lane->len = choose_len(l, lane->span);
	room = lane->span - lane->len;
	lane->off[0] = rng_below(&l->rng, room + 1);
	lane->off[1] = rng_below(&l->rng, room + 1);
	if (rng_below(&l->rng, 2))
		return;
	d = near[rng_below(&l->rng, sizeof(near) / sizeof(near[0]))];
	if (d > room)
		d = room;
	lane->off[0] = rng_below(&l->rng, room - d + 1);
	lane->off[1] = lane->off[0] + d;
	if (rng_below(&l->rng, 2)) {
		lane->off[1] = lane->off[0];
		lane->off[0] += d;
	}
}

/* Offsets of @n operands that do not touch each other. */
static void choose_apart(struct load *l, struct load_lane *lane, unsigned int n)
{
	uint64_t part = lane->span / n;

	lane->len = choose_len(l, part);
	for (unsigned int i = 0; i < n; i++)
		lane->off[i] = i * part + rng_below(&l->rng, part - lane->len + 1);
}

/* Often make both sides equal, then perhaps differ in one byte; the lane is idle. */
static void choose_compare(struct load *l, struct load_lane *lane)
{
	uint8_t *mem = l->mem + lane->base, *shadow = l->shadow + lane->base;
	uint64_t at;

	choose_apart(l, lane, 2);
	if (!rng_below(&l->rng, 8))
		return;
	memcpy(mem + lane->off[1], mem + lane->off[0], lane->len);
	memcpy(shadow + lane->off[1], shadow + lane->off[0], lane->len);
	if (rng_below(&l->rng, 2))
		return;
	at = lane->off[1] + rng_below(&l->rng, lane->len);
	mem[at] ^= 0x10;
	shadow[at] ^= 0x10;
}

static void choose(struct load *l, struct load_lane *lane)
{
	uint64_t at;

	memset(lane->off, 0, sizeof(lane->off));
	lane->len = 0;
	lane->param = rng_next(&l->rng);
	lane->flags = l->opt.flags_all | (uint16_t)(l->opt.flags_any & rng_next(&l->rng));
	if (lane->flags & AMUX_SQE_ENGINE_ONLY)
		lane->flags &= (uint16_t)~AMUX_SQE_CPU_ONLY;
	lane->op =
		l->opt.copies_only ? AMUX_OP_COPY : (uint8_t)rng_below(&l->rng, AMUX_OP_CANCEL);
	switch (lane->op) {
	case AMUX_OP_COPY:
		choose_copy(l, lane);
		break;
	case AMUX_OP_COMPARE:
		choose_compare(l, lane);
		break;
	case AMUX_OP_DUALCAST:
		choose_apart(l, lane, 3);
		at = ((lane->span / 3 * 2 + 4095) & ~4095ull) + (lane->off[1] & 4095);
		if (rng_below(&l->rng, 2) && at + lane->len <= lane->span)
			lane->off[2] = at; /* agrees with the other one in bits 11:0 */
		break;
	case AMUX_OP_COPY_CRC:
		choose_apart(l, lane, 2);
		lane->param = (uint32_t)lane->param;
		break;
	case AMUX_OP_CRC32C:
		choose_apart(l, lane, 1);
		lane->param = (uint32_t)lane->param;
		break;
	case AMUX_OP_FILL:
		choose_apart(l, lane, 1);
		lane->off[1] = lane->off[0];
		break;
	default:
		break;
	}
}

/* One of the addresses of an operand: @write: it must not be the read-only one. */
static uint8_t *pick(struct load *l, const struct load_lane *lane, unsigned int i, bool write)
{
	uint64_t at = lane->base + lane->off[i];

	switch (rng_below(&l->rng, 8)) {
	case 0:
	case 1:
		return l->alias + at;
	case 2:
		return (write ? l->mem : (uint8_t *)(uintptr_t)l->readonly) + at;
	default:
		return l->mem + at;
	}
}

static int prepare(struct load *l, struct load_lane *lane)
{
	struct amux_sqe *sqe = amux_get_sqe(l->q);
	int err = 0;

	if (!sqe)
		return fail(l, "amux_get_sqe: NULL with %u of %u lanes busy", l->n_busy,
			    l->opt.depth);
	choose(l, lane);
	switch (lane->op) {
	case AMUX_OP_NOOP:
		err = amux_prep_noop(sqe);
		break;
	case AMUX_OP_COPY:
		err = amux_prep_copy(l->a, sqe, pick(l, lane, 1, true), pick(l, lane, 0, false),
				     lane->len);
		break;
	case AMUX_OP_FILL:
		err = amux_prep_fill(l->a, sqe, pick(l, lane, 1, true), lane->param, lane->len);
		break;
	case AMUX_OP_COMPARE:
		err = amux_prep_compare(l->a, sqe, pick(l, lane, 0, false),
					pick(l, lane, 1, false), lane->len);
		break;
	case AMUX_OP_DUALCAST:
		err = amux_prep_dualcast(l->a, sqe, pick(l, lane, 1, true),
					 pick(l, lane, 2, true), pick(l, lane, 0, false),
					 lane->len);
		break;
	case AMUX_OP_CRC32C:
		err = amux_prep_crc32c(l->a, sqe, pick(l, lane, 0, false),
				       (uint32_t)lane->param, lane->len);
		break;
	default:
		err = amux_prep_copy_crc(l->a, sqe, pick(l, lane, 1, true),
					 pick(l, lane, 0, false), (uint32_t)lane->param,
					 lane->len);
		break;
	}
	if (err)
		return fail(l, "prepare %s: %s", op_name(lane->op), strerror(-err));
	sqe->flags = lane->flags;
	sqe->user_data = lane->seq = ++l->seq;
	lane->busy = true;
	l->n_busy++;
	return 0;
}

/* ------------------------------------------------------------------------ check */

/* Do it to the private copy; returns what the request's result must be. */
static uint64_t apply(struct load *l, const struct load_lane *lane)
{
	uint8_t *s = l->shadow + lane->base;
	uint8_t *x = s + lane->off[0], *y = s + lane->off[1], *z = s + lane->off[2];

	switch (lane->op) {
	case AMUX_OP_COPY:
		memmove(y, x, lane->len);
		return 0;
	case AMUX_OP_FILL:
		plain_fill(y, lane->param, lane->len);
		return 0;
	case AMUX_OP_COMPARE:
		return plain_compare(x, y, lane->len);
	case AMUX_OP_DUALCAST:
		memcpy(y, x, lane->len);
		memcpy(z, x, lane->len);
		return 0;
	case AMUX_OP_CRC32C:
		return plain_crc32c((uint32_t)lane->param, x, lane->len);
	case AMUX_OP_COPY_CRC:
		memcpy(y, x, lane->len);
		return plain_crc32c((uint32_t)lane->param, x, lane->len);
	default:
		return 0;
	}
}

static int check_lane(struct load *l, const struct load_lane *lane)
{
	const uint8_t *is = l->mem + lane->base, *must = l->shadow + lane->base;
	uint64_t at;

	if (!memcmp(is, must, lane->span))
		return 0;
	at = plain_compare(is, must, lane->span);
	return fail(
		l,
		"%s #%llu of %llu bytes, %llu -> %llu, %llu, flags 0x%x: byte %llu of the lane "
		"is 0x%02x, must be 0x%02x",
		op_name(lane->op), (unsigned long long)lane->seq, (unsigned long long)lane->len,
		(unsigned long long)lane->off[0], (unsigned long long)lane->off[1],
		(unsigned long long)lane->off[2], lane->flags, (unsigned long long)at, is[at],
		must[at]);
}

/* A fence is answered after everything submitted before it. */
static int check_fence(struct load *l, const struct load_lane *lane)
{
	if (!(lane->flags & AMUX_SQE_FENCE))
		return 0;
	for (unsigned int i = 0; i < l->opt.depth; i++)
		if (l->lanes[i].busy && l->lanes[i].seq < lane->seq)
			return fail(l, "fence #%llu was answered before #%llu",
				    (unsigned long long)lane->seq,
				    (unsigned long long)l->lanes[i].seq);
	return 0;
}

static int check(struct load *l, const struct amux_cqe *cqe)
{
	struct load_lane *lane = NULL;
	uint64_t result, bytes;

	for (unsigned int i = 0; i < l->opt.depth && !lane; i++)
		if (l->lanes[i].busy && l->lanes[i].seq == cqe->user_data)
			lane = &l->lanes[i];
	if (!lane)
		return fail(l, "an answer to #%llu, which is not outstanding",
			    (unsigned long long)cqe->user_data);
	lane->busy = false;
	l->n_busy--;
	l->answered++;
	if (check_fence(l, lane))
		return -1;
	if (cqe->status == -ENODEV && l->opt.may_refuse &&
	    (lane->flags & AMUX_SQE_ENGINE_ONLY)) {
		l->refused++;
		return check_lane(l, lane);
	}
	if ((cqe->status == -EIO || cqe->status == -ECANCELED) && l->opt.may_lose) {
		/* Done, half done or not at all: what it is now is right from here on. */
		l->lost++;
		memcpy(l->shadow + lane->base, l->mem + lane->base, lane->span);
		return 0;
	}
	if (cqe->status)
		return fail(l, "%s #%llu of %llu bytes, flags 0x%x: status %d (%s), field %u",
			    op_name(lane->op), (unsigned long long)lane->seq,
			    (unsigned long long)lane->len, lane->flags, cqe->status,
			    strerror(-cqe->status), cqe->field);
	result = apply(l, lane);
	bytes = lane->op == AMUX_OP_COMPARE ? result : lane->len;
	if (cqe->result != result)
		return fail(l, "%s #%llu of %llu bytes: result %llu, must be %llu",
			    op_name(lane->op), (unsigned long long)lane->seq,
			    (unsigned long long)lane->len, (unsigned long long)cqe->result,
			    (unsigned long long)result);
	if (cqe->bytes != bytes && lane->op != AMUX_OP_COMPARE)
		return fail(l, "%s #%llu of %llu bytes: %llu bytes done", op_name(lane->op),
			    (unsigned long long)lane->seq, (unsigned long long)lane->len,
			    (unsigned long long)cqe->bytes);
	l->copied += bytes;
	return check_lane(l, lane);
}

/* ------------------------------------------------------------------------ steps */

static int collect(struct load *l)
{
	struct amux_cqe cqes[LOAD_DEPTH_MAX];
	struct timespec limit = { WAIT_S * TAP_SLOW, 0 };
	int n = amux_wait(l->q, cqes, LOAD_DEPTH_MAX, 1, &limit);

	if (n < 0)
		return fail(l, "amux_wait with %u outstanding: %s", l->n_busy, strerror(-n));
	for (int i = 0; i < n; i++)
		if (check(l, &cqes[i]))
			return -1;
	return 0;
}

int load_step(struct load *l)
{
	unsigned int want = 0;

	for (unsigned int i = 0; i < l->opt.depth; i++) {
		if (l->lanes[i].busy)
			continue;
		if (prepare(l, &l->lanes[i]))
			return -1;
		want++;
	}
	if (amux_submit(l->q) != (int)want)
		return fail(l, "amux_submit did not take %u requests", want);
	return collect(l);
}

int load_drain(struct load *l)
{
	while (l->n_busy)
		if (collect(l))
			return -1;
	return 0;
}

int load_run(struct load *l, uint64_t requests)
{
	uint64_t end = l->answered + requests;

	while (l->answered < end)
		if (load_step(l))
			return -1;
	return load_drain(l);
}

static void worker_update(struct worker_report *r, const struct load *l)
{
	__atomic_store_n(&r->done, l->answered, __ATOMIC_RELEASE);
	__atomic_store_n(&r->bytes, l->copied, __ATOMIC_RELEASE);
	__atomic_store_n(&r->refused, l->refused, __ATOMIC_RELEASE);
	__atomic_store_n(&r->lost, l->lost, __ATOMIC_RELEASE);
}

int load_worker(struct worker_report *report, void *arg)
{
	const struct load_worker *lw = arg;
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux_stats stats;
	struct load l = { 0 };
	struct amux *a;
	int err;

	opt.socket = lw->socket;
	opt.name = lw->name;
	err = amux_connect(&a, &opt);
	if (err) {
		worker_fail(report, "connect: %s: %s", strerror(-err), amux_error());
		return 1;
	}
	err = load_open(&l, a, &lw->opt, lw->seed);
	while (!err && !worker_stopping(report)) {
		err = load_step(&l);
		worker_update(report, &l);
		__atomic_store_n(&report->ready, 1, __ATOMIC_RELEASE);
	}
	if (!err)
		err = load_drain(&l);
	worker_update(report, &l);
	if (!err && (amux_get_stats(a, &stats) || stats.rejected))
		err = fail(&l, "%llu answers fitted no request",
			   (unsigned long long)stats.rejected);
	if (err)
		worker_fail(report, "%s", l.why);
	else
		load_close(&l);
	if (!err)
		amux_close(a);
	return err ? 1 : 0;
}
