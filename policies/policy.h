/* SPDX-License-Identifier: MIT */
/*
 * policy.h - the contract between the broker's core and a policy.  Installed as
 * <accelmux/policy.h>.
 *
 * A policy is one file with one struct amux_policy_ops.  It is a planner, not a scheduler:
 * once an epoch (about 1 ms times the time scale, only while there is work) the core shows
 * it a view and takes back a plan.  The core alone moves requests.  A policy knows no
 * rings, sockets, descriptors or event loops and includes nothing but this header (the
 * built-in ones also builtin.h).
 *
 * Life of a policy, once per mux thread (one for each NUMA node that has devices):
 *	values = parse(params, config);  ops->check(values)
 *	state = zeroed state_size bytes
 *	ops->start(state, values)
 *	every epoch: plan = defaults; ops->plan(state, view, plan); core clamps it
 *	state is freed; nothing else to undo
 *
 * A built-in policy runs in the broker: check() on the control thread, the rest on the mux
 * thread.  A plug-in is a shared object that exports
 *	const struct amux_policy_ops amux_policy = { AMUX_POLICY_HEADER, ... };
 * It runs in a process of its own, with one thread, no privileges and no file descriptors;
 * the broker never loads it, and does not wait for its plans.  docs/policies.md has a whole
 * one, and what else is different for them.
 *
 * Ownership: view, plan and state belong to the core; they hold no pointers, and a policy
 * keeps none.  plan() must not block, allocate, sleep or print; it has
 * AMUX_POLICY_BUDGET_NS of wall time.  A return other than 0, or an exceeded budget
 * in three consecutive calls (a plug-in: no answer in time, or a crash), replaces the policy
 * by `partitioned`; the reason is shown in the log, the status and a metric.
 *
 * Rates are bytes per second, times are ns, sizes are bytes, shares are per mille.
 */
#ifndef AMUX_POLICY_H
#define AMUX_POLICY_H

#include <stddef.h>
#include <stdint.h>

#define AMUX_POLICY_ABI	      1u
#define AMUX_POLICY_DEVS      8
#define AMUX_POLICY_TENANTS   256 /* active ones shown; the core sums up the rest */
#define AMUX_POLICY_PARAMS    16
#define AMUX_POLICY_BUDGET_NS 5000000ull
#define AMUX_BPS_MAX	      UINT64_MAX /* no limit */

/* Who wants the engine.  More kernel users would be more classes. */
enum amux_class { AMUX_CLASS_KERNEL = 0, AMUX_CLASS_USER, AMUX_CLASSES };

/* amux_view_device.flags */
#define AMUX_DEVICE_CPU	 (1u << 0) /* the engine is a CPU: offloading gains nothing */
#define AMUX_DEVICE_DOWN (1u << 1) /* plan nothing on it */

struct amux_view_device {
	uint32_t engines;   /* usable ones are bits 0 .. engines-1 */
	uint32_t flags;	    /* AMUX_DEVICE_* */
	uint64_t rate_bps;  /* what all engines together reach (the fabric) */
	uint64_t engine_bps; /* what one engine reaches */
	uint64_t desc_ns;   /* fixed time of a descriptor on an engine */
	uint64_t inflight_bytes[AMUX_CLASSES]; /* now */
	uint64_t served_bps[AMUX_CLASSES];     /* in the last epoch */
};

struct amux_view_class {
	uint32_t present; /* 0: this host has no such client */
	uint32_t tenants; /* active tenants */
	uint64_t queued_bytes; /* waiting, not yet on an engine */
	uint64_t arrival_bps;  /* in the last epoch */
	uint64_t service_bps;  /* by engines, in the last epoch */
	uint64_t wait_p50_ns;  /* arrival to issue, over recent epochs */
	uint64_t wait_p99_ns;
	uint64_t cpu_bps; /* what one CPU of this class copies */
	uint64_t idle_ns; /* since it last had work; 0: it has work now */
};

struct amux_view_tenant {
	uint32_t id;
	uint32_t weight;
	uint64_t reserve_bps; /* configured, 0: none */
	uint64_t limit_bps;   /* configured, AMUX_BPS_MAX: none */
	uint64_t queued_bytes;
	uint64_t service_bps;
};

