// SPDX-License-Identifier: MIT
/*
 * tour.c - the guided tour: two tenants and the kernel class, each alone and then together
 * under every policy, while they run; one table at the end.
 *
 *	tour BUILD TRACE [PASSES]	PASSES of the kernel's trace in a phase, 1 to 20
 *
 * Exit 0 only if every byte was copied right, every request was answered exactly once, and
 * all processes ended well.  Whatever happens nothing is left behind.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "stage.h"
#include "table.h"

#define TENANTS	      2 /* GOLD, BRONZE */
#define WEIGHT_GOLD   3
#define WEIGHT_BRONZE 1
#define TICK_MS	      500
#define ALONE_TICKS   6 /* of a tenant's phase alone: nothing comes and goes there */
#define PASSES	      3 /* of the kernel's trace in every other phase */
#define PASS_TICKS    3 /* STAGE_PASS_NS at time_scale 100 */
#define SETTLE_TICKS  3
#define END_MS	      15000

struct tour {
	struct stage stage;
	struct child tenant[TENANTS];
	bool tty;
	const char *trace;
	unsigned int ticks;		      /* of a phase with the kernel class */
	uint64_t copies, bytes, kernel_bytes; /* right ones */
	struct results results;
};

__attribute__((format(printf, 1, 2))) static int complain(const char *fmt, ...)
{
	va_list ap;

	fputs("tour: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -EIO;
}

/* @what failed with @err; an interrupted one needs no words. */
static int failed(const char *what, int err)
{
	if (err && err != -EINTR)
		complain("%s: %s", what, strerror(-err));
	return err;
}

/* -------------------------------------------------------------------- tenants */

static int tenant_start(struct tour *t, enum who who)
{
	char path[512], part[2] = { who == GOLD ? '0' : '1', '\0' }, name[16];
	char *argv[] = { path, t->stage.socket, name, part, NULL };

	snprintf(path, sizeof(path), "%s/demo/tenant", t->stage.build);
	snprintf(name, sizeof(name), "%s", table_classes[who]);
	return failed(table_classes[who],
		      child_start(&t->tenant[who], table_classes[who], argv, t->stage.log));
}

/* Send @command to @who, and drop or keep the answer. */
static int tenant_tell(struct tour *t, enum who who, const char *command, json_t **answer)
{
	json_t *report;
	int err = child_ask(&t->tenant[who], command, &report);

	if (err)
		return failed(table_classes[who], err);
	if (!figures_int(report, "alive"))
		err = complain("%s: it lost the broker", table_classes[who]);
	if (answer && !err)
		*answer = report;
	else
		json_decref(report);
	return err;
}

/* Let it finish; add up what it did. */
static int tenant_end(struct tour *t, enum who who, struct sample *total)
{
	json_t *report;
	int err = tenant_tell(t, who, "pause", &report);

	if (err)
		return err;
	if (figures_int(report, "bad") || figures_int(report, "errors") ||
	    figures_int(report, "stray") || figures_int(report, "inflight") ||
	    figures_int(report, "requests") != figures_int(report, "copies"))
		err = complain(
			"%s: %llu requests, %llu right copies, %llu differ in %llu bytes, "
			"%llu failed, %llu stray answers, %llu lost",
			table_classes[who], (unsigned long long)figures_int(report, "requests"),
			(unsigned long long)figures_int(report, "copies"),
			(unsigned long long)figures_int(report, "bad"),
			(unsigned long long)figures_int(report, "bad_bytes"),
			(unsigned long long)figures_int(report, "errors"),
			(unsigned long long)figures_int(report, "stray"),
			(unsigned long long)figures_int(report, "inflight"));
	if (!err && !figures_int(report, "copies"))
		err = complain("%s: not a single copy", table_classes[who]);
	if (!err)
		err = sample_tenant(total, report);
	t->copies += figures_int(report, "copies");
	t->bytes += figures_int(report, "bytes");
	json_decref(report);
	if (!err && child_end(&t->tenant[who], 0, END_MS))
		err = complain("%s: did not end well", table_classes[who]);
	return err;
}

/* -------------------------------------------------------------------- samples */

static int take_kernel(struct tour *t, struct sample *s)
{
	json_t *status;
	int err = failed("accelmux status", stage_call(&t->stage, &status, "status", NULL));

	if (err)
		return err;
	err = failed("accelmux status: the kernel class", sample_kernel(s, status));
	if (!err && figures_int(figures_class(status, "kernel"), "mismatches"))
		err = complain("kernel: %llu pages differ after their copy",
			       (unsigned long long)figures_int(figures_class(status, "kernel"),
							       "mismatches"));
	json_decref(status);
	return err;
}

/* Sample those of @who (a bit set). */
static int take(struct tour *t, unsigned int who, struct sample s[CLASSES])
{
	int err = 0;

	for (unsigned int c = 0; c < TENANTS && !err; c++) {
		json_t *report;

		if (!(who & 1u << c))
			continue;
		err = tenant_tell(t, c, "report", &report);
		if (err)
			break;
		err = failed(table_classes[c], sample_tenant(&s[c], report));
		json_decref(report);
	}
	if (!err && who & 1u << KERNEL)
		err = take_kernel(t, &s[KERNEL]);
	return err;
}

static void show(const struct tour *t, const char *title, unsigned int who, unsigned int tick,
		 const struct figures f[CLASSES])
{
	if (t->tty)
		printf("\r\033[K");
	printf("%-22s %4.1f s ", title, (double)tick * TICK_MS / 1000);
	for (unsigned int c = 0; c < CLASSES; c++)
		if (who & 1u << c)
			printf("  %s %4.0f MB/s", table_classes[c], f[c].bps / 1e6);
	if (!t->tty)
		putchar('\n');
	fflush(stdout);
}

/* Let those of @who run, settle, and measure what they do for @ticks. */
static int measure(struct tour *t, const char *title, unsigned int who, unsigned int ticks,
		   struct figures out[CLASSES])
{
	struct sample base[CLASSES], last[CLASSES], now[CLASSES];
	struct figures live[CLASSES];
	int err = 0;

	for (unsigned int tick = 0; tick <= SETTLE_TICKS + ticks && !err; tick++) {
		bool first = !tick, last_one = tick == SETTLE_TICKS + ticks;

		if (!first)
			err = child_sleep(TICK_MS);
		if (!err && !t->tty && !first && !last_one && tick != SETTLE_TICKS)
			continue;
		if (!err)
			err = take(t, who, now);
		if (err)
			break;
		for (unsigned int c = 0; c < CLASSES; c++)
			if (!first && who & 1u << c)
				figures_between(&last[c], &now[c], &live[c]);
		if (tick == SETTLE_TICKS)
			memcpy(base, now, sizeof(base));
		if (last_one || (t->tty && !first))
			show(t, title, who, tick, live);
		memcpy(last, now, sizeof(last));
	}
	if (!err && t->tty)
		putchar('\n');
	for (unsigned int c = 0; c < CLASSES && !err; c++)
		if (who & 1u << c)
			figures_between(&base[c], &now[c], &out[c]);
	return err;
}

/* --------------------------------------------------------------------- broker */

/* What the broker counted must be what the tenants did, in numbers and in bytes. */
static int compare_books(struct tour *t, const struct sample total[TENANTS])
{
	const json_t *user, *kernel;
	uint64_t requests, answered;
	json_t *status;
	int err = failed("accelmux status", stage_call(&t->stage, &status, "status", NULL));

	if (err)
		return err;
	user = figures_class(status, "user");
	kernel = figures_class(status, "kernel");
	requests = figures_int(user, "requests");
	answered = figures_int(user, "completed") + figures_int(user, "declined");
	if (requests != answered || figures_int(user, "failed") ||
	    requests != total[GOLD].units + total[BRONZE].units ||
	    figures_int(user, "declined") != total[GOLD].declined + total[BRONZE].declined)
		err = complain(
			"lost: the broker took %llu requests, completed %llu, declined %llu, "
			"failed %llu; tenants made %llu, %llu of them declined",
			(unsigned long long)requests,
			(unsigned long long)figures_int(user, "completed"),
			(unsigned long long)figures_int(user, "declined"),
			(unsigned long long)figures_int(user, "failed"),
			(unsigned long long)(total[GOLD].units + total[BRONZE].units),
			(unsigned long long)(total[GOLD].declined + total[BRONZE].declined));
	if (figures_int(kernel, "mismatches") || figures_int(kernel, "errors"))
		err = complain("kernel: %llu pages differ, %llu engine errors",
			       (unsigned long long)figures_int(kernel, "mismatches"),
			       (unsigned long long)figures_int(kernel, "errors"));
	t->kernel_bytes += figures_int(kernel, "finished_bytes");
	t->results.time_scale = (unsigned int)figures_int(status, "time_scale");
	json_decref(status);
	return err;
}

static int open_broker(struct tour *t, bool kernel)
{
	return failed("accelmuxd", stage_start(&t->stage, WEIGHT_GOLD, WEIGHT_BRONZE,
					       kernel ? t->trace : NULL));
}

static int close_broker(struct tour *t)
{
	struct sample total[TENANTS];
	int err = 0;

	for (unsigned int c = 0; c < TENANTS && !err; c++)
		err = tenant_end(t, c, &total[c]);
	if (!err)
		err = compare_books(t, total);
	if (!err && stage_stop(&t->stage))
		err = complain("accelmuxd: did not end well");
	return err;
}

static int set_policy(struct tour *t, const char *name)
{
	const json_t *node;
	json_t *answer;
	int err = failed(name, stage_call(&t->stage, &answer, "policy", "set", name, NULL));

	if (err)
		return err;
	json_decref(answer);
	/* In force from the next epoch on: 100 ms at scale 100. */
	err = child_sleep(TICK_MS);
	if (!err)
		err = failed(name, stage_call(&t->stage, &answer, "policy", "get", NULL));
	if (err)
		return err;
	node = json_array_get(json_object_get(answer, "in_force"), 0);
	if (!node || strcmp(json_string_value(json_object_get(node, "policy")), name))
		err = complain("policy %s was set and is not in force", name);
	json_decref(answer);
	return err;
}

/* ----------------------------------------------------------------------- tour */

/* Each tenant with the device to itself. */
static int tenants_alone(struct tour *t)
{
	int err = open_broker(t, false);

	for (unsigned int c = 0; c < TENANTS && !err; c++)
		err = tenant_start(t, c);
	for (unsigned int c = 0; c < TENANTS && !err; c++) {
		char title[32];

		snprintf(title, sizeof(title), "%s alone", table_classes[c]);
		err = tenant_tell(t, c, "run", NULL);
		if (!err)
			err = measure(t, title, 1u << c, ALONE_TICKS, t->results.alone);
		if (!err)
			err = tenant_tell(t, c, "pause", NULL);
	}
	return err ? err : close_broker(t);
}

/* The kernel class alone, then all of them under one policy after the other. */
static int together(struct tour *t)
{
	int err = open_broker(t, true);

	if (!err)
		err = measure(t, "kernel alone", 1u << KERNEL, t->ticks, t->results.alone);
	if (!err)
		printf("\nNow together, switching the policy under load "
		       "(metrics meanwhile: http://127.0.0.1:%u/metrics):\n",
		       t->stage.port);
	for (unsigned int c = 0; c < TENANTS && !err; c++) {
		err = tenant_start(t, c);
		if (!err)
			err = tenant_tell(t, c, "run", NULL);
	}
	for (unsigned int p = 0; p < TABLE_POLICIES && !err; p++) {
		err = set_policy(t, table_policies[p]);
		if (!err)
			err = measure(t, table_policies[p], (1u << CLASSES) - 1, t->ticks,
				      t->results.together[p]);
	}
	return err ? err : close_broker(t);
}

static int walk(struct tour *t)
{
	int err;

	puts("accelmux tour: a modelled soft DSA (no silicon), two tenants that copy files "
	     "from\n"
	     "/usr/lib (gold:bronze weigh 3:1), and the kernel class: page migrations of a "
	     "real\n"
	     "kernel at times of ours, replayed in bursts: 0.75 s of work, 0.75 s of rest.  "
	     "Every\n"
	     "byte is verified.\n");
	err = tenants_alone(t);
	if (!err)
		err = together(t);
	if (err)
		return err;
	table_print(&t->results);
	printf("\nVerified: %llu copies, %.1f GB of file contents, %.1f GB of migrated pages; "
	       "0 bytes differ, 0 requests lost.\n",
	       (unsigned long long)t->copies, (double)t->bytes / 1e9,
	       (double)t->kernel_bytes / 1e9);
	return 0;
}

/* Better said now than half-way. */
static int check_files(const char *build, const char *trace)
{
	static const char *const programs[] = { "accelmuxd", "accelmux", "demo/tenant" };
	char path[512];

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", build, programs[i]);
		if (access(path, X_OK))
			return failed(path, -errno);
	}
	return access(trace, R_OK) ? failed(trace, -errno) : 0;
}

