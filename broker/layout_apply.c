// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout_apply.c - see layout_apply.h.
 */
#include "layout_apply.h"

#include <accel-config/libaccel_config.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

struct job {
	struct accfg_ctx *ctx;
	struct accfg_device *dev;
	const struct idxd_device *plan;
	struct idxd_host *host; /* as it is once nothing is enabled */
	char *err;
	size_t errlen;
};

/* Note what failed, and what the device says of it. */
static int step(struct job *j, int rc, const char *what, const char *of)
{
	unsigned int status;

	if (!rc)
		return 0;
	/* The library's negative numbers are errno's, but for a few that are none. */
	if (rc > 0 || rc < -4095)
		rc = -EIO;
	status = accfg_device_get_cmd_status(j->dev);
	snprintf(j->err, j->errlen, "%s: cannot %s %s: %s%s%s", j->plan->name, what, of,
		 strerror(-rc), status ? "; the device says: " : "",
		 status ? accfg_device_get_cmd_status_str(j->dev) : "");
	return rc;
}

static int wq_step(struct job *j, int rc, const char *what, unsigned int id)
{
	char at[32];

	snprintf(at, sizeof(at), "wq%u.%u", j->plan->id, id);
	return step(j, rc, what, at);
}

/* ------------------------------------------------------------------ taking apart */

static int disable(struct job *j)
{
	struct accfg_wq *wq;
	int rc;

	accfg_wq_foreach(j->dev, wq) {
		if (accfg_wq_get_state(wq) != ACCFG_WQ_ENABLED)
			continue;
		rc = wq_step(j, accfg_wq_disable(wq, false), "disable",
			     (unsigned int)accfg_wq_get_id(wq));
		if (rc)
			return rc;
	}
	if (accfg_device_get_state(j->dev) != ACCFG_DEVICE_ENABLED)
		return 0;
	return step(j, accfg_device_disable(j->dev, false), "disable", "the device");
}

/* What an earlier configuration left: entries add up over all WQs, used or not. */
static int reset(struct job *j, const struct idxd_device *now)
{
	struct accfg_wq *wq;
	int rc = 0;

	for (unsigned int i = 0; i < now->n_wqs && !rc; i++) {
		unsigned int id = now->wq[i].id;

		wq = accfg_device_wq_get_by_id(j->dev, (int)id);
		if (now->wq[i].size)
			rc = wq_step(j, accfg_wq_set_size(wq, 0), "empty", id);
		if (!rc && now->wq[i].group >= 0)
			rc = wq_step(j, accfg_wq_set_group_id(wq, -1), "ungroup", id);
		if (!rc && now->wq[i].type != IDXD_TYPE_NONE)
			rc = wq_step(j, accfg_wq_set_str_type(wq, "none"), "reset the type of",
				     id);
	}
	return rc;
}

/* --------------------------------------------------------------------- laying out */

static int engines_set(struct job *j)
{
	struct accfg_engine *engine;
	char at[32];
	int rc, id, group;

	accfg_engine_foreach(j->dev, engine) {
		id = accfg_engine_get_id(engine);
		group = id < (int)j->plan->n_engines ? j->plan->engine_group[id] : -1;
		snprintf(at, sizeof(at), "engine%u.%d", j->plan->id, id);
		rc = step(j, accfg_engine_set_group_id(engine, group), "set the group of", at);
		if (rc)
			return rc;
	}
	return 0;
}

static const char *type_text(enum idxd_type type)
{
	return type == IDXD_TYPE_KERNEL ? "kernel" : type == IDXD_TYPE_USER ? "user" : "none";
}

