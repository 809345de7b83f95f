/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * testoffload.h - a stand-in for the core of the proposed "migration copy offload" API, so that
 * a provider can be tried on kernels that do not have it: registration (core.c) and batches of
 * folios that look like what migrate_pages_batch() hands over, with a move phase that does to
 * them what the kernel's does (run.c).
 *
 * It is not the kernel: no folio here belongs to a process, none is unmapped or mapped.  What
 * it shows is that the provider keeps its side of the contract, not that migration works.
 *
 * Owner: module state.  Process context throughout.
 */
#ifndef TESTOFFLOAD_H
#define TESTOFFLOAD_H

#include <linux/types.h>

struct dentry;
struct list_head;
struct seq_file;

/* Hand a batch to who is registered, if the registered mask has @reason.  -ENOENT: to nobody.
 */
int core_copy(unsigned int reason, struct list_head *dst, struct list_head *src,
	      unsigned int folios);
/* "name mask" of who is registered; "none 0". */
void core_show(struct seq_file *m);
/* Register (or not any more) another provider, one that declines everything. */
int core_rival(bool on);

void run_init(struct dentry *dir);

#endif /* TESTOFFLOAD_H */
