// SPDX-License-Identifier: MIT
/*
 * test_fault.c - an engine that errs, dawdles, loses descriptors, writes late, or is taken
 * away, under a migration load: the content stays right, what is stuck is counted and pins the
 * module until it is proved quiet, and in the end nothing remains.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES (8ul << 20)
/* One move of all takes some 15 s if engines do it all. */
#define SLOW_MS	    30
#define SLOW_MAX_MS 4000
#define DRIVER	    "/sys/bus/platform/drivers/amux-testdma/"
#define LATE_MS	    3000 /* long after the time-out of 50 ms */

static struct memory mem[2];
static struct pages pages[2];

static void load_start(void)
{
	static const enum kind kind[] = { KIND_ANON, KIND_THP };

	for (int i = 0; i < 2; i++)
		if (memory_make(&mem[i], kind[i], BYTES, 0) ||
		    pages_init(&pages[i], mem[i].base, BYTES / PAGE) || pages_start(&pages[i]))
			tap_bail("no memory");
}

static unsigned long load_finish(void)
{
	unsigned long bad = 0;

	for (int i = 0; i < 2; i++) {
		bad += pages_finish(&pages[i]);
		pages_free(&pages[i]);
		memory_free(&mem[i]);
	}
	return bad;
}

/*
 * Move all to and fro; pages that did not arrive at the last round's node.  A folio that
 * somebody looks at in all of its ten passes stays, whoever copies: it gets another chance.
 */
static size_t load_move(unsigned int rounds)
{
	size_t away = 0;

	for (unsigned int r = 0; r < rounds || (away && r < rounds + 6); r++) {
		away = 0;
		for (int i = 0; i < 2; i++)
			away += BYTES / PAGE - move_to_node(mem[i].base, BYTES, r % 2 ? 0 : 1);
	}
	return away;
}

static void errors(void)
{
	uint64_t before = dma_stat("dma_errors"), cpu = dma_stat("declined_error");
	unsigned long bad;
	size_t away;

	load_start();
	fault_set("error_every", 3);
	away = load_move(4);
	fault_set("error_every", 0);
	bad = load_finish();
	tap_ok(!bad && !away && dma_stat("dma_errors") > before &&
		       dma_stat("declined_error") > cpu && !dma_stat("quarantined"),
	       "each 3rd descriptor fails: %lu bad, %zu not moved, %lu errors, %lu pages by "
	       "CPU",
	       bad, away, (unsigned long)(dma_stat("dma_errors") - before),
	       (unsigned long)(dma_stat("declined_error") - cpu));
}

static void delays(void)
{
	uint64_t stuck = dma_stat("stuck_pages");
	unsigned long bad;

	load_start();
	fault_set("delay_ms", 200);
	fault_set("delay_every", 5);
	load_move(4);
	fault_set("delay_every", 0);
	bad = load_finish();
	tap_ok(!bad && dma_stat("stuck_pages") > stuck,
	       "answers 150 ms beyond the time-out: %lu bad, %lu pages were stuck", bad,
	       (unsigned long)(dma_stat("stuck_pages") - stuck));
	tap_ok(dma_stat_becomes("quarantined", 0, 5000),
	       "the late answers are the proof: nothing is quarantined");
}

/* ms that it takes to move all to @node, once. */
static unsigned long move_ms(int node)
{
	uint64_t start = tap_ns();

	for (int i = 0; i < 2; i++)
		move_to_node(mem[i].base, BYTES, node);
	return (unsigned long)((tap_ns() - start) / 1000000);
}

/*
 * An engine that answers every time before the time-out, but ever so slowly: it would hold a
 * batch for seconds.
 */
static void dawdling(void)
{
	uint64_t timeout = dma_stat("declined_timeout");
	unsigned long bad, ms, without;

	load_start();
	without = move_ms(1);
	fault_set("delay_ms", SLOW_MS);
	fault_set("delay_every", 1);
	ms = move_ms(0);
	fault_set("delay_every", 0);
	bad = load_finish();
	tap_ok(!bad && dma_stat("declined_timeout") > timeout &&
		       ms < SLOW_MAX_MS + 10 * without,
	       "each answer takes %d ms: %lu bad, %lu ms against %lu without, %lu pages left "
	       "to the CPU",
	       SLOW_MS, bad, ms, without,
	       (unsigned long)(dma_stat("declined_timeout") - timeout));
	tap_ok(dma_stat_becomes("quarantined", 0, 30000), "nothing is quarantined");
}

