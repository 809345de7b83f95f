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
#include "talk.h"

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

static int talk_gone(struct amux *a, struct amux_link *l)
{
	amux_link_fail(a, l, false);
	amux_fail("the broker hung up");
	return -ECONNRESET;
}

/* 0 or -errno of sendmsg(). */
static int talk_send(struct amux_link *l, struct amux_msg_hdr *req, int fd, int flags)
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
		n = sendmsg(l->sock, &msg, MSG_NOSIGNAL | flags);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)req->len)
		return 0;
	return n < 0 ? -errno : -EAGAIN;
}

int amux_talk_post(struct amux_link *l, struct amux_msg_hdr *req, int fd)
{
	int err;

	req->cookie = l->cookie + 1;
	err = talk_send(l, req, fd, MSG_DONTWAIT);
	if (!err)
		l->cookie++;
	return err == -EPIPE ? -ECONNRESET : err;
}

static int talk_ask(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
		    int flags)
{
	int err = talk_send(l, req, fd, flags);

	if (err == -EPIPE || err == -ECONNRESET)
		return talk_gone(a, l);
	if (err == -EAGAIN) {
		amux_fail("the broker does not take message %u", req->type);
		return -ETIMEDOUT;
	}
	if (err)
		amux_fail("sending message %u to the broker: %s", req->type, strerror(-err));
	return err;
}

/* Sleep until there is a packet, the deadline has passed or the broker is gone. */
static int talk_wait(struct amux *a, struct amux_link *l, uint64_t deadline)
{
	struct pollfd p[2] = {
		{ .fd = l->sock, .events = POLLIN },
		{ .fd = l->pidfd, .events = POLLIN },
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
		if (p[0].revents)
			return 0;
		amux_link_fail(a, l, true);
		amux_fail("the broker died");
		return -ECONNRESET;
	}
}

static void talk_close(const int *fds, unsigned int n)
{
	while (n--)
		close(fds[n]);
}

ssize_t amux_talk_take(struct amux_link *l, struct amux_answer *ans, unsigned int *nfds)
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
	n = recvmsg(l->sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
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

int amux_talk_judge(struct amux_answer *ans, ssize_t len, unsigned int nfds, uint32_t want)
{
	uint32_t type = len >= (ssize_t)sizeof(ans->hdr) ? ans->hdr.type : 0;

	if ((type != want && type != AMUX_MSG_ERROR) || (size_t)len != talk_shape[type].len ||
	    ans->hdr.len != (size_t)len || nfds != talk_shape[type].fds) {
		amux_fail("malformed answer: type %u, %zd bytes (%u claimed), %u fds; expected "
			  "type %u, %zu bytes, %u fds",
			  type, len, ans->hdr.len, nfds, want, talk_shape[want].len,
			  talk_shape[want].fds);
		talk_close(ans->fds, nfds);
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

/* The late answer to a request that was given up: what it made is given back. */
static void talk_late(struct amux_link *l, struct amux_answer *ans, ssize_t len,
		      unsigned int nfds)
{
	struct amux_msg_queue_destroy msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_DESTROY, .len = sizeof(msg) },
	};

	talk_close(ans->fds, nfds);
	if (ans->hdr.type != AMUX_MSG_QUEUE_CREATED ||
	    (size_t)len != talk_shape[AMUX_MSG_QUEUE_CREATED].len)
		return;
	msg.queue = ans->queue_created.queue;
	/* The answer is as late as this one, and ignored; a full socket keeps the queue, which
	 * ends with the connection. */
	msg.hdr.cookie = 0;
	talk_send(l, &msg.hdr, -1, MSG_DONTWAIT);
}

/* With talk_lock held. */
static int talk_exchange(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
			 uint32_t want, int timeout_ms, struct amux_answer *ans)
{
	uint64_t deadline = UINT64_MAX;
	unsigned int nfds;
	ssize_t n;
	int err;

	req->cookie = ++l->cookie;
	if (timeout_ms != AMUX_TALK_FOREVER)
		deadline = amux_now() + (uint64_t)timeout_ms * 1000000u;
	/* Where time counts, not even a full socket is waited for. */
	err = talk_ask(a, l, req, fd, timeout_ms == AMUX_TALK_FOREVER ? 0 : MSG_DONTWAIT);
	while (!err) {
		err = talk_wait(a, l, deadline);
		if (err)
			break;
		n = amux_talk_take(l, ans, &nfds);
		if (n == -EAGAIN || n == -EINTR)
			continue;
		if (n <= 0) {
			talk_close(ans->fds, nfds); /* an empty packet can carry some, too */
			err = n ? (int)n : talk_gone(a, l);
			break;
		}
		if ((size_t)n >= sizeof(ans->hdr) && ans->hdr.cookie < req->cookie) {
			talk_late(l, ans, n, nfds);
			continue;
		}
		if ((size_t)n < sizeof(ans->hdr) || ans->hdr.cookie != req->cookie) {
			amux_fail("the broker's answer of %zd bytes is not to request %llu", n,
				  (unsigned long long)req->cookie);
			talk_close(ans->fds, nfds);
			return -EPROTO;
		}
		return amux_talk_judge(ans, n, nfds, want);
	}
	return err;
}

int amux_talk(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
	      uint32_t want, int timeout_ms, struct amux_answer *ans)
{
	int err;

	pthread_mutex_lock(&a->talk_lock);
	err = talk_exchange(a, l, req, fd, want, timeout_ms, ans);
	pthread_mutex_unlock(&a->talk_lock);
	return err;
}

int amux_talk_try(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
		  uint32_t want, int timeout_ms, struct amux_answer *ans)
{
	int err;

	if (pthread_mutex_trylock(&a->talk_lock))
		return -EAGAIN;
	err = talk_exchange(a, l, req, fd, want, timeout_ms, ans);
	pthread_mutex_unlock(&a->talk_lock);
	return err;
}
