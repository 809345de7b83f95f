// SPDX-License-Identifier: MIT
/*
 * queue.c - make and close queues, hand requests to the broker.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"
#include "talk.h"

#define QUEUE_SPIN_NS 20000

/* ------------------------------------------------------------------ make and close */

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
	if (q->timer_fd >= 0)
		close(q->timer_fd);
	amux_link_put(q->link);
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
	q->timer_fd = -1;
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
	uint32_t rounded = 2, max = amux_load_relaxed(&a->max_entries);
	struct amux_queue *q;
	struct amux_link *l;
	int err;

	if (entries < 2 || entries > max) {
		amux_fail("queue of %u entries, expected 2 .. %u", entries, max);
		return -EINVAL;
	}
	while (rounded < entries)
		rounded *= 2;
	q = queue_new(a, rounded);
	if (!q)
		return -ENOMEM;
	q->dead = true; /* no ring: amux_submit() executes */
	l = amux_link_get(a);
	err = amux_link_up(l) ? amux_queue_attach(q, l, false, timeout_ms) : -ECONNRESET;
	amux_link_put(l);
	if (err == -ECONNRESET)
		err = 0;
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
	struct amux_msg_queue_destroy msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_DESTROY, .len = sizeof(msg) },
	};
	struct amux *a = q->a;
	struct amux_answer ans;
	struct amux_cqe cqe;
	int err = 0;

	if (!mine) {
		a->queues = q->next;
		queue_free(q, false);
		return 0;
	}
	while (amux_wait(q, &cqe, 1, 1, NULL) > 0)
		;
	msg.queue = q->id;
	if (q->link && amux_link_up(q->link))
		err = amux_talk(a, q->link, &msg.hdr, -1, AMUX_MSG_DONE, AMUX_TALK_FOREVER,
				&ans);
	queue_unlist(q);
	queue_free(q, true);
	return err == -ECONNRESET ? 0 : err;
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
	slot->gen = ++q->gen;
	slot->sent = false;
	slot->withdrawn = false;
	slot->named = false;
	slot->withdrawn_here = 0;
	slot->prev = q->newest;
	slot->next = AMUX_SLOT_NONE;
	if (q->newest != AMUX_SLOT_NONE)
		q->slots[q->newest].next = i;
	else
		q->oldest = i;
	q->newest = i;
	if (q->unsent == AMUX_SLOT_NONE)
		q->unsent = i;
	if (!q->dead)
		amux_sq_prefetch_write(&q->ring, q->ready + q->prepared);
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
	struct epoll_event in = { .events = EPOLLIN };
	int err = q ? amux_check(q->a) : -EINVAL;

	if (err)
		return err;
	if (q->epfd >= 0)
		return q->epfd;
	q->self_efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	q->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (q->self_efd < 0 || q->timer_fd < 0 || q->epfd < 0 ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->self_efd, &in) ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->timer_fd, &in))
		goto fail;
	if (!q->dead && amux_queue_listen(q))
		goto fail;
	return q->epfd;

fail:
	err = -errno;
	if (q->epfd >= 0)
		close(q->epfd);
	if (q->self_efd >= 0)
		close(q->self_efd);
	if (q->timer_fd >= 0)
		close(q->timer_fd);
	q->epfd = q->self_efd = q->timer_fd = -1;
	return err;
}

int amux_arm(struct amux_queue *q)
{
	int err = q ? amux_check(q->a) : -EINVAL;

	if (err)
		return err;
	amux_queue_flush(q);
	amux_queue_drain(q);
	q->vain = UINT32_MAX; /* an event loop peeks seldom: next time it looks at the clock */
	q->armed = true;
	if (q->done_head != q->done_tail || q->working || q->todo_head != q->todo_tail ||
	    (q->ready && !q->careful))
		return 1;
	if (q->dead)
		return 0;
	if ((!amux_link_up(q->link) && amux_queue_over(q)) || amux_cq_sleep(&q->ring))
		return 1;
	amux_queue_set_timer(q);
	return 0;
}
