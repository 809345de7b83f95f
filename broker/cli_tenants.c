// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_tenants.c - tenants: who uses the broker; set and evict.
 */
#include "cli.h"

#include <string.h>

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
		cli_cell_quantiles(t, json_object_get(x, "wait"));
		cli_cell_ratio(t, cli_real(x, "slowdown_alone"));
		cli_cell_ratio(t, cli_real(x, "slowdown_cpu"));
		cli_cell(t, "%llu", (unsigned long long)cli_int(x, "failed"));
		cli_cell_declined(t, cli_int(x, "engine_bytes"), cli_int(x, "declined_bytes"));
		cli_cell_reasons(t, json_object_get(x, "declines"));
	}
	cli_table_print(t);
}

/* ---------------------------------------------------------------- set, evict */

static int tenants_set(const struct cli *cli)
{
	static const char *const keys[] = { "weight", "reserve", "limit" };
	json_t *params = NULL, *r;
	int code;

	if (cli->argc < 4)
		return cli_fail(CLI_USAGE, "tenants set: expected NAME and at least one of "
					   "weight=N, reserve=RATE, limit=RATE");
	params = json_pack("{s:s}", "name", cli->argv[2]);
	for (int i = 3; params && i < cli->argc; i++) {
		const char *arg = cli->argv[i], *eq = strchr(arg, '=');
		unsigned int k = 0;

		while (k < 3 && (!eq || strlen(keys[k]) != (size_t)(eq - arg) ||
				 strncmp(arg, keys[k], (size_t)(eq - arg))))
			k++;
		if (k == 3 || json_object_get(params, keys[k])) {
			code = cli_fail(CLI_USAGE,
					"tenants set: '%s': expected weight=N, reserve=RATE or "
					"limit=RATE, each once",
					arg);
			json_decref(params);
			return code;
		}
		if (json_object_set_new(params, keys[k], json_string(eq + 1))) {
			json_decref(params);
			params = NULL;
		}
	}
	if (!params)
		return cli_fail(CLI_USAGE, "tenants set: expected valid UTF-8");
	code = cli_call(cli, "tenants.set", params, &r);
	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else
		printf("%s: set until the broker restarts or reloads its configuration\n",
		       cli->argv[2]);
	json_decref(r);
	return code;
}

static int tenants_evict(const struct cli *cli)
{
	const char *name = NULL, *reason = NULL;
	json_t *params, *r;
	int code;

	for (int i = 2; i < cli->argc; i++) {
		const char *arg = cli->argv[i];

		if (!strcmp(arg, "--reason") && i + 1 < cli->argc)
			reason = cli->argv[++i];
		else if (!strncmp(arg, "--reason=", 9))
			reason = arg + 9;
		else if (!name && arg[0] != '-')
			name = arg;
		else
			return cli_fail(CLI_USAGE,
					"tenants evict: '%s': expected NAME [--reason TEXT]",
					arg);
	}
	if (!name)
		return cli_fail(CLI_USAGE, "tenants evict: expected NAME [--reason TEXT]");
	params = json_pack("{s:s, s:s*}", "name", name, "reason", reason);
	if (!params)
		return cli_fail(CLI_USAGE, "tenants evict: expected valid UTF-8");
	code = cli_call(cli, "tenants.evict", params, &r);
	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else
		printf("%s: %llu connections cut off\n", name,
		       (unsigned long long)cli_int(r, "evicted"));
	json_decref(r);
	return code;
}

int cli_tenants(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "list";
	json_t *r;
	int code;

	if (!strcmp(what, "set"))
		return tenants_set(cli);
	if (!strcmp(what, "evict"))
		return tenants_evict(cli);
	if (strcmp(what, "list"))
		return cli_fail(CLI_USAGE, "tenants: '%s': expected one of: list, set, evict",
				what);
	if (cli->argc > 2)
		return cli_fail(CLI_USAGE, "tenants list: '%s': expected no argument",
				cli->argv[2]);
	code = cli_call(cli, "tenants", NULL, &r);
	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else
		print_tenants(json_object_get(r, "tenants"));
	json_decref(r);
	return code;
}
