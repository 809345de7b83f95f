// SPDX-License-Identifier: GPL-2.0-only
/*
 * conn.c - the life of a connection, and the messages that arrive on it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "conn.h"
#include "conn_answer.h"
#include "conn_op.h"
#include "nodes.h"

#define PACKET_FDS	 253	      /* of one packet, SCM_MAX_FD */
#define REQUEST_BURST_NS NSEC_PER_SEC /* of a tenant's requests */

static void sock_event(uv_poll_t *poll, int status, int events);
static void conn_resume(uv_timer_t *timer);

void host_refused(struct conn_host *host, struct tenant *t, enum refusal reason)
{
	host->rejected++;
	host->refusals.refused[reason]++;
	if (t)
		t->refusals.refused[reason]++;
}

/* --------------------------------------------------------------------- messages */

/* The first field that is not as the ABI wants it, in words; NULL if all is well. */
static const char *hello_judge(const struct amux_msg_hello *m, char *buf, size_t len)
{
	if (m->magic != AMUX_HELLO_MAGIC)
		snprintf(buf, len, "HELLO: magic = 0x%08x: expected 0x%08x", m->magic,
			 AMUX_HELLO_MAGIC);
	else if (m->version_min > AMUX_ABI_VERSION || m->version_max < AMUX_ABI_VERSION)
		snprintf(buf, len, "HELLO: version = %u to %u: this broker speaks %u",
			 m->version_min, m->version_max, AMUX_ABI_VERSION);
	else if (m->features)
		snprintf(buf, len, "HELLO: features = 0x%llx: expected 0, none are defined",
			 (unsigned long long)m->features);
	else if (m->rsvd)
		snprintf(buf, len, "HELLO: rsvd = %u: expected 0", m->rsvd);
	else if (!memchr(m->name, '\0', sizeof(m->name)))
		snprintf(buf, len, "HELLO: name: expected a NUL within %u bytes",
			 AMUX_NAME_LEN);
	else
		buf[0] = '\0';
	for (const char *p = m->name; !buf[0] && *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			snprintf(buf, len, "HELLO: name: byte 0x%02x: expected printable ASCII",
				 (unsigned char)*p);
	return buf[0] ? buf : NULL;
}

/* Who serves node @node: its own mux, else the nearest, the first of several. */
static unsigned int node_index(const struct conn_host *h, uint32_t node)
{
	unsigned int best = 0;

	for (unsigned int i = 0; i < h->n_mux && node <= INT_MAX; i++)
		if (node_distance((int)node, h->mux[i].node) <
		    node_distance((int)node, h->mux[best].node))
			best = i;
	return best;
}

/* It is no longer one of those that say nothing. */
static void conn_speaks(struct conn *c)
{
	if (c->silent)
		gate_spoken(&c->host->gate, c->uid);
	c->silent = false;
}

static void conn_hello(struct conn *c, const struct amux_msg_hello *m)
{
	struct conn_host *h = c->host;
	struct amux_msg_welcome w = { .hdr = { AMUX_MSG_WELCOME, sizeof(w), m->hdr.cookie } };
	struct peer peer = { c->pid, c->uid, c->gid, m->name };
	char text[AMUX_TEXT_LEN];
	const char *wrong = hello_judge(m, text, sizeof(text));

	if (wrong) {
		conn_error(c, m->hdr.cookie, -EPROTO, "%s", wrong);
		conn_cut(c, CUT_INVALID, NULL);
		return;
	}
	conn_speaks(c);
	c->tenant = tenant_get(&h->tenants, h->cfg, &peer);
	c->max_regions = h->cfg->max_regions;
	c->regions = calloc(c->max_regions, sizeof(*c->regions));
	if (!c->tenant || !c->regions) {
		conn_refuse(c, REFUSED_RESOURCES, m->hdr.cookie, -ENOMEM,
			    "the broker cannot take another tenant");
		c->tenant = NULL;
		conn_close(c, NULL);
		return;
	}
	if (c->tenant->connections >= c->tenant->caps.connections) {
		conn_refuse(c, REFUSED_TENANT_CONNECTIONS, m->hdr.cookie, -EAGAIN,
			    "tenant %s has %u connections: expected at most %u "
			    "(max_tenant_connections)",
			    c->tenant->name, c->tenant->connections,
			    c->tenant->caps.connections);
		c->tenant = NULL;
		conn_close(c, NULL);
		return;
	}
	memcpy(c->name, m->name, sizeof(c->name));
	c->node_index = node_index(h, m->node);
	c->mux = &h->mux[c->node_index];
	c->tenant->connections++;
	c->state = CONN_READY;
	uv_timer_stop(&c->timer);

	w.version = AMUX_ABI_VERSION;
	w.node = (uint32_t)c->mux->node;
	w.max_regions = c->max_regions;
	w.max_queues = h->cfg->max_queues;
	w.max_entries = h->cfg->max_entries;
	w.max_region_bytes = h->cfg->max_region_bytes;
	w.cpu_bps = c->mux->sched.model_cpu_bps;
	memcpy(w.tenant, c->tenant->name, sizeof(w.tenant));
	conn_send(c, &w, sizeof(w), &h->pidfd, 1);
}

/* Bytes that a message of @type must have; 0: not one a client may send. */
static uint32_t message_len(uint32_t type)
{
	switch (type) {
	case AMUX_MSG_HELLO:
		return sizeof(struct amux_msg_hello);
	case AMUX_MSG_REGISTER:
		return sizeof(struct amux_msg_register);
	case AMUX_MSG_UNREGISTER:
		return sizeof(struct amux_msg_unregister);
	case AMUX_MSG_QUEUE_CREATE:
		return sizeof(struct amux_msg_queue_create);
	case AMUX_MSG_QUEUE_DESTROY:
		return sizeof(struct amux_msg_queue_destroy);
	default:
		return 0;
	}
}

static void conn_message(struct conn *c, const void *msg, size_t got, const int *fds,
			 unsigned int n_fds)
{
	const struct amux_msg_hdr *hdr = msg;
	uint32_t want;

	if (got < sizeof(*hdr)) {
		conn_error(c, 0, -EPROTO, "message of %zu bytes: expected at least %zu", got,
			   sizeof(*hdr));
		conn_cut(c, CUT_INVALID, NULL);
		return;
	}
	want = message_len(hdr->type);
	if (!want || got != want || hdr->len != want ||
	    (c->state == CONN_HELLO) != (hdr->type == AMUX_MSG_HELLO)) {
		if (!want)
			conn_error(c, hdr->cookie, -EPROTO,
				   "type = %u: expected 1, 3, 5, 6 or 8", hdr->type);
		else if (got != want || hdr->len != want)
			conn_error(c, hdr->cookie, -EPROTO,
				   "type %u: len = %u in a packet of %zu bytes: expected %u",
				   hdr->type, hdr->len, got, want);
		else
			conn_error(c, hdr->cookie, -EPROTO, "type = %u: expected HELLO %s",
				   hdr->type, c->state == CONN_HELLO ? "first" : "only once");
		conn_cut(c, CUT_INVALID, NULL);
		return;
	}
	if (n_fds != (hdr->type == AMUX_MSG_REGISTER)) {
		conn_error(c, hdr->cookie, -EINVAL, "type %u: fds = %u: expected %s", hdr->type,
			   n_fds, hdr->type == AMUX_MSG_REGISTER ? "one memfd" : "none");
		return;
	}
	switch (hdr->type) {
	case AMUX_MSG_HELLO:
		conn_hello(c, msg);
		break;
	case AMUX_MSG_REGISTER:
		conn_register(c, msg, fds[0]);
		break;
	case AMUX_MSG_UNREGISTER:
		conn_unregister(c, msg);
		break;
	case AMUX_MSG_QUEUE_CREATE:
		conn_queue_create(c, msg);
		break;
	case AMUX_MSG_QUEUE_DESTROY:
		conn_queue_destroy(c, msg);
		break;
	default:
		break; /* message_len() let nothing else through */
	}
}

/* Read no more until the tenant's requests are paid for. */
static void conn_pause(struct conn *c, uint64_t ns)
{
	c->tenant->refusals.waits++;
	c->host->refusals.waits++;
	uv_poll_start(&c->sock, UV_DISCONNECT, sock_event);
	uv_timer_start(&c->timer, conn_resume, ns / 1000000 + 1, 0);
}

/* May one more request of its tenant be read? */
static bool conn_may_ask(struct conn *c)
{
	uint64_t now, each;

	if (c->state != CONN_READY || c->tenant->caps.requests == UINT64_MAX)
		return true;
	now = clock_ns();
	each = NSEC_PER_SEC / c->tenant->caps.requests;
	if (bucket_take(&c->tenant->requests, now, each, REQUEST_BURST_NS))
		return true;
	conn_pause(c, bucket_wait(&c->tenant->requests, now, REQUEST_BURST_NS));
	return false;
}

/*
 * One packet and its fds: room for all that a packet can have, since those that did not fit would
 * be dropped, and so closed, by this very thread.
 */
static void conn_receive(struct conn *c)
{
	union {
		struct amux_msg_hdr hdr;
		char bytes[AMUX_MSG_MAX];
	} msg;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(PACKET_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &msg, .iov_len = sizeof(msg) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	int fds[PACKET_FDS];
	unsigned int n_fds = 0;
	ssize_t got;

	if (!conn_may_ask(c))
		return;
	got = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c, NULL);
		return;
	}
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		size_t len;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		len = cm->cmsg_len - CMSG_LEN(0);
		for (size_t i = 0; i < len / sizeof(int) && n_fds < PACKET_FDS; i++)
			memcpy(&fds[n_fds++], CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
	}
	if (got == 0)
		conn_close(c, NULL);
	else if (n_fds > AMUX_MSG_FDS || (mh.msg_flags & MSG_CTRUNC))
		conn_cut(c, CUT_FDS, "sent more fds than the ABI knows");
	else if (mh.msg_flags & MSG_TRUNC)
		conn_cut(c, CUT_INVALID, "sent a longer message than the ABI knows");
	else
		conn_message(c, &msg, (size_t)got, fds, n_fds);
	if (n_fds)
		closer_fds(c->host->closer, fds, n_fds);
}

