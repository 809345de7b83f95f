/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layout_apply.h - make a device look like a plan, by libaccel-config.
 *
 * Owner: the caller.  Thread: a command's only one.
 */
#ifndef BROKER_LAYOUT_APPLY_H
#define BROKER_LAYOUT_APPLY_H

#include <sys/types.h>

#include "layout_record.h"

/*
 * Take the device called @plan->name apart and lay it out like @plan: that nobody uses it, and
 * that it can be done, has been asked before (layout_use_check(), layout_check()).  Modes of
 * all WQs come before the device is enabled; then the kernel WQs in the order of their engines,
 * so that channels have that order; then the user WQs.
 *
 * Its channels are in @channel, IDXD_WQS of them, and *@n.  -errno and one line in @err that
 * says which step failed and what the device says of it; then the device is left disabled.
 */
int layout_apply(const struct idxd_device *plan, struct layout_channel *channel,
		 unsigned int *n, char *err, size_t errlen);

/* Let group @gid read and write the nodes of @plan's user WQs; -errno and a line in @err. */
int layout_permit(const struct idxd_device *plan, gid_t gid, char *err, size_t errlen);

#endif /* BROKER_LAYOUT_APPLY_H */
