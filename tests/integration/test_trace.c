// SPDX-License-Identifier: MIT
/*
 * test_trace.c - `accelmux trace` where no kernel module is needed: show, pace, and what is
 * said to wrong arguments.  Recording is tested in the lab (tests/lab/guest/test_trace.sh).
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/harness.h"

static char dir[64], out[16384];
static char in_path[96], out_path[96], again_path[96];

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f))
		tap_bail("cannot write %s", path);
}

static char *get(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "re");

	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	return text;
}

/* Run `accelmux trace ARG...`; its exit status, what it said in out. */
__attribute__((sentinel)) static int trace_cmd(const char *arg, ...)
{
	static char cli[256];
	const char *argv[16] = { cli, "trace" };
	unsigned int n = 2;
	va_list ap;

	snprintf(cli, sizeof(cli), "%s/accelmux", tap_build());
	va_start(ap, arg);
	for (const char *a = arg; a && n < 15; a = va_arg(ap, const char *))
		argv[n++] = a;
	va_end(ap);
	return program_run(argv, NULL, out, sizeof(out), 10);
}

/* One line that names the value and says what was expected. */
static void refused(const char *name, int status, int want, const char *word)
{
	char *end = strchr(out, '\n');

	if (end)
		*end = '\0';
	tap_ok(status == want && !strncmp(out, "accelmux: trace", 15) && strstr(out, word) &&
		       end && !end[1],
	       "%s: exit %d: %.200s", name, status, out);
}

static const char text[] = "# SPDX-License-Identifier: MIT\n"
			   "# recorded on Linux 7.1, some day\n"
			   "accelmux-trace 1 recorded\n"
			   "# time_ns reason pages order runs\n"
			   "5 mbind 512 0 64\n"
			   "9 syscall 1024 9 2\n"
			   "9 compaction 33 0 33\n"
			   "5000000009 compaction 1 0 1\n";

static void test_show(void)
{
	json_t *o;
	int status = trace_cmd("show", in_path, NULL);

	tap_ok(status == 0 && strstr(out, "Provenance   recorded (on a host") &&
		       strstr(out, "Batches      4 of 1570 pages") &&
		       strstr(out, "1024-2047        1") && strstr(out, "mbind"),
	       "show: a summary");
	status = trace_cmd("--json", "show", in_path, NULL);
	o = json_loads(out, 0, NULL);
	tap_ok(status == 0 && o && !strcmp(json_text(o, "provenance"), "recorded") &&
		       json_count(o, "batches") == 4 && json_count(o, "pages") == 1570 &&
		       json_count(o, "folios") == 512 + 2 + 33 + 1 &&
		       json_count(o, "reasons.compaction.pages") == 34 &&
		       json_count(o, "reasons.compaction.runs") == 34 &&
		       json_count(o, "sizes.0.pages_max") == 1 &&
		       json_count(o, "sizes.1.pages_min") == 32 &&
		       json_count(o, "duration_ns") == 5000000009 + 5000000004 / 3,
	       "show --json: the same, to the number");
	json_decref(o);
	put(again_path, "accelmux-trace 1 recorded\n0 mbind 512 3 1\n");
	refused("show: a bad line", trace_cmd("show", again_path, NULL), 1,
		":2: order '3': expected 0");
	refused("show: no such file", trace_cmd("show", "/nonexistent", NULL), 1,
		"/nonexistent: No such file");
	refused("show without a file", trace_cmd("show", NULL), 2, "expected FILE");
	refused("show of two", trace_cmd("show", in_path, in_path, NULL), 2, "expected FILE");
	refused("show --rate", trace_cmd("show", in_path, "--rate", "5G", NULL), 2, "'--rate'");
}

