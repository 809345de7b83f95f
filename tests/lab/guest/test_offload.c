// SPDX-License-Identifier: MIT
/*
 * test_offload.c - the provider for the proposed registration API, against testoffload/, a
 * stand-in for that API: which folios it copies ahead, that all content is right, that a late
 * DMA write reaches nothing in use, that it comes and goes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define API	"/sys/kernel/debug/amux_testoffload/"
#define PARAM	"/sys/module/accelmux/parameters/"
#define BYTES	(8ul << 20)
#define ALL	64u /* folios of a batch, above min_pages */
#define TIMEOUT "/sys/module/accelmux/parameters/timeout_ms"
#define PATIENT "10000" /* not every delay of a slow guest is a fault */
#define LATE_MS 1000	/* a lost descriptor writes so long after */
#define HOLD_MS 2000
#define REASONS 10 /* of the ABI */

enum odd { ODD_NONE, ODD_PINNED, ODD_FILE, ODD_PRIVATE };

static int set(const char *name, unsigned int value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), API "%s", name);
	snprintf(text, sizeof(text), "%u", value);
	return file_write(path, text);
}

static int set_param(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAM "%s", name);
	return file_write(path, value);
}

struct result {
	int answer;
	unsigned int marked, moved, refused, failed, held, watched, bad;
};

static struct result result_read(void)
{
	struct result r = { .bad = ~0u };
	FILE *f = fopen(API "result", "r");

	if (!f || fscanf(f,
			 "answer %d marked %u moved %u refused %u failed %u held %u "
			 "watched %u bad %u",
			 &r.answer, &r.marked, &r.moved, &r.refused, &r.failed, &r.held,
			 &r.watched, &r.bad) != 8)
		tap_note("no result");
	if (f)
		fclose(f);
	return r;
}

static struct result run(unsigned int folios, unsigned int order)
{
	int ret;

	set("folios", folios);
	set("order", order);
	ret = set("run", 1);
	if (ret)
		tap_bail("a run of %u folios of order %u: %s", folios, order, strerror(-ret));
	return result_read();
}