/* The order matters: a threshold is at most the size; a new type loses the name. */
static int wq_set(struct job *j, struct accfg_wq *wq, const struct idxd_wq *now,
		  const struct idxd_wq *p)
{
	const char *mode = p->shared ? "shared" : "dedicated";
	unsigned int id = p->id;
	int rc;

	rc = wq_step(j, accfg_wq_set_str_mode(wq, mode), "set the mode of", id);
	rc = rc ?: wq_step(j, accfg_wq_set_size(wq, (int)p->size), "set the size of", id);
	rc = rc ?: wq_step(j, accfg_wq_set_group_id(wq, p->group), "set the group of", id);
	rc = rc
		     ?: wq_step(j, accfg_wq_set_priority(wq, (int)p->priority),
				"set the priority of", id);
	rc = rc
		     ?: wq_step(j, accfg_wq_set_max_batch_size(wq, (int)p->max_batch),
				"set the batch size of", id);
	rc = rc
		     ?: wq_step(j, accfg_wq_set_max_transfer_size(wq, p->max_xfer),
				"set the transfer size of", id);
	/* Devices without that ability refuse even what they are. */
	if (!rc && p->block_on_fault != now->block_on_fault)
		rc = wq_step(j, accfg_wq_set_block_on_fault(wq, p->block_on_fault),
			     "set block_on_fault of", id);
	if (!rc && p->shared && p->threshold)
		rc = wq_step(j, accfg_wq_set_threshold(wq, (int)p->threshold),
			     "set the threshold of", id);
	rc = rc
		     ?: wq_step(j, accfg_wq_set_str_type(wq, type_text(p->type)),
				"set the type of", id);
	if (!rc && p->name[0])
		rc = wq_step(j, accfg_wq_set_str_name(wq, p->name), "name", id);
	if (!rc && p->driver[0])
		rc = wq_step(j, accfg_wq_set_str_driver_name(wq, p->driver),
			     "set the driver of", id);
	return rc;
}

static int wqs_set(struct job *j, const struct idxd_device *now)
{
	struct accfg_wq *wq;
	int rc = 0;

	for (unsigned int i = 0; i < now->n_wqs && !rc; i++) {
		const struct idxd_wq *p = layout_wq(j->plan, now->wq[i].id);

		wq = accfg_device_wq_get_by_id(j->dev, (int)now->wq[i].id);
		if (p && (layout_used(p) || p->group >= 0))
			rc = wq_set(j, wq, &now->wq[i], p);
		else if (j->plan->enabled && now->wq[i].shared)
			rc = wq_step(j, accfg_wq_set_str_mode(wq, "dedicated"),
				     "set the mode of", now->wq[i].id);
	}
	return rc;
}

/* ----------------------------------------------------------------------- enabling */

