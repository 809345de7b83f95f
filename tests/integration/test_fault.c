/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - `engine = fault:...`: whatever the engine does to descriptors, each request of
 * two tenants is answered exactly once, with the right bytes, or with the error that is
 * documented; and a broker whose engine never answers again still ends.
 *
 *	test_fault [KIND]: those whose names begin so
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define RUN_MS	400
#define MOST_S	10
#define ENOUGH	50 /* requests of each tenant */
#define TENANTS 2

/* What must have been counted. */
enum { LOSSES = 1, REDONE = 2, PARTIAL = 4, ERRORS = 8, ALL_RIGHT = 16 };

static const struct kind {
	const char *name, *engine, *more;
	unsigned int counted;
	uint16_t flags;
} kinds[] = {
	{ "errors", "fault:error=3%,error=1%@0x2a", NULL, ERRORS, AMUX_SQE_ENGINE_ONLY },
	{ "page faults in part", "fault:partial=10%", NULL, PARTIAL | ALL_RIGHT,
	  AMUX_SQE_ENGINE_ONLY },
	{ "delays", "fault:delay=0.5%@2ms,timeout=2s", NULL, ALL_RIGHT, AMUX_SQE_ENGINE_ONLY },
	{ "lost completions", "fault:lose=0.2%,timeout=20ms,back=3ms", NULL, LOSSES | REDONE,
	  0 },
	{ "lost completions, engine threads", "fault:lose=0.2%,timeout=20ms,back=3ms",
	  "soft.threads=2", LOSSES | REDONE, 0 },
	{ "delays beyond the time-out", "fault:delay=0.5%@30ms,timeout=10ms,back=3ms", NULL,
	  LOSSES, 0 },
	{ "refusals", "fault:refuse=0.2%,back=3ms", NULL, LOSSES | REDONE, 0 },
	{ "WQs disabled", "fault:disable=20ms@10ms,back=1ms", NULL, LOSSES, 0 },
	{ "the only WQ disabled", "fault:disable=40ms@20ms,back=1ms", "soft.engines=1", LOSSES,
	  0 },
	{ "everything",
	  "fault:seed=7,lose=0.1%,error=0.2%,partial=3%,delay=0.3%@1ms,refuse=0.1%,"
	  "disable=50ms@10ms,timeout=20ms,back=3ms",
	  NULL, LOSSES | REDONE | PARTIAL | ERRORS, 0 },
};

struct pair {
	struct load_worker lw[TENANTS];
	struct worker w[TENANTS];
};

static void pair_start(struct pair *p, const struct daemon *d, uint16_t flags, bool may_lose,
		       bool may_refuse)
{
	static const char *const names[TENANTS] = { "a", "b" };

	for (unsigned int i = 0; i < TENANTS; i++) {
		p->lw[i] = (struct load_worker){
			.name = names[i],
			.opt = { .depth = 16,
				 .flags_all = flags,
				 .flags_any = AMUX_SQE_FENCE,
				 .may_lose = may_lose,
				 .may_refuse = may_refuse,
				 .big_span = 256 << 10 },
			.seed = tap_seed() + i,
		};
		snprintf(p->lw[i].socket, sizeof(p->lw[i].socket), "%s", d->socket);
		worker_spawn(&p->w[i], load_worker, &p->lw[i]);
	}
	for (unsigned int i = 0; i < TENANTS; i++)
		worker_await(&p->w[i], 30);
}

/* Sum of a member over the engines of the one device. */
static uint64_t engines_count(const json_t *doc, const char *member)
{
	const json_t *engines = json_at(doc, "devices.0.engines");
	uint64_t sum = 0;

	for (size_t i = 0; i < json_array_size(engines); i++)
		sum += json_count(json_array_get(engines, i), member);
	return sum;
}

/* Losses, chunks done by CPU, done in part, errors: in the order of the enum. */
static void look(struct daemon *d, uint64_t counts[4])
{
	json_t *doc = daemon_ask(d, "status");

	counts[0] = engines_count(doc, "losses");
	counts[1] = engines_count(doc, "redone");
	counts[2] = engines_count(doc, "partial");
	counts[3] = engines_count(doc, "errors");
	json_decref(doc);
}

static bool happened(const struct kind *k, const uint64_t counts[4])
{
	bool all = true;

	for (unsigned int i = 0; i < 4; i++)
		all &= !(k->counted & (1u << i)) || counts[i];
	return all;
}

