/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * idxd.h - what hold.c must know of the idxd driver, whose channels are not like others: each
 * goes with its WQ, which is a device of its own on a bus of idxd's own, and on newer kernels a
 * channel that was terminated is dead until its WQ is enabled anew.
 *
 * Owner: module state.  Threads: all under hold.c's mutex.
 */
#ifndef ACCELMUX_IDXD_H
#define ACCELMUX_IDXD_H

#include <linux/dmaengine.h>
#include <linux/notifier.h>

/*
 * Hear of WQs that lose their driver by @nb; again and again until there is such a bus, then held
 * until idxd_unlisten().
 */
void idxd_listen(struct notifier_block *nb);
void idxd_unlisten(struct notifier_block *nb);

/* Is @dev one of idxd's WQs or devices on that bus? */
bool idxd_on_bus(const struct device *dev);
/*
 * The PCI function whose channels go when @dev, which is on that bus, loses its driver; NULL:
 * none.
 */
const struct device *idxd_hardware(const struct device *dev);

/* May @chan be acquired, as far as this driver is concerned?  Yes if it is another's. */
bool idxd_usable(const struct dma_chan *chan);
/* @chan was terminated. */
void idxd_terminated(struct dma_chan *chan);
/* Forget terminated channels that are none any more, or @all of them. */
void idxd_forget(bool all);

#endif /* ACCELMUX_IDXD_H */
