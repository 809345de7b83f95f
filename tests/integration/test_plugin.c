/* SPDX-License-Identifier: MIT */
/*
 * test_plugin.c - policies from shared objects: the one of the manual, compiled as it stands
 * there, and one that does everything it should not, while two tenants copy and check every
 * byte.  Copies go on, `partitioned` takes over within the stated bound, the reason is seen, and
 * nothing is left behind.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/load.h"
#include "../lib/web.h"
#include "../plugins/bad.h"

#define TENANTS 2
/* The bound: policy_patience epochs of a millisecond, and what a loaded machine adds. */
#define PATIENCE    250
#define TAKEOVER_MS (PATIENCE * 2 + 2000)

static char dir[64];
static unsigned int port; /* of the metrics */
static struct load_worker lw[TENANTS];
static struct worker w[TENANTS];

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s.so", dir, name);
	return path;
}

/* ------------------------------------------------------------------- compiling */

static void compile(const char *source, const char *name, const char *flag)
{
	char include[600], out[2048];
	const char *cc = getenv("CC") ? getenv("CC") : "cc";
	const char *argv[] = { "/usr/bin/env", cc,	  "-O1",   "-Wall", "-Werror",
			       "-fPIC",	       "-shared", include, "-o",    path_of(name),
			       source,	       flag,	  NULL };
	int status;

	snprintf(include, sizeof(include), "-I%s/include", tap_build());
	status = program_run(argv, NULL, out, sizeof(out), 60);
	if (status)
		tap_bail("%s: cannot compile (status %d): %s", source, status, out);
	chmod(path_of(name), 0644);
}

/* The first block of C after the heading. */
static void manual_extract(const char *to)
{
	char line[512];
	FILE *in = fopen("docs/policies.md", "r"), *out = fopen(to, "w");
	int state = 0;

	if (!in || !out)
		tap_bail("docs/policies.md: run from the top of the tree");
	while (state < 3 && fgets(line, sizeof(line), in)) {
		if (state == 0)
			state = !strcmp(line, "### A whole one\n");
		else if (state == 1)
			state = strcmp(line, "```c\n") ? 1 : 2;
		else if (!strcmp(line, "```\n"))
			state = 3;
		else
			fputs(line, out);
	}
	fclose(in);
	fclose(out);
	if (state != 3)
		tap_bail("docs/policies.md: it has no whole policy");
}

/* -------------------------------------------------------------------- watching */

/* Children of the broker; and processes that a plug-in has left behind, whoever's they are. */
static unsigned int processes(const struct daemon *d, bool stray)
{
	struct dirent *e;
	DIR *proc = opendir("/proc");
	unsigned int n = 0;

	while (proc && (e = readdir(proc))) {
		char path[300], text[512] = "", *rest;
		int ppid = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		rest = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
		fclose(f);
		if (!rest)
			continue;
		sscanf(rest + 1, " %*c %d", &ppid);
		n += stray ? strstr(text, "(" BAD_STRAY ")") != NULL : ppid == d->pid;
	}
	if (proc)
		closedir(proc);
	return n;
}

static bool childless(const struct daemon *d, unsigned int timeout_ms)
{
	uint64_t end = tap_ns() + timeout_ms * 1000000ull;

	while (processes(d, false)) {
		if (tap_ns() > end)
			return false;
		tap_sleep_ms(5);
	}
	return true;
}

/* policy.set; if it is, the mux thread has it when this returns: what status says is of it. */
static json_t *set(struct daemon *d, const char *name, const char *key, int value, char *err,
		   size_t errlen)
{
	static const char switches[] = "nodes.0.mux.policy_switches";
	json_t *params = key ? json_pack("{s:i}", key, value) : json_object(), *r;
	uint64_t before = daemon_count(d, "status", switches);

	r = daemon_rpc(d, "policy.set", json_pack("{s:s, s:o}", "name", name, "params", params),
		       err, errlen);
	if (r && !daemon_settles(d, "status", switches, before + 1, 5000 * TAP_SLOW))
		tap_bail("%s: set, and no switch follows", name);
	return r;
}

static void back(struct daemon *d)
{
	char err[512];
	json_t *r = set(d, "dynamic", NULL, 0, err, sizeof(err));

	if (!r)
		tap_bail("dynamic: %s", err);
	json_decref(r);
}