int main(int argc, char **argv)
{
	static struct tour t;
	long passes = argc == 4 ? strtol(argv[3], NULL, 10) : PASSES;
	int err;

	if (argc < 3 || argc > 4 || passes < 1 || passes > 20) {
		fputs("usage: tour BUILD TRACE [PASSES of it in a phase, 1 to 20]\n", stderr);
		return 2;
	}
	t.trace = argv[2];
	t.tty = isatty(STDOUT_FILENO);
	t.ticks = (unsigned int)passes * PASS_TICKS;
	t.results.weight[GOLD] = WEIGHT_GOLD;
	t.results.weight[BRONZE] = WEIGHT_BRONZE;
	child_catch_signals();
	err = check_files(argv[1], argv[2]);
	if (!err)
		err = failed("private directory", stage_open(&t.stage, argv[1]));
	if (!err)
		err = walk(&t);
	if (err && err != -EINTR)
		stage_print_log(&t.stage);
	for (unsigned int c = 0; c < TENANTS; c++)
		child_end(&t.tenant[c], err ? SIGTERM : 0, END_MS);
	stage_close(&t.stage);
	if (err == -EINTR)
		fputs("\ntour: interrupted\n", stderr);
	if (fflush(stdout) || ferror(stdout))
		err = complain("standard output: %s", strerror(errno));
	return err ? 1 : 0;
}
