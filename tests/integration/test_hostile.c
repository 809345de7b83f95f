/* SPDX-License-Identifier: MIT */
/*
 * test_hostile.c - tenants that mean harm through their rings and their memory: what they cost a
 * victim beside them is bounded, and they are limited or cut off with a reason that is counted.
 * Through their sockets: test_flood.c.
 *
 * With one other tenant a victim has a right to half of the broker.  Demanded is a good quarter of that:
 * the attackers' own processes take CPU time from all as well, and what a tiny request costs the
 * broker is charged at a nominal rate.
 *
 *	test_hostile [CASE]: those whose names begin so
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/raw.h"
#include "../lib/siege.h"

#define SHARE 0.14
#define MIB   (1ull << 20)

static struct daemon d;

static uint64_t count(const char *path)
{
	return daemon_count(&d, "tenants", path);
}

static void begin(const char *more, const char *more2)
{
	daemon_start(&d, "broker.policy=dynamic", "tenant.victim.name=victim",
		     "tenant.bad.name=bad", more ? more : "tenant.bad.weight=1", more2, NULL);
}

/* --------------------------------------------------------------- wild indices */

/* Every kind of impossible tail, in a new session each time. */
static int wild_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	uint64_t rng = tap_seed();

	while (siege_wait(a, r)) {
		int sock = raw_open(a->socket, "bad");
		union raw_msg answer;
		struct raw_queue q;

		raw_queue_open(sock, 64, &q);
		q.ring.sq_tail += 65 + (uint32_t)rng_below(&rng, 1u << 31);
		amux_store_relaxed(&q.ring.hdr->cq_head, (uint32_t)rng_next(&rng));
		raw_queue_publish(&q);
		(void)!write(q.sq_efd, &(uint64_t){ 1 }, 8);
		if (raw_receive(sock, &answer, NULL))
			worker_fail(r, "not cut off");
		raw_queue_close(&q);
		close(sock);
		worker_add(&r->done, 1);
	}
	return 0;
}

static void test_wild(void)
{
	struct siege_result r;

	begin("tenant.bad.max_requests=none", "broker.connect_rate=none");
	siege_run(&d, wild_main, 1, &r);
	siege_judge("ring indices run wild, session after session", &r, SHARE);
	tap_ok(count("tenants.bad.cut_off.ring") == r.attacks,
	       "each is cut off and counted: %llu of %llu",
	       (unsigned long long)count("tenants.bad.cut_off.ring"),
	       (unsigned long long)r.attacks);
	tap_ok(daemon_settles(&d, "status", "connections", 0, 5000 * TAP_SLOW) &&
		       daemon_logged(&d, "impossible submission queue tail", 1000),
	       "with the reason in the log, and nobody stays");
	daemon_stop(&d);
}

/* ---------------------------------------------------------------- SQEs change */

struct scribble {
	struct raw_queue *q;
	uint32_t stop;
};

static void *scribble_main(void *arg)
{
	struct scribble *s = arg;
	uint64_t rng = 7;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		uint32_t *words = (uint32_t *)(void *)s->q->ring.sqes;

		for (unsigned int i = 0; i < 64; i++)
			amux_store_relaxed(&words[rng_below(&rng, 64 * 16)],
					   (uint32_t)rng_next(&rng) >> rng_below(&rng, 32));
		/* the broker needs a CPU to read them with */
		if (!rng_below(&rng, 256))
			usleep(100);
	}
	return NULL;
}

static int changing_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int sock = raw_open(a->socket, "bad"), fd = raw_memfd(MIB, F_SEAL_SHRINK);
	struct amux_sqe sqe = { .op = AMUX_OP_COPY, .flags = AMUX_SQE_ENGINE_ONLY };
	struct scribble s = { 0 };
	struct raw_queue q;
	union raw_msg msg;
	struct amux_cqe cqe;
	pthread_t t;

	sqe.region[0] = sqe.region[1] = raw_register(sock, fd, MIB, 0, &msg);
	sqe.offset[1] = MIB / 2;
	raw_queue_open(sock, 64, &q);
	s.q = &q;
	while (siege_wait(a, r)) {
		s.stop = 0;
		if (pthread_create(&t, NULL, scribble_main, &s))
			return 1;
		while (siege_on(a)) {
			for (unsigned int i = 0; i < 64 && amux_sq_space(&q.ring); i++) {
				sqe.len = 1 + i * 1000;
				raw_queue_put(&q, &sqe);
			}
			raw_queue_publish(&q);
			while (raw_queue_get(&q, &cqe, 0))
				worker_add(&r->done, 1);
		}
		__atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
		pthread_join(t, NULL);
	}
	close(sock);
	return 0;
}

