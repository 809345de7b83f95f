/* SPDX-License-Identifier: MIT */
/*
 * test_kernel.c - the kernel class, by replay of a migration trace, beside two tenants: under
 * every policy each page arrives whole, by engine or by CPU; idle users lend all, busy ones
 * leave the reserve.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define PAGE	   4096ull
#define MIB	   (1024 * 1024ull)
#define DEVICE_BPS 300000000ull /* 30 GB/s, 100 times slower */
#define MEASURE_MS 800
#define TRIES	   5 /* a busy host may not let the kernel's one thread ask for its share */

static const char *const policies[] = { "cpu", "shared", "partitioned", "dynamic" };

struct kernel {
	uint64_t batches, arrived, finished, engine, cpu, declined_pages, predicted,
		descriptors, errors, mismatches, actual_ns;
};

static void look(struct daemon *d, struct kernel *k)
{
	json_t *doc = daemon_ask(d, "status"), *v;
	const char *key;

	memset(k, 0, sizeof(*k));
	k->batches = json_count(doc, "classes.kernel.requests");
	k->arrived = json_count(doc, "classes.kernel.arrived_bytes");
	k->finished = json_count(doc, "classes.kernel.finished_bytes");
	k->engine = json_count(doc, "classes.kernel.engine_bytes");
	k->cpu = json_count(doc, "classes.kernel.cpu_bytes");
	k->descriptors = json_count(doc, "classes.kernel.descriptors");
	k->errors = json_count(doc, "classes.kernel.errors");
	k->mismatches = json_count(doc, "classes.kernel.mismatches");
	k->predicted = json_count(doc, "classes.kernel.declined_pages.predicted");
	k->actual_ns = json_count(doc, "classes.kernel.actual_ns");
	json_object_foreach(json_at(doc, "classes.kernel.declined_pages"), key, v)
		k->declined_pages += (uint64_t)json_integer_value(v);
	json_decref(doc);
}

/* Every counter of @b is at least that of @a. */
static bool monotone(const struct kernel *a, const struct kernel *b)
{
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;

	for (size_t i = 0; i < sizeof(*a) / sizeof(*x); i++)
		if (y[i] < x[i])
			return false;
	return true;
}

/* A trace of @n batches, @gap_ns apart, of all shapes. */
static void write_trace(const struct daemon *d, char *setting, size_t len, unsigned int n,
			uint64_t gap_ns, unsigned int pages)
{
	static const char *const reasons[] = { "compaction", "mbind", "damon", "demotion" };
	uint64_t rng = tap_seed();
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/test.trace", d->dir);
	snprintf(setting, len, "broker.kernel=replay:%s", path);
	f = fopen(path, "we");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	fprintf(f, "accelmux-trace 1 synthetic\n");
	for (unsigned int i = 0; i < n; i++) {
		unsigned int p = pages ? pages : 1 + (unsigned int)rng_below(&rng, 512);

		if (!pages && i % 8 == 7)
			fprintf(f, "%llu syscall 512 9 1\n", (unsigned long long)(i * gap_ns));
		else
			fprintf(f, "%llu %s %u 0 %u\n", (unsigned long long)(i * gap_ns),
				reasons[i % 4], p, 1 + (unsigned int)rng_below(&rng, p));
	}
	fclose(f);
}

static void start_users(struct worker *w, struct load_worker *lw, const struct daemon *d,
			unsigned int n, const struct load_options *opt)
{
	static const char *const names[] = { "t0", "t1" };

	for (unsigned int i = 0; i < n; i++) {
		lw[i] = (struct load_worker){ .name = names[i],
					      .opt = *opt,
					      .seed = tap_seed() + i };
		snprintf(lw[i].socket, sizeof(lw[i].socket), "%s", d->socket);
		worker_spawn(&w[i], load_worker, &lw[i]);
	}
	for (unsigned int i = 0; i < n; i++)
		worker_await(&w[i], 20);
}

static void stop_users(struct worker *w, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++) {
		int status = worker_stop(&w[i], 20);

		tap_ok(!status && !w[i].report->failed,
		       "%s: t%u's %llu requests were right (status %d)%s%s", name, i,
		       (unsigned long long)w[i].report->done, status,
		       w[i].report->failed ? ": " : "", w[i].report->why);
		worker_free(&w[i]);
	}
}

/* ------------------------------------------------------------------ every page */

