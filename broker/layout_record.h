/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layout_record.h - what `accelmux setup` did, for whoever needs to know: the broker, doctor,
 * setup --undo.  LAYOUT_RECORD is JSON:
 *
 *	version   1
 *	boot      /proc/sys/kernel/random/boot_id
 *	channels  [{ device, index, channel, inode, wq, engines }]: the dmaengine channels of
 *	          each device in the order in which whoever asks for them gets them, so that
 *	          index is the kernel side's channel number; channel is its name in
 *	          /sys/class/dma, inode that directory's, which no later channel has
 *	user_wqs  [{ device, wq, path, engines }]
 *	layout    as laid out, in accel-config's words (layout_json.h)
 *	before    how it was, likewise, with "state"
 *
 * It is of this boot alone: a device forgets its configuration with the power.
 *
 * Owner: the caller.  Thread: a command's only one.
 */
#ifndef BROKER_LAYOUT_RECORD_H
#define BROKER_LAYOUT_RECORD_H

#include "layout.h"

#define LAYOUT_RECORD	"/run/accelmux/layout.json"
#define LAYOUT_CHANNELS (IDXD_DEVICES * IDXD_WQS)

struct layout_channel {
	char device[IDXD_NAME]; /* "dsa0" */
	char name[IDXD_NAME];	/* "dma0chan2" */
	unsigned int index;	/* among its device's */
	unsigned int wq;
	uint64_t inode;
};

struct layout_record {
	struct idxd_host plan;	 /* what was laid out */
	struct idxd_host before; /* of the same devices, in the same order */
	unsigned int n_channels;
	struct layout_channel channel[LAYOUT_CHANNELS];
};

/* Read @path.  -ENOENT: there is none, or it is of another boot; -errno and one line in @err. */
int layout_record_read(const char *path, struct layout_record *rec, char *err, size_t errlen);

/* Write @path as a whole, making its directory; -errno and one line in @err. */
int layout_record_write(const char *path, const struct layout_record *rec, char *err,
			size_t errlen);

/* Forget device @name, if it is in there. */
void layout_record_drop(struct layout_record *rec, const char *name);

/* Add @plan, its former self @before and, in order, its @n channels. */
void layout_record_add(struct layout_record *rec, const struct idxd_device *plan,
		       const struct idxd_device *before, const struct layout_channel *channel,
		       unsigned int n);

/* What there is on the host of @channel: 0 and its inode, or -errno. */
int layout_channel_inode(const char *channel, uint64_t *inode);

/* Make the directories of the file @path: 0 or -errno. */
int layout_directory_make(const char *path);

/* Write @text to @path by way of a temporary file beside it, making its directory. */
int layout_file_write(const char *path, const char *text, char *err, size_t errlen);

#endif /* BROKER_LAYOUT_RECORD_H */