/* RUN_MS at least, and until what is to be seen was; a busy host may need longer. */
static void work(struct daemon *d, const struct kind *k, const struct pair *p)
{
	uint64_t end = tap_ns() + MOST_S * TAP_SLOW * 1000000000ull, counts[4];
	bool enough;

	tap_sleep_ms(tap_long() ? 20 * RUN_MS : RUN_MS);
	do {
		tap_sleep_ms(20);
		look(d, counts);
		enough = happened(k, counts);
		for (unsigned int i = 0; i < TENANTS; i++)
			enough &= worker_read(&p->w[i].report->done) > ENOUGH;
	} while (!enough && tap_ns() < end);
}

static bool ledgers_even(struct daemon *d)
{
	json_t *doc = daemon_ask(d, "tenants");
	bool even = true;

	for (unsigned int i = 0; i < TENANTS; i++) {
		const json_t *t = json_array_get(json_at(doc, "tenants"), i);

		even &= !strcmp(json_text(t, "ledger_in"), json_text(t, "ledger_out")) &&
			json_count(t, "requests") > 0;
	}
	json_decref(doc);
	return even;
}

static void run(const struct kind *k)
{
	char engine[256];
	uint64_t done = 0, lost = 0, failed, counts[4];
	struct daemon d;
	struct pair p;
	bool good = true, even;
	json_t *doc;

	snprintf(engine, sizeof(engine), "broker.engine=%s", k->engine);
	daemon_start(&d, engine, "broker.policy=shared", "broker.own_core=on",
		     "tenant.a.name=a", "tenant.b.name=b", k->more, NULL);
	pair_start(&p, &d, k->flags, !(k->counted & ALL_RIGHT), false);
	work(&d, k, &p);
	for (unsigned int i = 0; i < TENANTS; i++) {
		int status = worker_stop(&p.w[i], 30);

		if (status || p.w[i].report->failed)
			tap_note("%s: tenant %s: status %d: %s", k->name, p.lw[i].name, status,
				 p.w[i].report->why);
		good &= !status && !p.w[i].report->failed && p.w[i].report->done > ENOUGH;
		done += p.w[i].report->done;
		lost += p.w[i].report->lost;
		worker_free(&p.w[i]);
	}
	doc = daemon_ask(&d, "status");
	failed = json_count(doc, "classes.user.failed");
	json_decref(doc);
	look(&d, counts);
	even = ledgers_even(&d);
	tap_ok(good && even && lost == failed,
	       "%s: %llu requests of two tenants answered once each, %llu with -EIO (%llu "
	       "counted), the rest right",
	       k->name, (unsigned long long)done, (unsigned long long)lost,
	       (unsigned long long)failed);
	tap_ok(happened(k, counts),
	       "%s: it happened: engines lost %llu times, %llu descriptors done by CPU, %llu "
	       "in "
	       "part, %llu errors",
	       k->name, (unsigned long long)counts[0], (unsigned long long)counts[1],
	       (unsigned long long)counts[2], (unsigned long long)counts[3]);
	daemon_stop(&d);
}

/*
 * Engines that take descriptors, never answer and are never known to have let go of memory:
 * nothing may be answered, yet SIGTERM ends the broker.
 */
static void test_stuck(void)
{
	struct daemon d;
	struct pair p;
	uint64_t start;
	bool good = true;
	int status;

	daemon_start(&d, "broker.engine=fault:stuck=1%,timeout=20ms", "broker.policy=shared",
		     "broker.own_core=on", "tenant.a.name=a", "tenant.b.name=b", NULL);
	pair_start(&p, &d, AMUX_SQE_ENGINE_ONLY, true, true);
	tap_sleep_ms(300 * TAP_SLOW);
	start = tap_ns();
	status = daemon_terminate(&d, 15);
	tap_ok(status == 1 && daemon_logged(&d, "leaving it unanswered", 1000),
	       "engines that never end: the broker ends on SIGTERM all the same, and says why "
	       "(status %d after %llu ms)",
	       status, (unsigned long long)((tap_ns() - start) / 1000000));
	for (unsigned int i = 0; i < TENANTS; i++) {
		status = worker_stop(&p.w[i], 30);
		good &= status == 0;
		if (status)
			tap_note("tenant %s: %s", p.lw[i].name, p.w[i].report->why);
		worker_free(&p.w[i]);
	}
	tap_ok(good, "its tenants go on by themselves");
	daemon_clean(&d);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 90);
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (argc < 2 || !strncmp(kinds[i].name, argv[1], strlen(argv[1])))
			run(&kinds[i]);
	if (argc < 2 || !strncmp("stuck", argv[1], strlen(argv[1])))
		test_stuck();
	return tap_done();
}
