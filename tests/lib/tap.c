/* SPDX-License-Identifier: MIT */
#include "tap.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ull

static struct {
	unsigned int results, failed, skipped;
	uint64_t seed;
	char build[512];
	pid_t pid;
} tap;

/* --------------------------------------------------------------------- the test */

static void tap_timeout(int sig)
{
	static const char text[] = "Bail out! time-out\n";
	ssize_t n = write(STDOUT_FILENO, text, sizeof(text) - 1);

	(void)n;
	(void)sig;
	kill(0, SIGKILL);
}

static void tap_find_build(const char *argv0)
{
	const char *given = getenv("AMUX_BUILD");
	char copy[sizeof(tap.build)], file[sizeof(tap.build) + 16];

	if (given && *given) {
		snprintf(tap.build, sizeof(tap.build), "%s", given);
	} else {
		snprintf(copy, sizeof(copy), "%s", argv0);
		snprintf(tap.build, sizeof(tap.build), "%s/..", dirname(copy));
	}
	snprintf(file, sizeof(file), "%s/accelmuxd", tap.build);
	if (access(file, X_OK)) {
		printf("1..0 # SKIP %s: not there; set AMUX_BUILD\n", file);
		exit(77);
	}
}

void tap_init(int argc, char **argv, unsigned int limit_s)
{
	const char *seed = getenv("SEED");
	struct timespec now;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	tap_find_build(argv[0]);
	tap.pid = getpid();
	setpgid(0, 0); /* fails for a session's leader, which leads a group already */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, tap_timeout);
	alarm(limit_s * TAP_SLOW * (tap_long() ? 10 : 1));
	clock_gettime(CLOCK_REALTIME, &now);
	tap.seed = seed && *seed ? strtoull(seed, NULL, 0)
				 : (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
	tap_note("SEED=%llu", (unsigned long long)tap.seed);
}

static void print_line(const char *start, const char *fmt, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, ap);
	for (char *p = line; *p; p++)
		if (*p == '\n')
			*p = ' ';
	printf("%s%s\n", start, line);
}

bool tap_ok(bool ok, const char *fmt, ...)
{
	char start[48];
	va_list ap;

	tap.failed += !ok;
	snprintf(start, sizeof(start), "%sok %u - ", ok ? "" : "not ", ++tap.results);
	va_start(ap, fmt);
	print_line(start, fmt, ap);
	va_end(ap);
	return ok;
}

void tap_skip(const char *name, const char *why)
{
	tap.skipped++;
	printf("ok %u - %s # SKIP %s\n", ++tap.results, name, why);
}

void tap_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("# ", fmt, ap);
	va_end(ap);
}

void tap_bail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("Bail out! ", fmt, ap);
	va_end(ap);
	fflush(stdout);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM); /* a broker under a sanitizer says what it has to say */
	tap_sleep_ms(200);
	kill(0, SIGKILL);
	_exit(1);
}

int tap_done(void)
{
	printf("1..%u\n", tap.results);
	if (tap.failed)
		printf("# SEED=%llu repeats this run's choices\n",
		       (unsigned long long)tap.seed);
	if (tap.failed || !tap.results)
		return 1;
	return tap.skipped == tap.results ? 77 : 0;
}

bool tap_long(void)
{
	const char *value = getenv("AMUX_TEST_LONG");

	return value && *value && strcmp(value, "0");
}

uint64_t tap_seed(void)
{
	return tap.seed;
}

const char *tap_build(void)
{
	return tap.build;
}

uint64_t tap_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

void tap_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* ---------------------------------------------------------------------- workers */

void worker_spawn(struct worker *w, int (*main)(struct worker_report *report, void *arg),
		  void *arg)
{
	w->report = mmap(NULL, sizeof(*w->report), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w->report == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	w->pid = fork();
	if (w->pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (w->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != tap.pid)
		_exit(1); /* the test died before the line above */
	alarm(0);
	_exit(main(w->report, arg));
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

int process_wait(pid_t pid, unsigned int timeout_ms)
{
	uint64_t end = tap_ns() + timeout_ms * 1000000ull;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return exit_status(status);
		if (got < 0 && errno != EINTR)
			tap_bail("waitpid %d: %s", (int)pid, strerror(errno));
		if (tap_ns() >= end)
			return -1;
		tap_sleep_ms(1);
	}
}

void worker_await(struct worker *w, unsigned int timeout_s)
{
	uint64_t end = tap_ns() + timeout_s * TAP_SLOW * NSEC_PER_SEC;

	while (!__atomic_load_n(&w->report->ready, __ATOMIC_ACQUIRE)) {
		siginfo_t info = { 0 };

		if (__atomic_load_n(&w->report->failed, __ATOMIC_ACQUIRE))
			return;
		if (!waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid)
			return; /* worker_stop() will tell how it ended */
		if (tap_ns() > end)
			tap_bail("worker %d is not ready after %u s", (int)w->pid, timeout_s);
		tap_sleep_ms(1);
	}
}

int worker_stop(struct worker *w, unsigned int timeout_s)
{
	int status;

	__atomic_store_n(&w->report->stop, 1, __ATOMIC_RELEASE);
	status = process_wait(w->pid, timeout_s * TAP_SLOW * 1000);
	if (status == -1)
		worker_kill(w);
	w->pid = 0;
	return status;
}

void worker_kill(struct worker *w)
{
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}

void worker_free(struct worker *w)
{
	munmap(w->report, sizeof(*w->report));
	w->report = NULL;
}

void worker_fail(struct worker_report *r, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
	__atomic_store_n(&r->failed, 1, __ATOMIC_RELEASE);
}

bool worker_stopping(const struct worker_report *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
}

void worker_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELEASE);
}

uint64_t worker_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}
