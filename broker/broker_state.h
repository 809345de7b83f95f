/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * broker_state.h - what the broker consists of, for the files that implement it: broker.c
 * (bring-up and shutdown), reload.c, operate.c and switch.c (changes while it runs; switch.c: of
 * policy), status.c (what it shows).
 *
 * Owner and thread: the control thread; what the mux threads own in it says so.
 */
#ifndef BROKER_BROKER_STATE_H
#define BROKER_BROKER_STATE_H

#include "grant.h"
#include "kmod_link.h"
#include "nodes.h"
#include "notify.h"
#include "plugin.h"
#include "server.h"

#define BROKER_SIGNALS 3

struct control;
struct dsa_watch;
struct http;
struct policy_wait;
struct replay;

struct broker {
	struct config cfg;
	char path[512];		/* config file, "" if none */
	const char *const *set; /* assignments over it */
	unsigned int n_set;
	uint64_t start_ns;
	uv_loop_t loop;
	uv_async_t mail, stop;
	struct mailbox outbox; /* answers of the mux threads */
	uv_signal_t signals[BROKER_SIGNALS];
	struct conn_host host;
	struct server server;
	struct control *control;
	struct http *http;
	struct node nodes[TENANT_NODES];
	struct mux *mux;
	unsigned int n_nodes;
	struct mail drain[TENANT_NODES];
	unsigned int draining; /* muxes that have not drained yet */

	void *grant_map; /* of the link to the module, or memory that a replay shares */
	struct grant_page grant;
	struct grant_link grant_part[TENANT_NODES]; /* by node */
	struct kmod_link kmod;
	struct replay *replay;
	struct notify notify;
	struct dsa_watch *watch; /* NULL unless engine = dsa */

	const struct amux_policy_ops *policy; /* a built-in one, or that of @plugin */
	uint64_t values[AMUX_POLICY_PARAMS];
	/* Engines that an operator took out of use, by node and device: masks. */
	uint64_t drained[TENANT_NODES][AMUX_POLICY_DEVS];
	struct plugin *plugin;		   /* NULL: built-in; may have failed since */
	struct plugin *loading;		   /* another one, or NULL */
	struct plugin *held[TENANT_NODES]; /* by node: what its planner may refer to */
	struct policy_wait *waiting;	   /* for @loading, or NULL */
	bool starting;			   /* @loading is the configured one, at the start */
	struct list plugins;
	uint64_t load_failures;
	struct flow_stats scratch; /* sum over nodes for broker_tenant() */
};

/* Bring-up: hear of policies that are replaced; load the configured one if it is a plug-in. */
void switch_init(struct broker *b);
int switch_start(struct broker *b, char *err, size_t errlen);
/* Shutdown, when the mux threads have ended. */
void switch_stop(struct broker *b);
/* Go to the policy that b->cfg names. */
int switch_configured(struct broker *b, char *err, size_t errlen);

#endif /* BROKER_BROKER_STATE_H */
