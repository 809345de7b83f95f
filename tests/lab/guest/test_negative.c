// SPDX-License-Identifier: MIT
/*
 * test_negative.c - the checker must be able to fail: with an engine that flips one bit of
 * every page it copies, every page that went by engine is found wrong; without, none.
 */
#include <string.h>

#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define BYTES (8ul << 20)

static unsigned long bad_after_move(enum kind kind, bool flip, uint64_t *engine)
{
	struct pages p = { 0 };
	struct memory m;

	if (memory_make(&m, kind, BYTES, 0) || pages_init(&p, m.base, BYTES / PAGE))
		tap_bail("no memory");
	fault_set("flip_every", flip);
	*engine = dma_stat("engine_pages");
	move_to_node(m.base, BYTES, 1);
	*engine = dma_stat("engine_pages") - *engine;
	fault_set("flip_every", 0);
	pages_check(&p);
	pages_free(&p);
	memory_free(&m);
	return p.bad;
}

int main(int argc, char **argv)
{
	uint64_t engine;
	unsigned long bad;
	int ret;

	tap_init(argc, argv, 600);
	ret = dma_load_both("", "");
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	for (enum kind k = KIND_ANON; k <= KIND_THP; k++) {
		bad = bad_after_move(k, false, &engine);
		tap_ok(engine > 0 && !bad, "%s, an honest engine: %lu pages by engine, %lu bad",
		       kind_name[k], (unsigned long)engine, bad);
		bad = bad_after_move(k, true, &engine);
		tap_ok(engine > 0 && bad == engine,
		       "%s, an engine that flips a bit of each page: %lu pages by engine, %lu "
		       "bad",
		       kind_name[k], (unsigned long)engine, bad);
	}
	dma_unload_both();
	return tap_done();
}
