/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * closer.h - let go of what clients gave us, where that may take its time.
 *
 * The last close of a descriptor runs its file's own code: a TCP socket lingers as its owner has
 * set it to, a file of a FUSE or network file system waits for its server, a memfd of gigabytes
 * gives its pages back.  Clients choose what they pass, and also what lies unread in their
 * socket, which its close drops; so the control thread closes nothing that came from one.
 *
 * Threads do it: one, and more while all of them are held up, CLOSER_THREADS at most.
 *
 * Owner: the host of connections.  Threads: any, but start and stop by the control thread.
 */
#ifndef BROKER_CLOSER_H
#define BROKER_CLOSER_H

#include <stddef.h>

#define CLOSER_THREADS 16

struct closer;

/* NULL: no memory, or no thread. */
struct closer *closer_start(void);

/* Close @n descriptors, sooner or later.  Without a closer (NULL) at once. */
void closer_fds(struct closer *c, const int *fd, unsigned int n);

/* munmap() @len bytes at @addr, in the same way. */
void closer_unmap(struct closer *c, void *addr, size_t len);

/* How many are not closed or unmapped yet. */
unsigned int closer_pending(struct closer *c);

/*
 * End.  What is queued is still closed, unless something holds that up for longer than two
 * seconds: then it is left to the end of the process.  NULL is allowed.
 */
void closer_stop(struct closer *c);

#endif /* BROKER_CLOSER_H */