static void test_changing(void)
{
	struct siege_result r;
	json_t *doc;

	begin(NULL, NULL);
	siege_run(&d, changing_main, 1, &r);
	siege_judge("SQEs change while they are read", &r, SHARE);
	daemon_settles(&d, "status", "connections", 0, 5000 * TAP_SLOW);
	doc = daemon_ask(&d, "tenants");
	tap_ok(!strcmp(json_text(doc, "tenants.bad.ledger_in"),
		       json_text(doc, "tenants.bad.ledger_out")) &&
		       json_count(doc, "tenants.bad.failed") > 100 &&
		       !json_count(doc, "tenants.victim.failed"),
	       "each of %llu is answered once, as the broker read it; %llu were wrong",
	       (unsigned long long)json_count(doc, "tenants.bad.requests"),
	       (unsigned long long)json_count(doc, "tenants.bad.failed"));
	json_decref(doc);
	daemon_stop(&d);
}

/* ---------------------------------------------------------------- CQ not read */

#define UNREAD_QUEUES 32

static int unread_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int sock = raw_open(a->socket, "bad");
	struct amux_sqe sqe = { .op = AMUX_OP_NOOP, .flags = AMUX_SQE_ENGINE_ONLY };
	struct raw_queue q[UNREAD_QUEUES];

	for (unsigned int i = 0; i < UNREAD_QUEUES; i++)
		raw_queue_open(sock, 256, &q[i]);
	while (siege_wait(a, r)) {
		for (unsigned int i = 0; i < UNREAD_QUEUES; i++) {
			while (amux_sq_space(&q[i].ring)) {
				raw_queue_put(&q[i], &sqe);
				worker_add(&r->done, 1);
			}
			raw_queue_publish(&q[i]);
			(void)!write(q[i].sq_efd, &(uint64_t){ 1 }, 8);
		}
		tap_sleep_ms(1);
	}
	close(sock);
	return 0;
}

/* The same once, and then nothing. */
static int full_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int sock = raw_open(a->socket, "bad");
	struct amux_sqe sqe = { .op = AMUX_OP_NOOP, .flags = AMUX_SQE_ENGINE_ONLY };
	struct raw_queue q;

	raw_queue_open(sock, 256, &q);
	for (unsigned int i = 0; i < 2; i++) {
		while (amux_sq_space(&q.ring))
			raw_queue_put(&q, &sqe);
		raw_queue_publish(&q);
		(void)!write(q.sq_efd, &(uint64_t){ 1 }, 8);
		while (!i && !amux_sq_space(&q.ring))
			tap_sleep_ms(1);
	}
	__atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
	while (!worker_stopping(r))
		tap_sleep_ms(1);
	close(sock);
	return 0;
}

static void test_unread(void)
{
	struct siege_attack a = { .index = 0 };
	struct siege_result r;
	struct worker w;
	uint64_t loops = UINT64_MAX;

	begin(NULL, NULL);
	siege_run(&d, unread_main, 1, &r);
	siege_judge("CQs are never read", &r, 0.5);
	/* alone with one of them, a broker has nothing to do */
	snprintf(a.socket, sizeof(a.socket), "%s", d.socket);
	worker_spawn(&w, full_main, &a);
	worker_await(&w, 10);
	for (unsigned int try = 0; try < 20 && loops > 50; try++) {
		loops = daemon_count(&d, "status", "nodes.0.mux.loops");
		tap_sleep_ms(100);
		loops = daemon_count(&d, "status", "nodes.0.mux.loops") - loops;
	}
	tap_ok(loops <= 50,
	       "with nothing but a full CQ the broker sleeps: %llu loops in 100 ms",
	       (unsigned long long)loops);
	worker_stop(&w, 10);
	worker_free(&w);
	daemon_stop(&d);
}

/* --------------------------------------------------------------------- memory */

