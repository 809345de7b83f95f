/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli_trace.h - what the commands of `accelmux trace` share: their arguments, and the file that
 * a trace is written to.  cli_record.c: record; cli_trace.c: show, pace, and these.
 */
#ifndef BROKER_CLI_TRACE_H
#define BROKER_CLI_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli.h"
#include "trace.h"

enum { CLI_TRACE_RECORD = 1, CLI_TRACE_SHOW = 2, CLI_TRACE_PACE = 4 };

struct trace_args {
	const char *what; /* of the command, for complaints */
	const char *file[2];
	unsigned int files;
	uint64_t time_ns, max, bps, seed;
	bool force;
};

/* Fill @a from what is given to @command, which wants so many @files.  CLI_OK, or CLI_USAGE
 * after the complaint. */
int trace_args_parse(struct trace_args *a, const struct cli *cli, unsigned int command,
		     unsigned int files);

/* Where a trace will be written: known to be possible before any work is done. */
struct trace_output {
	const char *path;
	int fd;
	bool ours; /* made by us: goes again if nothing comes of it */
};

/* CLI_OK, or CLI_FAILED after the complaint. */
int trace_output_open(struct trace_output *out, const char *path, const struct trace_args *a);
/* Nothing comes of it. */
void trace_output_drop(struct trace_output *out);
/* Write @t with @notes as comments, and close. */
int trace_output_write(struct trace_output *out, const struct trace_args *a,
		       const struct trace *t, const char *notes);

/* cli_record.c: trace record FILE */
int cli_trace_record(const struct cli *cli);

#endif /* BROKER_CLI_TRACE_H */
