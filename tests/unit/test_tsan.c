// SPDX-License-Identifier: MIT
/*
 * test_tsan.c - the whole broker and its clients as threads of one process, so that a thread
 * sanitizer sees both sides: random copies verified, policies switched by the control socket,
 * queues and regions made and given back, connections cut, rings broken, a replay of kernel
 * migrations beside them, and a stop in the middle of it all.
 */
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../broker/broker.h"
#include "../../broker/clock.h"
#include "../../broker/status.h"
#include "../../client/handle.h"
#include "../../client/queue.h"
#include "core_util.h"

#ifdef __SANITIZE_THREAD__
/*
 * libuv closes by syscall(SYS_close), which the sanitizer does not see: when a client then gets
 * that descriptor's number for a memfd (not seen either) and closes it, it takes this for a
 * race with libuv's last use of the old one.  So this process's syscall() shows it the close.
 */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	static long (*real)(long, long, long, long, long, long, long);
	long (*call)(long, long, long, long, long, long, long);
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (unsigned int i = 0; i < 6; i++) /* as many as any call has */
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_close)
		return close((int)a[0]);
	call = __atomic_load_n(&real, __ATOMIC_RELAXED);
	if (!call) {
		*(void **)(&call) = dlsym(RTLD_NEXT, "syscall");
		__atomic_store_n(&real, call, __ATOMIC_RELAXED);
	}
	return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
#endif

#define LOAD_NS	  (NSEC_PER_SEC * 12 / 10)
#define SLOT	  (64u << 10)
#define SLOTS	  8u
#define COPIERS	  2
#define SHARERS	  2
#define BREAKS	  3 /* rings that one run breaks: each costs a line on stderr */
#define SETTLE_NS (10 * NSEC_PER_SEC)

struct variant {
	const char *name;
	unsigned int threads; /* of the engine */
	bool model, stop_early;
};

static const struct variant variants[] = {
	{ "inline", 0, false, false },
	{ "two engine threads", 2, false, false },
	{ "model, inline", 0, true, false },
	{ "model, an engine thread", 1, true, false },
	{ "stopped under load", 1, false, true },
};

static char dir[] = "/tmp/amux-tsan-XXXXXX";
static struct config cfg;
static struct broker *broker;
static uint32_t stop;	 /* the load */
static uint32_t stopped; /* the broker was told to stop: errors are no failure from now on */
static struct amux *shared;

