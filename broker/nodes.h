/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nodes.h - which devices the broker drives, by NUMA node: software ones on every node, or those
 * that the host has.
 *
 * With `engine = dsa` only nodes that have a device are served; a client of another node is
 * served by the nearest one (nodes_nearest()).
 *
 * Owner and thread: control, before the mux threads run and after they have ended.
 */
#ifndef BROKER_NODES_H
#define BROKER_NODES_H

#include "config.h"
#include "tenant.h"

struct node {
	int id;
	struct device devices[AMUX_POLICY_DEVS];
	unsigned int n_devices;
};

/* Open everything.  @nodes: TENANT_NODES zeroed ones, which must not move.  On error -errno and
 * one line in @err; what was opened by then is in @nodes and *@n. */
int nodes_open(struct node *nodes, unsigned int *n, const struct config *cfg, char *err,
	       size_t errlen);
void nodes_close(struct node *nodes, unsigned int n);

/* Every device in order; returns how many. */
unsigned int nodes_devices(struct node *nodes, unsigned int n, struct device **dev,
			   unsigned int max);

/* How far node @b is from node @a, as the firmware says; not known: all others are as far. */
int node_distance(int a, int b);

#endif /* BROKER_NODES_H */
