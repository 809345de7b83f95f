/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * report.h - what the broker says about itself: the JSON documents of the control socket,
 * and the snapshots that they and the metrics are made of.
 *
 * Names of JSON fields carry their unit (_bytes, _ns, _bps); a limit that is none is null;
 * counters beyond 2^63-1 are shown as that.
 *
 * Owner: the caller owns every json_t (a new reference) and frees it with json_decref().
 * Thread: the control thread.  A NULL document means out of memory.
 */
#ifndef BROKER_REPORT_H
#define BROKER_REPORT_H

#include <jansson.h>

#include "status.h"

/* The kernel side's demand page, read word by word: it is not trusted to be consistent. */
struct report_kernel {
	bool present;
	const char *source; /* "none", "replay:FILE" */
	const char *trace;  /* provenance of what is replayed, or "" */
	bool enabled;	    /* the grant says so */
	uint64_t grant_age_ns;
	uint64_t mismatches;
	uint64_t arrived_bytes, finished_bytes, engine_bytes, cpu_bytes;
	uint64_t batches, engine_batches;
	uint64_t batch_ns, alone_ns, cpu_ns; /* actual, and predicted twice */
	uint64_t cpu_time_ns;
	uint64_t descriptors, errors;
	uint64_t declined_pages[AMUX_DECLINE_COUNT];
	uint64_t reason_batches[AMUX_REASON_COUNT];
	struct hist wait;  /* arrival to first copy */
	struct hist batch; /* arrival to last page */
};

void report_kernel(struct broker *b, struct report_kernel *out);

/* The user class of all nodes. */
void report_users(struct broker *b, struct flow_stats *out);

/* Stable names, [a-z_]+; an index out of range is a bug of the caller. */
extern const char *const report_declines[DECLINE_REASONS];
extern const char *const report_kernel_declines[AMUX_DECLINE_COUNT];
extern const char *const report_reasons[AMUX_REASON_COUNT];
extern const char *const report_health[ENGINE_EMPTY + 1];
/* What an operator is told of engine @i of @d: a health, "draining" or "drained". */
const char *report_engine(const struct status_device *d, unsigned int i);
extern const char *const report_failures[POLICY_FAILURES];
extern const char *const report_wqs[ENGINE_WQS];

json_t *report_version(void);
json_t *report_status(struct broker *b);
json_t *report_tenants(struct broker *b);
json_t *report_devices(struct broker *b);
json_t *report_policy(struct broker *b);   /* the one in use, with its values */
json_t *report_policies(struct broker *b); /* all there are */

#endif /* BROKER_REPORT_H */
