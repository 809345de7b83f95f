// SPDX-License-Identifier: GPL-2.0-only
/*
 * session.c - a queue at work: SQEs are pulled, judged and sent on their way, answers are posted.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "session.h"

/* Below this an offloaded synchronous copy loses to the caller's CPU, by what is published of DSA. */
#define MIN_OFFLOAD_BYTES (16 * 1024)

/* ----------------------------------------------------------------------- post */

static void queue_dirty(struct queue *q)
{
	if (list_empty(&q->dirty))
		list_add_tail(&q->set->dirty, &q->dirty);
}

static void queue_post(struct queue *q, const struct amux_cqe *cqe)
{
	q->flow.tenant->tally.ledger_out += tally_mix(cqe->user_data);
	sched_tallied(q->set->sched, q->flow.tenant);
	amux_cq_put(&q->ring, cqe);
	queue_dirty(q);
}

static void queue_decline(struct queue *q, uint64_t user_data, uint64_t len,
			  enum decline_reason why)
{
	struct amux_cqe cqe = { .user_data = user_data, .status = AMUX_STATUS_DECLINED };
	struct sched_tenant *t = q->flow.tenant;

	q->declined_len[q->declined_total & q->ring.cq_mask] = len;
	q->declined_total++;
	q->cpu_backlog += len;
	stat_add(&t->stats.declined[why], 1);
	stat_add(&t->stats.declined_bytes, len);
	stat_add(&q->set->sched->users.declined[why], 1);
	stat_add(&q->set->sched->users.declined_bytes, len);
	queue_post(q, &cqe);
	if (!q->declining) {
		q->declining = true;
		q->declined_mark = q->ring.cq_tail;
	}
}

static void queue_fail(struct queue *q, uint64_t user_data, int error, uint16_t field)
{
	struct amux_cqe cqe = { .user_data = user_data, .status = error, .field = field };

	stat_add(&q->flow.tenant->stats.failed, 1);
	stat_add(&q->set->sched->users.failed, 1);
	queue_post(q, &cqe);
}

/* A request was taken in. */
static void queue_count(struct queue *q, uint64_t user_data)
{
	struct sched_tenant *t = q->flow.tenant;

	t->tally.requests++;
	t->tally.ledger_in += tally_mix(user_data);
	sched_tallied(q->set->sched, t);
}

/* One that never came as far as the scheduler was withdrawn. */
static void queue_withdrawn(struct queue *q, uint64_t user_data)
{
	struct amux_cqe cqe = { .user_data = user_data, .status = -ECANCELED };

	queue_count(q, user_data);
	stat_add(&q->flow.tenant->stats.withdrawn, 1);
	stat_add(&q->set->sched->users.withdrawn, 1);
	queue_post(q, &cqe);
}

/* The client took it back while we were stopped: it has been done, or will be, elsewhere. */
static void queue_recalled(struct queue *q, uint64_t user_data)
{
	struct amux_cqe cqe = { .user_data = user_data, .status = AMUX_STATUS_RECALLED };

	q->flow.tenant->tally.ledger_in += tally_mix(user_data);
	queue_post(q, &cqe);
}

/*
 * Predictions against which the actual time is held (docs/metrics.md, slowdown).  They include
 * what the client itself had queued before: what remains is what others cost it.
 */
static void queue_account(struct queue *q, const struct request *r, uint64_t now)
{
	struct sched *s = q->set->sched;
	struct sched_tenant *t = q->flow.tenant;
	uint64_t bytes = r->ahead + r->len;

	if (r->status) {
		bool withdrawn = r->status == -ECANCELED;

		stat_add(withdrawn ? &t->stats.withdrawn : &t->stats.failed, 1);
		stat_add(withdrawn ? &s->users.withdrawn : &s->users.failed, 1);
		return;
	}
	t->tally.completed++;
	t->tally.actual_ns += now - r->arrived_ns;
	t->tally.alone_ns +=
		s->device[0].dev->desc_ns + (uint64_t)((double)bytes * s->alone_ns_byte);
	t->tally.cpu_ns += (uint64_t)((double)bytes * s->cpu_ns_byte);
	tally_run_add(&t->tally.service, r->issued_ns ? now - r->issued_ns : 0, 1,
		      &t->stats.service, &s->users.service);
}

