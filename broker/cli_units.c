// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_units.c - numbers with units, in both directions, and members of RPC results.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* A decimal integer; what follows it in *@rest. */
static bool parse_number(const char *text, uint64_t *out, const char **rest)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	*rest = end;
	return !errno;
}

/* A number, times @step for K, and so on. */
static bool parse_scaled(const char *text, uint64_t step, uint64_t *out)
{
	static const char suffixes[] = "KMG";
	const char *rest, *suffix;
	uint64_t scale = 1;

	if (!parse_number(text, out, &rest))
		return false;
	if (*rest) {
		suffix = strchr(suffixes, *rest);
		if (!suffix || rest[1])
			return false;
		for (const char *s = suffixes; s <= suffix; s++)
			scale *= step;
	}
	return !__builtin_mul_overflow(*out, scale, out);
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
	return parse_scaled(text, 1024, out);
}

bool cli_parse_rate(const char *text, uint64_t *out_bps)
{
	return parse_scaled(text, 1000, out_bps);
}

bool cli_parse_time(const char *text, uint64_t *out_ns)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = { { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", NSEC_PER_SEC } };
	const char *rest;

	if (!parse_number(text, out_ns, &rest))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(rest, units[i].suffix))
			return !__builtin_mul_overflow(*out_ns, units[i].ns, out_ns);
	return false;
}

/* Three significant digits and the largest unit that leaves at least 1. */
static char *scaled(char *buf, double v, double step, const char *const *units, unsigned int n)
{
	unsigned int i = 0;

	while (i + 1 < n && v >= step) {
		v /= step;
		i++;
	}
	snprintf(buf, CLI_CELL, "%.*f %s", !i || v >= 100 ? 0 : v >= 10 ? 1 : 2, v, units[i]);
	return buf;
}

char *cli_bytes(char *buf, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };

	return scaled(buf, (double)bytes, 1024, units, 6);
}

char *cli_rate(char *buf, uint64_t bps)
{
	static const char *const units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s" };

	return scaled(buf, (double)bps, 1000, units, 5);
}

char *cli_time(char *buf, uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };

	return scaled(buf, (double)ns, 1000, units, 4);
}

char *cli_uptime(char *buf, uint64_t ns)
{
	unsigned long long s = ns / NSEC_PER_SEC;

	if (s >= 86400)
		snprintf(buf, CLI_CELL, "%llud %02lluh %02llum", s / 86400, s / 3600 % 24,
			 s / 60 % 60);
	else if (s >= 3600)
		snprintf(buf, CLI_CELL, "%lluh %02llum %02llus", s / 3600, s / 60 % 60, s % 60);
	else if (s >= 60)
		snprintf(buf, CLI_CELL, "%llum %02llus", s / 60, s % 60);
	else
		snprintf(buf, CLI_CELL, "%llus", s);
	return buf;
}

uint64_t cli_int(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

const char *cli_string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

double cli_real(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return json_is_number(v) ? json_number_value(v) : (double)NAN;
}
