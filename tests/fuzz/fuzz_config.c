// SPDX-License-Identifier: MIT
/*
 * fuzz_config.c - a configuration file, and the same text as an assignment of the command
 * line: accepted, or refused with one line that says why.
 */
#include "../../broker/config.h"
#include "input.h"

static void judge_error(const char *err)
{
	must(err[0] && !strchr(err, '\n'));
}

/* What was accepted goes with itself, and its numbers are in range. */
static void judge_config(const struct config *cfg)
{
	char err[512];

	must(!config_reloadable(cfg, cfg, err, sizeof(err)));
	must(config_policy_index(cfg->policy) >= 0);
	must(config_time_scale(cfg) >= 1 && cfg->n_tenants <= CONFIG_TENANTS_MAX);
	must(cfg->devices >= 1 && cfg->devices <= AMUX_POLICY_DEVS);
	must(cfg->soft.engines >= 1 && cfg->soft.engines <= ENGINE_MAX);
	must(cfg->max_entries >= 2 && cfg->max_queues >= 1 && cfg->max_regions >= 1);
	for (unsigned int i = 0; i < cfg->n_tenants; i++)
		must(cfg->tenants[i].weight >= 1 && cfg->tenants[i].weight <= 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config cfg;
	const char *path = input_file(data, size);
	char err[512] = "", *line;
	int ret;

	config_default(&cfg);
	ret = config_load(&cfg, path, err, sizeof(err));
	if (!ret)
		ret = config_check(&cfg, err, sizeof(err));
	if (ret) {
		must(ret < 0);
		judge_error(err);
		must(!strncmp(err, path, strlen(path)) || err[0] == '[' || err[0] == 'p');
	} else {
		judge_config(&cfg);
	}

	line = strndup((const char *)data, size);
	must(line);
	line[strcspn(line, "\n")] = '\0';
	config_default(&cfg);
	err[0] = '\0';
	if (config_override(&cfg, line, err, sizeof(err)))
		judge_error(err);
	else if (!config_check(&cfg, err, sizeof(err)))
		judge_config(&cfg);
	free(line);
	return 0;
}
