/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli.h - what the files of the `accelmux` command share.  The command links libaccelmux, jansson
 * and libaccel-config (and trace*.c, idxd.c, layout*.c) and knows the broker by its two
 * sockets.
 *
 * One thread.  Commands return the process's exit code and have then printed one line on
 * standard error if it is not CLI_OK.
 */
#ifndef BROKER_CLI_H
#define BROKER_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NO_BROKER = 3,
};

struct cli {
	const char *socket; /* --socket, or NULL */
	bool json;
	int argc; /* of the command: argv[0] is its name */
	char **argv;
};

/* cli.c: print "accelmux: ..." on standard error and return @code. */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The commands, each in the file of its name. */
int cli_status(const struct cli *cli);
int cli_top(const struct cli *cli);
int cli_tenants(const struct cli *cli);
int cli_devices(const struct cli *cli);
int cli_policy(const struct cli *cli);
int cli_bench(const struct cli *cli);
int cli_trace(const struct cli *cli);
int cli_setup(const struct cli *cli);
int cli_doctor(const struct cli *cli);
int cli_names(const struct cli *cli);

/* cli.c: the name of the command with number @i; NULL: there are fewer. */
const char *cli_command_name(unsigned int i);

/* cli_rpc.c: call @method with @params (consumed; NULL: none).  CLI_OK and *@result, the
 * caller's to json_decref(). */
int cli_call(const struct cli *cli, const char *method, json_t *params, json_t **result);

/* cli_rpc.c: the same with a time-out, and with what went wrong in @err instead of a line on
 * standard error. */
int cli_try(const struct cli *cli, const char *method, json_t *params, uint64_t timeout_ns,
	    json_t **result, char *err, size_t errlen);

/* cli_rpc.c: the same for a command that takes no arguments, and has none. */
int cli_call_plain(const struct cli *cli, const char *method, json_t **result);

/* cli_rpc.c: the control socket to use, @len bytes of @buf at its service. */
const char *cli_control(const struct cli *cli, char *buf, size_t len);

/* cli_rpc.c: write @result to standard output, for --json. */
int cli_print_json(const json_t *result);

/* cli_units.c: parse "64K" (1024), "5G" (1e9) or "2s", "5ms"; false if it is no such thing. */
bool cli_parse_bytes(const char *text, uint64_t *out);
bool cli_parse_rate(const char *text, uint64_t *out_bps);
bool cli_parse_time(const char *text, uint64_t *out_ns);

/* cli_units.c: for people.  Each returns @buf, CLI_CELL bytes. */
#define CLI_CELL 48
char *cli_bytes(char *buf, uint64_t bytes);
char *cli_rate(char *buf, uint64_t bps);
char *cli_time(char *buf, uint64_t ns);
char *cli_uptime(char *buf, uint64_t ns);

/* cli_table.c: rows of cells, columns aligned at the end.  @align has a letter per column,
 * 'l' or 'r'. */
struct cli_table;
struct cli_table *cli_table(const char *align);
/* Add the next cell, copied; control characters become '?'. */
void cli_cell(struct cli_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print, on standard output or @f, and free. */
void cli_table_print(struct cli_table *t);
void cli_table_print_to(struct cli_table *t, FILE *f);

/* cli_cells.c: a ratio, "-" for NaN; p50 and p99 of a histogram, two cells; which part of the
 * bytes went to the CPU; the non-zero ones of an object's counters. */
void cli_cell_ratio(struct cli_table *t, double v);
void cli_cell_quantiles(struct cli_table *t, const json_t *hist);
void cli_cell_declined(struct cli_table *t, uint64_t engine, uint64_t cpu);
void cli_cell_reasons(struct cli_table *t, json_t *reasons);

/* cli_devices.c: a line for each device. */
void cli_print_devices(const json_t *devices);

/* cli_units.c: members of RPC results; 0, "" and NaN for what is not there or is null. */
uint64_t cli_int(const json_t *object, const char *key);
const char *cli_string(const json_t *object, const char *key);
double cli_real(const json_t *object, const char *key);

#endif /* BROKER_CLI_H */
