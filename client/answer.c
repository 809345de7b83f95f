// SPDX-License-Identifier: MIT
/*
 * answer.c - collect answers: the broker's, the CPU's for what was declined, and -EIO for
 * what died with the broker.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cancel.h"
#include "handle.h"
#include "queue.h"

#define PEEK_BYTES    (1u << 20) /* copied at most by one amux_peek() */
#define PROBE_NS      1000000u	 /* amux_peek() asks for the broker this often ... */
#define PROBE_PEEKS   32	 /* ... and for the time every so many peeks in vain */
#define REAP_AHEAD    16 /* answers fetched at once: as many lines as a CPU can have on the way */
#define SPIN_PER_TIME 32       /* looks at the ring per look at the clock */
#define SQ_FULL_NS    1000000u /* nobody wakes us for free SQ slots: look this often */

/* One writer, any reader. */
#define STAT_ADD(q, field, n) \
	amux_store_relaxed(&(q)->stats.field, (q)->stats.field + (uint64_t)(n))

/* ------------------------------------------------------------------------- slots */

static void slot_free(struct amux_queue *q, uint32_t i)
{
	struct amux_slot *slot = &q->slots[i];

	if (slot->prev != AMUX_SLOT_NONE)
		q->slots[slot->prev].next = slot->next;
	else
		q->oldest = slot->next;
	if (slot->next != AMUX_SLOT_NONE)
		q->slots[slot->next].prev = slot->prev;
	else
		q->newest = slot->prev;
	slot->sent = false;
	slot->next = q->free;
	q->free = i;
}

static void done_push(struct amux_queue *q, const struct amux_cqe *cqe)
{
	q->done[q->done_tail++ & (q->entries - 1)] = *cqe;
}

static void kick(int efd)
{
	const uint64_t one = 1;

	/* EAGAIN: the counter is full, so the peer is woken anyway. */
	if (write(efd, &one, sizeof(one)) < 0)
		return;
}

void amux_queue_drain(struct amux_queue *q)
{
	uint64_t kicks[8];

	if (q->dead && read(q->self_efd, kicks, sizeof(kicks)) < 0)
		return; /* nothing to take back */
	if (!q->dead && read(q->cq_fd, kicks, sizeof(kicks)) == 0)
		amux_set_dead(q->a); /* the broker has let go of it */
}

static void job_account(struct amux_queue *q, const struct amux_job *job)
{
	if (job->cqe.status == -ECANCELED) {
		STAT_ADD(q, withdrawn, 1);
		return;
	}
	STAT_ADD(q, declined, 1);
	STAT_ADD(q, declined_bytes, job->cqe.bytes);
	STAT_ADD(q, cpu_ns, job->cpu_ns);
	if (job->cqe.status)
		STAT_ADD(q, errors, 1);
}

/* ----------------------------------------------------------- without a broker */

/* Do everything that was submitted, in order, on this CPU. */
static void queue_execute(struct amux_queue *q)
{
	struct amux_job job;

	if (!q->ready)
		return;
	amux_cancel_ready(q);
	while (q->ready) {
		uint32_t i = q->unsent;

		q->unsent = q->slots[i].next;
		q->ready--;
		amux_job_start(&job, &q->slots[i].sqe);
		if (q->slots[i].sqe.op == AMUX_OP_CANCEL)
			amux_cancel_answer(&q->slots[i], &job.cqe);
		if (q->slots[i].withdrawn)
			amux_job_withdraw(&job);
		if (q->slots[i].sqe.flags & AMUX_SQE_ENGINE_ONLY && !job.cqe.status) {
			job.cqe.status = -ENODEV;
			job.cqe.bytes = 0;
			job.finished = true;
		}
		while (!job.finished)
			amux_job_step(q->a, &job, UINT64_MAX);
		job_account(q, &job);
		slot_free(q, i);
		done_push(q, &job.cqe);
	}
	if (q->armed)
		kick(q->self_efd);
}

/*
 * The broker has let go of the ring: what it never took out of it is as good as not sent.
 * Entries are taken in order, so these are the latest.
 */
static void queue_take_back(struct amux_queue *q)
{
	uint32_t head = amux_load_acquire(&q->ring.hdr->sq_head);
	uint32_t left = q->ring.sq_tail - head, i = q->newest;

	if (q->broken || left > q->ring.sq_entries)
		return; /* it lies, and may still be at it */
	while (left && i != AMUX_SLOT_NONE) {
		struct amux_slot *slot = &q->slots[i];

		if (slot->sent) {
			slot->sent = false;
			q->unsent = i;
			q->ready++;
			q->sent--;
			left--;
		}
		i = slot->prev;
	}
}