static void late_writes(void)
{
	uint64_t stuck = dma_stat("stuck_pages"), late = fault_get("late");
	unsigned int late_ms = LATE_MS;
	unsigned long bad;
	int ret;

	load_start();
	/* A guest may be so slow that all have written before the move is over. */
	for (int tries = 0; tries < 4 && !dma_stat("quarantined"); tries++) {
		late_ms = LATE_MS << 2 * tries;
		fault_set("late_ms", late_ms);
		fault_set("lose_every", 4);
		load_move(2);
		fault_set("lose_every", 0);
	}
	ret = dma_unload("accelmux");
	tap_ok(dma_stat("quarantined") && ret == -EWOULDBLOCK,
	       "lost descriptors: %lu are quarantined and pin the module (rmmod: %s)",
	       (unsigned long)dma_stat("quarantined"), strerror(-ret));
	/* Whatever they write to must still be nobody's. */
	load_move(2);
	sleep_ms(late_ms);
	tap_ok(dma_stat_becomes("quarantined", 0, 10 * late_ms), "then nothing is quarantined");
	load_move(2);
	bad = load_finish();
	tap_ok(!bad && fault_get("late") > late && dma_stat("stuck_pages") > stuck,
	       "they write %u ms later: %lu bad, %lu late writes, %lu pages were stuck",
	       late_ms, bad, (unsigned long)(fault_get("late") - late),
	       (unsigned long)(dma_stat("stuck_pages") - stuck));
	fault_set("late_ms", 0);
}

static void lost(void)
{
	unsigned long bad;

	load_start();
	fault_set("sync", 0);
	fault_set("lose_every", 4);
	load_move(2);
	fault_set("lose_every", 0);
	sleep_ms(300);
	bad = load_finish();
	tap_ok(!bad && dma_stat("quarantined"),
	       "descriptors that never answer: %lu bad, %lu quarantined", bad,
	       (unsigned long)dma_stat("quarantined"));
	file_write(DRIVER "unbind", "amux-testdma.0");
	tap_ok(dma_stat_becomes("quarantined", 0, 5000),
	       "the device without its driver is the proof: nothing is quarantined");
	fault_set("sync", 1);
	file_write(DRIVER "bind", "amux-testdma.0");
}

static void *unbinder(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop)) {
		file_write(DRIVER "unbind", "amux-testdma.0");
		sleep_ms(30);
		file_write(DRIVER "bind", "amux-testdma.0");
		sleep_ms(1300); /* the module looks for devices once a second */
	}
	return NULL;
}

static void taken_away(void)
{
	uint64_t engine = dma_stat("engine_pages");
	atomic_bool stop = false;
	pthread_t thread;
	uint64_t end;
	unsigned long bad;
	size_t away;

	load_start();
	fault_set("delay_ms", 5);
	fault_set("delay_every", 2);
	pthread_create(&thread, NULL, unbinder, &stop);
	for (end = tap_ns() + 15 * 1000000000ull; tap_ns() < end;)
		load_move(2);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	fault_set("delay_every", 0);
	away = load_move(2);
	bad = load_finish();
	tap_ok(!bad && !away && dma_stat("engine_pages") > engine,
	       "the device taken away and given back in mid-batch: %lu bad, %zu not moved, %lu "
	       "pages by engine",
	       bad, away, (unsigned long)(dma_stat("engine_pages") - engine));
	tap_ok(dma_stat_becomes("quarantined", 0, 5000), "nothing is quarantined");
}

static unsigned long mem_kb(const char *what)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char name[64];
	unsigned long v, found = 0;

	while (f && fscanf(f, "%63s %lu kB\n", name, &v) >= 1)
		if (!strcmp(name, what))
			found = v;
	if (f)
		fclose(f);
	return found;
}

static unsigned long used_kb(void)
{
	file_write("/proc/sys/vm/drop_caches", "3");
	sleep_ms(300);
	return mem_kb("SUnreclaim:") + mem_kb("VmallocUsed:");
}

static void round_of_all(void)
{
	int ret = dma_load_both("channels=4", "timeout_ms=50");

	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	errors();
	delays();
	dawdling();
	late_writes();
	lost();
	dma_stat_becomes("armed", 1, 3000);
	sleep_ms(1500);
	taken_away();
	ret = dma_unload("accelmux");
	for (int i = 0; i < 20 && ret; i++) {
		sleep_ms(100);
		ret = dma_unload("accelmux");
	}
	tap_ok(!ret, "the module unloads: %s", ret ? strerror(-ret) : "yes");
	dma_unload("amux_testdma");
}

int main(int argc, char **argv)
{
	unsigned long first, second;

	tap_init(argc, argv, 1500);
	round_of_all();
	first = used_kb();
	round_of_all();
	second = used_kb();
	/* KASAN keeps what was freed: there kmemleak looks for what is lost. */
	if (access("/sys/kernel/debug/kmemleak", F_OK))
		tap_ok(second < first + 512,
		       "kernel memory after two rounds: %lu KiB, then %lu KiB", first, second);
	return tap_done();
}
