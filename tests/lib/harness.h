/* SPDX-License-Identifier: MIT */
/*
 * harness.h - a real accelmuxd in a fresh directory: start, ask, stop, clean up.
 *
 *	struct daemon d;
 *
 *	daemon_start(&d, "broker.policy=shared", "soft.model=on", NULL);
 *	... clients of d.socket ...
 *	daemon_stop(&d);			one TAP result: SIGTERM, drained, exit 0
 *
 * Its stderr goes to a file, whose end is shown when something is wrong with the broker.
 *
 * Owner: the test.  Thread: the main thread.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <jansson.h>

#include "tap.h"

struct daemon {
	pid_t pid;
	char dir[64];
	char socket[96], control[96], config[96], log[96];
	int rpc;	  /* the control socket, -1 */
	const char *wait; /* NULL or what --wait is given */
};

/* Make the directory and an empty config file. */
void daemon_prepare(struct daemon *d);

/* Run accelmuxd on d->config with --set for each of @sets (NULL-terminated, may be NULL).
 * @own_paths: false: sockets and metrics are set, too; true: the config file does that. */
void daemon_launch(struct daemon *d, const char *const *sets, bool own_paths);

/* Wait until it answers on its control socket; bails out if it does not. */
void daemon_await(struct daemon *d);

/* All three.  The arguments are "section.key=value", the last one is NULL. */
__attribute__((sentinel)) void daemon_start(struct daemon *d, ...);

/* SIGTERM and wait; exit status as worker_stop() tells it, -1 after @timeout_s * TAP_SLOW. */
int daemon_terminate(struct daemon *d, unsigned int timeout_s);

/* One TAP result: it ends with status 0 within 10 s; then the directory goes. */
void daemon_stop(struct daemon *d);

void daemon_kill(struct daemon *d); /* with -9 */
void daemon_clean(struct daemon *d);
void daemon_show_log(const struct daemon *d);
/* Does its log hold @text by now, or within @timeout_ms? */
bool daemon_logged(const struct daemon *d, const char *text, unsigned int timeout_ms);

/* ------------------------------------------------------------------------ asking */

/* Call @method; consumes @params (may be NULL).  The result is a new reference; NULL: refused,
 * with the broker's text in @err. */
json_t *daemon_rpc(struct daemon *d, const char *method, json_t *params, char *err,
		   size_t errlen);

/* The same, and a refusal bails out. */
json_t *daemon_ask(struct daemon *d, const char *method);

/* Switch policy; @params: "key=value" separated by spaces, or NULL.  Refusals bail out. */
void daemon_policy(struct daemon *d, const char *name, const char *params);

/*
 * The member that @path names: "classes.user.requests", "tenants.t1.requests", "nodes.0.mux";
 * array elements by index or by what they are called.  Bails out if there is none.
 */
json_t *json_at(const json_t *doc, const char *path);
uint64_t json_count(const json_t *doc, const char *path);
const char *json_text(const json_t *doc, const char *path);

/* json_count() of a fresh @method. */
uint64_t daemon_count(struct daemon *d, const char *method, const char *path);

/* Poll until a fresh count equals @want; false after @timeout_ms. */
bool daemon_settles(struct daemon *d, const char *method, const char *path, uint64_t want,
		    unsigned int timeout_ms);

/* Has it let go of everything that clients gave it, within 5 s * TAP_SLOW? */
bool daemon_let_go(struct daemon *d);

/* Of its process: open descriptors, mappings of memfds, KiB of shared memory resident. */
unsigned int daemon_fds(const struct daemon *d);
unsigned int daemon_memfds(const struct daemon *d);
uint64_t daemon_shmem_kib(const struct daemon *d);

/* ---------------------------------------------------------------------- programs */

/*
 * Run @argv (NULL-terminated) with ACCELMUX_SOCKET set to @socket (NULL: unset) and collect
 * up to @len - 1 bytes of its stdout and stderr in @out.  Exit status as worker_stop().
 */
int program_run(const char *const *argv, const char *socket, char *out, size_t len,
		unsigned int timeout_s);

#endif /* TESTS_HARNESS_H */
