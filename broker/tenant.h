/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tenant.h - who a client is accounted to: the first configured [tenant] that fits, else a
 * tenant of its uid's own.  A tenant outlives its connections, so that its counters do.
 *
 * Owner: the broker.  Thread: the control thread; node[] belongs to the mux threads.
 */
#ifndef BROKER_TENANT_H
#define BROKER_TENANT_H

#include <sys/types.h>

#include "bucket.h"
#include "config.h"
#include "refusal.h"
#include "sched.h"

#define TENANT_NODES 8 /* NUMA nodes the broker serves */
#define TENANTS_MAX  4096

struct tenant {
	struct list link;
	uint32_t id;
	char name[CONFIG_NAME_LEN];
	uint32_t weight;
	uint64_t reserve_bps, limit_bps;
	uint32_t connections, queues, regions;
	uint64_t evictions; /* connections that an operator cut off */
	uint64_t region_bytes, queue_bytes;
	struct config_caps caps; /* in force */
	struct bucket requests;	 /* of its connections' sockets */
	struct refusal_counts refusals;
	struct sched_tenant node[TENANT_NODES];
};

/* What is known of a peer. */
struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const char *name; /* as given in HELLO */
};

/* Find or make the tenant of @peer in @tenants.  NULL: too many, no memory, or no
 * way to tell (no descriptor left to read its cgroup by). */
struct tenant *tenant_get(struct list *tenants, const struct config *cfg,
			  const struct peer *peer);
struct tenant *tenant_find(struct list *tenants, const char *name);
/* @cfg's words on tenant @name, or the defaults. */
void tenant_limits(const struct config *cfg, const char *name, uint32_t *weight,
		   uint64_t *reserve_bps, uint64_t *limit_bps);
void tenant_caps(const struct config *cfg, const char *name, struct config_caps *caps);
/* ns a fault of a tenant with @caps costs it, 0: nothing. */
uint64_t tenant_fault_ns(const struct config_caps *caps);
void tenants_free(struct list *tenants);

#endif /* BROKER_TENANT_H */
