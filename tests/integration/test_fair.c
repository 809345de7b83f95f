/* SPDX-License-Identifier: MIT */
/*
 * test_fair.c - two tenants of weights 3 and 1 with work outstanding get engine bytes 3:1,
 * whatever the sizes of their copies and the number of their queues, under every policy that
 * has engines to share.
 *
 * The device is modelled (30 GB/s, 100 times slower), so that the engine is scarce on any
 * host; bytes are the broker's own counters over a window after a warm-up.
 *
 *	test_fair [POLICY [VARIANT]]: those whose names begin so
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

#define WARM_MS	   200
#define DEVICE_BMS 300000ull /* bytes the modelled device moves in a millisecond */
#define TRIES	   5
#define WINDOW_S   20 /* at the most */
#define TOLERANCE  0.03
#define QUEUES_MAX 16
#define DEPTH_MAX  16384

struct side {
	uint64_t bytes;	     /* of one copy */
	unsigned int queues; /* its copies are spread over them */
};

struct variant {
	const char *name;
	struct side heavy, light;
};

static const struct variant variants[] = {
	{ "256 KiB each", { 256 * KIB, 1 }, { 256 * KIB, 1 } },
	{ "heavy 4 KiB, light 2 MiB", { 4 * KIB, 1 }, { 2 * MIB, 1 } },
	{ "heavy 2 MiB, light 4 KiB", { 2 * MIB, 1 }, { 4 * KIB, 1 } },
	{ "light with 16 queues", { 128 * KIB, 1 }, { 128 * KIB, 16 } },
	{ "heavy with 16 queues", { 128 * KIB, 16 }, { 128 * KIB, 1 } },
};

/*
 * Tenants share what waits in the broker.  `shared` puts pieces of 2 MiB into the work queues
 * until those are full, so that with a few MiB outstanding nothing would be left to share.
 * The window is hundreds of the largest pieces.
 */
static const struct {
	const char *name;
	uint16_t flags;
	uint64_t outstanding; /* bytes of each tenant, at most DEPTH_MAX copies */
	uint64_t window;      /* bytes of both, pieces of 2 MiB: WINDOW_LARGE */
} policies[] = {
	{ "shared", 0, 64 * MIB, 500 * MIB },
	{ "partitioned", AMUX_SQE_ENGINE_ONLY, 16 * MIB, 130 * MIB },
	{ "dynamic", AMUX_SQE_ENGINE_ONLY, 16 * MIB, 200 * MIB },
};

#define WINDOW_LARGE (1200 * MIB)

struct client {
	char socket[96];
	const char *name;
	struct side side;
	unsigned int depth; /* of one queue */
	uint16_t flags;
};

static void put(struct amux *a, struct amux_queue *q, char *mem, const struct client *c)
{
	struct amux_sqe *sqe = amux_get_sqe(q);

	amux_prep_copy(a, sqe, mem + c->side.bytes, mem, c->side.bytes);
	sqe->flags = c->flags;
}

/* Take what is answered and submit as much anew; the number, or -1. */
static int turn(struct worker_report *r, const struct client *c, struct amux *a,
		struct amux_queue *q, char *mem)
{
	static struct amux_cqe cqes[DEPTH_MAX];
	/* One queue sleeps for its answers; of many none may hold up another. */
	int n = c->side.queues == 1 ? amux_wait(q, cqes, c->depth, 1, NULL)
				    : amux_peek(q, cqes, c->depth);

	if (n < 0) {
		worker_fail(r, "wait: %s", strerror(-n));
		return -1;
	}
	for (int k = 0; k < n; k++) {
		if (cqes[k].status) {
			worker_fail(r, "status %d", cqes[k].status);
			return -1;
		}
		put(a, q, mem, c);
	}
	amux_submit(q);
	return n;
}

/* Keep every queue full until told to stop. */
static int client_main(struct worker_report *r, void *arg)
{
	const struct client *c = arg;
	struct amux_options opt = AMUX_OPTIONS_INIT;
	unsigned int total = c->depth * c->side.queues;
	struct amux_queue *q[QUEUES_MAX];
	struct amux *a;
	void *mem = NULL;

	opt.socket = c->socket;
	opt.name = c->name;
	if (amux_connect(&a, &opt) || amux_alloc(a, 2 * c->side.bytes, 0, &mem)) {
		worker_fail(r, "%s", amux_error());
		return 1;
	}
	for (unsigned int i = 0; i < c->side.queues; i++) {
		if (amux_queue_create(a, c->depth, &q[i])) {
			worker_fail(r, "%s", amux_error());
			return 1;
		}
		amux_set_spin(q[i], 0);
		for (unsigned int k = 0; k < c->depth; k++)
			put(a, q[i], mem, c);
		amux_submit(q[i]);
	}
	__atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
	while (!worker_stopping(r)) {
		unsigned int taken = 0;

		for (unsigned int i = 0; i < c->side.queues; i++) {
			int n = turn(r, c, a, q[i], mem);

			if (n < 0)
				return 1;
			taken += (unsigned int)n;
		}
		worker_add(&r->done, taken);
		if (taken > total * 3 / 4)
			worker_add(&r->dry, 1);
		if (c->side.queues > 1)
			tap_sleep_ms(1);
	}
	amux_close(a);
	return 0;
}

