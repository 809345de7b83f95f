// SPDX-License-Identifier: MIT
/*
 * test_top.c - accelmux top: on a pseudo-terminal whose size changes, down to one cell, while the
 * broker goes away and comes back; and as plain text.
 *
 * A terminal of type "vt100" is written to in full lines where it changes, so that words of the
 * screen can be looked for in what was written.
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/load.h"

#define OUT (1 << 20)

struct screen {
	pid_t pid;
	int fd;
	size_t used, from; /* what was written before @from is not looked at */
	char out[OUT];
};

static struct daemon d;
static char said[65536];

/* ------------------------------------------------------------- pseudo-terminal */

static void screen_open(struct screen *s, unsigned short rows, unsigned short cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };
	char program[600];

	memset(s, 0, sizeof(*s));
	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	s->pid = forkpty(&s->fd, NULL, NULL, &size);
	if (s->pid < 0)
		tap_bail("forkpty: %s", strerror(errno));
	if (s->pid)
		return;
	setenv("TERM", "vt100", 1);
	execl(program, program, "--socket", d.control, "top", "--interval", "200ms", NULL);
	_exit(127);
}

static void take(struct screen *s, int ms)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return;
	if (s->used + 4096 > sizeof(s->out))
		tap_bail("top writes and writes");
	n = read(s->fd, s->out + s->used, 4096);
	for (ssize_t i = 0; i < n; i++)
		if (!s->out[s->used + (size_t)i])
			s->out[s->used + (size_t)i] = ' '; /* padding */
	s->used += n > 0 ? (size_t)n : 0;
	s->out[s->used] = '\0';
}

/* Is @text written within 20 s, from the last key on? */
static bool shows(struct screen *s, const char *text)
{
	uint64_t end = tap_ns() + 20000000000ull * TAP_SLOW;

	while (!strstr(s->out + s->from, text)) {
		if (tap_ns() > end) {
			tap_note("'%s' is not in the last %zu bytes", text, s->used - s->from);
			return false;
		}
		take(s, 50);
	}
	return true;
}

static void type(struct screen *s, const char *text)
{
	while (s->used < sizeof(s->out) - 8192) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };

		if (poll(&p, 1, 0) != 1)
			break;
		take(s, 0);
	}
	s->from = s->used;
	if (write(s->fd, text, strlen(text)) < 0)
		tap_bail("pty: %s", strerror(errno));
}

static void resize(struct screen *s, unsigned short rows, unsigned short cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };

	if (ioctl(s->fd, TIOCSWINSZ, &size))
		tap_bail("TIOCSWINSZ: %s", strerror(errno));
	take(s, 300);
}

/* Its exit status; what it still writes is read, or it would wait for ever. */
static int screen_end(struct screen *s, unsigned int ms)
{
	uint64_t end = tap_ns() + ms * TAP_SLOW * 1000000ull;
	int status = -1;

	while ((status = process_wait(s->pid, 10)) == -1 && tap_ns() < end)
		take(s, 10);
	if (status == -1) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	close(s->fd);
	return status;
}

static void launch(void)
{
	static const char *const sets[] = { "soft.model=on", "tenant.web.name=web", NULL };

	daemon_launch(&d, sets, false);
	daemon_await(&d);
}

static void on_terminal(struct worker *w, struct load_worker *lw)
{
	static struct screen s;

	screen_open(&s, 40, 150);
	tap_ok(shows(&s, "policy dynamic") && shows(&s, "web"),
	       "classes, devices and tenants are on the screen");
	tap_ok(shows(&s, "MB/s") || shows(&s, "kB/s"),
	       "with rates, once there are two samples");
	type(&s, "p");
	tap_ok(shows(&s, "kernel_share"), "p: the policy's parameters");
	type(&s, "p");
	tap_ok(shows(&s, "TENANT"), "p: tenants again");
	type(&s, "s");
	tap_ok(shows(&s, "wait"), "s: sorted by the next column");
	type(&s, "h");
	tap_ok(shows(&s, "a sample at once"), "h: help");
	type(&s, "h");
	tap_ok(shows(&s, "TENANT"), "h: and back");
	resize(&s, 1, 1);
	resize(&s, 2, 200);
	resize(&s, 3, 7);
	type(&s, "\033OB\033OB\033OA"); /* down, down, up */
	tap_sleep_ms(300);
	tap_ok(process_wait(s.pid, 1) == -1, "it stands a terminal of one cell");
	resize(&s, 40, 150);
	type(&s, " ");
	tap_ok(shows(&s, "web"), "and a large one again");

	worker_stop(w, 20);
	worker_free(w);
	s.from = s.used;
	daemon_kill(&d);
	tap_ok(shows(&s, "no broker listens there"), "the broker is gone, and it says so");
	s.from = s.used;
	launch();
	worker_spawn(w, load_worker, lw);
	worker_await(w, 20);
	tap_ok(shows(&s, "policy dynamic") && shows(&s, "web"),
	       "the broker is back, and on the screen");
	type(&s, "q");
	tap_ok(screen_end(&s, 5000) == 0, "q: it ends with 0");
}

/* ----------------------------------------------------------------------- plain */

static int top(const char *a, const char *b, const char *c, const char *e)
{
	const char *argv[] = { "", "--socket", d.control, "top", a, b, c, e, NULL };
	char program[600];

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	argv[0] = program;
	return program_run(argv, NULL, said, sizeof(said), 20);
}

static void refused(const char *a, const char *b, const char *why)
{
	int status = top(a, b, NULL, NULL);

	said[strcspn(said, "\n")] = '\0';
	tap_ok(status == 2 && strstr(said, why), "top %s %s: refused (status %d): %s", a,
	       b ? b : "", status, said);
}

static void as_text(void)
{
	const char *second;
	int status = top("--count", "2", "--interval", "300ms");

	second = strstr(said, "\n\naccelmux ");
	tap_ok(status == 0 && second && !strstr(second + 2, "\n\naccelmux "),
	       "--count 2: two frames of plain text (status %d)", status);
	tap_ok(strstr(said, "\nweb ") && !strchr(said, '\033'),
	       "with tenants, without escapes");
	tap_ok(second && strstr(second, "\nuser ") && strstr(second, "B/s"),
	       "the second one has rates, too");
	refused("--count", "0", "expected 1 to");
	refused("--interval", "1ms", "expected 100ms to 3600s");
	refused("--sort", "colour", "expected one of: bytes");
	refused("--json", NULL, "status --json");
	refused("--fast", NULL, "expected one of: --interval");
	refused("extra", NULL, "expected one of: --interval");
}

int main(int argc, char **argv)
{
	struct load_worker lw = { .name = "web",
				  .opt = { .depth = 16, .may_lose = true },
				  .seed = 1 };
	struct worker w;

	tap_init(argc, argv, 90);
	unsetenv("LINES");
	unsetenv("COLUMNS");
	daemon_prepare(&d);
	launch();
	snprintf(lw.socket, sizeof(lw.socket), "%s", d.socket);
	worker_spawn(&w, load_worker, &lw);
	worker_await(&w, 20);
	as_text();
	on_terminal(&w, &lw);
	worker_stop(&w, 20);
	worker_free(&w);
	daemon_terminate(&d, 10);
	tap_ok(top("--count", "1", NULL, NULL) == 3 && strstr(said, "no broker listens"),
	       "no broker from the start is status 3");
	daemon_clean(&d);
	return tap_done();
}
