/* SPDX-License-Identifier: MIT */
/*
 * test_death.c - the broker is killed with -9: what can safely be done over is, in order, the
 * rest is -EIO, every request is answered once; and the session goes on with the next broker.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define KIB    1024ull
#define MIB    (1024 * KIB)
#define ROUNDS (tap_long() ? 40u : 4u)

static const char *const slow[] = { "broker.policy=shared", "soft.model=on",
				    "soft.time_scale=1000", NULL };

static struct amux *must_connect(const struct daemon *d)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a;

	opt.socket = d->socket;
	opt.name = "death";
	if (amux_connect(&a, &opt))
		tap_bail("connect: %s", amux_error());
	return a;
}

static void bring_up(struct daemon *d, const char *const *sets)
{
	daemon_prepare(d);
	daemon_launch(d, sets, false);
	daemon_await(d);
}

/* The next broker, in the same place. */
static void bring_back(struct daemon *d, const char *const *sets)
{
	daemon_launch(d, sets, false);
	daemon_await(d);
}

static struct amux_stats stats_of(struct amux *a)
{
	struct amux_stats s;

	if (amux_get_stats(a, &s))
		tap_bail("amux_get_stats");
	return s;
}

/* amux_copy() calls in which the engine had a part. */
static uint64_t by_engine(struct amux_stats s)
{
	return s.sync_engine + s.sync_both;
}

static unsigned int own_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Until the broker has pulled @n requests. */
static void await_pulled(struct daemon *d, uint64_t n)
{
	if (!daemon_settles(d, "status", "classes.user.requests", n, 10000 * TAP_SLOW))
		tap_bail("the broker did not pull %llu requests", (unsigned long long)n);
}

/* ------------------------------------------------------------------------ the rule */

/*
 * Blocks of 4 MiB, all taken and none answered when the broker dies, since it takes 130 ms for
 * each.  @fence: on the last one.
 */
struct step {
	uint8_t from, to;
	uint16_t flags;
	int status; /* what must become of it */
};

static void rule_case(const char *name, const struct step *step, unsigned int n)
{
	const uint64_t block = 4 * MIB, shift = 4096;
	struct amux_cqe cqe[8];
	struct timespec limit = { 20 * TAP_SLOW, 0 };
	unsigned int redone = 0, lost = 0;
	uint8_t *mem = NULL, *must;
	struct amux_queue *q;
	struct amux_stats s;
	bool right = true;
	struct daemon d;
	struct amux *a;
	int got;

	bring_up(&d, slow);
	a = must_connect(&d);
	if (amux_alloc(a, 8 * block, 0, (void **)&mem) || amux_queue_create(a, 8, &q))
		tap_bail("%s", amux_error());
	plain_random(mem, 8 * block, tap_seed());
	for (unsigned int i = 0; i < n; i++) {
		struct amux_sqe *sqe = amux_get_sqe(q);

		/* to == from: overlaps itself */
		amux_prep_copy(a, sqe,
			       mem + step[i].to * block +
				       (step[i].to == step[i].from ? shift : 0),
			       mem + step[i].from * block, block - shift);
		sqe->flags = step[i].flags | AMUX_SQE_ENGINE_ONLY;
		sqe->user_data = i;
		redone += !step[i].status;
		lost += step[i].status != 0;
	}
	amux_submit(q);
	await_pulled(&d, n - (step[n - 1].flags & AMUX_SQE_FENCE ? 1 : 0));
	daemon_kill(&d);
	got = amux_wait(q, cqe, 8, n, &limit);
	for (int i = 0; i < got; i++)
		right &= cqe[i].user_data == (uint64_t)i && cqe[i].status == step[i].status;
	tap_ok(got == (int)n && right, "%s: %d of %u answered, in order, each as it must be",
	       name, got, n);
	for (unsigned int i = 0; i < n; i++) {
		if (step[i].status || step[i].from == step[i].to)
			continue;
		must = mem + step[i].from * block;
		right &= !memcmp(mem + step[i].to * block, must, block - shift);
	}
	s = stats_of(a);
	tap_ok(right && s.redone == redone && s.lost_broker == lost && !s.rejected,
	       "%s: data right, %llu redone, %llu lost", name, (unsigned long long)s.redone,
	       (unsigned long long)s.lost_broker);
	tap_ok(amux_peek(q, cqe, 8) == 0, "%s: and nothing is answered twice", name);
	amux_close(a);
	daemon_clean(&d);
}

