// SPDX-License-Identifier: MIT
/*
 * eventloop.c - answers in an event loop: poll() on the queue's descriptor beside others.
 *
 * Shows the order that misses nothing: peek until there is no more, arm, and only if arming
 * says that nothing has come meanwhile, sleep.  A timer stands for the loop's other work.
 */
#include <accelmux/accelmux.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BLOCK  16384u
#define BLOCKS 1024u
#define DEPTH  16u

struct loop {
	struct amux *a;
	struct amux_queue *q;
	char *src, *dst;
	unsigned int put, got, ticks;
};

/* Submit while there is room. */
static int fill(struct loop *l)
{
	struct amux_sqe *sqe;
	int err;

	while (l->put < BLOCKS && (sqe = amux_get_sqe(l->q))) {
		size_t at = (size_t)l->put++ * BLOCK;

		err = amux_prep_copy(l->a, sqe, l->dst + at, l->src + at, BLOCK);
		if (err)
			return err;
	}
	err = amux_submit(l->q);
	return err < 0 ? err : 0;
}

/* Take what is there; never sleeps. */
static int drain(struct loop *l)
{
	struct amux_cqe cqes[DEPTH];
	int n;

	while ((n = amux_peek(l->q, cqes, DEPTH)) > 0) {
		for (int i = 0; i < n; i++)
			if (cqes[i].status)
				return cqes[i].status;
		l->got += (unsigned int)n;
	}
	return n;
}

static int run(struct loop *l, int timer)
{
	struct pollfd p[2] = {
		{ .fd = amux_eventfd(l->q), .events = POLLIN },
		{ .fd = timer, .events = POLLIN },
	};
	uint64_t expirations;
	int err;

	if (p[0].fd < 0)
		return p[0].fd;
	for (;;) {
		err = fill(l);
		if (!err)
			err = drain(l);
		if (err || l->got == BLOCKS)
			return err;
		if (l->put < BLOCKS && l->put - l->got < DEPTH)
			continue; /* there is room again */
		err = amux_arm(l->q);
		if (err < 0)
			return err;
		if (err)
			continue; /* answers came in between */
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents && read(timer, &expirations, sizeof(expirations)) > 0)
			l->ticks++;
	}
}

int main(void)
{
	const struct itimerspec tick = { { 0, 1000000 }, { 0, 1000000 } };
	struct loop l = { 0 };
	void *src, *dst;
	int err, timer;

	err = amux_connect(&l.a, NULL);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		fprintf(stderr, "eventloop: skipped: %s\n", amux_error());
		return 77;
	}
	if (err) {
		fprintf(stderr, "eventloop: amux_connect: %s (%s)\n", strerror(-err),
			amux_error());
		return 1;
	}
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer < 0 || timerfd_settime(timer, 0, &tick, NULL))
		err = -errno;
	if (!err)
		err = amux_alloc(l.a, (size_t)BLOCKS * BLOCK, 0, &src);
	if (!err)
		err = amux_alloc(l.a, (size_t)BLOCKS * BLOCK, 0, &dst);
	if (!err)
		err = amux_queue_create(l.a, DEPTH, &l.q);
	if (!err) {
		l.src = src;
		l.dst = dst;
		for (size_t i = 0; i < (size_t)BLOCKS * BLOCK; i++)
			l.src[i] = (char)(i * 2654435761u >> 9);
		err = run(&l, timer);
		if (!err && memcmp(l.src, l.dst, (size_t)BLOCKS * BLOCK))
			err = -EIO;
	}
	if (err)
		fprintf(stderr, "eventloop: %s (%s)\n", strerror(-err), amux_error());
	else
		printf("eventloop: %u blocks of %u bytes verified, %u timer ticks served\n",
		       BLOCKS, BLOCK, l.ticks);
	if (timer >= 0)
		close(timer);
	amux_close(l.a);
	return err != 0;
}
