// SPDX-License-Identifier: MIT
/*
 * server.c - what one would write oneself: a process that copies between shared buffers when it
 * is asked to, by a packet, an eventfd or a word that it polls; and what the kernel offers for
 * moving data between processes.  One request in flight.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../client/barrier.h"
#include "broker.h"
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
	meter_start(&m, d.peer.pid, BUSY_NONE);
	door_trips(&d, &l, ticks() + length);
	meter_stop(&m, s);
	peer_kill(&d.peer);
	close(d.there);
	close(d.back);
	s->ops = l.n;
	latency_report(&l, s);
	latency_close(&warm);
	return 0;
}

/* ---------------------------------------------------------------- servers that copy */

/* Where there are no packets, the request; the two words are on cache lines of their own. */
struct box {
	_Alignas(64) uint64_t asked;  /* writer: the client; requests so far */
	uint64_t piece;		      /* writer: the client, before asked */
	_Alignas(64) uint64_t served; /* writer: the server */
};

struct server {
	struct peer peer;
	const struct probe *p;
	const struct server_kind *kind;
	struct box *box;
	uint8_t *src, *dst;    /* the row's buffers, unless open() makes others */
	int there[2], back[2]; /* descriptors as the kind uses them */
};

struct server_kind {
	int (*open)(struct server *v); /* 0 or -1 and errno */
	void (*ask)(struct server *v, uint64_t piece);
	void (*serve)(struct server *v); /* one request */
	enum busy busy;
};

static void server_copy(const struct server *v, uint64_t piece)
{
	memcpy(v->dst + piece * v->p->size, v->src + piece * v->p->size, v->p->size);
}

/* Pages are not there in a new process, or are not its own yet: touch each once. */
static void server_populate(const struct server *v)
{
	volatile uint8_t *src = v->src, *dst = v->dst;

	for (size_t off = 0; off < broker.set; off += 4096)
		dst[off] = src[off];
}

static void server_main(void *arg)
{
	struct server *v = arg;

	server_populate(v);
	peer_ready(&v->peer);
	for (;;)
		v->kind->serve(v);
}

static uint64_t server_until(struct server *v, uint64_t piece, uint64_t until, uint64_t *ops)
{
	uint64_t pieces = broker.set / v->p->size;

	*ops = 0;
	do {
		v->kind->ask(v, piece);
		if (++piece == pieces)
			piece = 0;
		++*ops;
	} while (ticks() < until);
	return piece;
}

static int server_copies(const struct probe *p, struct sample *s,
			 const struct server_kind *kind)
{
	uint64_t length = ticks_of_ns(bench.measure_ns), piece, warm;
	struct server v = {
		.p = p,
		.kind = kind,
		.src = broker.src,
		.dst = broker.dst,
		.there = { -1, -1 },
		.back = { -1, -1 },
	};
	struct meter m;

	v.box = mmap(NULL, sizeof(*v.box), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (v.box == MAP_FAILED || kind->open(&v))
		bench_fail("%s: %s", p->name, strerror(errno));
	peer_process(&v.peer, server_main, &v);
	piece = server_until(&v, 0, ticks() + length / 8, &warm);
	meter_start(&m, v.peer.pid, kind->busy);
	server_until(&v, piece, ticks() + length, &s->ops);
	meter_stop(&m, s);
	peer_kill(&v.peer);
	for (unsigned int i = 0; i < 2; i++) {
		if (v.there[i] >= 0)
			close(v.there[i]);
		if (v.back[i] >= 0)
			close(v.back[i]);
	}
	munmap(v.box, sizeof(*v.box));
	if (v.src != broker.src)
		munmap(v.src, 2 * broker.set);
	s->bytes = s->ops * p->size;
	s->value = (double)s->bytes / (double)s->wall_ns;
	return 0;
}

/* ------------------------------------------------------------------------ seqpacket */

static int packet_open(struct server *v)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, v->there);
}

static void packet(ssize_t n)
{
	if (n != sizeof(uint64_t))
		bench_fail("seqpacket: %s", strerror(errno));
}

static void packet_ask(struct server *v, uint64_t piece)
{
	packet(send(v->there[0], &piece, sizeof(piece), 0));
	packet(recv(v->there[0], &piece, sizeof(piece), 0));
}

static void packet_serve(struct server *v)
{
	uint64_t piece;

	packet(recv(v->there[1], &piece, sizeof(piece), 0));
	server_copy(v, piece);
	packet(send(v->there[1], &piece, sizeof(piece), 0));
}

int seqpacket_copies(const struct probe *p, struct sample *s)
{
	static const struct server_kind kind = { packet_open, packet_ask, packet_serve,
						 BUSY_NONE };

	return server_copies(p, s, &kind);
}

/* -------------------------------------------------------------------------- eventfd */

