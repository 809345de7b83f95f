// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_devices.c - devices: engines and their work queues; drain and resume.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

void cli_print_devices(const json_t *devices)
{
	static const char *const head[] = { "DEVICE",	 "KIND",    "NODE",   "ENGINES",
					    "RATE",	 "BUSY",    "KERNEL", "USER",
					    "IN FLIGHT", "WQ FULL", "ERRORS" };
	struct cli_table *t = cli_table("llrrrrrrrrr");
	char buf[CLI_CELL];
	const json_t *d, *e, *wq;
	size_t i, j, w;

	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(t, "%s", head[i]);
	json_array_foreach(devices, i, d)
	{
		const json_t *engines = json_object_get(d, "engines");
		const json_t *inflight = json_object_get(d, "inflight_bytes");
		uint64_t bytes[2] = { 0, 0 }, full = 0, errors = 0;
		size_t n = json_array_size(engines);
		double busy = 0;

		json_array_foreach(engines, j, e)
		{
			busy += json_number_value(json_object_get(e, "utilisation"));
			errors += cli_int(e, "errors");
			json_array_foreach(json_object_get(e, "wqs"), w, wq)
			{
				bytes[!strcmp(cli_string(wq, "wq"), "user")] +=
					cli_int(wq, "bytes");
				full += cli_int(wq, "full");
			}
		}
		cli_cell(t, "%s", cli_string(d, "name"));
		cli_cell(t, "%s%s", cli_string(d, "engine"),
			 json_is_true(json_object_get(d, "modelled")) ? " (modelled)" : "");
		cli_cell(t, "%lld", (long long)cli_int(d, "node"));
		cli_cell(t, "%zu", n);
		cli_cell(t, "%s", cli_rate(buf, cli_int(d, "rate_bps")));
		cli_cell(t, "%.1f%%", n ? 100 * busy / (double)n : 0.0);
		cli_cell(t, "%s", cli_bytes(buf, bytes[0]));
		cli_cell(t, "%s", cli_bytes(buf, bytes[1]));
		cli_cell(t, "%s",
			 cli_bytes(buf,
				   cli_int(inflight, "kernel") + cli_int(inflight, "user")));
		cli_cell(t, "%llu", (unsigned long long)full);
		cli_cell(t, "%llu", (unsigned long long)errors);
	}
	cli_table_print(t);
}

static void print_engines(const json_t *devices)
{
	static const char *const head[] = { "DEVICE",  "ENGINE",   "BUSY",  "WQ",
					    "ENTRIES", "PRIORITY", "BYTES", "DESCRIPTORS",
					    "WQ FULL", "ERRORS",   "CPU",   "IN FLIGHT",
					    "GRANTED", "STATE" };
	struct cli_table *t = cli_table("lrrlrrrrrrrrll");
	const json_t *d, *e, *wq;
	char buf[CLI_CELL];
	size_t i, j, w;

	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(t, "%s", head[i]);
	json_array_foreach(devices, i, d)
	{
		json_array_foreach(json_object_get(d, "engines"), j, e)
		{
			json_array_foreach(json_object_get(e, "wqs"), w, wq)
			{
				cli_cell(t, "%s", cli_string(d, "name"));
				cli_cell(t, "%llu", (unsigned long long)cli_int(e, "engine"));
				cli_cell(t, "%.1f%%",
					 100 * json_number_value(
						       json_object_get(e, "utilisation")));
				cli_cell(t, "%s", cli_string(wq, "wq"));
				cli_cell(t, "%llu", (unsigned long long)cli_int(wq, "entries"));
				cli_cell(t, "%llu",
					 (unsigned long long)cli_int(wq, "priority"));
				cli_cell(t, "%s", cli_bytes(buf, cli_int(wq, "bytes")));
				cli_cell(t, "%llu",
					 (unsigned long long)cli_int(wq, "descriptors"));
				cli_cell(t, "%llu", (unsigned long long)cli_int(wq, "full"));
				cli_cell(t, "%llu", (unsigned long long)cli_int(e, "errors"));
				cli_cell(t, "%s", cli_time(buf, cli_int(e, "cpu_ns")));
				/* What the kernel has there is known of the device alone. */
				cli_cell(
					t, "%s",
					strcmp(cli_string(wq, "wq"), "user")
						? "-"
						: cli_bytes(buf, cli_int(e, "inflight_bytes")));
				cli_cell(t, "%s",
					 json_is_true(json_object_get(e, cli_string(wq, "wq")))
						 ? "yes"
						 : "no");
				cli_cell(t, "%s", cli_string(e, "state"));
			}
		}
	}
	cli_table_print(t);
	puts("BUSY is the average since the start; BUSY, ERRORS, CPU and STATE are the "
	     "engine's, not the WQ's.\nGRANTED: the plan lets the class of that WQ use it.");
}

/* ------------------------------------------------------------- drain, resume */

#define POLL_NS	   20000000
#define TIMEOUT_NS (60 * NSEC_PER_SEC)

struct target {
	char device[64];
	int engine; /* -1: all of them */
	bool drain;
	uint64_t timeout_ns;
};

