/* SPDX-License-Identifier: MIT */
/*
 * report.h - what the rounds of a row came to: for people on stdout, for programs as JSON.
 *
 * Owner: main.c.  Thread: the main thread.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>

#include "row.h"

struct result {
	const struct row *row;
	unsigned int rounds;	      /* quiet ones: those that count */
	unsigned int noisy;	      /* thrown away */
	bool gave_up;		      /* too many of them */
	char noise[128];	      /* of the last one */
	char absent[PROBES_MAX][128]; /* why a probe was not measured; "" if it was */
	struct sample sample[PROBES_MAX][ROUNDS_MAX];
};

/* Print the row; its JSON is a new reference.  *@missed is raised by each missed target,
 * named on stdout. */
json_t *report_row(const struct result *r, unsigned int *missed);

#endif /* BENCH_REPORT_H */
