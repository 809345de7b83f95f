/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server.h - the session socket: one per host (or user), guarded by a lock file beside it, so
 * that a second broker is refused rather than stealing the first one's clients.
 *
 * Owner: the broker.  Thread: the control thread.
 */
#ifndef BROKER_SERVER_H
#define BROKER_SERVER_H

#include "conn.h"

struct server {
	struct conn_host *host;
	uv_poll_t poll;
	uv_timer_t pause; /* out of descriptors: nobody is accepted for a moment */
	char path[108];
	int fd, lock_fd;
	bool listening;
};

/*
 * Make @path's directory if it is missing (0700 for a user, 0755 for root), take the lock,
 * listen.  -EADDRINUSE when another broker holds the lock; one line in @err.
 */
int server_open(struct server *s, uv_loop_t *loop, struct conn_host *host, const char *path,
		char *err, size_t errlen);
/* Accept no more and remove the socket; the lock stays until server_close(). */
void server_stop(struct server *s);
void server_close(struct server *s);

#endif /* BROKER_SERVER_H */