static void test_pace(void)
{
	char first[4096];
	int status = trace_cmd("pace", in_path, out_path, "--rate", "1G", "--seed", "3", NULL);

	snprintf(first, sizeof(first), "%s", get(out_path));
	tap_ok(status == 0 && !*out &&
		       !strncmp(first,
				"# SPDX-License-Identifier: MIT\n"
				"# recorded on Linux 7.1, some day\n"
				"# paced at 1000 MB/s, seed 3: the times are made up\n"
				"accelmux-trace 1 paced\n"
				"# time_ns reason pages order runs\n"
				"0 mbind 512 0 64\n",
				180) &&
		       strstr(first, " syscall 1024 9 2\n") &&
		       strstr(first, " compaction 33 0 33\n"),
	       "pace: the same batches, and it says so");
	status = trace_cmd("pace", out_path, again_path, "--rate=1G", "--seed=3", "--force",
			   NULL);
	tap_ok(status == 0 && !strcmp(get(again_path), first),
	       "pace: what it made gives the same bytes again");
	trace_cmd("pace", in_path, again_path, "--rate=1G", "--seed=4", "--force", NULL);
	tap_ok(strcmp(strstr(get(again_path), "\n0 "), strstr(first, "\n0 ")),
	       "pace: another seed gives other times");
	status = trace_cmd("pace", again_path, again_path, "--rate=1G", "--seed=3", "--force",
			   NULL);
	tap_ok(status == 0 && !strcmp(get(again_path), first), "pace: in place");
	put(in_path, "accelmux-trace 1 synthetic\n0 mbind 1 0 1\n");
	status = trace_cmd("pace", in_path, again_path, "--rate=1G", "--force", NULL);
	tap_ok(status == 0 && strstr(get(again_path), "accelmux-trace 1 synthetic\n"),
	       "pace: what is made up stays made up");

	refused("pace over a file", trace_cmd("pace", in_path, out_path, "--rate=1G", NULL), 1,
		"exists; expected a new file, or --force");
	tap_ok(!strcmp(get(out_path), first), "and the file is as it was");
	refused("pace without a rate", trace_cmd("pace", in_path, out_path, NULL), 2, "--rate");
	refused("pace at no rate", trace_cmd("pace", in_path, out_path, "--rate=fast", NULL), 2,
		"--rate 'fast': expected 1M to 1000G");
	refused("pace at 1 B/s", trace_cmd("pace", in_path, out_path, "--rate", "1", NULL), 2,
		"--rate '1'");
	refused("pace with a bad seed",
		trace_cmd("pace", in_path, out_path, "--rate=1G", "--seed=-1", NULL), 2,
		"--seed '-1': expected 0 to");
	refused("pace without OUT", trace_cmd("pace", in_path, "--rate=1G", NULL), 2, "IN OUT");
	refused("pace into nowhere",
		trace_cmd("pace", in_path, "/nonexistent/x", "--rate=1G", NULL), 1,
		"/nonexistent/x: No such file");
	refused("--force with a value", trace_cmd("pace", in_path, out_path, "--force=1", NULL),
		2, "'--force'");
	status = trace_cmd("pace", in_path, "/dev/full", "--rate=1G", "--force", NULL);
	refused("pace onto a full disk", status, 1, "/dev/full: No space");
}

static void test_record(void)
{
	struct stat st;

	refused("record without a file", trace_cmd("record", NULL), 2, "expected FILE");
	refused("record for no time", trace_cmd("record", again_path, "--time", "0s", NULL), 2,
		"--time '0s': expected up to 21600s");
	refused("record for a day", trace_cmd("record", again_path, "--time=86400s", NULL), 2,
		"--time '86400s'");
	refused("record of none", trace_cmd("record", again_path, "--max=0", NULL), 2,
		"--max '0': expected 1 to 1048576");
	refused("record without a value", trace_cmd("record", again_path, "--max", NULL), 2,
		"--max ''");
	refused("trace of nothing", trace_cmd(NULL, NULL), 2,
		"'': expected one of: record, show, pace");
	refused("trace dance", trace_cmd("dance", NULL), 2, "'dance': expected one of");
	unlink(again_path);
	if (!access("/sys/kernel/tracing/events/accelmux", F_OK)) {
		tap_skip("record where it cannot be", "the kernel module is loaded here");
		return;
	}
	refused("record where it cannot be", trace_cmd("record", again_path, NULL), 1,
		"/sys/kernel/tracing");
	tap_ok(stat(again_path, &st), "and no file is left");
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	strcpy(dir, "/tmp/accelmux-test-XXXXXX");
	if (!mkdtemp(dir))
		tap_bail("no directory");
	snprintf(in_path, sizeof(in_path), "%s/in", dir);
	snprintf(out_path, sizeof(out_path), "%s/out", dir);
	snprintf(again_path, sizeof(again_path), "%s/again", dir);
	put(in_path, text);
	test_show();
	test_pace();
	test_record();
	unlink(in_path);
	unlink(out_path);
	unlink(again_path);
	rmdir(dir);
	return tap_done();
}
