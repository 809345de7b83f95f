// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_status.c - the broker at a glance, for people.
 */
#include "cli.h"

#include <string.h>

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
		cli_cell_quantiles(t, json_object_get(c, "wait"));
		cli_cell_ratio(t, cli_real(c, "slowdown_alone"));
		cli_cell_ratio(t, cli_real(c, "slowdown_cpu"));
		cli_cell_declined(t, cli_int(c, "engine_bytes"), cli_int(c, "cpu_bytes"));
		cli_cell_reasons(t, why ? why : json_object_get(c, "declined_pages"));
	}
	cli_table_print(t);
	puts("ALONE, CPU: time requests took over what they, and what their own queue held "
	     "before "
	     "them,\nwould have taken on an idle device, on the client's CPU.");
}

int cli_status(const struct cli *cli)
{
	json_t *r;
	int code = cli_call_plain(cli, "status", &r);

	if (code)
		return code;
	if (cli->json) {
		code = cli_print_json(r);
	} else {
		print_head(r);
		putchar('\n');
		print_classes(json_object_get(r, "classes"));
		putchar('\n');
		cli_print_devices(json_object_get(r, "devices"));
	}
	json_decref(r);
	return code;
}
