// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - load and unload: rooms are opened from the lowest to the highest, the provider last,
 * so that no migration meets a half-made module.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/version.h>

#include "batch.h"
#include "cdev.h"
#include "channel.h"
#include "context.h"
#include "grant.h"
#include "hold.h"
#include "provider.h"
#include "stats.h"

static const struct migrate_provider *provider;
static DEFINE_MUTEX(control);
static unsigned int armed; /* for which enum arm_why */

int provider_arm(enum arm_why why, bool on)
{
	unsigned int want;
	int ret = 0;

	mutex_lock(&control);
	want = on ? armed | why : armed & ~why;
	if (provider && !armed != !want)
		ret = provider->arm(want);
	if (!ret)
		armed = want;
	mutex_unlock(&control);
	return ret;
}

static const struct migrate_provider *const candidates[] = {
#ifdef AMUX_HAVE_MIGRATE_OFFLOAD
	&offload_provider,
#endif
	&hook_provider,
};

static int __init accelmux_init(void)
{
	const struct migrate_provider *chosen = NULL;
	unsigned int i;
	int ret = -EOPNOTSUPP;

	/* The first one that this kernel will do for. */
	for (i = 0; ret && i < ARRAY_SIZE(candidates); i++) {
		chosen = candidates[i];
		ret = chosen->probe();
	}
	if (ret)
		return ret;
	batch_init();
	ret = stats_init();
	if (ret)
		goto forget;
	ret = grant_init();
	if (ret)
		goto stats;
	ret = context_init();
	if (ret)
		goto grant;
	ret = channel_init();
	if (ret)
		goto context;
	ret = hold_init();
	if (ret)
		goto channel;
	ret = chosen->start();
	if (ret)
		goto hold;
	provider = chosen;
	ret = cdev_start();
	if (ret)
		goto stop;
	stats_publish();
	stats_trace_start();
	grant_share_start();
	pr_info("batches of migrate_pages() by %s; this CPU copies %llu MB/s\n", provider->name,
		batch_cpu_bps() / 1000000);
	return 0;

stop:
	chosen->stop();
hold:
	hold_exit();
channel:
	channel_exit();
context:
	context_exit();
grant:
	grant_exit();
stats:
	stats_exit();
forget:
	if (chosen->forget)
		chosen->forget();
	return ret;
}

static void __exit accelmux_exit(void)
{
	stats_unpublish();
	cdev_stop();
	grant_share_stop();
	stats_trace_stop();
	provider->stop();
	hold_exit();
	channel_exit();
	context_exit();
	grant_exit();
	stats_exit();
	if (provider->forget)
		provider->forget();
}

module_init(accelmux_init);
module_exit(accelmux_exit);

MODULE_DESCRIPTION("Batches of migrate_pages() on DMA engines, as a broker grants them");
MODULE_LICENSE("GPL");
MODULE_VERSION(AMUX_VERSION);
