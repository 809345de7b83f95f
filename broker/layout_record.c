// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout_record.c - see layout_record.h.
 */
#include "layout_record.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout_json.h"

#define VERSION 1

static void boot_id(char *id, size_t len)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(id, (int)len, f))
		id[0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	if (f)
		fclose(f);
}

int layout_channel_inode(const char *channel, uint64_t *inode)
{
	char path[PATH_MAX];
	struct stat st;

	/* The class has links: what they lead to is the channel's own directory. */
	snprintf(path, sizeof(path), "/sys/class/dma/%s/.", channel);
	if (stat(path, &st) < 0)
		return -errno;
	*inode = st.st_ino;
	return 0;
}

void layout_record_drop(struct layout_record *rec, const char *name)
{
	unsigned int n = 0, left;

	for (unsigned int i = 0; i < rec->plan.n_devices; i++) {
		if (strcmp(rec->plan.device[i].name, name))
			continue;
		left = rec->plan.n_devices - i - 1;
		memmove(&rec->plan.device[i], &rec->plan.device[i + 1],
			left * sizeof(rec->plan.device[0]));
		memmove(&rec->before.device[i], &rec->before.device[i + 1],
			left * sizeof(rec->before.device[0]));
		rec->plan.n_devices--;
		rec->before.n_devices--;
		break;
	}
	for (unsigned int i = 0; i < rec->n_channels; i++)
		if (strcmp(rec->channel[i].device, name))
			rec->channel[n++] = rec->channel[i];
	rec->n_channels = n;
}

void layout_record_add(struct layout_record *rec, const struct idxd_device *plan,
		       const struct idxd_device *before, const struct layout_channel *channel,
		       unsigned int n)
{
	layout_record_drop(rec, plan->name);
	if (rec->plan.n_devices == IDXD_DEVICES)
		return;
	rec->plan.device[rec->plan.n_devices++] = *plan;
	rec->before.device[rec->before.n_devices++] = *before;
	for (unsigned int i = 0; i < n && rec->n_channels < LAYOUT_CHANNELS; i++)
		rec->channel[rec->n_channels++] = channel[i];
}

/* ----------------------------------------------------------------------- writing */

static json_t *engines_of(const struct idxd_device *dev, const struct idxd_wq *wq)
{
	json_t *list = json_array();

	for (unsigned int i = 0; wq && i < dev->n_engines; i++)
		if (wq->group >= 0 && dev->engine_group[i] == wq->group)
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *channels_to_json(const struct layout_record *rec)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < rec->n_channels; i++) {
		const struct layout_channel *c = &rec->channel[i];
		const struct idxd_device *dev = idxd_find(&rec->plan, c->device);

		if (!dev)
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:i, s:s, s:I, s:o, s:o}", "device", c->device,
					"index", (int)c->index, "channel", c->name, "inode",
					(json_int_t)c->inode, "wq",
					json_sprintf("wq%u.%u", dev->id, c->wq), "engines",
					engines_of(dev, layout_wq(dev, c->wq))));
	}
	return list;
}

static json_t *user_wqs_to_json(const struct idxd_host *plan)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < plan->n_devices; i++) {
		const struct idxd_device *dev = &plan->device[i];

		for (unsigned int j = 0; j < dev->n_wqs; j++) {
			const struct idxd_wq *wq = &dev->wq[j];

			if (wq->type != IDXD_TYPE_USER || !wq->enabled)
				continue;
			json_array_append_new(
				list,
				json_pack("{s:s, s:o, s:o, s:o}", "device", dev->name, "wq",
					  json_sprintf("wq%u.%u", dev->id, wq->id), "path",
					  json_sprintf("/dev/dsa/wq%u.%u", dev->id, wq->id),
					  "engines", engines_of(dev, wq)));
		}
	}
	return list;
}

