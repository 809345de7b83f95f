/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dsa_watch.h - the control side of engines that are lost: settles their WQs, brings them back
 * when the driver has them enabled again, and gives the kernel module its channels back.
 *
 *	alarm (a mux thread lost an engine, or is done with one)  ──┐
 *	uevent (the driver enabled or disabled something)         ──┼──> look
 *	every second while something is missing                   ──┘
 *
 * A look that has to touch WQs does so on a thread of libuv's pool, one at a time: closing a WQ
 * takes as long as the device does.
 *
 * Owner and thread: control.
 */
#ifndef BROKER_DSA_WATCH_H
#define BROKER_DSA_WATCH_H

#include <uv.h>

#include "engine.h"

struct dsa_watch;
struct kmod_link;

/*
 * Watch @n dsa devices; sets their alarms, before any mux thread runs.  @kmod: whose channels are
 * looked after, or NULL; @kmod_devs: how many of the first devices it has.  0 or -ENOMEM.
 */
int dsa_watch_start(struct dsa_watch **out, uv_loop_t *loop, struct device *const *dev,
		    unsigned int n, struct kmod_link *kmod, unsigned int kmod_devs);

/* End it; waits for a look at work.  NULL is allowed.  Before devices and kmod are closed and
 * after the mux threads have ended. */
void dsa_watch_stop(struct dsa_watch *w);

#endif /* BROKER_DSA_WATCH_H */
