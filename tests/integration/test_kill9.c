/* SPDX-License-Identifier: MIT */
/*
 * test_kill9.c - a tenant killed with -9 in mid-load gives everything back: its regions,
 * queues, descriptors, mappings and memory; the other tenant's copies go on, verified.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define ROUNDS	  (tap_long() ? 40u : TAP_SLOW > 1 ? 3u : 5u)
#define SETTLE_MS (5000 * TAP_SLOW)
#define RINGS_KIB 64 /* of one tenant, and what else there may be */

struct variant {
	const char *name;
	const char *sets[8];
	uint16_t flags;
};

static const struct variant variants[] = {
	{ "inline", { "broker.policy=shared" }, AMUX_SQE_ENGINE_ONLY },
	{ "engine threads",
	  { "broker.policy=dynamic", "soft.threads=2" },
	  AMUX_SQE_ENGINE_ONLY },
	{ "modelled, slow",
	  { "broker.policy=shared", "soft.model=on", "soft.time_scale=200" },
	  AMUX_SQE_ENGINE_ONLY },
	{ "modelled, paced",
	  { "broker.policy=partitioned", "soft.model=on", "soft.time_scale=50" },
	  AMUX_SQE_ENGINE_ONLY },
	{ "modelled, engine threads",
	  { "broker.policy=dynamic", "soft.model=on", "soft.threads=2" },
	  0 },
	{ "all declined", { "broker.policy=cpu" }, 0 },
};

/* What the broker holds for its clients. */
struct holdings {
	unsigned int fds, memfds;
	uint64_t queues, regions, region_bytes, connections, shmem_kib;
};

static void look(struct daemon *d, struct holdings *h)
{
	json_t *doc = daemon_ask(d, "tenants");
	json_t *t;
	size_t i;

	memset(h, 0, sizeof(*h));
	json_array_foreach(json_at(doc, "tenants"), i, t)
	{
		h->queues += json_count(t, "queues");
		h->regions += json_count(t, "regions");
		h->region_bytes += json_count(t, "region_bytes");
		h->connections += json_count(t, "connections");
	}
	json_decref(doc);
	h->fds = daemon_fds(d);
	h->memfds = daemon_memfds(d);
	h->shmem_kib = daemon_shmem_kib(d);
}

static bool same(const struct holdings *a, const struct holdings *b)
{
	return a->fds == b->fds && a->memfds == b->memfds && a->queues == b->queues &&
	       a->regions == b->regions && a->region_bytes == b->region_bytes &&
	       a->connections == b->connections;
}

/* Wait until @now is @want again, and resident shared memory within what is registered: the
 * others' pages come to be resident as they use them. */
static bool settled(struct daemon *d, const struct holdings *want, struct holdings *now)
{
	uint64_t end = tap_ns() + SETTLE_MS * 1000000ull;

	do {
		look(d, now);
		if (same(now, want) && now->shmem_kib <= (now->region_bytes >> 10) + RINGS_KIB)
			return true;
		tap_sleep_ms(5);
	} while (tap_ns() < end);
	return false;
}

static void start(struct worker *w, struct load_worker *lw, const struct daemon *d,
		  const char *name, uint16_t flags, uint64_t seed)
{
	*lw = (struct load_worker){
		.name = name,
		.opt = { .depth = 48, .flags_all = flags, .big_span = 2 << 20 },
		.seed = seed,
	};
	snprintf(lw->socket, sizeof(lw->socket), "%s", d->socket);
	worker_spawn(w, load_worker, lw);
	worker_await(w, 20);
}

static void run(const struct variant *v)
{
	struct holdings idle, before, with, after = { 0 };
	struct load_worker lw, victim_lw;
	struct worker w, victim;
	uint64_t rng = tap_seed(), seen;
	bool back = true, took = true, alive = true;
	struct daemon d;
	int status;

	daemon_prepare(&d);
	daemon_launch(&d, v->sets, false);
	daemon_await(&d);
	look(&d, &idle);
	start(&w, &lw, &d, "survivor", v->flags, rng_next(&rng));
	look(&d, &before);
	for (unsigned int i = 0; i < ROUNDS && back; i++) {
		start(&victim, &victim_lw, &d, "victim", v->flags, rng_next(&rng));
		if (victim.report->failed)
			tap_ok(false, "%s: victim: %s", v->name, victim.report->why);
		tap_sleep_ms((unsigned int)rng_below(&rng, 30));
		look(&d, &with);
		took &= with.fds > before.fds && with.memfds > before.memfds &&
			with.regions == before.regions + 3 && with.queues == before.queues + 1;
		worker_kill(&victim);
		worker_free(&victim);
		back = settled(&d, &before, &after);
		seen = worker_read(&w.report->done);
		for (unsigned int k = 0;
		     k < 200 * TAP_SLOW && worker_read(&w.report->done) == seen; k++)
			tap_sleep_ms(10);
		alive &= worker_read(&w.report->done) != seen;
	}
	tap_ok(took, "%s: the victim's descriptors, mappings, regions and queue were there",
	       v->name);
	tap_ok(back,
	       "%s: %u times killed: %u descriptors, %u memfds, %llu queues, %llu regions, "
	       "%llu KiB "
	       "(before: %u, %u, %llu, %llu, %llu KiB)",
	       v->name, ROUNDS, after.fds, after.memfds, (unsigned long long)after.queues,
	       (unsigned long long)after.regions, (unsigned long long)after.shmem_kib,
	       before.fds, before.memfds, (unsigned long long)before.queues,
	       (unsigned long long)before.regions, (unsigned long long)before.shmem_kib);
	tap_ok(alive, "%s: the other tenant goes on after each", v->name);
	status = worker_stop(&w, 20);
	tap_ok(status == 0 && !w.report->failed,
	       "%s: its %llu requests were right (status %d)%s%s", v->name,
	       (unsigned long long)w.report->done, status, w.report->failed ? ": " : "",
	       w.report->why);
	worker_free(&w);
	back = settled(&d, &idle, &after);
	tap_ok(back, "%s: then all is as before the first client: %u descriptors, %llu KiB",
	       v->name, after.fds, (unsigned long long)after.shmem_kib);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	for (unsigned int i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		run(&variants[i]);
	return tap_done();
}
