/* SPDX-License-Identifier: MIT */
/*
 * iommu.h - the guest's IOMMU (Intel VT-d, scalable mode) as far as this device's accesses
 * meet it: root table, context entry, PASID directory, PASID table, page tables.
 *
 * vfio-user has no messages by which a device could ask for a translation with a PASID, so the
 * model walks the tables itself, at every access: nothing is cached, so nothing has to be
 * invalidated.  But nobody waits for an access under way when the guest takes a page away, as
 * hardware has it: who has accessed something asks iommu_still() whether it was there to the
 * end, and does it again if not.  Where the root table is, and by which number the device is
 * known there, it must be told.
 *
 * Owner: struct device.  Threads: any; iommu_at() and iommu_before() with the memory map held.
 */
#ifndef DSA_MODEL_IOMMU_H
#define DSA_MODEL_IOMMU_H

#include "mem.h"

/* Whose access it is. */
struct requester {
	bool has_pasid, priv;
	uint32_t pasid;
};

struct iommu {
	struct mem *mem;
	bool on;	 /* else addresses are what the client maps */
	uint64_t root;	 /* the root table address register; 0: not told yet, nothing passes */
	uint16_t source; /* bus, device, function */
};

void iommu_init(struct iommu *u, struct mem *mem, bool on);
/* false: that cannot be a root table of scalable mode, or there is no IOMMU. */
bool iommu_set(struct iommu *u, uint64_t root, uint16_t source);

/* As mem_at() and mem_before(), for an address of @by. */
uint8_t *iommu_at(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		  uint64_t *n);
uint8_t *iommu_before(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		      uint64_t *n);
/* What was accessed at @p is where @addr is even now. */
bool iommu_still(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		 const uint8_t *p);

/* So often an access is done again; then it is a fault. */
#define IOMMU_TRIES 16u

#endif /* DSA_MODEL_IOMMU_H */
