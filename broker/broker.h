/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * broker.h - the whole broker as one object: devices, mux threads, kernel class, server,
 * control and metrics, brought up and taken down in one ladder.
 *
 * Owner: whoever opened it.  Threads: all by the control thread, except broker_stop().
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "config.h"

struct broker;

/*
 * Bring everything up.  @path: the config file, for reloads; NULL: none.  On error -errno and
 * one line in @err; nothing is left behind.
 */
int broker_open(struct broker **out, const struct config *cfg, const char *path, char *err,
		size_t errlen);

/* SIGTERM and SIGINT: broker_stop(); SIGHUP: broker_reload(), with its outcome on stderr. */
void broker_watch_signals(struct broker *b);

/* Serve until broker_stop(); drains: what was submitted is answered first. */
void broker_run(struct broker *b);

/* Ask broker_run() to end.  Any thread, also a signal's loop callback; idempotent. */
void broker_stop(struct broker *b);

/* Assignments of the command line, applied over the file at every reload.  @set stays the
 * caller's and must outlive @b. */
void broker_overrides(struct broker *b, const char *const *set, unsigned int n);

/* Load the config file again, validate, then apply.  0, or -errno and one line; nothing
 * is changed then. */
int broker_reload(struct broker *b, char *err, size_t errlen);

void broker_close(struct broker *b);

#endif /* BROKER_BROKER_H */
