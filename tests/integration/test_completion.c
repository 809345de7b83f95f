// SPDX-License-Identifier: MIT
/*
 * test_completion.c - the completion for bash, sourced by a real bash: commands and options from
 * the program, policies, their parameters, tenants and devices from a running broker.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/harness.h"

#define OUT 8192

/* Complete at the end of the line, words broken as readline would; one answer a line, sorted. */
static const char script[] =
	"set -u\n"
	". broker/accelmux.bash\n"
	"COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'\n"
	"_accelmux || echo \"status $?\"\n"
	"printf '%s\\n' \"${COMPREPLY[@]}\" | sort\n";

/* What bash offers at the end of @line, blanks between. */
static const char *offered(const char *line)
{
	const char *argv[] = { "/bin/bash", "--norc", "-c", script, "bash", line, NULL };
	static char out[OUT];
	int status = program_run(argv, NULL, out, sizeof(out), 10);

	if (status)
		tap_note("bash ended with %d: %s", status, out);
	for (char *p = out; *p; p++)
		if (*p == '\n')
			*p = p[1] ? ' ' : '\0';
	return out;
}

static void expect(const char *typed, const char *want)
{
	char line[512];
	const char *got;

	snprintf(line, sizeof(line), "%s/accelmux %s", tap_build(), typed);
	got = offered(line);
	tap_ok(!strcmp(got, want), "'accelmux %s': '%s'%s%s%s", typed, want,
	       strcmp(got, want) ? ", got '" : "", strcmp(got, want) ? got : "",
	       strcmp(got, want) ? "'" : "");
}

static void with_broker(struct daemon *d)
{
	const char *bench[] = { "", "bench", "--time", "100ms", "--name", "web", NULL };
	char program[600], out[OUT], typed[200];

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	bench[0] = program;
	tap_ok(!program_run(bench, d->socket, out, sizeof(out), 20), "a tenant was there");
	setenv("ACCELMUX_CONTROL", d->control, 1);
	expect("policy set ", "cpu dynamic partitioned shared");
	expect("policy set par", "partitioned");
	expect("policy set partitioned k", "kernel_share=");
	expect("tenants set ", "web");
	expect("tenants evict w", "web");
	expect("devices drain soft0", "soft0 soft0/0 soft0/1");
	expect("devices resume soft0/", "soft0/0 soft0/1");
	unsetenv("ACCELMUX_CONTROL");
	/* The socket that has been typed is the one that is asked. */
	snprintf(typed, sizeof(typed), "--socket %s tenants set ", d->control);
	expect(typed, "web");
	snprintf(typed, sizeof(typed), "tenants set --socket=%s ", d->control);
	expect(typed, "web");
}

int main(int argc, char **argv)
{
	struct daemon d;

	tap_init(argc, argv, 60);
	/* Nobody's broker but the test's. */
	setenv("ACCELMUX_CONTROL", "/nonexistent/control.sock", 1);
	expect("t", "tenants top trace");
	expect("", "--help --json --socket --version bench devices doctor names policy setup "
		   "status tenants top trace");
	expect("policy ", "get list set");
	expect("policy get", "get");
	expect("--json devices ", "drain list resume");
	expect("tenants set x ", "limit= reserve= weight=");
	expect("tenants evict x --", "--reason");
	expect("devices drain soft0 --", "--timeout");
	expect("top --s", "--sort");
	expect("top --sort w", "wait");
	expect("bench --op c", "compare copy crc32c");
	expect("setup --user-mode ", "dedicated shared");
	expect("trace show VERS", "VERSION");
	/* Without a broker there is nothing to offer, and no noise. */
	expect("policy set ", "");
	expect("tenants set ", "");
	daemon_start(&d, "soft.engines=2", "tenant.web.name=web", NULL);
	with_broker(&d);
	daemon_stop(&d);
	return tap_done();
}
