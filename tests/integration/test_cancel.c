/* SPDX-License-Identifier: MIT */
/*
 * test_cancel.c - CANCEL: what has not begun is taken back and its memory left alone, what has
 * begun ends well, whether it waits in the broker, behind a FENCE, for the client's own CPU or
 * for a broker that is dead; and so do the many of a flood.
 *
 * The engine is modelled (about 300 MB/s), so that there is always something not begun.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"

#define MIB	(1u << 20)
#define BLOCK	(48u * MIB) /* 160 ms: time for a CANCEL also on a busy host */
#define DEPTH	16u
#define CANCELS 1000u /* user_data of the CANCELs, and up */
#define UNSET	12345

struct queue_test {
	struct daemon *d;
	struct amux *a;
	struct amux_queue *q;
	uint8_t *src, *dst; /* DEPTH MiB each */
	uint8_t *block;	    /* twice BLOCK */
	int status[DEPTH];
	uint64_t result[DEPTH]; /* of the CANCELs */
	int cancel_status[DEPTH];
	unsigned int order[2 * DEPTH], answers;
	bool blocked; /* request 0 is the long one */
};

static void test_begin(struct queue_test *t, bool blocked)
{
	t->blocked = blocked;
	memset(t->dst, 0, DEPTH * MIB);
	for (unsigned int i = 0; i < DEPTH; i++)
		t->status[i] = t->cancel_status[i] = UNSET;
	memset(t->result, 0, sizeof(t->result));
	t->answers = 0;
}

static void put_copy(struct queue_test *t, unsigned int i, uint16_t flags)
{
	struct amux_sqe *sqe = amux_get_sqe(t->q);

	if (!sqe || amux_prep_copy(t->a, sqe, t->dst + i * MIB, t->src + i * MIB, MIB))
		tap_bail("copy %u cannot be prepared", i);
	sqe->user_data = i;
	sqe->flags = flags;
}

/* Submit, and wait until the first of it has begun. */
static void submit_begun(struct queue_test *t)
{
	uint64_t before = daemon_count(t->d, "status", "classes.user.engine_bytes");

	amux_submit(t->q);
	while (daemon_count(t->d, "status", "classes.user.engine_bytes") == before)
		tap_sleep_ms(1);
}

/* Request 0: keeps the engine busy, nothing behind it begins meanwhile. */
static void put_block(struct queue_test *t)
{
	struct amux_sqe *sqe = amux_get_sqe(t->q);

	if (!sqe || amux_prep_copy(t->a, sqe, t->block + BLOCK, t->block, BLOCK))
		tap_bail("the long copy cannot be prepared");
	sqe->user_data = 0;
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
}

static void put_cancel(struct queue_test *t, unsigned int i, uint64_t what, unsigned int flags)
{
	struct amux_sqe *sqe = amux_get_sqe(t->q);

	if (!sqe || amux_prep_cancel(sqe, what, flags))
		tap_bail("CANCEL %u cannot be prepared", i);
	sqe->user_data = CANCELS + i;
}

/* Collect what is in flight, or @n answers. */
static void collect(struct queue_test *t, unsigned int n)
{
	struct timespec limit = { 20 * TAP_SLOW, 0 };
	struct amux_cqe cqe;

	while (n--) {
		int got = amux_wait(t->q, &cqe, 1, 1, &limit);
		uint64_t id = cqe.user_data;

		if (got == -ENODATA)
			return;
		if (got != 1)
			tap_bail("wait: %s", strerror(-got));
		t->order[t->answers++] = (unsigned int)id;
		if (id < DEPTH) {
			t->status[id] = cqe.status;
		} else {
			t->cancel_status[id - CANCELS] = cqe.status;
			t->result[id - CANCELS] = cqe.result;
		}
	}
}

/* Every copy that was answered 0 was made, every one withdrawn left its memory alone. */
static bool memory_right(const struct queue_test *t)
{
	static const uint8_t zero[MIB];

	for (unsigned int i = t->blocked; i < DEPTH; i++)
		if (memcmp(t->dst + i * MIB, t->status[i] ? zero : t->src + i * MIB, MIB))
			return false;
	return true;
}

static unsigned int withdrawn(const struct queue_test *t)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < DEPTH; i++)
		n += t->status[i] == -ECANCELED;
	return n;
}

static bool rest_done(const struct queue_test *t, unsigned int copies)
{
	for (unsigned int i = 0; i < copies; i++)
		if (t->status[i] && t->status[i] != -ECANCELED)
			return false;
	return true;
}

/* --------------------------------------------------------------- with an engine */

