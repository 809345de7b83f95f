// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_setup_boot.c - setup --save: the layout at every boot, by a systemd unit where there is
 * systemd.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "cli_setup.h"
#include "layout_json.h"

extern char **environ;

/* Run systemctl with @verb and @unit, silently: its exit status, or -errno. */
static int systemctl(const char *verb, const char *unit)
{
	char *argv[] = { (char *)"systemctl", (char *)verb, (char *)unit, NULL };
	posix_spawn_file_actions_t actions;
	int status, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool have_systemd(void)
{
	return !access("/run/systemd/system", F_OK);
}

/* This program, and the unit that was installed with it; false: not to be told. */
static bool paths(char *program, char *unit)
{
	char copy[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, PATH_MAX - 1);

	if (n < 0)
		return false;
	program[n] = '\0';
	strcpy(copy, program);
	return snprintf(unit, PATH_MAX, "%s/lib/systemd/system/" SETUP_UNIT,
			dirname(dirname(copy))) < PATH_MAX;
}

static int unit_enable(const struct cli *cli, const char *program, const char *unit)
{
	int rc;

	if (!have_systemd()) {
		if (cli->json)
			return CLI_OK;
		printf("%s: written; there is no systemd here: let the host run at boot: %s "
		       "setup --load %s\n",
		       SETUP_SAVED, program, SETUP_SAVED);
		return CLI_OK;
	}
	if (access(unit, R_OK) < 0)
		return cli_fail(CLI_FAILED,
				"setup --save: %s: expected the unit that make install puts "
				"there: %s",
				unit, strerror(errno));
	rc = systemctl("enable", unit);
	if (rc)
		return cli_fail(CLI_FAILED,
				"setup --save: systemctl enable %s: %s %d; run it by hand to "
				"see why",
				unit, rc < 0 ? "error" : "exit status", abs(rc));
	if (!cli->json)
		printf("%s: written; %s loads it at boot\n", SETUP_SAVED, SETUP_UNIT);
	return CLI_OK;
}

int setup_save(const struct cli *cli, const struct idxd_host *plan, const char *group)
{
	char program[PATH_MAX], unit[PATH_MAX], line[256], err[512];
	json_t *json = layout_to_json(plan, false);
	char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	int rc = -ENOMEM;

	if (text)
		rc = layout_file_write(SETUP_SAVED, text, err, sizeof(err));
	else
		snprintf(err, sizeof(err), "%s: %s", SETUP_SAVED, strerror(ENOMEM));
	free(text);
	json_decref(json);
	if (!rc && group) {
		snprintf(line, sizeof(line), "ACCELMUX_SETUP_OPTIONS=--group=%s\n", group);
		rc = layout_file_write(SETUP_OPTIONS, line, err, sizeof(err));
	} else if (!rc) {
		unlink(SETUP_OPTIONS);
	}
	if (!rc && !paths(program, unit)) {
		rc = -ENOENT;
		snprintf(err, sizeof(err), "/proc/self/exe: expected this program's path");
	}
	return rc ? cli_fail(CLI_FAILED, "setup --save: %s", err)
		  : unit_enable(cli, program, unit);
}

int setup_forget(const struct cli *cli)
{
	int rc = 0;

	if (unlink(SETUP_SAVED) < 0)
		return cli_fail(CLI_FAILED, "setup --undo --save: %s: cannot remove: %s",
				SETUP_SAVED, strerror(errno));
	unlink(SETUP_OPTIONS);
	if (have_systemd())
		rc = systemctl("disable", SETUP_UNIT);
	if (rc)
		return cli_fail(CLI_FAILED,
				"setup --undo --save: systemctl disable %s: %s %d; run it by "
				"hand to see why",
				SETUP_UNIT, rc < 0 ? "error" : "exit status", abs(rc));
	if (!cli->json)
		printf("%s: removed; nothing is laid out at boot\n", SETUP_SAVED);
	return CLI_OK;
}
