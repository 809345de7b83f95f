// SPDX-License-Identifier: MIT
/*
 * answer.c - collect answers: the broker's, the CPU's for what was declined, and -EIO for
 * what died with the broker.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cancel.h"
#include "handle.h"
#include "queue.h"

#define PEEK_BYTES    (1u << 20) /* copied at most by one amux_peek() */
#define PROBE_NS      1000000u	 /* amux_peek() asks for the broker this often ... */
#define PROBE_PEEKS   32	 /* ... and for the time every so many peeks in vain */
#define REAP_AHEAD    16 /* answers fetched at once: as many lines as a CPU can have on the way */
#define SPIN_PER_TIME 32	/* looks at the ring per look at the clock */
#define SQ_FULL_NS    1000000u	/* nobody wakes us for free SQ slots: look this often */
#define WATCH_NS      25000000u /* nor for a broker that stopped */

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

void amux_queue_kick(struct amux_queue *q)
{
	if (!q->armed || q->self_efd < 0)
		return;
	q->kicked = true;
	kick(q->self_efd);
}

void amux_queue_drain(struct amux_queue *q)
{
	uint64_t kicks[8];

	if (q->kicked && read(q->self_efd, kicks, sizeof(kicks)) > 0)
		q->kicked = false;
	if (q->timer_ns && amux_now() >= q->timer_ns &&
	    read(q->timer_fd, kicks, sizeof(kicks)) > 0)
		q->timer_ns = 0;
	if (!q->dead && read(q->cq_fd, kicks, sizeof(kicks)) == 0)
		amux_link_fail(q->a, q->link, false);
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
	if (job->cqe.status && !q->hidden)
		STAT_ADD(q, errors, 1);
}

/* ----------------------------------------------------------- without a broker */

void amux_slot_answer(struct amux_queue *q, uint32_t i, const struct amux_cqe *cqe)
{
	slot_free(q, i);
	done_push(q, cqe);
}

void amux_slot_execute(struct amux_queue *q, uint32_t i, bool redo)
{
	struct amux_job job;

	amux_job_start(&job, &q->slots[i].sqe);
	if (q->slots[i].sqe.op == AMUX_OP_CANCEL)
		amux_cancel_answer(&q->slots[i], &job.cqe);
	if (q->slots[i].withdrawn)
		amux_job_withdraw(&job);
	if (!redo && q->slots[i].sqe.flags & AMUX_SQE_ENGINE_ONLY && !job.cqe.status) {
		job.cqe.status = -ENODEV;
		job.cqe.bytes = 0;
		job.finished = true;
	}
	while (!job.finished)
		amux_job_step(q->a, &job, UINT64_MAX);
	if (redo)
		STAT_ADD(q, redone, 1);
	job_account(q, &job);
	amux_slot_answer(q, i, &job.cqe);
}

/* Do everything that was submitted, in order, on this CPU. */
static void queue_execute(struct amux_queue *q)
{
	if (!q->ready)
		return;
	amux_cancel_ready(q);
	while (q->ready) {
		uint32_t i = q->unsent;

		q->unsent = q->slots[i].next;
		q->ready--;
		amux_slot_execute(q, i, false);
	}
	amux_queue_kick(q);
}

/* --------------------------------------------------------------- with a broker */

void amux_queue_publish(struct amux_queue *q, uint32_t n)
{
	q->sent += n;
	STAT_ADD(q, submitted, n);
	if (amux_sq_publish(&q->ring))
		kick(q->sq_efd);
}

bool amux_slot_push(struct amux_queue *q, uint32_t i, const struct amux_sqe *from)
{
	struct amux_sqe *sqe = amux_sq_next(&q->ring);

	if (!sqe)
		return false;
	amux_sq_put(sqe, from);
	sqe->user_data = amux_slot_name(q, i);
	q->slots[i].sent = true;
	q->ready--;
	return true;
}

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
	if (n)
		amux_queue_publish(q, n);
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
	if (q->recalling && amux_recall_answered(q, cqe))
		return false;
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
	struct amux_cqe kept; /* @done may be full: of what comes then none is an answer */
	unsigned int got = 0;

	if (!n)
		return 0;
	if (q->ring.cq_tail - q->ring.cq_head > q->ring.cq_entries) {
		q->broken = true;
		return 0;
	}
	amux_cq_prefetch(&q->ring, n < REAP_AHEAD ? n : REAP_AHEAD);
	for (; n; n--) {
		if (got < max)
			got += queue_take(q, &out[got]);
		else if (queue_take(q, &kept))
			done_push(q, &kept);
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

/*
 * The broker hung up or died.  If that is the end, collect what it left behind and bury the
 * rest; if it may be dying still, nothing of it is touched until that is over.
 */
static void queue_settle(struct amux_queue *q)
{
	uint64_t budget = UINT64_MAX;

	if (!amux_queue_over(q))
		amux_link_probe(q->a, q->link);
	if (!amux_queue_over(q)) {
		if (!q->hushed)
			amux_queue_hush(q, false);
		q->careful = q->hushed = true;
		return;
	}
	/* Twice: the first ends at a tail that may have been read before the death. */
	queue_reap(q, NULL, 0);
	queue_reap(q, NULL, 0);
	while (queue_work(q, &budget))
		;
	amux_queue_bury(q);
}

void amux_queue_flush(struct amux_queue *q)
{
	if (q->dead)
		amux_queue_revive(q);
	else if (q->broken || !amux_link_up(q->link))
		queue_settle(q);
	if (q->dead)
		queue_execute(q);
	else if (q->careful || amux_load_relaxed(&q->a->regions.mapped))
		amux_queue_mind(q);
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
	if (n || q->dead || queue_working(q) || !(q->sent || q->careful))
		return (int)n;
	if (++q->vain % PROBE_PEEKS)
		return 0;
	now = amux_now();
	if (now - q->probed_ns < PROBE_NS)
		return 0;
	q->probed_ns = now;
	amux_link_probe(q->a, q->link);
	amux_queue_watch(q, now);
	return q->careful ? (int)queue_collect(q, cqes, max, 1) : 0;
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
	bool up = amux_link_up(q->link);
	struct pollfd p[3] = {
		{ .fd = up ? q->cq_fd : -1, .events = POLLIN },
		{ .fd = q->link->pidfd, .events = POLLIN },
		{ .fd = up ? q->link->sock : -1, .events = POLLRDHUP },
	};
	uint64_t now = amux_now(), ns = q->ready && !q->careful ? SQ_FULL_NS : WATCH_NS;
	struct timespec ts;
	int n, err = 0;

	if (amux_cq_sleep(&q->ring))
		return 0;
	if (deadline < now + ns)
		ns = now < deadline ? deadline - now : 0;
	ts.tv_sec = (time_t)(ns / AMUX_NSEC_PER_SEC);
	ts.tv_nsec = (long)(ns % AMUX_NSEC_PER_SEC);
	n = ppoll(p, 3, &ts, NULL);
	if (n < 0 && errno != EINTR)
		err = -errno;
	amux_cq_wake(&q->ring);
	if (n > 0 && p[0].revents)
		amux_queue_drain(q);
	else if (n > 0)
		amux_link_fail(q->a, q->link, p[1].revents != 0);
	else
		amux_queue_watch(q, now + ns);
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
