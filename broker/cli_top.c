// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_top.c - top: options, samples, and frames as plain text where there is no terminal.
 */
#include "cli_top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define INTERVAL_NS  NSEC_PER_SEC
#define INTERVAL_MIN 100000000ull
#define INTERVAL_MAX (3600 * NSEC_PER_SEC)
#define ANSWER_NS    (2 * NSEC_PER_SEC) /* a broker that takes longer is as good as gone */
#define COUNT_MAX    1000000000ull

const char *const top_sorts[TOP_SORTS] = {
	[TOP_BYTES] = "bytes",	 [TOP_WAIT] = "wait", [TOP_DECLINED] = "declined",
	[TOP_QUEUED] = "queued", [TOP_NAME] = "name",
};

/* --------------------------------------------------------------------- options */

static int find_sort(const char *name)
{
	for (int i = 0; i < TOP_SORTS; i++)
		if (!strcmp(top_sorts[i], name))
			return i;
	return -1;
}

static int set_option(struct top *t, const char *key, const char *value)
{
	char *end;
	int sort;

	if (!strcmp(key, "--interval")) {
		if (!cli_parse_time(value, &t->interval_ns) || t->interval_ns < INTERVAL_MIN ||
		    t->interval_ns > INTERVAL_MAX)
			return cli_fail(CLI_USAGE,
					"top: --interval '%s': expected 100ms to 3600s", value);
	} else if (!strcmp(key, "--count")) {
		errno = 0;
		t->count = strtoull(value, &end, 10);
		if (*end || *value < '0' || *value > '9' || errno || !t->count ||
		    t->count > COUNT_MAX)
			return cli_fail(CLI_USAGE, "top: --count '%s': expected 1 to %llu",
					value, COUNT_MAX);
	} else if (!strcmp(key, "--sort")) {
		sort = find_sort(value);
		if (sort < 0)
			return cli_fail(CLI_USAGE,
					"top: --sort '%s': expected one of: bytes, wait, "
					"declined, queued, name",
					value);
		t->sort = (enum top_sort)sort;
	} else {
		return cli_fail(CLI_USAGE,
				"top: '%s': expected one of: --interval, --count, --sort, "
				"--plain",
				key);
	}
	return CLI_OK;
}

static int options(struct top *t, const struct cli *cli)
{
	for (int i = 1; i < cli->argc; i++) {
		char *arg = cli->argv[i], *eq = strchr(arg, '=');
		const char *value;
		int code;

		if (!strcmp(arg, "--plain")) {
			t->plain = true;
			continue;
		}
		if (eq) {
			*eq = '\0';
			value = eq + 1;
		} else {
			value = !strncmp(arg, "--", 2) && i + 1 < cli->argc ? cli->argv[++i]
									    : "";
		}
		code = set_option(t, arg, value);
		if (code)
			return code;
	}
	if (cli->json)
		return cli_fail(CLI_USAGE,
				"top: --json: expected text, status --json is for programs");
	return CLI_OK;
}

/* --------------------------------------------------------------------- samples */

static void sample_drop(struct top_sample *s)
{
	json_decref(s->status);
	json_decref(s->tenants);
	*s = (struct top_sample){ NULL, NULL };
}

static int ask(struct top *t, const char *method, json_t **out)
{
	return cli_try(t->cli, method, NULL, ANSWER_NS, out, t->error, sizeof(t->error));
}

int top_sample(struct top *t)
{
	int code;

	sample_drop(&t->before);
	t->before = t->now;
	t->now = (struct top_sample){ NULL, NULL };
	t->error[0] = '\0';
	code = ask(t, "status", &t->now.status);
	if (!code)
		code = ask(t, "tenants", &t->now.tenants);
	if (!code && t->params) {
		json_decref(t->policy);
		t->policy = NULL;
		code = ask(t, "policy.get", &t->policy);
	}
	if (code)
		sample_drop(&t->now);
	/* Counters of another broker are nothing to subtract. */
	if (code ||
	    (t->before.status &&
	     (cli_int(t->before.status, "pid") != cli_int(t->now.status, "pid") ||
	      cli_int(t->before.status, "uptime_ns") > cli_int(t->now.status, "uptime_ns"))))
		sample_drop(&t->before);
	return code;
}

/* ----------------------------------------------------------------------- plain */

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(ns % NSEC_PER_SEC) };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* A frame each interval, the first after the first: before there is nothing to subtract. */
static int top_plain(struct top *t)
{
	for (uint64_t n = 0; !t->count || n < t->count; n++) {
		sleep_ns(t->interval_ns);
		top_sample(t);
		if (n)
			putchar('\n');
		top_frame(t, stdout);
		if (fflush(stdout))
			return cli_fail(CLI_FAILED, "standard output: %s", strerror(errno));
	}
	return CLI_OK;
}

int cli_top(const struct cli *cli)
{
	struct top t = { .cli = cli, .interval_ns = INTERVAL_NS };
	int code = options(&t, cli);

	if (code)
		return code;
	/* One that goes away later is waited for; one that is not there now is a mistake. */
	code = top_sample(&t);
	if (code)
		code = cli_fail(code, "%s", t.error);
	else if (t.plain || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		code = top_plain(&t);
	else
		code = top_screen(&t);
	sample_drop(&t.now);
	sample_drop(&t.before);
	json_decref(t.policy);
	return code;
}
