/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * conn_answer.h - inside a connection: what is sent to the client.  A client that does not read
 * it is cut off by that, a closing one is sent nothing.  Not for others.
 *
 * Owner: a conn.  Thread: the control thread.
 */
#ifndef BROKER_CONN_ANSWER_H
#define BROKER_CONN_ANSWER_H

#include "conn.h"

void conn_send(struct conn *c, const void *msg, uint32_t len, const int *fds,
	       unsigned int n_fds);

/* ERROR: it is not as the ABI wants it. */
void conn_error(struct conn *c, uint64_t cookie, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* ERROR for another reason. */
void conn_refuse(struct conn *c, enum refusal reason, uint64_t cookie, int error,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

void conn_done(struct conn *c, uint64_t cookie);

#endif /* BROKER_CONN_ANSWER_H */
