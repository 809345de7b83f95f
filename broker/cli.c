// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli.c - the `accelmux` command: global options, which may stand anywhere, and dispatch.
 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: accelmux [--socket CONTROL] [--json] COMMAND [ARGUMENT...]\n"
	"\n"
	"Commands:\n"
	"  status                          the broker at a glance\n"
	"  top [--interval 1s] [--sort bytes|wait|declined|queued|name] [--plain] [--count N]\n"
	"                                  the same as it changes; q ends it\n"
	"  tenants [list]                  who uses it, and how they fare\n"
	"  tenants set NAME [weight=N] [reserve=RATE] [limit=RATE]\n"
	"                                  change its share, until a restart or reload\n"
	"  tenants evict NAME [--reason TEXT]\n"
	"                                  cut off its connections\n"
	"  devices [list]                  engines and their work queues\n"
	"  devices drain DEVICE[/ENGINE] [--timeout 60s]\n"
	"                                  no new work there; ends when nothing is in flight\n"
	"  devices resume DEVICE[/ENGINE]  back into use\n"
	"  policy list                     policies and their parameters\n"
	"  policy get                      the one in use\n"
	"  policy set NAME [KEY=VALUE...]  change it; what is not given is as configured;\n"
	"                                  NAME may be the path of a plug-in\n"
	"  bench [--op copy|noop|fill|compare|crc32c] [--size 64K] [--depth 32] [--time 2s]\n"
	"        [--name NAME] [--verify] [--engine-only]\n"
	"                                  measure copies through the broker\n"
	"  trace record FILE [--time 10s] [--max N] [--force]\n"
	"                                  record the kernel module's batches (root)\n"
	"  trace show FILE                 what is in a trace\n"
	"  trace pace IN OUT --rate 5G [--seed N] [--force]\n"
	"                                  the same batches at other times\n"
	"  setup [--dry-run] [--devices dsa0,dsa1] [--kernel-only]\n"
	"        [--user-mode dedicated|shared] [--replace] [--group NAME] [--save]\n"
	"                                  lay out the DSA devices' WQs (root)\n"
	"  setup --load FILE               the same as a file says it\n"
	"  setup --undo [--devices ...] [--replace] [--save]\n"
	"                                  back to how it was\n"
	"  doctor                          what is missing or wrong, and what helps\n"
	"  names commands|tenants|devices|policies|params POLICY\n"
	"                                  words for shell completion, one a line\n"
	"\n"
	"Options:\n"
	"  --socket CONTROL  the control socket; else $ACCELMUX_CONTROL, else the user's own\n"
	"                    if there is one, else /run/accelmux/control.sock\n"
	"  --json            print the result as JSON\n"
	"  --help, --version\n"
	"\n"
	"Exit codes: 0 ok, 1 failed, 2 usage, 3 no broker.\n";

static const struct {
	const char *name;
	int (*run)(const struct cli *cli);
} commands[] = {
	{ "status", cli_status },   { "top", cli_top },	      { "tenants", cli_tenants },
	{ "devices", cli_devices }, { "policy", cli_policy }, { "bench", cli_bench },
	{ "trace", cli_trace },	    { "setup", cli_setup },   { "doctor", cli_doctor },
	{ "names", cli_names },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const char *cli_command_name(unsigned int i)
{
	return i < N_COMMANDS ? commands[i].name : NULL;
}

int cli_fail(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("accelmux: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* Take the global options out of @argv.  Returns 0, or 1 with *@code to exit with. */
static int global_options(struct cli *cli, int argc, char **argv, int *code)
{
	cli->argv = argv;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			cli->json = true;
		} else if (!strcmp(argv[i], "--socket")) {
			if (++i == argc) {
				*code = cli_fail(CLI_USAGE, "--socket: expected a path");
				return 1;
			}
			cli->socket = argv[i];
		} else if (!strncmp(argv[i], "--socket=", 9)) {
			cli->socket = argv[i] + 9;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(help, stdout);
			return 1;
		} else if (!strcmp(argv[i], "--version")) {
			printf("accelmux %s\n", AMUX_VERSION);
			return 1;
		} else {
			cli->argv[cli->argc++] = argv[i];
		}
	}
	if (cli->socket && !*cli->socket) {
		*code = cli_fail(CLI_USAGE, "--socket: expected a path");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	int code = CLI_OK;

	if (!global_options(&cli, argc, argv, &code)) {
		code = -1;
		if (!cli.argc)
			code = cli_fail(CLI_USAGE, "expected a command; see accelmux --help");
		for (size_t i = 0; code < 0 && i < N_COMMANDS; i++)
			if (!strcmp(commands[i].name, cli.argv[0]))
				code = commands[i].run(&cli);
		if (code < 0)
			code = cli_fail(CLI_USAGE,
					"'%s': expected one of: status, top, tenants, "
					"devices, policy, bench, trace, setup, doctor, names",
					cli.argv[0]);
	}
	/* Output that did not arrive (a full disk, a closed pipe) is no success. */
	if (fflush(stdout) && code == CLI_OK)
		code = cli_fail(CLI_FAILED, "standard output: %s", strerror(errno));
	return code;
}