static void test_one(struct queue_test *t)
{
	test_begin(t, true);
	put_block(t);
	for (unsigned int i = 1; i < 8; i++)
		put_copy(t, i, AMUX_SQE_ENGINE_ONLY);
	submit_begun(t);
	put_cancel(t, 0, 6, 0);
	put_cancel(t, 1, 0, 0);
	put_cancel(t, 2, 4711, 0);
	amux_submit(t->q);
	collect(t, 2 * DEPTH);
	tap_ok(t->result[0] == 1 && t->status[6] == -ECANCELED,
	       "one that has not begun is withdrawn");
	tap_ok(t->result[1] == 0 && t->status[0] == 0,
	       "one that has begun is not, and ends well");
	tap_ok(t->result[2] == 0 && t->cancel_status[2] == 0,
	       "one that is unknown: 0 withdrawn");
	tap_ok(t->answers == 11 && withdrawn(t) == 1 && rest_done(t, 8) && memory_right(t),
	       "each is answered once, memory is as the answers say");
	tap_ok(t->order[t->answers - 1] < 8, "a CANCEL does not wait for its queue's work");
}

static void test_later(struct queue_test *t)
{
	test_begin(t, true);
	put_block(t);
	for (unsigned int i = 1; i < 12; i++)
		put_copy(t, i, AMUX_SQE_ENGINE_ONLY);
	submit_begun(t);
	put_cancel(t, 0, 5, AMUX_CANCEL_LATER);
	put_copy(t, 12, AMUX_SQE_ENGINE_ONLY);
	amux_submit(t->q);
	collect(t, 2 * DEPTH);
	tap_ok(t->result[0] == 7 && withdrawn(t) == 7 && !t->status[0] && !t->status[4] &&
		       t->status[5] == -ECANCELED,
	       "that one and those after it: 7 of 12 withdrawn");
	tap_ok(t->status[12] == 0 && memory_right(t),
	       "and none submitted after the CANCEL; memory is as the answers say");
}

static void test_fence(struct queue_test *t)
{
	unsigned int at[DEPTH] = { 0 };

	test_begin(t, true);
	put_block(t);
	put_copy(t, 1, AMUX_SQE_ENGINE_ONLY | AMUX_SQE_FENCE);
	put_copy(t, 2, AMUX_SQE_ENGINE_ONLY);
	put_copy(t, 3, AMUX_SQE_ENGINE_ONLY | AMUX_SQE_FENCE);
	put_copy(t, 4, AMUX_SQE_ENGINE_ONLY);
	submit_begun(t);
	put_cancel(t, 0, 1, 0); /* the FENCE itself */
	put_cancel(t, 1, 4, 0);
	amux_submit(t->q);
	collect(t, 2 * DEPTH);
	for (unsigned int i = 0; i < t->answers; i++)
		if (t->order[i] < DEPTH)
			at[t->order[i]] = i;
	tap_ok(t->result[0] == 1 && t->result[1] == 1 && t->status[1] == -ECANCELED &&
		       t->status[4] == -ECANCELED,
	       "what a FENCE holds is withdrawn, and the FENCE");
	tap_ok(t->order[0] >= CANCELS && t->order[1] >= CANCELS,
	       "a CANCEL is not held by a FENCE");
	tap_ok(at[0] < at[1] && at[1] < at[2] && at[2] < at[3] && rest_done(t, 5) &&
		       memory_right(t),
	       "those behind a withdrawn FENCE still wait");
}

/* ----------------------------------------------------------- declined, and dead */

/* @where: the broker sends them back, or there is none. */
static void test_here(struct queue_test *t, const char *where, uint16_t flags)
{
	struct amux_stats before, after;

	test_begin(t, false);
	amux_get_stats(t->a, &before);
	for (unsigned int i = 0; i < 8; i++)
		put_copy(t, i, flags);
	put_cancel(t, 0, 3, 0);
	put_cancel(t, 1, 6, AMUX_CANCEL_LATER);
	put_cancel(t, 2, 3, 0);
	put_copy(t, 8, flags);
	amux_submit(t->q);
	collect(t, 2 * DEPTH);
	amux_get_stats(t->a, &after);
	/* In the broker's ring a CANCEL can come after a copy was made. */
	tap_ok(withdrawn(t) == t->result[0] + t->result[1] && t->status[3] == -ECANCELED &&
		       t->status[6] == -ECANCELED && t->status[7] == -ECANCELED &&
		       t->result[2] == 0,
	       "%s: 3 of 9 withdrawn", where);
	tap_ok(rest_done(t, 9) && t->status[8] == 0 && t->answers == 12 && memory_right(t),
	       "%s: memory is as the answers say", where);
	tap_ok(after.withdrawn - before.withdrawn == 3 && after.errors == before.errors,
	       "%s: counted as withdrawn, not as errors", where);
}

/* ------------------------------------------------------------------------ flood */

#define FLOOD_DEPTH 4096u
#define SAMPLES	    100u

