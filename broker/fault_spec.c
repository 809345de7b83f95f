// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault_spec.c - `engine = fault:SPEC` in words.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "param.h"

#define SPEC_MAX 512

/* The two halves of a value: "5%@2ms". */
struct value {
	char *first, *second; /* second: NULL without '@' */
};

static const struct {
	const char *name;
	uint32_t kind;
	const char *second; /* what stands behind '@', NULL: nothing may */
	bool needs_second;
} kinds[] = {
	{ "error", FAULT_ERROR, "a status from 0x02 to 0x3f", false },
	{ "partial", FAULT_PARTIAL, NULL, false },
	{ "delay", FAULT_DELAY, "a time", true },
	{ "lose", FAULT_LOSE, NULL, false },
	{ "stuck", FAULT_STUCK, NULL, false },
	{ "refuse", FAULT_REFUSE, NULL, false },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int say(char *err, size_t errlen, const char *key, const char *value, const char *want)
{
	snprintf(err, errlen, "%s = '%.60s': expected %s", key, value, want);
	return -EINVAL;
}

/* "1%", "0.5%", "0.01", "1" as parts of 2^32. */
static bool chance_parse(const char *text, uint32_t *out)
{
	double p;
	char *end;

	if (!*text || text[strspn(text, "0123456789.%")])
		return false;
	p = strtod(text, &end);
	if (end == text)
		return false;
	if (*end == '%') {
		p /= 100;
		end++;
	}
	if (*end || p < 0 || p > 1)
		return false;
	*out = p >= 1 ? FAULT_ALWAYS : (uint32_t)(p * 4294967296.0);
	return true;
}

static bool time_parse(const char *text, uint64_t *out)
{
	char why[160];

	return text && !param_parse(text, AMUX_UNIT_NS, out, why, sizeof(why)) && *out &&
	       *out <= 3600ull * 1000000000;
}

static bool status_parse(const char *text, uint32_t *out)
{
	char *end;
	unsigned long v = strtoul(text, &end, 0);

	/* 0 is "not yet", 1 success */
	if (end == text || *end || v < 2 || v >= ENGINE_STATUSES)
		return false;
	*out = (uint32_t)v;
	return true;
}

static int rule_add(struct fault_config *cfg, unsigned int k, const char *text,
		    const struct value *v, char *err, size_t errlen)
{
	struct fault_rule rule = { .kind = kinds[k].kind, .status = DSA_COMP_HW_ERR1 };
	char want[96];

	snprintf(want, sizeof(want), "a probability, such as 1%% or 0.01%s%s",
		 kinds[k].second ? ", '@' and " : "", kinds[k].second ? kinds[k].second : "");
	if (!chance_parse(v->first, &rule.chance) || (v->second && !kinds[k].second) ||
	    (!v->second && kinds[k].needs_second) ||
	    (rule.kind == FAULT_ERROR && v->second && !status_parse(v->second, &rule.status)) ||
	    (rule.kind == FAULT_DELAY && !time_parse(v->second, &rule.time_ns)))
		return say(err, errlen, kinds[k].name, text, want);
	if (cfg->n_rules == FAULT_RULES) {
		snprintf(err, errlen, "%s = '%.60s': expected at most %d kinds of faults",
			 kinds[k].name, text, FAULT_RULES);
		return -EINVAL;
	}
	cfg->rule[cfg->n_rules++] = rule;
	return 0;
}

static int key_set(struct fault_config *cfg, const char *key, const char *text,
		   const struct value *v, char *err, size_t errlen)
{
	char why[160];

	for (unsigned int k = 0; k < N_KINDS; k++)
		if (!strcmp(key, kinds[k].name))
			return rule_add(cfg, k, text, v, err, errlen);
	if (!strcmp(key, "seed"))
		return !v->second && !param_parse(v->first, AMUX_UNIT_COUNT, &cfg->seed, why,
						  sizeof(why))
			       ? 0
			       : say(err, errlen, key, text, "a number");
	if (!strcmp(key, "timeout"))
		return !v->second && time_parse(v->first, &cfg->timeout_ns)
			       ? 0
			       : say(err, errlen, key, text, "a time from 1ns to 3600s");
	if (!strcmp(key, "back"))
		return !v->second && time_parse(v->first, &cfg->back_ns)
			       ? 0
			       : say(err, errlen, key, text, "a time from 1ns to 3600s");
	if (!strcmp(key, "disable"))
		return time_parse(v->first, &cfg->disable_every_ns) &&
				       time_parse(v->second, &cfg->disable_ns)
			       ? 0
			       : say(err, errlen, key, text,
				     "how often and for how long, such as 100ms@20ms");
	snprintf(err, errlen,
		 "'%.60s': unknown fault, expected one of: error, partial, delay, lose, stuck, "
		 "refuse, disable, timeout, back, seed",
		 key);
	return -EINVAL;
}

int fault_spec_parse(struct fault_config *out, const char *spec, char *err, size_t errlen)
{
	char copy[SPEC_MAX], text[SPEC_MAX], *rest = copy, *key;

	memset(out, 0, sizeof(*out));
	out->seed = 1;
	out->timeout_ns = 100000000;
	out->back_ns = 10000000;
	if (strlen(spec) >= sizeof(copy)) {
		snprintf(err, errlen, "expected at most %d characters", SPEC_MAX - 1);
		return -EINVAL;
	}
	strcpy(copy, spec);
	while (*copy && (key = strsep(&rest, ","))) {
		char *eq = strchr(key, '=');
		struct value v;
		int rc;

		if (!eq || eq == key) {
			snprintf(err, errlen, "'%.60s': expected KEY=VALUE,...", key);
			return -EINVAL;
		}
		*eq = '\0';
		strcpy(text, eq + 1);
		v.second = eq + 1;
		v.first = strsep(&v.second, "@");
		rc = key_set(out, key, text, &v, err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}
