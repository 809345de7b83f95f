// SPDX-License-Identifier: GPL-2.0-only
/*
 * conn_answer.c - see conn_answer.h.
 */
#include "conn_answer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void conn_send(struct conn *c, const void *msg, uint32_t len, const int *fds,
	       unsigned int n_fds)
{
	char control[CMSG_SPACE(AMUX_MSG_FDS * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (c->state == CONN_CLOSING)
		return;
	if (n_fds) {
		struct cmsghdr *cm;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	}
	/* A client that does not read its answers is not waited for. */
	if (sendmsg(c->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
		errno == EPIPE ? conn_close(c, NULL)
			       : conn_cut(c, CUT_UNREAD, "does not read its answers");
}

static void error_send(struct conn *c, enum refusal reason, uint64_t cookie, int error,
		       const char *fmt, va_list ap)
{
	struct amux_msg_error m = {
		.hdr = { AMUX_MSG_ERROR, sizeof(m), cookie },
		.error = error,
	};

	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	host_refused(c->host, c->tenant, reason);
	conn_send(c, &m, sizeof(m), NULL, 0);
}

void conn_error(struct conn *c, uint64_t cookie, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_send(c, REFUSED_INVALID, cookie, error, fmt, ap);
	va_end(ap);
}

void conn_refuse(struct conn *c, enum refusal reason, uint64_t cookie, int error,
		 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_send(c, reason, cookie, error, fmt, ap);
	va_end(ap);
}

void conn_done(struct conn *c, uint64_t cookie)
{
	struct amux_msg_done m = { .hdr = { AMUX_MSG_DONE, sizeof(m), cookie } };

	conn_send(c, &m, sizeof(m), NULL, 0);
}
