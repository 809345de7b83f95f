// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_table.c - columns as wide as their widest cell.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct cli_table {
	const char *align;
	size_t columns, n, max;
	char **cells;
};

/* A command line has no use for going on without memory. */
static void *need(void *p)
{
	if (!p)
		exit(cli_fail(CLI_FAILED, "out of memory"));
	return p;
}

struct cli_table *cli_table(const char *align)
{
	struct cli_table *t = need(calloc(1, sizeof(*t)));

	t->align = align;
	t->columns = strlen(align);
	return t;
}

void cli_cell(struct cli_table *t, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	need(text);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (t->n == t->max) {
		t->max = t->max ? 2 * t->max : 64;
		t->cells = need(realloc(t->cells, t->max * sizeof(*t->cells)));
	}
	t->cells[t->n++] = text;
}

void cli_table_print_to(struct cli_table *t, FILE *f)
{
	int *width = need(calloc(t->columns, sizeof(*width)));
	size_t last = t->columns - 1;

	for (size_t i = 0; i < t->n; i++) {
		int len = (int)strlen(t->cells[i]);

		if (len > width[i % t->columns])
			width[i % t->columns] = len;
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t c = i % t->columns;

		if (t->align[c] == 'r')
			fprintf(f, "%*s", width[c], t->cells[i]);
		else if (c == last)
			fputs(t->cells[i], f); /* no blanks at the end of a line */
		else
			fprintf(f, "%-*s", width[c], t->cells[i]);
		fputs(c == last ? "\n" : "  ", f);
		free(t->cells[i]); /* cli_cell() */
	}
	free(width);
	free(t->cells);
	free(t); /* cli_table() */
}

void cli_table_print(struct cli_table *t)
{
	cli_table_print_to(t, stdout);
}