void queue_complete(struct flow *f, struct request *r, uint64_t now)
{
	struct queue *q = container_of(f, struct queue, flow);

	for (unsigned int i = 0; i < 3; i++)
		if (r->region[i])
			r->region[i]->refs--;
	q->free[q->n_free++] = (uint32_t)(r - q->reqs);
	if (r->status == AMUX_STATUS_DECLINED) {
		queue_decline(q, r->user_data, r->len, DECLINE_POLICY);
		return;
	}
	queue_account(q, r, now);
	{
		struct amux_cqe cqe;

		request_answer(r, &cqe);
		queue_post(q, &cqe);
	}
}

void queues_flush(struct queue_set *set)
{
	sched_settle(set->sched);
	if (list_empty(&set->dirty))
		return;
	/* Copies come before the answers that announce them: engines see to that themselves, with
	 * their record or before it (soft_exec.c). */
	while (!list_empty(&set->dirty)) {
		struct queue *q = container_of(set->dirty.next, struct queue, dirty);

		list_del(&q->dirty);
		if (amux_cq_publish(&q->ring)) {
			uint64_t one = 1;
			ssize_t n =
				send(q->cq_fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);

			(void)n; /* a full socket is readable already, a closed one nobody's */
		}
	}
}

/* ----------------------------------------------------------------------- pull */

/* How far the client has finished what was declined; a nonsense count is no progress. */
static void queue_read_declined(struct queue *q)
{
	/* Pairs with the client's release after its CPU copy. */
	uint32_t done = amux_load_acquire(&q->ring.hdr->declined_done);

	if (done - q->declined_seen > q->declined_total - q->declined_seen)
		return;
	while (q->declined_seen != done)
		q->cpu_backlog -= q->declined_len[q->declined_seen++ & q->ring.cq_mask];
}

/*
 * A NOOP with nothing wrong, for which an engine is not asked: the most frequent question of those
 * who measure, so it is answered in a few instructions.
 */
static bool sqe_is_plain_noop(const struct amux_sqe *sqe)
{
	uint64_t w[sizeof(*sqe) / 8];

	memcpy(w, sqe, sizeof(w));
	AMUX_STATIC_ASSERT(AMUX_OP_NOOP == 0 && offsetof(struct amux_sqe, flags) == 2 &&
				   offsetof(struct amux_sqe, user_data) == 8,
			   "as tested here");
	w[0] &= ~((uint64_t)(AMUX_SQE_FENCE | AMUX_SQE_CACHE) << 16);
	return !(w[0] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]);
}

/* May a NOOP have its answer at once? */
static bool queue_may_pass(const struct queue *q, bool engine)
{
	const struct sched *s = q->set->sched;

	return engine && !q->declining && !s->cpu_only &&
	       s->plan->decline[AMUX_CLASS_USER] != AMUX_DECLINE_ALWAYS &&
	       sched_may_pass(s, q->flow.tenant);
}

/* Answer it; returns the hash of its id. */
static uint64_t queue_put_noop(struct queue *q, const struct amux_sqe *sqe)
{
	amux_cq_put(&q->ring, &(struct amux_cqe){ .user_data = sqe->user_data });
	queue_dirty(q);
	return tally_mix(sqe->user_data);
}

/* @n of them were answered; @ledger: the sum of their ids' hashes. */
static void queue_passed(struct queue *q, uint32_t n, uint64_t ledger)
{
	struct sched *s = q->set->sched;
	struct tally *t = &q->flow.tenant->tally;

	t->requests += n;
	t->ledger_in += ledger;
	t->ledger_out += ledger;
	sched_passed(s, q->flow.tenant, n, (uint64_t)n * s->device[0].min_cost, 0);
}

/* On to the scheduler with @r, the first of the free ones. */
static void queue_enqueue(struct queue *q, struct request *r, uint64_t now)
{
	q->set->spot.open = false; /* it may have to wait for its turn */
	q->n_free--;
	for (unsigned int i = 0; i < 3; i++)
		if (r->region[i])
			r->region[i]->refs++;
	r->arrived_ns = now;
	r->ahead = q->flow.unanswered_bytes;
	sched_enqueue(q->set->sched, &q->flow, r);
}

