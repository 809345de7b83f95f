/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * refusal.h - why the broker refused something or cut somebody off: the reasons that logs, status
 * and metrics name, and the counters by reason.
 *
 * Owner: the host of connections has one set, each tenant another.  Thread: the control thread.
 */
#ifndef BROKER_REFUSAL_H
#define BROKER_REFUSAL_H

#include <stdint.h>

/* A request or a connection that was answered with an error. */
enum refusal {
	REFUSED_INVALID = 0,	    /* it is not as the ABI wants it */
	REFUSED_CONNECT_RATE,	    /* connect_rate */
	REFUSED_SILENT,		    /* too many connections that have not said HELLO */
	REFUSED_CONNECTIONS,	    /* max_connections, or the broker is stopping */
	REFUSED_TENANT_CONNECTIONS, /* max_tenant_connections */
	REFUSED_REGIONS,	    /* max_regions, max_tenant_regions */
	REFUSED_MEMORY,		    /* max_region_size, max_tenant_memory */
	REFUSED_QUEUES,		    /* max_queues, max_tenant_queues */
	REFUSED_QUEUE_MEMORY,	    /* max_tenant_queue_memory */
	REFUSED_REQUESTS,	    /* too many of a connection wait for an answer */
	REFUSED_RESOURCES,	    /* the broker has no memory or descriptors left */
	REFUSALS
};

/* A connection that was ended. */
enum cutoff {
	CUT_INVALID = 0, /* a message that the ABI does not know */
	CUT_FDS,	 /* more descriptors than any message has */
	CUT_SILENT,	 /* no HELLO in time */
	CUT_UNREAD,	 /* does not read its answers */
	CUT_RING,	 /* an impossible ring */
	CUT_FAULTS,	 /* max_tenant_faults, for seconds, with memory that cannot be had */
	CUT_EVICTED,	 /* by the operator */
	CUTOFFS
};

struct refusal_counts {
	uint64_t refused[REFUSALS];
	uint64_t cut[CUTOFFS];
	uint64_t waits; /* times that requests were read later: max_tenant_requests */
};

/* "connect_rate", "silent", ... */
extern const char *const refusal_names[REFUSALS];
extern const char *const cutoff_names[CUTOFFS];

#endif /* BROKER_REFUSAL_H */
