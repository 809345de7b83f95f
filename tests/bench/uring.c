// SPDX-License-Identifier: MIT
/*
 * uring.c - io_uring's NOP with the kernel's polling thread on CORE_PEER.
 */
#include "machine.h"
#include "probe.h"

#ifdef BENCH_URING
#include <liburing.h>
#include <string.h>

#define URING_IDLE_MS 2000
#define URING_DEPTH   64

static int uring_open(struct io_uring *ring)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF,
		.sq_thread_cpu = CORE_PEER,
		.sq_thread_idle = URING_IDLE_MS,
	};
	int err = io_uring_queue_init_params(URING_DEPTH, ring, &params);

	return err ? bench_absent("io_uring with SQPOLL: %s", strerror(-err)) : 0;
}

static inline void nop(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		bench_fail("io_uring: no free request");
	io_uring_prep_nop(sqe);
}

static uint64_t uring_until(struct io_uring *ring, uint64_t until)
{
	struct io_uring_cqe *cqes[URING_DEPTH];
	uint64_t ops = 0;

	do {
		unsigned int n = io_uring_peek_batch_cqe(ring, cqes, URING_DEPTH);

		for (unsigned int i = 0; i < n; i++)
			if (cqes[i]->res)
				bench_fail("io_uring: NOP: %s", strerror(-cqes[i]->res));
		io_uring_cq_advance(ring, n);
		for (unsigned int i = 0; i < n; i++)
			nop(ring);
		if (n)
			io_uring_submit(ring);
		ops += n;
	} while (ticks() < until || !ops);
	return ops;
}

int uring_rate(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct io_uring ring;
	struct meter m;
	int err = uring_open(&ring);

	if (err)
		return err;
	for (unsigned int i = 0; i < p->depth; i++)
		nop(&ring);
	io_uring_submit(&ring);
	uring_until(&ring, ticks() + length / 8);
	meter_start(&m, PEER_THREAD, BUSY_BOTH);
	s->ops = uring_until(&ring, ticks() + length);
	meter_stop(&m, s);
	s->value = (double)s->ops * 1e3 / (double)s->wall_ns;
	io_uring_queue_exit(&ring);
	return 0;
}

static void trips(struct io_uring *ring, struct latency *l, uint64_t until)
{
	uint64_t begin = ticks(), now;
	struct io_uring_cqe *cqe;

	do {
		nop(ring);
		io_uring_submit(ring);
		while (!io_uring_peek_batch_cqe(ring, &cqe, 1))
			;
		io_uring_cq_advance(ring, 1);
		now = ticks();
		latency_add(l, now - begin);
		begin = now;
	} while (now < until);
}

int uring_trip(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct latency warm, l;
	struct io_uring ring;
	struct meter m;
	int err = uring_open(&ring);

	if (err)
		return err;
	latency_open(&warm, p->waiting);
	latency_open(&l, p->waiting);
	trips(&ring, &warm, ticks() + length / 8);
	meter_start(&m, PEER_THREAD, BUSY_BOTH);
	trips(&ring, &l, ticks() + length);
	meter_stop(&m, s);
	s->ops = l.n;
	latency_report(&l, s);
	latency_close(&warm);
	io_uring_queue_exit(&ring);
	return 0;
}

#else

int uring_rate(const struct probe *p, struct sample *s)
{
	(void)p;
	(void)s;
	return bench_absent("built without liburing (liburing-dev)");
}

int uring_trip(const struct probe *p, struct sample *s)
{
	return uring_rate(p, s);
}

#endif