static void queue_regions(const struct queue *q, const struct amux_sqe *sqe,
			  struct region *region[3])
{
	unsigned int uses = op_regions(sqe->op);

	for (unsigned int i = 0; i < 3; i++)
		region[i] =
			uses & (1u << i) ? session_region(q->session, sqe->region[i]) : NULL;
}

/* Do and answer what was left for the end of the piece. */
static void queue_spot(struct queue *q, uint64_t now)
{
	struct spot *sp = &q->set->spot;
	uint32_t n = sp->n, done;

	if (!n)
		return;
	done = spot_run(sp, q->set->sched, q->flow.tenant, now);
	sp->n = 0;
	for (uint32_t i = 0; i < done; i++) {
		const struct amux_cqe cqe = { .user_data = sp->sqe[i].user_data,
					      .bytes = sp->sqe[i].len };

		queue_post(q, &cqe);
	}
	for (uint32_t i = done; i < n; i++) {
		struct request *r = &q->reqs[q->free[q->n_free - 1]];
		struct region *region[3];
		uint16_t field;

		queue_regions(q, &sp->sqe[i], region);
		request_init(r, &sp->sqe[i], region, &field); /* as it was a moment ago */
		queue_enqueue(q, r, now);
	}
}

/*
 * Judge @sqe and send it on its way.  @ahead: SQEs already waiting behind it, which would all
 * be declined with it; they are taken to be as long as this one.
 */
static void queue_admit(struct queue *q, const struct amux_sqe *sqe, uint32_t ahead,
			bool engine, uint64_t now)
{
	struct sched *s = q->set->sched;
	struct sched_tenant *t = q->flow.tenant;
	struct region *region[3];
	struct request *own = &q->reqs[q->free[q->n_free - 1]];
	struct request *r = q->set->spot.open ? &q->set->spot.req : own;
	uint16_t field;
	bool cached;
	int ret;

	queue_count(q, sqe->user_data);
	queue_regions(q, sqe, region);
	ret = request_init(r, sqe, region, &field);
	cached = q->set->by_cpu && region[1] && !ret &&
		 !footprint_add(&q->written, (uintptr_t)r->addr[1], r->len);
	if (ret) {
		queue_fail(q, sqe->user_data, ret, field);
		return;
	}
	if ((sqe->flags & AMUX_SQE_ENGINE_ONLY) && !engine) {
		queue_fail(q, sqe->user_data, -ENODEV, AMUX_FIELD_FLAGS);
		return;
	}
	ret = q->declining && !(sqe->flags & AMUX_SQE_ENGINE_ONLY)
		      ? DECLINE_ORDER
		      : sched_admit(s, t, sqe->flags, sqe->len,
				    q->cpu_backlog + sqe->len * ahead);
	if (ret >= 0) {
		queue_decline(q, sqe->user_data, sqe->len, (enum decline_reason)ret);
		return;
	}
	if (cached)
		r->flags |= AMUX_SQE_CACHE;
	if (r != own && spot_add(&q->set->spot, s, sqe))
		return;
	if (r != own) {
		*own = *r;
		list_init(&own->link);
		r = own;
	}
	queue_enqueue(q, r, now);
}

/*
 * How many SQEs may be taken: a CQ slot for each, so that an answer always has room, and a
 * place in declined_len[], should it be declined.  The client's line is looked at only if what is
 * known of it does not do for @want.
 */
static uint32_t queue_room(struct queue *q, uint32_t want)
{
	uint32_t taken =
		q->flow.unanswered + (q->held_tail - q->held_head) + q->withdrawal.active;
	uint32_t room = amux_cq_known(&q->ring), space;

	if (q->declining || room < taken + want)
		room = amux_cq_space(&q->ring);
	if (q->declining && (int32_t)(q->ring.cq_head - q->declined_mark) >= 0)
		q->declining = false; /* the client has taken the first of them: acknowledged */
	if (q->declined_seen != q->declined_total)
		queue_read_declined(q);
	space = q->ring.cq_entries - (q->declined_total - q->declined_seen);
	if (room > space)
		room = space;
	return room > taken ? room - taken : 0;
}

