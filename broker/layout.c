// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout.c - see layout.h.
 */
#include "layout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PRIORITY_MAX 15

__attribute__((format(printf, 4, 5))) static int fail(int rc, char *err, size_t errlen,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return rc;
}

static unsigned int min(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

const struct idxd_wq *layout_wq(const struct idxd_device *dev, unsigned int id)
{
	for (unsigned int i = 0; i < dev->n_wqs; i++)
		if (dev->wq[i].id == id)
			return &dev->wq[i];
	return NULL;
}

/* ---------------------------------------------------------------------- planning */

static void wq_plan(struct idxd_wq *wq, const struct idxd_device *dev, enum idxd_type type,
		    unsigned int group, unsigned int size, bool shared)
{
	bool user = type == IDXD_TYPE_USER;

	wq->group = (int)group;
	wq->size = size;
	wq->type = type;
	wq->priority = user ? ENGINE_PRIORITY_USER : ENGINE_PRIORITY_KERNEL;
	wq->shared = shared;
	wq->threshold = shared ? size : 0;
	wq->max_batch = min(LAYOUT_MAX_BATCH, dev->max_batch);
	wq->max_xfer = dev->max_xfer < LAYOUT_MAX_XFER ? dev->max_xfer : LAYOUT_MAX_XFER;
	wq->enabled = true;
	strcpy(wq->name, user ? LAYOUT_NAME_USER : LAYOUT_NAME_KERNEL);
	strcpy(wq->driver, user ? "user" : "dmaengine");
}

static int device_plan(const struct idxd_device *dev, const struct layout_options *opt,
		       struct idxd_device *out, char *err, size_t errlen)
{
	unsigned int each, groups, size;
	bool user;

	if (!dev->configurable)
		return fail(-EOPNOTSUPP, err, errlen,
			    "%s: expected a device whose WQs can be configured; its firmware "
			    "(or hypervisor) gave it a fixed configuration",
			    dev->name);
	if (opt->user && !dev->pasid)
		return fail(-EOPNOTSUPP, err, errlen,
			    "%s: user WQs need an IOMMU that translates by PASID: boot with "
			    "intel_iommu=on,sm_on, or give --kernel-only",
			    dev->name);
	user = !opt->kernel_only && dev->pasid;
	each = user ? 2 : 1;
	groups = min(min(dev->n_engines, dev->max_groups), dev->n_wqs / each);
	if (!groups)
		return fail(-EOPNOTSUPP, err, errlen,
			    "%s: %u engines, %u groups, %u WQs: expected at least one of each, "
			    "and %u WQ%s%s",
			    dev->name, dev->n_engines, dev->max_groups, dev->n_wqs, each,
			    each > 1 ? "s" : "", user ? " (or give --kernel-only)" : "");
	size = dev->max_wq_size / (groups * each);
	if (!size)
		return fail(-EOPNOTSUPP, err, errlen,
			    "%s: %u WQ entries: expected at least one for each of %u WQs",
			    dev->name, dev->max_wq_size, groups * each);
	*out = *dev;
	out->enabled = true;
	out->clients = 0;
	/* Engines that there is no group for are not idle: they share one. */
	for (unsigned int i = 0; i < dev->n_engines; i++)
		out->engine_group[i] = (int)(i % groups);
	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		out->wq[i] = (struct idxd_wq){ .id = dev->wq[i].id, .group = -1 };
		if (i < groups)
			wq_plan(&out->wq[i], dev, IDXD_TYPE_KERNEL, i, size, false);
		else if (user && i < 2 * groups)
			wq_plan(&out->wq[i], dev, IDXD_TYPE_USER, i - groups, size,
				opt->user == LAYOUT_USER_SHARED);
	}
	return 0;
}

/* The next name of a list "a,b"; false: there is none, or an empty or overlong one. */
static bool name_next(const char **list, char *name)
{
	size_t n = strcspn(*list, ",");

	if (!n || n >= IDXD_NAME)
		return false;
	memcpy(name, *list, n);
	name[n] = '\0';
	*list += n;
	if (**list == ',' && (*list)[1])
		++*list;
	return true;
}

static int selected_plan(const struct idxd_host *host, const struct layout_options *opt,
			 struct idxd_host *out, char *err, size_t errlen)
{
	const char *list = opt->devices;
	const struct idxd_device *dev;
	char name[IDXD_NAME];
	int rc;

	do {
		if (!name_next(&list, name))
			return fail(-EINVAL, err, errlen,
				    "--devices '%s': expected names with commas between, like "
				    "dsa0,dsa1",
				    opt->devices);
		dev = idxd_find(host, name);
		if (!dev)
			return fail(-ENODEV, err, errlen,
				    "--devices '%s': no such device; expected one of those in "
				    "/sys/bus/dsa/devices",
				    name);
		if (idxd_find(out, name))
			return fail(-EINVAL, err, errlen, "--devices '%s': given twice", name);
		rc = device_plan(dev, opt, &out->device[out->n_devices], err, errlen);
		if (rc)
			return rc;
		out->n_devices++;
	} while (*list);
	return 0;
}

