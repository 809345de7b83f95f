// SPDX-License-Identifier: MIT
/*
 * child.c - see child.h.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../broker/clock.h"

#define ANSWER_MS  15000
#define ANSWER_MAX (1u << 20)
#define WAIT_MS	   5 /* between looks at a child that is ending */

static volatile sig_atomic_t interrupted;

static void on_signal(int signum)
{
	interrupted = signum;
}

void child_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool child_interrupted(void)
{
	return interrupted;
}

/* ---------------------------------------------------------------------- start */

/* In the new process: nothing but async-signal-safe calls. */
__attribute__((noreturn)) static void become(char *const argv[], int in, int out, int err,
					     pid_t parent)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(err, STDERR_FILENO) >= 0)
		execv(argv[0], argv);
	_exit(127);
}

int child_start(struct child *c, const char *name, char *const argv[], const char *log)
{
	int to[2], from[2], err = 0;
	int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid_t parent = getpid();

	if (log_fd < 0)
		return -errno;
	if (pipe2(to, O_CLOEXEC)) {
		err = -errno;
		goto close_log;
	}
	if (pipe2(from, O_CLOEXEC)) {
		err = -errno;
		goto close_to;
	}
	c->pid = fork();
	if (!c->pid)
		become(argv, to[0], from[1], log_fd, parent);
	if (c->pid < 0) {
		err = -errno;
		c->pid = 0;
		goto close_from;
	}
	c->name = name;
	c->in = to[1];
	c->out = from[0];
	close(to[0]);
	close(from[1]);
	close(log_fd);
	return 0;

close_from:
	close(from[0]);
	close(from[1]);
close_to:
	close(to[0]);
	close(to[1]);
close_log:
	close(log_fd);
	return err;
}

/* ------------------------------------------------------------------------ ask */

/* Read until @end (a newline, or EOF for '\0') into a string for the caller to free(). */
static int read_answer(int fd, char end, char **out)
{
	uint64_t deadline = clock_ns() + (uint64_t)ANSWER_MS * 1000000;
	char *buf = malloc(ANSWER_MAX);
	size_t used = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_ns();
		ssize_t n;

		if (interrupted) {
			err = -EINTR;
		} else if (now >= deadline) {
			err = -ETIMEDOUT;
		} else if (poll(&p, 1, (int)((deadline - now) / 1000000) + 1) > 0) {
			n = read(fd, buf + used, ANSWER_MAX - 1 - used);
			if (n < 0)
				err = -errno;
			else if (!n && end)
				err = -EPIPE;
			else if (!n)
				break;
			else if ((used += (size_t)n) == ANSWER_MAX - 1)
				err = -EMSGSIZE;
			else if (end && buf[used - 1] == end)
				break;
		}
	}
	if (err) {
		free(buf);
		return err;
	}
	buf[used] = '\0';
	*out = buf;
	return 0;
}

static int parse_answer(char *text, json_t **answer)
{
	*answer = json_loads(text, 0, NULL);
	free(text);
	return *answer ? 0 : -EPROTO;
}

int child_ask(struct child *c, const char *command, json_t **answer)
{
	char line[64], *text;
	int err;

	snprintf(line, sizeof(line), "%s\n", command);
	if (write(c->in, line, strlen(line)) < 0)
		return -errno;
	err = read_answer(c->out, '\n', &text);
	return err ? err : parse_answer(text, answer);
}

int child_run(char *const argv[], const char *log, json_t **answer)
{
	struct child c = { 0 };
	char *text = NULL;
	int err = child_start(&c, argv[0], argv, log), code;

	if (err)
		return err;
	err = read_answer(c.out, '\0', &text);
	code = child_end(&c, 0, ANSWER_MS);
	if (!err && code) {
		free(text);
		return -EIO;
	}
	return err ? err : parse_answer(text, answer);
}

/* ------------------------------------------------------------------------ end */

bool child_gone(struct child *c)
{
	siginfo_t info = { .si_pid = 0 };

	return c->pid &&
	       (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid);
}

int child_end(struct child *c, int signal, int ms)
{
	struct timespec pause = { .tv_nsec = WAIT_MS * 1000000 };
	uint64_t deadline = clock_ns() + (uint64_t)ms * 1000000;
	int status = 0;
	pid_t pid;

	if (!c->pid)
		return 0;
	close(c->in);
	if (signal)
		kill(c->pid, signal);
	while (!(pid = waitpid(c->pid, &status, WNOHANG)) && clock_ns() < deadline)
		nanosleep(&pause, NULL);
	if (!pid) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, &status, 0);
	}
	close(c->out);
	c->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_sleep(int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	/* A signal may come just before the sleep: it is noticed one tick of the caller later.
	 */
	if (!interrupted)
		nanosleep(&ts, NULL);
	return interrupted ? -EINTR : 0;
}
