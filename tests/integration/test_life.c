/* SPDX-License-Identifier: MIT */
/*
 * test_life.c - a broker's life as its clients and its operator see it: drain, reload, second
 * instance, restart, no broker, sudden death.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/raw.h"
#include "../lib/load.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static int connect_to(const char *socket, struct amux **a)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;

	opt.socket = socket;
	opt.name = "life";
	return amux_connect(a, &opt);
}

static struct amux *must_connect(const struct daemon *d)
{
	struct amux *a;

	if (connect_to(d->socket, &a))
		tap_bail("connect: %s", amux_error());
	return a;
}

/* ------------------------------------------------------------------------ drain */

/* @n copies in one queue, every @fence-th with a FENCE; then SIGTERM, then the answers. */
static void drain_case(const char *name, const char *sets[], unsigned int n, unsigned int fence,
		       uint64_t bytes, uint16_t flags)
{
	struct timespec limit = { 20 * TAP_SLOW, 0 };
	unsigned int answered = 0, failed = 0;
	struct amux_queue *q;
	struct daemon d;
	struct amux *a;
	void *mem = NULL;
	bool right;
	int status;

	daemon_prepare(&d);
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	a = must_connect(&d);
	if (amux_alloc(a, 2 * n * bytes, 0, &mem) || amux_queue_create(a, n, &q))
		tap_bail("%s", amux_error());
	plain_random(mem, n * bytes, tap_seed());
	for (unsigned int i = 0; i < n; i++) {
		struct amux_sqe *sqe = amux_get_sqe(q);

		amux_prep_copy(a, sqe, (char *)mem + (n + i) * bytes, (char *)mem + i * bytes,
			       bytes);
		sqe->flags = flags | (fence && i % fence == fence - 1 ? AMUX_SQE_FENCE : 0);
	}
	amux_submit(q);
	kill(d.pid, SIGTERM);
	while (answered < n) {
		struct amux_cqe cqe;

		if (amux_wait(q, &cqe, 1, 1, &limit) != 1)
			break;
		answered++;
		failed += cqe.status != 0;
	}
	right = !memcmp(mem, (char *)mem + n * bytes, n * bytes);
	tap_ok(answered == n && !failed && right,
	       "SIGTERM, %s: what was submitted is answered: %u of %u, %u failed, data %s",
	       name, answered, n, failed, right ? "right" : "wrong");
	status = process_wait(d.pid, 10000 * TAP_SLOW);
	if (!tap_ok(status == 0, "SIGTERM, %s: exit status %d", name, status))
		daemon_show_log(&d);
	if (status == -1)
		daemon_kill(&d);
	amux_close(a);
	if (d.rpc >= 0)
		close(d.rpc);
	daemon_clean(&d);
}

static void test_drain(void)
{
	const char *shared[] = { "broker.policy=shared", NULL };
	const char *modelled[] = { "soft.model=on", "broker.policy=dynamic", NULL };
	const char *threads[] = { "soft.threads=2", "broker.policy=partitioned", NULL };
	const char *cpu[] = { "broker.policy=cpu", NULL };

	drain_case("inline", shared, 64, 0, 256 * KIB, AMUX_SQE_ENGINE_ONLY);
	drain_case("fences", shared, 64, 4, 64 * KIB, AMUX_SQE_ENGINE_ONLY);
	drain_case("modelled", modelled, 64, 0, 256 * KIB, AMUX_SQE_ENGINE_ONLY);
	drain_case("modelled, fences", modelled, 64, 4, 64 * KIB, AMUX_SQE_ENGINE_ONLY);
	drain_case("engine threads, fences", threads, 64, 4, 256 * KIB, AMUX_SQE_ENGINE_ONLY);
	drain_case("declined", cpu, 64, 0, 64 * KIB, 0);
	drain_case("declined, fences", cpu, 64, 4, 64 * KIB, 0);
}

/*
 * A client that goes on submitting while the broker drains and after it has gone: what the
 * broker takes it answers, the rest is done by the client's CPU.
 */