/* Both tenants answer and check more bytes. */
static bool copies_go_on(void)
{
	uint64_t before[TENANTS], end = tap_ns() + 10000000000ull * TAP_SLOW;
	bool all = false;

	for (unsigned int i = 0; i < TENANTS; i++)
		before[i] = worker_read(&w[i].report->done);
	while (!all && tap_ns() < end) {
		all = true;
		tap_sleep_ms(2);
		for (unsigned int i = 0; i < TENANTS; i++)
			all &= worker_read(&w[i].report->done) > before[i] + 20;
	}
	for (unsigned int i = 0; i < TENANTS; i++)
		all &= !w[i].report->failed;
	return all;
}

/* node 0's reason within @ms; "" if there is none. */
static void reason(struct daemon *d, unsigned int ms, char *why, size_t len)
{
	uint64_t end = tap_ns() + ms * 1000000ull;

	*why = '\0';
	while (!*why && tap_ns() < end) {
		json_t *doc = daemon_ask(d, "status");
		const char *text =
			json_string_value(json_object_get(json_at(doc, "nodes.0"), "reverted"));

		if (text)
			snprintf(why, len, "%s", text);
		json_decref(doc);
		if (!*why)
			tap_sleep_ms(5);
	}
}

static uint64_t failures(struct daemon *d, const char *kind)
{
	char path[80];

	snprintf(path, sizeof(path), "nodes.0.mux.policy_failures.%s", kind);
	return daemon_count(d, "status", path);
}

/* Is it a line of the metrics? */
static bool measured(const char *line)
{
	static char page[WEB_PAGE_MAX];

	return web_get(port, "/metrics", page, sizeof(page)) == 200 && strstr(page, line);
}

/* ----------------------------------------------------------------------- cases */

/* Loading it fails with @text, and the policy is as before. */
static void refused(struct daemon *d, const char *name, const char *key, int value,
		    const char *text)
{
	char err[512] = "it was loaded";
	uint64_t start = tap_ns(), ms;
	json_t *r = set(d, path_of(name), key, value, err, sizeof(err)), *doc;

	ms = (tap_ns() - start) / 1000000;
	doc = daemon_ask(d, "status");
	tap_ok(!r && strstr(err, text) && !strcmp(json_text(doc, "policy"), "dynamic"),
	       "%s%s%s: refused after %llu ms, dynamic stays: %s", name, key ? " " : "",
	       key ? key : "", (unsigned long long)ms, err);
	json_decref(r);
	json_decref(doc);
	tap_ok(copies_go_on() && childless(d, 2000 * TAP_SLOW),
	       "%s: copies go on, no process is left", name);
}

/* It is loaded, does @mode in plan(), and is replaced for @kind with @text in the reason. */
static void replaced(struct daemon *d, int mode, const char *label, const char *kind,
		     const char *text)
{
	uint64_t before = failures(d, kind), start;
	char why[400], err[512], line[96];
	unsigned int ms;
	json_t *r = set(d, path_of("bad"), "plan", mode, err, sizeof(err));

	if (!r)
		tap_bail("%s: not loaded: %s", label, err);
	json_decref(r);
	start = tap_ns();
	reason(d, TAKEOVER_MS * TAP_SLOW, why, sizeof(why));
	ms = (unsigned int)((tap_ns() - start) / 1000000);
	r = daemon_ask(d, "status");
	tap_ok(strstr(why, text) && strstr(why, "partitioned took over") &&
		       !strcmp(json_text(r, "nodes.0.policy"), "partitioned"),
	       "plan() %s: replaced after %u ms: %s", label, ms, why);
	json_decref(r);
	snprintf(line, sizeof(line),
		 "accelmux_policy_failures_total{node=\"0\",reason=\"%s\"} %llu\n", kind,
		 (unsigned long long)before + 1);
	tap_ok(failures(d, kind) == before + 1 && measured(line) && daemon_logged(d, why, 2000),
	       "plan() %s: counted as %s, and logged", label, kind);
	tap_ok(copies_go_on() && childless(d, 2000 * TAP_SLOW),
	       "plan() %s: copies go on, no process is left", label);
	back(d);
}

/* It is loaded, does @mode, and lives on; or it is replaced for one of two reasons (NULL: not). */
static void endured(struct daemon *d, int mode, const char *label, const char *why1,
		    const char *why2)
{
	uint64_t epochs;
	char why[400], err[512];
	json_t *r = set(d, path_of("bad"), "plan", mode, err, sizeof(err));
	bool going = true;

	if (!r)
		tap_bail("%s: not loaded: %s", label, err);
	json_decref(r);
	epochs = daemon_count(d, "status", "nodes.0.mux.epochs");
	/* Well beyond the first calls, in which it is still good. */
	for (int i = 0; i < 100 && going; i++)
		going = copies_go_on() &&
			daemon_count(d, "status", "nodes.0.mux.epochs") < epochs + 200;
	reason(d, 1, why, sizeof(why));
	tap_ok(copies_go_on() &&
		       (!*why || (why1 && strstr(why, why1)) || (why2 && strstr(why, why2))),
	       "plan() %s: copies go on%s%s", label, *why ? ": " : "", why);
	back(d);
	tap_ok(copies_go_on() && childless(d, 2000 * TAP_SLOW),
	       "plan() %s: dynamic works again, no process is left", label);
}

