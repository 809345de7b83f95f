// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - /sys/kernel/debug/amux_testoffload: the files of run.c, and
 *
 *	provider	who is registered, with its mask of reasons
 *	rival		1: register another provider, 0: take it away again
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "testoffload.h"

static struct dentry *dir;

static int provider_show(struct seq_file *m, void *unused)
{
	core_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(provider);

static int rival_set(void *arg, u64 on)
{
	return core_rival(on);
}
DEFINE_DEBUGFS_ATTRIBUTE(rival_fops, NULL, rival_set, "%llu\n");

static int __init testoffload_init(void)
{
	dir = debugfs_create_dir("amux_testoffload", NULL);
	debugfs_create_file("provider", 0400, dir, NULL, &provider_fops);
	debugfs_create_file_unsafe("rival", 0200, dir, NULL, &rival_fops);
	run_init(dir);
	return 0;
}

static void __exit testoffload_exit(void)
{
	debugfs_remove(dir);
	core_rival(false);
}

module_init(testoffload_init);
module_exit(testoffload_exit);
MODULE_DESCRIPTION("A stand-in for the proposed migration copy offload API");
MODULE_LICENSE("GPL");
