// SPDX-License-Identifier: GPL-2.0-only
/*
 * conn_op.c - see conn_op.h.
 */
#include "conn_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn_answer.h"

/* A request that waits for the mux thread. */
struct conn_op {
	struct mail mail;
	struct conn *conn;
	uint64_t cookie;
	uint32_t
		region; /* REGION_ADD: its id; the region's own may be the mux thread's again */
	struct conn_queue *cq;
	int ring_fd; /* QUEUE_ADD: to be passed and closed */
};

/* A queue as the connection knows it, between MAIL_QUEUE_ADD and MAIL_QUEUE_REMOVE. */
struct conn_queue {
	struct list link;
	struct queue *queue;
	uint64_t bytes; /* of the broker's memory, charged to the tenant */
	bool removing;
	struct conn_op removal; /* made with the queue: to destroy one takes no memory */
};

/* ------------------------------------------------------------------- operations */

static void op_done(struct mail *mail);

static void op_init(struct conn_op *op, struct conn *c, enum mail_type type, uint64_t cookie)
{
	memset(op, 0, sizeof(*op));
	op->mail.type = type;
	op->mail.session = &c->session;
	op->mail.done = op_done;
	op->conn = c;
	op->cookie = cookie;
	op->ring_fd = -1;
}

static struct conn_op *op_new(struct conn *c, enum mail_type type, uint64_t cookie)
{
	struct conn_op *op;

	if (c->ops >= CONN_OPS_MAX) {
		conn_refuse(c, REFUSED_REQUESTS, cookie, -EAGAIN,
			    "%u requests are unanswered: expected at most %u", c->ops,
			    CONN_OPS_MAX);
		return NULL;
	}
	op = calloc(1, sizeof(*op));
	if (!op) {
		conn_refuse(c, REFUSED_RESOURCES, cookie, -ENOMEM,
			    "the broker is out of memory");
		return NULL;
	}
	op_init(op, c, type, cookie);
	return op;
}

static void op_post(struct conn_op *op)
{
	op->conn->ops++;
	mux_post(op->conn->mux, &op->mail);
}

static void region_drop(struct conn *c, struct region *r)
{
	for (uint32_t i = 0; i < c->max_regions; i++)
		if (c->regions[i].region == r)
			c->regions[i].region = NULL;
	c->n_regions--;
	c->tenant->regions--;
	c->tenant->region_bytes -= r->mapped;
	region_unmap(r, c->host->closer);
}

static void queue_drop(struct conn *c, struct conn_queue *cq)
{
	list_del(&cq->link);
	c->n_queues--;
	c->tenant->queues--;
	c->tenant->queue_bytes -= cq->bytes;
	queue_free(cq->queue);
	free(cq);
}

static void answer_region(struct conn *c, const struct conn_op *op, const struct region *r)
{
	struct amux_msg_registered m = {
		.hdr = { AMUX_MSG_REGISTERED, sizeof(m), op->cookie },
		.region = op->region,
		.flags = r->readonly ? AMUX_REGION_READONLY : 0,
	};

	conn_send(c, &m, sizeof(m), NULL, 0);
}

static void answer_queue(struct conn *c, uint64_t cookie, struct queue *q, int ring_fd)
{
	struct amux_msg_queue_created m = {
		.hdr = { AMUX_MSG_QUEUE_CREATED, sizeof(m), cookie },
		.queue = q->id,
		.ring_bytes = q->map_bytes,
	};
	int fds[3] = { ring_fd, q->sq_efd, q->cq_peer };

	conn_send(c, &m, sizeof(m), fds, 3);
	close(q->cq_peer);
	q->cq_peer = -1;
}

/* The mux thread has done it. */
static void op_done(struct mail *mail)
{
	struct conn_op *op = container_of(mail, struct conn_op, mail);
	struct conn *c = op->conn;
	uint64_t cookie;

	c->ops--;
	switch (mail->type) {
	case MAIL_REGION_ADD:
		answer_region(c, op, mail->arg);
		break;
	case MAIL_QUEUE_ADD:
		answer_queue(c, op->cookie, op->cq->queue, op->ring_fd);
		break;
	case MAIL_REGION_REMOVE:
		region_drop(c, mail->arg);
		conn_done(c, op->cookie);
		break;
	case MAIL_QUEUE_REMOVE:
		cookie = op->cookie;
		queue_drop(c, op->cq); /* and @op with it */
		conn_done(c, cookie);
		return;
	default:
		break;
	}
	if (op->ring_fd >= 0)
		close(op->ring_fd);
	free(op);
}

/* --------------------------------------------------------------------- requests */

