// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_record.c - `accelmux trace record`: migration batches as the kernel module's tracepoint
 * tells them, by a tracefs instance of its own.
 */
#include "cli_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define TRACEFS	  "/sys/kernel/tracing"
#define EVENT	  "events/accelmux/accelmux_batch"
#define BUFFER_KB "2048" /* per CPU: some 20,000 batches between two looks at it */
#define LOOK_NS	  50000000

struct recorder {
	const struct trace_args *args;
	struct trace trace;
	uint64_t pages;
	uint64_t lost, foreign, bad;
	bool full;
	char dir[96]; /* of the tracefs instance */
	int pipe;
	char buf[65536];
	size_t len;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int instance_write(const struct recorder *r, const char *name, const char *text)
{
	char path[192];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int instance_fail(const struct recorder *r, const char *name, int err)
{
	return cli_fail(CLI_FAILED, "%s: %s/%s: %s", r->args->what, r->dir, name,
			strerror(-err));
}

static int kernel_ready(const struct trace_args *a)
{
	if (access(TRACEFS "/instances", W_OK | X_OK)) {
		if (errno == ENOENT)
			return cli_fail(CLI_FAILED,
					"%s: " TRACEFS
					": no tracefs there; expected one (mount "
					"-t tracefs tracefs " TRACEFS ")",
					a->what);
		if (errno == EACCES || errno == EPERM)
			return cli_fail(CLI_FAILED,
					"%s: " TRACEFS ": expected to be run by root", a->what);
		return cli_fail(CLI_FAILED, "%s: " TRACEFS "/instances: %s", a->what,
				strerror(errno));
	}
	if (access(TRACEFS "/" EVENT, F_OK))
		return cli_fail(CLI_FAILED,
				"%s: " TRACEFS "/" EVENT ": no such event; expected the kernel "
				"module accelmux to be loaded",
				a->what);
	return CLI_OK;
}

/* An instance of our own: nobody else's tracing is touched. */
static int instance_open(struct recorder *r)
{
	char path[192];
	int ret;

	snprintf(r->dir, sizeof(r->dir), TRACEFS "/instances/accelmux-%d", (int)getpid());
	if (mkdir(r->dir, 0700))
		return cli_fail(CLI_FAILED, "%s: %s: %s", r->args->what, r->dir,
				strerror(errno));
	r->pipe = -1;
	ret = instance_write(r, "buffer_size_kb", BUFFER_KB);
	if (ret)
		return instance_fail(r, "buffer_size_kb", ret);
	snprintf(path, sizeof(path), "%s/trace_pipe", r->dir);
	r->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (r->pipe < 0)
		return instance_fail(r, "trace_pipe", -errno);
	ret = instance_write(r, EVENT "/enable", "1");
	return ret ? instance_fail(r, EVENT "/enable", ret) : CLI_OK;
}

static void instance_close(struct recorder *r)
{
	if (r->pipe >= 0)
		close(r->pipe);
	/* A reader that came along keeps it busy: give him a second. */
	for (int i = 0; rmdir(r->dir) && errno == EBUSY && i < 100; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

/* What the ring buffers say that they could not keep. */
static uint64_t instance_lost(const struct recorder *r)
{
	static const char *const what[] = { "overrun: %llu", "commit overrun: %llu",
					    "dropped events: %llu" };
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t lost = 0;

	for (long cpu = 0; cpu < cpus; cpu++) {
		char path[192], line[128];
		unsigned long long n;
		FILE *f;

		snprintf(path, sizeof(path), "%s/per_cpu/cpu%ld/stats", r->dir, cpu);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			for (unsigned int i = 0; i < sizeof(what) / sizeof(what[0]); i++)
				if (sscanf(line, what[i], &n) == 1)
					lost += n;
		if (f)
			fclose(f);
	}
	return lost;
}

static int record_line(struct recorder *r, const char *line)
{
	struct trace_event e;
	uint64_t lost;
	int ret = 0;

	switch (trace_event_parse(line, &e, &lost)) {
	case TRACE_LINE_LOST:
		r->lost += lost;
		break;
	case TRACE_LINE_BAD:
		r->bad++;
		break;
	case TRACE_LINE_BATCH:
		if (e.reason >= AMUX_REASON_COUNT) {
			r->foreign++;
			break;
		}
		if (r->trace.n < r->args->max)
			ret = trace_event_add(&r->trace, &e);
		r->full = r->trace.n >= r->args->max || ret == -E2BIG;
		break;
	case TRACE_LINE_OTHER:
		break;
	}
	return ret == -E2BIG ? 0 : ret;
}

/* Whatever the pipe has now.  0 or -errno. */
static int record_read(struct recorder *r)
{
	while (!r->full) {
		ssize_t n = read(r->pipe, r->buf + r->len, sizeof(r->buf) - 1 - r->len);
		char *line = r->buf, *end;
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n || errno == EAGAIN ? 0 : -errno;
		r->len += (size_t)n;
		r->buf[r->len] = '\0';
		/* A NUL within would hide the rest of its line, no more. */
		while ((end = memchr(line, '\n', r->len - (size_t)(line - r->buf)))) {
			*end = '\0';
			ret = record_line(r, line);
			if (ret)
				return ret;
			line = end + 1;
		}
		r->len -= (size_t)(line - r->buf);
		memmove(r->buf, line, r->len);
		if (r->len == sizeof(r->buf) - 1)
			r->len = 0; /* a line that long is none of ours */
	}
	return 0;
}

static int record_run(struct recorder *r)
{
	uint64_t end = clock_ns() + r->args->time_ns;
	int ret = 0;

	while (!ret && !stopped && !r->full && clock_ns() < end) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
		ret = record_read(r);
	}
	/* From now on nothing comes; what has come is taken. */
	instance_write(r, EVENT "/enable", "0");
	if (!ret)
		ret = record_read(r);
	if (ret)
		return instance_fail(r, "trace_pipe", ret);
	return CLI_OK;
}

static void record_notes(const struct recorder *r, FILE *f)
{
	time_t now = time(NULL);
	struct utsname u;
	struct tm tm;
	char date[32] = "?";

	if (gmtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(f, "# recorded on Linux %.64s, %s\n", uname(&u) ? "?" : u.release, date);
	if (r->foreign)
		fprintf(f, "# left out: %llu batches of reasons that have no name here\n",
			(unsigned long long)r->foreign);
	if (r->lost)
		fprintf(f, "# incomplete: %llu batches were lost\n",
			(unsigned long long)r->lost);
}

static int record_result(const struct recorder *r, const struct cli *cli)
{
	const struct trace_args *a = r->args;
	unsigned long long batches = r->trace.n, pages = r->pages;
	uint64_t ns = r->trace.batch[r->trace.n - 1].time_ns;
	char buf[CLI_CELL];
	int code = CLI_OK;

	if (cli->json) {
		json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "file", a->file[0],
				      "batches", (json_int_t)batches, "pages",
				      (json_int_t)pages, "duration_ns", (json_int_t)ns, "lost",
				      (json_int_t)r->lost, "left_out", (json_int_t)r->foreign);

		code = cli_print_json(o);
		json_decref(o);
	} else {
		printf("%s: %llu batches, %llu pages in %s, %llu lost\n", a->file[0], batches,
		       pages, cli_time(buf, ns), (unsigned long long)r->lost);
		if (r->foreign)
			printf("%llu batches of reasons that have no name here were left out\n",
			       (unsigned long long)r->foreign);
	}
	if (r->lost)
		return cli_fail(CLI_FAILED, "%s: %s: %llu batches were lost; expected none",
				a->what, a->file[0], (unsigned long long)r->lost);
	return code;
}

static int record_save(struct recorder *r, struct trace_output *out)
{
	char *notes = NULL;
	size_t size;
	FILE *f;
	int code;

	trace_sort(&r->trace);
	while (r->trace.n && r->trace.batch[r->trace.n - 1].time_ns > TRACE_TIME_MAX_NS)
		r->trace.n--;
	if (r->bad) {
		trace_output_drop(out);
		return cli_fail(
			CLI_FAILED,
			"%s: %llu events make no sense; expected a module of version %s",
			r->args->what, (unsigned long long)r->bad, AMUX_VERSION);
	}
	if (!r->trace.n) {
		trace_output_drop(out);
		return cli_fail(CLI_FAILED, "%s: no batch came; expected at least one",
				r->args->what);
	}
	r->trace.source = TRACE_RECORDED;
	for (uint32_t i = 0; i < r->trace.n; i++)
		r->pages += r->trace.batch[i].pages;
	f = open_memstream(&notes, &size);
	if (f) {
		record_notes(r, f);
		fclose(f);
	}
	code = trace_output_write(out, r->args, &r->trace, notes ? notes : "");
	free(notes);
	return code;
}

int cli_trace_record(const struct cli *cli)
{
	struct trace_args a = { .what = "trace record",
				.time_ns = 10 * NSEC_PER_SEC,
				.max = TRACE_BATCHES };
	struct sigaction sa = { .sa_handler = on_signal };
	struct recorder *r;
	struct trace_output out;
	uint64_t lost;
	int code;

	code = trace_args_parse(&a, cli, CLI_TRACE_RECORD, 1);
	if (!code)
		code = kernel_ready(&a);
	if (!code)
		code = trace_output_open(&out, a.file[0], &a);
	if (code)
		return code;
	r = calloc(1, sizeof(*r));
	if (!r) {
		trace_output_drop(&out);
		return cli_fail(CLI_FAILED, "%s: %s", a.what, strerror(ENOMEM));
	}
	r->args = &a;
	r->pipe = -1;
	/* Before there is anything that would be left behind. */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	code = instance_open(r);
	if (!code)
		code = record_run(r);
	/* Both tell of the same losses, and neither of all. */
	lost = instance_lost(r);
	if (lost > r->lost)
		r->lost = lost;
	instance_close(r);
	if (code)
		trace_output_drop(&out);
	else
		code = record_save(r, &out);
	if (!code)
		code = record_result(r, cli);
	trace_free(&r->trace);
	free(r);
	return code;
}
