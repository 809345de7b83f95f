/* SPDX-License-Identifier: MIT */
/*
 * stage.h - where the tour takes place: a private directory with a broker in it, and nothing
 * anywhere else.
 *
 * Owner: the tour; stage_close() ends the broker and removes the directory.  One thread.
 */
#ifndef DEMO_STAGE_H
#define DEMO_STAGE_H

#include <jansson.h>

#include "child.h"

#define STAGE_POLICY  "shared"	  /* what a broker starts with */
#define STAGE_PASS_NS 15000000ull /* unscaled: 1.5 s at time_scale 100 */

struct stage {
	const char *build; /* where accelmuxd and accelmux are */
	char dir[64];	   /* "" if there is none */
	char socket[96];   /* of the session */
	char control[96];
	char config[96];
	char trace[96];
	char log[96];
	unsigned int port; /* of the metrics */
	struct child broker;
};

/* Make the directory.  0 or -errno. */
int stage_open(struct stage *s, const char *build);

/*
 * Start a broker on the modelled soft DSA with two tenants of these weights.  @trace: a file
 * whose beginning the kernel class repeats, one pass in STAGE_PASS_NS of its time: half of
 * that work, half rest.  NULL: no kernel class.  Returns when it answers.
 */
int stage_start(struct stage *s, unsigned int gold, unsigned int bronze, const char *trace);

/* `accelmux ARG...` at that broker (at most 4 of them, ended by NULL); *@answer is its JSON. */
int stage_call(struct stage *s, json_t **answer, const char *arg, ...)
	__attribute__((sentinel));

/* Drain and end the broker.  0, or -EIO if it did not end well. */
int stage_stop(struct stage *s);

/* What the broker and the others wrote to standard error. */
void stage_print_log(const struct stage *s);

void stage_close(struct stage *s);

#endif /* DEMO_STAGE_H */
