// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "tenant.h"

/* Does a line of /proc/PID/cgroup name @prefix or something below it?  -errno: who knows. */
static int peer_in_cgroup(pid_t pid, const char *prefix)
{
	char path[64], line[4096];
	size_t n = strlen(prefix);
	bool found = false;
	FILE *f;

	while (n && prefix[n - 1] == '/')
		n--; /* "/a/" means "/a", and "/" everything */
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	f = fopen(path, "re");
	if (!f) /* a process that is gone is nowhere */
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	while (!found && fgets(line, sizeof(line), f)) {
		char *p = strchr(line, ':');

		p = p ? strchr(p + 1, ':') : NULL;
		if (!p)
			continue;
		p++;
		p[strcspn(p, "\n")] = '\0';
		found = !strncmp(p, prefix, n) && (p[n] == '\0' || p[n] == '/');
	}
	fclose(f);
	return found;
}

/* 1, 0 or -errno */
static int tenant_fits(const struct config_tenant *ct, const struct peer *peer)
{
	if (ct->match_uid && ct->uid != peer->uid)
		return 0;
	if (ct->match_gid && ct->gid != peer->gid)
		return 0;
	if (ct->match_name && strcmp(ct->client, peer->name))
		return 0;
	if (ct->cgroup[0])
		return peer_in_cgroup(peer->pid, ct->cgroup);
	return ct->match_uid || ct->match_gid || ct->match_name;
}

struct tenant *tenant_find(struct list *tenants, const char *name)
{
	struct list *pos;

	list_for_each(pos, tenants) {
		struct tenant *t = container_of(pos, struct tenant, link);

		if (!strcmp(t->name, name))
			return t;
	}
	return NULL;
}

void tenant_limits(const struct config *cfg, const char *name, uint32_t *weight,
		   uint64_t *reserve_bps, uint64_t *limit_bps)
{
	*weight = 1;
	*reserve_bps = 0;
	*limit_bps = AMUX_BPS_MAX;
	for (unsigned int i = 0; i < cfg->n_tenants; i++) {
		if (strcmp(cfg->tenants[i].name, name))
			continue;
		*weight = cfg->tenants[i].weight;
		*reserve_bps = cfg->tenants[i].reserve_bps;
		*limit_bps = cfg->tenants[i].limit_bps;
	}
}

void tenant_caps(const struct config *cfg, const char *name, struct config_caps *caps)
{
	*caps = cfg->caps;
	for (unsigned int i = 0; i < cfg->n_tenants; i++) {
		const struct config_caps *own = &cfg->tenants[i].caps;

		if (strcmp(cfg->tenants[i].name, name))
			continue;
		caps->connections = own->connections ? own->connections : caps->connections;
		caps->regions = own->regions ? own->regions : caps->regions;
		caps->queues = own->queues ? own->queues : caps->queues;
		caps->region_bytes = own->region_bytes ? own->region_bytes : caps->region_bytes;
		caps->queue_bytes = own->queue_bytes ? own->queue_bytes : caps->queue_bytes;
		caps->faults = own->faults ? own->faults : caps->faults;
		caps->requests = own->requests ? own->requests : caps->requests;
	}
}

uint64_t tenant_fault_ns(const struct config_caps *caps)
{
	return caps->faults == UINT64_MAX ? 0 : NSEC_PER_SEC / caps->faults;
}

struct tenant *tenant_get(struct list *tenants, const struct config *cfg,
			  const struct peer *peer)
{
	char name[CONFIG_NAME_LEN];
	struct tenant *t;
	uint32_t id = 1;

	/* no [tenant] section can have a name with a colon */
	snprintf(name, sizeof(name), "uid:%u", (unsigned int)peer->uid);
	for (unsigned int i = 0; i < cfg->n_tenants; i++) {
		int fits = tenant_fits(&cfg->tenants[i], peer);

		if (fits < 0)
			return NULL; /* it must not become another's by accident */
		if (fits) {
			snprintf(name, sizeof(name), "%s", cfg->tenants[i].name);
			break;
		}
	}
	t = tenant_find(tenants, name);
	if (t)
		return t;
	if (!list_empty(tenants))
		id = container_of(tenants->prev, struct tenant, link)->id + 1;
	if (id > TENANTS_MAX)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->id = id;
	snprintf(t->name, sizeof(t->name), "%s", name);
	tenant_limits(cfg, name, &t->weight, &t->reserve_bps, &t->limit_bps);
	tenant_caps(cfg, name, &t->caps);
	for (unsigned int i = 0; i < TENANT_NODES; i++) {
		sched_tenant_init(&t->node[i], t->id, t->weight, t->reserve_bps, t->limit_bps);
		t->node[i].fault_ns = tenant_fault_ns(&t->caps);
	}
	list_add_tail(tenants, &t->link);
	return t;
}

void tenants_free(struct list *tenants)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, tenants)
		free(container_of(pos, struct tenant, link));
	list_init(tenants);
}
