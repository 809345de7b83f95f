/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - fork() of a client: in the child every call is refused and nothing of the
 * library's memory is there, the parent goes on as if nothing had been, and the child may
 * connect anew.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define KIB   1024ull
#define MIB   (1024 * KIB)
#define FORKS (tap_long() ? 100u : 10u)

static struct amux *must_connect(const struct daemon *d)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a;

	opt.socket = d->socket;
	opt.name = "fork";
	if (amux_connect(&a, &opt))
		tap_bail("connect: %s", amux_error());
	return a;
}

/* Which of the library's calls the child was let do; 0: none. */
static int child_refused(struct amux *a, struct amux_queue *q, void *mem)
{
	const struct timespec soon = { 0, 1000000 };
	struct amux_stats stats;
	struct amux_queue *other;
	struct amux_cqe cqe;
	uint64_t offset;
	uint32_t region;
	char x[8192] = "", y[8192];
	void *p;

	if (amux_alive(a) != -EPERM)
		return 1;
	if (amux_alloc(a, 4096, 0, &p) != -EPERM || amux_free(a, mem) != -EPERM)
		return 2;
	if (amux_register(a, 0, mem, 4096) != -EPERM || amux_unregister(a, mem) != -EPERM)
		return 3;
	if (amux_locate(a, mem, 1, &region, &offset) != -EPERM)
		return 4;
	if (amux_queue_create(a, 8, &other) != -EPERM || amux_queue_destroy(q) != -EPERM)
		return 5;
	if (amux_get_sqe(q) || amux_submit(q) != -EPERM)
		return 6;
	if (amux_peek(q, &cqe, 1) != -EPERM || amux_wait(q, &cqe, 1, 1, &soon) != -EPERM)
		return 7;
	if (amux_arm(q) != -EPERM || amux_eventfd(q) != -EPERM)
		return 8;
	if (amux_copy(a, y, x, sizeof(x)) != -EPERM)
		return 9;
	if (amux_get_stats(a, &stats) != -EPERM)
		return 10;
	/* ENOMEM: nothing is mapped there */
	if (!msync(mem, 4096, MS_ASYNC) || errno != ENOMEM)
		return 11;
	return 0;
}

/* A session of the child's own. */
static int child_anew(const char *socket)
{
	struct load_options opt = { .depth = 8, .big_span = 64 * KIB };
	struct amux_options where = AMUX_OPTIONS_INIT;
	struct amux *a;
	struct load l;
	int err;

	where.socket = socket;
	where.name = "child";
	if (amux_connect(&a, &where))
		return 20;
	err = load_open(&l, a, &opt, tap_seed()) || load_run(&l, 100);
	load_close(&l);
	amux_close(a);
	return err ? 21 : 0;
}

int main(int argc, char **argv)
{
	struct load_options opt = { .depth = 32,
				    .flags_any = AMUX_SQE_FENCE,
				    .big_span = 256 * KIB };
	unsigned int refused = 0, anew = 0, died = 0;
	struct amux_queue *q;
	struct daemon d;
	struct amux *a;
	struct load l;
	void *mem = NULL;
	int status, err;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=shared", "broker.own_core=on", NULL);
	a = must_connect(&d);
	if (amux_alloc(a, MIB, 0, &mem) || amux_queue_create(a, 8, &q))
		tap_bail("%s", amux_error());
	err = load_open(&l, a, &opt, tap_seed());
	for (unsigned int i = 0; i < FORKS && !err; i++) {
		pid_t pid;

		err = load_step(&l); /* work is in flight */
		pid = fork();
		if (pid < 0)
			tap_bail("fork: %s", strerror(errno));
		if (!pid) {
			alarm(0);
			status = child_refused(a, q, mem);
			if (!status && i % 2)
				status = child_anew(d.socket);
			if (!status && i % 3 == 2)
				raise(SIGKILL);
			if (!status && i % 3 == 1)
				amux_close(a); /* gives back the child's own alone */
			_exit(status);
		}
		for (unsigned int k = 0; k < 5 && !err; k++)
			err = load_step(&l);
		status = process_wait(pid, 20000 * TAP_SLOW);
		refused += !status || status == 256 + SIGKILL;
		anew += i % 2 && (!status || status == 256 + SIGKILL);
		died += status == 256 + SIGKILL;
		if (status > 0 && status < 256)
			tap_note("child %u: step %d failed", i, status);
	}
	tap_ok(refused == FORKS, "%u of %u children: every call is -EPERM, nothing is mapped",
	       refused, FORKS);
	tap_ok(anew == FORKS / 2, "%u of %u had a session of their own", anew, FORKS / 2);
	if (!err)
		err = load_run(&l, 200);
	tap_ok(!err && amux_alive(a) == 1,
	       "the parent goes on, %u children killed: %llu requests "
	       "right%s%s",
	       died, (unsigned long long)l.answered, err ? ": " : "", err ? l.why : "");

	/* The child of a client whose broker is dead, and the parent's next broker. */
	daemon_kill(&d);
	err = amux_alive(a) != 0;
	if (!fork())
		_exit(child_refused(a, q, mem));
	wait(&status);
	tap_ok(!err && !status, "the same without a broker");
	daemon_launch(&d, NULL, false);
	daemon_await(&d);
	for (unsigned int i = 0; i < 5000 * TAP_SLOW && amux_alive(a) != 1; i++)
		tap_sleep_ms(1);
	err = load_run(&l, 200);
	tap_ok(!err && amux_alive(a) == 1, "the parent finds the next one%s%s", err ? ": " : "",
	       err ? l.why : "");
	load_close(&l);
	amux_close(a);
	daemon_stop(&d);
	return tap_done();
}
