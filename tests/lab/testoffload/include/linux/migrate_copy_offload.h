/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * migrate_copy_offload.h - a stand-in for the header of that name in the proposed "migration
 * copy offload" API (posted for review up to v6): what a provider sees of it, declared anew
 * for kernels that do not have it.  Of the lab alone; see testoffload.h.
 */
#ifndef _LINUX_MIGRATE_COPY_OFFLOAD_H
#define _LINUX_MIGRATE_COPY_OFFLOAD_H

#include <linux/bits.h>
#include <linux/migrate_mode.h>
#include <linux/mm_types.h>

#define MIGRATOR_NAME_LEN		32
#define MIGRATE_OFFLOAD_REASONS_ALLOWED (BIT(MR_TYPES) - 1)

struct migrator {
	char name[MIGRATOR_NAME_LEN];
	int (*offload_copy)(struct list_head *dst_list, struct list_head *src_list,
			    unsigned int folio_cnt);
	struct module *owner;
};

int migrate_offload_register(const struct migrator *m, unsigned long reason_mask);
int migrate_offload_unregister(const struct migrator *m);
int migrate_offload_set_reason_mask(const struct migrator *m, unsigned long mask);

/*
 * The API has a field of struct folio for the mark, folio->migrate_info.  Here it is a bit of
 * folio->private (the same word where there is such a field), which nobody else uses on the
 * stand-in's destinations.
 */
#define FOLIO_CONTENT_COPIED BIT(0)

static inline void folio_mark_copied(struct folio *dst)
{
	dst->private = (void *)((unsigned long)dst->private | FOLIO_CONTENT_COPIED);
}
#define folio_mark_copied folio_mark_copied

#endif /* _LINUX_MIGRATE_COPY_OFFLOAD_H */