/*
 * Nobody writes the rings any more and everything published was collected: what the broker
 * still had is lost.  Whether it was copied, half or not at all, nobody knows.
 */
static void queue_bury(struct amux_queue *q)
{
	queue_take_back(q);
	while (q->oldest != AMUX_SLOT_NONE && q->slots[q->oldest].sent) {
		struct amux_cqe cqe = {
			.user_data = q->slots[q->oldest].sqe.user_data,
			.status = -EIO,
		};

		slot_free(q, q->oldest);
		done_push(q, &cqe);
		STAT_ADD(q, lost_broker, 1);
		STAT_ADD(q, errors, 1);
	}
	q->sent = 0;
	q->dead = true;
	if (q->epfd >= 0) {
		/* They would stay readable for ever. */
		epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->a->pidfd, NULL);
		epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->a->sock, NULL);
		epoll_ctl(q->epfd, EPOLL_CTL_DEL, q->cq_fd, NULL);
	}
	if (q->armed)
		kick(q->self_efd);
}

/* --------------------------------------------------------------- with a broker */

static void queue_push(struct amux_queue *q)
{
	uint32_t n = 0;

	while (q->ready) {
		struct amux_slot *slot = &q->slots[q->unsent];
		struct amux_sqe *sqe = amux_sq_next(&q->ring);

		if (!sqe)
			break; /* the broker has yet to give slots back: a later call goes on */
		if (slot->sqe.op == AMUX_OP_CANCEL)
			amux_cancel_name(q, q->unsent);
		amux_sq_put(sqe, &slot->sqe);
		sqe->user_data = amux_slot_name(q, q->unsent);
		slot->sent = true;
		q->unsent = slot->next;
		q->ready--;
		n++;
	}
	if (!n)
		return;
	q->sent += n;
	STAT_ADD(q, submitted, n);
	if (amux_sq_publish(&q->ring))
		kick(q->sq_efd);
}

/*
 * Copy the next CQE, each word once: the broker's memory is not trusted to stand still.  Field by
 * field: what is stored in pieces and loaded whole a moment later waits for the store buffer.
 */
static void cqe_read(struct amux_queue *q, struct amux_cqe *out)
{
	const volatile uint64_t *src = (const volatile uint64_t *)amux_cq_take(&q->ring);
	struct {
		int32_t status;
		uint16_t field, rsvd;
	} verdict;
	uint64_t word;

	out->user_data = src[0];
	word = src[1];
	memcpy(&verdict, &word, sizeof(verdict));
	out->status = verdict.status;
	out->field = verdict.field;
	out->result = src[2];
	out->bytes = src[3];
}

/*
 * Take one CQE.  Returns true with the application's answer in @cqe; false if it was
 * declined (it joins @todo) or fitted no request.
 */
static bool queue_take(struct amux_queue *q, struct amux_cqe *cqe)
{
	struct amux_slot *slot;
	uint32_t i;

	cqe_read(q, cqe);
	i = (uint32_t)cqe->user_data;
	if (i >= q->entries || !q->slots[i].sent || cqe->user_data != amux_slot_name(q, i)) {
		STAT_ADD(q, rejected, 1);
		return false;
	}
	slot = &q->slots[i];
	q->sent--;
	if (cqe->status == AMUX_STATUS_DECLINED) {
		q->todo[q->todo_tail++ & (q->entries - 1)] = (struct amux_todo){
			.sqe = slot->sqe,
			.name = cqe->user_data,
		};
		slot_free(q, i);
		return false;
	}
	if (cqe->status > 0 || cqe->status < -4095 || cqe->field >= AMUX_FIELD_COUNT) {
		cqe->status = -EPROTO;
		cqe->field = AMUX_FIELD_NONE;
	}
	cqe->rsvd = 0;
	cqe->user_data = slot->sqe.user_data;
	if (cqe->bytes > slot->sqe.len)
		cqe->bytes = slot->sqe.len;
	if (slot->sqe.op == AMUX_OP_CANCEL)
		amux_cancel_answered(q, slot, cqe);
	if (cqe->status == -ECANCELED) {
		STAT_ADD(q, withdrawn, 1);
	} else {
		STAT_ADD(q, engine_done, 1);
		STAT_ADD(q, engine_bytes, cqe->bytes);
		if (cqe->status)
			STAT_ADD(q, errors, 1);
	}
	slot_free(q, i);
	return true;
}

