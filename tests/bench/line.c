// SPDX-License-Identifier: MIT
/*
 * line.c - one cache line that two threads write in turn: nothing that goes from one core to
 * the other and back is faster.
 */
#include "../../client/barrier.h"
#include "machine.h"
#include "peer.h"
#include "probe.h"

#define LINE_STOP UINT64_MAX

/* The client makes it odd, the peer even; each is the other's only writer in between. */
static struct {
	_Alignas(128) uint64_t turn;
	uint8_t pad[120];
} line;

static void line_peer(void *arg)
{
	uint64_t want = 1, got;

	(void)arg;
	for (;;) {
		/* acquire, release: pair with those of trips() */
		while ((got = amux_load_acquire(&line.turn)) != want)
			if (got == LINE_STOP)
				return;
		amux_store_release(&line.turn, want + 1);
		want += 2;
	}
}

static uint64_t trips(struct latency *l, uint64_t turn, uint64_t until)
{
	uint64_t begin = ticks(), now;

	do {
		amux_store_release(&line.turn, turn + 1);
		turn += 2;
		while (amux_load_acquire(&line.turn) != turn)
			;
		now = ticks();
		latency_add(l, now - begin);
		begin = now;
	} while (now < until);
	return turn;
}

int line_trip(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns), turn;
	struct latency warm, l;
	struct meter m;
	struct peer peer;

	line.turn = 0;
	latency_open(&warm, p->waiting);
	latency_open(&l, p->waiting);
	peer_thread(&peer, line_peer, NULL);
	turn = trips(&warm, 0, ticks() + length / 8);
	meter_start(&m, PEER_THREAD, BUSY_BOTH);
	trips(&l, turn, ticks() + length);
	meter_stop(&m, s);
	amux_store_release(&line.turn, LINE_STOP);
	peer_join(&peer);
	s->ops = l.n;
	latency_report(&l, s);
	latency_close(&warm);
	return 0;
}
