// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_names.c - names: the words that shell completion offers, one a line.  Nothing is said where
 * there is no broker: a completion that complains is worse than none.
 */
#include "cli.h"

#include <string.h>

#include "clock.h"

#define ANSWER_NS NSEC_PER_SEC

static void print_list(const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) puts(cli_string(v, "name"));
}

static void print_devices(const json_t *devices)
{
	const json_t *d;
	size_t i;

	json_array_foreach(devices, i, d)
	{
		puts(cli_string(d, "name"));
		for (size_t e = 0; e < json_array_size(json_object_get(d, "engines")); e++)
			printf("%s/%zu\n", cli_string(d, "name"), e);
	}
}

/* "KEY=" of each parameter of policy @name. */
static void print_params(const json_t *policies, const char *name)
{
	const json_t *p, *param;
	size_t i, j;

	json_array_foreach(policies, i, p)
	{
		if (strcmp(cli_string(p, "name"), name))
			continue;
		json_array_foreach(json_object_get(p, "params"), j, param)
			printf("%s=\n", cli_string(param, "name"));
	}
}

static json_t *ask(const struct cli *cli, const char *method)
{
	json_t *r = NULL;
	char err[256];

	return cli_try(cli, method, NULL, ANSWER_NS, &r, err, sizeof(err)) ? NULL : r;
}

int cli_names(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "";
	json_t *r = NULL;

	if (!strcmp(what, "commands")) {
		for (unsigned int i = 0; cli_command_name(i); i++)
			puts(cli_command_name(i));
	} else if (!strcmp(what, "tenants")) {
		r = ask(cli, "tenants");
		print_list(json_object_get(r, "tenants"));
	} else if (!strcmp(what, "devices")) {
		r = ask(cli, "devices");
		print_devices(json_object_get(r, "devices"));
	} else if (!strcmp(what, "policies")) {
		r = ask(cli, "policy.list");
		print_list(json_object_get(r, "policies"));
	} else if (!strcmp(what, "params") && cli->argc > 2) {
		r = ask(cli, "policy.list");
		print_params(json_object_get(r, "policies"), cli->argv[2]);
	} else {
		return cli_fail(CLI_USAGE,
				"names: '%s': expected one of: commands, tenants, devices, "
				"policies, params POLICY",
				what);
	}
	json_decref(r);
	return CLI_OK;
}