static bool registered_is(const char *name, unsigned long *mask)
{
	char word[64] = "";
	FILE *f = fopen(API "provider", "r");

	*mask = 0;
	if (f && fscanf(f, "%63s %lu", word, mask) != 2)
		word[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(word, name);
}

static bool registered_becomes(const char *name, unsigned int ms)
{
	unsigned long mask;
	unsigned int waited;

	for (waited = 0; !registered_is(name, &mask); waited += 20) {
		if (waited >= ms)
			return false;
		sleep_ms(20);
	}
	return true;
}

static int load(void)
{
	return dma_load("/m/accelmux-offload.ko", "default=share timeout_ms=" PATIENT);
}

static int unload(void)
{
	int ret = -EWOULDBLOCK;

	for (int i = 0; ret == -EWOULDBLOCK && i < 250; i++) {
		ret = dma_unload("accelmux");
		if (ret)
			sleep_ms(20);
	}
	return ret;
}

static void copies(void)
{
	uint64_t engine = dma_stat("engine_pages"), below = dma_stat("declined_below_min");
	struct result r = run(ALL, 0);

	tap_ok(!r.answer && r.marked == ALL && r.moved == ALL && !r.bad &&
		       dma_stat("engine_pages") == engine + ALL,
	       "%u small folios: %u marked, %u moved, %u bad, %lu pages by engine", ALL,
	       r.marked, r.moved, r.bad, (unsigned long)(dma_stat("engine_pages") - engine));
	engine = dma_stat("engine_pages");
	r = run(4, 9);
	tap_ok(r.marked == 4 && r.moved == 4 && !r.bad &&
		       dma_stat("engine_pages") == engine + 4 * 512,
	       "4 folios of 2 MiB: %u marked, %u moved, %u bad, %lu pages by engine", r.marked,
	       r.moved, r.bad, (unsigned long)(dma_stat("engine_pages") - engine));
	engine = dma_stat("engine_pages");
	r = run(16, 0);
	tap_ok(r.answer == -EBUSY && !r.marked && r.moved == 16 && !r.bad &&
		       dma_stat("engine_pages") == engine &&
		       dma_stat("declined_below_min") == below + 16,
	       "16 folios, below the threshold: %u marked, %u moved, %u bad", r.marked, r.moved,
	       r.bad);
	r = run(700, 0);
	tap_ok(r.marked == 512 && r.moved == 700 && !r.bad,
	       "700 folios, more than a batch holds: %u marked, %u moved, %u bad", r.marked,
	       r.moved, r.bad);
}

/* One folio of the batch may not be copied ahead; the kernel moves it, or not. */
static void odd(enum odd what, const char *skip, unsigned int moved, const char *name)
{
	char stat[32];
	uint64_t before;
	struct result r;

	snprintf(stat, sizeof(stat), "skip_%s", skip);
	before = dma_stat(stat);
	set("odd", what);
	set("odd_at", 17);
	r = run(ALL, 0);
	set("odd", ODD_NONE);
	tap_ok(r.marked == ALL - 1 && r.moved == moved && !r.bad &&
		       dma_stat(stat) == before + 1,
	       "%s is not copied ahead: %u of %u marked, %u moved, %u bad", name, r.marked, ALL,
	       r.moved, r.bad);
}

static void errors(void)
{
	uint64_t before = dma_stat("dma_errors");
	struct result r;

	fault_set("error_every", 3);
	r = run(ALL, 0);
	fault_set("error_every", 0);
	tap_ok(r.marked && r.marked < ALL && r.moved == ALL && !r.bad &&
		       dma_stat("dma_errors") > before,
	       "each 3rd descriptor fails: %u marked, %u moved, %u bad, %lu errors", r.marked,
	       r.moved, r.bad, (unsigned long)(dma_stat("dma_errors") - before));
}

static void cocopy(void)
{
	uint64_t time = dma_stat("cpu_time_ns"), engine = dma_stat("engine_pages");
	struct result r;

	set_param("cocopy", "Y");
	r = run(512, 0);
	set_param("cocopy", "N");
	engine = dma_stat("engine_pages") - engine;
	tap_ok(r.marked == 512 && r.moved == 512 && !r.bad && engine && engine < 512 &&
		       dma_stat("cpu_time_ns") > time,
	       "the CPU copies from the tail: %u marked, %lu of them by engine, %u bad",
	       r.marked, (unsigned long)engine, r.bad);
}

/* Descriptors are lost and write LATE_MS after. */
static struct result lose(unsigned int folios, unsigned int order, unsigned int hold_ms)
{
	struct result r;

	file_write(TIMEOUT, "50");
	fault_set("late_ms", LATE_MS);
	fault_set("lose_every", 3);
	set("hold_ms", hold_ms);
	r = run(folios, order);
	set("hold_ms", 0);
	fault_set("lose_every", 0);
	return r;
}

static void late_order(unsigned int folios, unsigned int order)
{
	uint64_t stuck = dma_stat("stuck_pages"), late = fault_get("late");
	struct result r = lose(folios, order, HOLD_MS);

	stuck = dma_stat("stuck_pages") - stuck;
	late = fault_get("late") - late;
	tap_ok(r.failed && r.failed << order == stuck && r.moved + r.failed == folios && late,
	       "lost descriptors, order %u: %u of %u folios fail by their references, "
	       "%lu pages stuck, %lu late writes",
	       order, r.failed, folios, (unsigned long)stuck, (unsigned long)late);
	tap_ok(!r.bad && r.watched >= stuck && !r.held &&
		       dma_stat_becomes("quarantined", 0, 5000),
	       "no byte in use changed, %u pages asked for anew among them: %u bad, "
	       "%u held in the end",
	       r.watched, r.bad, r.held);
}

static void late_writes(void)
{
	struct result r;
	int ret;

	late_order(ALL, 0);
	late_order(4, 9);

	r = lose(ALL, 0, 0);
	ret = dma_unload("accelmux");
	tap_ok(r.failed && r.held == r.failed && !r.bad && ret == -EWOULDBLOCK &&
		       dma_stat("quarantined"),
	       "until then %u of %u sources are held and the module stays (rmmod: %s)", r.held,
	       r.failed, strerror(-ret));
	tap_ok(dma_stat_becomes("quarantined", 0, 5000), "then nothing is quarantined");

	set("pass_ms", LATE_MS / 4);
	r = lose(ALL, 0, 0);
	set("pass_ms", 0);
	tap_ok(r.refused && r.moved == ALL && !r.bad,
	       "proof between two passes: %u attempts refused, then %u moved, %u bad",
	       r.refused, r.moved, r.bad);

	set("careless", 1);
	r = lose(ALL, 0, HOLD_MS);
	set("careless", 0);
	tap_ok(r.bad && r.moved == ALL,
	       "a move phase that checks no references, to show what is seen then: %u bad",
	       r.bad);
	dma_stat_becomes("quarantined", 0, 5000);
	fault_set("late_ms", 0);
	file_write(TIMEOUT, PATIENT);
}

static void reasons(void)
{
	uint64_t before = dma_stat("declined_reason"), other = dma_reason("other", 2);
	struct result r;

	set_param("reason_mask", "0x3fe");
	r = run(ALL, 0);
	set_param("reason_mask", "0x3ff");
	tap_ok(!r.marked && r.moved == ALL && !r.bad &&
		       dma_stat("declined_reason") == before + ALL,
	       "a grant that leaves out a reason gets none: %u marked, %u moved, %u bad",
	       r.marked, r.moved, r.bad);
	r = run(ALL, 0);
	tap_ok(r.marked == ALL && dma_reason("other", 2) == other + ALL,
	       "one that leaves out none does: %u marked, reason 'other'", r.marked);
}

static atomic_bool stop;
static atomic_uint bad_runs, runs;

static void *runner(void *arg)
{
	struct result r;

	while (!atomic_load(&stop)) {
		if (set("run", 1))
			atomic_fetch_add(&bad_runs, 1);
		r = result_read();
		if (r.bad || r.failed)
			atomic_fetch_add(&bad_runs, 1);
		atomic_fetch_add(&runs, 1);
	}
	return arg;
}

static void life(void)
{
	unsigned int i, rounds = 10;
	unsigned long mask;
	pthread_t thread;
	struct result r;
	int ret = 0;

	set("folios", ALL);
	set("order", 0);
	if (pthread_create(&thread, NULL, runner, NULL))
		tap_bail("no thread");
	for (i = 0; i < rounds && !ret; i++) {
		sleep_ms(i % 4 * 30);
		ret = unload();
		if (!ret)
			ret = load();
		if (!ret && !registered_becomes("accelmux", 5000))
			ret = -ETIMEDOUT;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	tap_ok(!ret && !atomic_load(&bad_runs),
	       "%u unloads while registered, with %u batches meanwhile: %u bad%s%s", i,
	       atomic_load(&runs), atomic_load(&bad_runs), ret ? ": " : "",
	       ret ? strerror(-ret) : "");
	ret = unload();
	r = run(ALL, 0);
	tap_ok(!ret && registered_is("none", &mask) && r.answer == -ENOENT && !r.marked &&
		       !r.bad,
	       "unloaded: nobody is registered, %u marked, %u bad", r.marked, r.bad);
}

static void rivals(void)
{
	unsigned long mask;
	struct result r;
	int ret;

	ret = set("rival", 1);
	tap_ok(ret == -EBUSY, "a second provider: %s", strerror(-ret));
	ret = unload();
	if (!ret)
		ret = set("rival", 1);
	if (!ret)
		ret = load();
	sleep_ms(500);
	r = run(ALL, 0);
	tap_ok(!ret && registered_is("rival", &mask) && !r.marked && r.moved == ALL && !r.bad,
	       "being the second: loaded, not registered, %u marked, %u moved, %u bad",
	       r.marked, r.moved, r.bad);
	ret = unload();
	if (!ret)
		ret = set("rival", 0);
	if (!ret)
		ret = load();
	tap_ok(!ret && registered_becomes("accelmux", 5000), "without it we are registered: %s",
	       strerror(-ret));
}

/* A kernel that has the API's header, but not the API: the hook does it. */
static void absent(void)
{
	uint64_t engine = 0;
	struct pages p = { 0 };
	struct memory m;
	int ret;

	dma_unload("amux_testoffload");
	ret = dma_load("/m/amux_testoffload.ko", "absent=1");
	if (!ret)
		ret = load();
	if (!ret && dma_stat_becomes("armed", 1, 5000)) {
		if (memory_make(&m, KIND_ANON, BYTES, 0) ||
		    pages_init(&p, m.base, BYTES / PAGE))
			tap_bail("no memory");
		move_to_node(m.base, BYTES, 1);
		pages_check(&p);
		engine = dma_stat("engine_pages");
		pages_free(&p);
		memory_free(&m);
		ret = unload();
	}
	tap_ok(!ret && engine && !p.bad,
	       "a kernel built without the API: by the hook, %lu pages by engine, %lu bad",
	       (unsigned long)engine, p.bad);
}

int main(int argc, char **argv)
{
	unsigned long mask;
	bool ok;
	int ret;

	tap_init(argc, argv, 900);
	ret = dma_load("/m/amux_testdma.ko", "");
	if (!ret)
		ret = dma_load("/m/amux_testoffload.ko", "");
	if (!ret)
		ret = load();
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	ok = registered_becomes("accelmux", 5000) && registered_is("accelmux", &mask);
	tap_ok(ok && (mask & ((1ul << REASONS) - 1)) == (1ul << REASONS) - 1,
	       "armed is registered, for all reasons (0x%lx)", mask);
	copies();
	odd(ODD_PINNED, "refs", ALL - 1, "a folio with an extra reference");
	odd(ODD_FILE, "mapping", ALL, "a folio of a file");
	odd(ODD_PRIVATE, "private", ALL, "a folio with private data");
	errors();
	cocopy();
	reasons();
	late_writes();
	rivals();
	life();
	absent();
	dma_unload("amux_testoffload");
	dma_unload("amux_testdma");
	return tap_done();
}