static void test_drain_load(const char *threads)
{
	struct load_worker lw = {
		.name = "life",
		.opt = { .depth = 32, .flags_any = AMUX_SQE_FENCE },
		.seed = tap_seed(),
	};
	struct daemon d;
	struct worker w;
	uint64_t seen;
	int status;

	daemon_start(&d, "broker.policy=shared", "broker.own_core=on", threads, NULL);
	snprintf(lw.socket, sizeof(lw.socket), "%s", d.socket);
	worker_spawn(&w, load_worker, &lw);
	worker_await(&w, 10);
	tap_sleep_ms(50);
	daemon_stop(&d);
	seen = worker_read(&w.report->done);
	tap_sleep_ms(100 * TAP_SLOW);
	tap_ok(worker_read(&w.report->done) > seen, "a client under load goes on by CPU");
	status = worker_stop(&w, 20);
	tap_ok(!status && !w.report->failed,
	       "its %llu requests were right, none of them lost (status %d)%s%s",
	       (unsigned long long)w.report->done, status, w.report->failed ? ": " : "",
	       w.report->why);
	worker_free(&w);
}

/* ----------------------------------------------------------------------- reload */

static void write_config(const struct daemon *d, const char *rest)
{
	FILE *f = fopen(d->config, "we");

	if (!f)
		tap_bail("%s: %s", d->config, strerror(errno));
	fprintf(f, "[broker]\nsocket = %s\ncontrol = %s\nmetrics = off\n%s", d->socket,
		d->control, rest);
	fclose(f);
}

static bool policy_is(struct daemon *d, const char *name)
{
	json_t *doc = daemon_ask(d, "status");
	bool is = !strcmp(json_text(doc, "policy"), name);

	json_decref(doc);
	return is;
}

static void test_reload(void)
{
	struct daemon d;
	struct amux *a;

	daemon_prepare(&d);
	write_config(&d, "policy = shared\n[tenant life]\nname = life\nweight = 2\n");
	daemon_launch(&d, NULL, true);
	daemon_await(&d);
	a = must_connect(&d);
	tap_ok(policy_is(&d, "shared") &&
		       daemon_count(&d, "tenants", "tenants.life.weight") == 2,
	       "the config file is in force");

	write_config(&d, "policy = partitioned\n[tenant life]\nname = life\nweight = 7\n"
			 "[policy partitioned]\nkernel_share = 25%\n");
	kill(d.pid, SIGHUP);
	tap_ok(daemon_settles(&d, "tenants", "tenants.life.weight", 7, 5000 * TAP_SLOW) &&
		       policy_is(&d, "partitioned"),
	       "SIGHUP applies policy and weight");
	tap_ok(daemon_logged(&d, "reloaded", 1000), "and says so");

	write_config(&d, "policy = dynamic\n[tenant life]\nname = life\nweight = 5000\n");
	kill(d.pid, SIGHUP);
	tap_ok(daemon_logged(&d, "accelmux.conf:8: ", 5000 * TAP_SLOW) &&
		       daemon_logged(&d, "5000", 0) && daemon_logged(&d, "nothing reloaded", 0),
	       "SIGHUP refuses a bad file and says where and why");
	tap_ok(policy_is(&d, "partitioned") &&
		       daemon_count(&d, "tenants", "tenants.life.weight") == 7,
	       "and changes nothing");

	write_config(&d, "policy = dynamic\nreplay_loop = on\n[tenant life]\nname = life\n");
	kill(d.pid, SIGHUP);
	tap_ok(daemon_logged(&d, "replay_loop", 5000 * TAP_SLOW) &&
		       policy_is(&d, "partitioned"),
	       "SIGHUP refuses what needs a restart and names it");
	tap_ok(amux_alive(a), "the client noticed nothing");
	amux_close(a);
	daemon_stop(&d);
}

/* -------------------------------------------------------------------- instances */

