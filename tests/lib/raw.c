/* SPDX-License-Identifier: MIT */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_MS (5000 * (int)TAP_SLOW)
#define SEND_FDS   16

int raw_connect(const char *socket_path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		tap_bail("%s: %s", socket_path, strerror(errno));
	return fd;
}

void raw_hello(struct amux_msg_hello *m, const char *name)
{
	memset(m, 0, sizeof(*m));
	m->hdr.type = AMUX_MSG_HELLO;
	m->hdr.len = sizeof(*m);
	m->hdr.cookie = 77;
	m->magic = AMUX_HELLO_MAGIC;
	m->version_min = m->version_max = AMUX_ABI_VERSION;
	m->node = AMUX_NODE_ANY;
	snprintf(m->name, sizeof(m->name), "%s", name);
}

int raw_open(const char *socket_path, const char *name)
{
	int fd = raw_connect(socket_path);
	union raw_msg msg;

	raw_hello(&msg.hello, name);
	raw_send(fd, &msg, sizeof(msg.hello), NULL, 0);
	if (raw_receive(fd, &msg, NULL) != sizeof(msg.welcome) ||
	    msg.hdr.type != AMUX_MSG_WELCOME || msg.hdr.cookie != 77)
		tap_bail("a proper HELLO was not welcomed");
	return fd;
}

void raw_send(int fd, const void *msg, size_t len, const int *fds, unsigned int n_fds)
{
	char control[CMSG_SPACE(SEND_FDS * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

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
	if (sendmsg(fd, &mh, MSG_NOSIGNAL) != (ssize_t)len)
		tap_bail("sendmsg of %zu bytes: %s", len, strerror(errno));
}

int raw_receive(int fd, union raw_msg *out, int fds[3])
{
	char control[CMSG_SPACE(AMUX_MSG_FDS * sizeof(int))];
	struct iovec iov = { out, sizeof(*out) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned int n = 0;
	ssize_t got;

	memset(out, 0, sizeof(*out));
	if (poll(&p, 1, TIMEOUT_MS) != 1)
		return -1;
	got = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
	if (got < 0)
		return errno == ECONNRESET ? 0 : -1;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		size_t count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count && n < AMUX_MSG_FDS; i++, n++) {
			int one;

			memcpy(&one, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (fds)
				fds[n] = one;
			else
				close(one);
		}
	}
	return (int)got;
}

uint32_t raw_register(int sock, int memfd, uint64_t size, uint32_t flags, union raw_msg *out)
{
	struct amux_msg_register m = {
		.hdr = { AMUX_MSG_REGISTER, sizeof(m), 78 },
		.flags = flags,
		.size = size,
	};

	raw_send(sock, &m, sizeof(m), &memfd, 1);
	if (raw_receive(sock, out, NULL) != sizeof(out->registered) ||
	    out->hdr.type != AMUX_MSG_REGISTERED || out->hdr.cookie != 78)
		return 0;
	return out->registered.region;
}

void raw_queue_open(int sock, uint32_t entries, struct raw_queue *q)
{
	struct amux_msg_queue_create m = {
		.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(m), 79 },
		.sq_entries = entries,
		.cq_entries = entries,
	};
	union raw_msg msg;
	int fds[3];

	raw_send(sock, &m, sizeof(m), NULL, 0);
	if (raw_receive(sock, &msg, fds) != sizeof(msg.queue_created) ||
	    msg.hdr.type != AMUX_MSG_QUEUE_CREATED)
		tap_bail("QUEUE_CREATE of %u entries: answer of type %u: %.160s", entries,
			 msg.hdr.type, msg.hdr.type == AMUX_MSG_ERROR ? msg.error.text : "");
	q->id = msg.queue_created.queue;
	q->bytes = msg.queue_created.ring_bytes;
	q->sq_efd = fds[1];
	q->cq_efd = fds[2];
	q->map = mmap(NULL, q->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	close(fds[0]);
	if (q->map == MAP_FAILED || amux_ring_bind(&q->ring, q->map, q->bytes))
		tap_bail("the ring of %llu bytes cannot be used", (unsigned long long)q->bytes);
}

void raw_queue_close(struct raw_queue *q)
{
	munmap(q->map, q->bytes);
	close(q->sq_efd);
	close(q->cq_efd);
}

void raw_queue_put(struct raw_queue *q, const struct amux_sqe *sqe)
{
	struct amux_sqe *slot = amux_sq_next(&q->ring);

	if (!slot)
		tap_bail("the raw queue is full");
	*slot = *sqe;
}

void raw_queue_publish(struct raw_queue *q)
{
	const uint64_t one = 1;

	if (amux_sq_publish(&q->ring) && write(q->sq_efd, &one, sizeof(one)) < 0)
		tap_bail("eventfd: %s", strerror(errno));
}

bool raw_queue_get(struct raw_queue *q, struct amux_cqe *cqe, unsigned int timeout_ms)
{
	uint64_t end = tap_ns() + timeout_ms * 1000000ull;

	while (!amux_cq_ready(&q->ring)) {
		if (tap_ns() > end)
			return false;
		tap_sleep_ms(1);
	}
	*cqe = *amux_cq_take(&q->ring);
	amux_cq_release(&q->ring);
	return true;
}

bool raw_queue_do(struct raw_queue *q, const struct amux_sqe *sqe, struct amux_cqe *cqe)
{
	raw_queue_put(q, sqe);
	raw_queue_publish(q);
	return raw_queue_get(q, cqe, TIMEOUT_MS);
}

int raw_memfd(uint64_t size, unsigned int seals)
{
	int fd = memfd_create("test-raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) || (seals && fcntl(fd, F_ADD_SEALS, seals)))
		tap_bail("memfd of %llu bytes: %s", (unsigned long long)size, strerror(errno));
	return fd;
}
