/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_host.h - the process in which a plug-in policy runs: accelmuxd, executed anew with
 * --policy-host by plugin.c.  Before it loads the plug-in it gives up what it does not need:
 * privileges, descriptors, more processes, files, memory.  docs/policies.md lists it.
 *
 * Owner: the broker, by pidfd; it dies with the broker.  Thread: its only one.
 */
#ifndef BROKER_PLUGIN_HOST_H
#define BROKER_PLUGIN_HOST_H

#include "plugin_page.h"

#define PLUGIN_HOST_OPTION "--policy-host"

/* Sanitizers: shadow memory takes terabytes of address space, and what they make of a crash or
 * an exit takes threads that the host cannot have. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLUGIN_HOST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PLUGIN_HOST_SANITIZED 1
#endif
#endif

/* Serve the descriptors PLUGIN_FD_*; returns the exit status when there is nothing to serve. */
int plugin_host_main(void);

/*
 * Answer views in the slots of @page by @ops, with state[i] for slot i; returns how many were
 * answered.  Apart for the sake of tests.
 */
unsigned int plugin_host_round(struct plugin_page *page, unsigned int slots,
			       const struct amux_policy_ops *ops, void *const *state);

#endif /* BROKER_PLUGIN_HOST_H */
