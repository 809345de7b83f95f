/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dsa_portal.h - the last inch to a WQ: how the 64 bytes of a descriptor get to the device.
 *
 * What the host allows is tried, not assumed: the driver refuses to map a portal without
 * CAP_SYS_RAWIO on devices with CVE-2024-21823, and a CPU may lack the instruction.
 *
 * Owner: a dsa_wq.  Threads: put by its submitter; opened and closed while it has none.
 */
#ifndef BROKER_DSA_PORTAL_H
#define BROKER_DSA_PORTAL_H

#include <stddef.h>

#include "dsa.h"

struct dsa_portal {
	int fd;	       /* of the WQ's device, -1: not open */
	uint8_t *page; /* mapped; NULL: write() */
	unsigned int slot;
	/* One descriptor into a slot: 1 taken, 0 full.  Runs guarded. */
	int (*store)(void *slot, const struct dsa_hw_desc *desc);
};

/* Does the CPU say that it has the instruction?  (A hypervisor, or an emulator, may not.) */
bool dsa_cpu_has(enum dsa_submit how);

/*
 * Open @path for @how (not DSA_AUTO).  @force: whatever the CPU says.  -errno and, in @err, what
 * was wrong and what was expected, without the name of the WQ.
 */
int dsa_portal_open(struct dsa_portal *p, const char *path, enum dsa_submit how, bool force,
		    char *err, size_t errlen);

/* Put one descriptor.  1: taken; 0: the WQ is full; -errno: the way is closed. */
int dsa_portal_put(struct dsa_portal *p, const struct dsa_hw_desc *desc);

/* Is what was opened not the WQ any more?  The driver takes a WQ's device node away first. */
bool dsa_portal_gone(const struct dsa_portal *p);

void dsa_portal_unmap(struct dsa_portal *p);
/* For a WQ that is enabled the driver waits for what is in it; idempotent. */
void dsa_portal_close(struct dsa_portal *p);

#endif /* BROKER_DSA_PORTAL_H */
