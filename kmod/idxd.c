// SPDX-License-Identifier: GPL-2.0-only
/*
 * idxd.c - see idxd.h.
 */
#include <linux/pci.h>

#include "idxd.h"

/*
 * A channel of idxd goes with its WQ, and a WQ with its driver on this bus: without hearing of
 * that one would be left with a channel that is freed memory.
 */
extern const struct bus_type dsa_bus_type;
static const struct bus_type *dsa_bus;

/*
 * Channels that were terminated: the driver has given their interrupt handle up, and they
 * answer nobody until their WQ is enabled anew, which makes another channel of it.  A reference
 * to each one's name in sysfs keeps its address from being another's.
 */
#define SPENT_MAX 64
static struct device *spent[SPENT_MAX];

void idxd_listen(struct notifier_block *nb)
{
	if (dsa_bus)
		return;
	dsa_bus = symbol_get(dsa_bus_type);
	if (dsa_bus && bus_register_notifier(dsa_bus, nb)) {
		symbol_put(dsa_bus_type);
		dsa_bus = NULL;
	}
}

void idxd_unlisten(struct notifier_block *nb)
{
	if (!dsa_bus)
		return;
	bus_unregister_notifier(dsa_bus, nb);
	symbol_put(dsa_bus_type);
	dsa_bus = NULL;
}

bool idxd_on_bus(const struct device *dev)
{
	return dsa_bus && dev->bus == dsa_bus;
}

const struct device *idxd_hardware(const struct device *dev)
{
	const char *driver = dev->driver ? dev->driver->name : "";

	/* Of a WQ with a kernel client, of the whole device; WQs of user space are not ours. */
	if (strcmp(driver, "dmaengine") && strcmp(driver, "idxd"))
		return NULL;
	while (dev && !dev_is_pci(dev))
		dev = dev->parent;
	return dev;
}

static bool is_idxd(const struct dma_chan *chan)
{
	return !strcmp(dev_driver_string(chan->device->dev), "idxd");
}

bool idxd_usable(const struct dma_chan *chan)
{
	unsigned int i;

	if (!is_idxd(chan))
		return true;
	for (i = 0; i < SPENT_MAX; i++)
		if (spent[i] == &chan->dev->device)
			return false;
	return dsa_bus;
}

void idxd_terminated(struct dma_chan *chan)
{
	unsigned int i;

	if (!is_idxd(chan))
		return;
	for (i = 0; i < SPENT_MAX; i++)
		if (!spent[i]) {
			spent[i] = get_device(&chan->dev->device);
			return;
		}
}

void idxd_forget(bool all)
{
	unsigned int i;

	for (i = 0; i < SPENT_MAX; i++)
		if (spent[i] && (all || !device_is_registered(spent[i]))) {
			put_device(spent[i]);
			spent[i] = NULL;
		}
}
