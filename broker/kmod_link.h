/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kmod_link.h - the link to accelmux.ko: /dev/accelmux opened, its two pages mapped side by
 * side as grant.h wants them, channels acquired behind the devices of the plan.
 *
 * The channels of a device that says where it is on the PCI bus (dsa) are those of that very
 * device's kernel WQs; other devices get what is on their node.
 *
 * Channel i behind device index d stands for engine i of the plan's device d: the grant's
 * masks mean the same on both sides.
 *
 * Owner: the broker.  Thread: control; the pages are used as grant.h says.
 */
#ifndef BROKER_KMOD_LINK_H
#define BROKER_KMOD_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../kmod/uapi/accelmux.h"
#include "engine.h"

struct kmod_link {
	int fd; /* -1: none */
	void *map;
	unsigned int n_channels;	   /* of all devices */
	unsigned int had[AMUX_GRANT_DEVS]; /* the most that each device has had */
};

/*
 * Open @path, say hello, map, acquire at most as many channels as each of @dev has engines.
 * That none is free is no error: n_channels is 0, and the kernel copies with its CPU.  On error
 * -errno and one line in @err.
 */
int kmod_link_open(struct kmod_link *k, const char *path, struct device *const *dev,
		   unsigned int n_devs, char *err, size_t errlen);
/* From now on the kernel reads the grant, which is initialised. */
int kmod_link_attach(struct kmod_link *k, const char *path, char *err, size_t errlen);
/*
 * Acquire what a device has lost since (its kernel WQs were disabled and came back).  True: some
 * are missing still.  Any one thread.
 */
bool kmod_link_renew(struct kmod_link *k, struct device *const *dev, unsigned int n);
/* Detach: the module goes back to its own default.  Unmaps; idempotent. */
void kmod_link_close(struct kmod_link *k);

#endif /* BROKER_KMOD_LINK_H */
