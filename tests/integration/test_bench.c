// SPDX-License-Identifier: MIT
/*
 * bench-peers works: every row measures something and is told, in a run too short to say how
 * fast anything is.  Peers whose library is missing are named with the reason.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/harness.h"

#define OUTPUT_MAX 65536

static char peers[600], out[OUTPUT_MAX];

/* Probes of @row that have neither a figure nor a reason for having none. */
static unsigned int silent_probes(const json_t *row, unsigned int *measured)
{
	const json_t *probes = json_at(row, "probes"), *absent;
	unsigned int silent = 0;
	size_t i;
	json_t *p;

	json_array_foreach(probes, i, p)
	{
		absent = json_object_get(p, "absent");
		if (absent) {
			tap_note("%s: %s: %s", json_text(row, "name"), json_text(p, "name"),
				 json_string_value(absent));
			silent += !*json_string_value(absent);
		} else if (!strcmp(json_text(p, "unit"), "times") ||
			   json_number_value(json_at(p, "value.median")) > 0) {
			++*measured;
		} else {
			tap_note("%s: %s: no figure", json_text(row, "name"),
				 json_text(p, "name"));
			silent++;
		}
	}
	return silent;
}

static unsigned int lines(const char *text)
{
	unsigned int n = 0;

	while ((text = strchr(text, '\n'))) {
		n++;
		text++;
	}
	return n;
}

static void test_all(void)
{
	char file[] = "/tmp/amux-bench-XXXXXX";
	int fd = mkstemp(file), status;
	const char *run[] = { peers, "--quick", "--rounds", "1", "--json", file, NULL };
	const char *list[] = { peers, "--list", NULL };
	unsigned int names, silent = 0, measured = 0, rows = 0, idle = 0;
	json_t *doc, *row;
	size_t i;

	if (fd < 0)
		tap_bail("%s: %m", file);
	close(fd);
	status = program_run(list, NULL, out, sizeof(out), 10);
	names = lines(out);
	tap_ok(!status && names > 10, "%u rows are listed (status %d)", names, status);
	status = program_run(run, NULL, out, sizeof(out), 100);
	if (!tap_ok(!status, "all of them are measured once (status %d)", status))
		tap_note("%s", strlen(out) > 900 ? out + strlen(out) - 900 : out);
	doc = json_load_file(file, 0, NULL);
	unlink(file);
	if (!tap_ok(doc != NULL, "the results are JSON"))
		return;
	json_array_foreach(json_at(doc, "rows"), i, row)
	{
		rows++;
		silent += silent_probes(row, &measured);
		idle += !json_count(row, "rounds");
	}
	tap_ok(rows == names && !idle, "%u of %u rows are told, %u without a round", rows,
	       names, idle);
	tap_ok(!silent && measured > rows,
	       "%u probes have figures, %u neither that nor a reason", measured, silent);
	tap_ok(*json_text(doc, "date") && *json_text(doc, "machine.cpu"),
	       "date and machine are told");
	json_decref(doc);
}

static void test_wrong(void)
{
	const char *row[] = { peers, "--row", "nothing_like_it", NULL };
	const char *rounds[] = { peers, "--rounds", "0", NULL };
	int status = program_run(row, NULL, out, sizeof(out), 10);

	tap_ok(status == 2 && strstr(out, "--row 'nothing_like_it': expected") &&
		       lines(out) == 1,
	       "an unknown row is refused with a line (status %d)", status);
	status = program_run(rounds, NULL, out, sizeof(out), 10);
	tap_ok(status == 2 && strstr(out, "--rounds '0': expected") && lines(out) == 1,
	       "no round is refused with a line (status %d)", status);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 120);
	snprintf(peers, sizeof(peers), "%s/bench/peers", tap_build());
	test_wrong();
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		tap_skip("all rows", "peers take two cores");
	else
		test_all();
	return tap_done();
}