int layout_plan(const struct idxd_host *host, const struct layout_options *opt,
		struct idxd_host *out, char *err, size_t errlen)
{
	int rc;

	memset(out, 0, sizeof(*out));
	if (opt->kernel_only && opt->user)
		return fail(-EINVAL, err, errlen,
			    "--kernel-only: expected no --user-mode beside it");
	if (!host->n_devices)
		return fail(-ENODEV, err, errlen,
			    "no DSA device: expected one in /sys/bus/dsa/devices; accelmux "
			    "doctor tells more");
	if (opt->devices)
		return selected_plan(host, opt, out, err, errlen);
	for (unsigned int i = 0; i < host->n_devices; i++) {
		rc = device_plan(&host->device[i], opt, &out->device[i], err, errlen);
		if (rc)
			return rc;
		out->n_devices++;
	}
	return 0;
}

/* ---------------------------------------------------------------------- checking */

static int wq_check(const struct idxd_device *dev, const struct idxd_wq *wq, char *err,
		    size_t errlen)
{
	char at[32];

	snprintf(at, sizeof(at), "wq%u.%u", dev->id, wq->id);
	if (!layout_used(wq))
		return 0;
	if (!layout_wq(dev, wq->id))
		return fail(-EINVAL, err, errlen, "%s: no such WQ; %s has %u", at, dev->name,
			    dev->n_wqs);
	if (wq->group < 0 || (unsigned int)wq->group >= dev->max_groups)
		return fail(-EINVAL, err, errlen, "%s: group_id %d: expected 0 to %u", at,
			    wq->group, dev->max_groups - 1);
	if (wq->priority < 1 || wq->priority > PRIORITY_MAX)
		return fail(-EINVAL, err, errlen, "%s: priority %u: expected 1 to %u", at,
			    wq->priority, PRIORITY_MAX);
	if (wq->max_batch < 1 || wq->max_batch > dev->max_batch)
		return fail(-EINVAL, err, errlen, "%s: max_batch_size %u: expected 1 to %u", at,
			    wq->max_batch, dev->max_batch);
	if (wq->max_xfer < 1 || wq->max_xfer > dev->max_xfer)
		return fail(-EINVAL, err, errlen,
			    "%s: max_transfer_size %llu: expected 1 to %llu", at,
			    (unsigned long long)wq->max_xfer,
			    (unsigned long long)dev->max_xfer);
	if (wq->shared && (wq->threshold < 1 || wq->threshold > wq->size))
		return fail(-EINVAL, err, errlen,
			    "%s: threshold %u: expected 1 to its size, %u", at, wq->threshold,
			    wq->size);
	if (wq->enabled && wq->type != IDXD_TYPE_KERNEL && wq->type != IDXD_TYPE_USER)
		return fail(-EINVAL, err, errlen, "%s: type: expected kernel or user", at);
	if (wq->enabled && !wq->name[0])
		return fail(-EINVAL, err, errlen, "%s: name: expected one", at);
	if (wq->enabled && wq->type == IDXD_TYPE_USER && !dev->pasid)
		return fail(-EINVAL, err, errlen,
			    "%s: type user: expected kernel, for %s has no translation by "
			    "PASID",
			    at, dev->name);
	return 0;
}

static int device_check(const struct idxd_device *dev, const struct idxd_device *plan,
			char *err, size_t errlen)
{
	uint64_t entries = 0;
	int rc;

	if (!dev->configurable)
		return fail(-EINVAL, err, errlen,
			    "%s: expected a device whose WQs can be configured", dev->name);
	if (plan->n_engines > dev->n_engines)
		return fail(-EINVAL, err, errlen, "%s: %u engines: it has %u", dev->name,
			    plan->n_engines, dev->n_engines);
	for (unsigned int i = 0; i < plan->n_engines; i++)
		if (plan->engine_group[i] < -1 || plan->engine_group[i] >= (int)dev->max_groups)
			return fail(-EINVAL, err, errlen,
				    "engine%u.%u: group_id %d: expected 0 to %u", dev->id, i,
				    plan->engine_group[i], dev->max_groups - 1);
	for (unsigned int i = 0; i < plan->n_wqs; i++) {
		rc = wq_check(dev, &plan->wq[i], err, errlen);
		if (rc)
			return rc;
		entries += plan->wq[i].size;
	}
	if (entries > dev->max_wq_size)
		return fail(-EINVAL, err, errlen,
			    "%s: sizes of WQs add up to %llu: expected at most %u", dev->name,
			    (unsigned long long)entries, dev->max_wq_size);
	return 0;
}

