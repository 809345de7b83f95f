// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - what goes wrong, and what was done: /sys/kernel/debug/amux_testdma.
 *
 *	error_every	each Nth descriptor fails, nothing is copied
 *	delay_every	each Nth is answered delay_ms later than it would be
 *	lose_every	each Nth is never answered; with late_ms its data is written that much
 *			later all the same (the late write), and it is answered then
 *	flip_every	each Nth is copied with one bit of each page wrong
 *	sync		terminate_all and synchronize wait for what is in flight
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>

#include "testdma.h"

static u32 error_every, delay_every, delay_ms, lose_every, late_ms, flip_every, sync_on = 1;
static atomic_t serial;
static struct {
	atomic64_t descriptors, bytes, errors, lost, late, flipped;
} count;
static struct dentry *dir;

static bool every(u32 n, u32 i)
{
	return n && i % n == 0;
}

void fault_next(struct fault *f)
{
	u32 i = atomic_inc_return(&serial);

	f->error = every(READ_ONCE(error_every), i);
	f->lose = every(READ_ONCE(lose_every), i);
	f->flip = every(READ_ONCE(flip_every), i);
	f->delay_ms = every(READ_ONCE(delay_every), i) ? READ_ONCE(delay_ms) : 0;
}

void fault_count(u64 bytes, const struct fault *f)
{
	atomic64_inc(&count.descriptors);
	if (f->error)
		atomic64_inc(&count.errors);
	else if (f->lose)
		atomic64_inc(&count.lost);
	else
		atomic64_add(bytes, &count.bytes);
	if (f->flip)
		atomic64_inc(&count.flipped);
}

void fault_late(void)
{
	atomic64_inc(&count.late);
}

unsigned int fault_late_ms(void)
{
	return READ_ONCE(late_ms);
}

bool fault_sync(void)
{
	return READ_ONCE(sync_on);
}

static int counter_get(void *arg, u64 *val)
{
	*val = atomic64_read(arg);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(counter_fops, counter_get, NULL, "%llu\n");

int fault_init(void)
{
	static const struct {
		const char *name;
		u32 *value;
	} knob[] = {
		{ "error_every", &error_every }, { "delay_every", &delay_every },
		{ "delay_ms", &delay_ms },	 { "lose_every", &lose_every },
		{ "late_ms", &late_ms },	 { "flip_every", &flip_every },
		{ "sync", &sync_on },
	};
	static const struct {
		const char *name;
		atomic64_t *value;
	} counter[] = {
		{ "descriptors", &count.descriptors }, { "bytes", &count.bytes },
		{ "errors", &count.errors },	       { "lost", &count.lost },
		{ "late", &count.late },	       { "flipped", &count.flipped },
	};
	unsigned int i;

	dir = debugfs_create_dir("amux_testdma", NULL);
	for (i = 0; i < ARRAY_SIZE(knob); i++)
		debugfs_create_u32(knob[i].name, 0600, dir, knob[i].value);
	for (i = 0; i < ARRAY_SIZE(counter); i++)
		debugfs_create_file_unsafe(counter[i].name, 0400, dir, counter[i].value,
					   &counter_fops);
	return 0;
}

void fault_exit(void)
{
	debugfs_remove(dir);
}