/* The whole trace under one policy, two tenants beside it. */
static void test_policy(const char *policy, bool modelled, const char *threads)
{
	const char *model = modelled ? "soft.model=on" : "soft.model=off";
	struct load_options opt = { .depth = 8,
				    .big_span = 256 << 10,
				    .flags_any = AMUX_SQE_ENGINE_ONLY,
				    .may_refuse = true };
	const char *sets[] = { NULL, NULL, model, threads, "broker.replay_verify=on", NULL };
	unsigned int batches = TAP_SLOW > 1 ? 60 : 150;
	char name[96], kernel[160], set_policy[48];
	uint64_t end = tap_ns() + 30 * TAP_SLOW * 1000000000ull;
	struct load_worker lw[2];
	struct worker w[2];
	struct kernel was = { 0 }, is;
	bool up = true;
	struct daemon d;

	snprintf(name, sizeof(name), "%s, %s, %s", policy, model, threads);
	snprintf(set_policy, sizeof(set_policy), "broker.policy=%s", policy);
	daemon_prepare(&d);
	/* half a second or more, for the tenants to come in on */
	write_trace(&d, kernel, sizeof(kernel), batches, modelled ? 60000 : 4000000, 0);
	sets[0] = kernel;
	sets[1] = set_policy;
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	start_users(w, lw, &d, 2, &opt);
	do {
		look(&d, &is);
		up &= monotone(&was, &is);
		was = is;
		tap_sleep_ms(5);
	} while ((is.batches < batches || is.finished < is.arrived) && tap_ns() < end);
	stop_users(w, 2, name);
	tap_ok(up, "%s: the kernel's counters only grow", name);
	tap_ok(is.batches == batches && is.arrived == is.finished &&
		       is.engine + is.cpu == is.arrived && is.arrived % PAGE == 0,
	       "%s: all %u batches moved: %llu pages = %llu by engine + %llu by CPU", name,
	       batches, (unsigned long long)(is.arrived / PAGE),
	       (unsigned long long)(is.engine / PAGE), (unsigned long long)(is.cpu / PAGE));
	tap_ok(is.declined_pages * PAGE == is.cpu, "%s: each page by CPU has its reason", name);
	tap_ok(!is.mismatches && !is.errors, "%s: %llu pages differ, %llu errors", name,
	       (unsigned long long)is.mismatches, (unsigned long long)is.errors);
	if (!strcmp(policy, "cpu"))
		tap_ok(!is.engine && !is.descriptors, "%s: none by engine", name);
	else
		/* Where the engine is a CPU it may rightly be predicted to be the slower one.
		 */
		tap_ok(is.engine ? is.descriptors > 0 : !modelled && is.predicted,
		       "%s: some by engine (%llu would have been slower there)", name,
		       (unsigned long long)is.predicted);
	daemon_stop(&d);
}

/* --------------------------------------------------------------------- switching */

/* A loop of the trace while the policy changes; then a stop in mid-batch. */
static void test_switching(const char *model, const char *threads)
{
	struct load_options opt = { .depth = 8,
				    .big_span = 256 << 10,
				    .flags_any = AMUX_SQE_ENGINE_ONLY,
				    .may_refuse = true };
	const char *sets[] = {
		NULL, model, threads, "broker.replay_verify=on", "broker.replay_loop=on", NULL
	};
	unsigned int rounds = tap_long() ? 400 : 40;
	uint64_t rng = tap_seed(), end;
	struct load_worker lw[2];
	struct kernel was, is;
	struct worker w[2];
	char kernel[160];
	bool up = true;
	struct daemon d;

	daemon_prepare(&d);
	write_trace(&d, kernel, sizeof(kernel), 100, 20000, 0);
	sets[0] = kernel;
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	start_users(w, lw, &d, 2, &opt);
	look(&d, &was);
	for (unsigned int i = 0; i < rounds; i++) {
		daemon_policy(&d, policies[rng_below(&rng, 4)], NULL);
		tap_sleep_ms((unsigned int)rng_below(&rng, 30));
		look(&d, &is);
		up &= monotone(&was, &is) && is.finished <= is.arrived;
		was = is;
	}
	tap_ok(up && !is.mismatches && !is.errors && is.finished,
	       "switching, %s, %s: %llu pages moved, %llu differ", model, threads,
	       (unsigned long long)(is.finished / PAGE), (unsigned long long)is.mismatches);
	daemon_policy(&d, "cpu", NULL);
	end = tap_ns() + 5000000000ull * TAP_SLOW;
	do { /* the batch in progress keeps what it has on engines */
		look(&d, &was);
		tap_sleep_ms(200);
		look(&d, &is);
	} while ((is.engine != was.engine || is.cpu == was.cpu) && tap_ns() < end);
	tap_ok(is.engine == was.engine && is.cpu > was.cpu,
	       "switching, %s, %s: under cpu the engines get no more pages", model, threads);
	daemon_policy(&d, "shared", NULL);
	end = tap_ns() + 5000000000ull * TAP_SLOW;
	do {
		look(&d, &is);
	} while (is.engine == was.engine && tap_ns() < end);
	stop_users(w, 2, "switching");
	tap_ok(is.engine > was.engine, "switching, %s, %s: then they do again", model, threads);
	daemon_stop(&d);
}