static void look(struct daemon *d, uint64_t bytes[2])
{
	json_t *doc = daemon_ask(d, "tenants");

	bytes[0] = json_count(doc, "tenants.heavy.engine_bytes");
	bytes[1] = json_count(doc, "tenants.light.engine_bytes");
	json_decref(doc);
}

/* What each gets by engine while both together get @window, or in WINDOW_S. */
static void measure(struct daemon *d, uint64_t window, uint64_t bytes[2])
{
	uint64_t before[2], end = tap_ns() + WINDOW_S * 1000000000ull;

	look(d, before);
	do {
		tap_sleep_ms(20);
		look(d, bytes);
		bytes[0] -= before[0];
		bytes[1] -= before[1];
	} while (bytes[0] + bytes[1] < window && tap_ns() < end);
}

static unsigned int depth_of(const struct side *s, uint64_t outstanding)
{
	uint64_t copies = outstanding / s->bytes;

	return (unsigned int)((copies < DEPTH_MAX ? copies : DEPTH_MAX) / s->queues);
}

static void run(struct daemon *d, const struct variant *v, unsigned int p)
{
	struct client c[2] = { { .name = "heavy", .side = v->heavy },
			       { .name = "light", .side = v->light } };
	bool large = !p && (v->heavy.bytes == 2 * MIB || v->light.bytes == 2 * MIB);
	uint64_t window = large ? WINDOW_LARGE : policies[p].window, bytes[2], declined,
		 dry = 0;
	struct worker w[2];
	char name[80];
	double ratio;

	daemon_policy(d, policies[p].name, NULL);
	declined = daemon_count(d, "status", "classes.user.declined");
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(c[i].socket, sizeof(c[i].socket), "%s", d->socket);
		c[i].flags = policies[p].flags;
		c[i].depth = depth_of(&c[i].side, policies[p].outstanding);
		worker_spawn(&w[i], client_main, &c[i]);
	}
	for (unsigned int i = 0; i < 2; i++)
		worker_await(&w[i], 10);
	/* Shares are promised to those who keep the broker supplied; a busy host may not let
	 * them. */
	for (unsigned int try = 0; try < TRIES; try++) {
		uint64_t was_dry;

		/* what whoever came first had put into the work queues alone is over by then */
		tap_sleep_ms(WARM_MS +
			     (unsigned int)(2 * policies[p].outstanding / DEVICE_BMS));
		was_dry = worker_read(&w[0].report->dry) + worker_read(&w[1].report->dry);
		measure(d, tap_long() ? 5 * window : window, bytes);
		dry = worker_read(&w[0].report->dry) + worker_read(&w[1].report->dry) - was_dry;
		if (!dry)
			break;
	}
	for (unsigned int i = 0; i < 2; i++) {
		int status = worker_stop(&w[i], 20);

		if (status || w[i].report->failed)
			tap_ok(false, "%s, %s: %s ended with status %d: %s", policies[p].name,
			       v->name, c[i].name, status, w[i].report->why);
		worker_free(&w[i]);
	}
	ratio = bytes[1] ? (double)bytes[0] / (double)bytes[1] : 0;
	snprintf(name, sizeof(name), "%s, %s", policies[p].name, v->name);
	if (dry)
		tap_skip(name,
			 "the host is too busy for the tenants to keep their queues filled");
	else
		tap_ok(ratio > 3 * (1 - TOLERANCE) && ratio < 3 * (1 + TOLERANCE),
		       "%s: %llu and %llu MiB, %.3f : 1", name,
		       (unsigned long long)(bytes[0] / MIB),
		       (unsigned long long)(bytes[1] / MIB), ratio);
	declined = daemon_count(d, "status", "classes.user.declined") - declined;
	if (declined)
		tap_ok(false, "%s, %s: %llu requests went to the CPU", policies[p].name,
		       v->name, (unsigned long long)declined);
}

static bool wanted(int argc, char **argv, int i, const char *name)
{
	return i >= argc || !strncmp(name, argv[i], strlen(argv[i]));
}

int main(int argc, char **argv)
{
	struct daemon d;

	tap_init(argc, argv, 90);
	daemon_start(&d, "soft.model=on", "tenant.heavy.name=heavy", "tenant.heavy.weight=3",
		     "tenant.light.name=light", "tenant.light.weight=1", NULL);
	for (unsigned int p = 0; p < sizeof(policies) / sizeof(policies[0]); p++)
		for (unsigned int i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
			if (wanted(argc, argv, 1, policies[p].name) &&
			    wanted(argc, argv, 2, variants[i].name))
				run(&d, &variants[i], p);
	daemon_stop(&d);
	return tap_done();
}
