/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fault_fixup.h - survive memory that is not there, and instructions that the CPU lacks.
 *
 * Clients share memfds with the broker and can punch holes into hugetlb ones, or exceed a
 * quota: touching such a page raises SIGBUS.  Every access of the broker to client memory
 * runs inside fixup_run(); a SIGBUS elsewhere is a bug and does what it did before.
 *
 * The same goes for a descriptor's way to a device: its portal may be taken away, and where an
 * instruction was asked for by name the CPU may not have it.
 *
 * Owner: one process-wide handler, installed by fixup_init() and never removed.
 * Threads: any; the guard is thread-local and must not be nested.
 */
#ifndef BROKER_FAULT_FIXUP_H
#define BROKER_FAULT_FIXUP_H

#include <stdbool.h>
#include <stdint.h>

/* Install the handler; idempotent.  Returns 0 or -errno. */
int fixup_init(void);

struct fixup_fault {
	uint64_t addr; /* within the page that is not there */
	bool write;    /* the access was a write; known on x86-64 only */
	bool illegal;  /* not memory: the CPU does not know the instruction */
};

/*
 * Call @fn(@arg).  Returns 0, or -EFAULT when it touched memory that is not there; then @fn
 * was left in the middle and *@fault says why.  @fn must hold no lock and own nothing, and
 * what it wants to be known about its progress must be volatile.
 */
int fixup_run(void (*fn)(void *arg), void *arg, struct fixup_fault *fault);

/*
 * Fault in the page of @addr, for writing without changing it if @write.  Returns 0 or
 * -EFAULT.  Safe against concurrent writers of the byte.
 */
int fixup_touch(const void *addr, bool write);

#endif /* BROKER_FAULT_FIXUP_H */
