/* SPDX-License-Identifier: MIT */
/*
 * test_stopped.c - the broker is stopped with SIGSTOP in mid-copy: what it has not claimed is
 * done by the client's CPU, what it has claimed waits for it, and when it goes on it writes
 * into no buffer that the application was given back.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define KIB    1024ull
#define MIB    (1024 * KIB)
#define FEW    8u
#define CYCLES (tap_long() ? 40u : 4u)

#define ENTRIES 64

struct scene {
	struct daemon d;
	struct amux *a;
	struct amux_queue *q;
	uint8_t *mem;
};

static void scene_open(struct scene *s)
{
	/* A mebibyte takes 3.5 ms, and an epoch longer than a heartbeat may. */
	const char *const sets[] = { "broker.policy=shared", "soft.model=on",
				     "soft.time_scale=100", "broker.epoch=5ms", NULL };
	struct amux_options opt = AMUX_OPTIONS_INIT;

	daemon_prepare(&s->d);
	daemon_launch(&s->d, sets, false);
	daemon_await(&s->d);
	opt.socket = s->d.socket;
	opt.name = "stopped";
	s->mem = NULL;
	if (amux_connect(&s->a, &opt) || amux_alloc(s->a, 64 * MIB, 0, (void **)&s->mem) ||
	    amux_queue_create(s->a, ENTRIES, &s->q))
		tap_bail("%s", amux_error());
	plain_random(s->mem, 32 * MIB, tap_seed());
}

static void scene_close(struct scene *s, bool killed)
{
	amux_close(s->a);
	if (killed)
		daemon_clean(&s->d);
	else
		daemon_stop(&s->d);
}

static void stop(struct scene *s)
{
	int status;

	kill(s->d.pid, SIGSTOP);
	if (waitpid(s->d.pid, &status, WUNTRACED) != s->d.pid || !WIFSTOPPED(status))
		tap_bail("the broker did not stop");
}

static struct amux_stats stats_of(struct scene *s)
{
	struct amux_stats st;

	if (amux_get_stats(s->a, &st))
		tap_bail("amux_get_stats");
	return st;
}

/* amux_copy() calls in which the engine had a part. */
static uint64_t by_engine(struct amux_stats s)
{
	return s.sync_engine + s.sync_both;
}

static void copy(struct scene *s, uint64_t dst, uint64_t src, uint64_t len, uint16_t flags,
		 uint64_t id)
{
	struct amux_sqe *sqe = amux_get_sqe(s->q);

	amux_prep_copy(s->a, sqe, s->mem + dst, s->mem + src, len);
	sqe->flags = flags;
	sqe->user_data = id;
}

/* Until @n requests have been pulled: asked of the broker, which must be running. */
static void await_claimed(struct scene *s, uint64_t n)
{
	if (!daemon_settles(&s->d, "status", "classes.user.requests", n, 10000 * TAP_SLOW))
		tap_bail("the broker did not pull %llu requests", (unsigned long long)n);
}

static int wait_ms(struct scene *s, struct amux_cqe *cqe, unsigned int n, unsigned int ms)
{
	struct timespec limit = { ms / 1000, (long)(ms % 1000) * 1000000 };

	return amux_wait(s->q, cqe, n, n, &limit);
}

