/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_policy.h - inside the configuration: which policy a name means, and the parameters of a
 * plug-in, which nobody can judge before it is loaded.  Not for others; config_policy_index(),
 * config_policy_find() and config_plugin_settings() are declared in config.h.
 *
 * Owner: the configuration being made.  Thread: the control thread.
 */
#ifndef BROKER_CONFIG_POLICY_H
#define BROKER_CONFIG_POLICY_H

#include "config.h"

/* Is the configured policy a plug-in of the file NAME.so? */
bool config_is_plugin(const struct config *cfg, const char *name);

/* Keep a parameter for it.  -EINVAL and one line in @err. */
int config_plugin_set(struct config *cfg, const char *key, const char *value, char *err,
		      size_t errlen);

#endif /* BROKER_CONFIG_POLICY_H */
