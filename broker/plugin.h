/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin.h - a policy from a shared object, in a process of its own: load it, watch it, end it.
 * One process serves every mux thread.
 *
 *	plugin_load()
 *	 ─────> STARTED ── hello ──> ASKED ── ready: loaded(NULL) ──> LIVE ── ended: died() ──┐
 *	           └── refused, ended, or too slow: killed, loaded(why) ──┴──────────────> GONE
 *
 * The broker's process never loads the file: what a plug-in does as soon as it is loaded, it
 * does in its own.
 *
 * Owner: counted references; the last one to go ends the process, and frees when that is done.
 * Thread: control.  The links are the mux threads' (plugin_link.h).
 */
#ifndef BROKER_PLUGIN_H
#define BROKER_PLUGIN_H

#include <uv.h>

#include "list.h"
#include "param.h"
#include "plugin_file.h"
#include "plugin_link.h"

struct plugin;

struct plugin_order {
	const char *path;
	const struct policy_setting
		*settings; /* @n_settings parameters that are not defaults */
	unsigned int n_settings;
	unsigned int nodes;   /* mux threads */
	uint64_t load_ns;     /* until it must be loaded, and as long again to initialise */
	uint32_t patience;    /* epochs; see struct plugin_link */
	struct list *plugins; /* a list of all that are not freed */
	/* Once: NULL when it is live, else one line that says why it never will be. */
	void (*loaded)(struct plugin *p, const char *err);
	/* Once after loaded(NULL), unless it was released: "was killed by SIGSEGV" */
	void (*died)(struct plugin *p, const char *how);
	void *arg;
};

/* Start loading; copies what it needs of @order.  0 and one reference in *@out, or -errno and
 * one line in @err, with no callback then or later. */
int plugin_load(struct plugin **out, uv_loop_t *loop, const struct plugin_order *order,
		char *err, size_t errlen);

void plugin_get(struct plugin *p);
void plugin_put(struct plugin *p); /* no callback of @order follows the last one */

/* Shutdown, of every one on @plugins and whoever refers to it: end and reap them now; the
 * memory goes as the loop runs. */
void plugins_stop(struct list *plugins);

/* Valid from loaded(NULL) on, for as long as the reference is held. */
const struct amux_policy_ops *plugin_ops(const struct plugin *p);
const uint64_t *plugin_values(const struct plugin *p);
struct plugin_link *plugin_link(struct plugin *p, unsigned int node);

void *plugin_arg(const struct plugin *p);
const char *plugin_path(const struct plugin *p);
pid_t plugin_pid(const struct plugin *p); /* 0: it has ended */

#endif /* BROKER_PLUGIN_H */
