/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layout.h - the static layout of DSA devices, as a pure plan: one group per engine, each with
 * one kernel WQ and one user WQ, the kernel's of higher priority.
 *
 *	engine 0 - group 0 - wq 0 (kernel, 8), wq 4 (user, 4)
 *	engine 1 - group 1 - wq 1 (kernel, 8), wq 5 (user, 4)	... of 4 engines and 8 WQs
 *
 * A plan is what the devices shall look like, in the same words as what they look like: a
 * struct idxd_host of the devices concerned, with each of their WQs.  WQs that are not used
 * have no group and no entries.
 *
 * Owner: the caller; a plan is plain memory.  Thread: a command's only one.
 */
#ifndef BROKER_LAYOUT_H
#define BROKER_LAYOUT_H

#include "engine.h"
#include "idxd.h"

#define LAYOUT_MAX_XFER	   (2ull << 20) /* one descriptor holds an engine for 70 us */
#define LAYOUT_MAX_BATCH   32		/* the driver's own default */
#define LAYOUT_NAME_KERNEL "dmaengine"
#define LAYOUT_NAME_USER   "accelmux"

enum layout_user { LAYOUT_USER_AUTO = 0, LAYOUT_USER_DEDICATED, LAYOUT_USER_SHARED };

struct layout_options {
	const char *devices; /* "dsa0,dsa1"; NULL: all */
	bool kernel_only;
	/* AUTO: dedicated where the IOMMU translates by PASID, else no user WQs. */
	enum layout_user user;
};

/*
 * Plan into @out.  -EINVAL: the options; -ENODEV: no such device; -EOPNOTSUPP: a device that
 * cannot; and one line in @err.
 */
int layout_plan(const struct idxd_host *host, const struct layout_options *opt,
		struct idxd_host *out, char *err, size_t errlen);

/*
 * Could the devices of @plan, which may come from a file, be laid out like that on @host?  0,
 * or -EINVAL or -ENODEV and one line in @err.
 */
int layout_check(const struct idxd_host *host, const struct idxd_host *plan, char *err,
		 size_t errlen);

/*
 * Does @dev look like @plan?  Otherwise false, and the first difference in @why: "wq0.1: size
 * 8, planned 16".
 */
bool layout_same(const struct idxd_device *dev, const struct idxd_device *plan, char *why,
		 size_t whylen);

/* The same of WQ @plan of @dev alone. */
bool layout_same_wq(const struct idxd_device *dev, const struct idxd_wq *plan, char *why,
		    size_t whylen);

/* Is @wq part of a plan: does it have entries? */
static inline bool layout_used(const struct idxd_wq *wq)
{
	return wq->size > 0;
}

/* WQ @id of @dev, or NULL. */
const struct idxd_wq *layout_wq(const struct idxd_device *dev, unsigned int id);

#endif /* BROKER_LAYOUT_H */
