/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * status.h - what the control side (JSON-RPC, metrics, CLI) may ask of the running broker.
 * broker.c implements it; control.c and metrics.c know the broker by this header alone.
 *
 * Thread: the control thread.  Nothing here blocks; pointers stay valid until the caller
 * returns to the event loop.
 */
#ifndef BROKER_STATUS_H
#define BROKER_STATUS_H

#include "config.h"
#include "engine.h"
#include "grant.h"
#include "plan.h"
#include "refusal.h"
#include "stats.h"

struct broker;

struct status_tenant {
	uint32_t id;
	const char *name;
	uint32_t weight;
	uint64_t reserve_bps, limit_bps; /* AMUX_BPS_MAX: none */
	uint32_t connections, queues, regions;
	uint64_t region_bytes;
	uint64_t queued_bytes, queue_bytes;
	const struct config_caps *caps;	       /* valid as long as the tenant */
	const struct refusal_counts *refusals; /* the same */
	uint64_t evictions;		       /* connections that an operator cut off */
	const struct flow_stats *stats; /* all nodes; valid until the next broker_tenant() */
};

struct status_device {
	const struct device *dev;
	const char *engine; /* "soft", "dsa" */
	struct engine_stats engines[ENGINE_MAX];
	struct status_outage {
		enum engine_health health;
		uint64_t losses, redone, failed; /* see struct sched_engine */
	} outages[ENGINE_MAX];
	struct status_use {
		bool drained; /* by an operator */
		bool granted[AMUX_CLASSES];
		uint64_t inflight_bytes, inflight; /* of users: bytes charged, descriptors */
	} use[ENGINE_MAX];
	uint64_t inflight_bytes[AMUX_CLASSES];
};

struct status_node {
	int node;
	const struct mux_stats *stats;
	const struct flow_stats *users; /* the user class of this node */
	char policy[32];
	char reverted[PLAN_WHY_LEN]; /* why it is a replacement, "" if it is not */
	struct amux_plan plan;	     /* in force */
	unsigned int n_devices;
	struct status_device devices[AMUX_POLICY_DEVS];
};

const struct config *broker_config(struct broker *b);
uint64_t broker_start_ns(struct broker *b); /* CLOCK_MONOTONIC */
unsigned int broker_connections(struct broker *b);
/* Connections and requests refused since the start, by what was wrong. */
uint64_t broker_rejected(struct broker *b);

const struct refusal_counts *broker_refusals(struct broker *b);
/* Descriptors and mappings of clients that are being let go of. */
unsigned int broker_closing(struct broker *b);

/* Nodes 0 .. n-1; returns n.  Fills *@out if @i < n. */
unsigned int broker_node(struct broker *b, unsigned int i, struct status_node *out);
/* Same for tenants, in order of id; ones without a connection keep their counters. */
unsigned int broker_tenant(struct broker *b, unsigned int i, struct status_tenant *out);

/* The kernel class: its demand page and grant, or NULL; @source is "replay:FILE" or "none". */
const struct grant_page *broker_kernel(struct broker *b, const char **source);
uint64_t broker_kernel_mismatches(struct broker *b);
/* Where the replayed trace comes from ("synthetic", ...); "" if nothing is replayed. */
const char *broker_kernel_trace(struct broker *b);

/* Policy in the config's or the last `policy set`'s sense, and its parameter values. */
const struct amux_policy_ops *broker_policy(struct broker *b, const uint64_t **values);

/*
 * What an operator may change of tenants and engines, until the next restart or, of tenants, a
 * reload: operate.c.  Each returns 0, or -errno and one line in @err.
 */
struct operate_limits {
	const char *weight, *reserve, *limit; /* as in the configuration; NULL: stays */
};

int broker_tenant_set(struct broker *b, const char *name, const struct operate_limits *to,
		      char *err, size_t errlen);
/* Cut off every connection of tenant @name; @reason (may be NULL) is logged.  @n: how many. */
int broker_tenant_evict(struct broker *b, const char *name, const char *reason, unsigned int *n,
			char *err, size_t errlen);
/*
 * Take @engine of device @name (-1: all of them) out of use, or back.  It is drained once
 * broker_node() says so and that nothing is in flight.
 */
int broker_drain(struct broker *b, const char *name, int engine, bool drain, char *err,
		 size_t errlen);

/* The file and process of broker_policy(), or NULL: it is built in.  *@pid 0: it has ended. */
const char *broker_plugin(struct broker *b, pid_t *pid);
/* Plug-ins that could not be loaded, since the start. */
uint64_t broker_load_failures(struct broker *b);

/* Switch to a built-in policy on every node: effective at each node's next epoch.  A plug-in
 * that is being loaded is not wanted any more.  0 or -ENOMEM. */
int broker_set_policy(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values);

/* Somebody who waits for a plug-in. */
struct policy_wait {
	/* Once: NULL when the policy is set, else one line that says why it is as before. */
	void (*done)(struct policy_wait *w, const char *err);
};

/*
 * Switch to the plug-in at @file, with @n parameters that are not its defaults, once it is
 * loaded; until then nothing changes.  One that is still being loaded is not wanted any more.
 * @w may be NULL.  0, or -errno and one line in @err, and then nobody is called.
 */
int broker_load_policy(struct broker *b, const char *file,
		       const struct policy_setting *settings, unsigned int n,
		       struct policy_wait *w, char *err, size_t errlen);

/* Whoever @w stands for is gone: it is not called.  The policy is loaded all the same. */
void broker_wait_forget(struct broker *b, const struct policy_wait *w);

#endif /* BROKER_STATUS_H */