static void test_rule(void)
{
	static const struct step apart[] = {
		{ 0, 1, 0, 0 }, { 2, 3, 0, 0 }, { 0, 4, 0, 0 }, { 2, 5, 0, 0 }
	};
	static const struct step self[] = { { 0, 1, 0, 0 }, { 2, 2, 0, -EIO }, { 3, 4, 0, 0 } };
	static const struct step source[] = { { 0, 1, 0, -EIO }, { 2, 0, 0, 0 } };
	static const struct step target[] = { { 0, 1, 0, -EIO }, { 1, 2, 0, 0 } };
	static const struct step again[] = { { 0, 1, 0, -EIO }, { 2, 1, 0, 0 } };
	static const struct step fence[] = { { 0, 1, 0, 0 }, { 1, 2, AMUX_SQE_FENCE, 0 } };

	rule_case("apart", apart, 4);
	rule_case("one overlaps itself", self, 3);
	rule_case("a later one writes its source", source, 2);
	rule_case("a later one reads its destination", target, 2);
	rule_case("a later one writes its destination", again, 2);
	rule_case("a fenced one reads its destination", fence, 2);
}

/* ---------------------------------------------------------------------- going on */

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* One request through the event loop's descriptor. */
static int one_by_event(struct amux_queue *q, int efd, struct amux_cqe *cqe)
{
	uint64_t end = tap_ns() + 10ull * TAP_SLOW * 1000000000;

	amux_submit(q);
	while (tap_ns() < end) {
		if (amux_peek(q, cqe, 1) == 1)
			return cqe->status;
		if (!amux_arm(q))
			readable(efd, 100);
	}
	return -ETIME;
}

/* A handle, its regions, its queue, its descriptor: all as before with the next broker. */
static void test_goes_on(void)
{
	const char *const sets[] = { "broker.policy=shared", "soft.model=on",
				     "soft.time_scale=10", NULL };
	uint8_t *mem = NULL, *late = NULL;
	uint64_t end, sync, blocked = 0, refused = 0;
	struct amux_queue *q;
	struct amux_sqe *sqe;
	struct amux_stats s;
	struct amux_cqe cqe;
	unsigned int fds = 0;
	struct daemon d;
	struct amux *a;
	int efd, status;
	bool ok;

	bring_up(&d, sets);
	a = must_connect(&d);
	if (amux_alloc(a, 16 * MIB, 0, (void **)&mem) || amux_queue_create(a, 8, &q))
		tap_bail("%s", amux_error());
	plain_random(mem, 8 * MIB, tap_seed());
	efd = amux_eventfd(q);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		daemon_kill(&d);
		ok = !amux_alive(a);
		/* Meanwhile: new memory, copies of both kinds. */
		ok &= late || !amux_alloc(a, MIB, 0, (void **)&late);
		amux_prep_copy(a, amux_get_sqe(q), late, mem, MIB);
		ok &= !one_by_event(q, efd, &cqe) && !memcmp(late, mem, MIB);
		memset(mem + 8 * MIB, 0, MIB);
		ok &= !amux_copy(a, mem + 8 * MIB, mem, MIB) &&
		      !memcmp(mem + 8 * MIB, mem, MIB);
		bring_back(&d, sets);
		end = tap_ns() + 5ull * TAP_SLOW * 1000000000;
		while (amux_alive(a) != 1 && tap_ns() < end) {
			uint64_t t = tap_ns();

			amux_peek(q, &cqe, 1);
			if (tap_ns() - t > blocked)
				blocked = tap_ns() - t;
			tap_sleep_ms(1);
		}
		s = stats_of(a);
		tap_ok(ok && amux_alive(a) == 1 && s.reconnects == i + 1,
		       "death %u: the CPU meanwhile, then broker %llu", i + 1,
		       (unsigned long long)s.reconnects + 1);
		/* Memory of before and of meanwhile is known to the new broker: engine only. */
		memset(late, 0, MIB);
		end = tap_ns() + 5ull * TAP_SLOW * 1000000000;
		do { /* refused until the queue has its new ring */
			sqe = amux_get_sqe(q);
			amux_prep_copy(a, sqe, late, mem, MIB);
			sqe->flags = AMUX_SQE_ENGINE_ONLY;
			status = one_by_event(q, efd, &cqe);
			refused += status == -ENODEV;
		} while (status == -ENODEV && tap_ns() < end);
		tap_ok(!status && !memcmp(late, mem, MIB) && amux_eventfd(q) == efd,
		       "its engine copies between regions of its predecessors: %d", status);
		sync = by_engine(stats_of(a));
		end = tap_ns() + 5ull * TAP_SLOW * 1000000000;
		while (by_engine(stats_of(a)) == sync && tap_ns() < end)
			amux_copy(a, mem + 8 * MIB, mem, 8 * MIB);
		tap_ok(by_engine(stats_of(a)) > sync, "amux_copy() finds the engine again");
		if (i == 0)
			fds = own_fds();
	}
	tap_ok(own_fds() == fds, "no descriptor is left behind: %u, %u after the first death",
	       own_fds(), fds);
	tap_ok(blocked < 50ull * TAP_SLOW * 1000000,
	       "looking for a broker held up a call by "
	       "%llu us at most",
	       (unsigned long long)blocked / 1000);
	s = stats_of(a);
	tap_ok(!s.lost_broker && !s.rejected && s.errors == refused,
	       "nothing was lost: %llu, %llu answers of nobody, %llu errors, %llu refused",
	       (unsigned long long)s.lost_broker, (unsigned long long)s.rejected,
	       (unsigned long long)s.errors, (unsigned long long)refused);
	amux_close(a);
	daemon_stop(&d);
}

