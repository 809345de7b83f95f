// SPDX-License-Identifier: GPL-2.0-only
/*
 * closer.c - see closer.h.
 */
#include "closer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "list.h"

#define STOP_S	2
#define SPARE_S 1

struct job {
	struct list link;
	void *addr; /* a mapping, or NULL */
	size_t len;
	unsigned int n; /* descriptors */
	int fd[];
};

struct closer {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct list jobs;
	unsigned int queued, threads, busy;
	bool stopping;
};

static void fds_close(const int *fd, unsigned int n)
{
	const struct linger none = { 0, 0 };

	for (unsigned int i = 0; i < n; i++) {
		/* Most sockets need then not be waited for; whatever else it is says ENOTSOCK. */
		(void)setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		close(fd[i]);
	}
}

/*
 * Wait for a job, with the lock held; false: the thread is to end, because all is over or because
 * it has been one too many for a while.
 */
static bool closer_wait(struct closer *c)
{
	struct timespec end;
	bool late = false;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += SPARE_S;
	while (list_empty(&c->jobs) && !c->stopping) {
		if (c->threads - c->busy < 2) {
			pthread_cond_wait(&c->work, &c->lock);
		} else if (late) {
			return false;
		} else {
			late = pthread_cond_timedwait(&c->work, &c->lock, &end) == ETIMEDOUT;
		}
	}
	return !list_empty(&c->jobs);
}

static void *closer_main(void *arg)
{
	struct closer *c = arg;

	pthread_setname_np(pthread_self(), "amux-closer");
	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct job *j;

		if (!closer_wait(c))
			break;
		j = container_of(c->jobs.next, struct job, link);
		list_del(&j->link);
		c->queued--;
		c->busy++;
		pthread_mutex_unlock(&c->lock);
		if (j->addr)
			munmap(j->addr, j->len);
		fds_close(j->fd, j->n);
		free(j);
		pthread_mutex_lock(&c->lock);
		c->busy--;
	}
	c->threads--;
	pthread_cond_signal(&c->idle);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Called with the lock held. */
static int thread_add(struct closer *c)
{
	pthread_attr_t attr;
	pthread_t id;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&id, &attr, closer_main, c);
	pthread_attr_destroy(&attr);
	c->threads += !ret;
	return ret;
}

struct closer *closer_start(void)
{
	struct closer *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int ret;

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->work, &attr);
	pthread_cond_init(&c->idle, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&c->jobs);
	pthread_mutex_lock(&c->lock);
	ret = thread_add(c);
	pthread_mutex_unlock(&c->lock);
	if (!ret)
		return c;
	closer_stop(c);
	return NULL;
}

static void job_add(struct closer *c, struct job *j)
{
	pthread_mutex_lock(&c->lock);
	list_add_tail(&c->jobs, &j->link);
	c->queued++;
	/* Every thread has something, and this is not the first that waits: they are held up. */
	if (c->busy == c->threads && c->queued > 1 && c->threads < CLOSER_THREADS)
		(void)thread_add(c);
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

void closer_fds(struct closer *c, const int *fd, unsigned int n)
{
	struct job *j = c ? calloc(1, sizeof(*j) + n * sizeof(*fd)) : NULL;

	if (!j) {
		fds_close(fd, n); /* late is better than never */
		return;
	}
	j->n = n;
	memcpy(j->fd, fd, n * sizeof(*fd));
	job_add(c, j);
}

void closer_unmap(struct closer *c, void *addr, size_t len)
{
	struct job *j = c ? calloc(1, sizeof(*j)) : NULL;

	if (!j) {
		munmap(addr, len);
		return;
	}
	j->addr = addr;
	j->len = len;
	job_add(c, j);
}

unsigned int closer_pending(struct closer *c)
{
	unsigned int n;

	pthread_mutex_lock(&c->lock);
	n = c->queued + c->busy;
	pthread_mutex_unlock(&c->lock);
	return n;
}

void closer_stop(struct closer *c)
{
	struct timespec end;
	bool left;

	if (!c)
		return;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += STOP_S;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_broadcast(&c->work);
	while (c->threads && pthread_cond_timedwait(&c->idle, &c->lock, &end) != ETIMEDOUT)
		;
	left = c->threads != 0;
	pthread_mutex_unlock(&c->lock);
	if (left)
		return; /* they still use it */
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
