// SPDX-License-Identifier: GPL-2.0-only
/*
 * param.c - numbers with units, and a policy's parameters.  See param.h.
 */
#include "param.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SUFFIXES  4
#define SHOWN_LEN 40 /* characters of a bad value that an error line repeats */

struct suffix {
	const char *text;
	uint64_t factor;
};

struct unit {
	const char *what;		/* "expected WHAT from MIN to MAX" */
	const char *example;		/* "expected WHAT, such as EXAMPLE" */
	bool bare;			/* param_format() may write a number without suffix */
	struct suffix suffix[SUFFIXES]; /* largest first */
};

static const struct unit units[] = {
	[AMUX_UNIT_COUNT] = { .what = "a number", .example = "2", .bare = true },
	[AMUX_UNIT_BYTES] = { .what = "bytes",
			      .example = "65536, 64K or 2M",
			      .bare = true,
			      .suffix = { { "G", 1u << 30 },
					  { "M", 1u << 20 },
					  { "K", 1u << 10 } } },
	[AMUX_UNIT_BPS] = { .what = "bytes/s",
			    .example = "500000, 250M or 10G",
			    .bare = true,
			    .suffix = { { "G", 1000000000 },
					{ "M", 1000000 },
					{ "K", 1000 } } },
	[AMUX_UNIT_NS] = { .what = "a time",
			   .example = "500ns, 20us, 10ms or 1s",
			   .suffix = { { "s", 1000000000 },
				       { "ms", 1000000 },
				       { "us", 1000 },
				       { "ns", 1 } } },
	[AMUX_UNIT_PERCENT] = { .what = "a percentage",
				.example = "50 or 50%",
				.suffix = { { "%", 1 } } },
	[AMUX_UNIT_PAGES] = { .what = "a number of pages", .example = "32", .bare = true },
};

/* Copy what an operator typed so that it fits on one line of a log, whatever it holds. */
static void show(const char *text, char *buf)
{
	size_t i;

	for (i = 0; i < SHOWN_LEN && text[i]; i++)
		buf[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	strcpy(&buf[i], text[i] ? "..." : "");
}

/* The strict grammar: digits, then nothing or one of the unit's suffixes. */
static bool number(const char *text, const struct unit *unit, uint64_t *out)
{
	uint64_t v = 0, factor = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	if (!*text)
		factor = 1;
	for (unsigned int i = 0; i < SUFFIXES && !factor; i++)
		if (unit->suffix[i].text && !strcmp(text, unit->suffix[i].text))
			factor = unit->suffix[i].factor;
	return factor && !__builtin_mul_overflow(v, factor, out);
}

int param_parse(const char *text, enum amux_unit unit, uint64_t *out, char *err, size_t errlen)
{
	char shown[SHOWN_LEN + 4];
	uint64_t v;

	if (number(text, &units[unit], &v)) {
		*out = v;
		return 0;
	}
	show(text, shown);
	snprintf(err, errlen, "'%s': expected %s, such as %s", shown, units[unit].what,
		 units[unit].example);
	return -EINVAL;
}

void param_format(uint64_t value, enum amux_unit unit, char *buf, size_t len)
{
	const struct suffix *best = NULL;

	for (unsigned int i = 0; i < SUFFIXES; i++) {
		const struct suffix *s = &units[unit].suffix[i];

		if (!s->text)
			break;
		if (!units[unit].bare)
			best = s;
		if (value && value % s->factor == 0) {
			best = s;
			break;
		}
	}
	if (best)
		snprintf(buf, len, "%" PRIu64 "%s", value / best->factor, best->text);
	else
		snprintf(buf, len, "%" PRIu64, value);
}

const struct amux_policy_ops *policy_find(const char *name)
{
	for (unsigned int i = 0; amux_policies[i]; i++)
		if (!strcmp(amux_policies[i]->name, name))
			return amux_policies[i];
	return NULL;
}

void policy_defaults(const struct amux_policy_ops *ops, uint64_t *values)
{
	memset(values, 0, AMUX_POLICY_PARAMS * sizeof(*values));
	for (unsigned int i = 0; i < ops->n_params; i++)
		values[i] = ops->params[i].def;
}

static void unknown_param(const struct amux_policy_ops *ops, const char *key, char *err,
			  size_t errlen)
{
	char shown[SHOWN_LEN + 4], known[192];
	size_t used = 0;

	show(key, shown);
	if (!ops->n_params) {
		snprintf(err, errlen, "policy %s: unknown parameter '%s': it has none",
			 ops->name, shown);
		return;
	}
	known[0] = '\0';
	for (unsigned int i = 0; i < ops->n_params && used < sizeof(known); i++)
		used += (size_t)snprintf(&known[used], sizeof(known) - used, "%s%s",
					 i ? ", " : "", ops->params[i].name);
	snprintf(err, errlen, "policy %s: unknown parameter '%s': expected one of %s",
		 ops->name, shown, known);
}

int policy_set_param(const struct amux_policy_ops *ops, uint64_t *values, const char *key,
		     const char *value, char *err, size_t errlen)
{
	char shown[SHOWN_LEN + 4], min[32], max[32];
	const struct amux_policy_param *param = NULL;
	uint64_t v;

	for (unsigned int i = 0; i < ops->n_params && !param; i++)
		if (!strcmp(ops->params[i].name, key))
			param = &ops->params[i];
	if (!param) {
		unknown_param(ops, key, err, errlen);
		return -EINVAL;
	}
	if (number(value, &units[param->unit], &v) && v >= param->min && v <= param->max) {
		values[param - ops->params] = v;
		return 0;
	}
	show(value, shown);
	param_format(param->min, param->unit, min, sizeof(min));
	param_format(param->max, param->unit, max, sizeof(max));
	if (param->unit == AMUX_UNIT_PERCENT)
		min[strcspn(min, "%")] = max[strcspn(max, "%")] = '\0';
	snprintf(err, errlen, "policy %s: %s = '%s': expected %s from %s to %s", ops->name, key,
		 shown, units[param->unit].what, min, max);
	return -EINVAL;
}

int policy_check(const struct amux_policy_ops *ops, const uint64_t *values, char *err,
		 size_t errlen)
{
	char why[128] = "parameters do not go together";
	int ret;

	if (!ops->check)
		return 0;
	ret = ops->check(values, why, sizeof(why));
	if (ret)
		snprintf(err, errlen, "policy %s: %s", ops->name, why);
	return ret;
}