/* Something before a FENCE is still unanswered, unpublished or unfinished by the client. */
static bool queue_fenced(const struct queue *q)
{
	return q->flow.unanswered || !list_empty(&q->dirty) || q->set->spot.n ||
	       q->declined_seen != q->declined_total;
}

bool queue_has_work(struct queue *q)
{
	uint32_t room;

	if (queue_drained(q))
		return false;
	if (q->withdrawal.active)
		return true;
	room = queue_room(q, 1); /* and how far the client is with what was declined */
	if (q->held_head != q->held_tail && !queue_fenced(q))
		return true;
	return room && amux_sq_ready(&q->ring);
}

/* Admit what was held, as far as the next FENCE that must wait; returns how many. */
static unsigned int queue_release(struct queue *q, unsigned int budget, bool engine,
				  uint64_t now)
{
	unsigned int n = 0;

	while (n < budget && q->held_head != q->held_tail) {
		struct amux_sqe *sqe = &q->held[q->held_head & q->ring.cq_mask];

		if ((sqe->flags & AMUX_SQE_FENCE) && queue_fenced(q))
			break;
		q->held_head++;
		if (sqe->op == AMUX_OP_CANCEL) /* what it was has been withdrawn */
			queue_withdrawn(q, sqe->user_data);
		else
			queue_admit(q, sqe,
				    q->held_tail - q->held_head + q->ring.sq_tail -
					    q->ring.sq_head,
				    engine, now);
		n++;
	}
	return n;
}

/* Go on with a CANCEL, one unit of @budget for each few requests it looks at. */
static unsigned int queue_withdraw(struct queue *q, unsigned int budget, uint64_t now)
{
	unsigned int steps = withdraw_step(q, budget * WITHDRAW_STEPS, now);
	struct amux_cqe cqe = { .user_data = q->withdrawal.user_data };

	if (!q->withdrawal.active) {
		cqe.result = q->withdrawal.count;
		queue_count(q, cqe.user_data);
		stat_add(&q->flow.tenant->stats.completed, 1);
		stat_add(&q->set->sched->users.completed, 1);
		queue_post(q, &cqe);
	}
	return 1 + steps / WITHDRAW_STEPS;
}

/* Take a CANCEL in. */
static void queue_cancel(struct queue *q, const struct amux_sqe *sqe)
{
	uint16_t field;
	int ret = withdraw_begin(q, sqe, &field);

	if (!ret)
		return;
	queue_count(q, sqe->user_data);
	queue_fail(q, sqe->user_data, ret, field);
}

/* Claim what is there, at most @budget: one full barrier a batch (docs/abi.md, recalling). */
static void queue_claim(struct queue *q, uint32_t budget)
{
	int ready = amux_sq_ready(&q->ring);
	uint32_t n;

	if (ready >= 0 && (uint32_t)ready < budget) {
		/* The whole batch at once; the acquire is amux_sq_ready()'s. */
		q->ring.sq_tail = amux_load_acquire(&q->ring.hdr->sq_tail);
		ready = amux_sq_ready(&q->ring);
	}
	n = ready > 0 ? (uint32_t)ready : 0;
	if (n > budget)
		n = budget;
	if (q->draining && n > q->drain_left)
		n = q->drain_left;
	if (n <= q->claimed - q->ring.sq_head)
		return; /* behind a FENCE that was held */
	q->recall = amux_sq_claim(&q->ring, n);
	q->claimed = q->ring.sq_head + n;
}

unsigned int queue_pull_noops(struct queue *q, unsigned int budget)
{
	uint64_t ledger = 0;
	unsigned int n = 0;
	struct amux_sqe sqe;
	uint32_t room;

	if (queue_holds(q) || q->draining || q->stopped || amux_sq_ready(&q->ring) <= 0 ||
	    !queue_may_pass(q, sched_has_engine(q->set->sched)))
		return 0;
	room = queue_room(q, budget);
	if (budget > room)
		budget = room;
	queue_claim(q, budget);
	if (q->recall)
		return 0;
	while (n < budget && q->ring.sq_head != q->claimed) {
		amux_sq_take(&q->ring, &sqe);
		if ((sqe.flags & AMUX_SQE_FENCE) || !sqe_is_plain_noop(&sqe)) {
			amux_sq_untake(&q->ring);
			break;
		}
		ledger += queue_put_noop(q, &sqe);
		n++;
	}
	if (!n)
		return 0;
	queue_passed(q, n, ledger);
	amux_sq_release(&q->ring);
	return n;
}

