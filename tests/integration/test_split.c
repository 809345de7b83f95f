// SPDX-License-Identifier: MIT
/*
 * test_split.c - under `dynamic` a tenant that keeps its queue full uses the engine and its
 * own CPU together: more than the engine alone gives it, whatever the size of its copies.
 *
 * Modelled: an engine of 300 MB/s beside a CPU of 100 MB/s.  Once a declined request took all
 * that waited behind it along, and a full queue fell to half the engine's rate.
 */
#include <stdlib.h>
#include <string.h>

#include <accelmux/accelmux.h>

#include "../lib/harness.h"

#define TRIES	 5 /* a busy host takes CPU time away from the copies that it should speed up */
#define AT_LEAST 1.15 /* of the 4/3 that the model has to give */
#define TOTAL	 (192ull << 20)

struct shape {
	size_t bytes;
	unsigned int depth;
};

/* Copy TOTAL bytes with a full queue; bytes per second. */
static double run(struct amux *a, const struct shape *s, char *mem, uint16_t flags,
		  uint64_t *wrong)
{
	unsigned int total = (unsigned int)(TOTAL / s->bytes), sent = 0, done = 0;
	struct amux_cqe cqes[256];
	struct amux_queue *q;
	uint64_t start;

	if (amux_queue_create(a, s->depth, &q))
		tap_bail("queue: %s", amux_error());
	start = tap_ns();
	while (done < total) {
		struct amux_sqe *sqe;
		int n;

		while (sent < total && (sqe = amux_get_sqe(q))) {
			if (amux_prep_copy(a, sqe, mem + s->bytes, mem, s->bytes))
				tap_bail("prep_copy: the buffer is in no region");
			sqe->flags = flags;
			sent++;
		}
		amux_submit(q);
		n = amux_wait(q, cqes, 256, 1, NULL);
		if (n < 0)
			tap_bail("wait: %s", strerror(-n));
		for (int i = 0; i < n; i++)
			*wrong += cqes[i].status != 0;
		done += (unsigned int)n;
	}
	start = tap_ns() - start;
	amux_queue_destroy(q);
	return (double)TOTAL * 1e9 / (double)start;
}

int main(int argc, char **argv)
{
	static const struct shape shapes[] = { { 1 << 20, 16 }, { 64 << 10, 64 } };
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct daemon d;
	struct amux *a;
	void *mem;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=dynamic", "soft.model=on", NULL);
	opt.socket = d.socket;
	if (amux_connect(&a, &opt) || amux_alloc(a, 2 << 20, 0, &mem))
		tap_bail("connect: %s", amux_error());
	for (unsigned int i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		double engine = 0, both = 0;
		uint64_t wrong = 0;

		for (int t = 0; t < TRIES && (!t || both < AT_LEAST * engine); t++) {
			engine = run(a, &shapes[i], mem, AMUX_SQE_ENGINE_ONLY, &wrong);
			both = run(a, &shapes[i], mem, 0, &wrong);
		}
		tap_ok(!wrong, "%zu KiB: %llu copies failed", shapes[i].bytes >> 10,
		       (unsigned long long)wrong);
		if (TAP_SLOW > 1)
			tap_skip("engine and CPU together", "a sanitizer slows the copies");
		else
			tap_ok(both >= AT_LEAST * engine,
			       "%zu KiB at depth %u: %.0f MB/s by both, %.0f by the engine "
			       "alone",
			       shapes[i].bytes >> 10, shapes[i].depth, both / 1e6,
			       engine / 1e6);
	}
	amux_close(a);
	daemon_stop(&d);
	return tap_done();
}
