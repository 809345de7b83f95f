/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mux.h - the mux thread of one NUMA node: pulls the node's rings, schedules, drives the
 * node's devices, posts answers, plans each epoch, and writes the kernel class's grants.
 *
 *	loop:  mail -> devices -> reap -> publish -> pull -> issue -> plan (each epoch)
 *	       nothing for spin_ns -> idle grant, NEED_WAKEUP everywhere, recheck, sleep
 *
 * Owner: the broker.  Threads: mux_open/start/stop/close, mux_watch and mux_post by the control thread;
 * mux_ring by any thread; the rest of the struct is the mux thread's, its stats readable by
 * all (stats.h).
 */
#ifndef BROKER_MUX_H
#define BROKER_MUX_H

#include "config.h"
#include "grant.h"
#include "mailbox.h"
#include "plan.h"
#include "sched.h"
#include "session.h"

/* MAIL_POLICY */
struct policy_change {
	struct mail mail;
	const struct amux_policy_ops *ops;
	uint64_t values[AMUX_POLICY_PARAMS];
	void *state;		  /* ops->state_size zeroed bytes, the planner's afterwards */
	struct plugin_link *link; /* of a plug-in, else NULL; see plan_set() */
};

/* MAIL_POLICY_FAILED: see plan_fail() */
struct policy_failed {
	struct mail mail;
	const struct plugin_link *link;
	enum policy_failure failure;
	char name[32], what[PLUGIN_ERR_LEN];
};

/* MAIL_TENANT_SET */
struct tenant_change {
	struct mail mail;
	struct sched_tenant *tenant;
	uint32_t weight;
	uint64_t reserve_bps, limit_bps, fault_ns;
};

/* MAIL_ENGINES */
struct engines_change {
	struct mail mail;
	unsigned int device; /* index of the mux's */
	uint64_t drained;    /* a mask: see sched_drain() */
};

/* MAIL_TUNE */
struct mux_tuning {
	struct mail mail;
	uint64_t spin_ns, epoch_ns; /* scaled */
};

struct mux {
	int node;
	struct device *device[AMUX_POLICY_DEVS];
	unsigned int n_devices;
	struct mux_stats stats;
	struct planner planner;
	struct sched sched;
	struct queue_set queues;
	struct grant_link *kernel; /* NULL: no kernel class here */
	bool kernel_active;
	uint64_t kernel_quiet_ns;		/* last time it had something in flight */
	uint64_t kernel_arrived, kernel_served; /* at the last epoch */
	uint64_t kernel_wait_base[HIST_BUCKETS];
	unsigned int kernel_wait_age;

	struct mailbox inbox;
	struct mailbox *outbox; /* the control thread's */
	/* Posted when a policy was replaced; done is the control thread's to set before the
	 * start, and lets go of reverted_out (release, pairs with the acquire in mux_epoch()). */
	struct mail reverted;
	uint32_t reverted_out, reverts_told;
	struct list waiting; /* mails to be answered once something is quiet */
	int epoll_fd, wake_fd;
	uint32_t sleeping; /* under the full-barrier discipline of mux_ring() */
	uint64_t spin_ns, epoch_ns, time_scale;
	uint64_t last_epoch_ns, last_look_ns, last_beat_ns, quiet_since_ns, last_poll_ns;
	uint64_t
		drain_until_ns; /* 0: not draining; else when clients that hold it up are left */
	uint64_t hung_since_ns; /* draining, and lost engines hold all that is left; 0: no */
	bool force_epoch, stop, modelled;
	bool copies;	       /* an engine of the node is this thread */
	unsigned int answered; /* by mux_spin(), not counted as work yet */
	bool pulled;	       /* something, since the last epoch */
	bool told;	       /* every queue's header shows the state of rest */
	bool hung;	       /* it was left unanswered; set before the answer to MAIL_DRAIN */
	uint32_t turn;	       /* of mux_pull() */
	pthread_t thread;
	bool started;
	struct amux_view view;	  /* scratch for plan_epoch() */
	struct amux_plan granted; /* scratch for kernel_plan() */
};

/* @dev: @n opened devices of @node; @kernel may be NULL.  Copies what it needs of @cfg. */
int mux_open(struct mux *m, int node, struct device *const *dev, unsigned int n,
	     const struct config *cfg, struct grant_link *kernel, struct mailbox *outbox);
int mux_start(struct mux *m);
/* Stop and join the thread; every session must have been removed. */
void mux_stop(struct mux *m);
void mux_close(struct mux *m);

static inline void mux_post(struct mux *m, struct mail *mail)
{
	mailbox_post(&m->inbox, mail);
}

/*
 * Before MAIL_QUEUE_ADD of @q, which no client has yet: let it be woken by the queue's eventfd.
 * 0 or -errno: the kernel watches no more of them.  Undone by closing the eventfd.
 */
int mux_watch(struct mux *m, struct queue *q);

/* "Look again": wakes the thread if it sleeps.  @arg is the struct mux. */
void mux_ring(void *arg);

#endif /* BROKER_MUX_H */