struct amux_view {
	uint32_t abi;
	uint32_t n_devices;
	uint32_t n_tenants; /* entries of tenants[] in use */
	uint32_t rsvd;
	uint64_t now_ns;
	uint64_t epoch_ns; /* nominal, time scale included */
	uint64_t time_scale; /* model time runs this many times slower; 1: real time */
	struct amux_view_device devices[AMUX_POLICY_DEVS];
	struct amux_view_class classes[AMUX_CLASSES];
	struct amux_view_tenant tenants[AMUX_POLICY_TENANTS];
};

/* How a request may be sent back to the client's own CPU. */
enum amux_decline_mode {
	AMUX_DECLINE_NEVER = 0,
	AMUX_DECLINE_PREDICT, /* when the CPU is predicted to finish earlier */
	AMUX_DECLINE_ALWAYS,
};

/* One class on one device. */
struct amux_plan_share {
	uint64_t engine_mask; /* engines this class may use; 0: none */
	uint64_t reserve_bps; /* guaranteed while it has work */
	uint64_t limit_bps;   /* never more than this, loans included */
	uint64_t cap_bytes;   /* in flight per engine; at least one chunk always fits */
	uint32_t lend;	      /* 1: others may use the reserve while this class has no work */
	uint32_t rsvd;
};

struct amux_plan {
	uint32_t abi;
	uint32_t chunk_bytes;	   /* requests are cut into pieces of at most this */
	uint32_t kernel_min_pages; /* smaller batches stay on the CPU */
	uint32_t reason_mask;	   /* kernel: 1 << reason; ~0: all */
	uint32_t decline[AMUX_CLASSES]; /* enum amux_decline_mode */
	uint64_t loan_ns;	   /* a loan to the kernel class expires after this */
	struct amux_plan_share share[AMUX_POLICY_DEVS][AMUX_CLASSES];
};

enum amux_unit {
	AMUX_UNIT_COUNT = 0,
	AMUX_UNIT_BYTES,   /* suffixes K M G (1024) */
	AMUX_UNIT_BPS,	   /* bytes/s; suffixes K M G (1000) */
	AMUX_UNIT_NS,	   /* suffixes ns us ms s */
	AMUX_UNIT_PERCENT, /* optional suffix % */
	AMUX_UNIT_PAGES,   /* of 4 KiB */
};

struct amux_policy_param {
	const char *name; /* [a-z0-9_]+ */
	const char *help; /* one line */
	enum amux_unit unit;
	uint64_t min, max, def;
};

struct amux_policy_ops {
	/* What it was compiled against: AMUX_POLICY_HEADER fills these in.  They are read
	 * before anything else, and stay where they are in every version. */
	uint32_t abi;	   /* AMUX_POLICY_ABI */
	uint32_t ops_size; /* bytes of this struct, of a view and of a plan */
	uint32_t view_size;
	uint32_t plan_size;

	uint32_t n_params;
	uint32_t rsvd;
	const char *name;
	const char *summary; /* one line */
	const struct amux_policy_param *params;
	size_t state_size;

	/* Optional: judge the values together.  Return 0, or -EINVAL with one line in @err. */
	int (*check)(const uint64_t *values, char *err, size_t errlen);
	/* Optional: initialise zeroed state from one value per param, in their order. */
	void (*start)(void *state, const uint64_t *values);
	/* Fill @plan, which holds safe defaults (nothing granted).  0 or -errno. */
	int (*plan)(void *state, const struct amux_view *view, struct amux_plan *plan);
};

/* The first fields of every struct amux_policy_ops. */
#define AMUX_POLICY_HEADER                                                                     \
	.abi = AMUX_POLICY_ABI, .ops_size = sizeof(struct amux_policy_ops),                    \
	.view_size = sizeof(struct amux_view), .plan_size = sizeof(struct amux_plan)

/* The symbol that a plug-in exports; built-in policies have names of their own. */
#define AMUX_POLICY_SYMBOL "amux_policy"

#endif /* AMUX_POLICY_H */