int queue_pull(struct queue *q, unsigned int budget, uint64_t now)
{
	unsigned int spent = 0, held = 0;
	uint32_t room, soon = 0, passed = 0;
	uint64_t ledger = 0;
	bool engine, pass;
	int ready = 0;

	if (queue_drained(q))
		return 0;
	if (!queue_holds(q)) {
		ready = amux_sq_ready(&q->ring);
		if (ready <= 0)
			return ready;
		soon = (uint32_t)ready < budget ? (uint32_t)ready : budget;
	}
	room = queue_room(q, budget);
	if (soon > room)
		soon = room;
	amux_sq_prefetch(&q->ring, soon);
	amux_cq_prefetch_write(&q->ring, soon);
	queue_claim(q, budget < room ? budget : room);
	engine = sched_has_engine(q->set->sched);
	spot_begin(&q->set->spot, q->set->sched, q->flow.tenant);
	if (!q->withdrawal.active)
		spent = queue_release(q, budget, engine, now);
	pass = queue_may_pass(q, engine);
	while (spent < budget) {
		struct amux_sqe sqe;

		if (q->withdrawal.active) {
			spent += queue_withdraw(q, budget - spent, now);
			continue;
		}
		if (!room)
			break;
		ready = amux_sq_ready(&q->ring);
		if (ready <= 0 || q->ring.sq_head == q->claimed)
			break;
		if (q->draining) {
			if (!q->drain_left)
				break;
			q->drain_left--;
		}
		amux_sq_take(&q->ring, &sqe);
		room--;
		spent++;
		if (q->recall && amux_sq_recalled(&q->ring, q->recall)) {
			queue_recalled(q, sqe.user_data);
		} else if (sqe.op == AMUX_OP_CANCEL) {
			queue_cancel(q, &sqe);
		} else if (q->held_head != q->held_tail ||
			   ((sqe.flags & AMUX_SQE_FENCE) && queue_fenced(q))) {
			q->held[q->held_tail++ & q->ring.cq_mask] = sqe;
			held++;
		} else if (pass && sqe_is_plain_noop(&sqe)) {
			ledger += queue_put_noop(q, &sqe);
			passed++;
		} else {
			queue_admit(q, &sqe, q->ring.sq_tail - q->ring.sq_head, engine, now);
			pass &= q->set->spot.open;
		}
	}
	amux_sq_release(&q->ring); /* before any is begun: a client may go by it (abi.md) */
	queue_spot(q, now);
	if (passed)
		queue_passed(q, passed, ledger);
	return ready < 0 ? ready : (int)(spent - held);
}

void queue_publish_state(struct queue *q, uint64_t now)
{
	struct sched *s = q->set->sched;
	struct amux_ring_hdr *h = q->ring.hdr;
	struct sched_tenant *t = q->flow.tenant;
	bool engine = sched_has_engine(s) && !s->cpu_only;

	amux_store_relaxed(&h->state,
			   q->set->draining ? AMUX_BROKER_DRAINING : AMUX_BROKER_RUNNING);
	amux_store_relaxed(&h->heartbeat_ns, now);
	amux_store_relaxed(&h->est_wait_ns, engine ? sched_wait_ns(s, t) : UINT64_MAX);
	amux_store_relaxed(&h->engine_bps, engine ? sched_tenant_bps(s, t) : 0);
	amux_store_relaxed(&h->min_offload,
			   engine && s->plan->decline[AMUX_CLASS_USER] != AMUX_DECLINE_ALWAYS
				   ? (uint64_t)MIN_OFFLOAD_BYTES
				   : AMUX_OFFLOAD_NEVER);
}