static bool all_zero(const uint8_t *p, uint64_t len, uint8_t value)
{
	for (uint64_t i = 0; i < len; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Claimed: FEW of 2 MiB at 32 MiB.  Then FEW of 256 KiB, which are not, at 48 MiB. */
static void submit_claimed(struct scene *s)
{
	for (uint64_t i = 0; i < FEW; i++)
		copy(s, (32 + 2 * i) * MIB, 2 * i * MIB, 2 * MIB, AMUX_SQE_ENGINE_ONLY, i);
	amux_submit(s->q);
	await_claimed(s, FEW);
}

static void test_taken_back(void)
{
	struct amux_cqe cqe[2 * FEW];
	bool right = true, late;
	struct amux_stats st;
	struct scene s;
	uint64_t t;
	int n;

	scene_open(&s);
	submit_claimed(&s);
	stop(&s);
	for (uint64_t i = 0; i < FEW; i++)
		copy(&s, 48 * MIB + i * MIB, 20 * MIB + i * MIB, 256 * KIB, 0, 100 + i);
	amux_submit(s.q);
	t = tap_ns();
	n = wait_ms(&s, cqe, FEW, 10000 * TAP_SLOW);
	t = (tap_ns() - t) / 1000000;
	for (int i = 0; i < n; i++)
		right &= cqe[i].user_data == 100u + (unsigned int)i && !cqe[i].status;
	for (uint64_t i = 0; i < FEW; i++)
		right &= !memcmp(s.mem + (48 + i) * MIB, s.mem + (20 + i) * MIB, 256 * KIB);
	st = stats_of(&s);
	tap_ok(n == (int)FEW && right && st.recalled == FEW,
	       "%d of %u unclaimed requests done by the CPU after %llu ms, %llu recalled", n,
	       FEW, (unsigned long long)t, (unsigned long long)st.recalled);

	/* They are the application's again. */
	memset(s.mem + 48 * MIB, 0x5a, 8 * MIB);
	/* New work does not even try the ring. */
	copy(&s, 60 * MIB, 28 * MIB, 256 * KIB, 0, 200);
	amux_submit(s.q);
	n = amux_peek(s.q, cqe, 1);
	tap_ok(n == 1 && cqe[0].user_data == 200 && !cqe[0].status &&
		       stats_of(&s).submitted == 2 * FEW,
	       "new work goes to the CPU at once");
	memset(s.mem + 60 * MIB, 0x5a, MIB);
	n = wait_ms(&s, cqe, 1, 300);
	tap_ok(n == -ETIME, "what is claimed waits: %d", n);

	kill(s.d.pid, SIGCONT);
	n = wait_ms(&s, cqe, FEW, 20000 * TAP_SLOW);
	right = n == (int)FEW;
	for (int i = 0; i < n; i++)
		right &= cqe[i].user_data < FEW && !cqe[i].status;
	right &= !memcmp(s.mem + 32 * MIB, s.mem, 2 * FEW * MIB);
	tap_ok(right, "the broker goes on: %d of %u claimed ones end right", n, FEW);
	tap_sleep_ms(200 * TAP_SLOW);
	amux_peek(s.q, cqe, FEW);
	late = !all_zero(s.mem + 48 * MIB, 8 * MIB, 0x5a) ||
	       !all_zero(s.mem + 60 * MIB, MIB, 0x5a);
	tap_ok(!late && !stats_of(&s).rejected, "and no byte is overwritten late");
	n = 0;
	for (unsigned int i = 0; i < 100 && !n; i++) {
		st = stats_of(&s);
		copy(&s, 60 * MIB, 28 * MIB, 256 * KIB, AMUX_SQE_ENGINE_ONLY, 300);
		amux_submit(s.q);
		if (wait_ms(&s, cqe, 1, 5000 * TAP_SLOW) != 1 || cqe[0].status)
			break;
		n = stats_of(&s).submitted > st.submitted;
	}
	tap_ok(n, "and it has work again");
	scene_close(&s, false);
}

/* A fence behind a claimed request waits for it; with it everything behind. */
static void test_fence(void)
{
	struct amux_cqe cqe[4];
	struct scene s;
	bool right;
	int n;

	scene_open(&s);
	copy(&s, 32 * MIB, 0, 8 * MIB, AMUX_SQE_ENGINE_ONLY, 0);
	amux_submit(s.q);
	await_claimed(&s, 1);
	stop(&s);
	copy(&s, 48 * MIB, 32 * MIB, MIB, AMUX_SQE_FENCE, 1);
	copy(&s, 50 * MIB, 32 * MIB, MIB, 0, 2);
	amux_submit(s.q);
	n = wait_ms(&s, cqe, 1, 400);
	tap_ok(n == -ETIME && stats_of(&s).recalled == 2,
	       "a fence behind a claimed request waits: %d", n);
	kill(s.d.pid, SIGCONT);
	n = wait_ms(&s, cqe, 3, 20000 * TAP_SLOW);
	right = n == 3;
	for (int i = 0; i < n; i++)
		right &= !cqe[i].status && (i || !cqe[i].user_data);
	right &= !memcmp(s.mem + 32 * MIB, s.mem, 8 * MIB) &&
		 !memcmp(s.mem + 48 * MIB, s.mem, MIB) && !memcmp(s.mem + 50 * MIB, s.mem, MIB);
	tap_ok(right, "then all %d of 3 are done in order", n);
	scene_close(&s, false);
}

/* Killed while it is stopped: what was done meanwhile counts as later. */
static void test_killed(void)
{
	struct amux_cqe cqe[4];
	struct amux_stats st;
	struct scene s;
	bool right;
	int n;

	scene_open(&s);
	copy(&s, 32 * MIB, 0, 8 * MIB, AMUX_SQE_ENGINE_ONLY, 0);
	copy(&s, 40 * MIB, 8 * MIB, 8 * MIB, AMUX_SQE_ENGINE_ONLY, 1);
	amux_submit(s.q);
	await_claimed(&s, 2);
	stop(&s);
	copy(&s, 0, 20 * MIB, MIB, 0, 2); /* into the source of the first */
	copy(&s, 60 * MIB, 24 * MIB, MIB, AMUX_SQE_ENGINE_ONLY, 3);
	amux_submit(s.q);
	n = wait_ms(&s, cqe, 1, 10000 * TAP_SLOW);
	tap_ok(n == 1 && cqe[0].user_data == 2 && !cqe[0].status,
	       "while it is stopped, the CPU writes where a claimed request reads");
	daemon_kill(&s.d);
	n = wait_ms(&s, cqe, 3, 10000 * TAP_SLOW);
	right = n == 3 && cqe[0].user_data == 0 && cqe[0].status == -EIO &&
		cqe[1].user_data == 1 && !cqe[1].status && cqe[2].user_data == 3 &&
		cqe[2].status == -ENODEV;
	right &= !memcmp(s.mem + 40 * MIB, s.mem + 8 * MIB, 8 * MIB);
	st = stats_of(&s);
	tap_ok(right && st.redone == 1 && st.lost_broker == 1,
	       "killed then: that one is lost, the other done over, ENGINE_ONLY refused");
	scene_close(&s, true);
}

/* Killed while the client works without it and waits for nothing, and followed by another. */
static void test_replaced(void)
{
	const char *const sets[] = { "broker.policy=shared", NULL };
	struct amux_cqe cqe;
	struct scene s;
	bool right = true;
	int n;

	scene_open(&s);
	stop(&s);
	copy(&s, 32 * MIB, 0, 64 * KIB, 0, 0);
	amux_submit(s.q);
	right &= wait_ms(&s, &cqe, 1, 10000 * TAP_SLOW) == 1 && !cqe.status;
	daemon_kill(&s.d);
	daemon_launch(&s.d, sets, false);
	daemon_await(&s.d);
	for (unsigned int i = 0; i < 5000 * TAP_SLOW && !stats_of(&s).reconnects; i++) {
		copy(&s, 32 * MIB, 0, 64 * KIB, 0, i);
		amux_submit(s.q);
		/* It sleeps only for the new broker: what is done here is there at once. */
		n = wait_ms(&s, &cqe, 1, 10000 * TAP_SLOW);
		right &= n == 1 && !cqe.status;
		tap_sleep_ms(1);
	}
	tap_ok(right && stats_of(&s).reconnects == 1 && !stats_of(&s).errors,
	       "a client that never waits notices the death, and the next broker");
	scene_close(&s, false);
}

/*
 * All that a queue can hold was done without the stopped broker, and waits to be collected, when
 * that answers RECALLED: the answers that wait stay what they are.
 */
static void test_uncollected(void)
{
	struct amux_cqe cqe[ENTRIES];
	bool seen[ENTRIES + 1] = { false };
	unsigned int right = 0;
	struct scene s;
	int n;

	scene_open(&s);
	stop(&s);
	for (uint64_t i = 0; i < ENTRIES; i++)
		copy(&s, 32 * MIB + i * 64 * KIB, i * 64 * KIB, 64 * KIB, 0, i);
	amux_submit(s.q);
	n = wait_ms(&s, cqe, 1, 10000 * TAP_SLOW);
	seen[0] = n == 1 && !cqe[0].user_data && !cqe[0].status;
	copy(&s, 48 * MIB, 0, 64 * KIB, 0, ENTRIES); /* in its place */
	amux_submit(s.q);
	kill(s.d.pid, SIGCONT);
	tap_sleep_ms(300 * TAP_SLOW);
	daemon_kill(&s.d);
	amux_submit(s.q); /* notices the death, and what was answered before it */
	n = wait_ms(&s, cqe, ENTRIES, 10000 * TAP_SLOW);
	for (int i = 0; i < n; i++)
		if (cqe[i].user_data <= ENTRIES && !cqe[i].status)
			seen[cqe[i].user_data] = true;
	for (unsigned int i = 0; i <= ENTRIES; i++)
		right += seen[i];
	tap_ok(n == ENTRIES && right == ENTRIES + 1 && !stats_of(&s).rejected,
	       "answers that wait to be collected outlast RECALLED ones: %u of %u", right,
	       ENTRIES + 1);
	scene_close(&s, true);
}

/* amux_copy() is not held up by a broker that stopped before it was asked.  The best of three:
 * the machine may have other things to do. */
static void test_copy(void)
{
	uint64_t end = tap_ns() + 10ull * TAP_SLOW * 1000000000, t;
	uint64_t first = UINT64_MAX, next = UINT64_MAX, worst, sync;
	bool right = true;
	struct scene s;

	scene_open(&s);
	for (unsigned int round = 0; round < 3; round++) {
		sync = by_engine(stats_of(&s));
		while (by_engine(stats_of(&s)) == sync && tap_ns() < end)
			amux_copy(s.a, s.mem + 32 * MIB, s.mem, 4 * MIB);
		tap_ok(by_engine(stats_of(&s)) > sync, "amux_copy() uses the engine");
		stop(&s);
		t = tap_ns();
		amux_copy(s.a, s.mem + 32 * MIB, s.mem + MIB, MIB);
		t = tap_ns() - t;
		first = t < first ? t : first;
		right &= !memcmp(s.mem + 32 * MIB, s.mem + MIB, MIB);
		worst = 0;
		for (unsigned int i = 0; i < 10; i++) {
			t = tap_ns();
			amux_copy(s.a, s.mem + 40 * MIB, s.mem + i * MIB, MIB);
			t = tap_ns() - t;
			worst = t > worst ? t : worst;
		}
		next = worst < next ? worst : next;
		kill(s.d.pid, SIGCONT);
	}
	tap_ok(right && first < 1000000000ull * TAP_SLOW && next < 100000000ull * TAP_SLOW,
	       "stopped: one copy takes %llu ms, the next at most %llu",
	       (unsigned long long)first / 1000000, (unsigned long long)next / 1000000);
	scene_close(&s, false);
}

/* An event loop, which makes no call while nothing comes, is woken to take back. */
static void test_event_loop(void)
{
	uint64_t end = tap_ns() + 10ull * TAP_SLOW * 1000000000;
	struct amux_cqe cqe;
	unsigned int woken = 0;
	struct pollfd p = { .events = POLLIN };
	struct scene s;
	int n = 0;

	scene_open(&s);
	p.fd = amux_eventfd(s.q);
	stop(&s);
	copy(&s, 32 * MIB, 0, MIB, 0, 7);
	amux_submit(s.q);
	while (!n && tap_ns() < end) {
		n = amux_peek(s.q, &cqe, 1);
		if (!n && !amux_arm(s.q))
			woken += poll(&p, 1, 10000 * TAP_SLOW) == 1;
	}
	tap_ok(n == 1 && !cqe.status && woken >= 2 && woken < 10 &&
		       !memcmp(s.mem + 32 * MIB, s.mem, MIB),
	       "an event loop is woken %u times, takes back and goes on", woken);
	kill(s.d.pid, SIGCONT);
	scene_close(&s, false);
}

/* Stops at random moments under load that checks every byte of its memory. */
static void test_load(const char *name, const char *const *sets, uint64_t seed)
{
	struct load_worker lw[2];
	uint64_t done = 0, before;
	bool alive = true, right = true;
	struct worker w[2];
	struct daemon d;
	int status;

	daemon_prepare(&d);
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	for (unsigned int i = 0; i < 2; i++) {
		lw[i] = (struct load_worker){
			.name = "stopped",
			.opt = { .depth = 32,
				 .flags_any = i ? AMUX_SQE_FENCE : 0,
				 .big_span = 256 * KIB },
			.seed = rng_next(&seed),
		};
		snprintf(lw[i].socket, sizeof(lw[i].socket), "%s", d.socket);
		worker_spawn(&w[i], load_worker, &lw[i]);
		worker_await(&w[i], 20);
	}
	for (unsigned int i = 0; i < CYCLES; i++) {
		tap_sleep_ms((unsigned int)rng_below(&seed, 20));
		kill(d.pid, SIGSTOP);
		/* often just when clients have given it up */
		tap_sleep_ms(90 + (unsigned int)rng_below(&seed, i & 1 ? 20 : 150));
		kill(d.pid, SIGCONT);
		before = worker_read(&w[0].report->done);
		for (unsigned int k = 0; k < 1000 * TAP_SLOW; k++) {
			alive = worker_read(&w[0].report->done) > before + 100;
			if (alive || __atomic_load_n(&w[0].report->failed, __ATOMIC_ACQUIRE))
				break;
			tap_sleep_ms(10);
		}
	}
	for (unsigned int i = 0; i < 2; i++) {
		status = worker_stop(&w[i], 30);
		done += w[i].report->done;
		if (status || w[i].report->failed) {
			right = false;
			tap_note("client %u: status %d: %s", i, status, w[i].report->why);
		}
		worker_free(&w[i]);
	}
	tap_ok(alive && right, "%s: %u stops, %llu requests, every one right", name, CYCLES,
	       (unsigned long long)done);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	const char *const plain[] = { "broker.policy=shared", "broker.own_core=on", NULL };
	const char *const threads[] = { "broker.policy=partitioned", "soft.threads=2",
					"broker.own_core=on", NULL };
	const char *const model[] = { "broker.policy=dynamic", "soft.model=on", NULL };

	tap_init(argc, argv, 60);
	test_taken_back();
	test_fence();
	test_killed();
	test_replaced();
	test_uncollected();
	test_copy();
	test_event_loop();
	test_load("inline", plain, tap_seed());
	test_load("engine threads", threads, tap_seed() + 1);
	test_load("modelled", model, tap_seed() + 2);
	return tap_done();
}
