/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * provider.h - how migrations reach this module.  Two implementations:
 *	hook.c      ftrace redirection of migrate_pages() and folio_mc_copy() on kernels
 *	            as distributors ship them
 *	offload.c   the proposed registration API (migrate_offload_register()), compiled where
 *	            the kernel's headers have it
 *
 * Owner: module state, set once at load.  start, stop and arm are called in process context
 * under the module's control mutex (main.c).
 */
#ifndef ACCELMUX_PROVIDER_H
#define ACCELMUX_PROVIDER_H

#include <linux/types.h>

struct migrate_provider {
	const char *name;
	/* Check that this kernel is one the provider understands; says why not in one line. */
	int (*probe)(void);
	/* Undo a probe that went well, last of all: NULL if there is nothing. */
	void (*forget)(void);
	int (*start)(void);
	/*
	 * Whether batches are to be looked at: armed while a grant may allow something, or
	 * while batches are traced.
	 * Disarmed, a migration costs one entry per migrate_pages() call and nothing per page.
	 */
	int (*arm)(bool on);
	/* No call into this module is in flight, nor will be, after it returns. */
	void (*stop)(void);
};

extern const struct migrate_provider hook_provider;
#ifdef AMUX_HAVE_MIGRATE_OFFLOAD
extern const struct migrate_provider offload_provider;
#endif

enum arm_why {
	ARM_GRANT = 1,
	ARM_TRACE = 2,
};

/*
 * main.c: the provider is armed while somebody wants it, from process context; idempotent.
 * 0 or -errno.  Arm before batches may be looked at for @why and disarm after: while the
 * provider disarms, nobody may begin.
 */
int provider_arm(enum arm_why why, bool on);

#endif /* ACCELMUX_PROVIDER_H */
