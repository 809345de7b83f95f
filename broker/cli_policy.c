// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_policy.c - policy list, get and set.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_params(const json_t *params)
{
	static const char *const head[] = { "PARAMETER", "VALUE", "DEFAULT",
					    "MIN",	 "MAX",	  "MEANING" };
	struct cli_table *t;
	const json_t *p;
	size_t i;

	if (!json_array_size(params))
		return;
	t = cli_table("lrrrrl");
	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		cli_cell(t, "%s", head[i]);
	json_array_foreach(params, i, p)
	{
		cli_cell(t, "%s", cli_string(p, "name"));
		cli_cell(t, "%s", cli_string(p, "text"));
		cli_cell(t, "%s", cli_string(p, "default"));
		cli_cell(t, "%s", cli_string(p, "min"));
		cli_cell(t, "%s", cli_string(p, "max"));
		cli_cell(t, "%s", cli_string(p, "help"));
	}
	cli_table_print(t);
}

static void print_policy(const json_t *r)
{
	const json_t *node, *plugin = json_object_get(r, "plugin");
	size_t i;

	printf("%s: %s\n", cli_string(r, "policy"), cli_string(r, "summary"));
	if (json_is_object(plugin) && cli_int(plugin, "pid"))
		printf("plug-in %s, process %llu\n", cli_string(plugin, "file"),
		       (unsigned long long)cli_int(plugin, "pid"));
	else if (json_is_object(plugin))
		printf("plug-in %s, which has ended\n", cli_string(plugin, "file"));
	json_array_foreach(json_object_get(r, "in_force"), i, node)
	{
		if (*cli_string(node, "reverted"))
			printf("node %llu runs %s instead: %s\n",
			       (unsigned long long)cli_int(node, "node"),
			       cli_string(node, "policy"), cli_string(node, "reverted"));
	}
	print_params(json_object_get(r, "params"));
}

static void print_policies(const json_t *policies)
{
	const json_t *p;
	size_t i;

	json_array_foreach(policies, i, p)
	{
		printf("%s%s%s: %s\n", i ? "\n" : "", cli_string(p, "name"),
		       json_is_true(json_object_get(p, "active")) ? " (in use)" : "",
		       cli_string(p, "summary"));
		print_params(json_object_get(p, "params"));
	}
}

/* A file is looked up from here, not from where the broker was started.  NULL: complained. */
static const char *set_name(const char *name, char *buf, size_t len)
{
	size_t n = strlen(name);
	char *cwd;
	int rc;

	if (*name == '/' || (!strchr(name, '/') && (n < 4 || strcmp(name + n - 3, ".so"))))
		return name;
	cwd = getcwd(NULL, 0);
	rc = cwd ? snprintf(buf, len, "%s/%s", cwd, name) : -1;
	free(cwd);
	if (rc >= 0 && (size_t)rc < len)
		return buf;
	cli_fail(CLI_USAGE, "policy set: '%s': expected a path of at most %zu characters", name,
		 len - 1);
	return NULL;
}

/* {"name": NAME, "params": {KEY: VALUE, ...}} from the command line; NULL: complained. */
static json_t *set_params(const struct cli *cli)
{
	json_t *params = json_object(), *all;
	char path[1024];
	const char *name = set_name(cli->argv[2], path, sizeof(path));

	if (!name)
		goto bad;
	for (int i = 3; i < cli->argc; i++) {
		const char *arg = cli->argv[i], *eq = strchr(arg, '=');
		char key[64];

		if (!eq || eq == arg || (size_t)(eq - arg) >= sizeof(key)) {
			cli_fail(CLI_USAGE, "policy set: '%s': expected KEY=VALUE", arg);
			goto bad;
		}
		memcpy(key, arg, (size_t)(eq - arg));
		key[eq - arg] = '\0';
		if (json_object_get(params, key)) {
			cli_fail(CLI_USAGE, "policy set: '%s': given twice", key);
			goto bad;
		}
		if (json_object_set_new(params, key, json_string(eq + 1))) {
			cli_fail(CLI_USAGE, "policy set: '%s': expected valid UTF-8", arg);
			goto bad;
		}
	}
	all = json_pack("{s:s, s:o}", "name", name, "params", params);
	if (!all)
		cli_fail(CLI_USAGE, "policy set: '%s': expected valid UTF-8", cli->argv[2]);
	return all;
bad:
	json_decref(params);
	return NULL;
}

static int policy_set(const struct cli *cli)
{
	json_t *params, *r;
	int code;

	if (cli->argc < 3)
		return cli_fail(CLI_USAGE,
				"policy set: expected NAME or FILE.so [KEY=VALUE...]");
	params = set_params(cli);
	if (!params)
		return CLI_USAGE;
	code = cli_call(cli, "policy.set", params, &r);
	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else
		print_policy(r);
	json_decref(r);
	return code;
}

int cli_policy(const struct cli *cli)
{
	const char *what = cli->argc > 1 ? cli->argv[1] : "";
	bool list = !strcmp(what, "list");
	json_t *r;
	int code;

	if (!strcmp(what, "set"))
		return policy_set(cli);
	if (!list && strcmp(what, "get"))
		return cli_fail(CLI_USAGE, "policy: '%s': expected one of: list, get, set",
				what);
	if (cli->argc > 2)
		return cli_fail(CLI_USAGE, "policy %s: '%s': expected no argument", what,
				cli->argv[2]);
	code = cli_call(cli, list ? "policy.list" : "policy.get", NULL, &r);
	if (code)
		return code;
	if (cli->json)
		code = cli_print_json(r);
	else if (list)
		print_policies(json_object_get(r, "policies"));
	else
		print_policy(r);
	json_decref(r);
	return code;
}
