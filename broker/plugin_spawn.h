/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_spawn.h - start the process of a plug-in policy, and take it away.
 *
 * Owner: the caller, of all three descriptors and the mapping.  Thread: the control thread,
 * which must outlive the process (it dies with the thread that made it).
 */
#ifndef BROKER_PLUGIN_SPAWN_H
#define BROKER_PLUGIN_SPAWN_H

#include <sys/types.h>

#include "plugin_page.h"

struct plugin_process {
	pid_t pid;
	int pidfd;
	int talk; /* the broker's end, which does not block */
	struct plugin_page *page;
	size_t bytes; /* of the page set */
};

/* Run this program anew as a host of the plug-in open at @file, with @slots slots.  0, or
 * -errno and one line in @err; nothing is left behind. */
int plugin_spawn(struct plugin_process *out, int file, unsigned int slots, char *err,
		 size_t errlen);

/* Has it ended?  Then it is reaped, and *@how says "was killed by SIGSEGV" or the like.
 * @wait: do wait for it. */
int plugin_reap(const struct plugin_process *p, int wait, char *how, size_t len);

/* After it was reaped. */
void plugin_process_free(struct plugin_process *p);

#endif /* BROKER_PLUGIN_SPAWN_H */
