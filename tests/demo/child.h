/* SPDX-License-Identifier: MIT */
/*
 * child.h - the processes of the tour: started, asked, ended, never left behind.
 *
 * A child has a process group of its own, so that Ctrl-C reaches the tour alone, which then
 * ends them in order; should the tour be killed, the system kills them (PDEATHSIG).
 *
 * Owner: the caller of child_start(), who must call child_end().  One thread.
 */
#ifndef DEMO_CHILD_H
#define DEMO_CHILD_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct child {
	const char *name; /* for messages */
	pid_t pid;	  /* 0: not running */
	int in, out;	  /* the other ends of its standard input and output */
};

/* From now on SIGINT, SIGTERM and SIGHUP only end waits: the calls below return -EINTR. */
void child_catch_signals(void);
bool child_interrupted(void);

/* Start argv[0]; standard error is appended to the file @log.  0 or -errno. */
int child_start(struct child *c, const char *name, char *const argv[], const char *log);

/* Send the line @command; *@answer is the JSON line that comes back, the caller's to release.
 * -EPIPE: it has gone; -ETIMEDOUT: no answer; -EPROTO: not JSON. */
int child_ask(struct child *c, const char *command, json_t **answer);

/* Run argv[0] to its end; *@answer is its output, parsed.  -EIO: it failed. */
int child_run(char *const argv[], const char *log, json_t **answer);

/* Has it ended by itself? */
bool child_gone(struct child *c);

/*
 * Close its input, send @signal (0: none), and kill it if it has not ended @ms later.
 * Returns its exit status, or 128 + the signal that ended it; 0 if it was not running.
 */
int child_end(struct child *c, int signal, int ms);

/* Sleep.  0 or -EINTR. */
int child_sleep(int ms);

#endif /* DEMO_CHILD_H */
