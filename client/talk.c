// SPDX-License-Identifier: MIT
/*
 * talk.c - one request, one answer over the session socket.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"

/* What a well-formed answer looks like. */
static const struct {
	size_t len;
	unsigned int fds;
} talk_shape[] = {
	[AMUX_MSG_WELCOME] = { sizeof(struct amux_msg_welcome), 1 },
	[AMUX_MSG_REGISTERED] = { sizeof(struct amux_msg_registered), 0 },
	[AMUX_MSG_QUEUE_CREATED] = { sizeof(struct amux_msg_queue_created), 3 },
	[AMUX_MSG_DONE] = { sizeof(struct amux_msg_done), 0 },
	[AMUX_MSG_ERROR] = { sizeof(struct amux_msg_error), 0 },
};

union talk_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(AMUX_MSG_FDS * sizeof(int))];
};

static int talk_gone(struct amux *a)
{
	amux_set_dead(a);
	amux_fail("the broker hung up");
	return -ECONNRESET;
}

static int talk_send(struct amux *a, struct amux_msg_hdr *req, int fd)
{
	struct iovec iov = { .iov_base = req, .iov_len = req->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union talk_control control;
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do {
		n = sendmsg(a->sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)req->len)
		return 0;
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return talk_gone(a);
	if (n < 0 && errno != EAGAIN) {
		int err = errno;

		amux_fail("sending message %u to the broker: %s", req->type, strerror(err));
		return -err;
	}
	amux_fail("the broker does not take message %u", req->type);
	return -ETIMEDOUT;
}

/* Sleep until there is a packet, the deadline has passed or the broker is gone. */
static int talk_wait(struct amux *a, uint64_t deadline)
{
	struct pollfd p[2] = {
		{ .fd = a->sock, .events = POLLIN },
		{ .fd = a->pidfd, .events = POLLIN },
	};

	for (;;) {
		struct timespec ts, *left = NULL;
		int n;

		if (deadline != UINT64_MAX) {
			uint64_t now = amux_now(), ns = now < deadline ? deadline - now : 0;

			ts.tv_sec = (time_t)(ns / AMUX_NSEC_PER_SEC);
			ts.tv_nsec = (long)(ns % AMUX_NSEC_PER_SEC);
			left = &ts;
		}
		n = ppoll(p, 2, left, NULL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			amux_fail("the broker does not answer");
			return -ETIMEDOUT;
		}
		/* The socket first: a dying broker's last answer still counts. */
		return p[0].revents ? 0 : talk_gone(a);
	}
}

static void talk_close(const int *fds, unsigned int n)
{
	while (n--)
		close(fds[n]);
}

/* Receive one packet.  Returns its length, with *@nfds descriptors in ans->fds. */
static ssize_t talk_recv(struct amux *a, struct amux_answer *ans, unsigned int *nfds)
{
	struct iovec iov = { .iov_base = ans->raw, .iov_len = sizeof(ans->raw) };
	union talk_control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_LEN(AMUX_MSG_FDS * sizeof(int)),
	};
	ssize_t n;

	*nfds = 0;
	n = recvmsg(a->sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == ECONNRESET || errno == EPIPE ? 0 : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (count > AMUX_MSG_FDS)
			count = AMUX_MSG_FDS;
		memcpy(ans->fds, CMSG_DATA(c), count * sizeof(int));
		*nfds = (unsigned int)count;
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		talk_close(ans->fds, *nfds);
		*nfds = 0;
		amux_fail("the broker's answer is larger than any message or carries more than "
			  "%u fds",
			  AMUX_MSG_FDS);
		return -EPROTO;
	}
	return n;
}

/* Judge a whole packet that answers our request.  Returns 0 or -errno. */
static int talk_judge(struct amux_answer *ans, size_t len, unsigned int nfds, uint32_t want)
{
	uint32_t type = ans->hdr.type;

	if ((type != want && type != AMUX_MSG_ERROR) || len != talk_shape[type].len ||
	    ans->hdr.len != len || nfds != talk_shape[type].fds) {
		amux_fail("malformed answer: type %u, %zu bytes (%u claimed), %u fds; expected "
			  "type %u, %zu bytes, %u fds",
			  type, len, ans->hdr.len, nfds, want, talk_shape[want].len,
			  talk_shape[want].fds);
		return -EPROTO;
	}
	if (type == want)
		return 0;
	ans->error.text[AMUX_TEXT_LEN - 1] = '\0';
	for (char *c = ans->error.text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	amux_fail("%s", ans->error.text);
	return ans->error.error < 0 && ans->error.error > -4096 ? ans->error.error : -EPROTO;
}

int amux_talk(struct amux *a, struct amux_msg_hdr *req, int fd, uint32_t want, int timeout_ms,
	      struct amux_answer *ans)
{
	uint64_t deadline = UINT64_MAX;
	unsigned int nfds;
	ssize_t n;
	int err;

	pthread_mutex_lock(&a->talk_lock);
	req->cookie = ++a->cookie;
	if (timeout_ms != AMUX_TALK_FOREVER)
		deadline = amux_now() + (uint64_t)timeout_ms * 1000000u;
	err = talk_send(a, req, fd);
	while (!err) {
		err = talk_wait(a, deadline);
		if (err)
			break;
		n = talk_recv(a, ans, &nfds);
		if (n == -EAGAIN || n == -EINTR)
			continue;
		if (n <= 0) {
			talk_close(ans->fds, nfds); /* an empty packet can carry some, too */
			err = n ? (int)n : talk_gone(a);
			break;
		}
		/* The late answer to a request that was given up. */
		if ((size_t)n >= sizeof(ans->hdr) && ans->hdr.cookie < req->cookie) {
			talk_close(ans->fds, nfds);
			continue;
		}
		if ((size_t)n < sizeof(ans->hdr) || ans->hdr.cookie != req->cookie) {
			amux_fail("the broker's answer of %zd bytes is not to request %llu", n,
				  (unsigned long long)req->cookie);
			err = -EPROTO;
		} else {
			err = talk_judge(ans, (size_t)n, nfds, want);
		}
		if (err)
			talk_close(ans->fds, nfds);
		break;
	}
	pthread_mutex_unlock(&a->talk_lock);
	return err;
}