static void at_load(struct daemon *d)
{
	static const char source[] = "tests/plugins/bad.c";
	char flag[32];
	static const struct {
		const char *name;
		int how;
		const char *text;
	} bad[] = {
		{ "load-segv", BAD_SEGV, "was killed by SIGSEGV" },
		{ "load-abort", BAD_ABORT, "was killed by SIGABRT" },
		{ "load-exit", BAD_EXIT, "exited with status 3" },
		{ "load-loop", BAD_LOOP, "took longer than 1s" },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(flag, sizeof(flag), "-DLOAD=%d", bad[i].how);
		compile(source, bad[i].name, flag);
		refused(d, bad[i].name, NULL, 0, bad[i].text);
	}
	compile(source, "version", "-DABI=99");
	refused(d, "version", NULL, 0,
		"is made for version 99 of the policy interface, expected version 1");
	compile(source, "sizes", "-DVIEW_SIZE=4");
	refused(d, "sizes", NULL, 0, "with sizes ");
	compile(source, "symbol", "-DSYMBOL=amux_policy_bad");
	refused(d, "symbol", NULL, 0, "exports no symbol amux_policy");
}

static void at_init(struct daemon *d)
{
	refused(d, "bad", "init", BAD_SEGV, "was killed by SIGSEGV while it initialised");
	refused(d, "bad", "init", BAD_EXIT, "exited with status 3 while it initialised");
	refused(d, "bad", "init", BAD_LOOP, "took longer than 1s");
	refused(d, "bad", "init", BAD_CHECK, "policy bad: it likes?none of them");
	refused(d, "bad", "init", 100,
		"policy bad: init = '100': expected a number from 0 to 99");
	refused(d, "bad", "inti", 0, "unknown parameter 'inti'");
}

static void in_plan(struct daemon *d)
{
	replaced(d, BAD_SEGV, "crashes", "crashed", "was killed by SIGSEGV");
	replaced(d, BAD_ABORT, "aborts", "crashed", "was killed by SIGABRT");
	replaced(d, BAD_EXIT, "exits", "crashed", "exited with status 3");
	replaced(d, BAD_LOOP, "loops", "stalled", "gave no plan for 250 epochs");
	replaced(d, BAD_STOP, "stops itself", "stalled", "gave no plan for 250 epochs");
	replaced(d, BAD_ERROR, "returns an error", "error", "returned -EINVAL");
	replaced(d, BAD_VERSION, "returns another version", "abi", "plan of abi 77");
	replaced(d, BAD_FORK, "forks", "error", "returned -EAGAIN");
	/* Where nobody has other processes the kernel does not let it. */
	endured(d, BAD_EXEC, "executes another program", "gave no plan for",
		"returned -EAGAIN");
	if (geteuid())
		tap_skip("plan() kills the broker", "not as root, it is the same user");
	else
		replaced(d, BAD_KILL, "kills the broker", "error", "returned -EPERM");
	if (TAP_SLOW > 1)
		tap_skip("plan() takes all memory", "a sanitizer's build has no limit");
	else
		replaced(d, BAD_MEMORY, "takes all memory", "error", "returned -ENOMEM");
	tap_ok(!processes(d, true), "no process of a plug-in's is left anywhere");
	endured(d, BAD_GARBAGE, "returns random plans", NULL, NULL);
	endured(d, BAD_SCRIBBLE, "writes all over the page", "gave no plan for", NULL);
	endured(d, BAD_HOLE, "takes the page away", NULL, NULL);
	endured(d, BAD_MEAN, "grants one byte a second", NULL, NULL);
}

