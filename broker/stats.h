/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stats.h - what the broker counts, in one place: the source of status, metrics and `top`.
 *
 * Owner: embedded in the objects they describe.  Threads: the mux thread of the node is the
 * single writer of every struct here unless a field says otherwise; the control thread reads
 * without locks through stat_read().  Counters are monotonic u64.
 */
#ifndef BROKER_STATS_H
#define BROKER_STATS_H

#include "hist.h"

/* Why the broker sent user requests back to the client's CPU. */
enum decline_reason {
	DECLINE_POLICY = 0, /* the plan declines everything */
	DECLINE_PREDICTED,  /* the CPU is predicted to finish earlier */
	DECLINE_NO_ENGINE,  /* no engine is up or granted, or it is only a CPU */
	DECLINE_ORDER,	    /* an earlier one of that queue was declined */
	DECLINE_ASKED,	    /* CPU_ONLY */
	DECLINE_REASONS
};

/* Why a policy was replaced by `partitioned`. */
enum policy_failure {
	POLICY_NONE = 0, /* it was not */
	POLICY_ERROR,	 /* plan() returned an error */
	POLICY_ABI,	 /* it or its plan is of another version */
	POLICY_SLOW,	 /* over budget, built-in ones */
	POLICY_STALLED,	 /* no answer in time, plug-ins */
	POLICY_CRASHED,	 /* its process ended, or took its memory away */
	POLICY_LOAD,	 /* the configured plug-in could not be started */
	POLICY_FAILURES
};

/* One tenant, or one class as the sum of its tenants.  Bytes count when a request ends. */
struct flow_stats {
	uint64_t requests;  /* pulled from rings */
	uint64_t completed; /* answered by the broker with success */
	uint64_t failed;    /* answered with -errno */
	uint64_t withdrawn; /* answered -ECANCELED: by a CANCEL, or because its queue went */
	uint64_t declined[DECLINE_REASONS];
	uint64_t declined_bytes;
	uint64_t descriptors;	 /* completed by engines */
	uint64_t engine_bytes;	 /* completed by engines, counted per chunk */
	uint64_t borrowed_bytes; /* of those, issued beyond the class's own reserve */
	uint64_t faults;	 /* page faults and SIGBUS met by engines */
	uint64_t fault_waits;	 /* of them, beyond max_tenant_faults: the tenant had to wait */
	uint64_t resumes;	 /* partial completions continued */
	uint64_t actual_ns;	 /* sum over completed requests: arrival to completion */
	uint64_t alone_ns;	 /* the same, predicted for an idle device */
	uint64_t cpu_ns;	 /* the same, predicted for the client's CPU */
	uint64_t engine_cpu_ns;	 /* CPU time that soft engines spent for it: its bytes, at their
				  * CPU time a byte in the epoch before */
	/* Sums of a hash of every SQE's user_data, pulled and answered: equal when idle if
	 * and only if (but for 2^-64) each was answered exactly once. */
	uint64_t ledger_in, ledger_out;
	struct hist wait;    /* arrival to first issue */
	struct hist service; /* first issue to completion */
};

struct mux_stats {
	uint64_t loops;
	uint64_t sleeps;
	uint64_t cpu_ns;      /* CPU time of the mux thread */
	uint64_t epochs;      /* plans applied */
	uint64_t plan_ns;     /* spent planning */
	uint64_t plan_clamps; /* fields of plans the core had to correct */
	uint64_t policy_switches;
	uint64_t policy_reverts; /* to partitioned, because a policy erred or stalled */
	uint64_t policy_failures[POLICY_FAILURES]; /* the same by reason */
	uint64_t policy_late; /* epochs for which a plug-in had no plan ready */
	uint64_t revocations; /* the kernel became active while users borrowed */
	struct hist revoke;   /* kernel active to borrowed work off the engines */
};

#endif /* BROKER_STATS_H */