int layout_check(const struct idxd_host *host, const struct idxd_host *plan, char *err,
		 size_t errlen)
{
	const struct idxd_device *dev;
	int rc;

	for (unsigned int i = 0; i < plan->n_devices; i++) {
		dev = idxd_find(host, plan->device[i].name);
		if (!dev)
			return fail(-ENODEV, err, errlen,
				    "%s: no such device; expected it in /sys/bus/dsa/devices",
				    plan->device[i].name);
		rc = device_check(dev, &plan->device[i], err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}

/* --------------------------------------------------------------------- comparing */

static const char *type_name(enum idxd_type type)
{
	return type == IDXD_TYPE_KERNEL ? "kernel" : type == IDXD_TYPE_USER ? "user" : "none";
}

bool layout_same_wq(const struct idxd_device *dev, const struct idxd_wq *plan, char *why,
		    size_t whylen)
{
	const struct idxd_wq *wq = layout_wq(dev, plan->id);
	char at[32];

	snprintf(at, sizeof(at), "wq%u.%u", dev->id, plan->id);
	if (!wq) {
		snprintf(why, whylen, "%s: not there", at);
		return false;
	}
	if (!layout_used(plan)) {
		/* What is neither enabled nor has entries does nothing. */
		if (!wq->enabled && !wq->size)
			return true;
		snprintf(why, whylen, "%s: %s, planned without entries", at,
			 wq->enabled ? "enabled" : "has entries");
		return false;
	}
#define DIFFERS(member, name, fmt, type)                                                \
	do {                                                                            \
		if (wq->member != plan->member) {                                       \
			snprintf(why, whylen, "%s: %s " fmt ", planned " fmt, at, name, \
				 (type)wq->member, (type)plan->member);                 \
			return false;                                                   \
		}                                                                       \
	} while (0)
	DIFFERS(enabled, "enabled", "%d", int);
	DIFFERS(group, "group_id", "%d", int);
	DIFFERS(size, "size", "%u", unsigned int);
	DIFFERS(shared, "shared", "%d", int);
	DIFFERS(priority, "priority", "%u", unsigned int);
	DIFFERS(max_batch, "max_batch_size", "%u", unsigned int);
	DIFFERS(max_xfer, "max_transfer_size", "%llu", unsigned long long);
	DIFFERS(block_on_fault, "block_on_fault", "%d", int);
#undef DIFFERS
	if (plan->shared && wq->threshold != plan->threshold) {
		snprintf(why, whylen, "%s: threshold %u, planned %u", at, wq->threshold,
			 plan->threshold);
		return false;
	}
	if (wq->type != plan->type) {
		snprintf(why, whylen, "%s: type %s, planned %s", at, type_name(wq->type),
			 type_name(plan->type));
		return false;
	}
	if (strcmp(wq->name, plan->name)) {
		snprintf(why, whylen, "%s: name '%s', planned '%s'", at, wq->name, plan->name);
		return false;
	}
	/* Older drivers have no such field: the type decides. */
	if (wq->driver[0] && plan->driver[0] && strcmp(wq->driver, plan->driver)) {
		snprintf(why, whylen, "%s: driver '%s', planned '%s'", at, wq->driver,
			 plan->driver);
		return false;
	}
	return true;
}

bool layout_same(const struct idxd_device *dev, const struct idxd_device *plan, char *why,
		 size_t whylen)
{
	if (dev->enabled != plan->enabled) {
		snprintf(why, whylen, "%s: %s, planned %s", dev->name,
			 dev->enabled ? "enabled" : "disabled",
			 plan->enabled ? "enabled" : "disabled");
		return false;
	}
	for (unsigned int i = 0; i < plan->n_engines; i++)
		if (i >= dev->n_engines || dev->engine_group[i] != plan->engine_group[i]) {
			snprintf(why, whylen, "engine%u.%u: group_id %d, planned %d", dev->id,
				 i, i < dev->n_engines ? dev->engine_group[i] : -1,
				 plan->engine_group[i]);
			return false;
		}
	for (unsigned int i = plan->n_engines; i < dev->n_engines; i++)
		if (dev->engine_group[i] >= 0) {
			snprintf(why, whylen, "engine%u.%u: group_id %d, planned -1", dev->id,
				 i, dev->engine_group[i]);
			return false;
		}
	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		const struct idxd_wq unused = { .id = dev->wq[i].id, .group = -1 };
		const struct idxd_wq *wq = layout_wq(plan, dev->wq[i].id);

		if (!layout_same_wq(dev, wq ? wq : &unused, why, whylen))
			return false;
	}
	return true;
}