/* ------------------------------------------------------------------------- life */

static void conn_free(struct conn *c)
{
	struct conn_host *h = c->host;

	conn_drop(c);
	if (c->tenant)
		c->tenant->connections--;
	closer_fds(h->closer, &c->fd, 1); /* with what lies unread in it */
	if (c->pidfd >= 0)
		close(c->pidfd);
	list_del(&c->link);
	h->n_conns--;
	free(c);
	h->closed(h);
}

static void conn_try_free(struct conn *c)
{
	if (!c->handles && c->removed)
		conn_free(c);
}

static void handle_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	c->handles--;
	conn_try_free(c);
}

static void session_removed(struct mail *mail)
{
	struct conn *c = container_of(mail, struct conn, remove);

	c->removed = true;
	conn_try_free(c);
}

static void session_broken(struct mail *mail)
{
	struct conn *c = container_of(mail->session, struct conn, session);

	c->host->rejected++;
	conn_cut(c, c->session.cut, c->session.why);
}

static void conn_log(struct conn *c, const char *why)
{
	uint64_t unsaid;

	if (!gate_may_log(&c->host->gate, clock_ns(), &unsaid))
		return;
	if (unsaid)
		fprintf(stderr, "accelmuxd: %llu lines like the next were left out\n",
			(unsigned long long)unsaid);
	fprintf(stderr, "accelmuxd: client %s (pid %d, uid %u) cut off: %s\n",
		c->name[0] ? c->name : "?", (int)c->pid, (unsigned int)c->uid, why);
}