static void test_truncate(void)
{
	int sock, fd = raw_memfd(MIB, F_SEAL_SHRINK);
	union raw_msg msg;

	begin(NULL, NULL);
	sock = raw_open(d.socket, "bad");
	tap_ok(raw_register(sock, fd, MIB, 0, &msg) && ftruncate(fd, 4096) < 0 &&
		       errno == EPERM,
	       "a registered memfd cannot be truncated: its seal says no");
	close(fd);
	fd = raw_memfd(MIB, 0);
	tap_ok(!raw_register(sock, fd, MIB, 0, &msg) && msg.error.error == -EINVAL &&
		       strstr(msg.error.text, "F_SEAL_SHRINK") &&
		       count("tenants.bad.refused.invalid") == 1,
	       "one that could be is refused: %s", msg.error.text);
	close(fd);
	close(sock);
	daemon_stop(&d);
}

/* Punched shmem: every page of every copy faults, and is zeroed anew. */
static int punch_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int sock = raw_open(a->socket, "bad"), fd = raw_memfd(8 * MIB, F_SEAL_SHRINK);
	struct amux_sqe sqe = { .op = AMUX_OP_COPY,
				.flags = AMUX_SQE_ENGINE_ONLY,
				.len = 64 << 10 };
	union raw_msg msg;
	struct raw_queue q;
	struct amux_cqe cqe;

	sqe.region[0] = sqe.region[1] = raw_register(sock, fd, 8 * MIB, 0, &msg);
	raw_queue_open(sock, 64, &q);
	while (siege_wait(a, r)) {
		for (unsigned int i = 0; i < 64; i++) {
			sqe.offset[0] = i * sqe.len;
			sqe.offset[1] = 4 * MIB + i * sqe.len;
			raw_queue_put(&q, &sqe);
		}
		raw_queue_publish(&q);
		for (unsigned int i = 0; i < 64; i++)
			if (!raw_queue_get(&q, &cqe, 20000 * TAP_SLOW) || cqe.status)
				worker_fail(r, "copy: status %d", cqe.status);
		worker_add(&r->done, 64);
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 * MIB);
	}
	close(sock);
	return 0;
}

static void test_punch(void)
{
	struct siege_result r;

	begin(NULL, NULL);
	siege_run(&d, punch_main, 1, &r);
	siege_judge("memory is punched before each copy", &r, SHARE);
	daemon_stop(&d);
}

/*
 * Memory that cannot be had, by an engine that says so of every page: the tenant is slowed down,
 * then cut off.
 */
static void test_faults(void)
{
	struct amux_sqe sqe = { .op = AMUX_OP_COPY,
				.flags = AMUX_SQE_ENGINE_ONLY,
				.len = 4096 };
	int sock, fd = raw_memfd(MIB, F_SEAL_SHRINK);
	uint64_t start, sent = 0, n = 0, waits, ms;
	union raw_msg msg;
	struct raw_queue q;
	struct amux_cqe cqe;
	bool all = true;

	begin("broker.engine=fault:error=100%@0x03", "tenant.bad.max_faults=1000");
	sock = raw_open(d.socket, "bad");
	sqe.region[0] = sqe.region[1] = raw_register(sock, fd, MIB, 0, &msg);
	sqe.offset[1] = 8192;
	raw_queue_open(sock, 64, &q);
	start = tap_ns();
	while (tap_ns() - start < 30000000000ull) {
		while (amux_sq_space(&q.ring) && sent - n < 32) {
			raw_queue_put(&q, &sqe);
			sent++;
		}
		raw_queue_publish(&q);
		(void)!write(q.sq_efd, &(uint64_t){ 1 }, 8);
		if (!raw_queue_get(&q, &cqe, 2000 * TAP_SLOW))
			break;
		all &= cqe.status == -EFAULT || cqe.status == -ECANCELED;
		n++;
	}
	ms = (tap_ns() - start) / 1000000;
	waits = count("tenants.bad.fault_waits");
	/* 17 faults' worth each, 1000 a second and 1000 at once */
	tap_ok(all && n >= 58 && n <= 58 + ms * 59 / 1000 + 64 && waits,
	       "copies from memory that is not there: -EFAULT, %llu of them in %llu ms, %llu "
	       "had "
	       "to wait",
	       (unsigned long long)n, (unsigned long long)ms, (unsigned long long)waits);
	tap_ok(raw_receive(sock, &msg, NULL) == 0 && count("tenants.bad.cut_off.faults") == 1 &&
		       daemon_logged(&d, "max_tenant_faults", 1000),
	       "then the tenant is cut off, with a line in the log");
	raw_queue_close(&q);
	close(sock);
	sock = raw_open(d.socket, "victim");
	raw_queue_open(sock, 2, &q);
	sqe = (struct amux_sqe){ .op = AMUX_OP_NOOP, .flags = AMUX_SQE_ENGINE_ONLY };
	tap_ok(raw_queue_do(&q, &sqe, &cqe), "others are served");
	raw_queue_close(&q);
	close(sock);
	close(fd);
	daemon_stop(&d);
}

