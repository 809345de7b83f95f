/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * conn.h - one client's socket: the messages of client/abi.h, and the life of its session.
 *
 *	  HELLO ──WELCOME──> READY ──┬─ hang-up, death, ABI broken, evicted ──> CLOSING ──> freed
 *	    └─ bad HELLO, 5 s ───────┘      (MAIL_SESSION_REMOVE, handles)
 *
 * In READY its socket is left alone for a while when its tenant asks for more than its
 * max_tenant_requests: what it has sent waits, and so does whoever waits for the answer.
 *
 * In CLOSING the session is the mux thread's until nothing of it is in flight; only then are
 * its regions unmapped and its queues freed.
 *
 * Owner: the server's list.  Thread: the control thread.
 */
#ifndef BROKER_CONN_H
#define BROKER_CONN_H

#include <uv.h>

#include "closer.h"
#include "gate.h"
#include "mux.h"
#include "tenant.h"

#define CONN_HELLO_MS 5000 /* a client that does not say HELLO within this is cut off */
#define CONN_OPS_MAX  64   /* requests of one client waiting for the mux thread */

/* What a connection needs of the broker. */
struct conn_host {
	const struct config *cfg;
	struct list tenants;
	struct mux *mux; /* array, by node index */
	unsigned int n_mux;
	uint64_t rejected;		/* messages and connections refused */
	struct refusal_counts refusals; /* the same by reason, and who was cut off */
	struct gate gate;
	struct closer *closer;
	int pidfd; /* the broker's own, passed to clients */
	struct list conns;
	unsigned int n_conns;
	bool stopping;
	void (*closed)(struct conn_host *host); /* a connection was freed */
};

/* A region as the connection knows it: struct region is the mux thread's meanwhile. */
struct conn_region {
	struct region *region; /* NULL: the slot is free */
	uint32_t id;	       /* 0: being removed */
};

enum conn_state { CONN_HELLO, CONN_READY, CONN_CLOSING };

struct conn {
	struct list link; /* host->conns */
	struct conn_host *host;
	enum conn_state state;
	struct session session;
	uv_poll_t sock, death; /* the socket; the client's pidfd */
	uv_timer_t timer;      /* HELLO: its deadline; READY: when its socket is read again */
	int fd, pidfd;
	unsigned int handles; /* uv handles still open */
	bool removed;	      /* the mux has let go of the session */
	bool silent;	      /* counted by the gate */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	char name[AMUX_NAME_LEN];
	struct tenant *tenant;
	struct mux *mux;
	unsigned int node_index;
	struct conn_region *regions; /* by slot, cfg->max_regions of them */
	uint32_t max_regions, n_regions, n_queues;
	uint32_t region_serial, queue_serial;
	struct list queues; /* struct conn_queue */
	unsigned int ops;
	struct mail remove;
};

/* Serve @fd, just accepted.  Takes the fd whatever happens. */
void conn_open(struct conn_host *host, uv_loop_t *loop, int fd);

/* End a connection; @why (may be NULL) is logged, unless there is too much of that.  Idempotent. */
void conn_close(struct conn *c, const char *why);

/* The same for what its client did, which is counted. */
void conn_cut(struct conn *c, enum cutoff cut, const char *why);

/* Count a refusal for whom it concerns; @t may be NULL. */
void host_refused(struct conn_host *host, struct tenant *t, enum refusal reason);

#endif /* BROKER_CONN_H */
