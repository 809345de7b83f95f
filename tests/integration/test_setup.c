/* SPDX-License-Identifier: MIT */
/*
 * test_setup.c - accelmux setup and doctor as an operator without a device meets them: one line
 * that says what was expected, and nothing done.  With devices: tests/lab/guest/test_setup.sh.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/harness.h"

#define WORDS 8

static char said[16384];

/* Run accelmux with @args; its exit status, what it said in said[]. */
static int run(const char *const *args)
{
	const char *argv[WORDS + 2] = { NULL };
	char program[512];

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	argv[0] = program;
	for (unsigned int i = 0; i < WORDS && args[i]; i++)
		argv[i + 1] = args[i];
	return program_run(argv, NULL, said, sizeof(said), 20);
}

static unsigned int lines(void)
{
	unsigned int n = 0;

	for (const char *p = said; *p; p++)
		n += *p == '\n';
	return n;
}

struct refusal {
	const char *args[WORDS];
	int status;
	const char *word;
};

static void refuse(const struct refusal *r)
{
	int status = run(r->args);

	tap_ok(status == r->status && lines() == 1 && strstr(said, r->word), "%s %s %s: %.*s",
	       r->args[0], r->args[1] ? r->args[1] : "",
	       r->args[1] && r->args[2] ? r->args[2] : "", (int)strcspn(said, "\n"), said);
}

static const struct refusal usage[] = {
	{ { "setup", "--frob" }, 2, "'--frob': expected --dry-run, --devices" },
	{ { "setup", "dsa0" }, 2, "'dsa0': expected --dry-run" },
	{ { "setup", "--devices" }, 2, "--devices: expected a value" },
	{ { "setup", "--devices=" }, 2, "--devices: expected a value" },
	{ { "setup", "--user-mode", "both" }, 2, "'both': expected dedicated or shared" },
	{ { "setup", "--dry-run", "--kernel-only", "--user-mode=shared" }, 2, "--kernel-only" },
	{ { "setup", "--undo", "--dry-run" }, 2, "setup --undo: expected at most" },
	{ { "setup", "--load", "/x", "--devices", "dsa0" },
	  2,
	  "setup --load: expected at most" },
	{ { "doctor", "dsa0" }, 2, "doctor: 'dsa0': expected no argument" },
};

/* Without a device, by whoever runs it. */
static const struct refusal nothing[] = {
	{ { "setup", "--dry-run" }, 1, "no DSA device: expected one in /sys/bus/dsa/devices" },
	{ { "setup" }, 1, "no DSA device" },
	{ { "setup", "--dry-run", "--devices", "dsa0" }, 1, "no DSA device" },
	{ { "setup", "--dry-run", "--load", "/nonexistent" }, 1, "/nonexistent" },
};

static void file_refused(const char *text, const char *word)
{
	char path[] = "/tmp/test_setup.XXXXXX";
	const struct refusal r = { { "setup", "--dry-run", "--load", path }, 1, word };
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		tap_bail("%s: cannot write", path);
	close(fd);
	refuse(&r);
	unlink(path);
}

/* Each line of doctor: a level, a check, a text. */
static void doctor(struct daemon *d)
{
	const char *args[WORDS] = { "doctor", "--socket", d->control };
	const char *json_args[WORDS] = { "--json", "doctor", "--socket", d->control };
	json_t *r;
	int status;

	status = run(args);
	tap_ok(status == 1 && strstr(said, "no DSA device") && strstr(said, "; cure: "),
	       "doctor says that there is no device, and what helps: exit status %d", status);
	tap_ok(strstr(said, "the broker listens") != NULL, "and that the broker listens");
	status = run(json_args);
	/* What goes to standard error follows the document. */
	r = json_loads(said, JSON_DISABLE_EOF_CHECK, NULL);
	tap_ok(status == 1 && json_integer_value(json_object_get(r, "bad")) > 0 &&
		       json_array_size(json_object_get(r, "findings")) > 3,
	       "as JSON: %zu findings", json_array_size(json_object_get(r, "findings")));
	json_decref(r);
	args[2] = "/nonexistent/control.sock";
	status = run(args);
	tap_ok(status == 1 && strstr(said, "no broker listens there"),
	       "without a broker: exit status %d", status);
}

int main(int argc, char **argv)
{
	struct daemon d;
	size_t i;

	tap_init(argc, argv, 60);
	for (i = 0; i < sizeof(usage) / sizeof(usage[0]); i++)
		refuse(&usage[i]);
	file_refused("[{\"dev\":\"iax0\"}]", "dev 'iax0': expected a DSA device");
	file_refused("[{\"dev\":\"dsa77\"}]", "dsa77: no such device");
	file_refused("[{\"dev\":", ":1: ");
	if (!access("/sys/bus/dsa/devices/dsa0", F_OK)) {
		tap_skip("what is said without a device", "this host has one");
		return tap_done();
	}
	for (i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
		refuse(&nothing[i]);
	daemon_start(&d, NULL);
	doctor(&d);
	daemon_stop(&d);
	return tap_done();
}