static int bell_open(struct server *v)
{
	v->there[0] = eventfd(0, EFD_CLOEXEC);
	v->back[0] = eventfd(0, EFD_CLOEXEC);
	return v->there[0] < 0 || v->back[0] < 0 ? -1 : 0;
}

static void bell_ask(struct server *v, uint64_t piece)
{
	amux_store_relaxed(&v->box->piece, piece);
	door_knock(v->there[0]);
	door_wait(v->back[0]);
}

static void bell_serve(struct server *v)
{
	door_wait(v->there[0]);
	server_copy(v, amux_load_relaxed(&v->box->piece));
	door_knock(v->back[0]);
}

int eventfd_copies(const struct probe *p, struct sample *s)
{
	static const struct server_kind kind = { bell_open, bell_ask, bell_serve, BUSY_NONE };

	return server_copies(p, s, &kind);
}

/* ---------------------------------------------------------------------- polled word */

static int word_open(struct server *v)
{
	(void)v;
	return 0;
}

/* release, acquire: pair with those of word_serve(), both ways */
static void word_ask(struct server *v, uint64_t piece)
{
	struct box *b = v->box;
	uint64_t want = b->asked + 1;

	b->piece = piece;
	amux_store_release(&b->asked, want);
	while (amux_load_acquire(&b->served) != want)
		;
}

static void word_serve(struct server *v)
{
	struct box *b = v->box;
	uint64_t done = b->served;

	while (amux_load_acquire(&b->asked) == done)
		;
	server_copy(v, b->piece);
	amux_store_release(&b->served, done + 1);
}

int polled_copies(const struct probe *p, struct sample *s)
{
	static const struct server_kind kind = { word_open, word_ask, word_serve, BUSY_BOTH };

	return server_copies(p, s, &kind);
}

/* ------------------------------------------------- vmsplice -> pipe -> read */

/*
 * Between memory of each process's own, which is what it is for, and both sides poll: the
 * fastest of the ways to do it.  A blocking read would have to be woken for each piece.
 */
#define PIPE_MAX (1 << 20) /* the kernel's default limit for a pipe */

static int pipe_open(struct server *v)
{
	size_t size = v->p->size < PIPE_MAX ? v->p->size : PIPE_MAX;

	v->src = mmap(NULL, 2 * broker.set, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (v->src == MAP_FAILED || pipe2(v->there, O_CLOEXEC | O_NONBLOCK))
		return -1;
	v->dst = v->src + broker.set;
	memset(v->src, 0x5a, broker.set);
	return fcntl(v->there[1], F_SETPIPE_SZ, (int)size) < 0 ? -1 : 0;
}

/* What the two sides of a pipe get from it; nothing yet is no error. */
static size_t pipe_got(ssize_t n)
{
	if (n > 0)
		return (size_t)n;
	if (!n || errno != EAGAIN)
		bench_fail("vmsplice: %s",
			   n ? strerror(errno) : "the pipe's other end is gone");
	return 0;
}

static void pipe_ask(struct server *v, uint64_t piece)
{
	struct iovec iov = { v->src + piece * v->p->size, v->p->size };
	uint64_t want = ++v->box->asked;

	while (iov.iov_len) {
		size_t n = pipe_got(vmsplice(v->there[1], &iov, 1, SPLICE_F_NONBLOCK));

		iov.iov_base = (uint8_t *)iov.iov_base + n;
		iov.iov_len -= n;
	}
	/* acquire: pairs with the release in pipe_serve(); now the source may be reused */
	while (amux_load_acquire(&v->box->served) != want)
		;
}

static void pipe_serve(struct server *v)
{
	uint64_t done = v->box->served;
	uint8_t *dst = v->dst + done % (broker.set / v->p->size) * v->p->size;
	size_t got = 0;

	while (got < v->p->size)
		got += pipe_got(read(v->there[0], dst + got, v->p->size - got));
	amux_store_release(&v->box->served, done + 1);
}

int vmsplice_copies(const struct probe *p, struct sample *s)
{
	static const struct server_kind kind = { pipe_open, pipe_ask, pipe_serve, BUSY_BOTH };

	return server_copies(p, s, &kind);
}

/* ----------------------------------------------------------------- process_vm_readv */

static void readv_ask(struct server *v, uint64_t piece)
{
	/* The same addresses: the server was forked. */
	struct iovec to = { v->dst + piece * v->p->size, v->p->size };
	struct iovec from = { v->src + piece * v->p->size, v->p->size };

	if (process_vm_readv(v->peer.pid, &to, 1, &from, 1, 0) != (ssize_t)v->p->size)
		bench_fail("process_vm_readv: %s", strerror(errno));
}

static void readv_serve(struct server *v)
{
	(void)v;
	pause(); /* it only has the memory */
}

int readv_copies(const struct probe *p, struct sample *s)
{
	static const struct server_kind kind = { word_open, readv_ask, readv_serve,
						 BUSY_CLIENT };

	return server_copies(p, s, &kind);
}
