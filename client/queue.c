// SPDX-License-Identifier: MIT
/*
 * queue.c - make and close queues, hand requests to the broker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"

#define QUEUE_SPIN_NS 20000

/* ------------------------------------------------------------------ make and close */

static int set_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) ? -errno : 0;
}

static int queue_map(struct amux_queue *q, int memfd, uint64_t bytes)
{
	struct stat st;
	void *p;

	if (fstat(memfd, &st))
		return -errno;
	/* Sealed at that size, or the broker could pull the pages from under us. */
	if (bytes < amux_ring_bytes(q->entries, q->entries) || bytes > (uint64_t)st.st_size ||
	    !(fcntl(memfd, F_GET_SEALS) & F_SEAL_SHRINK))
		goto bad;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (p == MAP_FAILED)
		return -errno;
	q->map = p;
	q->map_len = bytes;
	if (madvise(p, bytes, MADV_DONTFORK))
		return -errno;
	if (amux_ring_bind(&q->ring, p, bytes) || q->ring.sq_entries != q->entries ||
	    q->ring.cq_entries < q->entries)
		goto bad;
	return 0;

bad:
	amux_fail("the broker's ring of %llu bytes is malformed", (unsigned long long)bytes);
	return -EPROTO;
}

/* Give the broker's queue back.  A dead one has none. */
static int queue_forget(struct amux_queue *q, int timeout_ms)
{
	struct amux_msg_queue_destroy msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_DESTROY, .len = sizeof(msg) },
		.queue = q->id,
	};
	struct amux_answer ans;
	int err;

	if (amux_is_dead(q->a))
		return 0;
	err = amux_talk(q->a, &msg.hdr, -1, AMUX_MSG_DONE, timeout_ms, &ans);
	return err == -ECONNRESET ? 0 : err;
}

static int queue_ask(struct amux_queue *q, int timeout_ms)
{
	struct amux_msg_queue_create msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_CREATE, .len = sizeof(msg) },
		.sq_entries = q->entries,
		.cq_entries = q->entries,
	};
	struct amux_answer ans;
	int err;

	err = amux_talk(q->a, &msg.hdr, -1, AMUX_MSG_QUEUE_CREATED, timeout_ms, &ans);
	if (err)
		return err;
	q->id = ans.queue_created.queue;
	q->sq_efd = ans.fds[1];
	q->cq_fd = ans.fds[2];
	err = set_nonblock(q->sq_efd);
	if (!err)
		err = set_nonblock(q->cq_fd);
	if (!err)
		err = queue_map(q, ans.fds[0], ans.queue_created.ring_bytes);
	close(ans.fds[0]);
	if (err)
		queue_forget(q, timeout_ms); /* it counts against the limit */
	return err;
}

static void queue_free(struct amux_queue *q, bool unmap)
{
	if (q->map && unmap)
		munmap(q->map, q->map_len);
	if (q->epfd >= 0)
		close(q->epfd);
	if (q->sq_efd >= 0)
		close(q->sq_efd);
	if (q->cq_fd >= 0)
		close(q->cq_fd);
	if (q->self_efd >= 0)
		close(q->self_efd);
	free(q->done);
	free(q->todo);
	free(q->slots);
	free(q);
}

static struct amux_queue *queue_new(struct amux *a, uint32_t entries)
{
	struct amux_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->a = a;
	q->entries = entries;
	q->spin_ns = QUEUE_SPIN_NS;
	q->sq_efd = -1;
	q->cq_fd = -1;
	q->self_efd = -1;
	q->epfd = -1;
	q->oldest = AMUX_SLOT_NONE;
	q->newest = AMUX_SLOT_NONE;
	q->unsent = AMUX_SLOT_NONE;
	q->slots = calloc(entries, sizeof(*q->slots));
	q->done = calloc(entries, sizeof(*q->done));
	q->todo = calloc(entries, sizeof(*q->todo));
	if (!q->slots || !q->done || !q->todo) {
		queue_free(q, true);
		return NULL;
	}
	for (uint32_t i = 0; i < entries; i++)
		q->slots[i].next = i + 1 < entries ? i + 1 : AMUX_SLOT_NONE;
	return q;
}

int amux_queue_open(struct amux *a, unsigned int entries, int timeout_ms,
		    struct amux_queue **out)
{
	struct amux_queue *q;
	uint32_t rounded = 2;
	int err;

