// SPDX-License-Identifier: GPL-2.0-only
/*
 * queue.c - a queue's memory and its life between a connection and the mux thread (session.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session.h"

uint64_t queue_bytes(uint32_t sq_entries, uint32_t cq_entries)
{
	return sizeof(struct queue) + amux_ring_bytes(sq_entries, cq_entries) +
	       cq_entries *
		       (uint64_t)(sizeof(struct request) + sizeof(uint32_t) + sizeof(uint64_t));
}

int queue_create(struct queue **out, uint32_t id, uint32_t sq_entries, uint32_t cq_entries,
		 int *ring_fd)
{
	struct queue *q = calloc(1, sizeof(*q));
	int ret, pair[2];

	if (!q)
		return -ENOMEM;
	q->id = id;
	q->sq_efd = q->cq_fd = q->cq_peer = -1;
	list_init(&q->hot);
	list_init(&q->dirty);
	list_init(&q->link);
	list_init(&q->peer);
	q->map_bytes = amux_ring_bytes(sq_entries, cq_entries);

	*ring_fd = memfd_create("accelmux-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*ring_fd < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = -EIO;
	if (ftruncate(*ring_fd, (off_t)q->map_bytes) < 0)
		goto err_errno;
	q->map = mmap(NULL, q->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *ring_fd, 0);
	if (q->map == MAP_FAILED) {
		q->map = NULL;
		goto err_errno;
	}
	if (fcntl(*ring_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto err_errno;
	amux_ring_init(q->map, sq_entries, cq_entries);
	ret = amux_ring_bind(&q->ring, q->map, q->map_bytes);
	if (ret)
		goto err_fd;
	/*
	 * The client shares what it is passed, flags included.  An eventfd of which it undoes
	 * O_NONBLOCK and fills the counter would block our write, and so would a pipe of which
	 * it stays in read(), its buffer's page never coming: the pipe is locked meanwhile.  Our
	 * end of a socket pair is ours alone, and to send takes no lock that a reader holds.
	 */
	q->sq_efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->sq_efd < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		goto err_errno;
	q->cq_peer = pair[0];
	q->cq_fd = pair[1];
	ret = -ENOMEM;
	q->reqs = calloc(cq_entries, sizeof(*q->reqs));
	q->free = calloc(cq_entries, sizeof(*q->free));
	q->held = calloc(cq_entries, sizeof(*q->held));
	q->declined_len = calloc(cq_entries, sizeof(*q->declined_len));
	if (!q->reqs || !q->free || !q->held || !q->declined_len)
		goto err_fd;
	for (uint32_t i = 0; i < cq_entries; i++)
		q->free[q->n_free++] = i;
	*out = q;
	return 0;

err_errno:
	ret = -errno;
err_fd:
	close(*ring_fd);
err_free:
	queue_free(q);
	return ret;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	if (q->sq_efd >= 0)
		close(q->sq_efd);
	if (q->cq_fd >= 0)
		close(q->cq_fd);
	if (q->cq_peer >= 0)
		close(q->cq_peer);
	if (q->map)
		munmap(q->map, q->map_bytes);
	free(q->declined_len);
	free(q->held);
	free(q->free);
	free(q->reqs);
	free(q);
}

void queue_attach(struct queue *q, struct session *s, struct queue_set *set)
{
	q->session = s;
	q->set = set;
	flow_init(&q->flow, q->flow.tenant, queue_complete);
	list_add_tail(&s->queues, &q->link);
	list_add_tail(&set->all, &q->peer);
	list_add_tail(&set->hot, &q->hot);
}

void queue_stop(struct queue *q, uint64_t now)
{
	q->stopped = true;
	if (!list_empty(&q->hot))
		list_del(&q->hot);
	sched_cancel(q->set->sched, &q->flow, now);
}

void queue_drain(struct queue *q)
{
	uint32_t left = amux_load_acquire(&q->ring.hdr->sq_tail) - q->ring.sq_head;

	q->draining = true;
	q->drain_left = left <= q->ring.sq_entries ? left : 0;
}

bool queue_drained(const struct queue *q)
{
	return q->stopped || (q->draining && !q->drain_left && !queue_holds(q));
}

bool queue_quiet(const struct queue *q)
{
	return !q->flow.unanswered && list_empty(&q->dirty);
}

void queue_detach(struct queue *q)
{
	/* Pairs with the client's acquire: everything was answered and published before. */
	amux_store_release(&q->ring.hdr->state, (uint32_t)AMUX_BROKER_GONE);
	list_del(&q->link);
	list_del(&q->peer);
	if (!list_empty(&q->hot))
		list_del(&q->hot);
}