int layout_directory_make(const char *path)
{
	char copy[PATH_MAX], *dir;
	int rc = 0;

	if (strlen(path) >= sizeof(copy))
		return -ENAMETOOLONG;
	strcpy(copy, path);
	dir = dirname(copy);
	for (char *p = strchr(dir + 1, '/');; p = strchr(p + 1, '/')) {
		if (p)
			*p = '\0';
		rc = mkdir(dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
		if (rc || !p)
			return rc;
		*p = '/';
	}
}

int layout_file_write(const char *path, const char *text, char *err, size_t errlen)
{
	char temporary[PATH_MAX];
	int fd, rc = layout_directory_make(path);
	size_t len = strlen(text);
	ssize_t n;

	snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
	if (rc) {
		snprintf(err, errlen, "%s: cannot make its directory: %s", path, strerror(-rc));
		return rc;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		rc = -errno;
		goto out;
	}
	n = write(fd, text, len);
	if (n < 0)
		rc = -errno;
	else if ((size_t)n < len)
		rc = -ENOSPC;
	else if (fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	if (rc)
		unlink(temporary);
out:
	if (rc)
		snprintf(err, errlen, "%s: cannot write: %s", path, strerror(-rc));
	return rc;
}

int layout_record_write(const char *path, const struct layout_record *rec, char *err,
			size_t errlen)
{
	char boot[64], *text;
	json_t *o;
	int rc;

	boot_id(boot, sizeof(boot));
	o = json_pack("{s:i, s:s, s:o, s:o, s:o, s:o}", "version", VERSION, "boot", boot,
		      "channels", channels_to_json(rec), "user_wqs",
		      user_wqs_to_json(&rec->plan), "layout", layout_to_json(&rec->plan, false),
		      "before", layout_to_json(&rec->before, true));
	text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	if (!text) {
		snprintf(err, errlen, "%s: %s", path, strerror(ENOMEM));
		return -ENOMEM;
	}
	rc = layout_file_write(path, text, err, errlen);
	free(text);
	return rc;
}

/* ----------------------------------------------------------------------- reading */

static int channel_from_json(const json_t *o, const struct idxd_host *plan,
			     struct layout_channel *c)
{
	const char *device = json_string_value(json_object_get(o, "device"));
	const char *name = json_string_value(json_object_get(o, "channel"));
	const char *wq = json_string_value(json_object_get(o, "wq"));
	const json_t *index = json_object_get(o, "index");
	const json_t *inode = json_object_get(o, "inode");
	const struct idxd_device *dev = device ? idxd_find(plan, device) : NULL;
	unsigned int id;

	if (!dev || !name || strlen(name) >= IDXD_NAME || strchr(name, '/') || !wq ||
	    sscanf(wq, "wq%u.%u", &id, &c->wq) != 2 || id != dev->id ||
	    !layout_wq(dev, c->wq) || !json_is_integer(index) || !json_is_integer(inode))
		return -EINVAL;
	strcpy(c->device, device);
	strcpy(c->name, name);
	c->index = (unsigned int)json_integer_value(index);
	c->inode = (uint64_t)json_integer_value(inode);
	return 0;
}

static int record_from_json(const json_t *o, struct layout_record *rec, char *err,
			    size_t errlen)
{
	const json_t *list = json_object_get(o, "channels"), *v;
	char why[200];
	size_t i;
	int rc = 0;

	if (json_integer_value(json_object_get(o, "version")) != VERSION) {
		snprintf(err, errlen, "version: expected %d", VERSION);
		return -EINVAL;
	}
	/* Empty lists: nothing is laid out any more. */
	if (json_array_size(json_object_get(o, "layout"))) {
		rc = layout_from_json(json_object_get(o, "layout"), &rec->plan, why,
				      sizeof(why));
		if (!rc)
			rc = layout_from_json(json_object_get(o, "before"), &rec->before, why,
					      sizeof(why));
	}
	if (rc) {
		snprintf(err, errlen, "%s", why);
		return rc;
	}
	if (rec->plan.n_devices != rec->before.n_devices ||
	    json_array_size(list) > LAYOUT_CHANNELS) {
		snprintf(err, errlen, "expected as many devices before as after");
		return -EINVAL;
	}
	for (i = 0; i < rec->plan.n_devices; i++)
		if (strcmp(rec->plan.device[i].name, rec->before.device[i].name)) {
			snprintf(err, errlen, "before: expected %s as device %zu",
				 rec->plan.device[i].name, i);
			return -EINVAL;
		}
	json_array_foreach(list, i, v)
	{
		rc = channel_from_json(v, &rec->plan, &rec->channel[i]);
		if (rc) {
			snprintf(err, errlen, "channels: entry %zu is not one of a device", i);
			return rc;
		}
		rec->n_channels++;
	}
	return 0;
}

int layout_record_read(const char *path, struct layout_record *rec, char *err, size_t errlen)
{
	json_error_t error;
	char boot[64], why[256];
	json_t *o;
	int rc;

	memset(rec, 0, sizeof(*rec));
	if (access(path, R_OK) < 0) {
		rc = -errno;
		snprintf(err, errlen, "%s: %s", path, strerror(-rc));
		return rc;
	}
	o = json_load_file(path, 0, &error);
	if (!o) {
		snprintf(err, errlen, "%s:%d: %s", path, error.line, error.text);
		return -EINVAL;
	}
	boot_id(boot, sizeof(boot));
	if (strcmp(boot, json_string_value(json_object_get(o, "boot")) ?: "")) {
		snprintf(err, errlen, "%s: of another boot", path);
		rc = -ENOENT;
	} else {
		rc = record_from_json(o, rec, why, sizeof(why));
		if (rc)
			snprintf(err, errlen, "%s: %s; remove it if it is damaged", path, why);
	}
	json_decref(o);
	if (rc)
		memset(rec, 0, sizeof(*rec));
	return rc;
}