static void test_second(void)
{
	char program[600], out[2048], config[96], control[96], socket_set[160],
		control_set[160];
	const char *argv[12];
	struct daemon d;
	struct amux *a;
	char *newline;
	int status;

	daemon_start(&d, NULL);
	snprintf(program, sizeof(program), "%s/accelmuxd", tap_build());
	snprintf(config, sizeof(config), "%s", d.config);
	snprintf(control, sizeof(control), "%s/other.sock", d.dir);
	snprintf(socket_set, sizeof(socket_set), "broker.socket=%s", d.socket);
	snprintf(control_set, sizeof(control_set), "broker.control=%s", control);
	argv[0] = program;
	argv[1] = "--config";
	argv[2] = config;
	argv[3] = "--set";
	argv[4] = socket_set;
	argv[5] = "--set";
	argv[6] = control_set;
	argv[7] = "--set";
	argv[8] = "broker.metrics=off";
	argv[9] = NULL;
	status = program_run(argv, NULL, out, sizeof(out), 10);
	newline = strchr(out, '\n');
	tap_ok(status == 1 && newline && !newline[1] && strstr(out, d.socket),
	       "a second instance is refused in one line, exit status %d: %s", status, out);
	a = must_connect(&d);
	tap_ok(amux_alive(a), "the first one goes on serving");
	amux_close(a);

	/* the same control socket with another session socket must not take it away */
	snprintf(socket_set, sizeof(socket_set), "broker.socket=%s/other2.sock", d.dir);
	snprintf(control_set, sizeof(control_set), "broker.control=%s", d.control);
	status = program_run(argv, NULL, out, sizeof(out), 2);
	tap_ok(status == 1, "nor can another broker take the control socket (status %d): %s",
	       status, out);
	close(d.rpc);
	d.rpc = -1;
	tap_ok(daemon_count(&d, "status", "pid") == (uint64_t)d.pid,
	       "the first one still answers there");
	daemon_stop(&d);
}

static void test_reuse(void)
{
	const char *sets[] = { "broker.policy=shared", NULL };
	struct daemon d;
	struct amux *a;

	daemon_start(&d, "broker.policy=shared", NULL);
	daemon_kill(&d);
	tap_ok(!access(d.socket, F_OK) && connect_to(d.socket, &a) == -ECONNREFUSED,
	       "a killed broker leaves its socket; connecting is refused");
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	a = must_connect(&d);
	tap_ok(amux_alive(a), "the next broker takes the socket over");
	amux_close(a);
	daemon_stop(&d);
}

static void test_none(void)
{
	uint64_t start = tap_ns();
	struct amux *a = (void *)&start;
	char x[100], y[100] = "";
	int err = connect_to("/tmp/amux-test-there-is-none/accelmux.sock", &a);

	tap_ok(err == -ENOENT && !a && tap_ns() - start < 1000000000ull,
	       "no broker: %d at once: %s", err, amux_error());
	memset(x, 42, sizeof(x));
	tap_ok(!amux_copy(NULL, y, x, sizeof(x)) && !memcmp(x, y, sizeof(x)),
	       "amux_copy() without a handle is memmove()");
}

/* -------------------------------------------------------------------- sudden death */

static void death_round(const char *name, const char *sets[], uint16_t flags, uint64_t seed)
{
	struct load_options opt = {
		.depth = 48, .flags_all = flags, .may_lose = true, .may_refuse = true
	};
	struct load l;
	struct daemon d;
	struct amux *a;
	uint64_t end, before, lost, rng = seed;
	void *mem = NULL;
	int err;

	daemon_prepare(&d);
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	a = must_connect(&d);
	err = load_open(&l, a, &opt, seed);
	end = tap_ns() + (5 + rng_below(&rng, 60)) * 1000000;
	while (!err && tap_ns() < end)
		err = load_step(&l);
	before = l.answered;
	daemon_kill(&d);
	if (!err)
		err = load_drain(&l);
	lost = l.lost;
	tap_ok(!err && lost <= 48,
	       "broker killed -9, %s: all outstanding work ends (%llu lost of the last "
	       "%llu)%s%s",
	       name, (unsigned long long)lost, (unsigned long long)(l.answered - before),
	       err ? ": " : "", err ? l.why : "");
	l.opt.flags_all &= (uint16_t)~AMUX_SQE_ENGINE_ONLY;
	if (!err)
		err = load_run(&l, 500);
	tap_ok(!err && l.lost == lost && !amux_alive(a),
	       "%s: later requests are done by CPU%s%s", name, err ? ": " : "",
	       err ? l.why : "");
	load_close(&l);
	err = amux_alloc(a, MIB, 0, &mem);
	if (!err) {
		memset(mem, 3, MIB / 2);
		err = amux_copy(a, (char *)mem + MIB / 2, mem, MIB / 2) ||
		      memcmp((char *)mem + MIB / 2, mem, MIB / 2);
	}
	tap_ok(!err, "%s: amux_alloc() and amux_copy() go on", name);
	amux_close(a);
	daemon_clean(&d);
}

