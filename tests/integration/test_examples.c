/* SPDX-License-Identifier: MIT */
/*
 * test_examples.c - every example in BUILD/examples ends with 0 beside a broker, under every
 * kind of device and policy, and with 77 and a reason without one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/harness.h"

#define EXAMPLES_MAX 32
#define TIMEOUT_S    30

static char examples[EXAMPLES_MAX][64];
static unsigned int n_examples;

static void find_examples(void)
{
	char path[600], file[700];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/examples", tap_build());
	dir = opendir(path);
	while (dir && (e = readdir(dir)) && n_examples < EXAMPLES_MAX) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(examples[0]))
			continue;
		strcpy(examples[n_examples], e->d_name);
		snprintf(file, sizeof(file), "%s/%s", path, examples[n_examples]);
		n_examples += !access(file, X_OK);
	}
	if (dir)
		closedir(dir);
}

static int run(const char *name, const char *socket, char *out, size_t len)
{
	char program[700];
	const char *argv[] = { program, NULL };

	snprintf(program, sizeof(program), "%s/examples/%s", tap_build(), name);
	return program_run(argv, socket, out, len, TIMEOUT_S);
}

static void with_broker(const char *policy, const char *model)
{
	struct daemon d;
	char out[2048];

	daemon_start(&d, policy, model, NULL);
	for (unsigned int i = 0; i < n_examples; i++) {
		int status = run(examples[i], d.socket, out, sizeof(out));

		tap_ok(status == 0, "%s, %s, %s: status %d%s%s", examples[i], policy, model,
		       status, status ? ": " : "", status ? out : "");
	}
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	char out[2048];

	tap_init(argc, argv, 60);
	find_examples();
	if (!n_examples) {
		tap_skip("examples", "there are none in the build directory");
		return tap_done();
	}
	for (unsigned int i = 0; i < n_examples; i++) {
		int status = run(examples[i], "/tmp/amux-test-there-is-none", out, sizeof(out));

		tap_ok(status == 77 && out[0], "%s without a broker: status %d: %s",
		       examples[i], status, out);
	}
	with_broker("broker.policy=dynamic", "soft.model=on");
	with_broker("broker.policy=shared", "soft.model=off");
	with_broker("broker.policy=partitioned", "broker.own_core=on");
	with_broker("broker.policy=cpu", "soft.threads=2");
	return tap_done();
}
