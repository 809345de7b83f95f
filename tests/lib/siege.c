/* SPDX-License-Identifier: MIT */
#include "siege.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>

#include <accelmux/accelmux.h>

#define COPY_BYTES (64u << 10)
#define DEPTH	   4
#define ROUNDS	   3
#define WINDOW_MS  100
#define WARM_MS	   30
#define ATTACKERS  8
#define THREADS	   32
#define CROWDED	   0.25 /* of a window */
#define AGAIN	   3	/* rounds more, at most */
#define ASK_MS	   100.0
#define ASK_TIMES  50

bool siege_on(const struct siege_attack *a)
{
	return __atomic_load_n(&a->shared->on, __ATOMIC_ACQUIRE);
}

bool siege_wait(const struct siege_attack *a, const struct worker_report *r)
{
	while (!siege_on(a) && !worker_stopping(r))
		tap_sleep_ms(1);
	return !worker_stopping(r);
}

/* --------------------------------------------------------------------- victims */

static struct amux *victim_connect(struct worker_report *r, const struct siege_attack *a)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *amux;

	opt.socket = a->socket;
	opt.name = "victim";
	if (!amux_connect(&amux, &opt))
		return amux;
	worker_fail(r, "connect: %s", amux_error());
	return NULL;
}

static int copier_main(struct worker_report *r, void *arg)
{
	struct amux *a = victim_connect(r, arg);
	struct amux_queue *q;
	struct amux_cqe cqes[DEPTH];
	struct timespec limit = { 20 * TAP_SLOW, 0 };
	uint8_t *mem = NULL;
	uint64_t n = 0;

	if (!a || amux_alloc(a, 2ull * DEPTH * COPY_BYTES, 0, (void **)&mem) ||
	    amux_queue_create(a, DEPTH, &q)) {
		worker_fail(r, "%s", amux_error());
		return 1;
	}
	amux_set_spin(q, 0);
	while (!worker_stopping(r)) {
		struct amux_sqe *sqe;
		int got;

		while ((sqe = amux_get_sqe(q))) {
			uint8_t *src = mem + n % DEPTH * 2 * COPY_BYTES;

			memset(src, (int)n, 64);
			memset(src + COPY_BYTES - 64, (int)n, 64);
			amux_prep_copy(a, sqe, src + COPY_BYTES, src, COPY_BYTES);
			sqe->flags = AMUX_SQE_ENGINE_ONLY;
			sqe->user_data = n++;
		}
		amux_submit(q);
		/* all of them: their places are then free */
		got = amux_wait(q, cqes, DEPTH, DEPTH, &limit);
		if (got != DEPTH) {
			worker_fail(r, "amux_wait: %d", got);
			return 1;
		}
		for (int i = 0; i < got; i++) {
			uint64_t k = cqes[i].user_data;
			uint8_t *dst = mem + (k % DEPTH * 2 + 1) * COPY_BYTES;

			if (cqes[i].status || dst[0] != (uint8_t)k ||
			    dst[COPY_BYTES - 1] != (uint8_t)k) {
				worker_fail(r, "copy %llu: status %d, %02x, %02x",
					    (unsigned long long)k, cqes[i].status, dst[0],
					    dst[COPY_BYTES - 1]);
				return 1;
			}
		}
		worker_add(&r->done, (uint64_t)got);
		__atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
	}
	amux_close(a);
	return 0;
}

/* done: requests, bytes: the ns that they took, dry: when the one under way began, 0: none */
static int asker_main(struct worker_report *r, void *arg)
{
	struct amux *a = victim_connect(r, arg);

	while (a && !worker_stopping(r)) {
		uint64_t start = tap_ns();
		void *mem = NULL;

		__atomic_store_n(&r->dry, start, __ATOMIC_RELEASE);
		if (amux_alloc(a, 4096, 0, &mem) || amux_free(a, mem)) {
			worker_fail(r, "%s", amux_error());
			return 1;
		}
		worker_add(&r->bytes, tap_ns() - start);
		__atomic_store_n(&r->dry, 0, __ATOMIC_RELEASE);
		worker_add(&r->done, 1);
		__atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
		tap_sleep_ms(1);
	}
	if (a)
		amux_close(a);
	return a ? 0 : 1;
}

/* ----------------------------------------------------------------- measurement */

struct sample {
	double copies; /* a second */
	double ask_ms;
	double waited; /* of the window: for a CPU, by the broker's thread that waited most */
};

