/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * param.h - parse numbers with units, and a policy's parameters, with errors that name the
 * value, what was expected and the range.  Pure functions, any thread.
 */
#ifndef BROKER_PARAM_H
#define BROKER_PARAM_H

#include "../policies/builtin.h"

/* A parameter as it was given, for a policy whose parameters are not known yet. */
struct policy_setting {
	char key[32], value[64];
};

/* Parse @text as @unit (suffixes as in policy.h).  Returns 0, or -EINVAL with one line in
 * @err ("'12q': expected bytes, such as 65536, 64K or 2M"). */
int param_parse(const char *text, enum amux_unit unit, uint64_t *out, char *err, size_t errlen);

/* Write @value in @unit the way param_parse() reads it. */
void param_format(uint64_t value, enum amux_unit unit, char *buf, size_t len);

/* The built-in policy called @name, or NULL. */
const struct amux_policy_ops *policy_find(const char *name);

/* Set @values to @ops' defaults (AMUX_POLICY_PARAMS entries). */
void policy_defaults(const struct amux_policy_ops *ops, uint64_t *values);

/* Apply one "key", "value" pair to @values: unknown key, bad number and range are -EINVAL
 * with one line in @err that names key, value and what was expected. */
int policy_set_param(const struct amux_policy_ops *ops, uint64_t *values, const char *key,
		     const char *value, char *err, size_t errlen);

/* Run ops->check(), if any. */
int policy_check(const struct amux_policy_ops *ops, const uint64_t *values, char *err,
		 size_t errlen);

#endif /* BROKER_PARAM_H */
