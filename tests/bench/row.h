/* SPDX-License-Identifier: MIT */
/*
 * row.h - the rows of the table: which probes stand side by side, and what must come out.
 *
 * Owner: rows.c, constant.  Threads: any.
 */
#ifndef BENCH_ROW_H
#define BENCH_ROW_H

#include "bench.h"

enum relation { AT_LEAST, AT_MOST };

/* Judged by the median over the rounds of what each round gives. */
enum judge {
	JUDGE_RATIO,	  /* value of probe a / value of probe b */
	JUDGE_DIFFERENCE, /* a - b, in their unit */
	JUDGE_VALUE,	  /* a alone */
};

struct target {
	enum judge judge;
	unsigned int a, b;
	enum relation relation;
	double limit;
	double aim; /* better still; 0: none */
};

struct row {
	const char *name, *what;
	size_t set;	  /* bytes of the source buffer, and of the destination; 0: none */
	const char *spin; /* of the broker; NULL: its default */
	bool once;	  /* one round is enough: it counts, it does not time */
	unsigned int n_probes, n_targets;
	struct probe probes[PROBES_MAX];
	struct target targets[TARGETS_MAX];
};

extern const struct row rows[];
extern const unsigned int n_rows;

#endif /* BENCH_ROW_H */