void conn_cut(struct conn *c, enum cutoff cut, const char *why)
{
	if (c->state == CONN_CLOSING)
		return;
	c->host->refusals.cut[cut]++;
	if (c->tenant)
		c->tenant->refusals.cut[cut]++;
	conn_close(c, why);
}

void conn_close(struct conn *c, const char *why)
{
	if (c->state == CONN_CLOSING)
		return;
	if (why)
		conn_log(c, why);
	conn_speaks(c);
	c->removed = c->state == CONN_HELLO; /* the mux never knew it */
	c->state = CONN_CLOSING;
	/*
	 * The socket itself stays open until nothing of the client is on an engine: a live one
	 * takes the hang-up as leave to reuse its buffers.
	 */
	uv_close((uv_handle_t *)&c->sock, handle_closed);
	uv_close((uv_handle_t *)&c->timer, handle_closed);
	if (c->pidfd >= 0)
		uv_close((uv_handle_t *)&c->death, handle_closed);
	if (c->removed)
		return;
	c->remove.type = MAIL_SESSION_REMOVE;
	c->remove.session = &c->session;
	c->remove.done = session_removed;
	mux_post(c->mux, &c->remove);
}

static void sock_event(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	if (status < 0)
		conn_close(c, NULL);
	else if (events & UV_READABLE)
		conn_receive(c);
	else if (events & UV_DISCONNECT)
		conn_close(c, NULL);
}

