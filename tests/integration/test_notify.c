// SPDX-License-Identifier: MIT
/*
 * test_notify.c - what the service manager hears, by a socket that stands in for it: ready,
 * reloading, stopping; watchdog pings that end when a mux thread hangs, and only then; and how
 * often an idle broker wakes up.
 *
 * A single thread is made to hang by stopping it with ptrace.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/harness.h"

#define WATCHDOG_MS 800 /* pings every quarter of it */
#define SOON	    10000
#define PING	    "WATCHDOG=1"

static int manager = -1;

static void manager_open(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char usec[32];

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/notify", dir);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager < 0 || bind(manager, (struct sockaddr *)&sa, sizeof(sa)))
		tap_bail("%s: %s", sa.sun_path, strerror(errno));
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
	snprintf(usec, sizeof(usec), "%u", WATCHDOG_MS * TAP_SLOW * 1000);
	setenv("WATCHDOG_USEC", usec, 1);
	unsetenv("WATCHDOG_PID");
}

/* The next message within @ms, or "". */
static const char *heard(unsigned int ms)
{
	struct pollfd p = { .fd = manager, .events = POLLIN };
	static char text[512];
	ssize_t n = 0;

	if (poll(&p, 1, (int)(ms * TAP_SLOW)) == 1)
		n = recv(manager, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* Is @want heard within @ms, pings apart? */
static bool hears(const char *want, unsigned int ms)
{
	uint64_t end = tap_ns() + ms * TAP_SLOW * 1000000ull;

	while (tap_ns() < end) {
		const char *text = heard(100);

		if (!strncmp(text, want, strlen(want)))
			return true;
		if (*text && strcmp(text, PING))
			tap_note("heard '%s'", text);
	}
	return false;
}

static void forget(void)
{
	char text[512];

	while (recv(manager, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
}

/* The thread of @pid called @name. */
static pid_t thread_named(pid_t pid, const char *name)
{
	char path[300], comm[32];
	struct dirent *e;
	pid_t found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", (int)pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f) && !strncmp(comm, name, strlen(name)))
			found = (pid_t)atoi(e->d_name);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool thread_stop(pid_t tid)
{
	int status;

	return !ptrace(PTRACE_SEIZE, tid, NULL, NULL) &&
	       !ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) &&
	       waitpid(tid, &status, __WALL) == tid;
}

static void thread_go(pid_t tid)
{
	if (ptrace(PTRACE_DETACH, tid, NULL, NULL))
		tap_bail("ptrace: %s", strerror(errno));
}

/* Pings end within a time-out, and none comes for another one. */
static bool pings_end(void)
{
	tap_sleep_ms(WATCHDOG_MS * TAP_SLOW);
	forget();
	return !hears(PING, WATCHDOG_MS);
}

static void hang(struct daemon *d)
{
	pid_t tid = thread_named(d->pid, "amux-mux");
	char err[256];

	/* Asleep, for as long as it likes: all is well. */
	tap_sleep_ms(600); /* twice as long as it spins before it does */
	if (!tid || !thread_stop(tid)) {
		tap_skip("a mux thread that hangs", "ptrace is not allowed here");
		return;
	}
	forget();
	tap_sleep_ms(WATCHDOG_MS * TAP_SLOW);
	tap_ok(hears(PING, SOON), "an idle mux thread is no reason for alarm");
	/* Mail waits for it, and it does not come for it. */
	json_decref(daemon_rpc(d, "policy.set", json_pack("{s:s}", "name", "shared"), err,
			       sizeof(err)));
	tap_ok(pings_end(), "a mux thread that hangs ends the pings");
	tap_ok(daemon_logged(d, "makes no progress", SOON), "and the log says why");
	thread_go(tid);
	tap_ok(hears(PING, SOON), "pings go on when it goes on");
}

/* Hanging with work in its hands, not asleep. */
static void hang_busy(struct daemon *d)
{
	const char *argv[] = { "", "bench", "--time", "60s", "--engine-only", NULL };
	char program[600];
	pid_t tid = thread_named(d->pid, "amux-mux"), client;

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	argv[0] = program;
	client = fork();
	if (!client) {
		setenv("ACCELMUX_SOCKET", d->socket, 1);
		if (freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr))
			execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	for (unsigned int i = 0; i < 500 && !daemon_count(d, "status", "classes.user.requests");
	     i++)
		tap_sleep_ms(10);
	tap_ok(hears(PING, SOON), "pings come under load");
	if (thread_stop(tid)) {
		tap_ok(pings_end(), "a mux thread that hangs at work ends the pings");
		thread_go(tid);
		tap_ok(hears(PING, SOON), "and they go on when it does");
	} else {
		tap_skip("a mux thread that hangs at work", "ptrace is not allowed here");
	}
	kill(client, SIGKILL);
	waitpid(client, NULL, 0);
}

/* Times that threads of @pid have gone to sleep. */
static uint64_t sleeps(pid_t pid)
{
	char path[300], line[128];
	unsigned long long n, sum = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
				sum += n;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return sum;
}

static void idle(unsigned int watchdog_ms, unsigned int ms)
{
	struct daemon d;
	uint64_t before, after, most = watchdog_ms ? ms * 4 / watchdog_ms + 1 : 0;
	char usec[32];

	snprintf(usec, sizeof(usec), "%u", watchdog_ms * 1000);
	if (watchdog_ms)
		setenv("WATCHDOG_USEC", usec, 1);
	else
		unsetenv("WATCHDOG_USEC");
	daemon_start(&d, NULL);
	tap_sleep_ms(300);
	before = sleeps(d.pid);
	tap_sleep_ms(ms);
	after = sleeps(d.pid);
	if (TAP_SLOW == 1)
		tap_ok(after - before <= most,
		       "an idle broker with a watchdog of %u ms (0: none) woke up %llu times "
		       "in "
		       "%u ms, at most %llu",
		       watchdog_ms, (unsigned long long)(after - before), ms,
		       (unsigned long long)most);
	else
		tap_skip("an idle broker sleeps", "a sanitizer has a thread of its own");
	daemon_stop(&d);
}

int main(int argc, char **argv)
{
	struct daemon d;

	tap_init(argc, argv, 60);
	daemon_prepare(&d);
	manager_open(d.dir);
	daemon_launch(&d, (const char *[]){ "broker.own_core=on", "broker.spin=300ms", NULL },
		      false);
	daemon_await(&d);
	tap_ok(hears("READY=1", SOON), "ready");
	tap_ok(hears(PING, SOON), "watchdog pings");
	kill(d.pid, SIGHUP);
	tap_ok(hears("RELOADING=1\nMONOTONIC_USEC=", SOON), "reloading, with the time");
	tap_ok(hears("READY=1", SOON), "ready again after a reload");
	hang(&d);
	hang_busy(&d);
	forget();
	kill(d.pid, SIGTERM);
	tap_ok(hears("STOPPING=1", SOON), "stopping");
	tap_ok(process_wait(d.pid, 10000 * TAP_SLOW) == 0, "it ends well");
	daemon_clean(&d);
	idle(0, tap_long() ? 10000 : 2000);
	idle(2000, tap_long() ? 10000 : 2000);
	close(manager);
	return tap_done();
}
