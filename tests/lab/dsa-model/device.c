// SPDX-License-Identifier: MIT
/*
 * device.c - see device.h.
 */
#include "device.h"

#include <string.h>

#include "command.h"
#include "engine.h"
#include "pci.h"

#define ENTRIES_1 128u
#define ENTRIES_2 256u

int device_init(struct device *d, const struct device_options *options)
{
	int ret;

	memset(d, 0, sizeof(*d));
	d->options = *options;
	d->entries = options->version >= 2 ? ENTRIES_2 : ENTRIES_1;
	irq_init(&d->irq);
	fault_init(&d->fault);
	pci_reset(d);
	ret = mem_init(&d->mem);
	if (!ret)
		iommu_init(&d->iommu, &d->mem, options->viommu);
	if (!ret)
		ret = clock_init(&d->clock, &options->clock);
	if (!ret)
		ret = -pthread_mutex_init(&d->lock, NULL);
	if (!ret)
		ret = -pthread_cond_init(&d->work, NULL);
	if (!ret)
		ret = -pthread_cond_init(&d->quiet, NULL);
	if (!ret)
		ret = -pthread_cond_init(&d->ordered, NULL);
	if (!ret)
		ret = engines_start(d);
	if (!ret)
		ret = command_start(d);
	return ret;
}

void device_reset(struct device *d, bool config_space)
{
	pthread_mutex_lock(&d->lock);
	command_reset_device(d);
	/* A command that was waiting finds that the device is another one. */
	while (d->command_waits)
		pthread_cond_wait(&d->quiet, &d->lock);
	d->command = 0;
	d->cmdsts = 0;
	d->intcause = 0;
	if (config_space)
		pci_reset(d);
	pthread_mutex_unlock(&d->lock);
}
