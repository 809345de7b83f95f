/* SPDX-License-Identifier: MIT */
/*
 * test_fair.c - two tenants of weights 3 and 1 with work outstanding get engine bytes 3:1,
 * whatever the sizes of their copies and the number of their queues, under every policy that
 * has engines to share.
 *
 * The device is modelled (30 GB/s, 100 times slower), so that the engine is scarce on any
 * host; bytes are the broker's own counters over a window after a warm-up.
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
#define TOLERANCE  0.03
#define QUEUES_MAX 16
#define DEPTH_MAX  4096

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
 */
static const struct {
	const char *name;
	uint16_t flags;
	uint64_t outstanding; /* bytes of each tenant, at most DEPTH_MAX copies */
	unsigned int window_ms;
} policies[] = {
	{ "shared", 0, 64 * MIB, 2000 },
	{ "partitioned", AMUX_SQE_ENGINE_ONLY, 4 * MIB, 1000 },
	{ "dynamic", AMUX_SQE_ENGINE_ONLY, 4 * MIB, 800 },
};

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

/* Keep every queue full until told to stop. */
static int client_main(struct worker_report *r, void *arg)
{
	const struct client *c = arg;
	struct amux_options opt = AMUX_OPTIONS_INIT;
	static struct amux_cqe cqes[DEPTH_MAX];
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
		for (unsigned int i = 0; i < c->side.queues; i++) {
			/* One queue sleeps for its answers; of many none may hold up another.
			 */
			int n = c->side.queues == 1 ? amux_wait(q[i], cqes, c->depth, 1, NULL)
						    : amux_peek(q[i], cqes, c->depth);

			for (int k = 0; k < n; k++) {
				if (cqes[k].status) {
					worker_fail(r, "status %d", cqes[k].status);
					return 1;
				}
				put(a, q[i], mem, c);
			}
			if (n < 0) {
				worker_fail(r, "wait: %s", strerror(-n));
				return 1;
			}
			amux_submit(q[i]);
			worker_add(&r->done, (uint64_t)n);
		}
		if (c->side.queues > 1)
			tap_sleep_ms(1);
	}
	amux_close(a);
	return 0;
}

static void measure(struct daemon *d, uint64_t bytes[2])
{
	json_t *doc = daemon_ask(d, "tenants");

	bytes[0] = json_count(doc, "tenants.heavy.engine_bytes");
	bytes[1] = json_count(doc, "tenants.light.engine_bytes");
	json_decref(doc);
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
	uint64_t before[2], after[2], declined;
	struct worker w[2];
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
	tap_sleep_ms(WARM_MS);
	measure(d, before);
	tap_sleep_ms(tap_long() ? 5 * policies[p].window_ms : policies[p].window_ms);
	measure(d, after);
	for (unsigned int i = 0; i < 2; i++) {
		int status = worker_stop(&w[i], 20);

		if (status || w[i].report->failed)
			tap_ok(false, "%s, %s: %s ended with status %d: %s", policies[p].name,
			       v->name, c[i].name, status, w[i].report->why);
		worker_free(&w[i]);
	}
	after[0] -= before[0];
	after[1] -= before[1];
	ratio = after[1] ? (double)after[0] / (double)after[1] : 0;
	tap_ok(ratio > 3 * (1 - TOLERANCE) && ratio < 3 * (1 + TOLERANCE),
	       "%s, %s: %llu and %llu MiB, %.3f : 1", policies[p].name, v->name,
	       (unsigned long long)(after[0] / MIB), (unsigned long long)(after[1] / MIB),
	       ratio);
	declined = daemon_count(d, "status", "classes.user.declined") - declined;
	if (declined)
		tap_ok(false, "%s, %s: %llu requests went to the CPU", policies[p].name,
		       v->name, (unsigned long long)declined);
}

int main(int argc, char **argv)
{
	struct daemon d;

	tap_init(argc, argv, 90);
	daemon_start(&d, "soft.model=on", "tenant.heavy.name=heavy", "tenant.heavy.weight=3",
		     "tenant.light.name=light", "tenant.light.weight=1", NULL);
	for (unsigned int p = 0; p < sizeof(policies) / sizeof(policies[0]); p++)
		for (unsigned int i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
			run(&d, &variants[i], p);
	daemon_stop(&d);
	return tap_done();
}
