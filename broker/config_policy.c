// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_policy.c - see config_policy.h.
 */
#include "config_policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config_value.h"

int config_policy_index(const char *name)
{
	for (int i = 0; i < CONFIG_POLICIES && amux_policies[i]; i++)
		if (!strcmp(amux_policies[i]->name, name))
			return i;
	return -ENOENT;
}

int config_policy_find(const struct config *cfg, const char *name, const char *beside,
		       char *path, size_t len, char *err, size_t errlen)
{
	int i = config_policy_index(name), ret;
	char why[PLUGIN_PATH_LEN + 80];
	size_t n;

	if (i >= 0)
		return i;
	ret = plugin_file_find(name, cfg->policy_dir, beside, path, len, why, sizeof(why));
	if (!ret)
		return CONFIG_PLUGIN;
	if (strchr(name, '/')) {
		snprintf(err, errlen, "%s", why);
		return ret;
	}
	n = (size_t)snprintf(err, errlen, "expected one of: ");
	for (i = 0; i < CONFIG_POLICIES && amux_policies[i] && n < errlen; i++)
		n += (size_t)snprintf(err + n, errlen - n, "%s, ", amux_policies[i]->name);
	if (n < errlen)
		snprintf(err + n, errlen - n, "%s", why);
	return ret;
}

bool config_is_plugin(const struct config *cfg, const char *name)
{
	char stem[PLUGIN_PATH_LEN];

	if (cfg->policy[0] != '/')
		return false;
	plugin_file_stem(cfg->policy, stem, sizeof(stem));
	return !strcmp(stem, name);
}

const struct policy_setting *config_plugin_settings(const struct config *cfg, const char *path,
						    unsigned int *n)
{
	char stem[PLUGIN_PATH_LEN];

	plugin_file_stem(path, stem, sizeof(stem));
	*n = config_is_plugin(cfg, stem) ? cfg->n_plugin_settings : 0;
	return cfg->plugin_settings;
}

int config_plugin_set(struct config *cfg, const char *key, const char *value, char *err,
		      size_t errlen)
{
	struct policy_setting *s = cfg->plugin_settings, *end = s + cfg->n_plugin_settings;

	while (s < end && strcmp(s->key, key))
		s++;
	if (s == cfg->plugin_settings + AMUX_POLICY_PARAMS)
		return config_fail(err, errlen, "%s: expected at most %d parameters", key,
				   AMUX_POLICY_PARAMS);
	if (strlen(key) >= sizeof(s->key) || strlen(value) >= sizeof(s->value))
		return config_fail(err, errlen,
				   "%s = '%s': expected at most %zu characters, and %zu of "
				   "value",
				   key, value, sizeof(s->key) - 1, sizeof(s->value) - 1);
	strcpy(s->key, key);
	strcpy(s->value, value);
	if (s == end)
		cfg->n_plugin_settings++;
	return 0;
}
