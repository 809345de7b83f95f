// SPDX-License-Identifier: GPL-2.0-only
/*
 * accelmuxd: command line and configuration; the rest is broker.c.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "plugin_host.h"

#define SYSTEM_CONFIG "/etc/accelmux/accelmux.conf"
#define OVERRIDES_MAX 64
#define WAIT_MAX_S    86400u
#define ARENAS	      2

static const char usage[] =
	"usage: accelmuxd [--config FILE] [--set SECTION.KEY=VALUE]... [--system] [--check]\n"
	"                 [--wait SECONDS] [--version]\n"
	"\n"
	"  --config FILE  INI file; without it " SYSTEM_CONFIG " for root, if there\n"
	"                 is one, else the defaults\n"
	"  --set ...      override one key, e.g. --set broker.policy=shared\n"
	"  --system       be the host's broker, though not root: that file, sockets in\n"
	"                 /run/accelmux, which every local user may connect to\n"
	"  --check        judge the configuration and exit\n"
	"  --wait S       if another accelmuxd serves the socket, wait up to S seconds\n"
	"                 for it to end: an upgrade without a gap\n"
	"\n"
	"SIGTERM drains and exits, SIGHUP reloads the file.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "set", required_argument, NULL, 's' },
		{ "check", no_argument, NULL, 'k' },
		{ "system", no_argument, NULL, 'y' },
		{ "wait", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	static struct config cfg;
	const char *path = NULL, *set[OVERRIDES_MAX];
	unsigned long wait = 0;
	unsigned int n_set = 0;
	char *end;
	char err[512] = "";
	bool check = false, host = false;
	struct broker *b;
	int opt, ret = 0;

	if (argc == 2 && !strcmp(argv[1], PLUGIN_HOST_OPTION))
		return plugin_host_main();
	/* Closers come and go with what clients do; an arena for each of them would stay. */
	mallopt(M_ARENA_MAX, ARENAS);
	while ((opt = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case 's':
			if (n_set == OVERRIDES_MAX) {
				fprintf(stderr,
					"accelmuxd: --set: expected at most %d of them\n",
					OVERRIDES_MAX);
				return 2;
			}
			set[n_set++] = optarg;
			break;
		case 'w':
			wait = strtoul(optarg, &end, 10);
			if (!*optarg || *end || wait > WAIT_MAX_S ||
			    !isdigit((unsigned char)*optarg)) {
				fprintf(stderr,
					"accelmuxd: --wait '%s': expected seconds, 0 to %u\n",
					optarg, WAIT_MAX_S);
				return 2;
			}
			break;
		case 'k':
			check = true;
			break;
		case 'y':
			host = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("accelmuxd " AMUX_VERSION);
			return 0;
		default:
			fputs("accelmuxd: see --help\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "accelmuxd: '%s': expected options only, see --help\n",
			argv[optind]);
		return 2;
	}
	if (!path && (!geteuid() || host) && !access(SYSTEM_CONFIG, F_OK))
		path = SYSTEM_CONFIG;

	config_default(&cfg);
	if (host)
		config_system(&cfg);
	if (path)
		ret = config_load(&cfg, path, err, sizeof(err));
	for (unsigned int i = 0; i < n_set && !ret; i++)
		ret = config_override(&cfg, set[i], err, sizeof(err));
	if (!ret)
		ret = config_check(&cfg, err, sizeof(err));
	if (ret) {
		fprintf(stderr, "accelmuxd: %s\n", err);
		return 2;
	}
	if (check) {
		puts("configuration is valid");
		return 0;
	}
	cfg.wait_s = (unsigned int)wait;
	signal(SIGPIPE, SIG_IGN);
	ret = broker_open(&b, &cfg, path, err, sizeof(err));
	if (ret) {
		fprintf(stderr, "accelmuxd: %s\n", err);
		return 1;
	}
	broker_overrides(b, set, n_set);
	broker_watch_signals(b);
	fprintf(stderr, "accelmuxd: serving %s, policy %s, kernel %s\n", cfg.socket, cfg.policy,
		cfg.kernel);
	broker_run(b);
	broker_close(b);
	fputs("accelmuxd: drained, bye\n", stderr);
	return 0;
}
