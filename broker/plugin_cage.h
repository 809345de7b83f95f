/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_cage.h - the system calls that the host of a plug-in policy may make, from before it
 * loads the plug-in until its end: memory, time, reading files, waking, ending itself.  Anything
 * else fails with -EPERM: no process, program, socket, signal to others, file to be written.
 *
 * This is what keeps a plug-in from a broker of the same user.
 *
 * Owner and thread: the host's only one.
 */
#ifndef BROKER_PLUGIN_CAGE_H
#define BROKER_PLUGIN_CAGE_H

/* Irrevocable.  After no_new_privs.  0, or -errno: the kernel has no such filters.  On CPUs other
 * than x86-64 and AArch64 nothing is filtered. */
int plugin_cage(void);

#endif /* BROKER_PLUGIN_CAGE_H */
