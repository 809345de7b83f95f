/* SPDX-License-Identifier: MIT */
/*
 * test_upgrade.c - one broker follows another in place: the new one waits, the old one drains,
 * clients find the new one by themselves, and every request is answered with success.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define CLIENTS	 3u
#define UPGRADES (tap_long() ? 20u : 4u)

/* Are all clients there, with work?  Looks are counted, not seconds: those pass for a machine
 * that stands still, too. */
static bool served(struct daemon *d)
{
	for (unsigned int i = 0; i < 1000 * TAP_SLOW; i++) {
		if (daemon_count(d, "status", "connections") == CLIENTS &&
		    daemon_count(d, "status", "classes.user.requests") > 100)
			return true;
		tap_sleep_ms(10);
	}
	return false;
}

static void upgrade(const char *name, const char *const *sets, bool early)
{
	struct load_worker lw[CLIENTS];
	struct worker w[CLIENTS];
	struct daemon d, old;
	uint64_t rng = tap_seed(), done = 0;
	bool clean = true, used = true;
	int status;

	daemon_prepare(&d);
	daemon_launch(&d, sets, false);
	daemon_await(&d);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		lw[i] = (struct load_worker){
			.name = "upgrade",
			.opt = { .depth = 16,
				 .flags_any = AMUX_SQE_FENCE,
				 .big_span = 256 << 10 },
			.seed = rng_next(&rng),
		};
		snprintf(lw[i].socket, sizeof(lw[i].socket), "%s", d.socket);
		worker_spawn(&w[i], load_worker, &lw[i]);
	}
	for (unsigned int i = 0; i < CLIENTS; i++)
		worker_await(&w[i], 20);
	for (unsigned int k = 0; k < UPGRADES && clean && used; k++) {
		tap_sleep_ms(20 + (unsigned int)rng_below(&rng, 50));
		old = d;
		d.rpc = -1;
		d.wait = "20";
		if (early) {
			daemon_launch(&d, sets, false);
			tap_sleep_ms(20);
			clean = process_wait(d.pid, 1) == -1;
		}
		status = daemon_terminate(&old, 10);
		clean &= status == 0;
		if (!early)
			daemon_launch(&d, sets, false);
		daemon_await(&d);
		used = served(&d);
		if (!used)
			tap_note("upgrade %u: %llu connections, %llu requests", k,
				 (unsigned long long)daemon_count(&d, "status", "connections"),
				 (unsigned long long)daemon_count(&d, "status",
								  "classes.user.requests"));
	}
	tap_ok(clean, "%s: the old broker drains and ends, the new one waited for it", name);
	tap_ok(used, "%s: all clients came to each new broker with their work", name);
	clean = true;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		status = worker_stop(&w[i], 30);
		done += w[i].report->done;
		if (status || w[i].report->failed) {
			clean = false;
			tap_note("client %u: status %d: %s", i, status, w[i].report->why);
		}
		worker_free(&w[i]);
	}
	tap_ok(clean, "%s: %u upgrades, %llu requests, every one answered with success", name,
	       UPGRADES, (unsigned long long)done);
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	const char *const plain[] = { "broker.policy=shared", "broker.own_core=on", NULL };
	const char *const threads[] = { "broker.policy=partitioned", "soft.threads=2",
					"broker.own_core=on", NULL };
	const char *const model[] = { "broker.policy=dynamic", "soft.model=on", NULL };

	tap_init(argc, argv, 60);
	upgrade("started before", plain, true);
	upgrade("started after", threads, false);
	upgrade("modelled", model, true);
	return tap_done();
}