/* A good one: the manual's. */
static void good(struct daemon *d)
{
	char source[128], why[400], err[512], out[4096];
	const char *argv[] = { NULL,  "--socket", d->control, "policy",
			       "set", NULL,	  "after=3s", NULL };
	char cli[600];
	json_t *doc;
	int status;

	snprintf(source, sizeof(source), "%s/night.c", dir);
	manual_extract(source);
	compile(source, "night", "-Wextra");
	snprintf(cli, sizeof(cli), "%s/accelmux", tap_build());
	argv[0] = cli;
	argv[5] = path_of("night");
	status = program_run(argv, NULL, out, sizeof(out), 20);
	tap_ok(!status && strstr(out, "night: the kernel owns") && strstr(out, "3s"),
	       "the manual's policy: set by the command (status %d)%s%s", status,
	       status ? ": " : "", status ? out : "");
	/* Its plan is in force when users have no limit, which no built-in one gives with
	 * two chunks in flight. */
	tap_ok(copies_go_on(), "the manual's policy: copies go on");
	doc = daemon_ask(d, "status");
	reason(d, 1, why, sizeof(why));
	tap_ok(!strcmp(json_text(doc, "policy"), "night") &&
		       !strcmp(json_text(doc, "nodes.0.policy"), "night") && !*why &&
		       json_count(doc, "plugin.pid") &&
		       !strcmp(json_text(doc, "plugin.file"), path_of("night")),
	       "the manual's policy: in force, its file and process shown%s", why);
	tap_ok(json_count(doc, "nodes.0.plan.shares.0.reserve_bps") ==
		       json_count(doc, "devices.0.rate_bps") / 2,
	       "the manual's policy: by day the kernel reserves half");
	json_decref(doc);
	doc = set(d, path_of("night"), "before", 1, err, sizeof(err));
	tap_ok(!doc && strstr(err, "policy night: unknown parameter 'before': expected one of "
				   "after"),
	       "the manual's policy: a parameter that it has not: %s", err);
	json_decref(doc);
	back(d);
	tap_ok(copies_go_on() && childless(d, 2000 * TAP_SLOW),
	       "the manual's policy: dynamic instead, no process is left");
}

/* Files that are not run at all. */
static void untrusted(struct daemon *d)
{
	char err[512] = "";
	json_t *r;

	chmod(path_of("bad"), 0664);
	r = set(d, path_of("bad"), NULL, 0, err, sizeof(err));
	tap_ok(!r && strstr(err, "has mode 0664, expected one that only its owner may write"),
	       "a file that others may write: %s", err);
	chmod(path_of("bad"), 0644);
	if (!geteuid() && !chown(path_of("bad"), 12345, 0)) {
		r = set(d, path_of("bad"), NULL, 0, err, sizeof(err));
		tap_ok(!r && strstr(err, "belongs to user 12345, expected root"),
		       "a file of somebody else: %s", err);
		tap_ok(!chown(path_of("bad"), 0, 0), "the file is root's again");
	}
	r = set(d, path_of("none"), NULL, 0, err, sizeof(err));
	tap_ok(!r && strstr(err, "none.so: cannot open: No such file"), "no file: %s", err);
	r = set(d, dir, NULL, 0, err, sizeof(err));
	tap_ok(!r && strstr(err, "expected a regular file"), "a directory: %s", err);
	r = set(d, "docs/policies.md", NULL, 0, err, sizeof(err));
	tap_ok(!r && strstr(err, "expected an absolute path"), "a relative path: %s", err);
	r = set(d, "nosuch", NULL, 0, err, sizeof(err));
	tap_ok(!r && strstr(err, "or a plug-in, by its path or as NAME of"), "no name: %s",
	       err);
	r = set(d, "bad", NULL, 0, err, sizeof(err));
	tap_ok(r != NULL, "by its name in policy_dir: %s", r ? "set" : err);
	json_decref(r);
	back(d);
}

/* The last command wins; one that is still being loaded is told. */
static void superseded(struct daemon *d)
{
	const char *argv[] = { NULL,  "--socket",	    d->control, "policy",
			       "set", path_of("load-loop"), NULL };
	char cli[600], out[1024] = "";
	uint64_t start = tap_ns();
	int status;

	snprintf(cli, sizeof(cli), "%s/accelmux", tap_build());
	argv[0] = cli;
	if (!fork()) {
		while (!processes(d, false))
			tap_sleep_ms(2);
		d->rpc = -1;
		daemon_policy(d, "shared", NULL);
		_exit(0);
	}
	status = program_run(argv, NULL, out, sizeof(out), 20);
	tap_ok(status && strstr(out, "set to another one meanwhile") &&
		       tap_ns() - start < 10000000000ull,
	       "a load that another command overtakes ends then: %s", out);
	tap_ok(childless(d, 2000 * TAP_SLOW), "and its process with it");
	back(d);
}

static void tenants_start(struct daemon *d, uint64_t *rng)
{
	static const char *const names[] = { "t0", "t1" };

	for (unsigned int i = 0; i < TENANTS; i++) {
		lw[i] = (struct load_worker){
			.name = names[i],
			.opt = { .depth = 4 + i * 8,
				 .flags_any = AMUX_SQE_CACHE | (i ? AMUX_SQE_FENCE : 0),
				 .big_span = 256 << 10 },
			.seed = rng_next(rng),
		};
		snprintf(lw[i].socket, sizeof(lw[i].socket), "%s", d->socket);
		worker_spawn(&w[i], load_worker, &lw[i]);
	}
	for (unsigned int i = 0; i < TENANTS; i++)
		worker_await(&w[i], 20);
}

