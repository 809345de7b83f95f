// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_status.c - status, tenants and devices for people.
 */
#include "cli.h"

#include <math.h>
#include <string.h>

/* Commands without arguments: the result of @method, or an exit code. */
static int simple_call(const struct cli *cli, const char *method, json_t **result)
{
	if (cli->argc > 1)
		return cli_fail(CLI_USAGE, "%s: '%s': expected no argument", cli->argv[0],
				cli->argv[1]);
	return cli_call(cli, method, NULL, result);
}

static void ratio_cell(struct cli_table *t, double v)
{
	if (isnan(v))
		cli_cell(t, "-");
	else
		cli_cell(t, "%.2f", v);
}

/* p50 and p99 of a histogram, "-" while it is empty. */
static void quantile_cells(struct cli_table *t, const json_t *hist)
{
	static const char *const keys[] = { "p50_ns", "p99_ns" };
	char buf[CLI_CELL];

	for (unsigned int i = 0; i < 2; i++)
		cli_cell(t, "%s",
			 cli_int(hist, "count") ? cli_time(buf, cli_int(hist, keys[i])) : "-");
}

/* Which part of the bytes went to the CPU. */
static void declined_cell(struct cli_table *t, uint64_t engine, uint64_t cpu)
{
	if (!engine && !cpu)
		cli_cell(t, "-");
	else
		cli_cell(t, "%.1f%%", 100 * (double)cpu / ((double)engine + (double)cpu));
}

/* "predicted 12, order 3", the non-zero ones. */
static void reasons_cell(struct cli_table *t, json_t *reasons)
{
	char buf[256] = "-";
	const char *name;
	json_t *value;
	size_t n = 0;

	json_object_foreach(reasons, name, value)
	{
		if (json_integer_value(value) && n < sizeof(buf))
			n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s%s %lld",
					      n ? ", " : "", name,
					      (long long)json_integer_value(value));
	}
	cli_cell(t, "%s", buf);
}

/* -------------------------------------------------------------------- status */

static void print_kernel(const json_t *class)
{
	const char *trace = cli_string(class, "trace");

	if (!json_is_true(json_object_get(class, "present"))) {
		printf("Kernel       %s\n", cli_string(class, "source"));
		return;
	}
	printf("Kernel       %s%s%s%s, grant %s, %llu batches, %llu mismatches\n",
	       cli_string(class, "source"), *trace ? " (" : "", trace, *trace ? ")" : "",
	       json_is_true(json_object_get(class, "grant_enabled")) ? "enabled" : "disabled",
	       (unsigned long long)cli_int(class, "requests"),
	       (unsigned long long)cli_int(class, "mismatches"));
}

static void print_head(const json_t *r)
{
	const json_t *classes = json_object_get(r, "classes"), *node;
	char buf[CLI_CELL];
	size_t i;

	printf("accelmux %s, pid %llu, up %s\n", cli_string(r, "version"),
	       (unsigned long long)cli_int(r, "pid"), cli_uptime(buf, cli_int(r, "uptime_ns")));
	printf("Policy       %s\n", cli_string(r, "policy"));
	json_array_foreach(json_object_get(r, "nodes"), i, node)
	{
		if (*cli_string(node, "reverted"))
			printf("             node %llu runs %s instead: %s\n",
			       (unsigned long long)cli_int(node, "node"),
			       cli_string(node, "policy"), cli_string(node, "reverted"));
	}
	print_kernel(json_array_get(classes, 0));
	if (json_is_true(json_object_get(r, "model")))
		printf("Model        devices and CPUs run %llu times slower than real ones\n",
		       (unsigned long long)cli_int(r, "time_scale"));
	printf("Clients      %llu connections, %llu tenants, %llu rejected\n",
	       (unsigned long long)cli_int(r, "connections"),
	       (unsigned long long)cli_int(r, "tenants"),
	       (unsigned long long)cli_int(r, "rejected"));
}

