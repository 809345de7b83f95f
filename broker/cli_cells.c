// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_cells.c - cells of tables that several commands show: ratios, quantiles, declines.
 */
#include "cli.h"

#include <math.h>

void cli_cell_ratio(struct cli_table *t, double v)
{
	if (isnan(v))
		cli_cell(t, "-");
	else
		cli_cell(t, "%.2f", v);
}

/* p50 and p99 of a histogram, "-" while it is empty. */
void cli_cell_quantiles(struct cli_table *t, const json_t *hist)
{
	static const char *const keys[] = { "p50_ns", "p99_ns" };
	char buf[CLI_CELL];

	for (unsigned int i = 0; i < 2; i++)
		cli_cell(t, "%s",
			 cli_int(hist, "count") ? cli_time(buf, cli_int(hist, keys[i])) : "-");
}

/* Which part of the bytes went to the CPU. */
void cli_cell_declined(struct cli_table *t, uint64_t engine, uint64_t cpu)
{
	if (!engine && !cpu)
		cli_cell(t, "-");
	else
		cli_cell(t, "%.1f%%", 100 * (double)cpu / ((double)engine + (double)cpu));
}

/* "predicted 12, order 3", the non-zero ones. */
void cli_cell_reasons(struct cli_table *t, json_t *reasons)
{
	char buf[256] = "-";
	const char *name;
	json_t *value;
	size_t n = 0;

	json_object_foreach(reasons, name, value)
	{
		if (json_integer_value(value) && n < sizeof(buf))
			n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s%s %lld",
					      n ? ", " : "", name,
					      (long long)json_integer_value(value));
	}
	cli_cell(t, "%s", buf);
}