/*
 * Take every CQE there is, before any copying: the engine's answers do not wait behind the
 * CPU's work, and taking a DECLINED is what acknowledges it (abi.h).  The first @max answers go
 * to @out, the others to @done; returns how many went to @out.
 */
static unsigned int queue_reap(struct amux_queue *q, struct amux_cqe *out, unsigned int max)
{
	uint32_t n = amux_cq_ready(&q->ring);
	unsigned int got = 0;
	struct amux_cqe *cqe;

	if (!n)
		return 0;
	if (q->ring.cq_tail - q->ring.cq_head > q->ring.cq_entries) {
		q->broken = true;
		return 0;
	}
	amux_cq_prefetch(&q->ring, n < REAP_AHEAD ? n : REAP_AHEAD);
	for (; n; n--) {
		cqe = got < max ? &out[got] : &q->done[q->done_tail & (q->entries - 1)];
		if (!queue_take(q, cqe))
			continue;
		if (got < max)
			got++;
		else
			q->done_tail++;
	}
	amux_cq_release(&q->ring);
	return got;
}

/* Go on with what was declined, in order, by at most *@budget bytes of one request.  true: one
 * was finished. */
static bool queue_work(struct amux_queue *q, uint64_t *budget)
{
	struct amux_job *job = &q->job;
	struct amux_todo *todo;

	if (!q->working) {
		if (q->todo_head == q->todo_tail || !*budget)
			return false;
		todo = &q->todo[q->todo_head++ & (q->entries - 1)];
		amux_job_start(job, &todo->sqe);
		if (todo->withdrawn)
			amux_job_withdraw(job);
		q->job_name = todo->name;
		q->working = true;
	}
	*budget -= amux_job_step(q->a, job, *budget);
	if (!job->finished)
		return false;
	q->working = false;
	job_account(q, job);
	done_push(q, &job->cqe);

	/*
	 * The broker may hold back a fence, and everything after it, until it sees this.  The
	 * release pairs with its acquire of declined_done: the copy is visible first.  The
	 * barrier pairs with the one in amux_sq_sleep(): it sees the count or we its flag.
	 */
	amux_store_release(&q->ring.hdr->declined_done, ++q->declined_done);
	amux_full_barrier();
	if (amux_load_relaxed(&q->ring.hdr->sq_flags) & AMUX_RING_NEED_WAKEUP)
		kick(q->sq_efd);
	return true;
}

/* The broker is gone: collect what it left behind, then bury the rest. */
static void queue_settle(struct amux_queue *q)
{
	uint64_t budget = UINT64_MAX;

	/* Twice: the first ends at a tail that may have been read before the death. */
	queue_reap(q, NULL, 0);
	queue_reap(q, NULL, 0);
	while (queue_work(q, &budget))
		;
	queue_bury(q);
}

void amux_queue_flush(struct amux_queue *q)
{
	if (!q->dead && (q->broken || amux_is_dead(q->a)))
		queue_settle(q);
	if (q->dead)
		queue_execute(q);
	else
		queue_push(q);
}

/* --------------------------------------------------------------------- collecting */

/* Has this CPU something declined to go on with? */
static bool queue_working(const struct amux_queue *q)
{
	return q->working || q->todo_head != q->todo_tail;
}

/* Submitted and not collected. */
static uint32_t queue_pending(const struct amux_queue *q)
{
	return q->inflight - q->prepared;
}

/*
 * Collect up to @max answers, copying what was declined until there are @min of them: at least
 * one piece in every call, or a stream of engine answers could keep it waiting for ever, and
 * at most PEEK_BYTES.
 */
static unsigned int queue_collect(struct amux_queue *q, struct amux_cqe *cqes, unsigned int max,
				  unsigned int min)
{
	uint64_t budget = PEEK_BYTES;
	unsigned int n = 0;
	bool more = true;

	if (q->armed && !q->dead)
		amux_cq_wake(&q->ring);
	q->armed = false;
	amux_queue_flush(q);
	while (more) {
		while (n < max && q->done_head != q->done_tail)
			cqes[n++] = q->done[q->done_head++ & (q->entries - 1)];
		if (!q->dead) /* with @n below @max nothing older waits in @done */
			n += queue_reap(q, cqes + n, max - n);
		more = !q->dead && (n < min || budget == PEEK_BYTES) && queue_work(q, &budget);
	}
	q->inflight -= n;
	return n;
}