static void print_classes(const json_t *classes)
{
	static const char *const head[] = { "CLASS",	"REQUESTS", "ENGINE",	"CPU",
					    "WAIT p50", "WAIT p99", "vs ALONE", "vs CPU",
					    "DECLINED", "WHY" };
	struct cli_table *t = cli_table("lrrrrrrrrl");
	char buf[CLI_CELL];
	const json_t *c;
	size_t i;

	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(t, "%s", head[i]);
	json_array_foreach(classes, i, c)
	{
		json_t *why = json_object_get(c, "declines");

		if (!json_is_true(json_object_get(c, "present")))
			continue;
		cli_cell(t, "%s", cli_string(c, "class"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(c, "requests"));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(c, "engine_bytes")));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(c, "cpu_bytes")));
		quantile_cells(t, json_object_get(c, "wait"));
		ratio_cell(t, cli_real(c, "slowdown_alone"));
		ratio_cell(t, cli_real(c, "slowdown_cpu"));
		declined_cell(t, cli_int(c, "engine_bytes"), cli_int(c, "cpu_bytes"));
		reasons_cell(t, why ? why : json_object_get(c, "declined_pages"));
	}
	cli_table_print(t);
	puts("ALONE, CPU: time requests took over what they, and what their own queue held "
	     "before "
	     "them,\nwould have taken on an idle device, on the client's CPU.");
}

static void print_devices(const json_t *devices)
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

int cli_status(const struct cli *cli)
{
	json_t *r;
	int code = simple_call(cli, "status", &r);

	if (code)
		return code;
	if (cli->json) {
		code = cli_print_json(r);
	} else {
		print_head(r);
		putchar('\n');
		print_classes(json_object_get(r, "classes"));
		putchar('\n');
		print_devices(json_object_get(r, "devices"));
	}
	json_decref(r);
	return code;
}

/* ------------------------------------------------------------------- tenants */

static void print_tenants(const json_t *tenants)
{
	static const char *const head[] = { "TENANT", "WEIGHT",	  "RESERVE",  "LIMIT",
					    "CONNS",  "MEMORY",	  "QUEUED",   "ENGINE",
					    "CPU",    "WAIT p50", "WAIT p99", "vs ALONE",
					    "vs CPU", "FAILED",	  "DECLINED", "WHY" };
	struct cli_table *t = cli_table("lrrrrrrrrrrrrrrl");
	char buf[CLI_CELL];
	const json_t *x;
	size_t i;

	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(t, "%s", head[i]);
	json_array_foreach(tenants, i, x)
	{
		cli_cell(t, "%s", cli_string(x, "name"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(x, "weight"));
		cli_cell(t, "%s",
			 cli_int(x, "reserve_bps") ? cli_rate(buf, cli_int(x, "reserve_bps"))
						   : "-");
		cli_cell(t, "%s",
			 json_is_integer(json_object_get(x, "limit_bps"))
				 ? cli_rate(buf, cli_int(x, "limit_bps"))
				 : "-");
		cli_cell(t, "%llu", (unsigned long long)cli_int(x, "connections"));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(x, "region_bytes")));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(x, "queued_bytes")));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(x, "engine_bytes")));
		cli_cell(t, "%s", cli_bytes(buf, cli_int(x, "declined_bytes")));
		quantile_cells(t, json_object_get(x, "wait"));
		ratio_cell(t, cli_real(x, "slowdown_alone"));
		ratio_cell(t, cli_real(x, "slowdown_cpu"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(x, "failed"));
		declined_cell(t, cli_int(x, "engine_bytes"), cli_int(x, "declined_bytes"));
		reasons_cell(t, json_object_get(x, "declines"));
	}
	cli_table_print(t);
}

int cli_tenants(const struct cli *cli)
{
	json_t *r;
	int code = simple_call(cli, "tenants", &r);

	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else
		print_tenants(json_object_get(r, "tenants"));
	json_decref(r);
	return code;
}

/* ------------------------------------------------------------------- devices */

static void print_engines(const json_t *devices)
{
	static const char *const head[] = { "DEVICE",  "ENGINE",   "BUSY",  "WQ",
					    "ENTRIES", "PRIORITY", "BYTES", "DESCRIPTORS",
					    "WQ FULL", "ERRORS",   "CPU",   "STATE" };
	struct cli_table *t = cli_table("lrrlrrrrrrrl");
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
				cli_cell(t, "%s", cli_string(e, "state"));
			}
		}
	}
	cli_table_print(t);
	puts("BUSY is the average since the start; BUSY, ERRORS, CPU and STATE are the "
	     "engine's, not the WQ's.");
}

int cli_devices(const struct cli *cli)
{
	json_t *r;
	int code = simple_call(cli, "devices", &r);

	if (code)
		return code;
	if (cli->json) {
		code = cli_print_json(r);
	} else {
		print_devices(json_object_get(r, "devices"));
		putchar('\n');
		print_engines(json_object_get(r, "devices"));
	}
	json_decref(r);
	return code;
}
