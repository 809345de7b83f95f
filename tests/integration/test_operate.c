// SPDX-License-Identifier: MIT
/*
 * test_operate.c - what an operator changes while tenants work: their limits, who is connected,
 * which engines are in use.  By the command, as an operator would; whatever happens the
 * tenants' data is right.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define OUT 16384

static struct daemon d;
static char said[OUT];

/* Run accelmux with the words of @line; its exit status.  What it says is in said[]. */
static int accelmux(const char *line)
{
	char program[600], words[300], *rest = words, *word;
	const char *argv[16];
	unsigned int n = 0;

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	snprintf(words, sizeof(words), "%s", line);
	argv[n++] = program;
	argv[n++] = "--socket";
	argv[n++] = d.control;
	while (n < 15 && (word = strsep(&rest, " ")))
		argv[n++] = word;
	argv[n] = NULL;
	return program_run(argv, d.socket, said, sizeof(said), 30);
}

static void refused(const char *line, const char *why)
{
	int status = accelmux(line);

	said[strcspn(said, "\n")] = '\0';
	tap_ok(status == 2 && strstr(said, why), "%s: refused (status %d): %s", line, status,
	       said);
}

static bool accepted(const char *line, const char *what)
{
	int status = accelmux(line);

	return tap_ok(status == 0 && strstr(said, what), "%s (status %d)%s%s", line, status,
		      status ? ": " : "", status ? said : "");
}

static void start(struct worker *w, struct load_worker *lw, const char *name, bool may_lose)
{
	*lw = (struct load_worker){
		.name = name,
		.opt = { .depth = 16,
			 .flags_any = AMUX_SQE_FENCE,
			 .big_span = 256 << 10,
			 .may_lose = may_lose },
		.seed = tap_seed(),
	};
	snprintf(lw->socket, sizeof(lw->socket), "%s", d.socket);
	worker_spawn(w, load_worker, lw);
	worker_await(w, 20);
}

static void finish(struct worker *w, const char *name)
{
	int status = worker_stop(w, 20);

	tap_ok(status == 0 && !w->report->failed,
	       "%s: every answer once, data right (%llu requests, status %d)%s%s", name,
	       (unsigned long long)w->report->done, status, w->report->failed ? ": " : "",
	       w->report->why);
	worker_free(w);
}

/* --------------------------------------------------------------------- tenants */

static void limits(void)
{
	struct load_worker lw;
	struct worker w;
	json_t *t;
	uint64_t before, moved;

	start(&w, &lw, "a", false);
	refused("tenants set a weight=101", "expected 1 to 100");
	refused("tenants set a limit=5", "expected 1K to 1000G");
	refused("tenants set a reserve=2G limit=1G", "expected at most limit = 1G");
	refused("tenants set a colour=red", "expected weight=N");
	refused("tenants set a weight=1 weight=2", "each once");
	refused("tenants set nobody weight=1", "expected one that has connected");
	refused("tenants set a", "expected NAME and at least one");
	t = daemon_ask(&d, "tenants");
	tap_ok(json_count(t, "tenants.a.weight") == 1 &&
		       !json_count(t, "tenants.a.reserve_bps"),
	       "what was refused changed nothing");
	json_decref(t);

	accepted("tenants set a weight=7 reserve=10M limit=20M", "until the broker restarts");
	t = daemon_ask(&d, "tenants");
	tap_ok(json_count(t, "tenants.a.weight") == 7 &&
		       json_count(t, "tenants.a.reserve_bps") == 10000000 &&
		       json_count(t, "tenants.a.limit_bps") == 20000000,
	       "weight, reserve and limit are set");
	json_decref(t);
	accepted("tenants set a weight=3", "until the broker restarts");
	t = daemon_ask(&d, "tenants");
	tap_ok(json_count(t, "tenants.a.weight") == 3 &&
		       json_count(t, "tenants.a.limit_bps") == 20000000,
	       "what is not given stays");
	json_decref(t);
	/* The scheduler knows, too: 20 MB/s and what had been let in before.  A policy that
	 * sends nothing back to the CPU, which would be faster. */
	daemon_policy(&d, "shared", NULL);
	tap_sleep_ms(200);
	before = daemon_count(&d, "tenants", "tenants.a.engine_bytes");
	tap_sleep_ms(1000);
	moved = daemon_count(&d, "tenants", "tenants.a.engine_bytes") - before;
	tap_ok(moved > 2000000 && moved < 30000000, "limit=20M holds: %llu bytes in a second",
	       (unsigned long long)moved);
	daemon_policy(&d, "dynamic", "min_pages=1");
	kill(d.pid, SIGHUP);
	daemon_logged(&d, "reloaded", 2000);
	tap_ok(daemon_count(&d, "tenants", "tenants.a.weight") == 1,
	       "a reload brings back the configuration's words");
	finish(&w, "a");
}

static void evict(void)
{
	struct load_worker lw[2];
	struct worker w[2];
	char err[512];
	json_t *r;
	uint64_t done;

	start(&w[0], &lw[0], "a", true);
	start(&w[1], &lw[1], "b", false);
	refused("tenants evict nobody", "expected one that has connected");
	refused("tenants evict", "expected NAME");
	accepted("tenants evict a --reason=too\vgreedy", "a: 1 connections cut off");
	tap_ok(daemon_logged(&d, "cut off: evicted by an operator: too?greedy", 2000),
	       "the log has the reason, on one line");
	tap_ok(daemon_count(&d, "tenants", "tenants.a.evictions") == 1 &&
		       !daemon_count(&d, "tenants", "tenants.b.evictions"),
	       "it is counted, for that tenant alone");
	/* The client finds itself without a broker: every request is answered all the same. */
	done = worker_read(&w[0].report->done);
	for (unsigned int i = 0; i < 1000 && worker_read(&w[0].report->done) < done + 100; i++)
		tap_sleep_ms(10);
	tap_ok(worker_read(&w[0].report->done) >= done + 100, "the client goes on");
	finish(&w[0], "a");
	tap_ok(daemon_settles(&d, "tenants", "tenants.a.connections", 0, 5000),
	       "nothing of it is left with the broker");
	finish(&w[1], "b");
	r = daemon_rpc(&d, "tenants.evict", json_pack("{s:s, s:i}", "name", "a", "reason", 1),
		       err, sizeof(err));
	tap_ok(!r && strstr(err, "expected \"name\""), "a reason that is none: %s", err);
	json_decref(r);
}

