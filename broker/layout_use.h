/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layout_use.h - who uses a device's WQs: nobody's work may be pulled from under him.
 *
 * Owner: the caller.  Thread: a command's only one.
 */
#ifndef BROKER_LAYOUT_USE_H
#define BROKER_LAYOUT_USE_H

#include "idxd.h"

/* Who has @path open: "accelmuxd (pid 12)", the first that is found; "" if none is. */
void layout_opener(const char *path, char *who, size_t len);

/*
 * May @dev be taken apart?  Its enabled WQs must have no client, and look as one of the @n
 * @plans says (NULL: does not know the device), or @replace be set.  -EBUSY and one line in
 * @err that names the WQ, who has it and what helps.
 */
int layout_use_check(const struct idxd_device *dev, const struct idxd_device *const plans[],
		     unsigned int n, bool replace, char *err, size_t errlen);

#endif /* BROKER_LAYOUT_USE_H */
