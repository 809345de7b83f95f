// SPDX-License-Identifier: MIT
/*
 * server.c - what one would write oneself: a process that is woken for each request.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine.h"
#include "peer.h"
#include "probe.h"

/* ------------------------------------------------------------- two eventfds, no data */

struct doors {
	struct peer peer;
	int there, back;
};

static void door_knock(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		bench_fail("eventfd: %s", strerror(errno));
}

static void door_wait(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		bench_fail("eventfd: %s", strerror(errno));
}

static void doors_peer(void *arg)
{
	struct doors *d = arg;

	peer_ready(&d->peer);
	for (;;) {
		door_wait(d->there);
		door_knock(d->back);
	}
}

static void door_trips(struct doors *d, struct latency *l, uint64_t until)
{
	uint64_t begin = ticks(), now;

	do {
		door_knock(d->there);
		door_wait(d->back);
		now = ticks();
		latency_add(l, now - begin);
		begin = now;
	} while (now < until);
}

int eventfd_trip(const struct probe *p, struct sample *s)
{
	uint64_t length = ticks_of_ns(bench.measure_ns);
	struct latency warm, l;
	struct doors d;
	struct meter m;

	d.there = eventfd(0, EFD_CLOEXEC);
	d.back = eventfd(0, EFD_CLOEXEC);
	if (d.there < 0 || d.back < 0)
		bench_fail("eventfd: %s", strerror(errno));
	latency_open(&warm, p->waiting);
	latency_open(&l, p->waiting);
	peer_process(&d.peer, doors_peer, &d);
	door_trips(&d, &warm, ticks() + length / 8);
	meter_start(&m, d.peer.pid);
	door_trips(&d, &l, ticks() + length);
	meter_stop(&m, s);
	peer_kill(&d.peer);
	close(d.there);
	close(d.back);
	s->ops = l.n;
	s->value = latency_ns(&l, 0.5);
	s->p99_ns = latency_ns(&l, 0.99);
	latency_close(&l);
	latency_close(&warm);
	return 0;
}