/* A stop with many pages on slow engines. */
static void test_stop(const char *policy)
{
	const char *sets[] = { NULL,
			       policy,
			       "soft.model=on",
			       "soft.time_scale=1000",
			       "broker.replay_verify=on",
			       "broker.replay_loop=on",
			       NULL };
	char kernel[160];
	struct kernel k;
	struct daemon d;
	uint64_t end;

	daemon_prepare(&d);
	write_trace(&d, kernel, sizeof(kernel), 50, 1000, 512);
	sets[0] = kernel;
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	end = tap_ns() + 5000000000ull * TAP_SLOW;
	do {
		look(&d, &k);
	} while (k.finished == k.arrived && tap_ns() < end);
	tap_note("stop with %llu pages of a batch to go",
		 (unsigned long long)((k.arrived - k.finished) / PAGE));
	daemon_stop(&d);
}

/* ----------------------------------------------------------------- lend, reserve */

/* Bytes by engine of the kernel class and of users in a window: once the kernel has got
 * @want, or the last one. */
static void measure(struct daemon *d, uint64_t want, uint64_t *kernel, uint64_t *user)
{
	for (unsigned int try = 0; try < TRIES; try++) {
		uint64_t k = daemon_count(d, "status", "classes.kernel.engine_bytes");
		uint64_t u = daemon_count(d, "status", "classes.user.engine_bytes");

		tap_sleep_ms(MEASURE_MS);
		*kernel = daemon_count(d, "status", "classes.kernel.engine_bytes") - k;
		*user = daemon_count(d, "status", "classes.user.engine_bytes") - u;
		if (*kernel > want)
			return;
	}
}

static void test_lend(void)
{
	struct load_options opt = { .depth = 64,
				    .flags_all = AMUX_SQE_ENGINE_ONLY,
				    .copies_only = true,
				    .big_span = 4 * MIB };
	uint64_t alone, with, user, idle_user, reserve = DEVICE_BPS / 2 * MEASURE_MS / 1000;
	struct load_worker lw[2];
	struct worker w[2];
	char kernel[160];
	struct daemon d;

	daemon_prepare(&d);
	write_trace(&d, kernel, sizeof(kernel), 200, 0, 512); /* always one more batch */
	{
		const char *sets[] = { kernel, "broker.policy=dynamic", "soft.model=on",
				       "broker.replay_loop=on", NULL };

		daemon_launch(&d, sets, false);
	}
	daemon_await(&d);
	tap_sleep_ms(100);
	measure(&d, reserve * 12 / 10, &alone, &idle_user);
	tap_ok(!idle_user && alone > reserve * 12 / 10,
	       "idle users: the kernel gets %llu MiB, more than its reserve of %llu",
	       (unsigned long long)(alone / MIB), (unsigned long long)(reserve / MIB));
	start_users(w, lw, &d, 2, &opt);
	tap_sleep_ms(200);
	measure(&d, reserve * 8 / 10, &with, &user);
	tap_ok(with > reserve * 8 / 10, "busy users: the kernel keeps %llu MiB of %llu",
	       (unsigned long long)(with / MIB), (unsigned long long)(reserve / MIB));
	tap_ok(user > reserve / 2, "and they get %llu MiB", (unsigned long long)(user / MIB));
	stop_users(w, 2, "busy users");
	tap_sleep_ms(100);
	measure(&d, reserve * 12 / 10, &with, &user);
	tap_ok(!user && with > reserve * 12 / 10, "idle again: the kernel gets %llu MiB",
	       (unsigned long long)(with / MIB));
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 90);
	for (unsigned int i = 0; i < 4; i++) {
		test_policy(policies[i], true, "soft.threads=0");
		test_policy(policies[i], false, i & 1 ? "soft.threads=2" : "soft.threads=0");
	}
	test_switching("soft.model=on", "soft.threads=0");
	test_switching("soft.model=off", "soft.threads=2");
	test_stop("broker.policy=shared");
	test_stop("broker.policy=dynamic");
	if (TAP_SLOW == 1)
		test_lend();
	else
		tap_skip("lending and reserves", "rates mean nothing under a sanitizer");
	return tap_done();
}