/* --------------------------------------------------------------------- floods */

#define FLOOD_QUEUES 48

/* Keep FLOOD_QUEUES queues of 1024 full of @sqe. */
static int flood(struct worker_report *r, const struct siege_attack *a, struct amux_sqe *sqe)
{
	int sock = raw_open(a->socket, "bad"), fd = raw_memfd(MIB, F_SEAL_SHRINK);
	uint32_t declined[FLOOD_QUEUES] = { 0 };
	struct raw_queue q[FLOOD_QUEUES];
	union raw_msg msg;

	sqe->region[0] = raw_register(sock, fd, MIB, 0, &msg);
	if (sqe->op == AMUX_OP_COPY)
		sqe->region[1] = sqe->region[0];
	for (unsigned int i = 0; i < FLOOD_QUEUES; i++)
		raw_queue_open(sock, 1024, &q[i]);
	while (siege_wait(a, r)) {
		for (unsigned int i = 0; i < FLOOD_QUEUES; i++) {
			unsigned int n = 0;

			while (amux_cq_ready(&q[i].ring)) {
				declined[i] += amux_cq_take(&q[i].ring)->status ==
					       AMUX_STATUS_DECLINED;
				n++;
			}
			amux_store_release(&q[i].ring.hdr->declined_done, declined[i]);
			amux_cq_release(&q[i].ring);
			worker_add(&r->done, n);
			while (amux_sq_space(&q[i].ring))
				raw_queue_put(&q[i], sqe);
			raw_queue_publish(&q[i]);
			(void)!write(q[i].sq_efd, &(uint64_t){ 1 }, 8);
		}
		/* its queues hold milliseconds of work: no need to take the CPU from the broker, too */
		usleep(300);
	}
	close(sock);
	return 0;
}

static int tiny_main(struct worker_report *r, void *arg)
{
	struct amux_sqe sqe = { .op = AMUX_OP_COPY,
				.flags = AMUX_SQE_ENGINE_ONLY,
				.len = 1,
				.offset = { 0, 4096, 0 } };

	return flood(r, arg, &sqe);
}

static int wrong_main(struct worker_report *r, void *arg)
{
	struct amux_sqe sqe = { .op = 99, .flags = AMUX_SQE_ENGINE_ONLY };

	return flood(r, arg, &sqe);
}

static int declined_main(struct worker_report *r, void *arg)
{
	struct amux_sqe sqe = { .op = AMUX_OP_COPY,
				.flags = AMUX_SQE_CPU_ONLY,
				.len = 1,
				.offset = { 0, 4096, 0 } };

	return flood(r, arg, &sqe);
}

static void test_flood(const char *name, int (*main)(struct worker_report *r, void *arg),
		       double share)
{
	struct siege_result r;

	begin(NULL, NULL);
	siege_run(&d, main, 1, &r);
	siege_judge(name, &r, share);
	daemon_stop(&d);
}

static bool wanted(int argc, char **argv, const char *name)
{
	return argc < 2 || !strncmp(name, argv[1], strlen(argv[1]));
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 90);
	if (wanted(argc, argv, "wild"))
		test_wild();
	if (wanted(argc, argv, "changing"))
		test_changing();
	if (wanted(argc, argv, "unread"))
		test_unread();
	if (wanted(argc, argv, "truncate"))
		test_truncate();
	if (wanted(argc, argv, "punch"))
		test_punch();
	if (wanted(argc, argv, "faults"))
		test_faults();
	if (wanted(argc, argv, "tiny"))
		test_flood("a flood of 1-byte copies", tiny_main, SHARE);
	if (wanted(argc, argv, "wrong"))
		test_flood("a flood of wrong SQEs", wrong_main, 2 * SHARE);
	if (wanted(argc, argv, "declined"))
		test_flood("a flood of requests to be declined", declined_main, 2 * SHARE);
	return tap_done();
}
