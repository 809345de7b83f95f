// SPDX-License-Identifier: GPL-2.0-only
/*
 * switch.c - change the policy of a running broker: to a built-in one at once, to a plug-in when
 * it is loaded; and tell everybody of a plug-in that failed.
 *
 * A plug-in is held by b->plugin or b->loading, and once for every node whose planner may refer
 * to it: from when the change is posted until a later one has been answered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../client/barrier.h"
#include "broker_state.h"
#include "status.h"

/* MAIL_POLICY, and who is to be told. */
struct change {
	struct policy_change pc;
	struct broker *b;
	unsigned int node;
	struct plugin *plugin; /* held, or NULL */
};

/* The planner has let go of what it had. */
static void change_done(struct mail *mail)
{
	struct change *c = mail->arg;
	struct plugin *before = c->b->held[c->node];

	c->b->held[c->node] = c->plugin;
	if (before)
		plugin_put(before);
	free(c);
}

static void change_free(struct change *c)
{
	if (c)
		free(c->pc.state);
	free(c);
}

/* @plugin: of @ops, or NULL.  0 or -ENOMEM. */
static int switch_all(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values, struct plugin *plugin)
{
	struct change *c[TENANT_NODES] = { NULL };
	unsigned int i;

	/* All memory first: either every node switches or none does. */
	for (i = 0; i < b->n_nodes; i++) {
		c[i] = calloc(1, sizeof(*c[i]));
		if (!c[i])
			goto err;
		c[i]->pc.state = ops->state_size ? calloc(1, ops->state_size) : NULL;
		if (ops->state_size && !c[i]->pc.state)
			goto err;
		c[i]->pc.ops = ops;
		memcpy(c[i]->pc.values, values, sizeof(c[i]->pc.values));
		c[i]->pc.link = plugin ? plugin_link(plugin, i) : NULL;
		c[i]->pc.mail.type = MAIL_POLICY;
		c[i]->pc.mail.arg = c[i];
		c[i]->pc.mail.done = change_done;
		c[i]->b = b;
		c[i]->node = i;
		c[i]->plugin = plugin;
	}
	for (i = 0; i < b->n_nodes; i++) {
		if (plugin)
			plugin_get(plugin);
		mux_post(&b->mux[i], &c[i]->pc.mail);
	}
	b->policy = ops;
	memcpy(b->values, values, sizeof(b->values));
	return 0;

err:
	for (i = 0; i < b->n_nodes; i++)
		change_free(c[i]);
	return -ENOMEM;
}

static void wait_over(struct broker *b, const char *err)
{
	struct policy_wait *w = b->waiting;

	b->waiting = NULL;
	if (w)
		w->done(w, err);
}

void broker_wait_forget(struct broker *b, const struct policy_wait *w)
{
	if (b->waiting == w)
		b->waiting = NULL;
}

/* What is being loaded is not wanted any more. */
static void load_cancel(struct broker *b)
{
	struct plugin *p = b->loading;

	if (!p)
		return;
	b->loading = NULL;
	b->starting = false;
	wait_over(b, "the policy was set to another one meanwhile");
	plugin_put(p);
}

int broker_set_policy(struct broker *b, const struct amux_policy_ops *ops,
		      const uint64_t *values)
{
	int ret = switch_all(b, ops, values, NULL);

	if (ret)
		return ret;
	load_cancel(b);
	if (b->plugin)
		plugin_put(b->plugin);
	b->plugin = NULL;
	return 0;
}

/* ---------------------------------------------------------------------- failures */

static void failed_done(struct mail *mail)
{
	free(mail->arg);
}

/* Best effort: without memory the planners learn of a dead plug-in by its silence. */
static void fail_all(struct broker *b, struct plugin *p, const char *name,
		     enum policy_failure failure, const char *what)
{
	for (unsigned int i = 0; i < b->n_nodes; i++) {
		struct policy_failed *pf = calloc(1, sizeof(*pf));

		if (!pf)
			return;
		pf->mail.type = MAIL_POLICY_FAILED;
		pf->mail.arg = pf;
		pf->mail.done = failed_done;
		pf->link = p ? plugin_link(p, i) : NULL;
		pf->failure = failure;
		snprintf(pf->name, sizeof(pf->name), "%s", name);
		snprintf(pf->what, sizeof(pf->what), "%s", what);
		mux_post(&b->mux[i], &pf->mail);
	}
}