	if (entries < 2 || entries > a->max_entries) {
		amux_fail("queue of %u entries, expected 2 .. %u", entries, a->max_entries);
		return -EINVAL;
	}
	while (rounded < entries)
		rounded *= 2;
	q = queue_new(a, rounded);
	if (!q)
		return -ENOMEM;
	err = amux_is_dead(a) ? -ECONNRESET : queue_ask(q, timeout_ms);
	if (err == -ECONNRESET) {
		q->dead = true; /* no ring: amux_submit() executes */
		err = 0;
	}
	if (err) {
		queue_free(q, true);
		return err;
	}
	pthread_mutex_lock(&a->lock);
	q->next = a->queues;
	if (q->next)
		q->next->prev = q;
	a->queues = q;
	pthread_mutex_unlock(&a->lock);
	*out = q;
	return 0;
}

int amux_queue_create(struct amux *a, unsigned int entries, struct amux_queue **out)
{
	int err = amux_check(a);

	if (err)
		return err;
	return out ? amux_queue_open(a, entries, AMUX_TALK_FOREVER, out) : -EINVAL;
}

static void queue_unlist(struct amux_queue *q)
{
	struct amux *a = q->a;

	pthread_mutex_lock(&a->lock);
	if (q->prev)
		q->prev->next = q->next;
	else
		a->queues = q->next;
	if (q->next)
		q->next->prev = q->prev;
	amux_stats_sum(&a->closed, &q->stats);
	pthread_mutex_unlock(&a->lock);
}

int amux_queue_close(struct amux_queue *q, bool mine)
{
	struct amux *a = q->a;
	struct amux_cqe cqe;
	int err = 0;

	if (!mine) {
		a->queues = q->next;
		queue_free(q, false);
		return 0;
	}
	while (amux_wait(q, &cqe, 1, 1, NULL) > 0)
		;
	if (q->map)
		err = queue_forget(q, AMUX_TALK_FOREVER);
	queue_unlist(q);
	queue_free(q, true);
	return err;
}

int amux_queue_destroy(struct amux_queue *q)
{
	int err = q ? amux_check(q->a) : -EINVAL;

	return err ? err : amux_queue_close(q, true);
}

/* -------------------------------------------------------------- prepare and submit */

struct amux_sqe *amux_get_sqe(struct amux_queue *q)
{
	struct amux_slot *slot;
	uint32_t i;

	if (!q || amux_check(q->a) || q->inflight == q->entries)
		return NULL;
	i = q->free;
	slot = &q->slots[i];
	q->free = slot->next;
	memset(&slot->sqe, 0, sizeof(slot->sqe));
	slot->gen++;
	slot->sent = false;
	slot->prev = q->newest;
	slot->next = AMUX_SLOT_NONE;
	if (q->newest != AMUX_SLOT_NONE)
		q->slots[q->newest].next = i;
	else
		q->oldest = i;
	q->newest = i;
	if (q->unsent == AMUX_SLOT_NONE)
		q->unsent = i;
	q->inflight++;
	q->prepared++;
	return &slot->sqe;
}

int amux_submit(struct amux_queue *q)
{
	int err = q ? amux_check(q->a) : -EINVAL;
	uint32_t n;

	if (err)
		return err;
	n = q->prepared;
	q->ready += n;
	q->prepared = 0;
	amux_queue_flush(q);
	return (int)n;
}

void amux_set_spin(struct amux_queue *q, uint64_t ns)
{
	if (q && !amux_check(q->a))
		q->spin_ns = ns;
}

/* ---------------------------------------------------------------------- event loops */

int amux_eventfd(struct amux_queue *q)
{
	struct epoll_event in = { .events = EPOLLIN }, hup = { .events = EPOLLRDHUP };
	int err = q ? amux_check(q->a) : -EINVAL;

	if (err)
		return err;
	if (q->epfd >= 0)
		return q->epfd;
	q->self_efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (q->self_efd < 0 || q->epfd < 0 ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->self_efd, &in))
		goto fail;
	/* The cq socket alone would never tell of the broker's death. */
	if (!q->dead && (epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->cq_fd, &in) ||
			 epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->a->pidfd, &in) ||
			 epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->a->sock, &hup)))
		goto fail;
	return q->epfd;

fail:
	err = -errno;
	if (q->epfd >= 0)
		close(q->epfd);
	if (q->self_efd >= 0)
		close(q->self_efd);
	q->epfd = q->self_efd = -1;
	return err;
}

int amux_arm(struct amux_queue *q)
{
	int err = q ? amux_check(q->a) : -EINVAL;

	if (err)
		return err;
	amux_queue_flush(q);
	amux_queue_drain(q);
	q->armed = true;
	if (q->done_head != q->done_tail || q->working || q->todo_head != q->todo_tail ||
	    q->ready)
		return 1;
	if (q->dead)
		return 0;
	return amux_is_dead(q->a) || amux_cq_sleep(&q->ring);
}