int amux_peek(struct amux_queue *q, struct amux_cqe *cqes, unsigned int max)
{
	int err = q ? amux_check(q->a) : -EINVAL;
	unsigned int n;
	uint64_t now;

	if (err)
		return err;
	if (!cqes || !max || max > INT32_MAX)
		return -EINVAL;
	n = queue_collect(q, cqes, max, 1);
	if (n || q->dead || queue_working(q) || !q->sent)
		return (int)n;
	if (++q->vain % PROBE_PEEKS)
		return 0;
	now = amux_now();
	if (now - q->probed_ns < PROBE_NS)
		return 0;
	q->probed_ns = now;
	return amux_probe_dead(q->a) ? (int)queue_collect(q, cqes, max, 1) : 0;
}

/* Look at the ring for a while.  Returns true as soon as there is something. */
static bool queue_spin(struct amux_queue *q, uint64_t deadline)
{
	uint64_t end;

	if (!q->a->may_spin || !q->spin_ns)
		return false;
	end = amux_now() + q->spin_ns;
	if (end > deadline || end < q->spin_ns)
		end = deadline;
	do {
		for (unsigned int i = 0; i < SPIN_PER_TIME; i++) {
			if (amux_cq_ready(&q->ring))
				return true;
			amux_cpu_relax();
		}
	} while (amux_now() < end);
	return false;
}

/* Sleep until the broker publishes, dies, hangs up, or @deadline.  0 or -errno. */
static int queue_sleep(struct amux_queue *q, uint64_t deadline)
{
	struct pollfd p[3] = {
		{ .fd = q->cq_fd, .events = POLLIN },
		{ .fd = q->a->pidfd, .events = POLLIN },
		{ .fd = q->a->sock, .events = POLLRDHUP },
	};
	struct timespec ts, *left = NULL;
	int n, err = 0;

	if (amux_cq_sleep(&q->ring))
		return 0;
	if (q->ready && deadline > amux_now() + SQ_FULL_NS)
		deadline = amux_now() + SQ_FULL_NS;
	if (deadline != UINT64_MAX) {
		uint64_t now = amux_now(), ns = now < deadline ? deadline - now : 0;

		ts.tv_sec = (time_t)(ns / AMUX_NSEC_PER_SEC);
		ts.tv_nsec = (long)(ns % AMUX_NSEC_PER_SEC);
		left = &ts;
	}
	n = ppoll(p, 3, left, NULL);
	if (n < 0 && errno != EINTR)
		err = -errno;
	amux_cq_wake(&q->ring);
	if (n > 0 && p[0].revents)
		amux_queue_drain(q);
	else if (n > 0)
		amux_set_dead(q->a);
	return err;
}

static int wait_deadline(const struct timespec *timeout, uint64_t *deadline)
{
	uint64_t now = amux_now(), ns;

	*deadline = UINT64_MAX;
	if (!timeout)
		return 0;
	if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
	    timeout->tv_nsec >= (long)AMUX_NSEC_PER_SEC)
		return -EINVAL;
	if ((uint64_t)timeout->tv_sec > (UINT64_MAX / 2 - now) / AMUX_NSEC_PER_SEC)
		return 0;
	ns = (uint64_t)timeout->tv_sec * AMUX_NSEC_PER_SEC + (uint64_t)timeout->tv_nsec;
	*deadline = now + ns;
	return 0;
}

int amux_wait(struct amux_queue *q, struct amux_cqe *cqes, unsigned int max, unsigned int min,
	      const struct timespec *timeout)
{
	int err = q ? amux_check(q->a) : -EINVAL;
	unsigned int got = 0, n;
	uint64_t deadline;

	if (err)
		return err;
	if (!cqes || !min || min > max || max > INT32_MAX)
		return -EINVAL;
	err = wait_deadline(timeout, &deadline);
	while (!err) {
		n = queue_collect(q, cqes + got, max - got, min - got);
		got += n;
		if (got >= min || !queue_pending(q))
			break;
		if (timeout && amux_now() >= deadline)
			break;
		if (n || queue_working(q) || q->dead || q->broken)
			continue;
		if (!queue_spin(q, deadline))
			err = queue_sleep(q, deadline);
	}
	if (got)
		return (int)got;
	if (err)
		return err;
	return queue_pending(q) ? -ETIME : -ENODATA;
}
