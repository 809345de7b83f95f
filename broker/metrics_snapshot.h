/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * metrics_snapshot.h - inside the metrics: what one scrape sees, and who writes which families
 * of it.  metrics.c takes it and writes of the broker; metrics_class.c of the classes and
 * tenants; metrics_device.c of devices, nodes and their CPU time.  Not for others.
 *
 * Owner: one call of metrics_text().  Thread: the control thread.
 */
#ifndef BROKER_METRICS_SNAPSHOT_H
#define BROKER_METRICS_SNAPSHOT_H

#include <stdio.h>

#include "report.h"

struct snapshot {
	struct broker *b;
	const struct config *cfg;
	uint64_t now;
	struct status_node *nodes;
	unsigned int n_nodes;
	struct status_tenant *tenants;
	struct flow_stats *flows; /* what tenants[i].stats points to */
	unsigned int n_tenants;
	struct flow_stats users;
	struct report_kernel kernel;
};

/* metrics_class.c */
void metrics_write_classes(FILE *f, const struct snapshot *s);
void metrics_write_kernel(FILE *f, const struct snapshot *s);
void metrics_write_tenants(FILE *f, const struct snapshot *s);
void metrics_write_refusals(FILE *f, const struct snapshot *s);

/* metrics_device.c */
void metrics_write_devices(FILE *f, const struct snapshot *s);
void metrics_write_nodes(FILE *f, const struct snapshot *s);
void metrics_write_cpu(FILE *f, const struct snapshot *s);

#endif /* BROKER_METRICS_SNAPSHOT_H */
