/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * conn_op.h - inside a connection: the client's requests that need the mux thread, to add or
 * remove a region or a queue.  Not for others.
 *
 * Each is judged, posted, and answered when the mux thread has done it; what is wrong with one
 * is answered at once.
 *
 * Owner: a conn.  Thread: the control thread.
 */
#ifndef BROKER_CONN_OP_H
#define BROKER_CONN_OP_H

#include "conn.h"

/* @fd remains the caller's. */
void conn_register(struct conn *c, const struct amux_msg_register *m, int fd);
void conn_unregister(struct conn *c, const struct amux_msg_unregister *m);
void conn_queue_create(struct conn *c, const struct amux_msg_queue_create *m);
void conn_queue_destroy(struct conn *c, const struct amux_msg_queue_destroy *m);

/* Free all queues and regions that there are; the mux thread has let go of the
 * session, or never knew it. */
void conn_drop(struct conn *c);

#endif /* BROKER_CONN_OP_H */