void conn_register(struct conn *c, const struct amux_msg_register *m, int fd)
{
	const struct config *cfg = c->host->cfg;
	const struct config_caps *caps = &c->tenant->caps;
	char err[AMUX_TEXT_LEN] = "out of memory";
	struct conn_op *op;
	struct region *r;
	uint32_t slot;
	int ret;

	if (m->flags & ~AMUX_REGION_READONLY || m->rsvd) {
		conn_error(c, m->hdr.cookie, -EINVAL,
			   "REGISTER: flags = 0x%x, rsvd = %u: expected flags 0 or 1, rsvd 0",
			   m->flags, m->rsvd);
		return;
	}
	if (m->size > cfg->max_region_bytes) {
		conn_refuse(c, REFUSED_MEMORY, m->hdr.cookie, -EFBIG,
			    "REGISTER: size = %llu: expected at most %llu (max_region_size)",
			    (unsigned long long)m->size,
			    (unsigned long long)cfg->max_region_bytes);
		return;
	}
	if (m->size > caps->region_bytes ||
	    c->tenant->region_bytes > caps->region_bytes - m->size) {
		conn_refuse(
			c, REFUSED_MEMORY, m->hdr.cookie, -ENOSPC,
			"REGISTER: size = %llu: tenant %s has %llu of %llu (max_tenant_memory)",
			(unsigned long long)m->size, c->tenant->name,
			(unsigned long long)c->tenant->region_bytes,
			(unsigned long long)caps->region_bytes);
		return;
	}
	if (c->tenant->regions >= caps->regions) {
		conn_refuse(c, REFUSED_REGIONS, m->hdr.cookie, -ENOSPC,
			    "REGISTER: tenant %s has %u regions: expected at most %u "
			    "(max_tenant_regions)",
			    c->tenant->name, c->tenant->regions, caps->regions);
		return;
	}
	for (slot = 0; slot < c->max_regions && c->regions[slot].region; slot++)
		;
	if (slot == c->max_regions) {
		conn_refuse(c, REFUSED_REGIONS, m->hdr.cookie, -ENOSPC,
			    "REGISTER: %u regions are registered: expected at most that many "
			    "(max_regions)",
			    c->n_regions);
		return;
	}
	ret = region_map(&r, fd, m->size, m->flags & AMUX_REGION_READONLY, err, sizeof(err));
	if (ret) {
		conn_error(c, m->hdr.cookie, ret, "REGISTER: %s", err);
		return;
	}
	/* A region is the whole file: a sparse one of terabytes would eat up our address space.
	 */
	if (r->mapped > cfg->max_region_bytes ||
	    r->mapped > caps->region_bytes - c->tenant->region_bytes) {
		conn_refuse(c, REFUSED_MEMORY, m->hdr.cookie, -ENOSPC,
			    "REGISTER: the memfd has %llu bytes: expected at most %llu "
			    "(max_region_size) and %llu (max_tenant_memory)",
			    (unsigned long long)r->mapped,
			    (unsigned long long)cfg->max_region_bytes,
			    (unsigned long long)(caps->region_bytes - c->tenant->region_bytes));
		region_unmap(r, c->host->closer);
		return;
	}
	if (cfg->engine == CONFIG_DSA && cfg->dsa.prefault)
		region_prefault(r, fd);
	op = op_new(c, MAIL_REGION_ADD, m->hdr.cookie);
	if (!op) {
		region_unmap(r, c->host->closer);
		return;
	}
	/* a serial above the slot: a stale id never names a newer region */
	c->region_serial = (c->region_serial + 1) & 0xfffff;
	if (!c->region_serial)
		c->region_serial = 1;
	r->id = c->region_serial * SESSION_REGIONS_MAX + slot;
	c->regions[slot].region = r;
	c->regions[slot].id = r->id;
	c->n_regions++;
	c->tenant->regions++;
	c->tenant->region_bytes += r->mapped;
	op->region = r->id;
	op->mail.arg = r;
	op_post(op);
}

void conn_unregister(struct conn *c, const struct amux_msg_unregister *m)
{
	uint32_t slot = m->region % SESSION_REGIONS_MAX;
	struct conn_region *cr = slot < c->max_regions ? &c->regions[slot] : NULL;
	struct conn_op *op;

	if (!cr || !cr->region || !m->region || cr->id != m->region || m->rsvd) {
		conn_error(
			c, m->hdr.cookie, -EBADF,
			"UNREGISTER: region = %u, rsvd = %u: expected a registered region, 0",
			m->region, m->rsvd);
		return;
	}
	op = op_new(c, MAIL_REGION_REMOVE, m->hdr.cookie);
	if (!op)
		return;
	cr->id = 0;
	op->mail.arg = cr->region;
	op_post(op);
}

static bool entries_ok(uint32_t n, uint32_t min, uint32_t max)
{
	return n >= min && n <= max && !(n & (n - 1));
}

