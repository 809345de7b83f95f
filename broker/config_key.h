/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_key.h - inside the configuration: which sections and keys there are, and how one of them
 * is set.  Not for others; config_policy_index() and config_reloadable(), which are made of the
 * same tables, are declared in config.h.
 *
 * Owner: the configuration being made.  Thread: the control thread.
 */
#ifndef BROKER_CONFIG_KEY_H
#define BROKER_CONFIG_KEY_H

#include "config.h"

/* Judge the header of @section ("tenant NAME"); makes the tenant it names.  -EINVAL and @err. */
int config_section_enter(struct config *cfg, const char *section, char *err, size_t errlen);

/* Set one key.  @dir: what a relative path is relative to, NULL for the working directory.
 * -EINVAL and @err: section, key, value and what was expected. */
int config_key_set(struct config *cfg, const char *section, const char *name, const char *value,
		   const char *dir, char *err, size_t errlen);

#endif /* BROKER_CONFIG_KEY_H */
