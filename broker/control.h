/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.h - the control socket: newline-delimited JSON-RPC 2.0 over a stream socket.
 *
 * At most CONTROL_CLIENTS at a time; one more ends the connection that has been silent
 * longest.  A client has at most one answer outstanding: nothing more is read from it until
 * it has taken that, so that neither a slow nor a silent one costs time or memory.
 *
 * Owner: the caller of control_start().  Thread: that of the loop.  The process ignores
 * SIGPIPE: libuv writes to sockets that peers may have closed.
 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include <stddef.h>
#include <uv.h>

#define CONTROL_CLIENTS 32

struct broker;
struct control;

/*
 * Listen on @path (mode 0660; the directory exists, the path does not).  0 and *@out, to be
 * given to control_stop(), or -errno and one line in @err that names the path.
 */
int control_start(struct control **out, uv_loop_t *loop, struct broker *b, const char *path,
		  char *err, size_t errlen);

/* Close everything and remove the path.  @c (may be NULL) is freed by the loop, which must
 * run until its handles are closed. */
void control_stop(struct control *c);

#endif /* BROKER_CONTROL_H */
