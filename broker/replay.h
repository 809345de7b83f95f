/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * replay.h - the kernel class by replay of a migration trace: a thread that stands where
 * accelmux.ko would, reads the same grant page, submits to the same kernel WQs, and copies
 * with the CPU whatever it is not granted.
 *
 * Owner: the broker.  Threads: open/close by the control thread; the replay's own thread is
 * the single submitter of the kernel WQs and the single writer of the demand page.
 */
#ifndef BROKER_REPLAY_H
#define BROKER_REPLAY_H

#include <stddef.h>

#include "../kmod/uapi/accelmux.h"
#include "engine.h"

struct replay;

struct replay_config {
	const char *path; /* trace file, docs/kernel-replay.md */
	bool loop;	  /* start again at the end */
	bool verify;	  /* compare every page after its copy */
	uint64_t time_scale;
	uint64_t cpu_bps;    /* modelled CPU copy rate, scaled; 0: full speed */
	uint64_t timeout_ns; /* of a descriptor; 0: 1 s * max(1, time_scale / 10) */
};

/* Called by the replay thread after a batch arrived: wakes the mux if it sleeps. */
struct replay_notify {
	void (*arrived)(void *arg);
	void *arg;
};

/*
 * Load and validate the trace and prepare the arena of pages.  @map: AMUX_GRANT_MAP_BYTES
 * shared with the broker's grant_link.  On error -errno and one line in @err that names file,
 * line, value and what was expected.
 */
int replay_open(struct replay **out, const struct replay_config *cfg, void *map,
		struct device *const *dev, unsigned int n_devs,
		const struct replay_notify *notify, char *err, size_t errlen);
int replay_start(struct replay *r);
/* Stop: finish the batch in progress (what is not on an engine yet by the CPU, at full speed),
 * wait until nothing is in flight.  Whoever calls progress() must still be doing so.
 * Idempotent. */
void replay_stop(struct replay *r);
void replay_close(struct replay *r);
/* Pages that differed after their copy; must be 0. */
uint64_t replay_mismatches(const struct replay *r);
/* What the trace's header says of where it comes from: "synthetic", "recorded", "paced". */
const char *replay_provenance(const struct replay *r);

#endif /* BROKER_REPLAY_H */
