/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * idxd.h - what the idxd driver has on this host, read through libaccel-config into plain
 * data: devices, groups, engines, work queues.
 *
 * Whoever plans a layout, looks for user WQs or explains what is wrong looks at this copy; only
 * what changes something on a device speaks to libaccel-config itself.
 *
 * Owner: the caller; a host is plain memory.  Thread: control, or a command.
 */
#ifndef BROKER_IDXD_H
#define BROKER_IDXD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDXD_DEVICES 16 /* of a host that are looked at */
#define IDXD_WQS     16 /* of a device; 8 with DSA 1 and 2 */
#define IDXD_ENGINES 8
#define IDXD_GROUPS  8
#define IDXD_NAME    64

enum idxd_type { IDXD_TYPE_NONE = 0, IDXD_TYPE_KERNEL, IDXD_TYPE_USER, IDXD_TYPE_OTHER };

struct idxd_wq {
	unsigned int id;
	int group;	   /* -1: none */
	unsigned int size; /* entries; 0: not configured */
	unsigned int priority;
	unsigned int threshold; /* of a shared WQ, entries */
	unsigned int max_batch; /* descriptors */
	uint64_t max_xfer;	/* bytes of one descriptor */
	enum idxd_type type;
	bool shared, enabled, block_on_fault, ats_disable;
	int clients; /* who has it open or holds its channel; -1: not known */
	char name[IDXD_NAME];
	char driver
		[IDXD_NAME];  /* "dmaengine", "user"; "" with drivers that have no such field */
	char path[IDXD_NAME]; /* "/dev/dsa/wq0.1", "" unless an enabled user WQ */
};

struct idxd_device {
	char name[IDXD_NAME]; /* "dsa0" */
	char pci[IDXD_NAME];  /* "0000:6a:01.0", "" if it is none */
	unsigned int id;
	int node;	      /* -1: not known */
	unsigned int version; /* 0x100: DSA 1 */
	unsigned int max_groups, max_engines, max_wqs, max_wq_size;
	unsigned int max_batch;
	uint64_t max_xfer;
	uint64_t gen_cap;
	bool enabled;
	bool halted; /* neither enabled nor disabled: nothing that is asked of it is done */
	bool configurable;
	bool pasid; /* the IOMMU translates by PASID: user WQs can be had */
	int clients;
	unsigned int n_wqs, n_engines;
	int engine_group[IDXD_ENGINES]; /* -1: none */
	struct idxd_wq wq[IDXD_WQS];
};

struct idxd_host {
	unsigned int n_devices;
	struct idxd_device device[IDXD_DEVICES]; /* by id */
};

/*
 * Read the host's DSA devices (no IAA).  No driver, or no device, is no error: n_devices is 0.
 * Otherwise -errno and one line in @err.
 */
int idxd_scan(struct idxd_host *host, char *err, size_t errlen);

/* The device called @name, or NULL. */
const struct idxd_device *idxd_find(const struct idxd_host *host, const char *name);

/*
 * Engine @engine's WQ of @type: the enabled WQ of that type in its group, the lowest id of
 * several; NULL: none.
 */
const struct idxd_wq *idxd_engine_wq(const struct idxd_device *dev, unsigned int engine,
				     enum idxd_type type);

/* @pci as the grant ABI names it (domain << 16 | bus << 8 | devfn); 0 for "". */
uint32_t idxd_pci_id(const char *pci);

#endif /* BROKER_IDXD_H */
