// SPDX-License-Identifier: MIT
/*
 * dpdk.c - DPDK's rte_ring with elements of 64 bytes, there and back between two threads, one
 * producer and one consumer each way.
 *
 * The ring's code is inline in its headers.  It is laid out by hand here as rte_ring_init()
 * does it, so that DPDK's environment (hugepages, its own threads) stays out of the program.
 */
#include "machine.h"
#include "peer.h"
#include "probe.h"

#ifdef BENCH_DPDK
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <stdlib.h>
#include <string.h>

#include "../../client/barrier.h"

#define RING_SLOTS 1024u
#define RING_BURST 32u

struct element {
	uint64_t word[8];
};

struct echo {
	struct rte_ring *there, *back;
	uint32_t stop; /* writer: the client */
};

static struct rte_ring *ring_new(void)
{
	size_t len = sizeof(struct rte_ring) + RING_SLOTS * sizeof(struct element);
	struct rte_ring *r = aligned_alloc(RTE_CACHE_LINE_SIZE, len);

	if (!r)
		bench_fail("out of memory");
	memset(r, 0, len);
	r->flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	r->size = RING_SLOTS;
	r->mask = RING_SLOTS - 1;
	r->capacity = RING_SLOTS - 1;
	r->prod.sync_type = RTE_RING_SYNC_ST;
	r->cons.sync_type = RTE_RING_SYNC_ST;
	return r;
}

static inline unsigned int ring_get(struct rte_ring *r, struct element *e, unsigned int n)
{
	return rte_ring_sc_dequeue_burst_elem(r, e, sizeof(*e), n, NULL);
}

static inline void ring_put(struct rte_ring *r, const struct element *e, unsigned int n)
{
	if (rte_ring_sp_enqueue_bulk_elem(r, e, sizeof(*e), n, NULL) != n)
		bench_fail("rte_ring: full");
}

static void echo_peer(void *arg)
{
	struct element e[RING_BURST];
	struct echo *echo = arg;

	while (!amux_load_relaxed(&echo->stop)) {
		unsigned int n = ring_get(echo->there, e, RING_BURST);

		if (n)
			ring_put(echo->back, e, n);
	}
}

static void echo_open(struct echo *echo, struct peer *peer)
{
	echo->there = ring_new();
	echo->back = ring_new();
	echo->stop = 0;
	peer_thread(peer, echo_peer, echo);
}

static void echo_close(struct echo *echo, struct peer *peer)
{
	amux_store_relaxed(&echo->stop, 1u);
	peer_join(peer);
	free(echo->there);
	free(echo->back);
}

static uint64_t echo_until(struct echo *echo, uint64_t until)
{
	struct element e[RING_BURST];
	uint64_t ops = 0;

	do {
		unsigned int n = ring_get(echo->back, e, RING_BURST);

		/* A new request each, as a client would write one. */
		for (unsigned int i = 0; i < n; i++)
			e[i].word[0] = ops + i;
		if (n)
			ring_put(echo->there, e, n);
		ops += n;
	} while (ticks() < until || !ops);
	return ops;
}

int dpdk_rate(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct element first = { { 0 } };
	struct peer peer;
	struct echo echo;
	struct meter m;

	echo_open(&echo, &peer);
	for (unsigned int i = 0; i < p->depth; i++)
		ring_put(echo.there, &first, 1);
	echo_until(&echo, ticks() + length / 8);
	meter_start(&m, PEER_THREAD, BUSY_BOTH);
	s->ops = echo_until(&echo, ticks() + length);
	meter_stop(&m, s);
	s->value = (double)s->ops * 1e3 / (double)s->wall_ns;
	echo_close(&echo, &peer);
	return 0;
}

static void trips(struct echo *echo, struct latency *l, uint64_t until)
{
	struct element e = { { 0 } };
	uint64_t begin = ticks(), now;

	do {
		ring_put(echo->there, &e, 1);
		while (!ring_get(echo->back, &e, 1))
			;
		now = ticks();
		latency_add(l, now - begin);
		begin = now;
	} while (now < until);
}

int dpdk_trip(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct latency warm, l;
	struct peer peer;
	struct echo echo;
	struct meter m;

	echo_open(&echo, &peer);
	latency_open(&warm, p->waiting);
	latency_open(&l, p->waiting);
	trips(&echo, &warm, ticks() + length / 8);
	meter_start(&m, PEER_THREAD, BUSY_BOTH);
	trips(&echo, &l, ticks() + length);
	meter_stop(&m, s);
	s->ops = l.n;
	latency_report(&l, s);
	latency_close(&warm);
	echo_close(&echo, &peer);
	return 0;
}

#else

int dpdk_rate(const struct probe *p, struct sample *s)
{
	(void)p;
	(void)s;
	return bench_absent("built without DPDK (libdpdk-dev)");
}

int dpdk_trip(const struct probe *p, struct sample *s)
{
	return dpdk_rate(p, s);
}

#endif
