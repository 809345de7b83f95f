// SPDX-License-Identifier: GPL-2.0-only
/*
 * nodes.c - see nodes.h.
 */
#include "nodes.h"

#include <errno.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISTANCE_SELF  10
#define DISTANCE_OTHER 20

/* libnuma fills its table of a node's CPUs at the first use, without a lock: before threads
 * that ask for the node at the same time exist. */
static void node_learn(int id)
{
	struct bitmask *cpus;

	if (numa_available() < 0)
		return;
	cpus = numa_allocate_cpumask();
	numa_node_to_cpus(id, cpus);
	numa_free_cpumask(cpus);
}

/* ------------------------------------------------------------------------ soft */

static int soft_nodes(struct node *nodes, unsigned int *n, const struct config *cfg, char *err,
		      size_t errlen)
{
	int max = numa_available() < 0 ? 0 : numa_max_node();

	for (int id = 0; id <= max && *n < TENANT_NODES; id++) {
		struct node *node = &nodes[*n];
		struct soft_config soft = cfg->soft;

		if (numa_available() >= 0 &&
		    !numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)id))
			continue;
		(*n)++;
		node->id = soft.node = id;
		node_learn(id);
		for (unsigned int d = 0; d < cfg->devices; d++) {
			bool faulty = cfg->engine == CONFIG_FAULT;
			struct device *dev = &node->devices[d];
			unsigned int number = (*n - 1) * cfg->devices + d;
			int ret = faulty ? fault_open(dev, d, &soft, &cfg->fault,
						      config_time_scale(cfg))
					 : soft_open(dev, d, &soft);

			if (ret) {
				snprintf(err, errlen, "soft%u on node %d: cannot open: %s", d,
					 id, strerror(-ret));
				return ret;
			}
			snprintf(dev->name, sizeof(dev->name), "%s%u",
				 faulty ? "fault" : "soft", number);
			node->n_devices++;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------------- dsa */

/* Why there is nothing to open, and what helps. */
static int dsa_none(const struct idxd_host *host, char *err, size_t errlen)
{
	unsigned int enabled = 0, kernel = 0, user = 0;

	for (unsigned int i = 0; i < host->n_devices; i++) {
		const struct idxd_device *dev = &host->device[i];

		enabled += dev->enabled;
		for (unsigned int w = 0; w < dev->n_wqs; w++) {
			kernel += dev->wq[w].enabled && dev->wq[w].type == IDXD_TYPE_KERNEL;
			user += dev->wq[w].enabled && dev->wq[w].type == IDXD_TYPE_USER;
		}
	}
	if (!host->n_devices)
		snprintf(
			err, errlen,
			"[broker] engine = dsa: this host has no DSA device: expected one that "
			"the idxd driver serves, or engine = soft");
	else
		snprintf(err, errlen,
			 "[broker] engine = dsa: no engine of %u DSA device(s), %u enabled, "
			 "has a "
			 "user WQ (%u kernel, %u user WQs are enabled): set them up by "
			 "'accelmux setup'",
			 host->n_devices, enabled, kernel, user);
	return -ENODEV;
}

/* The node with @id, a new one if need be; NULL: there are too many. */
static struct node *node_get(struct node *nodes, unsigned int *n, int id)
{
	for (unsigned int i = 0; i < *n; i++)
		if (nodes[i].id == id)
			return &nodes[i];
	if (*n == TENANT_NODES)
		return NULL;
	nodes[*n].id = id;
	node_learn(id);
	return &nodes[(*n)++];
}

static int dsa_nodes(struct node *nodes, unsigned int *n, const struct config *cfg, char *err,
		     size_t errlen)
{
	struct idxd_host *host = calloc(1, sizeof(*host));
	int ret;

	if (!host) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	ret = idxd_scan(host, err, errlen);
	for (unsigned int i = 0; i < host->n_devices && !ret; i++) {
		const struct idxd_device *from = &host->device[i];
		struct node *node;

		if (!dsa_engines(from))
			continue;
		/* one whose node is not known is served by the first node's thread */
		node = node_get(nodes, n, from->node < 0 ? 0 : from->node);
		if (!node || node->n_devices == AMUX_POLICY_DEVS) {
			snprintf(
				err, errlen,
				"%s on node %d: expected at most %d nodes with %d devices each",
				from->name, from->node, TENANT_NODES, AMUX_POLICY_DEVS);
			ret = -E2BIG;
			break;
		}
		ret = dsa_open(&node->devices[node->n_devices], node->n_devices, from,
			       &cfg->dsa, err, errlen);
		if (!ret)
			node->n_devices++;
	}
	if (!ret && !*n)
		ret = dsa_none(host, err, errlen);
	free(host);
	return ret;
}

int nodes_open(struct node *nodes, unsigned int *n, const struct config *cfg, char *err,
	       size_t errlen)
{
	*n = 0;
	return cfg->engine == CONFIG_DSA ? dsa_nodes(nodes, n, cfg, err, errlen)
					 : soft_nodes(nodes, n, cfg, err, errlen);
}

void nodes_close(struct node *nodes, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int d = 0; d < nodes[i].n_devices; d++)
			nodes[i].devices[d].ops->close(&nodes[i].devices[d]);
}

unsigned int nodes_devices(struct node *nodes, unsigned int n, struct device **dev,
			   unsigned int max)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n; i++)
		for (unsigned int d = 0; d < nodes[i].n_devices && count < max; d++)
			dev[count++] = &nodes[i].devices[d];
	return count;
}

int node_distance(int a, int b)
{
	int far = numa_available() < 0 ? 0 : numa_distance(a, b);

	if (a == b)
		return DISTANCE_SELF;
	return far > 0 ? far : DISTANCE_OTHER;
}