/* How long each thread of @pid has waited for a CPU, ns. */
static unsigned int waits(pid_t pid, uint64_t *ns)
{
	unsigned int n = 0;
	char path[96], line[128];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && n < THREADS && (e = readdir(dir))) {
		unsigned long long ran, waited;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid,
			 e->d_name);
		f = fopen(path, "re");
		if (f && fgets(line, sizeof(line), f) &&
		    sscanf(line, "%llu %llu", &ran, &waited) == 2)
			ns[n++] = waited;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void window(pid_t broker, const struct worker *copier, const struct worker *asker,
		   struct sample *out)
{
	uint64_t wait[2][THREADS] = { { 0 } };
	unsigned int threads = waits(broker, wait[0]);
	uint64_t t = tap_ns(), n = worker_read(&copier->report->done);
	uint64_t asks = worker_read(&asker->report->done);
	uint64_t ns = worker_read(&asker->report->bytes), since;

	tap_sleep_ms(WINDOW_MS * TAP_SLOW);
	n = worker_read(&copier->report->done) - n;
	asks = worker_read(&asker->report->done) - asks;
	ns = worker_read(&asker->report->bytes) - ns;
	since = worker_read(&asker->report->dry);
	out->copies = (double)n * 1e9 / (double)(tap_ns() - t);
	out->waited = 0;
	for (unsigned int i = waits(broker, wait[1]) == threads ? threads : 0; i--;) {
		double part = (double)(wait[1][i] - wait[0][i]) / (double)(tap_ns() - t);

		if (part > out->waited)
			out->waited = part;
	}
	/* one that is still waiting for its answer has to be told as well */
	if (since && tap_ns() - since > 5000000) {
		ns += tap_ns() - since;
		asks++;
	}
	out->ask_ms = asks ? (double)ns / (double)asks / 1e6 : 0;
}

static void end(struct worker *w, const char *who)
{
	int status = worker_stop(w, 30);

	if (status || w->report->failed)
		tap_bail("%s ended with status %d: %s", who, status, w->report->why);
	worker_free(w);
}

void siege_run(struct daemon *d, int (*main)(struct worker_report *r, void *arg),
	       unsigned int n, struct siege_result *out)
{
	unsigned int again = AGAIN, crowded = 0;
	bool busy;
	struct worker copier, asker, w[ATTACKERS];
	struct siege_attack a[ATTACKERS];
	struct siege_shared *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED || n > ATTACKERS)
		tap_bail("mmap: %s", strerror(errno));
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < ATTACKERS; i++) {
		snprintf(a[i].socket, sizeof(a[i].socket), "%s", d->socket);
		a[i].index = i;
		a[i].shared = shared;
	}
	worker_spawn(&copier, copier_main, &a[0]);
	worker_spawn(&asker, asker_main, &a[0]);
	for (unsigned int i = 0; i < n; i++)
		worker_spawn(&w[i], main, &a[i]);
	worker_await(&copier, 20);
	worker_await(&asker, 20);
	for (unsigned int i = 0; i < ROUNDS;) {
		struct sample before, with;

		tap_sleep_ms(WARM_MS * TAP_SLOW);
		window(d->pid, &copier, &asker, &before);
		__atomic_store_n(&shared->on, 1, __ATOMIC_RELEASE);
		tap_sleep_ms(WARM_MS * TAP_SLOW);
		window(d->pid, &copier, &asker, &with);
		__atomic_store_n(&shared->on, 0, __ATOMIC_RELEASE);
		/* without the attack: what others took, or that all of it stood still */
		busy = before.waited > CROWDED || before.copies <= 0;
		if (busy && again) {
			again--;
			continue;
		}
		crowded += busy;
		if (before.copies > 0 && with.copies / before.copies > out->copies)
			out->copies = with.copies / before.copies;
		if (!i || with.ask_ms < out->ask_ms)
			out->ask_ms = with.ask_ms;
		if (!i || before.ask_ms < out->ask_alone)
			out->ask_alone = before.ask_ms;
		i++;
	}
	out->crowded = crowded > ROUNDS / 2;
	end(&copier, "the victim that copies");
	end(&asker, "the victim that registers");
	for (unsigned int i = 0; i < n; i++) {
		out->attacks += worker_read(&w[i].report->done);
		end(&w[i], "an attacker");
	}
	munmap(shared, 4096);
}

bool siege_judge(const char *name, const struct siege_result *r, double copies)
{
	double limit = r->ask_alone * ASK_TIMES > ASK_MS ? r->ask_alone * ASK_TIMES : ASK_MS;
	bool ok;

	/* A sanitizer slows the broker's work for the attacker, but not the victim's copies. */
	copies /= TAP_SLOW;
	ok = r->attacks && r->copies >= copies && r->ask_ms <= limit * TAP_SLOW;
	if (!ok && r->attacks && r->crowded) {
		tap_skip(name, "the host is too busy: the broker waits for a CPU");
		return false;
	}
	return tap_ok(
		ok,
		"%s (%llu): the victim has %.2f of its copies (at least %.2f), its requests "
		"take %.2f ms (alone %.2f, at most %.0f)",
		name, (unsigned long long)r->attacks, r->copies, copies, r->ask_ms,
		r->ask_alone, limit * TAP_SLOW);
}
