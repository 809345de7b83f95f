/* SPDX-License-Identifier: MIT */
/*
 * test_switch.c - the policy is switched 1,000 times under load from eight tenants: every
 * descriptor is answered exactly once, and rightly.
 *
 * Once is counted on both sides: each client knows which of its requests are outstanding, and
 * the broker sums a hash of every user_data pulled and answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define TENANTS	 8
#define SWITCHES 1000

static const char *const policies[] = { "cpu", "shared", "partitioned", "dynamic" };

/* A random policy with random parameters. */
static void switch_policy(struct daemon *d, uint64_t *rng)
{
	unsigned int i = (unsigned int)rng_below(rng, 4);
	char params[96] = "", *p = params;
	size_t room = sizeof(params);
	int n;

	if (i) {
		n = snprintf(p, room, "chunk=%uK", 4u << rng_below(rng, 7));
		p += n;
		room -= (size_t)n;
	}
	if (i > 1)
		snprintf(p, room, " kernel_share=%u%%",
			 (unsigned int)(10 + rng_below(rng, 80)));
	daemon_policy(d, policies[i], params);
}

static uint64_t tenant_count(const json_t *doc, unsigned int i, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "tenants.t%u.%s", i, what);
	return json_count(doc, path);
}

static uint64_t tenant_ledger(const json_t *doc, unsigned int i, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "tenants.t%u.%s", i, what);
	return strtoull(json_text(doc, path), NULL, 16);
}

static void check_tenant(const json_t *doc, const struct worker *w, unsigned int i)
{
	uint64_t pulled = tenant_count(doc, i, "requests"), in, out;
	uint64_t answered = tenant_count(doc, i, "completed") + tenant_count(doc, i, "failed") +
			    tenant_count(doc, i, "declined");

	tap_ok(pulled == answered && pulled == w->report->done,
	       "t%u: %llu requests pulled, %llu answered, %llu seen by the client", i,
	       (unsigned long long)pulled, (unsigned long long)answered,
	       (unsigned long long)w->report->done);
	in = tenant_ledger(doc, i, "ledger_in");
	out = tenant_ledger(doc, i, "ledger_out");
	tap_ok(in && in == out, "t%u: each exactly once (ledger %016llx, %016llx)", i,
	       (unsigned long long)in, (unsigned long long)out);
}

static void run(const char *name, const char *threads, const char *own_core,
		unsigned int switches)
{
	struct load_worker lw[TENANTS];
	struct worker w[TENANTS];
	char sets[TENANTS][48], names[TENANTS][8];
	const char *argv[TENANTS + 4];
	uint64_t rng = tap_seed(), total = 0, refused = 0;
	struct daemon d;
	json_t *doc;

	for (unsigned int i = 0; i < TENANTS; i++) {
		snprintf(names[i], sizeof(names[i]), "t%u", i);
		snprintf(sets[i], sizeof(sets[i]), "tenant.t%u.name=t%u", i, i);
		argv[i] = sets[i];
	}
	argv[TENANTS] = threads;
	argv[TENANTS + 1] = own_core;
	argv[TENANTS + 2] = NULL;
	daemon_prepare(&d);
	daemon_launch(&d, argv, false);
	daemon_await(&d);
	for (unsigned int i = 0; i < TENANTS; i++) {
		lw[i] = (struct load_worker){
			.name = names[i],
			.opt = { .depth = 1 + i * 3,
				 .flags_any = AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CACHE |
					      (i & 1 ? AMUX_SQE_FENCE : 0) |
					      (i & 2 ? AMUX_SQE_CPU_ONLY : 0),
				 .may_refuse = true,
				 .big_span = 256 << 10 },
			.seed = rng_next(&rng),
		};
		snprintf(lw[i].socket, sizeof(lw[i].socket), "%s", d.socket);
		worker_spawn(&w[i], load_worker, &lw[i]);
	}
	for (unsigned int i = 0; i < TENANTS; i++)
		worker_await(&w[i], 20);
	for (unsigned int i = 0; i < switches; i++) {
		switch_policy(&d, &rng);
		if (rng_below(&rng, 2))
			tap_sleep_ms((unsigned int)rng_below(&rng, 8));
	}
	for (unsigned int i = 0; i < TENANTS; i++) {
		int status = worker_stop(&w[i], 20);

		tap_ok(status == 0 && !w[i].report->failed,
		       "%s: t%u: every answer once, data right (%llu requests, status %d)%s%s",
		       name, i, (unsigned long long)w[i].report->done, status,
		       w[i].report->failed ? ": " : "", w[i].report->why);
		total += w[i].report->done;
		refused += w[i].report->refused;
	}
	tap_ok(refused > 0 && refused < total,
	       "%s: %llu of %llu met the cpu policy and said so", name,
	       (unsigned long long)refused, (unsigned long long)total);
	doc = daemon_ask(&d, "status");
	tap_ok(json_count(doc, "nodes.0.mux.policy_switches") == switches &&
		       !json_count(doc, "nodes.0.mux.policy_reverts"),
	       "%s: %u switches, no policy was replaced", name, switches);
	tap_ok(json_count(doc, "classes.user.engine_bytes") &&
		       json_count(doc, "classes.user.declined"),
	       "%s: engine and CPU both had work", name);
	json_decref(doc);
	doc = daemon_ask(&d, "tenants");
	for (unsigned int i = 0; i < TENANTS; i++) {
		check_tenant(doc, &w[i], i);
		worker_free(&w[i]);
	}
	json_decref(doc);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	run("inline", "soft.threads=0", "broker.own_core=on", SWITCHES);
	run("engine threads", "soft.threads=2", "broker.own_core=on",
	    tap_long() ? SWITCHES : SWITCHES / 4);
	run("modelled", "soft.model=on", "soft.time_scale=20",
	    tap_long() ? SWITCHES : SWITCHES / 4);
	return tap_done();
}
