// SPDX-License-Identifier: MIT
/*
 * test_life.c - loads and unloads under migration load from two threads, with writers and
 * readers: the content stays right, each load works, and memory does not grow.
 *
 * AMUX_LAB_ROUNDS: how many, default 20; 200 in the full run.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES (8ul << 20)

static atomic_bool stop;

static void *mover(void *arg)
{
	struct memory *m = arg;

	for (unsigned int r = 0; !atomic_load(&stop); r++)
		move_by(r & 2 ? WAY_MBIND : WAY_MOVE_PAGES, m, r);
	return NULL;
}

/* On a slow kernel a batch takes longer than any fixed pause. */
static void work_wait(void)
{
	dma_stat_becomes("armed", 1, 10000);
	for (int i = 0; i < 200 && !dma_stat("engine_pages"); i++)
		sleep_ms(50);
}

int main(int argc, char **argv)
{
	const char *given = getenv("AMUX_LAB_ROUNDS");
	unsigned int rounds = given ? (unsigned int)atoi(given) : 20, i;
	struct memory m[2];
	struct pages p[2] = { 0 };
	pthread_t thread[2];
	uint64_t engine = 0;
	unsigned long bad = 0;
	int ret;

	if (!given && getenv("AMUX_LAB_FULL"))
		rounds = 200;
	tap_init(argc, argv, 1800);
	ret = dma_load("/m/amux_testdma.ko", "");
	if (ret)
		tap_bail("amux_testdma.ko: %s", strerror(-ret));
	for (i = 0; i < 2; i++)
		if (memory_make(&m[i], i ? KIND_THP : KIND_ANON, BYTES, 0) ||
		    pages_init(&p[i], m[i].base, BYTES / PAGE) || pages_start(&p[i]) ||
		    pthread_create(&thread[i], NULL, mover, &m[i]))
			tap_bail("no memory");
	for (i = 0; i < rounds; i++) {
		ret = dma_load("/m/accelmux.ko", "default=share timeout_ms=10000");
		if (ret)
			break;
		/* In all stages: without channels yet, when they come, at work. */
		if (i % 4 == 3)
			work_wait();
		sleep_ms(i % 4 * 30);
		engine += dma_stat("engine_pages");
		for (int k = 0; k < 100; k++) {
			ret = dma_unload("accelmux");
			if (ret != -EWOULDBLOCK)
				break;
			sleep_ms(10);
		}
		if (ret)
			break;
	}
	tap_ok(i == rounds, "%u loads and unloads under load%s%s", i, ret ? ": " : "",
	       ret ? strerror(-ret) : "");
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		bad += pages_finish(&p[i]);
	}
	tap_ok(!bad, "the content is right: %lu bad", bad);
	tap_ok(engine > 0, "in between %lu pages went by engine", (unsigned long)engine);
	dma_unload("amux_testdma");
	return tap_done();
}
