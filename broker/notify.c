// SPDX-License-Identifier: GPL-2.0-only
#include "notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "../client/barrier.h"
#include "clock.h"

/* Looks within a time-out: one at which a mail has just been posted does no harm. */
#define LOOKS 4

static bool mux_lives(struct mux *m, uint64_t *loops)
{
	uint64_t now = stat_read(&m->stats.loops);
	bool moved = now != *loops;

	*loops = now;
	return moved || (amux_load_relaxed(&m->sleeping) && !mailbox_pending(&m->inbox));
}

static void look(uv_timer_t *timer)
{
	struct notify *n = timer->data;
	bool stuck = false;

	for (unsigned int i = 0; i < n->n_mux; i++)
		stuck |= !mux_lives(&n->mux[i], &n->loops[i]);
	if (stuck && !n->stuck)
		fputs("accelmuxd: a mux thread makes no progress: "
		      "the watchdog is not told that all is well\n",
		      stderr);
	n->stuck = stuck;
	if (!stuck)
		sd_notify(0, "WATCHDOG=1");
}

void notify_watch(struct notify *n, uv_loop_t *loop, struct mux *mux, unsigned int n_mux)
{
	uint64_t usec, ms;

	n->mux = mux;
	n->n_mux = n_mux;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	ms = usec / 1000 / LOOKS;
	uv_timer_init(loop, &n->timer);
	n->timer.data = n;
	uv_timer_start(&n->timer, look, 0, ms ? ms : 1);
	uv_unref((uv_handle_t *)&n->timer); /* no reason to stay */
}

void notify_ready(void)
{
	sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ns() / 1000);
}

void notify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}