/* Load through deaths and new brokers at random. */
static void test_load(const char *name, const char *const *sets, uint16_t flags, uint64_t seed)
{
	struct load_worker lw = {
		.name = "death",
		.opt = { .depth = 32,
			 .flags_any = AMUX_SQE_FENCE | flags,
			 .may_lose = true,
			 .may_refuse = true,
			 .big_span = 256 * KIB },
		.seed = seed,
	};
	bool used = true;
	struct daemon d;
	struct worker w;
	int status;

	bring_up(&d, sets);
	snprintf(lw.socket, sizeof(lw.socket), "%s", d.socket);
	worker_spawn(&w, load_worker, &lw);
	worker_await(&w, 20);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		tap_sleep_ms((unsigned int)rng_below(&seed, 60));
		daemon_kill(&d);
		tap_sleep_ms((unsigned int)rng_below(&seed, 60));
		bring_back(&d, sets);
		for (unsigned int k = 0; k < 500 * TAP_SLOW; k++) {
			used = daemon_count(&d, "status", "classes.user.requests") > 0;
			if (used)
				break;
			tap_sleep_ms(10);
		}
		if (!used)
			break;
	}
	status = worker_stop(&w, 30);
	tap_ok(used, "%s: each of %u new brokers gets its work", name, ROUNDS);
	tap_ok(!status && !w.report->failed && w.report->lost <= 32 * ROUNDS,
	       "%s: %llu requests right, %llu lost (status %d)%s%s", name,
	       (unsigned long long)w.report->done, (unsigned long long)w.report->lost, status,
	       w.report->failed ? ": " : "", w.report->why);
	worker_free(&w);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	const char *const plain[] = { "broker.policy=shared", "broker.own_core=on", NULL };
	const char *const threads[] = { "broker.policy=partitioned", "soft.threads=2",
					"broker.own_core=on", NULL };
	const char *const model[] = { "broker.policy=dynamic", "soft.model=on", NULL };

	tap_init(argc, argv, 60);
	test_rule();
	test_goes_on();
	test_load("inline", plain, 0, tap_seed());
	test_load("engine threads", threads, AMUX_SQE_ENGINE_ONLY, tap_seed() + 1);
	test_load("modelled", model, AMUX_SQE_ENGINE_ONLY, tap_seed() + 2);
	return tap_done();
}
