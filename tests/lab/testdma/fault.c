// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - what goes wrong, and what was done: /sys/kernel/debug/amux_testdma.
 *
 *	error_every	each Nth descriptor fails, nothing is copied
 *	delay_every	each Nth is answered delay_ms later than it would be
 *	lose_every	each Nth is never answered; with late_ms its data is written that much
 *			later all the same (the late write), and it is answered then
 *	flip_every	each Nth is copied with one bit of each page wrong
 *	gate		1: what is copied is not answered until this is 0 again
 *	sync		terminate_all and synchronize wait for what is in flight
 *	copies		what was copied: an array of u32, indexed by the destination's page
 *			frame, of the source's page frame; 0: nothing.  A write clears it.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/pfn.h>
#include <linux/vmalloc.h>

#include "testdma.h"

#define COPIES_MAX (2ul << 20) /* page frames: 8 GiB */

static u32 error_every, delay_every, delay_ms, gate, lose_every, late_ms, flip_every;
static u32 sync_on = 1;
static u32 *copies;
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

void fault_copied(phys_addr_t dst, phys_addr_t src)
{
	if (PHYS_PFN(dst) < COPIES_MAX)
		WRITE_ONCE(copies[PHYS_PFN(dst)], (u32)PHYS_PFN(src));
}

static ssize_t copies_read(struct file *f, char __user *buf, size_t n, loff_t *pos)
{
	return simple_read_from_buffer(buf, n, pos, copies, COPIES_MAX * sizeof(*copies));
}

static ssize_t copies_write(struct file *f, const char __user *buf, size_t n, loff_t *pos)
{
	memset(copies, 0, COPIES_MAX * sizeof(*copies));
	return (ssize_t)n;
}

static const struct file_operations copies_fops = {
	.owner = THIS_MODULE,
	.read = copies_read,
	.write = copies_write,
	.llseek = default_llseek,
};

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

bool fault_gate(void)
{
	return READ_ONCE(gate);
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
		{ "error_every", &error_every },
		{ "delay_every", &delay_every },
		{ "delay_ms", &delay_ms },
		{ "lose_every", &lose_every },
		{ "gate", &gate },
		{ "late_ms", &late_ms },
		{ "flip_every", &flip_every },
		{ "sync", &sync_on },
	};
	static const struct {
		const char *name;
		atomic64_t *value;
	} counter[] = {
		{ "descriptors", &count.descriptors },
		{ "bytes", &count.bytes },
		{ "errors", &count.errors },
		{ "lost", &count.lost },
		{ "late", &count.late },
		{ "flipped", &count.flipped },
	};
	unsigned int i;

	copies = vzalloc(COPIES_MAX * sizeof(*copies));
	if (!copies)
		return -ENOMEM;
	dir = debugfs_create_dir("amux_testdma", NULL);
	debugfs_create_file("copies", 0600, dir, NULL, &copies_fops);
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
	vfree(copies);
}