/* DEVICE[/ENGINE] and, to drain, --timeout TIME.  CLI_OK, or CLI_USAGE and a line. */
static int parse_target(const struct cli *cli, struct target *to)
{
	const char *what = cli->argv[1], *text = NULL, *slash;
	char *end;
	size_t len;

	*to = (struct target){ .engine = -1,
			       .drain = !strcmp(what, "drain"),
			       .timeout_ns = TIMEOUT_NS };
	for (int i = 2; i < cli->argc; i++) {
		const char *arg = cli->argv[i], *value = NULL;

		if (to->drain && !strcmp(arg, "--timeout"))
			value = i + 1 < cli->argc ? cli->argv[++i] : "";
		else if (to->drain && !strncmp(arg, "--timeout=", 10))
			value = arg + 10;
		if (value) {
			if (!cli_parse_time(value, &to->timeout_ns) ||
			    to->timeout_ns > 86400 * NSEC_PER_SEC)
				return cli_fail(CLI_USAGE,
						"devices drain: --timeout '%s': expected up to "
						"86400s, such as 500ms or 10s",
						value);
		} else if (text || arg[0] == '-') {
			return cli_fail(CLI_USAGE, "devices %s: '%s': expected %s", what, arg,
					!text	    ? "DEVICE[/ENGINE]"
					: to->drain ? "nothing but --timeout"
						    : "nothing more");
		} else {
			text = arg;
		}
	}
	if (!text)
		return cli_fail(CLI_USAGE, "devices %s: expected DEVICE[/ENGINE]", what);
	slash = strchr(text, '/');
	len = slash ? (size_t)(slash - text) : strlen(text);
	if (slash) {
		to->engine = (int)strtoul(slash + 1, &end, 10);
		if (*end || slash[1] < '0' || slash[1] > '9' || strlen(slash) > 4)
			return cli_fail(CLI_USAGE,
					"devices %s: '%s': expected the engine to be a number",
					what, text);
	}
	if (!len || len >= sizeof(to->device))
		return cli_fail(CLI_USAGE, "devices %s: '%s': expected the name of a device",
				what, text);
	memcpy(to->device, text, len);
	to->device[len] = '\0';
	return CLI_OK;
}

/* Is every engine of @to as it shall be?  Otherwise what is in flight there is in *@bytes. */
static bool settled(const json_t *devices, const struct target *to, uint64_t *bytes)
{
	const json_t *d, *e;
	bool all = true;
	size_t i, j;

	*bytes = 0;
	json_array_foreach(devices, i, d)
	{
		if (strcmp(cli_string(d, "name"), to->device))
			continue;
		*bytes = cli_int(json_object_get(d, "inflight_bytes"), "kernel");
		json_array_foreach(json_object_get(d, "engines"), j, e)
		{
			const char *state = cli_string(e, "state");
			bool drained = json_is_true(json_object_get(e, "drained"));

			if (to->engine >= 0 && to->engine != (int)j)
				continue;
			*bytes += cli_int(e, "inflight_bytes");
			/* One that is down has nothing that could be waited for. */
			all &= drained == to->drain && strcmp(state, "draining");
		}
	}
	return all;
}

/* Ask until it is so twice: the kernel side rereads its grant before each chunk, not after. */
static int await(const struct cli *cli, const struct target *to, json_t **r)
{
	uint64_t end = clock_ns() + to->timeout_ns, bytes = 0;
	char cell[CLI_CELL];
	unsigned int times = 0;
	int code;

	for (;;) {
		times = settled(json_object_get(*r, "devices"), to, &bytes) ? times + 1 : 0;
		if (times == 2)
			return CLI_OK;
		if (clock_ns() >= end)
			return cli_fail(CLI_FAILED,
					"devices %s: %s: %s still in flight; no new work goes "
					"there, accelmux devices shows when it is over",
					cli->argv[1], to->device, cli_bytes(cell, bytes));
		nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
		json_decref(*r);
		*r = NULL;
		code = cli_call(cli, "devices", NULL, r);
		if (code)
			return code;
	}
}

static int change(const struct cli *cli)
{
	json_t *params, *r = NULL;
	struct target to;
	int code = parse_target(cli, &to);

	if (code)
		return code;
	params = json_pack("{s:s}", "device", to.device);
	if (!params)
		return cli_fail(CLI_USAGE, "devices %s: '%s': expected valid UTF-8",
				cli->argv[1], to.device);
	if (to.engine >= 0)
		json_object_set_new(params, "engine", json_integer(to.engine));
	code = cli_call(cli, to.drain ? "devices.drain" : "devices.resume", params, &r);
	if (code)
		return code;
	code = await(cli, &to, &r);
	if (!code && cli->json)
		code = cli_print_json(r);
	else if (!code && to.engine >= 0)
		printf("%s/%d: %s\n", to.device, to.engine,
		       to.drain ? "drained, until it is resumed or the broker restarts"
				: "in use");
	else if (!code)
		printf("%s: %s\n", to.device,
		       to.drain ? "drained, until it is resumed or the broker restarts"
				: "in use");
	json_decref(r);
	return code;
}

int cli_devices(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "list";
	json_t *r;
	int code;

	if (!strcmp(what, "drain") || !strcmp(what, "resume"))
		return change(cli);
	if (strcmp(what, "list"))
		return cli_fail(CLI_USAGE,
				"devices: '%s': expected one of: list, drain, resume", what);
	if (cli->argc > 2)
		return cli_fail(CLI_USAGE, "devices list: '%s': expected no argument",
				cli->argv[2]);
	code = cli_call(cli, "devices", NULL, &r);
	if (code)
		return code;
	if (cli->json) {
		code = cli_print_json(r);
	} else {
		cli_print_devices(json_object_get(r, "devices"));
		putchar('\n');
		print_engines(json_object_get(r, "devices"));
	}
	json_decref(r);
	return code;
}
