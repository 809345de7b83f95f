// SPDX-License-Identifier: MIT
/*
 * accelmux.c - what is measured through libaccelmux, like any application would use it.
 *
 * Around each measurement the broker's own counters are read: as many requests and bytes as
 * were measured, or the run is void.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker.h"
#include "machine.h"
#include "memory.h"
#include "probe.h"

#define BATCH 64

/* One run of requests on a queue of its own. */
struct run {
	const struct probe *p;
	struct amux_queue *q;
	uint64_t ops, bytes; /* answered since the run began */
	uint64_t pieces;     /* of the buffers */
	struct broker_count before;
};

static void run_open(struct run *r, const struct probe *p)
{
	int err;

	memset(r, 0, sizeof(*r));
	r->p = p;
	r->pieces = p->size ? broker.set / p->size : p->depth;
	broker_count(&r->before);
	err = amux_queue_create(broker.a, p->depth < 2 ? 2 : p->depth, &r->q);
	if (err)
		bench_fail("a queue of %u: %s (%s)", p->depth, amux_error(), strerror(-err));
}

static void run_close(struct run *r)
{
	struct broker_count now;

	amux_queue_destroy(r->q);
	broker_count(&now);
	if (now.completed - r->before.completed != r->ops ||
	    now.bytes - r->before.bytes != r->bytes || now.declined != r->before.declined)
		bench_fail("%s: measured %llu requests and %llu bytes, the broker counted %llu "
			   "and %llu (%llu declined)",
			   r->p->name, (unsigned long long)r->ops, (unsigned long long)r->bytes,
			   (unsigned long long)(now.completed - r->before.completed),
			   (unsigned long long)(now.bytes - r->before.bytes),
			   (unsigned long long)(now.declined - r->before.declined));
}

/* Prepare one request; its user_data is the piece of the buffers that it is for. */
static inline void run_prepare(struct run *r, uint64_t piece)
{
	const struct probe *p = r->p;
	struct amux_sqe *sqe = amux_get_sqe(r->q);

	if (!sqe)
		bench_fail("%s: no free request, expected %u", p->name, p->depth);
	if (!p->size) {
		amux_prep_noop(sqe);
	} else {
		uint8_t *src = broker.src + piece * p->size;

		if (p->touch)
			touch_write(src, p->size, r->ops);
		if (amux_prep_copy(broker.a, sqe, broker.dst + piece * p->size, src, p->size))
			bench_fail("%s: the buffers are not registered", p->name);
		sqe->flags = AMUX_SQE_ENGINE_ONLY; /* by the broker, or not at all */
	}
	sqe->user_data = piece;
}

/* An answer, and the next request of its lane if @again. */
static inline void run_answer(struct run *r, const struct amux_cqe *cqe, bool again)
{
	const struct probe *p = r->p;
	uint64_t piece = cqe->user_data;

	if (cqe->status)
		bench_fail("%s: an answer of %d: %s", p->name, cqe->status,
			   strerror(-cqe->status));
	if (p->touch)
		touch_read(broker.dst + piece * p->size, p->size);
	r->ops++;
	r->bytes += p->size;
	if (!again)
		return;
	piece += p->depth;
	run_prepare(r, piece < r->pieces ? piece : piece - r->pieces);
}

/* Keep depth requests in flight until @until ticks and until @least were answered. */
static void run_until(struct run *r, uint64_t until, uint64_t least)
{
	struct amux_cqe cqes[BATCH];

	do {
		int n = amux_peek(r->q, cqes, BATCH);

		for (int i = 0; i < n; i++)
			run_answer(r, &cqes[i], true);
		if (n > 0)
			amux_submit(r->q);
		else if (n < 0)
			bench_fail("%s: peek: %s", r->p->name, strerror(-n));
	} while (ticks() < until || r->ops < least);
}

static void run_drain(struct run *r)
{
	struct amux_cqe cqe;

	while (amux_wait(r->q, &cqe, 1, 1, NULL) == 1)
		run_answer(r, &cqe, false);
}

static int run_rate(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns), ops, bytes;
	struct meter m;
	struct run r;

	broker_crowd(p->sessions);
	run_open(&r, p);
	for (unsigned int i = 0; i < p->depth; i++)
		run_prepare(&r, i);
	amux_submit(r.q);
	run_until(&r, ticks() + length / 8, bench.warming ? r.pieces : 0);
	ops = r.ops;
	bytes = r.bytes;
	meter_start(&m, broker.daemon.pid, BUSY_BOTH);
	run_until(&r, ticks() + length, r.ops + 1);
	meter_stop(&m, s);
	s->ops = r.ops - ops;
	s->bytes = r.bytes - bytes;
	run_drain(&r);
	run_close(&r);
	broker_crowd(0);
	return 0;
}

int amux_noop_rate(const struct probe *p, struct sample *s)
{
	run_rate(p, s);
	s->value = (double)s->ops * 1e3 / (double)s->wall_ns;
	return 0;
}

int amux_copies(const struct probe *p, struct sample *s)
{
	run_rate(p, s);
	s->value = (double)s->bytes / (double)s->wall_ns;
	return 0;
}

/* One NOOP after the other until @until ticks. */
static void trips(struct run *r, struct latency *l, uint64_t until)
{
	struct amux_cqe cqe;
	uint64_t begin = ticks(), now;
	int n;

	do {
		run_prepare(r, 0);
		amux_submit(r->q);
		if (r->p->waiting == WAIT_SLEEP)
			n = amux_wait(r->q, &cqe, 1, 1, NULL);
		else
			while (!(n = amux_peek(r->q, &cqe, 1)))
				;
		now = ticks();
		if (n != 1)
			bench_fail("%s: %s", r->p->name, strerror(-n));
		run_answer(r, &cqe, false);
		latency_add(l, now - begin);
		begin = now;
	} while (now < until);
}

int amux_noop_trip(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns), ops;
	struct latency warm, l;
	struct meter m;
	struct run r;

	run_open(&r, p);
	if (p->waiting == WAIT_SLEEP)
		amux_set_spin(r.q, 0);
	latency_open(&warm, p->waiting);
	latency_open(&l, p->waiting);
	trips(&r, &warm, ticks() + length / 8);
	ops = r.ops;
	meter_start(&m, broker.daemon.pid, p->waiting == WAIT_SLEEP ? BUSY_NONE : BUSY_BOTH);
	trips(&r, &l, ticks() + length);
	meter_stop(&m, s);
	s->ops = r.ops - ops;
	latency_report(&l, s);
	latency_close(&warm);
	run_close(&r);
	return 0;
}
