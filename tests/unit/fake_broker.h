/* SPDX-License-Identifier: MIT */
/*
 * fake_broker.h - broker/status.h by a struct that tests fill in: for tests of what the
 * control side makes of a broker's state.  Included once, by the test.
 */
#ifndef TESTS_FAKE_BROKER_H
#define TESTS_FAKE_BROKER_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../broker/clock.h"
#include "../../broker/status.h"

#define FAKE_TENANTS 8

struct broker {
	struct config cfg;
	uint64_t start_ns;
	unsigned int connections;
	uint64_t rejected;
	struct refusal_counts refusals;
	struct mux_stats mux;
	struct flow_stats users;
	struct device dev;
	struct engine_stats engines[ENGINE_MAX];
	char reverted[PLAN_WHY_LEN];
	unsigned int n_tenants;
	struct status_tenant tenants[FAKE_TENANTS];
	struct flow_stats flows[FAKE_TENANTS];
	struct flow_stats scratch; /* one for all: status.h promises no more */
	bool kernel;
	const char *source, *trace;
	struct amux_grant grant;
	struct amux_demand demand;
	struct grant_page page;
	uint64_t mismatches;
	const struct amux_policy_ops *ops;
	uint64_t values[AMUX_POLICY_PARAMS];
	unsigned int sets;	       /* calls of broker_set_policy() */
	const char *plugin;	       /* path of the plug-in in use */
	char loading[PLUGIN_PATH_LEN]; /* what broker_load_policy() was given */
	struct policy_setting settings[AMUX_POLICY_PARAMS];
	unsigned int n_settings;
	struct policy_wait *waiting;
	uint64_t load_failures;
};

/* One node, one device of two engines, no tenants, no kernel. */
static void fake_init(struct broker *b)
{
	memset(b, 0, sizeof(*b));
	config_default(&b->cfg);
	b->start_ns = clock_ns() - 10 * NSEC_PER_SEC;
	strcpy(b->dev.name, "soft0");
	b->dev.engines = 2;
	b->dev.wq_size[ENGINE_WQ_KERNEL] = b->dev.wq_size[ENGINE_WQ_USER] = 16;
	b->dev.rate_bps = 30000000000ull;
	b->source = "none";
	b->page.grant = &b->grant;
	b->page.demand = &b->demand;
	b->ops = amux_policies[0];
	policy_defaults(b->ops, b->values);
}

static void fake_tenant(struct broker *b, const char *name, uint32_t weight, uint64_t bytes)
{
	struct status_tenant *t = &b->tenants[b->n_tenants];

	t->id = 10 + b->n_tenants;
	t->name = name;
	t->weight = weight;
	t->limit_bps = AMUX_BPS_MAX;
	t->caps = &b->cfg.caps;
	t->refusals = &b->refusals;
	b->flows[b->n_tenants++].engine_bytes = bytes;
}

const struct config *broker_config(struct broker *b)
{
	return &b->cfg;
}

uint64_t broker_start_ns(struct broker *b)
{
	return b->start_ns;
}

unsigned int broker_connections(struct broker *b)
{
	return b->connections;
}

uint64_t broker_rejected(struct broker *b)
{
	return b->rejected;
}

const struct refusal_counts *broker_refusals(struct broker *b)
{
	return &b->refusals;
}

unsigned int broker_closing(struct broker *b)
{
	(void)b;
	return 0;
}

unsigned int broker_node(struct broker *b, unsigned int i, struct status_node *out)
{
	if (i)
		return 1;
	memset(out, 0, sizeof(*out));
	out->stats = &b->mux;
	out->users = &b->users;
	snprintf(out->policy, sizeof(out->policy), "%s",
		 b->reverted[0] ? "partitioned" : b->ops->name);
	memcpy(out->reverted, b->reverted, sizeof(out->reverted));
	out->n_devices = 1;
	out->devices[0].dev = &b->dev;
	out->devices[0].engine = "soft";
	memcpy(out->devices[0].engines, b->engines, sizeof(b->engines));
	return 1;
}

unsigned int broker_tenant(struct broker *b, unsigned int i, struct status_tenant *out)
{
	if (i < b->n_tenants) {
		*out = b->tenants[i];
		b->scratch = b->flows[i];
		out->stats = &b->scratch;
	}
	return b->n_tenants;
}

const struct grant_page *broker_kernel(struct broker *b, const char **source)
{
	*source = b->source;
	return b->kernel ? &b->page : NULL;
}

const char *broker_kernel_trace(struct broker *b)
{
	return b->trace ? b->trace : "";
}

uint64_t broker_kernel_mismatches(struct broker *b)
{
	return b->mismatches;
}

const struct amux_policy_ops *broker_policy(struct broker *b, const uint64_t **values)
{
	*values = b->values;
	return b->ops;
}

int broker_tenant_set(struct broker *b, const char *name, const struct operate_limits *to,
		      char *err, size_t errlen)
{
	(void)b;
	(void)to;
	snprintf(err, errlen, "tenant '%s': not here", name);
	return -ENOENT;
}

int broker_tenant_evict(struct broker *b, const char *name, const char *reason, unsigned int *n,
			char *err, size_t errlen)
{
	(void)b;
	(void)reason;
	*n = 0;
	snprintf(err, errlen, "tenant '%s': not here", name);
	return -ENOENT;
}

int broker_drain(struct broker *b, const char *name, int engine, bool drain, char *err,
		 size_t errlen)
{
	(void)b;
	(void)engine;
	(void)drain;
	snprintf(err, errlen, "device '%s': not here", name);
	return -ENOENT;
}

int broker_set_policy(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values)
{
	b->ops = ops;
	memcpy(b->values, values, sizeof(b->values));
	b->sets++;
	return 0;
}

const char *broker_plugin(struct broker *b, pid_t *pid)
{
	*pid = b->plugin ? 4711 : 0;
	return b->plugin;
}

uint64_t broker_load_failures(struct broker *b)
{
	return b->load_failures;
}

/* Loads nothing: the test calls b->waiting->done(). */
int broker_load_policy(struct broker *b, const char *file,
		       const struct policy_setting *settings, unsigned int n,
		       struct policy_wait *w, char *err, size_t errlen)
{
	(void)err;
	(void)errlen;
	snprintf(b->loading, sizeof(b->loading), "%s", file);
	memcpy(b->settings, settings, n * sizeof(*settings));
	b->n_settings = n;
	b->waiting = w;
	return 0;
}

void broker_wait_forget(struct broker *b, const struct policy_wait *w)
{
	if (b->waiting == w)
		b->waiting = NULL;
}

#endif /* TESTS_FAKE_BROKER_H */
