// SPDX-License-Identifier: GPL-2.0-only
/*
 * amux_testhook.c - somebody else who redirects a function, as a livepatch does: parameter
 * target=NAME.  It redirects to where the function goes anyway.
 */
#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/string.h>

static char *target = "migrate_pages";
module_param(target, charp, 0444);
MODULE_PARM_DESC(target, "function to redirect");

static void notrace redirect(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			     struct ftrace_regs *fregs)
{
}

static struct ftrace_ops ops = { .func = redirect, .flags = FTRACE_OPS_FL_IPMODIFY };

static int __init testhook_init(void)
{
	int ret = ftrace_set_filter(&ops, target, strlen(target), 0);

	return ret ?: register_ftrace_function(&ops);
}

static void __exit testhook_exit(void)
{
	unregister_ftrace_function(&ops);
	ftrace_free_filter(&ops);
}

module_init(testhook_init);
module_exit(testhook_exit);
MODULE_DESCRIPTION("Redirects a function, for tests of conflicts");
MODULE_LICENSE("GPL");