static void tenants_stop(void)
{
	for (unsigned int i = 0; i < TENANTS; i++) {
		int status = worker_stop(&w[i], 20);

		tap_ok(status == 0 && !w[i].report->failed,
		       "%s: every answer once, data right (%llu requests, status %d)%s%s",
		       lw[i].name, (unsigned long long)w[i].report->done, status,
		       w[i].report->failed ? ": " : "", w[i].report->why);
		worker_free(&w[i]);
	}
}

/* The policy of the configuration. */
static void configured(void)
{
	char policy[160], param[64], find[128], why[400];
	struct daemon d;
	json_t *doc;

	snprintf(find, sizeof(find), "broker.policy_dir=%s", dir);
	snprintf(policy, sizeof(policy), "broker.policy=%s", path_of("night"));
	daemon_start(&d, find, policy, "policy.night.after=7s", NULL);
	tap_ok(daemon_logged(&d, "policy night from", 5000 * TAP_SLOW),
	       "configured by path: loaded at the start");
	doc = daemon_ask(&d, "policy.get");
	tap_ok(!strcmp(json_text(doc, "params.after.text"), "7s"),
	       "configured: [policy night] has its parameters");
	json_decref(doc);
	daemon_stop(&d);

	snprintf(param, sizeof(param), "policy.bad.init=%d", BAD_SEGV);
	daemon_start(&d, find, "broker.policy=bad", param, NULL);
	reason(&d, 5000 * TAP_SLOW, why, sizeof(why));
	doc = daemon_ask(&d, "status");
	tap_ok(strstr(why, "while it initialised") &&
		       strstr(why, "policy bad was not loaded") &&
		       !strcmp(json_text(doc, "nodes.0.policy"), "partitioned") &&
		       json_count(doc, "nodes.0.mux.policy_failures.load") == 1,
	       "configured by name, and it crashes: %s", why);
	json_decref(doc);
	daemon_stop(&d);
}

/* The broker is killed while one loops: it goes, too. */
static void orphaned(void)
{
	char err[512], path[64];
	struct daemon d;
	json_t *r;
	pid_t pid;

	daemon_start(&d, "broker.policy_patience=100000", NULL);
	r = set(&d, path_of("bad"), "plan", BAD_LOOP, err, sizeof(err));
	if (!r)
		tap_bail("bad: not loaded: %s", err);
	pid = (pid_t)json_count(r, "plugin.pid");
	json_decref(r);
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	tap_ok(!access(path, F_OK), "the plug-in's process is there");
	daemon_kill(&d);
	for (int i = 0; i < 1000 && !access(path, F_OK); i++)
		tap_sleep_ms(2);
	tap_ok(access(path, F_OK) != 0, "it dies with its broker");
	daemon_clean(&d);
}

int main(int argc, char **argv)
{
	char find[128], metrics[64];
	unsigned int fds;
	struct daemon d;
	uint64_t rng;

	tap_init(argc, argv, 90);
	rng = tap_seed();
	strcpy(dir, "/tmp/amux-plugin-XXXXXX");
	if (!mkdtemp(dir))
		tap_bail("%s: %m", dir);
	compile("tests/plugins/bad.c", "bad", "-Wextra");
	snprintf(find, sizeof(find), "broker.policy_dir=%s", dir);
	port = web_port();
	snprintf(metrics, sizeof(metrics), "broker.metrics=127.0.0.1:%u", port);
	daemon_start(&d, "broker.own_core=on", "broker.policy_load=1s", find, metrics, NULL);
	tenants_start(&d, &rng);
	fds = daemon_fds(&d);
	good(&d);
	at_load(&d);
	at_init(&d);
	in_plan(&d);
	untrusted(&d);
	superseded(&d);
	tap_ok(copies_go_on(), "after all that, copies go on");
	tap_ok(daemon_settles(&d, "status", "connections", TENANTS, 2000) &&
		       childless(&d, 2000) && daemon_fds(&d) <= fds,
	       "no descriptor is left behind: %u, %u before", daemon_fds(&d), fds);
	tenants_stop();
	daemon_stop(&d);
	configured();
	orphaned();
	snprintf(find, sizeof(find), "rm -rf %s", dir);
	if (system(find))
		tap_note("%s: left behind", dir);
	return tap_done();
}
