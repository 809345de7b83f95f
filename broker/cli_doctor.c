// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_doctor.c - doctor: look, judge, print a line for each finding.
 */
#include "cli_doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const levels[] = {
	[DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_BAD] = "bad"
};

static int print_json(const struct doctor_report *r)
{
	json_t *list = json_array(), *o;
	int code;

	for (unsigned int i = 0; i < r->n; i++) {
		const struct doctor_finding *f = &r->finding[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "level",
						      levels[f->level], "check", f->check,
						      "text", f->text, "cure", f->cure));
	}
	o = json_pack("{s:i, s:i, s:i, s:o}", "ok", (int)r->count[DOCTOR_OK], "warn",
		      (int)r->count[DOCTOR_WARN], "bad", (int)r->count[DOCTOR_BAD], "findings",
		      list);
	code = o ? cli_print_json(o) : cli_fail(CLI_FAILED, "doctor: %s", strerror(ENOMEM));
	json_decref(o);
	return code;
}

static void print(const struct doctor_report *r)
{
	for (unsigned int i = 0; i < r->n; i++) {
		const struct doctor_finding *f = &r->finding[i];

		printf("%-4s  %-11s  %s%s%s\n", levels[f->level], f->check, f->text,
		       f->cure[0] ? "; cure: " : "", f->cure);
	}
}

int cli_doctor(const struct cli *cli)
{
	struct doctor_host *h;
	struct doctor_report *r;
	int code = CLI_OK;

	if (cli->argc > 1)
		return cli_fail(CLI_USAGE, "doctor: '%s': expected no argument", cli->argv[1]);
	h = calloc(1, sizeof(*h));
	r = calloc(1, sizeof(*r));
	if (h && r) {
		doctor_host_read(cli, h);
		doctor_check(h, r);
		if (cli->json)
			code = print_json(r);
		else
			print(r);
		/* The last line is last where both streams go to one place. */
		fflush(stdout);
		if (!code && r->count[DOCTOR_BAD])
			code = cli_fail(CLI_FAILED, "doctor: %u bad, %u to be warned of",
					r->count[DOCTOR_BAD], r->count[DOCTOR_WARN]);
	} else {
		code = cli_fail(CLI_FAILED, "doctor: %s", strerror(ENOMEM));
	}
	free(r);
	free(h);
	return code;
}