/* The channels of the device's PCI function now; how many. */
static unsigned int channels_list(const char *device, struct layout_channel *channel)
{
	char path[PATH_MAX];
	unsigned int n = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/dsa/devices/%s/../dma", device);
	dir = opendir(path);
	while (dir && n < IDXD_WQS && (d = readdir(dir))) {
		struct layout_channel *c = &channel[n];

		if (strncmp(d->d_name, "dma", 3) || strlen(d->d_name) >= sizeof(c->name))
			continue;
		strcpy(c->name, d->d_name);
		n += !layout_channel_inode(c->name, &c->inode);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* Which of them is none of those that we know: the one of @wq. */
static int channel_find(struct job *j, unsigned int wq, struct layout_channel *channel,
			unsigned int *n)
{
	struct layout_channel now[IDXD_WQS];
	unsigned int k = channels_list(j->plan->name, now);

	for (unsigned int i = 0; i < k; i++) {
		bool known = false;

		for (unsigned int m = 0; m < *n; m++)
			known |= channel[m].inode == now[i].inode;
		if (known)
			continue;
		now[i].wq = wq;
		now[i].index = *n;
		strcpy(now[i].device, j->plan->name);
		channel[(*n)++] = now[i];
		return 0;
	}
	return wq_step(j, -ENODEV, "find in /sys/class/dma the channel of", wq);
}

static int wq_enable(struct job *j, const struct idxd_wq *p, struct layout_channel *channel,
		     unsigned int *n)
{
	struct accfg_wq *wq = accfg_device_wq_get_by_id(j->dev, (int)p->id);
	int rc = 0;

	/* The library would say it on standard error. */
	if (p->driver[0] && !accfg_wq_driver_name_validate(wq, p->driver))
		rc = wq_step(j, -ENOENT, "find the driver of", p->id);
	rc = rc ?: wq_step(j, accfg_wq_enable(wq), "enable", p->id);
	if (!rc && p->type == IDXD_TYPE_KERNEL &&
	    (!p->driver[0] || !strcmp(p->driver, "dmaengine")))
		rc = channel_find(j, p->id, channel, n);
	return rc;
}

/* WQs of @type, by their groups' first engine. */
static int wqs_enable(struct job *j, enum idxd_type type, struct layout_channel *channel,
		      unsigned int *n)
{
	const struct idxd_device *plan = j->plan;
	unsigned int seen = 0;
	int rc;

	for (unsigned int e = 0; e < plan->n_engines; e++) {
		int group = plan->engine_group[e];

		if (group < 0 || seen & 1u << group)
			continue;
		seen |= 1u << group;
		for (unsigned int i = 0; i < plan->n_wqs; i++) {
			const struct idxd_wq *p = &plan->wq[i];

			if (!p->enabled || p->type != type || p->group != group)
				continue;
			rc = wq_enable(j, p, channel, n);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int enable(struct job *j, struct layout_channel *channel, unsigned int *n)
{
	int rc;

	if (!j->plan->enabled)
		return 0;
	rc = step(j, accfg_device_enable(j->dev), "enable", "the device");
	/* Binding to a driver that says no is not always an error of the write. */
	if (!rc && accfg_device_get_state(j->dev) != ACCFG_DEVICE_ENABLED)
		rc = step(j, -ENXIO, "enable", "the device");
	rc = rc ?: wqs_enable(j, IDXD_TYPE_KERNEL, channel, n);
	return rc ?: wqs_enable(j, IDXD_TYPE_USER, channel, n);
}

/* -------------------------------------------------------------------------- all */

static int lay_out(struct job *j, struct layout_channel *channel, unsigned int *n)
{
	const struct idxd_device *now;
	char ignored[256];
	int rc;

	rc = disable(j);
	if (rc)
		return rc;
	rc = idxd_scan(j->host, j->err, j->errlen);
	if (rc)
		return rc;
	now = idxd_find(j->host, j->plan->name);
	if (!now)
		return step(j, -ENODEV, "find", "the device again");
	rc = reset(j, now);
	rc = rc ?: engines_set(j);
	rc = rc ?: wqs_set(j, now);
	rc = rc ?: enable(j, channel, n);
	if (rc) {
		/* What failed is in j->err; that this fails too would not help anybody. */
		j->err = ignored;
		j->errlen = sizeof(ignored);
		disable(j);
	}
	return rc;
}

int layout_apply(const struct idxd_device *plan, struct layout_channel *channel,
		 unsigned int *n, char *err, size_t errlen)
{
	struct job j = { .plan = plan, .err = err, .errlen = errlen };
	int rc;

	*n = 0;
	j.host = malloc(sizeof(*j.host));
	rc = j.host ? accfg_new(&j.ctx) : -ENOMEM;
	if (rc) {
		snprintf(err, errlen, "%s: libaccel-config: %s", plan->name, strerror(-rc));
		goto out;
	}
	/* It would print lines of its own. */
	accfg_set_log_priority(j.ctx, LOG_EMERG);
	j.dev = accfg_ctx_device_get_by_name(j.ctx, plan->name);
	if (j.dev) {
		rc = lay_out(&j, channel, n);
	} else {
		rc = -ENODEV;
		snprintf(err, errlen, "%s: no such device", plan->name);
	}
	accfg_unref(j.ctx);
out:
	free(j.host);
	return rc;
}

int layout_permit(const struct idxd_device *plan, gid_t gid, char *err, size_t errlen)
{
	char path[64];
	int rc;

	for (unsigned int i = 0; i < plan->n_wqs; i++) {
		if (!plan->wq[i].enabled || plan->wq[i].type != IDXD_TYPE_USER)
			continue;
		snprintf(path, sizeof(path), "/dev/dsa/wq%u.%u", plan->id, plan->wq[i].id);
		if (chown(path, 0, gid) < 0 || chmod(path, 0660) < 0) {
			rc = -errno;
			snprintf(err, errlen, "%s: cannot give it to group %u: %s", path,
				 (unsigned int)gid, strerror(-rc));
			return rc;
		}
	}
	return 0;
}
