/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sched.h - fast issue: choose which tenant's next chunk goes to which engine, under the plan
 * in force.  It knows requests and devices, not rings or sockets.
 *
 *	sched_enqueue(flow, request)         by the session, after sched_admit() let it in
 *	sched_issue(now)                     cuts chunks and submits them, until caps are full
 *	sched_reap(now)                      completions -> flow->complete(request)
 *
 * Order of choice: a tenant behind its reserve first (earliest tag), else deficit round-robin
 * over the tenants that have something to issue, round-robin among a tenant's flows (so more
 * queues gain nothing), a flow's requests in order.  A tenant beyond its limit is skipped.
 * Cost of a chunk: max(bytes, what an engine moves in desc_ns): tenants share *bytes*, yet a
 * flood of tiny descriptors is charged for the time it takes.  Where an engine is a CPU and tells
 * how long descriptors took (soft_exec.h: while there are many page faults), a tenant whose bytes
 * take longer than they should is charged for that time, in its turn and in flight.
 *
 * Owner: a mux.  Thread: the mux thread alone, except struct flow_stats (see stats.h).
 */
#ifndef BROKER_SCHED_H
#define BROKER_SCHED_H

#include "../policies/policy.h"
#include "engine.h"
#include "list.h"
#include "request.h"
#include "stats.h"
#include "tally.h"

#define SCHED_SLOW_ONE 256u
#define SCHED_SLOW_MAX (64 * SCHED_SLOW_ONE)

/* One tenant as this node's scheduler sees it. */
struct sched_tenant {
	struct list link;  /* sched->active while any flow is on @flows */
	struct list flows; /* those with something to issue, round-robin */
	uint32_t id;
	uint32_t weight;
	uint64_t reserve_bps;	    /* 0: none */
	uint64_t limit_bps;	    /* AMUX_BPS_MAX: none */
	int64_t deficit;	    /* bytes it may still issue in this round */
	uint32_t pull_turn, pulled; /* SQEs in this turn of mux_pull(), which keeps them */
	uint32_t slow; /* of SCHED_SLOW_ONE: what its bytes cost, where that is measured */
	uint64_t reserve_tag;  /* ns: at or before now: behind its reserve */
	uint64_t limit_tag;    /* ns: after now: over its limit */
	uint64_t queued_bytes; /* enqueued, not issued */
	uint64_t inflight_bytes;
	uint64_t epoch_bytes; /* engine_bytes at the last epoch */
	/* see sched_tenant_fault() */
	uint64_t fault_ns;    /* what a fault costs, 0: nothing */
	uint64_t fault_tag;   /* ns: its faults are paid for until then */
	uint64_t fault_since; /* ns: over its rate since then, 0: it is not */
	struct flow_stats stats;
	struct tally tally; /* what @stats do not show yet */
};

/* One queue as the scheduler sees it: a sequence of requests of one tenant. */
struct flow {
	struct list link;    /* tenant->flows while @pending is not empty */
	struct list pending; /* requests with something to issue, in order */
	struct sched_tenant *tenant;
	uint32_t unanswered; /* requests enqueued and not completed */
	uint64_t unanswered_bytes;
	bool cancelled; /* sequential requests stop at their next chunk */
	/* Called once for every request enqueued; the request is the flow's again. */
	void (*complete)(struct flow *flow, struct request *req, uint64_t now);
};

struct sched_engine {
	struct list inflight;			  /* chunks, in order of submission */
	uint64_t inflight_bytes, inflight_chunks; /* shown by the control thread */
	uint64_t losses; /* times that it was lost, see enum engine_health */
	uint64_t redone; /* chunks that a CPU did because of that */
	uint64_t failed; /* chunks that failed because of that */
};

struct sched_device {
	struct device *dev;
	struct sched_engine engine[ENGINE_MAX];
	uint32_t min_cost; /* of a chunk: what an engine moves in desc_ns, bytes */
	uint64_t drained;  /* engines that an operator took out of use, a mask; shown, too */
	uint64_t inflight_bytes;
	uint64_t user_bps; /* what the user class may use now; AMUX_BPS_MAX: unpaced */
	uint64_t burst_ns; /* how far a tag may lag behind: what a late poll catches up */
	uint64_t user_tag; /* ns: after now: the class is over its rate */
	uint64_t own_tag;  /* the same against its own reserve: beyond it, it borrows */
	uint64_t borrowed_inflight;
	uint32_t inflight_chunks; /* of all engines */
	bool troubled;		  /* an engine was not up when last looked at */
	uint64_t kernel_since;	  /* revocation under way since, 0: none */
	bool kernel_active;
	uint64_t epoch_user_bytes, epoch_kernel_bytes, epoch_cpu_ns;
	uint64_t cpu_ns_mib; /* CPU time of the engines a MiB, in the last epoch */
	uint64_t served_bps[AMUX_CLASSES];
};