void conn_queue_create(struct conn *c, const struct amux_msg_queue_create *m)
{
	const struct config *cfg = c->host->cfg;
	struct tenant *t = c->tenant;
	struct conn_queue *cq;
	struct conn_op *op;
	uint64_t bytes;
	int ret, ring_fd;

	if (!entries_ok(m->sq_entries, 2, cfg->max_entries)) {
		conn_error(
			c, m->hdr.cookie, -EINVAL,
			"QUEUE_CREATE: sq_entries = %u: expected a power of two from 2 to %u",
			m->sq_entries, cfg->max_entries);
		return;
	}
	if (!entries_ok(m->cq_entries, m->sq_entries, 2 * cfg->max_entries)) {
		conn_error(
			c, m->hdr.cookie, -EINVAL,
			"QUEUE_CREATE: cq_entries = %u: expected a power of two from %u to %u",
			m->cq_entries, m->sq_entries, 2 * cfg->max_entries);
		return;
	}
	if (m->flags || m->rsvd) {
		conn_error(c, m->hdr.cookie, -EINVAL,
			   "QUEUE_CREATE: flags = 0x%x, rsvd = %u: expected 0, 0", m->flags,
			   m->rsvd);
		return;
	}
	if (c->n_queues >= cfg->max_queues) {
		conn_refuse(c, REFUSED_QUEUES, m->hdr.cookie, -ENOSPC,
			    "QUEUE_CREATE: %u queues are open: expected at most that many "
			    "(max_queues)",
			    c->n_queues);
		return;
	}
	if (t->queues >= t->caps.queues) {
		conn_refuse(c, REFUSED_QUEUES, m->hdr.cookie, -ENOSPC,
			    "QUEUE_CREATE: tenant %s has %u queues: expected at most %u "
			    "(max_tenant_queues)",
			    t->name, t->queues, t->caps.queues);
		return;
	}
	bytes = queue_bytes(m->sq_entries, m->cq_entries);
	if (bytes > t->caps.queue_bytes || t->queue_bytes > t->caps.queue_bytes - bytes) {
		conn_refuse(c, REFUSED_QUEUE_MEMORY, m->hdr.cookie, -ENOSPC,
			    "QUEUE_CREATE: sq_entries = %u, cq_entries = %u take %llu bytes: "
			    "tenant %s has %llu of %llu (max_tenant_queue_memory)",
			    m->sq_entries, m->cq_entries, (unsigned long long)bytes, t->name,
			    (unsigned long long)t->queue_bytes,
			    (unsigned long long)t->caps.queue_bytes);
		return;
	}
	cq = calloc(1, sizeof(*cq));
	if (!cq) {
		conn_refuse(c, REFUSED_RESOURCES, m->hdr.cookie, -ENOMEM,
			    "the broker is out of memory");
		return;
	}
	ret = queue_create(&cq->queue, ++c->queue_serial, m->sq_entries, m->cq_entries,
			   &ring_fd);
	if (!ret) {
		ret = mux_watch(c->mux, cq->queue);
		if (ret) {
			close(ring_fd);
			queue_free(cq->queue);
		}
	}
	if (ret) {
		conn_refuse(c, REFUSED_RESOURCES, m->hdr.cookie, ret,
			    "QUEUE_CREATE: sq_entries = %u: %s", m->sq_entries, strerror(-ret));
		free(cq);
		return;
	}
	op = op_new(c, MAIL_QUEUE_ADD, m->hdr.cookie);
	if (!op) {
		close(ring_fd);
		queue_free(cq->queue);
		free(cq);
		return;
	}
	cq->queue->flow.tenant = &t->node[c->node_index];
	list_add_tail(&c->queues, &cq->link);
	c->n_queues++;
	cq->bytes = bytes;
	t->queues++;
	t->queue_bytes += bytes;
	op->cq = cq;
	op->ring_fd = ring_fd;
	op->mail.arg = cq->queue;
	op_post(op);
}

void conn_queue_destroy(struct conn *c, const struct amux_msg_queue_destroy *m)
{
	struct conn_queue *cq = NULL;
	struct conn_op *op;
	struct list *pos;

	list_for_each(pos, &c->queues) {
		cq = container_of(pos, struct conn_queue, link);
		if (cq->queue->id == m->queue && !cq->removing)
			break;
		cq = NULL;
	}
	if (!cq || m->rsvd) {
		conn_error(c, m->hdr.cookie, -EBADF,
			   "QUEUE_DESTROY: queue = %u, rsvd = %u: expected an open queue, 0",
			   m->queue, m->rsvd);
		return;
	}
	op = &cq->removal;
	op_init(op, c, MAIL_QUEUE_REMOVE, m->hdr.cookie);
	cq->removing = true;
	op->cq = cq;
	op->mail.arg = cq->queue;
	op_post(op);
}

void conn_drop(struct conn *c)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &c->queues)
		queue_drop(c, container_of(pos, struct conn_queue, link));
	for (uint32_t i = 0; c->regions && i < c->max_regions; i++)
		if (c->regions[i].region)
			region_drop(c, c->regions[i].region);
	free(c->regions);
}