static void test_death(void)
{
	const char *inline_sets[] = { "broker.policy=shared", NULL };
	const char *model[] = { "broker.policy=dynamic", "soft.model=on", NULL };
	const char *threads[] = { "broker.policy=partitioned", "soft.threads=2", NULL };
	const char *cpu[] = { "broker.policy=cpu", NULL };

	death_round("inline", inline_sets, AMUX_SQE_ENGINE_ONLY, tap_seed());
	death_round("modelled", model, AMUX_SQE_ENGINE_ONLY, tap_seed() + 1);
	death_round("modelled, predicted", model, 0, tap_seed() + 2);
	death_round("engine threads", threads, AMUX_SQE_ENGINE_ONLY, tap_seed() + 3);
	death_round("declined", cpu, 0, tap_seed() + 4);
}

/* ---------------------------------------------------------------- come and go */

static void test_visits(void)
{
	unsigned int n = 200, bad = 0, fds, memfds;
	struct daemon d;

	daemon_start(&d, "broker.policy=shared", NULL);
	fds = daemon_fds(&d);
	memfds = daemon_memfds(&d);
	for (unsigned int i = 0; i < n; i++) {
		struct amux_queue *q;
		struct amux *a = must_connect(&d);
		void *mem = NULL;

		if (amux_alloc(a, 64 * KIB, 0, &mem) || amux_queue_create(a, 8, &q)) {
			bad++;
		} else if (i % 3) {
			struct amux_sqe *sqe = amux_get_sqe(q);

			amux_prep_fill(a, sqe, mem, i, 64 * KIB);
			sqe->flags = AMUX_SQE_ENGINE_ONLY;
			amux_submit(q); /* and left for amux_close() */
		}
		amux_close(a);
	}
	tap_ok(!bad && daemon_settles(&d, "status", "connections", 0, 5000 * TAP_SLOW),
	       "%u clients came and went, %u had errors", n, bad);
	tap_ok(daemon_let_go(&d) && daemon_fds(&d) == fds && daemon_memfds(&d) == memfds,
	       "they left %u of %u descriptors and %u of %u memfds", daemon_fds(&d), fds,
	       daemon_memfds(&d), memfds);
	daemon_stop(&d);
}

/* A mux that never spins is asleep as soon as it has nothing to do, its end included. */
/*
 * A queue that always has something to answer is polled on, and not put to sleep: its client would
 * have to wake the broker by a system call.
 */
static void test_stays_hot(void)
{
	const struct amux_sqe noop = { .op = AMUX_OP_NOOP };
	unsigned int trips = 50000 / TAP_SLOW, kicks = 0, done = 0;
	uint64_t one = 1, end = tap_ns() + 20ull * TAP_SLOW * 1000000000;
	struct raw_queue q;
	struct daemon d;
	int sock;

	daemon_start(&d, "broker.own_core=on", "broker.spin=100ms", NULL);
	sock = raw_open(d.socket, "hot");
	raw_queue_open(sock, 2, &q);
	for (; done < trips && tap_ns() < end; done++) {
		raw_queue_put(&q, &noop);
		if (amux_sq_publish(&q.ring))
			kicks += write(q.sq_efd, &one, sizeof(one)) == sizeof(one);
		while (!amux_cq_ready(&q.ring) && tap_ns() < end)
			amux_cpu_relax();
		amux_cq_take(&q.ring);
		amux_cq_release(&q.ring);
	}
	tap_ok(done == trips && kicks < trips / 1000,
	       "%u NOOPs one after the other: the broker was woken %u times (less than %u)",
	       done, kicks, trips / 1000);
	raw_queue_close(&q);
	close(sock);
	daemon_stop(&d);
}

static void test_no_spin(void)
{
	struct amux_queue *q;
	struct amux_cqe cqe;
	struct amux *a;
	struct daemon d;
	int n = -1;

	daemon_start(&d, "broker.policy=shared", "broker.spin=0ns", NULL);
	a = must_connect(&d);
	if (!amux_queue_create(a, 8, &q)) {
		amux_prep_noop(amux_get_sqe(q));
		amux_submit(q);
		n = amux_wait(q, &cqe, 1, 1, NULL);
	}
	tap_ok(n == 1 && !cqe.status, "a broker that does not spin answers (%d)", n);
	amux_close(a);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	test_none();
	test_drain();
	for (unsigned int i = 0; i < 3; i++)
		test_drain_load(i & 1 ? "soft.threads=2" : "soft.threads=0");
	test_reload();
	test_second();
	test_reuse();
	test_death();
	test_visits();
	test_stays_hot();
	test_no_spin();
	return tap_done();
}
