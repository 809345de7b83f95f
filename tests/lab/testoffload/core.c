// SPDX-License-Identifier: GPL-2.0-only
/*
 * core.c - who is registered.  One at a time; leaving waits for calls in progress.
 */
#include <linux/migrate_copy_offload.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/srcu.h>

#include "testoffload.h"

static DEFINE_MUTEX(lock);
DEFINE_STATIC_SRCU(callers);
static const struct migrator __rcu *active; /* written under lock */
static unsigned long active_mask;

static bool absent;
module_param(absent, bool, 0444);
MODULE_PARM_DESC(absent, "answer as a kernel that was built without the API");

static const struct migrator *active_locked(void)
{
	return rcu_dereference_protected(active, lockdep_is_held(&lock));
}

int migrate_offload_register(const struct migrator *m, unsigned long reason_mask)
{
	int ret = 0;

	if (absent)
		return -EOPNOTSUPP;
	if (!m || !m->offload_copy)
		return -EINVAL;
	mutex_lock(&lock);
	if (active_locked()) {
		ret = -EBUSY;
	} else if (m->owner && !try_module_get(m->owner)) {
		ret = -ENODEV;
	} else {
		WRITE_ONCE(active_mask, reason_mask & MIGRATE_OFFLOAD_REASONS_ALLOWED);
		rcu_assign_pointer(active, m);
	}
	mutex_unlock(&lock);
	return ret;
}
EXPORT_SYMBOL_GPL(migrate_offload_register);

int migrate_offload_unregister(const struct migrator *m)
{
	mutex_lock(&lock);
	if (!m || active_locked() != m) {
		mutex_unlock(&lock);
		return -EINVAL;
	}
	WRITE_ONCE(active_mask, 0);
	rcu_assign_pointer(active, NULL);
	mutex_unlock(&lock);
	synchronize_srcu(&callers);
	if (m->owner)
		module_put(m->owner);
	return 0;
}
EXPORT_SYMBOL_GPL(migrate_offload_unregister);

int migrate_offload_set_reason_mask(const struct migrator *m, unsigned long mask)
{
	int ret = -EINVAL;

	if (absent)
		return -EOPNOTSUPP;
	mutex_lock(&lock);
	if (m && active_locked() == m) {
		WRITE_ONCE(active_mask, mask & MIGRATE_OFFLOAD_REASONS_ALLOWED);
		ret = 0;
	}
	mutex_unlock(&lock);
	return ret;
}
EXPORT_SYMBOL_GPL(migrate_offload_set_reason_mask);

int core_copy(unsigned int reason, struct list_head *dst, struct list_head *src,
	      unsigned int folios)
{
	const struct migrator *m;
	int idx, ret = -ENOENT;

	idx = srcu_read_lock(&callers);
	m = srcu_dereference(active, &callers);
	if (m && READ_ONCE(active_mask) & BIT(reason))
		ret = m->offload_copy(dst, src, folios);
	srcu_read_unlock(&callers, idx);
	return ret;
}

void core_show(struct seq_file *m)
{
	const struct migrator *a;

	mutex_lock(&lock);
	a = active_locked();
	seq_printf(m, "%s %lu\n", a ? a->name : "none", active_mask);
	mutex_unlock(&lock);
}

static int rival_copy(struct list_head *dst, struct list_head *src, unsigned int folios)
{
	return -EBUSY;
}

static const struct migrator rival = { .name = "rival", .offload_copy = rival_copy };

int core_rival(bool on)
{
	return on ? migrate_offload_register(&rival, MIGRATE_OFFLOAD_REASONS_ALLOWED)
		  : migrate_offload_unregister(&rival);
}