static bool stopping(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static bool orphaned(void)
{
	return __atomic_load_n(&stopped, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------------- control */

static int control_connect(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", cfg.control);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* One call; the whole answer, or NULL if the broker is gone. */
static json_t *control_call(int fd, const char *method, const char *params)
{
	static _Thread_local char buf[1 << 20];
	size_t used = 0;
	ssize_t n;
	int len = snprintf(buf, sizeof(buf),
			   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n",
			   method, params);
	json_t *answer;

	if (send(fd, buf, (size_t)len, MSG_NOSIGNAL) != len)
		return NULL;
	while (!used || buf[used - 1] != '\n') {
		n = recv(fd, buf + used, sizeof(buf) - 1 - used, 0);
		if (n <= 0)
			return NULL;
		used += (size_t)n;
	}
	buf[used] = '\0';
	answer = json_loads(buf, 0, NULL);
	must(answer);
	return answer;
}

/* Switch policies and look at everything, all the time. */
static void *operator_main(void *arg)
{
	static const char *const reads[] = { "status", "tenants", "devices", "policy.get",
					     "policy.list" };
	uint64_t seed = 99, calls = 0;
	int fd = control_connect();

	(void)arg;
	must(fd >= 0);
	while (!stopping()) {
		char params[64];
		json_t *answer;
		unsigned int n;

		for (n = 0; amux_policies[n]; n++)
			;
		if (rnd(&seed) & 3) {
			answer = control_call(fd, reads[rnd_below(&seed, 5)], "{}");
		} else {
			snprintf(params, sizeof(params), "{\"name\":\"%s\"}",
				 amux_policies[rnd_below(&seed, n)]->name);
			answer = control_call(fd, "policy.set", params);
		}
		if (!answer) {
			must(orphaned());
			break;
		}
		must(json_object_get(answer, "result"));
		json_decref(answer);
		calls++;
		clock_sleep_until(clock_ns() + 2000000);
	}
	close(fd);
	must(calls);
	return NULL;
}

/* ---------------------------------------------------------------------- clients */

static struct amux *join(const char *name)
{
	struct amux_options opt = { cfg.socket, name, AMUX_NODE_ANY };
	struct amux *a;
	int ret = amux_connect(&a, &opt);

	if (!ret)
		return a;
	if (!orphaned())
		ck_abort_msg("connect: %d (%s)", ret, amux_error());
	return NULL;
}

struct buffers {
	uint8_t *from, *to;
	uint64_t len[SLOTS]; /* of the copy in flight, 0: none */
	uint8_t op[SLOTS];
};

static void fill(uint8_t *p, size_t n, uint64_t *seed)
{
	for (size_t i = 0; i + 8 <= n; i += 512) {
		uint64_t word = rnd(seed);

		memcpy(p + i, &word, 8);
	}
}

static bool buffers_open(struct amux *a, struct buffers *b)
{
	memset(b, 0, sizeof(*b));
	return !amux_alloc(a, SLOTS * SLOT, 0, (void **)&b->from) &&
	       !amux_alloc(a, SLOTS * SLOT, 0, (void **)&b->to);
}

static void submit_one(struct amux *a, struct amux_queue *q, struct buffers *b,
		       unsigned int slot, uint64_t *seed)
{
	struct amux_sqe *sqe = amux_get_sqe(q);
	uint8_t *from = b->from + slot * SLOT, *to = b->to + slot * SLOT;
	uint64_t len = 8 + rnd_below(seed, rnd(seed) & 1 ? 4096 : SLOT - 8);

	must(sqe);
	fill(from, len, seed);
	b->op[slot] = rnd(seed) & 3 ? AMUX_OP_COPY : AMUX_OP_NOOP;
	if (b->op[slot] == AMUX_OP_COPY)
		must(!amux_prep_copy(a, sqe, to, from, len));
	else
		must(!amux_prep_noop(sqe));
	if (!rnd_below(seed, 8))
		sqe->flags |= AMUX_SQE_FENCE;
	if (!rnd_below(seed, 16))
		sqe->flags |= AMUX_SQE_CPU_ONLY;
	sqe->user_data = slot;
	b->len[slot] = len;
}

/* Answers that @timeout brings, verified.  Returns how many. */
static unsigned int collect(struct amux_queue *q, struct buffers *b, unsigned int min)
{
	struct amux_cqe cqes[SLOTS];
	int n = amux_wait(q, cqes, SLOTS, min, NULL);

	if (n < 0)
		ck_abort_msg("wait: %d (%s)", n, amux_error());
	for (int i = 0; i < n; i++) {
		uint64_t slot = cqes[i].user_data;

		must(slot < SLOTS && b->len[slot]);
		if (cqes[i].status)
			must(orphaned() && cqes[i].status == -EIO);
		else if (b->op[slot] == AMUX_OP_COPY)
			must(!memcmp(b->from + slot * SLOT, b->to + slot * SLOT, b->len[slot]));
		b->len[slot] = 0;
	}
	return (unsigned int)n;
}

/* Asynchronous copies on one queue, made anew now and then. */
static void *copier_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg, verified = 0;
	struct amux *a = join("copier");
	struct amux_queue *q = NULL;
	struct buffers b;

	if (!a)
		return NULL;
	must(buffers_open(a, &b));
	while (!stopping()) {
		unsigned int n = 1 + (unsigned int)rnd_below(&seed, SLOTS);

		if (!q)
			must(!amux_queue_create(a, SLOTS, &q));
		for (unsigned int i = 0; i < n; i++)
			submit_one(a, q, &b, i, &seed);
		must(amux_submit(q) == (int)n);
		if (!rnd_below(&seed, 32)) {
			amux_queue_destroy(q); /* waits for what is in flight */
			memset(b.len, 0, sizeof(b.len));
			q = NULL;
			continue;
		}
		while (n)
			n -= collect(q, &b, 1 + (unsigned int)rnd_below(&seed, n));
		verified++;
		if (!rnd_below(&seed, 64))
			clock_sleep_until(clock_ns() + rnd_below(&seed, 3000000));
	}
	must(verified);
	amux_close(a);
	return NULL;
}

/* Synchronous copies of several threads on one handle. */
static void *sharer_main(void *arg)
{
	uint64_t seed = (uintptr_t)arg, copies = 0;
	struct buffers b;

	must(buffers_open(shared, &b));
	while (!stopping()) {
		size_t len = 1 + rnd_below(&seed, SLOTS * SLOT);

		fill(b.from, len, &seed);
		must(!amux_copy(shared, b.to, b.from, len));
		must(!memcmp(b.to, b.from, len));
		copies++;
	}
	must(copies);
	must(!amux_free(shared, b.from) && !amux_free(shared, b.to));
	return NULL;
}

/* Connect, submit, and be gone: politely or with everything still in flight. */
static void *churner_main(void *arg)
{
	uint64_t seed = 7, rounds = 0;

	(void)arg;
	while (!stopping()) {
		struct amux *a = join("churner");
		struct amux_queue *q[2];
		struct buffers b[2];

		if (!a)
			break;
		for (unsigned int k = 0; k < 2; k++) {
			must(buffers_open(a, &b[k]));
			must(!amux_queue_create(a, SLOTS, &q[k]));
			for (unsigned int i = 0; i < SLOTS; i++)
				submit_one(a, q[k], &b[k], i, &seed);
			must(amux_submit(q[k]) == SLOTS);
		}
		if (rnd(&seed) & 1)
			shutdown(a->link->sock, SHUT_RDWR);
		else
			must(!amux_free(a, b[0].from) || orphaned()); /* waits for its copies */
		amux_close(a);
		rounds++;
	}
	must(rounds || orphaned());
	return NULL;
}

/* Break the ABI: the broker has to cut us off, and nobody else may notice. */
static void *breaker_main(void *arg)
{
	uint64_t seed = 5;

	(void)arg;
	for (unsigned int k = 0; k < BREAKS && !stopping(); k++) {
		uint64_t end = clock_ns() + SETTLE_NS;
		struct amux *a = join("breaker");
		const uint64_t one = 1;
		struct amux_queue *q;
		struct buffers b;

		if (!a)
			break;
		must(buffers_open(a, &b));
		must(!amux_queue_create(a, SLOTS, &q));
		if (q->map) {
			for (unsigned int i = 0; i < SLOTS; i++)
				submit_one(a, q, &b, i, &seed);
			amux_submit(q);
			amux_store_release(&q->ring.hdr->sq_tail,
					   q->ring.sq_tail + SLOTS + 1 + 1000 * k);
			must(write(q->sq_efd, &one, sizeof(one)) == sizeof(one));
			while (amux_alive(a) == 1) {
				must(clock_ns() < end);
				clock_sleep_until(clock_ns() + 1000000);
			}
		}
		amux_close(a);
		clock_sleep_until(clock_ns() + LOAD_NS / BREAKS / 2);
	}
	return NULL;
}

/* -------------------------------------------------------------------- the broker */

static void *broker_main(void *arg)
{
	(void)arg;
	broker_run(broker);
	return NULL;
}

static void trace_write(const char *path)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	fputs("accelmux-trace 1 synthetic\n"
	      "0 mbind 512 0 34\n"
	      "300000 compaction 57 0 57\n"
	      "900000 syscall 512 9 1\n"
	      "1500000 damon 200 0 200\n",
	      f);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	config_default(&cfg);
	snprintf(cfg.socket, sizeof(cfg.socket), "%s/a.sock", dir);
	snprintf(cfg.control, sizeof(cfg.control), "%s/c.sock", dir);
	snprintf(cfg.kernel, sizeof(cfg.kernel), "replay:%s/trace", dir);
	snprintf(cfg.policy, sizeof(cfg.policy), "shared");
	trace_write(cfg.kernel + 7);
	cfg.metrics_addr[0] = '\0';
	cfg.replay_loop = cfg.replay_verify = true;
	cfg.own_core = true;
	cfg.max_connections = 64;
}

static void teardown(void)
{
	char path[128];
	static const char *const files[] = { "a.sock", "a.sock.lock", "c.sock", "trace" };

	for (unsigned int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

/* With all clients gone every SQE that was taken has been answered once, and nothing waits. */
static void expect_settled(void)
{
	uint64_t end = clock_ns() + SETTLE_NS;
	int fd = control_connect();
	bool settled = false;

	must(fd >= 0);
	while (!settled) {
		json_t *answer = control_call(fd, "tenants", "{}"), *tenants, *t;
		size_t i;

		must(answer);
		tenants = json_object_get(answer, "result");
		if (json_is_object(tenants))
			tenants = json_object_get(tenants, "tenants");
		must(json_is_array(tenants) && json_array_size(tenants));
		settled = true;
		json_array_foreach(tenants, i, t)
		{
			const char *in = json_string_value(json_object_get(t, "ledger_in"));
			const char *out = json_string_value(json_object_get(t, "ledger_out"));

			must(in && out);
			settled &= !strcmp(in, out) &&
				   !json_integer_value(json_object_get(t, "queued_bytes")) &&
				   !json_integer_value(json_object_get(t, "connections")) &&
				   !json_integer_value(json_object_get(t, "regions")) &&
				   !json_integer_value(json_object_get(t, "region_bytes"));
		}
		json_decref(answer);
		must(clock_ns() < end);
		if (!settled)
			clock_sleep_until(clock_ns() + 5000000);
	}
	close(fd);
}

START_TEST(everything_at_once)
{
	const struct variant *v = &variants[_i];
	pthread_t serving, load[COPIERS + SHARERS + 3];
	unsigned int n = 0;
	char err[512];

	cfg.soft.threads = v->threads;
	cfg.soft.model = v->model;
	cfg.own_core = !v->model;
	cfg.soft.time_scale = v->model ? 20 : 1;
	ck_assert_msg(!config_check(&cfg, err, sizeof(err)), "%s: %s", v->name, err);
	ck_assert_msg(!broker_open(&broker, &cfg, NULL, err, sizeof(err)), "%s: %s", v->name,
		      err);
	ck_assert_int_eq(pthread_create(&serving, NULL, broker_main, NULL), 0);
	shared = join("shared");
	ck_assert_ptr_nonnull(shared);

	for (uintptr_t i = 0; i < COPIERS; i++)
		pthread_create(&load[n++], NULL, copier_main, (void *)(i + 1));
	for (uintptr_t i = 0; i < SHARERS; i++)
		pthread_create(&load[n++], NULL, sharer_main, (void *)(i + 10));
	pthread_create(&load[n++], NULL, churner_main, NULL);
	pthread_create(&load[n++], NULL, breaker_main, NULL);
	pthread_create(&load[n++], NULL, operator_main, NULL);
	clock_sleep_until(clock_ns() + LOAD_NS / 2);
	if (v->stop_early) {
		__atomic_store_n(&stopped, 1u, __ATOMIC_RELAXED);
		broker_stop(broker);
		broker_stop(broker);
	}
	clock_sleep_until(clock_ns() + LOAD_NS / 2);
	__atomic_store_n(&stop, 1u, __ATOMIC_RELAXED);
	while (n)
		pthread_join(load[--n], NULL);
	amux_close(shared);
	if (!v->stop_early) {
		expect_settled();
		broker_stop(broker);
	}
	pthread_join(serving, NULL);
	ck_assert_uint_eq(broker_kernel_mismatches(broker), 0);
	broker_close(broker);
}
END_TEST

/* What was submitted before a stop is answered by it: also behind fences, also more than the
 * engine has at hand at that moment. */
START_TEST(a_stop_answers_first)
{
	struct amux_queue *q;
	struct amux_cqe cqes[SLOTS];
	pthread_t serving;
	struct buffers b;
	uint64_t seed = 3;
	char err[512];
	struct amux *a;

	cfg.kernel[0] = '\0';
	snprintf(cfg.kernel, sizeof(cfg.kernel), "none");
	cfg.soft.model = true;
	cfg.own_core = false;
	cfg.soft.time_scale = 1000; /* 64 KiB take 2 ms */
	ck_assert_msg(!broker_open(&broker, &cfg, NULL, err, sizeof(err)), "%s", err);
	ck_assert_int_eq(pthread_create(&serving, NULL, broker_main, NULL), 0);
	a = join("late");
	must(a && buffers_open(a, &b));
	must(!amux_queue_create(a, SLOTS, &q));
	fill(b.from, SLOTS * SLOT, &seed);
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct amux_sqe *sqe = amux_get_sqe(q);

		must(!amux_prep_copy(a, sqe, b.to + i * SLOT, b.from + i * SLOT, SLOT));
		sqe->flags = AMUX_SQE_FENCE;
		sqe->user_data = i;
	}
	must(amux_submit(q) == SLOTS);
	broker_stop(broker);
	must(amux_wait(q, cqes, SLOTS, SLOTS, NULL) == SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		ck_assert_uint_eq(cqes[i].user_data, i);
		ck_assert_int_eq(cqes[i].status, 0);
	}
	ck_assert_mem_eq(b.from, b.to, SLOTS * SLOT);
	pthread_join(serving, NULL);
	amux_close(a);
	broker_close(broker);
}
END_TEST

/* A client that does not take its answers cannot hold up a stop for long. */
START_TEST(a_stop_does_not_wait_for_ever)
{
	uint64_t begin;
	pthread_t serving;
	char err[512];
	struct amux_queue *q;
	struct buffers b;
	struct amux *a;

	snprintf(cfg.kernel, sizeof(cfg.kernel), "none");
	ck_assert_msg(!broker_open(&broker, &cfg, NULL, err, sizeof(err)), "%s", err);
	ck_assert_int_eq(pthread_create(&serving, NULL, broker_main, NULL), 0);
	a = join("sleepy");
	must(a && buffers_open(a, &b));
	must(!amux_queue_create(a, SLOTS, &q));
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct amux_sqe *sqe = amux_get_sqe(q);

		must(!amux_prep_copy(a, sqe, b.to, b.from, SLOT));
		sqe->flags = i ? AMUX_SQE_FENCE : AMUX_SQE_CPU_ONLY; /* which we never do */
	}
	must(amux_submit(q) == SLOTS);
	begin = clock_ns();
	broker_stop(broker);
	pthread_join(serving, NULL);
	ck_assert_uint_lt(clock_ns() - begin, 5 * NSEC_PER_SEC);
	amux_close(a);
	broker_close(broker);
}
END_TEST

/* A client whose queue rests hears of a change for the better: it would never ask by itself. */
START_TEST(resting_queues_are_told)
{
	uint64_t end = clock_ns() + SETTLE_NS;
	struct amux_queue *q, *other;
	struct amux_ring_hdr *h;
	struct amux_cqe cqe;
	pthread_t serving;
	char err[512];
	struct amux *a;
	int fd;

	snprintf(cfg.kernel, sizeof(cfg.kernel), "none");
	snprintf(cfg.policy, sizeof(cfg.policy), "cpu");
	ck_assert_msg(!broker_open(&broker, &cfg, NULL, err, sizeof(err)), "%s", err);
	ck_assert_int_eq(pthread_create(&serving, NULL, broker_main, NULL), 0);
	a = join("resting");
	must(a && !amux_queue_create(a, SLOTS, &q));
	h = q->ring.hdr;
	/* another one keeps the mux busy, until the first is polled no more */
	must(!amux_queue_create(a, SLOTS, &other));
	for (unsigned int i = 0; i < 2000; i++) {
		must(!amux_prep_noop(amux_get_sqe(other)));
		must(amux_submit(other) == 1);
		must(amux_wait(other, &cqe, 1, 1, NULL) == 1 && !cqe.status);
	}
	clock_sleep_until(clock_ns() + 20000000); /* and then asleep */
	ck_assert_uint_eq(amux_load_relaxed(&h->min_offload), AMUX_OFFLOAD_NEVER);
	fd = control_connect();
	must(fd >= 0);
	json_decref(control_call(fd, "policy.set", "{\"name\":\"shared\"}"));
	close(fd);
	while (amux_load_relaxed(&h->min_offload) == AMUX_OFFLOAD_NEVER) {
		must(clock_ns() < end);
		clock_sleep_until(clock_ns() + 1000000);
	}
	ck_assert_uint_gt(amux_load_relaxed(&h->engine_bps), 0);
	amux_close(a);
	broker_stop(broker);
	pthread_join(serving, NULL);
	broker_close(broker);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("tsan");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, everything_at_once, 0, sizeof(variants) / sizeof(variants[0]));
	tcase_add_test(t, a_stop_answers_first);
	tcase_add_test(t, a_stop_does_not_wait_for_ever);
	tcase_add_test(t, resting_queues_are_told);
	return run_case(t, "tsan", 60);
}