static int by_value(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

/* Collect what there is; returns how many copies are among it. */
static unsigned int flood_peek(struct amux_queue *q)
{
	struct amux_cqe cqes[256];
	int n = amux_peek(q, cqes, 256);
	unsigned int copies = 0;

	if (n < 0)
		tap_bail("flood: %s", strerror(-n));
	for (int i = 0; i < n; i++)
		copies += cqes[i].user_data != 0;
	return copies;
}

/* Keep a deep queue of copies that never begin, and flood it with the dearest of CANCELs, or
 * with requests that are answered as wrong; the median of what a request
 * that needs no engine takes in another queue meanwhile, ns. */
static uint64_t flood(struct amux *flooder, struct amux *other, bool cancels)
{
	static uint64_t sample[SAMPLES];
	struct amux_queue *deep, *quiet;
	uint32_t waiting = FLOOD_DEPTH / 2, done = 0;
	struct amux_cqe cqe;
	struct amux_sqe *sqe;
	void *mem;

	if (amux_alloc(flooder, 4 * MIB, 0, &mem) ||
	    amux_queue_create(flooder, FLOOD_DEPTH, &deep) ||
	    amux_queue_create(other, 2, &quiet))
		tap_bail("flood: %s", amux_error());
	for (uint32_t i = 0; i < waiting; i++) {
		sqe = amux_get_sqe(deep);
		amux_prep_copy(flooder, sqe, (char *)mem + 2 * MIB, mem, 2 * MIB);
		sqe->user_data = 1 + i;
		sqe->flags = AMUX_SQE_ENGINE_ONLY;
	}
	amux_submit(deep);
	for (unsigned int k = 0; k < SAMPLES; k++) {
		uint64_t start;

		while ((sqe = amux_get_sqe(deep))) {
			if (cancels)
				amux_prep_cancel(sqe, 0, 0); /* unknown: all are looked at */
			else
				sqe->rsvd1 = 1;
			sqe->user_data = 0;
		}
		amux_submit(deep);
		done += flood_peek(deep);
		start = tap_ns();
		sqe = amux_get_sqe(quiet);
		sqe->rsvd1 = 1;
		amux_submit(quiet);
		if (amux_wait(quiet, &cqe, 1, 1, NULL) != 1)
			tap_bail("flood: a request was not answered");
		sample[k] = tap_ns() - start;
	}
	while (!(sqe = amux_get_sqe(deep)))
		done += flood_peek(deep);
	amux_prep_cancel(sqe, done + 8,
			 AMUX_CANCEL_LATER); /* or the end would take half a minute */
	amux_submit(deep);
	amux_queue_destroy(deep);
	amux_queue_destroy(quiet);
	amux_free(flooder, mem);
	qsort(sample, SAMPLES, sizeof(sample[0]), by_value);
	return sample[SAMPLES / 2];
}

/* How many requests of users have been answered. */
static uint64_t ended(struct daemon *d)
{
	return daemon_count(d, "status", "classes.user.completed") +
	       daemon_count(d, "status", "classes.user.failed") +
	       daemon_count(d, "status", "classes.user.withdrawn") +
	       daemon_count(d, "status", "classes.user.declined");
}

/* How long it takes depends on who else wants this host's CPUs: what one pull may look at, the
 * bound itself, is test_session's. */
static void test_flood(struct daemon *d, const struct amux_options *opt)
{
	struct amux *flooder, *other;

	if (amux_connect(&flooder, opt) || amux_connect(&other, opt))
		tap_bail("connect: %s", amux_error());
	tap_note("an answer beside a flood of CANCELs: median %.1f us",
		 (double)flood(flooder, other, true) / 1e3);
	tap_note("beside a flood of wrong requests: %.1f us",
		 (double)flood(flooder, other, false) / 1e3);
	amux_close(flooder);
	amux_close(other);
	tap_ok(daemon_settles(d, "status", "classes.user.requests", ended(d), 2000),
	       "in a flood of CANCELs each is answered once");
}

int main(int argc, char **argv)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct queue_test t;
	struct daemon d;
	void *mem;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=dynamic", "soft.model=on", NULL);
	t.d = &d;
	opt.socket = d.socket;
	if (amux_connect(&t.a, &opt) || amux_alloc(t.a, 2 * (DEPTH * MIB + BLOCK), 0, &mem) ||
	    amux_queue_create(t.a, 2 * DEPTH, &t.q))
		tap_bail("connect: %s", amux_error());
	t.src = mem;
	t.dst = t.src + DEPTH * MIB;
	t.block = t.dst + DEPTH * MIB;
	for (unsigned int i = 0; i < DEPTH * MIB; i++)
		t.src[i] = (uint8_t)(1 + i % 251);
	test_one(&t);
	test_later(&t);
	test_fence(&t);
	test_here(&t, "declined by the broker", AMUX_SQE_CPU_ONLY);
	tap_ok(!daemon_count(&d, "status", "classes.user.failed") &&
		       daemon_count(&d, "status", "classes.user.withdrawn") >= 5,
	       "the broker counts withdrawn ones, and no failure");
	test_flood(&d, &opt);
	daemon_kill(&d);
	while (amux_alive(t.a))
		tap_sleep_ms(1);
	test_here(&t, "without a broker", 0);
	amux_close(t.a);
	daemon_clean(&d);
	return tap_done();
}
