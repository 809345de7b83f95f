// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "session.h"

/* Below this an offloaded synchronous copy loses to the caller's CPU: dsa.md, crossover. */
#define MIN_OFFLOAD_BYTES (16 * 1024)

static void queue_complete(struct flow *f, struct request *r, uint64_t now);

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
	q->declined_len = calloc(cq_entries, sizeof(*q->declined_len));
	if (!q->reqs || !q->free || !q->declined_len)
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
	return q->stopped || (q->draining && !q->drain_left && !q->has_held);
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

/* splitmix64's finaliser: sums of it tell multisets of ids apart. */
static uint64_t ledger_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* ----------------------------------------------------------------------- post */

static void queue_post(struct queue *q, const struct amux_cqe *cqe)
{
	stat_add(&q->flow.tenant->stats.ledger_out, ledger_mix(cqe->user_data));
	amux_cq_put(&q->ring, cqe);
	if (list_empty(&q->dirty))
		list_add_tail(&q->set->dirty, &q->dirty);
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

/* The client took it back while we were stopped: it has been done, or will be, elsewhere. */
static void queue_recalled(struct queue *q, uint64_t user_data)
{
	struct amux_cqe cqe = { .user_data = user_data, .status = AMUX_STATUS_RECALLED };

	stat_add(&q->flow.tenant->stats.ledger_in, ledger_mix(user_data));
	queue_post(q, &cqe);
}

/*
 * Predictions against which the actual time is held (docs/metrics.md, slowdown).  They include
 * what the client itself had queued before: what remains is what others cost it.
 */
static void queue_account(struct queue *q, const struct request *r, uint64_t now)
{
	struct sched *s = q->set->sched;
	const struct device *dev = s->device[0].dev;
	struct flow_stats *st[2] = { &q->flow.tenant->stats, &s->users };
	uint64_t service = r->issued_ns ? now - r->issued_ns : 0;
	uint64_t alone = dev->desc_ns + bytes_to_ns(r->ahead + r->len, dev->rate_bps);
	uint64_t cpu = bytes_to_ns(r->ahead + r->len, s->cpu_bps);

	for (unsigned int i = 0; i < 2; i++) {
		stat_add(r->status ? &st[i]->failed : &st[i]->completed, 1);
		if (r->status)
			continue;
		hist_add(&st[i]->service, service);
		stat_add(&st[i]->actual_ns, now - r->arrived_ns);
		stat_add(&st[i]->alone_ns, alone);
		stat_add(&st[i]->cpu_ns, cpu);
	}
}

static void queue_complete(struct flow *f, struct request *r, uint64_t now)
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
	if (list_empty(&set->dirty))
		return;
	amux_nt_fence(); /* copies before the answers that announce them */
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
 * Judge @sqe and send it on its way.  @ahead: SQEs already waiting behind it, which would all
 * be declined with it; they are taken to be as long as this one.
 */
static void queue_admit(struct queue *q, const struct amux_sqe *sqe, uint32_t ahead,
			uint64_t now)
{
	struct sched *s = q->set->sched;
	struct sched_tenant *t = q->flow.tenant;
	unsigned int uses = op_regions(sqe->op);
	struct region *region[3] = { NULL, NULL, NULL };
	struct request *r = &q->reqs[q->free[q->n_free - 1]];
	uint16_t field;
	int ret;

	stat_add(&t->stats.requests, 1);
	stat_add(&s->users.requests, 1);
	stat_add(&t->stats.ledger_in, ledger_mix(sqe->user_data));
	for (unsigned int i = 0; i < 3; i++)
		if (uses & (1u << i))
			region[i] = session_region(q->session, sqe->region[i]);
	ret = request_init(r, sqe, region, &field);
	if (ret) {
		queue_fail(q, sqe->user_data, ret, field);
		return;
	}
	if ((sqe->flags & AMUX_SQE_ENGINE_ONLY) && !sched_has_engine(s)) {
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
	q->n_free--;
	for (unsigned int i = 0; i < 3; i++)
		if (r->region[i])
			r->region[i]->refs++;
	r->arrived_ns = now;
	r->ahead = q->flow.unanswered_bytes;
	sched_enqueue(s, &q->flow, r);
}

/*
 * How many SQEs may be taken: a CQ slot for each, so that an answer always has room, and a
 * place in declined_len[], should it be declined.
 */
static uint32_t queue_room(struct queue *q)
{
	uint32_t room = amux_cq_space(&q->ring), space;

	if (q->declining && (int32_t)(q->ring.cq_head - q->declined_mark) >= 0)
		q->declining = false; /* the client has taken the first of them: acknowledged */
	if (q->declined_seen != q->declined_total)
		queue_read_declined(q);
	space = q->ring.cq_entries - (q->declined_total - q->declined_seen);
	if (room > space)
		room = space;
	return room > q->flow.unanswered ? room - q->flow.unanswered : 0;
}

/* Something before a FENCE is still unanswered, unpublished or unfinished by the client. */
static bool queue_fenced(const struct queue *q)
{
	return q->flow.unanswered || !list_empty(&q->dirty) ||
	       q->declined_seen != q->declined_total;
}

bool queue_has_work(struct queue *q)
{
	if (queue_drained(q))
		return false;
	if (!q->has_held && !amux_sq_ready(&q->ring))
		return false;
	if (!queue_room(q))
		return false;
	return !q->has_held || !queue_fenced(q);
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

int queue_pull(struct queue *q, unsigned int budget, uint64_t now)
{
	unsigned int n = 0;
	uint32_t room;

	if (queue_drained(q))
		return 0;
	if (!q->has_held) {
		int ready = amux_sq_ready(&q->ring);

		if (ready <= 0)
			return ready;
	}
	room = queue_room(q);
	if (budget > room)
		budget = room;
	queue_claim(q, budget);
	while (n < budget) {
		struct amux_sqe sqe;

		if (q->has_held) {
			sqe = q->held;
		} else {
			int ready = amux_sq_ready(&q->ring);

			if (ready < 0)
				return ready;
			if (!ready || q->ring.sq_head == q->claimed)
				break;
			if (q->draining) {
				if (!q->drain_left)
					break;
				q->drain_left--;
			}
			amux_sq_take(&q->ring, &sqe);
			if (q->recall && amux_sq_recalled(&q->ring, q->recall)) {
				queue_recalled(q, sqe.user_data);
				n++;
				continue;
			}
		}
		q->has_held = (sqe.flags & AMUX_SQE_FENCE) && queue_fenced(q);
		if (q->has_held) {
			q->held = sqe;
			break;
		}
		queue_admit(q, &sqe, q->ring.sq_tail - q->ring.sq_head, now);
		n++;
	}
	amux_sq_release(&q->ring);
	return (int)n;
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
