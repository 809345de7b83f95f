/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli_top.h - what the files of `accelmux top` share: two samples of the broker, the text that is
 * made of their difference, and the screen it is shown on.
 *
 * Owner: cli_top.c's struct top.  Thread: the command's only one.
 */
#ifndef BROKER_CLI_TOP_H
#define BROKER_CLI_TOP_H

#include "cli.h"

enum top_sort { TOP_BYTES = 0, TOP_WAIT, TOP_DECLINED, TOP_QUEUED, TOP_NAME, TOP_SORTS };

/* What the broker said at one time; both NULL: nothing. */
struct top_sample {
	json_t *status, *tenants;
};

struct top {
	const struct cli *cli;
	uint64_t interval_ns;
	uint64_t count; /* frames; 0: until asked to end */
	bool plain;
	enum top_sort sort;
	bool params; /* show the policy's parameters instead of tenants */
	json_t *policy;
	struct top_sample now, before;
	char error[256]; /* why there is no sample now, "" if there is one */
};

/* cli_top.c: ask the broker; @t->now is the older sample afterwards.  CLI_OK, or a code and
 * @t->error: there is none now. */
int top_sample(struct top *t);

extern const char *const top_sorts[TOP_SORTS];

/* cli_top_frame.c: write what @t shows to @f, a line of headings after every empty line. */
void top_frame(const struct top *t, FILE *f);

/* cli_top_screen.c: show it on the terminal until the user has seen enough.  An exit code. */
int top_screen(struct top *t);

#endif /* BROKER_CLI_TOP_H */
