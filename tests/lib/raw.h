/* SPDX-License-Identifier: MIT */
/*
 * raw.h - the session protocol by hand, so that it can be spoken wrongly.
 *
 * Owner: the caller closes what it is given.  Thread: one.
 */
#ifndef TESTS_RAW_H
#define TESTS_RAW_H

#include "../../client/ring.h"

#include "tap.h"

union raw_msg {
	struct amux_msg_hdr hdr;
	struct amux_msg_hello hello;
	struct amux_msg_welcome welcome;
	struct amux_msg_register reg;
	struct amux_msg_registered registered;
	struct amux_msg_unregister unregister;
	struct amux_msg_queue_create queue_create;
	struct amux_msg_queue_created queue_created;
	struct amux_msg_queue_destroy queue_destroy;
	struct amux_msg_error error;
	char bytes[AMUX_MSG_MAX];
};

/* Connect without a word; bails out on failure. */
int raw_connect(const char *socket);

/* A HELLO as it should be. */
void raw_hello(struct amux_msg_hello *m, const char *name);

/* Connect and say it; bails out unless welcomed. */
int raw_open(const char *socket, const char *name);

/* Send @len bytes with @n_fds descriptors. */
void raw_send(int fd, const void *msg, size_t len, const int *fds, unsigned int n_fds);

/*
 * Receive one packet within 5 s * TAP_SLOW.  Descriptors go to @fds (at most 3; NULL: closed).
 * Returns its bytes, 0: the broker hung up, -1: nothing came.
 */
int raw_receive(int fd, union raw_msg *out, int fds[3]);

/* Register @memfd; the region id, or 0 with the answer in @out. */
uint32_t raw_register(int sock, int memfd, uint64_t size, uint32_t flags, union raw_msg *out);

struct raw_queue {
	struct amux_ring ring;
	void *map;
	uint64_t bytes;
	int sq_efd, cq_efd;
	uint32_t id;
};

/* Make a queue; bails out on failure. */
void raw_queue_open(int sock, uint32_t entries, struct raw_queue *q);
void raw_queue_close(struct raw_queue *q);

/* Submit one SQE and wait for one CQE, 5 s * TAP_SLOW; false: none came. */
bool raw_queue_do(struct raw_queue *q, const struct amux_sqe *sqe, struct amux_cqe *cqe);
/* Put one SQE into the ring without publishing it. */
void raw_queue_put(struct raw_queue *q, const struct amux_sqe *sqe);
void raw_queue_publish(struct raw_queue *q);
bool raw_queue_get(struct raw_queue *q, struct amux_cqe *cqe, unsigned int timeout_ms);

/* A memfd of @size bytes with @seals. */
int raw_memfd(uint64_t size, unsigned int seals);

#endif /* TESTS_RAW_H */