struct sched {
	struct sched_device device[AMUX_POLICY_DEVS];
	unsigned int n_devices;
	const struct amux_plan *plan; /* the planner's; re-read after sched_replan() */
	struct list active;	      /* sched_tenant ring, head first in turn */
	unsigned int n_active;
	unsigned int n_reserved; /* tenants on @active with a reserve */
	uint32_t active_weight;	 /* sum over @active */
	struct list free;	 /* chunks */
	struct chunk *chunks;
	struct list stalled; /* chunks to be resumed whose WQ was full */
	struct list tallied; /* tenants whose tally is to be settled */
	uint64_t queued_bytes;
	uint64_t inflight_bytes;
	uint64_t inflight_chunks;
	uint64_t ready_ns;	/* when pacing allows the next chunk, if that is what blocks */
	uint64_t cpu_bps;	/* modelled or nominal rate of a client's CPU */
	double cpu_ns_byte;	/* of it */
	double alone_ns_byte;	/* of the first device, idle */
	uint64_t model_cpu_bps; /* 0 unless CPU copies are modelled */
	bool cpu_only;		/* every engine is a CPU that the broker was not given */
	bool finishing;	 /* the plan grants users nothing, but some requests have begun */
	bool by_cpu;	 /* ... and no engine is up to finish them: this thread does */
	bool on_drained; /* ... or drained ones do, as no other is up */
	struct sched_tenant *offender; /* its sessions are to be cut off: max_tenant_faults */
	struct mux_stats *mux;
	struct flow_stats users; /* the class: sum over tenants, gone ones included */
	uint64_t epoch_arrived, arrived_bytes; /* class */
	uint64_t last_user_ns;		       /* when the class last had work */
	uint64_t wait_base[HIST_BUCKETS];      /* users.wait a few epochs ago */
	unsigned int wait_age;
};

/* @dev: @n opened devices, kept by the caller; @plan must outlive the scheduler. */
int sched_init(struct sched *s, struct device *const *dev, unsigned int n,
	       const struct amux_plan *plan, struct mux_stats *mux);
void sched_fini(struct sched *s); /* nothing may be in flight */

void sched_tenant_init(struct sched_tenant *t, uint32_t id, uint32_t weight,
		       uint64_t reserve_bps, uint64_t limit_bps);
/* Change weight, reserve or limit; also while active. */
void sched_tenant_set(struct sched *s, struct sched_tenant *t, uint32_t weight,
		      uint64_t reserve_bps, uint64_t limit_bps);
void flow_init(struct flow *f, struct sched_tenant *t,
	       void (*complete)(struct flow *flow, struct request *req, uint64_t now));

/* Does the user class have anything queued or in flight? */
static inline bool sched_busy(const struct sched *s)
{
	return !list_empty(&s->active) || s->inflight_chunks;
}

/*
 * May a request of @bytes with SQE @flags go to an engine?  -1: yes; otherwise an enum
 * decline_reason.  @cpu_backlog: what the client's CPU would have to copy before or with it,
 * bytes.
 */
int sched_admit(const struct sched *s, const struct sched_tenant *t, uint16_t flags,
		uint64_t bytes, uint64_t cpu_backlog);

/* Is any engine up, granted to users and not drained? */
bool sched_has_engine(const struct sched *s);

/*
 * A request that moves nothing needs no engine, only its turn, and that is at once where nobody
 * waits for one and no rate holds @t back.  Otherwise it has to be enqueued.  sched_has_engine()
 * must hold.
 */
static inline bool sched_may_pass(const struct sched *s, const struct sched_tenant *t)
{
	return list_empty(&s->active) && t->limit_bps == AMUX_BPS_MAX && !t->reserve_bps &&
	       s->device[0].user_bps == AMUX_BPS_MAX;
}

/* @n requests of @t had it and are done: charge @cost bytes; @service_ns: what each took. */
void sched_passed(struct sched *s, struct sched_tenant *t, uint32_t n, uint64_t cost,
		  uint64_t service_ns);

void sched_enqueue(struct sched *s, struct flow *f, struct request *r);

/* Submit what caps, rates and WQs allow; returns chunks submitted. */
unsigned int sched_issue(struct sched *s, uint64_t now);

/* Take in completions; returns chunks completed. */
unsigned int sched_reap(struct sched *s, uint64_t now);

/* @t has counted something: sched_settle() will see to it. */
static inline void sched_tallied(struct sched *s, struct sched_tenant *t)
{
	if (list_empty(&t->tally.link))
		list_add_tail(&s->tallied, &t->tally.link);
}

/* Show readers what was counted; before the answers that it is about are published. */
void sched_settle(struct sched *s);

/* The rate of a client's CPU, bytes/s; 0: not known. */
void sched_cpu_set(struct sched *s, uint64_t bps);

/* Withdraw @f's requests: what is not in flight yet never will be.  They are completed with
 * -ECANCELED, at once or with their last chunk in flight. */
void sched_cancel(struct sched *s, struct flow *f, uint64_t now);

/* Withdraw @r, of which nothing was issued: it is completed with -ECANCELED. */
void sched_withdraw(struct sched *s, struct request *r, uint64_t now);

/*
 * The plan changed.  If it leaves users no engine, requests not begun are completed with
 * AMUX_STATUS_DECLINED (ENGINE_ONLY: -ENODEV); those begun are finished on any engine.  If none
 * is up this thread does it, where a device lets it (engine_ops.redo), else they fail with -EIO.
 */
void sched_replan(struct sched *s, uint64_t now);

/*
 * Engines @drained of device @d are out of use until they are in no such mask: no new chunk goes
 * there, unless no other engine is up to finish requests that have begun.  Includes
 * sched_replan().
 */
void sched_drain(struct sched *s, unsigned int d, uint64_t drained, uint64_t now);

/* The kernel class became active or idle on device @d; includes sched_replan(). */
void sched_kernel_active(struct sched *s, unsigned int d, bool active, uint64_t now);

/* Predicted wait of a request that @t submits now, ns, and its rate, bytes/s. */
uint64_t sched_wait_ns(const struct sched *s, const struct sched_tenant *t);
uint64_t sched_tenant_bps(const struct sched *s, const struct sched_tenant *t);

/* Fill in devices, the user class and tenants of @view, @elapsed ns after the last call. */
void sched_view(struct sched *s, struct amux_view *view, uint64_t now, uint64_t elapsed);

#endif /* BROKER_SCHED_H */
