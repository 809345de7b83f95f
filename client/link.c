// SPDX-License-Identifier: MIT
/*
 * link.c - see link.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "handle.h"

#define LINK_TIMEOUT_S 5

int amux_link_connect(const char *path, bool wait)
{
	const struct timeval limit = { .tv_sec = LINK_TIMEOUT_S };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, err;

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
	if (fd < 0)
		return -errno;
	/* Bounds connect() too, where the listener's backlog is full. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		goto fail;
	while (connect(fd, (const struct sockaddr *)&un, sizeof(un)))
		if (errno != EINTR)
			goto fail;
	if (!wait && fcntl(fd, F_SETFL, 0))
		goto fail;
	return fd;

fail:
	err = errno == EAGAIN ? ETIMEDOUT : errno == EPROTOTYPE ? EPROTO : errno;
	close(fd);
	return -err;
}

struct amux_link *amux_link_new(int sock, uint32_t serial)
{
	struct amux_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->sock = sock;
	l->pidfd = -1;
	l->refs = 1;
	l->serial = serial;
	return l;
}

void amux_link_put(struct amux_link *l)
{
	/* Acquire and release: the last one sees everything the others did with it. */
	if (!l || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (l->pidfd >= 0)
		close(l->pidfd);
	close(l->sock);
	free(l);
}

struct amux_link *amux_link_get(struct amux *a)
{
	struct amux_link *l;

	pthread_mutex_lock(&a->lock);
	l = a->link;
	__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&a->lock);
	return l;
}

void amux_link_fail(struct amux *a, struct amux_link *l, bool dead)
{
	if (dead)
		amux_store_release(&l->dead, 1);
	amux_store_release(&l->down, 1);
	pthread_mutex_lock(&a->lock);
	if (a->link == l)
		amux_store_release(&a->dead, 1); /* pairs with amux_is_dead() */
	pthread_mutex_unlock(&a->lock);
}

void amux_link_probe(struct amux *a, struct amux_link *l)
{
	struct pollfd p[2] = {
		{ .fd = l->pidfd, .events = POLLIN },
		{ .fd = amux_link_up(l) ? l->sock : -1, .events = POLLRDHUP },
	};

	if (amux_link_dead(l) || poll(p, 2, 0) <= 0)
		return;
	amux_link_fail(a, l, p[0].revents != 0);
}
