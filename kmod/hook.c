// SPDX-License-Identifier: GPL-2.0-only
/*
 * hook.c - migrations reach this module by ftrace redirection, as a livepatch would do it.
 *
 *	migrate_pages()	 always redirected: one entry per call
 *	folio_mc_copy()	 redirected while armed (a grant is possible, or batches are traced),
 *			 and only for a task that has a context
 *
 * The originals are called just behind their ftrace call site: whatever happens there does not
 * happen again, and there is no loop to be caught in.  At that point nothing of the function
 * has run yet (-mfentry puts the call before the prologue).  The call is a static call, hence a
 * direct one: an indirect call would need an ENDBR there.
 *
 * Leaving is safe because (1) nobody is redirected any more once the ftrace_ops are
 * unregistered, (2) whoever is inside migrate_pages() of ours is counted and waited for, and
 * everything else of ours runs below it, (3) synchronize_rcu_tasks() waits for those between
 * the redirection and the counter, and between the counter and their return: they do not
 * sleep there.
 *
 * Owner: module state.  Threads: start, stop, arm under the control mutex; the hooks run in
 * whatever task migrates pages.
 */
#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/static_call.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "context.h"
#include "copy.h"
#include "grant.h"
#include "proto.h"
#include "provider.h"
#include "stats.h"

/* A function that is redirected. */
struct target {
	const char *name;
	unsigned long site; /* of its ftrace call, found at probe */
	struct ftrace_ops ops;
	bool on;
};

static atomic_t inside = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(nobody_inside);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "accelmux needs a kernel with folio_mc_copy(): 6.12 or later"
#endif

static struct folio *hook_get_new_folio(struct folio *src, unsigned long private)
{
	struct context *c = (struct context *)private;
	const struct context_call *call = context_call(c);
	struct folio *dst = call->get_new_folio(src, call->private);

	if (dst)
		context_record(c, src, dst);
	return dst;
}

static void hook_put_new_folio(struct folio *dst, unsigned long private)
{
	struct context *c = (struct context *)private;
	const struct context_call *call = context_call(c);

	context_forget(c, dst);
	call->put_new_folio(dst, call->private);
}

/* The reason is an int, or an enum in newer kernels: passed alike. */
typedef int migrate_pages_t(struct list_head *from, new_folio_t get, free_folio_t put,
			    unsigned long private, enum migrate_mode mode, int reason,
			    unsigned int *succeeded);
typedef int migrate_pages_enum_t(struct list_head *from, new_folio_t get, free_folio_t put,
				 unsigned long private, enum migrate_mode mode,
				 enum migrate_reason reason, unsigned int *succeeded);

static int migrate_pages_none(struct list_head *from, new_folio_t get, free_folio_t put,
			      unsigned long private, enum migrate_mode mode, int reason,
			      unsigned int *succeeded)
{
	return -ENOSYS;
}

DEFINE_STATIC_CALL(orig_migrate_pages, migrate_pages_none);

static int hook_migrate_pages(struct list_head *from, new_folio_t get, free_folio_t put,
			      unsigned long private, enum migrate_mode mode, int reason,
			      unsigned int *succeeded)
{
	struct context_call call = { get, put, private };
	struct context *c = NULL;
	int ret;

	atomic_inc(&inside);
	if (stats_tracing() || (grant_possible() && grant_min_pages() != UINT_MAX))
		c = context_enter(&call, mode, reason);
	if (c) {
		/* No put_new_folio has a meaning of its own (hugetlb): it stays none. */
		ret = static_call(orig_migrate_pages)(
			from, hook_get_new_folio, put ? hook_put_new_folio : NULL,
			(unsigned long)c, mode, reason, succeeded);
		context_leave(c);
	} else {
		ret = static_call(orig_migrate_pages)(from, get, put, private, mode, reason,
						      succeeded);
	}
	if (atomic_dec_and_test(&inside))
		wake_up(&nobody_inside);
	return ret;
}

static int hook_folio_mc_copy(struct folio *dst, struct folio *src)
{
	struct context *c = context_current();
	int rc;

	if (c && context_copy(c, dst, src, &rc))
		return rc;
	return copy_by_cpu(dst, src);
}

static void notrace redirect_migrate_pages(unsigned long ip, unsigned long parent_ip,
					   struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)hook_migrate_pages);
}

static void notrace redirect_folio_mc_copy(unsigned long ip, unsigned long parent_ip,
					   struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	if (context_current())
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)hook_folio_mc_copy);
}

/* The handlers call nothing that is traced: they cannot recurse. */
#define HOOK_FLAGS (FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_RECURSION)

static struct target migrate_pages_target = {
	.name = "migrate_pages",
	.ops = { .func = redirect_migrate_pages, .flags = HOOK_FLAGS },
};
static struct target folio_mc_copy_target = {
	.name = "folio_mc_copy",
	.ops = { .func = redirect_folio_mc_copy, .flags = HOOK_FLAGS },
};

