/* SPDX-License-Identifier: MIT */
/*
 * talk.h - messages to the broker and its answers.
 *
 * Owner: the caller owns what it is given.  Threads: amux_talk*() any, one exchange at a time
 * under amux.talk_lock; the pieces below only while a link is nobody else's.
 */
#ifndef CLIENT_TALK_H
#define CLIENT_TALK_H

#include <sys/types.h>

#include <accelmux/accelmux.h>

struct amux_link;

#define AMUX_TALK_FOREVER (-1)

struct amux_answer {
	union {
		struct amux_msg_hdr hdr;
		struct amux_msg_welcome welcome;
		struct amux_msg_registered registered;
		struct amux_msg_queue_created queue_created;
		struct amux_msg_error error;
		uint8_t raw[AMUX_MSG_MAX];
	};
	int fds[AMUX_MSG_FDS]; /* the caller's after success */
};

/*
 * Send @req (type and len filled in), with @fd unless it is -1, and wait for the answer of
 * type @want.  @timeout_ms bounds the wait for the answer.  0; the broker's own -errno;
 * -EPROTO: malformed answer; -ETIMEDOUT; -ECONNRESET: the broker is gone, which is noted.
 * Every failure sets amux_error().
 */
int amux_talk(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
	      uint32_t want, int timeout_ms, struct amux_answer *ans);

/* The same, but -EAGAIN where another thread is at it. */
int amux_talk_try(struct amux *a, struct amux_link *l, struct amux_msg_hdr *req, int fd,
		  uint32_t want, int timeout_ms, struct amux_answer *ans);

/* ----------------------------------------------------------------------- the pieces */

/* Send without waiting; sets the cookie.  0; -EAGAIN: no room; -ECONNRESET and others. */
int amux_talk_post(struct amux_link *l, struct amux_msg_hdr *req, int fd);

/* One packet with *@nfds descriptors, without waiting.  Its length; -EAGAIN; 0: end. */
ssize_t amux_talk_take(struct amux_link *l, struct amux_answer *ans, unsigned int *nfds);

/* Judge a packet that should be of type @want.  0, -EPROTO, or the error it tells.  On failure
 * its descriptors are closed. */
int amux_talk_judge(struct amux_answer *ans, ssize_t len, unsigned int nfds, uint32_t want);

#endif /* CLIENT_TALK_H */
