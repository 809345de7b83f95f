// SPDX-License-Identifier: GPL-2.0-only
/*
 * idxd.c - see idxd.h.
 */
#include "idxd.h"

#include <accel-config/libaccel_config.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static void text_copy(char *to, const char *from)
{
	snprintf(to, IDXD_NAME, "%s", from ? from : "");
}

/* The PCI function below which the driver made the device; the library does not tell. */
static void pci_name(char *to, const char *device)
{
	unsigned int domain, bus, slot, function;
	char path[PATH_MAX], *real, *at;
	int end = 0;

	to[0] = 0;
	snprintf(path, sizeof(path), "/sys/bus/dsa/devices/%s", device);
	real = realpath(path, NULL);
	if (!real)
		return;
	at = strrchr(real, '/');
	*at = 0;
	at = strrchr(real, '/');
	if (at && sscanf(at + 1, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) == 4 &&
	    !at[1 + end])
		text_copy(to, at + 1);
	free(real);
}

/*
 * Has the IOMMU turned the function's PASIDs on?  pasid_enabled of newer drivers says no
 * more than that it was not told to do without.
 */
static bool pasid_on(const char *device)
{
	unsigned int at = PCI_CFG_SPACE_SIZE, header = 0;
	uint16_t control = 0;
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/dsa/devices/%s/../iommu", device);
	if (access(path, F_OK) < 0)
		return false;
	snprintf(path, sizeof(path), "/sys/bus/dsa/devices/%s/../config", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Extended capabilities are a list; others than root cannot read them. */
	for (int i = 0; fd >= 0 && at && i < 64; i++) {
		if (pread(fd, &header, sizeof(header), at) != sizeof(header)) {
			control = PCI_PASID_CTRL_ENABLE;
			break;
		}
		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_PASID) {
			if (pread(fd, &control, sizeof(control), at + PCI_PASID_CTRL) < 0)
				control = 0;
			break;
		}
		at = PCI_EXT_CAP_NEXT(header);
	}
	if (fd >= 0)
		close(fd);
	return control & PCI_PASID_CTRL_ENABLE;
}

static enum idxd_type type_of(struct accfg_wq *wq)
{
	switch (accfg_wq_get_type(wq)) {
	case ACCFG_WQT_NONE:
		return IDXD_TYPE_NONE;
	case ACCFG_WQT_KERNEL:
		return IDXD_TYPE_KERNEL;
	case ACCFG_WQT_USER:
		return IDXD_TYPE_USER;
	default:
		return IDXD_TYPE_OTHER;
	}
}

static unsigned int not_negative(int value)
{
	return value > 0 ? (unsigned int)value : 0;
}

static void wq_read(struct idxd_wq *to, struct accfg_wq *wq)
{
	to->id = (unsigned int)accfg_wq_get_id(wq);
	to->group = accfg_wq_get_group_id(wq);
	to->size = (unsigned int)accfg_wq_get_size(wq);
	to->priority = not_negative(accfg_wq_get_priority(wq));
	to->threshold = not_negative(accfg_wq_get_threshold(wq));
	to->max_batch = accfg_wq_get_max_batch_size(wq);
	to->max_xfer = accfg_wq_get_max_transfer_size(wq);
	to->type = type_of(wq);
	to->shared = accfg_wq_get_mode(wq) == ACCFG_WQ_SHARED;
	to->enabled = accfg_wq_get_state(wq) == ACCFG_WQ_ENABLED;
	to->block_on_fault = accfg_wq_get_block_on_fault(wq) > 0;
	to->ats_disable = accfg_wq_get_ats_disable(wq) > 0;
	to->clients = accfg_wq_get_clients(wq);
	text_copy(to->name, accfg_wq_get_type_name(wq));
	text_copy(to->driver, accfg_wq_get_driver_name(wq));
	if (to->enabled && to->type == IDXD_TYPE_USER &&
	    accfg_wq_get_user_dev_path(wq, to->path, sizeof(to->path)))
		to->path[0] = 0;
}

static void device_read(struct idxd_device *to, struct accfg_device *dev)
{
	struct accfg_engine *engine;
	struct accfg_wq *wq;

	text_copy(to->name, accfg_device_get_devname(dev));
	pci_name(to->pci, to->name);
	to->id = (unsigned int)accfg_device_get_id(dev);
	to->node = accfg_device_get_numa_node(dev);
	to->version = accfg_device_get_version(dev);
	to->max_groups = accfg_device_get_max_groups(dev);
	to->max_engines = accfg_device_get_max_engines(dev);
	to->max_wqs = accfg_device_get_max_work_queues(dev);
	to->max_wq_size = accfg_device_get_max_work_queues_size(dev);
	to->max_batch = accfg_device_get_max_batch_size(dev);
	to->max_xfer = accfg_device_get_max_transfer_size(dev);
	to->gen_cap = accfg_device_get_gen_cap(dev);
	to->enabled = accfg_device_get_state(dev) == ACCFG_DEVICE_ENABLED;
	to->halted = !to->enabled && accfg_device_get_state(dev) != ACCFG_DEVICE_DISABLED;
	to->configurable = accfg_device_get_configurable(dev);
	to->pasid = accfg_device_get_pasid_enabled(dev) && pasid_on(to->name);
	to->clients = accfg_device_get_clients(dev);
	accfg_engine_foreach(dev, engine) {
		if (to->n_engines < IDXD_ENGINES)
			to->engine_group[to->n_engines++] = accfg_engine_get_group_id(engine);
	}
	accfg_wq_foreach(dev, wq) {
		if (to->n_wqs < IDXD_WQS)
			wq_read(&to->wq[to->n_wqs++], wq);
	}
}

static int by_id(const void *a, const void *b)
{
	const struct idxd_device *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int idxd_scan(struct idxd_host *host, char *err, size_t errlen)
{
	struct accfg_device *dev;
	struct accfg_ctx *ctx;
	int ret;

	memset(host, 0, sizeof(*host));
	ret = accfg_new(&ctx);
	if (ret) {
		snprintf(err, errlen, "libaccel-config: cannot look at the host's devices: %s",
			 strerror(-ret));
		return ret;
	}
	/* Else it writes to standard error what a host happens not to have. */
	accfg_set_log_priority(ctx, LOG_EMERG);
	accfg_device_foreach(ctx, dev) {
		if (accfg_device_get_type(dev) == ACCFG_DEVICE_DSA &&
		    host->n_devices < IDXD_DEVICES)
			device_read(&host->device[host->n_devices++], dev);
	}
	accfg_unref(ctx);
	qsort(host->device, host->n_devices, sizeof(host->device[0]), by_id);
	return 0;
}

const struct idxd_device *idxd_find(const struct idxd_host *host, const char *name)
{
	for (unsigned int i = 0; i < host->n_devices; i++)
		if (!strcmp(host->device[i].name, name))
			return &host->device[i];
	return NULL;
}

const struct idxd_wq *idxd_engine_wq(const struct idxd_device *dev, unsigned int engine,
				     enum idxd_type type)
{
	if (engine >= dev->n_engines || dev->engine_group[engine] < 0)
		return NULL;
	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		const struct idxd_wq *wq = &dev->wq[i];

		if (wq->enabled && wq->type == type && wq->group == dev->engine_group[engine])
			return wq;
	}
	return NULL;
}

uint32_t idxd_pci_id(const char *pci)
{
	unsigned int domain, bus, slot, function;

	if (sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return 0;
	return domain << 16 | bus << 8 | slot << 3 | function;
}