/* --------------------------------------------------------------------- engines */

static uint64_t user_bytes(unsigned int engine)
{
	char path[96];

	snprintf(path, sizeof(path), "devices.soft0.engines.%u.wqs.1.bytes", engine);
	return daemon_count(&d, "devices", path);
}

static void drain(void)
{
	struct load_worker lw;
	struct worker w;
	uint64_t before[4], after[4];
	json_t *doc;

	refused("devices drain", "expected DEVICE");
	refused("devices drain soft9", "expected one that accelmux devices shows");
	refused("devices drain soft0/4", "expected 0 to 3");
	refused("devices drain soft0/x", "expected the engine to be a number");
	refused("devices drain soft0 --timeout 5", "expected up to");
	refused("devices stop soft0", "expected one of: list, drain, resume");
	start(&w, &lw, "a", false);
	accepted("devices drain soft0/1", "soft0/1: drained");
	doc = daemon_ask(&d, "devices");
	tap_ok(!strcmp(json_text(doc, "devices.soft0.engines.1.state"), "drained") &&
		       !strcmp(json_text(doc, "devices.soft0.engines.0.state"), "up") &&
		       !json_count(doc, "devices.soft0.engines.1.inflight"),
	       "one engine is drained, with nothing in flight");
	json_decref(doc);
	for (unsigned int e = 0; e < 4; e++)
		before[e] = user_bytes(e);
	tap_sleep_ms(300);
	for (unsigned int e = 0; e < 4; e++)
		after[e] = user_bytes(e);
	tap_ok(after[1] == before[1] && after[0] > before[0] && after[3] > before[3],
	       "nothing goes there, the others work");

	accepted("devices drain soft0", "soft0: drained");
	for (unsigned int e = 0; e < 4; e++)
		before[e] = user_bytes(e);
	tap_sleep_ms(300);
	for (unsigned int e = 0; e < 4; e++)
		after[e] = user_bytes(e);
	tap_ok(!memcmp(before, after, sizeof(before)), "a drained device moves nothing");
	accepted("devices", "drained");
	accepted("top --plain --count 1 --interval 100ms", "some drained");
	accepted("devices resume soft0/2", "soft0/2: in use");
	before[2] = user_bytes(2);
	for (unsigned int i = 0; i < 200 && user_bytes(2) == before[2]; i++)
		tap_sleep_ms(10);
	tap_ok(user_bytes(2) > before[2] && user_bytes(0) == after[0],
	       "the one that is resumed works again, alone");
	accepted("devices resume soft0", "soft0: in use");
	finish(&w, "a");
}

static uint64_t kernel_bytes(unsigned int engine)
{
	char path[96];

	snprintf(path, sizeof(path), "devices.soft0.engines.%u.wqs.0.bytes", engine);
	return daemon_count(&d, "devices", path);
}

/* A kernel class is there, too: its grant loses the engines. */
static void drain_kernel(void)
{
	uint64_t before, after;

	for (unsigned int i = 0;
	     i < 500 && !daemon_count(&d, "status", "classes.kernel.engine_bytes"); i++)
		tap_sleep_ms(10);
	/* One engine: the kernel goes on with the others. */
	accepted("devices drain soft0/0 --timeout=20s", "soft0/0: drained");
	before = kernel_bytes(0);
	after = kernel_bytes(1);
	for (unsigned int i = 0; i < 500 && kernel_bytes(1) < after + (1 << 20); i++)
		tap_sleep_ms(10);
	tap_ok(before && kernel_bytes(0) == before && kernel_bytes(1) > after,
	       "a drained engine moves nothing of the kernel's, the others do");
	accepted("devices drain soft0 --timeout=20s", "soft0: drained");
	before = daemon_count(&d, "status", "classes.kernel.engine_bytes");
	tap_sleep_ms(500);
	after = daemon_count(&d, "status", "classes.kernel.engine_bytes");
	tap_ok(before && before == after, "a drained device moves nothing of the kernel's");
	tap_ok(!daemon_count(&d, "status", "classes.kernel.mismatches"), "its pages are right");
	accepted("devices resume soft0", "soft0: in use");
	for (unsigned int i = 0; i < 500; i++) {
		after = daemon_count(&d, "status", "classes.kernel.engine_bytes");
		if (after > before)
			break;
		tap_sleep_ms(10);
	}
	tap_ok(after > before, "and moves it again when it is resumed");
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 90);
	daemon_start(&d, "soft.model=on", "policy.dynamic.min_pages=1", "tenant.a.name=a",
		     "tenant.b.name=b", NULL);
	limits();
	evict();
	drain();
	daemon_stop(&d);
	daemon_start(&d, "soft.model=on", "broker.kernel=replay:tests/traces/mixed.trace",
		     "broker.replay_loop=on", "broker.replay_verify=on", NULL);
	drain_kernel();
	daemon_stop(&d);
	return tap_done();
}