static void conn_resume(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	uv_poll_start(&c->sock, UV_READABLE | UV_DISCONNECT, sock_event);
}

static void death_event(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	conn_close(poll->data, NULL);
}

static void hello_late(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	c->host->rejected++;
	conn_cut(c, CUT_SILENT, "no HELLO within 5 s");
}

/* An answer to somebody who never becomes a connection. */
static void turn_away(struct conn_host *host, int fd, enum refusal reason, const char *why)
{
	struct amux_msg_error m = { .hdr = { AMUX_MSG_ERROR, sizeof(m), 0 }, .error = -EAGAIN };

	snprintf(m.text, sizeof(m.text), "%s", why);
	(void)send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	host_refused(host, NULL, reason);
	closer_fds(host->closer, &fd, 1);
}

void conn_open(struct conn_host *host, uv_loop_t *loop, int fd)
{
	const struct config *cfg = host->cfg;
	uint64_t each = cfg->connect_rate == UINT64_MAX ? 0 : NSEC_PER_SEC / cfg->connect_rate;
	char why[AMUX_TEXT_LEN];
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct conn *c;
	int reason;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		turn_away(host, fd, REFUSED_RESOURCES, "the broker cannot tell who you are");
		return;
	}
	if (host->n_conns >= cfg->max_connections || host->stopping) {
		snprintf(why, sizeof(why),
			 "%u clients are connected: expected at most %u (max_connections)",
			 host->n_conns, cfg->max_connections);
		turn_away(host, fd, REFUSED_CONNECTIONS, why);
		return;
	}
	reason = gate_admit(&host->gate, cred.uid, clock_ns(), each, why, sizeof(why));
	if (reason >= 0) {
		turn_away(host, fd, (enum refusal)reason, why);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c || uv_poll_init(loop, &c->sock, fd)) {
		free(c);
		gate_spoken(&host->gate, cred.uid);
		turn_away(host, fd, REFUSED_RESOURCES, "the broker is out of memory");
		return;
	}
	c->host = host;
	c->fd = fd;
	c->pid = cred.pid;
	c->uid = cred.uid;
	c->gid = cred.gid;
	c->silent = true;
	list_init(&c->queues);
	list_init(&c->session.queues);
	c->session.broken.done = session_broken;
	list_add_tail(&host->conns, &c->link);
	host->n_conns++;

	uv_timer_init(loop, &c->timer);
	c->handles = 2;
	c->sock.data = c->timer.data = c;
	uv_poll_start(&c->sock, UV_READABLE | UV_DISCONNECT, sock_event);
	uv_timer_start(&c->timer, hello_late, CONN_HELLO_MS, 0);
	/* A socket can outlive its client in a child or another process; a pidfd cannot. */
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd >= 0 && uv_poll_init(loop, &c->death, c->pidfd)) {
		close(c->pidfd);
		c->pidfd = -1;
	}
	if (c->pidfd >= 0) {
		c->handles = 3;
		c->death.data = c;
		uv_poll_start(&c->death, UV_READABLE, death_event);
	}
}