/* By itself, or because a planner gave it up: that one knows already, the others do not. */
static void plugin_died(struct plugin *p, const char *how)
{
	struct broker *b = plugin_arg(p);
	enum policy_failure failure = POLICY_CRASHED;

	for (unsigned int i = 0; i < b->n_nodes; i++) {
		uint32_t gave_up = plugin_given_up(plugin_link(p, i));

		if (!gave_up)
			continue;
		failure = (enum policy_failure)gave_up;
		how = "failed on another node";
	}
	fail_all(b, p, plugin_ops(p)->name, failure, how);
}

/* The log's line for whatever replaced a policy. */
static void reverted(struct mail *mail)
{
	struct mux *m = mail->arg;
	char name[32], why[PLAN_WHY_LEN];

	/* Before looking: what comes after that is told by another mail.  Pairs with the
	 * acquire in mux_replan(). */
	amux_store_release(&m->reverted_out, 0u);
	plan_describe(&m->planner, name, sizeof(name), why, sizeof(why));
	if (why[0])
		fprintf(stderr, "accelmuxd: node %d: %s\n", m->node, why);
}

/* -------------------------------------------------------------------------- load */

static void plugin_loaded(struct plugin *p, const char *err)
{
	struct broker *b = plugin_arg(p);
	char stem[PLUGIN_PATH_LEN], what[PLUGIN_ERR_LEN];
	bool starting = b->starting;

	b->loading = NULL;
	b->starting = false;
	if (!err && switch_all(b, plugin_ops(p), plugin_values(p), p))
		err = "out of memory";
	if (err) {
		b->load_failures++;
		fprintf(stderr, "accelmuxd: policy not loaded: %s\n", err);
		if (starting) {
			plugin_file_stem(plugin_path(p), stem, sizeof(stem));
			snprintf(what, sizeof(what), "was not loaded (%s)", err);
			fail_all(b, NULL, stem, POLICY_LOAD, what);
		}
		plugin_put(p);
	} else {
		fprintf(stderr, "accelmuxd: policy %s from %s, process %d\n",
			plugin_ops(p)->name, plugin_path(p), (int)plugin_pid(p));
		if (b->plugin)
			plugin_put(b->plugin);
		b->plugin = p;
	}
	wait_over(b, err);
}

int broker_load_policy(struct broker *b, const char *file,
		       const struct policy_setting *settings, unsigned int n,
		       struct policy_wait *w, char *err, size_t errlen)
{
	struct plugin_order order = {
		.path = file,
		.settings = settings,
		.n_settings = n,
		.nodes = b->n_nodes,
		.load_ns = b->cfg.policy_load_ns,
		.patience = b->cfg.policy_patience,
		.plugins = &b->plugins,
		.loaded = plugin_loaded,
		.died = plugin_died,
		.arg = b,
	};
	struct plugin *p;
	int ret = plugin_load(&p, &b->loop, &order, err, errlen);

	if (ret) {
		b->load_failures++;
		return ret;
	}
	load_cancel(b);
	b->loading = p;
	b->waiting = w;
	return 0;
}

int switch_configured(struct broker *b, char *err, size_t errlen)
{
	const struct config *cfg = &b->cfg;
	int i = config_policy_index(cfg->policy), ret;

	if (i < 0)
		return broker_load_policy(b, cfg->policy, cfg->plugin_settings,
					  cfg->n_plugin_settings, NULL, err, errlen);
	ret = broker_set_policy(b, amux_policies[i], cfg->policy_values[i]);
	if (ret)
		snprintf(err, errlen, "out of memory");
	return ret;
}

/* --------------------------------------------------------------- start and stop */

void switch_init(struct broker *b)
{
	for (unsigned int i = 0; i < b->n_nodes; i++)
		b->mux[i].reverted.done = reverted;
}

int switch_start(struct broker *b, char *err, size_t errlen)
{
	int ret;

	if (config_policy_index(b->cfg.policy) >= 0)
		return 0;
	ret = switch_configured(b, err, errlen);
	b->starting = !ret;
	return ret;
}

void switch_stop(struct broker *b)
{
	plugins_stop(&b->plugins);
	b->plugin = b->loading = NULL;
}