/*
 * Find the ftrace call site of @t: at the symbol, or behind its ENDBR.  A function that was
 * cloned or inlined has no such symbol, or is not traceable: then this kernel will not do.
 */
static int target_find(struct target *t)
{
	struct kprobe kp = { .symbol_name = t->name };
	unsigned long at;
	int ret, off;

	ret = register_kprobe(&kp);
	if (ret) {
		pr_err("this kernel has no function %s that can be probed (%d)\n", t->name,
		       ret);
		return -ENOENT;
	}
	at = (unsigned long)kp.addr;
	unregister_kprobe(&kp);
	for (off = 0; off <= 4; off += 4) {
		if (!ftrace_set_filter_ip(&t->ops, at + off, 0, 0)) {
			t->site = at + off;
			return 0;
		}
	}
	pr_err("%s cannot be traced in this kernel: nothing to hook\n", t->name);
	return -EOPNOTSUPP;
}

static int target_on(struct target *t)
{
	int ret;

	if (t->on)
		return 0;
	ret = register_ftrace_function(&t->ops);
	if (ret == -EBUSY)
		pr_err("%s is redirected by somebody else already (a livepatch?): remove that "
		       "first\n",
		       t->name);
	else if (ret)
		pr_err("%s cannot be hooked (%d)\n", t->name, ret);
	t->on = !ret;
	return ret;
}

static void target_off(struct target *t)
{
	if (t->on)
		unregister_ftrace_function(&t->ops);
	t->on = false;
}

#define NEW_FOLIO  "struct folio*(struct folio*,u64)*"
#define FREE_FOLIO "void(struct folio*,u64)*"
#define MIGRATE_PAGES(reason)                                                              \
	"s32(struct list_head*," NEW_FOLIO "," FREE_FOLIO ",u64,enum migrate_mode," reason \
	",u32*)"

static const char *const migrate_pages_proto[] = {
#ifdef AMUX_TEST_WRONG_PROTO
	"s32(void)",
#else
	MIGRATE_PAGES("s32"), MIGRATE_PAGES("enum migrate_reason"),
#endif
	NULL
};
static const char *const folio_mc_copy_proto[] = { "s32(struct folio*,struct folio*)", NULL };

static const struct proto protos[] = {
	{ "migrate_pages", migrate_pages_proto },
	{ "folio_mc_copy", folio_mc_copy_proto },
};

/* Filters are set once and freed once: ftrace_free_filter() leaves its pointers dangling. */
static void hook_forget(void)
{
	ftrace_free_filter(&migrate_pages_target.ops);
	ftrace_free_filter(&folio_mc_copy_target.ops);
}

static int hook_probe(void)
{
	int ret;

	/* What the kernel's headers declare is what we stand in for ... */
	BUILD_BUG_ON(!__same_type(folio_mc_copy, hook_folio_mc_copy));
	BUILD_BUG_ON(!__same_type(migrate_pages, migrate_pages_t) &&
		     !__same_type(migrate_pages, migrate_pages_enum_t));
	BUILD_BUG_ON(HPAGE_PMD_NR > 512);

	/* ... and what the running kernel has. */
	ret = proto_check(protos, ARRAY_SIZE(protos));
	if (!ret)
		ret = target_find(&migrate_pages_target);
	if (!ret)
		ret = target_find(&folio_mc_copy_target);
	if (ret) {
		hook_forget();
		return ret;
	}
	static_call_update(orig_migrate_pages,
			   (migrate_pages_t *)(migrate_pages_target.site + MCOUNT_INSN_SIZE));
	copy_set_original(folio_mc_copy_target.site + MCOUNT_INSN_SIZE);
	return 0;
}

static int hook_start(void)
{
	/* Needed later only, when it may be too late to say no: try it now. */
	int ret = target_on(&folio_mc_copy_target);

	if (ret)
		return ret;
	target_off(&folio_mc_copy_target);
	return target_on(&migrate_pages_target);
}

static int hook_arm(bool on)
{
	if (on)
		return target_on(&folio_mc_copy_target);
	/* A pair that is stuck must meet us, not the original, which would copy into it. */
	context_drain();
	target_off(&folio_mc_copy_target);
	return 0;
}

static void hook_stop(void)
{
	target_off(&migrate_pages_target);
	wait_event(nobody_inside, !atomic_read(&inside));
	target_off(&folio_mc_copy_target);
	synchronize_rcu_tasks();
	wait_event(nobody_inside, !atomic_read(&inside));
	synchronize_rcu_tasks();
}

const struct migrate_provider hook_provider = {
	.name = "ftrace",
	.probe = hook_probe,
	.forget = hook_forget,
	.start = hook_start,
	.arm = hook_arm,
	.stop = hook_stop,
};
