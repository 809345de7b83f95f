// SPDX-License-Identifier: GPL-2.0-only
/*
 * refusal.c - see refusal.h.
 */
#include "refusal.h"

const char *const refusal_names[REFUSALS] = {
	[REFUSED_INVALID] = "invalid",
	[REFUSED_CONNECT_RATE] = "connect_rate",
	[REFUSED_SILENT] = "silent",
	[REFUSED_CONNECTIONS] = "connections",
	[REFUSED_TENANT_CONNECTIONS] = "tenant_connections",
	[REFUSED_REGIONS] = "regions",
	[REFUSED_MEMORY] = "memory",
	[REFUSED_QUEUES] = "queues",
	[REFUSED_QUEUE_MEMORY] = "queue_memory",
	[REFUSED_REQUESTS] = "requests",
	[REFUSED_RESOURCES] = "resources",
};

const char *const cutoff_names[CUTOFFS] = {
	[CUT_INVALID] = "invalid", [CUT_FDS] = "fds",	[CUT_SILENT] = "silent",
	[CUT_UNREAD] = "unread",   [CUT_RING] = "ring", [CUT_FAULTS] = "faults",
	[CUT_EVICTED] = "evicted",
};
