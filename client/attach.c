// SPDX-License-Identifier: MIT
/*
 * attach.c - a queue's ring: got from one broker, and from the next when that one is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"
#include "talk.h"

#define ATTACH_TRY_MS	    20		 /* a caller who wants to submit waits so long */
#define ATTACH_PAUSE_NS	    100000000ull /* then not for a while, doubling */
#define ATTACH_PAUSE_MAX_NS 1000000000ull

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
	if (q->map && bytes != q->map_len)
		goto bad;
	/* Over the dead broker's ring, which another thread may be looking at. */
	p = mmap(q->map, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (q->map ? MAP_FIXED : 0),
		 memfd, 0);
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

/* Give the broker's queue back, of which nothing could be made here. */
static void queue_forget(struct amux_queue *q, struct amux_link *l, bool try, int timeout_ms)
{
	struct amux_msg_queue_destroy msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_DESTROY, .len = sizeof(msg) },
		.queue = q->id,
	};
	struct amux_answer ans;

	(void)(try ? amux_talk_try : amux_talk)(q->a, l, &msg.hdr, -1, AMUX_MSG_DONE,
						timeout_ms, &ans);
}

int amux_queue_attach(struct amux_queue *q, struct amux_link *l, bool try, int timeout_ms)
{
	struct amux_msg_queue_create msg = {
		.hdr = { .type = AMUX_MSG_QUEUE_CREATE, .len = sizeof(msg) },
		.sq_entries = q->entries,
		.cq_entries = q->entries,
	};
	struct amux_answer ans;
	int err;

	err = (try ? amux_talk_try : amux_talk)(q->a, l, &msg.hdr, -1, AMUX_MSG_QUEUE_CREATED,
						timeout_ms, &ans);
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
	if (err) {
		amux_queue_detach(q);
		queue_forget(q, l, try, timeout_ms); /* it counts against the limit */
		return err;
	}
	pthread_mutex_lock(&q->a->lock);
	q->link = l;
	__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&q->a->lock);
	q->serial = l->serial;
	q->dead = q->broken = false;
	q->declined_done = 0;
	q->careful = q->stale = q->hushed = q->recalling = false;
	q->ghosts = q->contested = 0;
	q->retry_ns = q->retry_pause_ns = 0;
	return 0;
}

void amux_queue_detach(struct amux_queue *q)
{
	struct amux_link *l = q->link;

	amux_queue_hush(q, true);
	if (q->sq_efd >= 0)
		close(q->sq_efd);
	if (q->cq_fd >= 0)
		close(q->cq_fd);
	q->sq_efd = q->cq_fd = -1;
	pthread_mutex_lock(&q->a->lock);
	q->link = NULL;
	pthread_mutex_unlock(&q->a->lock);
	amux_link_put(l);
}

int amux_queue_listen(struct amux_queue *q)
{
	struct epoll_event in = { .events = EPOLLIN }, hup = { .events = EPOLLRDHUP };

	/* The cq socket alone would never tell of the broker's death. */
	if (epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->cq_fd, &in) ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->link->pidfd, &in) ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->link->sock, &hup))
		return -errno;
	return 0;
}

void amux_queue_hush(struct amux_queue *q, bool all)
{
	if (q->epfd < 0 || !q->link)
		return;
	/* They would stay readable for ever. */
	epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->cq_fd, NULL);
	epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->link->sock, NULL);
	if (all)
		epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->link->pidfd, NULL);
}

void amux_queue_revive(struct amux_queue *q)
{
	struct amux *a = q->a;
	struct amux_link *l;
	uint64_t now;
	int err;

	amux_reconnect(a);
	if (amux_is_dead(a))
		return;
	now = amux_now();
	if (now < q->retry_ns)
		return;
	l = amux_link_get(a);
	if (q->broken && l->serial == q->serial) {
		err = -EPROTO; /* a broker that was caught lying is not asked again */
	} else {
		if (q->link)
			amux_queue_detach(q);
		err = amux_queue_attach(q, l, true, ATTACH_TRY_MS);
	}
	amux_link_put(l);
	if (err) {
		q->retry_pause_ns = q->retry_pause_ns ? 2 * q->retry_pause_ns : ATTACH_PAUSE_NS;
		if (q->retry_pause_ns > ATTACH_PAUSE_MAX_NS)
			q->retry_pause_ns = ATTACH_PAUSE_MAX_NS;
		q->retry_ns = now + q->retry_pause_ns;
		return;
	}
	if (q->epfd >= 0 && amux_queue_listen(q)) {
		q->broken = true; /* an event loop would sleep through its answers */
		return;
	}
	if (q->armed)
		amux_cq_sleep(&q->ring); /* nothing is there yet, but will be */
}

bool amux_queue_over(const struct amux_queue *q)
{
	/* The acquire pairs with the broker's release: every CQE is seen. */
	return q->broken || amux_link_dead(q->link) ||
	       amux_load_acquire(&q->ring.hdr->state) == AMUX_BROKER_GONE;
}

/* A link that was hung up by a broker that is perhaps not yet dead, with a reference. */
static struct amux_link *queues_linger(struct amux *a)
{
	struct amux_link *l = NULL;

	pthread_mutex_lock(&a->lock);
	for (struct amux_queue *q = a->queues; q && !l; q = q->next) {
		if (!q->link || amux_link_up(q->link) || amux_link_dead(q->link) ||
		    amux_load_acquire(&q->ring.hdr->state) == AMUX_BROKER_GONE)
			continue;
		l = q->link;
		__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&a->lock);
	return l;
}

void amux_queues_await_end(struct amux *a)
{
	struct amux_link *l;

	/* It takes as long as the kernel needs to end a process. */
	while ((l = queues_linger(a))) {
		poll(NULL, 0, 1);
		amux_link_probe(a, l);
		amux_link_put(l);
	}
}
