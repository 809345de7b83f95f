/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_link.h - a mux thread's end of a plug-in policy: ask, and look for the answer; never
 * wait.  plugin_page.h has the protocol.
 *
 *	          plugin_ask()
 *	SILENT ─────────────────> OWED ── plugin_take(): 0 ──> SILENT
 *	                          OWED ── plugin_late() in @patience epochs ──> given up
 *
 * Owner: the plug-in (plugin.h), for as long as a planner refers to it.  Thread: that of the
 * mux.
 */
#ifndef BROKER_PLUGIN_LINK_H
#define BROKER_PLUGIN_LINK_H

#include <stdbool.h>

#include "plugin_page.h"

struct plugin_link {
	struct plugin_page *page;
	struct plugin_slot *slot;
	int pidfd;	     /* of the host, for plugin_kill() */
	uint32_t seq;	     /* of the newest view */
	bool owed;	     /* it is not answered */
	uint64_t counted_ns; /* when the last epoch without an answer was counted */
	uint32_t late;	     /* epochs without an answer to it */
	uint32_t patience;   /* as many are too many */
	uint32_t given_up;   /* enum policy_failure; see plugin_given_up() */
};

/* Show @view.  Only when nothing is owed.  0, or -EFAULT: the page is not there. */
int plugin_ask(struct plugin_link *l, const struct amux_view *view);

/* Copy the answer, which is not judged.  0; -EAGAIN: there is none yet; -EFAULT as above. */
int plugin_take(struct plugin_link *l, struct plugin_answer *out);

/* An epoch has passed without an answer, of which at most one is counted in @epoch_ns: a broker
 * that was stopped for long holds that against nobody.  Returns whether it is one too many. */
bool plugin_late(struct plugin_link *l, uint64_t now, uint64_t epoch_ns);

/* End the host, which is not waited for. */
void plugin_kill(const struct plugin_link *l);

/* The same for a @failure (enum policy_failure, not 0), of which the control thread learns by
 * plugin_given_up(): 0 if that is not how it came to its end. */
void plugin_give_up(struct plugin_link *l, uint32_t failure);
uint32_t plugin_given_up(const struct plugin_link *l);

#endif /* BROKER_PLUGIN_LINK_H */
